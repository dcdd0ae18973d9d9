/* backup_pages.c - the streaming file of a backup: the pages that the rows name, each compared with its CRC.
 *
 * Rows come in the order of body ids, which is about the order of pages: pages that follow each other are read and
 * written together.  Where an earlier run already wrote a page with the right CRC, nothing is read from the source. */
#include "ese/backup_run.h"

#include "base/crc32c.h"
#include "ese/io.h"
#include "ese/rec.h"
#include "ese/rows.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE       SEG_HEAD
#define WINDOW     (BK_CHUNK / PAGE)
#define KEY_BODY   0x03
/* The disk is kept at work while more is read. */
#define WRITE_BACK (8u * 1024 * 1024)

enum st bk_open_rows(const char *path, struct pdb **out, struct err *err)
{
	struct pdb_conf c = { .cache_bytes = 8 << 20, .buffer_bytes = 1 << 20, .files_max = 256 };

	return pdb_open_readonly(path, &c, out, err);
}

bool bk_page_ok(const struct bk_window *w, uint32_t i, const char *bytes)
{
	return crc32c(0, bytes + (size_t)i * PAGE, w->pages[i].len) == w->pages[i].crc;
}

/* ---- from rows to windows ---- */

struct walk {
	struct pdb *rows;
	struct bk_pages *w;
	struct bk_window window;
};

static enum st flush(struct walk *k, struct err *err)
{
	enum st st = ST_OK;

	if (k->window.n)
		st = k->w->window(k->w->arg, &k->window, err);
	k->window.n = 0;
	return st;
}

static enum st take_page(struct walk *k, uint32_t page, const struct bk_page *p, struct err *err)
{
	enum st st = ST_OK;

	if (k->window.n == WINDOW || (k->window.n && page != k->window.first + k->window.n))
		st = flush(k, err);
	if (k->window.n == 0)
		k->window.first = page;
	k->window.pages[k->window.n++] = *p;
	k->w->pages++;
	return st;
}

/* The CRCs of a large body, row by row. */
struct crcs {
	struct span at;
	void *hold;
	uint32_t chunk;
};

static enum st crc_of(struct walk *k, uint64_t id, const struct row_body *b, struct crcs *c,
		      uint32_t i, uint32_t *out, struct err *err)
{
	struct row_key key;
	enum st st;

	if (b->ncrcs) {
		*out = le32_get(b->crcs.at + (size_t)i * 4);
		return ST_OK;
	}
	if (!c->hold || c->chunk != i / CRC_ROW) {
		pdb_release(c->hold);
		c->hold = NULL;
		c->chunk = i / CRC_ROW;
		key = row_key_crc(id, c->chunk);
		st = pdb_get(k->rows, row_key_span(&key), &c->at, &c->hold, err);
		if (st != ST_OK)
			return st;
	}
	if (c->at.len < (size_t)(i % CRC_ROW + 1) * 4)
		return ST_NOTFOUND;
	*out = le32_get(c->at.at + (size_t)(i % CRC_ROW) * 4);
	return ST_OK;
}

static enum st take_body(struct walk *k, uint64_t id, const struct row_body *b, struct err *err)
{
	struct crcs c = { 0 };
	enum st st = ST_OK;
	uint32_t i = 0;

	for (uint32_t r = 0; st == ST_OK && r < b->nruns; r++)
		for (uint32_t n = 0; st == ST_OK && n < run_pages(b->runs, r); n++, i++) {
			uint64_t left = b->len - (uint64_t)i * PAGE;
			struct bk_page p = { .body = id,
					     .len = left < PAGE ? (uint32_t)left : PAGE };

			st = crc_of(k, id, b, &c, i, &p.crc, err);
			if (st == ST_OK)
				st = take_page(k, run_page(b->runs, r) + n, &p, err);
		}
	pdb_release(c.hold);
	if (st == ST_NOTFOUND)
		st = k->w->found(k->w->arg, id, "a row with the checksums of its pages is missing",
				 err);
	return st;
}

enum st bk_pages_walk(struct pdb *rows, struct bk_pages *w, struct err *err)
{
	struct walk *k = calloc(1, sizeof(*k));
	struct pdb_iter *it;
	struct span key, v;
	enum st st;

