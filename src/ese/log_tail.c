/* log_tail.c - following a log; see log_tail.h.
 *
 * The file's bytes are read once, each up to what was durable at that time; a file is left when its
 * last group says so (END), or when the file behind it does (`previous end`). */
#include "ese/log_tail.h"

#include "ese/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct log_tail {
	char dir[SEG_PATH_MAX];
	struct seg_head head;
	int fd;
	char *bytes;
	size_t room;
	uint32_t have, off; /* read so far; handed out so far */
	uint64_t number;    /* of the last group; 0: none seen */
	bool announced;     /* the file's header was handed out */
	bool ended;         /* its last group closed it */
};

/* Open a log file and read its header; *fd_out is untouched on failure. */
static enum st open_file(const char *dir, uint32_t gen, int *fd_out, struct seg_head *out,
			 struct err *err)
{
	char path[SEG_PATH_MAX], name[32], page[SEG_HEAD];
	struct err why = { 0 };
	size_t got = 0;
	enum st st;
	int fd;

	seg_path(path, dir, gen);
	snprintf(name, sizeof(name), "E00%08X.log", gen);
	st = io_open(path, O_RDONLY, &fd, &why);
	if (st != ST_OK) {
		if (why.sys == ENOENT)
			return fail(err, ST_NOTFOUND, "log file %s is not in %s", name, dir);
		if (err)
			*err = why;
		return st;
	}
	st = io_read(fd, page, sizeof(page), 0, &got, name, err);
	if (st == ST_OK && got < sizeof(page))
		st = fail(err, ST_CORRUPT, "log file %s: cut off at %zu bytes", name, got);
	if (st == ST_OK)
		st = seg_head_get(page, out, name, err);
	if (st == ST_OK && out->gen != gen)
		st = fail(err, ST_CORRUPT, "log file %s: its header says generation %u", name,
			  out->gen);
	if (st == ST_OK)
		*fd_out = fd;
	else
		close(fd);
	return st;
}

enum st log_head_read(const char *dir, uint32_t gen, struct seg_head *out, struct err *err)
{
	int fd;
	enum st st = open_file(dir, gen, &fd, out, err);

	if (st == ST_OK)
		close(fd);
	return st;
}

/* Make the file of `fd` the current one; takes fd over. */
static enum st take_file(struct log_tail *t, int fd, const struct seg_head *h, struct err *err)
{
	if (h->size > t->room) {
		char *more = malloc(h->size);

		if (!more) {
			close(fd);
			return fail(err, ST_NOMEM, "log file %08X", h->gen);
		}
		free(t->bytes);
		t->bytes = more;
		t->room = h->size;
	}
	if (t->fd >= 0)
		close(t->fd);
	t->fd = fd;
	t->head = *h;
	t->off = t->have = SEG_HEAD;
	t->announced = t->ended = false;
	return ST_OK;
}

enum st log_tail_open(const char *dir, uint64_t from, uint64_t created, struct log_tail **out,
		      struct err *err)
{
	struct log_tail *t = calloc(1, sizeof(*t));
	struct seg_head h;
	enum st st;
	int fd;

	if (!t)
		return fail(err, ST_NOMEM, "follow a log");
	t->fd = -1;
	snprintf(t->dir, sizeof(t->dir), "%s", dir);
	st = open_file(dir, pos_gen(from), &fd, &h, err);
	if (st == ST_OK)
		st = take_file(t, fd, &h, err);
	if (st == ST_OK && created != 0 && h.created != created)
		st = fail(err, ST_BAD,
			  "log file E00%08X.log is another one than that of the same number there",
			  h.gen);
	if (st == ST_OK && pos_off(from) != 0) {
		if (pos_off(from) < SEG_HEAD || pos_off(from) > h.size ||
		    pos_off(from) % LOG_PAGE != 0)
			st = fail(err, ST_BAD, "log position %016llx can't be",
				  (unsigned long long)from);
		t->off = t->have = pos_off(from);
		t->announced = true;
	}
	if (st != ST_OK) {
		log_tail_close(t);
		return st;
	}
	*out = t;
	return ST_OK;
}

void log_tail_close(struct log_tail *t)
{
	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	free(t->bytes);
	free(t);
}

