/* part.h - one node of a message's MIME structure, and the tree of them.
 *
 * The tree is an array in depth-first order: parts[0] is the message itself (its header is the message's
 * header), a multipart's children follow it, a message/rfc822 part has one child: the message inside.
 * Offsets are octets from the start of the message. */
#ifndef MIME_PART_H
#define MIME_PART_H

#include "base/span.h"

#define MIME_NONE UINT32_MAX

enum mime_kind {
	MIME_LEAF,
	MIME_TEXT, /* a leaf of type text */
	MIME_MULTIPART,
	MIME_MESSAGE /* message/rfc822 with the message inside as its child */
};

struct mime_param {
	struct span name, value; /* unquoted; RFC 2231 names and values as they stand */
};

struct mime_part {
	enum mime_kind kind;
	uint32_t parent, first_child, next; /* indexes; MIME_NONE */
	uint32_t children;
	/* The header with its empty line; the body is right behind.  In a multipart the line end before
	 * a boundary belongs to the boundary. */
	uint64_t header_at, header_len, body_len;
	uint64_t lines; /* line ends in the body */
	/* Never absent: type, subtype, encoding (RFC 2045 5.2, 6.1 say the defaults).  Else absent = NIL. */
	struct span type, subtype, encoding;
	struct span id, description, md5, location;
	struct span disposition;
	const struct mime_param *params, *disposition_params;
	const struct span *languages;
	uint32_t nparams, ndisposition_params, nlanguages;
	struct span envelope; /* of a MIME_MESSAGE's child: ENVELOPE as IMAP prints it */
};

struct mime_tree {
	struct mime_part *parts;
	size_t count;
};

static inline uint64_t mime_body_at(const struct mime_part *p)
{
	return p->header_at + p->header_len;
}

/* The value of a parameter (any case of name), or {NULL,0}. */
struct span mime_param(const struct mime_part *p, const char *name);
struct span mime_disposition_param(const struct mime_part *p, const char *name);
/* Is it type/subtype, whatever the case?  NULL for any subtype. */
bool mime_is(const struct mime_part *p, const char *type, const char *subtype);

#endif
