/* test_compact.c - bodies that move: they stay the same bodies, for everybody, and the file gets shorter. */
#include "rig.h"

#include "ese/io.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODIES 150

static _Atomic int found;
static struct finding last;

static void on_found(void *arg, const struct finding *f)
{
	(void)arg;
	last = *f;
	found++;
}

static void make(struct rig *r, bool circular)
{
	rig_make(r);
	r->o.circular = circular;
	r->o.direct_bytes = 20000;
	r->o.found = on_found;
	found = 0;
	rig_open(r);
}

static size_t size_of(unsigned i)
{
	return i % 10 == 0 ? 200000 : (size_t)(i * 2711) % 30000;
}

static void unlink_bodies(struct rig *r, const uint64_t *ids, unsigned n)
{
	struct ese_batch *b;

	assert_int_equal(ese_batch_new(r->db, 7, &b, NULL), ST_OK);
	for (unsigned i = 0; i < n; i++)
		if (ids[i])
			ese_unlink(b, ids[i]);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	rig_settle(r);
}

/* BODIES bodies, then only every third of them. */
static void fill(struct rig *r, uint64_t *ids)
{
	uint64_t gone[BODIES] = { 0 };

	for (unsigned i = 0; i < BODIES; i++)
		ids[i] = rig_body(r, size_of(i), i);
	for (unsigned i = 0; i < BODIES; i++)
		if (i % 3) {
			gone[i] = ids[i];
			ids[i] = 0;
		}
	unlink_bodies(r, gone, BODIES);
}

static void check_all(struct rig *r, const uint64_t *ids)
{
	for (unsigned i = 0; i < BODIES; i++)
		if (ids[i])
			rig_check_body(r, ids[i], size_of(i), i);
}

static struct ese_compact_figures compact(struct rig *r, struct ese_compact_options o)
{
	struct ese_compact_figures f;
	struct err err = { 0 };

	if (ese_compact(r->db, &o, &f, &err) != ST_OK)
		fail_msg("compact: %s", err.text);
	return f;
}

static void the_file_gets_as_short_as_its_bodies(void **state)
{
	uint64_t ids[BODIES];
	struct ese_space s;
	struct stat info;
	char path[256];

	(void)state;
	for (int circular = 0; circular < 2; circular++) {
		struct ese_compact_figures f;
		struct rig r, dead;

		make(&r, circular);
		fill(&r, ids);
		f = compact(&r, (struct ese_compact_options){ 0 });
		assert_true(f.bodies_moved > 20);
		assert_int_equal(f.bodies_damaged, 0);
		assert_true(f.pages_now < f.pages_before / 2);
		assert_int_equal(ese_space(r.db, &s, NULL), ST_OK);
		assert_int_equal(s.pages_total, f.pages_now);
		assert_int_equal(s.pages_reserved, 0);
		assert_true(s.pages_free * 10 < s.pages_total);
		snprintf(path, sizeof(path), "%s/mailbox/one.stm", r.dir);
		assert_int_equal(stat(path, &info), 0);
		assert_int_equal(info.st_size, f.pages_now * ESE_PAGE);
		check_all(&r, ids);
		assert_int_equal(compact(&r, (struct ese_compact_options){ 0 }).bodies_moved, 0);
		rig_fork(&r, &dead);
		rig_close(&r);
		rig_open(&r);
		check_all(&r, ids);
		/* It grows again. */
		rig_check_body(&r, rig_body(&r, 3000000, 5), 3000000, 5);
		rig_close(&r);
		rig_open(&dead);
		check_all(&dead, ids);
		rig_close(&dead);
		rig_remove(&dead);
		rig_remove(&r);
	}
}

/* Killed between moves and the checkpoint: the moves are replayed. */
static void a_kill_in_between_loses_nothing(void **state)
{
	uint64_t ids[BODIES];

	(void)state;
	for (int circular = 0; circular < 2; circular++) {
		struct rig r, dead;
		bool more = true;

		make(&r, circular);
		r.o.checkpoint_bytes = 1u << 30;
		fill(&r, ids);
		for (int i = 0; i < 6 && more; i++) {
			more = compact(&r, (struct ese_compact_options){ .bodies_max = 8 })
				       .bodies_moved > 0;
			rig_body(&r, 9000, 1);
			rig_fork(&r, &dead);
			rig_open(&dead);
			check_all(&dead, ids);
			rig_close(&dead);
			rig_remove(&dead);
		}
		rig_close(&r);
		rig_remove(&r);
	}
}

