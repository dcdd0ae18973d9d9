/* What an IMAP server writes. */
#include "proto/imap/reader.h"
#include "proto/imap/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void is(struct buf *b, const char *want)
{
	assert_false(b->failed);
	buf_char(b, '\0');
	assert_string_equal(b->at, want);
	buf_clear(b);
}

static void strings_take_the_form_they_need(void **state)
{
	const struct {
		const char *name;
		struct span s;
		const char *string, *astring;
	} rows[] = {
		{ "an atom", SPAN("abc]"), "\"abc]\"", "abc]" },
		{ "nothing", SPAN(""), "\"\"", "\"\"" },
		{ "NIL is not nothing", SPAN("nil"), "\"nil\"", "\"nil\"" },
		{ "a space", SPAN("a b"), "\"a b\"", "\"a b\"" },
		{ "what a quoted string escapes", SPAN("a\\\"b"), "\"a\\\\\\\"b\"",
		  "\"a\\\\\\\"b\"" },
		{ "a tab", SPAN("a\tb"), "\"a\tb\"", "\"a\tb\"" },
		{ "a line end", SPAN("a\r\nb"), "{4}\r\na\r\nb", "{4}\r\na\r\nb" },
		{ "8-bit octets", SPAN("\xC3\xA9"), "{2}\r\n\xC3\xA9", "{2}\r\n\xC3\xA9" },
		{ "a NUL", SPAN("a\0b"), "{3}\r\na?b", "{3}\r\na?b" },
	};
	struct buf b = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("%s\n", rows[i].name);
		imap_put_string(&b, rows[i].s);
		is(&b, rows[i].string);
		imap_put_nstring(&b, rows[i].s);
		is(&b, rows[i].string);
		imap_put_astring(&b, rows[i].s);
		is(&b, rows[i].astring);
	}
	imap_put_nstring(&b, SPAN_NONE);
	is(&b, "NIL");
	buf_free(&b);
}

static void long_strings_are_literals(void **state)
{
	char text[1001];
	struct buf b = BUF_MAX(4096);

	(void)state;
	memset(text, 'x', sizeof(text));
	imap_put_string(&b, span_of(text, 1000));
	assert_int_equal(b.len, 1002);
	buf_clear(&b);
	imap_put_astring(&b, span_of(text, 1001));
	assert_int_equal(b.len, 1001 + sizeof("{1001}\r\n") - 1);
	buf_free(&b);
}

static void mailbox_names_are_encoded(void **state)
{
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_mailbox(&b, SPAN("Entw\xC3\xBCrfe & mehr"));
	is(&b, "\"Entw&APw-rfe &- mehr\"");
	imap_put_mailbox(&b, SPAN("INBOX/\xC3\xA9"));
	is(&b, "INBOX/&AOk-");
	imap_put_mailbox(&b, SPAN("no\xFFname"));
	is(&b, "{7}\r\nno\xFFname");
	imap_put_mailbox(&b, SPAN(""));
	is(&b, "\"\"");
	buf_free(&b);
}

static void too_little_room_is_told(void **state)
{
	struct buf b = BUF_MAX(8);

	(void)state;
	imap_put_mailbox(&b, SPAN("\xC3\xA9\xC3\xA9\xC3\xA9"));
	assert_true(b.failed);
	buf_clear(&b);
	imap_put_string(&b, SPAN("\x80\x81\x82\x83"));
	assert_true(b.failed);
	buf_free(&b);
}

