/* envelope.c - MAIL and RCPT: from whom, to whom, and whether we take it. */
#include "inet/smtp/session.h"

/* The address as text; absent when the pool is full. */
static struct span address_text(struct smtp_session *s, const struct smtp_path *path,
				struct pool *pool)
{
	const struct config *c = smtp_host(s)->config;
	struct buf text = BUF_MAX(2 * SMTP_PATH_MAX + DS_ADDRESS_MAX);
	struct span got = SPAN_NONE;

	if (path->kind == SMTP_PATH_NULL)
		return SPAN("");
	smtp_path_write(path, &text);
	if (path->kind == SMTP_PATH_POSTMASTER) {
		const char *domain = config_str(c, "domain");

		buf_printf(&text, "@%s", domain[0] ? domain : smtp_host(s)->hostname);
	}
	if (!text.failed)
		got = pool_span(pool, buf_get(&text));
	buf_free(&text);
	return got;
}

/* Is the mailbox of who is logged on over its limit for sending?  Remembered like any address; who can't be asked
 * about may send. */
static bool may_not_send(struct smtp_session *s)
{
	struct ds_object o = { 0 };
	struct err err;
	enum st st;

	if (!s->head.user[0])
		return false;
	s->head.waits = "the directory";
	st = ds_resolve(s->head.loop->ds, span_str(s->head.user), s->turn, &o, &err);
	s->head.waits = NULL;
	return st == ST_OK && o.no_send;
}

static enum smtp_reply_id may_begin(struct smtp_session *s, const struct smtp_command *c)
{
	struct err err;

	if (s->head.service->submission && !s->head.user[0])
		return SMTP_R_NEED_AUTH;
	if (c->has_size && c->size > (uint64_t)config_int(smtp_host(s)->config, "message_size_max"))
		return SMTP_R_TOO_BIG;
	if (!inet_rate_take(&s->head, INET_RATE_MESSAGES))
		return SMTP_R_TOO_FAST;
	if (may_not_send(s))
		return SMTP_R_MAY_NOT_SEND;
	switch (aq_admit(smtp_host(s)->aq, &err)) {
	case ST_OK:
		return SMTP_R_OK;
	case ST_BUSY:
		return SMTP_R_QUEUE_FULL;
	default:
		return SMTP_R_TRY_LATER;
	}
}

/* What the session knows goes into the envelope with the sender. */
static bool fill(struct smtp_session *s, const struct smtp_command *c)
{
	struct smtp_tx *tx = s->tx;
	struct mailmsg_envelope *env = &tx->env;
	struct conn *conn = s->head.conn;
	const char *tls = conn_tls_text(conn);

	*env = (struct mailmsg_envelope){
		.sender = address_text(s, &c->path, tx->pool),
		.client_ip = pool_span(tx->pool, span_str(conn_peer_ip(conn))),
		.helo = pool_span(tx->pool, span_str(s->helo)),
		.server_ip = pool_span(tx->pool, span_str(conn_local_ip(conn))),
		.server_name = span_str(smtp_host(s)->hostname),
		.server_port =
			(uint32_t)config_int(smtp_host(s)->config, s->head.service->port_key),
		.mail_auth = c->auth.at ? pool_span(tx->pool, c->auth) : SPAN_NONE,
		.tls = tls[0] ? pool_span(tx->pool, span_str(tls)) : SPAN_NONE,
		.eightbitmime = c->body != SMTP_BODY_7BIT,
		.binarymime = c->body == SMTP_BODY_BINARYMIME,
		.smtputf8 = c->smtputf8,
	};
	if (s->head.user[0]) {
		env->auth_user = pool_span(tx->pool, span_str(s->head.user));
		env->auth_type = pool_span(tx->pool, span_str(s->mechanism));
	}
	tx->body = c->body;
	tx->smtputf8 = c->smtputf8;
	tx->size = c->has_size ? c->size : 0;
	return env->sender.at && env->client_ip.at && env->helo.at && env->server_ip.at;
}

void smtp_run_mail(struct smtp_session *s, const struct smtp_command *c)
{
	enum smtp_reply_id why = may_begin(s, c);

	if (why != SMTP_R_OK) {
		if (smtp_reply(why)->code >= 500)
			smtp_refuse(s, why);
		else
			smtp_reply_to(s, why);
		return;
	}
	if (!smtp_tx_begin(s) || !fill(s, c)) {
		smtp_tx_reset(s);
		smtp_reply_to(s, SMTP_R_TRY_LATER);
		return;
	}
	smtp_reply_to(s, SMTP_R_SENDER_OK);
}

