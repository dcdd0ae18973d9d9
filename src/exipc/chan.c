/* chan.c - one client loop's end: calls, replies, sections, and its poller.
 *
 * Everything runs on the channel's loop.  A call's way: its block (waits in order for heap), the ring
 * (waits in the backlog), the store, its replies; the last reply frees what the request took.  A call that
 * nobody waits for any more stays until its last reply or the end of the binding. */
#include "exipc/channel.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define TAKE_MAX EXIPC_RING_ENTRIES /* entries per pair and turn */

static void end_release(struct client_end *e);

/* ---- asking the store to wake ---- */

static void end_settle(struct client_end *e)
{
	bool open = false;

	for (unsigned i = 0; i < e->binding->store_loops; i++)
		open |= e->pair[i].ask || e->pair[i].ask_wanted;
	if (!open)
		return;
	word_fence();
	for (unsigned i = 0; i < e->binding->store_loops; i++) {
		struct chan_pair *cp = &e->pair[i];

		if (cp->ask || (cp->ask_wanted && word_get(&cp->p.in->wanted)))
			bell_ring(&cp->bell);
		cp->ask = cp->ask_wanted = false;
		word_note(&cp->p.out->figures.rung, cp->bell.count);
	}
}

static void end_break(struct client_end *e)
{
	struct exipc_client *c = e->chan->client;

	if (e->broken || e->gone)
		return;
	e->broken = true;
	client_post(c, c->loops[0], client_lost, c);
}

/* ---- waiting for heap ---- */

static void waits_push(struct heap_waits *q, struct heap_wait *w)
{
	if (!q->first)
		q->end = &q->first;
	*q->end = w;
	q->end = &w->next;
}

static void waits_remove(struct heap_waits *q, const struct heap_wait *w)
{
	struct heap_wait **at = &q->first;

	while (*at && *at != w)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = w->next;
	if (!w->next)
		q->end = at;
}

static void waits_done(struct heap_waits *q, struct heap_wait *w, enum st st)
{
	waits_remove(q, w);
	w->st = st;
	w->done = true;
	fiber_wake(w->fiber);
}

/* Blocks strictly in order, so that a large one is not overtaken for ever. */
static void serve_blocks(struct chan_pair *cp)
{
	while (cp->blocks.first) {
		struct heap_wait *w = cp->blocks.first;
		enum st st = client_pair_block(&cp->p, w->payload, &w->got);

		if (st == ST_NOSPACE)
			return;
		waits_done(&cp->blocks, w, st);
	}
}

/* Sections in order, but who holds some passes those who hold none: only so can it get ready. */
static void serve_sections(struct chan_pair *cp)
{
	bool newcomer_waits = false;

	for (struct heap_wait *w = cp->sections.first, *next; w; w = next) {
		bool holds = client_pair_holds(&cp->p, w->fiber);

		next = w->next;
		if (newcomer_waits && !holds)
			continue;
		enum st st = client_pair_section(&cp->p, w->fiber, &w->got);
		if (st != ST_NOSPACE)
			waits_done(&cp->sections, w, st);
		else
			newcomer_waits |= !holds;
	}
}

static enum st wait_for_heap(struct chan_pair *cp, struct heap_waits *q, struct heap_wait *w,
			     int64_t deadline, struct err *err)
{
	client_pair_waits(&cp->p, ST_NOSPACE);
	w->fiber = fiber_self();
	waits_push(q, w);
	while (!w->done && fiber_park(deadline))
		continue;
	if (!w->done) {
		waits_remove(q, w);
		return fail(err, ST_TIMEOUT, "exipc: no room in the heap in time");
	}
	if (w->st)
		return fail(err, w->st, "exipc: the store went away");
	return ST_OK;
}

/* ---- calls ---- */

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
static void call_answered(struct exipc_call *c)
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
		serve_blocks(cp);
	if (cp->sections.first)
		serve_sections(cp);
}

static void give_back(struct chan_pair *cp, uint32_t offset, uint32_t len, uint8_t flags)
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

