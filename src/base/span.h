/* span.h - some bytes that somebody else owns.
 *
 * Text from the wire is a span into the read buffer, never a C string.  A span never owns; it is
 * passed by value and is valid as long as what it points into.  {NULL, 0} is the absent span; an
 * empty value has len 0 and at != NULL where the difference matters. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *at;
	size_t len;
};

#define SPAN(literal) ((struct span){ "" literal "", sizeof(literal) - 1 })
/* The same where only a constant may stand: rows of a static table. */
/* clang-format off */
#define SPAN_INIT(literal) { "" literal "", sizeof(literal) - 1 }
/* clang-format on */
#define SPAN_NONE     ((struct span){ NULL, 0 })
#define SPAN_FMT      "%.*s"
#define SPAN_ARG(s)   (int)(s).len, (s).at ? (s).at : ""

static inline struct span span_of(const void *at, size_t len)
{
	return (struct span){ at, len };
}

static inline struct span span_str(const char *text)
{
	return (struct span){ text, text ? strlen(text) : 0 };
}

/* The part from `from` on (empty when past the end). */
static inline struct span span_skip(struct span s, size_t from)
{
	if (from > s.len)
		from = s.len;
	/* No arithmetic on the NULL of an absent span: C has no NULL + 0. */
	return (struct span){ from ? s.at + from : s.at, s.len - from };
}

/* At most the first `len` bytes. */
static inline struct span span_cut(struct span s, size_t len)
{
	return (struct span){ s.at, len < s.len ? len : s.len };
}

bool span_eq(struct span a, struct span b);
/* ASCII letters compare without case; every other byte as it is. */
bool span_ieq(struct span a, struct span b);
bool span_has_prefix(struct span s, struct span prefix);
bool span_ihas_prefix(struct span s, struct span prefix);
/* memcmp order, a shorter prefix first: <0, 0, >0. */
int span_cmp(struct span a, struct span b);
/* Offset of the first `c`, or SIZE_MAX. */
size_t span_find(struct span s, char c);
/* Without leading and trailing SP and HTAB. */
struct span span_trim(struct span s);
/* Cut off the part before the first `sep`; *rest is what follows it ({NULL,0} when there is none). */
struct span span_split(struct span s, char sep, struct span *rest);
/* Decimal digits only, no sign, the whole span, no overflow; false leaves *out untouched. */
bool span_u64(struct span s, uint64_t *out);
bool span_u32(struct span s, uint32_t *out);
/* Length of the UTF-8 character that s begins with (RFC 3629: shortest form, no surrogates), 0 when
 * it begins with none (or is empty). */
size_t span_utf8(struct span s);

#endif
