/* test_backup_faults.c - a disk that fails under a backup or a restore, at every operation: a clear error, the source as it was,
 * and nothing half-done that counts as done. */
#include "rig.h"
#include "stride.h"

#include "ese/backup.h"
#include "ese/backup_copy.h"
#include "ese/io.h"
#include "ese/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the seam: only what the test's own thread does; the engine's threads have a disk that works ---- */

enum fault { NONE, ERROR, SHORT, FULL };

static _Atomic enum fault fault; /* the others look whether it is about them */
static long countdown;
static _Atomic pthread_t mine;

static bool strikes(void)
{
	return pthread_equal(pthread_self(), mine) && fault != NONE && countdown-- == 0;
}

/* From then on, for a full disk. */
static bool full(void)
{
	return pthread_equal(pthread_self(), mine) && fault == FULL && countdown-- <= 0;
}

static int bad(int error)
{
	errno = error;
	return -1;
}

static int bad_open(const char *path, int flags, mode_t mode)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	if (flags & O_CREAT && full())
		return bad(ENOSPC);
	return io_real()->open(path, flags, mode);
}

static ssize_t bad_pread(int fd, void *at, size_t len, off_t off)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	return io_real()->pread(fd, at, len, off);
}

static ssize_t bad_pwritev(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	if (full())
		return bad(ENOSPC);
	if (fault == SHORT && strikes() && iov[0].iov_len > 1) {
		struct iovec part = { iov[0].iov_base, iov[0].iov_len / 2 };

		return io_real()->pwritev(fd, &part, 1, off, rwf);
	}
	return io_real()->pwritev(fd, iov, n, off, rwf);
}

static int bad_sync(int fd)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	(void)fd;
	return 0;
}

static int bad_rename(const char *from, const char *to)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	return io_real()->rename(from, to);
}

static int bad_mkdir(const char *path, mode_t mode)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	if (full())
		return bad(ENOSPC);
	return io_real()->mkdir(path, mode);
}

static int bad_truncate(int fd, off_t len)
{
	if (fault == ERROR && strikes())
		return bad(EIO);
	return io_real()->truncate(fd, len);
}

static struct io_ops ops;

static void begin(enum fault f, long n)
{
	mine = pthread_self();
	fault = f;
	countdown = n;
}

/* ---- what is backed up ---- */

#define BATCHES 12

static void fill(struct rig *r)
{
	char key[16], value[24];

	rig_make(r);
	r->o.segment_bytes = 64 * 1024;
	rig_open(r);
	for (int i = 1; i <= BATCHES; i++) {
		snprintf(key, sizeof(key), "k%02d", i);
		snprintf(value, sizeof(value), "%llu",
			 (unsigned long long)rig_body(r, (size_t)i * 3000, (unsigned)i));
		rig_put(r, key, value);
	}
}

static void check(struct rig *r, const char *what, long n)
{
	for (int i = 1; i <= BATCHES; i++) {
		const char *id;
		char key[16];

		snprintf(key, sizeof(key), "k%02d", i);
		id = rig_get(r, key);
		if (!id[0])
			fail_msg("%s at %ld: batch %d is missing", what, n, i);
		rig_check_body(r, strtoull(id, NULL, 10), (size_t)i * 3000, (unsigned)i);
	}
}

static void remove_tree(const char *path)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", path);
	assert_int_equal(system(cmd), 0);
}

static enum st copy(struct rig *r, struct ese_backup *held, const char *dir, size_t *findings,
		    struct err *err)
{
	struct bk_options o = { .dir = dir, .full = true };
	struct ese_backup_info info;
	struct bk_source_db db;
	struct bk_source s = { .group = "first", .path = r->dir, .ndbs = 1, .dbs = &db };
	struct bk_run *run;
	uint32_t next;
	enum st st;

	ese_backup_info(held, &info);
	memcpy(s.signature, info.signature, sizeof(s.signature));
	s.first_gen = info.first_gen;
	db = (struct bk_source_db){ info.dbs[0].name, info.dbs[0].id, info.dbs[0].position,
				    info.dbs[0].stm_bytes, info.dbs[0].why };
	st = bk_run_new(&o, &s, 1, &run, err);
	if (st != ST_OK)
		return st;
	st = bk_run_rows(run, err);
	if (st == ST_OK)
		st = ese_backup_roll(held, &next, err);
	if (st == ST_OK)
		st = bk_run_log(run, "first", next, err);
	if (st == ST_OK)
		st = bk_run_end(run, err);
	*findings = bk_run_manifest(run)->nfindings;
	bk_run_free(run);
	return st;
}

/* The copier fails, not the engine. */
static enum st backup(struct rig *r, const char *dir, enum fault f, long n, size_t *findings,
		      struct err *err)
{
	struct ese_backup *held;
	enum st st;

	*findings = 0;
	assert_int_equal(ese_backup_begin(r->g, true, &held, NULL), ST_OK);
	begin(f, n);
	st = copy(r, held, dir, findings, err);
	fault = NONE;
	assert_int_equal(ese_backup_end(held, st == ST_OK, NULL), ST_OK);
	return st;
}

static int found;

static void on_found(void *arg, const char *text)
{
	(void)arg;
	(void)text;
	found++;
}

static enum st restore(const char *dir, const char *to, struct err *err)
{
	struct restore_options o = { .dir = dir, .to = to, .found = on_found };
	struct bk_seq seq;
	struct restored out;
	enum st st = bk_seq_read(dir, &seq, err);

