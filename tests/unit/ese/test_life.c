/* test_life.c - databases that come and go while their group runs, and those that can't come up. */
#include "ese/ese_int.h"
#include "ese/io.h"
#include "ese/rows.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* `what`, in the folder of `r`; $other is the folder of another one. */
static void shell(const struct rig *r, const struct rig *other, const char *what)
{
	char cmd[2048];

	snprintf(cmd, sizeof(cmd), "cd '%s' && other='%s' && { %s; }", r->dir,
		 other ? other->dir : "", what);
	if (system(cmd) != 0)
		fail_msg("%s", cmd);
}

static bool there(const struct rig *r, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	return access(path, F_OK) == 0;
}

/* The same group, its database NAME. */
static struct rig with(const struct rig *r, const char *name)
{
	struct rig other = *r;
	struct err err = { 0 };

	if (ese_db_open(r->g, name, true, &other.db, &err) != ST_OK)
		fail_msg("open %s: %s", name, err.text);
	return other;
}

static struct ese_db_info info_of(struct ese *g, const char *name)
{
	struct ese_db_info i = { 0 };
	struct ese_db *db = NULL;

	ese_db_open(g, name, false, &db, NULL);
	if (db)
		ese_db_info(db, &i);
	return i;
}

static void must(enum st st, const struct err *err)
{
	if (st != ST_OK)
		fail_msg("%s: %s", st_name(st), err->text);
}

/* ---- down and up ---- */

static void every_call_is_gone(struct ese_db *db)
{
	struct ese_value v;
	struct ese_iter *it;
	struct ese_body *body;
	struct ese_batch *b;
	struct ese_scatter s;
	struct err err = { 0 };
	char byte;

	assert_int_equal(ese_get(db, SPAN("k"), &v, &err), ST_GONE);
	assert_non_null(strstr(err.text, "database two"));
	assert_int_equal(ese_iter_new(db, SPAN("a"), SPAN("z"), &it, NULL), ST_GONE);
	assert_int_equal(ese_body_new(db, &body, NULL), ST_GONE);
	assert_int_equal(ese_batch_new(db, 1, &b, NULL), ST_GONE);
	assert_int_equal(ese_body_find(db, 1, false, &s, NULL), ST_GONE);
	assert_int_equal(ese_body_read(db, 1, 0, &byte, 1, NULL), ST_GONE);
	assert_int_equal(ese_pin(db), 0);
	ese_unpin(db, 0);
	assert_int_equal(ese_db_stream_fd(db), -1);
}

static void a_dismounted_database_is_gone_until_it_is_mounted_and_the_others_go_on(void **state)
{
	struct err err = { 0 };
	struct ese_db *again;
	struct rig r, two;
	uint64_t id;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	two = with(&r, "two");
	rig_put(&two, "k", "v");
	id = rig_body(&two, 100000, 1);
	must(ese_db_dismount(two.db, &err), &err);
	every_call_is_gone(two.db);
	assert_int_equal(ese_db_open(r.g, "two", true, &again, &err), ST_GONE);
	assert_ptr_equal(again, two.db);
	assert_int_equal(info_of(r.g, "two").state, ESE_DOWN);
	assert_int_equal(info_of(r.g, "two").bodies, 1);
	rig_put(&r, "meanwhile", "here");
	must(ese_db_mount(two.db, &err), &err);
	assert_string_equal(rig_get(&two, "k"), "v");
	rig_check_body(&two, id, 100000, 1);
	rig_put(&two, "k", "w");
	must(ese_db_dismount(two.db, &err), &err);
	must(ese_db_dismount(two.db, &err), &err);
	rig_close(&r);
	rig_open(&r);
	assert_int_equal(info_of(r.g, "two").state, ESE_DOWN);
	assert_string_equal(rig_get(&r, "meanwhile"), "here");
	assert_int_equal(ese_db_open(r.g, "two", false, &two.db, NULL), ST_GONE);
	two.g = r.g;
	must(ese_db_mount(two.db, &err), &err);
	assert_string_equal(rig_get(&two, "k"), "w");
	rig_check_body(&two, id, 100000, 1);
	rig_close(&r);
	rig_remove(&r);
}

