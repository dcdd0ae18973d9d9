/* Any bytes as a POP3 client's command stream, and as a message that is sent to one: what was stuffed
 * must come out the same again. */
#include "proto/line.h"
#include "proto/pop3/body.h"
#include "proto/pop3/command.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void commands(struct span in)
{
	struct line_reader r = { .max = POP3_AUTH_LINE_MAX };
	struct span line;
	size_t used;
	enum st st;

	while ((st = line_take(&r, in, &line, &used)) != ST_MORE) {
		struct pop3_command c;
		enum pop3_reply_id why;

		if (st == ST_OK)
			for (unsigned state = POP3_AUTHORIZATION; state <= POP3_TRANSACTION;
			     state <<= 1)
				(void)pop3_parse(line, state, &c, &why);
		in = span_skip(in, used);
	}
}

static void stuff(struct pop3_stuffer *s, struct span in, size_t step, struct buf *out)
{
	while (in.len > 0) {
		size_t used;

		buf_span(out, pop3_stuff(s, span_cut(in, step), &used));
		in = span_skip(in, used);
	}
}

/* A client's way back: drop the first dot of each line, end at the line that is one dot. */
static void unstuff(struct span in, struct buf *out)
{
	bool at_line = true;

	for (size_t i = 0; i < in.len; i++) {
		if (at_line && in.at[i] == '.') {
			if (span_eq(span_skip(in, i), SPAN(".\r\n")))
				return;
			i++;
			assert(i < in.len && in.at[i] == '.');
		}
		buf_char(out, in.at[i]);
		at_line = i > 0 && in.at[i] == '\n' && in.at[i - 1] == '\r';
	}
	assert(false);
}

static void body(struct span in, size_t step)
{
	struct pop3_stuffer s = { 0 };
	struct buf sent = BUF_MAX(2 * in.len + 8), back = BUF_MAX(in.len + 8);

	stuff(&s, in, step, &sent);
	buf_span(&sent, pop3_stuff_end(&s));
	assert(!sent.failed);
	unstuff(buf_get(&sent), &back);
	assert(back.len == in.len || back.len == in.len + 2);
	assert(span_eq(span_cut(buf_get(&back), in.len), in));
	buf_free(&sent);
	buf_free(&back);
}

static void top(struct span in, size_t step, uint64_t lines)
{
	struct pop3_top whole = { .lines = lines }, cut = { .lines = lines };
	size_t len = pop3_top_len(&whole, in), sum = 0;

	while (sum < in.len && !cut.done)
		sum += pop3_top_len(&cut, span_cut(span_skip(in, sum), step));
	assert(sum == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	commands(in);
	if (size == 0)
		return 0;
	body(in, 1 + data[0] % 5);
	top(in, 1 + data[0] % 5, data[0] % 3);
	return 0;
}
