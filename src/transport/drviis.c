/* drviis.c - the store driver, inbound half: a message from the queue folder into the store (seed
 * "Informationsspeichertreiber", incoming steps 3 to 9; docs/life-of-a-message.md).
 *
 * The content is filled straight into shared memory (exifs/upload.h).  The engine removes the queue file only after this answered, and the store forgets the
 * message's guid only after that removal is durable.
 *
 * Sections are scarce (EXIPC_HEAP_SECTIONS for each pair of loops, shared with the sessions): a delivery
 * takes its share before it takes the first one, so that no two deliveries wait for each other's. */
#include "base/crc32c.h"
#include "exifs/upload.h"
#include "transport/aq_private.h"

#include <stdio.h>
#include <stdlib.h>

#define MAILBOXES_MAX  1000 /* of one request */
#define SECTIONS_SHARE (EXIPC_HEAP_SECTIONS / 2)
#define DELIVER_MS     60000 /* for the store to take a message; and one for each kilobyte */
#define HURRY_MS       3000  /* the same while a session waits; and one for each twenty */

struct share {
	unsigned used;
	struct fiber_queue waiters;
};

struct store_driver {
	struct share shares[EXIPC_LOOPS_MAX];
};

/* One message under way to the store. */
struct delivery {
	struct upload body;
	struct aq_msg *m;
	uint64_t at; /* next octet of the content */
	uint32_t crc;
};

/* ---- the share ---- */

static unsigned sections_for(uint64_t octets)
{
	uint64_t n = (octets + EXIPC_SECTION - 1) / EXIPC_SECTION;

	return n > EXIPC_BULK_MAX ? EXIPC_BULK_MAX : (unsigned)n;
}

static enum st share_take(struct share *s, unsigned n, int64_t deadline, struct err *err)
{
	while (s->used + n > SECTIONS_SHARE)
		if (!fiber_queue_wait(&s->waiters, deadline))
			return fail(err, ST_TIMEOUT, "too many deliveries to the store at a time");
	s->used += n;
	return ST_OK;
}

static void share_put(struct share *s, unsigned n)
{
	s->used -= n;
	fiber_queue_wake_all(&s->waiters);
}

/* ---- the body ---- */

/* RFC 5321 4.4: the final delivery puts the sender on top. */
static enum st put_return_path(struct delivery *d, struct err *err)
{
	char *at;
	size_t len;
	enum st st = upload_room(&d->body, &at, &len, err);

	if (st == ST_OK)
		upload_took(&d->body, (size_t)snprintf(at, len, "Return-Path: <" SPAN_FMT ">\r\n",
						       SPAN_ARG(d->m->env.sender)));
	return st;
}

static enum st put_content(struct delivery *d, struct err *err)
{
	struct mailmsg *m = d->m->m;
	uint64_t size = d->m->env.size;

	while (d->at < size) {
		char *at;
		size_t len, got;
		enum st st = upload_room(&d->body, &at, &len, err);

		if (st == ST_OK)
			st = mailmsg_read(m, d->at, at, len, &got, err);
		if (st == ST_OK && got == 0)
			st = fail(err, ST_CORRUPT, "the content is shorter than when it came");
		if (st != ST_OK)
			return st;
		d->crc = crc32c(d->crc, at, got);
		upload_took(&d->body, got);
		d->at += got;
	}
	return d->crc == d->m->env.content_crc
		       ? ST_OK
		       : fail(err, ST_CORRUPT, "the content is not what came: wrong checksum");
}

/* ---- the delivery ---- */

static void delivered(struct aq_msg *m, struct aq_rcpt *r)
{
	r->flags |= RP_DELIVERED;
	r->error = ST_OK;
	m->aq->stats.delivered_recipients++;
	aq_track(m, TRACK_DELIVERED, r);
}

static void settle(struct aq_msg *m, struct aq_rcpt *r, enum st st)
{
	switch (st) {
	case ST_OK:
	case ST_EXISTS:
		delivered(m, r);
		break;
	case ST_NOTFOUND:
		aq_rcpt_failed(m, r, st, RP_ERROR_CONTEXT_STORE, "5.1.1",
			       "the mailbox does not exist any more");
		break;
	case ST_DENIED:
		aq_rcpt_failed(m, r, st, RP_ERROR_CONTEXT_STORE, "5.2.1",
			       "the mailbox is disabled");
		break;
	case ST_TOOBIG:
		aq_rcpt_failed(m, r, st, RP_ERROR_CONTEXT_STORE, "5.2.3",
			       "the message is too large for the mailbox");
		break;
	case ST_BAD:
		aq_rcpt_failed(m, r, st, RP_ERROR_CONTEXT_STORE, "5.6.0",
			       "the store does not take this content");
		break;
	default:
		r->error = st; /* tried again later */
		break;
	}
}

static void take_statuses(struct aq_msg *m, const struct plist *l, struct aq_rcpt **rcpts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t st = i < plist_mv_count(l, PR_STATUSES) ? plist_mv_num(l, PR_STATUSES, i)
								 : ST_IO;

		settle(m, rcpts[i], st < ST_CODES ? (enum st)st : ST_IO);
	}
}

static void mailbox_ids(struct aq_rcpt **rcpts, size_t n, uint64_t *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = rcpts[i]->mailbox_id;
}

/* Steps 5 to 9: hand over the body; the answer says what became of it in every mailbox. */
static enum st deliver(struct delivery *d, struct aq_rcpt **rcpts, size_t n, struct err *err)
{
	const struct upload *u = &d->body;
	struct wire_answer a = { 0 };
	struct wire_msg w;
	enum st st;