	if (!k)
		return fail(err, ST_NOMEM, "backup of pages");
	k->rows = rows;
	k->w = w;
	st = pdb_iter_new(rows, SPAN_NONE, SPAN_NONE, &it, err);
	if (st != ST_OK) {
		free(k);
		return st;
	}
	while (st == ST_OK && (st = pdb_iter_next(it, &key, &v, err)) == ST_OK) {
		struct row_body b;
		uint64_t id;

		if (key.at[0] != KEY_BODY || !row_key_id(key, &id))
			continue;
		w->bodies++;
		if (row_body_get(v, &b) != ST_OK)
			st = w->found(w->arg, id, "its row is damaged", err);
		else
			st = take_body(k, id, &b, err);
	}
	pdb_iter_free(it);
	if (st == ST_EOF)
		st = flush(k, err);
	free(k);
	return st;
}

enum st bk_pages_count(struct pdb *rows, uint64_t *out, struct err *err)
{
	struct row_key from = row_key_space(0);
	struct pdb_iter *it;
	struct span key, v;
	uint64_t n = 0;
	enum st st = pdb_iter_new(rows, row_key_span(&from), SPAN("\x03"), &it, err);

	if (st != ST_OK)
		return st;
	while ((st = pdb_iter_next(it, &key, &v, err)) == ST_OK)
		for (size_t i = 0; i < v.len; i++)
			n += (unsigned)__builtin_popcount((unsigned char)v.at[i]);
	pdb_iter_free(it);
	*out = n;
	return st == ST_EOF ? ST_OK : st;
}

/* ---- copying ---- */

struct stream {
	struct bk_run *r;
	const struct bk_stream *f;
	int from, to;
	bool again; /* the file was there: some pages may be right */
	size_t unsynced;
};

/* Once, since its pages come one behind the other. */
static bool remember(struct stream *c, uint64_t body)
{
	struct bk_run *r = c->r;
	struct bk_damaged *more;

	if (!c->f->group || (r->ndamaged && r->damaged[r->ndamaged - 1].body == body &&
			     r->damaged[r->ndamaged - 1].db == c->f->db))
		return true;
	more = realloc(r->damaged, (r->ndamaged + 1) * sizeof(*more));
	if (!more)
		return false;
	r->damaged = more;
	more[r->ndamaged++] = (struct bk_damaged){ c->f->group, c->f->db, body };
	return true;
}

static enum st note_body(void *arg, uint64_t body, const char *text, struct err *err)
{
	struct stream *c = arg;
	struct buf words = BUF_MAX(4096);
	enum st st;

	buf_printf(&words, "%s: body %" PRIu64, c->f->label, body);
	buf_printf(&words, ": %s", text);
	buf_char(&words, '\0');
	st = words.failed || !remember(c, body) ? fail(err, ST_NOMEM, "a finding")
						: bk_note(c->r, words.at, err);
	buf_free(&words);
	return st;
}

/* Are all pages of the window at the other end as they should be? */
static bool there(struct stream *c, const struct bk_window *w, uint64_t off, size_t len)
{
	size_t got;

	if (!c->again || io_read(c->to, c->r->other, len, off, &got, c->f->label, NULL) != ST_OK ||
	    got < len)
		return false;
	for (uint32_t i = 0; i < w->n; i++)
		if (!bk_page_ok(w, i, c->r->other))
			return false;
	return true;
}

static enum st check_window(struct stream *c, const struct bk_window *w, struct err *err)
{
	enum st st = ST_OK;

	for (uint32_t i = 0; st == ST_OK && i < w->n; i++) {
		char text[96];

		if (bk_page_ok(w, i, c->r->chunk))
			continue;
		snprintf(text, sizeof(text), "page %u is not what was written", w->first + i);
		st = note_body(c, w->pages[i].body, text, err);
	}
	return st;
}

/* A read that fails is damage too: what can be read page by page is copied. */
static enum st read_pages(struct stream *c, uint64_t off, size_t len)
{
	size_t got;

