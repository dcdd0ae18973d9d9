/* test_backup.c - a backup of a group that works, and what a restore makes of it with which logs. */
#include "rig.h"

#include "base/clock.h"
#include "ese/backup.h"
#include "ese/backup_copy.h"
#include "ese/io.h"
#include "ese/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char cmd[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

/* ---- a backup, as the program makes it ---- */

struct job {
	struct rig *r;
	char dir[160], folder[512]; /* of the sequence; the one that was made */
	struct bk_progress p;
	size_t findings;
	uint32_t stop_after;              /* steps; 0: never */
	void (*meanwhile)(struct job *j); /* between rows and logs */
	void (*before)(struct job *j);    /* between the snapshot and the copy of it */
};

static bool on_step(void *arg, const struct bk_progress *p)
{
	struct job *j = arg;

	(void)p;
	return j->stop_after == 0 || --j->stop_after > 0;
}

static enum st copy(struct job *j, bool full, const struct bk_source *s, struct ese_backup *held,
		    struct err *err)
{
	struct bk_options o = { .dir = j->dir, .full = full, .progress = on_step, .arg = j };
	uint32_t next = 0;
	struct bk_run *run_;
	enum st st = bk_run_new(&o, s, 1, &run_, err);

	if (st != ST_OK)
		return st;
	if (full)
		st = bk_run_rows(run_, err);
	if (st == ST_OK && j->meanwhile)
		j->meanwhile(j);
	if (st == ST_OK)
		st = ese_backup_roll(held, &next, err);
	if (st == ST_OK)
		st = bk_run_log(run_, s->group, next, err);
	if (st == ST_OK)
		st = bk_run_end(run_, err);
	bk_run_progress(run_, &j->p);
	snprintf(j->folder, sizeof(j->folder), "%s", bk_run_folder(run_));
	j->findings = bk_run_manifest(run_)->nfindings;
	bk_run_free(run_);
	return st;
}

static enum st backup(struct job *j, bool full, struct err *err)
{
	struct bk_source_db dbs[8];
	struct bk_source s = { .group = "first", .path = j->r->dir, .dbs = dbs };
	struct ese_backup_info info;
	struct ese_backup *held;
	enum st st = ese_backup_begin(j->r->g, full, &held, err), end;

	if (st != ST_OK)
		return st;
	ese_backup_info(held, &info);
	memcpy(s.signature, info.signature, sizeof(s.signature));
	s.circular = info.circular;
	s.first_gen = info.first_gen;
	s.ndbs = info.ndbs;
	if (j->before)
		j->before(j);
	for (size_t i = 0; i < info.ndbs; i++)
		dbs[i] = (struct bk_source_db){ info.dbs[i].name, info.dbs[i].id,
						info.dbs[i].position, info.dbs[i].stm_bytes,
						info.dbs[i].why };
	st = copy(j, full, &s, held, err);
	end = ese_backup_end(held, st == ST_OK, st == ST_OK ? err : NULL);
	return st == ST_OK ? end : st;
}

static void backup_ok(struct job *j, bool full)
{
	struct err err = { 0 };

	if (backup(j, full, &err) != ST_OK)
		fail_msg("backup: %s", err.text);
}

static void job_make(struct job *j, struct rig *r)
{
	*j = (struct job){ .r = r };
	rig_make(r);
	r->o.segment_bytes = 64 * 1024;
	snprintf(j->dir, sizeof(j->dir), "%s-backup", r->dir);
}

static void job_end(struct job *j)
{
	if (j->r->g)
		rig_close(j->r);
	run("rm -rf '%s' '%s'*", j->dir, j->r->dir);
}

/* ---- what is in the group ---- */

/* Batch i: row kI, body of i * 700 bytes under it. */
static void put(struct rig *r, int i)
{
	char key[16], value[24];
	uint64_t id = rig_body(r, (size_t)i * 700, (unsigned)i);

	snprintf(key, sizeof(key), "k%03d", i);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)id);
	rig_put(r, key, value);
}

