/* header.h - the fields of a header block (RFC 5322 2.2, RFC 6532), and their text.
 *
 * Tolerant: lines end in CRLF or a bare LF, names may be followed by blanks (RFC 5322 4.5), values may
 * hold any byte, lines that are no field are passed over.  A block ends at its first empty line, or at the
 * end of its bytes.  Pure code, any thread; spans point into the caller's block. */
#ifndef MIME_HEADER_H
#define MIME_HEADER_H

#include "base/buf.h"

struct mime_fields {
	struct span rest;
	struct span whole; /* the field that was returned last, as it stands, with its line end */
};
static inline struct mime_fields mime_fields(struct span block)
{
	return (struct mime_fields){ block, SPAN_NONE };
}

/* The next field: its name without colon and blanks; its value as it stands, folding included, without
 * leading blanks and without the last line end.  false at the end of the block. */
bool mime_field_next(struct mime_fields *it, struct span *name, struct span *value_raw);

/* The value_raw of the first field with that name (any case); {NULL,0} when there is none.  An empty field
 * has at != NULL. */
struct span mime_header_find(struct span block, const char *name);

/* Without the line ends of folding; blanks at both ends are gone; a CR, LF or NUL left over is a blank. */
void mime_unfold(struct span raw, struct buf *out);

/* Unfolded, RFC 2047 encoded words decoded wherever they stand (also where the RFC forbids them: real
 * mail has them in quotes), all of it UTF-8: 8-bit text that is UTF-8 passes, other 8-bit bytes are
 * taken for windows-1252.  An encoded word in an unknown charset stays as it is.  No control
 * characters come out. */
void mime_decode_text(struct span raw, struct buf *out);

/* RFC 3501 6.4.5 HEADER.FIELDS and HEADER.FIELDS.NOT: the fields of the block that are (with `others`: that
 * are not) in names, as they stand, and the empty line. */
void mime_header_subset(struct span block, const struct span *names, size_t n, bool others,
			struct buf *out);

#endif
