/* test_standby.c - a standby takes in what a group logs, wherever either is stopped, and becomes a group. */
#include "rig.h"

#include "ese/log_tail.h"
#include "ese/shipping.h"
#include "ese/standby.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void make_source(struct rig *r)
{
	rig_make(r);
	r->o.segment_bytes = 64 * 1024;
	r->o.keep_logs = true;
	rig_open(r);
}

/* A standby made of the source's folder as a kill would leave it, at this moment. */
static void make_standby(const struct rig *source, struct rig *standby)
{
	rig_fork(source, standby);
	standby->o.checkpoint_bytes = 128 * 1024;
}

static struct ese_standby *open_standby(struct rig *r)
{
	struct ese_standby *s;
	struct err err;

	if (ese_standby_open(r->dir, &r->o, &s, &err) != ST_OK)
		fail_msg("standby: %s", err.text);
	return s;
}

static uint64_t durable(struct rig *r)
{
	struct ese_log_info info;

	ese_log_look(r->g, &info);
	return info.durable;
}

struct ship {
	unsigned stop_after; /* steps; 0: none */
	struct err err;
	enum st st;
};

/* What `mailroot ese ship` does, without the pipe. */
static void ship(struct rig *from, struct ese_standby *to, struct ship *sh)
{
	struct ese_standby_info info;
	struct log_tail *t;
	struct log_step step;
	unsigned steps = 0;

	ese_standby_look(to, &info);
	sh->st = log_tail_open(from->dir, info.received, info.created, &t, &sh->err);
	if (sh->st != ST_OK)
		return;
	while ((sh->st = log_tail_next(t, durable(from), &step, &sh->err)) == ST_OK) {
		sh->st = step.begins
				 ? ese_standby_begin(to, &step.head, &sh->err)
				 : ese_standby_take(to, step.group.pos, step.group.bytes, &sh->err);
		if (sh->st != ST_OK || ++steps == sh->stop_after)
			break;
	}
	log_tail_close(t);
}

static void ship_all(struct rig *from, struct ese_standby *to)
{
	struct ese_standby_info info;
	struct ship sh = { 0 };

	ship(from, to, &sh);
	if (sh.st != ST_EOF)
		fail_msg("ship: %s", sh.err.text);
	assert_int_equal(ese_standby_sync(to, NULL), ST_OK);
	assert_int_equal(ese_standby_apply(to, NULL), ST_OK);
	ese_standby_look(to, &info);
	assert_int_equal(info.applied, durable(from));
}

static void work(struct rig *r, int from, int to, uint64_t *ids)
{
	char key[16], value[700];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = from; i < to; i++) {
		snprintf(key, sizeof(key), "k%04d", i);
		rig_put(r, key, value);
		ids[i] = rig_body(r, (size_t)i * 211 % 9000 + 1, (unsigned)i);
	}
}

static void check_work(struct rig *r, int to, const uint64_t *ids)
{
	char key[16];

	for (int i = 0; i < to; i++) {
		snprintf(key, sizeof(key), "k%04d", i);
		assert_int_equal(strlen(rig_get(r, key)), 699);
		rig_check_body(r, ids[i], (size_t)i * 211 % 9000 + 1, (unsigned)i);
	}
}

static void promote(struct ese_standby *s, struct rig *standby)
{
	assert_int_equal(ese_standby_finish(s, NULL), ST_OK);
	assert_int_equal(ese_standby_close(s, NULL), ST_OK);
	rig_open(standby);
}

