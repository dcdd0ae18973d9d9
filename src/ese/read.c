/* read.c - finding, reading and verifying committed bodies; see ese.h.
 *
 * Also on a database that no group has open (look.h): that one has no pins, no page states and no memory of damage. */
#include "ese/ese_int.h"

#include "base/crc32c.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_PAGES BODY_READ_PAGES

/* ---- bodies that are known to be damaged ---- */

bool body_is_bad(struct ese_db *db, uint64_t id)
{
	bool bad = false;

	if (db->nbad == 0)
		return false;
	pthread_mutex_lock(&db->lock);
	for (uint32_t i = 0; !bad && i < db->nbad; i++)
		bad = db->bad[i] == id;
	pthread_mutex_unlock(&db->lock);
	return bad;
}

/* The first BAD_BODIES of them are remembered: where there are more, the whole database is suspect, and each is found again
 * whenever it is read. */
static bool note_bad(struct ese_db *db, uint64_t id)
{
	bool fresh = !body_is_bad(db, id);

	pthread_mutex_lock(&db->lock);
	if (fresh && db->nbad < BAD_BODIES)
		db->bad[db->nbad++] = id;
	pthread_mutex_unlock(&db->lock);
	return fresh;
}

void body_damaged(struct ese_db *db, uint64_t id, const char *text)
{
	struct finding f = { .kind = FOUND_PAGE_DAMAGED, .database = db->name, .body = id };

	if (!db->g || !note_bad(db, id))
		return;
	snprintf(f.text, sizeof(f.text), "%s", text);
	group_found(db->g, &f);
}

/* ---- rows ---- */

static enum st damaged(struct ese_db *db, uint64_t id, struct err *err)
{
	return fail(err, ST_CORRUPT, "database %s: the row of body %llu is damaged", db->name,
		    (unsigned long long)id);
}

static enum st get_row(struct ese_db *db, uint64_t id, struct row_body *row, void **hold,
		       struct err *err)
{
	struct row_key key = row_key_body(id);
	struct span v;
	enum st st;

	if (!db_is_up(db))
		return db_gone(db, err);
	st = pdb_get(db->rows, row_key_span(&key), &v, hold, err);
	if (st == ST_NOTFOUND)
		return fail(err, st, "no body %llu in %s", (unsigned long long)id, db->name);
	if (st == ST_OK && row_body_get(v, row) != ST_OK) {
		pdb_release(*hold);
		return damaged(db, id, err);
	}
	return st;
}

/* CRCs of pages first ... first + n - 1, from the row itself or from the rows beside it. */
static enum st get_crcs(struct ese_db *db, uint64_t id, const struct row_body *row, uint32_t first,
			uint32_t n, uint32_t *out, struct err *err)
{
	while (n > 0) {
		struct row_key key = row_key_crc(id, first / CRC_ROW);
		uint32_t in = first, take = n;
		struct span v = row->crcs;
		void *hold = NULL;

		if (row->ncrcs == 0) {
			enum st st = pdb_get(db->rows, row_key_span(&key), &v, &hold, err);

			if (st == ST_NOTFOUND)
				return damaged(db, id, err);
			if (st != ST_OK)
				return st;
			in = first % CRC_ROW;
			take = n < CRC_ROW - in ? n : CRC_ROW - in;
		}
		if (v.len < ((size_t)in + take) * 4) {
			pdb_release(hold);
			return damaged(db, id, err);
		}
		for (uint32_t i = 0; i < take; i++)
			out[i] = le32_get(v.at + ((size_t)in + i) * 4);
		pdb_release(hold);
		first += take;
		out += take;
		n -= take;
	}
	return ST_OK;
}

enum st ese_body_find(struct ese_db *db, uint64_t id, bool with_crc, struct ese_scatter *out,
		      struct err *err)
{
	struct ese_scatter s = { 0 };
	struct row_body row;
	void *hold;
	enum st st = get_row(db, id, &row, &hold, err);

	if (st != ST_OK)
		return st;
	if (body_is_bad(db, id)) {
		pdb_release(hold);
		return fail(err, ST_CORRUPT, "%s: body %llu has damaged pages", db->name,
			    (unsigned long long)id);
	}
	s.len = row.len;
	s.nruns = row.nruns;
	s.npages = row.npages;
	s.runs = calloc(row.nruns ? row.nruns : 1, sizeof(*s.runs));
	if (with_crc)
		s.page_crc = calloc(row.npages ? row.npages : 1, sizeof(*s.page_crc));
	if (!s.runs || (with_crc && !s.page_crc))
		st = fail(err, ST_NOMEM, "find body %llu", (unsigned long long)id);
	for (uint32_t i = 0; st == ST_OK && i < row.nruns; i++)
		s.runs[i] =
			(struct ese_scatter_run){ run_page(row.runs, i), run_pages(row.runs, i) };
	if (st == ST_OK && with_crc)
		st = get_crcs(db, id, &row, 0, row.npages, s.page_crc, err);
	pdb_release(hold);
	if (st != ST_OK) {
		ese_scatter_free(&s);
		return st;
	}
	*out = s;
	return ST_OK;
}

