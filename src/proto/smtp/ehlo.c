#include "proto/smtp/command.h"

static const struct {
	unsigned ext;
	const char *keyword;
} keywords[] = {
	{ SMTP_EXT_PIPELINING, "PIPELINING" },
	{ SMTP_EXT_SIZE, "SIZE" },
	{ SMTP_EXT_8BITMIME, "8BITMIME" },
	{ SMTP_EXT_BINARYMIME, "BINARYMIME" },
	{ SMTP_EXT_CHUNKING, "CHUNKING" },
	{ SMTP_EXT_SMTPUTF8, "SMTPUTF8" },
	{ SMTP_EXT_ENHANCED, "ENHANCEDSTATUSCODES" },
	{ SMTP_EXT_STARTTLS, "STARTTLS" },
	{ SMTP_EXT_AUTH, "AUTH" },
	{ SMTP_EXT_HELP, "HELP" },
};

void smtp_ehlo(struct buf *out, struct span host, struct span client, unsigned extensions,
	       uint64_t size_max, const char *mechanisms)
{
	struct buf text = BUF_MAX(4096);

	buf_span(&text, host);
	buf_str(&text, " greets ");
	buf_span(&text, client);
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (!(extensions & keywords[i].ext))
			continue;
		buf_printf(&text, "\n%s", keywords[i].keyword);
		if (keywords[i].ext == SMTP_EXT_SIZE)
			buf_printf(&text, " %llu", (unsigned long long)size_max);
		if (keywords[i].ext == SMTP_EXT_AUTH)
			buf_printf(&text, " %s", mechanisms);
	}
	if (text.failed)
		out->failed = true;
	else
		smtp_reply_span(out, SMTP_R_HELLO, buf_get(&text));
	buf_free(&text);
}
