#include "mime/utf8.h"
#include "mime/decode.h"

/* Length by first byte, and the smallest code point of that length. */
static size_t expected(unsigned char first, uint32_t *least)
{
	if (first >= 0xC2 && first <= 0xDF) {
		*least = 0x80;
		return 2;
	}
	if (first >= 0xE0 && first <= 0xEF) {
		*least = 0x800;
		return 3;
	}
	if (first >= 0xF0 && first <= 0xF4) {
		*least = 0x10000;
		return 4;
	}
	return 0;
}

size_t utf8_decode(struct span s, uint32_t *cp)
{
	unsigned char first;
	uint32_t least, v;
	size_t need;

	if (s.len == 0)
		return 0;
	first = (unsigned char)s.at[0];
	*cp = first < 0x80 ? first : UTF8_BAD | first;
	need = expected(first, &least);
	if (need == 0)
		return 1;
	v = first & (0x7Fu >> need);
	for (size_t i = 1; i < need; i++) {
		if (i == s.len)
			return 0;
		if ((s.at[i] & 0xC0) != 0x80)
			return 1;
		v = v << 6 | (unsigned char)(s.at[i] & 0x3F);
	}
	if (v < least || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
		return 1;
	*cp = v;
	return need;
}

bool utf8_next(struct utf8_stream *u, struct span *in, uint32_t *cp)
{
	size_t n;

	while (u->nheld > 0) {
		n = utf8_decode(span_of(u->held, u->nheld), cp);
		if (n > 0) {
			u->nheld -= n;
			memmove(u->held, u->held + n, u->nheld);
			return true;
		}
		if (in->len == 0)
			return false;
		u->held[u->nheld++] = in->at[0];
		*in = span_skip(*in, 1);
	}
	n = utf8_decode(*in, cp);
	if (n > 0) {
		*in = span_skip(*in, n);
		return true;
	}
	if (in->len > 0)
		memcpy(u->held, in->at, in->len);
	u->nheld = in->len;
	*in = span_skip(*in, in->len);
	return false;
}

bool utf8_flush(struct utf8_stream *u, uint32_t *cp)
{
	if (u->nheld == 0)
		return false;
	*cp = UTF8_BAD | (unsigned char)u->held[0];
	memmove(u->held, u->held + 1, --u->nheld);
	return true;
}

void utf8_put(struct buf *out, uint32_t cp)
{
	char bytes[4];
	size_t n;

	if (cp < 0x80) {
		buf_char(out, (char)cp);
		return;
	}
	n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	for (size_t i = n; i-- > 1; cp >>= 6)
		bytes[i] = (char)(0x80 | (cp & 0x3F));
	bytes[0] = (char)(0xF00u >> n | cp);
	buf_add(out, bytes, n);
}

bool mime_utf8_valid(struct span text)
{
	uint32_t cp;

	while (text.len > 0) {
		size_t n = utf8_decode(text, &cp);

		if (n == 0 || (cp & UTF8_BAD))
			return false;
		text = span_skip(text, n);
	}
	return true;
}

struct span mime_utf8_cut(struct span text, size_t max)
{
	size_t len = max;

	if (text.len <= max)
		return text;
	/* Back over continuation bytes, but not over more than a character has. */
	while (len > 0 && max - len < 3 && (text.at[len] & 0xC0) == 0x80)
		len--;
	return span_cut(text, len);
}
