/* The allocator's book: blocks never overlap, all come back, and nonsense changes nothing. */
#include "exipc/heap.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void sizes_get_what_they_need(void **state)
{
	static const struct {
		size_t len;
		unsigned per_section; /* 0: a run */
		unsigned sections;
	} rows[] = {
		{ 0, 128, 1 },    { 1, 128, 1 },
		{ 256, 128, 1 },  { 257, 32, 1 },
		{ 1024, 32, 1 },  { 1025, 8, 1 },
		{ 4096, 8, 1 },   { 4097, 2, 1 },
		{ 16384, 2, 1 },  { 16385, 0, 1 },
		{ 32768, 0, 1 },  { 32769, 0, 2 },
		{ 100000, 0, 4 }, { EXIPC_BLOCK_MAX, 0, 32 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct heap h;
		uint32_t offset, first;
		void *cookie;

		heap_init(&h, 0, EXIPC_HEAP_SECTIONS);
		assert_int_equal(heap_get(&h, rows[i].len, &h, &first), ST_OK);
		assert_int_equal(h.free, EXIPC_HEAP_SECTIONS - rows[i].sections);
		for (unsigned k = 1; k < rows[i].per_section; k++) {
			assert_int_equal(heap_get(&h, rows[i].len, &h, &offset), ST_OK);
			assert_int_equal(offset, k * (EXIPC_SECTION / rows[i].per_section));
		}
		assert_int_equal(h.free, EXIPC_HEAP_SECTIONS - rows[i].sections);
		assert_int_equal(heap_get(&h, rows[i].len, &h, &offset), ST_OK);
		assert_int_equal(h.free, EXIPC_HEAP_SECTIONS - 2 * rows[i].sections);
		assert_int_equal(heap_put(&h, first, &cookie), ST_OK);
		assert_ptr_equal(cookie, &h);
		heap_drop(&h, NULL, NULL);
	}
}

static void a_full_heap_says_so(void **state)
{
	struct heap h;
	uint32_t offset;
	void *cookie;

	(void)state;
	heap_init(&h, 0, EXIPC_HEAP_SECTIONS);
	for (unsigned i = 0; i < EXIPC_GRANULES; i++)
		assert_int_equal(heap_get(&h, 256, NULL, &offset), ST_OK);
	assert_int_equal(h.blocks, EXIPC_GRANULES);
	assert_int_equal(heap_get(&h, 1, NULL, &offset), ST_NOSPACE);
	assert_int_equal(heap_get(&h, 20000, NULL, &offset), ST_NOSPACE);
	assert_int_equal(heap_get(&h, EXIPC_HEAP + 1, NULL, &offset), ST_TOOBIG);
	assert_int_equal(heap_put(&h, 77 * 256, &cookie), ST_OK);
	assert_int_equal(heap_get(&h, 1, NULL, &offset), ST_OK);
	assert_int_equal(offset, 77 * 256);
	for (unsigned i = 0; i < EXIPC_GRANULES; i++)
		assert_int_equal(heap_put(&h, i * 256, &cookie), ST_OK);
	assert_int_equal(h.free, EXIPC_HEAP_SECTIONS);
	assert_int_equal(h.blocks, 0);
	heap_drop(&h, NULL, NULL);
}

static void nonsense_is_refused(void **state)
{
	static const struct {
		const char *name;
		uint32_t offset;
	} rows[] = {
		{ "before the part that is ours", 0 },
		{ "behind the part that is ours", 20 * EXIPC_SECTION },
		{ "behind the heap", EXIPC_HEAP },
		{ "far out", UINT32_MAX },
		{ "a free section", 15 * EXIPC_SECTION },
		{ "within a block", 10 * EXIPC_SECTION + 256 },
		{ "not at a granule", 10 * EXIPC_SECTION + 1 },
		{ "a part that is not out", 10 * EXIPC_SECTION + 1024 },
		{ "the second section of a run", 12 * EXIPC_SECTION },
		{ "within the first section of a run", 11 * EXIPC_SECTION + 256 },
	};
	struct heap h;
	uint32_t part, run;
	void *cookie;

	(void)state;
	heap_init(&h, 10, 20);
	assert_int_equal(heap_get(&h, 1000, NULL, &part), ST_OK);
	assert_int_equal(heap_get(&h, 2 * EXIPC_SECTION, NULL, &run), ST_OK);
	assert_int_equal(part, 10 * EXIPC_SECTION);
	assert_int_equal(run, 11 * EXIPC_SECTION);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct heap before = h;

		print_message("  %s\n", rows[i].name);
		assert_int_equal(heap_put(&h, rows[i].offset, &cookie), ST_BAD);
		assert_memory_equal(&before, &h, sizeof(h));
	}
	assert_int_equal(heap_put(&h, part, &cookie), ST_OK);
	assert_int_equal(heap_put(&h, part, &cookie), ST_BAD); /* twice */
	assert_int_equal(heap_put(&h, run, &cookie), ST_OK);
	assert_int_equal(heap_put(&h, run, &cookie), ST_BAD);
	heap_drop(&h, NULL, NULL);
}

