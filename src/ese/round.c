/* round.c - applying records; see round.h. */
#include "ese/ese_int.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <limits.h>
#include <stdlib.h>

#define TABLE     256u
#define IOV_WANT  128
#define WRITE_MAX (1024u * 1024)

/* A body that records of this round touch. */
struct touched {
	struct touched *next, *all;
	uint64_t id;
	bool had, exists;       /* a row: before the round, now */
	bool moved;             /* its pages are others now */
	uint32_t before, count; /* references */
	struct row_body row; /* its spans point into `hold` or into the record that described it */
	void *hold;
};

struct round {
	struct ese_db *db;
	struct pdb_batch *batch;
	bool dirty;
	bool prepared; /* the rows are in memory, but nobody sees them */
	uint64_t prepared_pos;
	struct touched *table[TABLE], *all;
	struct buf scratch;
	/* Pages that bodies left: deleted when the rows say so, durably. */
	struct run *left;
	uint32_t nleft, cap_left;

	/* page bytes that lie side by side, not yet written */
	struct iovec iov[IOV_WANT];
	int niov;
	uint64_t from, to;
};

static const char zeros[ESE_PAGE];

struct round *round_new(struct ese_db *db)
{
	struct round *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->db = db;
	r->scratch = BUF_MAX(16u * 1024 * 1024);
	r->batch = pdb_batch_new();
	if (!r->batch) {
		free(r);
		return NULL;
	}
	return r;
}

/* What the records of this round changed is in the rows, or is given up. */
static void forget(struct round *r)
{
	while (r->all) {
		struct touched *t = r->all;

		r->all = t->all;
		pdb_release(t->hold);
		free(t);
	}
	memset(r->table, 0, sizeof(r->table));
	r->niov = 0;
	r->nleft = 0;
	r->dirty = r->prepared = false;
}

void round_drop_all(struct round *r)
{
	pdb_batch_clear(r->batch);
	forget(r);
}

void round_free(struct round *r)
{
	if (!r)
		return;
	forget(r);
	buf_free(&r->scratch);
	free(r->left);
	pdb_batch_free(r->batch);
	free(r);
}

/* ---- page bytes ---- */

static enum st flush_pages(struct round *r, struct err *err)
{
	enum st st = ST_OK;

	if (r->niov > 0)
		st = io_writev(r->db->fd, r->iov, r->niov, r->from, 0, r->db->name, err);
	r->niov = 0;
	return st;
}

static void add_iov(struct round *r, const void *at, size_t len)
{
	memcpy(&r->iov[r->niov].iov_base, &at, sizeof(at));
	r->iov[r->niov++].iov_len = len;
	r->to += len;
}

/* Bodies that lie side by side go out with one call: the rest of a body's last page belongs to it and
 * may be filled up with zeros.  In order, so that later bytes of the same page win. */
enum st round_body(struct round *r, const struct rec_body *b, struct err *err)
{
	uint64_t page_end = (r->to + ESE_PAGE - 1) / ESE_PAGE * ESE_PAGE;

	r->dirty = true;
	if (b->id >= r->db->next_id)
		r->db->next_id = b->id + 1;
	if (r->niov > 0 && ((b->stm_off != r->to && b->stm_off != page_end) ||
			    r->niov > IOV_WANT - 2 || r->to - r->from > WRITE_MAX)) {
		enum st st = flush_pages(r, err);

		if (st != ST_OK)
			return st;
	}
	if (r->niov == 0)
		r->from = r->to = b->stm_off;
	else if (b->stm_off > r->to)
		add_iov(r, zeros, b->stm_off - r->to);
	add_iov(r, b->bytes.at, b->bytes.len);
	return ST_OK;
}

/* ---- bodies ---- */

static enum st damaged(struct round *r, uint64_t id, struct err *err)
{
	return fail(err, ST_CORRUPT, "database %s: the row of body %llu is damaged", r->db->name,
		    (unsigned long long)id);
}

static enum st read_row(struct round *r, struct touched *t, struct err *err)
{
	struct row_key key = row_key_body(t->id);
	struct span v;
	enum st st = pdb_get(r->db->rows, row_key_span(&key), &v, &t->hold, err);

	if (st == ST_NOTFOUND)
		return ST_OK;
	if (st == ST_OK && row_body_get(v, &t->row) != ST_OK)
		return damaged(r, t->id, err);
	t->had = t->exists = st == ST_OK;
	t->before = t->count = t->row.refs;
	return st;
}

static enum st touch(struct round *r, uint64_t id, struct touched **out, struct err *err)
{
	struct touched **list = &r->table[id % TABLE], *t = *list;
	enum st st = ST_OK;

