/* salvage_log.c - what a damaged database's log adds to its rows and pages; see salvage.h.
 *
 * Counts and page states are left alone: who writes a new database makes them anew.  So a batch is what it puts and
 * deletes, and where bodies lie.  A gap in the log ends nothing: what comes behind it is applied all the same, since a
 * message that comes too much can be deleted, one that is missing can't be had. */
#include "ese/salvage_int.h"

#include "ese/io.h"
#include "ese/log_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The log is applied to `rows`, for records from `from` up to `upto`. */
struct filling {
	struct salvage *s;
	struct pdb *rows;
	struct pdb_batch *batch;
	uint64_t from, upto;
	bool pages; /* the bytes of bodies too */
	bool tell;  /* findings: once is enough */
};

/* ---- bytes of bodies ---- */

static enum st keep_bytes(struct salvage *s, const struct rec_body *b, struct err *err)
{
	uint64_t first = b->stm_off / ESE_PAGE;
	uint64_t last = (b->stm_off + b->bytes.len - 1) / ESE_PAGE;

	if (last / 8 >= s->nhave) {
		uint64_t n = (last / 8 + 4096) * 2;
		unsigned char *more = realloc(s->have, n);

		if (!more)
			return fail(err, ST_NOMEM, "salvage %s", s->src.name);
		memset(more + s->nhave, 0, n - s->nhave);
		s->have = more;
		s->nhave = n;
	}
	for (; first <= last; first++)
		s->have[first / 8] |= (unsigned char)(1u << first % 8);
	return io_write(s->pages, b->bytes.at, b->bytes.len, b->stm_off, s->src.name, err);
}

/* ---- rows ---- */

/* What the batch holds is visible to the next look at a row. */
static enum st settle(struct filling *k, struct err *err)
{
	return pdb_write(k->rows, k->batch, err);
}

static enum st body_row(struct filling *k, uint64_t id, struct buf *copy, struct row_body *out,
			struct err *err)
{
	struct row_key key = row_key_body(id);
	struct span v;
	void *hold;
	enum st st = settle(k, err);

	if (st == ST_OK)
		st = pdb_get(k->rows, row_key_span(&key), &v, &hold, err);
	if (st != ST_OK)
		return st;
	buf_clear(copy);
	buf_span(copy, v);
	pdb_release(hold);
	return copy->failed ? fail(err, ST_NOMEM, "salvage a body")
			    : row_body_get(buf_get(copy), out);
}

static void put_body(struct filling *k, uint64_t id, const struct row_body *row)
{
	struct row_key key = row_key_body(id);
	struct buf value = BUF_MAX(ESE_VALUE_MAX);

	row_body_put(&value, row);
	if (!value.failed)
		pdb_put(k->batch, row_key_span(&key), buf_get(&value));
	buf_free(&value);
}

static void describe(struct filling *k, const struct item *it)
{
	struct row_body row = { .refs = 1,
				.nruns = it->nruns,
				.npages = it->npages,
				.len = it->len,
				.runs = it->runs,
				.crcs = it->crcs };

	row.ncrcs = it->npages <= CRC_INLINE ? it->npages : 0;
	put_body(k, it->body, &row);
	for (uint32_t at = row.ncrcs; at < it->npages; at += CRC_ROW) {
		struct row_key key = row_key_crc(it->body, at / CRC_ROW);

		pdb_put(k->batch, row_key_span(&key),
			span_cut(span_skip(it->crcs, (size_t)at * 4), CRC_ROW * 4));
	}
}

static enum st move(struct filling *k, const struct item *it, struct err *err)
{
	struct buf old = BUF_MAX(ESE_VALUE_MAX);
	struct row_body row;
	enum st st = body_row(k, it->body, &old, &row, err);

	if (st == ST_OK && row.npages == it->npages) {
		row.nruns = it->nruns;
		row.runs = it->runs;
		put_body(k, it->body, &row);
	}
	buf_free(&old);
	return st == ST_IO || st == ST_NOMEM ? st : ST_OK;
}

static enum st drop(struct filling *k, uint64_t id, struct err *err)
{
	struct buf old = BUF_MAX(ESE_VALUE_MAX);
	struct row_key key = row_key_body(id);
	struct row_body row;
	enum st st = body_row(k, id, &old, &row, err);

	buf_free(&old);
	if (st == ST_OK)
		for (uint32_t at = row.ncrcs; at < row.npages; at += CRC_ROW) {
			struct row_key crc = row_key_crc(id, at / CRC_ROW);

			pdb_delete(k->batch, row_key_span(&crc));
		}
	pdb_delete(k->batch, row_key_span(&key));
	return st == ST_IO || st == ST_NOMEM ? st : ST_OK;
}

static enum st take_item(struct filling *k, const struct item *it, struct err *err)
{
	switch (it->kind) {
	case ITEM_PUT:
		pdb_put(k->batch, it->key, it->value);
		return ST_OK;
	case ITEM_DELETE:
		pdb_delete(k->batch, it->key);
		return ST_OK;
	case ITEM_DESCRIBE:
	case ITEM_DESCRIBE_DIRECT:
		describe(k, it);
		return ST_OK;
	case ITEM_MOVE:
	case ITEM_MOVE_DIRECT:
		return move(k, it, err);
	default:
		return ST_OK;
	}
}

static enum st take_commit(struct filling *k, const struct rec *r, struct err *err)
{
	struct items items;
	struct item it;
	enum st st = ST_OK;

	if (items_open(r->payload, &items) != ST_OK)
		return ST_OK;
	while (st == ST_OK && items_next(&items, &it) == ST_OK)
		st = take_item(k, &it, err);
	return st;
}

