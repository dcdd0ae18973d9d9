/* The file-system driver: what is on the disk when, and what every failure leaves. */
#include "../loop/run.h"
#include "transport/fsfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static char home[64];

static int make_home(void **state)
{
	(void)state;
	strcpy(home, "/tmp/mailroot-fsdriver-XXXXXX");
	return mkdtemp(home) ? 0 : -1;
}

static int remove_home(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", home);
	return system(command);
}

static struct mailmsg_driver *open_driver(void)
{
	struct mailmsg_driver *driver;
	struct err err;

	if (fsdriver_open(home, &driver, &err) != ST_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return driver;
}

static struct fsdriver *inside(struct mailmsg_driver *driver)
{
	return (struct fsdriver *)(void *)driver;
}

/* Names in Queue with this extension. */
static size_t count_files(const char *folder, const char *extension)
{
	char path[128];
	DIR *dir;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", home, folder);
	dir = opendir(path);
	must(dir != NULL);
	for (struct dirent *e; (e = readdir(dir));) {
		size_t len = strlen(e->d_name), ext = strlen(extension);

		if (e->d_name[0] != '.' && len >= ext &&
		    strcmp(e->d_name + len - ext, extension) == 0)
			n++;
	}
	closedir(dir);
	return n;
}

static struct mailmsg_rcpt rcpt = { .address = { "alice@mailroot.test", 19 } };

static struct mailmsg_envelope envelope(size_t nrcpts)
{
	static struct mailmsg_rcpt many[500];

	for (size_t i = 0; i < 500; i++)
		many[i] = rcpt;
	return (struct mailmsg_envelope){ .sender = SPAN("bob@mailroot.test"),
					  .rcpts = many,
					  .nrcpts = nrcpts };
}

static char pattern(size_t i)
{
	return (char)('a' + i % 23 + (i >> 12) % 3);
}

/* A message of `size` octets, written in uneven pieces. */
static enum st write_message(struct mailmsg *m, size_t size, struct err *err)
{
	char piece[7001];

	for (size_t at = 0; at < size;) {
		size_t n = size - at < sizeof(piece) ? size - at : sizeof(piece);
		enum st st;

		for (size_t i = 0; i < n; i++)
			piece[i] = pattern(at + i);
		st = mailmsg_write(m, piece, n, err);
		if (st != ST_OK)
			return st;
		at += n;
	}
	return ST_OK;
}

static enum st make_message(struct mailmsg_driver *driver, size_t size, size_t nrcpts,
			    struct mailmsg **out, struct err *err)
{
	struct mailmsg_envelope env = envelope(nrcpts);
	enum st st = mailmsg_create(driver, out, err);

	must(st == ST_OK);
	st = write_message(*out, size, err);
	if (st == ST_OK)
		st = mailmsg_commit(*out, &env, err);
	return st;
}

static void check_content(struct mailmsg *m, size_t size)
{
	char block[5000];
	size_t got, at = 0;
	struct err err;

	do {
		must(mailmsg_read(m, at, block, sizeof(block), &got, &err) == ST_OK);
		for (size_t i = 0; i < got; i++)
			must(block[i] == pattern(at + i));
		at += got;
	} while (got == sizeof(block));
	must(at == size);
}

static void check_envelope(struct mailmsg *m, size_t size, size_t nrcpts)
{
	struct pool *pool = pool_new("test", 1 << 20);
	struct mailmsg_envelope env;
	struct err err;

	must(mailmsg_load(m, &err) == ST_OK);
	must(mailmsg_envelope(m, pool, &env, &err) == ST_OK);
	must(env.size == size && env.nrcpts == nrcpts && env.arrival != 0);
	must(span_eq(env.sender, SPAN("bob@mailroot.test")));
	must(span_eq(env.rcpts[nrcpts - 1].address, rcpt.address));
	must(memcmp(env.guid, mailmsg_guid(m), MAILMSG_GUID) == 0);
	pool_free(pool);
}

/* ---- rows: whole lives ---- */

static const struct life {
	const char *name;
	size_t size, nrcpts;
	bool no_xattr;
	size_t side_files;
} lives[] = {
	{ "an empty message", 0, 1, false, 0 },
	{ "a small one, in one job", 4096, 1, false, 0 },
	{ "one that just fills the gathering buffer", MAILMSG_GATHER, 1, false, 0 },
	{ "one octet more", MAILMSG_GATHER + 1, 1, false, 0 },
	{ "a large one, written on the way", 1000003, 2, false, 0 },
	{ "an envelope too long for attributes", 100, 500, false, 1 },
	{ "a file system without attributes", 100, 1, true, 1 },
	{ "large and without attributes", 300000, 500, true, 1 },
};

static void found_one(void *arg, struct mailmsg_id id, uint64_t size)
{
	struct mailmsg_id *out = arg;

	(void)size;
	*out = id;
}

static void live_a_life(const struct life *row)
{
	struct mailmsg_driver *driver = open_driver();
	struct mailmsg_id id = { 0 };
	struct mailmsg *m, *again;
	struct err err;

	inside(driver)->no_xattr = row->no_xattr;
	must(make_message(driver, row->size, row->nrcpts, &m, &err) == ST_OK);
	must(count_files("Queue", ".eml") == 1);
	must(count_files("Queue", "") == 1 + row->side_files);
	check_content(m, row->size);
	mailmsg_unload(m);
	check_envelope(m, row->size, row->nrcpts);
	check_content(m, row->size);
	mailmsg_free(m);
	fsdriver_close(driver);

	driver = open_driver(); /* as after a restart */
	must(fsdriver_enumerate(driver, found_one, &id, &err) == ST_OK);
	must(mailmsg_reopen(driver, id, &again, &err) == ST_OK);
	check_envelope(again, row->size, row->nrcpts);
	check_content(again, row->size);
	must(mailmsg_delete(again, &err) == ST_OK);
	must(count_files("Queue", "") == 0);
	mailmsg_free(again);
	fsdriver_close(driver);
}

static void all_lives(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++)
		live_a_life(&lives[i]);
}