static void a_reader_goes_on_where_he_began(void **state)
{
	char *want = malloc(200000), *got = malloc(200000);
	uint64_t ids[BODIES], pin;
	struct ese_scatter s, now;
	struct ese_stats stats;
	size_t at = 0;
	struct rig r;

	(void)state;
	make(&r, false);
	fill(&r, ids);
	pin = ese_pin(r.db);
	assert_int_equal(ese_body_find(r.db, ids[120], false, &s, NULL), ST_OK);
	assert_int_equal(s.len, 200000);
	compact(&r, (struct ese_compact_options){ 0 });
	assert_int_equal(ese_body_find(r.db, ids[120], false, &now, NULL), ST_OK);
	assert_true(now.runs[0].page < s.runs[0].page);
	ese_scatter_free(&now);
	/* Whoever wants pages now gets none that he still reads. */
	for (unsigned i = 0; i < 20; i++)
		rig_body(&r, 100000, i);
	for (uint32_t i = 0; i < s.nruns; i++) {
		size_t n = (size_t)s.runs[i].pages * ESE_PAGE;

		n = n < s.len - at ? n : s.len - at;
		assert_int_equal(pread(ese_db_stream_fd(r.db), got + at, n,
				       (off_t)s.runs[i].page * ESE_PAGE),
				 n);
		at += n;
	}
	rig_bytes(want, 200000, 120);
	assert_memory_equal(got, want, 200000);
	ese_scatter_free(&s);
	ese_unpin(r.db, pin);
	rig_settle(&r);
	ese_stats(r.g, &stats);
	assert_int_equal(stats.pages_reserved, 0);
	rig_close(&r);
	rig_remove(&r);
	free(want);
	free(got);
}

