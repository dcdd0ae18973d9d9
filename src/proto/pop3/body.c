#include "proto/pop3/body.h"

static enum pop3_line_at step(enum pop3_line_at at, char c)
{
	if (at == POP3_AFTER_CR && c == '\n')
		return POP3_AT_LINE;
	return c == '\r' ? POP3_AFTER_CR : POP3_IN_LINE;
}

struct span pop3_stuff(struct pop3_stuffer *s, struct span in, size_t *used)
{
	size_t i = 0;

	while (i < in.len) {
		if (s->at == POP3_AT_LINE && in.at[i] == '.' && !s->dotted) {
			if (i > 0)
				break;
			s->dotted = true;
			*used = 0;
			return SPAN(".");
		}
		s->dotted = false;
		if (s->at == POP3_IN_LINE && in.at[i] != '\r') {
			size_t cr = span_find(span_skip(in, i), '\r');

			i = cr == SIZE_MAX ? in.len : i + cr;
			continue;
		}
		s->at = step(s->at, in.at[i++]);
	}
	*used = i;
	return span_cut(in, i);
}

struct span pop3_stuff_end(const struct pop3_stuffer *s)
{
	return s->at == POP3_AT_LINE ? SPAN(".\r\n") : SPAN("\r\n.\r\n");
}

size_t pop3_top_len(struct pop3_top *t, struct span in)
{
	for (size_t i = 0; i < in.len; i++) {
		if (t->in_body && t->lines == 0) {
			t->done = true;
			return i;
		}
		t->at = step(t->at, in.at[i]);
		if (t->at != POP3_AT_LINE) {
			t->column++;
			continue;
		}
		if (t->in_body)
			t->lines--;
		else
			t->in_body = t->column == 1; /* nothing but its CR */
		t->column = 0;
	}
	t->done = t->in_body && t->lines == 0;
	return in.len;
}
