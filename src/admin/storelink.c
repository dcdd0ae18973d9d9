/* storelink.c - the administrator's way to the store. */
#include "admin/storelink.h"
#include "admin/options.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIND_MS  15000
#define START_MS 120000 /* recovery of a large log */

struct link {
	const struct storelink_follow *follow; /* NULL: one question */
	struct loop *loop;
	struct exipc_client *client;
	enum st (*ask)(void *arg, struct exipc_chan *chan, struct err *err);
	void *arg;
	struct err *err;
	enum st st;
};

/* Does a server hold the home?  Its supervisor keeps run/mailrootd.lock, a lone store run/store.lock. */
static bool is_held(const char *home, const char *lock)
{
	char path[4200];
	bool held;
	int fd;

	snprintf(path, sizeof path, "%s/run/%s", home, lock);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

static enum st start_store(const char *home, pid_t *pid, struct err *err)
{
	char path[4200], fd_text[16], *args[7];
	struct pollfd p;
	int fds[2], e;
	char byte;

	program_beside(path, sizeof path, "mailroot-store");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail_errno(err, "start %s", path);
	fcntl(fds[1], F_SETFD, 0);
	snprintf(fd_text, sizeof fd_text, "%d", fds[1]);
	args[0] = path;
	args[1] = (char[]){ "--home" };
	args[2] = strdup(home);
	args[3] = (char[]){ "--ready-fd" };
	args[4] = fd_text;
	args[5] = (char[]){ "--quiet" };
	args[6] = NULL;
	e = posix_spawn(pid, path, NULL, NULL, args, environ);
	free(args[2]);
	close(fds[1]);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	if (e != 0) {
		close(fds[0]);
		errno = e;
		return fail_errno(err, "start %s", path);
	}
	e = poll(&p, 1, START_MS) == 1 && read(fds[0], &byte, 1) == 1;
	close(fds[0]);
	if (e)
		return ST_OK;
	kill(*pid, SIGTERM);
	waitpid(*pid, NULL, 0);
	*pid = 0;
	return fail(err, ST_GONE, "the store of %s does not start; its own words are above", home);
}

static void talk(void *arg)
{
	struct link *l = arg;
	struct exipc_chan *chan = exipc_chan(l->client);

	l->st = l->follow ? ST_OK : exipc_wait_bound(chan, deadline_in_ms(BIND_MS), l->err);
	if (l->st == ST_OK)
		l->st = l->ask(l->arg, chan, l->err);
	loop_stop(l->loop);
}

static void begin(void *arg)
{
	struct link *l = arg;

	l->st = fiber_spawn("admin", talk, l, l->err);
	if (l->st != ST_OK)
		loop_stop(l->loop);
}

static enum st bind_and_talk(struct link *l, const char *socket_path, struct err *err)
{
	struct exipc_client_options o = {
		.socket_path = socket_path,
		.name = "admin",
		.version = WIRE_VERSION,
		.loops = &l->loop,
		.nloops = 1,
	};
	enum st st = loop_new("admin", &l->loop, err);

	if (st != ST_OK)
		return st;
	if (l->follow) {
		o.notify = l->follow->notify;
		o.state = l->follow->state;
		o.arg = l->follow->arg;
	}
	st = exipc_client_new(&o, &l->client, err);
	if (st == ST_OK) {
		loop_post(l->loop, begin, l);
		loop_run(l->loop);
		exipc_client_free(l->client);
		st = l->st;
	}
	loop_free(l->loop);
	return st;
}

static enum st check_home(const char *home, struct err *err)
{
	char path[4200];

	snprintf(path, sizeof path, "%s/mailroot.conf", home);
	if (access(path, R_OK) < 0)
		return fail_errno(err, "%s is not the home of a server (mailroot init makes one)",
				  home);
	return ST_OK;
}

static enum st run_link(const char *home, struct link *l, bool start, struct err *err)
{
	char path[4200];
	pid_t pid = 0;
	enum st st = check_home(home, err);

	if (st == ST_OK && start && !is_held(home, "mailrootd.lock") &&
	    !is_held(home, "store.lock"))
		st = start_store(home, &pid, err);
	if (st != ST_OK)
		return st;
	snprintf(path, sizeof path, "%s/run/exipc", home);
	st = bind_and_talk(l, path, err);
	/* The server runs: what is gone is something in it, a database that is not in service. */
	if (st == ST_GONE && (pid || is_held(home, "mailrootd.lock")))
		err->st = ST_BUSY;
	if (pid) {
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
	}
	return st;
}

enum st storelink_run(const char *home,
		      enum st (*ask)(void *arg, struct exipc_chan *chan, struct err *err),
		      void *arg, struct err *err)
{
	struct link l = { .ask = ask, .arg = arg, .err = err };

	return run_link(home, &l, true, err);
}

enum st storelink_follow(const char *home, const struct storelink_follow *f, struct err *err)
{
	struct link l = { .follow = f, .ask = f->ask, .arg = f->arg, .err = err };

	return run_link(home, &l, f->start, err);
}
