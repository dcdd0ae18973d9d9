/* hello.c - who is there: greetings, TLS, log-on. */
#include "inet/sasl.h"
#include "inet/smtp/session.h"

#include <stdio.h>

static unsigned extensions(const struct smtp_session *s)
{
	unsigned e = SMTP_EXT_ALWAYS;

	if (smtp_host(s)->tls && !conn_is_tls(s->head.conn))
		e |= SMTP_EXT_STARTTLS;
	if (!s->head.user[0])
		e |= SMTP_EXT_AUTH;
	return e;
}

void smtp_run_hello(struct smtp_session *s, const struct smtp_command *c)
{
	struct span host = span_str(smtp_host(s)->hostname);

	snprintf(s->helo, sizeof(s->helo), SPAN_FMT, SPAN_ARG(c->text));
	smtp_tx_reset(s);
	s->esmtp = c->verb->cmd == SMTP_EHLO;
	if (s->esmtp)
		smtp_ehlo(&s->out, host, c->text, extensions(s),
			  (uint64_t)config_int(smtp_host(s)->config, "message_size_max"),
			  inet_mechanisms(&s->head));
	else
		smtp_reply_span(&s->out, SMTP_R_HELLO, host);
	smtp_send(s);
}

/* RFC 3207 section 4.2: what was said before is forgotten. */
void smtp_run_starttls(struct smtp_session *s, const struct smtp_command *c)
{
	(void)c;
	if (conn_is_tls(s->head.conn)) {
		smtp_refuse(s, SMTP_R_HAVE_TLS);
		return;
	}
	if (!smtp_host(s)->tls) {
		smtp_reply_to(s, SMTP_R_TLS_TROUBLE);
		return;
	}
	smtp_reply_to(s, SMTP_R_TLS_GO);
	if (!inet_starttls(&s->head)) {
		s->ending = true;
		return;
	}
	s->lines.reader = (struct line_reader){ .max = SMTP_AUTH_LINE_MAX };
	s->helo[0] = 0;
	s->head.user[0] = 0;
	smtp_tx_reset(s);
}

/* ---- AUTH ---- */

struct asking {
	struct smtp_session *s;
	enum smtp_reply_id why; /* what ended the exchange, if a line did */
};

static enum st ask(void *arg, struct span challenge, struct span *line)
{
	struct asking *a = arg;
	struct smtp_session *s = a->s;
	enum st st;

	smtp_reply_span(&s->out, SMTP_R_AUTH_GO, challenge);
	smtp_send(s);
	st = inet_line_next(
		&s->lines, s->head.conn, s->turn,
		deadline_in_ms(config_int(smtp_host(s)->config, "login_timeout_s") * 1000), line);
	if (st == ST_TOOBIG)
		a->why = SMTP_R_AUTH_TOO_LONG;
	else if (st == ST_BAD)
		a->why = SMTP_R_LINE_BARE;
	else if (st == ST_TIMEOUT)
		smtp_bye(s, SMTP_R_TIMEOUT);
	else if (st != ST_OK)
		s->ending = true;
	return st;
}

static enum smtp_reply_id auth_reply(const struct smtp_session *s, enum inet_logon_result r,
				     struct span mechanism)
{
	bool in_clear = !inet_secure(&s->head);

	switch (r) {
	case LOGON_DENIED:
		return SMTP_R_AUTH_FAILED;
	case LOGON_CANCELLED:
		return SMTP_R_AUTH_CANCELLED;
	case LOGON_MECHANISM:
		if (in_clear &&
		    (span_ieq(mechanism, SPAN("PLAIN")) || span_ieq(mechanism, SPAN("LOGIN"))))
			return SMTP_R_AUTH_NEEDS_TLS;
		return SMTP_R_UNKNOWN_MECHANISM;
	case LOGON_SYNTAX:
		return SMTP_R_BAD_BASE64;
	default:
		return SMTP_R_AUTH_TROUBLE;
	}
}

void smtp_run_auth(struct smtp_session *s, const struct smtp_command *c)
{
	struct asking a = { .s = s, .why = SMTP_R_OK };
	const struct inet_sasl x = {
		.mechanism = c->mechanism, .initial = c->initial, .ask = ask, .arg = &a
	};
	struct ds_logon logon = { 0 };
	enum inet_logon_result r;

	if (s->head.user[0]) {
		smtp_refuse(s, SMTP_R_HAVE_AUTH);
		return;
	}
	r = inet_sasl_run(&s->head, &x, &logon);
	if (r == LOGON_OK) {
		/* A sender needs no mailbox opened: knowing who it is is all. */
		ds_logoff(s->head.loop->ds, &logon);
		snprintf(s->mechanism, sizeof(s->mechanism), SPAN_FMT, SPAN_ARG(c->mechanism));
		smtp_reply_to(s, SMTP_R_AUTH_OK);
	} else if (r == LOGON_TROUBLE) {
		smtp_reply_to(s, SMTP_R_AUTH_TROUBLE);
	} else if (r != LOGON_GONE) {
		smtp_refuse(s, auth_reply(s, r, c->mechanism));
	} else if (a.why != SMTP_R_OK) {
		smtp_refuse(s, a.why);
	}
}
