/* conn.c - the life of a connection: events, the serving fiber, timeouts, closing; see conn.h.
 *
 * conn_step() is the one place where a connection without a running fiber decides what is next; every
 * event, timer, kick and end of a job comes to it.  The struct is freed in last_call() only, which is
 * posted when nothing refers to it any more: no fiber, no job of the work pool, no other post. */
#include "loop/conn_private.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_MAX_DEFAULT   (64 * 1024)
#define OUT_HIGH_DEFAULT (64 * 1024)
#define LINGER_MS        2000
#define LINGER_BYTES     (4 * 1024 * 1024)
#define STARVED_MS       50
#define BREATH           (512 * 1024)

static void finish(struct conn *c);

/* ---- the last call ---- */

static void last_call(void *arg)
{
	struct conn *c = arg;

	c->gone(c->owner);
	free(c);
}

static void go_on(void *arg)
{
	struct conn *c = arg;

	c->posted = false;
	conn_settle(c);
}

static void post(struct conn *c, void (*fn)(void *arg))
{
	c->posted = true;
	c->post = (struct post){ NULL, fn, c };
	loop_post_node(c->watch.loop, &c->post);
}

void conn_continue(struct conn *c)
{
	if (!c->posted)
		post(c, go_on);
}

void conn_settle(struct conn *c)
{
	if (c->life != CONN_DEAD)
		conn_step(c);
	else if (!c->job && !c->posted)
		post(c, last_call);
}

/* ---- waiting and failing ---- */

bool conn_wait(struct conn *c, enum conn_wait wait, int64_t limit)
{
	c->wait = wait;
	bool woken = fiber_park(limit);
	c->wait = WAIT_NOTHING;
	c->breath = 0;
	return woken;
}

void conn_breathe(struct conn *c)
{
	if (c->breath < BREATH)
		return;
	c->breath = 0;
	fiber_yield();
}

static bool wait_is_over(const struct conn *c)
{
	if (c->closing || c->out_state != ST_OK)
		return true;
	switch ((enum conn_wait)c->wait) {
	case WAIT_INPUT:
		return c->readable || c->in_state != ST_OK;
	case WAIT_ROOM:
		/* Half empty, so that the fiber runs for more than one reply. */
		return c->out_bytes <= c->limits.out_high / 2 && c->out_ranges <= 4;
	case WAIT_EMPTY:
		return !conn_has_output(c);
	case WAIT_NOTHING:
		break;
	}
	return false;
}

static void wake_server(struct conn *c)
{
	if (c->wait != WAIT_NOTHING && wait_is_over(c))
		fiber_wake(c->fiber);
}

void conn_fail(struct conn *c, enum st st)
{
	if (c->in_state == ST_OK)
		c->in_state = st;
	if (c->out_state == ST_OK)
		c->out_state = st;
	conn_drop_output(c);
	wake_server(c);
}

/* ---- timeouts ---- */

static bool is_blocked(const struct conn *c)
{
	return c->out_head && !c->writable && c->limits.write_ms;
}

static bool is_idle(const struct conn *c)
{
	return c->life == CONN_OPEN && !c->serving && !c->closing && c->fn &&
	       c->in_state == ST_OK && !conn_has_output(c) && c->limits.idle_ms;
}

static void sooner(int64_t *at, int64_t other)
{
	if (other < *at)
		*at = other;
}

void conn_arm(struct conn *c)
{
	int64_t at = NO_DEADLINE;

	if (c->starved)
		sooner(&at, c->watch.loop->now + STARVED_MS * NS_PER_MS);
	if (c->life == CONN_LINGERING)
		sooner(&at, c->idle_since + LINGER_MS * NS_PER_MS);
	if (is_blocked(c))
		sooner(&at, c->blocked_since + c->limits.write_ms * NS_PER_MS);
	if (is_idle(c))
		sooner(&at, c->idle_since + c->limits.idle_ms * NS_PER_MS);
	/* A timer that is early only looks again: input need not move it each time. */
	if (at != NO_DEADLINE && (!c->timer.slot || at < c->timer.at))
		timer_set(&c->timer, at, c->timer.fn, c);
}

static bool passed(const struct conn *c, int64_t since, int64_t ms)
{
	return c->watch.loop->now >= since + ms * NS_PER_MS;
}

static void on_timer(void *arg)
{
	struct conn *c = arg;

	c->starved = false;
	if (c->life == CONN_LINGERING && passed(c, c->idle_since, LINGER_MS)) {
		finish(c);
		return;
	}
	if (is_blocked(c) && passed(c, c->blocked_since, c->limits.write_ms))
		conn_fail(c, ST_TIMEOUT);
	else if (is_idle(c) && passed(c, c->idle_since, c->limits.idle_ms))
		c->in_state = ST_TIMEOUT;
	conn_step(c);
	if (c->life != CONN_DEAD)
		conn_arm(c);
}

