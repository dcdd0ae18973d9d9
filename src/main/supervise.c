/* supervise.c - programs that are kept running. */
#include "main/supervise.h"

#include "base/logline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS   10000
#define SETTLED_NS       (10 * NS_PER_SEC)

const char *child_state_name(enum child_state s)
{
	static const char *const names[] = { "stopped", "starting", "serving", "waiting",
					     "stopping" };

	return names[s];
}

static void enter(struct child *c, enum child_state s)
{
	c->state = s;
	if (c->changed)
		c->changed(c->arg, c);
}

/* ---- in the child, between fork and exec ---- */

__attribute__((noreturn)) static void run_program(struct child *c, int ready_fd, pid_t parent)
{
	sigset_t none;

	/* A Ctrl-C at the terminal is for the supervisor, which stops its children in their order. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	for (int i = 0; c->fds[i] >= 0; i++)
		fcntl(c->fds[i], F_SETFD, 0);
	fcntl(ready_fd, F_SETFD, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(c->args[0], c->args);
	dprintf(2, "mailrootd: cannot run %s: %s\n", c->args[0], strerror(errno));
	_exit(127);
}

/* ---- in the supervisor ---- */

static void restart_now(void *arg)
{
	struct child *c = arg;
	struct err err;

	c->restarts++;
	if (child_start(c, &err) != ST_OK) {
		log_event(LOG_ERROR, "restart failed", LC("program", c->name), LE(&err));
		c->backoff_ms = BACKOFF_MAX_MS;
		timer_set(&c->timer, deadline_in_ms(c->backoff_ms), restart_now, c);
	}
}

static void drop_ready_watch(struct child *c)
{
	if (c->ready_watch.fd < 0)
		return;
	loop_unwatch(&c->ready_watch);
	close(c->ready_watch.fd);
	c->ready_watch.fd = -1;
}

static void ended(void *arg, unsigned events)
{
	struct child *c = arg;
	siginfo_t info = { 0 };

	(void)events;
	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	c->last_status = info.si_code << 8 | info.si_status;
	loop_unwatch(&c->pid_watch);
	close(c->pid_watch.fd);
	drop_ready_watch(c);
	c->pid = 0;
	if (c->state == CHILD_STOPPING || !c->ever_served) {
		timer_clear(&c->timer);
		enter(c, CHILD_STOPPED);
		return;
	}
	if (clock_mono() - c->started > SETTLED_NS)
		c->backoff_ms = 0;
	log_event(LOG_WARN, "program ended", LC("program", c->name),
		  LC("how", info.si_code == CLD_EXITED ? "exit" : "signal"),
		  LI("status", info.si_status), LI("restart_in_ms", c->backoff_ms));
	timer_set(&c->timer, deadline_in_ms(c->backoff_ms), restart_now, c);
	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_FIRST_MS;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
	enter(c, CHILD_WAITING);
}

static void ready(void *arg, unsigned events)
{
	struct child *c = arg;
	char byte;
	ssize_t n = read(c->ready_watch.fd, &byte, 1);

	(void)events;
	if (n < 0)
		return;
	drop_ready_watch(c);
	if (n == 0 || c->state != CHILD_STARTING)
		return;
	c->ever_served = true;
	enter(c, CHILD_SERVING);
}

static enum st watch_child(struct child *c, int ready_fd, struct err *err)
{
	int pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	enum st st;

	if (pidfd < 0)
		return fail_errno(err, "watch %s (pid %d)", c->name, (int)c->pid);
	st = loop_watch(&c->pid_watch, pidfd, EPOLLIN, ended, c, err);
	if (st != ST_OK) {
		close(pidfd);
		return st;
	}
	st = loop_watch(&c->ready_watch, ready_fd, EPOLLIN, ready, c, err);
	if (st != ST_OK) {
		loop_unwatch(&c->pid_watch);
		close(pidfd);
	}
	return st;
}

enum st child_start(struct child *c, struct err *err)
{
	char ready_arg[16];
	pid_t parent = getpid();
	int pipe_fds[2], last = 0;
	enum st st;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail_errno(err, "start %s", c->name);
	while (c->args[last])
		last++;
	snprintf(ready_arg, sizeof ready_arg, "%d", pipe_fds[1]);
	/* Options stand before the other words. */
	memmove(c->args + 3, c->args + 1, (size_t)last * sizeof c->args[0]);
	c->args[1] = (char[]){ "--ready-fd" };
	c->args[2] = ready_arg;
	c->pid = fork();
	if (c->pid == 0)
		run_program(c, pipe_fds[1], parent);
	memmove(c->args + 1, c->args + 3, (size_t)last * sizeof c->args[0]);
	close(pipe_fds[1]);
	if (c->pid < 0) {
		close(pipe_fds[0]);
		return fail_errno(err, "start %s", c->name);
	}
	c->started = clock_mono();
	st = watch_child(c, pipe_fds[0], err);
	if (st != ST_OK) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		close(pipe_fds[0]);
		return st;
	}
	enter(c, CHILD_STARTING);
	return ST_OK;
}

static void kill_now(void *arg)
{
	struct child *c = arg;

	log_event(LOG_WARN, "program does not stop: killed", LC("program", c->name));
	kill(c->pid, SIGKILL);
}

void child_stop(struct child *c, int patience_ms)
{
	timer_clear(&c->timer);
	if (c->pid == 0) {
		if (c->state != CHILD_STOPPED)
			enter(c, CHILD_STOPPED);
		return;
	}
	enter(c, CHILD_STOPPING);
	kill(c->pid, SIGTERM);
	timer_set(&c->timer, deadline_in_ms(patience_ms), kill_now, c);
}
