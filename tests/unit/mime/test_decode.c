#include "mime/decode.h"
#include "rows.h"

static void test_transfer_encodings(void **state)
{
	static const struct {
		const char *name, *encoding, *in, *want;
	} rows[] = {
		{ "7bit passes", "7bit", "a=41\r\n", "a=41\r\n" },
		{ "an unknown encoding passes", "x-uue", "a=41\r\n", "a=41\r\n" },
		{ "base64", "base64", "SGVsbG8=", "Hello" },
		{ "any case, blanks around", " BASE64 ", "SGVsbG8=", "Hello" },
		{ "base64 in lines", "base64", "SGVs\r\nbG8g\r\n d29y\tbGQ=\r\n", "Hello world" },
		{ "no padding", "base64", "SGVsbG8", "Hello" },
		{ "one byte", "base64", "QQ==", "A" },
		{ "joined encodings", "base64", "QQ==QkI=\r\nQw==", "ABBC" },
		{ "noise is passed over", "base64", "S-G_V!sbG8=", "Hello" },
		{ "a lone sextet is nothing", "base64", "Q", "" },
		{ "qp", "quoted-printable", "a=3Db=E4=f6", "a=b\xe4\xf6" },
		{ "soft line break", "quoted-printable", "a=\r\nb", "ab" },
		{ "soft line break, bare LF", "quoted-printable", "a=\nb", "ab" },
		{ "soft line break with blanks", "quoted-printable", "a= \t\r\nb", "ab" },
		{ "hard line break", "quoted-printable", "a\r\nb", "a\r\nb" },
		{ "blanks at the line's end go", "quoted-printable", "a \t\r\nb \nc", "a\r\nb\nc" },
		{ "blanks inside stay", "quoted-printable", "a  b\t c", "a  b\t c" },
		{ "an encoded blank at the end stays", "quoted-printable", "a=20\r\n", "a \r\n" },
		{ "no digits", "quoted-printable", "a=zz=4", "a=zz=4" },
		{ "half digits", "quoted-printable", "=4g=4 =4\r\n=4=41", "=4g=4 =4\r\n=4A" },
		{ "two equals", "quoted-printable", "==41", "=A" },
		{ "an equals sign at the end", "quoted-printable", "a=", "a" },
		{ "blanks at the very end stay", "quoted-printable", "a  ", "a  " },
		{ "more blanks than are held", "quoted-printable",
		  "a                                                                        "
		  "                                                                  b",
		  "a                                                                        "
		  "                                                                  b" },
	};
	struct buf out = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = span_str(rows[i].in);

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct mime_decoder d;
			struct span head = exact_copy(span_cut(in, cut));
			struct span tail = exact_copy(span_skip(in, cut));

			mime_decoder_begin(&d, mime_encoding(span_str(rows[i].encoding)));
			mime_decoder_feed(&d, head, &out);
			mime_decoder_feed(&d, tail, &out);
			mime_decoder_end(&d, &out);
			expect_buf(rows[i].name, &out, rows[i].want);
			free_copy(head);
			free_copy(tail);
		}
		struct mime_decoder d;

		mime_decoder_begin(&d, mime_encoding(span_str(rows[i].encoding)));
		for (size_t k = 0; k < in.len; k++)
			mime_decoder_feed(&d, span_of(in.at + k, 1), &out);
		mime_decoder_end(&d, &out);
		expect_buf(rows[i].name, &out, rows[i].want);
	}
	buf_free(&out);
}

