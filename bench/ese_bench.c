/* ese_bench.c - durable transactions, and what they cost; bench/run engine makes tables of it.
 *
 *	ese_bench --way engine|loop|sqlite|lmdb [--deliverers N] [--body BYTES] [--seconds S] [--threads N]
 *	          [--dir DIR] [--sync 0|1|2] [--direct BYTES (circular logging: larger bodies go beside the log)]
 *	ese_bench --recover N [--body BYTES] ...
 *	ese_bench --fill N [--body BYTES] ...
 *
 * The loop is the physical limit: it gathers what the deliverers hand in, writes as many bytes as the engine's log
 * takes for them into a zero-filled file and syncs once per group, and does nothing else.  One line of NAME=NUMBER words. */
#include "ese_bench.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <ftw.h>
#include <sys/syscall.h>
#include <unistd.h>

void die(const char *what)
{
	perror(what);
	exit(1);
}

void must(enum st st, const struct err *err)
{
	if (st == ST_OK)
		return;
	fprintf(stderr, "%s\n", err->text);
	exit(1);
}

const struct way *way_named(const char *name)
{
	static const struct way *const ways[] = {
		&way_engine,
		&way_loop,
#ifdef HAVE_SQLITE
		&way_sqlite,
#endif
#ifdef HAVE_LMDB
		&way_lmdb,
#endif
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (strcmp(ways[i]->name, name) == 0)
			return ways[i];
	return NULL;
}

/* ---- rows ---- */

size_t row_key(const struct deliverer *d, int i, char out[KEY_BYTES + 1])
{
	return (size_t)snprintf(out, KEY_BYTES + 1, "m%03u/%d/%012llu", d->number % 1000, i % 10,
				(unsigned long long)d->count % 1000000000000u);
}

size_t row_value_bytes(int i)
{
	return i == 0 ? 160 : 40;
}

const char *row_value(const struct deliverer *d, int i)
{
	static char random[8192];

	/* Made before there are threads (main). */
	if (random[0] == 0) {
		uint64_t x = 88172645463325252u;

		for (size_t at = 0; at < sizeof(random); at++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			random[at] = (char)(x >> 32 | 1);
		}
	}
	return random + (d->count * 131 + d->number * 17 + (unsigned)i * 1009) % 8000;
}

size_t row_bytes(void)
{
	size_t n = 0;

	for (int i = 0; i < ROWS; i++)
		n += KEY_BYTES + row_value_bytes(i);
	return n;
}

/* ---- deliverers ---- */

void is_ready(void *arg)
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

static void note(struct deliverer *d, uint64_t ns)
{
	if (d->ntook == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 4096;
		d->took = realloc(d->took, d->cap * sizeof(*d->took));
		if (!d->took)
			die("memory");
	}
	d->took[d->ntook++] = ns;
}

static bool more(struct bench *b, int64_t now)
{
	uint64_t left;

	if (!b->s->count)
		return now < b->until;
	left = b->left;
	while (left > 0 && !atomic_compare_exchange_weak(&b->left, &left, left - 1))
		;
	return left > 0;
}

/* The next transaction of one deliverer; false when its time is over. */
static bool step(struct bench *b, struct deliverer *d)
{
	int64_t now = clock_mono();
	bool again = d->began < 0; /* what was begun was not taken */

	if (d->began > 0) {
		note(d, (uint64_t)(now - d->began));
		d->count++;
	}
	if (!again && !more(b, now))
		return false;
	d->began = b->way->deliver(b, d) ? now : -1;
	return true;
}

static void *carry(void *arg)
{
	struct carrier *c = arg;
	const struct setup *s = c->b->s;
	unsigned left = 0;

	for (unsigned i = c->number; i < s->deliverers; i += s->threads)
		left += step(c->b, &c->b->all[i]);
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

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void sum_up(struct bench *b, double wall, struct result *out)
{
	uint64_t n = 0, at = 0, *took;

	for (unsigned i = 0; i < b->s->deliverers; i++)
		n += b->all[i].ntook;
	took = malloc((n + 1) * sizeof(*took));
	if (!took || n == 0)
		die("nothing was delivered");
	for (unsigned i = 0; i < b->s->deliverers; i++) {
		memcpy(took + at, b->all[i].took, b->all[i].ntook * sizeof(*took));
		at += b->all[i].ntook;
		free(b->all[i].took);
	}
	qsort(took, n, sizeof(*took), by_size);
	*out = (struct result){ .rate = (double)n / wall,
				.p50 = (double)took[n / 2] / 1e6,
				.p99 = (double)took[n * 99 / 100] / 1e6,
				.n = n };
	free(took);
}

void run(struct bench *b, struct result *out)
{
	const struct setup *s = b->s;
	int64_t began = clock_mono();

	b->until = began + (int64_t)(s->seconds * 1e9);
	b->left = s->count;
	for (unsigned i = 0; i < s->deliverers; i++) {
		b->all[i].number = i;
		b->all[i].on = &b->carriers[i % s->threads];
	}
	for (unsigned i = 0; i < s->threads; i++) {
		struct carrier *c = &b->carriers[i];

		c->b = b;
		c->number = i;
		pthread_mutex_init(&c->lock, NULL);
		pthread_cond_init(&c->cond, NULL);
		if (pthread_create(&c->thread, NULL, carry, c) != 0)
			die("thread");
	}
	for (unsigned i = 0; i < s->threads; i++)
		pthread_join(b->carriers[i].thread, NULL);
	sum_up(b, (double)(clock_mono() - began) / 1e9, out);
}

/* ---- what it costs ---- */

static _Atomic uint64_t syncs;

/* In front of the C library's, for every library in the process. */
int fsync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

uint64_t syncs_made(void)
{
	return syncs;
}

static uint64_t number_in(const char *path, const char *name)
{
	FILE *f = fopen(path, "r");
	unsigned long long n = 0;
	char line[200];

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			n = strtoull(line + strlen(name), NULL, 10);
	if (f)
		fclose(f);
	return n;
}

uint64_t bytes_written(void)
{
	return number_in("/proc/self/io", "write_bytes:");
}

uint64_t anonymous_bytes(void)
{
	return number_in("/proc/self/status", "RssAnon:") * 1024;
}

static uint64_t folder_total;

static int add_file(const char *path, const struct stat *info, int flag, struct FTW *where)
{
	(void)path;
	(void)where;
	if (flag == FTW_F)
		folder_total += (uint64_t)info->st_blocks * 512;
	return 0;
}

uint64_t folder_bytes(const char *path)
{
	folder_total = 0;
	nftw(path, add_file, 20, FTW_PHYS);
	return folder_total;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Everything counts until the way is closed in order; the rate is that of the deliveries. */
static void measure_way(const struct setup *s, const struct way *way)
{
	struct bench *b = calloc(1, sizeof(*b));
	uint64_t written = bytes_written(), made = syncs_made();
	double cpu = cpu_seconds();
	struct result r;

	if (!b)
		die("memory");
	b->s = s;
	b->way = way;
	memset(b->body, 'b', sizeof(b->body));
	way->open(b);
	run(b, &r);
	way->close(b);
	printf("rate=%.0f p50_ms=%.3f p99_ms=%.3f cpu_us=%.1f syncs=%.4f written=%.0f\n", r.rate,
	       r.p50, r.p99, (cpu_seconds() - cpu) / (double)r.n * 1e6,
	       (double)(syncs_made() - made + b->more_syncs) / (double)r.n,
	       (double)(bytes_written() - written) / (double)r.n);
	free(b);
}

/* ---- */

struct words {
	const char *way;
	uint64_t recover, fill;
};

static bool take_words(int argc, char **argv, struct setup *s, struct words *w)
{
	for (int i = 1; i < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];

		if (!value)
			return false;
		if (strcmp(name, "--way") == 0)
			w->way = value;
		else if (strcmp(name, "--recover") == 0)
			w->recover = strtoull(value, NULL, 10);
		else if (strcmp(name, "--fill") == 0)
			w->fill = strtoull(value, NULL, 10);
		else if (strcmp(name, "--seconds") == 0)
			s->seconds = atof(value);
		else if (strcmp(name, "--dir") == 0)
			s->dir = value;
		else if (strcmp(name, "--body") == 0)
			s->body = strtoull(value, NULL, 10);
		else if (strcmp(name, "--direct") == 0)
			s->direct = atoll(value);
		else if (strcmp(name, "--sync") == 0)
			s->sync = atoi(value);
		else if (strcmp(name, "--threads") == 0)
			s->threads = (unsigned)atoi(value);
		else if (strcmp(name, "--deliverers") == 0)
			s->deliverers = (unsigned)atoi(value);
		else
			return false;
	}
	if (s->threads > s->deliverers)
		s->threads = s->deliverers;
	return s->body > 0 && s->body <= BODY_BYTES && s->threads > 0 &&
	       s->deliverers <= DELIVERERS_MAX && (w->way || w->recover || w->fill);
}

int main(int argc, char **argv)
{
	struct setup s = { .seconds = 2,
			   .dir = "/var/tmp",
			   .body = 4096,
			   .direct = -1,
			   .deliverers = 64,
			   .threads = 2 };
	struct words w = { 0 };
	char dir[256], cmd[300];

	if (!take_words(argc, argv, &s, &w)) {
		fprintf(stderr, "ese_bench: see its first lines\n");
		return 2;
	}
	if (w.way && !way_named(w.way)) {
		printf("absent=1\n");
		return 0;
	}
	snprintf(dir, sizeof(dir), "%.200s/ese-bench-XXXXXX", s.dir);
	if (!mkdtemp(dir))
		die(dir);
	s.dir = dir;
	row_value(&(struct deliverer){ 0 }, 0);
	if (w.way) {
		measure_way(&s, way_named(w.way));
	} else if (w.recover) {
		s.count = w.recover;
		measure_recovery(&s);
	} else {
		s.count = w.fill;
		measure_size(&s);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd) == 0 ? 0 : 1;
}
