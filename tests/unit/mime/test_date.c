#include "mime/date.h"
#include "rows.h"

static void test_mail_dates_are_read(void **state)
{
	static const struct {
		const char *in, *want; /* want as this room writes it; "" for none */
	} rows[] = {
		{ "Wed, 17 Jul 1996 02:44:25 -0700", "Wed, 17 Jul 1996 02:44:25 -0700" },
		{ "Wed, 17 Jul 1996 02:44:25 -0700 (PDT)", "Wed, 17 Jul 1996 02:44:25 -0700" },
		{ "17 Jul 1996 02:44:25 +0530", "Wed, 17 Jul 1996 02:44:25 +0530" },
		{ "  Wed,17 Jul 96 02:44 GMT", "Wed, 17 Jul 1996 02:44:00 +0000" },
		{ "1 Jan 49 00:00:00 UT", "Fri, 1 Jan 2049 00:00:00 +0000" },
		{ "1 Jan 50 00:00:00 UT", "Sun, 1 Jan 1950 00:00:00 +0000" },
		{ "1 Jan 103 00:00:00 UT", "Wed, 1 Jan 2003 00:00:00 +0000" },
		{ "Thu, 29 Feb 2024 23:59:60 EST", "Fri, 1 Mar 2024 00:00:00 -0500" },
		{ "Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)",
		  "Thu, 13 Feb 1969 23:32:00 -0330" },
		{ "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
		  "Fri, 21 Nov 1997 09:55:06 -0600" },
		{ "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n      -0330",
		  "Thu, 13 Feb 1969 23:32:00 -0330" },
		{ "Wed Jul 17 02:44:25 1996", "Wed, 17 Jul 1996 02:44:25 +0000" },
		{ "Wed Jul 17 02:44:25 PDT 1996", "Wed, 17 Jul 1996 02:44:25 -0700" },
		{ "Wednesday, 17-Jul-96 02:44:25 GMT", "Wed, 17 Jul 1996 02:44:25 +0000" },
		{ "17-Jul-1996 02:44:25-0700", "Wed, 17 Jul 1996 02:44:25 -0700" },
		{ "17 July 1996 02:44:25 Z", "Wed, 17 Jul 1996 02:44:25 +0000" },
		{ "Wed, 17 Jul 1996 2:4:5 +0200", "Wed, 17 Jul 1996 02:04:05 +0200" },
		{ "Wed, 17 Jul 1996 02:44:25.123 +0200", "Wed, 17 Jul 1996 02:44:25 +0200" },
		{ "Wed, 17 Jul 1996 02:44:25 +02:00", "Wed, 17 Jul 1996 02:44:25 +0000" },
		{ "17 Jul 1996", "Wed, 17 Jul 1996 00:00:00 +0000" },
		{ "Mon, 31 Dec 1899 12:00:00 +0000", "Sun, 31 Dec 1899 12:00:00 +0000" },
		{ "(a (nested \\) comment)) 17 Jul 1996 02:44:25 -0000",
		  "Wed, 17 Jul 1996 02:44:25 +0000" },
		{ "", "" },
		{ "yesterday", "" },
		{ "32 Jul 1996 02:44:25 -0700", "" },
		{ "31 Jun 1996 02:44:25 -0700", "" },
		{ "29 Feb 2023 02:44:25 -0700", "" },
		{ "0 Jul 1996 02:44:25 -0700", "" },
		{ "17 Foo 1996 02:44:25 -0700", "" },
		{ "17 Jul 1996 24:44:25 -0700", "" },
		{ "17 Jul 1996 02:61:25 -0700", "" },
		{ "17 Jul 02:44:25 -0700", "" },
		{ "17 Jul 99999 02:44:25 -0700", "" },
		{ "(", "" },
		{ "-", "" },
	};
	struct buf out = BUF_MAX(256);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = exact_copy(span_str(rows[i].in));
		int64_t sec;
		int zone;

		if (mime_date_parse(in, &sec, &zone))
			mime_date_format(sec, zone, &out);
		expect_buf(rows[i].in, &out, rows[i].want);
		free_copy(in);
	}
	buf_free(&out);
}

