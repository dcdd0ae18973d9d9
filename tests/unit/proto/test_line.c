/* Command lines: only CR LF ends one, and what was refused is never run. */
#include "base/buf.h"
#include "proto/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *name;
	const char *in;
	size_t in_len, max;
	const char *want; /* "[line]" taken, "!" refused for its bytes, "#" too long */
} rows[] = {
#define IN(text) text, sizeof(text) - 1
	{ "a line", IN("NOOP\r\n"), 512, "[NOOP]" },
	{ "an empty line", IN("\r\n"), 512, "[]" },
	{ "several in one go", IN("EHLO a\r\nQUIT\r\n"), 512, "[EHLO a][QUIT]" },
	{ "an unfinished line waits", IN("NOOP"), 512, "" },
	{ "a CR at the end waits", IN("NOOP\r"), 512, "" },
	{ "an LF alone ends nothing", IN("MAIL\nRCPT\r\nQUIT\r\n"), 512, "![QUIT]" },
	{ "each LF alone gets its reply", IN("A\nB\nC\r\nQUIT\r\n"), 512, "!![QUIT]" },
	{ "a CR alone ends nothing", IN("MAIL\rRCPT\r\nQUIT\r\n"), 512, "![QUIT]" },
	{ "two CRs: the first stands alone", IN("NOOP\r\r\nQUIT\r\n"), 512, "![QUIT]" },
	{ "LF CR is no end of line", IN("NOOP\n\rQUIT\r\nNOOP\r\n"), 512, "![NOOP]" },
	{ "a NUL is refused", IN("NO\0OP\r\nQUIT\r\n"), 512, "![QUIT]" },
	{ "the longest line that fits", IN("123456\r\nX\r\n"), 8, "[123456][X]" },
	{ "one byte too long", IN("1234567\r\nX\r\n"), 8, "#[X]" },
	{ "two bytes too long", IN("12345678\r\nX\r\n"), 8, "#[X]" },
	{ "far too long", IN("1234567890123456789012345\r\nX\r\n"), 8, "#[X]" },
	{ "an LF in the part thrown away", IN("12345678901\n2345\r\nX\r\n"), 8, "#![X]" },
	{ "bytes above ASCII pass", IN("VRFY \xC3\xA4\r\n"), 512, "[VRFY \xC3\xA4]" },
#undef IN
};

/* Give the reader what has arrived, as a connection does: the unread part is shown again. */
static void drain(struct line_reader *r, const char *bytes, size_t *from, size_t to,
		  struct buf *got)
{
	for (;;) {
		struct span line;
		size_t used;
		enum st st = line_take(r, span_of(bytes + *from, to - *from), &line, &used);

		*from += used;
		assert_true(*from <= to);
		if (st == ST_MORE)
			break;
		if (st == ST_OK)
			buf_printf(got, "[" SPAN_FMT "]", SPAN_ARG(line));
		else
			buf_char(got, st == ST_BAD ? '!' : '#');
	}
	assert_true(to - *from < r->max);
}

static void check(size_t row, size_t first, size_t step)
{
	struct line_reader r = { .max = rows[row].max };
	struct buf got = BUF_MAX(4096);
	size_t from = 0;

	for (size_t to = first; to < rows[row].in_len; to += step)
		drain(&r, rows[row].in, &from, to, &got);
	drain(&r, rows[row].in, &from, rows[row].in_len, &got);
	buf_char(&got, 0);
	if (strcmp(got.at, rows[row].want) != 0)
		fail_msg("%s, split at %zu step %zu: got %s", rows[row].name, first, step, got.at);
	buf_free(&got);
}

static void lines(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		check(row, rows[row].in_len, 1);
		check(row, 1, 1);
		for (size_t at = 1; at < rows[row].in_len; at++)
			check(row, at, rows[row].in_len);
	}
}

static void an_endless_line_is_counted(void **state)
{
	struct line_reader r = { .max = 8 };
	struct span line;
	size_t used;

	(void)state;
	assert_int_equal(line_take(&r, SPAN("xxxxxxxxxx"), &line, &used), ST_TOOBIG);
	for (int i = 0; i < 100; i++)
		assert_int_equal(line_take(&r, SPAN("xxxxxxxxxx"), &line, &used), ST_MORE);
	assert_true(r.skipped >= 1000);
	assert_int_equal(line_take(&r, SPAN("\r\nNOOP\r\n"), &line, &used), ST_OK);
	assert_int_equal(r.skipped, 0);
	assert_int_equal(used, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(an_endless_line_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
