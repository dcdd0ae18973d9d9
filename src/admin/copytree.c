/* copytree.c - see copytree.h. */
#include "admin/copytree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PATH_ROOM  4200
#define NAMES_ROOM 4096
#define VALUE_ROOM 65536

/* The queue keeps envelopes in attributes: without them a message is nothing. */
static enum st copy_attributes(const char *from, const char *to, struct err *err)
{
	char names[NAMES_ROOM], *value = malloc(VALUE_ROOM);
	ssize_t n = listxattr(from, names, sizeof names);
	enum st st = value ? ST_OK : fail(err, ST_NOMEM, "copy %s", from);

	for (char *at = names; st == ST_OK && n > 0 && at < names + n; at += strlen(at) + 1) {
		ssize_t len = getxattr(from, at, value, VALUE_ROOM);

		if (strncmp(at, "user.", 5) != 0)
			continue;
		if (len < 0 || setxattr(to, at, value, (size_t)len, 0) < 0)
			st = fail_errno(err, "attribute %s of %s", at, to);
	}
	free(value);
	return st;
}

static enum st set_facts(const char *from, const char *to, const struct stat *info, struct err *err)
{
	struct timespec times[2] = { info->st_atim, info->st_mtim };
	enum st st = copy_attributes(from, to, err);

	if (st == ST_OK && geteuid() == 0 && lchown(to, info->st_uid, info->st_gid) < 0)
		st = fail_errno(err, "owner of %s", to);
	if (st == ST_OK && chmod(to, info->st_mode & 07777) < 0)
		st = fail_errno(err, "mode of %s", to);
	if (st == ST_OK)
		(void)utimensat(AT_FDCWD, to, times, 0);
	return st;
}

static enum st copy_bytes(int in, int out, const char *to, struct err *err)
{
	char *chunk = malloc(VALUE_ROOM);
	enum st st = chunk ? ST_OK : fail(err, ST_NOMEM, "copy %s", to);
	ssize_t n = 0;

	while (st == ST_OK && (n = read(in, chunk, VALUE_ROOM)) > 0)
		for (ssize_t done = 0, w; st == ST_OK && done < n; done += w) {
			w = write(out, chunk + done, (size_t)(n - done));
			if (w < 0)
				st = fail_errno(err, "write %s", to);
		}
	if (st == ST_OK && n < 0)
		st = fail_errno(err, "read what goes to %s", to);
	if (st == ST_OK && fsync(out) < 0)
		st = fail_errno(err, "sync %s", to);
	free(chunk);
	return st;
}

static enum st copy_file(const char *from, const char *to, struct err *err)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	enum st st;

	if (in < 0)
		return fail_errno(err, "open %s", from);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	st = out < 0 ? fail_errno(err, "make %s", to) : copy_bytes(in, out, to, err);
	if (out >= 0)
		close(out);
	close(in);
	return st;
}

static enum st copy_link(const char *from, const char *to, struct err *err)
{
	char target[PATH_ROOM];
	ssize_t n = readlink(from, target, sizeof target - 1);

	if (n < 0)
		return fail_errno(err, "read %s", from);
	target[n] = '\0';
	return symlink(target, to) < 0 ? fail_errno(err, "make %s", to) : ST_OK;
}

static enum st copy_entry(const char *from, const char *to, struct err *err)
{
	struct stat info;
	enum st st = ST_OK;

	if (lstat(from, &info) < 0)
		return fail_errno(err, "%s", from);
	if (S_ISDIR(info.st_mode))
		return copy_tree(from, to, NULL, err);
	if (S_ISLNK(info.st_mode))
		return copy_link(from, to, err);
	if (!S_ISREG(info.st_mode))
		return ST_OK;
	st = copy_file(from, to, err);
	return st == ST_OK ? set_facts(from, to, &info, err) : st;
}

enum st copy_tree(const char *from, const char *to, bool (*skip)(const char *name), struct err *err)
{
	char a[PATH_ROOM], b[PATH_ROOM];
	struct stat info;
	struct dirent *e;
	enum st st = ST_OK;
	DIR *d;

	if (stat(from, &info) < 0 || mkdir(to, 0700) < 0)
		return fail_errno(err, "make the folder %s", to);
	d = opendir(from);
	if (!d)
		return fail_errno(err, "open the folder %s", from);
	while (st == ST_OK && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    (skip && skip(e->d_name)))
			continue;
		if (snprintf(a, sizeof a, "%s/%s", from, e->d_name) >= (int)sizeof a ||
		    snprintf(b, sizeof b, "%s/%s", to, e->d_name) >= (int)sizeof b)
			st = fail(err, ST_TOOBIG, "%s: the path is too long", e->d_name);
		else
			st = copy_entry(a, b, err);
	}
	closedir(d);
	return st == ST_OK ? set_facts(from, to, &info, err) : st;
}

enum st own_tree(const char *path, const char *like, struct err *err)
{
	char below[PATH_ROOM];
	struct stat info, own;
	struct dirent *e;
	enum st st = ST_OK;
	DIR *d;

	if (geteuid() != 0)
		return ST_OK;
	if (stat(like, &info) < 0 || lstat(path, &own) < 0 ||
	    lchown(path, info.st_uid, info.st_gid) < 0)
		return fail_errno(err, "owner of %s", path);
	d = S_ISDIR(own.st_mode) ? opendir(path) : NULL;
	while (d && st == ST_OK && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    snprintf(below, sizeof below, "%s/%s", path, e->d_name) < (int)sizeof below)
			st = own_tree(below, like, err);
	if (d)
		closedir(d);
	return st;
}
