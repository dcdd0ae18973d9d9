/* utf7.c - mailbox names in modified UTF-7 and in UTF-8; see utf7.h.
 *
 * A shift carries UTF-16 in base64 with ',' for '/' and no padding. */
#include "proto/imap/utf7.h"

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

struct out {
	char *at;
	size_t len, room;
};

static bool put(struct out *o, unsigned char c)
{
	if (o->len == o->room)
		return false;
	o->at[o->len++] = (char)c;
	return true;
}

static bool put_utf8(struct out *o, uint32_t c)
{
	if (c < 0x80)
		return put(o, (unsigned char)c);
	if (c < 0x800)
		return put(o, (unsigned char)(0xC0 | c >> 6)) &&
		       put(o, (unsigned char)(0x80 | (c & 0x3F)));
	if (c < 0x10000)
		return put(o, (unsigned char)(0xE0 | c >> 12)) &&
		       put(o, (unsigned char)(0x80 | (c >> 6 & 0x3F))) &&
		       put(o, (unsigned char)(0x80 | (c & 0x3F)));
	return put(o, (unsigned char)(0xF0 | c >> 18)) &&
	       put(o, (unsigned char)(0x80 | (c >> 12 & 0x3F))) &&
	       put(o, (unsigned char)(0x80 | (c >> 6 & 0x3F))) &&
	       put(o, (unsigned char)(0x80 | (c & 0x3F)));
}

static bool direct(uint32_t c)
{
	return c >= 0x20 && c <= 0x7E;
}

static enum st bad(struct err *err, const char *why)
{
	return fail(err, ST_BAD, "mailbox name: %s", why);
}

/* ---- decoding ---- */

struct shift {
	uint32_t bits, nbits; /* of base64 that make no unit yet */
	uint32_t high;        /* the first half of a surrogate pair, or 0 */
};

static enum st take_unit(struct shift *s, uint32_t unit, struct out *o, struct err *err)
{
	bool low = unit >= 0xDC00 && unit <= 0xDFFF;

	if (low != (s->high != 0))
		return bad(err, "half a surrogate pair");
	if (unit >= 0xD800 && unit <= 0xDBFF) {
		s->high = unit;
		return ST_OK;
	}
	if (low)
		unit = 0x10000 + ((s->high - 0xD800) << 10) + (unit - 0xDC00);
	s->high = 0;
	if (direct(unit) || !unit)
		return bad(err, "a character that must not be in base64");
	return put_utf8(o, unit) ? ST_OK : fail(err, ST_TOOBIG, "mailbox name: too long");
}

/* From behind the '&' to behind the '-'. */
static enum st decode_shift(struct span in, size_t *at, struct out *o, struct err *err)
{
	struct shift s = { 0 };

	for (; *at < in.len && in.at[*at] != '-'; ++*at) {
		const char *digit = in.at[*at] ? strchr(base64, in.at[*at]) : NULL;
		if (!digit)
			return bad(err, "not base64 after '&'");
		s.bits = s.bits << 6 | (uint32_t)(digit - base64);
		s.nbits += 6;
		if (s.nbits < 16)
			continue;
		s.nbits -= 16;
		enum st st = take_unit(&s, s.bits >> s.nbits & 0xFFFF, o, err);
		if (st != ST_OK)
			return st;
		s.bits &= (1u << s.nbits) - 1;
	}
	if (*at == in.len)
		return bad(err, "no '-' after '&'");
	if (s.high)
		return bad(err, "half a surrogate pair");
	if (s.nbits >= 6 || s.bits)
		return bad(err, "bits left over in base64");
	++*at;
	return ST_OK;
}

enum st imap_utf7_decode(struct span in, char *out, size_t room, size_t *len, struct err *err)
{
	struct out o = { out, 0, room };
	bool shifted = false; /* the octet before ended a shift */

	for (size_t at = 0; at < in.len;) {
		unsigned char c = (unsigned char)in.at[at++];
		bool amp = c == '&' && at < in.len && in.at[at] == '-';

		if (c == '&' && !amp) {
			if (shifted)
				return bad(err, "one shift directly after another");
			enum st st = decode_shift(in, &at, &o, err);
			if (st != ST_OK)
				return st;
			shifted = true;
			continue;
		}
		if (!direct(c))
			return bad(err, "an octet that must be in base64");
		if (!put(&o, c))
			return fail(err, ST_TOOBIG, "mailbox name: too long");
		at += amp;
		shifted = false;
	}
	*len = o.len;
	return ST_OK;
}

/* ---- encoding ---- */

/* The character that `in` begins with, of `len` octets as span_utf8() found. */
static uint32_t utf8_char(struct span in, size_t len)
{
	static const unsigned char first[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
	uint32_t c = (unsigned char)in.at[0] & first[len];

	for (size_t i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)in.at[i] & 0x3F);
	return c;
}

static bool put_unit(struct shift *s, uint32_t unit, struct out *o)
{
	s->bits = s->bits << 16 | unit;
	s->nbits += 16;
	while (s->nbits >= 6) {
		s->nbits -= 6;
		if (!put(o, (unsigned char)base64[s->bits >> s->nbits & 0x3F]))
			return false;
	}
	s->bits &= (1u << s->nbits) - 1;
	return true;
}

static bool put_shifted(struct shift *s, uint32_t c, struct out *o)
{
	if (c < 0x10000)
		return put_unit(s, c, o);
	c -= 0x10000;
	return put_unit(s, 0xD800 + (c >> 10), o) && put_unit(s, 0xDC00 + (c & 0x3FF), o);
}

/* Pad the last base64 digit with zero bits, and end the shift. */
static bool end_shift(struct shift *s, struct out *o)
{
	if (s->nbits && !put(o, (unsigned char)base64[s->bits << (6 - s->nbits) & 0x3F]))
		return false;
	*s = (struct shift){ 0 };
	return put(o, '-');
}

static bool encode_char(struct shift *s, bool *shifted, uint32_t c, struct out *o)
{
	if (!direct(c)) {
		if (!*shifted && !put(o, '&'))
			return false;
		*shifted = true;
		return put_shifted(s, c, o);
	}
	if (*shifted && !end_shift(s, o))
		return false;
	*shifted = false;
	return put(o, (unsigned char)c) && (c != '&' || put(o, '-'));
}

enum st imap_utf7_encode(struct span in, char *out, size_t room, size_t *len, struct err *err)
{
	struct out o = { out, 0, room };
	struct shift s = { 0 };
	bool shifted = false;

	while (in.len) {
		size_t n = span_utf8(in);
		uint32_t c = n ? utf8_char(in, n) : 0;

		if (!c)
			return bad(err, n ? "it holds a NUL" : "it is not UTF-8");
		if (!encode_char(&s, &shifted, c, &o))
			return fail(err, ST_TOOBIG, "mailbox name: too long");
		in = span_skip(in, n);
	}
	if (shifted && !end_shift(&s, &o))
		return fail(err, ST_TOOBIG, "mailbox name: too long");
	*len = o.len;
	return ST_OK;
}
