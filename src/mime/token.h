/* token.h - the small parts of RFC 5322 and RFC 2045 grammar that many fields share; this room only.
 *
 * All take from the front of *s, never fail, and always end: a quote or a comment that is not closed
 * goes to the end of the value. */
#ifndef MIME_TOKEN_H
#define MIME_TOKEN_H

#include "base/buf.h"

/* Blanks, line ends, control characters. */
static inline bool token_is_blank(char c)
{
	return (unsigned char)c <= ' ' || c == 0x7F;
}

/* Pass over blanks and comments; true when there were any.  The last comment's text goes to *comment
 * (cleared first) when that is not NULL. */
bool token_skip(struct span *s, struct buf *comment);
/* A quoted string at the front: append what it says, line ends left out. */
void token_quoted(struct span *s, struct buf *out);
/* Characters up to a blank or one of `stops`. */
struct span token_take(struct span *s, const char *stops);

#endif
