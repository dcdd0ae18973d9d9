/* test_pdb.c - rows: what is read is what was written last, whichever of memory and files holds it; snapshots. */
#include "ese/pdb.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct pdb_conf conf = { .cache_bytes = 1 << 20,
				      .buffer_bytes = 1 << 20,
				      .files_max = 100 };

struct box {
	char dir[128], rows[160], copy[160];
	struct pdb *p;
};

static void ok(enum st st, const struct err *err)
{
	if (st != ST_OK)
		print_error("%s\n", err->text);
	assert_int_equal(st, ST_OK);
}

static void box_make(struct box *b)
{
	const char *tmp = getenv("TMPDIR");
	struct err err = { 0 };

	snprintf(b->dir, sizeof(b->dir), "%s/pdb-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->rows, sizeof(b->rows), "%s/rows", b->dir);
	snprintf(b->copy, sizeof(b->copy), "%s/copy", b->dir);
	ok(pdb_open(b->rows, true, &conf, &b->p, &err), &err);
}

static void box_remove(struct box *b)
{
	char cmd[200];

	pdb_close(b->p);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", b->dir);
	assert_int_equal(system(cmd), 0);
}

/* A NULL value deletes. */
static void write_one(struct pdb *p, const char *key, const char *value)
{
	struct pdb_batch *b = pdb_batch_new();
	struct err err = { 0 };

	if (value)
		pdb_put(b, span_str(key), span_str(value));
	else
		pdb_delete(b, span_str(key));
	ok(pdb_write(p, b, &err), &err);
	pdb_batch_free(b);
}

static void expect(struct pdb *p, const char *key, const char *value)
{
	struct err err = { 0 };
	struct span v;
	void *hold;
	enum st st = pdb_get(p, span_str(key), &v, &hold, &err);

	if (!value) {
		assert_int_equal(st, ST_NOTFOUND);
		return;
	}
	ok(st, &err);
	assert_int_equal(v.len, strlen(value));
	assert_memory_equal(v.at, value, v.len);
	pdb_release(hold);
}

/* "key=value " of every row in the range. */
static const char *listed(struct pdb *p, struct span from, struct span to)
{
	static char out[4096];
	struct pdb_iter *it;
	struct err err = { 0 };
	struct span k, v;
	size_t at = 0;
	enum st st;

	ok(pdb_iter_new(p, from, to, &it, &err), &err);
	out[0] = '\0';
	while ((st = pdb_iter_next(it, &k, &v, &err)) == ST_OK)
		at += (size_t)snprintf(out + at, sizeof(out) - at, "%.*s=%.*s ", (int)k.len, k.at,
				       (int)v.len, v.at);
	assert_int_equal(st, ST_EOF);
	pdb_iter_free(it);
	return out;
}

static void a_range_may_be_open_at_both_ends(void **state)
{
	struct box b;

	(void)state;
	box_make(&b);
	write_one(b.p, "\x01", "applied");
	write_one(b.p, "\xff\xff", "last");
	write_one(b.p, "m", "middle");
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE),
			    "\x01=applied m=middle \xff\xff=last ");
	assert_string_equal(listed(b.p, SPAN("\x02"), SPAN_NONE), "m=middle \xff\xff=last ");
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN("m")), "\x01=applied ");
	box_remove(&b);
}

static void a_snapshot_is_a_database_of_its_own(void **state)
{
	struct pdb *copy;
	struct err err = { 0 };
	struct box b;

	(void)state;
	box_make(&b);
	write_one(b.p, "\x01", "one");
	write_one(b.p, "flushed", "x");
	ok(pdb_flush(b.p, &err), &err);
	write_one(b.p, "in memory", "y");
	ok(pdb_snapshot(b.p, b.copy, &err), &err);
	write_one(b.p, "later", "z");
	write_one(b.p, "flushed", NULL);
	ok(pdb_flush(b.p, &err), &err);
	ok(pdb_open_readonly(b.copy, &conf, &copy, &err), &err);
	assert_string_equal(listed(copy, SPAN_NONE, SPAN_NONE), "\x01=one flushed=x in memory=y ");
	expect(copy, "in memory", "y");
	expect(copy, "later", NULL);
	pdb_close(copy);
	pdb_close(b.p);
	ok(pdb_open(b.copy, false, &conf, &b.p, &err), &err);
	write_one(b.p, "in memory", "changed");
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE),
			    "\x01=one flushed=x in memory=changed ");
	pdb_close(b.p);
	ok(pdb_open(b.rows, false, &conf, &b.p, &err), &err);
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE), "\x01=one in memory=y later=z ");
	box_remove(&b);
}

