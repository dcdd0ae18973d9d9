/* ese_crash.c - the engine dies at every operation, and a model says what must be there afterwards.
 *
 *	ese_crash drive LIB ...      (drive.h)
 *
 * The workload is made from the seed: batch t puts and deletes rows, writes, links and unlinks bodies, and
 * always sets the row "seq" to t, so that what is found after a crash says which batch was the last. The
 * model is the same workload played in memory up to that batch.  ACKS is a shared file outside the folder with two
 * numbers: batches acknowledged, batches handed to the engine. */
#include "ese/ese.h"
#include "base/byteorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "drive.h"

#define ROWS   32u
#define SLOTS  16u
#define WINDOW 3u /* batches in flight */

struct acks {
	_Atomic uint64_t acked, submitted;
};

static void violation(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void violation(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("violation: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* ---- the model ---- */

struct slot {
	bool used;
	uint64_t origin; /* the batch that wrote its body; with the slot's row it names the bytes */
	uint64_t changed; /* the batch that filled or emptied the slot */
	uint32_t len;
	uint64_t id; /* the worker's; the checker reads it from the row */
};

struct model {
	uint64_t rows[ROWS]; /* 0: absent; otherwise the batch that put it */
	struct slot slots[SLOTS];
};

struct dice {
	uint64_t x;
};

static uint32_t roll(struct dice *d, uint32_t sides)
{
	d->x += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = d->x;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) % sides);
}

static struct dice dice_for(uint64_t seed, uint64_t t)
{
	return (struct dice){ seed * UINT64_C(1000003) + t * UINT64_C(7919) };
}

enum action { A_NONE, A_WRITE, A_LINK, A_UNLINK };

struct step {
	struct {
		uint32_t row;
		bool put;
	} rows[4];
	uint32_t nrows;
	enum action action;
	uint32_t slot, from;
	uint32_t len;
	bool abort_body, abort_batch, checkpoint;
};

static uint32_t body_len(struct dice *d)
{
	switch (roll(d, 8)) {
	case 0:
		return roll(d, 100);
	case 1:
		return 4096 * (1 + roll(d, 3));
	case 2:
	case 3:
		return 20000 + roll(d, 30000);
	default:
		return 500 + roll(d, 6000);
	}
}

static struct step plan(const struct model *m, uint64_t seed, uint64_t t)
{
	struct dice d = dice_for(seed, t);
	struct step s = { .nrows = 1 + roll(&d, 4) };

	for (uint32_t i = 0; i < s.nrows; i++) {
		s.rows[i].row = roll(&d, ROWS);
		s.rows[i].put = roll(&d, 4) != 0;
	}
	s.slot = roll(&d, SLOTS);
	s.from = roll(&d, SLOTS);
	s.len = body_len(&d);
	s.action = (enum action[]){ A_WRITE, A_WRITE,  A_WRITE,  A_LINK,
				    A_LINK,  A_UNLINK, A_UNLINK, A_NONE }[roll(&d, 8)];
	/* A link by id wants a body that is committed: nothing younger than the window. */
	if (s.action == A_LINK && (!m->slots[s.from].used || m->slots[s.slot].used ||
				   m->slots[s.from].changed + WINDOW > t))
		s.action = A_NONE;
	if (s.action == A_UNLINK && !m->slots[s.slot].used)
		s.action = A_NONE;
	s.abort_body = roll(&d, 6) == 0;
	s.abort_batch = roll(&d, 8) == 0;
	s.checkpoint = roll(&d, 12) == 0;
	return s;
}

static void play(struct model *m, const struct step *s, uint64_t t)
{
	for (uint32_t i = 0; i < s->nrows; i++)
		m->rows[s->rows[i].row] = s->rows[i].put ? t : 0;
	if (s->action == A_WRITE)
		m->slots[s->slot] = (struct slot){ true, t, t, s->len, 0 };
	if (s->action == A_LINK) {
		m->slots[s->slot] = m->slots[s->from];
		m->slots[s->slot].changed = t;
	}
	if (s->action == A_UNLINK)
		m->slots[s->slot] = (struct slot){ .changed = t };
}

static void body_bytes(char *out, size_t len, uint64_t seed, uint64_t origin)
{
	struct dice d = dice_for(seed + 77, origin);
	uint64_t x = ((uint64_t)roll(&d, UINT32_MAX) << 20) | 1;

	for (size_t i = 0; i < len; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		out[i] = (char)(x >> 56);
	}
}

static size_t row_value(char out[400], uint32_t row, uint64_t t)
{
	size_t len = 20 + (row * 37 + t * 11) % 300;

	memset(out, 'a' + (int)((row + t) % 26), len);
	le64_put(out, t);
	return len;
}

static void row_key(char out[8], char kind, uint32_t n)
{
	snprintf(out, 8, "%c%02u", kind, n % 100);
}

/* ---- the workload ---- */

struct worker {
	const char *dir;
	uint64_t seed, batches;
	bool working;
	struct acks *acks;
	struct ese *g;
	struct ese_db *db;
	struct model m;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint64_t done, rooms, rooms_wanted;
};

static struct worker *self;

static void die(const char *what, const struct err *err)
{
	fprintf(stderr, "ended: %s: %s\n", what, err->text);
	_exit(WORK_ENDED); /* other threads run */
}

static void on_broken(void *arg, const struct err *why)
{
	(void)arg;
	die("broken", why);
}

/* While it works an operation may fail, and it gives up; the check has no faults to hide behind. */
static void need(const struct worker *w, enum st st, const char *what, const struct err *err)
{
	if (st == ST_OK)
		return;
	if (!w->working)
		violation("%s: %s", what, err->text);
	die(what, err);
}

static void open_group(struct worker *w)
{
	struct ese_options o = { .segment_bytes = 128 * 1024,
				 .checkpoint_bytes = 512 * 1024,
				 .reserve_bytes = 1,
				 .broken = on_broken };
	struct err err = { 0 };

	need(w, ese_open(w->dir, &o, &w->g, &err), "open", &err);
	need(w, ese_db_open(w->g, "mailbox/one", true, &w->db, &err), "open database", &err);
}

/* `t` may be a number to be acknowledged or 0 for a batch that counts for nothing. */
static void batch_done(void *arg)
{
	uint64_t t = (uint64_t)(uintptr_t)arg;

	if (t > 0) {
		if (self->acks->acked + 1 != t)
			violation("batch %llu acknowledged out of turn", (unsigned long long)t);
		self->acks->acked = t;
	}
	pthread_mutex_lock(&self->lock);
	self->done++;
	pthread_cond_broadcast(&self->cond);
	pthread_mutex_unlock(&self->lock);
}

static void room(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&self->lock);
	self->rooms++;
	pthread_cond_broadcast(&self->cond);
	pthread_mutex_unlock(&self->lock);
}

