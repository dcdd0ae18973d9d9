/* Any bytes as an SMTP client's command stream: every line is parsed, and what was parsed is written. */
#include "proto/line.h"
#include "proto/smtp/command.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An address that was written must parse again to the same address. */
static void check_path(const struct smtp_path *p)
{
	struct buf once = BUF_MAX(2048), twice = BUF_MAX(2048);
	struct smtp_path again;
	struct span rest;

	buf_char(&once, '<');
	smtp_path_write(p, &once);
	buf_char(&once, '>');
	assert(smtp_path_parse(buf_get(&once), &again, &rest) == ST_OK);
	assert(rest.len == 0 && again.kind == p->kind);
	buf_char(&twice, '<');
	smtp_path_write(&again, &twice);
	buf_char(&twice, '>');
	assert(span_eq(buf_get(&once), buf_get(&twice)));
	buf_free(&once);
	buf_free(&twice);
}

static void run(struct span line)
{
	struct smtp_command c;
	enum smtp_reply_id why;
	struct buf out = BUF_MAX(65536);

	assert(span_find(line, '\n') == SIZE_MAX && span_find(line, '\0') == SIZE_MAX);
	if (smtp_parse(line, &c, &why) != ST_OK) {
		assert(smtp_reply_is_error(why));
		smtp_reply_write(&out, why);
	} else if (c.verb->cmd == SMTP_MAIL || c.verb->cmd == SMTP_RCPT) {
		check_path(&c.path);
	} else if (c.verb->cmd == SMTP_HELP) {
		smtp_help(&out, c.text);
	} else if (c.verb->cmd == SMTP_EHLO) {
		smtp_ehlo(&out, SPAN("host"), c.text, ~0u, 1, "PLAIN");
	}
	assert(!out.failed);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line_reader r = { .max = SMTP_AUTH_LINE_MAX };
	struct span in = span_of(data, size), line;
	size_t used;

	for (;;) {
		enum st st = line_take(&r, in, &line, &used);

		if (st == ST_MORE)
			return 0;
		if (st == ST_OK)
			run(line);
		in = span_skip(in, used);
	}
}