struct taken {
	uint32_t offset, len;
};

static void mark(char *owner, struct taken t, char from, char to)
{
	for (uint32_t g = t.offset / 256; g * 256 < t.offset + t.len; g++) {
		assert_int_equal(owner[g], from);
		owner[g] = to;
	}
}

static void blocks_never_overlap(void **state)
{
	static const uint32_t sizes[] = {
		1, 200, 300, 900, 3000, 4096, 9000, 16384, 40000, 200000
	};
	static char owner[EXIPC_GRANULES];
	static struct taken out[EXIPC_GRANULES];
	unsigned n = 0, seed = 1;
	struct heap h;
	void *cookie;

	(void)state;
	heap_init(&h, 0, EXIPC_HEAP_SECTIONS);
	for (unsigned step = 0; step < 60000; step++) {
		unsigned dice = (unsigned)rand_r(&seed);

		if (dice % 16 < (step / 5000 % 2 ? 10 : 6)) {
			struct taken t = { .len = sizes[dice / 16 % 10] };

			if (heap_get(&h, t.len, NULL, &t.offset))
				continue;
			assert_true(t.offset + t.len <= EXIPC_HEAP);
			mark(owner, t, 0, 1);
			out[n++] = t;
		} else if (n) {
			unsigned k = dice / 16 % n;

			assert_int_equal(heap_put(&h, out[k].offset, &cookie), ST_OK);
			mark(owner, out[k], 1, 0);
			out[k] = out[--n];
		}
		assert_int_equal(h.blocks, n);
	}
	while (n)
		assert_int_equal(heap_put(&h, out[--n].offset, &cookie), ST_OK);
	assert_int_equal(h.free, EXIPC_HEAP_SECTIONS);
	heap_drop(&h, NULL, NULL);
}

static void count_cookie(void *arg, void *cookie)
{
	unsigned *sum = arg;

	*sum += *(unsigned *)cookie;
}

static void dropping_hands_out_what_is_still_out(void **state)
{
	unsigned one = 1, ten = 10, hundred = 100, sum = 0;
	struct heap h;
	uint32_t offset;
	void *cookie;

	(void)state;
	heap_init(&h, 0, EXIPC_HEAP_SECTIONS);
	assert_int_equal(heap_get(&h, 1, &one, &offset), ST_OK);
	assert_int_equal(heap_get(&h, 1, &hundred, &offset), ST_OK);
	assert_int_equal(heap_put(&h, offset, &cookie), ST_OK);
	assert_int_equal(heap_get(&h, 100000, &ten, &offset), ST_OK);
	heap_drop(&h, count_cookie, &sum);
	assert_int_equal(sum, 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_get_what_they_need),
		cmocka_unit_test(a_full_heap_says_so),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(blocks_never_overlap),
		cmocka_unit_test(dropping_hands_out_what_is_still_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
