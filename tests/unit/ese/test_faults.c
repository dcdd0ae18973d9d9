/* test_faults.c - every file operation fails once, in every way: nothing acknowledged is lost, nothing hangs. */
#include "rig.h"
#include "stride.h"

#include "base/clock.h"
#include "ese/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the seam ---- */

enum fault { NONE, ERROR_ONCE, ERROR_FOREVER, SHORT_ONCE, DISK_FULL };

static _Atomic int fault;
static _Atomic long countdown; /* operations before the fault */
static _Atomic uint64_t said_free = UINT64_MAX / 2;

/* The machine stays up here: syncs only fail or do nothing, which makes hundreds of runs cheap. */

/* Does this operation fail? */
static bool strikes(void)
{
	long n = countdown--;

	if (fault == ERROR_ONCE)
		return n == 0;
	return fault == ERROR_FOREVER && n <= 0;
}

/* A full disk takes nothing that needs room: longer files, new files. */
static bool full(int fd, off_t end)
{
	struct stat st;

	return fault == DISK_FULL && countdown < 0 && fstat(fd, &st) == 0 && end > st.st_size;
}

#define FAIL_IF_STRUCK                                                                             \
	if (strikes()) {                                                                           \
		errno = EIO;                                                                       \
		return -1;                                                                         \
	}

static int bad_open(const char *path, int flags, mode_t mode)
{
	FAIL_IF_STRUCK
	return io_real()->open(path, flags & ~(O_DIRECT | O_DSYNC), mode);
}

static ssize_t bad_pwritev(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	size_t len = 0;
	long at = countdown;

	(void)rwf;
	FAIL_IF_STRUCK
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (full(fd, off + (off_t)len)) {
		errno = ENOSPC;
		return -1;
	}
	if (fault == SHORT_ONCE && at == 0 && iov[0].iov_len > 4096) {
		struct iovec part = { iov[0].iov_base, iov[0].iov_len / 2 / 4096 * 4096 };

		if (part.iov_len)
			return io_real()->pwritev(fd, &part, 1, off, 0);
	}
	return io_real()->pwritev(fd, iov, n, off, 0);
}

static int bad_sync(int fd)
{
	(void)fd;
	FAIL_IF_STRUCK
	return 0;
}

static int bad_sync_dir(int fd)
{
	(void)fd;
	FAIL_IF_STRUCK
	return 0;
}

static int bad_rename(const char *from, const char *to)
{
	FAIL_IF_STRUCK
	return io_real()->rename(from, to);
}

static int bad_unlink(const char *path)
{
	FAIL_IF_STRUCK
	return io_real()->unlink(path);
}

static int bad_truncate(int fd, off_t len)
{
	FAIL_IF_STRUCK
	return io_real()->truncate(fd, len);
}

static int bad_allocate(int fd, off_t off, off_t len)
{
	FAIL_IF_STRUCK
	if (full(fd, off + len)) {
		errno = ENOSPC;
		return -1;
	}
	return io_real()->allocate(fd, off, len);
}

static ssize_t bad_pread_cached(int fd, void *at, size_t len, off_t off)
{
	return io_real()->pread_cached(fd, at, len, off);
}

static int bad_forget(int fd, off_t off, off_t len)
{
	return io_real()->forget(fd, off, len);
}

static int bad_punch(int fd, off_t off, off_t len)
{
	FAIL_IF_STRUCK
	return io_real()->punch(fd, off, len);
}

static int bad_mkdir(const char *path, mode_t mode)
{
	FAIL_IF_STRUCK
	return io_real()->mkdir(path, mode);
}

static ssize_t bad_pread(int fd, void *at, size_t len, off_t off)
{
	FAIL_IF_STRUCK
	return io_real()->pread(fd, at, len, off);
}

static int said_space(const char *path, uint64_t *free_bytes)
{
	(void)path;
	*free_bytes = said_free;
	return 0;
}

/* The look at the disk is at most a second old: the tests make a second pass. */
static _Atomic int64_t ahead;

static int64_t clock_ahead(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec + ahead;
}

static const struct io_ops bad_ops = {
	.open = bad_open,
	.pread = bad_pread,
	.pwritev = bad_pwritev,
	.sync = bad_sync,
	.sync_dir = bad_sync_dir,
	.rename = bad_rename,
	.unlink = bad_unlink,
	.truncate = bad_truncate,
	.allocate = bad_allocate,
	.pread_cached = bad_pread_cached,
	.forget = bad_forget,
	.punch = bad_punch,
	.mkdir = bad_mkdir,
	.space = said_space,
};

/* ---- a workload that can break off anywhere ---- */

#define BATCHES 14

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static _Atomic bool broke;
static _Atomic int acked;

