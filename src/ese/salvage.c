/* salvage.c - which files and rows of a damaged database count; see salvage.h. */
#include "ese/salvage_int.h"

#include "base/crc32c.h"
#include "ese/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1024u * 1024)

static const struct pdb_conf conf = { .cache_bytes = 16u << 20,
				      .buffer_bytes = 16u << 20,
				      .files_max = 256 };

static void tell(struct salvage *s, enum finding_kind kind, const char *text)
{
	struct finding f = { .kind = kind, .database = s->src.name };

	finding_tell(s->src.found, s->src.arg, &f, "database %s: %.280s", s->src.name, text);
}

/* ---- a copy of RocksDB's files ---- */

struct copying {
	const char *from, *to;
	char *chunk;
};

static enum st copy_bytes(int in, int out, char *chunk, const char *name)
{
	struct err why = { 0 };

	for (uint64_t off = 0;;) {
		size_t got = 0;

		/* What can't be read is cut off there: RocksDB will say so. */
		if (io_read(in, chunk, CHUNK, off, &got, name, &why) != ST_OK || got == 0)
			return ST_OK;
		if (io_write(out, chunk, got, off, name, &why) != ST_OK)
			return ST_IO;
		off += got;
	}
}

static enum st copy_file(void *arg, const char *entry, struct err *err)
{
	struct copying *c = arg;
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX];
	struct stat info;
	int in, out;
	enum st st;

	if (snprintf(from, sizeof(from), "%s/%s", c->from, entry) >= (int)sizeof(from) ||
	    snprintf(to, sizeof(to), "%s/%s", c->to, entry) >= (int)sizeof(to) ||
	    stat(from, &info) < 0 || !S_ISREG(info.st_mode))
		return ST_OK;
	if (io_open(from, O_RDONLY, &in, err) != ST_OK)
		return ST_OK;
	st = io_open(to, O_WRONLY | O_CREAT | O_TRUNC, &out, err);
	if (st == ST_OK) {
		st = copy_bytes(in, out, c->chunk, to);
		if (st != ST_OK)
			st = fail(err, st, "%s can't be written", to);
		close(out);
	}
	close(in);
	return st;
}

static enum st copy_folder(const char *from, const char *to, struct err *err)
{
	struct copying c = { from, to, malloc(CHUNK) };
	enum st st = c.chunk ? io_mkdir(to, err) : fail(err, ST_NOMEM, "copy %s", from);

	if (st == ST_OK)
		st = io_list(from, copy_file, &c, err);
	free(c.chunk);
	return st;
}

/* ---- opening the rows ---- */

/* As they are; else a copy with a new MANIFEST (one that is cut off where it is damaged may be very old).  ST_CORRUPT: nothing
 * helped. */
static enum st open_rows(struct salvage *s, struct ese_db **out, struct err *err)
{
	struct err why = { 0 };
	struct pdb *p;
	enum st st = look_open(s->src.name, s->src.edb, NULL, out, &why);

	if (st == ST_OK || st == ST_NOTFOUND || st == ST_NOMEM) {
		snprintf(s->rows, sizeof(s->rows), "%s", s->src.edb);
		if (st != ST_OK) {
			tell(s, FOUND_DB_MISSING, why.text);
			*err = why;
		}
		return st;
	}
	tell(s, FOUND_DB_UNREADABLE, why.text);
	snprintf(s->rows, sizeof(s->rows), "%s/rows", s->src.scratch);
	st = copy_folder(s->src.edb, s->rows, err);
	if (st != ST_OK)
		return st;
	st = pdb_repair(s->rows, &why);
	if (st == ST_OK)
		st = pdb_open(s->rows, false, &conf, &p, &why);
	if (st != ST_OK) {
		tell(s, FOUND_DB_UNREADABLE, why.text);
		return ST_CORRUPT;
	}
	pdb_close(p);
	return look_open(s->src.name, s->rows, NULL, out, err);
}

/* ---- reading all rows into a new database ---- */

static enum st add_gap(struct gaps *g, const struct look_rows *rows, struct err *err)
{
	struct gap *more = realloc(g->at, (g->n + 1) * sizeof(*g->at));
	struct span last, next;

