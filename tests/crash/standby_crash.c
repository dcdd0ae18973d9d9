/* standby_crash.c - a standby dies at every operation, and must have what it acknowledged.
 *
 *	standby_crash drive LIB ...      (drive.h)
 *
 * The source is made first, beside the watched folder and without a fault: STEPS batches that put rows, write and
 * unlink bodies, over many log files, with a second database that comes and one that goes. Batch t sets the row
 * "seq" to t, so that what is found says how far it is; ACKS holds where each batch ends in the log and up to where the
 * standby said "durable".  Then an empty folder follows in pieces, with syncs, rounds, checkpoints and openings
 * in between, and is promoted.  The check promotes what is left at once (odd seeds) or lets it follow to the end first. */
#include "base/byteorder.h"
#include "ese/io.h"
#include "ese/log_tail.h"
#include "ese/shipping.h"
#include "ese/standby.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"

#define STEPS    12u
#define ROWS     12u
#define SLOTS    5u
#define BODY_MAX 19000u
#define EXTRA    (STEPS / 3)     /* the second database comes */
#define GONE     (STEPS * 2 / 3) /* the third one goes; it came with the second */

struct acks {
	_Atomic uint64_t durable; /* at the standby */
	_Atomic bool promoted;    /* begun */
	uint64_t end[STEPS + 1];  /* of batch t in the source's log */
};

static const char *dir;
static char source[4096];
static struct acks *acks;
static uint64_t seed;
static bool working;

