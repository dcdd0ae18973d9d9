/* aq_end.c - the end of a delivery attempt: removed, reported, kept for later or set aside; see aq_private.h.
 *
 * Order, for a message that is done: every recipient's fate is known -> reports are durable -> the queue file is
 * removed, durably -> the store forgets that it delivered this message.  A crash in between repeats steps;
 * the store makes no second delivery as long as it was not told to forget. */
#include "transport/aq_private.h"

#include <stdlib.h>

#define GLITCHES 3

static bool is_open(const struct aq_rcpt *r)
{
	return !(r->flags & RP_HANDLED);
}

static bool is_unreported(const struct aq_rcpt *r)
{
	return (r->flags & RP_FAILED) == RP_FAILED && !(r->flags & RP_DSN_HANDLED);
}

static size_t count(const struct aq_msg *m, bool (*is)(const struct aq_rcpt *r))
{
	size_t n = 0;

	for (size_t i = 0; i < m->nrcpts; i++)
		n += is(&m->rcpts[i]);
	return n;
}

/* ---- later ---- */

enum aq_queue_kind end_retry(struct aq *aq, struct aq_rec *r, enum st st)
{
	unsigned wait = r->attempts < GLITCHES ? aq->o.retry_first_s : aq->o.retry_s;

	r->attempts++;
	r->error = (uint8_t)st;
	r->next_try = clock_real() + wait * NS_PER_SEC;
	aq->stats.retries++;
	if (r->msg && r->msg->categorized)
		aq_track(r->msg, TRACK_LOCAL_RETRY, NULL);
	return AQ_Q_RETRY;
}

/* What is done so far is written down, so that the next attempt, maybe after a restart, goes on from there. */
static enum aq_queue_kind keep(struct aq *aq, struct aq_rec *r, enum st st)
{
	struct aq_msg *m = r->msg;
	enum aq_queue_kind next = end_retry(aq, r, st);
	struct mailmsg_live live = { .status = MP_STATUS_RETRY,
				     .attempts = r->attempts,
				     .next_try = r->next_try,
				     .error = st };
	struct err err;

	live.rcpts = pool_get(m->pool, (m->nrcpts + 1) * sizeof(*live.rcpts));
	for (size_t i = 0; live.rcpts && i < m->nrcpts; i++)
		if (!is_open(&m->rcpts[i]))
			live.rcpts[live.nrcpts++] =
				(struct mailmsg_rcpt){ .address = m->rcpts[i].address,
						       .flags = m->rcpts[i].flags,
						       .error = m->rcpts[i].error,
						       .error_text = m->rcpts[i].text };
	if (!live.rcpts || mailmsg_put_live(m->m, &live, &err) != ST_OK)
		log_event(LOG_WARN, "attempt could not be noted",
			  LC("message", mailmsg_name(m->m)));
	return next;
}

/* ---- never ---- */

enum aq_queue_kind end_badmail(struct aq *aq, struct aq_rec *r, struct mailmsg *m, const char *why)
{
	struct err err;

	if (mailmsg_to_badmail(m, why, &err) != ST_OK) {
		log_event(LOG_ERROR, "message could not be set aside",
			  LC("message", mailmsg_name(m)), LE(&err));
		return end_retry(aq, r, err.st);
	}
	aq->stats.badmail++;
	aq_track(r->msg, TRACK_BADMAIL, NULL);
	if (r->msg->categorized)
		store_forget(r->msg);
	return AQ_DONE;
}

static enum aq_queue_kind unreportable(struct aq *aq, struct aq_rec *r)
{
	struct buf words = BUF_MAX(256 * 1024);
	enum aq_queue_kind next;

	report_words(r->msg, &words);
	buf_char(&words, 0);
	next = end_badmail(aq, r, r->msg->m,
			   words.failed ? "Some recipients failed for good; too many to name."
					: words.at);
	buf_free(&words);
	return next;
}

/* ---- done ---- */

static enum aq_queue_kind finish(struct aq *aq, struct aq_rec *r)
{
	struct err err;

