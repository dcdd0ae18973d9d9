/* eximap_folders.c - the folder list, subscriptions, and requests that change the tree. */
#include "store/eximap.h"
#include "store/tree.h"
#include "store/directory.h"

#include <stdlib.h>

#define SUBSCRIPTIONS_MAX 20000

/* ---- subscriptions: paths in the order of their keys ---- */

struct subscriptions {
	struct span *paths;
	bool *met; /* a folder has that path */
	size_t n;
	struct buf text;
};

static void subscriptions_free(struct subscriptions *s)
{
	free(s->paths);
	free(s->met);
	buf_free(&s->text);
}

/* The paths one behind the other, each with a NUL. */
static enum st read_paths(struct call *c, struct subscriptions *s, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	size_t skip;
	enum st st;

	key_box(&to, c->mb->id, BOX_SUBSCRIBED);
	skip = to.len;
	st = ese_iter_new(c->mb->db->ese, key_box(&from, c->mb->id, BOX_SUBSCRIBED), key_after(&to),
			  &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK && s->n < SUBSCRIPTIONS_MAX) {
		buf_span(&s->text, span_skip(key, skip));
		buf_char(&s->text, '\0');
		s->n++;
	}
	ese_iter_free(it);
	if (s->text.failed)
		return fail(err, ST_NOMEM, "out of memory");
	return st == ST_EOF ? ST_OK : st;
}

static enum st subscriptions_read(struct call *c, struct subscriptions *s, struct err *err)
{
	const char *at;
	enum st st;

	*s = (struct subscriptions){ .text = BUF_MAX(SUBSCRIPTIONS_MAX * (PATH_BYTES_MAX + 1)) };
	st = read_paths(c, s, err);
	if (st != ST_OK || !s->n)
		return st;
	s->paths = calloc(s->n, sizeof *s->paths);
	s->met = calloc(s->n, sizeof *s->met);
	if (!s->paths || !s->met)
		return fail(err, ST_NOMEM, "out of memory");
	at = s->text.at;
	for (size_t i = 0; i < s->n; i++) {
		s->paths[i] = span_str(at);
		at += s->paths[i].len + 1;
	}
	return ST_OK;
}

static bool is_subscribed(struct subscriptions *s, struct span path)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = span_cmp(s->paths[mid], path);

		if (!order)
			return s->met[mid] = true;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* ---- the list ---- */

static enum st put_folder(struct wire_rows_out *rows, const struct folder *f,
			  struct subscriptions *s)
{
	struct buf path = BUF_MAX(16384);
	struct pw w;

	folder_path(f, &path);
	wire_row_begin(rows, &w, 6);
	pw_span(&w, PR_FOLDER_PATH, buf_get(&path));
	if (!f->noselect) {
		pw_u64(&w, PR_FID, folder_fid(f));
		pw_u32(&w, PR_UIDVALIDITY, f->uidvalidity);
	}
	if (*f->special)
		pw_str(&w, PR_SPECIAL_USE, f->special);
	pw_bool(&w, PR_SUBSCRIBED, is_subscribed(s, buf_get(&path)));
	pw_bool(&w, PR_NONEXISTENT, false);
	buf_free(&path);
	return wire_row_end(rows, &w);
}

static enum st put_missing(struct wire_rows_out *rows, struct span path)
{
	struct pw w;

	wire_row_begin(rows, &w, 3);
	pw_span(&w, PR_FOLDER_PATH, path);
	pw_bool(&w, PR_SUBSCRIBED, true);
	pw_bool(&w, PR_NONEXISTENT, true);
	return wire_row_end(rows, &w);
}

/* By number, because the table may change whenever a reply is sent. */
static enum st put_folders(struct call *c, struct wire_rows_out *rows, struct subscriptions *s)
{
	uint32_t number = 0;
	enum st st = ST_OK;

	while (st == ST_OK) {
		size_t i = 0;

		while (i < c->mb->nfolders && c->mb->folders[i]->number <= number)
			i++;
		if (i == c->mb->nfolders)
			break;
		number = c->mb->folders[i]->number;
		st = put_folder(rows, c->mb->folders[i], s);
	}
	for (size_t i = 0; i < s->n && st == ST_OK; i++)
		if (!s->met[i])
			st = put_missing(rows, s->paths[i]);
	return st;
}