	wire_begin(&w, 4);
	pw_span(&w.w, PR_MSG_GUID, span_of(d->m->env.guid, MAILMSG_GUID));
	pw_u64(&w.w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)d->m->env.arrival);
	pw_mv_num(&w.w, PR_RECIPIENT_MAILBOXES, u->mailboxes, n);
	st = upload_attach(&d->body, &w, err);
	if (st != ST_OK) {
		buf_free(&w.bytes);
		return st;
	}
	w.deadline = u->deadline;
	st = wire_send(&w, u->chan, u->loop, WIRE_SMTP_DELIVER, &a, err);
	if (st == ST_OK)
		take_statuses(d->m, &a.list, rcpts, n);
	wire_answer_free(&a);
	return st;
}

static int64_t deadline_for(const struct aq_msg *m)
{
	int64_t kilobytes = (int64_t)(m->env.size / 1000);

	return deadline_in_ms(m->hurried ? HURRY_MS + kilobytes / 20 : DELIVER_MS + kilobytes);
}

static enum st deliver_batch(struct store_driver *driver, struct aq_msg *m, struct aq_rcpt **rcpts,
			     size_t n, struct err *err)
{
	struct exipc_chan *chan = m->aq->o.chan;
	unsigned loop = wire_loop(chan, rcpts[0]->mailbox_id);
	uint64_t octets = sizeof("Return-Path: <>\r\n") - 1 + m->env.sender.len + m->env.size;
	unsigned sections = sections_for(octets);
	int64_t deadline = deadline_for(m);
	struct delivery d = { .m = m };
	uint64_t *mailboxes = pool_get(m->pool, n * sizeof(*mailboxes));
	enum st st;

	if (!mailboxes)
		return fail(err, ST_NOMEM, "%s: recipients", mailmsg_name(m->m));
	st = share_take(&driver->shares[loop], sections, deadline, err);
	if (st != ST_OK)
		return st;
	mailbox_ids(rcpts, n, mailboxes);
	upload_begin(&d.body, chan, loop, deadline);
	d.body.mailboxes = mailboxes;
	d.body.nmailboxes = n;
	st = put_return_path(&d, err);
	if (st == ST_OK)
		st = put_content(&d, err);
	if (st == ST_OK)
		st = deliver(&d, rcpts, n, err);
	upload_end(&d.body);
	share_put(&driver->shares[loop], sections);
	return st;
}

/* What is wrong with the message itself is so for all of its recipients. */
static bool is_verdict(enum st st)
{
	return st == ST_TOOBIG || st == ST_BAD;
}

static size_t collect(struct aq_msg *m, struct aq_rcpt **out, size_t max, size_t *from,
		      bool (*wanted)(const struct aq_rcpt *r))
{
	size_t n = 0;

	for (; *from < m->nrcpts && n < max; ++*from)
		if (wanted(&m->rcpts[*from]))
			out[n++] = &m->rcpts[*from];
	return n;
}

static bool is_for_us(const struct aq_rcpt *r)
{
	return r->route == AQ_ROUTE_LOCAL && !(r->flags & RP_HANDLED);
}

static bool was_delivered(const struct aq_rcpt *r)
{
	return r->mailbox_id && (r->flags & RP_DELIVERED) == RP_DELIVERED;
}

enum aq_result store_driver(void *arg, struct aq_msg *m)
{
	struct aq_rcpt **rcpts = pool_get(m->pool, MAILBOXES_MAX * sizeof(*rcpts));
	size_t from = 0, n;
	struct err err;

	if (!rcpts) {
		fail(&err, ST_NOMEM, "%s: recipients", mailmsg_name(m->m));
		return aq_trouble(m, ST_NOMEM, &err);
	}
	while ((n = collect(m, rcpts, MAILBOXES_MAX, &from, is_for_us)) > 0) {
		enum st st = deliver_batch(arg, m, rcpts, n, &err);

		if (st != ST_OK && !is_verdict(st))
			return aq_trouble(m, st, &err);
		for (size_t i = 0; st != ST_OK && i < n; i++)
			settle(m, rcpts[i], st);
	}
	return SINK_OK;
}

struct store_driver *store_driver_new(void)
{
	return calloc(1, sizeof(struct store_driver));
}

/* If this does not reach the store, a row of 16 bytes stays there that nobody will ask for again. */
void store_forget(struct aq_msg *m)
{
	struct aq_rcpt **rcpts = pool_get(m->pool, MAILBOXES_MAX * sizeof(*rcpts));
	struct exipc_chan *chan = m->aq->o.chan;
	size_t from = 0, n;

	while (chan && rcpts && (n = collect(m, rcpts, MAILBOXES_MAX, &from, was_delivered)) > 0) {
		uint64_t ids[MAILBOXES_MAX];
		struct wire_answer a;
		struct wire_msg w;
		struct err ignored;

		mailbox_ids(rcpts, n, ids);
		wire_begin(&w, 2);
		pw_span(&w.w, PR_MSG_GUID, span_of(m->env.guid, MAILMSG_GUID));
		pw_mv_num(&w.w, PR_RECIPIENT_MAILBOXES, ids, n);
		(void)!wire_send(&w, chan, wire_loop(chan, rcpts[0]->mailbox_id), WIRE_SMTP_FORGET,
				 &a, &ignored);
		wire_answer_free(&a);
	}
}
