#include "store/index.h"

#include <assert.h>
#include <stdlib.h>

/* ---- finding ---- */

size_t index_from(const struct folder_index *ix, uint32_t uid)
{
	size_t low = 0, high = ix->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (ix->at[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct entry *index_find(const struct folder_index *ix, uint32_t uid)
{
	size_t i = index_from(ix, uid);

	return i < ix->n && ix->at[i].uid == uid ? &ix->at[i] : NULL;
}

size_t index_changed(const struct folder_index *ix, size_t from, uint64_t since)
{
	for (size_t i = from; i < ix->n; i++) {
		if (i % INDEX_BLOCK == 0)
			while (i < ix->n && ix->block_cn[i / INDEX_BLOCK] <= since)
				i += INDEX_BLOCK;
		if (i < ix->n && ix->at[i].cn > since)
			return i;
	}
	return ix->n;
}

enum st index_uids(const struct folder_index *ix, uint32_t uidnext, struct uset *out)
{
	size_t n = index_from(ix, uidnext);

	for (size_t i = 0; i < n;) {
		size_t last = i;
		enum st st;

		while (last + 1 < n && ix->at[last + 1].uid == ix->at[last].uid + 1)
			last++;
		st = uset_add(out, ix->at[i].uid, ix->at[last].uid);
		if (st != ST_OK)
			return st;
		i = last + 1;
	}
	return ST_OK;
}

/* ---- changing ---- */

static size_t blocks(size_t entries)
{
	return (entries + INDEX_BLOCK - 1) / INDEX_BLOCK;
}

/* The memory an index takes, kept in its shard's sum. */
static void count_bytes(struct folder_index *ix)
{
	struct shard *sh = ix->folder->mb->shard;
	size_t bytes = sizeof *ix + ix->cap * sizeof *ix->at + blocks(ix->cap) * sizeof(uint64_t) +
		       ix->vanished_cap * sizeof *ix->vanished;

	for (size_t i = 0; i < ix->nvanished; i++)
		bytes += ix->vanished[i].uids.cap * sizeof(struct urun);
	sh->index_bytes += bytes - ix->bytes;
	ix->bytes = bytes;
	sh->index_bytes_seen = sh->index_bytes;
}

static bool index_grow(struct folder_index *ix, size_t cap)
{
	struct entry *at = realloc(ix->at, cap * sizeof *at);
	uint64_t *block_cn;

	if (!at)
		return false;
	ix->at = at;
	block_cn = realloc(ix->block_cn, blocks(cap) * sizeof *block_cn);
	if (!block_cn)
		return false;
	ix->block_cn = block_cn;
	ix->cap = cap;
	return true;
}

static bool vanished_grow(struct folder_index *ix)
{
	size_t cap = ix->vanished_cap ? ix->vanished_cap * 2 : 4;
	struct vanished *v;

	if (ix->nvanished < ix->vanished_cap)
		return true;
	v = realloc(ix->vanished, cap * sizeof *v);
	if (!v)
		return false;
	ix->vanished = v;
	ix->vanished_cap = cap;
	return true;
}

enum st index_reserve(struct folder_index *ix, size_t entries, struct err *err)
{
	size_t cap = ix->cap;

	while (cap - ix->n < entries)
		cap *= 2;
	if (!vanished_grow(ix) || (cap > ix->cap && !index_grow(ix, cap)))
		return fail(err, ST_NOMEM, "out of memory for %zu messages", cap);
	count_bytes(ix);
	return ST_OK;
}

void index_touched(struct folder_index *ix, const struct entry *e)
{
	uint64_t *block = &ix->block_cn[(size_t)(e - ix->at) / INDEX_BLOCK];

	if (e->cn > *block)
		*block = e->cn;
}

void index_append(struct folder_index *ix, const struct entry *e)
{
	assert(ix->n < ix->cap);
	assert(!ix->n || ix->at[ix->n - 1].uid < e->uid);
	if (ix->n % INDEX_BLOCK == 0)
		ix->block_cn[ix->n / INDEX_BLOCK] = 0;
	ix->at[ix->n] = *e;
	index_touched(ix, &ix->at[ix->n++]);
}

void index_vanish(struct folder_index *ix, uint64_t cn, struct uset *uids)
{
	size_t kept = 0, i = index_from(ix, uset_next(uids, 1));

	assert(ix->nvanished < ix->vanished_cap);
	for (kept = i; i < ix->n; i++)
		if (!uset_has(uids, ix->at[i].uid))
			ix->at[kept++] = ix->at[i];
	ix->n = kept;
	for (size_t b = 0; b < blocks(ix->n); b++)
		ix->block_cn[b] = 0;
	for (i = 0; i < ix->n; i++)
		index_touched(ix, &ix->at[i]);
	ix->vanished[ix->nvanished++] = (struct vanished){ cn, *uids };
	*uids = (struct uset){ 0 };
	count_bytes(ix);
}

size_t index_vanished_over(const struct folder_index *ix)
{
	/* A quarter at a time, so that it is not one more row deleted in each expunge. */
	return ix->nvanished < VANISHED_MAX ? 0 : VANISHED_MAX / 4;
}

void index_vanished_drop(struct folder_index *ix, size_t oldest)
{
	for (size_t i = 0; i < oldest; i++)
		uset_free(&ix->vanished[i].uids);
	ix->nvanished -= oldest;
	memmove(ix->vanished, ix->vanished + oldest, ix->nvanished * sizeof *ix->vanished);
	count_bytes(ix);
}

/* ---- loading ---- */

struct load {
	struct folder_index *ix;
	struct ese_db *db;
	uint64_t mailbox;
	uint32_t folder;
	enum st st;
	struct err err;
};

static enum st load_entries(struct load *l)
{
	struct folder_index *ix = l->ix;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_folder(&to, l->mailbox, BOX_ENTRY, l->folder);
	st = ese_iter_new(l->db, key_folder(&from, l->mailbox, BOX_ENTRY, l->folder),
			  key_after(&to), &it, &l->err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, &l->err)) == ST_OK) {
		struct entry e;

		st = entry_read(key, value, &e, &l->err);
		if (st == ST_OK && ix->n == ix->cap && !index_grow(ix, ix->cap * 2))
			st = fail(&l->err, ST_NOMEM, "out of memory for %zu messages", ix->n);
		if (st != ST_OK)
			break;
		index_append(ix, &e);
	}
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

static enum st load_vanished(struct load *l)
{
	struct folder_index *ix = l->ix;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_folder(&to, l->mailbox, BOX_VANISHED, l->folder);
	st = ese_iter_new(l->db, key_folder(&from, l->mailbox, BOX_VANISHED, l->folder),
			  key_after(&to), &it, &l->err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, &l->err)) == ST_OK) {
		struct vanished *v;

		if (!vanished_grow(ix)) {
			st = fail(&l->err, ST_NOMEM, "out of memory");
			break;
		}
		v = &ix->vanished[ix->nvanished];
		*v = (struct vanished){ .cn = key_tail_u64(key) };
		if (uset_read(value, &v->uids, &l->err) != ST_OK) {
			st = fail(&l->err, ST_CORRUPT, "the row of vanished messages is no set");
			break;
		}
		ix->nvanished++;
	}
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

/* On a pool thread; nobody else knows the index yet. */
static void load_run(void *arg)
{
	struct load *l = arg;
	struct folder_index *ix = l->ix;

	l->st = ST_NOMEM;
	if (!index_grow(ix, ix->cap ? ix->cap : 16))
		return;
	l->st = load_entries(l);
	if (l->st == ST_OK)
		l->st = load_vanished(l);
}

static enum st index_load(struct folder *f, struct err *err)
{
	struct shard *sh = f->mb->shard;
	struct load l = { .db = f->mb->db->ese, .mailbox = f->mb->id, .folder = f->number };

	l.ix = calloc(1, sizeof *l.ix);
	if (!l.ix)
		return fail(err, ST_NOMEM, "out of memory");
	l.ix->cap = f->now.count;
	l.ix->folder = f;
	f->loading = true;
	while (f->inflight)
		fiber_queue_wait(&f->wake, NO_DEADLINE);
	work_run(load_run, &l);
	f->loading = false;
	fiber_queue_wake_all(&f->wake);
	if (l.st == ST_OK && f->gone)
		l.st = fail(&l.err, ST_NOTFOUND, "the folder was deleted");
	if (l.st != ST_OK) {
		index_free(l.ix);
		return fail(err, l.st, "%s", l.err.text);
	}
	f->ix = l.ix;
	sh->indexes_loaded++;
	count_bytes(l.ix);
	return ST_OK;
}

enum st index_get(struct folder *f, struct folder_index **out, struct err *err)
{
	while (!f->ix) {
		enum st st;

		if (f->gone)
			return fail(err, ST_NOTFOUND, "the folder was deleted");
		if (f->loading) {
			fiber_queue_wait(&f->wake, NO_DEADLINE);
			continue;
		}
		st = index_load(f, err);
		if (st != ST_OK)
			return st;
	}
	f->ix->pins++;
	link_cut(&f->ix->used);
	link_push(&f->mb->shard->indexes_used, &f->ix->used);
	*out = f->ix;
	indexes_trim(f->mb->shard);
	return ST_OK;
}

void index_put(struct folder_index *ix)
{
	ix->pins--;
	/* A deleted folder's index serves nobody new. */
	if (!ix->pins && ix->folder->gone)
		index_free(ix);
}

void index_free(struct folder_index *ix)
{
	if (!ix)
		return;
	assert(!ix->pins);
	if (ix->folder->ix == ix) {
		ix->folder->ix = NULL;
		ix->folder->mb->shard->indexes_loaded--;
	}
	ix->folder->mb->shard->index_bytes -= ix->bytes;
	ix->folder->mb->shard->index_bytes_seen = ix->folder->mb->shard->index_bytes;
	link_cut(&ix->used);
	for (size_t i = 0; i < ix->nvanished; i++)
		uset_free(&ix->vanished[i].uids);
	free(ix->vanished);
	free(ix->at);
	free(ix->block_cn);
	free(ix);
}

void indexes_trim(struct shard *sh)
{
	struct link *list = &sh->indexes_used, *l = list->prev;

	while (l != list && sh->index_bytes > sh->index_limit) {
		struct folder_index *ix = HNODE_OF(struct folder_index, used, l);

		l = l->prev;
		if (!ix->pins && !ix->folder->inflight)
			index_free(ix);
	}
}