static void a_snapshot_is_never_put_over_something(void **state)
{
	struct err err = { 0 };
	struct stat info;
	struct box b;
	char path[200];

	(void)state;
	box_make(&b);
	write_one(b.p, "a", "b");
	assert_int_equal(mkdir(b.copy, 0700), 0);
	assert_int_not_equal(pdb_snapshot(b.p, b.copy, &err), ST_OK);
	assert_non_null(strstr(err.text, b.copy));
	assert_int_equal(rmdir(b.copy), 0);
	snprintf(path, sizeof(path), "%s/none/copy", b.dir);
	assert_int_not_equal(pdb_snapshot(b.p, path, &err), ST_OK);
	assert_int_equal(stat(path, &info), -1);
	expect(b.p, "a", "b");
	box_remove(&b);
}

static void looking_changes_nothing(void **state)
{
	struct pdb *one, *two;
	struct err err = { 0 };
	char cmd[400];
	struct box b;

	(void)state;
	box_make(&b);
	write_one(b.p, "a", "b");
	ok(pdb_flush(b.p, &err), &err);
	pdb_close(b.p);
	b.p = NULL;
	snprintf(cmd, sizeof(cmd), "cd '%s' && cksum * > ../before", b.rows);
	assert_int_equal(system(cmd), 0);
	ok(pdb_open_readonly(b.rows, &conf, &one, &err), &err);
	ok(pdb_open_readonly(b.rows, &conf, &two, &err), &err);
	pdb_close(one);
	pdb_close(two);
	snprintf(cmd, sizeof(cmd), "cd '%s' && cksum * | cmp - ../before", b.rows);
	assert_int_equal(system(cmd), 0);
	snprintf(cmd, sizeof(cmd), "%s/nothing", b.dir);
	assert_int_not_equal(pdb_open_readonly(cmd, &conf, &one, &err), ST_OK);
	assert_int_equal(access(cmd, F_OK), -1);
	box_remove(&b);
}

/* One row is in three places at once: what was put last counts, in reading one and in listing. */
static void memory_lies_over_files(void **state)
{
	struct err err = { 0 };
	struct pdb_iter *it;
	struct span k, v;
	struct box b;

	(void)state;
	box_make(&b);
	for (int i = 0; i < 3; i++) {
		write_one(b.p, "a", i == 0 ? "old" : i == 1 ? NULL : "new");
		write_one(b.p, "b", i == 1 ? NULL : "kept");
		write_one(b.p, "c", i == 2 ? NULL : "gone");
		write_one(b.p, i == 0 ? "d" : i == 1 ? "e" : "f", "x");
		if (i < 2)
			ok(pdb_flush(b.p, &err), &err);
	}
	expect(b.p, "a", "new");
	expect(b.p, "c", NULL);
	expect(b.p, "d", "x");
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE), "a=new b=kept d=x e=x f=x ");
	assert_string_equal(listed(b.p, SPAN("aa"), SPAN("e")), "b=kept d=x ");
	ok(pdb_iter_new(b.p, SPAN_NONE, SPAN_NONE, &it, &err), &err);
	write_one(b.p, "a", NULL);
	write_one(b.p, "b", NULL);
	ok(pdb_flush(b.p, &err), &err);
	write_one(b.p, "0", "later");
	ok(pdb_flush(b.p, &err), &err);
	ok(pdb_iter_next(it, &k, &v, &err), &err);
	assert_true(span_eq(k, SPAN("a")) && span_eq(v, SPAN("new")));
	ok(pdb_iter_next(it, &k, &v, &err), &err);
	assert_true(span_eq(k, SPAN("b")));
	pdb_iter_free(it);
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE), "0=later d=x e=x f=x ");
	box_remove(&b);
}

