/* standby.c - the mark of a standby; see standby.h. */
#include "base/standby.h"

#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TEXT_MAX 1024

static const char *const names[] = { "", "making", "following", "promoting" };

const char *standby_state_name(enum standby_state s)
{
	return names[s];
}

static bool take_line(struct standby_mark *m, struct span line)
{
	struct span value, key = span_trim(span_split(line, '=', &value));

	value = span_trim(value);
	if (span_eq(key, SPAN("state"))) {
		for (unsigned i = 1; i < sizeof(names) / sizeof(names[0]); i++)
			if (span_eq(value, span_str(names[i])))
				m->state = (enum standby_state)i;
		return m->state != 0;
	}
	if (span_eq(key, SPAN("since")))
		return span_u64(value, &m->since);
	if (span_eq(key, SPAN("source")))
		snprintf(m->source, sizeof(m->source), SPAN_FMT, SPAN_ARG(value));
	return true;
}

enum st standby_mark_read(const char *home, struct standby_mark *out, struct err *err)
{
	char path[4200], text[TEXT_MAX];
	struct span rest;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/standby", home);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? fail(err, ST_NOTFOUND, "%s is no standby", home)
				       : fail_errno(err, "open %s", path);
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n < 0)
		return fail_errno(err, "read %s", path);
	*out = (struct standby_mark){ 0 };
	rest = span_of(text, (size_t)n);
	while (rest.len > 0)
		if (!take_line(out, span_split(rest, '\n', &rest)))
			return fail(err, ST_CORRUPT, "%s makes no sense", path);
	return out->state ? ST_OK : fail(err, ST_CORRUPT, "%s names no state", path);
}

static enum st sync_home(const char *home, struct err *err)
{
	int fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum st st = ST_OK;

	if (fd < 0 || fsync(fd) < 0)
		st = fail_errno(err, "sync %s", home);
	if (fd >= 0)
		close(fd);
	return st;
}

enum st standby_mark_write(const char *home, const struct standby_mark *m, struct err *err)
{
	char path[4200], fresh[4200], text[TEXT_MAX];
	int n = snprintf(text, sizeof(text), "state = %s\nsince = %llu\nsource = %s\n",
			 names[m->state], (unsigned long long)m->since, m->source);
	enum st st = ST_OK;
	int fd;

	snprintf(path, sizeof(path), "%s/standby", home);
	snprintf(fresh, sizeof(fresh), "%s/standby.new", home);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(err, "make %s", fresh);
	if (write(fd, text, (size_t)n) != n || fsync(fd) < 0)
		st = fail_errno(err, "write %s", fresh);
	close(fd);
	if (st == ST_OK && rename(fresh, path) < 0)
		st = fail_errno(err, "rename %s", fresh);
	return st == ST_OK ? sync_home(home, err) : st;
}

enum st standby_mark_remove(const char *home, struct err *err)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/standby", home);
	if (unlink(path) < 0 && errno != ENOENT)
		return fail_errno(err, "remove %s", path);
	return sync_home(home, err);
}

enum st standby_refuse(const char *home, struct err *err)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/standby", home);
	if (access(path, F_OK) < 0)
		return ST_OK;
	return fail(err, ST_DENIED,
		    "%s is a standby and serves nobody; mailroot standby promote makes it a server",
		    home);
}
