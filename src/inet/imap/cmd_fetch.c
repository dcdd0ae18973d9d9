/* cmd_fetch.c - FETCH: rows of the store become responses; message octets are sent by reference.
 *
 * Envelopes, structures, sizes and flags come from the store's rows: no body is opened for them.  A large
 * section is queued as runs of the streaming file (sendfile where the connection is plain); a small one is
 * read into the reply, which costs fewer system calls. */
#include "inet/imap/session.h"

#include "exifs/eafile.h"
#include "mime/header.h"
#include "mime/structure.h"

#include <stdlib.h>

#define BY_REFERENCE_MIN (32u * 1024)   /* sections from here on are queued, not copied */
#define HEADER_MAX       (1024u * 1024) /* of a header that is cut down to fields */
#define TREE_POOL        (1024u * 1024)

struct fetch {
	struct imap_session *s;
	const struct imap_fetch *cmd;
	unsigned want;
	bool set_seen, need_tree;
	struct wire_answer answer;
	struct block *
		block; /* the reply that holds the current row, once something of it is being sent */
	uint32_t rows;
	bool cut; /* part of the current response is with the connection already */
	struct pool *tree_pool;
};

/* A reply block with scatter lists that are being sent: it is the pin, and goes back with the last octet. */
struct block {
	struct exipc_reply reply;
	unsigned refs;
};

static void block_drop(void *arg)
{
	struct block *b = arg;

	if (--b->refs > 0)
		return;
	exipc_reply_free(&b->reply);
	free(b);
}

/* Hold the current row's block until everything queued so far has left. */
static enum st hold_block(struct fetch *f, struct err *err)
{
	struct exipc_reply reply;

	if (wire_take_block(&f->answer, &reply)) {
		struct block *b = malloc(sizeof *b);

		if (!b) {
			exipc_reply_free(&reply);
			return fail(err, ST_NOMEM, "Out of memory");
		}
		*b = (struct block){ reply, 1 };
		if (f->block)
			block_drop(f->block);
		f->block = b;
	}
	return ST_OK;
}

/* ---- what to ask for ---- */

static bool needs_body(const struct imap_item *item)
{
	return item->kind >= IMAP_ITEM_SECTION;
}

static void plan(struct fetch *f)
{
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
}

/* ---- sections ---- */

struct row {
	const struct plist *list;
	struct mime_tree tree;
	struct eafile file;
	uint64_t size, header; /* octets of the message, of its header */
};

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

/* `len` octets at `at` as a literal: by reference or copied. */
static enum st put_octets(struct fetch *f, const struct row *row, uint64_t at, uint64_t len,
			  struct err *err)
{
	struct imap_session *s = f->s;
	size_t got = 0;
	char *room;
	enum st st;

