/* dump_db.c - the pages of a database and its bodies; see dump.h. */
#include "ese/dump_int.h"
#include "ese/ese_int.h"

#include "base/crc32c.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <stdio.h>
#include <stdlib.h>

#define RUNS_TOLD 16u

/* ---- pages ---- */

struct free_run {
	uint64_t page, pages;
};
struct pages {
	uint64_t total, committed, behind; /* behind: committed, though the file ends before */
	uint64_t next;                     /* page that is looked at next */
	struct free_run run, largest[RUNS_TOLD];
	uint64_t runs;
};

static void end_run(struct pages *p)
{
	struct free_run r = p->run;

	if (r.pages == 0)
		return;
	p->runs++;
	for (unsigned i = 0; i < RUNS_TOLD; i++)
		if (r.pages > p->largest[i].pages) {
			struct free_run smaller = p->largest[i];

			p->largest[i] = r;
			r = smaller;
		}
	p->run = (struct free_run){ 0 };
}

static void free_pages(struct pages *p, uint64_t to)
{
	if (to > p->total)
		to = p->total;
	if (p->next >= to)
		return;
	if (p->run.pages == 0)
		p->run.page = p->next;
	p->run.pages += to - p->next;
	p->next = to;
}

static void take_chunk(struct pages *p, uint32_t chunk, const unsigned char *row)
{
	uint64_t first = (uint64_t)chunk * SPACE_CHUNK;

	for (uint32_t i = 0; i < SPACE_CHUNK; i++) {
		if (!(row[i / 8] >> (i % 8) & 1))
			continue;
		free_pages(p, first + i);
		end_run(p);
		p->next = first + i + 1;
		p->committed++;
		p->behind += first + i >= p->total;
	}
}

static enum st read_space(struct ese_db *db, struct pages *p, struct err *err)
{
	struct row_key from = row_key_space(0);
	struct look_rows *rows;
	struct span key, v;
	uint32_t chunk;
	enum st st = look_rows_new(db, row_key_span(&from), SPAN("\x03"), &rows, err);

	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &v, err)) == ST_OK) {
		if (!row_key_chunk(key, &chunk) || v.len != SPACE_ROW) {
			st = fail(err, ST_CORRUPT, "database %s: a space row is damaged", db->name);
			break;
		}
		take_chunk(p, chunk, (const unsigned char *)v.at);
	}
	look_rows_free(rows);
	return st == ST_EOF ? ST_OK : st;
}

enum st dump_space(const struct dump *d, struct ese_db *db, struct err *err)
{
	struct pages p = { .total = look_pages(db) };
	enum st st = read_space(db, &p, err);

	if (st != ST_OK)
		return st;
	free_pages(&p, p.total);
	end_run(&p);
	put_facts(d, "space");
	put_text(d, "database", db->name);
	put_num(d, "pages", p.total);
	put_num(d, "committed", p.committed);
	put_num(d, "free", p.total - (p.committed - p.behind));
	put_num(d, "free_runs", p.runs);
	put_num(d, "largest_free_run", p.largest[0].pages);
	put_num(d, "committed_behind_the_end", p.behind);
	put_table(d, "free_runs");
	for (unsigned i = 0; i < RUNS_TOLD && p.largest[i].pages; i++) {
		put_row(d);
		put_num(d, "page", p.largest[i].page);
		put_num(d, "pages", p.largest[i].pages);
	}
	return ST_OK;
}

/* ---- a body ---- */

static enum st get_refs(struct ese_db *db, uint64_t id, uint32_t *out, struct err *err)
{
	struct row_key key = row_key_body(id);
	struct row_body row;
	struct ese_value v;
	enum st st = ese_get(db, row_key_span(&key), &v, err);

	if (st == ST_NOTFOUND)
		return fail(err, st, "no body %llu in %s", (unsigned long long)id, db->name);
	if (st != ST_OK)
		return st;
	st = row_body_get(v.bytes, &row);
	ese_value_free(&v);
	if (st != ST_OK)
		return fail(err, st, "database %s: the row of body %llu is damaged", db->name,
			    (unsigned long long)id);
	*out = row.refs;
	return ST_OK;
}

/* Page n of the body is page `page` of the file. */
static uint32_t put_page(const struct dump *d, struct ese_db *db, const struct ese_scatter *s,
			 uint32_t n, uint64_t page)
{
	uint64_t from = (uint64_t)n * ESE_PAGE;
	size_t len = s->len - from < ESE_PAGE ? s->len - from : ESE_PAGE, got = 0;
	char bytes[ESE_PAGE], want[16], found[16] = "unread";
	struct err err = { 0 };
	bool ok = false;

	if (io_read(db->read_fd, bytes, len, page * ESE_PAGE, &got, db->name, &err) == ST_OK &&
	    got == len) {
		uint32_t crc = crc32c(0, bytes, len);

		snprintf(found, sizeof(found), "%08x", crc);
		ok = crc == s->page_crc[n];
	}
	snprintf(want, sizeof(want), "%08x", s->page_crc[n]);
	put_row(d);
	put_num(d, "page_of_body", n);
	put_num(d, "page", page);
	put_num(d, "bytes", len);
	put_text(d, "crc", want);
	put_text(d, "crc_found", found);
	put_bool(d, "ok", ok);
	return !ok;
}

static uint32_t put_pages(const struct dump *d, struct ese_db *db, const struct ese_scatter *s)
{
	uint32_t n = 0, damaged = 0;

	put_table(d, "pages");
	for (uint32_t i = 0; i < s->nruns; i++)
		for (uint32_t k = 0; k < s->runs[i].pages && n < s->npages; k++, n++)
			damaged += put_page(d, db, s, n, (uint64_t)s->runs[i].page + k);
	return damaged;
}

enum st dump_body(const struct dump *d, struct ese_db *db, uint64_t id, uint32_t *damaged_out,
		  struct err *err)
{
	struct ese_scatter s;
	uint32_t refs = 0;
	enum st st = get_refs(db, id, &refs, err);

	if (st == ST_OK)
		st = ese_body_find(db, id, true, &s, err);
	if (st != ST_OK)
		return st;
	put_facts(d, "body");
	put_text(d, "database", db->name);
	put_num(d, "body", id);
	put_num(d, "references", refs);
	put_num(d, "bytes", s.len);
	put_num(d, "pages", s.npages);
	put_num(d, "runs", s.nruns);
	put_table(d, "runs");
	for (uint32_t i = 0; i < s.nruns; i++) {
		put_row(d);
		put_num(d, "page", s.runs[i].page);
		put_num(d, "pages", s.runs[i].pages);
	}
	*damaged_out = put_pages(d, db, &s);
	ese_scatter_free(&s);
	return ST_OK;
}
