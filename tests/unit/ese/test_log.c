/* test_log.c - reading a log: a torn end is an end, anything else that is wrong is named. */
#include "rig.h"

#include "ese/log_read.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A group whose log has some files and records, as a kill leaves it. */
static void make(struct rig *killed)
{
	struct rig r;
	char key[16], value[3000];

	rig_make(&r);
	r.o.segment_bytes = 64 * 1024;
	r.o.keep_logs = true;
	rig_open(&r);
	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "k%02d", i);
		rig_put(&r, key, value);
	}
	rig_fork(&r, killed);
	rig_close(&r);
	rig_remove(&r);
}

struct walk {
	enum st st;
	unsigned groups, records;
	struct log_end end;
	struct err err;
};

static struct walk read_log(const char *dir, uint32_t from)
{
	struct walk w = { 0 };
	struct log_reader *r;
	struct log_group g;

	w.st = log_read_open(dir, from, NULL, &r, &w.err);
	if (w.st != ST_OK)
		return w;
	while ((w.st = log_read_group(r, &g, &w.err)) == ST_OK) {
		struct log_cursor c;
		struct rec rec;

		w.groups++;
		log_group_open(&g, &c);
		while (log_group_next(&c, &rec) == ST_OK)
			w.records++;
	}
	log_read_end(r, &w.end);
	log_read_close(r);
	return w;
}

static void change(const char *dir, uint32_t gen, uint32_t off, char value)
{
	char path[SEG_PATH_MAX];
	int fd;

	seg_path(path, dir, gen);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &value, 1, off), 1);
	close(fd);
}

static void the_whole_log_is_read_to_its_end(void **state)
{
	struct walk w;
	struct rig r;

	(void)state;
	make(&r);
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_EOF);
	assert_int_equal(w.records, 61); /* and ATTACH */
	assert_true(w.end.gen >= 4);
	assert_int_equal(read_log(r.dir, 3).st, ST_EOF);
	assert_int_equal(read_log(r.dir, 99).st, ST_CORRUPT);
	rig_remove(&r);
}

static void a_torn_last_group_is_the_end(void **state)
{
	struct walk whole, torn;
	struct rig r;

	(void)state;
	make(&r);
	whole = read_log(r.dir, 0);
	change(r.dir, whole.end.gen, whole.end.off - 3000, '!');
	torn = read_log(r.dir, 0);
	assert_int_equal(torn.st, ST_EOF);
	assert_int_equal(torn.groups, whole.groups - 1);
	/* Also when its first page is what did not arrive. */
	change(r.dir, whole.end.gen, torn.end.off + 2, '!');
	torn = read_log(r.dir, 0);
	assert_int_equal(torn.st, ST_EOF);
	assert_int_equal(torn.groups, whole.groups - 1);
	rig_remove(&r);
}

static void damage_before_the_last_group_is_refused_and_named(void **state)
{
	struct walk w;
	struct rig r;

	(void)state;
	make(&r);
	change(r.dir, 2, 16384 + 500, '!');
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_CORRUPT);
	assert_non_null(strstr(w.err.text, "E0000000002.log: damaged at offset"));
	assert_int_equal(rig_try_open(&r, &w.err), ST_CORRUPT);
	rig_remove(&r);
}

static void damage_in_the_group_that_ends_a_file_is_refused(void **state)
{
	struct walk before, w;
	struct log_reader *lr;
	struct log_group g;
	uint32_t last = 0;
	struct rig r;

	(void)state;
	make(&r);
	before = read_log(r.dir, 0);
	assert_int_equal(before.st, ST_EOF);
	assert_int_equal(log_read_open(r.dir, 2, NULL, &lr, NULL), ST_OK);
	while (log_read_group(lr, &g, NULL) == ST_OK && pos_gen(g.pos) == 2)
		last = g.off;
	log_read_close(lr);
	change(r.dir, 2, last + 70, '!');
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_CORRUPT);
	rig_remove(&r);
}

static void a_missing_file_is_named(void **state)
{
	char path[SEG_PATH_MAX];
	struct walk w;
	struct rig r;

	(void)state;
	make(&r);
	seg_path(path, r.dir, 2);
	assert_int_equal(unlink(path), 0);
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_CORRUPT);
	assert_non_null(strstr(w.err.text, "E0000000002.log is missing"));
	rig_remove(&r);
}

