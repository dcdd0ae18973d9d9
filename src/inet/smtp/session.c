#include "inet/smtp/session.h"
#include "inet/smtp/smtp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TURN_MAX    (DS_OBJECT_POOL + 64 * 1024)
#define REPLY_MAX   16384
/* A peer that sends this much without one good line is not speaking SMTP. */
#define SKIPPED_MAX (1024 * 1024)

/* ---- replies ---- */

void smtp_send(struct smtp_session *s)
{
	/* A failed write shows as the connection's state when the next line is asked for. */
	(void)conn_write(s->head.conn, s->out.at, s->out.len);
	buf_clear(&s->out);
}

void smtp_reply_to(struct smtp_session *s, enum smtp_reply_id id)
{
	smtp_reply_write(&s->out, id);
	smtp_send(s);
}

void smtp_say(struct smtp_session *s, enum smtp_reply_id id, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	smtp_reply_span(&s->out, id, span_str(text));
	smtp_send(s);
}

void smtp_bye(struct smtp_session *s, enum smtp_reply_id id)
{
	if (s->ending)
		return;
	smtp_say(s, id, "%s %s", smtp_host(s)->hostname, smtp_reply(id)->text);
	s->ending = true;
}

void smtp_refuse(struct smtp_session *s, enum smtp_reply_id id)
{
	smtp_reply_to(s, id);
	if (inet_error(&s->head))
		smtp_bye(s, SMTP_R_TOO_MANY_ERRORS);
}

/* ---- the small verbs ---- */

static void run_rset(struct smtp_session *s, const struct smtp_command *c)
{
	(void)c;
	smtp_tx_reset(s);
	smtp_reply_to(s, SMTP_R_OK);
}

static void run_noop(struct smtp_session *s, const struct smtp_command *c)
{
	(void)c;
	smtp_reply_to(s, SMTP_R_OK);
}

/* Saying who exists helps nobody but those who collect addresses (RFC 5321 section 7.3). */
static void run_vrfy(struct smtp_session *s, const struct smtp_command *c)
{
	(void)c;
	smtp_reply_to(s, SMTP_R_MAYBE);
}

static void run_help(struct smtp_session *s, const struct smtp_command *c)
{
	smtp_help(&s->out, c->text);
	smtp_send(s);
}

static void run_quit(struct smtp_session *s, const struct smtp_command *c)
{
	(void)c;
	smtp_bye(s, SMTP_R_BYE);
}

static smtp_run *const verbs[SMTP_CMDS] = {
	[SMTP_HELO] = smtp_run_hello, [SMTP_EHLO] = smtp_run_hello,
	[SMTP_MAIL] = smtp_run_mail,  [SMTP_RCPT] = smtp_run_rcpt,
	[SMTP_DATA] = smtp_run_data,  [SMTP_BDAT] = smtp_run_bdat,
	[SMTP_RSET] = run_rset,       [SMTP_NOOP] = run_noop,
	[SMTP_VRFY] = run_vrfy,       [SMTP_HELP] = run_help,
	[SMTP_QUIT] = run_quit,       [SMTP_STARTTLS] = smtp_run_starttls,
	[SMTP_AUTH] = smtp_run_auth,
};

/* ---- one command ---- */

/* Behind these the client must wait for our answer (RFC 2920 section 3.1), because it decides what its next bytes
 * mean.  (What comes behind STARTTLS is thrown away with the rest of the clear text.) */
static bool out_of_step(const struct smtp_session *s, enum smtp_cmd cmd)
{
	return (cmd == SMTP_DATA || cmd == SMTP_AUTH) && conn_input(s->head.conn).len > 0;
}

static void run_line(struct smtp_session *s, struct span line)
{
	struct smtp_command c;
	enum smtp_reply_id why;
	enum st st = smtp_parse(line, &c, &why);

	inet_count(&s->head, INET_COMMANDS, 1);
	if (st != ST_OK) {
		smtp_refuse(s, why);
		/* The octets behind a BDAT that was not understood can't be told from commands. */
		if (c.verb && c.verb->cmd == SMTP_BDAT)
			smtp_bye(s, SMTP_R_LOST_SYNC);
	} else if (!smtp_allowed(c.verb, s->state, &why)) {
		if (c.verb->cmd == SMTP_BDAT)
			smtp_skip_chunk(s, c.size, why);
		else
			smtp_refuse(s, why);
	} else if (out_of_step(s, c.verb->cmd)) {
		smtp_bye(s, SMTP_R_LOST_SYNC);
	} else {
		verbs[c.verb->cmd](s, &c);
	}
}

/* ---- the session ---- */

static void greet(struct smtp_session *s)
{
	s->greeted = true;
	s->state = SMTP_START;
	s->lines = (struct inet_lines){ { .max = SMTP_AUTH_LINE_MAX }, SKIPPED_MAX };
	smtp_say(s, SMTP_R_READY, "%s ESMTP Mailroot", smtp_host(s)->hostname);
}

static void bad_line(struct smtp_session *s, enum st st)
{
	smtp_refuse(s, st == ST_BAD ? SMTP_R_LINE_BARE : SMTP_R_LINE_TOO_LONG);
}

/* Run what is there.  A connection that ended, or was silent for too long, is closed. */
static void work(struct smtp_session *s)
{
	while (!s->ending) {
		size_t mark = pool_mark(s->turn);
		struct span line;
		enum st st;

		if (inet_stopping(&s->head)) {
			smtp_bye(s, SMTP_R_STOPPING);
			return;
		}
		st = inet_line_take(&s->lines, s->head.conn, s->turn, &line);
		if (st == ST_MORE)
			break;
		if (st == ST_OK)
			run_line(s, line);
		else
			bad_line(s, st);
		pool_back(s->turn, mark);
	}
	if (inet_lines_hopeless(&s->lines))
		smtp_bye(s, SMTP_R_TOO_MANY_ERRORS);
	else if (conn_input_state(s->head.conn) == ST_TIMEOUT)
		smtp_bye(s, SMTP_R_TIMEOUT);
	else if (conn_input_state(s->head.conn) != ST_OK)
		s->ending = true;
}

static void serve(struct inet_session *head)
{
	struct smtp_session *s = (struct smtp_session *)head;

	s->turn = pool_new("smtp turn", TURN_MAX);
	s->out = BUF_MAX(REPLY_MAX);
	if (!s->turn) {
		conn_abort(head->conn);
		return;
	}
	if (!s->greeted)
		greet(s);
	work(s);
	buf_free(&s->out);
	pool_free(s->turn);
	s->turn = NULL;
	if (s->ending) {
		smtp_tx_reset(s);
		conn_close(head->conn);
	}
}

static void gone(struct inet_session *head)
{
	smtp_tx_reset((struct smtp_session *)head);
}

const struct inet_protocol smtp_protocol = {
	.name = "smtp",
	.session_size = sizeof(struct smtp_session),
	.timeout_key = "smtp_timeout_s",
	.in_max = 64 * 1024,
	.busy_line = "421 4.7.0 Too many connections, try again later\r\n",
	.serve = serve,
	.gone = gone,
};
