#include "proto/pop3/reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const struct pop3_reply replies[POP3_R_COUNT] = {
#define POP3_REPLY_ROW(name, ok, code, text) [name] = { ok, code, text },
	POP3_REPLIES(POP3_REPLY_ROW)
#undef POP3_REPLY_ROW
};

const struct pop3_reply *pop3_reply(enum pop3_reply_id id)
{
	assert(id < POP3_R_COUNT);
	return &replies[id];
}

static void write_line(struct buf *out, const struct pop3_reply *r, const char *text)
{
	buf_str(out, r->ok ? "+OK " : "-ERR ");
	if (r->code[0])
		buf_printf(out, "[%s] ", r->code);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		buf_char(out, c < 0x20 || c == 0x7F ? '?' : *text);
	}
	buf_str(out, "\r\n");
}

void pop3_reply_write(struct buf *out, enum pop3_reply_id id)
{
	write_line(out, pop3_reply(id), pop3_reply(id)->text);
}

void pop3_reply_say(struct buf *out, enum pop3_reply_id id, const char *fmt, ...)
{
	char text[400]; /* a reply line is at most 512 octets, RFC 2449 section 4 */
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert(n >= 0);
	write_line(out, pop3_reply(id), text);
}
