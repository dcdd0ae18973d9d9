/* test_circular.c - bodies beside the log: they are not in it, and no replay spoils them. */
#include "ese/ese_int.h"
#include "rig.h"

#include "base/crc32c.h"
#include "ese/beside.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE 50000u
#define SMALL 5000u

static void make(struct rig *r, bool circular)
{
	rig_make(r);
	r->o.circular = circular;
	r->o.direct_bytes = 8192;
	rig_open(r);
}

static void unlink_body(struct rig *r, uint64_t id)
{
	struct ese_batch *b;

	assert_int_equal(ese_batch_new(r->db, 7, &b, NULL), ST_OK);
	ese_unlink(b, id);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	rig_settle(r);
}

static void large_bodies_are_not_in_the_log_and_small_ones_are(void **state)
{
	struct ese_stats before, after;
	uint64_t small, large;
	struct rig r, dead;

	(void)state;
	make(&r, true);
	ese_stats(r.g, &before);
	large = rig_body(&r, LARGE, 1);
	ese_stats(r.g, &after);
	assert_true(after.log_bytes - before.log_bytes <= 8192);
	assert_int_equal(after.direct_bytes - before.direct_bytes, LARGE);
	assert_int_equal(after.direct_syncs - before.direct_syncs, 1);
	small = rig_body(&r, SMALL, 2);
	ese_stats(r.g, &before);
	assert_true(before.log_bytes - after.log_bytes > SMALL);
	assert_int_equal(before.direct_bytes, after.direct_bytes);
	rig_fork(&r, &dead);
	rig_check_body(&r, large, LARGE, 1);
	rig_check_body(&r, small, SMALL, 2);
	rig_close(&r);
	rig_open(&dead);
	rig_check_body(&dead, large, LARGE, 1);
	rig_check_body(&dead, small, SMALL, 2);
	rig_close(&dead);
	rig_remove(&dead);
	rig_remove(&r);
}

static uint32_t first_page(struct rig *r, uint64_t id)
{
	struct ese_scatter s;
	uint32_t page;

	assert_int_equal(ese_body_find(r->db, id, false, &s, NULL), ST_OK);
	page = s.runs[0].page;
	ese_scatter_free(&s);
	return page;
}

static void a_replay_leaves_pages_alone_that_a_later_body_took_beside_the_log(void **state)
{
	struct rig r, dead;
	uint64_t a, b, c;
	uint32_t page;

	(void)state;
	make(&dead, true);
	a = rig_body(&dead, 8192, 3);
	page = first_page(&dead, a);
	unlink_body(&dead, a);
	b = rig_body(&dead, LARGE, 2);
	assert_int_equal(first_page(&dead, b), page);
	c = rig_body(&dead, SMALL, 4);
	rig_fork(&dead, &r);
	rig_close(&dead);
	rig_remove(&dead);
	rig_open(&r);
	rig_check_body(&r, b, LARGE, 2);
	rig_check_body(&r, c, SMALL, 4);
	/* And the other way round: a body of the log on pages that one beside it had. */
	unlink_body(&r, b);
	c = rig_body(&r, 8000, 5);
	rig_fork(&r, &dead);
	rig_close(&r);
	rig_remove(&r);
	rig_open(&dead);
	rig_check_body(&dead, c, 8000, 5);
	rig_close(&dead);
	rig_remove(&dead);
}

/* On a busy disk the next log file may be late. */
static void write_waiting(struct rig *r, struct ese_body *body, const char *bytes, size_t len)
{
	enum st st;

	while ((st = ese_body_write(body, bytes, len, NULL)) == ST_BUSY)
		rig_wait_room(r);
	assert_int_equal(st, ST_OK);
}

static void a_body_given_up_half_way_leaves_its_pages_to_others_in_order(void **state)
{
	char *bytes = malloc(LARGE);
	struct ese_stats s;
	struct rig r;

	(void)state;
	rig_bytes(bytes, LARGE, 9);
	for (int circular = 0; circular < 2; circular++) {
		make(&r, circular);
		for (int i = 0; i < 40; i++) {
			size_t len = (size_t)i * 1200;
			struct ese_body *body;
			uint64_t id;

			assert_int_equal(ese_body_new(r.db, &body, NULL), ST_OK);
			write_waiting(&r, body, bytes, len / 3);
			write_waiting(&r, body, bytes, len - len / 3);
			ese_body_drop(body);
			id = rig_body(&r, len, (unsigned)i);
			rig_check_body(&r, id, len, (unsigned)i);
		}
		rig_settle(&r);
		ese_stats(r.g, &s);
		assert_int_equal(s.pages_reserved, 0);
		assert_int_equal(s.bodies, 40);
		rig_close(&r);
		rig_remove(&r);
	}
	free(bytes);
}