static void a_message_is_kept_read_again_after_a_restart_and_removed(void **state)
{
	(void)state;
	run_on_loop(all_lives, NULL);
}

/* ---- the order of operations ---- */

struct tape {
	char text[2000];
	unsigned n, fail_at; /* fail the n-th (from 1); 0: none */
	int error;
};

static int record(void *arg, const char *op, const char *file)
{
	struct tape *t = arg;
	const char *dot = strchr(file, '.');

	strcat(t->text, op);
	strcat(t->text, dot ? dot : "");
	strcat(t->text, " ");
	return ++t->n == t->fail_at ? t->error : 0;
}

static void order_body(void *arg)
{
	struct mailmsg_driver *driver = open_driver();
	struct mailmsg_live live = { .status = MP_STATUS_RETRY, .attempts = 1 };
	struct tape tape = { 0 };
	struct mailmsg *m;
	struct err err;

	(void)arg;
	inside(driver)->step = record;
	inside(driver)->step_arg = &tape;
	must(make_message(driver, 100, 1, &m, &err) == ST_OK);
	must(strcmp(tape.text,
		    "create.tmp write.tmp attribute.stp sync.tmp rename.eml folder-sync ") == 0);
	tape.text[0] = 0;
	must(mailmsg_put_live(m, &live, &err) == ST_OK);
	must(strcmp(tape.text, "attribute sync ") == 0);
	tape.text[0] = 0;
	inside(driver)->no_xattr = true;
	must(mailmsg_put_live(m, &live, &err) == ST_OK);
	must(strcmp(tape.text, "create.stl.tmp write.stl.tmp sync.stl.tmp rename.stl "
			       "folder-sync ") == 0);
	tape.text[0] = 0;
	must(mailmsg_delete(m, &err) == ST_OK);
	must(strcmp(tape.text, "unlink.eml folder-sync ") == 0);
	mailmsg_free(m);
	tape.text[0] = 0;
	must(make_message(driver, 100, 1, &m, &err) == ST_OK);
	must(strcmp(tape.text, "create.tmp write.tmp create.stp write.stp sync.stp sync.tmp "
			       "rename.eml folder-sync ") == 0);
	must(mailmsg_delete(m, &err) == ST_OK);
	mailmsg_free(m);
	fsdriver_close(driver);
}

static void content_and_envelope_are_synced_before_the_name_and_the_name_before_the_answer(
	void **state)
{
	(void)state;
	run_on_loop(order_body, NULL);
}

/* ---- every operation fails once ---- */

static const struct {
	const char *name;
	int error;
	enum st want;
} failures[] = {
	{ "a full disk", ENOSPC, ST_NOSPACE },
	{ "a broken disk", EIO, ST_IO },
};

/* Returns how many operations there were.  A failed commit leaves nothing behind, unless it was the folder's
 * sync that failed: then the file was named already and is removed again. */
