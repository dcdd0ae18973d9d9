/* structure.h - the tree as stored in PR_MIME_STRUCTURE, and what IMAP makes of it (RFC 3501 7.4.2).
 *
 * The bytes are described in docs/formats.md, section "MIME structure".  Pure code, any thread. */
#ifndef MIME_STRUCTURE_H
#define MIME_STRUCTURE_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/st.h"
#include "mime/part.h"

void mime_tree_write(const struct mime_tree *t, struct buf *out);
/* Check and read; the tree's arrays are in the pool, its strings point into `bytes`, so both must outlive
 * it.  ST_BAD: no such bytes; ST_TOOBIG: the pool is full.  *out is untouched on failure. */
enum st mime_tree_read(struct span bytes, struct pool *pool, struct mime_tree *out,
		       struct err *err);

/* BODYSTRUCTURE, or with extended false BODY: the parenthesised text. */
void mime_bodystructure(const struct mime_tree *t, bool extended, struct buf *out);

/* What a section is cut from: octets [at, at+len) of the message. */
struct mime_section {
	uint64_t at, len;
	uint32_t part; /* whose it is; MIME_NONE for the whole message */
	enum {
		MIME_SECTION_ALL,    /* "" */
		MIME_SECTION_HEADER, /* "HEADER", "2.HEADER": with its empty line */
		MIME_SECTION_TEXT,   /* "TEXT", "2.TEXT" */
		MIME_SECTION_MIME,   /* "2.MIME" */
		MIME_SECTION_PART    /* "2" */
	} what;
};
/* `path` is what stands between the brackets, any case; for HEADER.FIELDS resolve the path cut behind
 * HEADER and use mime_header_subset.
 *	ST_OK		*out is set
 *	ST_NOTFOUND	well-formed, but the message has no such part (or it is no message, for HEADER and TEXT)
 *	ST_BAD		no section path */
enum st mime_section(const struct mime_tree *t, struct span path, struct mime_section *out,
		     struct err *err);

/* A string as IMAP sends it: quoted where that can hold it, else a literal; {NULL,0} is NIL.  NUL, which
 * neither can hold, becomes a blank. */
void imap_nstring(struct span s, struct buf *out);

#endif
