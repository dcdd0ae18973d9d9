/* serve.c - a store loop at work: requests become fibers, replies wait for room, what the client gave
 * back is let go.  Everything here runs on the end's own loop. */
#include "exipc/manager.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>

struct request {
	struct exipc_request rq; /* first: what the handler has is what we have */
	struct store_request raw;
	struct end_pair *pair;
	bool answered;
	char payload[];
};

struct reply_wait {
	struct reply_wait *next;
	struct fiber *fiber;
	const struct request *r;
	enum st status;
	struct span payload;
	bool more;
	struct exipc_pin pin;
	bool done;
	enum st st;
};

static void end_reject(struct store_end *e)
{
	struct exipc_server *s = e->binding->server;

	if (e->broken || e->gone)
		return;
	e->broken = true;
	server_post(s, s->o.loops[0], binding_rejected, e->binding);
}

/* ---- replies ---- */

static void waits_push(struct end_pair *ep, struct reply_wait *w)
{
	if (ep->waits_end)
		ep->waits_end->next = w;
	else
		ep->waits = w;
	ep->waits_end = w;
}

static void waits_pop(struct end_pair *ep, enum st st)
{
	struct reply_wait *w = ep->waits;

	ep->waits = w->next;
	if (!ep->waits)
		ep->waits_end = NULL;
	w->st = st;
	w->done = true;
	fiber_wake(w->fiber);
}

static enum st put_reply(struct end_pair *ep, const struct reply_wait *w)
{
	enum st st = store_pair_reply(&ep->p, &w->r->raw, w->status, w->payload, w->more, w->pin);

	if (st == ST_OK) {
		ep->ask = true;
		bell_ring(&ep->bell);
	} else if (st == ST_BAD) {
		end_reject(ep->end);
	}
	return st;
}

static bool is_full(enum st st)
{
	return st == ST_BUSY || st == ST_NOSPACE;
}

/* In order; stops at the first that has no room. */
static bool serve_waits(struct end_pair *ep)
{
	bool did = false;

	while (ep->waits && !ep->end->broken) {
		enum st st = put_reply(ep, ep->waits);

		ep->short_of = st;
		if (is_full(st))
			break;
		waits_pop(ep, st);
		did = true;
	}
	return did;
}

static enum st wait_for_room(struct end_pair *ep, struct reply_wait *w, enum st why)
{
	store_pair_waits(&ep->p, why);
	w->fiber = fiber_self();
	ep->short_of = why;
	waits_push(ep, w); /* served by the poller */
	while (!w->done)
		fiber_park(NO_DEADLINE);
	return w->st;
}

enum st exipc_reply(struct exipc_request *rq, enum st status, struct span payload, bool more,
		    void (*release)(void *arg), void *arg)
{
	struct request *r = (struct request *)rq;
	struct end_pair *ep = r->pair;
	struct reply_wait w = {
		.r = r, .status = status, .payload = payload, .more = more, .pin = { release, arg }
	};
	enum st st = ST_GONE;

	assert(!r->answered);
	assert(payload.len <= EXIPC_BLOCK_MAX);
	if (!ep->end->gone && !ep->end->broken) {
		st = ep->waits ? ST_BUSY : put_reply(ep, &w);
		if (is_full(st))
			st = wait_for_room(ep, &w, st);
	}
	if (!more)
		r->answered = true;
	if (st == ST_OK)
		return ST_OK;
	if (st == ST_NOMEM) /* nothing to reply with: as good as a client that is gone */
		end_reject(ep->end);
	if (release)
		release(arg);
	return ST_GONE;
}

bool exipc_request_gone(const struct exipc_request *rq)
{
	const struct request *r = (const struct request *)rq;

	return r->pair->end->gone || r->pair->end->broken;
}

/* ---- requests ---- */

static void end_finish(struct store_end *e)
{
	struct exipc_binding *b = e->binding;
	struct exipc_server *s = b->server;

	end_drop(e);
	server_post(s, s->o.loops[0], binding_detached, e);
}

static void request_fiber(void *arg)
{
	struct request *r = arg;
	struct end_pair *ep = r->pair;
	struct store_end *e = ep->end;
	struct exipc_server *s = e->at->server;

	s->o.request(s->o.arg, &r->rq);
	if (!r->answered && !e->gone && !e->broken) {
		atomic_fetch_add(&s->unanswered, 1);
		exipc_reply(&r->rq, ST_IO, SPAN_NONE, false, NULL, NULL);
	}
	free(r);
	ep->running--;
	if (--e->running == 0 && e->gone)
		end_finish(e);
}

