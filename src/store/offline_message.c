/* offline_message.c - messages from outside: their two rows side by side; see offline.h. */
#include "store/offline.h"

#include "store/keep.h"

#include <stdlib.h>

#define PIECE (64u * 1024)

/* One of the two rows of each message, in order of UID. */
struct part {
	struct look_rows *rows;
	struct span value;
	uint32_t uid;
	enum st st; /* ST_OK: `value` is the row of `uid`; ST_EOF; ST_MORE: ask for the next */
};

struct offline_messages {
	uint32_t folder;
	struct part entry, item;
	struct look_rows *kept; /* deleted ones instead; NULL: those of the folder */
};

static enum st part_open(struct part *p, struct ese_db *db, uint64_t mailbox, enum box_row kind,
			 uint32_t folder, struct err *err)
{
	struct key from, to;

	p->st = ST_MORE;
	key_folder(&to, mailbox, kind, folder);
	return look_rows_new(db, key_folder(&from, mailbox, kind, folder), key_after(&to), &p->rows,
			     err);
}

/* Make p->st ST_OK or ST_EOF; ST_CORRUPT once for each gap. */
static enum st part_fill(struct part *p, struct err *err)
{
	struct span key;

	while (p->st == ST_MORE) {
		enum st st = look_rows_next(p->rows, &key, &p->value, err);

		if (st != ST_OK && st != ST_EOF)
			return st;
		/* A key of another length is none of a message. */
		if (st == ST_OK && key.len != 18)
			continue;
		p->uid = st == ST_OK ? key_tail_u32(key) : UINT32_MAX;
		p->st = st;
	}
	return ST_OK;
}

enum st offline_messages_open(struct ese_db *db, uint64_t mailbox, uint32_t folder,
			      struct offline_messages **out, struct err *err)
{
	struct offline_messages *m = calloc(1, sizeof *m);
	enum st st;

	if (!m)
		return fail(err, ST_NOMEM, "out of memory");
	m->folder = folder;
	st = part_open(&m->entry, db, mailbox, BOX_ENTRY, folder, err);
	if (st == ST_OK)
		st = part_open(&m->item, db, mailbox, BOX_ITEM, folder, err);
	if (st != ST_OK) {
		offline_messages_close(m);
		return st;
	}
	*out = m;
	return ST_OK;
}

void offline_messages_close(struct offline_messages *m)
{
	if (!m)
		return;
	look_rows_free(m->entry.rows);
	look_rows_free(m->item.rows);
	look_rows_free(m->kept);
	free(m);
}

void offline_name_message(struct offline_message *m)
{
	m->body = plist_u64(&m->item, PR_BODY_ID, 0);
	m->from = plist_span(&m->item, PR_DISPLAY_FROM);
	if (!m->from.len)
		m->from = plist_span(&m->item, PR_SENDER_EMAIL_ADDRESS);
	m->subject = plist_span(&m->item, PR_SUBJECT);
	m->message_id = plist_span(&m->item, PR_INTERNET_MESSAGE_ID);
}

/* ---- deleted ones that are kept ---- */

static bool read_kept(struct span key, struct span value, struct offline_message *m)
{
	struct kept k;

	if (kept_read(key, value, &k, NULL) != ST_OK)
		return false;
	*m = (struct offline_message){
		.folder = (uint32_t)plist_u64(&k.row, PR_FID, 0),
		.uid = k.entry.uid,
		.has_entry = true,
		.has_item = true,
		.entry = k.entry,
		.item = k.item,
		.deleted = true,
		.deleted_on = k.deleted,
		.kept_id = k.id,
		.path = plist_span(&k.row, PR_FOLDER_PATH),
	};
	offline_name_message(m);
	return true;
}

bool offline_links_body(struct span key, struct span value, uint64_t *mailbox,
			struct offline_message *out)
{
	struct span rest;
	unsigned kind;

	if (!key_box_read(key, mailbox, &kind, &rest))
		return false;
	if (kind == BOX_KEPT)
		return rest.len == 16 && read_kept(key, value, out) && out->body;
	*out = (struct offline_message){ .has_item = true };
	if (kind != BOX_ITEM || rest.len != 8 ||
	    plist_open(&out->item, value.at, value.len, NULL) != ST_OK)
		return false;
	offline_name_message(out);
	out->folder = key_tail_u32(span_cut(rest, 4));
	out->uid = key_tail_u32(rest);
	return out->body != 0;
}

enum st offline_kept_open(struct ese_db *db, uint64_t mailbox, struct offline_messages **out,
			  struct err *err)
{
	struct offline_messages *m = calloc(1, sizeof *m);
	struct key from, to;
	enum st st;

	if (!m)
		return fail(err, ST_NOMEM, "out of memory");
	key_box(&to, mailbox, BOX_KEPT);
	st = look_rows_new(db, key_box(&from, mailbox, BOX_KEPT), key_after(&to), &m->kept, err);
	if (st == ST_OK)
		*out = m;
	else
		free(m);
	return st;
}

/* Rows that can't be read count as missing, as those of other messages do. */
static enum st next_kept(struct offline_messages *m, struct offline_message *out, struct err *err)
{
	struct span key, value;
	enum st st;

