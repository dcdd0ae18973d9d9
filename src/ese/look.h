/* look.h - a database seen from outside its group: of a stopped group, a copy, a snapshot.  THE door for tools.
 *
 * What look_open gives is a struct ese_db for reading: ese_db_id, ese_db_name, ese_get, ese_iter_new, ese_body_find,
 * ese_body_read (which verifies every byte) and ese_db_stream_fd work on it from any thread, nothing else of ese.h
 * does.  So what is written against these calls reads a live database and a stopped one alike.
 * Nothing is ever written, no file is made beside the input, nothing is replayed: the rows are those of the
 * last flush, look_head says how far the log that is.  A group that was not closed in order may therefore
 * hold pages that newer log records have taken (docs/crash-states.md); ese/check.h knows how to judge that. */
#ifndef ESE_LOOK_H
#define ESE_LOOK_H

#include "ese/ese.h"

/* Keep every process from opening the group in `dir` for as long as the lock is held.  *fd_out is -1 where there is
 * no lock file (a copy, a backup) or it may not be read.  ST_BUSY: the group is open in another process. */
enum st look_lock(const char *dir, int *fd_out, struct err *err);
void look_unlock(int fd);

/* fn for each database in `dir` and one folder below ("mailbox/default"), in order of name; what has only one of
 * its two parts is told too.  Stops at the first that is not ST_OK.  ST_IO: the folder can't be read. */
struct look_entry {
	const char *name;
	char edb[4096], stm[4096]; /* paths */
	bool has_edb, has_stm;
};
enum st look_list(const char *dir,
		  enum st (*fn)(void *arg, const struct look_entry *e, struct err *err), void *arg,
		  struct err *err);

/* `name` is for sentences.  edb: the folder of rows; stm: the streaming file, NULL where bodies are not asked for.
 *   ST_NOTFOUND  one of them is not there
 *   ST_CORRUPT   RocksDB can't make sense of its files: nothing of it can be read this way
 *   ST_IO        they can't be read
 * A header row that is missing or damaged is no failure here: see look_head. */
enum st look_open(const char *name, const char *edb, const char *stm, struct ese_db **out,
		  struct err *err);
void look_close(struct ese_db *db); /* NULL is fine */

struct look_head {
	unsigned char signature[16];
	uint64_t id, created, clean_pos; /* clean_pos 0: not closed in order */
	uint64_t pos;                    /* what the header says: docs/formats.md */
	uint32_t format, state;          /* 1 in use, 2 clean, 3 clean and given away */
	uint64_t applied;                /* every record before it is in the rows */
	uint64_t ids, bodies;            /* body ids used so far, bodies now */
	uint64_t pages;                  /* of the .stm; the last one may be short */
};
uint64_t look_pages(const struct ese_db *db);
/* Rows 00 and 01.  ST_CORRUPT, ST_IO; ST_BAD: a newer format. */
enum st look_head(struct ese_db *db, struct look_head *out, struct err *err);

/* ---- rows, around what can't be read ---- */

struct look_rows;
/* Rows with from <= key < to (both empty: all, the engine's too), of any ese_db. */
enum st look_rows_new(struct ese_db *db, struct span from, struct span to, struct look_rows **out,
		      struct err *err);
/*   ST_OK       key and value are valid until the next call
 *   ST_EOF      no more
 *   ST_CORRUPT  rows behind the last one could not be read; the next call goes on behind them, look_rows_gap says between
 *		  which keys they were.  Comes once for each gap
 *   ST_IO, ST_NOMEM  over */
enum st look_rows_next(struct look_rows *r, struct span *key, struct span *value, struct err *err);
/* After ST_CORRUPT: the last key before the gap (empty: it begins at `from`) and the first behind it (empty: it
 * reaches to the end). */
void look_rows_gap(const struct look_rows *r, struct span *last, struct span *next);
void look_rows_free(struct look_rows *r);

#endif