	if (st == ST_OK)
		st = restore_choose(dir, &seq, 0, &o.full, err);
	if (st == ST_OK)
		st = restore_groups(&o, &out, err);
	if (st == ST_OK)
		restored_free(&out);
	bk_seq_free(&seq);
	return st;
}

static void restored_is_whole(const char *to, const char *what, long n)
{
	struct rig r = { .o = { .segment_bytes = 64 * 1024, .reserve_bytes = 1 } };
	struct err err = { 0 };

	snprintf(r.dir, sizeof(r.dir), "%.100s/first", to);
	if (rig_try_open(&r, &err) != ST_OK)
		fail_msg("%s at %ld: %s", what, n, err.text);
	check(&r, what, n);
	rig_close(&r);
}

static void every_operation_of_a_backup(enum fault f, const char *what, int least)
{
	char dir[160], to[100];
	size_t findings;
	struct err err;
	int failed = 0;
	struct rig r;

	ops = *io_real();
	ops.open = bad_open;
	ops.pread = bad_pread;
	ops.pwritev = bad_pwritev;
	ops.sync = bad_sync;
	ops.sync_dir = bad_sync;
	ops.rename = bad_rename;
	ops.mkdir = bad_mkdir;
	ops.truncate = bad_truncate;
	io_set_seam(&ops);
	fill(&r);
	snprintf(dir, sizeof(dir), "%s-backup", r.dir);
	snprintf(to, sizeof(to), "%.80s-back", r.dir);
	for (long n = 0;; n += fault_stride()) {
		enum st st;

		err = (struct err){ 0 };
		remove_tree(dir);
		st = backup(&r, dir, f, n, &findings, &err);
		if (countdown >= 0)
			break; /* all of them were tried */
		check(&r, what, n);
		if (st != ST_OK) {
			failed++;
			if (!err.text[0])
				fail_msg("%s at %ld: no words", what, n);
			/* It is none, and a second try makes it one. */
			assert_int_not_equal(restore(dir, to, &err), ST_OK);
			remove_tree(to);
			assert_int_equal(backup(&r, dir, NONE, 0, &findings, &err), ST_OK);
			assert_int_equal(findings, 0);
		}
		found = 0;
		if (n % 5 == 0 || findings) {
			assert_int_equal(restore(dir, to, &err), ST_OK);
			if (!findings && !found)
				restored_is_whole(to, what, n);
			remove_tree(to);
		}
	}
	assert_true(failed * fault_stride() >= least);
	assert_int_equal(r.broke, 0);
	io_set_seam(NULL);
	rig_close(&r);
	rig_remove(&r);
	remove_tree(dir);
}

static void a_backup_whose_disk_fails(void **state)
{
	(void)state;
	every_operation_of_a_backup(ERROR, "EIO", 30);
}

static void a_backup_whose_writes_are_short(void **state)
{
	(void)state;
	every_operation_of_a_backup(SHORT, "short writes", 0);
}

static void a_backup_whose_disk_is_full(void **state)
{
	(void)state;
	every_operation_of_a_backup(FULL, "ENOSPC", 10);
}

/* In a restore RocksDB and the engine's threads work on the target, too: what fails is what the restore itself does. */
static void every_operation_of_a_restore(enum fault f, const char *what, int least)
{
	char dir[160], to[100];
	struct err err = { 0 };
	size_t findings;
	int failed = 0;
	struct rig r;

	io_set_seam(&ops);
	fill(&r);
	snprintf(dir, sizeof(dir), "%s-backup", r.dir);
	snprintf(to, sizeof(to), "%.80s-back", r.dir);
	assert_int_equal(backup(&r, dir, NONE, 0, &findings, &err), ST_OK);
	for (long n = 0;; n += fault_stride()) {
		enum st st;

		err = (struct err){ 0 };
		found = 0;
		begin(f, n);
		st = restore(dir, to, &err);
		fault = NONE;
		if (countdown >= 0)
			break;
		if (st == ST_OK && !found)
			restored_is_whole(to, what, n);
		if (st != ST_OK) {
			failed++;
			if (!err.text[0])
				fail_msg("%s at %ld: no words", what, n);
		}
		assert_int_equal(restore_clear(to, &err), ST_OK);
	}
	/* The backup is as it was. */
	assert_int_equal(restore_clear(to, &err), ST_OK);
	assert_int_equal(restore(dir, to, &err), ST_OK);
	restored_is_whole(to, what, -1);
	assert_true(failed * fault_stride() >= least);
	io_set_seam(NULL);
	rig_close(&r);
	rig_remove(&r);
	remove_tree(dir);
	remove_tree(to);
}

static void a_restore_whose_disk_fails(void **state)
{
	(void)state;
	every_operation_of_a_restore(ERROR, "EIO", 30);
}

static void a_restore_whose_writes_are_short(void **state)
{
	(void)state;
	every_operation_of_a_restore(SHORT, "short writes", 0);
}

static void a_restore_whose_disk_is_full(void **state)
{
	(void)state;
	every_operation_of_a_restore(FULL, "ENOSPC", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backup_whose_disk_fails),
		cmocka_unit_test(a_backup_whose_writes_are_short),
		cmocka_unit_test(a_backup_whose_disk_is_full),
		cmocka_unit_test(a_restore_whose_disk_fails),
		cmocka_unit_test(a_restore_whose_writes_are_short),
		cmocka_unit_test(a_restore_whose_disk_is_full),
	};

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
