/* test_salvage.c - what is left of a damaged database, put together from its files and its log. */
#include "ese/salvage.h"

#include "rig.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS   3000
#define BODIES 8

static char edb[200], stm[200];
static uint64_t bodies[BODIES];
static char names[400];

static void found(void *arg, const struct finding *f)
{
	const char *name = finding_rows[f->kind].name;

	(void)arg;
	if (!strstr(names, name))
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s ", name);
}

static size_t body_len(unsigned n)
{
	return 1 + n * 30000;
}

/* Rows and bodies as after a kill: the first half is in the databases' files, the other in the log. */
static void fill(struct rig *r, struct rig *copy)
{
	char key[16], value[64];

	rig_make(r);
	r->o.checkpoint_bytes = 100u * 1024 * 1024;
	rig_open(r);
	for (unsigned i = 0; i < ROWS; i++) {
		static struct ese_batch *b;

		if (!b)
			assert_int_equal(ese_batch_new(r->db, 1, &b, NULL), ST_OK);
		snprintf(key, sizeof(key), "r%08u", i);
		rig_bytes(value, sizeof(value), i);
		ese_put(b, span_str(key), span_of(value, sizeof(value)));
		if (i % 100 == 99) {
			assert_int_equal(rig_commit(b, NULL), ST_OK);
			b = NULL;
		}
		if (i % (ROWS / BODIES) == 0)
			bodies[i / (ROWS / BODIES)] =
				rig_body(r, body_len(i / (ROWS / BODIES)), i / (ROWS / BODIES));
		if (i == ROWS / 2)
			assert_int_equal(ese_checkpoint(r->g, NULL), ST_OK);
	}
	rig_settle(r);
	rig_fork(r, copy);
	rig_close(r);
	rig_remove(r);
	snprintf(edb, sizeof(edb), "%s/mailbox/one.edb", copy->dir);
	snprintf(stm, sizeof(stm), "%s/mailbox/one.stm", copy->dir);
}

/* ---- what came out ---- */

struct outcome {
	unsigned rows, bodies; /* that are there and right */
};

static bool body_is_right(struct salvage *s, unsigned n)
{
	struct salvage_body b;
	char page[ESE_PAGE], *want = malloc(body_len(n));
	bool right = true;
	size_t len;

	rig_bytes(want, body_len(n), n);
	if (salvage_body_open(s, bodies[n], &b, NULL) != ST_OK) {
		free(want);
		return false;
	}
	assert_int_equal(b.where.len, body_len(n));
	for (uint32_t i = 0; i < b.where.npages; i++) {
		if (salvage_body_page(s, &b, i, page, &len) == ST_OK)
			assert_memory_equal(page, want + (size_t)i * ESE_PAGE, len);
		else
			right = false;
	}
	assert_int_equal(right, b.damaged == 0);
	salvage_body_close(&b);
	free(want);
	return right;
}

static struct outcome salvage(const struct rig *r)
{
	struct salvage_source src = { .name = "mailbox/one",
				      .log = r->dir,
				      .edb = edb,
				      .stm = stm,
				      .tell_log = true,
				      .found = found };
	struct outcome out = { 0 };
	struct ese_value v;
	struct salvage *s;
	struct err err = { 0 };
	char scratch[200], key[16], want[64];

	names[0] = '\0';
	snprintf(scratch, sizeof(scratch), "%s.scratch", r->dir);
	src.scratch = scratch;
	if (salvage_open(&src, &s, &err) != ST_OK)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(key, sizeof(key), "r%08u", i);
		if (ese_get(salvage_db(s), span_str(key), &v, NULL) != ST_OK)
			continue;
		rig_bytes(want, sizeof(want), i);
		assert_int_equal(v.bytes.len, sizeof(want));
		assert_memory_equal(v.bytes.at, want, sizeof(want));
		ese_value_free(&v);
		out.rows++;
	}
	for (unsigned i = 0; i < BODIES; i++)
		out.bodies += body_is_right(s, i);
	salvage_close(s);
	assert_int_equal(access(scratch, F_OK), -1);
	return out;
}

