/* queue_copy.c - see queue_copy.h; the names and the order are those of docs/formats.md, "Queue files", and
 * docs/crash-states.md, "The way of a commit". */
#include "admin/queue_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PIECE     65536
#define VALUE_MAX 65536

static enum st copy_bytes(int from, int to, const char *name, struct err *err)
{
	char bytes[PIECE];
	ssize_t n;

	while ((n = read(from, bytes, sizeof bytes)) > 0)
		for (ssize_t at = 0; at < n;) {
			ssize_t w = write(to, bytes + at, (size_t)(n - at));

			if (w < 0 && errno != EINTR)
				return fail_errno(err, "write %s", name);
			at += w > 0 ? w : 0;
		}
	return n < 0 ? fail_errno(err, "read %s", name) : ST_OK;
}

/* The streams that stand in attributes of the content. */
static enum st copy_attributes(int from, int to, const char *name, struct err *err)
{
	static const char *const names[] = { "user.mailroot.properties",
					     "user.mailroot.properties-live" };
	char value[VALUE_MAX];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		ssize_t n = fgetxattr(from, names[i], value, sizeof value);

		if (n < 0 && (errno == ENODATA || errno == ENOTSUP))
			continue;
		if (n < 0 || fsetxattr(to, names[i], value, (size_t)n, 0) < 0)
			return fail_errno(err, "the envelope of %s", name);
	}
	return ST_OK;
}

static enum st copy_file(int from_dir, int to_dir, const char *name, struct err *err)
{
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC), to;
	char half[NAME_MAX + 8];
	enum st st;

	if (from < 0)
		return errno == ENOENT ? ST_OK : fail_errno(err, "open %s", name);
	snprintf(half, sizeof half, "%.*s.tmp", (int)strcspn(name, "."), name);
	to = openat(to_dir, half, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	st = to < 0 ? fail_errno(err, "make %s", half) : copy_bytes(from, to, name, err);
	if (st == ST_OK)
		st = copy_attributes(from, to, name, err);
	if (st == ST_OK && fsync(to) < 0)
		st = fail_errno(err, "sync %s", name);
	if (st == ST_OK && renameat(to_dir, half, to_dir, name) < 0)
		st = fail_errno(err, "rename %s", name);
	if (to >= 0)
		close(to);
	close(from);
	return st;
}

static bool is_message(const char *name)
{
	size_t len = strlen(name);

	return !strncmp(name, "MR_", 3) && len == 31 && !strcmp(name + 27, ".eml");
}

/* What stands beside the content first: with its name the content is a message. */
static enum st copy_message(int from, int to, const char *name, struct err *err)
{
	static const char *const ends[] = { ".stp", ".stl", ".eml" };
	char one[NAME_MAX + 1];
	enum st st = ST_OK;

	if (faccessat(to, name, F_OK, 0) == 0)
		return ST_OK;
	for (size_t i = 0; st == ST_OK && i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(one, sizeof one, "%.27s%s", name, ends[i]);
		st = copy_file(from, to, one, err);
	}
	return st;
}

static enum st open_queue(const struct config *c, bool make, int *fd, struct err *err)
{
	const char *dir = config_str(c, "queue_dir");
	char path[4400];

	if (make) {
		/* HOME/Mailroot is there in every home; another place the administrator has made. */
		mkdir(dir, 0700);
	}
	snprintf(path, sizeof path, "%s/Queue", dir);
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(err, "make %s", path);
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT && !make)
		return ST_NOTFOUND;
	return *fd < 0 ? fail_errno(err, "open %s", path) : ST_OK;
}

enum st queue_copy(const struct config *from, const struct config *to, unsigned *copied_out,
		   struct err *err)
{
	const struct dirent *e;
	int in, out = -1;
	DIR *d = NULL;
	enum st st = open_queue(from, false, &in, err);

	*copied_out = 0;
	if (st == ST_NOTFOUND)
		return ST_OK;
	if (st == ST_OK)
		st = open_queue(to, true, &out, err);
	if (st == ST_OK && !(d = fdopendir(dup(in))))
		st = fail_errno(err, "read the queue folder");
	while (st == ST_OK && (e = readdir(d)))
		if (is_message(e->d_name)) {
			st = copy_message(in, out, e->d_name, err);
			*copied_out += st == ST_OK;
		}
	if (st == ST_OK && fsync(out) < 0)
		st = fail_errno(err, "sync the queue folder");
	if (d)
		closedir(d);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return st;
}
