/* call.c - a call's way on a client loop: its block, the ring, its replies; and the sections it sends.
 *
 * A call waits for its block in order with others, then for the ring in the backlog; the last reply
 * frees what the request took.  A call that nobody waits for any more stays until its last reply or the
 * end of the binding. */
#include "exipc/channel.h"

#include <stdlib.h>

static struct exipc_call *call_alloc(struct client_end *e)
{
	uint32_t n = e->slots;

	if ((n & (n - 1)) == 0) { /* room for 1, 2, 4 ... is used up */
		size_t room = n ? 2 * (size_t)n : 1;
		struct exipc_call **more = realloc(e->slot, room * sizeof(struct exipc_call *));

		if (!more)
			return NULL;
		e->slot = more;
	}
	struct exipc_call *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->id = n;
	e->slot[e->slots++] = c;
	return c;
}

static struct exipc_call *call_new(struct client_end *e, struct chan_pair *cp)
{
	struct exipc_call *c = e->spare_calls;

	if (c)
		e->spare_calls = c->next;
	else
		c = call_alloc(e);
	if (!c)
		return NULL;
	*c = (struct exipc_call){ .pair = cp,
				  .id = c->id + (1ULL << 32),
				  .made = loop_now(e->chan->loop),
				  .older = cp->newest };
	if (cp->newest)
		cp->newest->newer = c;
	else
		cp->oldest = c;
	cp->newest = c;
	if (cp->oldest == c)
		word_note(&cp->p.out->figures.oldest, (uint64_t)c->made);
	e->users++;
	return c;
}

/* It is answered, or will never be. */
void call_answered(struct exipc_call *c)
{
	struct chan_pair *cp = c->pair;

	if (c->newer)
		c->newer->older = c->older;
	else
		cp->newest = c->older;
	if (c->older) {
		c->older->newer = c->newer;
	} else {
		cp->oldest = c->newer;
		word_note(&cp->p.out->figures.oldest, cp->oldest ? (uint64_t)cp->oldest->made : 0);
	}
	c->done = true;
	client_pair_done(&cp->p, &c->request);
	if (cp->blocks.first)
		heap_serve_blocks(cp);
	if (cp->sections.first)
		heap_serve_sections(cp);
}

void block_give_back(struct chan_pair *cp, uint32_t offset, uint32_t len, uint8_t flags)
{
	if (!len && !(flags & EXIPC_PINNED))
		return;
	client_pair_return(&cp->p, offset);
	if (flags & EXIPC_PINNED)
		cp->ask = true;
	cp->ask_wanted = true;
}

static struct arrival *arrival_pop(struct exipc_call *c)
{
	struct arrival *a = c->first;

	if (a) {
		c->first = a->next;
		if (!c->first)
			c->last = NULL;
	}
	return a;
}

static void arrival_spare(struct client_end *e, struct arrival *a)
{
	a->next = e->spare_arrivals;
	e->spare_arrivals = a;
}

void call_free(struct exipc_call *c)
{
	struct client_end *e = c->pair->end;

	c->next = e->spare_calls;
	c->pair = NULL;
	e->spare_calls = c;
	end_release(e);
}

static void backlog_remove(struct chan_pair *cp, const struct exipc_call *c)
{
	struct exipc_call *before = NULL;

	for (struct exipc_call **at = &cp->backlog; *at; before = *at, at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		if (cp->backlog_end == c)
			cp->backlog_end = before;
		return;
	}
}

/* Nobody takes its replies any more. */
void call_abandon(struct exipc_call *c)
{
	struct chan_pair *cp = c->pair;

	for (struct arrival *a = arrival_pop(c); a; a = arrival_pop(c)) {
		block_give_back(cp, a->offset, a->len, a->flags);
		arrival_spare(cp->end, a);
	}
	if (!c->sent && !c->done)
		backlog_remove(cp, c);
	/* The store may still read what a sent request took, as long as there is a store. */
	if (!c->done && (!c->sent || cp->end->gone))
		call_answered(c);
	c->abandoned = true;
	c->fiber = NULL;
	if (c->done)
		call_free(c);
}

static void call_send(struct exipc_call *c)
{
	struct chan_pair *cp = c->pair;
	enum st st = cp->backlog ? ST_BUSY : client_pair_send(&cp->p, &c->request);

	if (st == ST_OK) {
		c->sent = true;
		cp->ask = true;
		bell_ring(&cp->bell);
		return;
	}
	if (st == ST_BAD)
		end_break(cp->end);
	client_pair_waits(&cp->p, ST_BUSY);
	if (cp->backlog_end && cp->backlog)
		cp->backlog_end->next = c;
	else
		cp->backlog = c;
	cp->backlog_end = c;
}