	memset(c->r->chunk, 0, len);
	if (io_read(c->from, c->r->chunk, len, off, &got, c->f->label, NULL) == ST_OK)
		return ST_OK;
	for (size_t at = 0; at < len; at += PAGE)
		io_read(c->from, c->r->chunk + at, PAGE, off + at, &got, c->f->label, NULL);
	return ST_OK;
}

static enum st copy_window(void *arg, const struct bk_window *w, struct err *err)
{
	struct stream *c = arg;
	uint64_t off = (uint64_t)w->first * PAGE;
	size_t len = (size_t)w->n * PAGE;
	enum st st;

	if (off + len > c->f->bytes)
		return note_body(c, w->pages[0].body,
				 "its row names pages behind the end of the file", err);
	c->r->p.pages += w->n;
	if (there(c, w, off, len)) {
		c->r->p.kept += len;
		return bk_step(c->r, c->f->label, len, err);
	}
	st = read_pages(c, off, len);
	if (st == ST_OK)
		st = check_window(c, w, err);
	if (st == ST_OK && c->to >= 0)
		st = io_write(c->to, c->r->chunk, len, off, c->f->label, err);
	c->r->p.copied += st == ST_OK ? len : 0;
	c->unsynced += len;
	if (c->to >= 0 && c->unsynced >= WRITE_BACK) {
		io_start_sync(c->to);
		c->unsynced = 0;
	}
	return st == ST_OK ? bk_step(c->r, c->f->label, len, err) : st;
}

/* The rows can't say which pages matter: all of them, unverified. */
static enum st copy_all(struct stream *c, struct err *err)
{
	enum st st = ST_OK;

	for (uint64_t off = 0; st == ST_OK && off < c->f->bytes; off += BK_CHUNK) {
		uint64_t left = c->f->bytes - off;
		size_t len = left < BK_CHUNK ? (size_t)left : BK_CHUNK;

		st = read_pages(c, off, len);
		if (st == ST_OK && c->to >= 0)
			st = io_write(c->to, c->r->chunk, len, off, c->f->label, err);
		c->r->p.copied += len;
		if (st == ST_OK)
			st = bk_step(c->r, c->f->label, len, err);
	}
	return st;
}

static enum st copy_pages(struct stream *c, uint64_t *pages_out, uint64_t *bodies_out,
			  struct err *err)
{
	struct bk_pages w = { .window = copy_window, .found = note_body, .arg = c };
	struct err why = { 0 };
	struct pdb *rows;
	char text[512];
	enum st st = bk_open_rows(c->f->rows, &rows, &why);

	if (st == ST_OK) {
		st = bk_pages_walk(rows, &w, &why);
		pdb_close(rows);
	}
	*pages_out = w.pages;
	*bodies_out = w.bodies;
	if (st != ST_CORRUPT && st != ST_OK && err)
		*err = why;
	if (st != ST_CORRUPT)
		return st;
	snprintf(text, sizeof(text), "%s: rows are damaged, so pages can't be verified: %.200s",
		 c->f->label, why.text);
	st = bk_note(c->r, text, err);
	return st == ST_OK ? copy_all(c, err) : st;
}

static enum st open_target(struct stream *c, struct err *err)
{
	struct stat info;
	enum st st;

	if (!c->f->to)
		return ST_OK;
	st = io_open(c->f->to, O_RDWR | O_CREAT, &c->to, err);
	if (st != ST_OK)
		return st;
	if (fstat(c->to, &info) < 0)
		return fail_errno(err, "%s", c->f->to);
	c->again = info.st_size > 0;
	return io_truncate(c->to, c->f->bytes, c->f->to, err);
}

enum st bk_copy_stream(struct bk_run *r, const struct bk_stream *f, uint64_t *pages_out,
		       uint64_t *bodies_out, struct err *err)
{
	struct stream c = { .r = r, .f = f, .to = -1 };
	enum st st = io_open(f->from, O_RDONLY, &c.from, err);

	if (st != ST_OK)
		return st;
	st = open_target(&c, err);
	if (st == ST_OK)
		st = copy_pages(&c, pages_out, bodies_out, err);
	if (st == ST_OK && c.to >= 0)
		st = io_sync(c.to, f->to, err);
	if (c.to >= 0)
		close(c.to);
	close(c.from);
	return st;
}
