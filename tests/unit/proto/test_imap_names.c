/* Mailbox names in both forms, and the patterns of LIST. */
#include "proto/imap/match.h"
#include "proto/imap/utf7.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct {
	const char *name, *utf7, *utf8;
} good[] = {
	{ "nothing", "", "" },
	{ "plain", "INBOX/Sent Items", "INBOX/Sent Items" },
	{ "all printable ASCII", "!\"#$%'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~",
	  "!\"#$%'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~" },
	{ "an ampersand", "A&-B", "A&B" },
	{ "ampersands", "&-&-", "&&" },
	{ "an ampersand before a shift", "&-&AOk-", "&\xC3\xA9" },
	{ "an ampersand behind a shift", "&AOk-&-", "\xC3\xA9&" },
	{ "a hyphen behind a shift", "&AOk--", "\xC3\xA9-" },
	{ "one unit", "&AOk-", "\xC3\xA9" },
	{ "two units", "&AOkA6Q-", "\xC3\xA9\xC3\xA9" },
	{ "three units", "&AOkA6QDp-", "\xC3\xA9\xC3\xA9\xC3\xA9" },
	{ "a unit with a comma in its base64", "&U,BTFw-", "\xE5\x8F\xB0\xE5\x8C\x97" },
	{ "RFC 3501's own", "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
	  "~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E" },
	{ "a surrogate pair", "&2D3eAA-", "\xF0\x9F\x98\x80" },
	{ "the last character", "&2,,f,w-", "\xF4\x8F\xBF\xBF" },
	{ "a control", "&AAEACQB,-", "\x01\x09\x7F" },
	{ "U+FFFF", "&,,8-", "\xEF\xBF\xBF" },
};

static const struct {
	const char *name, *utf7;
} bad_utf7[] = {
	{ "an octet over 7 bits", "\xC3\xA9" },
	{ "a control", "a\tb" },
	{ "DEL", "a\x7F" },
	{ "a shift without its end", "&AOk" },
	{ "an ampersand at the end", "a&" },
	{ "'/' for ','", "&U/BTFw-" },
	{ "padding", "&AOk=-" },
	{ "something else in base64", "&AO k-" },
	{ "bits left over", "&AOl-" },
	{ "a digit too many", "&AOkA-" },
	{ "a digit too few", "&AO-" },
	{ "two digits too few", "&A-" },
	{ "ASCII in base64", "&AGE-" },
	{ "an ampersand in base64", "&ACY-" },
	{ "U+0000", "&AAA-" },
	{ "one shift behind another", "&U,BTFw-&ZeVnLIqe-" },
	{ "the first half of a pair", "&2D0-" },
	{ "the second half of a pair", "&3gA-" },
	{ "the first half twice", "&2D3YPQ-" },
	{ "a pair torn by a letter", "&2D0A6d4A-" },
};

static void names_turn_and_turn_back(void **state)
{
	char out[256];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct span utf7 = span_str(good[i].utf7), utf8 = span_str(good[i].utf8);

		print_message("%s\n", good[i].name);
		assert_true(IMAP_UTF8_ROOM(utf7.len) <= sizeof(out));
		assert_int_equal(imap_utf7_decode(utf7, out, IMAP_UTF8_ROOM(utf7.len), &len, NULL),
				 ST_OK);
		assert_true(span_eq(span_of(out, len), utf8));
		assert_int_equal(imap_utf7_encode(utf8, out, IMAP_UTF7_ROOM(utf8.len), &len, NULL),
				 ST_OK);
		assert_true(span_eq(span_of(out, len), utf7));
	}
}

static void room_is_kept(void **state)
{
	char out[256];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct span utf7 = span_str(good[i].utf7), utf8 = span_str(good[i].utf8);

		for (size_t room = 0; room < utf8.len; room++) {
			len = 4711;
			assert_int_equal(imap_utf7_decode(utf7, out, room, &len, NULL), ST_TOOBIG);
			assert_int_equal(len, 4711);
		}
		for (size_t room = 0; room < utf7.len; room++)
			assert_int_equal(imap_utf7_encode(utf8, out, room, &len, NULL), ST_TOOBIG);
	}
}

