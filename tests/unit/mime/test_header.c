#include "mime/header.h"
#include "mime/decode.h"
#include "rows.h"

/* Every field as name|value; */
static void list_fields(struct span block, struct buf *out)
{
	struct mime_fields it = mime_fields(block);
	struct span name, value;

	while (mime_field_next(&it, &name, &value)) {
		buf_span(out, name);
		buf_char(out, '|');
		buf_span(out, value);
		buf_char(out, ';');
	}
}

static void test_fields(void **state)
{
	static const struct {
		const char *name, *block, *want;
	} rows[] = {
		{ "two fields", "A: b\r\nC: d\r\n\r\n", "A|b;C|d;" },
		{ "the empty line ends it", "A: b\r\n\r\nC: d\r\n", "A|b;" },
		{ "bare LF", "A: b\nC: d\n\nE: f\n", "A|b;C|d;" },
		{ "no line end at the end", "A: b\r\nC: d", "A|b;C|d;" },
		{ "a CR at the end", "A: b\r", "A|b;" },
		{ "folded", "A: b\r\n c\r\n\td\r\nE: f\r\n", "A|b\r\n c\r\n\td;E|f;" },
		{ "a fold of blanks only", "A: b\r\n \r\n c\r\nE: f\r\n\r\n",
		  "A|b\r\n \r\n c;E|f;" },
		{ "the value begins on the next line", "A:\r\n b\r\n", "A|b;" },
		{ "empty", "A:\r\nB: \r\nC:", "A|;B|;C|;" },
		{ "blanks before the colon", "A \t: b\r\n", "A|b;" },
		{ "no blank behind it", "A:b:c\r\n", "A|b:c;" },
		{ "an mbox line", "From joe Mon Jul 1 10:00:00 1996\r\nA: b\r\n", "A|b;" },
		{ "a line that is no field", "A: b\r\nhello world\r\nC: d\r\n", "A|b;C|d;" },
		{ "what continues it goes with it", "hello\r\n world\r\nC: d\r\n", "C|d;" },
		{ "a block that begins folded", " x\r\nC: d\r\n", "C|d;" },
		{ "no name", ": b\r\nC: d\r\n", "C|d;" },
		{ "bytes in a name", "\xc3\xa4: b\r\nC: d\r\n", "C|d;" },
		{ "bytes in a value", "A: \xc3\xa4\xff\r\n", "A|\xc3\xa4\xff;" },
		{ "a bare CR inside", "A: b\rc\r\n", "A|b\rc;" },
		{ "nothing", "", "" },
		{ "an empty line", "\r\nA: b\r\n", "" },
	};
	struct buf out = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span block = exact_copy(span_str(rows[i].block));

		list_fields(block, &out);
		expect_buf(rows[i].name, &out, rows[i].want);
		free_copy(block);
		/* Cut anywhere, nothing is read behind the end, and no field is made up. */
		for (size_t cut = 0; cut < strlen(rows[i].block); cut++) {
			block = exact_copy(span_cut(span_str(rows[i].block), cut));
			list_fields(block, &out);
			assert_true(out.len <= 2 * strlen(rows[i].block));
			buf_clear(&out);
			free_copy(block);
		}
	}
	buf_free(&out);
}

static void test_find(void **state)
{
	struct span block = SPAN("Subject: one\r\nX:\r\nsubject: two\r\n\r\nY: body\r\n");

	(void)state;
	expect_span("first", mime_header_find(block, "SUBJECT"), SPAN("one"));
	assert_null(mime_header_find(block, "Y").at);
	assert_null(mime_header_find(block, "Subjec").at);
	assert_non_null(mime_header_find(block, "X").at);
	assert_int_equal(mime_header_find(block, "X").len, 0);
}

static void test_unfolding(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "a\r\n b", "a b" }, { "a\n\tb", "a\tb" }, { " a ", "a" }, { "a\r\n ", "a" },
		{ "a\rb", "a b" },    { "\r\n a", "a" },    { "", "" },     { " \r\n \t", "" },
	};
	struct buf out = BUF_MAX(256);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		mime_unfold(span_str(rows[i].in), &out);
		expect_buf(rows[i].in, &out, rows[i].want);
	}
	mime_unfold(SPAN("a\0b"), &out);
	expect_buf("a NUL", &out, "a b");
	buf_free(&out);
}