struct exipc_call *call_find(const struct client_end *e, const struct chan_pair *cp, uint64_t id)
{
	uint32_t slot = (uint32_t)id;
	struct exipc_call *c = slot < e->slots ? e->slot[slot] : NULL;

	return c && c->id == id && c->pair == cp && c->sent && !c->done ? c : NULL;
}

bool arrive(struct client_end *e, struct exipc_call *c, const struct exipc_entry *in)
{
	struct arrival *a = e->spare_arrivals;

	if (a)
		e->spare_arrivals = a->next;
	else
		a = malloc(sizeof(*a));
	if (!a)
		return false;
	*a = (struct arrival){
		.offset = in->offset, .len = in->len, .status = in->code, .flags = in->flags
	};
	if (c->last)
		c->last->next = a;
	else
		c->first = a;
	c->last = a;
	return true;
}

/* ---- calling ---- */

/* Hand the next arrival out.  The call goes with its last one. */
static void reply_fill(struct exipc_call *c, struct exipc_reply *out)
{
	struct chan_pair *cp = c->pair;
	struct client_end *e = cp->end;
	struct arrival *a = arrival_pop(c);
	bool block = a->len || a->flags & EXIPC_PINNED;

	*out = (struct exipc_reply){ .status = a->status,
				     .more = a->flags & EXIPC_MORE,
				     .chan = e->chan,
				     .epoch = e->binding->epoch,
				     .store_loop = cp->store_loop,
				     .pinned = a->flags & EXIPC_PINNED };
	if (a->len)
		out->payload = span_of(cp->p.in->heap + a->offset, a->len);
	if (block) {
		out->block = (uint64_t)a->offset + 1;
		e->users++;
	}
	arrival_spare(e, a);
	if (out->more)
		out->call = c;
	else
		call_free(c);
}

static enum st call_wait(struct exipc_call *c, int64_t deadline, struct exipc_reply *out,
			 struct err *err)
{
	struct client_end *e = c->pair->end;

	c->fiber = fiber_self();
	while (!c->first && !e->gone && fiber_park(deadline))
		continue;
	c->fiber = NULL;
	if (c->first) {
		reply_fill(c, out);
		return ST_OK;
	}
	bool gone = e->gone;
	call_abandon(c);
	if (gone)
		return fail(err, ST_GONE, "exipc: the store went away before it answered");
	return fail(err, ST_TIMEOUT, "exipc: no answer in time");
}

static void put_sections(struct exipc_chan *chan, const struct exipc_section *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct exipc_section one = s[i];

		exipc_section_put(chan, &one);
	}
}

/* The end that all this belongs to, or NULL: not bound (any more). */
static struct client_end *end_for(const struct exipc_chan *chan, unsigned store_loop,
				  const struct exipc_section *s, unsigned n)
{
	struct client_end *e = chan->end;

	if (!e || e->broken || store_loop >= e->binding->store_loops)
		return NULL;
	for (unsigned i = 0; i < n; i++)
		if (s[i].epoch != e->binding->epoch)
			return NULL;
	return e;
}

static enum st call_block(struct exipc_call *c, struct span payload, int64_t deadline,
			  struct err *err)
{
	struct chan_pair *cp = c->pair;
	struct heap_wait w = { .payload = payload };
	enum st st = ST_NOSPACE;

	if (!payload.len)
		return ST_OK;
	if (!cp->blocks.first)
		st = client_pair_block(&cp->p, payload, &w.got);
	if (st == ST_NOSPACE)
		st = heap_wait_for(cp, &cp->blocks, &w, deadline, err);
	else if (st)
		fail(err, st, "exipc: no memory for a request");
	if (st)
		return st;
	c->request.offset = w.got;
	c->request.len = (uint32_t)payload.len;
	return ST_OK;
}

static void name_sections(struct exipc_call *c, const struct exipc_section *s, const uint32_t *used,
			  unsigned n)
{
	c->request.count = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		assert(s[i].store_loop == c->pair->store_loop && used[i] <= EXIPC_SECTION);
		c->request.section[i].index = (uint16_t)s[i].index;
		c->request.section[i].used = (uint16_t)used[i];
		c->pair->end->users--; /* they are the call's now */
	}
}

