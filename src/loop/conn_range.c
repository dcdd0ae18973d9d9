/* conn_range.c - output of a connection: ranges of files; see conn.h.
 *
 * sendfile(2) and pread(2) wait for the disk where the page cache has not got the bytes, and the loop
 * must not.  preadv2(RWF_NOWAIT) tells: what it has not got is read by the work pool into a chunk,
 * which then goes out as bytes.  A file system without RWF_NOWAIT keeps its files in memory (tmpfs)
 * and is read directly. */
#include "loop/conn_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE       (256 * 1024) /* for one sendfile */
#define PULL        (64 * 1024)  /* read into memory at once */
#define SMALL_RANGE 16384        /* up to here copying costs less than the system calls */

struct range_job {
	struct conn *conn;
	struct out_bytes *chunk;
	int fd;
	int64_t offset;
	size_t len;
};

/* Bytes read, 0 at the end of the file; -1: not in memory; -2: a real error. */
static ssize_t read_cached(int fd, void *out, size_t len, int64_t offset)
{
	struct iovec iov = { out, len };
	ssize_t n;

	do
		n = preadv2(fd, &iov, 1, offset, RWF_NOWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		n = pread(fd, out, len, offset);
	else if (n < 0 && errno == EAGAIN)
		return -1;
	return n < 0 ? -2 : n;
}

static bool range_cached(const struct out_range *r, size_t len)
{
	char first, last;

	/* Read-ahead fills from the front: where both ends are, so is the middle, nearly always. */
	return read_cached(r->fd, &first, 1, r->offset) == 1 &&
	       read_cached(r->fd, &last, 1, r->offset + (int64_t)len - 1) == 1;
}

static void advance(struct conn *c, struct out_range *r, size_t n)
{
	r->offset += (int64_t)n;
	r->len -= n;
	if (!r->len)
		conn_pop(c);
}

/* Turn the first `n` bytes of the range at the head, which `chunk` holds, into bytes before it. */
static void range_to_bytes(struct conn *c, struct out_bytes *chunk, size_t n)
{
	advance(c, (struct out_range *)c->out_head, n);
	chunk->end = (uint32_t)n;
	c->out_bytes += n;
	conn_prepend(c, &chunk->item);
}

/* ---- by the work pool ---- */

static void job_read(void *arg)
{
	struct range_job *job = arg;
	struct out_bytes *chunk = job->chunk;

	while (chunk->end < job->len) {
		ssize_t n = pread(job->fd, chunk->bytes + chunk->end, job->len - chunk->end,
				  job->offset + chunk->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		chunk->end += (uint32_t)n;
	}
}

static void job_done(void *arg)
{
	struct range_job *job = arg;
	struct conn *c = job->conn;
	struct out_bytes *chunk = job->chunk;

	free(job);
	c->job = NULL;
	if (c->out_state != ST_OK || !chunk->end) {
		free(chunk);
		conn_fail(c, ST_IO);
		conn_drop_output(c);
	} else {
		range_to_bytes(c, chunk, chunk->end);
	}
	conn_settle(c);
}

static enum io start_job(struct conn *c, const struct out_range *r, struct out_bytes *chunk,
			 size_t len)
{
	struct range_job *job = malloc(sizeof(*job));

	if (!job) {
		free(chunk);
		conn_fail(c, ST_NOMEM);
		return IO_ENDED;
	}
	*job = (struct range_job){ c, chunk, r->fd, r->offset, len };
	c->job = job;
	work_submit(job_read, job, job_done);
	return IO_AGAIN;
}

/* ---- by this loop ---- */

/* Read from memory into a chunk, or have the pool read it. */
static enum io pull(struct conn *c, struct out_range *r, bool cached)
{
	size_t len = r->len < PULL ? r->len : PULL;
	struct out_bytes *chunk = conn_bytes_new(len);

	if (!chunk) {
		conn_fail(c, ST_NOMEM);
		return IO_ENDED;
	}
	ssize_t n = cached ? read_cached(r->fd, chunk->bytes, len, r->offset) : -1;
	if (n > 0) {
		range_to_bytes(c, chunk, (size_t)n);
		return IO_DONE;
	}
	if (n == -1)
		return start_job(c, r, chunk, len);
	/* The file is shorter than was said, or unreadable: the stream cannot be kept true. */
	free(chunk);
	conn_fail(c, ST_IO);
	return IO_ENDED;
}

enum io conn_push_range(struct conn *c, size_t *sent)
{
	struct out_range *r = (struct out_range *)c->out_head;
	size_t len = r->len < PIECE ? r->len : PIECE;

	if (c->ssl)
		return pull(c, r, true);
	if (!range_cached(r, len))
		return pull(c, r, false);
	off_t offset = r->offset;
	ssize_t n;
	do
		n = sendfile(c->watch.fd, r->fd, &offset, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return conn_send_failed(c);
	if (n == 0) {
		conn_fail(c, ST_IO);
		return IO_ENDED;
	}
	c->by_sendfile += (uint64_t)n;
	advance(c, r, (size_t)n);
	*sent = (size_t)n;
	return IO_DONE;
}

/* true: the whole range was in memory and is now in the queue as bytes. */
static bool copy_small(struct conn *c, int fd, int64_t offset, size_t len)
{
	struct out_bytes *b = conn_tail_room(c, len);

	if (!b || read_cached(fd, b->bytes + b->end, len, offset) != (ssize_t)len)
		return false;
	b->end += (uint32_t)len;
	c->out_bytes += len;
	return true;
}

enum st conn_send_file(struct conn *c, int fd, int64_t offset, size_t len)
{
	enum st st = conn_hold_back(c);

	assert(fiber_self() == c->fiber);
	if (st != ST_OK || !len)
		return st;
	if (len > SMALL_RANGE || !copy_small(c, fd, offset, len)) {
		struct out_range *r = malloc(sizeof(*r));

		if (!r) {
			conn_fail(c, ST_NOMEM);
			return ST_NOMEM;
		}
		*r = (struct out_range){ { NULL, true }, fd, offset, len };
		conn_append(c, &r->item);
		c->out_ranges++;
	}
	c->queued += len;
	return conn_hold_back(c);
}
