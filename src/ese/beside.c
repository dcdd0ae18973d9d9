/* beside.c - pages written beside the log; see beside.h.
 *
 * Runs sorted by database and first page; each knows how far the ones before it reach, so that a look-up goes
 * back only over runs that may cover the page.  Bodies that were there one after the other overlap, few do. */
#include "ese/beside.h"

#include "ese/ese.h"
#include "ese/log_read.h"

#include <stdlib.h>

struct direct_run {
	uint32_t db, page;
	uint64_t end;   /* behind the last page */
	uint64_t reach; /* the farthest end of the runs up to this one, in the same database */
	uint64_t pos;
};

struct beside {
	struct direct_run *runs;
	size_t n, cap;
};

struct beside *beside_new(void)
{
	return calloc(1, sizeof(struct beside));
}

void beside_free(struct beside *b)
{
	if (!b)
		return;
	free(b->runs);
	free(b);
}

static enum st note_item(struct beside *b, const struct rec *r, const struct item *it,
			 struct err *err)
{
	for (uint32_t i = 0; i < it->nruns; i++) {
		uint32_t page = run_page(it->runs, i);

		if (b->n == b->cap) {
			size_t cap = b->cap ? b->cap * 2 : 64;
			struct direct_run *more = realloc(b->runs, cap * sizeof(*more));

			if (!more)
				return fail(err, ST_NOMEM, "look ahead in the log");
			b->runs = more;
			b->cap = cap;
		}
		b->runs[b->n++] =
			(struct direct_run){ .db = r->db,
					     .page = page,
					     .end = (uint64_t)page + run_pages(it->runs, i),
					     .pos = r->pos };
	}
	return ST_OK;
}

enum st beside_note(struct beside *b, const struct rec *r, struct err *err)
{
	struct items items;
	struct item it;
	enum st st;

	if (r->kind != REC_COMMIT)
		return ST_OK;
	st = items_open(r->payload, &items);
	while (st == ST_OK && (st = items_next(&items, &it)) == ST_OK)
		if (item_is_direct(&it) && (st = note_item(b, r, &it, err)) != ST_OK)
			return st;
	/* A damaged batch is found, and named, when it is applied. */
	return ST_OK;
}

static int by_place(const void *a, const void *b)
{
	const struct direct_run *x = a, *y = b;

	if (x->db != y->db)
		return x->db < y->db ? -1 : 1;
	return x->page < y->page ? -1 : x->page > y->page;
}

void beside_ready(struct beside *b)
{
	if (b->n)
		qsort(b->runs, b->n, sizeof(*b->runs), by_place);
	for (size_t i = 0; i < b->n; i++) {
		struct direct_run *r = &b->runs[i];

		r->reach = r->end;
		if (i > 0 && r[-1].db == r->db && r[-1].reach > r->reach)
			r->reach = r[-1].reach;
	}
}

/* How many runs begin at or before the page. */
static size_t up_to(const struct beside *b, uint32_t db, uint32_t page)
{
	size_t lo = 0, hi = b->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct direct_run *r = &b->runs[mid];

		if (r->db < db || (r->db == db && r->page <= page))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool taken(const struct beside *b, size_t n, uint32_t db, uint32_t page, uint64_t pos)
{
	while (n > 0 && b->runs[n - 1].db == db && b->runs[n - 1].reach > page) {
		n--;
		if (b->runs[n].end > page && b->runs[n].pos > pos)
			return true;
	}
	return false;
}

uint32_t beside_same(const struct beside *b, uint32_t db, uint32_t page, uint32_t want,
		     uint64_t pos, bool *taken_out)
{
	uint32_t n = 1;

	*taken_out = taken(b, up_to(b, db, page), db, page, pos);
	while (n < want && taken(b, up_to(b, db, page + n), db, page + n, pos) == *taken_out)
		n++;
	return n;
}

enum st beside_pieces(const struct beside *b, const struct rec *r, const struct rec_body *body,
		      enum st (*fn)(void *arg, const struct rec_body *piece, struct err *err),
		      void *arg, struct err *err)
{
	struct rec_body rest = *body;
	enum st st = ST_OK;

	while (st == ST_OK && rest.bytes.len > 0) {
		uint32_t page = (uint32_t)(rest.stm_off / ESE_PAGE);
		size_t in = rest.stm_off % ESE_PAGE, len;
		uint32_t want = (uint32_t)((in + rest.bytes.len + ESE_PAGE - 1) / ESE_PAGE);
		struct rec_body piece = rest;
		bool skip;

		len = (size_t)beside_same(b, r->db, page, want, r->pos, &skip) * ESE_PAGE - in;
		piece.bytes = span_cut(rest.bytes, len < rest.bytes.len ? len : rest.bytes.len);
		if (!skip)
			st = fn(arg, &piece, err);
		rest.bytes = span_skip(rest.bytes, piece.bytes.len);
		rest.body_off += piece.bytes.len;
		rest.stm_off += piece.bytes.len;
	}
	return st;
}

enum st beside_scan(struct beside *b, const char *dir, uint64_t from, uint64_t to,
		    const unsigned char *signature, struct err *err)
{
	struct log_reader *reader;
	struct log_group group;
	enum st st = log_read_open(dir, pos_gen(from), signature, &reader, err);

	if (st != ST_OK)
		return st;
	log_read_limit(reader, to);
	while ((st = log_read_group(reader, &group, err)) == ST_OK) {
		struct log_cursor c;
		struct rec r;

		log_group_open(&group, &c);
		while (st == ST_OK && (st = log_group_next(&c, &r)) == ST_OK)
			if (r.pos >= from)
				st = beside_note(b, &r, err);
		if (st != ST_EOF)
			break;
	}
	log_read_close(reader);
	beside_ready(b);
	return st == ST_EOF ? ST_OK : st;
}
