/* log_walk.c - see log_walk.h.  The rules are those of docs/formats.md, "Reading a log". */
#include "ese/log_walk.h"

#include "ese/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One file in memory. */
struct file {
	struct seg_head head;
	char *bytes;
	size_t len; /* that are there */
	char name[32];
};

struct walk {
	struct log_walk *w;
	struct file cur;        /* bytes NULL: none yet */
	bool have, ended, hole; /* about cur: it ended with END; its end is a hole already told */
	uint32_t off;           /* in cur: behind its last whole group */
	uint64_t number;        /* of the last group; 0: none */
	bool torn;              /* a GROUP record stands at off, but the group is not whole */
	uint32_t left_out;      /* generation behind cur's: that file was told and left out */
};

static void tell(struct walk *k, enum finding_kind kind, uint64_t pos, const char *text)
{
	struct finding f = { .kind = kind, .position = pos };

	finding_tell(k->w->found, k->w->arg, &f, "%s", text);
}

/* A hole: acknowledged mail may have been in it. */
static void lost(struct walk *k, enum finding_kind kind, uint64_t pos, const char *text)
{
	if (!k->w->lost_from)
		k->w->lost_from = pos;
	tell(k, kind, pos, text);
}

/* ---- a file ---- */

/* ST_OK: read, its header is right; ST_CORRUPT: told, leave it out. */
static enum st load(struct walk *k, uint32_t gen, struct file *f, struct err *err)
{
	struct err why = { 0 };
	char path[SEG_PATH_MAX];
	struct stat info;
	enum st st;
	int fd;

	*f = (struct file){ 0 };
	snprintf(f->name, sizeof(f->name), "E00%08X.log", gen);
	seg_path(path, k->w->dir, gen);
	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	if (fstat(fd, &info) < 0)
		st = fail_errno(err, "%s", path);
	else if (info.st_size > SEG_SIZE_MAX)
		st = fail(err, ST_TOOBIG, "%s is larger than a log file can be", path);
	f->bytes = st == ST_OK ? calloc(1, (size_t)info.st_size + SEG_HEAD) : NULL;
	if (st == ST_OK && !f->bytes)
		st = fail(err, ST_NOMEM, "%s", path);
	if (st == ST_OK)
		st = io_read(fd, f->bytes, (size_t)info.st_size, 0, &f->len, path, err);
	close(fd);
	if (st == ST_OK)
		st = seg_head_get(f->bytes, &f->head, f->name, &why);
	if (st == ST_CORRUPT)
		lost(k, FOUND_LOG_HEADER, pos_of(gen, 0), why.text);
	if (st == ST_BAD && err)
		*err = why;
	if (st != ST_OK) {
		free(f->bytes);
		f->bytes = NULL;
	}
	return st;
}

static bool belongs(struct walk *k, const struct file *f, uint32_t gen)
{
	char text[200];

	if (memcmp(f->head.signature, k->w->signature, LOG_SIGNATURE) != 0)
		snprintf(text, sizeof(text), "log file %s belongs to another group", f->name);
	else if (f->head.gen != gen)
		snprintf(text, sizeof(text),
			 "log file %s is generation %u under another's name (E00%08X.log)", f->name,
			 f->head.gen, f->head.gen);
	else
		return true;
	lost(k, FOUND_LOG_FOREIGN, pos_of(gen, 0), text);
	return false;
}

/* ---- groups ---- */

/* The next whole group from page `from` on; its offset, or 0. */
static uint32_t find_group(const struct scan *s, uint32_t from, uint64_t after, struct log_group *g)
{
	for (; from < s->bytes.len; from += LOG_PAGE)
		if (scan_group(s, from, g) == ST_OK && g->head.number > after)
			return from;
	return 0;
}

static uint32_t torn_end(const struct walk *k, const struct scan *s)
{
	struct rec_group torn;
	struct rec r;

	if (k->off < s->bytes.len &&
	    rec_get(span_skip(s->bytes, k->off), pos_of(s->gen, k->off), s->mark, &r) == ST_OK &&
	    r.kind == REC_GROUP && rec_group_get(r.payload, &torn) == ST_OK &&
	    torn.bytes <= s->bytes.len - k->off)
		return k->off + torn.bytes;
	return 0;
}

/* Groups of cur up to `end` (0: the file's).  The rest of the file is told by whoever knows what comes next. */
static enum st take_groups(struct walk *k, uint32_t end, struct err *err)
{
	size_t len = end && end < k->cur.len ? end : k->cur.len;
	struct scan s = { span_of(k->cur.bytes, len & ~(size_t)(LOG_PAGE - 1)), k->cur.head.gen,
			  le32_get(k->cur.head.signature) };
	struct log_group g;
	char text[200];
	enum st st;

	if (k->off == SEG_HEAD && k->cur.head.prev_end != 0)
		k->number =
			0; /* a recovery that met no group does not know the number of the last one */
	while (k->off < s.bytes.len && !k->ended) {
		bool next = scan_group(&s, k->off, &g) == ST_OK &&
			    (!k->number || g.head.number > k->number);

		if (!next) {
			uint32_t torn = torn_end(k, &s);
			uint32_t at =
				find_group(&s, torn ? torn : k->off + LOG_PAGE, k->number, &g);

			k->torn = torn != 0;
			if (!at)
				return ST_OK;
			snprintf(text, sizeof(text),
				 "log file %s: damaged at offset %u, %u bytes are lost",
				 k->cur.name, k->off, at - k->off);
			lost(k, FOUND_LOG_DAMAGED, pos_of(s.gen, k->off), text);
			k->off = at;
		}
		g.format = k->cur.head.format;
		st = k->w->group(k->w->arg, &g, err);
		if (st != ST_OK)
			return st;
		k->w->groups++;
		k->number = g.head.number;
		k->off += g.head.bytes;
		k->ended = g.ends_file;
		k->w->end = pos_of(s.gen, k->off);
	}
	return ST_OK;
}

