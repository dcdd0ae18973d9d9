/* log_tail.h - follow a log that is being written, up to a position that is known to be durable.
 *
 * One thread.  Memory: one log file.  What stands behind the durable position is not looked at, though it may be
 * in the page cache: a power cut at the writer could still undo it.  Every group is checked before it
 * is handed out.  docs/formats.md, "Reading a log"; who reads a log that nobody writes uses log_read.h. */
#ifndef ESE_LOG_TAIL_H
#define ESE_LOG_TAIL_H

#include "ese/log_read.h"

struct log_tail;

/* What comes next in the log. */
struct log_step {
	bool begins; /* a log file begins: `head`; else a group: `group` */
	struct seg_head head;
	struct log_group group;
};

/* Begin at `from`: behind the header of its file when its offset is not 0, with the header itself as
 * the first step when it is.  `created`: of that file, 0 when any will do.
 *   ST_NOTFOUND  that log file is not (or no longer) there
 *   ST_BAD       it is another file than the one that is meant (`created`), or of a newer format
 *   ST_CORRUPT   its header is damaged */
enum st log_tail_open(const char *dir, uint64_t from, uint64_t created, struct log_tail **out,
		      struct err *err);
void log_tail_close(struct log_tail *t); /* NULL is fine */
const unsigned char *log_tail_signature(const struct log_tail *t);

/* The next step that ends at or before `durable`; what it points to is valid until the next call.
 *   ST_EOF       nothing more up to there; call again when it has grown
 *   ST_BAD       the log does not go on here: it ended before this position, or `durable` lies before it
 *   ST_NOTFOUND  the next log file is no longer there
 *   ST_CORRUPT   durable bytes are damaged; *out untouched in each of these cases */
enum st log_tail_next(struct log_tail *t, uint64_t durable, struct log_step *out, struct err *err);
/* Behind the last step. */
uint64_t log_tail_position(const struct log_tail *t);

/* The header of one log file.  ST_NOTFOUND, ST_CORRUPT, ST_BAD, ST_IO. */
enum st log_head_read(const char *dir, uint32_t gen, struct seg_head *out, struct err *err);

#endif