static bool has(struct rig *r, int i)
{
	const char *id;
	char key[16];

	snprintf(key, sizeof(key), "k%03d", i);
	id = rig_get(r, key);
	if (id[0])
		rig_check_body(r, strtoull(id, NULL, 10), (size_t)i * 700, (unsigned)i);
	return id[0] != '\0';
}

static void has_just(struct rig *r, int n, const char *what)
{
	for (int i = 1; i <= n; i++)
		if (!has(r, i))
			fail_msg("%s: batch %d of %d is missing", what, i, n);
	if (has(r, n + 1))
		fail_msg("%s: batch %d should not be there", what, n + 1);
}

/* ---- restoring ---- */

struct back {
	struct restore_options o;
	struct restored out;
	char to[100], full[64];
	int found;
};

static void on_found(void *arg, const char *text)
{
	(void)text;
	((struct back *)arg)->found++;
}

static enum st restore(struct job *j, struct back *b, struct err *err)
{
	struct bk_seq seq;
	const char *name;
	enum st st = bk_seq_read(j->dir, &seq, err);

	snprintf(b->to, sizeof(b->to), "%.90s-back", j->r->dir);
	run("rm -rf '%s'", b->to);
	if (st == ST_OK)
		st = restore_choose(j->dir, &seq, b->o.until, &name, err);
	if (st == ST_OK) {
		snprintf(b->full, sizeof(b->full), "%s", name);
		b->o.dir = j->dir;
		b->o.full = b->full;
		b->o.to = b->to;
		b->o.found = on_found;
		b->o.arg = b;
		st = restore_groups(&b->o, &b->out, err);
	}
	bk_seq_free(&seq);
	return st;
}

/* Restore, open, look for batches 1 to n and no more; work goes on in it. */
static void restore_has(struct job *j, struct back *b, int n, const char *what)
{
	struct err err = { 0 };
	struct rig r = { .o = j->r->o };

	struct stat info;
	char stm[200];

	if (restore(j, b, &err) != ST_OK)
		fail_msg("%s: %s", what, err.text);
	snprintf(stm, sizeof(stm), "%s/first/mailbox/one.stm", b->to);
	assert_int_equal(stat(stm, &info), 0);
	assert_int_equal(info.st_size % ESE_PAGE, 0);
	snprintf(r.dir, sizeof(r.dir), "%.100s/first", b->to);
	r.o.arg = &r;
	rig_open(&r);
	has_just(&r, n, what);
	put(&r, n + 1);
	rig_close(&r);
	rig_open(&r);
	has_just(&r, n + 1, what);
	rig_close(&r);
	restored_free(&b->out);
}

static void restore_fails(struct job *j, struct back *b, const char *words, const char *what)
{
	struct err err = { 0 };

	if (restore(j, b, &err) == ST_OK)
		fail_msg("%s: restored", what);
	if (!strstr(err.text, words))
		fail_msg("%s: '%s' does not say '%s'", what, err.text, words);
}

/* ---- tests ---- */

static void more_meanwhile(struct job *j)
{
	for (int i = 21; i <= 40; i++)
		put(j->r, i);
}

static void a_backup_holds_what_was_acknowledged_before_its_end(void **state)
{
	struct back b = { 0 };
	struct ese_logs logs;
	struct rig r;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_NONE);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	j.meanwhile = more_meanwhile;
	backup_ok(&j, true);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_WHOLE);
	for (int i = 41; i <= 50; i++)
		put(&r, i);
	restore_has(&j, &b, 40, "from the backup alone");
	assert_int_equal(b.found, 0);
	job_end(&j);
}

static void take(struct rig *r, int i)
{
	struct ese_batch *b;
	char key[16];

	snprintf(key, sizeof(key), "k%03d", i);
	assert_int_equal(ese_batch_new(r->db, 7, &b, NULL), ST_OK);
	ese_unlink(b, strtoull(rig_get(r, key), NULL, 10));
	ese_delete(b, span_str(key));
	assert_int_equal(rig_commit(b, NULL), ST_OK);
}

