/* imap_show.h - for tests: an IMAP client's octets through the reader, as a transcript.
 *
 * Every event is a line: "+" for a continuation, the command as show() has it, "STREAM " before an
 * APPEND whose message comes next and "DATA text" for that, the BAD line, "CLOSE" behind one that
 * ends the connection, "MORE" for octets that are left over. */
#ifndef TESTS_IMAP_SHOW_H
#define TESTS_IMAP_SHOW_H

#include "proto/imap/reader.h"

struct imap_feed {
	struct span in;
	enum imap_state state;
	uint32_t exts;
	size_t first;                    /* octets that are there at once; 0: all */
	size_t step;                     /* octets that come at a time from then on; 0: all */
	size_t pool_max;                 /* 0: IMAP_POOL_MAX */
	uint32_t line_max, literals_max; /* 0: as they are */
	bool refuse;                     /* what the session does with the messages of APPEND */
	bool abandon;                    /* half-way */
	size_t pool_most;                /* out: the most the pool held after a command */
};

void imap_show(const struct imap_command *c, struct buf *out);
/* The transcript, CR and LF inside shown as \r and \n.  Each call of the reader gets a block of memory
 * of its own that is gone afterwards, so what points into it is found by the address sanitizer. */
void imap_transcript(struct imap_feed *f, struct buf *out);

#endif
