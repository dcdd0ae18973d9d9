/* span.c - comparing, cutting and reading numbers; see span.h. */
#include "base/span.h"

static unsigned char lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? u | 0x20 : u;
}

static bool same_without_case(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool span_ieq(struct span a, struct span b)
{
	return a.len == b.len && same_without_case(a.at, b.at, a.len);
}

bool span_has_prefix(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_eq(span_cut(s, prefix.len), prefix);
}

bool span_ihas_prefix(struct span s, struct span prefix)
{
	return s.len >= prefix.len && same_without_case(s.at, prefix.at, prefix.len);
}

int span_cmp(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len ? memcmp(a.at, b.at, len) : 0;

	if (order)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

size_t span_find(struct span s, char c)
{
	const char *hit = s.len ? memchr(s.at, c, s.len) : NULL;

	return hit ? (size_t)(hit - s.at) : SIZE_MAX;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.len && is_blank(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len && is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

struct span span_split(struct span s, char sep, struct span *rest)
{
	size_t at = span_find(s, sep);

	if (at == SIZE_MAX) {
		*rest = SPAN_NONE;
		return s;
	}
	*rest = span_skip(s, at + 1);
	return span_cut(s, at);
}

bool span_u64(struct span s, uint64_t *out)
{
	uint64_t n = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.at[i] - (unsigned)'0';

		if (digit > 9 || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*out = n;
	return true;
}

bool span_u32(struct span s, uint32_t *out)
{
	uint64_t n;

	if (!span_u64(s, &n) || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

size_t span_utf8(struct span s)
{
	const unsigned char *u = (const unsigned char *)s.at;
	size_t len;
	unsigned low = 0x80, high = 0xBF;

	if (!s.len)
		return 0;
	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xC2 && u[0] <= 0xDF)
		len = 2;
	else if ((u[0] & 0xF0) == 0xE0)
		len = 3;
	else if (u[0] >= 0xF0 && u[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (u[0] == 0xE0)
		low = 0xA0;
	else if (u[0] == 0xED)
		high = 0x9F;
	else if (u[0] == 0xF0)
		low = 0x90;
	else if (u[0] == 0xF4)
		high = 0x8F;
	if (s.len < len || u[1] < low || u[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((u[i] & 0xC0) != 0x80)
			return 0;
	return len;
}
