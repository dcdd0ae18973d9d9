#include "mime/preview.h"
#include "mime/decode.h"
#include "mime/utf8.h"

#include <stdlib.h>

/* ---- HTML without its markup, roughly: good enough for first words ---- */

/* Elements whose content is not shown. */
static const char *const hidden[] = { "style", "script", "head", "title" };

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct span tag_name(struct span s)
{
	size_t n = 0;

	while (n < s.len && (is_letter(s.at[n]) || (n > 0 && s.at[n] >= '0' && s.at[n] <= '9')))
		n++;
	return span_cut(s, n);
}

/* Pass over everything up to and with </name>. */
static void skip_element(struct span *s, struct span name)
{
	for (size_t i = 0; i + 2 + name.len <= s->len; i++)
		if (s->at[i] == '<' && s->at[i + 1] == '/' &&
		    span_ieq(span_of(s->at + i + 2, name.len), name)) {
			*s = span_skip(*s, i + 2 + name.len);
			return;
		}
	*s = span_skip(*s, s->len);
}

/* A tag or comment at the front. */
static void skip_tag(struct span *s)
{
	struct span name = tag_name(span_skip(*s, 1));
	size_t end;

	if (span_has_prefix(*s, SPAN("<!--"))) {
		const char *close = memmem(s->at, s->len, "-->", 3);

		*s = close ? span_skip(*s, (size_t)(close - s->at) + 3) : span_skip(*s, s->len);
		return;
	}
	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
		if (span_ieq(name, span_str(hidden[i]))) {
			*s = span_skip(*s, 1);
			skip_element(s, name);
			break;
		}
	end = span_find(*s, '>');
	*s = span_skip(*s, end == SIZE_MAX ? s->len : end + 1);
}

/* &name; or &#n; at the front: its character; else "&" itself. */
static void take_entity(struct span *s, struct buf *out)
{
	static const struct {
		const char *name;
		uint32_t cp;
	} entities[] = {
		{ "amp", '&' },      { "lt", '<' },       { "gt", '>' },        { "quot", '"' },
		{ "apos", '\'' },    { "nbsp", ' ' },     { "auml", 0xE4 },     { "ouml", 0xF6 },
		{ "uuml", 0xFC },    { "Auml", 0xC4 },    { "Ouml", 0xD6 },     { "Uuml", 0xDC },
		{ "szlig", 0xDF },   { "eacute", 0xE9 },  { "hellip", 0x2026 }, { "ndash", 0x2013 },
		{ "mdash", 0x2014 }, { "rsquo", 0x2019 }, { "lsquo", 0x2018 },  { "euro", 0x20AC },
		{ "zwnj", 0x200C },  { "shy", 0xAD },     { "copy", 0xA9 },     { "ldquo", 0x201C },
		{ "rdquo", 0x201D },
	};
	size_t end = span_find(span_cut(*s, 12), ';');
	struct span name = span_of(s->at + 1, end == SIZE_MAX ? 0 : end - 1);
	uint32_t cp = 0;

	if (end != SIZE_MAX && name.len > 1 && name.at[0] == '#') {
		char digits[16] = { 0 };
		bool hex = name.at[1] == 'x' || name.at[1] == 'X';

		memcpy(digits, name.at + 1 + hex, name.len - 1 - hex);
		cp = (uint32_t)strtoul(digits, NULL, hex ? 16 : 10);
		if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
			cp = 0xFFFD;
	}
	for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++)
		if (span_eq(name, span_str(entities[i].name)))
			cp = entities[i].cp;
	if (cp)
		utf8_put(out, cp);
	else
		buf_char(out, '&');
	*s = span_skip(*s, cp ? end + 1 : 1);
}

static void strip_html(struct span s, struct buf *out)
{
	while (s.len > 0 && !out->failed) {
		if (s.at[0] == '<' && s.len > 1 &&
		    (is_letter(s.at[1]) || s.at[1] == '/' || s.at[1] == '!' || s.at[1] == '?')) {
			skip_tag(&s);
			buf_char(out, ' ');
		} else if (s.at[0] == '&') {
			take_entity(&s, out);
		} else {
			buf_char(out, s.at[0]);
			s = span_skip(s, 1);
		}
	}
}

/* ---- */

static bool is_space(uint32_t cp)
{
	return cp <= ' ' || cp == 0x7F || cp == 0xA0 || cp == 0x2028 || cp == 0x2029 ||
	       (cp >= 0x2000 && cp <= 0x200A) || cp == 0x202F || cp == 0x3000;
}

/* What newsletters pad their first line with. */
static bool is_invisible(uint32_t cp)
{
	return (cp >= 0x200B && cp <= 0x200F) || cp == 0xFEFF || cp == 0xAD || cp == 0x34F ||
	       cp == 0x2060;
}

static void collapse(struct span text, size_t max, struct buf *out)
{
	size_t start = out->len;
	bool space = false;
	uint32_t cp;

	while (text.len > 0 && out->len - start < max && !out->failed) {
		size_t n = utf8_decode(text, &cp);

		if (n == 0)
			break; /* the capture ended inside a character */
		text = span_skip(text, n);
		if (is_invisible(cp) || (cp & UTF8_BAD))
			continue;
		if (is_space(cp)) {
			space = out->len > start;
			continue;
		}
		if (space)
			buf_char(out, ' ');
		space = false;
		utf8_put(out, cp);
	}
	if (out->len > start)
		out->len = start + mime_utf8_cut(span_skip(buf_get(out), start), max).len;
}

void preview_text(const struct mime_part *p, struct span body, size_t max, struct buf *out)
{
	struct mime_text *t = mime_text_new(p->encoding, mime_param(p, "charset"));
	struct buf utf8 = BUF_MAX(4 * body.len + 64), plain = BUF_MAX(8 * body.len + 64);

	if (!t) {
		out->failed = true;
		return;
	}
	/* No mime_text_end: a character that the capture cut in two must not show as a bad one. */
	mime_text_feed(t, body, &utf8);
	if (mime_is(p, "text", "html")) {
		strip_html(buf_get(&utf8), &plain);
		collapse(buf_get(&plain), max, out);
	} else {
		collapse(buf_get(&utf8), max, out);
	}
	mime_text_free(t);
	buf_free(&utf8);
	buf_free(&plain);
}
