/* ese_bench.c - durable transactions per second, beside the bare loop that bounds them.
 *
 *	ese_bench [--seconds S] [--dir DIR] [--body BYTES] [--sync 0|1|2] [--rounds N] [--threads N] [--only D]
 *
 * A transaction is a body (4 KiB) and 6 rows, durable before its deliverer goes on.  Deliverers are carried by a
 * few threads (2), as fibers are by loops; --threads 64 gives each its own.  For 1, 8 and 64 deliverers, in one run and taking turns: the engine, and a loop that does nothing but gather what the deliverers
 * hand in, write it (the same bytes per transaction) into a zero-filled file and sync once per group.  The
 * ratio of the two is the figure; medians over the rounds. */
#include "base/clock.h"
#include "ese/ese.h"
#include "ese/rec.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define DELIVERERS_MAX 64
#define ROWS           6
#define ROUNDS_MAX     9
#define THREADS_MAX    64

struct setup {
	double seconds;
	const char *dir;
	size_t body;
	int sync;
	unsigned rounds, threads;
};

/* A thread that carries deliverers, as a loop thread carries fibers: who is done is put on its list, and it
 * is woken only when it sleeps. */
struct carrier {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct deliverer *ready;
	bool sleeps;
	pthread_t thread;
	struct bench *b;
	unsigned number;
};

struct deliverer {
	struct deliverer *next;
	struct carrier *on;
	unsigned number;
	uint64_t count;
	int64_t began;
	uint64_t *took; /* ns of each */
	size_t ntook, cap;
};

static void is_ready(void *arg)
{
	struct deliverer *d = arg;
	struct carrier *c = d->on;

	pthread_mutex_lock(&c->lock);
	d->next = c->ready;
	c->ready = d;
	if (c->sleeps)
		pthread_cond_signal(&c->cond);
	c->sleeps = false;
	pthread_mutex_unlock(&c->lock);
}

static void must(enum st st, const struct err *err)
{
	if (st == ST_OK)
		return;
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

/* ---- deliverers, whatever takes their transactions ---- */

struct bench {
	const struct setup *s;
	/* Hand one in; is_ready(d) when it is durable, or (false) when it has to be tried again then. */
	bool (*deliver)(struct bench *b, struct deliverer *d);
	int64_t until;
	struct deliverer all[DELIVERERS_MAX];
	unsigned deliverers, carriers;
	char body[65536];

	struct ese *g;
	struct ese_db *db;

	/* the bare loop */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct deliverer *queue[DELIVERERS_MAX];
	unsigned nqueue;
	bool stop;
	size_t bytes; /* of a transaction in the log */
	int fd;
	uint64_t syncs, written;
};

static void note(struct deliverer *d, uint64_t ns)
{
	if (d->ntook == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 4096;
		d->took = realloc(d->took, d->cap * sizeof(*d->took));
		if (!d->took)
			exit(1);
	}
	d->took[d->ntook++] = ns;
}

/* The next transaction of one deliverer; false when its time is over. */
static bool step(struct bench *b, struct deliverer *d)
{
	int64_t now = clock_mono();

	if (d->began)
		note(d, (uint64_t)(now - d->began));
	d->count += d->began != 0;
	d->began = now;
	if (now >= b->until)
		return false;
	if (!b->deliver(b, d))
		d->began = 0;
	return true;
}

static void *carry(void *arg)
{
	struct carrier *c = arg;
	unsigned left = 0;

	for (unsigned i = c->number; i < c->b->deliverers; i += c->b->carriers) {
		c->b->all[i].on = c;
		left += step(c->b, &c->b->all[i]);
	}
	while (left > 0) {
		struct deliverer *list;

		pthread_mutex_lock(&c->lock);
		while (!c->ready) {
			c->sleeps = true;
			pthread_cond_wait(&c->cond, &c->lock);
		}
		list = c->ready;
		c->ready = NULL;
		pthread_mutex_unlock(&c->lock);
		while (list) {
			struct deliverer *next = list->next;

			left -= !step(c->b, list);
			list = next;
		}
	}
	return NULL;
}

static bool to_engine(struct bench *b, struct deliverer *d)
{
	struct ese_batch *batch;
	struct ese_body *body;
	struct err err = { 0 };
	char key[40], value[160];

	must(ese_body_new(b->db, &body, &err), &err);
	for (size_t off = 0; off < b->s->body; off += 32768) {
		size_t len = b->s->body - off < 32768 ? b->s->body - off : 32768;
		enum st st = ese_body_write(body, b->body + off, len, &err);

		if (st == ST_BUSY) {
			ese_body_drop(body);
			ese_when_room(b->g, is_ready, d);
			return false;
		}
		must(st, &err);
	}
	must(ese_batch_new(b->db, d->number, &batch, &err), &err);
	ese_link(batch, body);
	memset(value, 'v', sizeof(value));
	for (int i = 0; i < ROWS; i++) {
		int len = snprintf(key, sizeof(key), "m%03u/%d/%012llu", d->number, i,
				   (unsigned long long)d->count);

		ese_put(batch, span_of(key, (size_t)len), span_of(value, i == 0 ? 160 : 40));
	}
	ese_body_drop(body);
	must(ese_commit(batch, is_ready, d, &err), &err);
	return true;
}

static bool to_loop(struct bench *b, struct deliverer *d)
{
	pthread_mutex_lock(&b->lock);
	b->queue[b->nqueue++] = d;
	if (b->nqueue == 1)
		pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&b->lock);
	return true;
}