/* ---- closing ---- */

static void finish(struct conn *c)
{
	int fd = c->watch.fd;

	c->life = CONN_DEAD;
	c->closing = true;
	conn_fail(c, ST_IO);
	timer_clear(&c->timer);
	loop_unwatch(&c->watch);
	c->watch.loop = loop_here(); /* for posts */
	conn_drop_input(c);
	conn_tls_free(c);
	close(fd);
	conn_settle(c);
}

/* Read away what still comes: closing with unread input would reset the connection, and a reset can
 * overtake our last reply. */
static void linger(struct conn *c)
{
	char waste[4096];

	while (c->breath < LINGER_BYTES) {
		ssize_t n = recv(c->watch.fd, waste, sizeof(waste), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		c->breath += (uint32_t)n;
	}
	finish(c);
}

/* After conn_close(), when no fiber serves: once the output has left, end our side. */
static void close_our_end(struct conn *c)
{
	if (c->out_state != ST_OK) {
		finish(c);
		return;
	}
	if (conn_has_output(c)) {
		conn_arm(c);
		return;
	}
	conn_tls_goodbye(c);
	shutdown(c->watch.fd, SHUT_WR);
	c->life = CONN_LINGERING;
	c->idle_since = c->watch.loop->now;
	c->breath = 0;
	conn_arm(c);
	linger(c);
}

void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	if (c->in_state == ST_OK)
		c->in_state = ST_EOF;
	if (c->serving)
		wake_server(c);
	else
		conn_step(c);
}

void conn_abort(struct conn *c)
{
	if (c->life == CONN_DEAD)
		return;
	c->closing = true;
	conn_fail(c, ST_IO);
	if (!c->serving)
		finish(c);
}

/* ---- serving ---- */

/* Whether fn has reason to run again, now that it returned. */
static bool more_to_serve(struct conn *c)
{
	if (c->in_state == ST_OK && c->readable && conn_take_input(c) == IO_DONE)
		c->kicked = true;
	return c->kicked || c->in_state != ST_OK;
}

static void serve(void *arg)
{
	struct conn *c = arg;

	c->fiber = fiber_self();
	while (!c->closing) {
		enum st told = (enum st)c->in_state;

		c->kicked = false;
		c->fn(c->owner);
		conn_flush(c);
		if (told != ST_OK)
			c->closing =
				true; /* it was told that the input ended: nothing can follow */
		if (c->closing || !more_to_serve(c))
			break;
		fiber_yield();
	}
	c->fiber = NULL;
	c->serving = false;
	c->breath = 0;
	if (!conn_unread(c))
		conn_drop_input(c);
	c->idle_since = c->watch.loop->now;
	/* Not from here: closing may free what this fiber stands on. */
	conn_continue(c);
}

static void start_serving(struct conn *c)
{
	c->serving = fiber_spawn("connection", serve, c, NULL) == ST_OK;
	c->starved = !c->serving;
	if (c->starved)
		conn_arm(c);
}

/* Without a fiber, see whether one is needed: partial TLS records need none. */
static void look_for_work(struct conn *c)
{
	if (!c->fn)
		return;
	/* What was kicked may begin with a TLS handshake: those bytes are not for the buffer. */
	if (!c->kicked && c->in_state == ST_OK && c->readable) {
		/* A full buffer is no news: the read that filled it was.  A session that leaves it so
		 * holds the peer back until its idle time is over. */
		if (conn_take_input(c) == IO_DONE)
			c->kicked = true;
		else if (!conn_unread(c))
			conn_drop_input(c);
	}
	if (c->kicked || c->in_state != ST_OK)
		start_serving(c);
	else
		conn_arm(c);
}

void conn_step(struct conn *c)
{
	bool had_output = conn_has_output(c);

	if (c->life == CONN_LINGERING) {
		linger(c);
		return;
	}
	conn_flush(c);
	if (c->serving) {
		wake_server(c);
		return;
	}
	if (had_output && !conn_has_output(c))
		c->idle_since = c->watch.loop->now;
	if (c->closing)
		close_our_end(c);
	else
		look_for_work(c);
}

