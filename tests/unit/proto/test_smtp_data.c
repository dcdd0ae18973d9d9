/* The content of a message: dots, its one true end, and everything that only looks like it. */
#include "base/buf.h"
#include "proto/smtp/data.h"
#include "proto/smtp/hops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define CR SMTP_BARE_CR
#define LF SMTP_BARE_LF

static const struct {
	const char *name;
	const char *in;
	size_t in_len;
	const char *body; /* "..." a NUL in it stands for itself */
	size_t body_len;
	const char *rest; /* what is left behind the end; NULL: the end was not found */
	unsigned faults;
} rows[] = {
#define T(text) text, sizeof(text) - 1
	{ "a message", T("a\r\nb\r\n.\r\n"), T("a\r\nb\r\n"), "", 0 },
	{ "an empty message", T(".\r\n"), T(""), "", 0 },
	{ "what lies behind the end is left", T("a\r\n.\r\nQUIT\r\n"), T("a\r\n"), "QUIT\r\n", 0 },
	{ "a stuffed dot", T("..a\r\n.\r\n"), T(".a\r\n"), "", 0 },
	{ "a line of one dot", T("..\r\n.\r\n"), T(".\r\n"), "", 0 },
	{ "a dot that was not stuffed", T(".a\r\n.\r\n"), T("a\r\n"), "", 0 },
	{ "dots inside a line", T("a.b.\r\n.\r\n"), T("a.b.\r\n"), "", 0 },
	{ "an empty line before the end", T("a\r\n\r\n.\r\n"), T("a\r\n\r\n"), "", 0 },
	{ "no end yet", T("a\r\n."), T("a\r\n"), NULL, 0 },
	{ "LF . CRLF does not end", T("a\n.\r\nb\r\n.\r\n"), T("a\n.\r\nb\r\n"), "", LF },
	{ "CRLF . LF does not end", T("a\r\n.\nb\r\n.\r\n"), T("a\r\n\nb\r\n"), "", LF },
	{ "LF . LF does not end", T("a\n.\nb\r\n.\r\n"), T("a\n.\nb\r\n"), "", LF },
	{ "CR . CR does not end", T("a\r.\rb\r\n.\r\n"), T("a\r.\rb\r\n"), "", CR },
	{ "CRLF . CR does not end", T("a\r\n.\rb\r\n.\r\n"), T("a\r\n\rb\r\n"), "", CR },
	{ "CRLF . CR CR LF does not end", T("a\r\n.\r\r\nb\r\n.\r\n"), T("a\r\n\r\r\nb\r\n"), "",
	  CR },
	{ "CR . CRLF does not end", T("a\r.\r\nb\r\n.\r\n"), T("a\r.\r\nb\r\n"), "", CR },
	{ "CR CR LF . CRLF ends, with a fault", T("a\r\r\n.\r\nQ"), T("a\r\r\n"), "Q", CR },
	{ "LF CR LF . CRLF ends, with a fault", T("a\n\r\n.\r\nQ"), T("a\n\r\n"), "Q", LF },
	{ "smuggled commands stay content", T("a\r\n.\nMAIL FROM:<x@y>\r\n.\r\nQ"),
	  T("a\r\n\nMAIL FROM:<x@y>\r\n"), "Q", LF },
	{ "NUL . CRLF does not end", T("a\0.\r\nb\r\n.\r\n"), T("a\0.\r\nb\r\n"), "", SMTP_NUL },
	{ "CR NUL LF", T("a\r\0\nb\r\n.\r\n"), T("a\r\0\nb\r\n"), "", CR | LF | SMTP_NUL },
	{ "LF first", T("\n.\r\n.\r\n"), T("\n.\r\n"), "", LF },
	{ "CR first", T("\r.\r\n.\r\n"), T("\r.\r\n"), "", CR },
	{ "bytes above ASCII", T("\xFF\xFE\r\n.\r\n"), T("\xFF\xFE\r\n"), "", 0 },
#undef T
};

/* Feed bytes [from, to); true once the end was found, with *from at what lies behind it. */
static bool feed(struct smtp_data *d, const char *bytes, size_t *from, size_t to, struct buf *body)
{
	while (*from < to) {
		struct span out;
		size_t used;
		enum st st = smtp_data_take(d, span_of(bytes + *from, to - *from), &used, &out);

		assert_true(used > 0 || out.len > 0);
		assert_true(used <= to - *from);
		buf_span(body, out);
		*from += used;
		if (st == ST_OK)
			return true;
		assert_int_equal(st, ST_MORE);
	}
	return false;
}

