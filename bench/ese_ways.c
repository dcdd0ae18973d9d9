/* ese_ways.c - the engine, and the bare loop that bounds it. */
#include "ese_bench.h"

#include "ese/ese.h"
#include "ese/rec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- the engine ---- */

struct engine {
	struct ese *g;
	struct ese_db *db;
};

static void engine_open(struct bench *b)
{
	struct ese_options o = { .log_sync = b->s->sync,
				 .circular = b->s->direct >= 0,
				 .direct_bytes = b->s->direct > 0 ? (uint32_t)b->s->direct : 1 };
	struct engine *e = calloc(1, sizeof(*e));
	struct err err = { 0 };
	char dir[512];

	if (!e)
		die("memory");
	snprintf(dir, sizeof(dir), "%s/group", b->s->dir);
	/* Counted transactions are there for what is left in the log. */
	o.checkpoint_bytes = b->s->seconds > 0 ? 0 : UINT64_MAX / 2;
	must(ese_open(dir, &o, &e->g, &err), &err);
	must(ese_db_open(e->g, "mailbox/bench", true, &e->db, &err), &err);
	b->own = e;
}

static bool engine_deliver(struct bench *b, struct deliverer *d)
{
	struct engine *e = b->own;
	struct ese_batch *batch;
	struct ese_body *body;
	struct err err = { 0 };
	char key[KEY_BYTES + 1];

	must(ese_body_new(e->db, &body, &err), &err);
	for (size_t off = 0; off < b->s->body; off += 32768) {
		size_t len = b->s->body - off < 32768 ? b->s->body - off : 32768;
		enum st st = ese_body_write(body, b->body + off, len, &err);

		if (st == ST_BUSY) {
			ese_body_drop(body);
			ese_when_room(e->g, is_ready, d);
			return false;
		}
		must(st, &err);
	}
	must(ese_batch_new(e->db, d->number, &batch, &err), &err);
	ese_link(batch, body);
	for (int i = 0; i < ROWS; i++) {
		size_t len = row_key(d, i, key);

		ese_put(batch, span_of(key, len), span_of(row_value(d, i), row_value_bytes(i)));
	}
	ese_body_drop(body);
	must(ese_commit(batch, is_ready, d, &err), &err);
	return true;
}

static void engine_close(struct bench *b)
{
	struct engine *e = b->own;
	struct ese_stats s;

	ese_stats(e->g, &s);
	ese_close(e->g);
	/* With fdatasync they are among those counted. */
	b->more_syncs = b->s->sync == 2 ? 0 : s.log_syncs;
	free(e);
}

const struct way way_engine = { "engine", engine_open, engine_deliver, engine_close, NULL };

/* ---- one writer who gathers ---- */

bool gather_deliver(struct bench *b, struct deliverer *d)
{
	pthread_mutex_lock(&b->lock);
	b->queue[b->nqueue++] = d;
	if (b->nqueue == 1)
		pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&b->lock);
	return true;
}

static void *gather(void *arg)
{
	struct bench *b = arg;

	for (;;) {
		struct deliverer *turns[DELIVERERS_MAX];
		unsigned n;

		pthread_mutex_lock(&b->lock);
		while (b->nqueue == 0 && !b->stop)
			pthread_cond_wait(&b->work, &b->lock);
		n = b->nqueue;
		memcpy(turns, b->queue, n * sizeof(struct deliverer *));
		b->nqueue = 0;
		pthread_mutex_unlock(&b->lock);
		if (n == 0)
			return NULL;
		b->way->commit(b, turns, n);
		for (unsigned i = 0; i < n; i++)
			is_ready(turns[i]);
	}
}

void gather_open(struct bench *b)
{
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	if (pthread_create(&b->gatherer, NULL, gather, b) != 0)
		die("thread");
}

void gather_close(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&b->lock);
	pthread_join(b->gatherer, NULL);
}

/* ---- the bare loop ---- */

#define LOOP_FILE (5u * 1024 * 1024)

struct loop {
	int fd;
	char *buffer;
	uint64_t off;
	size_t bytes; /* of a transaction in the engine's log, without the padding of its group */
};

static void loop_open(struct bench *b)
{
	struct loop *l = calloc(1, sizeof(*l));
	char path[512];
	size_t pages = (b->s->body + 4095) / 4096;

	if (!l || posix_memalign((void **)&l->buffer, 4096, LOOP_FILE) != 0)
		die("memory");
	l->bytes = rec_size(REC_BODY_HEAD + b->s->body) +
		   rec_size(REC_COMMIT_HEAD + 25 + 8 + pages * 4 + 9 + ROWS * 7 + row_bytes());
	snprintf(path, sizeof(path), "%s/loop.log", b->s->dir);
	memset(l->buffer, 0, LOOP_FILE);
	l->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (l->fd < 0 || write(l->fd, l->buffer, LOOP_FILE) != LOOP_FILE || fsync(l->fd) < 0)
		die(path);
	close(l->fd);
	memset(l->buffer, 'x', LOOP_FILE);
	l->fd = open(path, O_RDWR | (b->s->sync == 0 ? O_DIRECT | O_DSYNC : 0));
	if (l->fd < 0)
		die(path);
	b->own = l;
	gather_open(b);
}

static void loop_commit(struct bench *b, struct deliverer **turns, unsigned n)
{
	struct loop *l = b->own;
	struct iovec iov = { .iov_base = l->buffer };

	(void)turns;
	for (unsigned i = 0; i < n; i++)
		memcpy(l->buffer + i * l->bytes, b->body, b->s->body);
	iov.iov_len = (n * l->bytes + 4095) / 4096 * 4096;
	if (l->off + iov.iov_len > LOOP_FILE)
		l->off = 0;
	if (pwritev2(l->fd, &iov, 1, (off_t)l->off, b->s->sync == 1 ? RWF_DSYNC : 0) !=
	    (ssize_t)iov.iov_len)
		die("write");
	if (b->s->sync == 2 && fdatasync(l->fd) < 0)
		die("sync");
	b->more_syncs += b->s->sync != 2;
	l->off += iov.iov_len;
}

static void loop_close(struct bench *b)
{
	struct loop *l = b->own;

	gather_close(b);
	close(l->fd);
	free(l->buffer);
	free(l);
}

const struct way way_loop = { "loop", loop_open, gather_deliver, loop_close, loop_commit };
