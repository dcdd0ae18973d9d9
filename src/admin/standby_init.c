/* standby_init.c - `mailroot standby init`: a home that follows begins with what a backup holds.
 *
 * The mark comes first, so that no server starts on what is half there; the groups are put in place beside and renamed;
 * they are opened once, which replays the backup's own logs and shows that they can be followed. */
#include "admin/cli.h"
#include "admin/progress.h"
#include "admin/standby_home.h"
#include "base/clock.h"
#include "base/timetext.h"
#include "ese/io.h"
#include "ese/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (1024u * 1024)
#define COPY_MAX   (1024u * 1024) /* a configuration, a certificate */

struct init {
	struct cli *cli;
	const char *backups, *full;
	struct progress progress;
	struct standby_mark mark;
};

static enum st make_folders(const char *home, struct err *err)
{
	static const struct {
		const char *name;
		mode_t mode;
	} rows[] = {
		{ "", 0711 },    { "run", 0711 }, { "Mailroot", 0711 },
		{ "tls", 0700 }, { "log", 0700 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char path[4300];

		snprintf(path, sizeof path, "%s/%s", home, rows[i].name);
		if (mkdir(path, rows[i].mode) < 0 && errno != EEXIST)
			return fail_errno(err, "make the folder %s", path);
	}
	return ST_OK;
}

/* A home that is in use, or was made to its end, is left alone; one that was begun is begun again. */
static enum st begin(struct init *in, struct err *err)
{
	const char *home = in->cli->home;
	char path[4300];
	struct standby_mark m;
	enum st st = standby_mark_read(home, &m, NULL);

	if (st == ST_OK && m.state != STANDBY_MAKING)
		return fail(err, ST_EXISTS, "%s is a standby already", home);
	snprintf(path, sizeof path, "%s/mailroot.conf", home);
	if (st != ST_OK && access(path, F_OK) == 0)
		return fail(err, ST_EXISTS, "%s is the home of a server; name a new folder", home);
	st = make_folders(home, err);
	in->mark =
		(struct standby_mark){ .state = STANDBY_MAKING, .since = (uint64_t)clock_real() };
	snprintf(in->mark.source, sizeof in->mark.source, "%.180s/%.64s", in->backups, in->full);
	if (st == ST_OK)
		st = standby_mark_write(home, &in->mark, err);
	snprintf(path, sizeof path, "%s/groups", home);
	return st == ST_OK ? restore_clear(path, err) : st;
}

/* ---- what is no group's ---- */

static enum st copy_small(const char *from, const char *to, struct err *err)
{
	char *bytes = malloc(COPY_MAX);
	struct stat info = { 0 };
	size_t got = 0;
	enum st st;
	int fd = -1;

	if (!bytes)
		return fail(err, ST_NOMEM, "copy %s", from);
	st = io_open(from, O_RDONLY, &fd, err);
	if (st == ST_OK) {
		fstat(fd, &info);
		st = io_read(fd, bytes, COPY_MAX, 0, &got, from, err);
		close(fd);
	}
	if (st == ST_OK)
		st = io_open(to, O_RDWR | O_CREAT | O_TRUNC, &fd, err);
	if (st == ST_OK) {
		if (fchmod(fd, info.st_mode & 0777) < 0)
			st = fail_errno(err, "change the mode of %s", to);
		if (st == ST_OK)
			st = io_write(fd, bytes, got, 0, to, err);
		if (st == ST_OK)
			st = io_sync(fd, to, err);
		close(fd);
	}
	free(bytes);
	return st;
}

struct copying {
	char from[4400], to[4400];
};

static enum st copy_entry(void *arg, const char *entry, struct err *err)
{
	const struct copying *c = arg;
	char from[5000], to[5000];

	snprintf(from, sizeof from, "%s/%.255s", c->from, entry);
	snprintf(to, sizeof to, "%s/%.255s", c->to, entry);
	return copy_small(from, to, err);
}

static enum st copy_rest(const struct init *in, struct err *err)
{
	struct copying c;
	enum st st;

	snprintf(c.from, sizeof c.from, "%.3900s/%.200s/mailroot.conf", in->backups, in->full);
	snprintf(c.to, sizeof c.to, "%s/mailroot.conf", in->cli->home);
	st = copy_small(c.from, c.to, err);
	snprintf(c.from, sizeof c.from, "%.3900s/%.200s/tls", in->backups, in->full);
	snprintf(c.to, sizeof c.to, "%s/tls", in->cli->home);
	if (st == ST_OK && access(c.from, F_OK) == 0)
		st = io_list(c.from, copy_entry, &c, err);
	return st == ST_OK ? io_sync_dir(in->cli->home, err) : st;
}

/* ---- the groups ---- */

static bool on_progress(void *arg, const struct bk_progress *p)
{
	struct init *in = arg;

	progress_bytes(&in->progress, "putting in place", p->done, p->total);
	return true;
}

static void on_found(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "mailroot: %s\n", text);
}

static enum st place_groups(struct init *in, struct err *err)
{
	char beside[4300], groups[4300];
	struct restore_options o = { .dir = in->backups,
				     .full = in->full,
				     .to = beside,
				     .standby = true,
				     .progress = on_progress,
				     .found = on_found,
				     .arg = in };
	struct restored r;
	enum st st;

	snprintf(beside, sizeof beside, "%s/groups.restoring", in->cli->home);
	snprintf(groups, sizeof groups, "%s/groups", in->cli->home);
	st = restore_clear(beside, err);
	if (st == ST_OK)
		st = restore_groups(&o, &r, err);
	if (st != ST_OK)
		return st;
	restored_free(&r);
	st = io_rename(beside, groups, err);
	return st == ST_OK ? io_sync_dir(in->cli->home, err) : st;
}

static enum st init(struct init *in, struct err *err)
{
	struct standby *s = NULL;
	struct bk_seq seq = { 0 };
	enum st st = bk_seq_read(in->backups, &seq, err);

	if (st == ST_OK)
		st = restore_choose(in->backups, &seq, 0, &in->full, err);
	if (st == ST_OK)
		st = begin(in, err);
	if (st == ST_OK)
		st = copy_rest(in, err);
	if (st == ST_OK)
		st = place_groups(in, err);
	in->mark.state = STANDBY_FOLLOWING;
	if (st == ST_OK)
		st = standby_mark_write(in->cli->home, &in->mark, err);
	if (st == ST_OK)
		st = standby_open(in->cli->home, false, &s, err);
	if (s)
		standby_status_write(s, true);
	if (st == ST_OK)
		st = standby_close(s, err);
	bk_seq_free(&seq);
	return st;
}

int cmd_standby_init(struct cli *c)
{
	struct init in = { .cli = c, .backups = c->args[0] };
	struct err err;
	enum st st;

	progress_begin(&in.progress, !c->json);
	st = init(&in, &err);
	progress_end(&in.progress);
	return st == ST_OK ? cmd_standby_status(c) : cli_fail(&err);
}