/* All bodies of the snapshot go, and new ones would like their pages. */
static void churn(struct job *j)
{
	for (int i = 1; i <= 30; i++)
		take(j->r, i);
	rig_settle(j->r);
	for (int i = 1; i <= 30; i++)
		rig_body(j->r, (size_t)(31 - i) * 700, (unsigned)(1000 + i));
	rig_settle(j->r);
}

static void pages_of_the_snapshot_stay_until_they_are_copied(void **state)
{
	struct bk_look look = { .found = NULL };
	struct err err = { 0 };
	struct ese_stats s;
	struct rig r;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 30; i++)
		put(&r, i);
	rig_settle(&r);
	j.before = churn;
	backup_ok(&j, true);
	assert_int_equal(j.findings, 0);
	assert_int_equal(bk_verify(j.folder, &look, &err), ST_OK);
	ese_stats(r.g, &s);
	assert_int_equal(s.pins, 0);
	job_end(&j);
}

static void logs_of_the_dead_roll_it_to_the_last_commit(void **state)
{
	struct rig r, dead;
	struct back b = { 0 };
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	backup_ok(&j, true);
	for (int i = 21; i <= 60; i++)
		put(&r, i);
	rig_fork(&r, &dead);
	b.o.logs = dead.dir;
	restore_has(&j, &b, 60, "with the logs of the dead");
	restore_has(&j, &b, 60, "again");
	rig_remove(&dead);
	job_end(&j);
}

static void incremental_ones_carry_on(void **state)
{
	struct err err = { 0 };
	struct back b = { 0 };
	struct ese_logs logs;
	struct rig r;
	struct job j;
	char dir[160];

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	put(&r, 1);
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	assert_non_null(strstr(err.text, "full"));
	backup_ok(&j, true);
	for (int n = 0; n < 3; n++) {
		for (int i = 2 + n * 10; i < 12 + n * 10; i++)
			put(&r, i);
		backup_ok(&j, false);
	}
	backup_ok(&j, false); /* nothing new */
	restore_has(&j, &b, 31, "a full one and four incremental ones");
	/* Another sequence is none that could go on. */
	snprintf(dir, sizeof(dir), "%s", j.dir);
	snprintf(j.dir, sizeof(j.dir), "%s-other", r.dir);
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	put(&r, 32);
	backup_ok(&j, true);
	snprintf(j.dir, sizeof(j.dir), "%s", dir);
	rig_close(&r);
	rig_open(&r);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_WHOLE);
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	assert_non_null(strstr(err.text, "full"));
	job_end(&j);
}

static void a_time_cuts_between_two_commits(void **state)
{
	uint64_t at[61];
	struct rig r, dead;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	backup_ok(&j, true);
	for (int i = 21; i <= 60; i++) {
		put(&r, i);
		at[i] = (uint64_t)clock_real();
	}
	rig_fork(&r, &dead);
	for (int i = 21; i <= 60; i += 6) {
		struct back b = { .o = { .logs = dead.dir, .until = at[i] } };

		restore_has(&j, &b, i, "cut at a time");
	}
	rig_remove(&dead);
	job_end(&j);
}

static void a_gap_is_named_and_only_crossed_by_order(void **state)
{
	struct back b = { 0 };
	struct rig r, dead;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	backup_ok(&j, true);
	for (int i = 21; i <= 60; i++)
		put(&r, i);
	rig_fork(&r, &dead);
	b.o.logs = dead.dir;
	/* The third file behind the backup goes. */
	run("f=$(ls '%s'/E000*.log | sed -n 3p); [ -n \"$f\" ] && rm \"$f\"", dead.dir);
	restore_fails(&j, &b, "is missing", "a gap");
	b.o.partial = true;
	{
		struct err err = { 0 };

		assert_int_equal(restore(&j, &b, &err), ST_OK);
		assert_true(b.out.groups[0].gap[0] != '\0');
		restored_free(&b.out);
	}
	rig_remove(&dead);
	job_end(&j);
}

