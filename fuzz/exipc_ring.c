/* The store's half of a queue pair, fed by a client that does what the fuzzer says.
 *
 * The input is a program of small steps against the client's lane: write bytes into an entry, a
 * return handle or a counter, or let the store take requests, returns and notifications.  A request
 * that the store accepted is read whole (payload and sections), and answered once, twice or with a pin.
 * Whatever happens: no crash, no read outside the heap, no endless loop, every pin let go exactly once. */
#include "exipc/store_pair.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define EPOCH       0x0807060504030201u
#define RUNNING_MAX 8u

struct run {
	const uint8_t *at, *end;
	struct exipc_lane *client;
	struct store_pair p;
	struct store_request running[RUNNING_MAX];
	unsigned nrunning;
	unsigned pinned, released, sum;
	bool over;
};

static uint64_t number(struct run *r, unsigned bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bytes && r->at < r->end; i++)
		n |= (uint64_t)*r->at++ << 8 * i;
	return n;
}

static void released(void *arg)
{
	struct run *r = arg;

	r->released++;
}

/* Inside the heap, whatever the entry said; first and last byte are read for the sanitizer. */
static unsigned read_span(const struct run *r, struct span s)
{
	const char *heap = r->client->heap;

	assert(s.at >= heap && s.at <= heap + EXIPC_HEAP);
	assert(s.len <= (size_t)(heap + EXIPC_HEAP - s.at));
	return s.len ? (unsigned char)s.at[0] + (unsigned char)s.at[s.len - 1] : 0;
}

static bool apart(struct span a, struct span b)
{
	return !a.len || !b.len || a.at + a.len <= b.at || b.at + b.len <= a.at;
}

/* No two requests that run at a time name the same memory. */
static void check_apart(const struct store_request *a, const struct store_request *b)
{
	assert(apart(a->payload, b->payload));
	for (unsigned i = 0; i < a->nsections; i++) {
		assert(apart(a->section[i], b->payload));
		for (unsigned k = 0; k < b->nsections; k++)
			assert(apart(a->section[i], b->section[k]));
	}
}

static void take(struct run *r)
{
	while (r->nrunning < RUNNING_MAX && !r->over) {
		struct store_request rq;
		enum st st = store_pair_take(&r->p, &rq);

		if (st == ST_BAD)
			r->over = true;
		if (st)
			return;
		r->sum += rq.payload.len ? read_span(r, rq.payload) : 0;
		for (unsigned i = 0; i < rq.nsections; i++)
			r->sum += read_span(r, rq.section[i]);
		for (unsigned i = 0; i < r->nrunning; i++)
			check_apart(&rq, &r->running[i]);
		r->running[r->nrunning++] = rq;
	}
}

static void answer(struct run *r)
{
	uint64_t how = number(r, 2);
	bool more = how & 1, pin = how & 2;
	static const char bytes[4096];
	struct exipc_pin p = { pin ? released : NULL, r };

	if (!r->nrunning)
		return;
	struct store_request *rq = &r->running[(how >> 2 & 7) % r->nrunning];
	enum st st = store_pair_reply(&r->p, rq, ST_OK, span_of(bytes, how >> 4), more, p);
	if (st == ST_BAD)
		r->over = true;
	if (st)
		return;
	r->pinned += pin;
	if (!more)
		*rq = r->running[--r->nrunning];
}

static void write_entry(struct run *r)
{
	uint64_t where = number(r, 1), from = number(r, 1) % 64, count = number(r, 1) % 65;
	struct exipc_entry *e = &r->client->ring[where % EXIPC_RING_ENTRIES];

	for (uint64_t i = 0; i < count && from + i < sizeof(*e); i++)
		((uint8_t *)e)[from + i] = (uint8_t)number(r, 1);
}

/* A sound entry but for what the input says, so that deep paths are reached. */
static void write_sound(struct run *r)
{
	struct exipc_entry e = { .epoch = EPOCH, .kind = EXIPC_REQUEST, .call = number(r, 1) };
	uint64_t where = word_get(&r->client->tail);

	e.offset = (uint32_t)number(r, 2) * EXIPC_GRANULE;
	e.len = (uint32_t)number(r, 3);
	e.count = (uint8_t)(number(r, 1) % 10);
	for (unsigned i = 0; i < e.count && i < EXIPC_BULK_MAX; i++) {
		e.section[i].index = (uint16_t)(number(r, 1) % 68);
		e.section[i].used = (uint16_t)number(r, 2);
	}
	r->client->ring[where % EXIPC_RING_ENTRIES] = e;
	word_set(&r->client->tail, where + 1);
}

static void give_back(struct run *r)
{
	uint64_t n = word_get(&r->client->returned), handle = number(r, 2);

	handle |= number(r, 1) < 200 ? (EPOCH & UINT32_MAX) << 32 : number(r, 8);
	word_note(&r->client->returns[n % EXIPC_RETURNS], handle);
	word_set(&r->client->returned, n + 1);
}

static void step(struct run *r)
{
	switch (number(r, 1) % 12) {
	case 0:
		write_entry(r);
		break;
	case 1:
		word_set(&r->client->tail, word_get(&r->client->tail) + number(r, 1) % 4);
		break;
	case 2:
		word_set(&r->client->tail, number(r, 8));
		break;
	case 3:
		word_set(&r->client->head, word_get(&r->client->head) + number(r, 1));
		break;
	case 4:
		word_set(&r->client->head, number(r, 8));
		break;
	case 5:
		word_set(&r->client->returned, number(r, 8));
		break;
	case 6:
		give_back(r);
		break;
	case 7:
		take(r);
		break;
	case 8:
		answer(r);
		break;
	case 9:
		if (store_pair_returns(&r->p) == ST_BAD)
			r->over = true;
		break;
	case 10:
		write_sound(r);
		break;
	default:
		if (notes_set(&r->p.notes, number(r, 1), number(r, 1)) == ST_OK &&
		    store_pair_notes(&r->p) == ST_BAD)
			r->over = true;
		break;
	}
	ring_tell(&r->p.requests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct exipc_lane client, store; /* two areas; too large to clear each time */
	struct run r = { .at = data, .end = data + len, .client = &client };

	memset(&client, 0, offsetof(struct exipc_lane, returns));
	memset(&store, 0, offsetof(struct exipc_lane, ring));
	store_pair_init(&r.p, &client, &store, EPOCH);
	while (r.at < r.end && !r.over)
		step(&r);
	store_pair_drop(&r.p);
	assert(r.pinned == r.released);
	return 0;
}
