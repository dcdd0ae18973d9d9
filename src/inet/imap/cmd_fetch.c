/* cmd_fetch.c - FETCH: rows of the store become responses; message octets are sent by reference.
 *
 * Envelopes, structures, sizes and flags come from the store's rows: no body is opened for them.  A large
 * section is queued as runs of the streaming file (sendfile where the connection is plain); a small one is
 * read into the reply, which costs fewer system calls.
 *
 * The store's replies lie in shared memory that all sessions of this loop need, so none of it is held while a
 * client may let us wait: rows are asked for in batches whose text fits the reply buffer, and written when
 * the batch is over.  Where that must happen in the middle of a row (a section by reference, many
 * sections), the row moves into memory of our own first, and a small reply of its own keeps the body's pages. */
#include "inet/imap/session.h"

#include "exifs/eafile.h"
#include "mime/header.h"
#include "mime/structure.h"

#include <stdlib.h>

#define BY_REFERENCE_MIN (32u * 1024)   /* sections from here on are queued, not copied */
#define HEADER_MAX       (1024u * 1024) /* of a header that is cut down to fields */
#define LONG_HEADER      (16u * 1024) /* cutting it down takes long enough for others to have a turn */
#define TREE_POOL        (1024u * 1024)
#define BATCH_TEXT       (128u * 1024) /* of responses, after which a batch ends */
/* Messages of a batch: the first, and at most, with bodies; with rows to be read; from the index alone. */
#define BATCH_FIRST      16u
#define BATCH_BODY       64u
#define BATCH_ITEM       256u
#define BATCH_INDEX      4096u

/* A reply whose scatter list is being sent: it is the pin, and goes back with the last octet. */
struct pin {
	struct exipc_reply reply;
	unsigned refs;
};

struct row {
	struct plist list;
	uint32_t uid;
	uint64_t size, header; /* octets of the message, of its header */
	struct mime_tree tree;
	struct eafile file;
	struct pin *pin; /* of `file`, once the row has left the batch's answer */
	bool cut;        /* part of its response is with the connection already */
};

struct fetch {
	struct imap_session *s;
	const struct imap_fetch *cmd;
	unsigned want;
	bool set_seen, need_tree;
	struct wire_answer answer;
	bool answered; /* the answer is held: no waiting for the client */
	uint32_t next; /* UID to go on with */
	uint32_t batch, batch_max;
	uint32_t rows;     /* told so far */
	struct err broken; /* of the first message that could not be read */
	struct buf kept;   /* the bytes of a row that has left the answer */
	struct pool *tree_pool;
};

/* ---- what to ask for ---- */

static bool needs_body(const struct imap_item *item)
{
	return item->kind >= IMAP_ITEM_SECTION;
}

static void plan(struct fetch *f)
{
	const unsigned rows = WANT_ENVELOPE | WANT_STRUCTURE;

	static const unsigned wants[] = {
		[IMAP_ITEM_UID] = 0,
		[IMAP_ITEM_FLAGS] = WANT_FLAGS,
		[IMAP_ITEM_INTERNALDATE] = WANT_DATE,
		[IMAP_ITEM_SIZE] = WANT_SIZE,
		[IMAP_ITEM_ENVELOPE] = WANT_ENVELOPE,
		[IMAP_ITEM_BODY] = WANT_STRUCTURE,
		[IMAP_ITEM_BODYSTRUCTURE] = WANT_STRUCTURE,
		[IMAP_ITEM_MODSEQ] = WANT_FLAGS,
		[IMAP_ITEM_SECTION] = WANT_BODY,
		[IMAP_ITEM_RFC822] = WANT_BODY,
		[IMAP_ITEM_RFC822_HEADER] = WANT_BODY,
		[IMAP_ITEM_RFC822_TEXT] = WANT_BODY,
	};

	for (uint32_t i = 0; i < f->cmd->nitems; i++) {
		const struct imap_item *item = &f->cmd->items[i];

		f->want |= wants[item->kind];
		if (item->kind == IMAP_ITEM_SECTION && item->section.nparts > 0) {
			f->want |= WANT_STRUCTURE;
			f->need_tree = true;
		}
		if (item->kind == IMAP_ITEM_BODY || item->kind == IMAP_ITEM_BODYSTRUCTURE)
			f->need_tree = true;
		f->set_seen |= item->sets_seen && !f->s->view->readonly;
	}
	f->batch_max = f->want & WANT_BODY ? BATCH_BODY : f->want & rows ? BATCH_ITEM : BATCH_INDEX;
	f->batch = f->batch_max < BATCH_ITEM ? BATCH_FIRST : f->batch_max;
	f->next = 1;
}

