#include "inet/pop3/session.h"
#include "inet/pop3/pop3.h"

#include <stdlib.h>

#define TURN_MAX    (64 * 1024)
#define OUT_MAX     (256 * 1024)
#define OUT_HIGH    (16 * 1024)
#define SKIPPED_MAX (256 * 1024) /* without one good line: that is no POP3 client */

/* ---- replies ---- */

void pop3_send(struct pop3_session *s)
{
	/* A failed write shows as the connection's state when the next line is asked for. */
	(void)conn_write(s->head.conn, s->out.at, s->out.len);
	buf_clear(&s->out);
}

void pop3_send_some(struct pop3_session *s)
{
	if (s->out.len > OUT_HIGH)
		pop3_send(s);
}

void pop3_say(struct pop3_session *s, enum pop3_reply_id id)
{
	pop3_reply_write(&s->out, id);
	pop3_send(s);
}

void pop3_bye(struct pop3_session *s, enum pop3_reply_id id)
{
	if (s->ending)
		return;
	pop3_say(s, id);
	s->ending = true;
}

void pop3_refuse(struct pop3_session *s, enum pop3_reply_id id)
{
	pop3_say(s, id);
	if (inet_error(&s->head))
		pop3_bye(s, POP3_R_TOO_MANY_ERRORS);
}

/* ---- the small verbs ---- */

static void run_noop(struct pop3_session *s, const struct pop3_command *c)
{
	(void)c;
	pop3_say(s, POP3_R_OK);
}

/* Names, passwords and messages go out and come in as they are, with or without it (RFC 6856). */
static void run_utf8(struct pop3_session *s, const struct pop3_command *c)
{
	(void)c;
	pop3_say(s, POP3_R_UTF8_OK);
}

/* One language: English (RFC 6856 section 3). */
static void run_lang(struct pop3_session *s, const struct pop3_command *c)
{
	if (!c->text.at) {
		pop3_reply_write(&s->out, POP3_R_LANGS);
		buf_str(&s->out, "en English\r\n.\r\n");
		pop3_send(s);
	} else if (span_ieq(c->text, SPAN("*")) || span_ieq(span_cut(c->text, 3), SPAN("en-")) ||
		   span_ieq(c->text, SPAN("en"))) {
		pop3_say(s, POP3_R_LANG_OK);
	} else {
		pop3_refuse(s, POP3_R_UNKNOWN_LANG);
	}
}

static void run_quit(struct pop3_session *s, const struct pop3_command *c)
{
	struct err err;
	enum st st = ST_OK;

	(void)c;
	if (s->state == POP3_TRANSACTION && s->drop.deleted > 0)
		st = pop3_drop_update(s, &err);
	if (st != ST_OK)
		inet_log(&s->head, LOG_WARN, "messages not deleted", LE(&err));
	pop3_drop_close(s);
	pop3_bye(s, st == ST_OK ? POP3_R_BYE : POP3_R_NOT_ALL_DELETED);
}

static pop3_run *const verbs[POP3_CMDS] = {
	[POP3_CAPA] = pop3_run_capa, [POP3_USER] = pop3_run_user, [POP3_PASS] = pop3_run_pass,
	[POP3_AUTH] = pop3_run_auth, [POP3_STLS] = pop3_run_stls, [POP3_UTF8] = run_utf8,
	[POP3_LANG] = run_lang,      [POP3_STAT] = pop3_run_stat, [POP3_LIST] = pop3_run_list,
	[POP3_UIDL] = pop3_run_uidl, [POP3_RETR] = pop3_run_retr, [POP3_TOP] = pop3_run_top,
	[POP3_DELE] = pop3_run_dele, [POP3_RSET] = pop3_run_rset, [POP3_NOOP] = run_noop,
	[POP3_QUIT] = run_quit,
};

static void run_line(struct pop3_session *s, struct span line)
{
	struct pop3_command c;
	enum pop3_reply_id why;

	inet_count(&s->head, INET_COMMANDS, 1);
	if (pop3_parse(line, s->state, &c, &why) == ST_OK)
		verbs[c.verb->cmd](s, &c);
	else
		pop3_refuse(s, why);
}

/* ---- the session ---- */

static void greet(struct pop3_session *s)
{
	s->greeted = true;
	s->state = POP3_AUTHORIZATION;
	s->lines = (struct inet_lines){ { .max = POP3_AUTH_LINE_MAX }, SKIPPED_MAX };
	pop3_say(s, POP3_R_READY);
}

/* Why this session can't go on, before the next command; POP3_R_OK when it can. */
static enum pop3_reply_id obstacle(struct pop3_session *s)
{
	if (inet_stopping(&s->head))
		return POP3_R_STOPPING;
	if (s->state == POP3_TRANSACTION && !ds_logon_alive(s->head.loop->ds, &s->logon))
		return POP3_R_TROUBLE;
	return POP3_R_OK;
}

/* Run what is there.  A connection that ended, or was silent for too long, is closed: without the
 * update, RFC 1939 section 3. */
static void work(struct pop3_session *s)
{
	while (!s->ending) {
		size_t mark = pool_mark(s->turn);
		enum pop3_reply_id why = obstacle(s);
		struct span line;
		enum st st;

		if (why != POP3_R_OK) {
			pop3_bye(s, why);
			return;
		}
		st = inet_line_take(&s->lines, s->head.conn, s->turn, &line);
		if (st == ST_MORE)
			break;
		if (st == ST_OK)
			run_line(s, line);
		else
			pop3_refuse(s, st == ST_BAD ? POP3_R_LINE_BARE : POP3_R_LINE_TOO_LONG);
		pool_back(s->turn, mark);
	}
	if (inet_lines_hopeless(&s->lines))
		pop3_bye(s, POP3_R_TOO_MANY_ERRORS);
	else if (conn_input_state(s->head.conn) == ST_TIMEOUT)
		pop3_bye(s, POP3_R_TIMEOUT);
	else if (conn_input_state(s->head.conn) != ST_OK)
		s->ending = true;
}

static void serve(struct inet_session *head)
{
	struct pop3_session *s = (struct pop3_session *)head;

	s->turn = pool_new("pop3 turn", TURN_MAX);
	s->out = BUF_MAX(OUT_MAX);
	if (!s->turn) {
		pop3_drop_close(s);
		conn_abort(head->conn);
		return;
	}
	if (!s->greeted)
		greet(s);
	work(s);
	if (s->ending)
		pop3_drop_close(s);
	buf_free(&s->out);
	pool_free(s->turn);
	s->turn = NULL;
	if (s->ending)
		conn_close(head->conn);
}

static void gone(struct inet_session *head)
{
	struct pop3_session *s = (struct pop3_session *)head;

	free(s->drop.items);
	free(s->name);
}

const struct inet_protocol pop3_protocol = {
	.name = "pop3",
	.session_size = sizeof(struct pop3_session),
	.timeout_key = "pop3_timeout_s",
	.login_timeout = true,
	.in_max = 16 * 1024,
	.busy_line = "-ERR [SYS/TEMP] Too many connections, try again later\r\n",
	.serve = serve,
	.gone = gone,
};