/* With its own copy of the payload: what is handled is what was checked. */
static struct request *request_new(struct end_pair *ep, const struct store_request *raw)
{
	struct exipc_binding *b = ep->end->binding;
	struct request *r = malloc(sizeof(*r) + raw->payload.len);

	if (!r)
		return NULL;
	if (raw->payload.len)
		memcpy(r->payload, raw->payload.at, raw->payload.len);
	r->raw = *raw;
	r->pair = ep;
	r->answered = false;
	r->rq = (struct exipc_request){ .binding_id = b->id,
					.binding_data = b->data,
					.client_loop = ep->client_loop,
					.op = raw->op,
					.payload = span_of(r->payload, raw->payload.len),
					.nsections = raw->nsections };
	memcpy(r->rq.sections, raw->section, sizeof(r->rq.sections));
	return r;
}

static bool start(struct end_pair *ep, struct request *r)
{
	if (fiber_spawn("request", request_fiber, r, NULL)) {
		/* The loop runs all the fibers it can: the next turn after one ended tries again. */
		ep->stuck = r;
		return false;
	}
	ep->running++;
	ep->end->running++;
	return true;
}

static bool may_take(const struct end_pair *ep)
{
	return !ep->stuck && ep->running < ep->end->at->server->o.fibers_max;
}

static bool take_requests(struct end_pair *ep)
{
	bool did = false;

	if (ep->stuck) {
		struct request *r = ep->stuck;

		ep->stuck = NULL;
		if (!start(ep, r))
			return false;
		did = true;
	}
	while (may_take(ep)) {
		struct store_request raw;
		enum st st = store_pair_take(&ep->p, &raw);

		if (st == ST_MORE)
			break;
		struct request *r = st ? NULL : request_new(ep, &raw);
		if (!r) {
			end_reject(ep->end);
			return true;
		}
		did = true;
		if (!start(ep, r))
			break;
	}
	return did;
}

/* ---- the poller ---- */

static bool pair_poll(struct end_pair *ep)
{
	enum st st = store_pair_returns(&ep->p);
	bool did = st != ST_MORE;

	if (st == ST_BAD) {
		end_reject(ep->end);
		return true;
	}
	if (ep->waits)
		did |= serve_waits(ep);
	did |= take_requests(ep);
	if (notes_waiting(&ep->p.notes) && !ep->end->broken) {
		st = store_pair_notes(&ep->p);
		if (st == ST_BAD)
			end_reject(ep->end);
		ep->ask |= st == ST_OK;
		did |= st == ST_OK;
	}
	ep->ask_wanted |= ring_tell(&ep->p.requests);
	/* Behind the fence before the sleep this side looks once more for what it wants. */
	word_note(&ep->p.out->wanted, ep->waits || notes_waiting(&ep->p.notes));
	return did;
}

/* Answer the open questions: does the other side sleep, and should it not? */
static void end_settle(struct store_end *e)
{
	bool open = false;

	for (unsigned i = 0; i < e->binding->client_loops; i++)
		open |= e->pairs[i].ask || e->pairs[i].ask_wanted;
	if (!open)
		return;
	word_fence();
	for (unsigned i = 0; i < e->binding->client_loops; i++) {
		struct end_pair *ep = &e->pairs[i];

		if (ep->ask || (ep->ask_wanted && word_get(&ep->p.in->wanted)))
			bell_ring(&ep->bell);
		ep->ask = ep->ask_wanted = false;
		word_note(&ep->p.out->figures.rung, ep->bell.count);
	}
}

/* Spinning is for a client that runs elsewhere: one that shares our CPU waits for it. */
static void make_way(const struct store_loop *l, bool busy)
{
	for (struct store_end *e = l->ends; e; e = e->next) {
		uint64_t cpu = cpu_tell(e->words);

		for (unsigned i = 0; !busy && i < e->binding->client_loops; i++)
			if (cpu_shared(&e->binding->client.head->loop[i], cpu)) {
				sched_yield();
				return;
			}
	}
}

static bool store_poll(void *arg)
{
	struct store_loop *l = arg;
	bool did = false;

	for (struct store_end *e = l->ends; e; e = e->next) {
		for (unsigned i = 0; i < e->binding->client_loops && !e->broken; i++)
			did |= pair_poll(&e->pairs[i]);
		end_settle(e);
	}
	make_way(l, did);
	return did;
}