	while (t && t->id != id)
		t = t->next;
	if (t) {
		*out = t;
		return ST_OK;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return fail(err, ST_NOMEM, "apply a body");
	t->id = id;
	/* Most bodies are new: their first batch holds them in memory, and no row has to be looked for. */
	if (r->db->replaying || !body_is_new(r->db, id))
		st = read_row(r, t, err);
	if (st != ST_OK) {
		pdb_release(t->hold);
		free(t);
		return st;
	}
	t->next = *list;
	*list = t;
	t->all = r->all;
	r->all = t;
	*out = t;
	return ST_OK;
}

static enum st describe(struct round *r, const struct item *it, struct err *err)
{
	struct touched *t;
	enum st st = touch(r, it->body, &t, err);

	if (st != ST_OK || t->exists)
		return st;
	t->exists = true;
	t->count = 0;
	t->row = (struct row_body){ .nruns = it->nruns,
				    .npages = it->npages,
				    .ncrcs = it->npages <= CRC_INLINE ? it->npages : 0,
				    .len = it->len,
				    .runs = it->runs,
				    .crcs = it->crcs };
	if (it->body >= r->db->next_id)
		r->db->next_id = it->body + 1;
	for (uint32_t i = 0; st == ST_OK && i < it->nruns; i++)
		st = space_commit(r->db->space, run_page(it->runs, i), run_pages(it->runs, i), err);
	return st;
}

static enum st leave_run(struct round *r, uint32_t page, uint32_t pages, struct err *err)
{
	if (r->nleft == r->cap_left) {
		uint32_t cap = r->cap_left ? r->cap_left * 2 : 16;
		struct run *more = realloc(r->left, cap * sizeof(*more));

		if (!more)
			return fail(err, ST_NOMEM, "pages of a body");
		r->left = more;
		r->cap_left = cap;
	}
	r->left[r->nleft++] = (struct run){ page, pages };
	space_delete(r->db->space, page, pages);
	return ST_OK;
}

/* A reader may look up the old row until the new one is written: only then do the old pages begin to wait for
 * the pins (round_end). */
static enum st move(struct round *r, const struct item *it, struct err *err)
{
	struct touched *t;
	enum st st = touch(r, it->body, &t, err);

	if (st != ST_OK || !t->exists)
		return st;
	if (it->npages != t->row.npages)
		return damaged(r, it->body, err);
	for (uint32_t i = 0; st == ST_OK && i < t->row.nruns; i++)
		st = leave_run(r, run_page(t->row.runs, i), run_pages(t->row.runs, i), err);
	for (uint32_t i = 0; st == ST_OK && i < it->nruns; i++)
		st = space_commit(r->db->space, run_page(it->runs, i), run_pages(it->runs, i), err);
	t->row.nruns = it->nruns;
	t->row.runs = it->runs;
	t->moved = true;
	return st;
}

/* A body that has no row is passed over: the same in service and in replay. */
static enum st count(struct round *r, uint64_t id, int by, struct err *err)
{
	struct touched *t;
	enum st st = touch(r, id, &t, err);

	if (st != ST_OK || !t->exists)
		return st;
	if (by > 0 && t->count < UINT32_MAX)
		t->count++;
	if (by < 0 && t->count > 0)
		t->count--;
	return ST_OK;
}

static enum st apply_item(struct round *r, const struct item *it, struct err *err)
{
	switch (it->kind) {
	case ITEM_PUT:
		pdb_put(r->batch, it->key, it->value);
		return ST_OK;
	case ITEM_DELETE:
		pdb_delete(r->batch, it->key);
		return ST_OK;
	case ITEM_DESCRIBE:
	case ITEM_DESCRIBE_DIRECT:
		return describe(r, it, err);
	case ITEM_LINK:
		return count(r, it->body, 1, err);
	case ITEM_UNLINK:
		return count(r, it->body, -1, err);
	case ITEM_MOVE:
	case ITEM_MOVE_DIRECT:
		return move(r, it, err);
	}
	return ST_CORRUPT;
}

enum st round_commit(struct round *r, const struct rec *rec, struct err *err)
{
	struct items items;
	struct item it;
	enum st st = items_open(rec->payload, &items);

	r->dirty = true;
	while (st == ST_OK && (st = items_next(&items, &it)) == ST_OK) {
		st = apply_item(r, &it, err);
		if (st != ST_OK)
			return st;
	}
	if (st != ST_EOF)
		return fail(err, ST_CORRUPT, "the batch at log position %016llx is damaged",
			    (unsigned long long)rec->pos);
	return ST_OK;
}

enum st round_drop(struct round *r, uint64_t id, struct err *err)
{
	struct touched *t;
	enum st st = touch(r, id, &t, err);

