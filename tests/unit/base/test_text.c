/* st, span, buf. */
#include "base/buf.h"
#include "base/st.h"
#include "rows.h"

#include <errno.h>

/* ---- st ---- */

static void every_code_has_a_name(void **state)
{
	(void)state;
	for (int st = 0; st < ST_CODES; st++) {
		assert_non_null(st_name((enum st)st));
		for (int other = 0; other < st; other++)
			assert_string_not_equal(st_name((enum st)st), st_name((enum st)other));
	}
	assert_string_equal(st_name((enum st)ST_CODES), "unknown");
}

static void a_failure_is_one_line(void **state)
{
	struct err e;

	(void)state;
	errno = EPERM;
	assert_int_equal((fail)(&e, ST_BAD, "row %d", 7), ST_BAD);
	assert_string_equal(e.text, "row 7");
	assert_int_equal(e.st, ST_BAD);
	assert_int_equal(e.sys, 0);
	assert_int_equal((fail)(&e, ST_IO, "x"), ST_IO);
	assert_int_equal(e.sys, EPERM);
	assert_int_equal(errno, EPERM);
	assert_int_equal((fail)(NULL, ST_GONE, "nobody asks"), ST_GONE);
}

static void errno_chooses_the_code(void **state)
{
	static const struct {
		int sys;
		enum st want;
		const char *text;
	} rows[] = {
		{ ENOSPC, ST_NOSPACE, "write f: No space left on device" },
		{ EDQUOT, ST_NOSPACE, "write f: Disk quota exceeded" },
		{ ENOMEM, ST_NOMEM, "write f: Cannot allocate memory" },
		{ EIO, ST_IO, "write f: Input/output error" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		errno = rows[i].sys;
		assert_int_equal(fail_errno(&e, "write %s", "f"), rows[i].want);
		assert_string_equal(e.text, rows[i].text);
		assert_int_equal(e.sys, rows[i].sys);
		assert_int_equal(errno, rows[i].sys);
	}
}

static void a_long_sentence_is_cut(void **state)
{
	char name[600];
	struct err e;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	(fail)(&e, ST_BAD, "%s", name);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	errno = EIO;
	fail_errno(&e, "%s", name);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

/* ---- span ---- */

static void spans_compare(void **state)
{
	static const struct {
		const char *a, *b;
		bool eq, ieq, prefix, iprefix; /* b a prefix of a */
		int order;
	} rows[] = {
		{ "", "", true, true, true, true, 0 },
		{ "a", "", false, false, true, true, 1 },
		{ "", "a", false, false, false, false, -1 },
		{ "INBOX", "inbox", false, true, false, true, -1 },
		{ "INBOX/a", "inbox", false, false, false, true, -1 },
		{ "abc", "ab", false, false, true, true, 1 },
		{ "\xC4", "\xE4", false, false, false, false, -1 }, /* only ASCII has case */
		{ "[", "{", false, false, false, false, -1 },       /* nor what is near letters */
		{ "@", "`", false, false, false, false, -1 },
		{ "\xff", "a", false, false, false, false, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct span a = span_str(rows[i].a), b = span_str(rows[i].b);
		int order = span_cmp(a, b);

		if (span_eq(a, b) != rows[i].eq || span_ieq(a, b) != rows[i].ieq ||
		    span_has_prefix(a, b) != rows[i].prefix ||
		    span_ihas_prefix(a, b) != rows[i].iprefix ||
		    (order > 0) - (order < 0) != rows[i].order)
			fail_msg("'%s' and '%s'", rows[i].a, rows[i].b);
	}
	assert_true(span_eq(SPAN_NONE, SPAN("")));
	assert_true(span_has_prefix(SPAN("x"), SPAN_NONE));
	assert_int_equal(span_cmp(SPAN_NONE, SPAN_NONE), 0);
}

static void spans_are_cut_and_found(void **state)
{
	struct span rest, s = SPAN("a:b:");

	(void)state;
	assert_true(span_eq(span_split(s, ':', &rest), SPAN("a")));
	assert_true(span_eq(rest, SPAN("b:")));
	assert_true(span_eq(span_split(rest, ':', &rest), SPAN("b")));
	assert_true(rest.at && !rest.len); /* empty, not absent */
	assert_true(span_eq(span_split(rest, ':', &rest), SPAN("")));
	assert_null(rest.at);
	assert_true(span_eq(span_skip(s, 99), SPAN("")));
	assert_true(span_eq(span_cut(s, 99), s));
	assert_int_equal(span_find(s, 'b'), 2);
	assert_true(span_find(s, 'x') == SIZE_MAX);
	assert_true(span_find(SPAN_NONE, 0) == SIZE_MAX);
	assert_true(span_eq(span_trim(SPAN(" \t a b\t ")), SPAN("a b")));
	assert_true(span_eq(span_trim(SPAN(" \t ")), SPAN("")));
	assert_true(span_eq(span_trim(SPAN("\ra\n")), SPAN("\ra\n")));
}

static void numbers_are_digits_and_nothing_else(void **state)
{
	static const struct {
		const char *text;
		bool is64, is32;
		uint64_t want;
	} rows[] = {
		{ "0", true, true, 0 },
		{ "007", true, true, 7 },
		{ "4294967295", true, true, UINT32_MAX },
		{ "4294967296", true, false, 1ULL << 32 },
		{ "18446744073709551615", true, false, UINT64_MAX },
		{ "18446744073709551616", false, false, 0 },
		{ "99999999999999999999", false, false, 0 },
		{ "", false, false, 0 },
		{ "+1", false, false, 0 },
		{ "-1", false, false, 0 },
		{ " 1", false, false, 0 },
		{ "1 ", false, false, 0 },
		{ "1a", false, false, 0 },
		{ "/", false, false, 0 },
		{ ":", false, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t n64 = 42;
		uint32_t n32 = 42;
		bool is64 = span_u64(span_str(rows[i].text), &n64);
		bool is32 = span_u32(span_str(rows[i].text), &n32);

		if (is64 != rows[i].is64 || n64 != (is64 ? rows[i].want : 42) ||
		    is32 != rows[i].is32 || n32 != (is32 ? rows[i].want : 42))
			fail_msg("'%s'", rows[i].text);
	}
}

static void utf8_is_what_rfc_3629_says(void **state)
{
	static const struct {
		const char *text;
		size_t want;
	} rows[] = {
		{ "a", 1 },
		{ "\x7f", 1 },
		{ "\xc3\xa4", 2 },
		{ "\xe2\x82\xac", 3 },
		{ "\xf0\x9f\x93\xac", 4 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "", 0 },
		{ "\x80", 0 },
		{ "\xc1\xbf", 0 }, /* too long a form */
		{ "\xc3", 0 },     /* cut */
		{ "\xc3(", 0 },
		{ "\xe0\x9f\xbf", 0 }, /* too long a form */
		{ "\xed\xa0\x80", 0 }, /* a surrogate */
		{ "\xe2\x82", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 }, /* too long a form */
		{ "\xf4\x90\x80\x80", 0 }, /* over U+10FFFF */
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xf0\x9f\x93(", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (span_utf8(span_str(rows[i].text)) != rows[i].want)
			fail_msg("row %zu", i);
}

/* ---- buf ---- */

static void a_buffer_grows_to_its_limit_and_no_further(void **state)
{
	struct buf b = BUF_MAX(100);

	(void)state;
	buf_str(&b, "0123456789");
	for (int i = 0; i < 8; i++)
		buf_str(&b, "0123456789");
	assert_int_equal(b.len, 90);
	buf_str(&b, "0123456789A"); /* one too many: nothing of it */
	assert_true(b.failed);
	assert_int_equal(b.len, 90);
	buf_char(&b, 'x'); /* and nothing after it */
	assert_int_equal(b.len, 90);
	assert_null(buf_room(&b, 1));
	buf_clear(&b);
	assert_false(b.failed);
	char *room = buf_room(&b, 100);
	assert_non_null(room);
	memset(room, 'y', 100);
	b.len += 100;
	assert_false(b.failed);
	buf_char(&b, 'x');
	assert_true(b.failed);
	buf_free(&b);
	assert_true(!b.at && !b.len && !b.cap && b.max == 100 && !b.failed);
}

static void a_buffer_of_nothing_takes_nothing(void **state)
{
	struct buf b = BUF_MAX(0);

	(void)state;
	buf_add(&b, NULL, 0);
	buf_str(&b, "");
	assert_false(b.failed);
	assert_int_equal(buf_get(&b).len, 0);
	buf_char(&b, 'x');
	assert_true(b.failed);
	buf_free(&b);
}

static void buffers_print(void **state)
{
	struct buf b = BUF_MAX(2000);
	char want[1500];

	(void)state;
	buf_u64(&b, 0);
	buf_char(&b, ' ');
	buf_u64(&b, UINT64_MAX);
	buf_printf(&b, " %s-%d", "x", -5);
	assert_true(span_eq(buf_get(&b), SPAN("0 18446744073709551615 x--5")));
	buf_clear(&b);
	snprintf(want, sizeof(want), "%1400d", 7);
	buf_printf(&b, "%1400d", 7);
	assert_true(span_eq(buf_get(&b), span_str(want)));
	buf_printf(&b, "%1400d", 7);
	assert_true(b.failed);
	assert_int_equal(b.len, 1400);
	buf_clear(&b);
	buf_str(&b, "abcdef");
	buf_drop(&b, 2);
	assert_true(span_eq(buf_get(&b), SPAN("cdef")));
	buf_drop(&b, 99);
	assert_int_equal(b.len, 0);
	buf_free(&b);
	/* A print that just fits must not be refused for the NUL it would like. */
	struct buf tight = BUF_MAX(1400);
	buf_printf(&tight, "%1400d", 7);
	assert_false(tight.failed);
	buf_free(&tight);
}

static void json_strings_are_always_valid(void **state)
{
	static const struct {
		const char *name;
		struct span in;
		const char *want;
	} rows[] = {
		{ "plain", SPAN_INIT("abc"), "\"abc\"" },
		{ "nothing", { NULL, 0 }, "\"\"" },
		{ "quotes", SPAN_INIT("a\"b\\c"), "\"a\\\"b\\\\c\"" },
		{ "controls", SPAN_INIT("\n\r\t\x01\x7f"), "\"\\n\\r\\t\\u0001\\u007f\"" },
		{ "a NUL", SPAN_INIT("a\0b"), "\"a\\u0000b\"" },
		{ "umlauts", SPAN_INIT("\xc3\xa4\xe2\x82\xac"), "\"\xc3\xa4\xe2\x82\xac\"" },
		{ "Latin-1", SPAN_INIT("\xe4x"), "\"\xef\xbf\xbdx\"" },
		{ "cut UTF-8", SPAN_INIT("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf b = BUF_MAX(1000);

		buf_json(&b, rows[i].in);
		if (!span_eq(buf_get(&b), span_str(rows[i].want)))
			fail_msg("%s: " SPAN_FMT, rows[i].name, SPAN_ARG(buf_get(&b)));
		buf_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_a_name),
		cmocka_unit_test(a_failure_is_one_line),
		cmocka_unit_test(errno_chooses_the_code),
		cmocka_unit_test(a_long_sentence_is_cut),
		cmocka_unit_test(spans_compare),
		cmocka_unit_test(spans_are_cut_and_found),
		cmocka_unit_test(numbers_are_digits_and_nothing_else),
		cmocka_unit_test(utf8_is_what_rfc_3629_says),
		cmocka_unit_test(a_buffer_grows_to_its_limit_and_no_further),
		cmocka_unit_test(a_buffer_of_nothing_takes_nothing),
		cmocka_unit_test(buffers_print),
		cmocka_unit_test(json_strings_are_always_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
