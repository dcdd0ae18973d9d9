/* buf.h - bytes that grow, up to a limit that the owner names.
 *
 * One owner, one thread.  A zeroed struct with `max` set is an empty buffer.  Appending past `max`
 * or out of memory sets `failed`, adds nothing, and every later append is a no-op: the caller checks
 * `failed` once at the end.  `at` may move at every append. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/span.h"

struct buf {
	char *at;
	size_t len, cap, max;
	bool failed;
};

#define BUF_MAX(limit) ((struct buf){ .max = (limit) })

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_span(struct buf *b, struct span s);
void buf_str(struct buf *b, const char *text);
void buf_char(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t n); /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for `len` more bytes to be written in place at at + len; NULL when over max.  The caller then
 * adds to ->len what it wrote. */
char *buf_room(struct buf *b, size_t len);
/* Drop the first n bytes (the rest moves down). */
void buf_drop(struct buf *b, size_t n);
void buf_clear(struct buf *b); /* empty it, keep the memory, clear failed */
void buf_free(struct buf *b);  /* give the memory back; the struct is an empty buffer again */

static inline struct span buf_get(const struct buf *b)
{
	return span_of(b->at, b->len);
}

/* JSON string with quotes and escapes; bytes that are not UTF-8 become U+FFFD. */
void buf_json(struct buf *b, struct span s);

#endif