static void what_is_no_name_is_refused(void **state)
{
	/* Not static: a span is no constant expression. */
	const struct {
		const char *name;
		struct span utf8;
	} bad_utf8[] = {
		{ "a lone octet", SPAN("a\x80") },
		{ "cut off", SPAN("a\xE5\x8F") },
		{ "a long form", SPAN("\xC1\x81") },
		{ "a surrogate", SPAN("\xED\xA0\xBD") },
		{ "past the last character", SPAN("\xF4\x90\x80\x80") },
		{ "a NUL", SPAN("a\0b") },
	};
	char out[256];
	size_t len = 4711;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_utf7) / sizeof(bad_utf7[0]); i++) {
		struct err err;

		print_message("%s\n", bad_utf7[i].name);
		assert_int_equal(
			imap_utf7_decode(span_str(bad_utf7[i].utf7), out, sizeof(out), &len, &err),
			ST_BAD);
		assert_int_equal(err.st, ST_BAD);
	}
	for (size_t i = 0; i < sizeof(bad_utf8) / sizeof(bad_utf8[0]); i++) {
		print_message("%s\n", bad_utf8[i].name);
		assert_int_equal(imap_utf7_encode(bad_utf8[i].utf8, out, sizeof(out), &len, NULL),
				 ST_BAD);
	}
	assert_int_equal(len, 4711);
}

static void every_character_turns_and_turns_back(void **state)
{
	char utf8[4], utf7[32], again[16];

	(void)state;
	for (uint32_t c = 1; c <= 0x10FFFF; c++) {
		size_t n = 0, len, back;

		if (c < 0x80) {
			utf8[n++] = (char)c;
		} else if (c < 0x800) {
			utf8[n++] = (char)(0xC0 | c >> 6);
		} else if (c < 0x10000) {
			utf8[n++] = (char)(0xE0 | c >> 12);
			utf8[n++] = (char)(0x80 | (c >> 6 & 0x3F));
		} else {
			utf8[n++] = (char)(0xF0 | c >> 18);
			utf8[n++] = (char)(0x80 | (c >> 12 & 0x3F));
			utf8[n++] = (char)(0x80 | (c >> 6 & 0x3F));
		}
		if (c >= 0x80)
			utf8[n++] = (char)(0x80 | (c & 0x3F));
		bool surrogate = c >= 0xD800 && c <= 0xDFFF;
		enum st st = imap_utf7_encode(span_of(utf8, n), utf7, sizeof(utf7), &len, NULL);
		assert_int_equal(st, surrogate ? ST_BAD : ST_OK);
		if (surrogate)
			continue;
		st = imap_utf7_decode(span_of(utf7, len), again, sizeof(again), &back, NULL);
		assert_int_equal(st, ST_OK);
		assert_true(span_eq(span_of(again, back), span_of(utf8, n)));
	}
}

