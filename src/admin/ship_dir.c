/* ship_dir.c - a folder as the target of `mailroot ese ship`; see ship.h, and docs/formats.md, "Folder form".
 *
 * Nobody answers there: what stands in the folder is what counts, and it is durable when its sync returned. */
#include "admin/ship.h"

#include "ese/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A log's place in the folder. */
struct place {
	char dir[4096];
	struct seg_head head;
	int fd; /* of the open file; -1: none */
	uint32_t written;
	bool dirty;
};

static void part_path(char out[SEG_PATH_MAX], const struct place *p, uint32_t gen, bool closed)
{
	snprintf(out, SEG_PATH_MAX, "%.4000s/E00%08X.%s", p->dir, gen, closed ? "log" : "part");
}

/* ---- what stands there ---- */

struct found {
	uint32_t closed, open; /* the newest generations; 0: none */
};

static enum st look_at(void *arg, const char *entry, struct err *err)
{
	struct found *f = arg;
	unsigned gen;
	char kind[8];
	int end = 0;

	(void)err;
	if (sscanf(entry, "E00%8X.%4[a-z]%n", &gen, kind, &end) != 2 || entry[end] != '\0')
		return ST_OK;
	if (!strcmp(kind, "log") && gen > f->closed)
		f->closed = gen;
	if (!strcmp(kind, "part") && gen > f->open)
		f->open = gen;
	return ST_OK;
}

/* Up to where whole groups stand in a file; the header goes to *h. */
static enum st whole_groups(const char *path, struct seg_head *h, uint32_t *end, struct err *err)
{
	struct log_group g;
	struct stat info;
	struct scan scan;
	char *bytes = NULL;
	size_t got = 0;
	enum st st;
	int fd;

	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	if (fstat(fd, &info) == 0 && info.st_size <= (off_t)SEG_SIZE_MAX)
		bytes = malloc((size_t)info.st_size + 1);
	st = bytes ? io_read(fd, bytes, (size_t)info.st_size, 0, &got, path, err)
		   : fail(err, ST_NOMEM, "no memory for %s", path);
	close(fd);
	if (st == ST_OK && got < SEG_HEAD)
		st = fail(err, ST_CORRUPT, "%s is cut off", path);
	if (st == ST_OK)
		st = seg_head_get(bytes, h, path, err);
	if (st == ST_OK) {
		scan = (struct scan){ span_of(bytes, got), h->gen, le32_get(h->signature) };
		*end = SEG_HEAD;
		while (*end < got && scan_group(&scan, *end, &g) == ST_OK)
			*end += g.head.bytes;
	}
	free(bytes);
	return st;
}

/* The open file is gone on with from its last whole group; one that has not even a header is begun again. */
static enum st stand_in_open(struct ship_log *log, struct place *p, uint32_t gen, struct err *err)
{
	char path[SEG_PATH_MAX];
	uint32_t end;
	enum st st;

	part_path(path, p, gen, false);
	st = whole_groups(path, &p->head, &end, err);
	if (st == ST_CORRUPT) {
		log->stand = pos_of(gen, 0);
		return io_unlink(path, err);
	}
	if (st == ST_OK)
		st = io_open(path, O_RDWR, &p->fd, err);
	if (st == ST_OK)
		st = io_truncate(p->fd, end, path, err);
	if (st != ST_OK)
		return st;
	p->written = end;
	log->stand = pos_of(gen, end);
	log->created = p->head.created;
	return ST_OK;
}

static enum st stand_behind_closed(struct ship_log *log, struct place *p, uint32_t gen,
				   struct err *err)
{
	char path[SEG_PATH_MAX];
	uint32_t end;
	enum st st;

	part_path(path, p, gen, true);
	st = whole_groups(path, &p->head, &end, err);
	log->stand = pos_of(gen + 1, 0);
	return st;
}

static enum st other_group(const struct place *p, struct err *err)
{
	return fail(err, ST_BAD,
		    "the log files in %s are those of another group: name an empty folder", p->dir);
}

static enum st stand(struct ship *s, struct ship_log *log, struct err *err)
{
	struct place *p = log->target = calloc(1, sizeof *p);
	struct found f = { 0 };
	enum st st;

