/* test_disk.c - when a disk counts as low, full, and well again. */
#include "base/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail

#define MIB (1024 * 1024ull)

static const struct {
	const char *what, *settings;
	uint64_t total, free;
	enum disk_state before, want;
} rows[] = {
	{ "plenty", "disk_warn_bytes = 100\n", 1000 * MIB, 900 * MIB, DISK_OK, DISK_OK },
	{ "below the bytes", "disk_warn_bytes = 209715200\ndisk_warn_percent = 0\n", 1000 * MIB,
	  199 * MIB, DISK_OK, DISK_LOW },
	{ "at the bytes", "disk_warn_bytes = 209715200\ndisk_warn_percent = 0\n", 1000 * MIB,
	  200 * MIB, DISK_OK, DISK_OK },
	{ "low stays low until there is a sixteenth more",
	  "disk_warn_bytes = 209715200\ndisk_warn_percent = 0\n", 1000 * MIB, 212 * MIB, DISK_LOW,
	  DISK_LOW },
	{ "well again", "disk_warn_bytes = 209715200\ndisk_warn_percent = 0\n", 1000 * MIB,
	  213 * MIB, DISK_LOW, DISK_OK },
	{ "below the percent", "disk_warn_bytes = 0\ndisk_warn_percent = 10\n", 1000 * MIB,
	  99 * MIB, DISK_OK, DISK_LOW },
	{ "the larger counts", "disk_warn_bytes = 1048576\ndisk_warn_percent = 10\n", 1000 * MIB,
	  99 * MIB, DISK_OK, DISK_LOW },
	{ "below the reserve", "disk_reserve_bytes = 67108864\n", 1000 * MIB, 63 * MIB, DISK_LOW,
	  DISK_FULL },
	{ "a small disk is not low when it is half empty", "disk_warn_bytes = 1073741824\n",
	  200 * MIB, 101 * MIB, DISK_OK, DISK_OK },
	{ "no warning is asked for",
	  "disk_warn_bytes = 0\ndisk_warn_percent = 0\ndisk_reserve_bytes = 0\n", 1000 * MIB, 0,
	  DISK_OK, DISK_OK },
};

static void judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct disk_view v = { .free = rows[i].free, .total = rows[i].total };
		struct config *c;
		struct err err;

		assert_int_equal(config_parse("/tmp", "test", span_str(rows[i].settings), &c, &err),
				 ST_OK);
		disk_judge(c, rows[i].before, &v);
		if (v.state != rows[i].want)
			print_error("%s: %s\n", rows[i].what, disk_state_name(v.state));
		assert_int_equal(v.state, rows[i].want);
		config_free(c);
	}
}

static void looked_at(void **state)
{
	struct disk_view v;
	struct config *c;
	struct err err;

	(void)state;
	assert_int_equal(config_parse("/tmp", "test", SPAN(""), &c, &err), ST_OK);
	assert_int_equal(disk_look(c, "/tmp", &v, &err), ST_OK);
	assert_true(v.total >= v.free && v.total > 0);
	assert_int_equal(disk_look(c, "/tmp/is/not/there", &v, &err), ST_IO);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(judged), cmocka_unit_test(looked_at) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
