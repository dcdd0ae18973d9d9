/* buf.c - bytes that grow, up to a limit; see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST 64

static char *buf_fail(struct buf *b)
{
	b->failed = true;
	return NULL;
}

char *buf_room(struct buf *b, size_t len)
{
	if (b->failed || len > b->max || b->len > b->max - len)
		return buf_fail(b);
	if (b->len + len > b->cap || !b->at) {
		size_t cap = b->cap ? b->cap : BUF_FIRST;

		while (cap < b->len + len)
			cap *= 2;
		/* A last block of exactly the limit keeps the promise in pages as well. */
		if (cap > b->max && b->max >= b->len + len)
			cap = b->max ? b->max : 1;
		char *at = realloc(b->at, cap);
		if (!at)
			return buf_fail(b);
		b->at = at;
		b->cap = cap;
	}
	return b->at + b->len;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	char *room;

	if (!len || !(room = buf_room(b, len)))
		return;
	memcpy(room, bytes, len);
	b->len += len;
}

void buf_span(struct buf *b, struct span s)
{
	buf_add(b, s.at, s.len);
}

void buf_str(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_char(struct buf *b, char c)
{
	char *room = buf_room(b, 1);

	if (!room)
		return;
	*room = c;
	b->len++;
}

void buf_u64(struct buf *b, uint64_t n)
{
	char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	buf_add(b, at, (size_t)(digits + sizeof(digits) - at));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[256];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		return;
	}
	if ((size_t)n < sizeof(small)) {
		buf_add(b, small, (size_t)n);
		return;
	}
	/* vsnprintf ends with a NUL, which is not ours to count against the limit. */
	char *big = malloc((size_t)n + 1);
	if (!big) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(big, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_add(b, big, (size_t)n);
	free(big);
}

void buf_drop(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->at, b->at + n, b->len - n);
	b->len -= n;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

void buf_free(struct buf *b)
{
	free(b->at);
	*b = (struct buf){ .max = b->max };
}

static void json_char(struct buf *b, struct span c)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char u = (unsigned char)c.at[0];

	switch (u) {
	case '"':
		buf_str(b, "\\\"");
		return;
	case '\\':
		buf_str(b, "\\\\");
		return;
	case '\n':
		buf_str(b, "\\n");
		return;
	case '\r':
		buf_str(b, "\\r");
		return;
	case '\t':
		buf_str(b, "\\t");
		return;
	default:
		break;
	}
	if (u >= 0x20 && u != 0x7F) {
		buf_span(b, c);
		return;
	}
	char code[6] = { '\\', 'u', '0', '0', hex[u >> 4], hex[u & 15] };
	buf_add(b, code, sizeof(code));
}

void buf_json(struct buf *b, struct span s)
{
	buf_char(b, '"');
	while (s.len) {
		size_t len = span_utf8(s);

		if (len) {
			json_char(b, span_cut(s, len));
		} else {
			buf_str(b, "\xEF\xBF\xBD"); /* U+FFFD, one for each wrong byte */
			len = 1;
		}
		s = span_skip(s, len);
	}
	buf_char(b, '"');
}
