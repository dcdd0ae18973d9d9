/* offline_tree.c - mailboxes and their folders from outside; see offline.h. */
#include "store/offline.h"

#include "base/byteorder.h"

#include <stdlib.h>

/* ---- which mailboxes there are ---- */

enum st offline_mailbox_next(struct ese_db *db, uint64_t *mailbox, struct err *err)
{
	struct span key, value, rest;
	struct look_rows *rows;
	struct key from, to;
	unsigned kind;
	enum st st;

	if (*mailbox == UINT64_MAX)
		return ST_EOF;
	key_box(&from, *mailbox + 1, BOX_MAILBOX);
	key_box(&to, UINT64_MAX, BOX_MAILBOX);
	to.len = 1;
	/* The kind is left out: whatever rows a mailbox has, it is there. */
	st = look_rows_new(db, span_of(from.at, from.len - 1), key_after(&to), &rows, err);
	if (st != ST_OK)
		return st;
	do
		st = look_rows_next(rows, &key, &value, err);
	while (st == ST_OK && !key_box_read(key, mailbox, &kind, &rest));
	if (st == ST_CORRUPT) {
		/* Whoever asks again gets what is behind the gap. */
		look_rows_gap(rows, &value, &key);
		if (key.len >= 9 && be64_get(key.at + 1) > *mailbox)
			*mailbox = be64_get(key.at + 1) - 1;
		else
			*mailbox = key.len ? *mailbox : UINT64_MAX;
	}
	look_rows_free(rows);
	return st;
}

/* ---- folders ---- */

void offline_tree_free(struct offline_tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct offline_folder *f = &t->folders[i];

		free(f->name);
		free(f->special);
		free(f->path);
		for (unsigned k = 0; k < f->nkeywords; k++)
			free(f->keywords[k]);
	}
	free(t->folders);
	*t = (struct offline_tree){ 0 };
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = ((const struct offline_folder *)a)->number;
	uint32_t y = ((const struct offline_folder *)b)->number;

	return x < y ? -1 : x > y;
}

static struct offline_folder *find(const struct offline_tree *t, uint32_t number)
{
	struct offline_folder wanted = { .number = number };

	return t->n ? bsearch(&wanted, t->folders, t->n, sizeof wanted, by_number) : NULL;
}

const struct offline_folder *offline_folder(const struct offline_tree *t, uint32_t number)
{
	return find(t, number);
}

static char *copy_of(struct span s)
{
	return strndup(s.len ? s.at : "", s.len);
}

static enum st take_keywords(struct offline_folder *f, const struct plist *l, struct err *err)
{
	size_t n = plist_mv_count(l, PR_KEYWORDS);

	for (size_t i = 0; i < n && i < KEYWORDS_MAX; i++) {
		f->keywords[i] = copy_of(plist_mv_span(l, PR_KEYWORDS, i));
		if (!f->keywords[i])
			return fail(err, ST_NOMEM, "out of memory");
		f->nkeywords++;
	}
	return ST_OK;
}

static enum st take_folder(struct offline_tree *t, uint32_t number, const struct plist *l,
			   struct err *err)
{
	struct offline_folder *f;

	if (t->n == FOLDERS_MAX)
		return fail(err, ST_TOOBIG, "mailbox %llu has over %d folders",
			    (unsigned long long)t->mailbox, FOLDERS_MAX);
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 16;
		void *folders = realloc(t->folders, cap * sizeof *t->folders);

		if (!folders)
			return fail(err, ST_NOMEM, "out of memory");
		t->folders = folders;
		t->cap = cap;
	}
	f = &t->folders[t->n++];
	*f = (struct offline_folder){
		.number = number,
		.parent = (uint32_t)plist_u64(l, PR_PARENT_FID, 0),
		.uidvalidity = plist_u32(l, PR_UIDVALIDITY, 0),
		.noselect = plist_bool(l, PR_NOSELECT, false),
		.created = (int64_t)plist_u64(l, PR_CREATION_TIME, 0),
		.name = copy_of(plist_span(l, PR_DISPLAY_NAME)),
		.special = copy_of(plist_span(l, PR_SPECIAL_USE)),
		.figures = { .uidnext = 1, .recent_from = 1 },
	};
	if (!f->name || !f->special)
		return fail(err, ST_NOMEM, "out of memory");
	return take_keywords(f, l, err);
}