static void a_database_in_use_is_not_dismounted(void **state)
{
	struct err err = { 0 };
	struct ese_iter *it;
	struct ese_body *body;
	struct ese_batch *b;
	struct rig r;
	uint64_t pin;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	rig_put(&r, "k", "v");
	assert_int_equal(ese_batch_new(r.db, 1, &b, NULL), ST_OK);
	assert_int_equal(ese_db_dismount(r.db, &err), ST_BUSY);
	ese_batch_free(b);
	body = rig_write(&r, 1000, 1);
	assert_int_equal(ese_db_dismount(r.db, NULL), ST_BUSY);
	ese_body_drop(body);
	assert_int_equal(ese_iter_new(r.db, SPAN("a"), SPAN("z"), &it, NULL), ST_OK);
	assert_int_equal(ese_db_dismount(r.db, NULL), ST_BUSY);
	ese_iter_free(it);
	pin = ese_pin(r.db);
	assert_int_equal(ese_db_dismount(r.db, NULL), ST_BUSY);
	assert_string_equal(rig_get(&r, "k"), "v");
	ese_unpin(r.db, pin);
	must(ese_db_dismount(r.db, &err), &err);
	must(ese_db_mount(r.db, &err), &err);
	assert_string_equal(rig_get(&r, "k"), "v");
	rig_close(&r);
	rig_remove(&r);
}

/* What a kill leaves after each of these is what the caller was told. */
static void a_kill_after_each_change_leaves_it(void **state)
{
	struct rig r, two, copy;
	struct err err = { 0 };

	(void)state;
	rig_make(&r);
	rig_open(&r);
	two = with(&r, "two");
	rig_put(&two, "k", "v");
	must(ese_db_dismount(two.db, &err), &err);
	for (int change = 0; change < 3; change++) {
		struct rig in_copy;

		rig_fork(&r, &copy);
		rig_open(&copy);
		assert_int_equal(info_of(copy.g, "two").state, change == 0   ? ESE_DOWN
							       : change == 1 ? ESE_UP
									     : 0);
		if (change == 1) {
			in_copy = with(&copy, "two");
			assert_string_equal(rig_get(&in_copy, "k"), "w");
		}
		assert_int_equal(there(&copy, "two.edb"), change < 2);
		rig_close(&copy);
		rig_remove(&copy);
		if (change == 0) {
			must(ese_db_mount(two.db, &err), &err);
			rig_put(&two, "k", "w");
		} else if (change == 1) {
			must(ese_db_remove(two.db, &err), &err);
		}
	}
	rig_close(&r);
	rig_remove(&r);
}

static void a_removed_database_is_gone_for_good_and_its_name_is_free(void **state)
{
	struct err err = { 0 };
	struct rig r, two, again;
	uint64_t id;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	two = with(&r, "two");
	rig_put(&two, "k", "v");
	rig_body(&two, 50000, 1);
	id = ese_db_id(two.db);
	must(ese_db_remove(two.db, &err), &err);
	assert_false(there(&r, "two.edb") || there(&r, "two.stm") || there(&r, "two.edb.gone"));
	every_call_is_gone(two.db);
	assert_int_equal(ese_db_mount(two.db, NULL), ST_GONE);
	assert_int_equal(ese_db_list(r.g, NULL, 0), 1);
	again = with(&r, "two");
	assert_true(ese_db_id(again.db) != id);
	assert_string_equal(rig_get(&again, "k"), "");
	rig_put(&again, "k", "new");
	rig_close(&r);
	rig_open(&r);
	again = with(&r, "two");
	assert_string_equal(rig_get(&again, "k"), "new");
	assert_int_equal(ese_db_list(r.g, NULL, 0), 2);
	rig_close(&r);
	rig_remove(&r);
}

/* The log of before tells of the removal of another database of that name. */
static void a_kill_soon_after_a_name_was_used_again_leaves_the_new_database(void **state)
{
	struct err err = { 0 };
	struct rig r, two, again, copy;
	uint64_t id;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	two = with(&r, "two");
	rig_put(&two, "k", "old");
	rig_body(&two, 50000, 1);
	must(ese_db_remove(two.db, &err), &err);
	again = with(&r, "two");
	rig_put(&again, "k", "new");
	id = rig_body(&again, 60000, 2);
	rig_fork(&r, &copy);
	rig_close(&r);
	rig_remove(&r);
	for (int opened = 0; opened < 2; opened++) {
		rig_open(&copy);
		assert_int_equal(info_of(copy.g, "two").state, ESE_UP);
		assert_int_equal(ese_db_list(copy.g, NULL, 0), 2);
		again = with(&copy, "two");
		assert_string_equal(rig_get(&again, "k"), "new");
		rig_check_body(&again, id, 60000, 2);
		assert_true(there(&copy, "two.edb") && there(&copy, "two.stm"));
		rig_close(&copy);
	}
	rig_remove(&copy);
}

