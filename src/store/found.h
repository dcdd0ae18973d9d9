/* found.h - damage that the engine met while the store ran: the last of it, for the administrator.
 *
 * Any thread. */
#ifndef STORE_FOUND_H
#define STORE_FOUND_H

#include "base/finding.h"

#include <stdint.h>

#define FOUND_KEPT 100u

struct found;
struct found *found_new(void); /* NULL: out of memory */
void found_free(struct found *f);
/* For ese_options.found: arg is the struct found. */
void found_note(void *arg, const struct finding *f);

struct found_row {
	int64_t when; /* ns since 1970 */
	enum finding_kind kind;
	uint64_t body; /* 0: not one body's */
	char text[320];
};
/* The newest first, at most `max` into out[]; returns how many were written.  *total_out: how many came in all. */
unsigned found_list(struct found *f, struct found_row *out, unsigned max, uint64_t *total_out);

#endif
