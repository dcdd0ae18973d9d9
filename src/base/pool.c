/* pool.c - memory by lifetime; see pool.h.
 *
 * A stack of chunks, each beginning at a position of the pool as a whole (`start`), so that a mark
 * is one number and going back frees the chunks that began behind it.  The last chunk is kept when
 * it is of the standard size: a session that goes to mark 0 after each command does not visit the
 * system allocator for each.  What is not handed out is poisoned for AddressSanitizer. */
#include "base/pool.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define POOL_ALIGN 16
#define POOL_CHUNK 4096

struct chunk {
	struct chunk *below;
	size_t start; /* pool position of bytes[0] */
	size_t used, cap;
	_Alignas(POOL_ALIGN) unsigned char bytes[];
};

struct pool {
	const char *name;
	size_t max;
	struct chunk *top;
};

struct pool *pool_new(const char *name, size_t max)
{
	struct pool *p = malloc(sizeof(*p));

	if (p)
		*p = (struct pool){ .name = name, .max = max };
	return p;
}

static void pop_chunk(struct pool *p)
{
	struct chunk *gone = p->top;

	p->top = gone->below;
	ASAN_UNPOISON_MEMORY_REGION(gone->bytes, gone->cap);
	free(gone);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	while (p->top)
		pop_chunk(p);
	free(p);
}

size_t pool_used(const struct pool *p)
{
	return p->top ? p->top->start + p->top->used : 0;
}

static bool push_chunk(struct pool *p, size_t len)
{
	/* Chunks grow with the pool, so that a large pool is not a long list. */
	size_t used = pool_used(p), cap = used > POOL_CHUNK ? used : POOL_CHUNK;

	cap -= sizeof(struct chunk);
	if (cap > p->max - used)
		cap = p->max - used;
	if (cap < len)
		cap = len;
	struct chunk *c = malloc(sizeof(*c) + cap);
	if (!c)
		return false;
	c->below = p->top;
	c->start = used;
	c->used = 0;
	c->cap = cap;
	p->top = c;
	ASAN_POISON_MEMORY_REGION(c->bytes, c->cap);
	return true;
}

void *pool_get(struct pool *p, size_t len)
{
	if (len > p->max)
		return NULL;
	size_t want = (len + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
	if (!want)
		want = POOL_ALIGN;
	if (pool_used(p) + want > p->max)
		return NULL;
	if ((!p->top || p->top->cap - p->top->used < want) && !push_chunk(p, want))
		return NULL;
	void *at = p->top->bytes + p->top->used;
	p->top->used += want;
	ASAN_UNPOISON_MEMORY_REGION(at, len);
	return memset(at, 0, len);
}

void *pool_dup(struct pool *p, const void *bytes, size_t len)
{
	void *at = pool_get(p, len);

	return at && len ? memcpy(at, bytes, len) : at;
}

struct span pool_span(struct pool *p, struct span s)
{
	void *at = pool_dup(p, s.at, s.len);

	return at ? span_of(at, s.len) : SPAN_NONE;
}

char *pool_cstr(struct pool *p, struct span s)
{
	char *at = s.len < p->max ? pool_get(p, s.len + 1) : NULL;

	if (at && s.len)
		memcpy(at, s.at, s.len);
	return at;
}

char *pool_printf(struct pool *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *at = n < 0 ? NULL : pool_get(p, (size_t)n + 1);
	if (!at)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(at, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return at;
}

size_t pool_mark(const struct pool *p)
{
	return pool_used(p);
}

void pool_back(struct pool *p, size_t mark)
{
	while (p->top && p->top->start > mark)
		pop_chunk(p);
	if (!p->top)
		return;
	if (p->top->start == mark && p->top->cap > POOL_CHUNK) {
		pop_chunk(p);
		return;
	}
	size_t keep = mark - p->top->start;
	if (keep < p->top->used) {
		p->top->used = keep;
		ASAN_POISON_MEMORY_REGION(p->top->bytes + keep, p->top->cap - keep);
	}
}