static void test_charsets(void **state)
{
	static const struct {
		const char *name, *charset, *in, *want;
	} rows[] = {
		{ "utf-8", "UTF-8", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "ä € 😀" },
		{ "us-ascii that is not", "us-ascii", "\xe4 a", "ä a" },
		{ "utf-8 that is windows-1252", "utf-8", "\x93quoted\x94 \xc3", "“quoted” Ã" },
		{ "overlong", "utf-8", "\xc0\xaf", "À¯" },
		{ "a surrogate", "utf-8", "\xed\xa0\x80", "í\xc2\xa0€" },
		{ "latin1 means windows-1252", "iso-8859-1", "\xe4\x80", "ä€" },
		{ "a hole in windows-1252", "windows-1252", "\x81", "\xef\xbf\xbd" },
		{ "cyrillic", "koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет" },
		{ "greek", "ISO-8859-7", "\xc1\xe1", "Αα" },
		{ "shift_jis", "Shift_JIS", "\x93\xfa\x96\x7b", "日本" },
		{ "iso-2022-jp", "iso-2022-jp", "\x1b$BF|K\\\x1b(Bx", "日本x" },
		{ "gb2312 means gb18030", "gb2312", "\xd6\xd0\xce\xc4", "中文" },
		{ "euc-kr", "ks_c_5601-1987", "\xc7\xd1", "한" },
		{ "big5", "big5", "\xa4\xa4", "中" },
		{ "utf-7", "utf-7", "+AOQ-b", "äb" },
		{ "bad bytes become U+FFFD", "shift_jis", "a\xff\xff",
		  "a\xef\xbf\xbd\xef\xbf\xbd" },
		{ "an unfinished character", "gb18030", "a\xd6", "a\xef\xbf\xbd" },
	};
	struct buf out = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = span_str(rows[i].in);

		assert_true(mime_charset_known(span_str(rows[i].charset)));
		assert_true(mime_to_utf8(span_str(rows[i].charset), in, &out));
		assert_true(mime_utf8_valid(buf_get(&out)));
		expect_buf(rows[i].name, &out, rows[i].want);
		for (size_t cut = 0; cut <= in.len; cut++) {
			struct mime_charset *c = mime_charset_new(span_str(rows[i].charset));

			mime_charset_feed(c, span_cut(in, cut), &out);
			mime_charset_feed(c, span_skip(in, cut), &out);
			mime_charset_end(c, &out);
			mime_charset_free(c);
			expect_buf(rows[i].name, &out, rows[i].want);
		}
		struct mime_charset *c = mime_charset_new(span_str(rows[i].charset));

		for (size_t k = 0; k < in.len; k++)
			mime_charset_feed(c, span_of(in.at + k, 1), &out);
		mime_charset_end(c, &out);
		mime_charset_free(c);
		expect_buf(rows[i].name, &out, rows[i].want);
	}
	buf_free(&out);
}

static void test_the_usual_ones_can_be_preloaded(void **state)
{
	struct buf out = BUF_MAX(64);

	(void)state;
	assert_int_equal(mime_charsets_preload(), 0);
	assert_true(mime_to_utf8(SPAN("windows-1251"), SPAN("\xcf\xf0"), &out));
	expect_buf("after it", &out, "Пр");
	buf_free(&out);
}

static void test_unknown_charsets(void **state)
{
	static const char *const names[] = {
		"",        "x-none", "utf-8//TRANSLIT",
		"../../x", "a b",    "a-name-of-over-forty-bytes-that-nobody-has-ever-seen"
	};
	struct buf out = BUF_MAX(64);

	(void)state;
	for (size_t i = 0; i < ROWS(names); i++) {
		assert_false(mime_charset_known(span_str(names[i])));
		assert_null(mime_charset_new(span_str(names[i])));
		assert_false(mime_to_utf8(span_str(names[i]), SPAN("x"), &out));
		assert_int_equal(out.len, 0);
	}
	buf_free(&out);
}

static void test_encoding_and_charset_in_a_row(void **state)
{
	static const struct {
		const char *name, *encoding, *charset, *in, *want;
	} rows[] = {
		{ "utf-8 cut by base64", "base64", "utf-8", "4oKs4oKs", "€€" },
		{ "latin1 in qp", "quoted-printable", "iso-8859-1", "gr=FC=DFe=\r\n!", "grüße!" },
		{ "unknown charset", "7bit", "x-none", "\xe4", "ä" },
		{ "no charset", "8bit", "", "\xc3\xa4", "ä" },
	};
	struct buf out = BUF_MAX(256);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = span_str(rows[i].in);

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct mime_text *t = mime_text_new(span_str(rows[i].encoding),
							    span_str(rows[i].charset));

			mime_text_feed(t, span_cut(in, cut), &out);
			mime_text_feed(t, span_skip(in, cut), &out);
			mime_text_end(t, &out);
			mime_text_free(t);
			expect_buf(rows[i].name, &out, rows[i].want);
		}
	}
	buf_free(&out);
}

