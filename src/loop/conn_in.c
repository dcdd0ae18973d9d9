/* conn_in.c - input of a connection; see conn.h.
 *
 * The buffer exists only while it holds something or a fiber serves.  It starts at 4 KiB and doubles
 * up to in_max when a line does not fit or a read filled it whole (a message comes in). */
#include "loop/conn_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IN_FIRST 4096

enum st conn_input_state(const struct conn *c)
{
	return (enum st)c->in_state;
}

struct span conn_input(const struct conn *c)
{
	return span_of(c->in ? c->in + c->in_at : "", conn_unread(c));
}

void conn_consume(struct conn *c, size_t len)
{
	assert(len <= conn_unread(c));
	c->in_at += (uint32_t)len;
	if (c->in_at == c->in_end)
		c->in_at = c->in_end = 0;
}

void conn_drop_input(struct conn *c)
{
	free(c->in);
	c->in = NULL;
	c->in_at = c->in_end = c->in_cap = 0;
	c->in_hot = false;
}

/* ---- from the socket ---- */

static enum io end_input(struct conn *c, enum st st)
{
	if (c->in_state == ST_OK)
		c->in_state = st;
	return IO_ENDED;
}

static enum io plain_read(struct conn *c, void *out, size_t len, size_t *got)
{
	ssize_t n;

	do
		n = recv(c->watch.fd, out, len, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		/* Less than there was room for: empty, and more makes a new edge.  An end that has
		 * come already makes none. */
		if ((size_t)n < len && !c->hung_up)
			c->readable = false;
		*got = (size_t)n;
		return IO_DONE;
	}
	if (n == 0)
		return end_input(c, ST_EOF);
	if (errno == EAGAIN) {
		c->readable = false;
		return IO_AGAIN;
	}
	conn_fail(c, ST_IO);
	return IO_ENDED;
}

static enum io receive(struct conn *c, void *out, size_t len, size_t *got)
{
	if (c->in_state != ST_OK)
		return IO_ENDED;
	enum io io = c->ssl ? conn_tls_read(c, out, len, got) : plain_read(c, out, len, got);
	if (io == IO_DONE) {
		c->received += *got;
		c->breath += (uint32_t)*got;
		c->idle_since = c->watch.loop->now;
	}
	return io;
}

static bool grow_buffer(struct conn *c)
{
	size_t cap = c->in_cap ? (size_t)c->in_cap * 2 : IN_FIRST;

	if (cap > c->limits.in_max)
		cap = c->limits.in_max;
	if (cap <= c->in_cap)
		return false;
	char *in = realloc(c->in, cap);
	if (!in)
		return false;
	c->in = in;
	c->in_cap = (uint32_t)cap;
	return true;
}

static bool make_room(struct conn *c)
{
	if (c->in_hot && !conn_unread(c))
		grow_buffer(c);
	if (c->in_end < c->in_cap)
		return true;
	/* Moving little room for much data would be done again at once; growing is not. */
	if (c->in_at <= c->in_cap / 2 && grow_buffer(c))
		return true;
	if (!c->in_at)
		return false;
	memmove(c->in, c->in + c->in_at, conn_unread(c));
	c->in_end -= c->in_at;
	c->in_at = 0;
	return true;
}

enum io conn_take_input(struct conn *c)
{
	size_t got;

	if (!make_room(c)) {
		if (c->in)
			return IO_FULL;
		conn_fail(c, ST_NOMEM);
		return IO_ENDED;
	}
	size_t room = c->in_cap - c->in_end;
	enum io io = receive(c, c->in + c->in_end, room, &got);
	if (io != IO_DONE)
		return io;
	c->in_end += (uint32_t)got;
	c->in_hot = got == room;
	return IO_DONE;
}

/* ---- what sessions call ---- */

/* When waiting that begins now must end. */
static int64_t input_limit(struct conn *c, int64_t deadline)
{
	int64_t idle = c->limits.idle_ms * NS_PER_MS;

	c->idle_since = c->watch.loop->now;
	if (!idle || deadline < c->idle_since + idle)
		return deadline;
	return c->idle_since + idle;
}

static void wait_for_input(struct conn *c, int64_t limit)
{
	conn_flush(c);
	if (!conn_wait(c, WAIT_INPUT, limit) && !c->readable)
		end_input(c, ST_TIMEOUT);
}

enum st conn_fill(struct conn *c, int64_t deadline)
{
	int64_t limit = input_limit(c, deadline);

	assert(fiber_self() == c->fiber);
	conn_breathe(c);
	for (;;) {
		enum io io = c->readable ? conn_take_input(c) : IO_AGAIN;

		if (io == IO_DONE)
			return ST_OK;
		if (io == IO_FULL)
			return ST_TOOBIG;
		if (c->in_state != ST_OK)
			return (enum st)c->in_state;
		wait_for_input(c, limit);
	}
}

enum st conn_read(struct conn *c, void *out, size_t len, size_t *got, int64_t deadline)
{
	int64_t limit = input_limit(c, deadline);

	assert(fiber_self() == c->fiber && len);
	conn_breathe(c);
	if (conn_unread(c)) {
		*got = conn_unread(c) < len ? conn_unread(c) : len;
		memcpy(out, c->in + c->in_at, *got);
		conn_consume(c, *got);
		return ST_OK;
	}
	for (;;) {
		enum io io = c->readable ? receive(c, out, len, got) : IO_AGAIN;

		if (io == IO_DONE)
			return ST_OK;
		if (c->in_state != ST_OK)
			return (enum st)c->in_state;
		wait_for_input(c, limit);
	}
}
