/* session.c - serving an IMAP connection: greeting, commands, news, the end. */
#include "inet/imap/imap.h"
#include "inet/imap/session.h"

#include "proto/line.h"

#include <stdio.h>

/* Before the log-on: names, passwords, a SASL response. */
#define LINE_MAX_STRANGER     8192u
#define LITERALS_MAX_STRANGER 4096u

/* ---- what is said ---- */

void imap_out_all(struct imap_session *s)
{
	if (s->out.failed) {
		/* A reply line larger than any real one: the client must not see half of it. */
		inet_log(&s->base, LOG_WARN, "reply too large");
		conn_abort(s->base.conn);
		s->ending = true;
	} else if (s->out.len > 0 && conn_write(s->base.conn, s->out.at, s->out.len) != ST_OK) {
		s->ending = true; /* nobody reads any more: no need to go on */
	}
	buf_clear(&s->out);
}

void imap_out_some(struct imap_session *s)
{
	if (s->out.len > IMAP_OUT_HIGH || s->out.failed)
		imap_out_all(s);
}

void imap_ok_code(struct imap_session *s, const char *code, const char *text)
{
	imap_put_cond(&s->out, s->cmd->tag, IMAP_OK, code, text);
}

void imap_ok(struct imap_session *s, const char *text)
{
	imap_ok_code(s, NULL, text);
}

void imap_no_code(struct imap_session *s, const char *code, const char *text)
{
	imap_put_cond(&s->out, s->cmd->tag, IMAP_NO, code, text);
}

void imap_bad(struct imap_session *s, const char *text)
{
	imap_put_cond(&s->out, s->cmd->tag, IMAP_BAD, NULL, text);
	if (inet_error(&s->base))
		imap_bye(s, NULL, "Too many errors");
}

void imap_no(struct imap_session *s, enum st st, const struct err *err)
{
	static const char *const codes[ST_CODES] = {
		[ST_DENIED] = "NOPERM",        [ST_NOTFOUND] = "NONEXISTENT",
		[ST_EXISTS] = "ALREADYEXISTS", [ST_TOOBIG] = "LIMIT",
		[ST_NOSPACE] = "UNAVAILABLE",  [ST_BUSY] = "INUSE",
		[ST_GONE] = "UNAVAILABLE",     [ST_TIMEOUT] = "UNAVAILABLE",
		[ST_IO] = "UNAVAILABLE",       [ST_CORRUPT] = "CORRUPTION",
		[ST_NOMEM] = "UNAVAILABLE",    [ST_BAD] = "CANNOT",
	};

	if (st == ST_CORRUPT || st == ST_IO)
		inet_log(&s->base, LOG_ERROR, "store refused", LC("status", st_name(st)), LE(err));
	imap_no_code(s, st == ST_NOSPACE && s->over_quota ? "OVERQUOTA" : codes[st],
		     err->text[0] ? err->text : "Not done");
}

void imap_bye(struct imap_session *s, const char *code, const char *text)
{
	if (!s->ending)
		imap_put_cond(&s->out, SPAN_NONE, IMAP_BYE, code, text);
	s->ending = true;
}

struct imap_offer imap_offer(struct imap_session *s)
{
	static const char *const all[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256", NULL };
	static const char *const hidden[] = { "SCRAM-SHA-256", NULL };
	bool safe = inet_secure(&s->base);

	return (struct imap_offer){
		.state = s->state,
		.exts = s->reader.exts,
		.starttls = s->base.loop->host->tls && !conn_is_tls(s->base.conn),
		.login = safe,
		.mechs = safe ? all : hidden,
	};
}

void imap_capability_code(struct imap_session *s, struct buf *code)
{
	struct imap_offer offer = imap_offer(s);

	buf_str(code, "CAPABILITY ");
	imap_capabilities(code, &offer);
	buf_char(code, '\0');
}

/* ---- asking the store ---- */

void imap_ask_begin(struct imap_session *s, struct wire_msg *m, size_t props)
{
	wire_begin(m, props + 1);
	pw_u64(&m->w, PR_LOGON, s->logon.logon);
}

enum st imap_ask(struct imap_session *s, struct wire_msg *m, enum wire_op op, struct wire_answer *a,
		 struct err *err)
{
	struct exipc_chan *chan = s->base.loop->chan;

