/* scan.h - a message's MIME structure, found while its bytes stream past.
 *
 * Bytes come in any pieces; nothing of a body is kept but what the preview needs.  Any bytes at all give a
 * tree: what is not MIME is text, what is over a limit is one opaque part (application/octet-stream).
 * Lines may end in CRLF or a bare LF.  One thread at a time; memory is bounded by the limits. */
#ifndef MIME_SCAN_H
#define MIME_SCAN_H

#include "base/st.h"
#include "mime/part.h"

struct mime_limits {
	uint32_t parts, depth;
	size_t top_header;  /* how much of the message's header is kept */
	size_t part_header; /* and of a part's, while it is read */
	size_t text;        /* all strings of the tree together */
};
#define MIME_LIMITS_DEFAULT                                                                        \
	((struct mime_limits){ .parts = 2000,                                                      \
			       .depth = 50,                                                        \
			       .top_header = 256 * 1024,                                           \
			       .part_header = 64 * 1024,                                           \
			       .text = 1024 * 1024 })

/* What occurred anywhere in the message (PR_MIME_FLAGS). */
#define MIME_HAS_8BIT    0x1u
#define MIME_HAS_NUL     0x2u
#define MIME_HAS_BARE_LF 0x4u
#define MIME_HAS_BARE_CR 0x8u
#define MIME_HAS_ATTACH  0x10u /* a part that a reader would call an attachment */
#define MIME_OVER_LIMIT  0x20u /* the tree or its strings were cut at a limit */

#define MIME_PREVIEW_MAX 256

struct mime_scan;

/* NULL limits: the defaults.  NULL: out of memory. */
struct mime_scan *mime_scan_new(const struct mime_limits *limits);
void mime_scan_free(struct mime_scan *s); /* NULL is fine */
/* Out of memory on the way shows in mime_scan_end. */
void mime_scan_feed(struct mime_scan *s, const void *bytes, size_t len);
/* No more bytes.  ST_OK or ST_NOMEM; once only. */
enum st mime_scan_end(struct mime_scan *s, struct err *err);

/* After mime_scan_end; valid until mime_scan_free. */
struct mime_tree mime_scan_tree(const struct mime_scan *s);
uint64_t mime_scan_size(const struct mime_scan *s);
uint64_t mime_scan_lines(const struct mime_scan *s);
unsigned mime_scan_flags(const struct mime_scan *s);
/* The message's header block as it came, up to limits.top_header, cut at a line. */
struct span mime_scan_header(const struct mime_scan *s);
/* First words of the first text/plain part that is no attachment, else of the first text/html without its
 * markup: UTF-8, blanks collapsed, at most MIME_PREVIEW_MAX bytes. */
struct span mime_scan_preview(const struct mime_scan *s);

#endif
