/* restore_home.c - a home that gets its groups from a backup; see restore_home.h. */
#include "admin/restore_home.h"

#include "admin/copytree.h"
#include "ese/io.h"
#include "ese/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4400

/* ---- claiming ---- */

static enum st lock(const char *home, const char *name, int *fd, struct err *err)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof path, "%s/run/%s", home, name);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return fail_errno(err, "open %s", path);
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return ST_OK;
	close(*fd);
	*fd = -1;
	return fail(
		err, ST_BUSY,
		"a server runs on %s: stop it, or restore to another folder (nothing was changed)",
		home);
}

/* Empty folders are what init leaves; anything else is somebody's. */
static enum st no_groups_entry(void *arg, const char *entry, struct err *err)
{
	char path[PATH_ROOM];
	struct stat info;

	if (snprintf(path, sizeof path, "%s/%s", (const char *)arg, entry) >= (int)sizeof path)
		return fail(err, ST_TOOBIG, "%s: path too long", entry);
	if (stat(path, &info) == 0 && S_ISDIR(info.st_mode) && info.st_nlink <= 2) {
		struct dirent **names;
		int n = scandir(path, &names, NULL, NULL);

		for (int i = 0; i < n; i++)
			free(names[i]);
		if (n >= 0)
			free(names);
		if (n == 2)
			return ST_OK;
	}
	return fail(
		err, ST_EXISTS,
		"%s is there already: nothing is overwritten; restore to another folder, or put it "
		"aside first",
		path);
}

enum st home_claim(const char *home, int *lock_fd, struct err *err)
{
	char path[PATH_ROOM];
	enum st st = ST_OK;
	int fd = -1;

	if (mkdir(home, 0711) < 0 && errno != EEXIST)
		return fail_errno(err, "make the folder %s", home);
	snprintf(path, sizeof path, "%s/run", home);
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return fail_errno(err, "make the folder %s", path);
	st = lock(home, "mailrootd.lock", &fd, err);
	if (st != ST_OK)
		return st;
	close(fd); /* its store holds the one that counts */
	st = lock(home, "store.lock", lock_fd, err);
	snprintf(path, sizeof path, "%s/groups", home);
	if (st == ST_OK && access(path, F_OK) == 0)
		st = io_list(path, no_groups_entry, path, err);
	if (st != ST_OK && *lock_fd >= 0) {
		close(*lock_fd);
		*lock_fd = -1;
	}
	return st;
}

/* ---- files that are no group's ---- */

static enum st copy(const char *from, const char *to, mode_t mode, struct err *err)
{
	char part[PATH_ROOM + 16], bytes[65536];
	uint64_t off = 0;
	size_t got = sizeof bytes;
	int in, out;
	enum st st;

	snprintf(part, sizeof part, "%s.restoring", to);
	st = io_open(from, O_RDONLY, &in, err);
	if (st != ST_OK)
		return st;
	st = io_open(part, O_RDWR | O_CREAT | O_TRUNC, &out, err);
	if (st == ST_OK) {
		if (fchmod(out, mode) < 0)
			st = fail_errno(err, "%s", part);
		while (st == ST_OK && got == sizeof bytes) {
			st = io_read(in, bytes, sizeof bytes, off, &got, from, err);
			if (st == ST_OK && got)
				st = io_write(out, bytes, got, off, part, err);
			off += got;
		}
		if (st == ST_OK)
			st = io_sync(out, part, err);
		close(out);
	}
	close(in);
	return st == ST_OK ? io_rename(part, to, err) : st;
}

static enum st put_extra(const char *home, const char *backup, const struct bk_file *f,
			 struct err *err)
{
	char from[PATH_ROOM], to[PATH_ROOM];
	char *slash;

	snprintf(from, sizeof from, "%s/%s", backup, f->path);
	snprintf(to, sizeof to, "%s/%s", home, f->path);
	slash = strrchr(to, '/');
	*slash = '\0';
	if (mkdir(to, 0700) < 0 && errno != EEXIST)
		return fail_errno(err, "make the folder %s", to);
	*slash = '/';
	return access(to, F_OK) == 0 ? ST_OK : copy(from, to, f->mode, err);
}

enum st home_queue_room(const char *home, const char *dead, struct err *err)
{
	char from[PATH_ROOM], to[PATH_ROOM];

	snprintf(from, sizeof from, "%s/Mailroot", dead);
	snprintf(to, sizeof to, "%s/Mailroot", home);
	if (access(from, F_OK) < 0 || rmdir(to) == 0 || errno == ENOENT)
		return ST_OK;
	return fail(err, ST_EXISTS,
		    "%s is there already: the queue of %s can't be put there; put it aside first",
		    to, dead);
}

enum st home_take_queue(const char *home, const char *dead, bool *taken_out, struct err *err)
{
	char from[PATH_ROOM], to[PATH_ROOM], part[PATH_ROOM + 16];
	enum st st;

	*taken_out = false;
	snprintf(from, sizeof from, "%s/Mailroot", dead);
	snprintf(to, sizeof to, "%s/Mailroot", home);
	snprintf(part, sizeof part, "%s.restoring", to);
	if (access(from, F_OK) < 0)
		return ST_OK;
	st = home_queue_room(home, dead, err);
	if (st == ST_OK)
		st = restore_clear(part, err);
	if (st == ST_OK)
		st = copy_tree(from, part, NULL, err);
	if (st == ST_OK)
		st = io_rename(part, to, err);
	*taken_out = st == ST_OK;
	return st;
}

/* The folders that init makes besides. */
static enum st make_folders(const char *home, struct err *err)
{
	static const struct {
		const char *name;
		mode_t mode;
	} rows[] = { { "Mailroot", 0711 }, { "tls", 0700 }, { "log", 0700 } };
	char path[PATH_ROOM];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", home, rows[i].name);
		if (mkdir(path, rows[i].mode) < 0 && errno != EEXIST)
			return fail_errno(err, "make the folder %s", path);
	}
	return ST_OK;
}

/* ---- in place ---- */

static enum st clear_entry(void *arg, const char *entry, struct err *err)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof path, "%s/%s", (const char *)arg, entry);
	return rmdir(path) < 0 ? fail_errno(err, "remove the empty folder %s", path) : ST_OK;
}

static enum st put_groups(const char *home, struct err *err)
{
	char from[PATH_ROOM], to[PATH_ROOM];
	enum st st = ST_OK;

	snprintf(from, sizeof from, "%s/groups.restoring", home);
	snprintf(to, sizeof to, "%s/groups", home);
	if (access(to, F_OK) == 0) {
		st = io_list(to, clear_entry, to, err);
		if (st == ST_OK && rmdir(to) < 0)
			st = fail_errno(err, "remove the empty folder %s", to);
	}
	if (st == ST_OK && chmod(from, 0700) < 0)
		st = fail_errno(err, "%s", from);
	if (st == ST_OK)
		st = io_rename(from, to, err);
	return st == ST_OK ? io_sync_dir(home, err) : st;
}

enum st home_put(const char *home, const char *backup, struct err *err)
{
	struct bk *m;
	enum st st = bk_load(backup, &m, err);

	if (st != ST_OK)
		return st;
	st = make_folders(home, err);
	for (size_t i = 0; st == ST_OK && i < m->nfiles; i++)
		if (strncmp(m->files[i].path, "groups/", 7) != 0)
			st = put_extra(home, backup, &m->files[i], err);
	bk_free(m);
	if (st == ST_OK)
		st = io_sync_dir(home, err);
	return st == ST_OK ? put_groups(home, err) : st;
}
