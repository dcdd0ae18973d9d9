/* Waiting notifications: the newest value of each token, each once, in order of first wait. */
#include "exipc/notes.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void the_newest_value_wins(void **state)
{
	struct notes n = { 0 };
	struct note out;

	(void)state;
	assert_false(notes_take(&n, &out));
	assert_int_equal(notes_set(&n, 7, 1), ST_OK);
	assert_int_equal(notes_set(&n, 8, 2), ST_OK);
	assert_int_equal(notes_set(&n, 7, 3), ST_OK);
	assert_int_equal(notes_waiting(&n), 2);
	assert_true(notes_take(&n, &out));
	assert_int_equal(out.token, 7);
	assert_int_equal(out.value, 3);
	/* Taken is taken: a new value waits anew, behind the others. */
	assert_int_equal(notes_set(&n, 7, 4), ST_OK);
	assert_true(notes_take(&n, &out));
	assert_int_equal(out.token, 8);
	assert_true(notes_take(&n, &out));
	assert_int_equal(out.token, 7);
	assert_int_equal(out.value, 4);
	assert_false(notes_take(&n, &out));
	notes_drop(&n);
}

static void as_many_as_there_may_be(void **state)
{
	struct notes n = { 0 };
	struct note out;

	(void)state;
	for (uint64_t t = 0; t < NOTES_MAX; t++)
		assert_int_equal(notes_set(&n, t << 40, t), ST_OK);
	assert_int_equal(notes_set(&n, 1, 1), ST_TOOBIG);
	assert_int_equal(notes_set(&n, 5ULL << 40, 99), ST_OK);
	for (uint64_t t = 0; t < NOTES_MAX; t++) {
		assert_true(notes_take(&n, &out));
		assert_int_equal(out.token, t << 40);
		assert_int_equal(out.value, t == 5 ? 99 : t);
	}
	assert_false(notes_take(&n, &out));
	assert_null(n.at); /* a burst's memory went back */
	notes_drop(&n);
}

static void none_is_lost_whatever_the_order(void **state)
{
	enum { TOKENS = 500 };
	static uint64_t want[TOKENS];
	static bool waits[TOKENS];
	struct notes n = { 0 };
	unsigned seed = 1, waiting = 0;
	struct note out;

	(void)state;
	for (uint64_t step = 1; step < 200000; step++) {
		unsigned dice = (unsigned)rand_r(&seed),
			 t = dice / 8 % (step / 20000 % 2 ? TOKENS : 9);

		if (dice % 8 < 4) {
			assert_int_equal(notes_set(&n, t * 0x100000001ULL, step), ST_OK);
			waiting += !waits[t];
			waits[t] = true;
			want[t] = step;
		} else {
			assert_int_equal(notes_take(&n, &out), waiting > 0);
			if (!waiting)
				continue;
			t = (unsigned)(out.token & 0xffffffff);
			assert_true(waits[t]);
			assert_int_equal(out.value, want[t]);
			waits[t] = false;
			waiting--;
		}
		assert_int_equal(notes_waiting(&n), waiting);
	}
	notes_drop(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_value_wins),
		cmocka_unit_test(as_many_as_there_may_be),
		cmocka_unit_test(none_is_lost_whatever_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