static void switching_is_safe_with_bodies_on_their_way(void **state)
{
	static char bytes[LARGE];
	struct ese_body *large, *open;
	struct ese_stats s;
	uint64_t ids[2];
	struct rig r, dead;

	(void)state;
	make(&r, false);
	rig_bytes(bytes, LARGE, 1);
	assert_false(ese_circular(r.g));
	assert_int_equal(ese_set_circular(r.g, true, NULL), ST_OK);
	assert_int_equal(ese_body_new(r.db, &large, NULL), ST_OK);
	assert_int_equal(ese_body_new(r.db, &open, NULL), ST_OK);
	assert_int_equal(ese_body_write(large, bytes, 20000, NULL), ST_OK);
	assert_int_equal(ese_body_write(open, bytes, 3000, NULL), ST_OK);
	assert_int_equal(ese_set_circular(r.g, false, NULL), ST_OK);
	assert_true(ese_circular(r.g)); /* one may still be committed */
	assert_int_equal(ese_body_write(large, bytes + 20000, LARGE - 20000, NULL), ST_OK);
	assert_int_equal(ese_body_write(open, bytes + 3000, LARGE - 3000, NULL), ST_OK);
	for (int i = 0; i < 2; i++) {
		struct ese_body *body = i ? open : large;
		struct ese_batch *b;

		assert_int_equal(ese_batch_new(r.db, 7, &b, NULL), ST_OK);
		ese_link(b, body);
		ids[i] = ese_body_id(body);
		ese_body_drop(body);
		assert_int_equal(rig_commit(b, NULL), ST_OK);
	}
	rig_settle(&r);
	assert_false(ese_circular(r.g));
	ese_stats(r.g, &s);
	assert_int_equal(s.direct_bytes, LARGE);
	rig_check_body(&r, ids[0], LARGE, 1);
	rig_check_body(&r, ids[1], LARGE, 1);
	rig_close(&r);
	rig_open(&r);
	rig_check_body(&r, ids[0], LARGE, 1);
	/* The group keeps what it was told, whatever the option says. */
	assert_false(ese_circular(r.g));
	assert_int_equal(ese_set_circular(r.g, true, NULL), ST_OK);
	rig_fork(&r, &dead);
	rig_open(&dead);
	assert_true(ese_circular(dead.g));
	rig_close(&dead);
	rig_remove(&dead);
	rig_close(&r);
	rig_remove(&r);
}

/* ---- the look-up ---- */

struct pieces {
	char text[200];
};

static void *switch_on(void *arg)
{
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ese_set_circular(arg, true, NULL), ST_OK);
	return NULL;
}

static void what_is_switched_from_two_sides_is_the_same_in_slot_and_service(void **state)
{
	struct rig r;

	(void)state;
	make(&r, false);
	for (unsigned i = 0; i < 40; i++) {
		struct checkpoint_facts facts;
		pthread_t other;

		assert_int_equal(pthread_create(&other, NULL, switch_on, r.g), 0);
		for (unsigned n = 0; n < 8; n++)
			assert_int_equal(ese_set_circular(r.g, false, NULL), ST_OK);
		pthread_join(other, NULL);
		checkpoint_facts(r.g, &facts);
		assert_int_equal(r.g->circular, (facts.flags & CHECKPOINT_CIRCULAR) != 0);
	}
	rig_close(&r);
	rig_remove(&r);
}

/* Bodies of the time in between are neither in the snapshot nor in the log. */
static void a_backup_that_was_switched_under_has_no_chain(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		struct ese_backup *b;
		struct err err = { 0 };
		struct ese_logs logs;
		struct rig r;
		uint32_t next;

		make(&r, false);
		rig_put(&r, "k", "v");
		assert_int_equal(ese_backup_begin(r.g, true, &b, &err), ST_OK);
		if (late)
			assert_int_equal(ese_backup_roll(b, &next, &err), ST_OK);
		assert_int_equal(ese_set_circular(r.g, true, &err), ST_OK);
		rig_body(&r, 300000, 1);
		assert_int_equal(ese_set_circular(r.g, false, &err), ST_OK);
		rig_settle(&r);
		assert_false(ese_circular(r.g));
		if (!late) {
			assert_int_equal(ese_backup_roll(b, &next, &err), ST_OK);
			assert_int_equal(next, 0);
		}
		assert_int_equal(ese_backup_end(b, true, &err), ST_OK);
		ese_logs(r.g, &logs);
		assert_int_equal(logs.chain, CHAIN_BROKEN);
		/* An incremental one, on a chain that is whole. */
		assert_int_equal(ese_backup_begin(r.g, true, &b, &err), ST_OK);
		assert_int_equal(ese_backup_roll(b, &next, &err), ST_OK);
		assert_int_equal(ese_backup_end(b, true, &err), ST_OK);
		ese_logs(r.g, &logs);
		assert_int_equal(logs.chain, CHAIN_WHOLE);
		assert_int_equal(ese_backup_begin(r.g, false, &b, &err), ST_OK);
		assert_int_equal(ese_set_circular(r.g, true, &err), ST_OK);
		assert_int_equal(ese_backup_roll(b, &next, &err), ST_BAD);
		assert_int_equal(ese_backup_end(b, false, &err), ST_OK);
		rig_close(&r);
		rig_remove(&r);
	}
}