/* After our word says that we sleep: is there nothing to do all the same? */
static bool pair_idle(struct end_pair *ep)
{
	bool for_ring = notes_waiting(&ep->p.notes) || (ep->waits && ep->short_of == ST_BUSY);
	unsigned n;

	if (word_get(&ep->p.in->returned) != ep->p.returned)
		return false;
	if (for_ring && (ring_room(&ep->p.replies, &n) || n))
		return false;
	return !may_take(ep) || (ring_waiting(&ep->p.requests, &n) == ST_OK && n == 0);
}

static void store_after_sleep(void *arg)
{
	struct store_loop *l = arg;

	for (struct store_end *e = l->ends; e; e = e->next)
		sleep_clear(&e->words->asleep);
}

static bool store_before_sleep(void *arg)
{
	struct store_loop *l = arg;

	for (struct store_end *e = l->ends; e; e = e->next) {
		end_settle(e);
		sleep_set(&e->words->asleep);
	}
	if (l->ends)
		word_fence();
	for (struct store_end *e = l->ends; e; e = e->next)
		for (unsigned i = 0; i < e->binding->client_loops && !e->broken; i++)
			if (!pair_idle(&e->pairs[i])) {
				store_after_sleep(l);
				return false;
			}
	return true;
}

void store_loop_start(void *arg)
{
	struct store_loop *l = arg;

	l->poller = (struct poller){ .poll = store_poll,
				     .before_sleep = store_before_sleep,
				     .after_sleep = store_after_sleep,
				     .arg = l };
	loop_poller_add(&l->poller);
}

/* ---- notifications ---- */

void exipc_notify(struct exipc_server *s, uint64_t binding_id, unsigned client_loop, uint64_t token,
		  uint64_t value)
{
	struct loop *here = loop_self();

	for (unsigned i = 0; i < s->o.nloops; i++) {
		if (s->o.loops[i] != here)
			continue;
		for (struct store_end *e = s->at[i].ends; e; e = e->next)
			if (e->binding->id == binding_id &&
			    client_loop < e->binding->client_loops &&
			    notes_set(&e->pairs[client_loop].p.notes, token, value))
				end_reject(e); /* it does not read at all */
	}
}

/* ---- life ---- */

static void rang(void *arg, unsigned events)
{
	/* Edge-triggered and never read: that the loop woke up is all. */
	(void)arg;
	(void)events;
}

enum st end_attach(struct store_end *e)
{
	struct exipc_binding *b = e->binding;
	unsigned me = e->at->index, nstore = b->server->o.nloops;

	e->pairs = calloc(b->client_loops, sizeof(*e->pairs));
	if (!e->pairs)
		return ST_NOMEM;
	e->words = &b->store.head->loop[me];
	for (unsigned i = 0; i < b->client_loops; i++) {
		struct end_pair *ep = &e->pairs[i];

		ep->end = e;
		ep->client_loop = i;
		ep->bell = (struct bell){ .asleep = &b->client.head->loop[i].asleep,
					  .fd = b->client_bell[i] };
		store_pair_init(&ep->p, exipc_lane_in(b->client.head, nstore, i, me),
				exipc_lane_at(b->store.head, nstore, i, me), b->epoch);
	}
	if (loop_watch(&e->watch, b->store_bell[me], EPOLLIN, rang, e, NULL))
		return ST_IO;
	e->next = e->at->ends;
	e->at->ends = e;
	e->attached = true;
	return ST_OK;
}

static void end_unlink(struct store_end *e)
{
	for (struct store_end **at = &e->at->ends; *at; at = &(*at)->next) {
		if (*at != e)
			continue;
		*at = e->next;
		return;
	}
}

void end_detach(struct store_end *e)
{
	e->gone = true;
	if (e->attached) {
		end_unlink(e);
		loop_unwatch(&e->watch);
		for (unsigned i = 0; i < e->binding->client_loops; i++)
			while (e->pairs[i].waits)
				waits_pop(&e->pairs[i], ST_GONE);
	}
	if (!e->running)
		end_finish(e);
}

void end_drop(struct store_end *e)
{
	struct exipc_binding *b = e->binding;

	if (e->finished)
		return;
	e->finished = true;
	for (unsigned i = 0; e->pairs && i < b->client_loops; i++) {
		free(e->pairs[i].stuck);
		store_pair_drop(&e->pairs[i].p);
	}
	free(e->pairs);
	e->pairs = NULL;
	if (b->server->o.unbound)
		b->server->o.unbound(b->server->o.arg, b->id, b->data);
}