static void call_free(struct exipc_call *c)
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
static void call_abandon(struct exipc_call *c)
{
	struct chan_pair *cp = c->pair;

	for (struct arrival *a = arrival_pop(c); a; a = arrival_pop(c)) {
		give_back(cp, a->offset, a->len, a->flags);
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

static bool send_backlog(struct chan_pair *cp)
{
	bool did = false;

	while (cp->backlog && !cp->end->broken) {
		struct exipc_call *c = cp->backlog;
		enum st st = client_pair_send(&cp->p, &c->request);

		if (st == ST_BAD)
			end_break(cp->end);
		if (st)
			break;
		cp->backlog = c->next;
		c->next = NULL;
		c->sent = true;
		cp->ask = did = true;
	}
	return did;
}

/* ---- what arrives ---- */

static struct exipc_call *call_find(const struct client_end *e, const struct chan_pair *cp,
				    uint64_t id)
{
	uint32_t slot = (uint32_t)id;
	struct exipc_call *c = slot < e->slots ? e->slot[slot] : NULL;

	return c && c->id == id && c->pair == cp && c->sent && !c->done ? c : NULL;
}

static bool arrive(struct client_end *e, struct exipc_call *c, const struct exipc_entry *in)
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

static void take_reply(struct chan_pair *cp, const struct exipc_entry *in)
{
	struct client_end *e = cp->end;
	struct exipc_call *c = call_find(e, cp, in->call);

	if (!c || (!c->abandoned && !arrive(e, c, in))) {
		end_break(e);
		return;
	}
	if (c->abandoned)
		give_back(cp, in->offset, in->len, in->flags);
	if (!(in->flags & EXIPC_MORE))
		call_answered(c);
	if (c->fiber)
		fiber_wake(c->fiber);
	if (c->abandoned && c->done)
		call_free(c);
}

static void take_notes(struct chan_pair *cp, const struct exipc_entry *in)
{
	struct exipc_chan *chan = cp->end->chan;
	const struct exipc_client_options *o = &chan->client->o;

	for (unsigned i = 0; o->notify && i < in->count; i++)
		o->notify(o->arg, chan, in->note[i].token, in->note[i].value);
}

static bool pair_poll(struct chan_pair *cp)
{
	struct exipc_entry in;
	bool did = false;

	for (unsigned n = 0; n < TAKE_MAX && !cp->end->broken; n++) {
		enum st st = client_pair_take(&cp->p, &in);

		if (st == ST_MORE)
			break;
		did = true;
		if (st == ST_BAD)
			end_break(cp->end);
		else if (in.kind == EXIPC_REPLY)
			take_reply(cp, &in);
		else
			take_notes(cp, &in);
	}
	cp->ask_wanted |= ring_tell(&cp->p.replies);
	if (cp->backlog) {
		did |= send_backlog(cp);
		word_note(&cp->p.out->wanted, cp->backlog != NULL);
	}
	return did;
}

/* Spinning is for a store that runs elsewhere: one that shares our CPU waits for it. */
static void make_way(const struct client_end *e, bool busy)
{
	uint64_t cpu = cpu_tell(e->words);

	for (unsigned i = 0; !busy && i < e->binding->store_loops; i++)
		if (e->pair[i].oldest && cpu_shared(&e->binding->store.head->loop[i], cpu)) {
			sched_yield();
			return;
		}
}

static bool chan_poll(void *arg)
{
	struct exipc_chan *chan = arg;
	struct client_end *e = chan->end;
	bool did = false;

	if (!e)
		return false;
	for (unsigned i = 0; i < e->binding->store_loops && !e->broken; i++)
		did |= pair_poll(&e->pair[i]);
	end_settle(e);
	make_way(e, did);
	return did;
}

static bool pair_idle(struct chan_pair *cp)
{
	unsigned n;

	if (cp->backlog && (ring_room(&cp->p.requests, &n) || n))
		return false;
	return ring_waiting(&cp->p.replies, &n) == ST_OK && n == 0;
}

static void chan_after_sleep(void *arg)
{
	const struct exipc_chan *chan = arg;

	if (chan->end)
		sleep_clear(&chan->end->words->asleep);
}

static bool chan_before_sleep(void *arg)
{
	struct exipc_chan *chan = arg;
	struct client_end *e = chan->end;

	if (!e || e->broken)
		return true;
	end_settle(e);
	sleep_set(&e->words->asleep);
	word_fence();
	for (unsigned i = 0; i < e->binding->store_loops; i++)
		if (!pair_idle(&e->pair[i])) {
			sleep_clear(&e->words->asleep);
			return false;
		}
	return true;
}

void chan_start(void *arg)
{
	struct exipc_chan *chan = arg;

	chan->poller = (struct poller){ .poll = chan_poll,
					.before_sleep = chan_before_sleep,
					.after_sleep = chan_after_sleep,
					.arg = chan };
	loop_poller_add(&chan->poller);
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
		st = wait_for_heap(cp, &cp->blocks, &w, deadline, err);
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
	give_back(&e->pair[r->store_loop], (uint32_t)(r->block - 1), 1,
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
		st = wait_for_heap(cp, &cp->sections, &w, deadline, err);
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
			serve_sections(cp);
		end_release(e);
	}
	*s = (struct exipc_section){ 0 };
}

/* ---- the channel ---- */

struct exipc_chan *exipc_chan(struct exipc_client *c)
{
	struct loop *here = loop_self();

	for (unsigned i = 0; i < c->o.nloops; i++)
		if (c->chan[i].loop == here)
			return &c->chan[i];
	panic("exipc: this thread's loop was not given to the client");
}

enum st exipc_wait_bound(struct exipc_chan *chan, int64_t deadline, struct err *err)
{
	while (!chan->end) {
		if (chan->denied) {
			if (err)
				*err = chan->why;
			return ST_DENIED;
		}
		if (!fiber_queue_wait(&chan->waiters, deadline))
			return fail(err, ST_TIMEOUT, "exipc: not bound to the store in time");
	}
	return ST_OK;
}

bool exipc_is_bound(const struct exipc_chan *chan)
{
	return chan->end && !chan->end->broken;
}

uint64_t exipc_epoch(const struct exipc_chan *chan)
{
	return chan->end ? chan->end->binding->epoch : 0;
}

unsigned exipc_store_loops(const struct exipc_chan *chan)
{
	return chan->end ? chan->end->binding->store_loops : 0;
}

struct exipc_fd *exipc_fd_hold(struct exipc_chan *chan, uint64_t tag)
{
	if (!chan->end)
		return NULL;
	const struct client_binding *b = chan->end->binding;
	for (unsigned i = 0; i < b->nfds; i++)
		if (b->fd[i]->tag == tag) {
			atomic_fetch_add(&b->fd[i]->refs, 1);
			return b->fd[i];
		}
	return NULL;
}

/* ---- ends ---- */

struct client_end *end_new(struct exipc_chan *chan, struct client_binding *b)
{
	struct client_end *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->chan = chan;
	e->binding = binding_hold(b);
	e->words = &b->client.head->loop[chan->index];
	for (unsigned i = 0; i < b->store_loops; i++) {
		struct chan_pair *cp = &e->pair[i];

		cp->end = e;
		cp->store_loop = i;
		cp->bell = (struct bell){ .asleep = &b->store.head->loop[i].asleep,
					  .fd = b->store_bell[i] };
		client_pair_init(
			&cp->p, exipc_lane_in(b->store.head, b->store_loops, chan->index, i),
			exipc_lane_at(b->client.head, b->store_loops, chan->index, i), b->epoch);
	}
	return e;
}

static void calls_free(struct client_end *e)
{
	for (uint32_t i = 0; i < e->slots; i++) {
		struct exipc_call *c = e->slot[i];

		for (struct arrival *a = arrival_pop(c); a; a = arrival_pop(c))
			free(a);
		free(c);
	}
	free(e->slot);
}

void end_forget(struct client_end *e)
{
	if (!e)
		return;
	calls_free(e);
	while (e->spare_arrivals) {
		struct arrival *a = e->spare_arrivals;

		e->spare_arrivals = a->next;
		free(a);
	}
	for (unsigned i = 0; i < e->binding->store_loops; i++)
		client_pair_drop(&e->pair[i].p);
	binding_let_go(e->binding);
	free(e);
}

/* One use less: an ended end goes with its last. */
static void end_release(struct client_end *e)
{
	struct exipc_chan *chan = e->chan;

	assert(e->users > 0);
	if (--e->users || !e->gone)
		return;
	for (struct client_end **at = &chan->old; *at; at = &(*at)->next) {
		if (*at != e)
			continue;
		*at = e->next;
		end_forget(e);
		return;
	}
}

static void rang(void *arg, unsigned events)
{
	const struct client_end *e = arg;

	(void)events;
	bell_heard(e->binding->client_bell[e->chan->index]);
}

enum st chan_attach(struct exipc_chan *chan, struct client_end *e)
{
	int fd = e->binding->client_bell[chan->index];
	enum st st = loop_watch(&e->watch, fd, EPOLLIN, rang, e, NULL);

	if (st)
		return st;
	chan->end = e;
	fiber_queue_wake_all(&chan->waiters);
	return ST_OK;
}

static void fail_waits(struct heap_waits *q)
{
	while (q->first)
		waits_done(q, q->first, ST_GONE);
}

void chan_detach(struct exipc_chan *chan)
{
	struct client_end *e = chan->end;

	if (!e)
		return;
	chan->end = NULL;
	loop_unwatch(&e->watch);
	e->gone = true;
	e->next = chan->old;
	chan->old = e;
	e->users++; /* until we are through */
	for (uint32_t i = 0; i < e->slots; i++) {
		struct exipc_call *c = e->slot[i];

		if (c->pair && c->fiber)
			fiber_wake(c->fiber);
		else if (c->pair && c->abandoned)
			call_abandon(c);
	}
	for (unsigned i = 0; i < e->binding->store_loops; i++) {
		fail_waits(&e->pair[i].blocks);
		fail_waits(&e->pair[i].sections);
	}
	end_release(e);
}

void chan_deny(struct exipc_chan *chan)
{
	chan->denied = true;
	fiber_queue_wake_all(&chan->waiters);
}
