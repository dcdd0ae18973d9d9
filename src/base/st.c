/* st.c - failure in one line; see st.h. */
#include "base/st.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *st_name(enum st st)
{
	static const char *const names[ST_CODES] = {
		[ST_OK] = "ok",         [ST_MORE] = "more",       [ST_EOF] = "eof",
		[ST_BAD] = "bad",       [ST_DENIED] = "denied",   [ST_NOTFOUND] = "notfound",
		[ST_EXISTS] = "exists", [ST_TOOBIG] = "toobig",   [ST_NOSPACE] = "nospace",
		[ST_BUSY] = "busy",     [ST_GONE] = "gone",       [ST_TIMEOUT] = "timeout",
		[ST_IO] = "io",         [ST_CORRUPT] = "corrupt", [ST_NOMEM] = "nomem",
	};

	if ((unsigned)st >= ST_CODES)
		return "unknown";
	return names[st];
}

static bool st_is_system(enum st st)
{
	return st == ST_IO || st == ST_NOSPACE || st == ST_NOMEM;
}

enum st fail(struct err *e, enum st st, const char *fmt, ...)
{
	int saved = errno;

	if (e) {
		va_list ap;

		e->st = st;
		e->sys = st_is_system(st) ? saved : 0;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
	}
	errno = saved;
	return st;
}

static enum st st_of_errno(int sys)
{
	switch (sys) {
	case ENOSPC:
	case EDQUOT:
		return ST_NOSPACE;
	case ENOMEM:
		return ST_NOMEM;
	default:
		return ST_IO;
	}
}

enum st fail_errno(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	enum st st = st_of_errno(saved);

	if (e) {
		char words[128];
		va_list ap;

		e->st = st;
		e->sys = saved;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
		size_t len = strlen(e->text);
		snprintf(e->text + len, sizeof(e->text) - len, ": %s",
			 strerror_r(saved, words, sizeof(words)));
	}
	errno = saved;
	return st;
}

void panic(const char *fmt, ...)
{
	char line[1024] = "panic: ";
	size_t len = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
	line[len++] = '\n';
	/* Nothing can be done about a standard error that takes no line. */
	if (write(STDERR_FILENO, line, len) < 0)
		abort();
	abort();
}
