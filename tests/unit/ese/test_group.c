/* test_group.c - the engine's promises, one at a time: what is committed is there, also after a kill. */
#include "rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void rows_are_there_after_commit_and_reopen(void **state)
{
	struct rig r;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	rig_put(&r, "one", "first");
	rig_put(&r, "two", "second");
	rig_put(&r, "one", "changed");
	assert_string_equal(rig_get(&r, "one"), "changed");
	rig_close(&r);
	rig_open(&r);
	assert_string_equal(rig_get(&r, "one"), "changed");
	assert_string_equal(rig_get(&r, "two"), "second");
	assert_string_equal(rig_get(&r, "three"), "");
	rig_close(&r);
	rig_remove(&r);
}

static void a_closed_group_replays_nothing(void **state)
{
	struct ese_stats s;
	struct rig r;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	rig_put(&r, "one", "first");
	rig_body(&r, 10000, 1);
	rig_close(&r);
	rig_open(&r);
	ese_stats(r.g, &s);
	assert_int_equal(s.recovered_records, 0);
	assert_int_equal(s.bodies, 1);
	rig_close(&r);
	rig_remove(&r);
}

static void rows_come_in_order_from_a_snapshot(void **state)
{
	struct ese_iter *it;
	struct span key, value;
	struct rig r;
	char seen[64] = "";

	(void)state;
	rig_make(&r);
	rig_open(&r);
	rig_put(&r, "k3", "c");
	rig_put(&r, "k1", "a");
	rig_put(&r, "k2", "b");
	rig_put(&r, "l", "outside");
	assert_int_equal(ese_iter_new(r.db, SPAN("k"), SPAN("l"), &it, NULL), ST_OK);
	rig_put(&r, "k4", "later");
	while (ese_iter_next(it, &key, &value, NULL) == ST_OK)
		strncat(seen, value.at, value.len);
	assert_int_equal(ese_iter_next(it, &key, &value, NULL), ST_EOF);
	assert_string_equal(seen, "abc");
	ese_iter_free(it);
	rig_close(&r);
	rig_remove(&r);
}

static void bodies_of_every_size_come_back_bit_for_bit(void **state)
{
	static const size_t sizes[] = { 0,     1,     100,   4095,  4096,   4097,    8192,
					12345, 65535, 65536, 65537, 300000, 1048576, 5000001 };
	uint64_t ids[sizeof(sizes) / sizeof(*sizes)];
	struct rig r, copy;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		ids[i] = rig_body(&r, sizes[i], (unsigned)i);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		rig_check_body(&r, ids[i], sizes[i], (unsigned)i);
	/* As a kill leaves it. */
	rig_fork(&r, &copy);
	rig_open(&copy);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		rig_check_body(&copy, ids[i], sizes[i], (unsigned)i);
	rig_close(&copy);
	rig_remove(&copy);
	rig_close(&r);
	rig_open(&r);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		rig_check_body(&r, ids[i], sizes[i], (unsigned)i);
	rig_close(&r);
	rig_remove(&r);
}

static void a_kill_loses_nothing_that_was_acknowledged(void **state)
{
	struct ese_stats s;
	struct rig r, copy;
	uint64_t id;
	char key[32];

	(void)state;
	rig_make(&r);
	rig_open(&r);
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "row%d", i);
		rig_put(&r, key, "value");
		if (i == 100)
			assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	}
	id = rig_body(&r, 20000, 5);
	rig_fork(&r, &copy);
	rig_open(&copy);
	ese_stats(copy.g, &s);
	assert_true(s.recovered_records >= 199);
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "row%d", i);
		assert_string_equal(rig_get(&copy, key), "value");
	}
	rig_check_body(&copy, id, 20000, 5);
	rig_close(&copy);
	rig_remove(&copy);
	rig_close(&r);
	rig_remove(&r);
}

static struct ese_batch *batch(struct rig *r)
{
	struct ese_batch *b;

	assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
	return b;
}

static uint64_t pages_free(struct rig *r)
{
	struct ese_stats s;

	rig_settle(r);
	ese_stats(r->g, &s);
	assert_int_equal(s.pages_reserved, 0);
	return s.pages_total - s.pages_free;
}