/* ---- RCPT ---- */

static enum smtp_reply_id answer_for(const struct smtp_session *s, enum st st,
				     const struct ds_object *o)
{
	switch (st) {
	case ST_OK:
		if (o->kind != OBJECT_MAILBOX)
			return SMTP_R_RCPT_OK;
		if (o->disabled)
			return SMTP_R_DISABLED;
		if (o->unavailable)
			return SMTP_R_MAILBOX_DOWN;
		/* What was not declared has at least an octet. */
		if (o->limited && o->room < (s->tx->size ? s->tx->size : 1))
			return SMTP_R_MAILBOX_FULL;
		return SMTP_R_RCPT_OK;
	case ST_NOTFOUND:
		if (o->domain_local)
			return SMTP_R_NO_SUCH_USER;
		return s->head.user[0] ? SMTP_R_NO_REMOTE : SMTP_R_NO_RELAY;
	case ST_BAD:
		return SMTP_R_BAD_RCPT;
	default:
		return SMTP_R_DIRECTORY_DOWN;
	}
}

static enum smtp_reply_id may_receive(struct smtp_session *s, const struct smtp_command *c)
{
	const struct config *config = smtp_host(s)->config;

	if (s->tx->env.nrcpts >= (size_t)config_int(config, "recipients_max"))
		return SMTP_R_TOO_MANY_RCPTS;
	if (c->path.utf8 && !s->tx->smtputf8)
		return SMTP_R_NEED_UTF8;
	if (!inet_rate_take(&s->head, INET_RATE_RECIPIENTS))
		return SMTP_R_TOO_FAST;
	return SMTP_R_RCPT_OK;
}

static enum smtp_reply_id take_recipient(struct smtp_session *s, const struct smtp_command *c,
					 struct span *address)
{
	enum smtp_reply_id why = may_receive(s, c);
	struct ds_object object = { 0 };
	struct mailmsg_rcpt *r;
	struct err err = { 0 };
	enum st st;

	/* In the command's pool: what is refused must not fill the message's. */
	*address = address_text(s, &c->path, s->turn);
	if (why != SMTP_R_RCPT_OK)
		return why;
	if (!address->at)
		return SMTP_R_TRY_LATER;
	s->head.waits = "the directory";
	st = ds_resolve(s->head.loop->ds, *address, s->turn, &object, &err);
	s->head.waits = NULL;
	why = answer_for(s, st, &object);
	if (why == SMTP_R_DIRECTORY_DOWN)
		inet_log(&s->head, LOG_WARN, "directory not available", LE(&err));
	if (why != SMTP_R_RCPT_OK)
		return why;
	r = smtp_tx_rcpt(s->tx);
	if (!r)
		return SMTP_R_TRY_LATER;
	r->address = pool_span(s->tx->pool, *address);
	if (!r->address.at) {
		s->tx->env.nrcpts--;
		return SMTP_R_TRY_LATER;
	}
	return SMTP_R_RCPT_OK;
}

/* Wrong recipients are what old lists are made of: ten of them weigh as much as one wrong command. */
#define BAD_RCPTS_PER_ERROR 10

void smtp_run_rcpt(struct smtp_session *s, const struct smtp_command *c)
{
	struct span address = SPAN_NONE;
	enum smtp_reply_id why = take_recipient(s, c, &address);

	if (why == SMTP_R_RCPT_OK) {
		s->state = SMTP_RCPTS;
		smtp_reply_to(s, why);
		return;
	}
	inet_count(&s->head, INET_RECIPIENTS_REFUSED, 1);
	inet_log(&s->head, smtp_reply(why)->code < 500 ? LOG_DEBUG : LOG_INFO, "recipient refused",
		 LS("from", s->tx->env.sender), LS("to", address),
		 LU("code", smtp_reply(why)->code), LC("why", smtp_reply(why)->text));
	if (smtp_reply(why)->code >= 500 && ++s->bad_rcpts % BAD_RCPTS_PER_ERROR == 0)
		smtp_refuse(s, why);
	else
		smtp_reply_to(s, why);
}
