/* chan.c - one client loop's end: its poller, what arrives, and how an end begins and ends. */
#include "exipc/channel.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define TAKE_MAX EXIPC_RING_ENTRIES /* entries per pair and turn */

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

void end_break(struct client_end *e)
{
	struct exipc_client *c = e->chan->client;

	if (e->broken || e->gone)
		return;
	e->broken = true;
	client_post(c, c->loops[0], client_lost, c);
}

/* ---- what arrives ---- */

static void take_reply(struct chan_pair *cp, const struct exipc_entry *in)
{
	struct client_end *e = cp->end;
	struct exipc_call *c = call_find(e, cp, in->call);

	if (!c || (!c->abandoned && !arrive(e, c, in))) {
		end_break(e);
		return;
	}
	if (c->abandoned)
		block_give_back(cp, in->offset, in->len, in->flags);
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
		if (chan->stopped)
			return fail(err, ST_GONE, "exipc: the client was stopped");
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

static struct exipc_fd *fd_find(struct client_binding *b, uint64_t tag)
{
	struct exipc_fd *found = NULL;

	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < b->nfds && !found; i++)
		if (b->fd[i]->tag == tag)
			found = b->fd[i];
	if (found)
		atomic_fetch_add(&found->refs, 1);
	pthread_mutex_unlock(&b->lock);
	return found;
}

struct exipc_fd *exipc_fd_hold(struct exipc_chan *chan, uint64_t tag)
{
	struct client_binding *b = chan->end ? chan->end->binding : NULL;
	struct exipc_fd *found = b ? fd_find(b, tag) : NULL;
	enum st st;

	if (!b || found)
		return found;
	/* It was sent before the reply that speaks of it, but this loop may be faster than the one that waits for the
	 * socket. */
	st = offers_take(b);
	if (st != ST_MORE)
		client_post(chan->client, chan->client->loops[0], client_lost, chan->client);
	return fd_find(b, tag);
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
void end_release(struct client_end *e)
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
		heap_fail_waits(&e->pair[i].blocks);
		heap_fail_waits(&e->pair[i].sections);
	}
	end_release(e);
}

void chan_deny(struct exipc_chan *chan)
{
	chan->denied = true;
	fiber_queue_wake_all(&chan->waiters);
}

void chan_stop(struct exipc_chan *chan)
{
	chan->stopped = true;
	fiber_queue_wake_all(&chan->waiters);
}