static void test_encoded_words(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "plain", "Hello", "Hello" },
		{ "q", "=?iso-8859-1?q?this=20is=20some=20text?=", "this is some text" },
		{ "b",
		  "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=", "If you can read this yo" },
		{ "underscores are blanks", "=?utf-8?Q?a_b=5Fc?=", "a b_c" },
		{ "two in a row", "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" },
		{ "two in a row, folded", "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab" },
		{ "two with no blank", "=?utf-8?Q?a?==?utf-8?Q?b?=", "ab" },
		{ "text between", "=?utf-8?Q?a?= b =?utf-8?Q?c?=", "a b c" },
		{ "text around", "x=?utf-8?Q?a?=y", "xay" },
		{ "the fold in the text is one blank", "=?utf-8?Q?a?=\r\n b", "a b" },
		{ "a character cut in two words", "=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "ä" },
		{ "a character cut in base64", "=?utf-8?B?4oI=?=\r\n =?UTF-8?B?rA==?=", "€" },
		{ "cut, but with text between", "=?utf-8?Q?=C3?= x", "Ã x" },
		{ "in quotes", "\"=?utf-8?Q?J=C3=BCrgen?=\"", "\"Jürgen\"" },
		{ "a language", "=?utf-8*de?Q?gr=C3=BCn?=", "grün" },
		{ "blanks inside", "=?utf-8?Q?a b?= c", "a b c" },
		{ "an equals sign first", "=?utf-8?Q?=41?=", "A" },
		{ "japanese", "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本" },
		{ "japanese in two words",
		  "=?ISO-2022-JP?B?GyRCRnwbKEI=?= =?ISO-2022-JP?B?GyRCS1wbKEI=?=", "日本" },
		{ "unknown charset stays", "=?x-none?Q?a=20b?= c", "=?x-none?Q?a=20b?= c" },
		{ "unknown between known",
		  "=?utf-8?Q?a?= =?x-none?Q?b?= =?utf-8?Q?c?=", "a =?x-none?Q?b?= c" },
		{ "unknown encoding stays", "=?utf-8?X?a?=", "=?utf-8?X?a?=" },
		{ "not closed", "=?utf-8?Q?abc", "=?utf-8?Q?abc" },
		{ "no charset", "=??Q?abc?=", "=??Q?abc?=" },
		{ "half a word", "=?utf-8", "=?utf-8" },
		{ "empty text", "=?utf-8?Q?\?=", "" },
		{ "8-bit utf-8 passes", "gr\xc3\xbcn", "grün" },
		{ "8-bit else is windows-1252", "gr\xfcn", "grün" },
		{ "a line end in a word is no line end", "=?utf-8?Q?a=0D=0AX:_b?=", "a  X: b" },
		{ "a wrong =XX stays", "=?utf-8?Q?a=zz?=", "a=zz" },
		{ "emoji", "=?UTF-8?B?8J+YgA==?= ok", "😀 ok" },
	};
	struct buf out = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = exact_copy(span_str(rows[i].in));

		mime_decode_text(in, &out);
		expect_buf(rows[i].name, &out, rows[i].want);
		free_copy(in);
		for (size_t cut = 0; cut < strlen(rows[i].in); cut++) {
			in = exact_copy(span_cut(span_str(rows[i].in), cut));
			mime_decode_text(in, &out);
			assert_true(mime_utf8_valid(buf_get(&out)));
			buf_clear(&out);
			free_copy(in);
		}
	}
	buf_free(&out);
}

/* A header made to cost much: it must not. */
static void test_hostile_words_cost_little(void **state)
{
	struct buf in = BUF_MAX(1 << 20), out = BUF_MAX(4 << 20);

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		buf_printf(&in, "=?cp%u?Q?x?= ", i);
	mime_decode_text(buf_get(&in), &out);
	assert_true(out.len > 100000);
	buf_clear(&in);
	buf_clear(&out);
	for (unsigned i = 0; i < 40000; i++)
		buf_str(&in, "=?a?Q?");
	mime_decode_text(buf_get(&in), &out);
	assert_int_equal(out.len, in.len);
	buf_free(&in);
	buf_free(&out);
}

static void test_subsets(void **state)
{
	static const char block[] =
		"From: a\r\nSubject: b\r\n folded\r\nno field\r\nTO: c\nX: d\r\n\r\n";
	const struct span names[] = { SPAN("subject"), SPAN("To"), SPAN("Absent") };
	struct buf out = BUF_MAX(256);

	(void)state;
	mime_header_subset(span_str(block), names, 3, false, &out);
	expect_buf("fields", &out, "Subject: b\r\n folded\r\nTO: c\n\r\n");
	mime_header_subset(span_str(block), names, 3, true, &out);
	expect_buf("fields not", &out, "From: a\r\nX: d\r\n\r\n");
	mime_header_subset(span_str(block), names, 0, false, &out);
	expect_buf("none", &out, "\r\n");
	mime_header_subset(SPAN("To: c"), names, 3, false, &out);
	expect_buf("a block that was cut", &out, "To: c\r\n\r\n");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_unfolding),
		cmocka_unit_test(test_encoded_words),
		cmocka_unit_test(test_hostile_words_cost_little),
		cmocka_unit_test(test_subsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
