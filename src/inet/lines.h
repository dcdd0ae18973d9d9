/* lines.h - command lines of a session (SMTP, POP3), from its connection into one command's pool. */
#ifndef INET_LINES_H
#define INET_LINES_H

#include "base/pool.h"
#include "loop/conn.h"
#include "proto/line.h"

struct inet_lines {
	struct line_reader reader;
	size_t skipped_max; /* who sends this much without one good line does not speak our protocol */
};

/* A whole line that is there already, copied into `pool`; ST_MORE when there is none; else as line_take(), and
 * ST_TOOBIG when the pool is full. */
enum st inet_line_take(struct inet_lines *l, struct conn *c, struct pool *pool, struct span *line);
/* F: the same, waited for: also ST_EOF, ST_IO, ST_TIMEOUT of the connection. */
enum st inet_line_next(struct inet_lines *l, struct conn *c, struct pool *pool, int64_t deadline,
		       struct span *line);
static inline bool inet_lines_hopeless(const struct inet_lines *l)
{
	return l->reader.skipped > l->skipped_max;
}

#endif
