/* conn_out.c - output of a connection: the queue and what empties it; see conn.h.
 *
 * The queue holds copied bytes in chunks and ranges of files.  conn_on_sent() is kept beside it by
 * position in the stream, so that it does not split chunks. */
#include "loop/conn_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK_SMALL 2000  /* a few replies */
#define CHUNK       16384 /* one TLS record */
#define RANGES_HIGH 8     /* each may pin a reply of the store, whose memory all sessions share */
#define GATHER      16
#define PUSH_BUDGET (1024 * 1024)

/* ---- the queue ---- */

bool conn_has_output(const struct conn *c)
{
	return c->out_head || c->job;
}

void conn_append(struct conn *c, struct out_item *item)
{
	item->next = NULL;
	if (c->out_tail)
		c->out_tail->next = item;
	else
		c->out_head = item;
	c->out_tail = item;
}

void conn_prepend(struct conn *c, struct out_item *item)
{
	item->next = c->out_head;
	c->out_head = item;
	if (!c->out_tail)
		c->out_tail = item;
}

void conn_pop(struct conn *c)
{
	struct out_item *item = c->out_head;

	c->out_head = item->next;
	if (!c->out_head)
		c->out_tail = NULL;
	if (item->is_range)
		c->out_ranges--;
	else
		c->out_bytes -= ((struct out_bytes *)item)->end - ((struct out_bytes *)item)->at;
	free(item);
}

struct out_bytes *conn_bytes_new(size_t cap)
{
	struct out_bytes *b = malloc(sizeof(*b) + cap);

	if (b)
		*b = (struct out_bytes){ .cap = (uint32_t)cap };
	return b;
}

struct out_bytes *conn_tail_room(struct conn *c, size_t len)
{
	if (c->out_tail && !c->out_tail->is_range) {
		struct out_bytes *tail = (struct out_bytes *)c->out_tail;

		if (tail->cap - tail->end >= len)
			return tail;
	}
	size_t cap = c->out_head || len > CHUNK_SMALL ? CHUNK : CHUNK_SMALL;
	struct out_bytes *b = conn_bytes_new(len > cap ? len : cap);
	if (b)
		conn_append(c, &b->item);
	return b;
}

static void run_call(void *arg)
{
	struct out_call call = *(struct out_call *)arg;

	free(arg);
	call.fn(call.arg);
}

/* Those that wait for no more than `upto` bytes to have left. */
static void post_calls(struct conn *c, uint64_t upto)
{
	while (c->calls && c->calls->at <= upto) {
		struct out_call *call = c->calls;

		c->calls = call->next;
		call->post = (struct post){ NULL, run_call, call };
		loop_post_node(c->watch.loop, &call->post);
	}
	if (!c->calls)
		c->last_call = NULL;
}

void conn_drop_output(struct conn *c)
{
	/* A file is still being read: its owner may not be told that it is free. */
	if (c->job)
		return;
	while (c->out_head)
		conn_pop(c);
	post_calls(c, UINT64_MAX);
}

/* ---- to the socket ---- */

void conn_blocked(struct conn *c)
{
	c->writable = false;
	/* A peer that takes nothing does not get more time by sending something. */
	if (c->blocked_at == c->sent)
		return;
	c->blocked_at = c->sent;
	c->blocked_since = c->watch.loop->now;
}

enum io conn_send_failed(struct conn *c)
{
	if (errno == EAGAIN) {
		conn_blocked(c);
		return IO_AGAIN;
	}
	conn_fail(c, ST_IO);
	return IO_ENDED;
}

static enum io gather_and_send(struct conn *c, size_t *sent)
{
	struct iovec iov[GATHER];
	struct msghdr msg = { .msg_iov = iov };
	struct out_item *item = c->out_head;
	ssize_t n;