/* ---- letting go of the answer ---- */

static void pin_drop(void *arg)
{
	struct pin *p = arg;

	if (--p->refs > 0)
		return;
	exipc_reply_free(&p->reply);
	free(p);
}

static enum st pin_take(struct row *row, struct wire_answer *a, struct err *err)
{
	row->pin = malloc(sizeof *row->pin);
	if (!row->pin)
		return fail(err, ST_NOMEM, "Out of memory");
	*row->pin = (struct pin){ .refs = 1 };
	if (wire_take_block(a, &row->pin->reply))
		return ST_OK;
	free(row->pin);
	row->pin = NULL;
	return fail(err, ST_GONE, "The store's reply holds no body");
}

/* Where the body of the row lies, in a reply of its own: a small one, which may be held as long as it takes. */
static enum st pin_body(struct fetch *f, struct row *row, struct err *err)
{
	struct imap_session *s = f->s;
	struct wire_answer a = { 0 };
	struct uset one = { 0 };
	struct wire_msg m;
	enum st st = uset_add(&one, row->uid, row->uid);

	if (st != ST_OK)
		return fail(err, st, "Out of memory");
	imap_ask_begin(s, &m, 3);
	pw_u64(&m.w, PR_FID, s->view->fid);
	imap_put_set(&m, PR_UIDS, &one);
	pw_u32(&m.w, PR_WANT, WANT_BODY);
	uset_free(&one);
	st = imap_ask(s, &m, WIRE_IMAP_FETCH, &a, err);
	if (st == ST_OK)
		st = wire_next_row(&a, err);
	if (st == ST_EOF)
		st = fail(err, ST_NOTFOUND, "The message is gone");
	if (st == ST_OK)
		st = pin_take(row, &a, err);
	if (st == ST_OK)
		st = eafile_open(s->base.loop->chan, &a.list, &row->file, err);
	wire_answer_free(&a);
	return st;
}

static enum st read_tree(struct fetch *f, struct row *row, struct err *err)
{
	if (!f->need_tree)
		return ST_OK;
	pool_back(f->tree_pool, 0);
	return mime_tree_read(plist_span(&row->list, PR_MIME_STRUCTURE), f->tree_pool, &row->tree,
			      err);
}

/* From here on the row may wait for the client. */
static enum st leave_answer(struct fetch *f, struct row *row, struct err *err)
{
	enum st st;

	if (!f->answered)
		return ST_OK;
	buf_clear(&f->kept);
	buf_add(&f->kept, row->list.at, row->list.len);
	if (f->kept.failed)
		return fail(err, ST_NOMEM, "Out of memory");
	row->list = plist_trusted(f->kept.at, f->kept.len);
	if (row->file.stream)
		eafile_close(&row->file);
	wire_answer_free(&f->answer);
	f->answered = false;
	st = read_tree(f, row, err);
	return st == ST_OK && (f->want & WANT_BODY) ? pin_body(f, row, err) : st;
}

/* Give the connection what there is of the row. */
static enum st write_part(struct fetch *f, struct row *row, struct err *err)
{
	enum st st = leave_answer(f, row, err);

	if (st != ST_OK)
		return st;
	row->cut = true;
	imap_out_all(f->s);
	return f->s->ending ? fail(err, ST_EOF, "The connection ended") : ST_OK;
}

/* ---- sections ---- */

/* Where in the message a section stands; ST_NOTFOUND: the message has none. */
static enum st locate(const struct row *row, const struct imap_item *item, struct mime_section *out,
		      struct err *err)
{
	enum imap_section_text text = item->kind == IMAP_ITEM_RFC822_HEADER ? IMAP_SECTION_HEADER
				      : item->kind == IMAP_ITEM_RFC822_TEXT ? IMAP_SECTION_TEXT
				      : item->kind == IMAP_ITEM_RFC822      ? IMAP_SECTION_ALL
									    : item->section.text;
	struct buf path = BUF_MAX(4096);
	enum st st;

