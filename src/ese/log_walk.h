/* log_walk.h - read every log file of a group that nobody writes, and go on behind damage.
 *
 * log_read.h stops where a log stops making sense, as a recovery must; this tells what is wrong and hands out every
 * group that is whole, for the checker and for repair.  One thread.  Memory: one log file. */
#ifndef ESE_LOG_WALK_H
#define ESE_LOG_WALK_H

#include "base/finding.h"
#include "ese/log_read.h"

struct log_walk {
	const char *dir;
	const unsigned char *
		signature; /* files of another one are foreign; NULL: that of the oldest good header counts */
	uint32_t from; /* generations below are needed by nobody: that they are gone is no damage */
	bool unfinished; /* a copy: the file behind one that is closed need not be there */
	/* A group that is whole, in order of position; valid during the call.  Anything but ST_OK ends the walk. */
	enum st (*group)(void *arg, const struct log_group *g, struct err *err);
	finding_fn found;
	void (*progress)(void *arg, uint64_t bytes); /* read so far; may be NULL */
	void *arg;

	/* filled by log_walk */
	unsigned char seen_signature[LOG_SIGNATURE];
	uint64_t files, groups, bytes;
	uint64_t first,
		end; /* positions: of the first good file's beginning, behind the last whole group; 0: none */
	uint64_t lost_from; /* where the first hole begins, 0: there is none */
};

/* ST_OK whatever is found; ST_IO, ST_NOMEM; ST_BAD: a newer format; or what `group` said. */
enum st log_walk(struct log_walk *w, struct err *err);

#endif