	if (r->through) {
		aq->stats.through++;
		through_answer(r, ST_OK, NULL);
	} else if (mailmsg_delete(r->msg->m, &err) != ST_OK) {
		log_event(LOG_ERROR, "queue file could not be removed",
			  LC("message", mailmsg_name(r->msg->m)), LE(&err));
		return end_retry(aq, r, err.st);
	}
	aq->stats.delivered_messages++;
	store_forget(r->msg);
	return AQ_DONE;
}

/* ---- reports ---- */

static void mark_reported(struct aq_msg *m, uint32_t flag)
{
	for (size_t i = 0; i < m->nrcpts; i++)
		if (is_unreported(&m->rcpts[i]))
			m->rcpts[i].flags |= flag;
}

/* Failures that nobody wants to hear of are as good as reported. */
static void drop_unwanted(struct aq_msg *m)
{
	for (size_t i = 0; i < m->nrcpts; i++)
		if (is_unreported(&m->rcpts[i]) && !report_wanted(&m->rcpts[i]))
			m->rcpts[i].flags |= RP_DSN_HANDLED;
}

static enum st report(struct aq *aq, struct aq_msg *m)
{
	struct mailmsg *report;
	struct aq_rec *r;
	struct err err;
	enum st st = report_make(m, &report, &err);

	if (st != ST_OK) {
		log_event(LOG_WARN, "report could not be made", LC("message", mailmsg_name(m->m)),
			  LE(&err));
		return st;
	}
	mark_reported(m, RP_DSN_SENT_NDR);
	aq->stats.reports++;
	aq_track(m, TRACK_REPORTED, NULL);
	r = rec_new(aq, mailmsg_id(report), mailmsg_size(report));
	if (r) {
		r->m = report;
		queue_put(aq, r, AQ_Q_DSN);
	} else {
		mailmsg_free(report); /* the next start finds it */
	}
	return ST_OK;
}

/* ---- the attempt is over ---- */

static void expire(struct aq *aq, struct aq_msg *m)
{
	if (clock_real() - m->env.arrival < (int64_t)aq->o.expire_s * NS_PER_SEC)
		return;
	for (size_t i = 0; i < m->nrcpts; i++)
		if (is_open(&m->rcpts[i]))
			aq_rcpt_failed(
				m, &m->rcpts[i], ST_TIMEOUT, RP_ERROR_CONTEXT_STORE, "4.4.7",
				m->rcpts[i].error == ST_NOSPACE
					? "it could not be delivered in time: there was no room for it"
					: "it could not be delivered in time");
}

static enum st worst(const struct aq_msg *m)
{
	for (size_t i = 0; i < m->nrcpts; i++)
		if (is_open(&m->rcpts[i]))
			return m->rcpts[i].error;
	return ST_OK;
}

/* A store driver that could not do anything at all. */
static enum aq_queue_kind failed_attempt(struct aq *aq, struct aq_rec *r)
{
	struct aq_msg *m = r->msg;

	log_event(LOG_NOTICE, "delivery failed for now", LC("message", mailmsg_name(m->m)),
		  LE(&m->why));
	if (m->trouble == ST_CORRUPT)
		return end_badmail(aq, r, m->m, m->why.text);
	if (m->trouble == ST_NOTFOUND)
		return AQ_DONE;
	return stage_again(aq, r);
}

enum aq_queue_kind end_attempt(struct aq *aq, struct aq_rec *r)
{
	struct aq_msg *m = r->msg;
	bool reportable = m->env.sender.len && m->sender_local;

	expire(aq, m);
	drop_unwanted(m);
	/* Not all delivered: what follows takes longer than a session waits. */
	if (r->through && (count(m, is_open) || count(m, is_unreported)) && !through_keep(r))
		return AQ_DONE;
	if (m->trouble != ST_OK && count(m, is_open))
		return failed_attempt(aq, r);
	if (count(m, is_unreported) && reportable) {
		enum st st = report(aq, m);

		if (st != ST_OK)
			return keep(aq, r, st);
	}
	if (count(m, is_open))
		return keep(aq, r, worst(m));
	return count(m, is_unreported) ? unreportable(aq, r) : finish(aq, r);
}
