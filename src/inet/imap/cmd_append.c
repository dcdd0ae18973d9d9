/* cmd_append.c - APPEND: the message goes from the socket into shared memory, from there into the store's log.
 *
 * What fits on one request rides on it (one round trip); what is larger is streamed into a virtual file
 * first.  Shared memory is taken only for octets that are here: however slowly a client sends, the piece under
 * way waits in the connection's own input buffer. */
#include "exifs/upload.h"
#include "inet/imap/session.h"

#define PIECE (4 * EXIPC_SECTION) /* gathered before it is handed over */
/* With the end of the command behind the last one. */
_Static_assert(PIECE + 2 <= IMAP_INPUT_MAX, "the input buffer can hold a piece");

/* NOTFOUND before the client sends a large literal in vain. */
static enum st check_folder(struct imap_session *s, struct err *err)
{
	uint64_t max = (uint64_t)config_int(s->base.loop->host->config, "message_size_max");
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	if (s->cmd->append.size > max)
		return fail(err, ST_TOOBIG, "The message is larger than %llu octets",
			    (unsigned long long)max);
	if (s->cmd->append.size == 0)
		return fail(err, ST_BAD, "The message is empty");
	imap_ask_begin(s, &m, 1);
	pw_span(&m.w, PR_FOLDER_PATH, s->cmd->append.mailbox);
	st = imap_ask(s, &m, WIRE_IMAP_STATUS, &a, err);
	if (st == ST_OK)
		wire_answer_free(&a);
	return st;
}

static void say_failure(struct imap_session *s, enum st st, const struct err *err)
{
	if (st == ST_NOTFOUND)
		imap_no_code(s, "TRYCREATE", "There is no such mailbox");
	else if (st == ST_TOOBIG)
		imap_no_code(s, "TOOBIG", err->text);
	else
		imap_no(s, st, err);
}

/* Wait until the connection has `want` octets. */
static enum st await(struct imap_session *s, size_t want, struct err *err)
{
	int64_t patience = config_int(s->base.loop->host->config, "imap_timeout_s") * 1000;

	while (conn_input(s->base.conn).len < want) {
		enum st st = conn_fill(s->base.conn, deadline_in_ms(patience));

		if (st != ST_OK) {
			s->ending = true;
			return fail(err, st, "The connection ended in the middle of the message");
		}
	}
	return ST_OK;
}

/* Read `left` octets; on failure *left says how many are still to come from the client.  The last piece is left in
 * the sections, and the client has said what comes behind it. */
static enum st receive(struct imap_session *s, struct upload *u, uint64_t *left, struct err *err)
{
	enum st st = ST_OK;

	while (st == ST_OK && *left > 0) {
		size_t len = *left < PIECE ? (size_t)*left : PIECE;
		bool last = len == *left;

		st = await(s, last ? len + 2 : len, err);
		if (st == ST_OK)
			st = upload_bytes(u, span_cut(conn_input(s->base.conn), len), err);
		if (st == ST_OK) {
			conn_consume(s->base.conn, len);
			*left -= len;
		}
		if (st == ST_OK && !last)
			st = upload_flush(u, err);
	}
	return st;
}

/* What 64 bits of nanoseconds can say: the years 1677 to 2262. */
static uint64_t date_ns(int64_t seconds)
{
	const int64_t max = INT64_MAX / NS_PER_SEC;

	seconds = seconds < -max ? -max : seconds > max ? max : seconds;
	return (uint64_t)(seconds * NS_PER_SEC);
}

static enum st commit(struct imap_session *s, struct upload *u, struct wire_answer *a,
		      struct err *err)
{
	const struct imap_append *c = &s->cmd->append;
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 5);
	pw_span(&m.w, PR_FOLDER_PATH, c->mailbox);
	pw_u32(&m.w, PR_IMAP_FLAGS, c->flags.system & MF_ALL);
	if (c->flags.nkeywords)
		pw_mv_span(&m.w, PR_KEYWORDS, c->flags.keywords, c->flags.nkeywords);
	if (c->has_date)
		pw_u64(&m.w, PR_MESSAGE_DELIVERY_TIME, date_ns(c->date));
	st = upload_attach(u, &m, err);
	if (st != ST_OK) {
		buf_free(&m.bytes);
		return st;
	}
	return imap_ask(s, &m, WIRE_IMAP_APPEND, a, err);
}

static void tell_appended(struct imap_session *s, const struct plist *answer)
{
	struct err err;

	/* Appended to the selected folder: the client learns of it before the tagged reply. */
	if (s->view && s->view->fid == plist_u64(answer, PR_FID, 0))
		(void)imap_view_sync(s, true, &err);
	imap_put_appenduid(&s->out, s->cmd->tag, plist_u32(answer, PR_UIDVALIDITY, 0),
			   plist_u32(answer, PR_INTERNET_ARTICLE_NUMBER, 0), "APPEND done");
}

/* Read on to the end of the command line.  False: the line was wrong and was answered, or the connection ended. */
static bool finish_line(struct imap_session *s)
{
	struct imap_result res;

	imap_reader_streamed(&s->reader);
	for (;;) {
		enum imap_read got =
			imap_read(&s->reader, s->state, conn_input(s->base.conn), s->pool, &res);

		conn_consume(s->base.conn, res.used);
		if (got == IMAP_READ_COMMAND)
			return true;
		if (got != IMAP_READ_MORE) {
			imap_refuse(s, &res);
			return false;
		}
		if (conn_fill(s->base.conn, deadline_in_ms(WIRE_DEADLINE_MS)) != ST_OK) {
			s->ending = true;
			return false;
		}
	}
}

void imap_append_stream(struct imap_session *s)
{
	struct exipc_chan *chan = s->base.loop->chan;
	struct upload u;
	struct wire_answer a = { 0 };
	uint64_t left = s->cmd->append.size;
	struct err err = { 0 };
	enum st st = check_folder(s, &err);

	if (st != ST_OK) {
		bool kept = imap_reader_refuse(&s->reader);

		say_failure(s, st, &err);
		if (!kept)
			imap_bye(s, NULL, "The message is too long to be passed over");
		return;
	}
	if (s->cmd->append.sync)
		buf_str(&s->out, "+ OK\r\n");
	imap_out_all(s);
	upload_begin(&u, chan, wire_loop(chan, s->logon.mailbox_id), 0);
	u.mailboxes = &s->logon.mailbox_id;
	u.nmailboxes = 1;
	st = receive(s, &u, &left, &err);
	if (st == ST_OK && finish_line(s))
		st = commit(s, &u, &a, &err);
	else if (st == ST_OK) {
		upload_end(&u);
		return;
	}
	if (st == ST_OK) {
		tell_appended(s, &a.list);
	} else if (!s->ending) {
		if (left > 0 && !imap_reader_abandon(&s->reader, left))
			imap_bye(s, NULL, "The message is too long to be passed over");
		say_failure(s, st, &err);
	}
	upload_end(&u);
	wire_answer_free(&a);
}
