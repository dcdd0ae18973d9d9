/* client_pair.c - requests out, replies in, blocks back; see client_pair.h. */
#include "exipc/client_pair.h"

void client_pair_init(struct client_pair *p, const struct exipc_lane *in, struct exipc_lane *out,
		      uint64_t epoch)
{
	*p = (struct client_pair){ .in = in, .out = out, .epoch = epoch, .bulk_free = UINT32_MAX };
	p->replies = (struct ring_in){ .mine = out, .theirs = in };
	p->requests = (struct ring_out){ .mine = out, .theirs = in };
	heap_init(&p->heap, 0, EXIPC_PAYLOAD_SECTIONS);
}

void client_pair_drop(struct client_pair *p)
{
	heap_drop(&p->heap, NULL, NULL);
}

static void note_blocks(struct client_pair *p)
{
	unsigned bulk = EXIPC_BULK_SECTIONS - (unsigned)__builtin_popcount(p->bulk_free);

	word_note(&p->out->figures.blocks, p->heap.blocks + bulk);
}

/* ---- bulk sections ---- */

/* The holder's place, or a place for it.  There are as many places as sections. */
static struct bulk_holder *holder_of(struct client_pair *p, const void *who)
{
	struct bulk_holder *spare = NULL;

	for (unsigned i = 0; i < EXIPC_BULK_SECTIONS; i++) {
		if (p->holder[i].who == who)
			return &p->holder[i];
		if (!p->holder[i].who && !spare)
			spare = &p->holder[i];
	}
	return spare;
}

/* With one more section at `next`: can all that hold some still get their full EXIPC_BULK_MAX, one after the
 * other?  Those that lack least go first (the banker's rule).  Sections that were sent come back
 * without anybody here, so they count as free. */
static bool safe_with(const struct client_pair *p, const struct bulk_holder *next)
{
	unsigned having[EXIPC_BULK_MAX + 1] = { 0 };
	unsigned spare = EXIPC_BULK_SECTIONS;

	for (unsigned i = 0; i < EXIPC_BULK_SECTIONS; i++) {
		unsigned held = p->holder[i].held + (&p->holder[i] == next ? 1 : 0);

		having[held]++;
		spare -= held;
	}
	for (unsigned held = EXIPC_BULK_MAX; held > 0; held--) {
		if (having[held] && EXIPC_BULK_MAX - held > spare)
			return false;
		spare += held * having[held];
	}
	return true;
}

enum st client_pair_section(struct client_pair *p, const void *who, uint32_t *index)
{
	struct bulk_holder *h = p->bulk_free ? holder_of(p, who) : NULL;

	if (h && h->held == EXIPC_BULK_MAX)
		return ST_TOOBIG;
	/* Every holder has at least one section: while one is free there is a place. */
	if (!h || !safe_with(p, h))
		return ST_NOSPACE;
	unsigned at = (unsigned)__builtin_ctz(p->bulk_free);

	p->bulk_free &= ~(1u << at);
	h->who = who;
	h->held++;
	p->held_by[at] = (uint8_t)(h - p->holder + 1);
	*index = EXIPC_PAYLOAD_SECTIONS + at;
	note_blocks(p);
	return ST_OK;
}

static void no_longer_held(struct client_pair *p, unsigned at)
{
	if (!p->held_by[at])
		return;
	struct bulk_holder *h = &p->holder[p->held_by[at] - 1];

	p->held_by[at] = 0;
	if (--h->held == 0)
		h->who = NULL;
}

void client_pair_unsection(struct client_pair *p, uint32_t index)
{
	unsigned at = index - EXIPC_PAYLOAD_SECTIONS;

	assert(at < EXIPC_BULK_SECTIONS && !(p->bulk_free >> at & 1));
	no_longer_held(p, at);
	p->bulk_free |= 1u << at;
	note_blocks(p);
}

/* ---- requests ---- */

enum st client_pair_block(struct client_pair *p, struct span payload, uint32_t *offset)
{
	enum st st = heap_get(&p->heap, payload.len, NULL, offset);

	if (st)
		return st;
	memcpy(p->out->heap + *offset, payload.at, payload.len);
	note_blocks(p);
	return ST_OK;
}

enum st client_pair_send(struct client_pair *p, const struct exipc_entry *e)
{
	unsigned room;
	enum st st = ring_room(&p->requests, &room);

	if (st)
		return st;
	if (!room)
		return ST_BUSY;
	for (unsigned i = 0; i < e->count; i++)
		no_longer_held(p, e->section[i].index - EXIPC_PAYLOAD_SECTIONS);
	ring_put(&p->requests, e);
	return ST_OK;
}

void client_pair_done(struct client_pair *p, const struct exipc_entry *e)
{
	void *cookie;

	if (e->len && heap_put(&p->heap, e->offset, &cookie))
		panic("exipc: a request's block at %u is not in the book", e->offset);
	for (unsigned i = 0; i < e->count; i++)
		client_pair_unsection(p, e->section[i].index);
	note_blocks(p);
}

void client_pair_waits(struct client_pair *p, enum st why)
{
	if (why == ST_BUSY)
		word_note(&p->out->figures.ring_full, ++p->ring_full);
	else
		word_note(&p->out->figures.heap_full, ++p->heap_full);
}

bool client_pair_holds(const struct client_pair *p, const void *who)
{
	for (unsigned i = 0; i < EXIPC_BULK_SECTIONS; i++)
		if (p->holder[i].who == who)
			return true;
	return false;
}

/* ---- replies ---- */

static bool reply_sound(const struct exipc_entry *e)
{
	return e->code < ST_CODES && e->offset % EXIPC_GRANULE == 0 && e->len <= EXIPC_HEAP &&
	       e->offset <= EXIPC_HEAP - e->len;
}

static bool sound(const struct client_pair *p, const struct exipc_entry *e)
{
	if (e->epoch != p->epoch)
		return false;
	if (e->kind == EXIPC_REPLY)
		return reply_sound(e);
	return e->kind == EXIPC_NOTIFY && e->count <= EXIPC_NOTES;
}

enum st client_pair_take(struct client_pair *p, struct exipc_entry *e)
{
	if (p->replies.head == p->replies.tail) {
		unsigned waiting;
		enum st st = ring_waiting(&p->replies, &waiting);

		if (st)
			return st;
		if (!waiting)
			return ST_MORE;
	}
	ring_take(&p->replies, e);
	return sound(p, e) ? ST_OK : ST_BAD;
}

void client_pair_return(struct client_pair *p, uint32_t offset)
{
	uint64_t handle = (p->epoch & UINT32_MAX) << 32 | offset / EXIPC_GRANULE;

	word_note(&p->out->returns[p->returned % EXIPC_RETURNS], handle);
	p->returned++;
	word_set(&p->out->returned, p->returned);
}