static void what_is_not_finished_or_not_as_copied_is_no_source_of_logs(void **state)
{
	struct err err = { 0 };
	struct back b = { 0 };
	char path[600], whole[512];
	struct rig r, dead;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	backup_ok(&j, true);
	for (int i = 21; i <= 40; i++)
		put(&r, i);
	/* An incremental one is killed: its last file is cut, and there is no manifest. */
	j.stop_after = 4;
	assert_int_equal(backup(&j, false, &err), ST_GONE);
	run("f=$(ls '%s'/groups/first/*.log | tail -1); truncate -s 20480 \"$f\"", j.folder);
	rig_fork(&r, &dead);
	b.o.logs = dead.dir;
	restore_has(&j, &b, 40, "beside an unfinished one");
	/* A finished one with a damaged log file: the dead server has it as well. */
	snprintf(whole, sizeof(whole), "%s", j.folder);
	backup_ok(&j, false);
	assert_string_equal(whole, j.folder);
	run("f=$(ls '%s'/groups/first/*.log | head -1); printf x | dd of=\"$f\" bs=1 seek=9000 conv=notrunc 2>/dev/null",
	    j.folder);
	restore_has(&j, &b, 40, "with a damaged file that is there twice");
	rig_remove(&dead);
	b.o.logs = NULL;
	restore_fails(&j, &b, "is not what was copied", "with a damaged file");
	/* The sequence goes on with the group that was restored: it is another. */
	snprintf(path, sizeof(path), "%s", j.folder);
	run("rm -rf '%s'", path);
	if (restore(&j, &b, &err) != ST_OK)
		fail_msg("%s", err.text);
	restored_free(&b.out);
	rig_close(&r);
	run("rm -rf '%s' && mv '%s/first' '%s'", r.dir, b.to, r.dir);
	rig_open(&r);
	has_just(&r, 20, "restored");
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	snprintf(whole, sizeof(whole), "%s", b.full);
	put(&r, 21);
	backup_ok(&j, true);
	restore_has(&j, &b, 21, "the newest");
	{
		struct restore_options o = { .dir = j.dir, .full = whole, .to = b.to };

		run("rm -rf '%s'", b.to);
		if (restore_groups(&o, &b.out, &err) != ST_OK)
			fail_msg("the older one: %s", err.text);
		restored_free(&b.out);
	}
	job_end(&j);
}

static void logs_of_another_group_are_not_taken(void **state)
{
	struct back b = { 0 };
	struct rig r, other;
	struct job j, k;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	put(&r, 1);
	backup_ok(&j, true);
	job_make(&k, &other);
	rig_open(&other);
	/* Its log reaches the same generations. */
	for (int i = 1; i <= 60; i++)
		put(&other, i);
	b.o.logs = other.dir;
	restore_fails(&j, &b, "belongs to another group", "a foreign log");
	job_end(&k);
	job_end(&j);
}

static void a_stopped_backup_is_gone_on_with(void **state)
{
	struct err err = { 0 };
	struct back b = { 0 };
	uint64_t whole;
	struct rig r;
	struct job j;
	char first[512];

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 60; i++)
		put(&r, i);
	j.stop_after = 5;
	assert_int_equal(backup(&j, true, &err), ST_GONE);
	snprintf(first, sizeof(first), "%s", j.folder);
	whole = j.p.copied;
	assert_true(whole > 0);
	restore_fails(&j, &b, "no full backup", "an unfinished one is none");
	backup_ok(&j, true);
	assert_string_equal(first, j.folder);
	assert_true(j.p.kept > 0);
	restore_has(&j, &b, 60, "gone on with");
	job_end(&j);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x40;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void on_bad(void *arg, const char *text)
{
	(void)text;
	++*(int *)arg;
}

