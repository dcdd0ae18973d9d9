/* Moments as text. */
#include "base/timetext.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

struct row {
	const char *name, *text;
	int64_t seconds, ns; /* -1: refused */
};

static const struct row rows[] = {
	{ "a day is its first moment, local time", "2026-11-21", 1795215600, 0 },
	{ "hours and minutes, local time", "2026-11-21T10:30", 1795253400, 0 },
	{ "a blank instead of T", "2026-11-21 10:30:05", 1795253405, 0 },
	{ "summer time", "2026-07-01T12:00:00", 1782900000, 0 },
	{ "UTC", "2026-11-21T10:30:05Z", 1795257005, 0 },
	{ "an offset to the east", "2026-11-21T10:30:05+02:00", 1795249805, 0 },
	{ "an offset to the west", "2026-11-21T10:30:05-05:30", 1795276805, 0 },
	{ "nanoseconds", "2026-11-21T10:30:05.123456789Z", 1795257005, 123456789 },
	{ "a quarter of a second", "2026-11-21T10:30:05.25Z", 1795257005, 250000000 },
	{ "the 29th of February", "2028-02-29T00:00:00Z", 1835395200, 0 },
	{ "no 29th of February", "2026-02-29", -1, 0 },
	{ "no 31st of April", "2026-04-31Z", -1, 0 },
	{ "nothing", "", -1, 0 },
	{ "words", "yesterday", -1, 0 },
	{ "a short year", "26-11-21", -1, 0 },
	{ "hour 24", "2026-11-21T24:00", -1, 0 },
	{ "half an hour without minutes", "2026-11-21T10", -1, 0 },
	{ "a point without digits", "2026-11-21T10:30:05.Z", -1, 0 },
	{ "something behind it", "2026-11-21T10:30:05Zx", -1, 0 },
	{ "a year too far", "2201-01-01", -1, 0 },
};

static void reads(void **state)
{
	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct err err;
		int64_t ns = 7;
		enum st st = time_read(span_str(r->text), &ns, &err);

		if (r->seconds < 0) {
			if (st != ST_BAD || ns != 7)
				fail_msg("%s: accepted", r->name);
		} else if (st != ST_OK || ns != r->seconds * NS_PER_SEC + r->ns) {
			fail_msg("%s: %lld", r->name, (long long)(ns / NS_PER_SEC));
		}
	}
}

/* No prefix of a good text crashes, and what is accepted is written and read back. */
static void cut_at_every_byte(void **state)
{
	static const char text[] = "2026-11-21T10:30:05.123456789Z";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char again[TIME_TEXT];
		int64_t ns, back;
		struct err err;

		if (time_read(span_of(text, n), &ns, &err) != ST_OK)
			continue;
		assert_int_equal(time_read(span_str(time_write(again, ns, 9)), &back, &err), ST_OK);
		assert_int_equal(ns, back);
	}
}

static void writes(void **state)
{
	char text[TIME_TEXT];

	(void)state;
	assert_string_equal(time_write(text, 1795257005 * NS_PER_SEC + 123456789, 0),
			    "2026-11-21T10:30:05Z");
	assert_string_equal(time_write(text, 1795257005 * NS_PER_SEC + 123456789, 3),
			    "2026-11-21T10:30:05.123Z");
	assert_string_equal(time_write(text, -1, 9), "1969-12-31T23:59:59.999999999Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