	err->text[0] = '\0';
	s->base.waits = "store";
	enum st st = wire_send(m, chan, wire_loop(chan, s->logon.mailbox_id), op, a, err);
	s->base.waits = NULL;
	s->over_quota = st == ST_NOSPACE && plist_bool(&a->list, PR_OVER_QUOTA, false);
	return st;
}

void imap_put_set(struct wire_msg *m, uint32_t tag, const struct uset *set)
{
	struct buf b = BUF_MAX(EXIPC_BLOCK_MAX);

	uset_write(set, &b);
	if (b.failed)
		m->bytes.failed = true; /* wire_send() says ST_TOOBIG */
	else
		pw_span(&m->w, tag, b.at ? buf_get(&b) : SPAN(""));
	buf_free(&b);
}

enum st imap_get_set(const struct plist *list, uint32_t tag, struct uset *out, struct err *err)
{
	*out = (struct uset){ 0 };
	return uset_read(plist_span(list, tag), out, err);
}

/* ---- commands ---- */

typedef void imap_fn(struct imap_session *s);

static imap_fn *const functions[IMAP_VERBS] = {
	[IMAP_CAPABILITY] = imap_cmd_capability,
	[IMAP_NOOP] = imap_cmd_noop,
	[IMAP_LOGOUT] = imap_cmd_logout,
	[IMAP_ID] = imap_cmd_id,
	[IMAP_STARTTLS] = imap_cmd_starttls,
	[IMAP_AUTHENTICATE] = imap_cmd_authenticate,
	[IMAP_LOGIN] = imap_cmd_login,
	[IMAP_ENABLE] = imap_cmd_enable,
	[IMAP_SELECT] = imap_cmd_select,
	[IMAP_EXAMINE] = imap_cmd_select,
	[IMAP_CREATE] = imap_cmd_create,
	[IMAP_DELETE] = imap_cmd_delete,
	[IMAP_RENAME] = imap_cmd_rename,
	[IMAP_SUBSCRIBE] = imap_cmd_subscribe,
	[IMAP_UNSUBSCRIBE] = imap_cmd_subscribe,
	[IMAP_LIST] = imap_cmd_list,
	[IMAP_LSUB] = imap_cmd_list,
	[IMAP_NAMESPACE] = imap_cmd_namespace,
	[IMAP_STATUS] = imap_cmd_status,
	[IMAP_IDLE] = imap_cmd_idle,
	[IMAP_CHECK] = imap_cmd_noop,
	[IMAP_CLOSE] = imap_cmd_close,
	[IMAP_UNSELECT] = imap_cmd_close,
	[IMAP_EXPUNGE] = imap_cmd_expunge,
	[IMAP_SEARCH] = imap_cmd_search,
	[IMAP_FETCH] = imap_cmd_fetch,
	[IMAP_STORE] = imap_cmd_store,
	[IMAP_COPY] = imap_cmd_copy,
	[IMAP_MOVE] = imap_cmd_copy,
};

static void run(struct imap_session *s, const struct imap_command *cmd)
{
	s->cmd = cmd;
	inet_count(&s->base, INET_COMMANDS, 1);
	if ((cmd->verb->effects & IMAP_WRITES) && s->view && s->view->readonly)
		imap_no_code(s, "READ-ONLY", "The mailbox was opened with EXAMINE");
	else
		functions[cmd->verb->id](s);
}

void imap_refuse(struct imap_session *s, const struct imap_result *res)
{
	imap_put_bad(&s->out, res);
	if (res->close)
		imap_bye(s, NULL, "The connection cannot be understood any more");
	else if (inet_error(&s->base))
		imap_bye(s, NULL, "Too many errors");
}

/* Run what is whole in the input.  False: nothing whole is left. */
static bool read_one(struct imap_session *s)
{
	struct span in = conn_input(s->base.conn);
	size_t mark = pool_mark(s->pool);
	struct imap_result res;
	enum imap_read got;

	if (in.len == 0)
		return false;
	got = imap_read(&s->reader, s->state, in, s->pool, &res);
	conn_consume(s->base.conn, res.used);
	if (got == IMAP_READ_COMMAND) {
		run(s, res.cmd);
	} else if (got == IMAP_READ_STREAM) {
		s->cmd = res.cmd;
		inet_count(&s->base, INET_COMMANDS, 1);
		imap_append_stream(s);
	} else if (got == IMAP_READ_BAD) {
		imap_refuse(s, &res);
	} else if (got == IMAP_READ_CONTINUE) {
		buf_str(&s->out, "+ OK\r\n");
	}
	s->cmd = NULL;
	imap_out_some(s);
	pool_back(s->pool, mark);
	/* After a "+" the literal may be there already: some clients do not wait. */
	return got != IMAP_READ_MORE;
}

/* ---- IDLE (RFC 2177) ---- */

void imap_cmd_idle(struct imap_session *s)
{
	struct err err;

	snprintf(s->idle_tag, sizeof s->idle_tag, SPAN_FMT, SPAN_ARG(s->cmd->tag));
	s->idling = true;
	buf_str(&s->out, "+ idling\r\n");
	if (s->view)
		imap_view_sync(s, true, &err);
}

/* The client ends IDLE with a line of its own.  False: it has not yet. */
static bool idle_ended(struct imap_session *s)
{
	struct line_reader lines = { .max = 64 };
	struct span line;
	size_t used;
	enum st st = line_take(&lines, conn_input(s->base.conn), &line, &used);
	bool done = st == ST_OK && span_ieq(line, SPAN("DONE"));

	conn_consume(s->base.conn, used);
	if (st == ST_MORE)
		return false;
	s->idling = false;
	imap_put_cond(&s->out, span_str(s->idle_tag), done ? IMAP_OK : IMAP_BAD, NULL,
		      done ? "IDLE done" : "IDLE ends with DONE");
	if (!done && inet_error(&s->base))
		imap_bye(s, NULL, "Too many errors");
	return true;
}

static void idle(struct imap_session *s)
{
	struct err err;

	if (s->view && s->view->changed)
		imap_view_sync(s, true, &err);
	if (conn_input(s->base.conn).len > 0)
		idle_ended(s);
}

/* ---- serving ---- */

void imap_reader_begin(struct imap_session *s)
{
	uint32_t line_max = (uint32_t)config_int(s->base.loop->host->config, "line_max");

	imap_reader_init(&s->reader, IMAP_EXT_SERVED);
	if (line_max < s->reader.line_max)
		s->reader.line_max = line_max;
	if (s->state != IMAP_NOT_AUTH)
		return;
	s->reader.line_max = LINE_MAX_STRANGER;
	s->reader.literals_max = LITERALS_MAX_STRANGER;
}

static void greet(struct imap_session *s)
{
	struct buf code = BUF_MAX(4096);

	s->greeted = true;
	s->state = IMAP_NOT_AUTH;
	imap_reader_begin(s);
	imap_capability_code(s, &code);
	imap_put_cond(&s->out, SPAN_NONE, IMAP_OK, code.at, "Mailroot ready");
	buf_free(&code);
}

/* Reasons to end that no command gave. */
static void check_end(struct imap_session *s)
{
	enum st in = conn_input_state(s->base.conn);

	if (in == ST_TIMEOUT)
		imap_bye(s, NULL, "Silent for too long");
	else if (in != ST_OK)
		s->ending = true;
	else if (inet_stopping(&s->base))
		imap_bye(s, "UNAVAILABLE", "The server is stopping; come again soon");
	else if (s->state != IMAP_NOT_AUTH && !ds_logon_alive(s->base.loop->ds, &s->logon))
		imap_bye(s, "UNAVAILABLE", "The store was restarted; please log in again");
}

static void end(struct imap_session *s)
{
	imap_view_close(s);
	ds_logoff(s->base.loop->ds, &s->logon);
	s->state = IMAP_NOT_AUTH;
	conn_close(s->base.conn);
}

static void serve(struct inet_session *base)
{
	struct imap_session *s = (struct imap_session *)base;

	s->pool = pool_new("imap command", IMAP_POOL_MAX);
	s->out = BUF_MAX(IMAP_OUT_MAX);
	if (!s->pool) {
		conn_abort(base->conn);
		return;
	}
	if (!s->greeted)
		greet(s);
	do {
		/* Whole commands that came before the peer's end are still run. */
		if (conn_input(base->conn).len == 0 || conn_input_state(base->conn) != ST_EOF)
			check_end(s);
		if (s->idling && !s->ending)
			idle(s);
	} while (!s->ending && !s->idling && read_one(s));
	check_end(s);
	imap_out_all(s);
	buf_free(&s->out);
	pool_free(s->pool);
	s->pool = NULL;
	if (s->ending)
		end(s);
}

static void gone(struct inet_session *base)
{
	struct imap_session *s = (struct imap_session *)base;

	if (s->view)
		imap_view_free(s, s->view);
	s->view = NULL;
}

const struct inet_protocol imap_protocol = {
	.name = "imap",
	.session_size = sizeof(struct imap_session),
	.timeout_key = "imap_timeout_s",
	.login_timeout = true,
	.in_max = IMAP_INPUT_MAX,
	.busy_line = "* BYE [UNAVAILABLE] Too many connections; try again later\r\n",
	.serve = serve,
	.gone = gone,
};
