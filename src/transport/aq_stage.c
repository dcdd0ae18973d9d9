/* aq_stage.c - what happens to a message in each queue, up to the delivery attempt; see aq_private.h.
 *
 * A stage needs what the stages before it made (loaded, categorized, routed).  It makes that itself when
 * it is not there: a waiting message may have lost everything but its record. */
#include "transport/aq_private.h"

#include <stdlib.h>

void msg_free(struct aq_msg *m)
{
	if (!m)
		return;
	mailmsg_free(m->m);
	pool_free(m->pool);
	free(m);
}

/* ---- loading ---- */

/* Takes r->m, or opens it, into r->msg. */
static enum st make_msg(struct aq *aq, struct aq_rec *r, struct err *err)
{
	struct aq_msg *m = calloc(1, sizeof(*m));
	enum st st = ST_OK;

	if (!m)
		return fail(err, ST_NOMEM, "message under way");
	m->aq = aq;
	m->rec = r;
	m->pool = pool_new("message under way", AQ_MSG_POOL);
	if (!m->pool)
		st = fail(err, ST_NOMEM, "message under way");
	if (st == ST_OK && !r->m)
		st = mailmsg_reopen(aq->o.driver, r->id, &r->m, err);
	if (st != ST_OK) {
		pool_free(m->pool);
		free(m);
		return st;
	}
	m->m = r->m;
	r->m = NULL;
	r->msg = m;
	return ST_OK;
}

static enum st load(struct aq *aq, struct aq_rec *r, struct err *err)
{
	struct aq_msg *m;
	enum st st;

	if (r->msg)
		return ST_OK;
	st = make_msg(aq, r, err);
	if (st != ST_OK)
		return st;
	m = r->msg;
	st = mailmsg_load(m->m, err);
	if (st == ST_OK)
		st = mailmsg_envelope(m->m, m->pool, &m->env, err);
	if (st == ST_OK && mailmsg_live(m->m, m->pool, &m->live, err) != ST_OK)
		m->live = (struct mailmsg_live){ .status = MP_STATUS_SUBMITTED };
	if (st != ST_OK)
		return st;
	r->arrival = m->env.arrival;
	if (m->live.attempts > r->attempts)
		r->attempts = m->live.attempts;
	if (mailmsg_live_was_broken(m->m))
		log_event(LOG_WARN, "queue file: live properties dropped",
			  LC("message", mailmsg_name(m->m)));
	return ST_OK;
}

/* What a message comes to that can't be loaded. */
static enum aq_queue_kind unloadable(struct aq *aq, struct aq_rec *r, enum st st,
				     const struct err *err)
{
	char name[MAILMSG_NAME_MAX];
	struct mailmsg *m = r->msg ? r->msg->m : NULL;

	mailmsg_id_name(r->id, name);
	log_event(LOG_WARN, "queue file can't be read", LC("message", name), LE(err));
	if (st == ST_NOTFOUND)
		return AQ_DONE; /* somebody removed it */
	if (m && (st == ST_CORRUPT || st == ST_BAD))
		return end_badmail(aq, r, m, err->text);
	return end_retry(aq, r, st);
}

/* ---- the stages ---- */

static void begin(struct aq *aq, struct aq_msg *m)
{
	m->trouble = ST_OK;
	m->hurried = m->rec->through != NULL;
	m->epoch = aq->o.chan ? exipc_epoch(aq->o.chan) : 0;
}

static bool too_early(struct aq_rec *r, enum aq_queue_kind *wait)
{
	const struct aq_msg *m = r->msg;
	int64_t now = clock_real();

	if (m->env.not_before > now) {
		r->next_try = m->env.not_before;
		*wait = AQ_Q_DEFERRED;
		return true;
	}
	/* After a restart: the time noted at the last attempt still counts. */
	if (!r->submitted && m->live.next_try > now) {
		r->next_try = m->live.next_try;
		r->error = (uint8_t)m->live.error;
		*wait = AQ_Q_RETRY;
		return true;
	}
	return false;
}

