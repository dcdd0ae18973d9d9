/* uset: rows by hand, then random operations against a model of one bit per number. */
#include "base/uset.h"
#include "rows.h"

static void check_shape(const struct uset *s)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < s->nruns; i++) {
		assert_true(s->runs[i].first >= 1 && s->runs[i].first <= s->runs[i].last);
		if (i)
			assert_true(s->runs[i].first > (uint64_t)s->runs[i - 1].last + 1);
		count += (uint64_t)s->runs[i].last - s->runs[i].first + 1;
	}
	assert_int_equal(count, s->count);
}

static void expect_text(const struct uset *s, const char *want)
{
	struct buf b = BUF_MAX(100000);

	check_shape(s);
	uset_text(s, &b);
	if (!span_eq(buf_get(&b), span_str(want)))
		fail_msg("got " SPAN_FMT ", not %s", SPAN_ARG(buf_get(&b)), want);
	buf_free(&b);
}

static void runs_join_and_split(void **state)
{
	static const struct {
		char op;
		uint32_t first, last;
		const char *want;
	} rows[] = {
		{ '+', 5, 7, "5:7" },
		{ '+', 9, 9, "5:7,9" },
		{ '+', 8, 8, "5:9" },
		{ '+', 1, 3, "1:3,5:9" },
		{ '+', 4, 4, "1:9" },
		{ '+', 2, 5, "1:9" },
		{ '-', 5, 5, "1:4,6:9" },
		{ '-', 1, 1, "2:4,6:9" },
		{ '-', 4, 7, "2:3,8:9" },
		{ '-', 10, 99, "2:3,8:9" },
		{ '+', UINT32_MAX, UINT32_MAX, "2:3,8:9,4294967295" },
		{ '+', UINT32_MAX - 1, UINT32_MAX - 1, "2:3,8:9,4294967294:4294967295" },
		{ '-', 3, UINT32_MAX - 1, "2,4294967295" },
		{ '-', UINT32_MAX, UINT32_MAX, "2" },
		{ '-', 1, UINT32_MAX, "" },
		{ '-', 1, 1, "" },
		{ '+', 1, UINT32_MAX, "1:4294967295" },
	};
	struct uset s = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal((rows[i].op == '+' ? uset_add : uset_remove)(&s, rows[i].first,
									      rows[i].last),
				 ST_OK);
		expect_text(&s, rows[i].want);
	}
	assert_int_equal(s.count, UINT32_MAX);
	uset_free(&s);
	assert_true(!s.runs && !s.nruns && !s.count);
}

static void positions_are_counted(void **state)
{
	struct uset s = { 0 };

	(void)state;
	uset_add(&s, 3, 5);
	uset_add(&s, 10, 10);
	uset_add(&s, 20, 29);
	assert_int_equal(uset_rank(&s, 3), 1);
	assert_int_equal(uset_rank(&s, 10), 4);
	assert_int_equal(uset_rank(&s, 29), 14);
	assert_int_equal(uset_rank(&s, 11), 0);
	assert_int_equal(uset_at(&s, 4), 10);
	assert_int_equal(uset_at(&s, 14), 29);
	assert_int_equal(uset_at(&s, 0), 0);
	assert_int_equal(uset_at(&s, 15), 0);
	assert_int_equal(uset_count_upto(&s, 2), 0);
	assert_int_equal(uset_count_upto(&s, 19), 4);
	assert_int_equal(uset_count_upto(&s, UINT32_MAX), 14);
	assert_int_equal(uset_next(&s, 1), 3);
	assert_int_equal(uset_next(&s, 5), 5);
	assert_int_equal(uset_next(&s, 6), 10);
	assert_int_equal(uset_next(&s, 30), 0);
	assert_int_equal(uset_max(&s), 29);
	uset_free(&s);
	assert_int_equal(uset_max(&s), 0);
	assert_false(uset_has(&s, 0));
}

/* ---- against a model ---- */

#define SPACE 200

struct model {
	bool has[SPACE + 1];
};

static void compare(const struct uset *s, const struct model *m)
{
	uint32_t rank = 0, max = 0;

	check_shape(s);
	for (uint32_t n = 1; n <= SPACE; n++) {
		assert_int_equal(uset_has(s, n), m->has[n]);
		if (m->has[n]) {
			rank++;
			max = n;
			assert_int_equal(uset_at(s, rank), n);
		}
		assert_int_equal(uset_rank(s, n), m->has[n] ? rank : 0);
		assert_int_equal(uset_count_upto(s, n), rank);
	}
	assert_int_equal(s->count, rank);
	assert_int_equal(uset_max(s), max);
}

static void change(struct uset *s, struct model *m)
{
	uint32_t a = 1 + (uint32_t)rand() % SPACE, b = a + (uint32_t)rand() % 12;
	bool add = rand() % 2;

	if (b > SPACE)
		b = SPACE;
	assert_int_equal((add ? uset_add : uset_remove)(s, a, b), ST_OK);
	for (uint32_t n = a; n <= b; n++)
		m->has[n] = add;
}

