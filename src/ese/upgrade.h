/* upgrade.h - a storage group of format 1 becomes one of ours.
 *
 * One thread, no other group open in the process meanwhile.  The group is recovered as always, and what that
 * writes anyway (headers, checkpoint, a new log file) is of our format: so it may be killed at any moment, and done
 * again.  docs/formats.md, "Format 1". */
#ifndef ESE_UPGRADE_H
#define ESE_UPGRADE_H

#include "ese/ese.h"

struct ese_survey {
	uint32_t logs, logs_old; /* log files, and how many of them are of format 1 */
	uint32_t checkpoint;     /* its format; 0: none that is valid */
	bool clean;              /* closed in order */
	uint32_t databases, databases_old;
};
/* Which formats are in `dir`; nothing is changed.  ST_BUSY: the group is open in another process; ST_BAD: something of
 * a newer format; ST_CORRUPT, ST_IO. */
enum st ese_survey(const char *dir, struct ese_survey *out, struct err *err);
/* Is there anything of format 1? */
bool ese_is_old(const struct ese_survey *s);

/* Open the group in `dir`, of format 1 or ours, call then(arg, group) (NULL: nothing), close it.  All of its databases
 * must come up, or nothing of our format is written.  Errors as ese_open's and then's. */
enum st ese_upgrade(const char *dir, enum st (*then)(void *arg, struct ese *g, struct err *err),
		    void *arg, struct err *err);

#endif