static void on_broken(void *arg, const struct err *why)
{
	(void)arg;
	assert_int_not_equal(why->st, ST_OK);
	pthread_mutex_lock(&lock);
	broke = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void on_done(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	acked++;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

/* Batch i: a row, a body of i * 1,500 bytes.  False: refused or broken. */
static bool one_batch(struct rig *r, int i)
{
	static char bytes[BATCHES * 1500 + 1];
	struct ese_batch *b;
	struct ese_body *body;
	char key[16], value[24];
	struct err err = { 0 };
	size_t len = (size_t)i * 1500;
	enum st st;

	rig_bytes(bytes, len, (unsigned)i);
	if (ese_body_new(r->db, &body, NULL) != ST_OK)
		return false;
	while ((st = ese_body_write(body, bytes, len, &err)) == ST_BUSY)
		rig_wait_room(r);
	if (st != ST_OK) {
		ese_body_drop(body);
		return false;
	}
	assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
	snprintf(key, sizeof(key), "k%02d", i);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)ese_body_id(body));
	ese_put(b, span_str(key), span_str(value));
	ese_link(b, body);
	ese_body_drop(body);
	return ese_commit(b, on_done, NULL, &err) == ST_OK;
}

/* The first bodies go, the others move to their places, the end of the file is given back. */
#define GONE 7
static bool compacting;

static void make_room(struct rig *r)
{
	struct ese_compact_options o = { .punch = true };
	struct ese_compact_figures f;

	for (int i = 1; i <= GONE && !broke; i++) {
		struct ese_batch *b;
		int before = acked;
		char key[16];

		snprintf(key, sizeof(key), "k%02d", i);
		assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
		ese_unlink(b, strtoull(rig_get(r, key), NULL, 10));
		ese_delete(b, span_str(key));
		if (ese_commit(b, on_done, NULL, NULL) != ST_OK)
			return;
		pthread_mutex_lock(&lock);
		while (acked == before && !broke)
			pthread_cond_wait(&cond, &lock);
		pthread_mutex_unlock(&lock);
	}
	if (!broke && ese_compact(r->db, &o, &f, NULL) == ST_OK && fault == NONE) {
		assert_true(f.bodies_moved > 0);
		assert_true(f.pages_now < f.pages_before);
	}
}

/* Returns how many batches were acknowledged. */
static int workload(struct rig *r, bool *opened, bool *refused)
{
	struct err err;
	int done = 0;

	acked = 0;
	broke = false;
	*refused = false;
	*opened = rig_try_open(r, &err) == ST_OK;
	for (int i = 1; *opened && i <= BATCHES; i++) {
		if (!one_batch(r, i)) {
			*refused = true;
			break;
		}
		pthread_mutex_lock(&lock);
		while (acked < i && !broke)
			pthread_cond_wait(&cond, &lock);
		pthread_mutex_unlock(&lock);
		if (broke)
			break;
		if (i == 6 && ese_checkpoint(r->g, NULL) != ST_OK)
			break;
	}
	if (compacting && *opened && !*refused && !broke && acked == BATCHES) {
		make_room(r);
		done = BATCHES;
	}
	ese_close(r->g);
	r->g = NULL;
	return done ? done : acked;
}

static void check(struct rig *r, int at_least, const char *what, long n)
{
	struct err err = { 0 };

	if (rig_try_open(r, &err) != ST_OK)
		fail_msg("%s at %ld: open: %s", what, n, err.text);
	for (int i = 1; i <= at_least; i++) {
		const char *id;
		char key[16];

		snprintf(key, sizeof(key), "k%02d", i);
		id = rig_get(r, key);
		if (compacting && i <= GONE && id[0] == '\0')
			continue;
		if (id[0] == '\0')
			fail_msg("%s at %ld: batch %d of %d is lost", what, n, i, at_least);
		rig_check_body(r, strtoull(id, NULL, 10), (size_t)i * 1500, (unsigned)i);
	}
	rig_close(r);
}

/* Bodies go beside the log too. */
static bool circular;

static void options(struct rig *r)
{
	r->o.segment_bytes = 64 * 1024;
	r->o.circular = circular;
	r->o.direct_bytes = 8000;
	r->o.broken = on_broken;
}

static void set(enum fault f, long n)
{
	countdown = n;
	fault = f;
}

/* Each test begins at another operation. */
static long started;

static void every_operation_fails(const char *what, enum fault f, int *breaks)
{
	uint64_t counted = io_count();
	bool opened, refused;
	long operations;
	struct rig r;

	io_set_seam(&bad_ops);
	set(NONE, 1000000);
	rig_make(&r);
	options(&r);
	assert_int_equal(workload(&r, &opened, &refused), BATCHES);
	operations = 1000000 - countdown;
	assert_true((uint64_t)operations >= io_count() - counted); /* reads are not counted there */
	rig_remove(&r);
	for (long n = started++ % fault_stride(); n <= operations; n += fault_stride()) {
		int done;

		rig_make(&r);
		options(&r);
		set(f, n);
		done = workload(&r, &opened, &refused);
		*breaks += broke || !opened || refused;
		set(NONE, 0);
		check(&r, done, what, n);
		rig_remove(&r);
	}
	io_set_seam(NULL);
}

static void each_operation_fails_once(void **state)
{
	int breaks = 0;

	(void)state;
	every_operation_fails("EIO once", ERROR_ONCE, &breaks);
	assert_true(breaks * fault_stride() > 50);
}