static void test_moments(void **state)
{
	int64_t sec = 1, day;
	int zone = 1;

	(void)state;
	assert_true(mime_date_parse(SPAN("Thu, 1 Jan 1970 00:00:00 +0000"), &sec, &zone));
	assert_int_equal(sec, 0);
	assert_int_equal(zone, 0);
	assert_true(mime_date_parse(SPAN("Wed, 17 Jul 1996 02:44:25 -0700"), &sec, &zone));
	assert_int_equal(sec, 837596665);
	assert_int_equal(zone, -420);
	assert_false(mime_date_parse(SPAN("nothing"), &sec, &zone));
	assert_int_equal(sec, 837596665); /* untouched */
	assert_true(imap_day_parse(SPAN("1-Jan-1970"), &day));
	assert_int_equal(day, 0);
	assert_true(imap_day_parse(SPAN("17-jul-1996"), &day));
	assert_int_equal(day, mime_day(837596665, 0));
	/* 23:30 in the writer's zone is still that day, whatever UTC says. */
	assert_int_equal(mime_day(-1800, -60), -1);
	assert_int_equal(mime_day(-1800, 60), 0);
}

static void test_imap_dates(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "17-Jul-1996 02:44:25 -0700", "17-Jul-1996 02:44:25 -0700" },
		{ " 7-Jul-1996 02:44:25 -0700", " 7-Jul-1996 02:44:25 -0700" },
		{ "07-jul-1996 02:44:25 +0000", " 7-Jul-1996 02:44:25 +0000" },
		{ "7-Jul-1996 02:44:25 +1400", " 7-Jul-1996 02:44:25 +1400" },
		{ "01-Jan-0001 00:00:00 +0000", " 1-Jan-0001 00:00:00 +0000" },
		{ "31-Dec-9999 23:59:59 +0000", "31-Dec-9999 23:59:59 +0000" },
		{ "17-Jul-1996 02:44:25", "" },
		{ "17-Jul-1996  2:44:25 -0700", "" },
		{ "17-Jul-1996 02:44:25 0700", "" },
		{ "17-Jul-1996 02:44:25 -070", "" },
		{ "17-Jul-1996 02:44:25 -0760", "" },
		{ "17-Jul-1996 02:44:25 -07000", "" },
		{ "17-Jul-96 02:44:25 -0700", "" },
		{ "17 Jul 1996 02:44:25 -0700", "" },
		{ "17-Jux-1996 02:44:25 -0700", "" },
		{ "30-Feb-1996 02:44:25 -0700", "" },
		{ "17-Jul-1996 25:44:25 -0700", "" },
		{ "  7-Jul-1996 02:44:25 -0700", "" },
		{ "", "" },
	};
	static const char *const no_days[] = {
		"", "1-Jan-70", "1-Jan-1970 ", "32-Jan-1970", "1-Foo-1970", "Jan-1970", "1/Jan/1970"
	};
	struct buf out = BUF_MAX(256);
	int64_t day;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = exact_copy(span_str(rows[i].in));
		int64_t sec;
		int zone;

		if (imap_date_parse(in, &sec, &zone))
			imap_date_format(sec, zone, &out);
		expect_buf(rows[i].in, &out, rows[i].want);
		free_copy(in);
	}
	for (size_t i = 0; i < ROWS(no_days); i++)
		if (imap_day_parse(span_str(no_days[i]), &day))
			fail_msg("%s", no_days[i]);
	buf_free(&out);
}

/* Every day of four centuries comes back as it was written. */
static void test_every_day_round_trips(void **state)
{
	struct buf out = BUF_MAX(256);

	(void)state;
	for (int64_t day = -100000; day < 100000; day++) {
		int64_t sec;
		int zone;

		mime_date_format(day * 86400 + 4711, 150, &out);
		assert_true(mime_date_parse(buf_get(&out), &sec, &zone));
		assert_int_equal(sec, day * 86400 + 4711);
		assert_int_equal(zone, 150);
		buf_clear(&out);
		imap_date_format(day * 86400 + 4711, -90, &out);
		assert_true(imap_date_parse(buf_get(&out), &sec, &zone));
		assert_int_equal(sec, day * 86400 + 4711);
		buf_clear(&out);
	}
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mail_dates_are_read),
		cmocka_unit_test(test_moments),
		cmocka_unit_test(test_imap_dates),
		cmocka_unit_test(test_every_day_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
