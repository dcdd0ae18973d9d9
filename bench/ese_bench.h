/* ese_bench.h - deliverers, who carries them, and what takes their transactions.
 *
 * A transaction is a body and ROWS rows, durable before its deliverer goes on.  Deliverers are carried by a few
 * threads, as fibers are by loops: who is done is put on his carrier's list, which is woken only when it sleeps. */
#ifndef ESE_BENCH_H
#define ESE_BENCH_H

#include "base/st.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DELIVERERS_MAX 64u
#define ROWS           6
#define THREADS_MAX    64u
#define KEY_BYTES      19u
#define BODY_BYTES     262144u

struct setup {
	double seconds;
	uint64_t count;  /* transactions; 0: as many as `seconds` allow */
	const char *dir; /* a folder of this run's own */
	size_t body;
	int64_t direct; /* circular logging, larger bodies beside the log; -1: off */
	int sync;
	unsigned deliverers, threads;
};

struct bench;

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

/* What takes transactions. */
struct way {
	const char *name;
	void (*open)(struct bench *b);
	/* Hand one in: is_ready(d) when it is durable; false: is_ready(d) when it has to be tried again. */
	bool (*deliver)(struct bench *b, struct deliverer *d);
	void (*close)(struct bench *b);
	/* The ways whose one writer gathers what waits (`deliver` is gather_deliver): make these durable together. */
	void (*commit)(struct bench *b, struct deliverer **turns, unsigned n);
};

struct bench {
	const struct setup *s;
	const struct way *way;
	void *own; /* the way's */
	int64_t until;
	_Atomic uint64_t left; /* transactions, when they are counted */
	struct deliverer all[DELIVERERS_MAX];
	struct carrier carriers[THREADS_MAX];
	char body[BODY_BYTES];
	uint64_t more_syncs; /* that the way makes by writing through */

	/* the gatherer */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct deliverer *queue[DELIVERERS_MAX];
	unsigned nqueue;
	bool stop;
	pthread_t gatherer;
};

/* The ways, by name; NULL: there is none, or it was not built in. */
const struct way *way_named(const char *name);
extern const struct way way_engine, way_loop, way_sqlite, way_lmdb;

void is_ready(void *deliverer);
void must(enum st st, const struct err *err); /* or the end, with the sentence */
void die(const char *what);
struct result {
	double rate, p50, p99; /* ms */
	uint64_t n;
};
/* All deliverers until the time or the count is over. */
void run(struct bench *b, struct result *out);

/* Row i of the deliverer's next transaction. */
size_t row_key(const struct deliverer *d, int i, char out[KEY_BYTES + 1]);
size_t row_value_bytes(int i);
const char *row_value(const struct deliverer *d, int i); /* bytes that do not compress */
/* Bytes of keys and values of one transaction. */
size_t row_bytes(void);

void gather_open(struct bench *b);
bool gather_deliver(struct bench *b, struct deliverer *d);
void gather_close(struct bench *b);

/* Since the process began: fsync and fdatasync of everybody in it, and bytes it caused to be written. */
uint64_t syncs_made(void);
uint64_t bytes_written(void);
uint64_t anonymous_bytes(void); /* resident, not of a file */
uint64_t folder_bytes(const char *path);

/* ---- ese_long.c ---- */
/* Log of `count` transactions that no checkpoint covers, then the opening. */
void measure_recovery(const struct setup *s);
/* `count` transactions in one database, then its size, its opening, its memory. */
void measure_size(const struct setup *s);

#endif
