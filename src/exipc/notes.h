/* notes.h - notifications that wait for room: one value per token, the newest, in order of first wait.
 *
 * One thread.  Memory grows with the number of different tokens and goes back when none waits. */
#ifndef EXIPC_NOTES_H
#define EXIPC_NOTES_H

#include "base/st.h"

#include <stdint.h>

#define NOTES_MAX 65536u

struct note {
	uint64_t token, value;
};

struct notes {           /* zeroed: empty */
	struct note *at; /* [first, end) wait */
	uint32_t *index; /* hash of token -> place in at + 1; what is before first is dead */
	uint32_t first, end, cap;
};

/* ST_TOOBIG: NOTES_MAX different tokens wait already; ST_NOMEM.  Unchanged then. */
enum st notes_set(struct notes *n, uint64_t token, uint64_t value);
/* The one that waits longest; false when none. */
bool notes_take(struct notes *n, struct note *out);
void notes_drop(struct notes *n);

static inline uint32_t notes_waiting(const struct notes *n)
{
	return n->end - n->first;
}

#endif
