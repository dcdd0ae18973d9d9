/* content.c - DATA and BDAT: the octets of a message, from the connection into a MailMsg.
 *
 * Whatever goes wrong on our side while octets still come (disk full, too big, a loop), both sides must
 * stay in step: the rest is read and thrown away, and the refusal is said at the end. */
#include "inet/pace.h"
#include "inet/smtp/session.h"
#include "proto/smtp/received.h"

static enum smtp_reply_id refusal_of(enum st st)
{
	return st == ST_NOSPACE ? SMTP_R_DISK_FULL : SMTP_R_TRY_LATER;
}

static void give_up(struct smtp_session *s, enum smtp_reply_id why)
{
	struct smtp_tx *tx = s->tx;

	if (tx->refusal == SMTP_R_OK)
		tx->refusal = why;
	mailmsg_free(tx->msg);
	tx->msg = NULL;
}

static void store(struct smtp_session *s, struct span piece)
{
	struct smtp_tx *tx = s->tx;
	struct err err;
	enum st st;

	if (piece.len == 0 || tx->refusal != SMTP_R_OK)
		return;
	st = mailmsg_write(tx->msg, piece.at, piece.len, &err);
	if (st != ST_OK) {
		inet_log(&s->head, LOG_ERROR, "message not stored", LE(&err));
		give_up(s, refusal_of(st));
	}
}

/* A piece of the content. */
static void add(struct smtp_session *s, struct span piece)
{
	const struct config *c = smtp_host(s)->config;
	struct smtp_tx *tx = s->tx;

	if (piece.len == 0 || tx->refusal != SMTP_R_OK)
		return;
	if (mailmsg_size(tx->msg) + piece.len > (uint64_t)config_int(c, "message_size_max")) {
		give_up(s, SMTP_R_TOO_BIG);
		return;
	}
	smtp_hops_look(&tx->hops, piece);
	if (tx->hops.received > (unsigned)config_int(c, "hops_max")) {
		give_up(s, SMTP_R_LOOP);
		return;
	}
	tx->last[0] = piece.len > 1 ? piece.at[piece.len - 2] : tx->last[1];
	tx->last[1] = piece.at[piece.len - 1];
	store(s, piece);
}

/* Make the message and put our Received field first. */
static void begin(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	struct buf field = BUF_MAX(4096);
	struct err err;
	enum st st = mailmsg_create(smtp_host(s)->queue, &tx->msg, &err);

	if (st != ST_OK) {
		inet_log(&s->head, LOG_ERROR, "message not stored", LE(&err));
		give_up(s, refusal_of(st));
		return;
	}
	tx->env.arrival = clock_real();
	smtp_received(&field,
		      &(struct smtp_trace){
			      .helo = tx->env.helo,
			      .client_ip = tx->env.client_ip,
			      .host = tx->env.server_name,
			      .id = span_str(mailmsg_name(tx->msg)),
			      .tls = tx->env.tls,
			      .rcpt = tx->env.nrcpts == 1 ? tx->env.rcpts[0].address : SPAN_NONE,
			      .esmtp = s->esmtp,
			      .authenticated = s->head.user[0] != 0,
			      .utf8 = tx->smtputf8,
			      .seconds = tx->env.arrival / NS_PER_SEC,
		      });
	if (field.failed)
		give_up(s, SMTP_R_TRY_LATER);
	else
		store(s, buf_get(&field));
	buf_free(&field);
}

/* ---- the end ---- */

static void refused(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;
	const struct smtp_reply *r = smtp_reply(tx->refusal);

	inet_count(&s->head, INET_MESSAGES_REFUSED, 1);
	inet_log(&s->head, LOG_NOTICE, "message refused", LS("from", tx->env.sender),
		 LU("code", r->code), LC("why", r->text));
	smtp_reply_to(s, tx->refusal);
}

static void accepted(struct smtp_session *s, const char *name)
{
	struct smtp_tx *tx = s->tx;

	s->head.errors = 0;
	inet_count(&s->head, INET_MESSAGES_IN, 1);
	inet_log(&s->head, LOG_INFO, "message accepted", LC("id", name), LS("from", tx->env.sender),
		 LU("recipients", tx->env.nrcpts), LU("size", tx->env.size));
	smtp_say(s, SMTP_R_QUEUED, "Queued as %s", name);
}

/* All octets are there: make it last, then say so. */
static void finish(struct smtp_session *s, unsigned faults)
{
	struct smtp_tx *tx = s->tx;
	char name[MAILMSG_NAME_MAX];
	struct mailmsg *m;
	struct err err;
	enum st st;

	if (faults & SMTP_CONTENT_REFUSED && tx->refusal == SMTP_R_OK)
		give_up(s, SMTP_R_BARE_CONTENT);
	if (tx->refusal == SMTP_R_OK && inet_disk_low(smtp_host(s)))
		give_up(s, SMTP_R_DISK_FULL);
	if (tx->refusal == SMTP_R_OK) {
		s->head.waits = "the disk";
		/* The message is gone when this returns; its name is told to the client. */
		m = tx->msg;
		tx->msg = NULL;
		memcpy(name, mailmsg_name(m), sizeof(name));
		st = aq_accept(smtp_host(s)->aq, m, &tx->env, &err);
		s->head.waits = NULL;
		if (st != ST_OK) {
			inet_log(&s->head, LOG_ERROR, "message not stored", LE(&err));
			give_up(s, refusal_of(st));
		}
	}
	if (tx->refusal == SMTP_R_OK)
		accepted(s, name);
	else
		refused(s);
	smtp_tx_reset(s);
}

