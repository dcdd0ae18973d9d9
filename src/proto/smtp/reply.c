#include "proto/smtp/reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const struct smtp_reply replies[SMTP_R_COUNT] = {
#define SMTP_REPLY_ROW(name, code, enhanced, text) [name] = { code, enhanced, text },
	SMTP_REPLIES(SMTP_REPLY_ROW)
#undef SMTP_REPLY_ROW
};

const struct smtp_reply *smtp_reply(enum smtp_reply_id id)
{
	assert(id < SMTP_R_COUNT);
	return &replies[id];
}

static void write_line(struct buf *out, const struct smtp_reply *r, struct span text, bool last)
{
	buf_u64(out, r->code);
	buf_char(out, last ? ' ' : '-');
	if (r->enhanced[0]) {
		buf_str(out, r->enhanced);
		buf_char(out, ' ');
	}
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];

		buf_char(out, c < 0x20 || c == 0x7F ? '?' : text.at[i]);
	}
	buf_str(out, "\r\n");
}

void smtp_reply_span(struct buf *out, enum smtp_reply_id id, struct span text)
{
	const struct smtp_reply *r = smtp_reply(id);
	struct span rest = text;

	do {
		struct span line = span_split(rest, '\n', &rest);

		write_line(out, r, line, rest.at == NULL);
	} while (rest.at != NULL);
}

void smtp_reply_write(struct buf *out, enum smtp_reply_id id)
{
	smtp_reply_span(out, id, span_str(smtp_reply(id)->text));
}

void smtp_reply_say(struct buf *out, enum smtp_reply_id id, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert(n >= 0);
	smtp_reply_span(out, id, span_str(text));
}