static void one_body_with_many_links_is_stored_once_and_freed_with_the_last(void **state)
{
	struct ese_body *body;
	struct ese_batch *b;
	struct err err;
	struct rig r;
	uint64_t id;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	body = rig_write(&r, 9000, 3);
	id = ese_body_id(body);
	for (int i = 0; i < 3; i++) {
		b = batch(&r);
		ese_link(b, body);
		assert_int_equal(rig_commit(b, NULL), ST_OK);
	}
	ese_body_drop(body);
	assert_int_equal(pages_free(&r), 3);
	b = batch(&r);
	ese_link_id(b, id);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	for (int i = 0; i < 4; i++) {
		rig_check_body(&r, id, 9000, 3);
		assert_int_equal(pages_free(&r), 3);
		b = batch(&r);
		ese_unlink(b, id);
		assert_int_equal(rig_commit(b, NULL), ST_OK);
	}
	assert_int_equal(pages_free(&r), 0);
	b = batch(&r);
	ese_link_id(b, id);
	assert_int_equal(rig_commit(b, &err), ST_NOTFOUND);
	rig_close(&r);
	rig_remove(&r);
}

static void a_body_that_is_dropped_or_aborted_leaves_no_page(void **state)
{
	struct ese_body *body;
	struct ese_batch *b;
	struct rig r;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	ese_body_drop(rig_write(&r, 100000, 3));
	assert_int_equal(pages_free(&r), 0);
	body = rig_write(&r, 100000, 3);
	b = batch(&r);
	ese_link(b, body);
	ese_body_drop(body);
	ese_batch_free(b);
	assert_int_equal(pages_free(&r), 0);
	rig_close(&r);
	rig_remove(&r);
}

static void a_reference_keeps_an_unlinked_body(void **state)
{
	struct ese_body *body;
	struct ese_batch *b;
	struct rig r;
	uint64_t id;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	body = rig_write(&r, 9000, 3);
	id = ese_body_id(body);
	ese_body_hold(body);
	b = batch(&r);
	ese_link(b, body);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	ese_body_drop(body);
	b = batch(&r);
	ese_unlink(b, id);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	assert_int_equal(pages_free(&r), 3);
	rig_check_body(&r, id, 9000, 3);
	b = batch(&r);
	ese_link(b, body);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	ese_body_drop(body);
	rig_check_body(&r, id, 9000, 3);
	b = batch(&r);
	ese_unlink(b, id);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	assert_int_equal(pages_free(&r), 0);
	rig_close(&r);
	rig_remove(&r);
}

static void an_orphan_is_freed_after_a_kill(void **state)
{
	struct ese_body *body;
	struct ese_batch *b;
	struct rig r, copy;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	body = rig_write(&r, 9000, 3);
	b = batch(&r);
	ese_link(b, body);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	b = batch(&r);
	ese_unlink(b, ese_body_id(body));
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	rig_fork(&r, &copy); /* a reference is held: no FREE was logged */
	rig_open(&copy);
	assert_int_equal(pages_free(&copy), 0);
	rig_close(&copy);
	rig_remove(&copy);
	ese_body_drop(body);
	rig_close(&r);
	rig_remove(&r);
}

static void freed_pages_wait_for_pins_from_before(void **state)
{
	struct ese_batch *b;
	uint64_t early, late, id;
	struct rig r;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	id = rig_body(&r, 9000, 3);
	early = ese_pin(r.db);
	b = batch(&r);
	ese_unlink(b, id);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	rig_settle(&r);
	late = ese_pin(r.db);
	for (int i = 0; i < 2; i++) {
		struct ese_stats s;

		ese_stats(r.g, &s);
		assert_int_equal(s.pages_reserved, i == 0 ? 3 : 0);
		assert_int_equal(s.pins, i == 0 ? 2 : 1);
		ese_unpin(r.db, i == 0 ? early : late);
	}
	rig_close(&r);
	rig_remove(&r);
}