/* ---- waiting for octets ---- */

static int64_t patience(const struct smtp_session *s)
{
	return deadline_in_ms(config_int(smtp_host(s)->config, "smtp_timeout_s") * 1000);
}

static bool lost(struct smtp_session *s, enum st st)
{
	inet_log(&s->head, LOG_NOTICE, "connection ended inside a message",
		 LC("status", st_name(st)));
	if (st == ST_TIMEOUT)
		smtp_bye(s, SMTP_R_TIMEOUT);
	s->ending = true;
	return false;
}

/* Some input, waited for if there is none. */
static bool more_input(struct smtp_session *s, struct inet_pace *pace, struct span *in)
{
	uint64_t least = (uint64_t)config_int(smtp_host(s)->config, "data_rate_min");
	enum st st;

	*in = conn_input(s->head.conn);
	while (in->len == 0) {
		s->head.waits = "the content";
		st = conn_fill(s->head.conn, patience(s));
		s->head.waits = NULL;
		*in = conn_input(s->head.conn);
		if (st != ST_OK && in->len == 0)
			return lost(s, st);
	}
	return inet_pace(pace, in->len, least, clock_mono()) ? true : lost(s, ST_TIMEOUT);
}

/* ---- DATA ---- */

static bool take_data(struct smtp_session *s, struct smtp_data *d)
{
	struct inet_pace pace = { 0 };
	enum st st = ST_MORE;

	while (st == ST_MORE) {
		struct span in, piece;
		size_t done = 0, used;

		if (!more_input(s, &pace, &in))
			return false;
		while (st == ST_MORE && done < in.len) {
			st = smtp_data_take(d, span_skip(in, done), &used, &piece);
			add(s, piece);
			done += used;
		}
		conn_consume(s->head.conn, done);
	}
	return true;
}

void smtp_run_data(struct smtp_session *s, const struct smtp_command *c)
{
	struct smtp_data d = { 0 };

	(void)c;
	if (s->tx->body == SMTP_BODY_BINARYMIME) {
		smtp_refuse(s, SMTP_R_NEED_BDAT);
		return;
	}
	begin(s);
	if (s->tx->refusal != SMTP_R_OK) {
		refused(s);
		smtp_tx_reset(s);
		return;
	}
	smtp_reply_to(s, SMTP_R_DATA_GO);
	if (take_data(s, &d))
		finish(s, d.faults);
}

/* ---- BDAT ---- */

/* Read `octets` of chunk; into the message when `keep`. */
static bool take_chunk(struct smtp_session *s, uint64_t octets, bool keep)
{
	struct inet_pace pace = { 0 };

	while (octets > 0) {
		struct span in;

		if (!more_input(s, &pace, &in))
			return false;
		in = span_cut(in, octets < in.len ? (size_t)octets : in.len);
		if (keep) {
			smtp_text_look(&s->tx->text, in);
			add(s, in);
		}
		conn_consume(s->head.conn, in.len);
		octets -= in.len;
	}
	return true;
}

void smtp_skip_chunk(struct smtp_session *s, uint64_t octets, enum smtp_reply_id why)
{
	if (take_chunk(s, octets, false))
		smtp_refuse(s, why);
}

/* A text that lacks its last CR LF gets it: every line of a stored message ends. */
static void end_text(struct smtp_session *s)
{
	struct smtp_tx *tx = s->tx;

	smtp_text_end(&tx->text);
	if (tx->body != SMTP_BODY_BINARYMIME && (tx->last[0] != '\r' || tx->last[1] != '\n'))
		add(s, SPAN("\r\n"));
}

void smtp_run_bdat(struct smtp_session *s, const struct smtp_command *c)
{
	struct smtp_tx *tx = s->tx;

	if (s->state == SMTP_RCPTS)
		begin(s);
	tx->env.chunking = true;
	s->state = SMTP_CHUNKS;
	if (!take_chunk(s, c->size, true))
		return;
	if (c->last) {
		end_text(s);
		finish(s, tx->body == SMTP_BODY_BINARYMIME ? 0 : tx->text.faults);
	} else if (tx->refusal != SMTP_R_OK) {
		refused(s);
		s->state = SMTP_BROKEN;
	} else {
		smtp_say(s, SMTP_R_CHUNK_OK, "%llu octets received", (unsigned long long)c->size);
	}
}
