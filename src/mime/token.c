#include "mime/token.h"

static void add_char(struct buf *out, char c)
{
	if (out && c != '\r' && c != '\n')
		buf_char(out, c ? c : ' ');
}

/* A comment at the front; comments nest. */
static void take_comment(struct span *s, struct buf *comment)
{
	size_t i, depth = 0;

	if (comment)
		buf_clear(comment);
	for (i = 0; i < s->len; i++) {
		char c = s->at[i];

		if (c == ')' && --depth == 0)
			break;
		if (depth > 0 && c == '\\' && i + 1 < s->len)
			c = s->at[++i];
		else if (c == '(' && depth++ == 0)
			continue;
		add_char(comment, c);
	}
	*s = span_skip(*s, i + 1);
}

bool token_skip(struct span *s, struct buf *comment)
{
	size_t before = s->len;

	while (s->len > 0) {
		if (token_is_blank(s->at[0]))
			*s = span_skip(*s, 1);
		else if (s->at[0] == '(')
			take_comment(s, comment);
		else
			break;
	}
	return s->len != before;
}

void token_quoted(struct span *s, struct buf *out)
{
	size_t i;

	for (i = 1; i < s->len && s->at[i] != '"'; i++) {
		if (s->at[i] == '\\' && i + 1 < s->len)
			i++;
		add_char(out, s->at[i]);
	}
	*s = span_skip(*s, i + 1);
}

struct span token_take(struct span *s, const char *stops)
{
	size_t i = 0;
	struct span taken;

	while (i < s->len && !token_is_blank(s->at[i]) && !strchr(stops, s->at[i]))
		i++;
	taken = span_cut(*s, i);
	*s = span_skip(*s, i);
	return taken;
}
