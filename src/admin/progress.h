/* progress.h - how far a long command is: one line on a terminal that is written over, or nothing.
 *
 * One thread.  Standard error only, and only when it is a terminal; `--quiet` and JSON output leave it out. */
#ifndef ADMIN_PROGRESS_H
#define ADMIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on;
	int64_t began, told;
	unsigned width; /* of the line that stands there */
};

void progress_begin(struct progress *p, bool wanted);
/* "WHAT  done of total UNIT, 42 %, 12 per second"; total 0: unknown.  At most some times a second. */
void progress_tell(struct progress *p, const char *what, uint64_t done, uint64_t total,
		   const char *unit);
/* The same for bytes: in MB, and MB/s. */
void progress_bytes(struct progress *p, const char *what, uint64_t done, uint64_t total);
void progress_end(struct progress *p); /* the line is wiped out */

#endif
