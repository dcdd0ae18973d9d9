#include "mime/header.h"

/* Where the line that begins at `from` ends, its line end included. */
static size_t line_end(struct span s, size_t from)
{
	const char *lf = memchr(s.at + from, '\n', s.len - from);

	return lf ? (size_t)(lf - s.at) + 1 : s.len;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_empty_line(struct span s)
{
	return s.len > 0 && (s.at[0] == '\n' || (s.len > 1 && s.at[0] == '\r' && s.at[1] == '\n'));
}

/* The field or line at the start of `rest` with the lines that continue it. */
static struct span take_field(struct span *rest)
{
	size_t end = line_end(*rest, 0);
	struct span whole;

	while (end < rest->len && is_blank(rest->at[end]))
		end = line_end(*rest, end);
	whole = span_cut(*rest, end);
	*rest = span_skip(*rest, end);
	return whole;
}

/* The name of a field, blanks before the colon allowed; absent when the line is no field. */
static struct span field_name(struct span whole, size_t *colon)
{
	size_t len;

	*colon = span_find(whole, ':');
	if (*colon == SIZE_MAX)
		return SPAN_NONE;
	len = *colon;
	while (len > 0 && is_blank(whole.at[len - 1]))
		len--;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)whole.at[i] <= ' ' || (unsigned char)whole.at[i] >= 0x7F)
			return SPAN_NONE;
	return len ? span_cut(whole, len) : SPAN_NONE;
}

static struct span field_value(struct span whole, size_t colon)
{
	struct span v = span_skip(whole, colon + 1);

	if (v.len > 0 && v.at[v.len - 1] == '\n')
		v.len--;
	if (v.len > 0 && v.at[v.len - 1] == '\r')
		v.len--;
	while (v.len > 0 && (is_blank(v.at[0]) || v.at[0] == '\r' || v.at[0] == '\n'))
		v = span_skip(v, 1);
	return v;
}

bool mime_field_next(struct mime_fields *it, struct span *name, struct span *value_raw)
{
	while (it->rest.len > 0 && !is_empty_line(it->rest)) {
		size_t colon;

		it->whole = take_field(&it->rest);
		*name = field_name(it->whole, &colon);
		if (!name->at)
			continue;
		*value_raw = field_value(it->whole, colon);
		return true;
	}
	return false;
}

struct span mime_header_find(struct span block, const char *name)
{
	struct mime_fields it = mime_fields(block);
	struct span want = span_str(name), have, value;

	while (mime_field_next(&it, &have, &value))
		if (span_ieq(have, want))
			return value;
	return SPAN_NONE;
}

void mime_unfold(struct span raw, struct buf *out)
{
	size_t start = out->len;

	while (raw.len > 0 && (is_blank(raw.at[0]) || raw.at[0] == '\r' || raw.at[0] == '\n'))
		raw = span_skip(raw, 1);
	for (size_t i = 0; i < raw.len && !out->failed; i++) {
		char c = raw.at[i];

		if (c == '\n' || (c == '\r' && i + 1 < raw.len && raw.at[i + 1] == '\n'))
			continue;
		buf_char(out, c == '\r' || c == '\0' ? ' ' : c);
	}
	while (out->len > start && is_blank(out->at[out->len - 1]))
		out->len--;
}

static bool in_names(struct span name, const struct span *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (span_ieq(name, names[i]))
			return true;
	return false;
}

void mime_header_subset(struct span block, const struct span *names, size_t n, bool others,
			struct buf *out)
{
	struct mime_fields it = mime_fields(block);
	struct span name, value;

	while (mime_field_next(&it, &name, &value))
		if (in_names(name, names, n) != others) {
			buf_span(out, it.whole);
			if (it.whole.at[it.whole.len - 1] != '\n') /* cut at the block's end */
				buf_str(out, "\r\n");
		}
	buf_str(out, "\r\n");
}
