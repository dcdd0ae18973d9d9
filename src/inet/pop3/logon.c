/* logon.c - the AUTHORIZATION state: capabilities, TLS, names and passwords. */
#include "inet/pop3/session.h"
#include "inet/sasl.h"

#include <stdlib.h>

void pop3_run_capa(struct pop3_session *s, const struct pop3_command *c)
{
	const struct inet_host *h = s->head.loop->host;
	unsigned caps = POP3_CAP_SASL;

	(void)c;
	if (h->tls && !conn_is_tls(s->head.conn) && s->state == POP3_AUTHORIZATION)
		caps |= POP3_CAP_STLS;
	if (inet_secure(&s->head))
		caps |= POP3_CAP_USER;
	pop3_capa(&s->out, caps, inet_mechanisms(&s->head), h->version);
	pop3_send(s);
}

static void forget_name(struct pop3_session *s)
{
	free(s->name);
	s->name = NULL;
}

/* ---- the result of a log-on ---- */

/* The store knows who it is: lock the maildrop. */
static void enter(struct pop3_session *s)
{
	struct err err;
	enum st st = pop3_drop_open(s, &err);

	if (st == ST_OK) {
		s->state = POP3_TRANSACTION;
		pop3_say(s, POP3_R_LOGGED_IN);
		return;
	}
	inet_log(&s->head, LOG_NOTICE, "maildrop not opened", LC("status", st_name(st)), LE(&err));
	pop3_drop_close(s);
	s->head.user[0] = 0;
	pop3_say(s, st == ST_BUSY ? POP3_R_IN_USE : POP3_R_TROUBLE);
}

static void logon_done(struct pop3_session *s, enum inet_logon_result r)
{
	switch (r) {
	case LOGON_OK:
		enter(s);
		break;
	case LOGON_DENIED:
		pop3_refuse(s, POP3_R_AUTH_FAILED);
		break;
	case LOGON_CANCELLED:
		pop3_refuse(s, POP3_R_AUTH_CANCELLED);
		break;
	case LOGON_MECHANISM:
		pop3_refuse(s, POP3_R_UNKNOWN_MECHANISM);
		break;
	case LOGON_SYNTAX:
		pop3_refuse(s, POP3_R_BAD_BASE64);
		break;
	case LOGON_TROUBLE:
		pop3_say(s, POP3_R_AUTH_TROUBLE);
		break;
	case LOGON_GONE:
		break;
	}
}

/* ---- USER and PASS ---- */

void pop3_run_user(struct pop3_session *s, const struct pop3_command *c)
{
	if (!inet_secure(&s->head)) {
		pop3_refuse(s, POP3_R_NEED_TLS);
		return;
	}
	forget_name(s);
	s->name = strndup(c->text.at, c->text.len);
	pop3_say(s, s->name ? POP3_R_NEED_PASS : POP3_R_TROUBLE);
}

void pop3_run_pass(struct pop3_session *s, const struct pop3_command *c)
{
	enum inet_logon_result r;

	if (!s->name) {
		pop3_refuse(s, POP3_R_NEED_USER);
		return;
	}
	r = inet_login(&s->head, span_str(s->name), c->text, &s->logon);
	forget_name(s);
	logon_done(s, r);
}

/* ---- AUTH ---- */

struct asking {
	struct pop3_session *s;
	enum pop3_reply_id why; /* what ended the exchange, if a line did */
};

static enum st ask(void *arg, struct span challenge, struct span *line)
{
	struct asking *a = arg;
	struct pop3_session *s = a->s;
	const struct config *config = s->head.loop->host->config;
	enum st st;

	buf_printf(&s->out, "+ " SPAN_FMT "\r\n", SPAN_ARG(challenge));
	pop3_send(s);
	st = inet_line_next(&s->lines, s->head.conn, s->turn,
			    deadline_in_ms(config_int(config, "login_timeout_s") * 1000), line);
	if (st == ST_TOOBIG)
		a->why = POP3_R_LINE_TOO_LONG;
	else if (st == ST_BAD)
		a->why = POP3_R_LINE_BARE;
	else if (st == ST_TIMEOUT)
		pop3_bye(s, POP3_R_TIMEOUT);
	else if (st != ST_OK)
		s->ending = true;
	return st;
}

static void list_mechanisms(struct pop3_session *s)
{
	struct span rest = span_str(inet_mechanisms(&s->head));

	pop3_reply_write(&s->out, POP3_R_OK);
	while (rest.at) {
		buf_span(&s->out, span_split(rest, ' ', &rest));
		buf_str(&s->out, "\r\n");
	}
	buf_str(&s->out, ".\r\n");
	pop3_send(s);
}

void pop3_run_auth(struct pop3_session *s, const struct pop3_command *c)
{
	struct asking a = { .s = s, .why = POP3_R_OK };
	const struct inet_sasl x = {
		.mechanism = c->mechanism, .initial = c->initial, .ask = ask, .arg = &a
	};

	if (!c->mechanism.at) {
		list_mechanisms(s);
		return;
	}
	forget_name(s);
	logon_done(s, inet_sasl_run(&s->head, &x, &s->logon));
	if (a.why != POP3_R_OK)
		pop3_refuse(s, a.why);
}

/* ---- STLS ---- */

void pop3_run_stls(struct pop3_session *s, const struct pop3_command *c)
{
	const struct inet_host *h = s->head.loop->host;

	(void)c;
	if (!h->tls || conn_is_tls(s->head.conn)) {
		pop3_refuse(s, h->tls ? POP3_R_HAVE_TLS : POP3_R_NO_TLS);
		return;
	}
	pop3_say(s, POP3_R_TLS_GO);
	if (!inet_starttls(&s->head)) {
		s->ending = true;
		return;
	}
	s->lines.reader = (struct line_reader){ .max = POP3_AUTH_LINE_MAX };
	forget_name(s);
}
