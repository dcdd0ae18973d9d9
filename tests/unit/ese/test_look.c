/* test_look.c - a closed database read from outside, and around rows that can't be read. */
#include "ese/look.h"

#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS 20000

static char edb[200], stm[200];

static void key_of(char out[16], int n)
{
	snprintf(out, 16, "r%08d", n);
}

/* ROWS rows whose values do not compress, in one file. */
static void fill(struct rig *r)
{
	char key[16], value[100];
	struct ese_batch *b = NULL;

	for (int i = 0; i < ROWS; i++) {
		if (!b)
			assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
		key_of(key, i);
		rig_bytes(value, sizeof(value), (unsigned)i);
		ese_put(b, span_str(key), span_of(value, sizeof(value)));
		if (i % 500 == 499) {
			assert_int_equal(rig_commit(b, NULL), ST_OK);
			b = NULL;
		}
	}
	snprintf(edb, sizeof(edb), "%s/mailbox/one.edb", r->dir);
	snprintf(stm, sizeof(stm), "%s/mailbox/one.stm", r->dir);
}

static void a_closed_database_is_read(void **state)
{
	struct look_head h;
	struct ese_db *db;
	struct ese_value v;
	struct err err = { 0 };
	char bytes[5000], want[5000];
	struct rig r;
	uint64_t id;
	int lock;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	fill(&r);
	id = rig_body(&r, sizeof(bytes), 9);
	assert_int_equal(look_lock(r.dir, &lock, &err), ST_BUSY);
	rig_close(&r);
	assert_int_equal(look_lock(r.dir, &lock, &err), ST_OK);
	assert_int_equal(rig_try_open(&r, &err), ST_BUSY);
	assert_int_equal(look_open("one", edb, stm, &db, &err), ST_OK);
	assert_int_equal(look_head(db, &h, &err), ST_OK);
	assert_true(h.clean_pos != 0 && h.clean_pos == h.applied && h.bodies == 1);
	assert_int_equal(ese_get(db, SPAN("r00000007"), &v, &err), ST_OK);
	assert_int_equal(v.bytes.len, 100);
	ese_value_free(&v);
	rig_bytes(want, sizeof(want), 9);
	assert_int_equal(ese_body_read(db, id, 0, bytes, sizeof(bytes), &err), ST_OK);
	assert_memory_equal(bytes, want, sizeof(bytes));
	look_close(db);
	look_unlock(lock);
	rig_open(&r);
	rig_close(&r);
	rig_remove(&r);
}

/* One bit in the middle of the largest file of rows. */
static void damage(void)
{
	char cmd[400], path[300];
	struct stat info;
	FILE *list;
	char byte;
	int fd;

	snprintf(cmd, sizeof(cmd), "ls -S '%s'/*.sst | head -1", edb);
	list = popen(cmd, "r");
	assert_non_null(list);
	assert_non_null(fgets(path, sizeof(path), list));
	pclose(list);
	path[strcspn(path, "\n")] = '\0';
	fd = open(path, O_RDWR);
	assert_true(fd >= 0 && fstat(fd, &info) == 0);
	assert_int_equal(pread(fd, &byte, 1, info.st_size / 2), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, info.st_size / 2), 1);
	close(fd);
}

static void all_but_a_damaged_block_is_read(void **state)
{
	struct span key, value, last, next;
	struct err err = { 0 };
	struct look_rows *rows;
	struct ese_db *db;
	int n = 0, gaps = 0;
	struct rig r;
	enum st st;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	fill(&r);
	rig_close(&r);
	damage();
	assert_int_equal(look_open("one", edb, stm, &db, &err), ST_OK);
	assert_int_equal(look_rows_new(db, SPAN("r"), SPAN("s"), &rows, &err), ST_OK);
	while ((st = look_rows_next(rows, &key, &value, &err)) != ST_EOF) {
		if (st == ST_OK) {
			n++;
			continue;
		}
		assert_int_equal(st, ST_CORRUPT);
		gaps++;
		look_rows_gap(rows, &last, &next);
		assert_true(span_cmp(last, next) < 0);
	}
	print_message("%d of %d rows read, %d gaps\n", n, ROWS, gaps);
	assert_int_equal(gaps, 1);
	assert_true(n < ROWS && n > ROWS - 100);
	look_rows_free(rows);
	look_close(db);
	rig_remove(&r);
}

/* The same files after a look: nothing was made, nothing changed. */
static void looking_changes_nothing(void **state)
{
	char cmd[400];
	struct ese_db *db;
	struct err err = { 0 };
	struct rig r;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	fill(&r);
	rig_close(&r);
	snprintf(cmd, sizeof(cmd), "cd '%s' && ls -lR --time-style=full-iso > /tmp/look.%d", r.dir,
		 (int)getpid());
	assert_int_equal(system(cmd), 0);
	assert_int_equal(look_open("one", edb, stm, &db, &err), ST_OK);
	look_close(db);
	snprintf(cmd, sizeof(cmd),
		 "cd '%s' && ls -lR --time-style=full-iso | cmp - /tmp/look.%d; s=$?; "
		 "rm /tmp/look.%d; exit $s",
		 r.dir, (int)getpid(), (int)getpid());
	assert_int_equal(system(cmd), 0);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_closed_database_is_read),
		cmocka_unit_test(all_but_a_damaged_block_is_read),
		cmocka_unit_test(looking_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
