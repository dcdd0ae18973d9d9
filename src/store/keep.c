/* keep.c - rows of deleted messages: written, read, found, removed; see keep.h. */
#include "store/keep.h"

#include <stdlib.h>

#define PIECE   500 /* rows of one commit */
#define ROW_MAX (1024u * 1024)

/* ---- rows ---- */

enum st kept_read(struct span key, struct span row, struct kept *out, struct err *err)
{
	enum st st = row_open(row, "a deleted message", &out->row, err);

	if (st != ST_OK)
		return st;
	st = entry_read(key, row, &out->entry, err);
	if (st != ST_OK)
		return st;
	out->deleted = key_kept_time(key);
	out->id = key_tail_u64(key);
	out->entry.uid = plist_u32(&out->row, PR_INTERNET_ARTICLE_NUMBER, 0);
	if (!plist_object(&out->row, PR_KEPT_ITEM, &out->item))
		return fail(err, ST_CORRUPT, "the deleted message %llu has lost what it was",
			    (unsigned long long)out->id);
	return ST_OK;
}

bool keep_is_on(const struct store *s)
{
	return s->keep_items_ns > 0 || s->keep_until_backup;
}

void keeping_begin(struct keeping *k, struct folder *f)
{
	*k = (struct keeping){
		.folder = f, .time = clock_real(), .path = BUF_MAX(ROW_MAX), .row = BUF_MAX(ROW_MAX)
	};
	folder_path(f, &k->path);
}

void keeping_end(struct keeping *k)
{
	buf_free(&k->path);
	buf_free(&k->row);
}

static void put_words(struct pw *w, const struct folder *f, uint64_t bits)
{
	struct span words[KEYWORDS_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < f->nkeywords; i++)
		if (bits >> i & 1)
			words[n++] = span_str(f->keywords[i]);
	if (n)
		pw_mv_span(w, PR_KEYWORDS, words, n);
}

enum st keeping_put(struct keeping *k, struct change *c, const struct entry *e,
		    const struct plist *item, struct err *err)
{
	struct folder *f = k->folder;
	struct key key;
	struct pw w;

	buf_clear(&k->row);
	pw_begin(&w, &k->row, 11);
	pw_u64(&w, PR_MID, e->mid);
	pw_u64(&w, PR_FID, f->number);
	pw_span(&w, PR_FOLDER_PATH, buf_get(&k->path));
	pw_u32(&w, PR_UIDVALIDITY, f->uidvalidity);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, e->uid);
	pw_u32(&w, PR_IMAP_FLAGS, e->flags);
	pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, e->size);
	pw_u64(&w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)e->date);
	pw_u64(&w, PR_BODY_ID, plist_u64(item, PR_BODY_ID, 0));
	put_words(&w, f, e->keywords);
	pw_object(&w, PR_KEPT_ITEM, *item);
	pw_end(&w);
	if (k->row.failed || k->path.failed)
		return fail(err, ST_NOMEM, "out of memory");
	change_put(c, key_kept(&key, f->mb->id, k->time, e->mid), &k->row);
	change_kept(c, 1, e->size);
	return ST_OK;
}

/* ---- finding ---- */

void kept_keys_free(struct kept_keys *k)
{
	free(k->at);
	*k = (struct kept_keys){ 0 };
}

static enum st keys_add(struct kept_keys *k, struct kept_key key, struct err *err)
{
	if (k->n == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : 64;
		struct kept_key *at = realloc(k->at, cap * sizeof *at);

		if (!at)
			return fail(err, ST_NOMEM, "out of memory");
		k->at = at;
		k->cap = cap;
	}
	k->at[k->n++] = key;
	return ST_OK;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct search {
	const struct mailbox *mb;
	const uint64_t *ids; /* ascending; NULL: all */
	size_t n;
	struct kept_keys *out;
	enum st st;
	struct err err;
};

static void search_run(void *arg)
{
	struct search *s = arg;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;

	key_box(&to, s->mb->id, BOX_KEPT);
	s->st = ese_iter_new(s->mb->db->ese, key_box(&from, s->mb->id, BOX_KEPT), key_after(&to),
			     &it, &s->err);
	if (s->st != ST_OK)
		return;
	while (s->st == ST_OK && (s->st = ese_iter_next(it, &key, &value, &s->err)) == ST_OK) {
		struct kept_key k = { key_kept_time(key), key_tail_u64(key) };

		if (!s->ids || bsearch(&k.id, s->ids, s->n, sizeof k.id, by_number))
			s->st = keys_add(s->out, k, &s->err);
	}
	ese_iter_free(it);
	if (s->st == ST_EOF)
		s->st = ST_OK;
}

enum st kept_find(struct mailbox *mb, const uint64_t *ids, size_t n, struct kept_keys *out,
		  struct err *err)
{
	struct search s = { .mb = mb, .n = n, .out = out };
	uint64_t *sorted = NULL;

