/* The ring between two threads, and every lie that the other side's counters can tell. */
#include "exipc/ring.h"

#include <pthread.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ENTRIES 300000u

static struct exipc_lane *lane_new(void)
{
	struct exipc_lane *l = aligned_alloc(_Alignof(struct exipc_lane), sizeof(*l));

	assert_non_null(l);
	memset(l, 0, offsetof(struct exipc_lane, heap));
	return l;
}

struct ends {
	struct exipc_lane *from, *to;
};

static void *produce(void *arg)
{
	struct ends *e = arg;
	struct ring_out out = { .mine = e->from, .theirs = e->to };

	for (uint64_t i = 0; i < ENTRIES;) {
		struct exipc_entry entry = { .call = i, .epoch = ~i };
		unsigned room;

		assert_int_equal(ring_room(&out, &room), ST_OK);
		if (!room)
			continue;
		ring_put(&out, &entry);
		i++;
	}
	return NULL;
}

static void entries_arrive_whole_and_in_order(void **state)
{
	struct ends e = { lane_new(), lane_new() };
	struct ring_in in = { .mine = e.to, .theirs = e.from };
	pthread_t producer;

	(void)state;
	assert_int_equal(pthread_create(&producer, NULL, produce, &e), 0);
	for (uint64_t i = 0; i < ENTRIES;) {
		unsigned n;

		assert_int_equal(ring_waiting(&in, &n), ST_OK);
		for (; n; n--, i++) {
			struct exipc_entry entry;

			ring_take(&in, &entry);
			assert_int_equal(entry.call, i);
			assert_int_equal(entry.epoch, ~i);
		}
		ring_tell(&in);
	}
	pthread_join(producer, NULL);
	free(e.from);
	free(e.to);
}

static void full_is_full_and_empty_is_empty(void **state)
{
	struct exipc_lane *from = lane_new(), *to = lane_new();
	struct ring_out out = { .mine = from, .theirs = to };
	struct ring_in in = { .mine = to, .theirs = from };
	struct exipc_entry e = { 0 };
	unsigned n;

	(void)state;
	/* Twice around and a half, so that no slot number can mean both. */
	for (unsigned round = 0; round < 5; round++) {
		assert_int_equal(ring_waiting(&in, &n), ST_OK);
		assert_int_equal(n, 0);
		for (unsigned i = 0; i < EXIPC_RING_ENTRIES; i++) {
			assert_int_equal(ring_room(&out, &n), ST_OK);
			assert_true(n > 0);
			ring_put(&out, &e);
		}
		assert_int_equal(ring_room(&out, &n), ST_OK);
		assert_int_equal(n, 0);
		assert_int_equal(ring_waiting(&in, &n), ST_OK);
		assert_int_equal(n, EXIPC_RING_ENTRIES);
		ring_take(&in, &e);
		assert_int_equal(ring_room(&out, &n), ST_OK);
		assert_int_equal(n, 0); /* taken, but not told */
		assert_true(ring_tell(&in));
		assert_false(ring_tell(&in));
		assert_int_equal(ring_room(&out, &n), ST_OK);
		assert_int_equal(n, 1);
		while (in.head < in.tail)
			ring_take(&in, &e);
		ring_tell(&in);
		/* The next round begins in the middle. */
		for (unsigned i = 0; i < EXIPC_RING_ENTRIES / 2; i++) {
			assert_int_equal(ring_room(&out, &n), ST_OK);
			ring_put(&out, &e);
			assert_int_equal(ring_waiting(&in, &n), ST_OK);
			assert_int_equal(n, 1);
			ring_take(&in, &e);
			ring_tell(&in);
		}
	}
	free(from);
	free(to);
}

static void lies_about_counters_are_seen(void **state)
{
	static const struct {
		const char *name;
		uint64_t mine, seen, theirs;
		enum st tail,
			head; /* taken as the other's tail; as its head, our tail 256 past it */
	} rows[] = {
		{ "nothing new", 1000, 1000, 1000, ST_OK, ST_OK },
		{ "one ahead", 1000, 1000, 1001, ST_OK, ST_OK },
		{ "as far ahead as the ring is long", 1000, 1000, 1256, ST_OK, ST_OK },
		{ "one further", 1000, 1000, 1257, ST_BAD, ST_BAD },
		{ "far ahead", 1000, 1000, UINT64_MAX, ST_BAD, ST_BAD },
		{ "one back", 1000, 1000, 999, ST_BAD, ST_BAD },
		{ "back to the start", 1000, 1000, 0, ST_BAD, ST_BAD },
		{ "back behind what was seen, but ahead of what was taken", 1000, 1100, 1099,
		  ST_BAD, ST_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct exipc_lane *mine = lane_new(), *theirs = lane_new();
		struct ring_in in = {
			.mine = mine, .theirs = theirs, .head = rows[i].mine, .tail = rows[i].seen
		};
		struct ring_out out = { .mine = mine,
					.theirs = theirs,
					.head = rows[i].seen,
					.tail = rows[i].seen + EXIPC_RING_ENTRIES };
		unsigned n = 77;

		print_message("  %s\n", rows[i].name);
		word_set(&theirs->tail, rows[i].theirs);
		assert_int_equal(ring_waiting(&in, &n), rows[i].tail);
		assert_true(rows[i].tail == ST_OK ? n <= EXIPC_RING_ENTRIES : n == 77);
		word_set(&theirs->head, rows[i].theirs);
		assert_int_equal(ring_room(&out, &n), rows[i].head);
		free(mine);
		free(theirs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_arrive_whole_and_in_order),
		cmocka_unit_test(full_is_full_and_empty_is_empty),
		cmocka_unit_test(lies_about_counters_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
