/* Slow senders, on a clock that the rows tell. */
#include "base/clock.h"
#include "inet/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const struct {
	const char *name;
	uint64_t least;
	struct {
		int64_t at_s;
		size_t octets;
		bool ok;
	} steps[6];
} rows[] = {
	{ "fast enough", 100, { { 1, 3000, true }, { 31, 3000, true }, { 61, 1, true } } },
	{ "an octet too few", 100, { { 1, 2999, true }, { 31, 3000, true }, { 61, 0, false } } },
	{ "the first minute is never too slow", 100, { { 1, 0, true }, { 60, 1, true } } },
	{ "a pause after much is none",
	  100,
	  { { 1, 1, true }, { 2, 6000, true }, { 90, 1, true } } },
	{ "an octet now and then", 100, { { 1, 1, true }, { 30, 1, true }, { 61, 1, false } } },
	{ "a new minute begins anew",
	  100,
	  { { 1, 100000, true }, { 61, 1, true }, { 91, 1, true }, { 121, 1, false } } },
	{ "no limit", 0, { { 1, 1, true }, { 1000, 1, true }, { 5000, 0, true } } },
};

static void paces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct inet_pace p = { 0 };

		for (size_t s = 0; s < 6 && rows[i].steps[s].at_s; s++) {
			bool ok = inet_pace(&p, rows[i].steps[s].octets, rows[i].least,
					    rows[i].steps[s].at_s * NS_PER_SEC);

			if (ok != rows[i].steps[s].ok)
				fail_msg("%s: step %zu", rows[i].name, s);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(paces) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
