/* cmd_append.c - APPEND: the message goes from the socket into shared memory, from there into the store's log.
 *
 * What fits on one request rides on it (one round trip); what is larger is streamed into a virtual file
 * first.  Shared memory is taken only for octets that are here: however slowly a client sends, the piece under
 * way waits in the connection's own input buffer. */
#include "inet/imap/session.h"

#define PIECE (4 * EXIPC_SECTION) /* gathered before it is handed over */
/* With the end of the command behind the last one. */
_Static_assert(PIECE + 2 <= IMAP_INPUT_MAX, "the input buffer can hold a piece");

struct upload {
	struct wire_msg m; /* sections gathered for the next request */
	uint64_t token;    /* of the virtual file; 0: none */
	unsigned store_loop;
};

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

static void drop_sections(struct imap_session *s, struct upload *u)
{
	for (unsigned i = 0; i < u->m.nsections; i++)
		exipc_section_put(s->base.loop->chan, &u->m.sections[i]);
	u->m.nsections = 0;
}

/* They belong to the call from now on, whatever comes of it. */
static void give_sections(struct upload *u, struct wire_msg *m)
{
	m->nsections = u->m.nsections;
	for (unsigned i = 0; i < m->nsections; i++) {
		m->sections[i] = u->m.sections[i];
		m->used[i] = u->m.used[i];
	}
	u->m.nsections = 0;
}

/* Send the gathered sections into the virtual file, making it first. */
static enum st flush_sections(struct imap_session *s, struct upload *u, struct err *err)
{
	struct exipc_chan *chan = s->base.loop->chan;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st = ST_OK;

	if (!u->token) {
		wire_begin(&m, 0);
		st = wire_send(&m, chan, u->store_loop, WIRE_IFS_CREATE, &a, err);
		if (st != ST_OK)
			return st;
		u->token = plist_u64(&a.list, PR_BODY_TOKEN, 0);
		wire_answer_free(&a);
	}
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, u->token);
	give_sections(u, &m);
	st = wire_send(&m, chan, u->store_loop, WIRE_IFS_WRITE, &a, err);
	if (st == ST_OK)
		wire_answer_free(&a);
	return st;
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

/* Move `len` octets that are here into sections. */
static enum st take_piece(struct imap_session *s, struct upload *u, size_t len, struct err *err)
{
	struct exipc_chan *chan = s->base.loop->chan;

	while (len > 0) {
		uint32_t n = len < EXIPC_SECTION ? (uint32_t)len : EXIPC_SECTION;
		struct exipc_section *section = &u->m.sections[u->m.nsections];
		enum st st = exipc_section_get(chan, u->store_loop,
					       deadline_in_ms(WIRE_DEADLINE_MS), section, err);

		if (st != ST_OK)
			return st;
		memcpy(section->at, conn_input(s->base.conn).at, n);
		conn_consume(s->base.conn, n);
		u->m.used[u->m.nsections++] = n;
		len -= n;
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
		if (st == ST_OK) {
			size_t before = conn_input(s->base.conn).len;

			st = take_piece(s, u, len, err);
			*left -= before - conn_input(s->base.conn).len;
		}
		if (st == ST_OK && !last)
			st = flush_sections(s, u, err);
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
	enum st st = u->token && u->m.nsections ? flush_sections(s, u, err) : ST_OK;

	if (st != ST_OK)
		return st;
	imap_ask_begin(s, &m, 5);
	pw_span(&m.w, PR_FOLDER_PATH, c->mailbox);
	pw_u32(&m.w, PR_IMAP_FLAGS, c->flags.system & MF_ALL);
	if (c->flags.nkeywords)
		pw_mv_span(&m.w, PR_KEYWORDS, c->flags.keywords, c->flags.nkeywords);
	if (c->has_date)
		pw_u64(&m.w, PR_MESSAGE_DELIVERY_TIME, date_ns(c->date));
	if (u->token) {
		pw_u64(&m.w, PR_BODY_TOKEN, u->token);
		u->token = 0; /* used up */
	}
	give_sections(u, &m);
	return imap_ask(s, &m, WIRE_IMAP_APPEND, a, err);
}

static void discard(struct imap_session *s, struct upload *u)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct err err;

	drop_sections(s, u);
	if (!u->token)
		return;
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, u->token);
	if (wire_send(&m, s->base.loop->chan, u->store_loop, WIRE_IFS_CLOSE, &a, &err) == ST_OK)
		wire_answer_free(&a);
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
	struct upload u = { .store_loop = wire_loop(chan, s->logon.mailbox_id) };
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
	st = receive(s, &u, &left, &err);
	if (st == ST_OK && finish_line(s))
		st = commit(s, &u, &a, &err);
	else if (st == ST_OK) {
		discard(s, &u);
		return;
	}
	if (st == ST_OK) {
		tell_appended(s, &a.list);
	} else if (!s->ending) {
		if (left > 0 && !imap_reader_abandon(&s->reader, left))
			imap_bye(s, NULL, "The message is too long to be passed over");
		say_failure(s, st, &err);
	}
	discard(s, &u);
	wire_answer_free(&a);
}