	if (!more)
		return fail(err, ST_NOMEM, "salvage rows");
	g->at = more;
	look_rows_gap(rows, &last, &next);
	more[g->n] = (struct gap){ BUF_MAX(ESE_KEY_MAX + 64), BUF_MAX(ESE_KEY_MAX + 64) };
	buf_span(&more[g->n].last, last);
	buf_span(&more[g->n].next, next);
	g->n++;
	return ST_OK;
}

static void gaps_free(struct gaps *g)
{
	for (size_t i = 0; i < g->n; i++) {
		buf_free(&g->at[i].last);
		buf_free(&g->at[i].next);
	}
	free(g->at);
}

/* Every row that can be read, to `to` (NULL: only look), and where there are gaps. */
static enum st read_rows(struct salvage *s, struct ese_db *db, struct pdb *to, struct gaps *gaps,
			 struct err *err)
{
	struct pdb_batch *b = pdb_batch_new();
	struct span key, value;
	struct look_rows *rows;
	struct err why = { 0 };
	uint64_t n = 0;
	enum st st = b ? look_rows_new(db, SPAN_NONE, SPAN_NONE, &rows, err)
		       : fail(err, ST_NOMEM, "salvage rows");

	if (st != ST_OK) {
		pdb_batch_free(b);
		return st;
	}
	while ((st = look_rows_next(rows, &key, &value, &why)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT) {
			st = add_gap(gaps, rows, err);
			if (!to)
				tell(s, FOUND_ROWS_UNREADABLE, why.text);
		} else if (to) {
			pdb_put(b, key, value);
			st = pdb_write(to, b, err);
		} else {
			st = ST_OK;
		}
		if (st != ST_OK)
			break;
		if (++n % 1000 == 0 && s->src.progress)
			s->src.progress(s->src.arg, "rows", n);
	}
	look_rows_free(rows);
	pdb_batch_free(b);
	if (st == ST_IO && err && !err->text[0])
		*err = why;
	return st == ST_EOF ? ST_OK : st;
}

static enum st copy_rows(struct salvage *s, struct ese_db *db, struct pdb *to, struct gaps *gaps,
			 struct err *err)
{
	gaps_free(gaps);
	*gaps = (struct gaps){ 0 };
	return read_rows(s, db, to, gaps, err);
}

/* Rows and log put together in a database of their own. */
static enum st build(struct salvage *s, struct ese_db *db, struct gaps *gaps, struct err *err)
{
	char path[SEG_PATH_MAX + 16];
	struct pdb *p;
	enum st st;

	snprintf(path, sizeof(path), "%s/new", s->src.scratch);
	st = pdb_open(path, true, &conf, &p, err);
	if (st != ST_OK)
		return st;
	if (db)
		st = copy_rows(s, db, p, gaps, err);
	if (st == ST_OK)
		st = salvage_log(s, p, gaps, err);
	if (st == ST_OK)
		st = pdb_flush(p, err);
	pdb_close(p);
	snprintf(s->rows, sizeof(s->rows), "%s/new", s->src.scratch);
	return st;
}

/* ---- opening ---- */

static void read_head(struct salvage *s, struct ese_db *db)
{
	struct look_head h;
	struct err why = { 0 };

	if (look_head(db, &h, &why) != ST_OK) {
		tell(s, FOUND_DB_HEADER, why.text);
		return;
	}
	s->known = true;
	s->id = h.id;
	s->number = (uint32_t)h.id;
	s->applied = h.applied;
}

static enum st open_pages(struct salvage *s, struct err *err)
{
	char path[SEG_PATH_MAX + 16];

	if (access(s->src.stm, F_OK) < 0)
		tell(s, FOUND_DB_MISSING, "its streaming file is not there");
	else if (io_open(s->src.stm, O_RDONLY, &s->stm, err) != ST_OK)
		return ST_IO;
	snprintf(path, sizeof(path), "%s/pages", s->src.scratch);
	return io_open(path, O_RDWR | O_CREAT | O_TRUNC, &s->pages, err);
}