static enum st take_record(struct filling *k, const struct rec *r, struct err *err)
{
	bool rows = r->pos >= k->from && r->pos < k->upto;
	struct rec_body b;
	uint64_t id;

	if (r->kind == REC_BODY && k->pages && rec_body_get(r->payload, &b) == ST_OK)
		return keep_bytes(k->s, &b, err);
	if (r->kind == REC_COMMIT && rows)
		return take_commit(k, r, err);
	if (r->kind == REC_FREE && rows && rec_free_get(r->payload, &id) == ST_OK)
		return drop(k, id, err);
	return ST_OK;
}

/* A database whose header is lost is known by its name: to the checkpoint, or to the log. */
static void find_number(struct salvage *s, const struct checkpoint *cp)
{
	for (uint32_t i = 0; !s->id && i < cp->ndbs; i++)
		if (strcmp(cp->dbs[i].name, s->src.name) == 0) {
			s->id = cp->dbs[i].id;
			s->number = (uint32_t)s->id;
		}
}

static void learn_number(struct salvage *s, const struct rec *r, uint32_t format)
{
	struct rec_attach a;

	if (r->kind != REC_ATTACH || s->id || rec_attach_get(r->payload, format, &a) != ST_OK ||
	    !span_eq(a.name, span_str(s->src.name)))
		return;
	s->id = a.id;
	s->number = (uint32_t)a.id;
}

static enum st take_group(void *arg, const struct log_group *g, struct err *err)
{
	struct filling *k = arg;
	struct log_cursor c;
	enum st st = ST_OK;
	struct rec r;

	log_group_open(g, &c);
	while (st == ST_OK && log_group_next(&c, &r) == ST_OK) {
		learn_number(k->s, &r, g->format);
		if (k->s->number && r.db == k->s->number)
			st = take_record(k, &r, err);
	}
	return st == ST_OK ? settle(k, err) : st;
}

static void found(void *arg, const struct finding *f)
{
	const struct filling *k = arg;

	if (k->tell)
		k->s->src.found(k->s->src.arg, f);
}

static void progress(void *arg, uint64_t bytes)
{
	const struct filling *k = arg;

	if (k->s->src.progress)
		k->s->src.progress(k->s->src.arg, "log", bytes);
}

static bool is_there(const char *dir, const char *name)
{
	char path[SEG_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static enum st replay(struct filling *k, struct err *err)
{
	struct checkpoint cp;
	struct log_walk w = { .dir = k->s->src.log,
			      .group = take_group,
			      .found = found,
			      .progress = progress,
			      .arg = k };
	enum st have = checkpoint_read(k->s->src.log, &cp, NULL), st;

	/* A backup's copy of a log need not go on behind its last closed file. */
	w.unfinished = have == ST_NOTFOUND && !is_there(k->s->src.log, "E00.chk") &&
		       !is_there(k->s->src.log, "E00.lck");
	if (have == ST_OK) {
		w.signature = cp.signature;
		w.from = pos_gen(cp.position);
		find_number(k->s, &cp);
	}
	k->batch = pdb_batch_new();
	if (!k->batch)
		return fail(err, ST_NOMEM, "salvage %s", k->s->src.name);
	st = log_walk(&w, err);
	pdb_batch_free(k->batch);
	return st == ST_OK ? pdb_flush(k->rows, err) : st;
}

/* ---- gaps ---- */

static enum st copy_gap(struct pdb *from, struct pdb *to, const struct gap *g, struct err *err)
{
	struct pdb_batch *b = pdb_batch_new();
	struct span key, value, last = buf_get(&g->last);
	struct pdb_iter *it;
	enum st st = b ? pdb_iter_new(from, last, buf_get(&g->next), &it, err)
		       : fail(err, ST_NOMEM, "salvage rows");

	if (st != ST_OK) {
		pdb_batch_free(b);
		return st;
	}
	while ((st = pdb_iter_next(it, &key, &value, err)) == ST_OK) {
		if (!span_eq(key, last))
			pdb_put(b, key, value);
		st = pdb_write(to, b, err);
		if (st != ST_OK)
			break;
	}
	pdb_iter_free(it);
	pdb_batch_free(b);
	return st == ST_EOF ? ST_OK : st;
}

/* What the log says of rows before `applied`, in a database of its own; then what lies in the gaps. */
static enum st fill_gaps(struct salvage *s, struct pdb *rows, const struct gaps *gaps,
			 struct err *err)
{
	struct pdb_conf c = { .cache_bytes = 8u << 20, .buffer_bytes = 16u << 20, .files_max = 64 };
	struct filling k = { .s = s, .upto = s->known ? s->applied : UINT64_MAX };
	char path[SEG_PATH_MAX + 16];
	enum st st;

	if (gaps->n == 0)
		return ST_OK;
	snprintf(path, sizeof(path), "%s/old", s->src.scratch);
	st = pdb_open(path, true, &c, &k.rows, err);
	if (st != ST_OK)
		return st;
	st = replay(&k, err);
	for (size_t i = 0; st == ST_OK && i < gaps->n; i++)
		st = copy_gap(k.rows, rows, &gaps->at[i], err);
	pdb_close(k.rows);
	return st;
}

enum st salvage_log(struct salvage *s, struct pdb *rows, const struct gaps *gaps, struct err *err)
{
	struct filling k = { .s = s,
			     .rows = rows,
			     .from = s->known ? s->applied : 0,
			     .upto = UINT64_MAX,
			     .pages = true,
			     .tell = s->src.tell_log };
	enum st st = fill_gaps(s, rows, gaps, err);

	return st == ST_OK ? replay(&k, err) : st;
}
