/* test_space.c - pages: nobody gets one that is somebody's, what is given back is used again, pins hold. */
#include "ese/pins.h"
#include "ese/space.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static uint64_t grown, limit;

static enum st grow(void *arg, uint64_t pages, struct err *err)
{
	(void)arg;
	if (pages > limit)
		return (fail)(err, ST_NOSPACE, "no more");
	grown = pages;
	return ST_OK;
}

static struct space *fresh(uint64_t max)
{
	struct space *s = space_new(grow, NULL);

	limit = max;
	grown = 0;
	assert_non_null(s);
	space_begin(s);
	return s;
}

static void reserved_pages_are_nobody_elses(void **state)
{
	static unsigned char taken[100000];
	struct space *s = fresh(100000);
	uint32_t x = 1, all = 0;
	struct run r;

	(void)state;
	memset(taken, 0, sizeof(taken));
	while (all < 50000) {
		x = x * 1103515245 + 12345;
		assert_int_equal(space_reserve(s, 1 + (x >> 16) % 40, 0, &r, NULL), ST_OK);
		assert_true(r.pages >= 1 && r.page + r.pages <= grown);
		for (uint32_t i = 0; i < r.pages; i++)
			assert_int_equal(taken[r.page + i]++, 0);
		all += r.pages;
		if ((x >> 8) % 3 == 0) {
			for (uint32_t i = 0; i < r.pages; i++)
				taken[r.page + i] = 0;
			space_release(s, r.page, r.pages);
		}
	}
	space_free(s);
}

static void a_run_goes_on_where_it_was_if_it_can(void **state)
{
	struct space *s = fresh(100000);
	struct run a, b, c;

	(void)state;
	assert_int_equal(space_reserve(s, 16, 0, &a, NULL), ST_OK);
	assert_int_equal(space_reserve(s, 16, a.page + 16, &b, NULL), ST_OK);
	assert_int_equal(b.page, a.page + 16);
	assert_int_equal(space_reserve(s, 16, a.page + 16, &c, NULL), ST_OK);
	assert_int_not_equal(c.page, b.page);
	space_free(s);
}

static void the_last_page_can_be_had_and_then_it_is_full(void **state)
{
	struct space *s = fresh(512);
	struct space_counts n;
	uint32_t all = 0;
	struct run r;
	struct err err;

	(void)state;
	while (all < 512) {
		assert_int_equal(space_reserve(s, 7, 0, &r, &err), ST_OK);
		all += r.pages;
	}
	assert_int_equal(space_reserve(s, 1, 0, &r, &err), ST_NOSPACE);
	space_release(s, 511, 1);
	assert_int_equal(space_reserve(s, 5, 0, &r, &err), ST_OK);
	assert_int_equal(r.page, 511);
	assert_int_equal(r.pages, 1);
	space_count(s, &n);
	assert_int_equal(n.free, 0);
	space_free(s);
}

static void rows_tell_what_is_committed_and_nothing_else(void **state)
{
	struct space *s = fresh(100000), *again;
	unsigned char row[SPACE_ROW];
	struct space_counts n;
	uint32_t chunk, rows = 0;
	struct run r;

	(void)state;
	assert_int_equal(space_reserve(s, 100, 0, &r, NULL), ST_OK); /* a crash frees these */
	assert_int_equal(space_commit(s, 510, 4, NULL), ST_OK);      /* over a border */
	assert_int_equal(space_commit(s, 1000, 1, NULL), ST_OK);
	space_delete(s, 1000, 1);
	again = space_new(grow, NULL);
	assert_int_equal(space_extend(again, 1024, NULL), ST_OK);
	while (space_dirty(s, &chunk, row)) {
		assert_int_equal(space_load(again, chunk, row, NULL), ST_OK);
		rows++;
	}
	assert_int_equal(rows, 2);
	assert_false(space_dirty(s, &chunk, row));
	space_begin(again);
	space_count(again, &n);
	assert_int_equal(n.total, 1024);
	assert_int_equal(n.committed, 4);
	assert_int_equal(n.free, 1020);
	for (uint32_t all = 0; all < 1020; all += r.pages) {
		assert_int_equal(space_reserve(again, 50, 0, &r, NULL), ST_OK);
		assert_true(r.page + r.pages <= 510 || r.page >= 514);
	}
	space_free(again);
	space_free(s);
}

static uint64_t free_pages(struct space *s)
{
	struct space_counts n;

	space_count(s, &n);
	return n.free;
}

static void deleted_pages_wait_for_every_older_pin(void **state)
{
	struct space *s = fresh(256);
	struct pins *p = pins_new(s);
	uint64_t a, b, c;

	(void)state;
	assert_int_equal(space_commit(s, 0, 256, NULL), ST_OK);
	assert_int_equal(free_pages(s), 0);
	pins_defer(p, 0, 1); /* nobody reads */
	assert_int_equal(free_pages(s), 1);
	a = pins_take(p);
	pins_defer(p, 1, 1);
	b = pins_take(p);
	pins_defer(p, 2, 1);
	c = pins_take(p);
	assert_int_equal(free_pages(s), 1);
	pins_drop(p, b); /* page 2 still waits for a */
	assert_int_equal(free_pages(s), 1);
	pins_drop(p, a);
	assert_int_equal(free_pages(s), 3);
	pins_defer(p, 3, 1);
	assert_int_equal(free_pages(s), 3);
	pins_drop(p, c);
	assert_int_equal(free_pages(s), 4);
	assert_int_equal(pins_count(p), 0);
	pins_free(p);
	space_free(s);
}

static void many_epochs_of_pins(void **state)
{
	struct space *s = fresh(1000);
	struct pins *p = pins_new(s);
	uint64_t pins[200];

	(void)state;
	assert_int_equal(space_commit(s, 0, 1000, NULL), ST_OK);
	for (uint32_t i = 0; i < 200; i++) {
		pins[i] = pins_take(p);
		pins_defer(p, i, 1);
	}
	assert_int_equal(free_pages(s), 0);
	for (uint32_t i = 199; i > 0; i--)
		pins_drop(p, pins[i]);
	assert_int_equal(free_pages(s), 0);
	pins_drop(p, pins[0]);
	assert_int_equal(free_pages(s), 200);
	pins_free(p);
	space_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reserved_pages_are_nobody_elses),
		cmocka_unit_test(a_run_goes_on_where_it_was_if_it_can),
		cmocka_unit_test(the_last_page_can_be_had_and_then_it_is_full),
		cmocka_unit_test(rows_tell_what_is_committed_and_nothing_else),
		cmocka_unit_test(deleted_pages_wait_for_every_older_pin),
		cmocka_unit_test(many_epochs_of_pins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