static void flip(struct rig *r, uint64_t id, uint32_t page)
{
	struct ese_scatter s;
	char path[256], c;
	off_t at;
	int fd;

	assert_int_equal(ese_body_find(r->db, id, false, &s, NULL), ST_OK);
	at = ((off_t)s.runs[0].page + page) * ESE_PAGE + 17;
	ese_scatter_free(&s);
	snprintf(path, sizeof(path), "%s/mailbox/one.stm", r->dir);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 4;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void a_damaged_body_stays_where_it_is_and_is_reported(void **state)
{
	struct ese_compact_figures f;
	uint64_t ids[BODIES];
	struct ese_scatter s;
	char byte;
	struct rig r;

	(void)state;
	make(&r, false);
	fill(&r, ids);
	flip(&r, ids[147], 0);
	f = compact(&r, (struct ese_compact_options){ 0 });
	assert_int_equal(f.bodies_damaged, 1);
	assert_true(f.bodies_moved > 20);
	assert_int_equal(found, 1);
	assert_int_equal(last.kind, FOUND_PAGE_DAMAGED);
	assert_int_equal(last.body, ids[147]);
	assert_int_equal(ese_body_find(r.db, ids[147], false, &s, NULL), ST_CORRUPT);
	assert_int_equal(ese_body_read(r.db, ids[147], 0, &byte, 1, NULL), ST_CORRUPT);
	assert_int_equal(found, 1);
	ids[147] = 0;
	check_all(&r, ids);
	rig_close(&r);
	rig_remove(&r);
}

/* It began to be written beside the log, and came to nothing. */
static void a_damaged_body_does_not_keep_logging_circular(void **state)
{
	uint64_t ids[2];
	struct rig r;

	(void)state;
	make(&r, true);
	for (unsigned i = 0; i < 2; i++)
		ids[i] = rig_body(&r, 300000, i);
	unlink_bodies(&r, ids, 1);
	flip(&r, ids[1], 0);
	assert_int_equal(compact(&r, (struct ese_compact_options){ 0 }).bodies_damaged, 1);
	assert_int_equal(ese_set_circular(r.g, false, NULL), ST_OK);
	rig_settle(&r);
	assert_false(ese_circular(r.g));
	rig_close(&r);
	rig_remove(&r);
}

static void a_body_is_verified_before_its_place_is_given_away(void **state)
{
	struct ese_scatter s;
	uint64_t id, other;
	struct rig r;

	(void)state;
	make(&r, false);
	id = rig_body(&r, 100000, 1);
	other = rig_body(&r, 5000, 2);
	flip(&r, id, 20);
	assert_int_equal(ese_body_find(r.db, id, false, &s, NULL), ST_OK);
	assert_false(ese_body_verified(r.db, &s));
	assert_int_equal(ese_body_verify(r.db, id, NULL), ST_CORRUPT);
	assert_false(ese_body_verified(r.db, &s));
	ese_scatter_free(&s);
	assert_int_equal(ese_body_find(r.db, id, false, &s, NULL), ST_CORRUPT);
	assert_int_equal(found, 1);
	assert_int_equal(ese_body_find(r.db, other, false, &s, NULL), ST_OK);
	assert_false(ese_body_verified(r.db, &s));
	assert_int_equal(ese_body_verify(r.db, other, NULL), ST_OK);
	assert_true(ese_body_verified(r.db, &s));
	ese_scatter_free(&s);
	/* Other bytes on the same pages are not. */
	unlink_bodies(&r, &other, 1);
	other = rig_body(&r, 5000, 3);
	assert_int_equal(ese_body_find(r.db, other, false, &s, NULL), ST_OK);
	assert_false(ese_body_verified(r.db, &s));
	ese_scatter_free(&s);
	rig_close(&r);
	rig_remove(&r);
}

static void punched_pages_get_blocks_again(void **state)
{
	uint64_t ids[BODIES], before;
	struct ese_space s;
	struct ese_compact_figures f;
	struct rig r;

	(void)state;
	make(&r, false);
	fill(&r, ids);
	/* A body that can't move keeps the end where it is. */
	flip(&r, ids[147], 0);
	assert_int_equal(ese_space(r.db, &s, NULL), ST_OK);
	before = s.disk_bytes;
	f = compact(&r, (struct ese_compact_options){ .punch = true });
	assert_true(f.pages_punched > 100);
	assert_int_equal(ese_space(r.db, &s, NULL), ST_OK);
	assert_true(s.disk_bytes < before);
	ids[147] = 0;
	check_all(&r, ids);
	rig_close(&r);
	rig_open(&r);
	check_all(&r, ids);
	assert_int_equal(ese_space(r.db, &s, NULL), ST_OK);
	before = s.disk_bytes;
	rig_check_body(&r, rig_body(&r, 300000, 5), 300000, 5);
	assert_int_equal(ese_space(r.db, &s, NULL), ST_OK);
	assert_true(s.disk_bytes >= before + 200000);
	rig_close(&r);
	rig_remove(&r);
}

/* ---- while others work ---- */

static _Atomic bool stop;

static void *write_and_unlink(void *arg)
{
	struct rig *r = arg;
	uint64_t ids[40] = { 0 };

	for (unsigned i = 0; !stop || i < 40; i++) {
		unsigned k = i % 40;

		if (ids[k]) {
			rig_check_body(r, ids[k], size_of(i - 40), i - 40);
			unlink_bodies(r, &ids[k], 1);
		}
		ids[k] = rig_body(r, size_of(i), i);
	}
	return NULL;
}

static bool go_on(void *arg, const struct ese_compact_figures *f)
{
	(void)arg;
	(void)f;
	return !stop;
}

static void bodies_come_and_go_while_others_move(void **state)
{
	pthread_t threads[2];
	uint64_t ids[BODIES];
	struct ese_stats s;
	struct rig r;

	(void)state;
	stop = false;
	make(&r, true);
	fill(&r, ids);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_and_unlink, &r);
	for (int i = 0; i < 8; i++) {
		compact(&r, (struct ese_compact_options){ .go_on = go_on, .bodies_max = 100 });
		check_all(&r, ids);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	check_all(&r, ids);
	rig_settle(&r);
	ese_stats(r.g, &s);
	assert_int_equal(s.pages_reserved, 0);
	assert_int_equal(found, 0);
	rig_close(&r);
	rig_open(&r);
	check_all(&r, ids);
	rig_close(&r);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_gets_as_short_as_its_bodies),
		cmocka_unit_test(a_kill_in_between_loses_nothing),
		cmocka_unit_test(a_reader_goes_on_where_he_began),
		cmocka_unit_test(a_damaged_body_stays_where_it_is_and_is_reported),
		cmocka_unit_test(a_damaged_body_does_not_keep_logging_circular),
		cmocka_unit_test(a_body_is_verified_before_its_place_is_given_away),
		cmocka_unit_test(punched_pages_get_blocks_again),
		cmocka_unit_test(bodies_come_and_go_while_others_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