static void flags_are_listed(void **state)
{
	const struct span words[] = { SPAN("$Junk"), SPAN("x") };
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_flags(&b, 0, NULL, 0);
	is(&b, "()");
	imap_put_flags(&b, 63, words, 2);
	is(&b, "(\\Answered \\Flagged \\Deleted \\Seen \\Draft \\Recent $Junk x)");
	imap_put_flags(&b, 0, words, 1);
	is(&b, "($Junk)");
	imap_put_flags_line(&b, IMAP_FLAG_SEEN, words, 1);
	is(&b, "* FLAGS (\\Seen $Junk)\r\n");
	imap_put_permanentflags(&b, IMAP_FLAG_SEEN, words, 1, true);
	is(&b, "* OK [PERMANENTFLAGS (\\Seen $Junk \\*)] these flags last\r\n");
	imap_put_permanentflags(&b, 0, NULL, 0, true);
	is(&b, "* OK [PERMANENTFLAGS (\\*)] these flags last\r\n");
	imap_put_permanentflags(&b, 0, NULL, 0, false);
	is(&b, "* OK [PERMANENTFLAGS ()] these flags last\r\n");
	buf_free(&b);
}

static void status_replies_are_lines(void **state)
{
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_cond(&b, SPAN("a1"), IMAP_NO, "TRYCREATE", "no such mailbox");
	is(&b, "a1 NO [TRYCREATE] no such mailbox\r\n");
	imap_put_cond(&b, SPAN_NONE, IMAP_BYE, NULL, "see you");
	is(&b, "* BYE see you\r\n");
	imap_put_cond(&b, SPAN_NONE, IMAP_PREAUTH, NULL, "x\r\ny \xC3\xA9");
	is(&b, "* PREAUTH x??y ??\r\n");
	imap_put_code_number(&b, "UIDNEXT", 4392, "the next UID");
	is(&b, "* OK [UIDNEXT 4392] the next UID\r\n");
	imap_put_number(&b, 23, "EXISTS");
	is(&b, "* 23 EXISTS\r\n");
	imap_put_appenduid(&b, SPAN("a"), 38505, 3955, "done");
	is(&b, "a OK [APPENDUID 38505 3955] done\r\n");
	buf_free(&b);
}

static void copyuid_names_both_sets(void **state)
{
	struct uset from = { 0 }, to = { 0 };
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_copyuid(&b, SPAN("a"), 7, &from, &to, "nothing");
	is(&b, "a OK nothing\r\n");
	assert_int_equal(uset_add(&from, 304, 304), ST_OK);
	assert_int_equal(uset_add(&from, 319, 320), ST_OK);
	assert_int_equal(uset_add(&to, 3956, 3958), ST_OK);
	imap_put_copyuid(&b, SPAN_NONE, 38505, &from, &to, "moved");
	is(&b, "* OK [COPYUID 38505 304,319:320 3956:3958] moved\r\n");
	uset_free(&from);
	uset_free(&to);
	buf_free(&b);
}

static void lists_are_lines(void **state)
{
	const struct imap_status_values v = { 231, 1, 44292, 7, 3, 1ull << 40 };
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_list(&b, "LIST", IMAP_ATTR_HASNOCHILDREN | IMAP_USE_DRAFTS, '/', SPAN("Drafts"));
	is(&b, "* LIST (\\HasNoChildren \\Drafts) \"/\" Drafts\r\n");
	imap_put_list(&b, "LIST", IMAP_ATTR_NOSELECT, '/', SPAN(""));
	is(&b, "* LIST (\\Noselect) \"/\" \"\"\r\n");
	imap_put_list(&b, "LSUB", 0, '\0', SPAN("a b"));
	is(&b, "* LSUB () NIL \"a b\"\r\n");
	imap_put_list(&b, "LIST", 0x7FFF, '\\', SPAN("x"));
	is(&b, "* LIST (\\Noinferiors \\Noselect \\NonExistent \\Marked \\Unmarked \\Subscribed "
	       "\\HasChildren \\HasNoChildren \\All \\Archive \\Drafts \\Flagged \\Junk \\Sent "
	       "\\Trash) \"\\\\\" x\r\n");
	imap_put_status(&b, SPAN("blurdybloop"), IMAP_STATUS_MESSAGES | IMAP_STATUS_UIDNEXT, &v);
	is(&b, "* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n");
	imap_put_status(&b, SPAN("x"), 63, &v);
	is(&b, "* STATUS x (MESSAGES 231 RECENT 1 UIDNEXT 44292 UIDVALIDITY 7 UNSEEN 3 "
	       "HIGHESTMODSEQ 1099511627776)\r\n");
	buf_free(&b);
}