static const struct {
	const char *name, *pattern, *mailbox;
	bool want;
} matches[] = {
	{ "nothing is nothing", "", "", true },
	{ "nothing is not something", "", "a", false },
	{ "itself", "Sent", "Sent", true },
	{ "not in another case", "sent", "Sent", false },
	{ "not the beginning", "Sent", "Sent Items", false },
	{ "not the end", "Items", "Sent Items", false },
	{ "everything", "*", "a/b/c", true },
	{ "everything is nothing, too", "*", "", true },
	{ "one level", "%", "a", true },
	{ "not two levels", "%", "a/b", false },
	{ "two levels", "%/%", "a/b", true },
	{ "not three levels", "%/%", "a/b/c", false },
	{ "a level may be empty", "%/%", "/", true },
	{ "below", "a/*", "a/b/c", true },
	{ "below does not mean it itself", "a/*", "a", false },
	{ "from here on", "a*", "a", true },
	{ "one level below", "a/%", "a/b", true },
	{ "not two levels below", "a/%", "a/b/c", false },
	{ "in the middle", "a*c", "a/b/c", true },
	{ "in the middle of a level", "a%c", "abc", true },
	{ "not in the middle of levels", "a%c", "a/c", false },
	{ "both", "%*", "a/b", true },
	{ "both the other way", "*%", "a/b", true },
	{ "a star takes up what % cannot", "%x*", "axb/c", true },
	{ "try again later", "*ab%", "aab/cab", true },
	{ "and not once more", "*ab%", "aab/c", false },
	{ "many stars", "*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	{ "a wildcard is no letter of names", "a", "*", false },
	{ "INBOX in any case", "inbox", "INBOX", true },
	{ "INBOX in any case with a wildcard", "In%", "INBOX", true },
	{ "below INBOX in any case", "inbox/*", "INBOX/Sub", true },
	{ "below INBOX cases differ", "inbox/sub", "INBOX/Sub", false },
	{ "INBOX is one component", "inboxes", "INBOXES", false },
	{ "UTF-8", "*\xC3\xA9", "caf\xC3\xA9", true },
};

static void patterns_match(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
		print_message("%s\n", matches[i].name);
		assert_int_equal(imap_list_match(span_str(matches[i].pattern),
						 span_str(matches[i].mailbox), '/'),
				 matches[i].want);
	}
}

static void without_a_delimiter_both_wildcards_are_one(void **state)
{
	(void)state;
	assert_true(imap_list_match(SPAN("a%"), SPAN("a/b"), '\0'));
}

static void too_long_a_pattern_matches_nothing(void **state)
{
	static char stars[4096];

	(void)state;
	memset(stars, '*', sizeof(stars));
	assert_true(imap_list_match(span_of(stars, 2048), SPAN("a"), '/'));
	assert_false(imap_list_match(span_of(stars, 2049), SPAN("a"), '/'));
}

static void parents_match_for_lsub(void **state)
{
	(void)state;
	assert_true(span_eq(imap_list_match_parent(SPAN("%"), SPAN("foo/bar"), '/'), SPAN("foo")));
	assert_true(span_eq(imap_list_match_parent(SPAN("foo/%"), SPAN("foo/bar/baz"), '/'),
			    SPAN("foo/bar")));
	assert_null(imap_list_match_parent(SPAN("x%"), SPAN("foo/bar"), '/').at);
	assert_null(imap_list_match_parent(SPAN("%"), SPAN("foo"), '/').at);
}

static void reference_and_pattern_join(void **state)
{
	static const struct {
		const char *reference, *pattern, *want;
	} rows[] = {
		{ "", "*", "*" },   { "a/", "%", "a/%" }, { "#news.", "comp.*", "#news.comp.*" },
		{ "a", "b", "ab" }, { "a/", "/b", "b" },  { "", "", "" },
	};
	struct pool *pool = pool_new("join", 64), *small = pool_new("small", 16);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t mark = pool_mark(pool);
		struct span got = imap_list_join(pool, span_str(rows[i].reference),
						 span_str(rows[i].pattern), '/');

		assert_true(span_eq(got, span_str(rows[i].want)));
		pool_back(pool, mark);
	}
	assert_null(imap_list_join(small, SPAN("12345678/"), SPAN("12345678"), '/').at);
	pool_free(pool);
	pool_free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_turn_and_turn_back),
		cmocka_unit_test(room_is_kept),
		cmocka_unit_test(what_is_no_name_is_refused),
		cmocka_unit_test(every_character_turns_and_turns_back),
		cmocka_unit_test(patterns_match),
		cmocka_unit_test(without_a_delimiter_both_wildcards_are_one),
		cmocka_unit_test(too_long_a_pattern_matches_nothing),
		cmocka_unit_test(parents_match_for_lsub),
		cmocka_unit_test(reference_and_pattern_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
