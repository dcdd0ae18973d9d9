/* decode.h - transfer encodings, charsets and case, as streams: for searching and previews.
 *
 * Pure code; each object belongs to one thread at a time.  us-ascii, utf-8, iso-8859-1 and
 * windows-1252 are done here; other charsets need iconv(3), which loads its modules from the system at
 * their first use: a process that shuts itself in calls mime_charsets_preload before. */
#ifndef MIME_DECODE_H
#define MIME_DECODE_H

#include "base/buf.h"
#include "base/st.h"

/* ---- Content-Transfer-Encoding (RFC 2045 6) ---- */
enum mime_encoding { MIME_IDENTITY, MIME_BASE64, MIME_QUOTED_PRINTABLE };
/* 7bit, 8bit, binary and anything unknown are MIME_IDENTITY. */
enum mime_encoding mime_encoding(struct span name);

struct mime_decoder {
	enum mime_encoding encoding;
	uint32_t bits;  /* base64: bits not yet given out */
	unsigned nbits; /* and how many */
	size_t held;    /* quoted-printable: bytes in hold[] */
	char hold[80];  /* "=", "=X", or blanks that may be at a line's end */
};
void mime_decoder_begin(struct mime_decoder *d, enum mime_encoding encoding);
/* Append what `in` decodes to.  Never fails: bytes that are no base64 are passed over, a wrong =XX stays. */
void mime_decoder_feed(struct mime_decoder *d, struct span in, struct buf *out);
void mime_decoder_end(struct mime_decoder *d, struct buf *out);

/* ---- charset to UTF-8 ---- */
struct mime_charset;
bool mime_charset_known(struct span name);
/* Load what the usual charsets of mail need, for good.  Once, before threads and before the sandbox; a
 * charset that can't be loaded is unknown from then on; how many those are is returned. */
size_t mime_charsets_preload(void);
/* NULL: unknown charset or out of memory. */
struct mime_charset *mime_charset_new(struct span name);
void mime_charset_free(struct mime_charset *c); /* NULL is fine */
/* Append the UTF-8 of `in`; characters may be split between calls.  Bytes that don't fit the charset give
 * U+FFFD; for us-ascii and utf-8 they are taken for windows-1252, as real mail means them. */
void mime_charset_feed(struct mime_charset *c, struct span in, struct buf *out);
void mime_charset_end(struct mime_charset *c, struct buf *out);
/* All at once.  false, and nothing appended: unknown charset. */
bool mime_to_utf8(struct span charset, struct span bytes, struct buf *out);
/* Cut to at most `max` bytes without cutting a UTF-8 character. */
struct span mime_utf8_cut(struct span text, size_t max);
bool mime_utf8_valid(struct span text);

/* ---- the text of one part: encoding and charset in a row ---- */
struct mime_text;
/* Unknown charset: the bytes pass as windows-1252.  NULL: out of memory. */
struct mime_text *mime_text_new(struct span encoding, struct span charset);
void mime_text_free(struct mime_text *t);
void mime_text_feed(struct mime_text *t, struct span in, struct buf *utf8);
void mime_text_end(struct mime_text *t, struct buf *utf8);

/* ---- case ---- */
/* Simple case folding (Unicode, CaseFolding C and S). */
uint32_t mime_fold(uint32_t code_point);
/* Is needle in haystack, case folded?  Both UTF-8; the empty needle is everywhere. */
bool mime_casefold_contains(struct span haystack, struct span needle);

/* The same over a stream, any pieces, linear time, memory by the needle's length. */
struct mime_search;
struct mime_search *mime_search_new(struct span needle); /* NULL: out of memory */
void mime_search_free(struct mime_search *s);
bool mime_search_feed(struct mime_search *s, struct span utf8); /* found so far */
void mime_search_restart(struct mime_search *s); /* a new text begins; found is kept */
bool mime_search_found(const struct mime_search *s);

#endif