static enum st put_together(struct salvage *s, struct err *err)
{
	struct gaps gaps = { 0 };
	struct ese_db *db = NULL;
	enum st st = open_rows(s, &db, err);

	if (st == ST_NOTFOUND || st == ST_CORRUPT)
		st = ST_OK;
	if (st == ST_OK && db) {
		read_head(s, db);
		st = read_rows(s, db, NULL, &gaps, err);
	}
	/* The log is always looked at: it may hold the bytes of damaged pages too.  Without rows all of it is applied. */
	if (st == ST_OK)
		st = build(s, db, &gaps, err);
	look_close(db);
	gaps_free(&gaps);
	return st == ST_OK ? look_open(s->src.name, s->rows, NULL, &s->db, err) : st;
}

enum st salvage_open(const struct salvage_source *src, struct salvage **out, struct err *err)
{
	struct salvage *s = calloc(1, sizeof(*s));
	enum st st;

	if (!s)
		return fail(err, ST_NOMEM, "salvage %s", src->name);
	s->src = *src;
	s->stm = s->pages = -1;
	st = io_mkdir(src->scratch, err);
	if (st == ST_OK)
		st = open_pages(s, err);
	if (st == ST_OK)
		st = put_together(s, err);
	if (st == ST_OK)
		*out = s;
	else
		salvage_close(s);
	return st;
}

void salvage_close(struct salvage *s)
{
	/* RocksDB puts what it makes nothing of into "lost". */
	static const char *const folders[] = { "rows/lost", "rows", "old", "new" };
	char path[SEG_PATH_MAX];

	if (!s)
		return;
	look_close(s->db);
	if (s->stm >= 0)
		close(s->stm);
	if (s->pages >= 0)
		close(s->pages);
	snprintf(path, sizeof(path), "%s/pages", s->src.scratch);
	(void)io_unlink(path, NULL);
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", s->src.scratch, folders[i]);
		if (access(path, F_OK) == 0)
			(void)db_remove_folder(path, NULL);
	}
	(void)db_remove_folder(s->src.scratch, NULL);
	free(s->have);
	free(s);
}

struct ese_db *salvage_db(struct salvage *s)
{
	return s->db;
}

uint64_t salvage_id(const struct salvage *s)
{
	return s->id;
}

/* ---- bodies ---- */

enum st salvage_body_open(struct salvage *s, uint64_t id, struct salvage_body *out, struct err *err)
{
	*out = (struct salvage_body){ .id = id };
	return ese_body_find(s->db, id, true, &out->where, err);
}

void salvage_body_close(struct salvage_body *b)
{
	ese_scatter_free(&b->where);
}

static uint64_t place_of(const struct ese_scatter *w, uint32_t n)
{
	uint32_t i = 0;

	while (n >= w->runs[i].pages)
		n -= w->runs[i++].pages;
	return (uint64_t)w->runs[i].page + n;
}

/* Bytes that are not there are zeros. */
static void read_page(int fd, uint64_t page, char *out, size_t len)
{
	size_t got = 0;

	if (fd < 0 || io_read(fd, out, len, page * ESE_PAGE, &got, "", NULL) != ST_OK)
		got = 0;
	memset(out + got, 0, len - got);
}

enum st salvage_body_page(struct salvage *s, struct salvage_body *b, uint32_t n, char out[ESE_PAGE],
			  size_t *len)
{
	uint64_t from = (uint64_t)n * ESE_PAGE, page = place_of(&b->where, n);
	char other[ESE_PAGE];

	*len = b->where.len - from < ESE_PAGE ? (size_t)(b->where.len - from) : ESE_PAGE;
	read_page(s->stm, page, out, *len);
	if (crc32c(0, out, *len) == b->where.page_crc[n])
		return ST_OK;
	if (page / 8 < s->nhave && (s->have[page / 8] >> page % 8 & 1)) {
		read_page(s->pages, page, other, *len);
		if (crc32c(0, other, *len) == b->where.page_crc[n]) {
			memcpy(out, other, *len);
			return ST_OK;
		}
	}
	b->damaged++;
	return ST_CORRUPT;
}
