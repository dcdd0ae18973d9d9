/* ese_crash.c - the engine dies at every operation, and a model says what must be there afterwards.
 *
 *	ese_crash drive LIB ... [circular|switch] [long]      (drive.h)
 *
 * The workload is ese_model.h's, with log files of 128 KiB that are rolled and used again, and a close and a reopening in
 * the middle: logged, with circular logging, or with switching it on and off.  ACKS is a shared file outside the
 * folder: what was handed to the engine, what it acknowledged. */
#include "base/byteorder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"
#include "ese_crash.h"

#define BATCHES 16u
#define LONG    60u

static struct worker *self;

void violation(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("violation: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(1); /* other threads run */
}

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

void need(const struct worker *w, enum st st, const char *what, const struct err *err)
{
	if (st == ST_OK)
		return;
	if (!w->working)
		violation("%s: %s", what, err->text);
	die(what, err);
}

void open_group(struct worker *w)
{
	struct ese_options o = { .segment_bytes = 128 * 1024,
				 .checkpoint_bytes = 512 * 1024,
				 .reserve_bytes = 1,
				 .circular = w->circular,
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

void wait_done(struct worker *w, uint64_t in_flight)
{
	pthread_mutex_lock(&w->lock);
	while (w->done + in_flight < w->sent)
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

struct ese_batch *new_batch(struct worker *w, struct ese_db *db)
{
	struct ese_batch *b;
	struct err err = { 0 };

	need(w, ese_batch_new(db, 1, &b, &err), "new batch", &err);
	return b;
}

void commit(struct worker *w, struct ese_batch *b, uint64_t t)
{
	struct err err = { 0 };

	w->sent++;
	need(w, ese_commit(b, batch_done, (void *)(uintptr_t)t, &err), "commit", &err);
}

void run_batch(struct worker *w, const struct step *s, uint64_t t)
{
	struct slot old = w->m.slots[s->slot];
	struct ese_batch *b = new_batch(w, w->db);
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
	commit(w, b, t);
}

static void abort_things(struct worker *w, const struct step *s, uint64_t t)
{
	if (s->abort_body)
		ese_body_drop(write_body(w, s->len + 3000, t + 1000000));
	if (s->abort_batch) {
		struct ese_batch *b = new_batch(w, w->db);
		struct ese_body *body = write_body(w, 5000, t + 2000000);

		ese_put(b, SPAN("never"), SPAN("seen"));
		ese_link(b, body);
		ese_body_drop(body);
		ese_batch_free(b);
	}
}

/* ---- beside the batches ---- */

static void do_backup(struct worker *w, uint64_t t)
{
	struct err err = { 0 };
	uint32_t next;

	if (!w->backup) {
		need(w, ese_backup_begin(w->g, t % 3 != 0, &w->backup, &err), "begin a backup",
		     &err);
		return;
	}
	need(w, ese_backup_roll(w->backup, &next, &err), "roll the log", &err);
	need(w, ese_backup_end(w->backup, t % 4 != 0, &err), "end a backup", &err);
	w->backup = NULL;
}

static void do_compact(struct worker *w, uint64_t t)
{
	struct ese_compact_options o = { .bodies_max = 1 + t % 4, .punch = t % 2 };
	struct ese_compact_figures figures;
	struct err err = { 0 };
	enum st st = ese_compact(w->db, &o, &figures, &err);

	if (st != ST_BAD) /* a file system that can't punch holes */
		need(w, st, "compact", &err);
}

void commit_two(struct worker *w, uint64_t t)
{
	struct ese_batch *b = new_batch(w, w->two);
	char v[8];

	le64_put(v, t);
	ese_put(b, SPAN("two"), span_of(v, 8));
	w->acks->two_submitted = t;
	commit(w, b, 0);
	wait_done(w, 0);
	w->acks->two_acked = t;
}

static void two_commit(struct worker *w, uint64_t t)
{
	struct err err = { 0 };
	enum st st;

	if (!w->two)
		w->acks->two_changing = true;
	st = ese_db_open(w->g, "mailbox/two", true, &w->two, &err);
	if (st == ST_GONE)
		st = ese_db_mount(w->two, &err);
	need(w, st, "the second database", &err);
	commit_two(w, t);
	w->acks->two_changing = false;
}

/* A backup holds a pin: then it is busy, and stays. */
static void two_down(struct worker *w)
{
	struct err err = { 0 };
	enum st st = w->two ? ese_db_dismount(w->two, &err) : ST_OK;

	if (st != ST_BUSY)
		need(w, st, "dismount", &err);
}

static void two_remove(struct worker *w)
{
	struct err err = { 0 };
	enum st st;

	if (!w->two)
		return;
	w->acks->two_changing = true;
	st = ese_db_remove(w->two, &err);
	if (st == ST_BUSY) {
		w->acks->two_changing = false;
		return;
	}
	need(w, st, "remove", &err);
	w->two = NULL;
	w->acks->two_acked = 0;
	w->acks->two_changing = false;
}

static void do_beside(struct worker *w, enum beside what, uint64_t t)
{
	struct err err = { 0 };

	switch (what) {
	case B_NOTHING:
		return;
	case B_CHECKPOINT:
		need(w, ese_checkpoint(w->g, &err), "checkpoint", &err);
		return;
	case B_BACKUP:
		do_backup(w, t);
		return;
	case B_CIRCULAR:
		if (w->switching)
			need(w, ese_set_circular(w->g, !ese_circular(w->g), &err), "switch", &err);
		return;
	case B_COMPACT:
		do_compact(w, t);
		return;
	case B_TWO_COMMIT:
		two_commit(w, t);
		return;
	case B_TWO_DOWN:
		two_down(w);
		return;
	case B_TWO_REMOVE:
		two_remove(w);
		return;
	}
}

static void close_group(struct worker *w)
{
	struct err err = { 0 };

	if (w->backup)
		need(w, ese_backup_end(w->backup, false, &err), "end a backup", &err);
	w->backup = NULL;
	w->two = NULL;
	ese_close(w->g);
}

static int work(struct worker *w)
{
	open_group(w);
	for (uint64_t t = 1; t <= w->batches; t++) {
		struct step s = plan(&w->m, w->seed, t);

		wait_done(w, WINDOW - 1);
		abort_things(w, &s, t);
		run_batch(w, &s, t);
		do_beside(w, s.beside, t);
		if (t == w->batches / 2) {
			wait_done(w, 0);
			close_group(w);
			open_group(w);
		}
	}
	wait_done(w, 0);
	close_group(w);
	return 0;
}

static bool take_word(struct worker *w, const char *word)
{
	if (strcmp(word, "circular") == 0)
		w->circular = true;
	else if (strcmp(word, "switch") == 0)
		w->switching = true;
	else if (strcmp(word, "long") == 0)
		w->batches = LONG;
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	static const struct workload ese = {
		.name = "ese",
		.acks = sizeof(struct acks),
		.seeds = 1,
		.full = 4,
		.recovery = 90,
		.usage = "[circular|switch] [long]",
	};
	struct worker w = { .batches = BATCHES };

	if (argc >= 2 && strcmp(argv[1], "drive") == 0)
		return drive_main(&ese, argc, argv);
	for (int i = 5; i < argc; i++)
		if (!take_word(&w, argv[i]))
			argc = 0;
	if (argc < 5) {
		fprintf(stderr,
			"usage: ese_crash work|check DIR ACKS SEED [circular|switch] [long], or "
			"drive ...\n");
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
