/* utf8.h - UTF-8 (RFC 3629) in pieces; this room only. */
#ifndef MIME_UTF8_H
#define MIME_UTF8_H

#include "base/buf.h"

#define UTF8_BAD 0x80000000u /* | the byte: it belongs to no character */

/* The first character of the bytes: how many it takes; 0 when they end inside it. */
size_t utf8_decode(struct span s, uint32_t *cp);

/* A stream whose characters may be cut anywhere. */
struct utf8_stream {
	char held[4];
	size_t nheld;
};
/* Take one character; false when *in is used up (an unfinished one is held). */
bool utf8_next(struct utf8_stream *u, struct span *in, uint32_t *cp);
/* The end: the held bytes, each as a bad one; false when there is none left. */
bool utf8_flush(struct utf8_stream *u, uint32_t *cp);

void utf8_put(struct buf *out, uint32_t cp);

#endif
