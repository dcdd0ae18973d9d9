/* drviis.c - the store driver, inbound half: a message from the queue folder into the store (seed
 * "Informationsspeichertreiber", incoming steps 3 to 9; docs/life-of-a-message.md).
 *
 * What fits on one request (EXIPC_BULK_MAX sections) is filled straight into shared memory and goes with
 * SMTP_DELIVER; what is larger goes through a virtual file (IFS_CREATE, IFS_WRITE ...) whose token goes with
 * SMTP_DELIVER.  The engine removes the queue file only after this answered, and the store forgets the
 * message's guid only after that removal is durable.
 *
 * Sections are scarce (EXIPC_HEAP_SECTIONS for each pair of loops, shared with the sessions): a delivery
 * takes its share before it takes the first one, so that no two deliveries wait for each other's. */
#include "base/crc32c.h"
#include "transport/aq_private.h"

#include <stdio.h>
#include <stdlib.h>

#define MAILBOXES_MAX  1000 /* of one request */
#define SECTIONS_SHARE (EXIPC_HEAP_SECTIONS / 2)
#define DELIVER_MS     60000 /* for the store to take a message; and one for each kilobyte */
#define CLOSE_MS       1000
#define HURRY_MS       3000 /* the same while a session waits; and one for each twenty */

struct share {
	unsigned used;
	struct fiber_queue waiters;
};

struct store_driver {
	struct share shares[EXIPC_LOOPS_MAX];
};

/* One body under way to the store. */
struct upload {
	struct aq_msg *m;
	struct exipc_chan *chan;
	unsigned loop;
	int64_t deadline; /* of everything */
	struct exipc_section sections[EXIPC_BULK_MAX];
	uint32_t used[EXIPC_BULK_MAX];
	unsigned n;     /* sections held */
	uint64_t token; /* of the virtual file, 0: none */
	uint64_t at;    /* next octet of the content */
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

static enum st next_section(struct upload *u, struct err *err)
{
	enum st st = exipc_section_get(u->chan, u->loop, u->deadline, &u->sections[u->n], err);

	if (st == ST_OK)
		u->used[u->n++] = 0;
	return st;
}

static void drop_sections(struct upload *u)
{
	while (u->n)
		exipc_section_put(u->chan, &u->sections[--u->n]);
}

static void attach(struct upload *u, struct wire_msg *w)
{
	for (unsigned i = 0; i < u->n; i++) {
		w->sections[i] = u->sections[i];
		w->used[i] = u->used[i];
	}
	w->nsections = u->n;
	u->n = 0; /* they belong to the call, whatever it comes to */
}

/* Steps 3 and 4: a new virtual file in the store, and what is gathered goes into it. */
static enum st flush(struct upload *u, struct err *err)
{
	struct wire_answer a;
	struct wire_msg w;
	enum st st = ST_OK;

	if (!u->token) {
		wire_begin(&w, 0);
		w.deadline = u->deadline;
		st = wire_send(&w, u->chan, u->loop, WIRE_IFS_CREATE, &a, err);
		u->token = st == ST_OK ? plist_u64(&a.list, PR_BODY_TOKEN, 0) : 0;
		wire_answer_free(&a);
		if (st == ST_OK && !u->token)
			st = fail(err, ST_IO, "the store gave no virtual file");
	}
	if (st != ST_OK)
		return st;
	wire_begin(&w, 1);
	pw_u64(&w.w, PR_BODY_TOKEN, u->token);
	attach(u, &w);
	w.deadline = u->deadline;
	st = wire_send(&w, u->chan, u->loop, WIRE_IFS_WRITE, &a, err);
	wire_answer_free(&a);
	return st;
}

/* Room in the last section, or in a new one. */
static enum st room(struct upload *u, char **at, size_t *len, struct err *err)
{
	enum st st = ST_OK;

	if (u->n == EXIPC_BULK_MAX && u->used[u->n - 1] == EXIPC_SECTION)
		st = flush(u, err);
	if (st == ST_OK && (u->n == 0 || u->used[u->n - 1] == EXIPC_SECTION))
		st = next_section(u, err);
	if (st != ST_OK)
		return st;
	*at = u->sections[u->n - 1].at + u->used[u->n - 1];
	*len = EXIPC_SECTION - u->used[u->n - 1];
	return ST_OK;
}

/* RFC 5321 4.4: the final delivery puts the sender on top. */
static enum st put_return_path(struct upload *u, struct err *err)
{
	char *at;
	size_t len;
	enum st st = room(u, &at, &len, err);

