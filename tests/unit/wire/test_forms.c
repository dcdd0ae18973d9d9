/* The list of requests, search programs and scatter lists as bytes. */
#include "wire/search.h"
#include "wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#undef fail

static void every_request_has_its_number(void **state)
{
	(void)state;
	for (size_t i = 0; i < wire_nrows; i++) {
		assert_true(wire_rows[i].number > 0 && wire_rows[i].number < WIRE_OP_MAX);
		assert_ptr_equal(wire_find(wire_rows[i].number), &wire_rows[i]);
		assert_true(wire_rows[i].roles != 0);
	}
	assert_null(wire_find(0));
	assert_null(wire_find(WIRE_OP_MAX));
}

/* ---- searches ---- */

static struct search_node nodes[SEARCH_NODES_MAX];

/* Serialized the same again: the tree that was read is the tree that was written. */
static void round_trip(const struct search_node *root)
{
	struct buf a = BUF_MAX(70000), b = BUF_MAX(70000);
	const struct search_node *back;
	struct err err;

	assert_int_equal(search_write(root, &a, &err), ST_OK);
	assert_int_equal(search_read(buf_get(&a), nodes, SEARCH_NODES_MAX, &back, &err), ST_OK);
	assert_int_equal(search_write(back, &b, &err), ST_OK);
	assert_true(span_eq(buf_get(&a), buf_get(&b)));
	/* Cut anywhere it is no program, and neither with a byte more. */
	for (size_t i = 0; i < a.len; i++)
		assert_int_not_equal(
			search_read(span_of(a.at, i), nodes, SEARCH_NODES_MAX, &back, &err), ST_OK);
	buf_char(&a, 1);
	assert_int_equal(search_read(buf_get(&a), nodes, SEARCH_NODES_MAX, &back, &err), ST_BAD);
	buf_free(&a);
	buf_free(&b);
}

static void searches_come_back(void **state)
{
	struct search_node flag = { .op = S_FLAG, .num = MF_SEEN };
	struct search_node text = { .op = S_TEXT, .text = SPAN("w\xc3\xb6rld"), .next = &flag };
	struct search_node head = {
		.op = S_HEADER, .name = SPAN("X-Spam"), .text = SPAN(""), .next = &text
	};
	struct search_node both = { .op = S_AND, .kids = &head };
	struct search_node not = { .op = S_NOT, .kids = &both };
	struct search_node all = { .op = S_ALL, .next = &not };
	struct search_node either = { .op = S_OR, .kids = &all };

	(void)state;
	round_trip(&all);
	round_trip(&either);
	round_trip(&text);
}

static void wrong_searches_are_refused(void **state)
{
	static struct search_node chain[SEARCH_DEPTH_MAX + 1];
	struct search_node one = { .op = S_ALL };
	struct search_node pair = { .op = S_ALL, .next = &one };
	struct buf out = BUF_MAX(70000), small = BUF_MAX(3);
	const struct search_node *root;
	static const struct {
		const char *name;
		struct span bytes;
		enum st want;
	} rows[] = {
		{ "nothing", { "", 0 }, ST_BAD },
		{ "no such operation", { "\xff", 1 }, ST_BAD },
		{ "operation 0", { "\0", 1 }, ST_BAD },
		{ "\\Recent is no condition", { "\x08", 1 }, ST_BAD },
		{ "AND of nothing", { "\x02\0\0", 3 }, ST_BAD },
		{ "NOT of two", { "\x04\2\0\1\1", 5 }, ST_BAD },
		{ "OR of more than there are", { "\x03\xff\xff\1\1", 5 }, ST_BAD },
		{ "text over the end", { "\x14\xff\xff\xff\xff", 5 }, ST_BAD },
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(search_read(rows[i].bytes, nodes, SEARCH_NODES_MAX, &root, &err),
				 rows[i].want);
	for (size_t i = 0; i < SEARCH_DEPTH_MAX; i++)
		chain[i] = (struct search_node){ .op = S_NOT, .kids = &chain[i + 1] };
	chain[SEARCH_DEPTH_MAX] = one;
	assert_int_equal(search_write(&chain[1], &out, &err), ST_OK);
	assert_int_equal(search_read(buf_get(&out), nodes, SEARCH_NODES_MAX, &root, &err), ST_OK);
	assert_int_equal(search_read(buf_get(&out), nodes, 5, &root, &err), ST_TOOBIG);
	assert_int_equal(search_write(&chain[0], &out, &err), ST_TOOBIG);
	chain[0].kids = &pair;
	assert_int_equal(search_write(&chain[0], &out, &err), ST_BAD);
	assert_int_equal(search_write(&(struct search_node){ .op = S_AND }, &out, &err), ST_BAD);
	assert_int_equal(search_write(&(struct search_node){ .op = S_TO, .text = SPAN("abc") },
				      &small, &err),
			 ST_TOOBIG);
	buf_free(&out);
	buf_free(&small);
}

/* ---- scatter lists ---- */

static void scatter_lists_come_back(void **state)
{
	const struct scatter_run runs[] = { { 7, 1 }, { 100, 2 }, { UINT32_MAX - 1, 1 } };
	struct buf b = BUF_MAX(1000);
	struct scatter s;
	struct err err;

	(void)state;
	scatter_write(&b, 3 * 4096 + 1, runs, 3);
	assert_int_equal(scatter_read(buf_get(&b), &s, &err), ST_OK);
	assert_true(s.len == 3 * 4096 + 1 && s.nruns == 3);
	assert_int_equal(scatter_run(&s, 1).page, 100);
	assert_int_equal(scatter_run(&s, 1).pages, 2);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(scatter_read(span_of(b.at, i), &s, &err), ST_BAD);
	buf_clear(&b);
	scatter_write(&b, 0, NULL, 0);
	assert_int_equal(scatter_read(buf_get(&b), &s, &err), ST_OK);
	buf_free(&b);
}

static void wrong_scatter_lists_are_refused(void **state)
{
	static const struct {
		const char *name;
		uint64_t len;
		struct scatter_run runs[2];
	} rows[] = {
		{ "a page too few", 2 * 4096 + 1, { { 1, 1 }, { 5, 1 } } },
		{ "a page too many", 4096, { { 1, 1 }, { 5, 1 } } },
		{ "an empty run", 4096, { { 1, 1 }, { 5, 0 } } },
		{ "a run over the last page", 4096ull << 32, { { 1, UINT32_MAX }, { 1, 1 } } },
		{ "longer than any page count", UINT64_MAX, { { 1, 1 }, { 5, 1 } } },
	};
	struct scatter s;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = BUF_MAX(1000);

		scatter_write(&b, rows[i].len, rows[i].runs, 2);
		assert_int_equal(scatter_read(buf_get(&b), &s, &err), ST_BAD);
		buf_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_has_its_number),
		cmocka_unit_test(searches_come_back),
		cmocka_unit_test(wrong_searches_are_refused),
		cmocka_unit_test(scatter_lists_come_back),
		cmocka_unit_test(wrong_scatter_lists_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