enum st serve_IMAP_FOLDERS(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	struct subscriptions s;
	enum st st = call_mailbox(c, err);

	if (st != ST_OK)
		return st;
	st = subscriptions_read(c, &s, err);
	wire_rows_begin(&rows, c->rq);
	if (st == ST_OK)
		st = put_folders(c, &rows, &s);
	subscriptions_free(&s);
	return call_rows_end(c, &rows, st, err);
}

/* INBOX in its one spelling, no slash at the end; checked. */
static enum st canonical(struct span path, struct buf *out, struct err *err)
{
	struct path p;
	enum st st = path_read(path, &p, err);

	for (unsigned i = 0; st == ST_OK && i < p.n; i++) {
		if (i)
			buf_char(out, '/');
		buf_span(out, p.names[i]);
	}
	return st;
}

static enum st room_for_another(struct call *c, struct err *err)
{
	struct subscriptions s;
	enum st st = subscriptions_read(c, &s, err);

	if (st == ST_OK && s.n >= SUBSCRIPTIONS_MAX)
		st = fail(err, ST_TOOBIG, "at most %d folders are subscribed", SUBSCRIPTIONS_MAX);
	subscriptions_free(&s);
	return st;
}

enum st serve_IMAP_SUBSCRIBE(struct call *c, struct err *err)
{
	struct buf path = BUF_MAX(PATH_BYTES_MAX), row = BUF_MAX(64);
	bool add = plist_bool(&c->in, PR_SUBSCRIBED, true);
	struct ese_batch *b;
	struct key k;
	struct pw w;
	enum st st = call_mailbox(c, err);

	if (st == ST_OK && add)
		st = room_for_another(c, err);
	if (st == ST_OK)
		st = canonical(plist_span(&c->in, PR_FOLDER_PATH), &path, err);
	if (st == ST_OK)
		st = ese_batch_new(c->mb->db->ese, c->mb->id, &b, err);
	if (st == ST_OK) {
		key_named(&k, c->mb->id, BOX_SUBSCRIBED, buf_get(&path));
		pw_begin(&w, &row, 0);
		pw_end(&w);
		if (add)
			ese_put(b, span_of(k.at, k.len), buf_get(&row));
		else
			ese_delete(b, span_of(k.at, k.len));
		st = commit_wait(b, err);
	}
	buf_free(&path);
	buf_free(&row);
	return st;
}

/* ---- the tree ---- */

static bool special_known(struct span use)
{
	static const char *const known[] = { "\\All",  "\\Archive", "\\Drafts", "\\Flagged",
					     "\\Junk", "\\Sent",    "\\Trash" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (span_ieq(use, span_str(known[i])))
			return true;
	return false;
}

enum st serve_IMAP_CREATE(struct call *c, struct err *err)
{
	struct span special = plist_span(&c->in, PR_SPECIAL_USE);
	struct folder *f;
	struct pw *w;
	enum st st = call_mailbox(c, err);

	if (st == ST_OK && special.len && !special_known(special))
		st = fail(err, ST_BAD, "there is no such special use");
	if (st == ST_OK)
		st = tree_create(c->mb, plist_span(&c->in, PR_FOLDER_PATH), special, &f, err);
	if (st != ST_OK)
		return st;
	w = call_reply(c, 2);
	pw_u64(w, PR_FID, folder_fid(f));
	pw_u32(w, PR_UIDVALIDITY, f->uidvalidity);
	return ST_OK;
}

enum st serve_IMAP_DELETE(struct call *c, struct err *err)
{
	enum st st = call_mailbox(c, err);

	return st == ST_OK ? tree_delete(c->mb, plist_span(&c->in, PR_FOLDER_PATH), err) : st;
}

enum st serve_IMAP_RENAME(struct call *c, struct err *err)
{
	enum st st = call_mailbox(c, err);

	if (st != ST_OK)
		return st;
	return tree_rename(c->mb, plist_span(&c->in, PR_FOLDER_PATH),
			   plist_span(&c->in, PR_NEW_PATH), err);
}
