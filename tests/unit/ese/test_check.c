/* test_check.c - one thing is damaged, and the checker says which; nothing is damaged, and it says nothing. */
#include "ese/check.h"

#include "ese/pdb.h"
#include "ese/rows.h"
#include "rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char edb[200], stm[200];
static uint64_t small, large, other; /* bodies of 3 pages, 25 pages, 1 page */

static void paths(const struct rig *r)
{
	snprintf(edb, sizeof(edb), "%s/mailbox/one.edb", r->dir);
	snprintf(stm, sizeof(stm), "%s/mailbox/one.stm", r->dir);
}

static void fill(struct rig *r)
{
	rig_make(r);
	rig_open(r);
	small = rig_body(r, 10000, 1);
	large = rig_body(r, 100000, 2);
	other = rig_body(r, 10, 3);
	paths(r);
}

/* ---- what is found, as names in order of first appearance ---- */

struct seen {
	char names[400];
	uint64_t waiting;
};

static void found(void *arg, const struct finding *f)
{
	struct seen *s = arg;
	const char *name = finding_rows[f->kind].name;

	assert_true(f->text[0] != '\0');
	if (strstr(s->names, name))
		return;
	snprintf(s->names + strlen(s->names), sizeof(s->names) - strlen(s->names), "%s%s",
		 s->names[0] ? " " : "", name);
}

static void look(const struct rig *r, struct seen *s)
{
	const char *names[] = { "mailbox/one" };
	struct look_head head = { 0 };
	struct check_log log = {
		.dir = r->dir, .heads = &head, .names = names, .nheads = 1, .found = found, .arg = s
	};
	struct check_db db = { .name = names[0], .found = found, .arg = s };
	struct err err = { 0 };

	*s = (struct seen){ 0 };
	if (look_open(db.name, edb, stm, &db.db, &err) != ST_OK)
		fail_msg("%s", err.text);
	log.nheads = look_head(db.db, &head, &err) == ST_OK;
	assert_int_equal(check_log(&log, &err), ST_OK);
	db.pending = log.pending;
	assert_int_equal(check_db(&db, &err), ST_OK);
	s->waiting = db.waiting;
	look_close(db.db);
	check_log_free(&log);
	check_db_free(&db);
}

/* ---- rows and pages ---- */

static struct pdb *rows_open(void)
{
	struct pdb_conf c = { .cache_bytes = 1 << 20, .buffer_bytes = 1 << 20, .files_max = 50 };
	struct err err = { 0 };
	struct pdb *p;

	if (pdb_open(edb, false, &c, &p, &err) != ST_OK)
		fail_msg("%s", err.text);
	return p;
}

static void change(struct row_key key, const void *value, size_t len)
{
	struct pdb *p = rows_open();
	struct pdb_batch *b = pdb_batch_new();

	if (value)
		pdb_put(b, row_key_span(&key), span_of(value, len));
	else
		pdb_delete(b, row_key_span(&key));
	assert_int_equal(pdb_write(p, b, NULL), ST_OK);
	assert_int_equal(pdb_flush(p, NULL), ST_OK);
	pdb_batch_free(b);
	pdb_close(p);
}

static size_t value_of(struct row_key key, char *out, size_t room)
{
	struct pdb *p = rows_open();
	struct span v;
	void *hold;
	size_t len;

	assert_int_equal(pdb_get(p, row_key_span(&key), &v, &hold, NULL), ST_OK);
	len = v.len;
	assert_true(len <= room);
	memcpy(out, v.at, len);
	pdb_release(hold);
	pdb_close(p);
	return len;
}

/* The value with one byte changed. */
static void change_byte(struct row_key key, size_t at, char by)
{
	char value[4096];
	size_t len = value_of(key, value, sizeof(value));

	assert_true(at < len);
	value[at] = (char)(value[at] + by);
	change(key, value, len);
}