	if (st == ST_OK)
		u->used[0] += (uint32_t)snprintf(at, len, "Return-Path: <" SPAN_FMT ">\r\n",
						 SPAN_ARG(u->m->env.sender));
	return st;
}

static enum st put_content(struct upload *u, struct err *err)
{
	struct mailmsg *m = u->m->m;
	uint64_t size = u->m->env.size;

	while (u->at < size) {
		char *at;
		size_t len, got;
		enum st st = room(u, &at, &len, err);

		if (st == ST_OK)
			st = mailmsg_read(m, u->at, at, len, &got, err);
		if (st == ST_OK && got == 0)
			st = fail(err, ST_CORRUPT, "the content is shorter than when it came");
		if (st != ST_OK)
			return st;
		u->crc = crc32c(u->crc, at, got);
		u->used[u->n - 1] += (uint32_t)got;
		u->at += got;
	}
	return u->crc == u->m->env.content_crc
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

static void put_mailboxes(struct pw *w, struct aq_rcpt **rcpts, size_t n)
{
	uint64_t ids[MAILBOXES_MAX];

	for (size_t i = 0; i < n; i++)
		ids[i] = rcpts[i]->mailbox_id;
	pw_mv_num(w, PR_RECIPIENT_MAILBOXES, ids, n);
}

/* Steps 5 to 9: hand over the body; the answer says what became of it in every mailbox. */
static enum st deliver(struct upload *u, struct aq_rcpt **rcpts, size_t n, struct err *err)
{
	struct wire_answer a;
	struct wire_msg w;
	enum st st = u->token && u->n ? flush(u, err) : ST_OK;

	if (st != ST_OK)
		return st;
	wire_begin(&w, 4);
	pw_span(&w.w, PR_MSG_GUID, span_of(u->m->env.guid, MAILMSG_GUID));
	pw_u64(&w.w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)u->m->env.arrival);
	put_mailboxes(&w.w, rcpts, n);
	if (u->token)
		pw_u64(&w.w, PR_BODY_TOKEN, u->token);
	u->token = 0; /* used up */
	attach(u, &w);
	w.deadline = u->deadline;
	st = wire_send(&w, u->chan, u->loop, WIRE_SMTP_DELIVER, &a, err);
	if (st == ST_OK)
		take_statuses(u->m, &a.list, rcpts, n);
	wire_answer_free(&a);
	return st;
}

static void give_up(struct upload *u)
{
	struct wire_answer a;
	struct wire_msg w;
	struct err ignored;

	drop_sections(u);
	if (!u->token)
		return;
	wire_begin(&w, 1);
	pw_u64(&w.w, PR_BODY_TOKEN, u->token);
	w.deadline = deadline_in_ms(CLOSE_MS); /* the store ends it by itself some time */
	(void)!wire_send(&w, u->chan, u->loop, WIRE_IFS_CLOSE, &a, &ignored);
	wire_answer_free(&a);
}

static int64_t deadline_for(const struct aq_msg *m)
{
	int64_t kilobytes = (int64_t)(m->env.size / 1000);

	return deadline_in_ms(m->hurried ? HURRY_MS + kilobytes / 20 : DELIVER_MS + kilobytes);
}

static enum st deliver_batch(struct store_driver *d, struct aq_msg *m, struct aq_rcpt **rcpts,
			     size_t n, struct err *err)
{
	struct upload u = { .m = m, .chan = m->aq->o.chan };
	uint64_t octets = sizeof("Return-Path: <>\r\n") - 1 + m->env.sender.len + m->env.size;
	unsigned sections = sections_for(octets);
	enum st st;

	u.loop = wire_loop(u.chan, rcpts[0]->mailbox_id);
	u.deadline = deadline_for(m);
	st = share_take(&d->shares[u.loop], sections, u.deadline, err);
	if (st != ST_OK)
		return st;
	st = put_return_path(&u, err);
	if (st == ST_OK)
		st = put_content(&u, err);
	if (st == ST_OK)
		st = deliver(&u, rcpts, n, err);
	if (st != ST_OK)
		give_up(&u);
	share_put(&d->shares[u.loop], sections);
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
		struct wire_answer a;
		struct wire_msg w;
		struct err ignored;

		wire_begin(&w, 2);
		pw_span(&w.w, PR_MSG_GUID, span_of(m->env.guid, MAILMSG_GUID));
		put_mailboxes(&w.w, rcpts, n);
		(void)!wire_send(&w, chan, wire_loop(chan, rcpts[0]->mailbox_id), WIRE_SMTP_FORGET,
				 &a, &ignored);
		wire_answer_free(&a);
	}
}