static void damage_is_named_and_stops_nothing(void **state)
{
	struct err err = { 0 };
	struct bk_look look = { .found = on_bad };
	struct back b = { 0 };
	char path[600];
	struct rig r;
	struct job j;
	int bad = 0;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	rig_settle(&r);
	snprintf(path, sizeof(path), "%s/mailbox/one.stm", r.dir);
	flip(path, 3 * 4096 + 5);
	backup_ok(&j, true);
	assert_int_equal(j.findings, 1);
	look.arg = &bad;
	assert_int_equal(bk_verify(j.folder, &look, &err), ST_OK);
	assert_int_equal(bad, 1);
	snprintf(path, sizeof(path), "%s/groups/first/mailbox/one.stm", j.folder);
	flip(path, 9 * 4096 + 5);
	bad = 0;
	assert_int_equal(bk_verify(j.folder, &look, &err), ST_OK);
	assert_int_equal(bad, 2);
	assert_int_equal(restore(&j, &b, &err), ST_OK);
	assert_int_equal(b.found, 2);
	restored_free(&b.out);
	snprintf(path, sizeof(path), "%s/groups/first/mailbox/one.edb/CURRENT", j.folder);
	flip(path, 1);
	restore_fails(&j, &b, "CURRENT", "a damaged file of rows");
	job_end(&j);
}

static void put_in(struct rig *r, const char *name, const char *key, const char *value)
{
	struct ese_db *was = r->db;
	struct err err = { 0 };

	if (ese_db_open(r->g, name, true, &r->db, &err) != ST_OK)
		fail_msg("%s: %s", name, err.text);
	rig_put(r, key, value);
	r->db = was;
}

static void databases_come_and_go_behind_a_backup(void **state)
{
	struct back b = { 0 };
	struct err err = { 0 };
	struct rig r, dead, copy;
	struct ese_db *db;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	put(&r, 1);
	put_in(&r, "mailbox/old", "k", "v");
	backup_ok(&j, true);
	put_in(&r, "mailbox/new", "k", "of the new one");
	assert_int_equal(ese_db_open(r.g, "mailbox/old", false, &db, &err), ST_OK);
	assert_int_equal(ese_db_remove(db, &err), ST_OK);
	put(&r, 2);
	rig_fork(&r, &dead);
	b.o.logs = dead.dir;
	if (restore(&j, &b, &err) != ST_OK)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < b.out.ndbs; i++)
		assert_int_equal(b.out.dbs[i].state, strcmp(b.out.dbs[i].name, "mailbox/old") == 0
							     ? RESTORED_REMOVED
							     : RESTORED_GOOD);
	assert_int_equal(b.out.ndbs, 3);
	restored_free(&b.out);
	copy = (struct rig){ .o = r.o };
	snprintf(copy.dir, sizeof(copy.dir), "%.100s/first", b.to);
	rig_open(&copy);
	has_just(&copy, 2, "beside others");
	assert_int_equal(ese_db_open(copy.g, "mailbox/old", false, &db, NULL), ST_NOTFOUND);
	assert_int_equal(ese_db_open(copy.g, "mailbox/new", false, &copy.db, &err), ST_OK);
	assert_string_equal(rig_get(&copy, "k"), "of the new one");
	rig_close(&copy);
	/* Only one of them. */
	b.o.only = (const char *[]){ "first/mailbox/new" };
	b.o.nonly = 1;
	if (restore(&j, &b, &err) != ST_OK)
		fail_msg("%s", err.text);
	restored_free(&b.out);
	assert_int_equal(ese_open(copy.dir, &copy.o, &copy.g, &err), ST_OK);
	assert_int_equal(ese_db_open(copy.g, "mailbox/one", false, &db, NULL), ST_NOTFOUND);
	assert_int_equal(ese_db_open(copy.g, "mailbox/new", false, &db, NULL), ST_OK);
	rig_close(&copy);
	rig_remove(&dead);
	job_end(&j);
}