/* ---- the bare loop ---- */

#define LOOP_FILE (5u * 1024 * 1024)

static void loop_open(struct bench *b)
{
	char path[512], *zeros = calloc(1, LOOP_FILE);

	snprintf(path, sizeof(path), "%s/loop.log", b->s->dir);
	b->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (b->fd < 0 || write(b->fd, zeros, LOOP_FILE) != LOOP_FILE || fsync(b->fd) < 0)
		exit(1);
	close(b->fd);
	free(zeros);
	b->fd = open(path, O_RDWR | (b->s->sync == 0 ? O_DIRECT | O_DSYNC : 0));
	if (b->fd < 0)
		exit(1);
}

static void loop_write(struct bench *b, const char *buffer, size_t len, uint64_t off)
{
	struct iovec iov = { .iov_len = len };
	const void *at = buffer;

	memcpy(&iov.iov_base, &at, sizeof(at));
	if (pwritev2(b->fd, &iov, 1, (off_t)off, b->s->sync == 1 ? RWF_DSYNC : 0) != (ssize_t)len)
		exit(1);
	if (b->s->sync == 2 && fdatasync(b->fd) < 0)
		exit(1);
	b->syncs++;
	b->written += len;
}

static void *loop_commit(void *arg)
{
	struct bench *b = arg;
	uint64_t off = 0;
	char *buffer;

	if (posix_memalign((void **)&buffer, 4096, LOOP_FILE) != 0)
		exit(1);
	memset(buffer, 'x', LOOP_FILE);
	for (;;) {
		struct deliverer *turns[DELIVERERS_MAX];
		size_t len;
		unsigned n;

		pthread_mutex_lock(&b->lock);
		while (b->nqueue == 0 && !b->stop)
			pthread_cond_wait(&b->work, &b->lock);
		n = b->nqueue;
		memcpy(turns, b->queue, n * sizeof(*turns));
		b->nqueue = 0;
		pthread_mutex_unlock(&b->lock);
		if (n == 0)
			break;
		for (unsigned i = 0; i < n; i++)
			memcpy(buffer + i * b->bytes, b->body, b->s->body);
		len = (n * b->bytes + 4095) / 4096 * 4096;
		if (off + len > LOOP_FILE)
			off = 0;
		loop_write(b, buffer, len, off);
		off += len;
		for (unsigned i = 0; i < n; i++)
			is_ready(turns[i]);
	}
	free(buffer);
	return NULL;
}

/* ---- a run ---- */

struct result {
	double rate, p50, p99, cpu, syncs, bytes;
};

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct result run(struct bench *b, unsigned deliverers)
{
	struct carrier carriers[THREADS_MAX] = { 0 };
	double cpu = cpu_seconds();
	int64_t began = clock_mono();
	struct result r = { 0 };
	struct deliverer *all = b->all;
	uint64_t *took, n = 0, at = 0;
	double wall;

	b->until = began + (int64_t)(b->s->seconds * 1e9);
	b->deliverers = deliverers;
	b->carriers = deliverers < b->s->threads ? deliverers : b->s->threads;
	for (unsigned i = 0; i < deliverers; i++)
		all[i].number = i;
	for (unsigned i = 0; i < b->carriers; i++) {
		carriers[i].b = b;
		carriers[i].number = i;
		pthread_mutex_init(&carriers[i].lock, NULL);
		pthread_cond_init(&carriers[i].cond, NULL);
		if (pthread_create(&carriers[i].thread, NULL, carry, &carriers[i]) != 0)
			exit(1);
	}
	for (unsigned i = 0; i < b->carriers; i++)
		pthread_join(carriers[i].thread, NULL);
	for (unsigned i = 0; i < deliverers; i++)
		n += all[i].ntook;
	wall = (double)(clock_mono() - began) / 1e9;
	took = malloc((n + 1) * sizeof(*took));
	for (unsigned i = 0; i < deliverers; i++) {
		memcpy(took + at, all[i].took, all[i].ntook * sizeof(*took));
		at += all[i].ntook;
		free(all[i].took);
	}
	qsort(took, n, sizeof(*took), by_size);
	r.rate = (double)n / wall;
	r.p50 = (double)took[n / 2] / 1e6;
	r.p99 = (double)took[n * 99 / 100] / 1e6;
	r.cpu = (cpu_seconds() - cpu) / (double)n * 1e6;
	free(took);
	return r;
}

