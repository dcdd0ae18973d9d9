/* dump.h - what stands in the engine's files, field by field, for tools.  Nothing is written, nothing is printed.
 *
 * Every file is read as docs/formats.md says, trusting nothing; what is damaged is told in a field and gone around
 * where that is possible.  Log and checkpoint may be read while a process writes them: what it has not synced
 * yet may be missing.  Databases come from look.h and are to stand still.  One thread. */
#ifndef ESE_DUMP_H
#define ESE_DUMP_H

#include "base/span.h"
#include "ese/look.h"

enum dump_kind {
	DUMP_FACTS, /* begins a table with one row */
	DUMP_TABLE, /* begins a table; each row has the same fields in the same order */
	DUMP_ROW,   /* begins a row, of a table of facts too */
	DUMP_NUM,
	DUMP_TIME, /* ns since 1970, 0: none */
	DUMP_BOOL,
	DUMP_TEXT,
};
struct dump {
	/* name: of the table or the field, constant; number, text: its value; text is valid during the call. */
	void (*put)(void *arg, enum dump_kind kind, const char *name, uint64_t number,
		    struct span text);
	void *arg;
};

/* Header of the log file at `path`.  ST_CORRUPT, ST_BAD (another format), ST_IO. */
enum st dump_log_header(const struct dump *d, const char *path, struct err *err);
/* Both slots of the checkpoint file at `path`, and the databases of the newer valid one.  ST_BAD, ST_IO; damaged slots
 * are told as such. */
enum st dump_checkpoint(const struct dump *d, const char *path, struct err *err);
/* Header and applied rows. */
enum st dump_db_header(const struct dump *d, struct ese_db *db, struct err *err);

struct dump_log {
	bool records;      /* every record; otherwise only the files */
	uint32_t database; /* the low half of an id: only its records; 0: all */
	uint64_t from, to; /* positions of records; to 0: no limit */
};
/* `path`: a log file, or a folder: all of its log files in order. */
enum st dump_log(const struct dump *d, const char *path, const struct dump_log *what,
		 struct err *err);

/* Pages by state and the largest free runs. */
enum st dump_space(const struct dump *d, struct ese_db *db, struct err *err);
/* Row, runs and pages of a body, each page checked; *damaged_out counts those that are not what was written.
 * ST_NOTFOUND, ST_CORRUPT (its row), ST_IO. */
enum st dump_body(const struct dump *d, struct ese_db *db, uint64_t id, uint32_t *damaged_out,
		  struct err *err);

/* "0000000500001000" */
#define DUMP_POS 17
void dump_pos(char out[DUMP_POS], uint64_t pos);

#endif
