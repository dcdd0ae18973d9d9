/* fsdriver.c - the file-system driver, fibers' side: hands the work to the pool; see fsdriver.h. */
#include "transport/fsdriver.h"
#include "transport/fsfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One operation under way: on the stack of the fiber that waits for it. */
struct job {
	struct fsdriver *d;
	struct mailmsg *m;
	struct err *err;
	enum st st;
	struct dirsync_waiter waiter;
	/* read */
	uint64_t offset;
	void *out;
	size_t len, *got;
	/* badmail */
	const char *why;
};

static struct fsdriver *of(struct mailmsg *m)
{
	return (struct fsdriver *)(void *)m->driver;
}

/* ---- operations that end with a shared folder sync ---- */

static void finish(struct job *j, enum st st)
{
	if (st == ST_OK)
		dirsync_join(&j->d->sync, &j->waiter);
	else
		dirsync_finish(&j->waiter, st);
}

static void commit_thread(void *arg)
{
	struct job *j = arg;

	finish(j, fs_commit(j->d, j->m, j->err));
}

static void remove_thread(void *arg)
{
	struct job *j = arg;

	finish(j, fs_remove(j->d, j->m, j->err));
}

static void badmail_thread(void *arg)
{
	struct job *j = arg;

	finish(j, fs_badmail(j->d, j->m, j->why, j->err));
}

static enum st run_synced(struct job *j, void (*thread)(void *arg))
{
	dirsync_prepare(&j->waiter, j->err);
	work_submit(thread, j, NULL);
	return dirsync_wait(&j->waiter);
}

static enum st op_commit(struct mailmsg *m, struct err *err)
{
	struct job j = { .d = of(m), .m = m, .err = err };
	enum st st = run_synced(&j, commit_thread);

	if (st == ST_OK)
		atomic_fetch_add(&j.d->committed, 1);
	return st;
}

static enum st op_remove(struct mailmsg *m, struct err *err)
{
	struct job j = { .d = of(m), .m = m, .err = err };
	enum st st = run_synced(&j, remove_thread);

	if (st == ST_OK)
		atomic_fetch_add(&j.d->removed, 1);
	return st;
}

static enum st op_badmail(struct mailmsg *m, const char *why, struct err *err)
{
	struct job j = { .d = of(m), .m = m, .err = err, .why = why };
	enum st st = run_synced(&j, badmail_thread);

	if (st == ST_OK)
		atomic_fetch_add(&j.d->badmails, 1);
	return st;
}

/* ---- the others ---- */

static void write_thread(void *arg)
{
	struct job *j = arg;

	j->st = fs_write(j->d, j->m, j->err);
}

static void load_thread(void *arg)
{
	struct job *j = arg;

	j->st = fs_load(j->d, j->m, j->err);
}

static void put_live_thread(void *arg)
{
	struct job *j = arg;

	j->st = fs_put_live(j->d, j->m, j->err);
}

static void read_thread(void *arg)
{
	struct job *j = arg;

	j->st = j->m->fd < 0 ? fs_open(j->d, j->m, j->err) : ST_OK;
	if (j->st == ST_OK)
		j->st = fs_read(j->m, j->offset, j->out, j->len, j->got, j->err);
}

static enum st run(struct job *j, void (*thread)(void *arg))
{
	work_run(thread, j);
	return j->st;
}

static enum st op_write(struct mailmsg *m, struct err *err)
{
	return run(&(struct job){ .d = of(m), .m = m, .err = err }, write_thread);
}

static enum st op_load(struct mailmsg *m, struct err *err)
{
	return run(&(struct job){ .d = of(m), .m = m, .err = err }, load_thread);
}

static enum st op_put_live(struct mailmsg *m, struct err *err)
{
	return run(&(struct job){ .d = of(m), .m = m, .err = err }, put_live_thread);
}

static enum st op_read(struct mailmsg *m, uint64_t offset, void *out, size_t len, size_t *got,
		       struct err *err)
{
	struct job j = {
		.d = of(m), .m = m, .err = err, .offset = offset, .out = out, .len = len, .got = got
	};

	return run(&j, read_thread);
}

/* ---- giving up what was begun ---- */

struct discard {
	struct fsdriver *d;
	struct mailmsg_id id;
	bool renamed;
};