static uint32_t first_page(uint64_t id)
{
	char value[4096];

	value_of(row_key_body(id), value, sizeof(value));
	return le32_get(value + 24);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 16;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void nothing(void)
{
}
static void page_byte(void)
{
	flip(stm, (off_t)first_page(small) * ESE_PAGE + 4100);
}
static void byte_behind_the_body(void)
{
	flip(stm, (off_t)first_page(other) * ESE_PAGE + 10);
}
static void last_page_of_large(void)
{
	flip(stm,
	     (off_t)first_page(large) * ESE_PAGE + 100); /* its first run is one page at least */
}
static void crc_row(void)
{
	change(row_key_crc(large, 0), NULL, 0);
}
static void crc_row_short(void)
{
	change(row_key_crc(large, 0), "abcd", 4);
}
static void body_row(void)
{
	change_byte(row_key_body(small), 8, 1); /* its length: the pages do not fit to it */
	change_byte(row_key_body(small), 16, 9);
}
static void body_row_gone(void)
{
	change(row_key_body(small), NULL, 0);
}
static void body_outside(void)
{
	change_byte(row_key_body(other), 27, 1); /* the highest byte of its first page */
}
static void body_twice(void)
{
	char value[4096];
	size_t len = value_of(row_key_body(small), value, sizeof(value));

	change(row_key_body(small + 100), value, len);
}
static void space_row(void)
{
	change(row_key_space(0), NULL, 0);
}
static void space_row_short(void)
{
	change(row_key_space(0), "x", 1);
}
static void space_more(void)
{
	change_byte(row_key_space(0), 15, 1);
}
static void orphan(void)
{
	change(row_key_orphan(small), "", 0);
}
static void orphan_of_nobody(void)
{
	change(row_key_orphan(999), "", 0);
}
static void no_references(void)
{
	change_byte(row_key_body(small), 0, -1);
}
static void count(void)
{
	change_byte(row_key_applied(), 16, 1);
}
static void header(void)
{
	change(row_key_header(), "x", 1);
}
static void applied(void)
{
	change(row_key_applied(), NULL, 0);
}
static void ahead(void)
{
	change_byte(row_key_applied(), 6, 1);
}
static void signature(void)
{
	change_byte(row_key_header(), 9, 1);
}
static void stray(void)
{
	struct row_key key = { .at = { 6, 1 }, .len = 2 };

	change(key, "x", 1);
}
static void stray_crcs(void)
{
	change(row_key_crc(555, 0), "abcd", 4);
}
static void short_stream(void)
{
	assert_int_equal(truncate(stm, (off_t)first_page(other) * ESE_PAGE), 0);
}
/* A replay writes a body's last page only as far as the body goes. */
static void short_last_page(void)
{
	assert_int_equal(truncate(stm, (off_t)first_page(other) * ESE_PAGE + 10), 0);
}
static void checkpoint(void)
{
	char path[300];
	struct stat info;

	snprintf(path, sizeof(path), "%s/../../E00.chk", edb);
	assert_int_equal(stat(path, &info), 0);
	for (off_t at = 10; at < info.st_size; at += 4096)
		flip(path, at);
}

struct row {
	const char *name;
	void (*damage)(void);
	const char *found;
};

static void one_thing_is_damaged(void **state)
{
	static const struct row rows[] = {
		{ "nothing", nothing, "" },
		{ "a byte of a page", page_byte, "page-damaged" },
		{ "a byte of a page whose body ends before it", byte_behind_the_body, "" },
		{ "a page of a body with CRCs in rows of their own", last_page_of_large,
		  "page-damaged" },
		{ "a missing row of CRCs", crc_row, "body-checksums" },
		{ "a short row of CRCs", crc_row_short, "body-checksums" },
		{ "a body's row", body_row, "body-row" },
		{ "a body's row is missing", body_row_gone, "page-leaked body-count" },
		{ "a body behind the end of the file", body_outside,
		  "body-outside page-damaged page-leaked" },
		{ "a page of two bodies", body_twice, "page-twice body-count" },
		{ "a row of page states is missing", space_row, "page-unmarked" },
		{ "a row of page states is short", space_row_short, "row-stray" },
		{ "a page of nobody is marked", space_more, "page-leaked" },
		{ "a linked body waits to be freed", orphan, "body-orphan" },
		{ "nobody waits to be freed", orphan_of_nobody, "body-orphan" },
		{ "an unlinked body does not wait to be freed", no_references, "body-orphan" },
		{ "the number of bodies", count, "body-count" },
		{ "the header row", header, "header-row" },
		{ "the applied row", applied, "header-row" },
		{ "a database ahead of its log", ahead, "database-ahead" },
		{ "a database of another group", signature, "database-foreign" },
		{ "a row that nobody knows", stray, "row-stray" },
		{ "CRCs of no body", stray_crcs, "row-stray" },
		{ "the streaming file is cut off", short_stream, "body-outside page-damaged" },
		{ "the last page is short", short_last_page, "" },
		{ "the checkpoint file", checkpoint, "checkpoint" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct seen s;
		struct rig r;

		fill(&r);
		rig_close(&r);
		rows[i].damage();
		look(&r, &s);
		if (strcmp(s.names, rows[i].found) != 0)
			fail_msg("%s: '%s', not '%s'", rows[i].name, s.names, rows[i].found);
		rig_remove(&r);
	}
}

/* ---- a group that was not closed ---- */

static void a_crash_is_no_damage(void **state)
{
	struct ese_batch *b;
	struct rig r, copy;
	struct seen s;

	(void)state;
	fill(&r);
	assert_int_equal(ese_checkpoint(r.g, NULL), ST_OK);
	/* The page of `small` are freed and taken by others, which the rows on disk do not know. */
	assert_int_equal(ese_batch_new(r.db, 7, &b, NULL), ST_OK);
	ese_unlink(b, small);
	assert_int_equal(rig_commit(b, NULL), ST_OK);
	rig_settle(&r);
	for (unsigned i = 0; i < 10; i++)
		rig_body(&r, 4000, 50 + i);
	rig_fork(&r, &copy);
	rig_close(&r);
	paths(&copy);
	look(&copy, &s);
	assert_string_equal(s.names, "not-closed");
	assert_true(s.waiting > 0);
	rig_remove(&copy);
	rig_remove(&r);
}

/* ---- log files ---- */

#define LOGS 4

/* A group with several log files that all count. */
static void logs(struct rig *r, struct rig *copy)
{
	rig_make(r);
	r->o.checkpoint_bytes = 100 * 1024 * 1024;
	rig_open(r);
	for (unsigned i = 0; i < 20; i++)
		rig_body(r, 50000, i);
	rig_settle(r);
	rig_fork(r, copy);
	rig_close(r);
	rig_remove(r);
	paths(copy);
}

static void log_path(char out[300], const struct rig *r, unsigned gen)
{
	snprintf(out, 300, "%s/E00%08X.log", r->dir, gen);
}

static void log_flip(const struct rig *r)
{
	char path[300];

	log_path(path, r, 2);
	flip(path, 9000);
}
static void log_header(const struct rig *r)
{
	char path[300];

	log_path(path, r, 2);
	flip(path, 20);
}
static void log_gone(const struct rig *r)
{
	char path[300];

	log_path(path, r, 3);
	assert_int_equal(unlink(path), 0);
}
static void log_first_gone(const struct rig *r)
{
	char path[300];

	log_path(path, r, 1);
	assert_int_equal(unlink(path), 0);
}
static void logs_swapped(const struct rig *r)
{
	char a[300], b[300], c[310];

	log_path(a, r, 2);
	log_path(b, r, 3);
	snprintf(c, sizeof(c), "%s.x", a);
	assert_int_equal(rename(a, c) + rename(b, a) + rename(c, b), 0);
}
static void log_cut(const struct rig *r)
{
	char path[300];

	log_path(path, r, 3);
	assert_int_equal(truncate(path, 100000), 0);
}

static void a_log_file_is_damaged(void **state)
{
	static const struct {
		const char *name;
		void (*damage)(const struct rig *r);
		const char *found;
	} rows[] = {
		{ "a record", log_flip, "log-damaged not-closed" },
		{ "a header", log_header, "log-header not-closed" },
		{ "one is missing", log_gone, "log-missing not-closed" },
		{ "the first is missing", log_first_gone, "log-missing database-behind" },
		{ "two are swapped", logs_swapped, "log-foreign not-closed" },
		{ "one is cut off", log_cut, "log-damaged not-closed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct rig r, copy;
		struct seen s;

		logs(&r, &copy);
		look(&copy, &s);
		assert_string_equal(s.names, "not-closed");
		rows[i].damage(&copy);
		look(&copy, &s);
		if (strcmp(s.names, rows[i].found) != 0)
			fail_msg("%s: '%s', not '%s'", rows[i].name, s.names, rows[i].found);
		rig_remove(&copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_thing_is_damaged),
		cmocka_unit_test(a_crash_is_no_damage),
		cmocka_unit_test(a_log_file_is_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