enum st exipc_call(struct exipc_chan *chan, unsigned store_loop, uint16_t op, struct span payload,
		   const struct exipc_section *sections, const uint32_t *used, unsigned nsections,
		   int64_t deadline, struct exipc_reply *out, struct err *err)
{
	struct client_end *e = end_for(chan, store_loop, sections, nsections);

	assert(nsections <= EXIPC_BULK_MAX && chan->loop == loop_self());
	if (!e || payload.len > EXIPC_BLOCK_MAX) {
		put_sections(chan, sections, nsections);
		if (e)
			return fail(err, ST_TOOBIG, "exipc: a request of %zu bytes", payload.len);
		return fail(err, ST_GONE, "exipc: not bound to the store");
	}
	struct exipc_call *c = call_new(e, &e->pair[store_loop]);
	if (!c) {
		put_sections(chan, sections, nsections);
		return fail(err, ST_NOMEM, "exipc: no memory for a call");
	}
	c->request.epoch = e->binding->epoch;
	c->request.call = c->id;
	c->request.kind = EXIPC_REQUEST;
	c->request.code = op;
	name_sections(c, sections, used, nsections);
	enum st st = call_block(c, payload, deadline, err);
	if (st) {
		call_abandon(c);
		return st;
	}
	call_send(c);
	return call_wait(c, deadline, out, err);
}

/* ---- replies and sections that are out ---- */

static struct client_end *end_of(const struct exipc_chan *chan, uint64_t epoch)
{
	if (chan->end && chan->end->binding->epoch == epoch)
		return chan->end;
	for (struct client_end *e = chan->old; e; e = e->next)
		if (e->binding->epoch == epoch)
			return e;
	return NULL;
}

static void block_free(const struct exipc_reply *r)
{
	struct client_end *e = r->block ? end_of(r->chan, r->epoch) : NULL;

	if (!e)
		return;
	block_give_back(&e->pair[r->store_loop], (uint32_t)(r->block - 1), 1,
			r->pinned ? EXIPC_PINNED : 0);
	end_release(e);
}

enum st exipc_reply_next(struct exipc_reply *r, int64_t deadline, struct err *err)
{
	struct exipc_call *c = r->call;

	assert(r->more && c);
	block_free(r);
	*r = (struct exipc_reply){ 0 };
	return call_wait(c, deadline, r, err);
}

void exipc_reply_free(struct exipc_reply *r)
{
	struct exipc_reply old = *r;

	*r = (struct exipc_reply){ 0 };
	block_free(&old);
	if (old.call)
		call_abandon(old.call);
}

bool exipc_reply_take(struct exipc_reply *r, struct exipc_reply *out)
{
	if (!r->block)
		return false;
	*out = *r;
	out->more = false;
	out->call = NULL;
	r->block = 0;
	return true;
}

enum st exipc_section_get(struct exipc_chan *chan, unsigned store_loop, int64_t deadline,
			  struct exipc_section *out, struct err *err)
{
	struct client_end *e = end_for(chan, store_loop, NULL, 0);
	struct fiber *me = fiber_self();
	struct heap_wait w = { 0 };
	enum st st = ST_NOSPACE;

	assert(me && chan->loop == loop_self());
	if (!e)
		return fail(err, ST_GONE, "exipc: not bound to the store");
	struct chan_pair *cp = &e->pair[store_loop];
	e->users++;
	if (!cp->sections.first || client_pair_holds(&cp->p, me))
		st = client_pair_section(&cp->p, me, &w.got);
	if (st == ST_NOSPACE)
		st = heap_wait_for(cp, &cp->sections, &w, deadline, err);
	else if (st)
		fail(err, st, "exipc: this fiber holds %u sections already", EXIPC_BULK_MAX);
	if (st) {
		end_release(e);
		return st;
	}
	*out = (struct exipc_section){ .at = cp->p.out->heap + (size_t)w.got * EXIPC_SECTION,
				       .index = w.got,
				       .store_loop = store_loop,
				       .epoch = e->binding->epoch };
	return ST_OK;
}

void exipc_section_put(struct exipc_chan *chan, struct exipc_section *s)
{
	struct client_end *e = s->at ? end_of(chan, s->epoch) : NULL;

	if (e) {
		struct chan_pair *cp = &e->pair[s->store_loop];

		client_pair_unsection(&cp->p, s->index);
		if (cp->sections.first)
			heap_serve_sections(cp);
		end_release(e);
	}
	*s = (struct exipc_section){ 0 };
}

void calls_free(struct client_end *e)
{
	for (uint32_t i = 0; i < e->slots; i++) {
		struct exipc_call *c = e->slot[i];

		for (struct arrival *a = arrival_pop(c); a; a = arrival_pop(c))
			free(a);
		free(c);
	}
	free(e->slot);
}