static unsigned fail_at(unsigned n, size_t size, size_t nrcpts, size_t row)
{
	struct mailmsg_driver *driver = open_driver();
	struct tape tape = { .fail_at = n, .error = failures[row].error };
	struct mailmsg *m;
	struct err err;
	enum st st;

	inside(driver)->step = record;
	inside(driver)->step_arg = &tape;
	st = make_message(driver, size, nrcpts, &m, &err);
	inside(driver)->step = NULL;
	if (n == 0)
		must(st == ST_OK);
	else if (st != ST_OK)
		must(st == failures[row].want);
	else
		must(strstr(tape.text, "attribute") != NULL); /* there is another way */
	if (st == ST_OK)
		must(mailmsg_delete(m, &err) == ST_OK);
	mailmsg_free(m);
	work_stop(); /* the removal is in the background */
	must(count_files("Queue", "") == 0);
	fsdriver_close(driver);
	return tape.n;
}

static void failures_body(void *arg)
{
	static const size_t sizes[] = { 100, 200000 }, rcpts[] = { 1, 500 };

	(void)arg;
	for (size_t row = 0; row < 2; row++)
		for (size_t s = 0; s < 2; s++)
			for (size_t r = 0; r < 2; r++) {
				unsigned n = fail_at(0, sizes[s], rcpts[r], row);

				must(n >= 6);
				for (unsigned i = 1; i <= n; i++)
					fail_at(i, sizes[s], rcpts[r], row);
			}
}

static void a_commit_that_fails_anywhere_says_so_and_leaves_nothing(void **state)
{
	(void)state;
	run_on_loop(failures_body, NULL);
}

/* ---- what a crash left ---- */

static void touch(const char *file, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/Queue/%s", home, file);
	f = fopen(path, "w");
	must(f && fputs(text, f) >= 0);
	fclose(f);
}

static void count_found(void *arg, struct mailmsg_id id, uint64_t size)
{
	(void)id;
	(void)size;
	++*(size_t *)arg;
}

static void leftovers_body(void *arg)
{
	struct mailmsg_driver *driver = open_driver();
	size_t found = 0;
	struct err err;

	(void)arg;
	fsdriver_close(driver);
	touch("MR_000000000000000100000001.tmp", "half");
	touch("MR_000000000000000100000002.stp", "envelope without content");
	touch("MR_000000000000000100000003.stl", "live without content");
	touch("MR_000000000000000100000004.stl.tmp", "half");
	touch("MR_000000000000000100000005.eml", "content");
	touch("MR_000000000000000100000005.stp", "not an envelope");
	touch("notes.txt", "somebody's own");
	touch("MR_00000000000000010000000g.tmp", "not one of our names");
	driver = open_driver();
	must(count_files("Queue", "") == 4);
	must(fsdriver_enumerate(driver, count_found, &found, &err) == ST_OK);
	must(found == 1);
	fsdriver_close(driver);
}

static void what_was_never_committed_is_removed_at_start_and_nothing_else(void **state)
{
	(void)state;
	run_on_loop(leftovers_body, NULL);
}

static void two_processes_cannot_serve_one_folder(void **state)
{
	struct mailmsg_driver *one = open_driver(), *two;
	struct err err;

	(void)state;
	assert_int_equal(fsdriver_open(home, &two, &err), ST_BUSY);
	assert_non_null(strstr(err.text, "another process"));
	fsdriver_close(one);
}

/* ---- damage ---- */

enum damage {
	CUT_CONTENT,
	NO_ENVELOPE,
	FLIP_ENVELOPE,
	SHORT_ENVELOPE,
	EMPTY_ENVELOPE,
	NOT_A_FILE,
	FLIP_LIVE
};
static const struct {
	const char *name;
	enum damage damage;
	enum st want;
} damages[] = {
	{ "the content lost its end", CUT_CONTENT, ST_CORRUPT },
	{ "the envelope is gone", NO_ENVELOPE, ST_CORRUPT },
	{ "a bit of the envelope turned", FLIP_ENVELOPE, ST_CORRUPT },
	{ "the envelope lost its end", SHORT_ENVELOPE, ST_CORRUPT },
	{ "the envelope is empty", EMPTY_ENVELOPE, ST_CORRUPT },
	{ "a folder in the file's place", NOT_A_FILE, ST_CORRUPT },
	{ "the live properties are broken, which costs nothing", FLIP_LIVE, ST_OK },
};

static void change_attribute(const char *path, const char *name, size_t flip, ssize_t len)
{
	char bytes[5000];
	ssize_t n = getxattr(path, name, bytes, sizeof(bytes));

	must(n > 20);
	bytes[flip] ^= 4;
	must(setxattr(path, name, bytes, (size_t)(len >= 0 ? len : n), 0) == 0);
}