static void check_pairs(const struct uset *a, const struct model *ma, const struct uset *b,
			const struct model *mb)
{
	struct uset both = { 0 }, less = { 0 }, all = { 0 };
	struct model m_both, m_less, m_all;

	for (uint32_t n = 0; n <= SPACE; n++) {
		m_both.has[n] = ma->has[n] && mb->has[n];
		m_less.has[n] = ma->has[n] && !mb->has[n];
		m_all.has[n] = ma->has[n] || mb->has[n];
	}
	assert_int_equal(uset_and(a, b, &both), ST_OK);
	assert_int_equal(uset_minus(a, b, &less), ST_OK);
	assert_int_equal(uset_copy(a, &all), ST_OK);
	assert_int_equal(uset_or_into(&all, b), ST_OK);
	compare(&both, &m_both);
	compare(&less, &m_less);
	compare(&all, &m_all);
	uset_free(&both);
	uset_free(&less);
	uset_free(&all);
}

static void check_bytes(const struct uset *s, const struct model *m)
{
	struct buf b = BUF_MAX(10000);
	struct uset again = { 0 };

	uset_write(s, &b);
	assert_int_equal(uset_read(buf_get(&b), &again, NULL), ST_OK);
	compare(&again, m);
	uset_free(&again);
	buf_free(&b);
}

static void random_changes_match_the_model(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 40; round++) {
		struct uset a = { 0 }, b = { 0 };
		struct model ma = { 0 }, mb = { 0 };

		for (int step = 0; step < 60; step++) {
			change(&a, &ma);
			change(&b, &mb);
			compare(&a, &ma);
		}
		check_pairs(&a, &ma, &b, &mb);
		check_bytes(&a, &ma);
		uset_free(&a);
		uset_free(&b);
	}
}

/* ---- limits and bad bytes ---- */

static void too_many_runs_change_nothing(void **state)
{
	struct uset s = { .max_runs = 2 }, other = { 0 }, out = { .max_runs = 1 };

	(void)state;
	assert_int_equal(uset_add(&s, 1, 9), ST_OK);
	assert_int_equal(uset_add(&s, 20, 29), ST_OK);
	assert_int_equal(uset_add(&s, 40, 49), ST_TOOBIG);
	assert_int_equal(uset_remove(&s, 5, 5), ST_TOOBIG);
	expect_text(&s, "1:9,20:29");
	uset_add(&other, 30, 30);
	assert_int_equal(uset_or_into(&s, &other), ST_OK); /* touches */
	uset_add(&other, 50, 50);
	assert_int_equal(uset_or_into(&s, &other), ST_TOOBIG);
	expect_text(&s, "1:9,20:30");
	assert_int_equal(uset_and(&s, &s, &out), ST_TOOBIG);
	expect_text(&out, "");
	assert_int_equal(uset_copy(&s, &out), ST_TOOBIG);
	expect_text(&out, "");
	uset_free(&other);
	uset_free(&s);
}

static void bytes_that_are_no_set_are_refused(void **state)
{
	static const struct {
		const char *name;
		struct span bytes;
		const char *want; /* NULL: refused */
	} rows[] = {
		{ "nothing", SPAN_INIT(""), "" },
		{ "one", SPAN_INIT("\0\0"), "1" },
		{ "two runs", SPAN_INIT("\x02\x01\x01\x00"), "3:4,6" },
		{ "the largest", SPAN_INIT("\xfe\xff\xff\xff\x0f\x00"), "4294967295" },
		{ "all of them", SPAN_INIT("\x00\xfe\xff\xff\xff\x0f"), "1:4294967295" },
		{ "half a run", SPAN_INIT("\x02"), NULL },
		{ "half a number", SPAN_INIT("\x80"), NULL },
		{ "runs that touch", SPAN_INIT("\x02\x01\x00\x00"), NULL },
		{ "past the end", SPAN_INIT("\xff\xff\xff\xff\x0f\x00"), NULL },
		{ "a length past the end", SPAN_INIT("\x01\xfe\xff\xff\xff\x0f"), NULL },
		{ "over 32 bits", SPAN_INIT("\xff\xff\xff\xff\x1f\x00"), NULL },
		{ "six bytes", SPAN_INIT("\x80\x80\x80\x80\x80\x00\x00"), NULL },
		{ "not the shortest form", SPAN_INIT("\x80\x00\x00"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct uset s = { 0 };
		struct err err;
		enum st st = uset_read(rows[i].bytes, &s, &err);

		if (st != (rows[i].want ? ST_OK : ST_BAD))
			fail_msg("%s: %s", rows[i].name, st_name(st));
		expect_text(&s, rows[i].want ? rows[i].want : "");
		uset_free(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_join_and_split),
		cmocka_unit_test(positions_are_counted),
		cmocka_unit_test(random_changes_match_the_model),
		cmocka_unit_test(too_many_runs_change_nothing),
		cmocka_unit_test(bytes_that_are_no_set_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
