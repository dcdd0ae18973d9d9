/* fsfolder.c - the queue folder at start: made, locked, cleaned, and what waits in it; see fsfile.h. */
#include "transport/fsfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void fs_name(struct mailmsg_id id, const char *extension, char out[static FSNAME_MAX])
{
	mailmsg_id_name(id, out);
	strcat(out, extension);
}

static bool hex(const char *at, size_t digits, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < digits; i++) {
		char c = at[i];

		if (c >= '0' && c <= '9')
			n = n << 4 | (uint64_t)(c - '0');
		else if (c >= 'A' && c <= 'F')
			n = n << 4 | (uint64_t)(c - 'A' + 10);
		else
			return false;
	}
	*out = n;
	return true;
}

bool fs_parse(const char *name, struct mailmsg_id *id, const char **extension)
{
	uint64_t time, count;

	if (strncmp(name, "MR_", 3) != 0 || !hex(name + 3, 16, &time) || !hex(name + 19, 8, &count))
		return false;
	*id = (struct mailmsg_id){ time, (uint32_t)count };
	*extension = name + 27;
	return true;
}

/* ---- making it ---- */

/* mkdir -p; a new folder's name is synced in its parent. */
static enum st make_path(const char *dir, struct err *err)
{
	char path[4096];
	size_t len = strlen(dir);

	if (len == 0 || len >= sizeof(path))
		return fail(err, ST_BAD, "queue folder: a path of %zu bytes", len);
	memcpy(path, dir, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		path[i] = 0;
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return fail_errno(err, "folder %s: create", path);
		path[i] = i < len ? '/' : 0;
	}
	return ST_OK;
}

static enum st open_folder(int parent, const char *name, int *fd, struct err *err)
{
	*fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd >= 0 ? ST_OK : fail_errno(err, "folder %s: open", name);
}

static enum st make_folders(struct fsdriver *d, const char *dir, struct err *err)
{
	static const char *const names[] = { "Queue", "Pickup", "Badmail" };
	enum st st = make_path(dir, err);

	if (st == ST_OK)
		st = open_folder(AT_FDCWD, dir, &d->dir, err);
	for (size_t i = 0; st == ST_OK && i < 3; i++)
		if (mkdirat(d->dir, names[i], 0700) < 0 && errno != EEXIST)
			st = fail_errno(err, "folder %s/%s: create", dir, names[i]);
	if (st == ST_OK && fsync(d->dir) < 0)
		st = fail_errno(err, "folder %s: sync", dir);
	if (st == ST_OK)
		st = open_folder(d->dir, "Queue", &d->queue, err);
	if (st == ST_OK)
		st = open_folder(d->dir, "Badmail", &d->badmail, err);
	if (st == ST_OK && flock(d->queue, LOCK_EX | LOCK_NB) < 0)
		st = errno == EWOULDBLOCK
			     ? fail(err, ST_BUSY, "%s/Queue is served by another process", dir)
			     : fail_errno(err, "folder %s/Queue: lock", dir);
	return st;
}

/* ---- what is in it ---- */

struct ids {
	struct mailmsg_id *at;
	size_t n, cap;
};

static bool ids_add(struct ids *ids, struct mailmsg_id id)
{
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? 2 * ids->cap : 64;
		struct mailmsg_id *at = reallocarray(ids->at, cap, sizeof(*at));

		if (!at)
			return false;
		ids->at = at;
		ids->cap = cap;
	}
	ids->at[ids->n++] = id;
	return true;
}

static int by_age(const void *a, const void *b)
{
	const struct mailmsg_id *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->count < y->count ? -1 : x->count > y->count;
}

/* Contents into d->found, names of side files into `sides`; temporary files go at once. */
static enum st sort_entry(struct fsdriver *d, const char *name, struct ids *found,
			  struct ids *sides, struct err *err)
{
	struct mailmsg_id id;
	const char *extension;
	bool ok = true;

	if (!fs_parse(name, &id, &extension))
		return ST_OK; /* not ours: leave it alone */
	if (strcmp(extension, ".eml") == 0) {
		ok = ids_add(found, id);
	} else if (strcmp(extension, ".stp") == 0 || strcmp(extension, ".stl") == 0) {
		ok = ids_add(sides, id);
	} else if (strcmp(extension, ".tmp") == 0 || strcmp(extension, ".stl.tmp") == 0) {
		unlinkat(d->queue, name, 0);
		d->discarded++;
	}
	return ok ? ST_OK : fail(err, ST_NOMEM, "queue folder: enumerate");
}

static enum st read_folder(struct fsdriver *d, struct ids *found, struct ids *sides,
			   struct err *err)
{
	int fd = openat(d->queue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	enum st st = ST_OK;

	if (!dir) {
		st = fail_errno(err, "queue folder: open");
		if (fd >= 0)
			close(fd);
		return st;
	}
	while (st == ST_OK && (errno = 0, e = readdir(dir)))
		st = sort_entry(d, e->d_name, found, sides, err);
	if (st == ST_OK && errno)
		st = fail_errno(err, "queue folder: read");
	closedir(dir);
	return st;
}

/* A side file without its content belongs to a commit that never ended, or to a removal that nearly did. */
static void remove_orphans(struct fsdriver *d, const struct ids *found, const struct ids *sides)
{
	for (size_t i = 0; i < sides->n; i++) {
		char file[FSNAME_MAX];

		if (found->n &&
		    bsearch(&sides->at[i], found->at, found->n, sizeof(*found->at), by_age))
			continue;
		fs_name(sides->at[i], ".stp", file);
		unlinkat(d->queue, file, 0);
		fs_name(sides->at[i], ".stl", file);
		unlinkat(d->queue, file, 0);
		d->discarded++;
	}
}

enum st fs_prepare(struct fsdriver *d, const char *dir, struct err *err)
{
	struct ids found = { 0 }, sides = { 0 };
	enum st st = make_folders(d, dir, err);

	if (st == ST_OK)
		st = read_folder(d, &found, &sides, err);
	if (st == ST_OK) {
		if (found.n)
			qsort(found.at, found.n, sizeof(*found.at), by_age);
		remove_orphans(d, &found, &sides);
		d->found = found.at;
		d->nfound = found.n;
		found.at = NULL;
	}
	free(found.at);
	free(sides.at);
	return st;
}