	if (item->kind != IMAP_ITEM_SECTION || item->section.nparts == 0) {
		*out = (struct mime_section){ .len = row->size };
		if (text == IMAP_SECTION_TEXT)
			*out = (struct mime_section){ .at = row->header,
						      .len = row->size - row->header };
		else if (text != IMAP_SECTION_ALL)
			out->len = row->header;
		return ST_OK;
	}
	for (uint32_t i = 0; i < item->section.nparts; i++)
		buf_printf(&path, "%s%u", i ? "." : "", item->section.parts[i]);
	if (text == IMAP_SECTION_TEXT)
		buf_str(&path, ".TEXT");
	else if (text == IMAP_SECTION_MIME)
		buf_str(&path, ".MIME");
	else if (text != IMAP_SECTION_ALL)
		buf_str(&path, ".HEADER");
	st = path.failed ? fail(err, ST_NOTFOUND, "no such part")
			 : mime_section(&row->tree, buf_get(&path), out, err);
	buf_free(&path);
	return st;
}

static enum st send_octets(struct fetch *f, struct row *row, uint64_t at, uint64_t len,
			   struct err *err)
{
	struct conn *conn = f->s->base.conn;
	enum st st = write_part(f, row, err);

	if (st != ST_OK)
		return st;
	st = eafile_send(&row->file, conn, at, len);
	row->pin->refs++;
	(void)conn_on_sent(conn, pin_drop, row->pin); /* once, also when the connection is dead */
	if (st == ST_GONE)
		return fail(err, st, "the store went away");
	return st == ST_OK ? ST_OK : fail(err, ST_EOF, "The connection ended");
}

/* `len` octets at `at` as a literal: by reference or copied. */
static enum st put_octets(struct fetch *f, struct row *row, uint64_t at, uint64_t len,
			  struct err *err)
{
	struct imap_session *s = f->s;
	size_t got = 0;
	char *room;
	enum st st;

	imap_put_literal(&s->out, len);
	if (len >= BY_REFERENCE_MIN)
		return send_octets(f, row, at, len, err);
	room = buf_room(&s->out, len);
	if (!room)
		return fail(err, ST_NOMEM, "Out of memory");
	st = eafile_read(&row->file, at, room, len, &got, err);
	if (st == ST_OK && got != len)
		st = fail(err, ST_CORRUPT, "message body is shorter than its scatter list");
	if (st == ST_OK)
		s->out.len += len;
	return st;
}

/* HEADER.FIELDS: read the header, keep what was asked for. */
static enum st put_fields(struct fetch *f, struct row *row, const struct imap_item *item,
			  const struct mime_section *where, struct err *err)
{
	struct imap_session *s = f->s;
	size_t len = where->len < HEADER_MAX ? where->len : HEADER_MAX, got = 0;
	struct buf header = BUF_MAX(HEADER_MAX), subset = BUF_MAX(HEADER_MAX + 2);
	char *room = buf_room(&header, len ? len : 1);
	uint64_t first, count;
	enum st st = room ? eafile_read(&row->file, where->at, room, len, &got, err)
			  : fail(err, ST_NOMEM, "Out of memory");

	/* A client may ask for many of them at a time. */
	if (len > LONG_HEADER)
		fiber_yield();
	if (st == ST_OK) {
		header.len = got;
		mime_header_subset(buf_get(&header), item->section.fields, item->section.nfields,
				   item->section.text == IMAP_SECTION_FIELDS_NOT, &subset);
		imap_item_window(item, subset.len, &first, &count);
		imap_put_literal(&s->out, count);
		buf_add(&s->out, subset.at ? subset.at + first : "", count);
	}
	buf_free(&header);
	buf_free(&subset);
	return st;
}

static enum st put_section(struct fetch *f, struct row *row, const struct imap_item *item,
			   struct err *err)
{
	struct mime_section where;
	uint64_t first, count;
	struct err why;
	enum st st = locate(row, item, &where, &why);

	imap_put_item_name(&f->s->out, item);
	buf_char(&f->s->out, ' ');
	if (st == ST_NOTFOUND || st == ST_BAD) {
		imap_put_nstring(&f->s->out, SPAN_NONE);
		return ST_OK;
	}
	if (item->kind == IMAP_ITEM_SECTION && (item->section.text == IMAP_SECTION_FIELDS ||
						item->section.text == IMAP_SECTION_FIELDS_NOT))
		return put_fields(f, row, item, &where, err);
	imap_item_window(item, where.len, &first, &count);
	return put_octets(f, row, where.at + first, count, err);
}

/* ---- a row ---- */

static int64_t seconds_of(uint64_t date)
{
	int64_t ns = (int64_t)date;

	return ns / NS_PER_SEC - (ns % NS_PER_SEC < 0);
}

static enum st put_item(struct fetch *f, struct row *row, const struct imap_item *item,
			struct err *err)
{
	struct buf *out = &f->s->out;
	const struct plist *list = &row->list;

