/* control.c - a program's control socket. */
#include "admin/control.h"

#include "loop/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define QUESTION_MAX 4096
#define ANSWER_MAX   (64u * 1024 * 1024)
#define PATIENCE_MS  10000
#define ASK_S        20
#define BACKLOG      64

struct control {
	const struct control_verb *verbs;
	size_t nverbs;
	void *owner;
	struct listener *listener;
	unsigned refs; /* one for the listener, one for each asker */
};

struct asker {
	struct control *control;
	struct conn *conn;
};

static enum st make_address(const char *path, struct sockaddr_un *sa, struct err *err)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof sa->sun_path)
		return fail(
			err, ST_TOOBIG,
			"control socket %s: the path is longer than %zu bytes; choose a shorter home",
			path, sizeof sa->sun_path - 1);
	strcpy(sa->sun_path, path);
	return ST_OK;
}

static void answer(struct asker *a, struct span line)
{
	struct span format, verb = span_split(span_trim(line), ' ', &format);
	struct buf text = BUF_MAX(ANSWER_MAX);

	for (size_t i = 0; i < a->control->nverbs; i++) {
		if (!span_eq(verb, span_str(a->control->verbs[i].name)))
			continue;
		struct report r;

		report_open(&r, &text, span_eq(format, SPAN("json")));
		a->control->verbs[i].run(a->control->owner, &r);
		report_close(&r);
		if (text.failed)
			conn_puts(a->conn, "error: the answer is too large\n");
		else
			conn_write(a->conn, text.at, text.len);
		buf_free(&text);
		return;
	}
	conn_printf(a->conn, "error: unknown question '" SPAN_FMT "'\n", SPAN_ARG(verb));
}

static void serve(void *owner)
{
	struct asker *a = owner;
	size_t end;

	while ((end = span_find(conn_input(a->conn), '\n')) == SIZE_MAX)
		if (conn_fill(a->conn, deadline_in_ms(PATIENCE_MS)) != ST_OK) {
			conn_abort(a->conn);
			return;
		}
	answer(a, span_cut(conn_input(a->conn), end));
	conn_close(a->conn);
}

static void drop(struct control *c)
{
	if (--c->refs == 0)
		free(c);
}

static void gone(void *owner)
{
	struct asker *a = owner;

	drop(a->control);
	free(a);
}

static void accepted(void *owner, int fd)
{
	static const struct conn_limits limits = { .in_max = QUESTION_MAX,
						   .idle_ms = PATIENCE_MS,
						   .write_ms = PATIENCE_MS };
	struct asker *a = calloc(1, sizeof *a);

	if (!a || conn_new(fd, &limits, a, gone, &a->conn, NULL) != ST_OK) {
		free(a);
		close(fd);
		return;
	}
	a->control = owner;
	a->control->refs++;
	conn_serve(a->conn, serve, false);
}

enum st control_bind(const char *path, int *out, struct err *err)
{
	struct sockaddr_un sa;
	enum st st = make_address(path, &sa, err);
	int fd;

	if (st != ST_OK)
		return st;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		st = fail_errno(err, "control socket %s", path);
		if (fd >= 0)
			close(fd);
		return st;
	}
	*out = fd;
	return ST_OK;
}

enum st control_listen(int fd, const char *path, const struct control_verb *verbs, size_t nverbs,
		       void *owner, struct control **out, struct err *err)
{
	struct control *control = malloc(sizeof *control);
	enum st st = ST_OK;

	if (!control)
		st = fail(err, ST_NOMEM, "control socket %s: out of memory", path);
	/* The mode comes last: who waits for the server watches it. */
	else if (listen(fd, BACKLOG) < 0 || chmod(path, 0600) < 0)
		st = fail_errno(err, "control socket %s", path);
	if (st == ST_OK) {
		*control = (struct control){
			.verbs = verbs, .nverbs = nverbs, .owner = owner, .refs = 1
		};
		st = listener_new(fd, control, accepted, &control->listener, err);
	}
	if (st != ST_OK) {
		close(fd);
		free(control);
		return st;
	}
	*out = control;
	return ST_OK;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	listener_free(c->listener);
	drop(c);
}

enum st control_ask(const char *path, const char *verb, bool json, struct buf *out, struct err *err)
{
	const struct timeval patience = { .tv_sec = ASK_S };
	struct sockaddr_un sa;
	enum st st = make_address(path, &sa, err);
	ssize_t n;
	int fd;

	if (st != ST_OK)
		return st;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_errno(err, "control socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		st = errno == ENOENT || errno == ECONNREFUSED
			     ? fail(err, ST_NOTFOUND,
				    "nobody listens at %s: the server is not running", path)
			     : fail_errno(err, "connect to %s", path);
		close(fd);
		return st;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (dprintf(fd, "%s %s\n", verb, json ? "json" : "text") < 0)
		st = fail_errno(err, "ask %s", path);
	while (st == ST_OK) {
		char *room = buf_room(out, 65536);

		if (!room)
			st = fail(err, ST_TOOBIG, "the answer of %s is too large", path);
		else if ((n = read(fd, room, 65536)) < 0)
			st = errno == EAGAIN ? fail(err, ST_TIMEOUT,
						    "no answer at %s: the program hangs", path)
					     : fail_errno(err, "read the answer of %s", path);
		else if (n == 0)
			break;
		else
			out->len += (size_t)n;
	}
	close(fd);
	if (st == ST_OK && span_has_prefix(buf_get(out), SPAN("error: ")))
		return fail(err, ST_BAD, SPAN_FMT, SPAN_ARG(span_trim(span_skip(buf_get(out), 7))));
	return st;
}
