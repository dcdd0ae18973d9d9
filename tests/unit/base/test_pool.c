/* pool, clock, crc32c. */
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/pool.h"
#include "rows.h"

static void a_pool_goes_back_to_its_mark(void **state)
{
	struct pool *p = pool_new("test", 1024 * 1024);

	(void)state;
	char *keep = pool_cstr(p, SPAN("kept"));
	size_t mark = pool_mark(p), used = pool_used(p);
	for (int round = 0; round < 3; round++) {
		for (size_t n = 0; n < 3000; n += 37) {
			unsigned char *at = pool_get(p, n);

			assert_non_null(at);
			assert_int_equal((uintptr_t)at % 16, 0);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(at[i], 0);
			memset(at, 0xAA, n);
		}
		assert_true(pool_used(p) > used);
		pool_back(p, mark);
		assert_int_equal(pool_used(p), used);
		assert_string_equal(keep, "kept");
	}
	pool_back(p, 0);
	assert_int_equal(pool_used(p), 0);
	pool_free(p);
	pool_free(NULL);
}

static void a_full_pool_says_no_and_stays_as_it_was(void **state)
{
	struct pool *p = pool_new("test", 160);

	(void)state;
	assert_non_null(pool_get(p, 100)); /* counts as 112 */
	assert_null(pool_get(p, 49));
	assert_null(pool_get(p, SIZE_MAX));
	assert_null(pool_get(p, 161));
	assert_int_equal(pool_used(p), 112);
	assert_non_null(pool_get(p, 48));
	assert_null(pool_get(p, 0)); /* every allocation has an address of its own */
	struct span s = pool_span(p, SPAN("x"));
	assert_null(s.at);
	assert_null(pool_cstr(p, SPAN("x")));
	assert_null(pool_printf(p, "%d", 1));
	assert_null(pool_dup(p, "x", 1));
	pool_back(p, 112);
	assert_string_equal(pool_printf(p, "%d %s", 12, "ab"), "12 ab");
	pool_free(p);
}

static void pools_copy(void **state)
{
	struct pool *p = pool_new("test", 100000);
	char big[20000];

	(void)state;
	memset(big, 'b', sizeof(big));
	struct span s = pool_span(p, span_of(big, sizeof(big)));
	assert_int_equal(s.len, sizeof(big));
	assert_memory_equal(s.at, big, sizeof(big));
	assert_true(pool_span(p, SPAN("")).at != NULL);
	assert_string_equal(pool_cstr(p, SPAN("a\0b")), "a");
	assert_string_equal(pool_cstr(p, SPAN_NONE), "");
	assert_memory_equal(pool_dup(p, "abc", 3), "abc", 3);
	size_t mark = pool_mark(p);
	assert_null(pool_span(p, span_of(big, 90000)).at);
	assert_int_equal(pool_mark(p), mark);
	pool_free(p);
}

static int64_t half_past(void)
{
	return 1800 * NS_PER_SEC;
}

static void all_sevens(void *out, size_t len)
{
	memset(out, 7, len);
}

static void the_clock_can_be_set(void **state)
{
	struct clock_seam seam = { .mono = half_past, .random = all_sevens };

	(void)state;
	int64_t before = clock_mono();
	assert_true(clock_mono() >= before);
	assert_true(clock_real() > 1700000000 * NS_PER_SEC);
	assert_true(random_u64() != random_u64());
	clock_set_seam(&seam);
	assert_int_equal(clock_mono(), 1800 * NS_PER_SEC);
	assert_int_equal(deadline_in_ms(5), 1800 * NS_PER_SEC + 5 * NS_PER_MS);
	assert_true(clock_real() > 1700000000 * NS_PER_SEC);
	assert_true(random_u64() == 0x0707070707070707);
	clock_set_seam(NULL);
	assert_true(clock_mono() != 1800 * NS_PER_SEC);
}

static void crc32c_gives_the_published_values(void **state)
{
	/* RFC 3720 appendix B.4 */
	unsigned char zeros[32] = { 0 }, ones[32], up[32], down[32];
	static const unsigned char read_command[48] = {
		0x01,        0xc0,        [16] = 0x14, [22] = 0x04,
		[27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (unsigned char i = 0; i < 32; i++) {
		up[i] = i;
		down[i] = (unsigned char)(31 - i);
	}
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
	assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
	assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, down, 32), 0x113fdb5c);
	assert_int_equal(crc32c(0, read_command, 48), 0xd9963a56);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void both_ways_to_crc_agree_at_any_split(void **state)
{
	unsigned char bytes[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 131 + 7);
	for (size_t len = 0; len <= sizeof(bytes); len += 7) {
		uint32_t whole = crc32c(0, bytes, len);

		assert_int_equal(crc32c_by_table(0, bytes, len), whole);
		for (size_t split = 0; split <= len; split += 5) {
			uint32_t crc = crc32c(0, bytes, split);

			assert_int_equal(crc32c_by_table(crc, bytes + split, len - split), whole);
			assert_int_equal(crc32c(crc, bytes + split, len - split), whole);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_goes_back_to_its_mark),
		cmocka_unit_test(a_full_pool_says_no_and_stays_as_it_was),
		cmocka_unit_test(pools_copy),
		cmocka_unit_test(the_clock_can_be_set),
		cmocka_unit_test(crc32c_gives_the_published_values),
		cmocka_unit_test(both_ways_to_crc_agree_at_any_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