static void a_damaged_or_newer_header_is_refused(void **state)
{
	struct walk w;
	struct rig r;

	(void)state;
	make(&r);
	change(r.dir, 2, 100, '!');
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_CORRUPT);
	assert_non_null(strstr(w.err.text, "header is damaged"));
	rig_remove(&r);
}

static void a_file_cut_short_is_refused(void **state)
{
	char path[SEG_PATH_MAX];
	struct walk w;
	struct rig r;

	(void)state;
	make(&r);
	seg_path(path, r.dir, 2);
	assert_int_equal(truncate(path, 30000), 0);
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_CORRUPT);
	assert_non_null(strstr(w.err.text, "cut off"));
	rig_remove(&r);
}

static void a_lost_checkpoint_costs_only_time(void **state)
{
	struct ese_stats s;
	char path[256];
	struct rig r;

	(void)state;
	make(&r);
	snprintf(path, sizeof(path), "%s/E00.chk", r.dir);
	assert_int_equal(unlink(path), 0);
	rig_open(&r);
	ese_stats(r.g, &s);
	assert_int_equal(s.recovered_records, 61);
	assert_int_equal(strlen(rig_get(&r, "k59")), 2999);
	rig_close(&r);
	rig_remove(&r);
}

static void a_lost_log_or_a_foreign_one_is_refused(void **state)
{
	struct rig r, other;
	struct err err = { 0 };
	char cmd[512];

	(void)state;
	make(&r);
	make(&other);
	snprintf(cmd, sizeof(cmd), "cp %s/*.log %s/", other.dir, r.dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(rig_try_open(&r, &err), ST_CORRUPT);
	assert_non_null(strstr(err.text, "different groups"));
	snprintf(cmd, sizeof(cmd), "rm %s/*.log", r.dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(rig_try_open(&r, &err), ST_CORRUPT);
	snprintf(cmd, sizeof(cmd), "rm %s/E00.chk", r.dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(rig_try_open(&r, &err), ST_CORRUPT);
	assert_non_null(strstr(err.text, "its log is missing"));
	rig_remove(&r);
	rig_remove(&other);
}

static void the_log_goes_on_behind_a_torn_end_and_is_read_across_it(void **state)
{
	struct walk w;
	struct rig r;

	(void)state;
	make(&r);
	w = read_log(r.dir, 0);
	change(r.dir, w.end.gen, w.end.off - 3000, '!');
	rig_open(&r); /* keeps its logs */
	rig_put(&r, "after", "the tear");
	rig_close(&r);
	w = read_log(r.dir, 0);
	assert_int_equal(w.st, ST_EOF);
	assert_int_equal(w.records, 62); /* 59 + 2 x ATTACH + 1 */
	rig_open(&r);
	assert_string_equal(rig_get(&r, "k59"), "");
	assert_string_equal(rig_get(&r, "after"), "the tear");
	rig_close(&r);
	rig_remove(&r);
}

/* The file that CURRENT names. */
static void manifest_of(const struct rig *r, char out[512])
{
	char path[256], name[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/mailbox/one.edb/CURRENT", r->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%63s", name), 1);
	fclose(f);
	snprintf(out, 512, "%s/mailbox/one.edb/%s", r->dir, name);
}

static void a_torn_manifest_costs_only_time(void **state)
{
	static const char *const names[] = { "half a record more",
					     "a record whose bytes did not arrive" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		char path[512], value[3000];
		struct rig r;
		FILE *f;

		rig_make(&r);
		r.o.keep_logs = true;
		rig_open(&r);
		memset(value, 'v', sizeof(value));
		value[sizeof(value) - 1] = '\0';
		rig_put(&r, "one", value);
		assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
		rig_put(&r, "two", value);
		rig_close(&r);
		manifest_of(&r, path);
		f = fopen(path, "r+");
		assert_non_null(f);
		fseek(f, 0, SEEK_END);
		fwrite(i == 0 ? "\1\2\3\4\100\0\1half" : "\1\2\3\4\4\0\1\0\0\0\0", 1, 11, f);
		fclose(f);
		rig_open(&r);
		if (strlen(rig_get(&r, "one")) != 2999 || strlen(rig_get(&r, "two")) != 2999)
			fail_msg("%s: rows are lost", names[i]);
		rig_close(&r);
		rig_open(&r);
		assert_int_equal(strlen(rig_get(&r, "two")), 2999);
		rig_close(&r);
		rig_remove(&r);
	}
}

/* An .edb from before, in the place of the one that the checkpoint means: its log is there, or it is refused. */
static void an_older_copy_of_the_rows_is_noticed(void **state)
{
	(void)state;
	for (int keep = 0; keep < 2; keep++) {
		struct rig r, copy;
		struct err err = { 0 };
		char cmd[1024], value[3000];

		rig_make(&r);
		r.o.segment_bytes = 64 * 1024;
		r.o.keep_logs = keep;
		rig_open(&r);
		memset(value, 'v', sizeof(value));
		value[sizeof(value) - 1] = '\0';
		rig_put(&r, "early", value);
		rig_close(&r);
		rig_fork(&r, &copy);
		rig_open(&r);
		for (int i = 0; i < 60; i++)
			rig_put(&r, "late", value);
		rig_close(&r);
		snprintf(cmd, sizeof(cmd),
			 "rm -r %s/mailbox/one.edb && cp -r %s/mailbox/one.edb %s/mailbox/", r.dir,
			 copy.dir, r.dir);
		assert_int_equal(system(cmd), 0);
		assert_int_equal(rig_try_open(&r, &err), keep ? ST_OK : ST_GONE);
		if (keep) {
			assert_int_equal(strlen(rig_get(&r, "late")), 2999);
		} else {
			assert_non_null(strstr(err.text, "is missing"));
		}
		rig_close(&r);
		rig_remove(&copy);
		rig_remove(&r);
	}
}

/* A recovery that meets no group begins to count anew: that is no gap. */
static void logs_that_two_recoveries_began_are_read_through(void **state)
{
	static const char zeros[4096];
	struct log_reader *reader;
	struct ese_stats stats;
	struct log_group g;
	struct err err = { 0 };
	struct rig a, b;
	char path[256];
	enum st st;
	int fd;

	(void)state;
	rig_make(&a);
	a.o.keep_logs = true;
	rig_open(&a);
	for (int i = 0; i < 5; i++)
		rig_put(&a, "row", "value");
	rig_close(&a);
	rig_open(&a);
	rig_settle(&a);
	ese_stats(a.g, &stats);
	rig_fork(&a, &b);
	rig_close(&a);
	rig_remove(&a);
	/* The power went when nothing of the second run was in its log file. */
	snprintf(path, sizeof(path), "%s/E00%08X.log", b.dir, pos_gen(stats.log_position));
	fd = open(path, O_RDWR);
	for (off_t at = SEG_HEAD; at < (off_t)pos_off(stats.log_position); at += sizeof(zeros))
		assert_int_equal(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
	close(fd);
	rig_open(&b);
	rig_put(&b, "row", "last");
	rig_close(&b);
	assert_int_equal(log_read_open(b.dir, 0, NULL, &reader, NULL), ST_OK);
	while ((st = log_read_group(reader, &g, &err)) == ST_OK)
		;
	if (st != ST_EOF)
		fail_msg("%s", err.text);
	log_read_close(reader);
	rig_remove(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_whole_log_is_read_to_its_end),
		cmocka_unit_test(a_torn_last_group_is_the_end),
		cmocka_unit_test(damage_before_the_last_group_is_refused_and_named),
		cmocka_unit_test(damage_in_the_group_that_ends_a_file_is_refused),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(a_damaged_or_newer_header_is_refused),
		cmocka_unit_test(a_file_cut_short_is_refused),
		cmocka_unit_test(a_lost_checkpoint_costs_only_time),
		cmocka_unit_test(a_lost_log_or_a_foreign_one_is_refused),
		cmocka_unit_test(a_torn_manifest_costs_only_time),
		cmocka_unit_test(an_older_copy_of_the_rows_is_noticed),
		cmocka_unit_test(the_log_goes_on_behind_a_torn_end_and_is_read_across_it),
		cmocka_unit_test(logs_that_two_recoveries_began_are_read_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
