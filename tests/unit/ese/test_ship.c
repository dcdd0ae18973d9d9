/* test_ship.c - the shipping stream's frames, and following a log that grows. */
#include "rig.h"

#include "base/crc32c.h"
#include "ese/log_tail.h"
#include "ese/ship.h"
#include "ese/shipping.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- frames ---- */

static const struct ship_frame frames[] = {
	{ SHIP_READY, 0, 0, 0, SPAN_INIT("") },
	{ SHIP_FILE, 3, 0x700000000, 0, SPAN_INIT("a header") },
	{ SHIP_DATA, 65535, 0x700001000, 1700000000000000000, SPAN_INIT("bytes of a group") },
	{ SHIP_ACK, 1, UINT64_MAX, 0, SPAN_INIT("12345678") },
	{ SHIP_STOP, 0, 0, 0, SPAN_INIT("because of this") },
};
#define NFRAMES (sizeof(frames) / sizeof(frames[0]))

static void put_all(struct buf *out)
{
	*out = BUF_MAX(65536);
	for (size_t i = 0; i < NFRAMES; i++)
		ship_put(out, &frames[i]);
	assert_false(out->failed);
}

static void check_frame(const struct ship_frame *got, const struct ship_frame *want)
{
	assert_int_equal(got->kind, want->kind);
	assert_int_equal(got->group, want->group);
	assert_int_equal(got->pos, want->pos);
	assert_int_equal(got->time, want->time);
	assert_true(span_eq(got->payload, want->payload));
}

static void frames_come_out_as_they_went_in_wherever_they_are_split(void **state)
{
	struct buf all;

	(void)state;
	put_all(&all);
	for (size_t cut = 0; cut <= all.len; cut++) {
		struct ship_reader r;
		struct ship_frame f;
		size_t n = 0;

		ship_reader_open(&r);
		assert_int_equal(ship_feed(&r, all.at, cut, NULL), ST_OK);
		while (ship_next(&r, &f, NULL) == ST_OK)
			check_frame(&f, &frames[n++]);
		assert_int_equal(ship_next(&r, &f, NULL), ST_MORE);
		assert_int_equal(ship_feed(&r, all.at + cut, all.len - cut, NULL), ST_OK);
		while (ship_next(&r, &f, NULL) == ST_OK)
			check_frame(&f, &frames[n++]);
		assert_int_equal(n, NFRAMES);
		ship_reader_close(&r);
	}
	buf_free(&all);
}

static void every_flipped_bit_is_noticed(void **state)
{
	struct buf all;

	(void)state;
	put_all(&all);
	for (size_t bit = 0; bit < all.len * 8; bit++) {
		struct ship_reader r;
		struct ship_frame f;
		struct err err;
		enum st st;
		size_t n = 0;

		all.at[bit / 8] ^= (char)(1 << bit % 8);
		ship_reader_open(&r);
		assert_int_equal(ship_feed(&r, all.at, all.len, NULL), ST_OK);
		while ((st = ship_next(&r, &f, &err)) == ST_OK)
			check_frame(&f, &frames[n++]);
		assert_int_equal(st, ST_CORRUPT);
		assert_true(n < NFRAMES);
		ship_reader_close(&r);
		all.at[bit / 8] ^= (char)(1 << bit % 8);
	}
	buf_free(&all);
}