	if (item->kind == IMAP_ITEM_FLAGS) {
		imap_put_row_flags(f->s, list);
		return ST_OK;
	}
	if (needs_body(item))
		return put_section(f, row, item, err);
	imap_put_item_name(out, item);
	buf_char(out, ' ');
	switch (item->kind) {
	case IMAP_ITEM_UID:
		buf_u64(out, row->uid);
		break;
	case IMAP_ITEM_INTERNALDATE:
		imap_put_date_time(out, seconds_of(plist_u64(list, PR_MESSAGE_DELIVERY_TIME, 0)),
				   0);
		break;
	case IMAP_ITEM_SIZE:
		buf_u64(out, row->size);
		break;
	case IMAP_ITEM_ENVELOPE:
		buf_span(out, plist_span(list, PR_IMAP_ENVELOPE));
		break;
	case IMAP_ITEM_BODY:
	case IMAP_ITEM_BODYSTRUCTURE:
		mime_bodystructure(&row->tree, item->kind == IMAP_ITEM_BODYSTRUCTURE, out);
		break;
	default: /* MODSEQ: not switched on */
		buf_printf(out, "(%llu)", (unsigned long long)plist_u64(list, PR_CHANGE_NUM, 0));
	}
	return ST_OK;
}

static enum st put_row(struct fetch *f, uint32_t seq, struct row *row, struct err *err)
{
	struct buf *out = &f->s->out;
	uint64_t change_num = plist_u64(&row->list, PR_CHANGE_NUM, 0);
	enum st st = ST_OK;

	imap_put_fetch_begin(out, seq);
	for (uint32_t i = 0; i < f->cmd->nitems && st == ST_OK; i++) {
		if (i > 0)
			buf_char(out, ' ');
		st = put_item(f, row, &f->cmd->items[i], err);
		if (st == ST_OK && out->len > BATCH_TEXT && f->want & WANT_BODY)
			st = write_part(f, row, err);
	}
	if (st != ST_OK)
		return st;
	/* \Seen was set just now and nobody asked for the flags: they go along (RFC 3501 6.4.5). */
	if (f->set_seen && !imap_view_knows(f->s, change_num)) {
		if (!(f->want & WANT_FLAGS)) {
			buf_char(out, ' ');
			imap_put_row_flags(f->s, &row->list);
		}
		imap_view_own(f->s, change_num);
	}
	imap_put_fetch_end(out);
	return ST_OK;
}

static void row_end(struct row *row)
{
	if (row->file.stream)
		eafile_close(&row->file);
	if (row->pin)
		pin_drop(row->pin);
}

/* A response can't be finished. */
static enum st drop_row(struct fetch *f, const struct row *row, size_t start, enum st st,
			const struct err *err)
{
	struct imap_session *s = f->s;

	if (st == ST_EOF) { /* the client went: nobody is told anything */
		s->ending = true;
		return ST_OK;
	}
	if (row->cut) {
		/* Half a literal is under way: nothing after it could be understood. */
		inet_log(&s->base, LOG_ERROR, "message broken off", LC("status", st_name(st)),
			 LE(err));
		conn_abort(s->base.conn);
		s->ending = true;
		return st;
	}
	s->out.len = start;
	if (st == ST_BAD ||
	    st == ST_CORRUPT) { /* rows that make no sense: looked at once more, alone */
		f->next = row->uid;
		return ST_CORRUPT;
	}
	/* Expunged by another session between two looks: as if it had been so before. */
	return st == ST_NOTFOUND ? ST_OK : st;
}

static enum st take_row(struct fetch *f, struct err *err)
{
	struct imap_session *s = f->s;
	struct row row = { .list = f->answer.list };
	size_t start = s->out.len;
	uint32_t seq;
	enum st st;

	row.uid = plist_u32(&row.list, PR_INTERNET_ARTICLE_NUMBER, 0);
	row.size = plist_u64(&row.list, PR_MESSAGE_SIZE_EXTENDED, 0);
	row.header = plist_u32(&row.list, PR_HEADER_LENGTH, 0);
	if (row.header > row.size)
		row.header = row.size;
	seq = uset_rank(&s->view->uids, row.uid);
	f->next = row.uid + 1;
	if (seq == 0)
		return ST_OK;
	st = read_tree(f, &row, err);
	if (st == ST_OK && (f->want & WANT_BODY))
		st = eafile_open(s->base.loop->chan, &row.list, &row.file, err);
	if (st == ST_OK)
		st = put_row(f, seq, &row, err);
	if (st == ST_OK)
		f->rows++;
	else
		st = drop_row(f, &row, start, st, err);
	row_end(&row);
	return st;
}

