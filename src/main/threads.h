/* threads.h - the loops of a daemon, one thread each; the first runs on the calling thread. */
#ifndef MAIN_THREADS_H
#define MAIN_THREADS_H

#include "base/config.h"
#include "exipc/exipc.h"
#include "loop/loop.h"

#include <pthread.h>

struct threads {
	struct loop *loops[EXIPC_LOOPS_MAX];
	pthread_t ids[EXIPC_LOOPS_MAX];
	unsigned n;
};

/* As many as the setting `loops` says (0: one per core, at most 4), and the work pool. */
enum st threads_new(struct threads *t, const char *name, const struct config *config,
		    struct err *err);
/* Run them all; returns when all have stopped. */
void threads_run(struct threads *t);
void threads_stop(struct threads *t); /* any thread */
void threads_free(struct threads *t);

#endif