static void a_name_that_is_used_again_behind_a_backup_is_the_later_database(void **state)
{
	struct back b = { 0 };
	struct err err = { 0 };
	struct rig r, dead, copy;
	struct ese_db *db;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	put_in(&r, "mailbox/name", "k", "of the first");
	backup_ok(&j, true);
	assert_int_equal(ese_db_open(r.g, "mailbox/name", false, &db, &err), ST_OK);
	assert_int_equal(ese_db_remove(db, &err), ST_OK);
	put_in(&r, "mailbox/name", "k", "of the second");
	put(&r, 1);
	rig_fork(&r, &dead);
	b.o.logs = dead.dir;
	if (restore(&j, &b, &err) != ST_OK)
		fail_msg("%s", err.text);
	assert_int_equal(b.out.ndbs, 2);
	for (size_t i = 0; i < b.out.ndbs; i++)
		assert_int_equal(b.out.dbs[i].state, RESTORED_GOOD);
	restored_free(&b.out);
	copy = (struct rig){ .o = r.o };
	snprintf(copy.dir, sizeof(copy.dir), "%.100s/first", b.to);
	rig_open(&copy);
	has_just(&copy, 1, "beside a name used again");
	assert_int_equal(ese_db_open(copy.g, "mailbox/name", false, &copy.db, &err), ST_OK);
	assert_string_equal(rig_get(&copy, "k"), "of the second");
	rig_close(&copy);
	rig_remove(&dead);
	job_end(&j);
}

static void a_database_that_got_another_name_behind_a_backup_has_it(void **state)
{
	struct back b = { 0 };
	struct err err = { 0 };
	struct rig r, dead, copy;
	struct ese_db *db, *moved;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	put_in(&r, "mailbox/before", "k", "v");
	backup_ok(&j, true);
	assert_int_equal(ese_db_open(r.g, "mailbox/before", false, &db, &err), ST_OK);
	assert_int_equal(ese_db_dismount(db, &err), ST_OK);
	assert_int_equal(ese_db_move(db, r.g, "mailbox/after", &moved, &err), ST_OK);
	put_in(&r, "mailbox/after", "later", "w");
	put(&r, 1);
	rig_fork(&r, &dead);
	b.o.logs = dead.dir;
	if (restore(&j, &b, &err) != ST_OK)
		fail_msg("%s", err.text);
	assert_int_equal(b.out.ndbs, 2);
	for (size_t i = 0; i < b.out.ndbs; i++)
		assert_int_equal(b.out.dbs[i].state, RESTORED_GOOD);
	restored_free(&b.out);
	copy = (struct rig){ .o = r.o };
	snprintf(copy.dir, sizeof(copy.dir), "%.100s/first", b.to);
	rig_open(&copy);
	assert_int_equal(ese_db_open(copy.g, "mailbox/before", false, &db, NULL), ST_NOTFOUND);
	assert_int_equal(ese_db_open(copy.g, "mailbox/after", false, &copy.db, &err), ST_OK);
	assert_string_equal(rig_get(&copy, "k"), "v");
	assert_string_equal(rig_get(&copy, "later"), "w");
	rig_close(&copy);
	rig_remove(&dead);
	job_end(&j);
}

static void circular_logging_gives_full_backups_and_nothing_to_roll(void **state)
{
	struct err err = { 0 };
	struct back b = { 0 };
	struct ese_logs logs;
	struct rig r, dead;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	for (int i = 1; i <= 20; i++)
		put(&r, i);
	backup_ok(&j, true);
	assert_int_equal(ese_set_circular(r.g, true, &err), ST_OK);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_BROKEN);
	for (int i = 21; i <= 60; i++)
		put(&r, i); /* from 47 on beside the log */
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	assert_non_null(strstr(err.text, "circular"));
	backup_ok(&j, true);
	put(&r, 61);
	rig_fork(&r, &dead);
	restore_has(&j, &b, 60, "circular");
	b.o.logs = dead.dir;
	restore_has(&j, &b, 60, "circular, with logs that are no use");
	rig_remove(&dead);
	/* Off again: the chain begins with the next full one. */
	assert_int_equal(ese_set_circular(r.g, false, &err), ST_OK);
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	assert_non_null(strstr(err.text, "full"));
	backup_ok(&j, true);
	put(&r, 62);
	backup_ok(&j, false);
	b.o.logs = NULL;
	restore_has(&j, &b, 62, "logged again");
	job_end(&j);
}

