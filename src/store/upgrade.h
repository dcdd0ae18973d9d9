/* upgrade.h - a stopped home of format 1 becomes one of ours; for the command line.
 *
 * Safe to kill at any moment and to be done again.  Beside the engine's files (ese/upgrade.h), the rows of the directory,
 * which stood in mailbox/default, go into the database of their own. */
#ifndef STORE_UPGRADE_H
#define STORE_UPGRADE_H

#include "ese/upgrade.h"

struct store_upgrade {
	const char *home;
	bool dry_run; /* only tell; nothing is written */
	/* One storage group: what was found, before anything is changed. */
	void (*group)(void *arg, const char *name, const struct ese_survey *s, uint64_t rows);
	void *arg;
	/* what came of it */
	unsigned groups, old; /* how many groups, and how many need it */
	uint64_t rows;        /* of the directory that are in mailbox/default */
};
/* ST_OK; ST_BUSY: the store runs; ST_BAD: something of a newer format; ST_CORRUPT, ST_IO. */
enum st store_upgrade(struct store_upgrade *u, struct err *err);

/* Has mailbox/default still rows of the directory?  ST_OK: no; ST_BAD: yes, with what to do. */
enum st upgrade_finished(struct ese_db *first, struct err *err);

#endif
