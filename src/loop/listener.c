/* listener.c - accepting connections; see conn.h. */
#include "loop/conn.h"
#include "loop/loop_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MS 100
#define BATCH    64 /* accepted in one turn */

struct listener {
	struct watch watch;
	struct timer timer;
	void *owner;
	void (*accept)(void *owner, int fd);
	bool accepting, freed, posted;
};

static void release(struct listener *l)
{
	if (!l->accepting && !l->posted)
		free(l);
}

static void accept_some(struct listener *l);

static void accept_more(void *arg)
{
	struct listener *l = arg;

	l->posted = false;
	if (l->freed)
		release(l);
	else
		accept_some(l);
}

static void after_pause(void *arg)
{
	struct listener *l = arg;

	if (!l->posted)
		accept_some(l);
}

/* Whether accepting goes on after a failed accept4(2). */
static bool go_on_after(struct listener *l, int error)
{
	switch (error) {
	case EAGAIN:
		return false;
	case EINVAL:
	case EBADF:
	case ENOTSOCK:
		/* Somebody has shut the socket down: nothing will come any more. */
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		timer_set(&l->timer, clock_mono() + PAUSE_MS * NS_PER_MS, after_pause, l);
		return false;
	default:
		/* The peer has gone again, or the network said something about it. */
		return true;
	}
}

static void accept_some(struct listener *l)
{
	int left = BATCH;

	l->accepting = true;
	while (left-- && !l->freed) {
		int fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			l->accept(l->owner, fd);
		else if (!go_on_after(l, errno))
			break;
	}
	l->accepting = false;
	if (l->freed) {
		release(l);
	} else if (left < 0) {
		/* Edge-triggered: there is no other event for those that wait already. */
		l->posted = true;
		loop_post(l->watch.loop, accept_more, l);
	}
}

static void on_event(void *arg, unsigned events)
{
	struct listener *l = arg;

	(void)events;
	if (!l->posted)
		accept_some(l);
}

enum st listener_new(int fd, void *owner, void (*accept)(void *owner, int fd),
		     struct listener **out, struct err *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	int on = 1;

	if (!l)
		return fail(err, ST_NOMEM, "no memory for a listener");
	l->owner = owner;
	l->accept = accept;
	ioctl(fd, FIONBIO, &on);
	enum st st = loop_watch(&l->watch, fd, EPOLLIN | EPOLLEXCLUSIVE, on_event, l, err);
	if (st != ST_OK) {
		free(l);
		return st;
	}
	*out = l;
	return ST_OK;
}

void listener_free(struct listener *l)
{
	if (!l || l->freed)
		return;
	l->freed = true;
	timer_clear(&l->timer);
	loop_unwatch(&l->watch);
	close(l->watch.fd);
	release(l);
}