	for (; item && !item->is_range && msg.msg_iovlen < GATHER; item = item->next) {
		struct out_bytes *b = (struct out_bytes *)item;

		iov[msg.msg_iovlen++] = (struct iovec){ b->bytes + b->at, b->end - b->at };
	}
	/* What follows at once belongs into the same packet. */
	do
		n = sendmsg(c->watch.fd, &msg, MSG_NOSIGNAL | (item ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return conn_send_failed(c);
	*sent = (size_t)n;
	return IO_DONE;
}

static enum io push_bytes(struct conn *c, size_t *sent)
{
	struct out_bytes *b = (struct out_bytes *)c->out_head;
	size_t len = b->end - b->at;

	/* A chunk that was made for a small range and then not used. */
	if (!len)
		return IO_DONE;
	if (!c->ssl)
		return gather_and_send(c, sent);
	return conn_tls_write(c, b->bytes + b->at, len < CHUNK ? len : CHUNK, sent);
}

static void drop_sent_bytes(struct conn *c, size_t n)
{
	while (c->out_head && !c->out_head->is_range) {
		struct out_bytes *b = (struct out_bytes *)c->out_head;
		size_t part = b->end - b->at < n ? b->end - b->at : n;

		b->at += (uint32_t)part;
		c->out_bytes -= part;
		n -= part;
		if (b->at < b->end)
			return;
		conn_pop(c);
	}
}

void conn_push(struct conn *c)
{
	size_t budget = PUSH_BUDGET;

	while (c->out_head && !c->job && c->writable && c->out_state == ST_OK) {
		size_t n = 0;
		bool range = c->out_head->is_range;

		if ((range ? conn_push_range(c, &n) : push_bytes(c, &n)) != IO_DONE)
			break;
		if (!range)
			drop_sent_bytes(c, n);
		c->sent += n;
		c->breath += (uint32_t)n;
		post_calls(c, c->sent);
		if (n >= budget) {
			/* The socket would take more, but others wait as well. */
			conn_continue(c);
			return;
		}
		budget -= n;
	}
	if (c->out_head)
		conn_arm(c);
}

void conn_flush(struct conn *c)
{
	if (c->out_head)
		conn_push(c);
}

/* ---- what sessions call ---- */

static bool over(const struct conn *c)
{
	return c->out_bytes > c->limits.out_high || c->out_ranges > RANGES_HIGH;
}

static enum st output_state(const struct conn *c)
{
	return c->closing && c->out_state == ST_OK ? ST_IO : (enum st)c->out_state;
}

/* F: wait until over() or conn_has_output() is no longer so. */
static enum st wait_output(struct conn *c, enum conn_wait wait)
{
	while (output_state(c) == ST_OK && (wait == WAIT_ROOM ? over(c) : conn_has_output(c))) {
		conn_push(c);
		if (wait == WAIT_ROOM ? !over(c) : !conn_has_output(c))
			break;
		if (c->writable && !c->job && c->out_state == ST_OK)
			fiber_yield();
		else
			conn_wait(c, wait, NO_DEADLINE);
	}
	return output_state(c);
}

enum st conn_hold_back(struct conn *c)
{
	conn_breathe(c);
	return over(c) ? wait_output(c, WAIT_ROOM) : output_state(c);
}

enum st conn_write(struct conn *c, const void *bytes, size_t len)
{
	enum st st = output_state(c);

	assert(fiber_self() == c->fiber);
	for (const char *at = bytes; len && st == ST_OK; st = conn_hold_back(c)) {
		struct out_bytes *b = conn_tail_room(c, 1);

		if (!b) {
			conn_fail(c, ST_NOMEM);
			return ST_NOMEM;
		}
		size_t part = b->cap - b->end < len ? b->cap - b->end : len;
		memcpy(b->bytes + b->end, at, part);
		b->end += (uint32_t)part;
		c->out_bytes += part;
		c->queued += part;
		at += part;
		len -= part;
	}
	return st;
}

enum st conn_puts(struct conn *c, const char *text)
{
	return conn_write(c, text, strlen(text));
}

enum st conn_printf(struct conn *c, const char *fmt, ...)
{
	char small[512], *text = small;
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return ST_BAD;
	if ((size_t)n >= sizeof(small)) {
		va_start(ap, fmt);
		n = vasprintf(&text, fmt, ap);
		va_end(ap);
		if (n < 0)
			return ST_NOMEM;
	}
	enum st st = conn_write(c, text, (size_t)n);
	if (text != small)
		free(text);
	return st;
}

enum st conn_on_sent(struct conn *c, void (*fn)(void *arg), void *arg)
{
	struct out_call *call = malloc(sizeof(*call));

	if (!call)
		panic("no memory for a call when output is sent");
	*call = (struct out_call){ .at = c->queued, .fn = fn, .arg = arg };
	if (c->last_call)
		c->last_call->next = call;
	else
		c->calls = call;
	c->last_call = call;
	if (c->out_state != ST_OK)
		conn_drop_output(c);
	else
		post_calls(c, c->sent);
	return output_state(c);
}

enum st conn_drain(struct conn *c)
{
	assert(fiber_self() == c->fiber);
	return wait_output(c, WAIT_EMPTY);
}