static void do_damage(const char *path, enum damage damage)
{
	switch (damage) {
	case CUT_CONTENT:
		must(truncate(path, 50) == 0);
		break;
	case NO_ENVELOPE:
		must(removexattr(path, XATTR_PROPS) == 0);
		break;
	case FLIP_ENVELOPE:
		change_attribute(path, XATTR_PROPS, 40, -1);
		break;
	case SHORT_ENVELOPE:
		change_attribute(path, XATTR_PROPS, 0, 30);
		break;
	case EMPTY_ENVELOPE:
		must(setxattr(path, XATTR_PROPS, "", 0, 0) == 0);
		break;
	case NOT_A_FILE:
		must(unlink(path) == 0 && mkdir(path, 0700) == 0);
		break;
	case FLIP_LIVE:
		change_attribute(path, XATTR_LIVE, 15, -1);
		break;
	}
}

static void damage_body(void *arg)
{
	struct mailmsg_driver *driver = open_driver();
	struct mailmsg_live live = { .status = MP_STATUS_RETRY, .attempts = 3 };

	(void)arg;
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		struct mailmsg *m;
		char path[200];
		struct err err = { 0 };
		enum st st;

		must(make_message(driver, 100, 1, &m, &err) == ST_OK);
		must(mailmsg_put_live(m, &live, &err) == ST_OK);
		mailmsg_unload(m);
		snprintf(path, sizeof(path), "%s/Queue/%s.eml", home, mailmsg_name(m));
		do_damage(path, damages[i].damage);
		st = mailmsg_load(m, &err);
		if (st != damages[i].want) {
			fprintf(stderr, "%s: %s\n", damages[i].name, st_name(st));
			abort();
		}
		must(mailmsg_live_was_broken(m) == (damages[i].damage == FLIP_LIVE));
		must(mailmsg_to_badmail(m, st ? err.text : "for the test", &err) == ST_OK);
		must(count_files("Queue", "") == 0);
		must(count_files("Badmail", ".BAD") == i + 1);
		must(count_files("Badmail", ".BDR") == i + 1);
		mailmsg_free(m);
	}
	fsdriver_close(driver);
}

static void a_damaged_file_is_named_and_can_be_set_aside(void **state)
{
	(void)state;
	run_on_loop(damage_body, NULL);
}

/* ---- together ---- */

struct crowd {
	struct mailmsg_driver *driver;
	unsigned left;
	struct fiber *waiter;
};

static void member(void *arg)
{
	struct crowd *c = arg;
	struct mailmsg *m;
	struct err err;

	must(make_message(c->driver, 4096, 1, &m, &err) == ST_OK);
	mailmsg_free(m);
	if (--c->left == 0)
		fiber_wake(c->waiter);
}

static void crowd_body(void *arg)
{
	enum { N = 200 };
	struct crowd c = { .driver = open_driver(), .left = N, .waiter = fiber_self() };
	struct fsdriver_stats stats;
	struct err err;

	(void)arg;
	for (unsigned i = 0; i < N; i++)
		must(fiber_spawn("member", member, &c, &err) == ST_OK);
	while (c.left)
		fiber_park(NO_DEADLINE);
	fsdriver_stats(c.driver, &stats);
	must(stats.committed == N && stats.file_syncs == N);
	must(stats.folder_syncs < N);
	must(count_files("Queue", ".eml") == N);
	print_message("200 commits together: %llu folder syncs\n",
		      (unsigned long long)stats.folder_syncs);
	fsdriver_close(c.driver);
}

static void commits_that_meet_share_the_folder_sync(void **state)
{
	(void)state;
	run_on_loop(crowd_body, NULL);
}

int main(void)
{
#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, make_home, remove_home)
	const struct CMUnitTest tests[] = {
		WITH_HOME(a_message_is_kept_read_again_after_a_restart_and_removed),
		WITH_HOME(
			content_and_envelope_are_synced_before_the_name_and_the_name_before_the_answer),
		WITH_HOME(a_commit_that_fails_anywhere_says_so_and_leaves_nothing),
		WITH_HOME(what_was_never_committed_is_removed_at_start_and_nothing_else),
		WITH_HOME(two_processes_cannot_serve_one_folder),
		WITH_HOME(a_damaged_file_is_named_and_can_be_set_aside),
		WITH_HOME(commits_that_meet_share_the_folder_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