/* Batch n writes n into every key; tables fill and go to files meanwhile. */
struct writing {
	struct box *b;
	_Atomic bool stop;
};

static void *read_while_written(void *arg)
{
	struct writing *w = arg;

	while (!w->stop) {
		struct pdb_iter *it;
		struct span k, v, first = SPAN_NONE;
		char kept[16];
		int rows = 0;

		if (pdb_iter_new(w->b->p, SPAN("k"), SPAN("l"), &it, NULL) != ST_OK)
			return arg;
		while (pdb_iter_next(it, &k, &v, NULL) == ST_OK) {
			if (rows++ == 0) {
				memcpy(kept, v.at, 8);
				first = span_of(kept, 8);
			}
			if (!span_eq(span_cut(v, 8), first))
				return arg;
		}
		pdb_iter_free(it);
		if (rows != 0 && rows != 40)
			return arg;
	}
	return NULL;
}

static void a_reader_sees_whole_batches_while_tables_go_to_files(void **state)
{
	struct err err = { 0 };
	pthread_t threads[3];
	struct box b;
	struct writing w = { .b = &b };
	struct pdb_batch *batch = pdb_batch_new();
	char value[3000];

	(void)state;
	box_make(&b);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_while_written, &w), 0);
	memset(value, 'v', sizeof(value));
	for (int n = 1; n <= 200; n++) {
		char key[8];

		memcpy(value, (char[8]){ (char)n, (char)(n >> 8) }, 8);
		for (int i = 0; i < 40; i++) {
			snprintf(key, sizeof(key), "k%02d", i);
			pdb_put(batch, span_str(key), span_of(value, sizeof(value)));
		}
		ok(pdb_write(b.p, batch, &err), &err);
		if (n % 60 == 0)
			ok(pdb_flush(b.p, &err), &err);
	}
	w.stop = true;
	for (size_t i = 0; i < 3; i++) {
		void *result;

		pthread_join(threads[i], &result);
		assert_null(result);
	}
	pdb_batch_free(batch);
	box_remove(&b);
}

static void prepare_one(struct pdb *p, const char *key, const char *value)
{
	struct pdb_batch *b = pdb_batch_new();
	struct err err = { 0 };

	pdb_put(b, span_str(key), span_str(value));
	ok(pdb_prepare(p, b, &err), &err);
	pdb_batch_free(b);
}

static void *flush_beside(void *arg)
{
	return pdb_flush(arg, NULL) == ST_OK ? NULL : arg;
}

static void what_is_prepared_is_not_there_until_it_is_published(void **state)
{
	struct err err = { 0 };
	pthread_t thread;
	void *result;
	struct box b;

	(void)state;
	box_make(&b);
	write_one(b.p, "a", "before");
	prepare_one(b.p, "a", "after");
	expect(b.p, "a", "before");
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE), "a=before ");
	/* A flush takes it whole or not at all, so it waits. */
	assert_int_equal(pthread_create(&thread, NULL, flush_beside, b.p), 0);
	ok(pdb_publish(b.p, &err), &err);
	expect(b.p, "a", "after");
	pthread_join(thread, &result);
	assert_null(result);
	prepare_one(b.p, "b", "never");
	pdb_abandon(b.p);
	expect(b.p, "b", NULL);
	assert_int_equal(pdb_flush(b.p, &err), ST_IO);
	pdb_close(b.p);
	ok(pdb_open(b.rows, false, &conf, &b.p, &err), &err);
	assert_string_equal(listed(b.p, SPAN_NONE, SPAN_NONE), "a=after ");
	box_remove(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_may_be_open_at_both_ends),
		cmocka_unit_test(a_snapshot_is_a_database_of_its_own),
		cmocka_unit_test(a_snapshot_is_never_put_over_something),
		cmocka_unit_test(looking_changes_nothing),
		cmocka_unit_test(memory_lies_over_files),
		cmocka_unit_test(what_is_prepared_is_not_there_until_it_is_published),
		cmocka_unit_test(a_reader_sees_whole_batches_while_tables_go_to_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