static void wrong_batches_are_refused_whole(void **state)
{
	static char big[ESE_VALUE_MAX + 1], key[ESE_KEY_MAX + 1];
	struct rig r;

	(void)state;
	memset(key, 'k', sizeof(key));
	rig_make(&r);
	rig_open(&r);
	for (int i = 0; i < 4; i++) {
		struct ese_batch *b = batch(&r);
		struct err err = { 0 };

		ese_put(b, SPAN("good"), SPAN("row"));
		if (i == 0)
			ese_put(b, span_of(key, sizeof(key)), SPAN(""));
		if (i == 1)
			ese_put(b, SPAN("k"), span_of(big, sizeof(big)));
		if (i == 2)
			ese_put(b, SPAN(""), SPAN("x"));
		if (i == 3) /* over a log file of 256 KiB */
			ese_put(b, SPAN("k"), span_of(big, 300000));
		assert_int_equal(rig_commit(b, &err), ST_TOOBIG);
		assert_string_equal(rig_get(&r, "good"), "");
	}
	rig_close(&r);
	rig_remove(&r);
}

static void many_log_files_are_rolled_and_used_again(void **state)
{
	struct ese_stats s;
	struct rig r, copy;
	uint64_t ids[100];
	char cmd[256];

	(void)state;
	rig_make(&r);
	r.o.segment_bytes = 64 * 1024;
	r.o.checkpoint_bytes = 256 * 1024;
	rig_open(&r);
	for (unsigned i = 0; i < 100; i++)
		ids[i] = rig_body(&r, 30000 + i, i);
	ese_stats(r.g, &s);
	assert_true(s.log_position >> 32 > 40);
	assert_true(s.checkpoint_position >> 32 > 20);
	snprintf(cmd, sizeof(cmd), "test $(ls %s/*.log | wc -l) -lt 30", r.dir);
	assert_int_equal(system(cmd), 0);
	rig_fork(&r, &copy);
	rig_open(&copy);
	for (unsigned i = 0; i < 100; i++)
		rig_check_body(&copy, ids[i], 30000 + i, i);
	rig_close(&copy);
	rig_remove(&copy);
	rig_close(&r);
	rig_remove(&r);
}

static void a_group_opens_once_and_names_are_checked(void **state)
{
	struct ese_options o;
	struct ese_db *db;
	struct ese *g;
	struct rig r;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	o = r.o;
	assert_int_equal(ese_open(r.dir, &o, &g, NULL), ST_BUSY);
	assert_int_equal(ese_db_open(r.g, "../out", true, &db, NULL), ST_BAD);
	assert_int_equal(ese_db_open(r.g, "a/b/c", true, &db, NULL), ST_BAD);
	assert_int_equal(ese_db_open(r.g, "absent", false, &db, NULL), ST_NOTFOUND);
	assert_int_equal(ese_db_open(r.g, "public", true, &db, NULL), ST_OK);
	rig_put(&r, "k", "v");
	rig_close(&r);
	rig_open(&r);
	assert_int_equal(ese_db_open(r.g, "public", false, &db, NULL), ST_OK);
	assert_string_equal(rig_get(&r, "k"), "v");
	rig_close(&r);
	rig_remove(&r);
}

static void every_way_to_sync_gives_a_log(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct rig r, copy;

		rig_make(&r);
		r.o.log_sync = how;
		rig_open(&r);
		rig_put(&r, "k", "v");
		rig_fork(&r, &copy);
		rig_open(&copy);
		assert_string_equal(rig_get(&copy, "k"), "v");
		rig_close(&copy);
		rig_remove(&copy);
		rig_close(&r);
		rig_remove(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_there_after_commit_and_reopen),
		cmocka_unit_test(a_closed_group_replays_nothing),
		cmocka_unit_test(rows_come_in_order_from_a_snapshot),
		cmocka_unit_test(bodies_of_every_size_come_back_bit_for_bit),
		cmocka_unit_test(a_kill_loses_nothing_that_was_acknowledged),
		cmocka_unit_test(one_body_with_many_links_is_stored_once_and_freed_with_the_last),
		cmocka_unit_test(a_body_that_is_dropped_or_aborted_leaves_no_page),
		cmocka_unit_test(a_reference_keeps_an_unlinked_body),
		cmocka_unit_test(an_orphan_is_freed_after_a_kill),
		cmocka_unit_test(freed_pages_wait_for_pins_from_before),
		cmocka_unit_test(wrong_batches_are_refused_whole),
		cmocka_unit_test(many_log_files_are_rolled_and_used_again),
		cmocka_unit_test(a_group_opens_once_and_names_are_checked),
		cmocka_unit_test(every_way_to_sync_gives_a_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
