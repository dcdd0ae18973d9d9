/* life_crash.c - a database that moves between two groups loses power at every operation.
 *
 *	life_crash drive LIB ...      (drive.h)
 *
 * The database is created in group a, and moves to b, back, and again; before and behind each move a commit
 * replaces its one body (so that pages are used again in the other group), and in the end it is removed.  Afterwards
 * it must be in exactly one group, or be able to finish its move, with the last acknowledged commit or the
 * one behind it, its body bit for bit; and in none at all once its removal was acknowledged. */
#include "drive.h"
#include "ese/ese.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOVES 2

struct acks {
	_Atomic unsigned char created, begun, done; /* commits, from 1 on */
	_Atomic unsigned char removing, removed;
};

struct life {
	struct acks *acks;
	struct ese *groups[2];
	uint64_t seed;
	bool checking;
};

static void violation(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void violation(const char *fmt, ...)
{
	va_list ap;

	fputs("violation: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

/* Only a fault makes the workload fail, and the check never may. */
static void need(const struct life *l, enum st st, const char *what, const struct err *err)
{
	if (st == ST_OK)
		return;
	if (l->checking)
		violation("%s: %s", what, err->text);
	_exit(WORK_ENDED);
}

static void broken(void *arg, const struct err *why)
{
	struct life *l = arg;

	if (l->checking)
		violation("broken: %s", why->text);
	_exit(WORK_ENDED);
}

static void open_groups(struct life *l, const char *dir)
{
	struct ese_options o = { .segment_bytes = 128 * 1024,
				 .checkpoint_bytes = 512 * 1024,
				 .reserve_bytes = 1,
				 .broken = broken,
				 .arg = l };
	char path[4096];

	for (int i = 0; i < 2; i++) {
		struct err err = { 0 };

		snprintf(path, sizeof(path), "%s/%c", dir, 'a' + i);
		need(l, ese_open(path, &o, &l->groups[i], &err), "open", &err);
	}
}

static void close_groups(struct life *l)
{
	for (int i = 0; i < 2; i++)
		ese_close(l->groups[i]);
}

/* ---- commits ---- */

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void on_done(void *arg)
{
	struct waiting *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static size_t size_of(const struct life *l, unsigned n)
{
	return 1 + (l->seed * 7919 + n * 104729) % 30000;
}

static char byte_of(unsigned n, size_t at)
{
	return (char)(n * 31 + at / 100);
}

static struct ese_body *write_body(const struct life *l, struct ese_db *db, unsigned n)
{
	static char bytes[30001];
	size_t len = size_of(l, n);
	struct ese_body *body;
	struct err err = { 0 };

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_of(n, i);
	need(l, ese_body_new(db, &body, &err), "new body", &err);
	need(l, ese_body_write(body, bytes, len, &err), "write a body", &err);
	return body;
}

/* The row: number of the commit and its body's id; 0: there is none. */
static unsigned read_row(const struct life *l, struct ese_db *db, uint64_t *body)
{
	unsigned long long id = 0;
	struct err err = { 0 };
	struct ese_value v;
	unsigned n = 0;
	enum st st = ese_get(db, SPAN("k"), &v, &err);
	char text[64];

	if (st == ST_NOTFOUND)
		return 0;
	need(l, st, "read", &err);
	snprintf(text, sizeof(text), SPAN_FMT, SPAN_ARG(v.bytes));
	ese_value_free(&v);
	if (sscanf(text, "%u %llu", &n, &id) != 2)
		violation("the row says '%s'", text);
	*body = id;
	return n;
}

/* The next commit: a new body instead of the old one. */
static void commit(struct life *l, struct ese_db *db)
{
	struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
	uint64_t old = 0;
	unsigned n = read_row(l, db, &old) + 1;
	struct ese_body *body = write_body(l, db, n);
	struct ese_batch *b;
	struct err err = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "%u %llu", n, (unsigned long long)ese_body_id(body));
	need(l, ese_batch_new(db, 1, &b, &err), "batch", &err);
	ese_link(b, body);
	if (old)
		ese_unlink(b, old);
	ese_put(b, SPAN("k"), span_str(text));
	ese_body_drop(body);
	l->acks->begun = (unsigned char)n;
	need(l, ese_commit(b, on_done, &w, &err), "commit", &err);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	l->acks->done = (unsigned char)n;
}

/* ---- the workload ---- */

static int work(struct life *l, const char *dir)
{
	struct err err = { 0 };
	struct ese_db *db;

	open_groups(l, dir);
	need(l, ese_db_open(l->groups[0], "mailbox/two", true, &db, &err), "create", &err);
	l->acks->created = 1;
	for (int i = 0; i < MOVES; i++) {
		commit(l, db);
		need(l, ese_db_dismount(db, &err), "dismount", &err);
		need(l, ese_db_move(db, l->groups[!(i & 1)], "mailbox/two", &db, &err), "move",
		     &err);
		commit(l, db);
	}
	l->acks->removing = 1;
	need(l, ese_db_remove(db, &err), "remove", &err);
	l->acks->removed = 1;
	close_groups(l);
	return 0;
}

/* ---- the check ---- */

static void check_content(const struct life *l, struct ese_db *db)
{
	static char bytes[30001];
	uint64_t body = 0;
	unsigned n = read_row(l, db, &body);
	struct err err = { 0 };

	if (n < l->acks->done || n > l->acks->begun)
		violation("it holds commit %u; acknowledged %u, begun %u", n, l->acks->done,
			  l->acks->begun);
	if (n == 0)
		return;
	need(l, ese_body_read(db, body, 0, bytes, size_of(l, n), &err), "read a body", &err);
	for (size_t i = 0; i < size_of(l, n); i++)
		if (bytes[i] != byte_of(n, i))
			violation("byte %zu of body %u is wrong", i, n);
}

/* Where it is; its move is finished when it has to be.  NULL: nowhere. */
static struct ese_db *find(struct life *l)
{
	struct ese_db *found[2] = { NULL, NULL }, *db;
	struct err err = { 0 };
	int in;

	for (int i = 0; i < 2; i++)
		ese_db_open(l->groups[i], "mailbox/two", false, &found[i], NULL);
	if (found[0] && found[1])
		violation("it is in both groups");
	in = found[1] != NULL;
	db = found[in];
	if (!db)
		return NULL;
	if (l->acks->removed)
		violation("it was removed and is here");
	if (ese_db_mount(db, &err) == ST_OK)
		return db;
	/* Its .stm was moved already. */
	need(l, ese_db_move(db, l->groups[!in], "mailbox/two", &db, &err), "finish the move", &err);
	return db;
}

static int check(struct life *l, const char *dir)
{
	struct ese_db *db;

	l->checking = true;
	for (int again = 0; again < 2; again++) {
		open_groups(l, dir);
		db = find(l);
		if (!db && l->acks->created && !l->acks->removing)
			violation("it is nowhere");
		if (db) {
			check_content(l, db);
			commit(l, db);
			check_content(l, db);
		}
		close_groups(l);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct workload moving = {
		.name = "moving databases",
		.acks = sizeof(struct acks),
		.seeds = 5,
		.full = 4,
		.recovery = 60,
		.usage = "",
	};
	struct life l = { 0 };

	if (argc >= 2 && strcmp(argv[1], "drive") == 0)
		return drive_main(&moving, argc, argv);
	if (argc != 5) {
		fprintf(stderr, "usage: life_crash work|check DIR ACKS SEED, or drive ...\n");
		return 1;
	}
	l.acks = drive_acks(argv[3], sizeof(*l.acks));
	l.seed = strtoull(argv[4], NULL, 10);
	return strcmp(argv[1], "work") == 0 ? work(&l, argv[2]) : check(&l, argv[2]);
}
