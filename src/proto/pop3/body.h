/* body.h - messages on their way to a POP3 client: dot-stuffing, and TOP's cut.
 *
 * Work on pieces of any size and hand on pieces of the input (or constants): nothing is copied.  A line
 * begins behind CR LF only, as it does for the client.  Pure; one of each per reply, one thread. */
#ifndef PROTO_POP3_BODY_H
#define PROTO_POP3_BODY_H

#include "base/span.h"

enum pop3_line_at { POP3_AT_LINE, POP3_IN_LINE, POP3_AFTER_CR };

/* Zeroed = before the first byte. */
struct pop3_stuffer {
	enum pop3_line_at at;
	bool dotted; /* the extra dot of the line that begins here has gone out */
};
/* The next piece to send: *used bytes at the start of `in` (not empty) are done with by sending the span
 * returned, which is never empty.  *used is 0 when it is the extra dot. */
struct span pop3_stuff(struct pop3_stuffer *s, struct span in, size_t *used);
/* What to send behind the last byte: "." CR LF, and before it the CR LF that the message lacks. */
struct span pop3_stuff_end(const struct pop3_stuffer *s);

/* TOP n: the header fields, the empty line, n lines of the body. */
struct pop3_top {
	enum pop3_line_at at;
	bool in_body, done;
	uint64_t column; /* bytes of the current line so far */
	uint64_t lines;  /* of the body, still to send; set by the owner */
};
/* How many bytes at the start of `in` still belong to it; t->done says that nothing more will. */
size_t pop3_top_len(struct pop3_top *t, struct span in);

#endif
