/* Limits per client address. */
#include "inet/ips.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static int64_t now = NS_PER_SEC;

static int64_t test_mono(void)
{
	return now;
}

static struct in6_addr address(const char *text)
{
	struct in6_addr a;

	assert_int_equal(inet_pton(AF_INET6, text, &a), 1);
	return a;
}

static void connections_at_a_time(void **state)
{
	const struct inet_ips_limits limits = { .connections = 2 };
	struct inet_ips *ips = ips_new(&limits);
	struct in6_addr a = address("::ffff:192.0.2.1"), b = address("::ffff:192.0.2.2");

	(void)state;
	assert_true(ips_enter(ips, &a));
	assert_true(ips_enter(ips, &a));
	assert_false(ips_enter(ips, &a));
	assert_true(ips_enter(ips, &b));
	ips_leave(ips, &a);
	assert_true(ips_enter(ips, &a));
	assert_int_equal(ips_count(ips), 2);
	ips_leave(ips, &a);
	ips_leave(ips, &a);
	ips_leave(ips, &b);
	assert_int_equal(ips_count(ips), 0);
	ips_free(ips);
}

static void one_customer_is_a_slash_64(void **state)
{
	const struct inet_ips_limits limits = { .connections = 1 };
	struct inet_ips *ips = ips_new(&limits);
	struct in6_addr a = address("2001:db8:1:2::1"), same = address("2001:db8:1:2:ff::9"),
			other = address("2001:db8:1:3::1");

	(void)state;
	assert_true(ips_enter(ips, &a));
	assert_false(ips_enter(ips, &same));
	assert_true(ips_enter(ips, &other));
	ips_leave(ips, &same);
	assert_true(ips_enter(ips, &a));
	ips_free(ips);
}

static void rates_hold_for_a_minute(void **state)
{
	const struct inet_ips_limits limits = {
		.rates = { [INET_RATE_CONNECTS] = 2, [INET_RATE_MESSAGES] = 1 },
	};
	struct inet_ips *ips = ips_new(&limits);
	struct in6_addr a = address("::ffff:192.0.2.1");

	(void)state;
	assert_true(ips_enter(ips, &a));
	ips_leave(ips, &a);
	assert_true(ips_enter(ips, &a));
	ips_leave(ips, &a);
	assert_false(ips_enter(ips, &a));
	assert_true(ips_take(ips, &a, INET_RATE_MESSAGES));
	assert_false(ips_take(ips, &a, INET_RATE_MESSAGES));
	assert_true(ips_take(ips, &a, INET_RATE_RECIPIENTS)); /* no limit */
	now += 60 * NS_PER_SEC;
	assert_true(ips_enter(ips, &a));
	assert_true(ips_take(ips, &a, INET_RATE_MESSAGES));
	ips_free(ips);
}

static void quiet_addresses_are_forgotten(void **state)
{
	const struct inet_ips_limits limits = { .rates = { [INET_RATE_CONNECTS] = 5 } };
	struct inet_ips *ips = ips_new(&limits);

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		char text[64];
		struct in6_addr a;

		snprintf(text, sizeof(text), "::ffff:10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		a = address(text);
		assert_true(ips_enter(ips, &a));
		ips_leave(ips, &a);
		now += NS_PER_SEC / 10; /* 600 addresses a minute */
	}
	assert_in_range(ips_count(ips), 600, 2048);
	ips_free(ips);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_at_a_time),
		cmocka_unit_test(one_customer_is_a_slash_64),
		cmocka_unit_test(rates_hold_for_a_minute),
		cmocka_unit_test(quiet_addresses_are_forgotten),
	};
	const struct clock_seam seam = { .mono = test_mono };

	clock_set_seam(&seam);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
