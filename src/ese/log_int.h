/* log_int.h - what log_write.c and log_prepare.c share. */
#ifndef ESE_LOG_INT_H
#define ESE_LOG_INT_H

#include "ese/log.h"

#include <pthread.h>

#define LOG_AHEAD 2 /* files prepared: the next one and a reserve */

struct log {
	struct log_conf c;
	uint32_t mark;

	pthread_mutex_t lock;   /* everything below, but what a thread alone touches */
	pthread_cond_t work;    /* to the committer: nodes, stop */
	pthread_cond_t prepare; /* to the preparer: a place ahead is free, a spare came, stop */
	pthread_cond_t ready;   /* to the committer: a file is ahead */
	bool stop, broken;
	bool go; /* somebody waits for what is queued */
	uint64_t rolls_wanted, rolls_done;
	pthread_cond_t rolled; /* from the committer: rolls_done moved, broken */
	_Atomic bool starved;
	struct node *head, **tail;
	struct seg ahead[LOG_AHEAD];
	unsigned nahead;
	uint32_t *spares;
	uint32_t nspares, spares_cap, next_spare;
	uint32_t oldest; /* smallest generation that has a numbered file */
	uint64_t position, bytes, syncs;
	uint64_t newest;  /* time of the newest group */
	uint64_t waiting; /* bytes queued and not yet written */
	uint64_t direct;  /* bytes queued for their pages since the committer last took the queue */

	/* the committer's own */
	struct seg cur;
	uint32_t off;
	uint64_t number, time; /* of the group that is being made */
	char *buffer;          /* cur.size - SEG_HEAD bytes, aligned */
	pthread_t committer;

	/* the preparer's own */
	uint32_t last_gen;
	uint64_t last_created;
	pthread_t preparer;
};

/* Note the first failure, tell everybody, call `broken`.  Without the lock. */
void log_break(struct log *l, const struct err *why);
/* Next file into l->ahead; ST_NOSPACE leaves everything as it was. */
enum st log_prepare_one(struct log *l, uint32_t prev_end, struct err *err);
void *log_preparer(void *arg);
/* Read the folder: generations above `last` and damaged spares become spares or go. */
enum st log_collect(struct log *l, uint32_t last, struct err *err);

#endif