/* ---- damage ---- */

/* rm -r of DIR/WHAT, a pattern. */
static void take_away(const char *dir, const char *what)
{
	char cmd[600];

	snprintf(cmd, sizeof(cmd), "rm -r '%s'%s", dir, what);
	assert_int_equal(system(cmd), 0);
}

static void flip_middle(const char *pattern)
{
	struct stat info;
	char byte;
	glob_t g;
	int fd;

	assert_int_equal(glob(pattern, 0, NULL, &g), 0);
	fd = open(g.gl_pathv[0], O_RDWR);
	assert_true(fd >= 0 && fstat(fd, &info) == 0);
	assert_int_equal(pread(fd, &byte, 1, info.st_size / 2), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, info.st_size / 2), 1);
	close(fd);
	globfree(&g);
}

static void nothing(const struct rig *r)
{
	(void)r;
}
static void sst(const struct rig *r)
{
	char pattern[300];

	(void)r;
	snprintf(pattern, sizeof(pattern), "%s/*.sst", edb);
	flip_middle(pattern);
}
static void sst_gone(const struct rig *r)
{
	(void)r;
	take_away(edb, "/*.sst");
}
static void manifest_gone(const struct rig *r)
{
	(void)r;
	take_away(edb, "/MANIFEST*");
}
static void rows_gone(const struct rig *r)
{
	(void)r;
	take_away(edb, "");
}
static void stream_gone(const struct rig *r)
{
	(void)r;
	take_away(stm, "");
}
static void checkpoint_gone(const struct rig *r)
{
	take_away(r->dir, "/E00.chk");
}
static void a_log_gone(const struct rig *r)
{
	take_away(r->dir, "/E0000000004.log");
}
static void a_group(const struct rig *r)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/E0000000004.log", r->dir);
	flip_middle(path);
}
static void logs_gone(const struct rig *r)
{
	take_away(r->dir, "/E000*.log");
}

/* What is in rows, pages or log is kept: a database whole without a log, a log whole without a database. */
static void everything_that_is_somewhere_is_kept(void **state)
{
	static const struct {
		const char *name;
		void (*damage)(const struct rig *r);
		unsigned rows, bodies; /* at least */
		const char *found;
	} table[] = {
		{ "nothing", nothing, ROWS, BODIES, "" },
		{ "a block of rows", sst, ROWS, BODIES, "unreadable" },
		{ "the files of rows", sst_gone, ROWS / 2 - 100, BODIES / 2 - 1,
		  "database-unreadable" },
		{ "the MANIFEST", manifest_gone, ROWS, BODIES, "database-unreadable" },
		{ "the folder of rows", rows_gone, ROWS / 2 - 100, BODIES / 2 - 1,
		  "database-missing" },
		{ "the streaming file", stream_gone, ROWS, BODIES / 2 - 1, "database-missing" },
		{ "the checkpoint", checkpoint_gone, ROWS, BODIES, "" },
		{ "a log file", a_log_gone, ROWS / 2, BODIES / 2, "log-missing" },
		{ "a group of the log", a_group, ROWS / 2, BODIES / 2, "log-damaged" },
		{ "the log", logs_gone, ROWS / 2, BODIES / 2, "log-missing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct rig r, copy;
		struct outcome o;

		fill(&r, &copy);
		table[i].damage(&copy);
		o = salvage(&copy);
		print_message("%s: %u of %u rows, %u of %u bodies; %s\n", table[i].name, o.rows,
			      ROWS, o.bodies, BODIES, names);
		if (o.rows < table[i].rows || o.bodies < table[i].bodies ||
		    !strstr(names, table[i].found))
			fail_msg("%s: not enough", table[i].name);
		rig_remove(&copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_that_is_somewhere_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