static void take_mailbox(struct offline_tree *t, const struct plist *l)
{
	t->has_row = true;
	t->next_folder = plist_u32(l, PR_NEXT_FOLDER, 1);
	t->uidvalidity = plist_u32(l, PR_UIDVALIDITY, 0);
	t->cn = plist_u64(l, PR_CHANGE_NUM, 0);
}

/* Rows come in the order of their kinds: the folder before its figures. */
static enum st take_row(struct offline_tree *t, unsigned kind, struct span rest, struct span value,
			struct err *err)
{
	struct offline_folder *f;
	struct plist l;

	if (plist_open(&l, value.at, value.len, NULL) != ST_OK ||
	    rest.len != (kind == BOX_MAILBOX ? 0 : 4)) {
		t->damaged++;
		return ST_OK;
	}
	if (kind == BOX_MAILBOX)
		take_mailbox(t, &l);
	if (kind == BOX_FOLDER)
		return take_folder(t, key_tail_u32(rest), &l, err);
	if (kind != BOX_FIGURES)
		return ST_OK;
	f = find(t, key_tail_u32(rest));
	if (f && figures_read(value, &f->figures, NULL) == ST_OK)
		f->has_figures = true;
	return ST_OK;
}

/* ---- paths ---- */

static void add_path(const struct offline_tree *t, const struct offline_folder *f, unsigned depth,
		     struct buf *out)
{
	if (f->parent && depth < FOLDER_DEPTH_MAX) {
		const struct offline_folder *up = offline_folder(t, f->parent);

		if (up)
			add_path(t, up, depth + 1, out);
		else
			buf_char(out, '?');
		buf_char(out, '/');
	}
	buf_str(out, f->name);
}

static enum st add_paths(struct offline_tree *t, struct err *err)
{
	struct buf path = BUF_MAX(FOLDER_DEPTH_MAX * (FOLDER_NAME_MAX + 4096));

	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < t->n; i++) {
		buf_clear(&path);
		add_path(t, &t->folders[i], 1, &path);
		t->folders[i].path = path.failed ? NULL : copy_of(buf_get(&path));
		if (!t->folders[i].path)
			st = fail(err, ST_NOMEM, "out of memory");
	}
	buf_free(&path);
	return st;
}

enum st offline_tree_load(struct ese_db *db, uint64_t mailbox, struct offline_tree *out,
			  struct err *err)
{
	struct offline_tree t = { .mailbox = mailbox };
	struct span key, value, rest;
	struct look_rows *rows;
	struct key from, to;
	uint64_t id;
	unsigned kind;
	enum st st;

	key_box(&to, mailbox, BOX_FIGURES);
	st = look_rows_new(db, key_box(&from, mailbox, BOX_MAILBOX), key_after(&to), &rows, err);
	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT)
			t.damaged++;
		else if (key_box_read(key, &id, &kind, &rest))
			st = take_row(&t, kind, rest, value, err);
		if (st != ST_OK && st != ST_CORRUPT)
			break;
	}
	look_rows_free(rows);
	if (st != ST_EOF) {
		offline_tree_free(&t);
		return st;
	}
	st = add_paths(&t, err);
	if (st == ST_OK)
		*out = t;
	else
		offline_tree_free(&t);
	return st;
}

const struct offline_folder *offline_folder_at(const struct offline_tree *t, struct span path)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct offline_folder *f = &t->folders[i];
		struct span own = span_str(f->path);

		if (span_eq(own, path))
			return f;
		if (path.len >= 5 && own.len == path.len && span_ihas_prefix(path, SPAN("INBOX")) &&
		    span_has_prefix(own, SPAN("INBOX")) &&
		    span_eq(span_skip(own, 5), span_skip(path, 5)) &&
		    (path.len == 5 || path.at[5] == '/'))
			return f;
	}
	return NULL;
}