static void everything_arrives_and_the_standby_becomes_a_group(void **state)
{
	struct rig source, standby;
	struct ese_standby *s;
	uint64_t ids[60];

	(void)state;
	make_source(&source);
	work(&source, 0, 5, ids);
	make_standby(&source, &standby);
	s = open_standby(&standby);
	work(&source, 5, 30, ids);
	ship_all(&source, s);
	work(&source, 30, 50, ids);
	ship_all(&source, s);
	promote(s, &standby);
	check_work(&standby, 50, ids);
	/* Both go on, each its own way; nothing of the old one is taken any more. */
	work(&standby, 50, 60, ids);
	check_work(&standby, 60, ids);
	rig_close(&standby);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

static void it_goes_on_wherever_it_was_stopped(void **state)
{
	struct rig source, standby;
	uint64_t ids[40];

	(void)state;
	make_source(&source);
	make_standby(&source, &standby);
	work(&source, 0, 40, ids);
	for (unsigned n = 1; n < 9; n++) {
		struct ese_standby *s = open_standby(&standby);
		struct ship sh = { .stop_after = n * 2 };

		ship(&source, s, &sh);
		assert_int_equal(sh.st, ST_OK);
		if (n % 2)
			assert_int_equal(ese_standby_sync(s, NULL), ST_OK);
		if (n % 3 == 0)
			assert_int_equal(ese_standby_apply(s, NULL), ST_OK);
		if (n % 4 == 0) {
			/* As a kill leaves it: no checkpoint at the end. */
			struct rig killed;

			rig_fork(&standby, &killed);
			assert_int_equal(ese_standby_close(s, NULL), ST_OK);
			rig_remove(&standby);
			killed.o.arg = &standby;
			standby = killed;
		} else {
			assert_int_equal(ese_standby_close(s, NULL), ST_OK);
		}
	}
	{
		struct ese_standby *s = open_standby(&standby);

		ship_all(&source, s);
		promote(s, &standby);
	}
	check_work(&standby, 40, ids);
	rig_close(&standby);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

static void a_source_that_crashed_is_followed(void **state)
{
	struct rig source, standby, killed;
	struct ese_standby *s;
	uint64_t ids[40];

	(void)state;
	make_source(&source);
	make_standby(&source, &standby);
	work(&source, 0, 10, ids);
	s = open_standby(&standby);
	ship_all(&source, s);
	rig_fork(&source, &killed);
	rig_close(&source);
	rig_open(&killed);
	work(&killed, 10, 40, ids);
	ship_all(&killed, s);
	promote(s, &standby);
	check_work(&standby, 40, ids);
	rig_close(&standby);
	rig_close(&killed);
	rig_remove(&killed);
	rig_remove(&standby);
	rig_remove(&source);
}

static void two_that_parted_do_not_mix(void **state)
{
	struct rig source, standby, other;
	struct ese_standby *s;
	struct ship sh = { 0 };
	uint64_t ids[40];

	(void)state;
	make_source(&source);
	make_standby(&source, &standby);
	make_standby(&source, &other);
	work(&source, 0, 10, ids);
	s = open_standby(&standby);
	ship_all(&source, s);
	promote(s, &standby);
	work(&standby, 10, 15, ids);
	work(&source, 10, 20, ids);
	rig_close(&standby);
	/* The promoted one as a standby of its old source (somebody put the mark back): its log goes on otherwise. */
	s = open_standby(&standby);
	ship(&source, s, &sh);
	assert_int_not_equal(sh.st, ST_EOF);
	ese_standby_close(s, NULL);
	/* One that has more of the old line than the promoted one took over. */
	s = open_standby(&other);
	ship_all(&source, s);
	rig_open(&standby);
	memset(&sh, 0, sizeof(sh));
	ship(&standby, s, &sh);
	assert_int_equal(sh.st, ST_BAD);
	ese_standby_close(s, NULL);
	rig_close(&standby);
	rig_close(&source);
	rig_remove(&other);
	rig_remove(&standby);
	rig_remove(&source);
}

static void damaged_and_misplaced_groups_are_refused_and_leave_it_as_it_was(void **state)
{
	struct ese_standby_info before, after;
	struct rig source, standby;
	struct ese_standby *s;
	struct log_tail *t;
	struct log_step step;
	uint64_t ids[20];
	char *copy;

	(void)state;
	make_source(&source);
	make_standby(&source, &standby);
	work(&source, 0, 10, ids);
	s = open_standby(&standby);
	ese_standby_look(s, &before);
	assert_int_equal(log_tail_open(source.dir, before.received, before.created, &t, NULL),
			 ST_OK);
	assert_int_equal(log_tail_next(t, durable(&source), &step, NULL), ST_OK);
	copy = malloc(step.group.bytes.len);
	memcpy(copy, step.group.bytes.at, step.group.bytes.len);
	for (size_t i = 0; i < 200; i += 7) {
		copy[i] ^= 4;
		assert_int_equal(ese_standby_take(s, step.group.pos,
						  span_of(copy, step.group.bytes.len), NULL),
				 ST_CORRUPT);
		copy[i] ^= 4;
	}
	assert_int_equal(ese_standby_take(s, step.group.pos + LOG_PAGE, step.group.bytes, NULL),
			 ST_BAD);
	ese_standby_look(s, &after);
	assert_int_equal(before.received, after.received);
	assert_int_equal(before.durable, after.durable);
	assert_int_equal(before.applied, after.applied);
	assert_int_equal(before.number, after.number);
	assert_int_equal(before.time, after.time);
	assert_int_equal(ese_standby_take(s, step.group.pos, step.group.bytes, NULL), ST_OK);
	assert_int_equal(ese_standby_take(s, step.group.pos, step.group.bytes, NULL), ST_BAD);
	assert_int_equal(ese_standby_sync(s, NULL), ST_OK);
	free(copy);
	log_tail_close(t);
	ship_all(&source, s);
	ese_standby_close(s, NULL);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

static struct ese_db *open_db(struct rig *r, const char *name, bool create)
{
	struct ese_db *db;
	struct err err;

	if (ese_db_open(r->g, name, create, &db, &err) != ST_OK)
		fail_msg("%s: %s", name, err.text);
	return db;
}

static void put_in(struct ese_db *db, const char *key, const char *value)
{
	struct ese_batch *b;

	assert_int_equal(ese_batch_new(db, 7, &b, NULL), ST_OK);
	ese_put(b, span_str(key), span_str(value));
	assert_int_equal(rig_commit(b, NULL), ST_OK);
}

static bool has(struct ese_db *db, const char *key, const char *value)
{
	struct ese_value v;
	bool same;

	if (ese_get(db, span_str(key), &v, NULL) != ST_OK)
		return false;
	same = span_eq(v.bytes, span_str(value));
	ese_value_free(&v);
	return same;
}

static void databases_come_and_go_with_their_source(void **state)
{
	struct rig source, standby;
	struct ese_standby *s;
	struct ese_db *db;

	(void)state;
	make_source(&source);
	make_standby(&source, &standby);
	s = open_standby(&standby);
	put_in(open_db(&source, "mailbox/new", true), "key", "of a new one");
	put_in(open_db(&source, "mailbox/gone", true), "key", "of one that goes");
	ship_all(&source, s);
	/* Stopped and opened again, it still has both; then one goes, one is closed and opened. */
	assert_int_equal(ese_standby_close(s, NULL), ST_OK);
	s = open_standby(&standby);
	assert_int_equal(ese_db_remove(open_db(&source, "mailbox/gone", false), NULL), ST_OK);
	db = open_db(&source, "mailbox/new", false);
	assert_int_equal(ese_db_dismount(db, NULL), ST_OK);
	ship_all(&source, s);
	assert_int_equal(ese_db_mount(db, NULL), ST_OK);
	put_in(db, "later", "after a mount");
	ship_all(&source, s);
	promote(s, &standby);
	db = open_db(&standby, "mailbox/new", false);
	assert_true(has(db, "key", "of a new one"));
	assert_true(has(db, "later", "after a mount"));
	assert_int_equal(ese_db_open(standby.g, "mailbox/gone", false, &db, NULL), ST_NOTFOUND);
	rig_close(&standby);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

/* Whatever of it the standby had in its checkpoint when it was killed: 0 nothing, 1 the first of that name, 2 that one's
 * removal too. */
static void a_name_that_is_used_again_is_followed(void **state)
{
	(void)state;
	for (int seen = 0; seen < 3; seen++) {
		struct rig source, standby, killed;
		struct ese_standby *s;

		make_source(&source);
		make_standby(&source, &standby);
		s = open_standby(&standby);
		for (int step = 0; step < 3; step++) {
			if (step == 1)
				assert_int_equal(
					ese_db_remove(open_db(&source, "mailbox/name", false),
						      NULL),
					ST_OK);
			else
				put_in(open_db(&source, "mailbox/name", true), "key",
				       step ? "of the second" : "of the first");
			ship_all(&source, s);
			if (step < seen) {
				assert_int_equal(ese_standby_close(s, NULL), ST_OK);
				s = open_standby(&standby);
			}
		}
		rig_fork(&standby, &killed);
		assert_int_equal(ese_standby_close(s, NULL), ST_OK);
		s = open_standby(&killed);
		put_in(open_db(&source, "mailbox/name", false), "later", "still");
		ship_all(&source, s);
		promote(s, &killed);
		assert_true(has(open_db(&killed, "mailbox/name", false), "key", "of the second"));
		assert_true(has(open_db(&killed, "mailbox/name", false), "later", "still"));
		rig_close(&killed);
		rig_close(&source);
		rig_remove(&killed);
		rig_remove(&standby);
		rig_remove(&source);
	}
}

static void a_database_that_gets_another_name_ends_it_with_a_reason(void **state)
{
	struct rig source, standby;
	struct ese_db *db, *moved;
	struct ese_standby *s;
	struct ship sh = { 0 };
	struct err err = { 0 };

	(void)state;
	make_source(&source);
	db = open_db(&source, "mailbox/before", true);
	put_in(db, "key", "value");
	make_standby(&source, &standby);
	s = open_standby(&standby);
	assert_int_equal(ese_db_dismount(db, NULL), ST_OK);
	assert_int_equal(ese_db_move(db, source.g, "mailbox/after", &moved, NULL), ST_OK);
	put_in(moved, "later", "value");
	ship(&source, s, &sh);
	assert_int_equal(sh.st, ST_EOF);
	assert_int_equal(ese_standby_sync(s, NULL), ST_OK);
	assert_int_equal(ese_standby_apply(s, &err), ST_BAD);
	assert_non_null(strstr(err.text, "mailbox/after"));
	ese_standby_close(s, NULL);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

/* A brand-new group needs no backup: its log has all of it. */
static void an_empty_folder_follows_from_the_first_file(void **state)
{
	struct rig source, standby;
	struct ese_standby *s;
	uint64_t ids[20];

	(void)state;
	make_source(&source);
	work(&source, 0, 20, ids);
	rig_make(&standby);
	standby.o.segment_bytes = source.o.segment_bytes;
	s = open_standby(&standby);
	ship_all(&source, s);
	promote(s, &standby);
	check_work(&standby, 20, ids);
	rig_close(&standby);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

static void bodies_beside_the_log_end_it_with_a_reason(void **state)
{
	struct ese_standby_info info;
	struct rig source, standby;
	struct ese_standby *s;
	struct ship sh = { 0 };
	uint64_t before;

	(void)state;
	make_source(&source);
	make_standby(&source, &standby);
	s = open_standby(&standby);
	rig_put(&source, "k", "v");
	ship_all(&source, s);
	before = durable(&source);
	assert_int_equal(ese_set_circular(source.g, true, NULL), ST_OK);
	rig_body(&source, 600000, 3);
	ship(&source, s, &sh);
	assert_int_equal(sh.st, ST_BAD);
	assert_non_null(strstr(sh.err.text, "circular logging was switched on"));
	assert_int_equal(ese_standby_close(s, NULL), ST_OK);
	s = open_standby(&standby);
	ese_standby_look(s, &info);
	assert_true(info.applied >= before);
	promote(s, &standby);
	assert_string_equal(rig_get(&standby, "k"), "v");
	rig_close(&standby);
	rig_close(&source);
	rig_remove(&standby);
	rig_remove(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_arrives_and_the_standby_becomes_a_group),
		cmocka_unit_test(it_goes_on_wherever_it_was_stopped),
		cmocka_unit_test(a_source_that_crashed_is_followed),
		cmocka_unit_test(two_that_parted_do_not_mix),
		cmocka_unit_test(damaged_and_misplaced_groups_are_refused_and_leave_it_as_it_was),
		cmocka_unit_test(databases_come_and_go_with_their_source),
		cmocka_unit_test(a_name_that_is_used_again_is_followed),
		cmocka_unit_test(a_database_that_gets_another_name_ends_it_with_a_reason),
		cmocka_unit_test(an_empty_folder_follows_from_the_first_file),
		cmocka_unit_test(bodies_beside_the_log_end_it_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
