/* test_scrub.c - the scrubber: it reads everything, tells each damage once, and goes on where it was. */
#include "rig.h"

#include "ese/io.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODIES 60
#define LEN    50000u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct finding all[32];
static unsigned found;

static void on_found(void *arg, const struct finding *f)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	if (found < 32)
		all[found] = *f;
	found++;
	pthread_mutex_unlock(&lock);
}

static void make(struct rig *r, uint64_t *ids)
{
	found = 0;
	rig_make(r);
	r->o.found = on_found;
	rig_open(r);
	for (unsigned i = 0; i < BODIES; i++)
		ids[i] = rig_body(r, LEN, i);
	rig_settle(r);
}

static void flip(struct rig *r, uint64_t id)
{
	struct ese_scatter s;
	char path[256], c;
	off_t at;
	int fd;

	assert_int_equal(ese_body_find(r->db, id, false, &s, NULL), ST_OK);
	at = (off_t)s.runs[0].page * ESE_PAGE + 5000;
	ese_scatter_free(&s);
	snprintf(path, sizeof(path), "%s/mailbox/one.stm", r->dir);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static unsigned whole_pass(struct rig *r)
{
	unsigned steps = 0;
	bool end = false;

	for (; !end; steps++)
		assert_int_equal(ese_scrub_step(r->db, &end, NULL), ST_OK);
	return steps;
}

static void a_sound_database_has_no_findings_and_a_damaged_page_is_told_once(void **state)
{
	struct ese_scrub_info info;
	uint64_t ids[BODIES];
	struct ese_scatter s;
	struct rig r;

	(void)state;
	make(&r, ids);
	assert_true(whole_pass(&r) > 2);
	assert_int_equal(found, 0);
	ese_scrub_info(r.db, &info);
	assert_int_equal(info.pages_read, BODIES * ((LEN + ESE_PAGE - 1) / ESE_PAGE));
	assert_int_equal(info.pages_read, info.pages_total);
	assert_true(info.ended >= info.began && info.began > 0);
	assert_int_equal(info.found, 0);
	flip(&r, ids[17]);
	flip(&r, ids[40]);
	whole_pass(&r);
	assert_int_equal(found, 2);
	assert_int_equal(all[0].kind, FOUND_PAGE_DAMAGED);
	assert_int_equal(all[0].body, ids[17]);
	assert_int_equal(all[1].body, ids[40]);
	assert_int_equal(ese_body_find(r.db, ids[17], false, &s, NULL), ST_CORRUPT);
	whole_pass(&r);
	assert_int_equal(found, 2);
	ese_scrub_info(r.db, &info);
	assert_int_equal(info.found, 2);
	rig_close(&r);
	rig_remove(&r);
}

static void a_pass_goes_on_after_a_restart(void **state)
{
	struct ese_scrub_info before, after;
	uint64_t ids[BODIES];
	struct rig r;
	bool end;

	(void)state;
	make(&r, ids);
	assert_int_equal(ese_scrub_step(r.db, &end, NULL), ST_OK);
	assert_false(end);
	assert_int_equal(ese_scrub_step(r.db, &end, NULL), ST_OK);
	assert_false(end);
	ese_scrub_info(r.db, &before);
	rig_close(&r);
	rig_open(&r);
	ese_scrub_info(r.db, &after);
	assert_int_equal(after.pages_read, before.pages_read);
	assert_int_equal(after.began, before.began);
	whole_pass(&r);
	ese_scrub_info(r.db, &after);
	assert_int_equal(after.pages_read, BODIES * ((LEN + ESE_PAGE - 1) / ESE_PAGE));
	assert_int_equal(after.began, before.began);
	rig_close(&r);
	rig_remove(&r);
}

static void wait_for(struct rig *r, enum ese_scrub_state state)
{
	struct ese_scrub_info info;

	do {
		usleep(1000);
		ese_scrub_info(r->db, &info);
	} while (info.state != state);
}

static void orders_are_obeyed(void **state)
{
	struct ese_scrub_info info;
	uint64_t ids[BODIES];
	struct err err = { 0 };
	struct rig r;

	(void)state;
	make(&r, ids);
	ese_scrub_info(r.db, &info);
	assert_int_equal(info.state, ESE_SCRUB_OFF);
	flip(&r, ids[3]);
	ese_scrub_set(r.g, 1, 0); /* a second for each byte */
	ese_scrub_info(r.db, &info);
	assert_int_equal(info.state, ESE_SCRUB_WAITS);
	assert_int_equal(ese_scrub_order(r.db, true, NULL), ST_OK);
	do
		ese_scrub_info(r.db, &info);
	while (info.pages_read == 0);
	assert_int_equal(info.state, ESE_SCRUB_RUNS);
	assert_int_equal(info.found, 1);
	assert_int_equal(ese_scrub_order(r.db, false, NULL), ST_OK);
	ese_scrub_info(r.db, &info);
	assert_int_equal(info.state, ESE_SCRUB_STOPPED);
	/* Nobody has to wait for the scrubber to close a database. */
	assert_int_equal(ese_scrub_order(r.db, true, NULL), ST_OK);
	if (ese_db_dismount(r.db, &err) != ST_OK)
		fail_msg("%s", err.text);
	ese_scrub_info(r.db, &info);
	assert_int_equal(info.state, ESE_SCRUB_NONE);
	assert_int_equal(ese_scrub_order(r.db, true, NULL), ST_GONE);
	assert_int_equal(ese_db_mount(r.db, NULL), ST_OK);
	ese_scrub_set(r.g, 1u << 30, 0);
	assert_int_equal(ese_scrub_order(r.db, true, NULL), ST_OK);
	wait_for(&r, ESE_SCRUB_WAITS);
	assert_int_equal(found, 1);
	rig_close(&r);
	rig_remove(&r);
}

static _Atomic bool stop;

static void *work(void *arg)
{
	struct rig *r = arg;

	for (unsigned i = 0; !stop; i++) {
		uint64_t id = rig_body(r, 20000 + i % 7 * 5000, i);
		struct ese_batch *b;

		rig_check_body(r, id, 20000 + i % 7 * 5000, i);
		assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
		if (i % 4)
			ese_unlink(b, id);
		assert_int_equal(rig_commit(b, NULL), ST_OK);
	}
	return NULL;
}

static bool keep_on(void *arg, const struct ese_compact_figures *f)
{
	(void)arg;
	(void)f;
	return true;
}

static void nothing_is_found_while_bodies_come_go_and_move(void **state)
{
	struct ese_compact_options o = { .go_on = keep_on };
	struct ese_compact_figures f;
	pthread_t threads[2];
	uint64_t ids[BODIES];
	struct rig r;

	(void)state;
	stop = false;
	make(&r, ids);
	ese_scrub_set(r.g, 1u << 30, 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, work, &r);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(ese_scrub_order(r.db, true, NULL), ST_OK);
		assert_int_equal(ese_compact(r.db, &o, &f, NULL), ST_OK);
		wait_for(&r, ESE_SCRUB_WAITS);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (found)
		fail_msg("%u findings, the first: %s", found, all[0].text);
	rig_close(&r);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_database_has_no_findings_and_a_damaged_page_is_told_once),
		cmocka_unit_test(a_pass_goes_on_after_a_restart),
		cmocka_unit_test(orders_are_obeyed),
		cmocka_unit_test(nothing_is_found_while_bodies_come_go_and_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