static void wait_done(struct worker *w, uint64_t n)
{
	pthread_mutex_lock(&w->lock);
	while (w->done < n)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static struct ese_body *write_body(struct worker *w, uint32_t len, uint64_t origin)
{
	char *bytes = malloc(len + 1);
	struct ese_body *b;
	struct err err = { 0 };

	body_bytes(bytes, len, w->seed, origin);
	if (ese_body_new(w->db, &b, &err) != ST_OK)
		die("new body", &err);
	for (uint32_t off = 0; off < len; off += 16384) {
		uint32_t n = len - off < 16384 ? len - off : 16384;
		enum st st;

		while ((st = ese_body_write(b, bytes + off, n, &err)) == ST_BUSY) {
			uint64_t n_th = ++w->rooms_wanted;

			ese_when_room(w->g, room, NULL);
			pthread_mutex_lock(&w->lock);
			while (w->rooms < n_th)
				pthread_cond_wait(&w->cond, &w->lock);
			pthread_mutex_unlock(&w->lock);
		}
		if (st != ST_OK)
			die("write body", &err);
	}
	free(bytes);
	return b;
}

static void put_slot(struct ese_batch *b, uint32_t slot, const struct slot *s)
{
	char key[8], v[24];

	row_key(key, 'b', slot);
	le64_put(v, s->id);
	le64_put(v + 8, s->origin);
	le64_put(v + 16, s->len);
	ese_put(b, span_str(key), span_of(v, sizeof(v)));
}

static void batch_bodies(struct worker *w, struct ese_batch *b, const struct step *s, uint64_t t,
			 const struct slot *old)
{
	struct slot *slot = &w->m.slots[s->slot];
	char key[8];

	row_key(key, 'b', s->slot);
	if (s->action == A_WRITE) {
		struct ese_body *body = write_body(w, s->len, t);

		slot->id = ese_body_id(body);
		ese_link(b, body);
		ese_body_drop(body);
		if (old->used)
			ese_unlink(b, old->id);
		put_slot(b, s->slot, slot);
	} else if (s->action == A_LINK) {
		ese_link_id(b, slot->id);
		put_slot(b, s->slot, slot);
	} else if (s->action == A_UNLINK) {
		ese_unlink(b, old->id);
		ese_delete(b, span_str(key));
	}
}

static struct ese_batch *new_batch(struct worker *w)
{
	struct ese_batch *b;
	struct err err = { 0 };

	if (ese_batch_new(w->db, 1, &b, &err) != ST_OK)
		die("new batch", &err);
	return b;
}

static void run_batch(struct worker *w, const struct step *s, uint64_t t)
{
	struct slot old = w->m.slots[s->slot];
	struct ese_batch *b = new_batch(w);
	struct err err = { 0 };
	char v[400];

	play(&w->m, s, t);
	for (uint32_t i = 0; i < s->nrows; i++) {
		char key[8];

		row_key(key, 'r', s->rows[i].row);
		if (s->rows[i].put)
			ese_put(b, span_str(key), span_of(v, row_value(v, s->rows[i].row, t)));
		else
			ese_delete(b, span_str(key));
	}
	batch_bodies(w, b, s, t, &old);
	le64_put(v, t);
	ese_put(b, SPAN("seq"), span_of(v, 8));
	w->acks->submitted = t;
	if (ese_commit(b, batch_done, (void *)(uintptr_t)t, &err) != ST_OK)
		die("commit", &err);
}

static void abort_things(struct worker *w, const struct step *s, uint64_t t)
{
	if (s->abort_body)
		ese_body_drop(write_body(w, s->len + 3000, t + 1000000));
	if (s->abort_batch) {
		struct ese_batch *b = new_batch(w);
		struct ese_body *body = write_body(w, 5000, t + 2000000);

		ese_put(b, SPAN("never"), SPAN("seen"));
		ese_link(b, body);
		ese_body_drop(body);
		ese_batch_free(b);
	}
}

static int work(struct worker *w)
{
	struct err err = { 0 };

	open_group(w);
	for (uint64_t t = 1; t <= w->batches; t++) {
		struct step s = plan(&w->m, w->seed, t);

		if (t > WINDOW)
			wait_done(w, t - WINDOW);
		abort_things(w, &s, t);
		run_batch(w, &s, t);
		if (s.checkpoint && ese_checkpoint(w->g, &err) != ST_OK)
			die("checkpoint", &err);
		if (t == w->batches / 2) {
			wait_done(w, t);
			ese_close(w->g);
			open_group(w);
		}
	}
	wait_done(w, w->batches);
	ese_close(w->g);
	return 0;
}

/* ---- the check ---- */

static uint64_t found_seq(struct worker *w)
{
	struct ese_value v;
	struct err err = { 0 };
	enum st st = ese_get(w->db, SPAN("seq"), &v, &err);
	uint64_t seq;

	if (st == ST_NOTFOUND)
		return 0;
	if (st != ST_OK)
		violation("read seq: %s", err.text);
	seq = le64_get(v.bytes.at);
	ese_value_free(&v);
	return seq;
}

static void check_body(struct worker *w, uint32_t n, struct slot *s, struct span row)
{
	char *want = malloc(s->len + 1), *got = malloc(s->len + 1);
	struct err err = { 0 };

	if (row.len != 24 || le64_get(row.at + 8) != s->origin || le64_get(row.at + 16) != s->len)
		violation("slot %u is not what batch %llu put", n, (unsigned long long)s->changed);
	s->id = le64_get(row.at);
	body_bytes(want, s->len, w->seed, s->origin);
	if (ese_body_read(w->db, s->id, 0, got, s->len, &err) != ST_OK)
		violation("body of slot %u: %s", n, err.text);
	if (memcmp(want, got, s->len) != 0)
		violation("body of slot %u has other bytes", n);
	free(want);
	free(got);
}

static void check_row(struct worker *w, struct span key, struct span value, uint64_t *seen)
{
	char want[400];
	unsigned n = 0;

	if (span_eq(key, SPAN("seq")))
		return;
	if (key.len != 3 || sscanf(key.at + 1, "%2u", &n) != 1)
		violation("row '" SPAN_FMT "' is nobody's", SPAN_ARG(key));
	if (key.at[0] == 'r' && n < ROWS) {
		size_t len = row_value(want, n, w->m.rows[n]);

		if (w->m.rows[n] == 0 || value.len != len || memcmp(value.at, want, len) != 0)
			violation("row r%02u is not what batch %llu put", n,
				  (unsigned long long)w->m.rows[n]);
	} else if (key.at[0] == 'b' && n < SLOTS && w->m.slots[n].used) {
		check_body(w, n, &w->m.slots[n], value);
	} else {
		violation("row '" SPAN_FMT "' should not be there", SPAN_ARG(key));
	}
	++*seen;
}

static void check_rows(struct worker *w)
{
	uint64_t seen = 0, want = 0;
	struct span key, value;
	struct err err = { 0 };
	struct ese_iter *it;
	enum st st;

	if (ese_iter_new(w->db, SPAN("\x10"), SPAN("\xff"), &it, &err) != ST_OK)
		violation("list rows: %s", err.text);
	while ((st = ese_iter_next(it, &key, &value, &err)) == ST_OK)
		check_row(w, key, value, &seen);
	if (st != ST_EOF)
		violation("list rows: %s", err.text);
	ese_iter_free(it);
	for (uint32_t i = 0; i < ROWS; i++)
		want += w->m.rows[i] != 0;
	for (uint32_t i = 0; i < SLOTS; i++)
		want += w->m.slots[i].used;
	if (seen != want)
		violation("%llu rows of %llu", (unsigned long long)seen, (unsigned long long)want);
}

/* Pages belong to the bodies that slots name, each once, and to nobody else. */
static void check_space(struct worker *w)
{
	uint64_t pages = 0, bodies = 0;
	struct ese_stats s;

	for (uint32_t i = 0; i < SLOTS; i++) {
		bool first = w->m.slots[i].used;

		for (uint32_t k = 0; k < i; k++)
			if (w->m.slots[k].used && w->m.slots[k].origin == w->m.slots[i].origin)
				first = false;
		bodies += first;
		pages += first ? (w->m.slots[i].len + ESE_PAGE - 1) / ESE_PAGE : 0;
	}
	do {
		uint64_t n = w->done + 1;
		struct err err = { 0 };

		if (ese_commit(new_batch(w), batch_done, NULL, &err) != ST_OK)
			violation("commit after recovery: %s", err.text);
		wait_done(w, n);
		ese_stats(w->g, &s);
	} while (s.queue_bytes > 0);
	if (s.bodies != bodies || s.pages_reserved != 0 || s.pages_total - s.pages_free != pages)
		violation("%llu bodies in %llu pages and %llu reserved, not %llu in %llu",
			  (unsigned long long)s.bodies,
			  (unsigned long long)(s.pages_total - s.pages_free),
			  (unsigned long long)s.pages_reserved, (unsigned long long)bodies,
			  (unsigned long long)pages);
}

static void compare(struct worker *w)
{
	uint64_t seq = found_seq(w);

	if (seq < w->acks->acked)
		violation("batch %llu was acknowledged, the last one found is %llu",
			  (unsigned long long)w->acks->acked, (unsigned long long)seq);
	if (seq > w->acks->submitted)
		violation("batch %llu was never handed in", (unsigned long long)seq);
	memset(&w->m, 0, sizeof(w->m));
	for (uint64_t t = 1; t <= seq; t++) {
		struct step s = plan(&w->m, w->seed, t);

		play(&w->m, &s, t);
	}
	check_rows(w);
	check_space(w);
	w->acks->acked = w->acks->submitted = seq;
}

/* What is left is whole, and goes on working: three more batches, closed, opened, compared again. */
static int check(struct worker *w)
{
	open_group(w);
	compare(w);
	for (int i = 0; i < 3; i++) {
		uint64_t t = w->acks->acked + 1, n = w->done + 1;
		struct step s = plan(&w->m, w->seed, t);

		run_batch(w, &s, t);
		wait_done(w, n);
	}
	ese_close(w->g);
	open_group(w);
	compare(w);
	ese_close(w->g);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct workload ese = {
		.name = "ese",
		.acks = sizeof(struct acks),
		.seeds = 1,
		.full = 4,
		.recovery = 90,
		.usage = "",
	};
	struct worker w = { .batches = 60 };

	if (argc >= 2 && strcmp(argv[1], "drive") == 0)
		return drive_main(&ese, argc, argv);
	if (argc != 5) {
		fprintf(stderr, "usage: ese_crash work|check DIR ACKS SEED, or drive ...\n");
		return 1;
	}
	w.dir = argv[2];
	w.acks = drive_acks(argv[3], sizeof(*w.acks));
	w.seed = strtoull(argv[4], NULL, 10);
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.cond, NULL);
	self = &w;
	w.working = strcmp(argv[1], "work") == 0;
	return w.working ? work(&w) : check(&w);
}
