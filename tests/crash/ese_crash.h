/* ese_crash.h - what the two halves of the engine's crash test share: work (ese_crash.c) and check (ese_after.c). */
#ifndef CRASH_ESE_CRASH_H
#define CRASH_ESE_CRASH_H

#include "ese/backup.h"
#include "ese/ese.h"

#include <pthread.h>

#include "ese_model.h"

struct worker {
	const char *dir;
	uint64_t seed, batches;
	bool working;
	bool circular, switching; /* circular logging: from the beginning; on and off */
	struct acks *acks;
	struct ese *g;
	struct ese_db *db, *two;
	struct ese_backup *backup;
	struct model m;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint64_t sent, done, rooms, rooms_wanted; /* commits; waits for room */
};

void violation(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* While it works an operation may fail, and it gives up; the check has no faults to hide behind. */
void need(const struct worker *w, enum st st, const char *what, const struct err *err);

void open_group(struct worker *w);
struct ese_batch *new_batch(struct worker *w, struct ese_db *db);
/* A number t: it is acknowledged in its turn; 0: it counts for nothing. */
void commit(struct worker *w, struct ese_batch *b, uint64_t t);
void wait_done(struct worker *w, uint64_t in_flight); /* until so many are not yet done */
void run_batch(struct worker *w, const struct step *s, uint64_t t);
/* The second database's row: batch t. */
void commit_two(struct worker *w, uint64_t t);

/* Open what is left, compare it with the model, go on, close it, look at the files. */
int check(struct worker *w);

#endif