void ese_scatter_free(struct ese_scatter *s)
{
	free(s->runs);
	free(s->page_crc);
	*s = (struct ese_scatter){ 0 };
}

/* Up to READ_PAGES pages of the body that lie side by side, from body page `first` on; *n_out says how many. */
static enum st read_pages(struct ese_db *db, uint64_t id, const struct row_body *row,
			  uint32_t first, uint32_t want, char *out, uint32_t *n_out,
			  struct err *err)
{
	uint32_t before = 0, i = 0, n;
	uint64_t len, at;
	size_t got;
	enum st st;

	while (before + run_pages(row->runs, i) <= first)
		before += run_pages(row->runs, i++);
	n = before + run_pages(row->runs, i) - first;
	n = n < want ? n : want;
	n = n < READ_PAGES ? n : READ_PAGES;
	at = (uint64_t)run_page(row->runs, i) + first - before;
	len = (uint64_t)n * ESE_PAGE;
	if ((uint64_t)first * ESE_PAGE + len > row->len)
		len = row->len - (uint64_t)first * ESE_PAGE;
	st = io_read(db->read_fd, out, len, at * ESE_PAGE, &got, db->name, err);
	if (st == ST_OK && got < len) {
		struct err why = { 0 };

		st = fail(&why, ST_CORRUPT, "%s.stm ends before page %llu", db->name,
			  (unsigned long long)(at + n - 1));
		if (err)
			*err = why;
		body_damaged(db, id, why.text);
	}
	*n_out = n;
	return st;
}

static enum st verify(struct ese_db *db, uint64_t id, const struct row_body *row, uint32_t first,
		      uint32_t n, const char *bytes, struct err *err)
{
	uint32_t crcs[READ_PAGES];
	enum st st = get_crcs(db, id, row, first, n, crcs, err);

	for (uint32_t i = 0; st == ST_OK && i < n; i++) {
		uint64_t from = (uint64_t)(first + i) * ESE_PAGE;
		size_t len = row->len - from < ESE_PAGE ? row->len - from : ESE_PAGE;

		if (crc32c(0, bytes + (size_t)i * ESE_PAGE, len) != crcs[i]) {
			struct err why = { 0 };

			st = fail(&why, ST_CORRUPT, "%s: page %u of body %llu is damaged", db->name,
				  first + i, (unsigned long long)id);
			if (err)
				*err = why;
			body_damaged(db, id, why.text);
		}
	}
	return st;
}

/* With a pin, or the body's pages may be others' by now. */
enum st body_read_pages(struct ese_db *db, uint64_t id, const struct row_body *row, uint32_t first,
			uint32_t want, char *out, uint32_t *n_out, struct err *err)
{
	enum st st = read_pages(db, id, row, first, want, out, n_out, err);

	return st == ST_OK ? verify(db, id, row, first, *n_out, out, err) : st;
}

static enum st read_range(struct ese_db *db, uint64_t id, const struct row_body *row, uint64_t off,
			  char *out, size_t len, struct err *err)
{
	char *pages = malloc((size_t)READ_PAGES * ESE_PAGE);
	enum st st = ST_OK;

	if (!pages)
		return fail(err, ST_NOMEM, "read body %llu", (unsigned long long)id);
	while (st == ST_OK && len > 0) {
		uint32_t first = (uint32_t)(off / ESE_PAGE), n = 0;
		uint32_t want = (uint32_t)((off + len - 1) / ESE_PAGE - first + 1);
		size_t in = off % ESE_PAGE, take;

		st = body_read_pages(db, id, row, first, want, pages, &n, err);
		if (st != ST_OK)
			break;
		take = (size_t)n * ESE_PAGE - in;
		take = take < len ? take : len;
		memcpy(out, pages + in, take);
		out += take;
		off += take;
		len -= take;
	}
	free(pages);
	return st;
}

/* ---- rows ---- */

enum st ese_get(struct ese_db *db, struct span key, struct ese_value *out, struct err *err)
{
	if (!db_is_up(db))
		return db_gone(db, err);
	return pdb_get(db->rows, key, &out->bytes, &out->hold, err);
}

void ese_value_free(struct ese_value *v)
{
	pdb_release(v->hold);
	*v = (struct ese_value){ 0 };
}

struct ese_iter {
	struct ese_db *db;
	struct pdb_iter *rows;
};

enum st ese_iter_new(struct ese_db *db, struct span from, struct span to, struct ese_iter **out,
		     struct err *err)
{
	struct ese_iter *it = calloc(1, sizeof(*it));
	enum st st;

	if (!it)
		return fail(err, ST_NOMEM, "list rows");
	it->db = db;
	st = db_enter(db, err);
	if (st == ST_OK) {
		st = pdb_iter_new(db->rows, from, to, &it->rows, err);
		if (st != ST_OK)
			db_leave(db);
	}
	if (st != ST_OK) {
		free(it);
		return st;
	}
	*out = it;
	return ST_OK;
}