static void test_case_is_folded(void **state)
{
	static const struct {
		const char *name, *haystack, *needle;
		bool want;
	} rows[] = {
		{ "the empty needle", "abc", "", true },
		{ "nothing holds only nothing", "", "", true },
		{ "and no letter", "", "a", false },
		{ "ascii", "Hello World", "lo wO", true },
		{ "at the end", "Hello", "LLO", true },
		{ "over the end", "Hello", "hello!", false },
		{ "a false start", "aaab", "aab", true },
		{ "borders", "ababababca", "abababca", true },
		{ "umlauts", "GRÜSSE aus KÖLN", "köln", true },
		{ "greek with a final sigma", "ΟΔΥΣΣΕΥΣ", "οδυσσευς", true },
		{ "cyrillic", "ПРИВЕТ", "привет", true },
		{ "no decomposition", "e\xcc\x81", "é", false },
		{ "an ascii needle in other text", "日本 Tokyo 東京", "tokyo", true },
		{ "kelvin sign", "\xe2\x84\xaa", "k", true },
		{ "bytes that are no text",
		  "\xff\xfe"
		  "abc",
		  "ABC", true },
		{ "a character of its tail", "\xc3\xa4", "\xa4", false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span h = exact_copy(span_str(rows[i].haystack));
		struct span n = span_str(rows[i].needle);

		if (mime_casefold_contains(h, n) != rows[i].want)
			fail_msg("%s", rows[i].name);
		for (size_t cut = 0; cut <= h.len; cut++) {
			struct mime_search *s = mime_search_new(n);

			mime_search_feed(s, span_cut(h, cut));
			mime_search_feed(s, span_skip(h, cut));
			if (mime_search_found(s) != rows[i].want)
				fail_msg("%s, cut at %zu", rows[i].name, cut);
			mime_search_free(s);
		}
		free_copy(h);
	}
	assert_int_equal(mime_fold('Z'), 'z');
	assert_int_equal(mime_fold('['), '[');
	assert_int_equal(mime_fold(0x100), 0x101);
	assert_int_equal(mime_fold(0x101), 0x101);
	assert_int_equal(mime_fold(0x1E921), 0x1E943);
	assert_int_equal(mime_fold(0x10FFFF), 0x10FFFF);
}

static void test_a_search_starts_anew(void **state)
{
	struct mime_search *s = mime_search_new(SPAN("abc"));

	(void)state;
	mime_search_feed(s, SPAN("ab"));
	mime_search_restart(s);
	assert_false(mime_search_feed(s, SPAN("c")));
	assert_true(mime_search_feed(s, SPAN("abc")));
	mime_search_restart(s);
	assert_true(mime_search_found(s));
	mime_search_free(s);
}

static void test_text_is_cut_between_characters(void **state)
{
	static const struct {
		const char *in;
		size_t max;
		const char *want;
	} rows[] = {
		{ "abc", 3, "abc" }, { "abc", 2, "ab" }, { "aä", 2, "a" },
		{ "aä", 3, "aä" },   { "€", 2, "" },     { "😀", 3, "" },
		{ "😀x", 4, "😀" },    { "", 0, "" },      { "x", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		expect_span(rows[i].in, mime_utf8_cut(span_str(rows[i].in), rows[i].max),
			    span_str(rows[i].want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transfer_encodings),
		cmocka_unit_test(test_charsets),
		cmocka_unit_test(test_unknown_charsets),
		cmocka_unit_test(test_the_usual_ones_can_be_preloaded),
		cmocka_unit_test(test_encoding_and_charset_in_a_row),
		cmocka_unit_test(test_case_is_folded),
		cmocka_unit_test(test_a_search_starts_anew),
		cmocka_unit_test(test_text_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