/* ---- batches ---- */

static enum st ask_batch(struct fetch *f, const struct uset *uids, struct err *err)
{
	struct imap_session *s = f->s;
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 4);
	pw_u64(&m.w, PR_FID, s->view->fid);
	imap_put_set(&m, PR_UIDS, uids);
	/* Whether \Seen is news is in the change number. */
	pw_u32(&m.w, PR_WANT, f->set_seen ? f->want | WANT_FLAGS : f->want);
	if (f->set_seen)
		pw_bool(&m.w, PR_SET_SEEN, true);
	st = imap_ask(s, &m, WIRE_IMAP_FETCH, &f->answer, err);
	f->answered = st == ST_OK;
	return st;
}

/* ST_EOF: all rows of the batch were told.  ST_OK: it ended before, at f->next. */
static enum st tell_batch(struct fetch *f, uint32_t *rows, struct err *err)
{
	enum st st = ST_OK;

	for (*rows = 0; st == ST_OK && f->answered && !f->s->ending; ++*rows) {
		if (f->s->out.len > BATCH_TEXT)
			break;
		st = wire_next_row(&f->answer, err);
		if (st == ST_OK)
			st = take_row(f, err);
	}
	if (f->answered)
		wire_answer_free(&f->answer);
	f->answered = false;
	return st;
}

/* One damaged message must not keep the client from the others: it is found alone, and left out. */
static enum st pass_over(struct fetch *f, uint32_t first, uint32_t last, const struct err *err)
{
	f->batch = 1;
	if (first != last)
		return ST_OK;
	inet_log(&f->s->base, LOG_ERROR, "damaged message", LU("uid", first), LE(err));
	f->broken = *err;
	f->next = last + 1;
	return ST_OK;
}

static enum st fetch_batch(struct fetch *f, const struct uset *uids, struct err *err)
{
	struct uset some = { 0 };
	uint32_t rows = 0, first, last;
	enum st st = imap_take_uids(uids, f->next, f->batch, &some);

	if (st != ST_OK)
		return fail(err, st, "Out of memory");
	first = uset_next(&some, 1);
	last = uset_max(&some);
	st = ask_batch(f, &some, err);
	uset_free(&some);
	if (st == ST_OK)
		st = tell_batch(f, &rows, err);
	if (st == ST_EOF) {
		f->next = last + 1;
		f->batch = f->batch < f->batch_max / 2 ? 2 * f->batch : f->batch_max;
		st = ST_OK;
	} else {
		f->batch = rows > 1 ? rows : 1;
	}
	if (st == ST_CORRUPT && !f->s->ending)
		st = pass_over(f, first, last, err);
	imap_out_some(f->s);
	return st;
}

static enum st fetch_all(struct fetch *f, const struct uset *uids, struct err *err)
{
	enum st st = ST_OK;

	f->tree_pool = f->need_tree ? pool_new("imap structure", TREE_POOL) : NULL;
	if (f->need_tree && !f->tree_pool)
		return fail(err, ST_NOMEM, "Out of memory");
	f->kept = BUF_MAX(EXIPC_BLOCK_MAX);
	while (st == ST_OK && !f->s->ending && f->next && uset_next(uids, f->next))
		st = fetch_batch(f, uids, err);
	buf_free(&f->kept);
	pool_free(f->tree_pool);
	return st;
}

void imap_cmd_fetch(struct imap_session *s)
{
	struct fetch f = { .s = s, .cmd = &s->cmd->fetch };
	struct uset uids;
	struct err err = { 0 };
	enum st st = imap_view_resolve(s, &f.cmd->set, s->cmd->verb->uid, &uids, &err);
	uint32_t asked = uids.count;

	if (st == ST_BAD) {
		imap_bad(s, err.text);
		return;
	}
	plan(&f);
	if (st == ST_OK)
		st = fetch_all(&f, &uids, &err);
	uset_free(&uids);
	if (st != ST_OK) {
		imap_no(s, st, &err);
		return;
	}
	if (s->view->changed || s->view->gone.count > 0)
		(void)imap_view_sync(s, s->cmd->verb->uid, &err);
	if (f.broken.text[0])
		imap_no_code(s, "CORRUPTION", f.broken.text);
	else if (f.rows < asked && !s->cmd->verb->uid)
		imap_no_code(s, "EXPUNGEISSUED", "Some of the messages are gone");
	else
		imap_ok(s, "FETCH done");
}