static void on_event(void *arg, unsigned events)
{
	struct conn *c = arg;

	if (c->ssl || events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->hung_up = true;
	if (c->ssl || events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->writable = true;
	conn_step(c);
}

void conn_serve(struct conn *c, void (*fn)(void *owner), bool now)
{
	c->fn = fn;
	c->kicked |= now;
	if (!c->serving && !c->closing)
		conn_step(c);
}

void conn_kick(struct conn *c)
{
	c->kicked = true;
	if (!c->serving && !c->closing && !c->starved)
		look_for_work(c);
}

/* ---- making ---- */

static void address_text(const struct sockaddr_storage *a, char *ip, size_t size, unsigned *port)
{
	const struct sockaddr_in *v4 = (const void *)a;
	const struct sockaddr_in6 *v6 = (const void *)a;
	struct in_addr mapped;

	snprintf(ip, size, "local");
	*port = 0;
	if (a->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, ip, (socklen_t)size);
		*port = ntohs(v4->sin_port);
	} else if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		memcpy(&mapped, v6->sin6_addr.s6_addr + 12, sizeof(mapped));
		inet_ntop(AF_INET, &mapped, ip, (socklen_t)size);
		*port = ntohs(v6->sin6_port);
	} else if (a->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, (socklen_t)size);
		*port = ntohs(v6->sin6_port);
	}
}

struct names {
	char peer[64], peer_ip[48], local_ip[48];
};

static void find_names(int fd, struct names *n)
{
	struct sockaddr_storage peer = { 0 }, local = { 0 };
	socklen_t peer_len = sizeof(peer), local_len = sizeof(local);
	unsigned port;

	getpeername(fd, (struct sockaddr *)&peer, &peer_len);
	getsockname(fd, (struct sockaddr *)&local, &local_len);
	address_text(&local, n->local_ip, sizeof(n->local_ip), &port);
	address_text(&peer, n->peer_ip, sizeof(n->peer_ip), &port);
	if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6)
		snprintf(n->peer, sizeof(n->peer), "%s", n->peer_ip);
	else if (strchr(n->peer_ip, ':'))
		snprintf(n->peer, sizeof(n->peer), "[%s]:%u", n->peer_ip, port);
	else
		snprintf(n->peer, sizeof(n->peer), "%s:%u", n->peer_ip, port);
}

static struct conn *conn_alloc(const struct names *n)
{
	size_t peer = strlen(n->peer) + 1, ip = strlen(n->peer_ip) + 1,
	       local = strlen(n->local_ip) + 1;
	struct conn *c = malloc(sizeof(*c) + peer + ip + local);

	if (!c)
		return NULL;
	*c = (struct conn){ .peer_len = (uint32_t)peer, .peer_ip_len = (uint32_t)ip };
	memcpy(c->text, n->peer, peer);
	memcpy(c->text + peer, n->peer_ip, ip);
	memcpy(c->text + peer + ip, n->local_ip, local);
	return c;
}

static void prepare_socket(int fd)
{
	int on = 1;

	ioctl(fd, FIONBIO, &on);
	/* We say ourselves what belongs together (MSG_MORE).  Both fail on a local socket. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

enum st conn_new(int fd, const struct conn_limits *limits, void *owner, void (*gone)(void *owner),
		 struct conn **out, struct err *err)
{
	struct names names;

	find_names(fd, &names);
	struct conn *c = conn_alloc(&names);
	if (!c)
		return fail(err, ST_NOMEM, "no memory for a connection");
	c->owner = owner;
	c->gone = gone;
	c->blocked_at = UINT64_MAX;
	c->writable = true;
	c->timer.fn = on_timer;
	conn_set_limits(c, limits);
	prepare_socket(fd);
	enum st st = loop_watch(&c->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, on_event, c, err);
	if (st != ST_OK) {
		free(c);
		return st;
	}
	c->idle_since = c->watch.loop->now;
	*out = c;
	return ST_OK;
}

void conn_set_limits(struct conn *c, const struct conn_limits *limits)
{
	c->limits = limits ? *limits : (struct conn_limits){ 0 };
	if (!c->limits.in_max)
		c->limits.in_max = IN_MAX_DEFAULT;
	if (!c->limits.out_high)
		c->limits.out_high = OUT_HIGH_DEFAULT;
	if (c->watch.loop)
		conn_arm(c);
}

/* ---- about it ---- */

const char *conn_peer(const struct conn *c)
{
	return c->text;
}

const char *conn_peer_ip(const struct conn *c)
{
	return c->text + c->peer_len;
}

const char *conn_local_ip(const struct conn *c)
{
	return c->text + c->peer_len + c->peer_ip_len;
}

void conn_get_stats(const struct conn *c, struct conn_stats *out)
{
	*out = (struct conn_stats){ .in = c->received,
				    .out = c->sent,
				    .sendfile_bytes = c->by_sendfile,
				    .copied_bytes = c->sent - c->by_sendfile };
}
