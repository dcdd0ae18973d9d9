/* bell.h - wake the other side's loop, if it sleeps; docs/exipc.md, Waking.  One thread. */
#ifndef EXIPC_BELL_H
#define EXIPC_BELL_H

#include "exipc/ring.h"

struct bell {
	const exipc_word *asleep; /* the other side's word: odd while it sleeps */
	uint64_t rung;            /* the odd number that we rang for last */
	uint64_t count;
	int fd; /* a pipe's end (towards a client) or an eventfd (towards the store) */
};

/* Ring if the other side says that it sleeps.  Sure only after a word_fence() behind the store that it is
 * rung for; without one a side that is just falling asleep may be overlooked. */
void bell_ring(struct bell *b);
/* Swallow what rang at our end of a pipe. */
void bell_heard(int fd);

/* Say where we run.  The number, plus 1. */
uint64_t cpu_tell(struct exipc_loop_words *ours);
/* Is the other side awake on that CPU?  Then it waits for us to get off it. */
bool cpu_shared(const struct exipc_loop_words *theirs, uint64_t cpu);

/* Our own word; a word_fence() must follow sleep_set() before the last look around. */
void sleep_set(exipc_word *asleep);
void sleep_clear(exipc_word *asleep);

#endif