static void names_are_folders_and_nothing_else(void **state)
{
	static const struct {
		struct span name;
		bool ok;
	} rows[] = {
		{ SPAN_INIT("first"), true }, { SPAN_INIT("Second group-2_b"), true },
		{ SPAN_INIT(""), false },     { SPAN_INIT("."), false },
		{ SPAN_INIT(".."), false },   { SPAN_INIT("a/b"), false },
		{ SPAN_INIT("a\0b"), false }, { SPAN_INIT("\xc3\xa4"), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(ship_name_ok(rows[i].name), rows[i].ok);
}

static void stands_and_groups_round_trip_and_are_refused_when_short(void **state)
{
	struct ship_stand s = { .pos = 7, .created = 8, .number = 9, .name = "first" }, back;
	struct ship_group g = { .index = 2, .pos = 5, .name = "second" }, gback;
	struct buf b = BUF_MAX(4096);
	struct ship_reader r;
	struct ship_frame f;

	(void)state;
	memset(s.signature, 's', sizeof(s.signature));
	memset(g.signature, 'g', sizeof(g.signature));
	ship_put_hello(&b);
	ship_put_stand(&b, &s);
	ship_put_group(&b, &g);
	ship_reader_open(&r);
	assert_int_equal(ship_feed(&r, b.at, b.len, NULL), ST_OK);
	assert_int_equal(ship_next(&r, &f, NULL), ST_OK);
	assert_int_equal(ship_check_hello(&f, NULL), ST_OK);
	assert_int_equal(ship_next(&r, &f, NULL), ST_OK);
	assert_int_equal(ship_check_hello(&f, NULL), ST_CORRUPT);
	memset(&back, 0, sizeof(back));
	assert_int_equal(ship_get_stand(&f, &back, NULL), ST_OK);
	assert_memory_equal(&s, &back, sizeof(s));
	f.payload = span_cut(f.payload, LOG_SIGNATURE + 16);
	assert_int_equal(ship_get_stand(&f, &back, NULL), ST_CORRUPT);
	assert_int_equal(ship_next(&r, &f, NULL), ST_OK);
	memset(&gback, 0, sizeof(gback));
	assert_int_equal(ship_get_group(&f, &gback, NULL), ST_OK);
	assert_int_equal(gback.index, 2);
	assert_string_equal(gback.name, "second");
	ship_reader_close(&r);
	buf_free(&b);
}

/* ---- following ---- */

static void open_group(struct rig *r)
{
	rig_make(r);
	r->o.segment_bytes = 64 * 1024;
	r->o.keep_logs = true;
	rig_open(r);
}

static uint64_t durable(struct rig *r)
{
	struct ese_stats s;

	ese_stats(r->g, &s);
	return s.log_position;
}

static void put_some(struct rig *r, int from, int to)
{
	char key[16], value[3000];

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = from; i < to; i++) {
		snprintf(key, sizeof(key), "k%04d", i);
		rig_put(r, key, value);
	}
}

struct seen {
	unsigned files, groups, records;
	uint64_t end;
	struct err err;
	enum st st;
};

static void follow(struct log_tail *t, uint64_t to, struct seen *s)
{
	struct log_step step;

	while ((s->st = log_tail_next(t, to, &step, &s->err)) == ST_OK) {
		struct log_cursor c;
		struct rec rec;

		if (step.begins) {
			s->files++;
			continue;
		}
		s->groups++;
		s->end = step.group.pos + step.group.head.bytes;
		assert_true(s->end <= to);
		log_group_open(&step.group, &c);
		while (log_group_next(&c, &rec) == ST_OK)
			s->records++;
	}
}

static void a_growing_log_is_followed_over_its_files(void **state)
{
	struct log_tail *t;
	struct seen s = { 0 };
	struct rig r;

	(void)state;
	open_group(&r);
	assert_int_equal(log_tail_open(r.dir, pos_of(1, 0), 0, &t, NULL), ST_OK);
	for (int i = 0; i < 60; i += 7) {
		put_some(&r, i, i + 7);
		follow(t, durable(&r), &s);
		assert_int_equal(s.st, ST_EOF);
	}
	assert_int_equal(s.end, durable(&r));
	assert_true(s.files >= 4);
	assert_true(s.records >= 63); /* and what opening said */
	log_tail_close(t);
	rig_close(&r);
	rig_remove(&r);
}

static void nothing_behind_the_durable_position_is_handed_out(void **state)
{
	struct log_tail *t;
	struct seen s = { 0 };
	uint64_t first;
	struct rig r;

	(void)state;
	open_group(&r);
	put_some(&r, 0, 3);
	first = durable(&r);
	put_some(&r, 3, 6);
	assert_int_equal(log_tail_open(r.dir, pos_of(1, 0), 0, &t, NULL), ST_OK);
	follow(t, first, &s);
	assert_int_equal(s.st, ST_EOF);
	assert_int_equal(s.end, first);
	/* A position in front of where it stands can't be this log's. */
	follow(t, first - LOG_PAGE, &s);
	assert_int_equal(s.st, ST_BAD);
	log_tail_close(t);
	rig_close(&r);
	rig_remove(&r);
}

static void a_torn_end_is_left_where_the_next_file_says(void **state)
{
	struct seg_head h;
	struct log_tail *t;
	struct seen s = { 0 };
	struct rig r, killed;
	uint64_t end;

	(void)state;
	open_group(&r);
	put_some(&r, 0, 5);
	end = durable(&r);
	rig_fork(&r, &killed);
	rig_close(&r);
	rig_open(&killed);
	put_some(&killed, 5, 10);
	assert_int_equal(log_tail_open(killed.dir, pos_of(1, 0), 0, &t, NULL), ST_OK);
	follow(t, durable(&killed), &s);
	assert_int_equal(s.st, ST_EOF);
	assert_int_equal(s.end, durable(&killed));
	log_tail_close(t);
	/* Who stands there already goes on from there; who stands further went another way. */
	assert_int_equal(log_head_read(killed.dir, 1, &h, NULL), ST_OK);
	assert_int_equal(log_tail_open(killed.dir, end, h.created, &t, NULL), ST_OK);
	follow(t, durable(&killed), &s);
	assert_int_equal(s.st, ST_EOF);
	log_tail_close(t);
	assert_int_equal(log_tail_open(killed.dir, end + LOG_PAGE, h.created, &t, NULL), ST_OK);
	follow(t, durable(&killed), &s);
	assert_int_equal(s.st, ST_BAD);
	log_tail_close(t);
	assert_int_equal(log_tail_open(killed.dir, end, h.created + 1, &t, NULL), ST_BAD);
	rig_close(&killed);
	rig_remove(&killed);
	rig_remove(&r);
}

static void a_damaged_or_missing_file_is_named(void **state)
{
	char path[SEG_PATH_MAX];
	struct log_tail *t;
	struct seen s = { 0 };
	struct rig r;
	int fd;

	(void)state;
	open_group(&r);
	put_some(&r, 0, 60);
	seg_path(path, r.dir, 2);
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, "!", 1, 16384 + 500), 1);
	close(fd);
	assert_int_equal(log_tail_open(r.dir, pos_of(1, 0), 0, &t, NULL), ST_OK);
	follow(t, durable(&r), &s);
	assert_int_equal(s.st, ST_CORRUPT);
	assert_non_null(strstr(s.err.text, "E0000000002.log: damaged at offset"));
	log_tail_close(t);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(log_tail_open(r.dir, pos_of(1, 0), 0, &t, NULL), ST_OK);
	follow(t, durable(&r), &s);
	assert_int_equal(s.st, ST_NOTFOUND);
	assert_non_null(strstr(s.err.text, "E0000000002.log"));
	log_tail_close(t);
	assert_int_equal(log_tail_open(r.dir, pos_of(2, 0), 0, &t, &s.err), ST_NOTFOUND);
	rig_close(&r);
	rig_remove(&r);
}