	imap_put_literal(&s->out, len);
	if (len >= BY_REFERENCE_MIN) {
		f->cut = true;
		imap_out_all(s);
		st = hold_block(f, err);
		if (st == ST_OK)
			st = eafile_send(&row->file, s->base.conn, at, len);
		if (st == ST_OK) {
			f->block->refs++;
			st = conn_on_sent(s->base.conn, block_drop, f->block);
		}
		return st;
	}
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
static enum st put_fields(struct fetch *f, const struct row *row, const struct imap_item *item,
			  const struct mime_section *where, struct err *err)
{
	struct imap_session *s = f->s;
	size_t len = where->len < HEADER_MAX ? where->len : HEADER_MAX, got = 0;
	struct buf header = BUF_MAX(HEADER_MAX), subset = BUF_MAX(HEADER_MAX + 2);
	char *room = buf_room(&header, len ? len : 1);
	uint64_t first, count;
	enum st st = room ? eafile_read(&row->file, where->at, room, len, &got, err)
			  : fail(err, ST_NOMEM, "Out of memory");

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

static enum st put_section(struct fetch *f, const struct row *row, const struct imap_item *item,
			   struct err *err)
{
	struct mime_section where;
	uint64_t first, count;
	enum st st = locate(row, item, &where, err);

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

static enum st put_item(struct fetch *f, const struct row *row, const struct imap_item *item,
			struct err *err)
{
	struct buf *out = &f->s->out;
	const struct plist *list = row->list;

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
		buf_u64(out, plist_u32(list, PR_INTERNET_ARTICLE_NUMBER, 0));
		break;
	case IMAP_ITEM_INTERNALDATE:
		imap_put_date_time(
			out, (int64_t)(plist_u64(list, PR_MESSAGE_DELIVERY_TIME, 0) / NS_PER_SEC),
			0);
		break;
	case IMAP_ITEM_SIZE:
		buf_u64(out, plist_u64(list, PR_MESSAGE_SIZE_EXTENDED, 0));
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

static enum st put_row(struct fetch *f, uint32_t seq, const struct row *row, struct err *err)
{
	struct buf *out = &f->s->out;
	enum st st = ST_OK;

	imap_put_fetch_begin(out, seq);
	for (uint32_t i = 0; i < f->cmd->nitems && st == ST_OK; i++) {
		if (i > 0)
			buf_char(out, ' ');
		st = put_item(f, row, &f->cmd->items[i], err);
	}
	/* \Seen was set just now and nobody asked for the flags: they go along (RFC 3501 6.4.5). */
	if (st == ST_OK && f->set_seen && !(f->want & WANT_FLAGS) &&
	    plist_has(row->list, PR_IMAP_FLAGS)) {
		buf_char(out, ' ');
		imap_put_row_flags(f->s, row->list);
	}
	imap_put_fetch_end(out);
	return st;
}

static enum st take_row(struct fetch *f, struct err *err)
{
	struct imap_session *s = f->s;
	struct row row = { .list = &f->answer.list };
	uint32_t uid = plist_u32(row.list, PR_INTERNET_ARTICLE_NUMBER, 0);
	uint32_t seq = uset_rank(&s->view->uids, uid);
	size_t mark = pool_mark(f->tree_pool), start = s->out.len;
	enum st st = ST_OK;

	if (seq == 0)
		return ST_OK;
	row.size = plist_u64(row.list, PR_MESSAGE_SIZE_EXTENDED, 0);
	row.header = plist_u32(row.list, PR_HEADER_LENGTH, 0);
	if (row.header > row.size)
		row.header = (uint32_t)row.size;
	if (f->set_seen)
		imap_view_own(s, plist_u64(row.list, PR_CHANGE_NUM, 0));
	if (f->need_tree)
		st = mime_tree_read(plist_span(row.list, PR_MIME_STRUCTURE), f->tree_pool,
				    &row.tree, err);
	if (st == ST_OK && (f->want & WANT_BODY))
		st = eafile_open(s->base.loop->chan, row.list, &row.file, err);
	f->cut = false;
	if (st == ST_OK)
		st = put_row(f, seq, &row, err);
	if (st != ST_OK && f->cut) {
		/* Half a literal is under way: nothing after it could be understood. */
		conn_abort(s->base.conn);
		s->ending = true;
	} else if (st != ST_OK) {
		s->out.len = start;
	}
	if (row.file.stream)
		eafile_close(&row.file);
	pool_back(f->tree_pool, mark);
	f->rows++;
	imap_out_some(s);
	return st;
}

static enum st ask_rows(struct fetch *f, const struct uset *uids, struct err *err)
{
	struct imap_session *s = f->s;
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 4);
	pw_u64(&m.w, PR_FID, s->view->fid);
	imap_put_set(&m, PR_UIDS, uids);
	pw_u32(&m.w, PR_WANT, f->want);
	if (f->set_seen)
		pw_bool(&m.w, PR_SET_SEEN, true);
	st = imap_ask(s, &m, WIRE_IMAP_FETCH, &f->answer, err);
	while (st == ST_OK && !s->ending && (st = wire_next_row(&f->answer, err)) == ST_OK)
		st = take_row(f, err);
	wire_answer_free(&f->answer);
	if (f->block)
		block_drop(f->block);
	return st == ST_EOF ? ST_OK : st;
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
	f.tree_pool = st == ST_OK ? pool_new("imap structure", TREE_POOL) : NULL;
	if (st == ST_OK && !f.tree_pool)
		st = fail(&err, ST_NOMEM, "Out of memory");
	if (st == ST_OK && asked > 0)
		st = ask_rows(&f, &uids, &err);
	pool_free(f.tree_pool);
	uset_free(&uids);
	if (st != ST_OK) {
		if (st == ST_CORRUPT || st == ST_NOMEM || st == ST_IO || st == ST_GONE)
			inet_log(&s->base, LOG_ERROR, "fetch failed", LC("status", st_name(st)),
				 LE(&err));
		imap_no(s, st, &err);
		return;
	}
	if (s->view && (s->view->changed || s->view->gone.count > 0))
		(void)imap_view_sync(s, s->cmd->verb->uid, &err);
	if (f.rows < asked && !s->cmd->verb->uid)
		imap_no_code(s, "EXPUNGEISSUED", "Some of the messages are gone");
	else
		imap_ok(s, "FETCH done");
}
