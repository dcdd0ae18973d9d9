/* store_pair.c - requests in, replies out, and every check between; see store_pair.h. */
#include "exipc/store_pair.h"

#include <stdlib.h>

void store_pair_init(struct store_pair *p, const struct exipc_lane *in, struct exipc_lane *out,
		     uint64_t epoch)
{
	*p = (struct store_pair){ .in = in, .out = out, .epoch = epoch };
	p->requests = (struct ring_in){ .mine = out, .theirs = in };
	p->replies = (struct ring_out){ .mine = out, .theirs = in };
	heap_init(&p->heap, 0, EXIPC_HEAP_SECTIONS);
}

static struct exipc_pin *pin_new(struct store_pair *p, struct exipc_pin pin)
{
	struct exipc_pin *at = p->spare_pins;

	if (at)
		p->spare_pins = at->arg;
	else
		at = malloc(sizeof(*at));
	if (at)
		*at = pin;
	return at;
}

static void pin_spare(struct store_pair *p, struct exipc_pin *at)
{
	at->arg = p->spare_pins;
	p->spare_pins = at;
}

static void pin_run(struct store_pair *p, struct exipc_pin *at)
{
	struct exipc_pin pin = *at;

	pin_spare(p, at);
	pin.release(pin.arg);
}

static void block_out(void *arg, void *cookie)
{
	if (cookie)
		pin_run(arg, cookie);
}

void store_pair_drop(struct store_pair *p)
{
	heap_drop(&p->heap, block_out, p);
	notes_drop(&p->notes);
	while (p->spare_pins) {
		struct exipc_pin *at = p->spare_pins;

		p->spare_pins = at->arg;
		free(at);
	}
}

/* ---- what unanswered requests name ---- */

/* The bits of word `w` that granules [first, end) cover. */
static uint64_t mask_in(uint32_t w, uint32_t first, uint32_t end)
{
	uint64_t mask = ~0ULL;

	if (first > w * 64)
		mask &= ~0ULL << first % 64;
	if (end < (w + 1) * 64)
		mask &= ~(~0ULL << end % 64);
	return mask;
}

static uint32_t granule_end(struct span s, const char *heap)
{
	return (uint32_t)((size_t)(s.at - heap) + s.len + EXIPC_GRANULE - 1) / EXIPC_GRANULE;
}

/* False: some of it is held already; nothing was changed. */
static bool hold(struct store_pair *p, struct span s)
{
	uint32_t first = (uint32_t)(s.at - p->in->heap) / EXIPC_GRANULE;
	uint32_t end = granule_end(s, p->in->heap);

	for (uint32_t w = first / 64; w * 64 < end; w++)
		if (p->held[w] & mask_in(w, first, end))
			return false;
	for (uint32_t w = first / 64; w * 64 < end; w++)
		p->held[w] |= mask_in(w, first, end);
	return true;
}

static void let_go(struct store_pair *p, struct span s)
{
	uint32_t first = (uint32_t)(s.at - p->in->heap) / EXIPC_GRANULE;
	uint32_t end = granule_end(s, p->in->heap);

	for (uint32_t w = first / 64; w * 64 < end; w++)
		p->held[w] &= ~mask_in(w, first, end);
}

/* ---- requests ---- */

static bool header_sound(const struct store_pair *p, const struct exipc_entry *e)
{
	return e->epoch == p->epoch && e->kind == EXIPC_REQUEST && e->flags == 0 && e->zero == 0 &&
	       e->count <= EXIPC_BULK_MAX;
}

static bool payload_sound(const struct exipc_entry *e)
{
	if (e->len == 0)
		return e->offset == 0;
	return e->len <= EXIPC_BLOCK_MAX && e->offset % EXIPC_GRANULE == 0 &&
	       e->offset <= EXIPC_HEAP - e->len;
}

static bool sections_sound(const struct exipc_entry *e)
{
	for (unsigned i = 0; i < e->count; i++)
		if (e->section[i].index >= EXIPC_HEAP_SECTIONS ||
		    e->section[i].used > EXIPC_SECTION)
			return false;
	return true;
}

/* A section is held whole, however much of it is used. */
static struct span whole_section(const struct store_pair *p, struct span s)
{
	size_t index = (size_t)(s.at - p->in->heap) / EXIPC_SECTION;

	return span_of(p->in->heap + index * EXIPC_SECTION, EXIPC_SECTION);
}

static bool hold_all(struct store_pair *p, const struct store_request *rq)
{
	if (rq->payload.len && !hold(p, rq->payload))
		return false;
	for (unsigned i = 0; i < rq->nsections; i++)
		if (!hold(p, whole_section(p, rq->section[i])))
			return false;
	return true;
}

enum st store_pair_take(struct store_pair *p, struct store_request *rq)
{
	struct exipc_entry e;