static void discard_thread(void *arg)
{
	struct discard *x = arg;
	struct fsdriver *d = x->d;

	fs_discard(d, x->id, x->renamed);
	free(x);
	dirsync_unuse(&d->sync);
}

/* In the background where there is a loop; without memory for that, here and now. */
static void op_discard(struct mailmsg *m)
{
	struct discard *x;

	if (!m->on_disk)
		return;
	x = loop_self() ? malloc(sizeof(*x)) : NULL;
	if (!x) {
		fs_discard(of(m), m->id, m->renamed);
		return;
	}
	*x = (struct discard){ of(m), m->id, m->renamed };
	dirsync_use(&x->d->sync);
	work_submit(discard_thread, x, NULL);
}

static const struct mailmsg_ops fs_ops = {
	.name = "fs",
	.write = op_write,
	.commit = op_commit,
	.discard = op_discard,
	.load = op_load,
	.put_live = op_put_live,
	.read = op_read,
	.remove = op_remove,
	.badmail = op_badmail,
};

/* ---- the driver itself ---- */

static int sync_folder(void *arg, int fd)
{
	struct fsdriver *d = arg;
	int failed = d->step ? d->step(d->step_arg, "folder-sync", "Queue") : 0;

	if (failed) {
		errno = failed;
		return -1;
	}
	return fsync(fd);
}

enum st fsdriver_open(const char *dir, struct mailmsg_driver **out, struct err *err)
{
	struct fsdriver *d = calloc(1, sizeof(*d));
	enum st st;

	if (!d)
		return fail(err, ST_NOMEM, "queue driver");
	d->head.ops = &fs_ops;
	d->dir = d->queue = d->badmail = -1;
	st = fs_prepare(d, dir, err);
	dirsync_init(&d->sync, d->queue, sync_folder, d);
	if (st != ST_OK) {
		fsdriver_close(&d->head);
		return st;
	}
	*out = &d->head;
	return ST_OK;
}

void fsdriver_close(struct mailmsg_driver *head)
{
	struct fsdriver *d = (struct fsdriver *)(void *)head;

	if (!d)
		return;
	dirsync_end(&d->sync);
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){ d->dir, d->queue, d->badmail }[i];

		if (fd >= 0)
			close(fd);
	}
	free(d->found);
	free(d);
}

/* ---- what was there when we began ---- */

#define SIZES_AT_ONCE 256
struct sizes {
	struct fsdriver *d;
	const struct mailmsg_id *ids;
	size_t n;
	int64_t size[SIZES_AT_ONCE]; /* -1: gone meanwhile */
};

static void sizes_thread(void *arg)
{
	struct sizes *s = arg;

	for (size_t i = 0; i < s->n; i++) {
		char name[FSNAME_MAX];
		struct stat at;

		fs_name(s->ids[i], ".eml", name);
		s->size[i] =
			fstatat(s->d->queue, name, &at, AT_SYMLINK_NOFOLLOW) == 0 ? at.st_size : -1;
	}
}

enum st fsdriver_enumerate(struct mailmsg_driver *head,
			   void (*found)(void *arg, struct mailmsg_id id, uint64_t size), void *arg,
			   struct err *err)
{
	struct fsdriver *d = (struct fsdriver *)(void *)head;
	struct sizes *s = malloc(sizeof(*s));

	if (!s)
		return fail(err, ST_NOMEM, "queue folder: enumerate");
	for (size_t at = 0; at < d->nfound; at += s->n) {
		size_t left = d->nfound - at;

		s->d = d;
		s->ids = d->found + at;
		s->n = left < SIZES_AT_ONCE ? left : SIZES_AT_ONCE;
		work_run(sizes_thread, s);
		for (size_t i = 0; i < s->n; i++)
			if (s->size[i] >= 0)
				found(arg, s->ids[i], (uint64_t)s->size[i]);
	}
	free(s);
	free(d->found);
	d->found = NULL;
	d->nfound = 0;
	return ST_OK;
}

void fsdriver_stats(const struct mailmsg_driver *head, struct fsdriver_stats *out)
{
	const struct fsdriver *d = (const struct fsdriver *)(const void *)head;

	*out = (struct fsdriver_stats){
		.committed = d->committed,
		.removed = d->removed,
		.file_syncs = d->file_syncs,
		.folder_syncs = d->sync.syncs,
		.side_files = d->side_files,
		.discarded = d->discarded,
		.badmail = d->badmails,
	};
}
