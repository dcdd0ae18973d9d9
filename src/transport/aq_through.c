/* aq_through.c - through delivery: the session waits while its message passes the queues; see aq_accept().
 *
 * The promise is the same as with a queue file: what was acknowledged is durable.  Here it is so in the
 * mailboxes, by the store's log, before the session hears of it; and as soon as anything keeps the message from
 * all of its recipients (the store is gone or full, an address fails, a sink wants it later) it is kept in the queue
 * folder first, under the same GUID, so that nobody gets it twice. */
#include "transport/aq_private.h"

/* On the stack of the session's fiber. */
struct through {
	struct aq *aq;
	struct mailmsg *m;
	struct loop *loop;
	struct fiber *fiber;
	bool done; /* on the session's loop */
	enum st st;
	struct err *err;
};

static void wake(void *arg)
{
	struct through *t = arg;

	t->done = true;
	fiber_wake(t->fiber);
}

static void answer(struct through *t, enum st st, const struct err *err)
{
	t->st = st;
	if (st != ST_OK && t->err)
		*t->err = *err;
	loop_post(t->loop, wake, t); /* *t is gone at any time from now on */
}

void through_answer(struct aq_rec *r, enum st st, const struct err *err)
{
	struct through *t = r->through;

	r->through = NULL;
	answer(t, st, err);
}

bool through_keep(struct aq_rec *r)
{
	struct err err;
	enum st st = mailmsg_keep(r->msg ? r->msg->m : r->m, &err);

	through_answer(r, st, &err);
	return st == ST_OK;
}

/* ---- what comes in ---- */

/* On the engine's loop. */
static void arrived(void *arg)
{
	struct through *t = arg;
	struct aq *aq = t->aq;
	struct aq_rec *r = aq->stopping ? NULL : rec_new(aq, mailmsg_id(t->m), mailmsg_size(t->m));
	struct err err;

	if (!r) {
		mailmsg_free(t->m);
		answer(t, ST_GONE, (fail(&err, ST_GONE, "the server is stopping"), &err));
		return;
	}
	r->m = t->m;
	r->through = t;
	aq->stats.submitted++;
	queue_put(aq, r, AQ_Q_SUBMISSION);
	queues_pump(aq);
}

static enum st by_the_queue(struct aq *aq, struct mailmsg *m, struct mailmsg_envelope *env,
			    struct err *err)
{
	enum st st = mailmsg_commit(m, env, err);

	if (st == ST_OK)
		aq_submit(aq, m);
	else
		mailmsg_free(m);
	return st;
}

/* Nobody who waits here waits for a worker: three quarters of a queue's places are for these, and there is no
 * backlog that fills the rest. */
static bool way_is_free(const struct aq *aq)
{
	uint64_t places = aq->o.fibers_per_queue, through = atomic_load(&aq->through);

	return aq->o.through && atomic_load(&aq->up) && through < places * 3 / 4 &&
	       atomic_load(&aq->waiting) <= through + places / 4;
}

enum st aq_accept(struct aq *aq, struct mailmsg *m, struct mailmsg_envelope *env, struct err *err)
{
	struct through t = {
		.aq = aq, .m = m, .loop = loop_self(), .fiber = fiber_self(), .err = err
	};
	enum st st;

	if (!way_is_free(aq))
		return by_the_queue(aq, m, env, err);
	st = mailmsg_seal(m, env, err);
	if (st != ST_OK) {
		mailmsg_free(m);
		return st;
	}
	atomic_fetch_add(&aq->through, 1);
	loop_post(aq->loop, arrived, &t);
	while (!t.done)
		fiber_park(NO_DEADLINE);
	atomic_fetch_sub(&aq->through, 1);
	return t.st;
}

/* ---- when it can't go on ---- */

/* Calls fn for everything that waits and is not durable. */
static void each(struct aq *aq, void (*fn)(struct aq *aq, struct aq_rec *r))
{
	for (int k = 0; k < AQ_QUEUE_KINDS; k++)
		for (struct aq_rec *r = aq->queues[k].head, *next; r; r = next) {
			next = r->next;
			if (r->through)
				fn(aq, r);
		}
}

/* The first queue asks nothing of the store, and a worker there keeps what can't move on. */
static void back_to_submission(struct aq *aq, struct aq_rec *r)
{
	if (r->queue == AQ_Q_SUBMISSION)
		return;
	queue_cut(aq, r);
	queue_put(aq, r, AQ_Q_SUBMISSION);
}

void through_store_gone(struct aq *aq)
{
	each(aq, back_to_submission);
	queues_pump(aq);
}

static void refuse(struct aq *aq, struct aq_rec *r)
{
	struct err err;

	fail(&err, ST_GONE, "the server is stopping");
	through_answer(r, ST_GONE, &err);
	queue_cut(aq, r);
	rec_free(aq, r);
}

void through_stop(struct aq *aq)
{
	each(aq, refuse);
}