static void violation(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void violation(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("violation: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(1); /* threads of the engine may run */
}

/* Without a fault a failure is a violation; with one it is the end. */
static void need(enum st st, const char *what, const struct err *err)
{
	if (st == ST_OK)
		return;
	if (!working)
		violation("%s: %s", what, err->text);
	fprintf(stderr, "%s: %s\n", what, err->text);
	_exit(WORK_ENDED);
}

static void broken(void *arg, const struct err *why)
{
	(void)arg;
	need(ST_IO, "the engine", why);
}

static struct ese_options options(void)
{
	return (struct ese_options){ .segment_bytes = 64 * 1024,
				     .checkpoint_bytes = 200 * 1024,
				     .reserve_bytes = 1,
				     .broken = broken };
}

/* ---- what batch t does ---- */

static size_t body_len(uint32_t t)
{
	return t * 3733 % BODY_MAX + 1;
}

static void body_bytes(char *out, uint32_t t)
{
	for (size_t i = 0; i < body_len(t); i++)
		out[i] = (char)(t * 31 + i * 7 + i / 251);
}

static void key_of(char out[8], char kind, uint32_t n)
{
	snprintf(out, 8, "%c%02u", kind, n % 100);
}

struct wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void done(void *arg)
{
	struct wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void wait_done(struct wait *w)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void commit(struct ese_batch *b)
{
	struct wait w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
	struct err err;

	need(ese_commit(b, done, &w, &err), "commit", &err);
	wait_done(&w);
}

static struct ese_batch *batch(struct ese_db *db)
{
	struct ese_batch *b;
	struct err err;

	need(ese_batch_new(db, 1, &b, &err), "batch", &err);
	return b;
}

static void put_number(struct ese_batch *b, const char *key, uint64_t n)
{
	char v[8];

	le64_put(v, n);
	ese_put(b, span_str(key), span_of(v, 8));
}

static void wait_for_room(struct ese *g)
{
	struct wait w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

	ese_when_room(g, done, &w);
	wait_done(&w);
}

static void one_batch(struct ese *g, struct ese_db *db, uint64_t ids[SLOTS], uint32_t t)
{
	struct ese_batch *b = batch(db);
	struct ese_body *body;
	char key[8], bytes[BODY_MAX + 1];
	struct err err;

	body_bytes(bytes, t);
	need(ese_body_new(db, &body, &err), "body", &err);
	while (ese_body_write(body, bytes, body_len(t), &err) == ST_BUSY)
		wait_for_room(g);
	ese_link(b, body);
	if (t > SLOTS)
		ese_unlink(b, ids[t % SLOTS]);
	ids[t % SLOTS] = ese_body_id(body);
	ese_body_drop(body);
	key_of(key, 'b', t % SLOTS);
	put_number(b, key, ids[t % SLOTS]);
	key_of(key, 'r', t % ROWS);
	put_number(b, key, t);
	put_number(b, "seq", t);
	commit(b);
}

static struct ese_db *open_db(struct ese *g, const char *name)
{
	struct ese_db *db;
	struct err err;

	need(ese_db_open(g, name, true, &db, &err), name, &err);
	return db;
}

static void others(struct ese *g, uint32_t t)
{
	struct ese_batch *b;
	struct err err;

	if (t == GONE)
		need(ese_db_remove(open_db(g, "gone"), &err), "remove", &err);
	if (t < EXTRA)
		return;
	b = batch(open_db(g, "extra"));
	put_number(b, "seq", t);
	commit(b);
	if (t >= GONE)
		return;
	b = batch(open_db(g, "gone"));
	put_number(b, "seq", t);
	commit(b);
}

static int no_sync(int fd)
{
	(void)fd;
	return 0;
}

static struct ese *open_source(void)
{
	struct ese_options o = options();
	struct err err;
	struct ese *g;

	o.keep_logs = true;
	need(ese_open(source, &o, &g, &err), "source", &err);
	return g;
}

static void make_source(void)
{
	struct io_ops ops = *io_real();
	struct ese_log_info info;
	uint64_t ids[SLOTS] = { 0 };
	struct ese *g;
	char cmd[5000];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", source);
	if (system(cmd) != 0)
		exit(1);
	ops.sync = ops.sync_dir = no_sync;
	io_set_seam(&ops);
	g = open_source();
	for (uint32_t t = 1; t <= STEPS; t++) {
		others(g, t);
		one_batch(g, open_db(g, "one"), ids, t);
		ese_log_look(g, &info);
		acks->end[t] = info.durable;
		if (t == STEPS / 2) {
			ese_close(g);
			g = open_source();
		}
	}
	ese_close(g);
	io_set_seam(NULL);
}

/* ---- following ---- */

struct dice {
	uint64_t x;
};

static uint32_t roll(struct dice *d, uint32_t sides)
{
	d->x = d->x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(d->x >> 33) % sides;
}

static struct ese_standby *open_standby(void)
{
	struct ese_options o = options();
	struct ese_standby *s;
	struct err err;

	need(ese_standby_open(dir, &o, &s, &err), "open the standby", &err);
	return s;
}

static void close_standby(struct ese_standby *s)
{
	struct err err;

	need(ese_standby_close(s, &err), "close the standby", &err);
}

static void settle(struct ese_standby *s, bool apply)
{
	struct ese_standby_info info;
	struct err err;

	need(ese_standby_sync(s, &err), "sync", &err);
	ese_standby_look(s, &info);
	acks->durable = info.durable;
	if (apply)
		need(ese_standby_apply(s, &err), "apply", &err);
}

static struct log_tail *tail_for(const struct ese_standby *s)
{
	struct ese_standby_info info;
	struct log_tail *t;
	struct err err;

	ese_standby_look(s, &info);
	need(log_tail_open(source, info.received, info.created, &t, &err), "the source's log",
	     &err);
	return t;
}

static struct ese_standby *follow(struct ese_standby *s, struct dice *d)
{
	struct log_tail *tail = tail_for(s);
	struct log_step step;
	struct err err;
	enum st st;

	while ((st = log_tail_next(tail, acks->end[STEPS], &step, &err)) == ST_OK) {
		if (step.begins)
			need(ese_standby_begin(s, &step.head, &err), "begin", &err);
		else
			need(ese_standby_take(s, step.group.pos, step.group.bytes, &err), "take",
			     &err);
		if (roll(d, 6) == 0)
			settle(s, roll(d, 2) == 0);
		if (roll(d, 60) == 0) {
			log_tail_close(tail);
			close_standby(s);
			s = open_standby();
			tail = tail_for(s);
		}
	}
	log_tail_close(tail);
	if (st != ST_EOF)
		need(st, "follow", &err);
	settle(s, true);
	return s;
}

static struct ese *promote(struct ese_standby *s)
{
	struct ese_options o = options();
	struct err err;
	struct ese *g;

	acks->promoted = true;
	need(ese_standby_finish(s, &err), "finish", &err);
	close_standby(s);
	need(ese_open(dir, &o, &g, &err), "open as a group", &err);
	return g;
}

/* ---- the check ---- */

static uint64_t number(struct ese_db *db, const char *key)
{
	struct ese_value v;
	uint64_t n;

	if (ese_get(db, span_str(key), &v, NULL) != ST_OK)
		return 0;
	n = le64_get(v.bytes.at);
	ese_value_free(&v);
	return n;
}

static uint32_t last_before(uint32_t t, uint32_t n, uint32_t of)
{
	while (t > 0 && t % of != n)
		t--;
	return t;
}

static void check_one(struct ese_db *db, uint32_t t)
{
	char key[8], want[BODY_MAX + 1], got[BODY_MAX + 1];
	struct err err;

	for (uint32_t n = 0; n < ROWS; n++) {
		key_of(key, 'r', n);
		if (number(db, key) != last_before(t, n, ROWS))
			violation("at batch %u row %s is of batch %llu", t, key,
				  (unsigned long long)number(db, key));
	}
	for (uint32_t n = 0; n < SLOTS; n++) {
		uint32_t from = last_before(t, n, SLOTS);

		key_of(key, 'b', n);
		if (from == 0)
			continue;
		body_bytes(want, from);
		if (ese_body_read(db, number(db, key), 0, got, body_len(from), &err) != ST_OK)
			violation("at batch %u body %s: %s", t, key, err.text);
		if (memcmp(want, got, body_len(from)) != 0)
			violation("at batch %u body %s is another", t, key);
	}
}

static void check_group(struct ese *g)
{
	struct ese_db *db;
	uint32_t must = 0, t;

	while (must < STEPS && acks->end[must + 1] <= acks->durable)
		must++;
	if (ese_db_open(g, "one", false, &db, NULL) != ST_OK) {
		if (must > 0)
			violation("the database is not there, batch %u was acknowledged", must);
		return;
	}
	t = (uint32_t)number(db, "seq");
	if (t < must)
		violation("batch %u is there, %u was acknowledged", t, must);
	check_one(db, t);
	if (t >= EXTRA &&
	    (ese_db_open(g, "extra", false, &db, NULL) != ST_OK || number(db, "seq") < t))
		violation("the second database is behind the first");
	if (t >= GONE && ese_db_open(g, "gone", false, &db, NULL) == ST_OK)
		violation("the database that was removed is there");
}

static int check(void)
{
	struct ese_standby *s = open_standby();
	struct ese_standby_info info;
	struct dice d = { seed };
	struct ese *g;

	ese_standby_look(s, &info);
	if (!acks->promoted && info.durable < acks->durable)
		violation("it has the log up to %016llx and acknowledged %016llx",
			  (unsigned long long)info.durable, (unsigned long long)acks->durable);
	if (!acks->promoted && seed % 2 == 0)
		s = follow(s, &d);
	g = promote(s);
	check_group(g);
	ese_close(g);
	return 0;
}

static int work(void)
{
	struct dice d = { seed };

	make_source();
	ese_close(promote(follow(open_standby(), &d)));
	return 0;
}

int main(int argc, char **argv)
{
	static const struct workload w = {
		.name = "standby",
		.acks = sizeof(struct acks),
		.seeds = 2,
		.full = 4,
		.recovery = 60,
		.usage = "",
	};

	if (argc >= 2 && strcmp(argv[1], "drive") == 0)
		return drive_main(&w, argc, argv);
	if (argc != 5) {
		fprintf(stderr, "usage: standby_crash work|check DIR ACKS SEED, or drive ...\n");
		return 1;
	}
	dir = argv[2];
	snprintf(source, sizeof(source), "%.4000s.source", dir);
	acks = drive_acks(argv[3], sizeof(*acks));
	seed = strtoull(argv[4], NULL, 10);
	working = strcmp(argv[1], "work") == 0;
	return working ? work() : check();
}