static enum aq_queue_kind submission(struct aq *aq, struct aq_rec *r)
{
	enum aq_queue_kind wait;

	(void)aq;
	if (too_early(r, &wait)) {
		r->submitted = true;
		return wait;
	}
	if (!r->submitted) {
		aq_track(r->msg, TRACK_SUBMITTED, NULL);
		event_raise(r->msg, AQ_SUBMISSION);
	}
	r->submitted = true;
	return AQ_Q_CATEGORIZE;
}

static void categorize(struct aq_msg *m)
{
	if (m->categorized)
		return;
	aq_track(m, TRACK_TO_CATEGORIZER, NULL);
	event_raise(m, AQ_PRE_CATEGORIZE);
	if (m->trouble == ST_OK)
		event_raise(m, AQ_CATEGORIZE);
	if (m->trouble == ST_OK)
		event_raise(m, AQ_POST_CATEGORIZE);
	m->categorized = m->trouble == ST_OK;
	aq_track(m, m->categorized ? TRACK_CATEGORIZED : TRACK_CATEGORIZE_RETRY, NULL);
}

static void route(struct aq_msg *m)
{
	categorize(m);
	if (m->trouble != ST_OK || m->routed)
		return;
	event_raise(m, AQ_ROUTE);
	m->routed = m->trouble == ST_OK;
	if (m->routed)
		aq_track(m, TRACK_QUEUED_LOCAL, NULL);
}

enum aq_queue_kind stage_again(struct aq *aq, struct aq_rec *r)
{
	const struct aq_msg *m = r->msg;
	struct exipc_chan *chan = aq->o.chan;

	if ((m->trouble == ST_GONE || m->trouble == ST_TIMEOUT) && chan) {
		if (!exipc_is_bound(chan))
			aq->bound = false; /* until aq_store_bound() says it is back */
		if (!aq->bound || exipc_epoch(chan) != m->epoch)
			return (enum aq_queue_kind)r->queue;
	}
	if (m->trouble == ST_TIMEOUT && m->hurried)
		return (enum aq_queue_kind)r->queue;
	return end_retry(aq, r, m->trouble);
}

static enum aq_queue_kind local(struct aq *aq, struct aq_rec *r)
{
	route(r->msg);
	if (r->msg->trouble != ST_OK)
		return stage_again(aq, r);
	event_raise(r->msg, AQ_STORE_DRIVER);
	return end_attempt(aq, r);
}

static enum aq_queue_kind run(struct aq *aq, struct aq_rec *r)
{
	struct err err;
	enum st st = load(aq, r, &err);

	if (st != ST_OK)
		return unloadable(aq, r, st, &err);
	begin(aq, r->msg);
	switch (r->queue) {
	case AQ_Q_SUBMISSION:
		return submission(aq, r);
	case AQ_Q_CATEGORIZE:
		categorize(r->msg);
		return r->msg->trouble == ST_OK ? AQ_Q_ROUTING : stage_again(aq, r);
	case AQ_Q_ROUTING:
		route(r->msg);
		return r->msg->trouble == ST_OK ? AQ_Q_LOCAL : stage_again(aq, r);
	case AQ_Q_LOCAL:
		return local(aq, r);
	default:
		return AQ_Q_SUBMISSION;
	}
}

static bool moves_on(const struct aq *aq, const struct aq_rec *r, enum aq_queue_kind next)
{
	return aq->bound && !aq->stopping && next != (enum aq_queue_kind)r->queue &&
	       (next == AQ_Q_CATEGORIZE || next == AQ_Q_ROUTING || next == AQ_Q_LOCAL);
}

enum aq_queue_kind stage_run(struct aq *aq, struct aq_rec *r)
{
	enum aq_queue_kind next = run(aq, r);

	/* What must wait is kept first: nobody waits at the other end of a connection for that. */
	if (r->through && next != AQ_DONE && !moves_on(aq, r, next) && !through_keep(r))
		return AQ_DONE;
	return next;
}