	if (!p)
		return fail(err, ST_NOMEM, "out of memory");
	p->fd = -1;
	snprintf(p->dir, sizeof p->dir, "%.3900s/groups/%s", s->to, log->name);
	st = io_mkdir(p->dir, err);
	if (st == ST_OK)
		st = io_list(p->dir, look_at, &f, err);
	if (st != ST_OK)
		return st;
	log->known = true;
	log->created = 0;
	if (f.open > f.closed)
		st = stand_in_open(log, p, f.open, err);
	else if (f.closed)
		st = stand_behind_closed(log, p, f.closed, err);
	else
		log->stand = pos_of(log->oldest, 0);
	if (st == ST_OK && p->head.gen &&
	    memcmp(p->head.signature, log->signature, LOG_SIGNATURE)) {
		s->final = true;
		return other_group(p, err);
	}
	log->acked = log->applied = log->stand;
	return st;
}

static enum st dir_open(struct ship *s, struct err *err)
{
	char groups[4200];
	enum st st;

	snprintf(groups, sizeof groups, "%.4000s/groups", s->to);
	st = io_mkdir(s->to, err);
	if (st == ST_OK)
		st = io_mkdir(groups, err);
	for (unsigned i = 0; st == ST_OK && i < s->nlogs; i++)
		st = stand(s, s->logs[i], err);
	return st;
}

/* ---- writing ---- */

static enum st sync_place(struct place *p, struct err *err)
{
	enum st st = ST_OK;

	if (p->dirty)
		st = io_sync(p->fd, p->dir, err);
	p->dirty = st != ST_OK;
	return st;
}

static enum st close_file(struct place *p, struct err *err)
{
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX];
	enum st st;

	if (p->fd < 0)
		return ST_OK;
	st = sync_place(p, err);
	close(p->fd);
	p->fd = -1;
	part_path(from, p, p->head.gen, false);
	part_path(to, p, p->head.gen, true);
	if (st == ST_OK)
		st = io_rename(from, to, err);
	return st == ST_OK ? io_sync_dir(p->dir, err) : st;
}

static enum st begin_file(struct place *p, const struct seg_head *h, struct err *err)
{
	char path[SEG_PATH_MAX], page[SEG_HEAD];
	enum st st = close_file(p, err);

	if (st != ST_OK)
		return st;
	part_path(path, p, h->gen, false);
	st = io_open(path, O_RDWR | O_CREAT | O_TRUNC, &p->fd, err);
	if (st != ST_OK)
		return st;
	seg_head_put(page, h);
	st = io_write(p->fd, page, sizeof page, 0, path, err);
	if (st == ST_OK)
		st = io_sync(p->fd, path, err);
	if (st == ST_OK)
		st = io_sync_dir(p->dir, err);
	p->head = *h;
	p->written = SEG_HEAD;
	return st;
}

static enum st dir_put(struct ship *s, struct ship_log *log, const struct log_step *step,
		       struct err *err)
{
	struct place *p = log->target;
	enum st st;

	(void)s;
	if (step->begins)
		return begin_file(p, &step->head, err);
	if (p->fd < 0 || step->group.off != p->written)
		return fail(err, ST_IO, "%s changed while it was written to", p->dir);
	st = io_write(p->fd, step->group.bytes.at, step->group.bytes.len, p->written, p->dir, err);
	p->written += step->group.head.bytes;
	p->dirty = true;
	return st;
}

struct syncing {
	struct ship *ship;
	struct err *err;
	enum st st;
};

static void sync_all(void *arg)
{
	struct syncing *y = arg;

	for (unsigned i = 0; y->st == ST_OK && i < y->ship->nlogs; i++)
		y->st = sync_place(y->ship->logs[i]->target, y->err);
}

static enum st dir_pump(struct ship *s, bool *moved, struct err *err)
{
	struct syncing y = { .ship = s, .err = err };

	work_run(sync_all, &y);
	for (unsigned i = 0; y.st == ST_OK && i < s->nlogs; i++) {
		struct ship_log *log = s->logs[i];

		if (log->tail && log->acked != log->sent) {
			ship_acknowledged(log, log->sent, log->sent);
			*moved = true;
		}
	}
	return y.st;
}

static bool dir_room(const struct ship *s)
{
	(void)s;
	return true;
}

static enum st dir_end(struct ship *s, struct err *err)
{
	(void)s;
	(void)err;
	return ST_OK;
}

static void dir_close(struct ship *s)
{
	for (unsigned i = 0; i < s->nlogs; i++) {
		struct place *p = s->logs[i]->target;

		if (p && p->fd >= 0)
			close(p->fd);
		free(p);
		s->logs[i]->target = NULL;
	}
}

const struct ship_target ship_dir = {
	.open = dir_open,
	.put = dir_put,
	.pump = dir_pump,
	.room = dir_room,
	.end = dir_end,
	.close = dir_close,
};
