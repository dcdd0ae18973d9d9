/* log_read.c - reading a log; see log_read.h. */
#include "ese/log_read.h"

#include "ese/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct log_reader {
	const char *dir;
	struct seg_list list;
	uint32_t index; /* of the current file in list.gens */
	struct seg_head head;
	char *bytes;
	size_t room;
	uint32_t off;
	uint64_t number, time, limit; /* limit 0: none */
	bool ended;                   /* the last group closed the file */
	bool unfinished;              /* that may be the end of the log */
	bool many;                    /* groups between two syncs */

	/* about the next file, once `peeked` */
	bool peeked, has_next, next_used;
	uint32_t prev_end;
};

/* ---- one file in memory ---- */

static enum st group_head(const struct scan *s, uint32_t off, struct rec_group *out)
{
	struct rec r;

	if (off >= s->bytes.len)
		return ST_CORRUPT;
	if (rec_get(span_skip(s->bytes, off), pos_of(s->gen, off), s->mark, &r) != ST_OK ||
	    r.kind != REC_GROUP)
		return ST_CORRUPT;
	return rec_group_get(r.payload, out);
}

enum st scan_group(const struct scan *s, uint32_t off, struct log_group *out)
{
	struct log_group g = { .off = off, .pos = pos_of(s->gen, off), .mark = s->mark };
	uint32_t next;
	size_t at = 0;

	if (group_head(s, off, &g.head) != ST_OK || g.head.bytes > s->bytes.len - off)
		return ST_CORRUPT;
	g.bytes = span_cut(span_skip(s->bytes, off), g.head.bytes);
	for (uint32_t i = 0; i < g.head.records; i++) {
		struct rec r;

		if (rec_get(span_skip(g.bytes, at), g.pos + at, s->mark, &r) != ST_OK ||
		    (r.kind == REC_GROUP) != (i == 0) || g.ends_file)
			return ST_CORRUPT;
		g.ends_file = r.kind == REC_END;
		if (g.ends_file && (rec_end_get(r.payload, &next) != ST_OK || next != s->gen + 1))
			return ST_CORRUPT;
		at += rec_size(r.payload.len);
	}
	*out = g;
	return ST_OK;
}

bool scan_later(const struct scan *s, uint32_t off)
{
	struct rec_group g;

	for (; off < s->bytes.len; off += LOG_PAGE)
		if (group_head(s, off, &g) == ST_OK)
			return true;
	return false;
}

void log_group_open(const struct log_group *g, struct log_cursor *out)
{
	*out = (struct log_cursor){ .g = g,
				    .at = (uint32_t)rec_size(REC_GROUP_PAYLOAD),
				    .left = g->head.records - 1 };
}

enum st log_group_next(struct log_cursor *c, struct rec *out)
{
	enum st st;

	if (c->left == 0)
		return ST_EOF;
	st = rec_get(span_skip(c->g->bytes, c->at), c->g->pos + c->at, c->g->mark, out);
	if (st != ST_OK)
		return st;
	c->at += (uint32_t)rec_size(out->payload.len);
	c->left--;
	return out->kind == REC_END ? ST_EOF : ST_OK;
}

/* ---- files ---- */

static enum st read_head(const char *dir, uint32_t gen, char *bytes, size_t len,
			 struct seg_head *out, struct err *err)
{
	char path[SEG_PATH_MAX], name[32];
	size_t got;
	enum st st;
	int fd;

	seg_path(path, dir, gen);
	snprintf(name, sizeof(name), "E00%08X.log", gen);
	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, bytes, len, 0, &got, name, err);
	close(fd);
	if (st == ST_OK && got < len)
		st = fail(err, ST_CORRUPT, "log file %s: cut off at %zu bytes", name, got);
	if (st == ST_OK)
		st = seg_head_get(bytes, out, name, err);
	if (st == ST_OK && out->gen != gen)
		st = fail(err, ST_CORRUPT, "log file %s: its header says generation %u", name,
			  out->gen);
	return st;
}

/* Read the whole file of list.gens[index]. */
static enum st load(struct log_reader *r, uint32_t index, struct err *err)
{
	uint32_t gen = r->list.gens[index];
	char page[SEG_HEAD];
	struct seg_head h;
	enum st st = read_head(r->dir, gen, page, sizeof(page), &h, err);

	if (st != ST_OK)
		return st;
	if (h.size > r->room) {
		free(r->bytes);
		r->bytes = malloc(h.size);
		r->room = r->bytes ? h.size : 0;
		if (!r->bytes)
			return fail(err, ST_NOMEM, "log file %08X", gen);
	}
	st = read_head(r->dir, gen, r->bytes, h.size, &h, err);
	if (st != ST_OK)
		return st;
	r->index = index;
	r->head = h;
	r->off = SEG_HEAD;
	r->ended = r->peeked = false;
	return ST_OK;
}

enum st log_read_open(const char *dir, uint32_t from, const unsigned char *signature,
		      struct log_reader **out, struct err *err)
{
	struct log_reader *r = calloc(1, sizeof(*r));
	uint32_t i = 0;
	enum st st;