/* ---- failed ---- */

/* "two" loses something; the group comes up without it, keeps its log, and it comes back when it is mended. */
static void a_database_that_fails_alone_is_mended_and_replayed(void **state)
{
	static const struct {
		const char *name, *spoil, *mend, *says;
	} rows[] = {
		{ "its files are away", "mv two.edb away; mv two.stm away.stm",
		  "mv away two.edb; mv away.stm two.stm", "its files are missing" },
		{ "its stream is away", "mv two.stm away.stm", "mv away.stm two.stm",
		  "its files are missing" },
		{ "its rows are damaged", "cp two.edb/CURRENT away; echo damaged > two.edb/CURRENT",
		  "cp away two.edb/CURRENT", "two.edb" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct rig r, dead, two;
		struct err err = { 0 };
		uint64_t id, oldest;

		rig_make(&dead);
		dead.o.segment_bytes = 64 * 1024;
		dead.o.checkpoint_bytes = 128 * 1024;
		rig_open(&dead);
		two = with(&dead, "two");
		rig_put(&two, "k", "v");
		id = rig_body(&two, 60000, 3);
		rig_fork(&dead, &r);
		rig_close(&dead);
		rig_remove(&dead);
		shell(&r, NULL, rows[i].spoil);
		rig_open(&r);
		if (info_of(r.g, "two").state != ESE_FAILED ||
		    !strstr(info_of(r.g, "two").reason, rows[i].says))
			fail_msg("%s: %d, %s", rows[i].name, info_of(r.g, "two").state,
				 info_of(r.g, "two").reason);
		assert_true(info_of(r.g, "two").holds_log);
		oldest = info_of(r.g, "two").position >> 32;
		/* Many log files later, and after a restart, what it needs is still there. */
		for (unsigned k = 0; k < 30; k++)
			rig_body(&r, 30000, k);
		rig_close(&r);
		rig_open(&r);
		for (unsigned k = 0; k < 10; k++)
			rig_body(&r, 30000, k);
		assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
		assert_int_equal(info_of(r.g, "two").position >> 32, oldest);
		assert_int_equal(ese_db_open(r.g, "two", true, &two.db, NULL), ST_GONE);
		assert_true(ese_db_mount(two.db, NULL) != ST_OK);
		shell(&r, NULL, rows[i].mend);
		two.g = r.g;
		must(ese_db_mount(two.db, &err), &err);
		assert_string_equal(rig_get(&two, "k"), "v");
		rig_check_body(&two, id, 60000, 3);
		rig_put(&two, "k", "w");
		assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
		rig_close(&r);
		rig_open(&r);
		two = with(&r, "two");
		assert_string_equal(rig_get(&two, "k"), "w");
		rig_check_body(&two, id, 60000, 3);
		rig_close(&r);
		rig_remove(&r);
	}
}

static void a_failed_database_is_removed_and_lets_the_log_go(void **state)
{
	struct err err = { 0 };
	struct rig r, two;

	(void)state;
	rig_make(&r);
	r.o.segment_bytes = 64 * 1024;
	rig_open(&r);
	two = with(&r, "two");
	rig_put(&two, "k", "v");
	rig_close(&r);
	shell(&r, NULL, "rm -r two.*");
	rig_open(&r);
	assert_int_equal(ese_db_open(r.g, "two", true, &two.db, NULL), ST_GONE);
	for (unsigned k = 0; k < 10; k++)
		rig_body(&r, 30000, k);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	assert_true(there(&r, "E0000000002.log"));
	must(ese_db_remove(two.db, &err), &err);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	assert_false(there(&r, "E0000000002.log"));
	assert_int_equal(ese_db_list(r.g, NULL, 0), 1);
	rig_close(&r);
	rig_open(&r);
	assert_int_equal(ese_db_list(r.g, NULL, 0), 1);
	rig_close(&r);
	rig_remove(&r);
}

/* Without a checkpoint only the log knows the database. */
static void a_database_that_only_the_log_names_is_listed_unless_it_was_removed(void **state)
{
	(void)state;
	for (int removed = 0; removed < 2; removed++) {
		struct rig r, two, copy;
		struct err err = { 0 };

		rig_make(&r);
		rig_open(&r);
		two = with(&r, "two");
		rig_put(&two, "k", "v");
		if (removed)
			must(ese_db_remove(two.db, &err), &err);
		rig_fork(&r, &copy);
		shell(&copy, NULL, "rm -rf E00.chk two.*");
		rig_open(&copy);
		assert_int_equal(info_of(copy.g, "two").state, removed ? 0 : ESE_FAILED);
		assert_int_equal(ese_db_list(copy.g, NULL, 0), removed ? 1 : 2);
		rig_close(&copy);
		rig_remove(&copy);
		rig_close(&r);
		rig_remove(&r);
	}
}

static void a_database_of_another_group_is_not_touched(void **state)
{
	struct rig r, other, two;
	struct err err = { 0 };
	struct ese_db *db;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	rig_close(&r);
	rig_make(&other);
	rig_open(&other);
	two = with(&other, "two");
	rig_put(&two, "k", "v");
	rig_close(&other);
	shell(&r, &other, "cp -r $other/two.* .");
	rig_open(&r);
	assert_int_equal(ese_db_open(r.g, "two", true, &db, &err), ST_GONE);
	assert_non_null(strstr(err.text, "belongs to another group"));
	assert_false(info_of(r.g, "two").holds_log);
	assert_int_equal(ese_db_mount(db, NULL), ST_CORRUPT);
	rig_close(&r);
	shell(&r, &other, "cp -r two.* $other/");
	rig_open(&other);
	two = with(&other, "two");
	assert_string_equal(rig_get(&two, "k"), "v");
	rig_close(&other);
	rig_remove(&other);
	rig_remove(&r);
}

static void a_database_of_a_newer_format_is_refused_in_one_sentence(void **state)
{
	struct pdb_conf c = { .cache_bytes = 1 << 20, .buffer_bytes = 1 << 20, .files_max = 16 };
	struct row_key key = row_key_header();
	struct pdb_batch *b = pdb_batch_new();
	char path[256], header[ROW_HEADER_BYTES];
	struct rig r, two;
	struct ese_db *db;
	struct err err = { 0 };
	struct pdb *rows;
	struct span v;
	void *hold;

	(void)state;
	rig_make(&r);
	rig_open(&r);
	two = with(&r, "two");
	rig_put(&two, "k", "v");
	rig_close(&r);
	snprintf(path, sizeof(path), "%s/two.edb", r.dir);
	must(pdb_open(path, false, &c, &rows, &err), &err);
	assert_int_equal(pdb_get(rows, row_key_span(&key), &v, &hold, NULL), ST_OK);
	memcpy(header, v.at, sizeof(header));
	pdb_release(hold);
	le32_put(header + 4, 3);
	pdb_put(b, row_key_span(&key), span_of(header, sizeof(header)));
	must(pdb_write(rows, b, &err), &err);
	must(pdb_flush(rows, &err), &err);
	pdb_batch_free(b);
	pdb_close(rows);
	rig_open(&r);
	assert_int_equal(ese_db_open(r.g, "two", false, &db, &err), ST_GONE);
	assert_non_null(strstr(err.text, "two: format 3 is newer than this program's 2"));
	rig_close(&r);
	rig_remove(&r);
}

/* ---- moving ---- */

static void a_database_moves_with_all_that_is_in_it(void **state)
{
	struct rig a, b, two, there_;
	struct err err = { 0 };
	uint64_t ids[8], id;

	(void)state;
	rig_make(&a);
	rig_open(&a);
	rig_make(&b);
	rig_open(&b);
	for (unsigned i = 0; i < 20; i++)
		rig_body(&b, 1000, i); /* the other log is elsewhere */
	two = with(&a, "mailbox/two");
	rig_put(&two, "k", "v");
	for (unsigned i = 0; i < 8; i++)
		ids[i] = rig_body(&two, 5000 * i, i);
	id = ese_db_id(two.db);
	assert_int_equal(ese_db_move(two.db, b.g, "moved", &there_.db, NULL), ST_GONE);
	must(ese_db_dismount(two.db, &err), &err);
	assert_int_equal(ese_db_move(two.db, b.g, "mailbox/one", &there_.db, NULL), ST_EXISTS);
	assert_int_equal(ese_db_move(two.db, b.g, "../x", &there_.db, NULL), ST_BAD);
	there_ = b;
	must(ese_db_move(two.db, b.g, "moved", &there_.db, &err), &err);
	assert_int_equal(ese_db_id(there_.db), id);
	assert_string_equal(rig_get(&there_, "k"), "v");
	rig_put(&there_, "k", "w");
	for (unsigned i = 0; i < 8; i++)
		rig_check_body(&there_, ids[i], 5000 * i, i);
	assert_int_equal(ese_db_list(a.g, NULL, 0), 1);
	assert_int_equal(ese_db_list(b.g, NULL, 0), 2);
	for (int i = 0; i < 2; i++) {
		struct rig copy;

		rig_fork(i ? &b : &a, &copy);
		rig_open(&copy);
		assert_int_equal(info_of(copy.g, "moved").state, i ? ESE_UP : 0);
		assert_int_equal(ese_db_list(copy.g, NULL, 0), i ? 2 : 1);
		if (i) {
			copy = with(&copy, "moved");
			assert_string_equal(rig_get(&copy, "k"), "w");
			rig_check_body(&copy, ids[7], 35000, 7);
		}
		rig_close(&copy);
		rig_remove(&copy);
	}
	rig_close(&a);
	rig_close(&b);
	rig_remove(&a);
	rig_remove(&b);
}

static void unlink_body(struct rig *r, uint64_t id)
{
	struct ese_batch *b;

	assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
	ese_unlink(b, id);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	rig_settle(r);
}

/* The old log's records of a body must not be written over what took its pages in the other group. */
static void a_database_that_went_and_came_back_is_not_written_over_by_its_old_records(void **state)
{
	struct rig a, b, two, copy;
	struct err err = { 0 };
	uint64_t old, new;

	(void)state;
	rig_make(&a);
	rig_open(&a);
	rig_make(&b);
	rig_open(&b);
	two = with(&a, "two");
	old = rig_body(&two, 9000, 1);
	must(ese_db_dismount(two.db, &err), &err);
	two = b;
	two.db = NULL;
	ese_db_open(a.g, "two", false, &two.db, NULL);
	must(ese_db_move(two.db, b.g, "two", &two.db, &err), &err);
	unlink_body(&two, old);
	new = rig_body(&two, 9000, 2);
	must(ese_db_dismount(two.db, &err), &err);
	two.g = a.g;
	must(ese_db_move(two.db, a.g, "two", &two.db, &err), &err);
	rig_check_body(&two, new, 9000, 2);
	rig_fork(&a, &copy);
	rig_open(&copy);
	copy = with(&copy, "two");
	rig_check_body(&copy, new, 9000, 2);
	rig_close(&copy);
	rig_remove(&copy);
	rig_close(&a);
	rig_close(&b);
	rig_remove(&a);
	rig_remove(&b);
}

/* ---- faults: every operation of a life, from the n-th on all fail, then both groups are opened again ---- */

static struct {
	_Atomic long n;
	_Atomic long at;
} fault;

static bool failing(void)
{
	return ++fault.n >= fault.at;
}

static ssize_t f_pwritev(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	if (!failing())
		return io_real()->pwritev(fd, iov, n, off, rwf);
	errno = EIO;
	return -1;
}

static int f_sync(int fd)
{
	if (!failing())
		return io_real()->sync(fd);
	errno = EIO;
	return -1;
}

static int f_sync_dir(int fd)
{
	if (!failing())
		return io_real()->sync_dir(fd);
	errno = EIO;
	return -1;
}

static int f_rename(const char *from, const char *to)
{
	if (!failing())
		return io_real()->rename(from, to);
	errno = EIO;
	return -1;
}

static int f_open(const char *path, int flags, mode_t mode)
{
	if (!(flags & O_CREAT) || !failing())
		return io_real()->open(path, flags, mode);
	errno = EIO;
	return -1;
}

static void quiet(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
}

/* How far it came: what was acknowledged holds. */
enum step { NOTHING, CREATED, FILLED, DOWN, UP, CHANGED, MOVED, REMOVED };

static enum step live(struct rig *a, struct rig *b)
{
	struct ese_db *db, *there_;
	struct ese_batch *batch;
	enum step got = NOTHING;

	if (ese_db_open(a->g, "two", true, &db, NULL) != ST_OK)
		return got;
	got = CREATED;
	for (int i = 0; i < 2; i++) {
		if (ese_batch_new(db, 1, &batch, NULL) != ST_OK)
			return got;
		ese_put(batch, SPAN("k"), i ? SPAN("w") : SPAN("v"));
		/* Waits for ever on a broken group, so look first. */
		if (ese_commit(batch, NULL, NULL, NULL) != ST_OK ||
		    ese_db_dismount(db, NULL) != ST_OK)
			return got;
		got = i ? CHANGED : DOWN;
		if (i == 0 && ese_db_mount(db, NULL) != ST_OK)
			return got;
		if (i == 0)
			got = UP;
	}
	if (ese_db_move(db, b->g, "two", &there_, NULL) != ST_OK)
		return got;
	got = MOVED;
	return ese_db_remove(there_, NULL) == ST_OK ? REMOVED : got;
}

/* In one of the two groups, and mountable with what was acknowledged; or nowhere, after a removal. */
static void look(struct rig *a, struct rig *b, enum step got, long n)
{
	struct ese_db *db = NULL, *in_b = NULL;
	struct err err = { 0 };
	struct rig r = *a;
	const char *v;

	rig_open(a);
	rig_open(b);
	ese_db_open(a->g, "two", false, &db, NULL);
	ese_db_open(b->g, "two", false, &in_b, NULL);
	if (db && in_b)
		fail_msg("at %ld: in both", n);
	if (!db && !in_b && got != NOTHING && got < MOVED)
		fail_msg("at %ld: nowhere, after step %d", n, got);
	r.g = in_b ? b->g : a->g;
	r.db = in_b ? in_b : db;
	if (r.db && ese_db_mount(r.db, &err) != ST_OK) {
		/* Its .stm is there already: the move goes on. */
		if (in_b || !strstr(err.text, "missing") || ese_db_mount(r.db, NULL) == ST_OK)
			fail_msg("at %ld: %s", n, err.text);
		if (ese_db_move(db, b->g, "two", &r.db, &err) != ST_OK)
			fail_msg("at %ld: the move does not go on: %s", n, err.text);
		r.g = b->g;
	}
	if (r.db) {
		v = rig_get(&r, "k");
		if (got >= CHANGED ? strcmp(v, "w") != 0
				   : got >= DOWN && strcmp(v, "v") != 0 && strcmp(v, "w") != 0)
			fail_msg("at %ld: after step %d it holds '%s'", n, got, v);
		rig_put(&r, "more", "and on");
	}
	rig_close(a);
	rig_close(b);
}

static void a_life_that_ends_at_any_operation_is_whole(void **state)
{
	struct io_ops ops = *io_real();
	enum step got = NOTHING;
	long n;

	(void)state;
	ops.pwritev = f_pwritev;
	ops.sync = f_sync;
	ops.sync_dir = f_sync_dir;
	ops.rename = f_rename;
	ops.open = f_open;
	for (n = 1; got != REMOVED; n++) {
		struct rig a, b;

		rig_make(&a);
		rig_make(&b);
		a.o.broken = b.o.broken = quiet;
		rig_open(&a);
		rig_open(&b);
		rig_settle(&a);
		rig_settle(&b);
		fault.n = 0;
		fault.at = n;
		io_set_seam(&ops);
		got = live(&a, &b);
		fault.at = 1;
		rig_close(&a);
		rig_close(&b);
		io_set_seam(NULL);
		look(&a, &b, got, n);
		rig_remove(&a);
		rig_remove(&b);
	}
	print_message("%ld operations\n", n - 1);
	assert_true(n > 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_dismounted_database_is_gone_until_it_is_mounted_and_the_others_go_on),
		cmocka_unit_test(a_database_in_use_is_not_dismounted),
		cmocka_unit_test(a_kill_after_each_change_leaves_it),
		cmocka_unit_test(a_removed_database_is_gone_for_good_and_its_name_is_free),
		cmocka_unit_test(a_kill_soon_after_a_name_was_used_again_leaves_the_new_database),
		cmocka_unit_test(a_database_that_fails_alone_is_mended_and_replayed),
		cmocka_unit_test(a_failed_database_is_removed_and_lets_the_log_go),
		cmocka_unit_test(
			a_database_that_only_the_log_names_is_listed_unless_it_was_removed),
		cmocka_unit_test(a_database_of_another_group_is_not_touched),
		cmocka_unit_test(a_database_of_a_newer_format_is_refused_in_one_sentence),
		cmocka_unit_test(a_database_moves_with_all_that_is_in_it),
		cmocka_unit_test(
			a_database_that_went_and_came_back_is_not_written_over_by_its_old_records),
		cmocka_unit_test(a_life_that_ends_at_any_operation_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