static void check(size_t row, size_t first, size_t step)
{
	struct smtp_data d = { 0 };
	struct buf body = BUF_MAX(4096);
	size_t from = 0, to = first, len = rows[row].in_len;
	bool ended = false;

	for (; !ended && to < len; to += step)
		ended = feed(&d, rows[row].in, &from, to, &body);
	if (!ended)
		ended = feed(&d, rows[row].in, &from, len, &body);
	if (ended != (rows[row].rest != NULL) || d.faults != rows[row].faults ||
	    d.octets != body.len ||
	    !span_eq(buf_get(&body), span_of(rows[row].body, rows[row].body_len)) ||
	    (ended && !span_eq(span_of(rows[row].in + from, len - from), span_str(rows[row].rest))))
		fail_msg("%s, split at %zu step %zu: body '" SPAN_FMT "' faults %u", rows[row].name,
			 first, step, SPAN_ARG(buf_get(&body)), d.faults);
	buf_free(&body);
}

static void content(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		check(row, rows[row].in_len, 1);
		check(row, 1, 1);
		for (size_t at = 1; at < rows[row].in_len; at++)
			check(row, at, rows[row].in_len);
	}
}

/* Every text of up to seven bytes over the letters that matter, against the rules said simply. */
static size_t true_end(const char *s, size_t len)
{
	if (len >= 3 && memcmp(s, ".\r\n", 3) == 0)
		return 3;
	for (size_t i = 0; i + 5 <= len; i++)
		if (memcmp(s + i, "\r\n.\r\n", 5) == 0)
			return i + 5;
	return 0;
}

static void every_short_text(void **state)
{
	static const char letters[] = { 'a', '.', '\r', '\n' };
	char text[8];

	(void)state;
	for (uint32_t n = 0; n < 1u << 16; n++) {
		struct smtp_data d = { 0 };
		struct buf body = BUF_MAX(64);
		size_t from = 0;

		for (size_t i = 0; i < 8; i++)
			text[i] = letters[n >> 2 * i & 3];
		bool ended = feed(&d, text, &from, 8, &body);
		size_t want = true_end(text, 8);

		assert_int_equal(ended, want != 0);
		if (ended)
			assert_int_equal(from, want);
		buf_free(&body);
	}
}

static void chunks_are_looked_at_for_the_same_faults(void **state)
{
	static const struct {
		const char *name, *text;
		unsigned faults;
	} looks[] = {
		{ "lines", "a\r\nb\r\n", 0 }, { "an LF alone", "a\nb", LF },
		{ "an LF first", "\nb", LF }, { "a CR alone", "a\rb", CR },
		{ "a CR last", "a\r", CR },   { "two CRs", "a\r\r\n", CR },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
		for (size_t at = 0; at <= strlen(looks[i].text); at++) {
			struct smtp_text t = { 0 };

			smtp_text_look(&t, span_of(looks[i].text, at));
			smtp_text_look(&t, span_str(looks[i].text + at));
			smtp_text_end(&t);
			if (t.faults != looks[i].faults)
				fail_msg("%s split at %zu: %u", looks[i].name, at, t.faults);
		}
	}
}

static void hops_are_counted(void **state)
{
	static const struct {
		const char *name, *text;
		unsigned received;
	} tops[] = {
		{ "none", "From: a\r\n\r\nReceived: no\r\n", 0 },
		{ "two", "Received: a\r\n\tb\r\nRECEIVED: c\r\nTo: d\r\n\r\n", 2 },
		{ "names that are longer or shorter",
		  "X-Received: a\r\nReceive: b\r\nReceivedx: c\r\n", 0 },
		{ "inside a folded line", "A: b\r\n Received: c\r\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		for (size_t at = 0; at <= strlen(tops[i].text); at++) {
			struct smtp_hops h = { 0 };

			smtp_hops_look(&h, span_of(tops[i].text, at));
			smtp_hops_look(&h, span_str(tops[i].text + at));
			if (h.received != tops[i].received)
				fail_msg("%s split at %zu: %u", tops[i].name, at, h.received);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content),
		cmocka_unit_test(every_short_text),
		cmocka_unit_test(chunks_are_looked_at_for_the_same_faults),
		cmocka_unit_test(hops_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
