/* ese_long.c - what takes a long log or a large database: recovery, size, opening, memory. */
#include "ese_bench.h"

#include "base/clock.h"
#include "ese/ese.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void group_path(const struct setup *s, char out[512])
{
	snprintf(out, 512, "%s/group", s->dir);
}

/* Deliver the count into the group; in order: close it, otherwise leave it as a kill does. */
static void fill(const struct setup *s, bool in_order)
{
	pid_t pid = fork();
	struct bench *b;
	struct result r;
	int status;

	if (pid < 0)
		die("fork");
	if (pid > 0) {
		if (waitpid(pid, &status, 0) != pid || status != 0)
			die("the filling process failed");
		return;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		die("memory");
	b->s = s;
	b->way = &way_engine;
	memset(b->body, 'b', sizeof(b->body));
	b->way->open(b);
	run(b, &r);
	if (in_order)
		b->way->close(b);
	_exit(0);
}

static struct ese *open_again(const char *dir, double *seconds_out)
{
	struct ese_options o = { 0 };
	int64_t began = clock_mono();
	struct err err = { 0 };
	struct ese *g;

	must(ese_open(dir, &o, &g, &err), &err);
	*seconds_out = (double)(clock_mono() - began) / 1e9;
	return g;
}

void measure_recovery(const struct setup *s)
{
	struct setup no_checkpoint = *s;
	struct ese_stats stats;
	double seconds;
	char dir[512];
	struct ese *g;

	group_path(s, dir);
	no_checkpoint.seconds = 0;
	fill(&no_checkpoint, false);
	g = open_again(dir, &seconds);
	ese_stats(g, &stats);
	printf("transactions=%llu replay_s=%.3f open_s=%.3f bodies=%llu\n",
	       (unsigned long long)s->count, (double)stats.recovery_ns / 1e9, seconds,
	       (unsigned long long)stats.bodies);
	ese_close(g);
}

/* Look at every hundredth body, as readers do. */
static void look_at_bodies(struct ese *g, uint64_t n, double *us_out)
{
	int64_t began = clock_mono();
	struct err err = { 0 };
	struct ese_db *db;
	uint64_t looks = 0;

	must(ese_db_open(g, "mailbox/bench", false, &db, &err), &err);
	for (uint64_t id = 1; id <= n; id += 100, looks++) {
		struct ese_scatter sc;

		if (ese_body_find(db, id, true, &sc, &err) == ST_OK)
			ese_scatter_free(&sc);
	}
	*us_out = (double)(clock_mono() - began) / 1e3 / (double)looks;
}

void measure_size(const struct setup *s)
{
	double seconds, find_us, n = (double)s->count;
	uint64_t before = anonymous_bytes(), opened;
	int64_t began = clock_mono();
	char dir[512], path[600];
	uint64_t rows, bodies;
	struct ese *g;

	group_path(s, dir);
	fill(s, true);
	printf("messages=%llu fill_s=%.1f ", (unsigned long long)s->count,
	       (double)(clock_mono() - began) / 1e9);
	snprintf(path, sizeof(path), "%s/mailbox/bench.edb", dir);
	rows = folder_bytes(path);
	snprintf(path, sizeof(path), "%s/mailbox/bench.stm", dir);
	bodies = folder_bytes(path);
	g = open_again(dir, &seconds);
	opened = anonymous_bytes();
	look_at_bodies(g, s->count, &find_us);
	printf("payload=%.0f rows=%.0f bodies=%.0f all=%.0f open_s=%.3f memory_open=%.0f memory_read=%.0f find_us=%.1f\n",
	       n * (double)(s->body + row_bytes()), (double)rows, (double)bodies,
	       (double)folder_bytes(dir), seconds, (double)(opened - before),
	       (double)(anonymous_bytes() - before), find_us);
	ese_close(g);
}