static void search_results_are_numbers(void **state)
{
	struct uset found = { 0 };
	struct buf b = BUF_MAX(4096);
	const unsigned all =
		IMAP_RETURN_MIN | IMAP_RETURN_MAX | IMAP_RETURN_ALL | IMAP_RETURN_COUNT;

	(void)state;
	imap_put_search(&b, &found);
	is(&b, "* SEARCH\r\n");
	imap_put_esearch(&b, SPAN("a"), false, all, &found);
	is(&b, "* ESEARCH (TAG \"a\") COUNT 0\r\n");
	assert_int_equal(uset_add(&found, 2, 4), ST_OK);
	assert_int_equal(uset_add(&found, UINT32_MAX, UINT32_MAX), ST_OK);
	imap_put_search(&b, &found);
	is(&b, "* SEARCH 2 3 4 4294967295\r\n");
	imap_put_esearch(&b, SPAN("a"), true, all, &found);
	is(&b, "* ESEARCH (TAG \"a\") UID MIN 2 MAX 4294967295 COUNT 4 ALL 2:4,4294967295\r\n");
	uset_free(&found);
	buf_free(&b);
}

static void the_rest_are_lines_too(void **state)
{
	const struct span pairs[] = { SPAN("name"), SPAN("Mailroot"), SPAN("os"), SPAN_NONE };
	const struct span names[] = { SPAN("CONDSTORE") };
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_id(&b, pairs, 2);
	is(&b, "* ID (\"name\" \"Mailroot\" \"os\" NIL)\r\n");
	imap_put_id(&b, NULL, 0);
	is(&b, "* ID NIL\r\n");
	imap_put_enabled(&b, names, 1);
	is(&b, "* ENABLED CONDSTORE\r\n");
	imap_put_enabled(&b, NULL, 0);
	is(&b, "* ENABLED\r\n");
	imap_put_namespace(&b, SPAN(""), SPAN_NONE, SPAN("\xC3\xA9/"), '/');
	is(&b, "* NAMESPACE ((\"\" \"/\")) NIL ((\"&AOk-/\" \"/\"))\r\n");
	buf_free(&b);
}

static void capabilities_follow_the_rows(void **state)
{
	static const char *const mechs[] = { "PLAIN", "SCRAM-SHA-256", NULL };
	struct imap_offer offer = {
		.state = IMAP_NOT_AUTH, .exts = IMAP_EXT_SERVED, .starttls = true, .mechs = mechs
	};
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_capability(&b, &offer);
	is(&b, "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UNSELECT UIDPLUS "
	       "MOVE CHILDREN SPECIAL-USE CREATE-SPECIAL-USE STARTTLS LOGINDISABLED AUTH=PLAIN "
	       "AUTH=SCRAM-SHA-256\r\n");
	offer = (struct imap_offer){ .state = IMAP_NOT_AUTH, .login = true };
	imap_capabilities(&b, &offer);
	is(&b, "IMAP4rev1");
	offer = (struct imap_offer){ .state = IMAP_SELECTED,
				     .exts = IMAP_EXT_SERVED,
				     .mechs = mechs };
	imap_capabilities(&b, &offer);
	is(&b, "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE UNSELECT UIDPLUS MOVE CHILDREN "
	       "SPECIAL-USE CREATE-SPECIAL-USE");
	/* What a command row needs is something that can be announced. */
	for (size_t i = 0; i < imap_nverbs; i++) {
		uint32_t known = 0;

		for (size_t k = 0; k < imap_nextensions; k++)
			known |= imap_extensions[k].bit;
		assert_int_equal(imap_verbs[i].ext & ~known, 0);
	}
	buf_free(&b);
}

