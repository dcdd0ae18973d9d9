/* standby_folder.c - log files in a folder; see standby_folder.h.
 *
 * A whole group that stands there counts: in a dead server's own files it may be one that nobody was told of, as in every
 * recovery.  What is no whole group yet is not there yet, unless a later file is: then it is damage. */
#include "admin/standby_folder.h"

#include "base/byteorder.h"
#include "base/clock.h"
#include "ese/io.h"
#include "ese/log_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_logs(const char *dir)
{
	struct seg_list list;
	bool has;

	if (seg_list(dir, &list, NULL) != ST_OK)
		return false;
	has = list.ngens > 0;
	seg_list_free(&list);
	return has;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum st standby_folder_of(const char *dir, const char *group, char out[4400], struct err *err)
{
	snprintf(out, 4400, "%.4000s/groups/%.64s", dir, group);
	if (is_folder(out))
		return ST_OK;
	snprintf(out, 4400, "%.4000s/%.64s", dir, group);
	if (is_folder(out))
		return ST_OK;
	snprintf(out, 4400, "%.4000s", dir);
	if (has_logs(dir))
		return ST_OK;
	return fail(err, ST_NOTFOUND, "%s holds no log files of group %s", dir, group);
}

/* The bytes of one log file, read whole. */
struct file {
	struct seg_head head;
	char *bytes;
	size_t len;
	bool growing; /* a .part */
};

static enum st read_all(int fd, struct file *f, const char *path, struct err *err)
{
	struct stat info;
	enum st st;

	if (fstat(fd, &info) < 0)
		return fail_errno(err, "look at %s", path);
	if (info.st_size < (off_t)SEG_HEAD || info.st_size > (off_t)SEG_SIZE_MAX)
		return fail(err, ST_CORRUPT, "%s has the size of no log file", path);
	f->bytes = malloc((size_t)info.st_size);
	if (!f->bytes)
		return fail(err, ST_NOMEM, "no memory for %s", path);
	st = io_read(fd, f->bytes, (size_t)info.st_size, 0, &f->len, path, err);
	return st == ST_OK ? seg_head_get(f->bytes, &f->head, path, err) : st;
}

/* ST_NOTFOUND: neither form is there. */
static enum st open_form(const char *dir, uint32_t gen, bool part, int *fd, char path[SEG_PATH_MAX],
			 struct err *err)
{
	struct err why = { 0 };
	enum st st;

	snprintf(path, SEG_PATH_MAX, "%.4000s/E00%08X.%s", dir, gen, part ? "part" : "log");
	st = io_open(path, O_RDONLY, fd, &why);
	if (st != ST_OK && why.sys == ENOENT)
		return fail(err, ST_NOTFOUND, "log file E00%08X.log is not in %s", gen, dir);
	if (st != ST_OK && err)
		*err = why;
	return st;
}

static enum st file_read(const char *dir, uint32_t gen, struct file *f, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st;
	int fd;

	*f = (struct file){ 0 };
	st = open_form(dir, gen, true, &fd, path, err);
	f->growing = st == ST_OK;
	if (st == ST_NOTFOUND)
		st = open_form(dir, gen, false, &fd, path, err);
	if (st != ST_OK)
		return st;
	st = read_all(fd, f, path, err);
	close(fd);
	/* One that was begun this moment may have no header yet. */
	if (st == ST_CORRUPT && f->growing)
		st = ST_NOTFOUND;
	if (st == ST_OK && f->head.gen != gen)
		st = fail(err, ST_CORRUPT, "%s: its header says generation %u", path, f->head.gen);
	if (st != ST_OK)
		free(f->bytes);
	return st;
}

/* *torn: behind the last whole group something stands that only damage can have cut off. */
static enum st take_groups(struct standby_group *g, const struct file *f, bool *more, bool *torn,
			   struct err *err)
{
	struct scan s = { span_of(f->bytes, f->len), f->head.gen, le32_get(f->head.signature) };
	struct ese_standby_info info;
	struct log_group group;
	uint32_t off;
	enum st st = ST_OK;

	ese_standby_look(g->ese, &info);
	off = pos_off(info.received);
	while (st == ST_OK && off < f->len && scan_group(&s, off, &group) == ST_OK) {
		st = ese_standby_take(g->ese, group.pos, group.bytes, err);
		off += group.head.bytes;
		g->pending = *more = true;
		if (group.ends_file)
			return st;
	}
	*torn = !f->growing && scan_later(&s, off + LOG_PAGE);
	return st;
}

static bool later_is_there(const char *dir, uint32_t gen)
{
	struct seg_list list;
	bool later;

	if (seg_list(dir, &list, NULL) != ST_OK)
		return false;
	later = list.ngens > 0 && list.gens[list.ngens - 1] > gen;
	seg_list_free(&list);
	return later;
}

/* The file in which the group stands.  ST_MORE: it is done with, the next may follow. */
static enum st take_file(struct standby_group *g, const char *dir, bool *more, bool *torn,
			 struct err *err)
{
	struct ese_standby_info before, info;
	struct file f;
	enum st st;

	ese_standby_look(g->ese, &before);
	st = file_read(dir, pos_gen(before.received), &f, err);
	if (st == ST_NOTFOUND)
		return later_is_there(dir, pos_gen(before.received)) ? st : ST_OK;
	if (st != ST_OK)
		return st;
	if (before.created == 0) {
		st = ese_standby_begin(g->ese, &f.head, err);
		*more = true;
		g->pending = true;
	} else if (f.head.created != before.created) {
		st = fail(
			err, ST_BAD,
			"log file E00%08X.log in %s is another one than that of the same number here",
			f.head.gen, dir);
	}
	if (st == ST_OK)
		st = take_groups(g, &f, more, torn, err);
	free(f.bytes);
	if (st == ST_OK)
		st = ese_standby_sync(g->ese, err);
	ese_standby_look(g->ese, &info);
	return st == ST_OK && pos_off(info.received) == 0 ? ST_MORE : st;
}

static enum st damaged(const struct ese_standby_info *info, const char *dir, struct err *err)
{
	return fail(err, ST_CORRUPT, "log file E00%08X.log in %s is damaged at offset %u",
		    pos_gen(info->received), dir, pos_off(info->received));
}

/* The open file is at its end for now; has the source gone over to the next one without an END? */
static enum st next_file(struct standby_group *g, const char *dir, struct err *err)
{
	struct ese_standby_info info;
	struct log_group first;
	struct file f;
	enum st st;

	ese_standby_look(g->ese, &info);
	st = file_read(dir, pos_gen(info.received) + 1, &f, err);
	if (st == ST_NOTFOUND)
		return ST_OK;
	if (st != ST_OK)
		return st;
	/* A server prepares files ahead: one that names no end is not begun, or this one has lost its last groups. */
	if (f.head.prev_end != 0) {
		st = ese_standby_begin(g->ese, &f.head, err);
		if (st == ST_OK)
			st = ST_MORE;
	} else if (!f.growing && scan_group(&(struct scan){ span_of(f.bytes, f.len), f.head.gen,
							    le32_get(f.head.signature) },
					    SEG_HEAD, &first) == ST_OK) {
		st = damaged(&info, dir, err);
	}
	free(f.bytes);
	return st;
}

enum st standby_folder_take(struct standby_group *g, const char *dir, bool *more, struct err *err)
{
	enum st st;

	do {
		struct ese_standby_info info;
		bool torn = false;

		st = take_file(g, dir, more, &torn, err);
		ese_standby_look(g->ese, &info);
		if (st == ST_OK && pos_off(info.received) != 0)
			st = next_file(g, dir, err);
		if (st == ST_OK && torn)
			st = damaged(&info, dir, err);
	} while (st == ST_MORE);
	return st;
}

enum st standby_folder_take_all(struct standby *s, const char *from, bool *more, struct err *err)
{
	enum st st = ST_OK;

	for (unsigned i = 0; st == ST_OK && i < s->ngroups; i++) {
		struct ese_standby_info info;
		char dir[4400];

		st = standby_folder_of(from, s->groups[i]->name, dir, err);
		if (st == ST_OK)
			st = standby_folder_take(s->groups[i], dir, more, err);
		ese_standby_look(s->groups[i]->ese, &info);
		s->groups[i]->source_pos = info.durable;
	}
	if (*more)
		s->heard_at = clock_real();
	return st;
}