	if (!r)
		return fail(err, ST_NOMEM, "log reader");
	r->dir = dir;
	st = seg_list(dir, &r->list, err);
	if (st == ST_OK && r->list.ngens == 0)
		st = fail(err, ST_NOTFOUND, "%s: no log file", dir);
	if (st == ST_OK) {
		while (from && i < r->list.ngens && r->list.gens[i] != from)
			i++;
		if (i == r->list.ngens)
			st = fail(err, ST_CORRUPT, "log file E00%08X.log is missing in %s", from,
				  dir);
		else
			st = load(r, i, err);
	}
	if (st == ST_OK && signature && memcmp(signature, r->head.signature, LOG_SIGNATURE) != 0)
		st = fail(err, ST_CORRUPT, "log file E00%08X.log belongs to another group",
			  r->head.gen);
	if (st != ST_OK) {
		log_read_close(r);
		return st;
	}
	*out = r;
	return ST_OK;
}

void log_read_close(struct log_reader *r)
{
	if (!r)
		return;
	seg_list_free(&r->list);
	free(r->bytes);
	free(r);
}

void log_read_limit(struct log_reader *r, uint64_t pos)
{
	r->limit = pos;
}

const unsigned char *log_read_signature(const struct log_reader *r)
{
	return r->head.signature;
}

static enum st damaged(const struct log_reader *r, struct err *err)
{
	return fail(err, ST_CORRUPT, "log file E00%08X.log: damaged at offset %u", r->head.gen,
		    r->off);
}

static enum st missing(const struct log_reader *r, struct err *err)
{
	return fail(err, ST_CORRUPT, "log file E00%08X.log is missing in %s", r->head.gen + 1,
		    r->dir);
}

/* What the file behind the current one says about it, looked up once per file.  One that comes after a
 * gap was prepared and never used, unless its first group says otherwise. */
static enum st peek_next(struct log_reader *r, struct err *err)
{
	uint32_t i = r->index + 1, gen;
	char bytes[2 * SEG_HEAD];
	struct seg_head h;
	enum st st;

	if (r->peeked)
		return ST_OK;
	r->peeked = true;
	r->has_next = r->next_used = false;
	r->prev_end = 0;
	if (i >= r->list.ngens)
		return ST_OK;
	gen = r->list.gens[i];
	st = read_head(r->dir, gen, bytes, sizeof(bytes), &h, err);
	if (st != ST_OK)
		return st;
	r->has_next = gen == r->head.gen + 1;
	if (memcmp(h.signature, r->head.signature, LOG_SIGNATURE) != 0 ||
	    (r->has_next && h.prev_created != r->head.created))
		return fail(err, ST_CORRUPT, "log file E00%08X.log does not follow E00%08X.log",
			    gen, r->head.gen);
	if (r->has_next)
		r->prev_end = h.prev_end;
	r->next_used = scan_later(
		&(struct scan){ span_of(bytes, sizeof(bytes)), gen, le32_get(h.signature) },
		SEG_HEAD);
	return ST_OK;
}

/* No valid group here: the torn end of the log, or damage? */
static enum st end_or_damage(struct log_reader *r, const struct scan *s, struct err *err)
{
	struct rec_group torn;
	uint32_t later = r->off + LOG_PAGE;

	if (group_head(s, r->off, &torn) == ST_OK && torn.bytes <= s->bytes.len - r->off)
		later = r->off + torn.bytes;
	if (r->prev_end || r->next_used || (!r->many && scan_later(s, later)))
		return damaged(r, err);
	return ST_EOF;
}

static enum st next_here(struct log_reader *r, struct log_group *out, struct err *err)
{
	struct scan s = { span_of(r->bytes, r->head.size), r->head.gen,
			  le32_get(r->head.signature) };
	/* A recovery that met no group does not know the number of the last one. */
	bool anew = r->off == SEG_HEAD && r->head.prev_end != 0;

	if (scan_group(&s, r->off, out) != ST_OK ||
	    (r->number != 0 && !anew && out->head.number != r->number + 1))
		return end_or_damage(r, &s, err);
	r->off += out->head.bytes;
	r->number = out->head.number;
	r->time = out->head.time;
	r->ended = out->ends_file;
	out->format = r->head.format;
	return ST_OK;
}

enum st log_read_group(struct log_reader *r, struct log_group *out, struct err *err)
{
	for (;;) {
		enum st st;

		if (r->limit && pos_of(r->head.gen, r->off) >= r->limit)
			return ST_EOF;
		st = peek_next(r, err);
		if (st != ST_OK)
			return st;
		if (r->ended && !r->has_next)
			return r->unfinished ? ST_EOF : missing(r, err);
		if (r->ended ? r->prev_end != 0 : r->prev_end != 0 && r->off > r->prev_end)
			return damaged(r, err);
		if (!r->ended && (r->prev_end == 0 || r->off != r->prev_end))
			return next_here(r, out, err);
		st = load(r, r->index + 1, err);
		if (st != ST_OK)
			return st;
	}
}

void log_read_unfinished(struct log_reader *r, bool many)
{
	r->unfinished = true;
	r->many = many;
}

void log_read_end(const struct log_reader *r, struct log_end *out)
{
	*out = (struct log_end){
		r->head.gen, r->off, r->head.created, r->number, r->time, r->ended
	};
}

enum st log_sync_all(const char *dir, uint32_t from, struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(dir, &list, err);

	if (st != ST_OK)
		return st;
	for (uint32_t i = 0; st == ST_OK && i < list.ngens; i++) {
		char path[SEG_PATH_MAX];
		int fd;

		if (list.gens[i] < from)
			continue;
		seg_path(path, dir, list.gens[i]);
		st = io_open(path, O_RDWR, &fd, err);
		if (st != ST_OK)
			break;
		st = io_sync(fd, path, err);
		close(fd);
	}
	seg_list_free(&list);
	return st == ST_OK ? io_sync_dir(dir, err) : st;
}