	r->dirty = true;
	if (st != ST_OK || !t->exists || t->count > 0)
		return st;
	t->exists = false;
	for (uint32_t i = 0; st == ST_OK && i < t->row.nruns; i++)
		st = leave_run(r, run_page(t->row.runs, i), run_pages(t->row.runs, i), err);
	return st;
}

/* ---- the end of a round ---- */

static void put_key(struct round *r, struct row_key key, struct span value)
{
	pdb_put(r->batch, row_key_span(&key), value);
}

static void delete_key(struct round *r, struct row_key key)
{
	pdb_delete(r->batch, row_key_span(&key));
}

static uint32_t crc_rows(const struct touched *t)
{
	return t->row.npages <= CRC_INLINE ? 0 : (t->row.npages + CRC_ROW - 1) / CRC_ROW;
}

static void put_crcs(struct round *r, const struct touched *t)
{
	for (uint32_t n = 0; n < crc_rows(t); n++)
		put_key(r, row_key_crc(t->id, n),
			span_cut(span_skip(t->row.crcs, (size_t)n * CRC_ROW * 4), CRC_ROW * 4));
}

static enum st put_body(struct round *r, struct touched *t, struct err *err)
{
	bool orphan_before = t->had && t->before == 0, orphan = t->exists && t->count == 0;

	if (t->exists && (!t->had || t->moved || t->count != t->before)) {
		t->row.refs = t->count;
		buf_clear(&r->scratch);
		row_body_put(&r->scratch, &t->row);
		if (r->scratch.failed)
			return fail(err, ST_NOMEM, "apply a body");
		put_key(r, row_key_body(t->id), buf_get(&r->scratch));
	}
	if (t->exists && !t->had)
		put_crcs(r, t);
	if (t->had && !t->exists) {
		delete_key(r, row_key_body(t->id));
		for (uint32_t n = 0; n < crc_rows(t); n++)
			delete_key(r, row_key_crc(t->id, n));
	}
	if (orphan && !orphan_before)
		put_key(r, row_key_orphan(t->id), span_of("", 0));
	if (!orphan && orphan_before)
		delete_key(r, row_key_orphan(t->id));
	r->db->nbodies += (uint64_t)t->exists - (uint64_t)t->had;
	return ST_OK;
}

static void put_space(struct round *r)
{
	unsigned char row[SPACE_ROW];
	uint32_t chunk;

	while (space_dirty(r->db->space, &chunk, row))
		put_key(r, row_key_space(chunk), span_of(row, sizeof(row)));
}

static void put_applied(struct round *r, uint64_t applied)
{
	char v[ROW_APPLIED_BYTES];

	row_applied_put(v, &(struct row_applied){ applied, r->db->next_id, r->db->nbodies });
	put_key(r, row_key_applied(), span_of(v, sizeof(v)));
}

void round_mark(struct round *r)
{
	r->dirty = true;
}

enum st round_prepare(struct round *r, uint64_t applied, struct err *err)
{
	enum st st;

	if (!r->dirty)
		return ST_OK;
	st = flush_pages(r, err);
	for (struct touched *t = r->all; st == ST_OK && t; t = t->all)
		st = put_body(r, t, err);
	if (st != ST_OK)
		return st;
	put_space(r);
	r->prepared_pos = applied > r->db->applied ? applied : r->db->applied;
	put_applied(r, r->prepared_pos);
	st = pdb_prepare(r->db->rows, r->batch, err);
	r->prepared = st == ST_OK;
	return st;
}

enum st round_publish(struct round *r, struct err *err)
{
	enum st st;

	if (!r->prepared)
		return ST_OK;
	r->prepared = false;
	st = pdb_publish(r->db->rows, err);
	if (st != ST_OK)
		return st;
	r->db->applied = r->prepared_pos;
	for (uint32_t i = 0; i < r->nleft; i++)
		pins_defer(r->db->pins, r->left[i].page, r->left[i].pages);
	for (struct touched *t = r->all; t; t = t->all)
		body_applied(r->db, t->id, t->count, !t->exists);
	forget(r);
	return ST_OK;
}

void round_abandon(struct round *r)
{
	if (r->prepared)
		pdb_abandon(r->db->rows);
	r->prepared = false;
}

enum st round_end(struct round *r, uint64_t applied, struct err *err)
{
	enum st st = round_prepare(r, applied, err);

	return st == ST_OK ? round_publish(r, err) : st;
}
