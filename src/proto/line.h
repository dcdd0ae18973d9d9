/* line.h - command lines as SMTP and POP3 have them: only CR LF ends one.
 *
 * A CR or LF that stands alone is never an end of line (RFC 5321 section 2.3.8): taking it for one is
 * how a message smuggles commands past a server that reads more strictly.  Such a line, a line with a
 * NUL and a line over the limit are reported at once and then thrown away up to the next CR LF, so
 * nothing that stands in them is ever run.  Pure; one reader per connection, one thread. */
#ifndef PROTO_LINE_H
#define PROTO_LINE_H

#include "base/span.h"
#include "base/st.h"

struct line_reader {
	size_t max;       /* longest line taken, CR LF included; set by the owner */
	size_t scanned;   /* bytes at the start of the input that hold no end of line */
	bool skipping;    /* inside a line that was refused */
	uint64_t skipped; /* bytes of refused lines thrown away since the last good line: an owner
			     closes the connection when a peer sends nothing else */
};

/* Look for a line at the start of `in`, the connection's unread input.  Always sets *used: the bytes
 * to consume before the next call, which must then be given the rest.
 *   ST_OK      *line is the line without CR LF, inside `in`
 *   ST_MORE    no whole line yet; *used is 0 unless a refused line is being thrown away
 *   ST_BAD     a CR or LF alone, or a NUL: reply now; every further LF alone in the same line gives
 *              ST_BAD again, so a peer that ends its lines with LF gets a reply to each
 *   ST_TOOBIG  the line is longer than `max`: reply now
 * Keeps no more than `max` bytes waiting; each byte is looked at once. */
enum st line_take(struct line_reader *r, struct span in, struct span *line, size_t *used);

#endif