/* ---- the source ---- */

struct moves {
	_Atomic int n;
};

static void count_moves(void *arg)
{
	struct moves *m = arg;

	m->n++;
}

static void every_commit_moves_the_durable_position(void **state)
{
	struct ese_log_info before, after;
	struct moves m = { 0 };
	int n;
	struct rig r;

	(void)state;
	open_group(&r);
	rig_settle(&r);
	ese_log_look(r.g, &before);
	ese_log_watch(r.g, count_moves, &m);
	put_some(&r, 0, 5);
	ese_log_watch(r.g, NULL, NULL);
	n = m.n;
	assert_true(n >= 5);
	put_some(&r, 5, 10);
	assert_int_equal(m.n, n);
	ese_log_look(r.g, &after);
	assert_true(after.durable > before.durable);
	assert_int_equal(after.durable, durable(&r));
	assert_true(after.time >= before.time && after.time != 0);
	rig_close(&r);
	rig_remove(&r);
}

static bool is_there(const struct rig *r, uint32_t gen)
{
	struct seg_head h;

	return log_head_read(r->dir, gen, &h, NULL) == ST_OK;
}

static void what_is_held_stays_over_checkpoints_and_openings(void **state)
{
	struct err err;
	struct rig r;

	(void)state;
	rig_make(&r);
	r.o.segment_bytes = 64 * 1024;
	rig_open(&r);
	assert_int_equal(ese_log_hold(r.g, 7, pos_of(2, 0), NULL), ST_OK);
	assert_int_equal(ese_log_hold(r.g, 8, pos_of(4, 0), NULL), ST_OK);
	put_some(&r, 0, 100);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	assert_false(is_there(&r, 1));
	assert_true(is_there(&r, 2));
	rig_close(&r);
	rig_open(&r);
	put_some(&r, 0, 60);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	assert_true(is_there(&r, 2));
	assert_int_equal(ese_log_hold(r.g, 7, 0, NULL), ST_OK);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	assert_false(is_there(&r, 3));
	assert_true(is_there(&r, 4));
	for (uint64_t who = 9; who < 8 + ESE_HOLDS_MAX; who++)
		assert_int_equal(ese_log_hold(r.g, who, pos_of(4, 0), NULL), ST_OK);
	assert_int_equal(ese_log_hold(r.g, 99, pos_of(4, 0), &err), ST_BUSY);
	rig_close(&r);
	rig_remove(&r);
}

static void what_is_held_for_too_long_is_given_up(void **state)
{
	struct rig r;

	(void)state;
	rig_make(&r);
	r.o.segment_bytes = 64 * 1024;
	r.o.ship_keep_bytes = 3 * 64 * 1024;
	rig_open(&r);
	assert_int_equal(ese_log_hold(r.g, 7, pos_of(1, 0), NULL), ST_OK);
	put_some(&r, 0, 200);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	assert_false(is_there(&r, 1));
	rig_close(&r);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_out_as_they_went_in_wherever_they_are_split),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(names_are_folders_and_nothing_else),
		cmocka_unit_test(stands_and_groups_round_trip_and_are_refused_when_short),
		cmocka_unit_test(a_growing_log_is_followed_over_its_files),
		cmocka_unit_test(nothing_behind_the_durable_position_is_handed_out),
		cmocka_unit_test(a_torn_end_is_left_where_the_next_file_says),
		cmocka_unit_test(a_damaged_or_missing_file_is_named),
		cmocka_unit_test(every_commit_moves_the_durable_position),
		cmocka_unit_test(what_is_held_stays_over_checkpoints_and_openings),
		cmocka_unit_test(what_is_held_for_too_long_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