static void each_operation_and_all_after_it_fail(void **state)
{
	int breaks = 0;

	(void)state;
	every_operation_fails("EIO for ever", ERROR_FOREVER, &breaks);
	assert_true(breaks * fault_stride() > 100);
}

static void each_write_is_short_once(void **state)
{
	int breaks = 0;

	(void)state;
	every_operation_fails("short write", SHORT_ONCE, &breaks);
	assert_int_equal(breaks, 0);
}

static void the_disk_is_full_from_each_operation_on(void **state)
{
	int breaks = 0;

	(void)state;
	every_operation_fails("ENOSPC", DISK_FULL, &breaks);
	assert_true(breaks * fault_stride() > 10);
}

static void with_circular_logging_too(void **state)
{
	int breaks = 0, refusals = 0;

	(void)state;
	circular = true;
	every_operation_fails("circular, EIO once", ERROR_ONCE, &breaks);
	assert_true(breaks * fault_stride() > 50);
	every_operation_fails("circular, ENOSPC", DISK_FULL, &refusals);
	assert_true(refusals * fault_stride() > 10);
	breaks = 0;
	every_operation_fails("circular, short write", SHORT_ONCE, &breaks);
	assert_int_equal(breaks, 0);
	circular = false;
}

static void with_bodies_that_move(void **state)
{
	int breaks = 0, refusals = 0;

	(void)state;
	compacting = true;
	every_operation_fails("moving, EIO once", ERROR_ONCE, &breaks);
	assert_true(breaks * fault_stride() > 50);
	every_operation_fails("moving, ENOSPC", DISK_FULL, &refusals);
	assert_true(refusals * fault_stride() > 10);
	circular = true;
	every_operation_fails("moving, circular, EIO once", ERROR_ONCE, &breaks);
	circular = compacting = false;
}

static bool commits(struct rig *r, int i)
{
	int before = acked;

	if (!one_batch(r, i))
		return false;
	pthread_mutex_lock(&lock);
	while (acked == before && !broke)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	return !broke;
}

static void below_the_reserve_work_is_refused_and_comes_back_with_the_space(void **state)
{
	struct ese_batch *b;
	struct ese_stats s;
	struct rig r;

	(void)state;
	clock_set_seam(&(struct clock_seam){ .mono = clock_ahead });
	io_set_seam(&bad_ops);
	set(NONE, 0);
	rig_make(&r);
	r.o.reserve_bytes = 1 << 20;
	r.o.broken = on_broken;
	acked = 0;
	broke = false;
	rig_open(&r);
	assert_true(commits(&r, 1));
	said_free = 1 << 19;
	ahead += 2 * NS_PER_SEC;
	assert_false(commits(&r, 2));
	ese_stats(r.g, &s);
	assert_true(s.refusing);
	/* Rows alone go deeper: deleting must be possible. */
	rig_put(&r, "still", "works");
	said_free = 1 << 10;
	ahead += 2 * NS_PER_SEC;
	assert_int_equal(ese_batch_new(r.db, 1, &b, NULL), ST_OK);
	ese_put(b, SPAN("no"), SPAN("more"));
	assert_int_equal(ese_commit(b, on_done, NULL, NULL), ST_NOSPACE);
	said_free = UINT64_MAX / 2;
	ahead += 2 * NS_PER_SEC;
	assert_true(commits(&r, 3));
	assert_false(broke);
	rig_close(&r);
	io_set_seam(NULL);
	clock_set_seam(NULL);
	rig_remove(&r);
}

static void a_full_disk_refuses_while_the_log_can_still_be_written(void **state)
{
	bool refused = false;
	struct rig r;
	int i, tries;

	(void)state;
	io_set_seam(&bad_ops);
	set(NONE, 0);
	rig_make(&r);
	r.o.segment_bytes = 64 * 1024;
	r.o.keep_logs = true;
	r.o.broken = on_broken;
	acked = 0;
	broke = false;
	rig_open(&r);
	set(DISK_FULL, -1);
	for (i = 0; i < 100 && !refused; i++)
		refused = !commits(&r, 10);
	assert_true(refused);
	assert_false(broke);
	set(NONE, 0);
	for (tries = 0; tries < 50 && !commits(&r, 5); tries++)
		usleep(100 * 1000);
	assert_true(tries < 50);
	rig_close(&r);
	io_set_seam(NULL);
	rig_open(&r);
	rig_close(&r);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_operation_fails_once),
		cmocka_unit_test(each_operation_and_all_after_it_fail),
		cmocka_unit_test(each_write_is_short_once),
		cmocka_unit_test(the_disk_is_full_from_each_operation_on),
		cmocka_unit_test(with_circular_logging_too),
		cmocka_unit_test(with_bodies_that_move),
		cmocka_unit_test(below_the_reserve_work_is_refused_and_comes_back_with_the_space),
		cmocka_unit_test(a_full_disk_refuses_while_the_log_can_still_be_written),
	};

	/* Hundreds of groups are opened: RocksDB's own syncs would take most of the time. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