/* Does the file hold any group? */
static bool used(const struct file *f)
{
	struct scan s = { span_of(f->bytes, f->len & ~(size_t)(LOG_PAGE - 1)), f->head.gen,
			  le32_get(f->head.signature) };
	struct log_group g;

	return find_group(&s, SEG_HEAD, 0, &g) != 0;
}

/* ---- the chain ---- */

/* cur is over, `next` follows or is the next that there is (NULL: none): was its end the right one? */
static void judge_end(struct walk *k, const struct file *next)
{
	bool right_after = next && next->head.gen == k->cur.head.gen + 1;
	uint32_t prev_end = right_after ? next->head.prev_end : 0;
	uint64_t pos = pos_of(k->cur.head.gen, k->off);
	char text[200];

	if (k->cur.len < k->cur.head.size) {
		snprintf(text, sizeof(text), "log file %s: cut off at %zu of %u bytes", k->cur.name,
			 k->cur.len, k->cur.head.size);
		lost(k, FOUND_LOG_DAMAGED, pos, text);
	} else if (prev_end ? k->off != prev_end : !k->ended && right_after && used(next)) {
		snprintf(text, sizeof(text), "log file %s: damaged at offset %u, the rest is lost",
			 k->cur.name, k->off);
		lost(k, FOUND_LOG_DAMAGED, pos, text);
	} else if (!prev_end && !k->ended && k->torn) {
		snprintf(text, sizeof(text), "log file %s ends in a torn group at offset %u",
			 k->cur.name, k->off);
		tell(k, FOUND_LOG_TORN, pos, text);
	}
	if (!right_after && k->left_out != k->cur.head.gen + 1 &&
	    (next ? k->ended || used(next) : k->ended && !k->w->unfinished)) {
		snprintf(text, sizeof(text), "log file E00%08X.log is missing in %s",
			 k->cur.head.gen + 1, k->w->dir);
		lost(k, FOUND_LOG_MISSING, pos_of(k->cur.head.gen + 1, 0), text);
	}
}

static bool follows(struct walk *k, const struct file *next)
{
	char text[200];

	if (next->head.gen != k->cur.head.gen + 1 || next->head.prev_created == k->cur.head.created)
		return true;
	snprintf(text, sizeof(text), "log file %s does not follow %s: one of them is an older one",
		 next->name, k->cur.name);
	lost(k, FOUND_LOG_FOREIGN, pos_of(next->head.gen, 0), text);
	return false;
}

/* What the file behind says of this one decides how far this one counts. */
static enum st finish(struct walk *k, const struct file *next, struct err *err)
{
	uint32_t end = next && next->head.gen == k->cur.head.gen + 1 ? next->head.prev_end : 0;
	enum st st;

	if (!k->cur.bytes)
		return ST_OK;
	st = take_groups(k, end, err);
	if (st == ST_OK)
		judge_end(k, next);
	k->w->files++;
	k->w->bytes += k->cur.len;
	if (k->w->progress)
		k->w->progress(k->w->arg, k->w->bytes);
	free(k->cur.bytes);
	k->cur.bytes = NULL;
	return st;
}

static void begin(struct walk *k, const struct file *f)
{
	k->cur = *f;
	k->off = SEG_HEAD;
	k->ended = k->torn = false;
	if (!k->w->first)
		k->w->first = pos_of(f->head.gen, SEG_HEAD);
}

static void leave_out(struct walk *k, uint32_t gen)
{
	if (k->cur.bytes && gen == k->cur.head.gen + 1)
		k->left_out = gen;
}

static enum st take_file(struct walk *k, uint32_t gen, struct err *err)
{
	struct file f;
	enum st st = load(k, gen, &f, err);

	if (st == ST_CORRUPT)
		leave_out(k, gen);
	if (st != ST_OK)
		return st == ST_CORRUPT ? ST_OK : st;
	if (!k->have) {
		memcpy(k->w->seen_signature, f.head.signature, LOG_SIGNATURE);
		if (!k->w->signature)
			k->w->signature = k->w->seen_signature;
		k->have = true;
	}
	if (!belongs(k, &f, gen)) {
		leave_out(k, gen);
		free(f.bytes);
		return ST_OK;
	}
	if (k->cur.bytes && !follows(k, &f)) {
		/* Its groups are this group's all the same: whole, in order, and newer. */
		st = finish(k, NULL, err);
	} else {
		st = finish(k, &f, err);
	}
	if (st == ST_OK)
		begin(k, &f);
	else
		free(f.bytes);
	return st;
}

enum st log_walk(struct log_walk *w, struct err *err)
{
	struct walk k = { .w = w };
	struct seg_list list = { 0 };
	char text[200];
	enum st st = seg_list(w->dir, &list, err);

	w->files = w->groups = w->bytes = w->first = w->end = w->lost_from = 0;
	if (st == ST_OK && w->from && (!list.ngens || list.gens[0] > w->from)) {
		snprintf(text, sizeof(text), "log file E00%08X.log is missing in %s", w->from,
			 w->dir);
		lost(&k, FOUND_LOG_MISSING, pos_of(w->from, 0), text);
	}
	for (uint32_t i = 0; st == ST_OK && i < list.ngens; i++)
		st = take_file(&k, list.gens[i], err);
	if (st == ST_OK)
		st = finish(&k, NULL, err);
	free(k.cur.bytes);
	seg_list_free(&list);
	return st;
}
