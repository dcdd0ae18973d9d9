/* log_read.h - read a log from some file to its end, trusting nothing.
 *
 * One thread.  Memory: one log file.  The rules are in docs/formats.md, "Reading a log".  Used by
 * recovery and by every tool that looks at logs. */
#ifndef ESE_LOG_READ_H
#define ESE_LOG_READ_H

#include "ese/rec.h"
#include "ese/seg.h"

/* The bytes of one log file. */
struct scan {
	struct span bytes; /* from its header on */
	uint32_t gen, mark;
};

struct log_group {
	struct rec_group head;
	uint64_t pos;
	uint32_t off, mark; /* off: in the file */
	struct span bytes;
	uint32_t format; /* of its file */
	bool ends_file;
};

/* The group at `off`, every record of it checked.  ST_CORRUPT: there is none. */
enum st scan_group(const struct scan *s, uint32_t off, struct log_group *out);
/* Does a GROUP record stand at any page from `off` on? */
bool scan_later(const struct scan *s, uint32_t off);

/* Records of a group, GROUP and END left out.  ST_OK or ST_EOF: the group is known to be whole. */
struct log_cursor {
	const struct log_group *g;
	uint32_t at, left;
};
void log_group_open(const struct log_group *g, struct log_cursor *out);
enum st log_group_next(struct log_cursor *c, struct rec *out);

struct log_reader;
/* Start with the first group of generation `from` (0: the oldest there is).  ST_NOTFOUND: no log file
 * at all; ST_CORRUPT: the file is missing, damaged, or of another signature (NULL: any is taken, see
 * log_read_signature); ST_BAD: another format. */
enum st log_read_open(const char *dir, uint32_t from, const unsigned char *signature,
		      struct log_reader **out, struct err *err);
void log_read_close(struct log_reader *r);
/* The log comes from elsewhere: the file behind one that is closed may not be there yet, which is its end then.
 * `many`: several groups may have been written before one sync, so that a torn one with valid ones behind it is the end. */
void log_read_unfinished(struct log_reader *r, bool many);
/* The log counts as ended at `pos` (between two groups): nothing from there on is looked at. */
void log_read_limit(struct log_reader *r, uint64_t pos);
const unsigned char *log_read_signature(const struct log_reader *r);
/* The next group; what it points to is valid until the next call.  ST_EOF: the end of the log (which
 * may be a torn group).  ST_CORRUPT: synced bytes are damaged or a file is missing. */
enum st log_read_group(struct log_reader *r, struct log_group *out, struct err *err);

/* Where the reader stands (after ST_EOF: the end of the log). */
struct log_end {
	uint32_t gen, off;
	uint64_t created; /* of that file */
	uint64_t number;  /* of the last group, 0 when none was seen */
	uint64_t time;    /* its */
	bool ended;       /* the last group closed the file, and the next is to come */
};
void log_read_end(const struct log_reader *r, struct log_end *out);

/* Sync every log file of generation `from` and above and the folder: what a killed process left in
 * the page cache becomes durable before it is applied. */
enum st log_sync_all(const char *dir, uint32_t from, struct err *err);

#endif
