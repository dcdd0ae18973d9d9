/* check.h - is a database what it should be?  Rows, pages, log: nothing is trusted, nothing is changed.
 *
 * One thread a call.  Never stops at the first finding: each goes to `found` (base/findings.def has the kinds), and the
 * calls return ST_OK whatever is found; ST_IO, ST_NOMEM and ST_BAD (a newer format) mean that it could not be looked at.
 *
 * The engine knows how often a body is linked only by its count; who knows the links (store/check.h) adds them to
 * check_db.bodies and compares.
 *
 * Memory: 2 bits for each page of the .stm, 16 bytes for each body (16 MB for 1,000,000 bodies, and 0.6 MB
 * for the pages of 10 GB), one log file. */
#ifndef ESE_CHECK_H
#define ESE_CHECK_H

#include "base/finding.h"
#include "ese/look.h"

/* ---- the log of a group ---- */

/* What the log will still do to a database that was not closed in order: pages that newer records have taken. */
struct check_pending {
	uint32_t number;  /* of the database: the low half of its id */
	uint64_t applied; /* what its rows hold */
	uint64_t npages;
	unsigned char *taken; /* a bit for each page; NULL: none */
};
struct check_log {
	const char *dir;
	const struct look_head *heads; /* of the group's databases that could be read */
	const char *const *names;
	size_t nheads;
	finding_fn found;
	void (*progress)(void *arg, uint64_t bytes); /* may be NULL */
	void *arg;

	/* filled */
	struct check_pending *pending; /* nheads of them */
	uint64_t files, groups, bytes, end;
	bool none; /* there is neither log nor checkpoint: a copy of databases alone */
};
/* Checkpoint, every log file, the chain, and that each database fits to them. */
enum st check_log(struct check_log *c, struct err *err);
void check_log_free(struct check_log *c);

/* ---- a database ---- */

struct check_body {
	uint64_t id;
	uint32_t refs;
	uint32_t links : 31; /* for who counts them; 0 */
	uint32_t damaged : 1;
};
struct check_db {
	const char *name; /* for the sentences */
	struct ese_db *db;
	bool quick;                          /* do not read pages */
	const struct check_pending *pending; /* NULL: nothing is pending */
	finding_fn found;
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* pages; may be NULL */
	void *arg;

	/* filled */
	struct look_head head;
	uint64_t rows, gaps, pages; /* read; gaps: places where rows can't be read */
	uint64_t waiting;           /* pages that were not judged, because the log will take them */
	struct check_body *bodies;  /* ascending by id */
	size_t nbodies;
};
enum st check_db(struct check_db *c, struct err *err);
struct check_body *check_body(const struct check_db *c, uint64_t id); /* NULL: no row */
void check_db_free(struct check_db *c);

#endif
