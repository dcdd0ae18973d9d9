/* cmd_session.c - commands about the session: who are you, what can you do, news, good bye. */
#include "inet/imap/session.h"

#include "proto/line.h"

void imap_cmd_capability(struct imap_session *s)
{
	struct imap_offer offer = imap_offer(s);

	imap_put_capability(&s->out, &offer);
	imap_ok(s, "CAPABILITY done");
}

/* NOOP and CHECK */
void imap_cmd_noop(struct imap_session *s)
{
	struct err err;
	enum st st = s->view ? imap_view_sync(s, true, &err) : ST_OK;

	if (st == ST_OK)
		imap_ok(s, s->cmd->verb->id == IMAP_CHECK ? "CHECK done" : "NOOP done");
	else
		imap_no(s, st, &err);
}

void imap_cmd_logout(struct imap_session *s)
{
	imap_put_cond(&s->out, SPAN_NONE, IMAP_BYE, NULL, "Good bye");
	imap_ok(s, "LOGOUT done");
	s->ending = true;
}

void imap_cmd_id(struct imap_session *s)
{
	const struct span pairs[] = { SPAN("name"), SPAN("Mailroot"), SPAN("version"),
				      span_str(s->base.loop->host->version) };

	imap_put_id(&s->out, pairs, 2);
	imap_ok(s, "ID done");
}

void imap_cmd_enable(struct imap_session *s)
{
	imap_put_enabled(&s->out, NULL, 0);
	imap_ok(s, "ENABLE done");
}

void imap_cmd_namespace(struct imap_session *s)
{
	imap_put_namespace(&s->out, SPAN(""), SPAN_NONE, SPAN_NONE, IMAP_DELIM);
	imap_ok(s, "NAMESPACE done");
}

void imap_cmd_starttls(struct imap_session *s)
{
	if (!imap_offer(s).starttls) {
		imap_bad(s, "STARTTLS is not offered here");
		return;
	}
	imap_ok(s, "Begin TLS negotiation now");
	imap_out_all(s);
	if (!inet_starttls(&s->base))
		s->ending = true;
	imap_reader_begin(s);
}

/* ---- logging on ---- */

static void say_logon(struct imap_session *s, enum inet_logon_result result)
{
	struct buf code = BUF_MAX(4096);

	if (result == LOGON_OK && s->logon.unavailable) {
		ds_logoff(s->base.loop->ds, &s->logon);
		s->base.user[0] = '\0';
		imap_no_code(s, "UNAVAILABLE", "The mailbox is not available now; try again later");
		return;
	}
	switch (result) {
	case LOGON_OK:
		s->state = IMAP_AUTH;
		imap_reader_begin(s);
		imap_capability_code(s, &code);
		imap_ok_code(s, code.at, "Logged in");
		buf_free(&code);
		break;
	case LOGON_DENIED:
		imap_no_code(s, "AUTHENTICATIONFAILED", "Wrong user name or password");
		if (inet_error(&s->base))
			imap_bye(s, NULL, "Too many failures");
		break;
	case LOGON_CANCELLED:
		imap_bad(s, "Authentication was cancelled");
		break;
	case LOGON_MECHANISM:
		imap_no_code(s, "CANNOT", "This mechanism is not offered here");
		break;
	case LOGON_SYNTAX:
		imap_bad(s, "The response is broken");
		break;
	case LOGON_TROUBLE:
		imap_no_code(s, "UNAVAILABLE", "The directory cannot answer now; try again later");
		break;
	case LOGON_GONE:
		s->ending = true;
	}
}

void imap_cmd_login(struct imap_session *s)
{
	const struct imap_login *login = &s->cmd->login;

	if (!inet_secure(&s->base)) {
		imap_no_code(s, "PRIVACYREQUIRED", "LOGIN needs TLS here");
		return;
	}
	imap_out_all(s);
	say_logon(s, inet_login(&s->base, login->user, login->password, &s->logon));
}

struct ask {
	struct imap_session *session;
	struct line_reader lines;
	size_t used; /* of the line given last: consumed at the next call */
};

static enum st ask(void *arg, struct span challenge, struct span *line)
{
	struct ask *a = arg;
	struct conn *conn = a->session->base.conn;
	int64_t patience =
		config_int(a->session->base.loop->host->config, "login_timeout_s") * 1000;
	int64_t deadline = deadline_in_ms(patience);
	enum st st;

	conn_consume(conn, a->used);
	a->used = 0;
	conn_puts(conn, "+ ");
	conn_write(conn, challenge.at, challenge.len);
	conn_puts(conn, "\r\n");
	while ((st = line_take(&a->lines, conn_input(conn), line, &a->used)) == ST_MORE) {
		conn_consume(conn, a->used);
		a->used = 0;
		st = conn_fill(conn, deadline);
		if (st != ST_OK)
			return st;
	}
	return st;
}

void imap_cmd_authenticate(struct imap_session *s)
{
	const struct imap_authenticate *auth = &s->cmd->authenticate;
	struct ask a = { .session = s, .lines = { .max = SASL_LINE_MAX } };
	const struct inet_sasl x = {
		.mechanism = auth->mechanism,
		.initial = !auth->has_initial ? SPAN_NONE
			   : auth->initial.at ? auth->initial
					      : SPAN(""),
		.ask = ask,
		.arg = &a,
	};
	enum inet_logon_result result;

	imap_out_all(s);
	result = inet_sasl_run(&s->base, &x, &s->logon);
	conn_consume(s->base.conn, a.used);
	say_logon(s, result);
}