	if (p->requests.head == p->requests.tail) {
		unsigned waiting;
		enum st st = ring_waiting(&p->requests, &waiting);

		if (st)
			return st;
		if (!waiting)
			return ST_MORE;
	}
	ring_take(&p->requests, &e);
	if (!header_sound(p, &e) || !payload_sound(&e) || !sections_sound(&e))
		return ST_BAD;
	*rq = (struct store_request){ .call = e.call, .op = e.code, .nsections = e.count };
	if (e.len)
		rq->payload = span_of(p->in->heap + e.offset, e.len);
	for (unsigned i = 0; i < e.count; i++)
		rq->section[i] = span_of(p->in->heap + e.section[i].index * EXIPC_SECTION,
					 e.section[i].used);
	if (!hold_all(p, rq))
		return ST_BAD;
	p->unanswered++;
	return ST_OK;
}

void store_pair_answered(struct store_pair *p, const struct store_request *rq)
{
	if (rq->payload.len)
		let_go(p, rq->payload);
	for (unsigned i = 0; i < rq->nsections; i++)
		let_go(p, whole_section(p, rq->section[i]));
	p->unanswered--;
}

/* ---- blocks that come back ---- */

static enum st take_back(struct store_pair *p, uint64_t handle)
{
	uint32_t granule = (uint32_t)handle;
	void *cookie;

	if (handle >> 32 != (p->epoch & UINT32_MAX) || granule >= EXIPC_GRANULES ||
	    heap_put(&p->heap, granule * EXIPC_GRANULE, &cookie))
		return ST_BAD;
	if (cookie)
		pin_run(p, cookie);
	return ST_OK;
}

enum st store_pair_returns(struct store_pair *p)
{
	uint64_t end = word_get(&p->in->returned);

	if (end == p->returned)
		return ST_MORE;
	if (end < p->returned || end - p->returned > EXIPC_RETURNS)
		return ST_BAD;
	while (p->returned < end) {
		uint64_t slot = p->returned++ % EXIPC_RETURNS;

		if (take_back(p, atomic_load_explicit(&p->in->returns[slot], memory_order_relaxed)))
			return ST_BAD;
	}
	word_note(&p->out->figures.blocks, p->heap.blocks);
	return ST_OK;
}

/* ---- replies ---- */

/* The block for a reply: none for an empty one that pins nothing. */
static enum st block_get(struct store_pair *p, struct span payload, struct exipc_pin pin,
			 struct exipc_entry *e)
{
	struct exipc_pin *cookie = NULL;

	if (!payload.len && !pin.release)
		return ST_OK;
	if (pin.release) {
		cookie = pin_new(p, pin);
		if (!cookie)
			return ST_NOMEM;
		e->flags |= EXIPC_PINNED;
	}
	enum st st = heap_get(&p->heap, payload.len, cookie, &e->offset);
	if (st && cookie)
		pin_spare(p, cookie);
	if (st)
		return st;
	if (payload.len)
		memcpy(p->out->heap + e->offset, payload.at, payload.len);
	word_note(&p->out->figures.blocks, p->heap.blocks);
	return ST_OK;
}

enum st store_pair_reply(struct store_pair *p, const struct store_request *rq, enum st status,
			 struct span payload, bool more, struct exipc_pin pin)
{
	struct exipc_entry e = { .epoch = p->epoch,
				 .call = rq->call,
				 .kind = EXIPC_REPLY,
				 .code = (uint16_t)status,
				 .flags = more ? EXIPC_MORE : 0,
				 .len = (uint32_t)payload.len };
	unsigned room;

	if (payload.len > EXIPC_BLOCK_MAX)
		return ST_TOOBIG;
	enum st st = ring_room(&p->replies, &room);
	if (st)
		return st;
	if (!room)
		return ST_BUSY;
	st = block_get(p, payload, pin, &e);
	if (st)
		return st;
	if (!more)
		store_pair_answered(p, rq);
	ring_put(&p->replies, &e);
	word_note(&p->out->figures.replies, ++p->nreplies);
	return ST_OK;
}

void store_pair_waits(struct store_pair *p, enum st why)
{
	if (why == ST_BUSY)
		word_note(&p->out->figures.ring_full, ++p->ring_full);
	else
		word_note(&p->out->figures.heap_full, ++p->heap_full);
}

/* ---- notifications ---- */

enum st store_pair_notes(struct store_pair *p)
{
	bool some = false;

	while (notes_waiting(&p->notes)) {
		struct exipc_entry e = { .epoch = p->epoch, .kind = EXIPC_NOTIFY };
		struct note note;
		unsigned room;

		if (ring_room(&p->replies, &room))
			return ST_BAD;
		if (!room)
			break;
		while (e.count < EXIPC_NOTES && notes_take(&p->notes, &note)) {
			e.note[e.count].token = note.token;
			e.note[e.count++].value = note.value;
		}
		ring_put(&p->replies, &e);
		p->nnotes += e.count;
		some = true;
	}
	if (!some)
		return ST_MORE;
	word_note(&p->out->figures.notes, p->nnotes);
	return ST_OK;
}