static void item_names_are_echoed(void **state)
{
	const uint32_t parts[] = { 4, 1 };
	const struct span fields[] = { SPAN("DATE"), SPAN("x y") };
	struct imap_item item = { .kind = IMAP_ITEM_SECTION,
				  .partial = true,
				  .count = 9,
				  .section = { .text = IMAP_SECTION_FIELDS,
					       .nparts = 2,
					       .parts = parts,
					       .nfields = 2,
					       .fields = fields } };
	struct buf b = BUF_MAX(4096);

	(void)state;
	imap_put_fetch_begin(&b, 12);
	imap_put_item_name(&b, &item);
	imap_put_fetch_end(&b);
	is(&b, "* 12 FETCH (BODY[4.1.HEADER.FIELDS (DATE \"x y\")]<0>)\r\n");
	item = (struct imap_item){ .kind = IMAP_ITEM_SECTION, .section.text = IMAP_SECTION_TEXT };
	imap_put_item_name(&b, &item);
	is(&b, "BODY[TEXT]");
	item.section = (struct imap_section){ .nparts = 1, .parts = parts };
	imap_put_item_name(&b, &item);
	is(&b, "BODY[4]");
	item = (struct imap_item){ .kind = IMAP_ITEM_RFC822_HEADER };
	imap_put_item_name(&b, &item);
	is(&b, "RFC822.HEADER");
	buf_free(&b);
}

static void windows_stay_inside_the_section(void **state)
{
	static const struct {
		bool partial;
		uint32_t first, count;
		uint64_t len, want_first, want_count;
	} rows[] = {
		{ false, 7, 7, 100, 0, 100 },
		{ true, 0, 10, 100, 0, 10 },
		{ true, 95, 10, 100, 95, 5 },
		{ true, 100, 10, 100, 100, 0 },
		{ true, 200, 10, 100, 100, 0 },
		{ true, 4000000000u, 4000000000u, 1ull << 33, 4000000000u, 4000000000u },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_item item = { .partial = rows[i].partial,
					  .first = rows[i].first,
					  .count = rows[i].count };
		uint64_t first, count;

		imap_item_window(&item, rows[i].len, &first, &count);
		assert_int_equal(first, rows[i].want_first);
		assert_int_equal(count, rows[i].want_count);
	}
}

static void times_are_written(void **state)
{
	static const struct {
		int64_t seconds;
		int zone;
		const char *want;
	} rows[] = {
		{ 0, 0, "\" 1-Jan-1970 00:00:00 +0000\"" },
		{ 837596665, -420, "\"17-Jul-1996 02:44:25 -0700\"" },
		{ 837596665, 0, "\"17-Jul-1996 09:44:25 +0000\"" },
		{ 951782400, 345, "\"29-Feb-2000 05:45:00 +0545\"" },
		{ -1, 0, "\"31-Dec-1969 23:59:59 +0000\"" },
		{ -1, 1, "\" 1-Jan-1970 00:00:59 +0001\"" },
		{ 4102444800, 0, "\" 1-Jan-2100 00:00:00 +0000\"" },
		{ INT64_MAX, 100000, "\"31-Dec-9999 23:59:00 +2359\"" },
		{ INT64_MIN, -100000, "\" 1-Jan-0000 00:01:00 -2359\"" },
	};
	struct buf b = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		imap_put_date_time(&b, rows[i].seconds, rows[i].zone);
		is(&b, rows[i].want);
	}
	buf_free(&b);
}