static struct result run_engine(const struct setup *s, unsigned deliverers, size_t *bytes_out)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct ese_options o = { .log_sync = s->sync };
	struct ese_stats before, after;
	struct err err = { 0 };
	char dir[512], cmd[600];
	struct result r;
	double n;

	snprintf(dir, sizeof(dir), "%s/group", s->dir);
	b->s = s;
	b->deliver = to_engine;
	memset(b->body, 'b', sizeof(b->body));
	must(ese_open(dir, &o, &b->g, &err), &err);
	must(ese_db_open(b->g, "mailbox/bench", true, &b->db, &err), &err);
	ese_stats(b->g, &before);
	r = run(b, deliverers);
	ese_stats(b->g, &after);
	n = (double)(after.commits - before.commits);
	r.syncs = (double)(after.log_syncs - before.log_syncs) / n;
	r.bytes = (double)(after.log_bytes - before.log_bytes) / n;
	ese_close(b->g);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	if (system(cmd) != 0)
		exit(1);
	/* What a transaction takes in the log without the padding of its group. */
	*bytes_out =
		rec_size(REC_BODY_HEAD + s->body) +
		rec_size(REC_COMMIT_HEAD + 25 + 8 + s->body / 4096 * 4 + 9 + ROWS * (7 + 19 + 60));
	free(b);
	return r;
}

static struct result run_loop(const struct setup *s, unsigned deliverers, size_t bytes)
{
	struct bench *b = calloc(1, sizeof(*b));
	pthread_t committer;
	struct result r;

	b->s = s;
	b->deliver = to_loop;
	b->bytes = bytes;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	loop_open(b);
	if (pthread_create(&committer, NULL, loop_commit, b) != 0)
		exit(1);
	r = run(b, deliverers);
	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_signal(&b->work);
	pthread_mutex_unlock(&b->lock);
	pthread_join(committer, NULL);
	r.syncs = (double)b->syncs / (r.rate * s->seconds);
	r.bytes = (double)b->written / (r.rate * s->seconds);
	close(b->fd);
	free(b);
	return r;
}

static int by_rate(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return (x->rate > y->rate) - (x->rate < y->rate);
}

static void show(const char *what, unsigned deliverers, const struct result *r)
{
	printf("%-7s %3u  %9.0f/s  p50 %7.3f ms  p99 %7.3f ms  %6.1f us CPU  %6.3f syncs  "
	       "%7.0f log bytes\n",
	       what, deliverers, r->rate, r->p50, r->p99, r->cpu, r->syncs, r->bytes);
}

static void compare(const struct setup *s, unsigned deliverers)
{
	struct result engine[ROUNDS_MAX], loop[ROUNDS_MAX];
	size_t bytes;

	for (unsigned i = 0; i < s->rounds; i++) {
		engine[i] = run_engine(s, deliverers, &bytes);
		loop[i] = run_loop(s, deliverers, bytes);
	}
	qsort(engine, s->rounds, sizeof(*engine), by_rate);
	qsort(loop, s->rounds, sizeof(*loop), by_rate);
	show("engine", deliverers, &engine[s->rounds / 2]);
	show("loop", deliverers, &loop[s->rounds / 2]);
	printf("ratio   %3u  %.2f\n\n", deliverers,
	       engine[s->rounds / 2].rate / loop[s->rounds / 2].rate);
}

int main(int argc, char **argv)
{
	static const unsigned counts[] = { 1, 8, 64 };
	struct setup s = {
		.seconds = 3, .dir = "/var/tmp", .body = 4096, .rounds = 3, .threads = 2
	};
	char dir[256], cmd[300];
	unsigned only = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seconds") == 0)
			s.seconds = atof(argv[i + 1]);
		else if (strcmp(argv[i], "--dir") == 0)
			s.dir = argv[i + 1];
		else if (strcmp(argv[i], "--body") == 0)
			s.body = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--sync") == 0)
			s.sync = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--rounds") == 0)
			s.rounds = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--threads") == 0)
			s.threads = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--only") == 0)
			only = (unsigned)atoi(argv[i + 1]);
	}
	if (s.body > 65536 || s.rounds == 0 || s.rounds > ROUNDS_MAX || s.threads == 0 ||
	    s.threads > THREADS_MAX)
		return 2;
	snprintf(dir, sizeof(dir), "%.200s/ese-bench-XXXXXX", s.dir);
	if (!mkdtemp(dir))
		return 1;
	s.dir = dir;
	printf("body %zu bytes, %d rows, sync method %d, %u threads, median of %u rounds of %.1f s\n\n",
	       s.body, ROWS, s.sync, s.threads, s.rounds, s.seconds);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		if (!only || only == counts[i])
			compare(&s, counts[i]);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd) == 0 ? 0 : 1;
}