static enum st note_piece(void *arg, const struct rec_body *p, struct err *err)
{
	struct pieces *all = arg;
	size_t at = strlen(all->text);

	(void)err;
	snprintf(all->text + at, sizeof(all->text) - at, "%llu+%zu@%llu ",
		 (unsigned long long)p->stm_off, p->bytes.len, (unsigned long long)p->body_off);
	return ST_OK;
}

static void note_runs(struct beside *b, uint32_t db, uint64_t pos, uint32_t page, uint32_t pages)
{
	char payload[REC_COMMIT_HEAD + 17 + 8] = { 0 };
	char *at = payload + REC_COMMIT_HEAD;
	struct rec r = { .kind = REC_COMMIT, .db = db, .pos = pos };

	le32_put(payload + 8, 1);
	at[0] = ITEM_MOVE_DIRECT;
	le64_put(at + 1, 77);
	le32_put(at + 9, 1);
	le32_put(at + 13, pages);
	le32_put(at + 17, page);
	le32_put(at + 21, pages);
	r.payload = span_of(payload, sizeof(payload));
	assert_int_equal(beside_note(b, &r, NULL), ST_OK);
}

static void only_bytes_that_nobody_took_since_are_written_again(void **state)
{
	static char bytes[5 * 4096];
	struct rec_body body = { 1, 0, 2 * 4096 + 100, span_of(bytes, 5 * 4096 - 200) };
	static const struct {
		const char *name;
		uint32_t db;
		uint64_t pos;
		const char *want;
	} rows[] = {
		{ "before all of them", 1, 5, "8292+3996@0 24576+3996@16284 " },
		{ "between the two", 1, 15, "8292+8092@0 20480+8092@12188 " },
		{ "behind all of them", 1, 25, "8292+20280@0 " },
		{ "another database", 2, 5, "8292+20280@0 " },
	};
	struct beside *b = beside_new();

	(void)state;
	note_runs(b, 1, 10, 3, 3);
	note_runs(b, 1, 20, 4, 1);
	note_runs(b, 3, 20, 0, 100);
	beside_ready(b);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct rec r = { .kind = REC_BODY, .db = rows[i].db, .pos = rows[i].pos };
		struct pieces got = { "" };

		assert_int_equal(beside_pieces(b, &r, &body, note_piece, &got, NULL), ST_OK);
		if (strcmp(got.text, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].name, got.text);
	}
	beside_free(b);
}

/* ---- threads ---- */

#define WRITERS 4
#define EACH    60

struct writer {
	struct rig *r;
	unsigned number;
	pthread_t thread;
	uint64_t ids[EACH];
};

static size_t size_of(unsigned writer, unsigned i)
{
	return (size_t)(writer * 7919 + i * 2711) % 30000;
}

static void *write_bodies(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < EACH; i++) {
		struct ese_body *given_up = rig_write(w->r, size_of(w->number, i + 1), i);

		ese_body_drop(given_up);
		w->ids[i] = rig_body(w->r, size_of(w->number, i), w->number * EACH + i);
		if (i % 5 == 4) {
			unlink_body(w->r, w->ids[i]);
			w->ids[i] = 0;
		}
	}
	return NULL;
}

static void writers_and_switches_at_the_same_time(void **state)
{
	struct writer all[WRITERS];
	struct rig r;

	(void)state;
	make(&r, true);
	for (unsigned i = 0; i < WRITERS; i++) {
		all[i] = (struct writer){ .r = &r, .number = i };
		pthread_create(&all[i].thread, NULL, write_bodies, &all[i]);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(ese_set_circular(r.g, i % 2, NULL), ST_OK);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(all[i].thread, NULL);
	for (int again = 0; again < 2; again++) {
		for (unsigned i = 0; i < WRITERS; i++)
			for (unsigned k = 0; k < EACH; k++)
				if (all[i].ids[k])
					rig_check_body(&r, all[i].ids[k], size_of(i, k),
						       i * EACH + k);
		rig_close(&r);
		if (!again)
			rig_open(&r);
	}
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_bodies_are_not_in_the_log_and_small_ones_are),
		cmocka_unit_test(a_replay_leaves_pages_alone_that_a_later_body_took_beside_the_log),
		cmocka_unit_test(a_body_given_up_half_way_leaves_its_pages_to_others_in_order),
		cmocka_unit_test(switching_is_safe_with_bodies_on_their_way),
		cmocka_unit_test(what_is_switched_from_two_sides_is_the_same_in_slot_and_service),
		cmocka_unit_test(a_backup_that_was_switched_under_has_no_chain),
		cmocka_unit_test(only_bytes_that_nobody_took_since_are_written_again),
		cmocka_unit_test(writers_and_switches_at_the_same_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