static void every_day_is_counted(void **state)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t want, got;
	struct buf b = BUF_MAX(64);

	(void)state;
	assert_true(imap_day(0, 1, 1, &want));
	assert_int_equal(want, -719528);
	for (unsigned year = 0; year <= 9999; year++) {
		for (unsigned month = 1; month <= 12; month++) {
			for (unsigned day = 1; imap_day(year, month, day, &got); day++) {
				assert_int_equal(got, want);
				want++;
			}
			/* The last day of the month, written and read back. */
			if (want - 1 < -719527 || want - 1 > 2932895)
				continue;
			imap_put_date_time(&b, (want - 1) * 86400, 0);
			buf_char(&b, '\0');
			assert_memory_equal(b.at + 4, months + 3 * (month - 1), 3);
			assert_int_equal(atoi(b.at + 8), (int)year);
			buf_clear(&b);
		}
	}
	assert_int_equal(want, 2932897);
	assert_false(imap_day(2000, 0, 1, &got));
	assert_false(imap_day(2000, 13, 1, &got));
	assert_false(imap_day(2000, 1, 0, &got));
	assert_false(imap_day(10000, 1, 1, &got));
	assert_false(imap_day(1900, 2, 29, &got));
	assert_true(imap_day(2000, 2, 29, &got));
	buf_free(&b);
}

static void sets_are_resolved(void **state)
{
	static const struct {
		const char *name;
		struct imap_range ranges[3];
		uint32_t n, star;
		const char *want;
		uint32_t max;
	} rows[] = {
		{ "numbers", { { 1, 3 }, { 2, 5 }, { 9, 9 } }, 3, 100, "1:5,9", 9 },
		{ "from here to the end", { { 4, 0 } }, 1, 7, "4:7", 4 },
		{ "from past the end", { { 9, 0 } }, 1, 7, "7:9", 9 },
		{ "the last", { { 0, 0 } }, 1, 7, "7", 0 },
		{ "the last of none", { { 0, 0 }, { 3, 0 } }, 2, 0, "", 3 },
		{ "everything", { { 1, UINT32_MAX } }, 1, 7, "1:4294967295", UINT32_MAX },
	};
	struct buf b = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_set set = { rows[i].ranges, rows[i].n };
		struct uset out = { 0 };

		print_message("%s\n", rows[i].name);
		assert_int_equal(imap_set_resolve(&set, rows[i].star, &out), ST_OK);
		uset_text(&out, &b);
		is(&b, rows[i].want);
		assert_int_equal(imap_set_max(&set), rows[i].max);
		uset_free(&out);
	}
	struct imap_set set = { rows[0].ranges, 3 };
	struct uset small = { .max_runs = 1 };
	assert_int_equal(imap_set_resolve(&set, 7, &small), ST_TOOBIG);
	assert_int_equal(small.count, 0);
	buf_free(&b);
}

static void charsets_are_known(void **state)
{
	(void)state;
	assert_true(imap_charset_known(SPAN_NONE));
	assert_true(imap_charset_known(SPAN("utf-8")));
	assert_true(imap_charset_known(SPAN("US-ASCII")));
	assert_false(imap_charset_known(SPAN("KOI8-R")));
	assert_false(imap_charset_known(SPAN("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_take_the_form_they_need),
		cmocka_unit_test(long_strings_are_literals),
		cmocka_unit_test(mailbox_names_are_encoded),
		cmocka_unit_test(too_little_room_is_told),
		cmocka_unit_test(flags_are_listed),
		cmocka_unit_test(status_replies_are_lines),
		cmocka_unit_test(copyuid_names_both_sets),
		cmocka_unit_test(lists_are_lines),
		cmocka_unit_test(search_results_are_numbers),
		cmocka_unit_test(the_rest_are_lines_too),
		cmocka_unit_test(capabilities_follow_the_rows),
		cmocka_unit_test(item_names_are_echoed),
		cmocka_unit_test(windows_stay_inside_the_section),
		cmocka_unit_test(times_are_written),
		cmocka_unit_test(every_day_is_counted),
		cmocka_unit_test(sets_are_resolved),
		cmocka_unit_test(charsets_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
