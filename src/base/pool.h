/* pool.h - memory by lifetime: allocate forward, go back to a mark, never free one by one.
 *
 * One thread.  A pool has a name and a hard size; an allocation past it returns NULL (the peer sent
 * too much: refuse politely) and leaves the pool as it was.  Memory is aligned to 16 and zeroed. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/span.h"

struct pool;

struct pool *pool_new(const char *name, size_t max); /* NULL: out of memory */
void pool_free(struct pool *p);                      /* NULL is fine */
void *pool_get(struct pool *p, size_t len);
void *pool_dup(struct pool *p, const void *bytes, size_t len);
struct span pool_span(struct pool *p, struct span s); /* a copy; {NULL,0} when full */
char *pool_cstr(struct pool *p, struct span s);       /* a copy with a NUL behind it */
char *pool_printf(struct pool *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The dispatcher takes a mark, runs the handler, and goes back: handlers never free. */
size_t pool_mark(const struct pool *p);
void pool_back(struct pool *p, size_t mark); /* gives whole chunks back to the system */
size_t pool_used(const struct pool *p);

#endif