	*out = (struct kept_keys){ 0 };
	if (ids) {
		sorted = malloc((n ? n : 1) * sizeof *sorted);
		if (!sorted)
			return fail(err, ST_NOMEM, "out of memory");
		if (n)
			memcpy(sorted, ids, n * sizeof *sorted);
		qsort(sorted, n, sizeof *sorted, by_number);
		s.ids = sorted;
	}
	work_run(search_run, &s);
	free(sorted);
	if (s.st == ST_OK)
		return ST_OK;
	kept_keys_free(out);
	return fail(err, s.st, "%s", s.err.text);
}

/* ---- removing for good ---- */

static enum st remove_row(struct change *c, struct span key, struct span row, struct err *err)
{
	struct kept k;
	enum st st = kept_read(key, row, &k, err);

	if (st != ST_OK)
		return st;
	ese_unlink(c->batch, plist_u64(&k.row, PR_BODY_ID, 0));
	ese_delete(c->batch, key);
	change_kept(c, -1, -(int64_t)k.entry.size);
	return ST_OK;
}

/* `n` rows are in the change. */
static enum st remove_commit(struct change *c, unsigned n, enum st st, uint64_t *removed,
			     struct err *err)
{
	if (st == ST_OK && n)
		st = change_commit(c, err);
	else
		change_abandon(c);
	if (st == ST_OK && n) {
		change_wait(c);
		*removed += n;
	}
	return st;
}

static enum st remove_keys(struct mailbox *mb, const struct kept_key *keys, size_t n,
			   uint64_t *removed, struct err *err)
{
	struct change c;
	unsigned found = 0;
	enum st st = change_begin(&c, mb, err);

	if (st != ST_OK)
		return st;
	for (size_t i = 0; i < n && st == ST_OK; i++) {
		struct ese_value row;
		struct key k;
		struct span key = key_kept(&k, mb->id, keys[i].deleted, keys[i].id);

		st = ese_get(mb->db->ese, key, &row, err);
		if (st == ST_NOTFOUND) {
			st = ST_OK;
			continue;
		}
		if (st != ST_OK)
			break;
		st = remove_row(&c, key, row.bytes, err);
		found += st == ST_OK;
		ese_value_free(&row);
	}
	return remove_commit(&c, found, st, removed, err);
}

enum st kept_remove(struct mailbox *mb, const struct kept_keys *keys, uint64_t *removed,
		    struct err *err)
{
	enum st st = ST_OK;

	/* One at a time: what is not yet durable is still found by the next. */
	fiber_lock(&mb->keeping);
	for (size_t i = 0; i < keys->n && st == ST_OK; i += PIECE) {
		size_t n = keys->n - i < PIECE ? keys->n - i : PIECE;

		st = mb->shard->store->stopping ? fail(err, ST_GONE, "the store is stopping")
						: remove_keys(mb, keys->at + i, n, removed, err);
	}
	fiber_unlock(&mb->keeping);
	return st;
}

/* ST_EOF: nothing more is so old. */
static enum st remove_oldest(struct mailbox *mb, int64_t before, uint64_t *removed, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	struct change c;
	unsigned n = 0;
	enum st st = ese_iter_new(mb->db->ese, key_box(&from, mb->id, BOX_KEPT),
				  key_kept(&to, mb->id, before, 0), &it, err),
		end;

	if (st != ST_OK)
		return st;
	st = change_begin(&c, mb, err);
	while (st == ST_OK && n < PIECE && (st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		st = remove_row(&c, key, value, err);
		n++;
	}
	ese_iter_free(it);
	end = st;
	st = remove_commit(&c, n, st == ST_EOF ? ST_OK : st, removed, err);
	return st == ST_OK ? end : st;
}

enum st kept_remove_before(struct mailbox *mb, int64_t before, uint64_t *removed, struct err *err)
{
	enum st st = ST_OK;

	if (before <= 0)
		return ST_OK;
	fiber_lock(&mb->keeping);
	while (st == ST_OK)
		st = mb->shard->store->stopping ? fail(err, ST_GONE, "the store is stopping")
						: remove_oldest(mb, before, removed, err);
	fiber_unlock(&mb->keeping);
	return st == ST_EOF ? ST_OK : st;
}