	do
		st = look_rows_next(m->kept, &key, &value, err);
	while (st == ST_OK && !read_kept(key, value, out));
	return st;
}

enum st offline_messages_next(struct offline_messages *m, struct offline_message *out,
			      struct err *err)
{
	enum st st = m->kept ? next_kept(m, out, err) : part_fill(&m->entry, err);
	struct key k;

	if (m->kept)
		return st;
	if (st == ST_OK)
		st = part_fill(&m->item, err);
	if (st != ST_OK)
		return st;
	if (m->entry.st == ST_EOF && m->item.st == ST_EOF)
		return ST_EOF;
	*out = (struct offline_message){ .folder = m->folder };
	out->uid = m->entry.st == ST_EOF || (m->item.st == ST_OK && m->item.uid < m->entry.uid)
			   ? m->item.uid
			   : m->entry.uid;
	if (m->entry.st == ST_OK && m->entry.uid == out->uid) {
		struct span key = key_message(&k, 0, BOX_ENTRY, m->folder, out->uid);

		m->entry.st = ST_MORE;
		out->has_entry = entry_read(key, m->entry.value, &out->entry, NULL) == ST_OK;
	}
	if (m->item.st == ST_OK && m->item.uid == out->uid) {
		m->item.st = ST_MORE;
		out->has_item =
			plist_open(&out->item, m->item.value.at, m->item.value.len, NULL) == ST_OK;
		if (out->has_item)
			offline_name_message(out);
	}
	return ST_OK;
}

const char *offline_keyword(const struct offline_folder *f, unsigned bit)
{
	return bit < f->nkeywords ? f->keywords[bit] : NULL;
}

enum st offline_body(struct ese_db *db, uint64_t body,
		     enum st (*fn)(void *arg, const char *bytes, size_t len, struct err *err),
		     void *arg, struct err *err)
{
	struct ese_scatter s;
	enum st st = ese_body_find(db, body, false, &s, err);
	uint64_t len = s.len;
	char *piece;

	if (st != ST_OK)
		return st;
	ese_scatter_free(&s);
	piece = malloc(PIECE);
	if (!piece)
		return fail(err, ST_NOMEM, "out of memory");
	for (uint64_t off = 0; st == ST_OK && off < len; off += PIECE) {
		size_t n = len - off < PIECE ? (size_t)(len - off) : PIECE;

		st = ese_body_read(db, body, off, piece, n, err);
		if (st == ST_OK)
			st = fn(arg, piece, n, err);
	}
	free(piece);
	return st;
}

/* ---- the way back ---- */

static bool wanted(const uint64_t *ids, size_t n, uint64_t id)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = (low + n) / 2;

		if (ids[mid] == id)
			return true;
		if (ids[mid] < id)
			low = mid + 1;
		else
			n = mid;
	}
	return false;
}

struct search {
	struct ese_db *db;
	const uint64_t *ids;
	size_t n;
	enum st (*fn)(void *arg, const struct offline_link *l, struct err *err);
	void *arg;
	struct offline_tree tree;
};

static enum st found(struct search *s, uint64_t mailbox, struct offline_message *m, struct err *err)
{
	struct offline_link l = { .body = m->body, .mailbox = mailbox, .message = m };
	struct ese_value v;
	struct key k;
	enum st st = ST_OK;

	if (s->tree.mailbox != mailbox) {
		offline_tree_free(&s->tree);
		st = offline_tree_load(s->db, mailbox, &s->tree, err);
	}
	if (st != ST_OK)
		return st;
	l.folder = offline_folder(&s->tree, m->folder);
	key_message(&k, mailbox, BOX_ENTRY, m->folder, m->uid);
	if (!m->deleted && ese_get(s->db, span_of(k.at, k.len), &v, NULL) == ST_OK) {
		m->has_entry = entry_read(span_of(k.at, k.len), v.bytes, &m->entry, NULL) == ST_OK;
		ese_value_free(&v);
	}
	return s->fn(s->arg, &l, err);
}

static enum st look_at_row(struct search *s, struct span key, struct span value, struct err *err)
{
	struct offline_message m;
	uint64_t mailbox;

	if (!offline_links_body(key, value, &mailbox, &m) || !wanted(s->ids, s->n, m.body))
		return ST_OK;
	return found(s, mailbox, &m, err);
}

enum st offline_links(struct ese_db *db, const uint64_t *ids, size_t n,
		      enum st (*fn)(void *arg, const struct offline_link *l, struct err *err),
		      void *arg, struct err *err)
{
	struct search s = { .db = db, .ids = ids, .n = n, .fn = fn, .arg = arg };
	struct span key, value;
	struct look_rows *rows;
	struct key from, to;
	enum st st;

	key_box(&from, 0, BOX_MAILBOX);
	from.len = to.len = 1;
	to.at[0] = from.at[0];
	st = look_rows_new(db, span_of(from.at, 1), key_after(&to), &rows, err);
	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_OK)
			st = look_at_row(&s, key, value, err);
		if (st != ST_OK && st != ST_CORRUPT)
			break;
	}
	look_rows_free(rows);
	offline_tree_free(&s.tree);
	return st == ST_EOF ? ST_OK : st;
}