enum st ese_iter_next(struct ese_iter *it, struct span *key, struct span *value, struct err *err)
{
	return pdb_iter_next(it->rows, key, value, err);
}

void ese_iter_free(struct ese_iter *it)
{
	if (!it)
		return;
	pdb_iter_free(it->rows);
	db_leave(it->db);
	free(it);
}

/* ---- pins ---- */

uint64_t ese_pin(struct ese_db *db)
{
	return db_enter(db, NULL) == ST_OK ? pins_take(db->pins) : 0;
}

void ese_unpin(struct ese_db *db, uint64_t pin)
{
	if (pin == 0)
		return;
	pins_drop(db->pins, pin);
	db_leave(db);
}

/* Its pages stay where the row says: a body that is moved or freed meanwhile leaves them to this pin. */
static enum st with_row(struct ese_db *db, uint64_t id,
			enum st (*fn)(struct ese_db *db, uint64_t id, const struct row_body *row,
				      void *arg, struct err *err),
			void *arg, struct err *err)
{
	uint64_t pin = db->pins ? ese_pin(db) : 0;
	struct row_body row;
	void *hold;
	enum st st = get_row(db, id, &row, &hold, err);

	if (st == ST_OK) {
		st = fn(db, id, &row, arg, err);
		pdb_release(hold);
	}
	if (db->pins)
		ese_unpin(db, pin);
	return st;
}

struct range {
	uint64_t offset;
	char *out;
	size_t len;
};

static enum st read_one(struct ese_db *db, uint64_t id, const struct row_body *row, void *arg,
			struct err *err)
{
	struct range *r = arg;

	if (r->offset > row->len || r->len > row->len - r->offset)
		return fail(err, ST_BAD, "body %llu has %llu bytes", (unsigned long long)id,
			    (unsigned long long)row->len);
	return read_range(db, id, row, r->offset, r->out, r->len, err);
}

enum st ese_body_read(struct ese_db *db, uint64_t id, uint64_t offset, void *out, size_t len,
		      struct err *err)
{
	struct range r = { offset, out, len };

	return with_row(db, id, read_one, &r, err);
}

/* ---- verifying what is handed out by its place ---- */

bool ese_body_verified(struct ese_db *db, const struct ese_scatter *s)
{
	bool all = true;

	for (uint32_t i = 0; all && i < s->nruns; i++)
		all = space_is_verified(db->space, s->runs[i].page, s->runs[i].pages);
	return all;
}

static void mark_verified(struct ese_db *db, const struct row_body *row)
{
	for (uint32_t i = 0; i < row->nruns; i++)
		space_verified(db->space, run_page(row->runs, i), run_pages(row->runs, i));
}

static enum st verify_one(struct ese_db *db, uint64_t id, const struct row_body *row, void *arg,
			  struct err *err)
{
	char *pages = malloc((size_t)READ_PAGES * ESE_PAGE);
	enum st st =
		pages ? ST_OK : fail(err, ST_NOMEM, "verify body %llu", (unsigned long long)id);

	(void)arg;
	for (uint32_t at = 0, n; st == ST_OK && at < row->npages; at += n)
		st = body_read_pages(db, id, row, at, row->npages - at, pages, &n, err);
	free(pages);
	if (st == ST_OK)
		mark_verified(db, row);
	return st;
}

static bool all_cached(struct ese_db *db, const struct row_body *row, char *pages)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < row->nruns; at += run_pages(row->runs, i++)) {
		uint64_t len = (uint64_t)run_pages(row->runs, i) * ESE_PAGE;

		if (len > row->len - (uint64_t)at * ESE_PAGE)
			len = row->len - (uint64_t)at * ESE_PAGE;
		if (!io_cached(db->read_fd, pages + (size_t)at * ESE_PAGE, (size_t)len,
			       (uint64_t)run_page(row->runs, i) * ESE_PAGE))
			return false;
	}
	return true;
}

/* What is not in memory is left to who may wait. */
static enum st verify_cached(struct ese_db *db, uint64_t id, const struct row_body *row, void *arg,
			     struct err *err)
{
	char *pages = row->npages <= READ_PAGES ? malloc((size_t)row->npages * ESE_PAGE + 1) : NULL;
	enum st st = ST_BUSY;

	(void)arg;
	if (pages && all_cached(db, row, pages))
		st = verify(db, id, row, 0, row->npages, pages, err);
	free(pages);
	if (st == ST_OK)
		mark_verified(db, row);
	return st;
}

enum st ese_body_verify_cached(struct ese_db *db, uint64_t id, struct err *err)
{
	return with_row(db, id, verify_cached, NULL, err);
}

enum st ese_body_verify(struct ese_db *db, uint64_t id, struct err *err)
{
	return with_row(db, id, verify_one, NULL, err);
}