const unsigned char *log_tail_signature(const struct log_tail *t)
{
	return t->head.signature;
}

uint64_t log_tail_position(const struct log_tail *t)
{
	return pos_of(t->head.gen, t->announced ? t->off : 0);
}

static enum st diverged(const struct log_tail *t, struct err *err)
{
	return fail(err, ST_BAD, "the log in %s ends before %016llx or went another way from there",
		    t->dir, (unsigned long long)log_tail_position(t));
}

static enum st damaged(const struct log_tail *t, struct err *err)
{
	return fail(err, ST_CORRUPT, "log file E00%08X.log: damaged at offset %u", t->head.gen,
		    t->off);
}

/* Read what became durable of this file since. */
static enum st read_on(struct log_tail *t, uint32_t limit, struct err *err)
{
	char name[32];
	size_t got;
	enum st st;

	if (limit > t->head.size)
		limit = t->head.size;
	if (t->have >= limit)
		return ST_OK;
	snprintf(name, sizeof(name), "E00%08X.log", t->head.gen);
	st = io_read(t->fd, t->bytes + t->have, limit - t->have, t->have, &got, name, err);
	if (st == ST_OK && got < limit - t->have)
		st = fail(err, ST_CORRUPT, "log file %s: cut off at %zu bytes", name,
			  t->have + got);
	if (st == ST_OK)
		t->have = limit;
	return st;
}

/* The durable position lies in a later file: is this one at its end?  ST_OK: no; ST_EOF: yes, and the next
 * one is the current one now. */
static enum st leave_file(struct log_tail *t, struct err *err)
{
	struct seg_head h;
	enum st st;
	int fd;

	st = open_file(t->dir, t->head.gen + 1, &fd, &h, err);
	if (st != ST_OK)
		return st;
	if (memcmp(h.signature, t->head.signature, LOG_SIGNATURE) != 0 ||
	    h.prev_created != t->head.created)
		st = fail(err, ST_CORRUPT, "log file E00%08X.log does not follow E00%08X.log",
			  h.gen, t->head.gen);
	else if (t->ended && h.prev_end != 0)
		st = damaged(t, err);
	else if (h.prev_end != 0 && t->off > h.prev_end)
		st = diverged(t, err);
	if (st != ST_OK || (!t->ended && t->off != h.prev_end)) {
		close(fd);
		return st;
	}
	st = take_file(t, fd, &h, err);
	return st == ST_OK ? ST_EOF : st;
}

static enum st next_group(struct log_tail *t, uint64_t durable, struct log_step *out,
			  struct err *err)
{
	bool open = pos_gen(durable) == t->head.gen;
	bool anew = t->off == SEG_HEAD && t->head.prev_end != 0; /* as in log_read.c */
	struct scan s = { .gen = t->head.gen, .mark = le32_get(t->head.signature) };
	struct log_group g;
	enum st st = read_on(t, open ? pos_off(durable) : UINT32_MAX, err);

	if (st != ST_OK)
		return st;
	s.bytes = span_of(t->bytes, t->have);
	if (scan_group(&s, t->off, &g) != ST_OK ||
	    (t->number != 0 && !anew && g.head.number != t->number + 1))
		return damaged(t, err);
	t->off += g.head.bytes;
	t->number = g.head.number;
	t->ended = g.ends_file;
	g.format = t->head.format;
	*out = (struct log_step){ .group = g };
	return ST_OK;
}

enum st log_tail_next(struct log_tail *t, uint64_t durable, struct log_step *out, struct err *err)
{
	enum st st = ST_OK;

	if (pos_of(t->head.gen, t->announced ? t->off : 0) > durable)
		return diverged(t, err);
	if (t->announced && pos_gen(durable) > t->head.gen)
		st = leave_file(t, err);
	if (st != ST_OK && st != ST_EOF)
		return st;
	if (!t->announced) {
		t->announced = true;
		*out = (struct log_step){ .begins = true, .head = t->head };
		return ST_OK;
	}
	if (pos_of(t->head.gen, t->off) == durable)
		return ST_EOF;
	if (t->ended)
		return damaged(t, err);
	return next_group(t, durable, out, err);
}