static int little_space(const char *path, uint64_t *free_bytes)
{
	(void)path;
	*free_bytes = 1000000;
	return 0;
}

static void a_disk_that_runs_low_costs_the_kept_logs(void **state)
{
	struct io_ops ops = *io_real();
	struct err err = { 0 };
	struct ese_logs logs;
	struct rig r;
	struct job j;

	(void)state;
	job_make(&j, &r);
	r.o.low_bytes = 2000000;
	rig_open(&r);
	put(&r, 1);
	backup_ok(&j, true);
	for (int i = 2; i <= 40; i++)
		put(&r, i);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_WHOLE);
	assert_true(logs.files > 3 && logs.bytes == logs.files * (uint64_t)(64 * 1024));
	ops.space = little_space;
	io_set_seam(&ops);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_BROKEN);
	assert_int_equal(logs.files, 0);
	io_set_seam(NULL);
	rig_close(&r);
	rig_open(&r);
	assert_int_equal(backup(&j, false, &err), ST_BAD);
	assert_non_null(strstr(err.text, "full"));
	backup_ok(&j, true);
	ese_logs(r.g, &logs);
	assert_int_equal(logs.chain, CHAIN_WHOLE);
	job_end(&j);
}

static void two_at_a_time_are_refused_and_what_is_left_is_cleared(void **state)
{
	struct ese_backup *one, *two;
	struct err err = { 0 };
	char path[200];
	struct rig r, dead;
	struct job j;

	(void)state;
	job_make(&j, &r);
	rig_open(&r);
	put(&r, 1);
	assert_int_equal(ese_backup_begin(r.g, true, &one, &err), ST_OK);
	assert_int_equal(ese_backup_begin(r.g, true, &two, &err), ST_BUSY);
	snprintf(path, sizeof(path), "%s/mailbox/one.snap", r.dir);
	assert_int_equal(access(path, F_OK), 0);
	rig_fork(&r, &dead);
	assert_int_equal(ese_backup_end(one, false, &err), ST_OK);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ese_backup_begin(r.g, true, &one, &err), ST_OK);
	assert_int_equal(ese_backup_end(one, false, &err), ST_OK);
	rig_open(&dead);
	snprintf(path, sizeof(path), "%s/mailbox/one.snap", dead.dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_true(has(&dead, 1));
	rig_close(&dead);
	rig_remove(&dead);
	job_end(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backup_holds_what_was_acknowledged_before_its_end),
		cmocka_unit_test(pages_of_the_snapshot_stay_until_they_are_copied),
		cmocka_unit_test(logs_of_the_dead_roll_it_to_the_last_commit),
		cmocka_unit_test(incremental_ones_carry_on),
		cmocka_unit_test(a_time_cuts_between_two_commits),
		cmocka_unit_test(a_gap_is_named_and_only_crossed_by_order),
		cmocka_unit_test(what_is_not_finished_or_not_as_copied_is_no_source_of_logs),
		cmocka_unit_test(logs_of_another_group_are_not_taken),
		cmocka_unit_test(a_stopped_backup_is_gone_on_with),
		cmocka_unit_test(damage_is_named_and_stops_nothing),
		cmocka_unit_test(databases_come_and_go_behind_a_backup),
		cmocka_unit_test(a_database_that_got_another_name_behind_a_backup_has_it),
		cmocka_unit_test(a_name_that_is_used_again_behind_a_backup_is_the_later_database),
		cmocka_unit_test(circular_logging_gives_full_backups_and_nothing_to_roll),
		cmocka_unit_test(a_disk_that_runs_low_costs_the_kept_logs),
		cmocka_unit_test(two_at_a_time_are_refused_and_what_is_left_is_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
