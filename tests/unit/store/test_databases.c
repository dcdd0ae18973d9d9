/* Several databases: what is being written, or held, when one of them goes. */
#include "store/database.h"

#include "rig.h"

#define SECOND "first/mailbox/second"
#define GUID   "0123456789abcdef"
#define HELLO  "From: a@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"

static struct who alice, bob;

static enum st order(struct rig *r, enum wire_op op, const char *database, uint32_t tag, bool flag)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_str(&m.w, PR_DATABASE, database);
	if (tag)
		pw_bool(&m.w, tag, flag);
	m.deadline = NO_DEADLINE;
	st = wire_send(&m, rig_admin(r), 0, op, &a, &rig_err);
	wire_answer_free(&a);
	return st;
}

static enum st dismount(struct rig *r, const char *database)
{
	return order(r, WIRE_ADM_DATABASE_MOUNT, database, PR_MOUNTED, false);
}

static enum st mount(struct rig *r, const char *database)
{
	return order(r, WIRE_ADM_DATABASE_MOUNT, database, PR_MOUNTED, true);
}

static enum st move_user(struct rig *r, const char *user, const char *database)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_str(&m.w, PR_USER, user);
	pw_str(&m.w, PR_DATABASE, database);
	m.deadline = NO_DEADLINE;
	st = wire_send(&m, rig_admin(r), 0, WIRE_ADM_USER_MOVE, &a, &rig_err);
	wire_answer_free(&a);
	return st;
}

static uint64_t bodies_in(struct rig *r, const char *database)
{
	uint64_t n = UINT64_MAX;
	struct wire_answer a;
	struct wire_msg m;

	wire_begin(&m, 1);
	CHECK_ST(wire_send(&m, rig_admin(r), 0, WIRE_ADM_DATABASES, &a, &rig_err), ST_OK);
	while (wire_next_row(&a, &rig_err) == ST_OK)
		if (span_eq(plist_span(&a.list, PR_DATABASE), span_str(database)))
			n = plist_u64(&a.list, PR_BODIES, 0);
	wire_answer_free(&a);
	return n;
}

static void log_on(struct rig *r)
{
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &bob), ST_OK);
}

/* alice in the default database, bob in another. */
static void begin(struct rig *r)
{
	rig_people(r);
	CHECK_ST(order(r, WIRE_ADM_DATABASE_CREATE, SECOND, 0, false), ST_OK);
	CHECK_ST(move_user(r, "bob@mailroot.test", SECOND), ST_OK);
	log_on(r);
}

static size_t subjects(const struct who *w)
{
	struct uset uids = { 0 };
	uint64_t fid, cn;
	size_t n;

	CHECK_ST(rig_select(w, "INBOX", true, &fid, &uids, &cn), ST_OK);
	n = uids.count;
	uset_free(&uids);
	return n;
}

/* ---- a virtual file for both ---- */

static uint64_t file_for(struct rig *r, unsigned loop, const uint64_t *mailboxes, size_t n)
{
	struct wire_answer a;
	struct wire_msg m;
	uint64_t token;

	wire_begin(&m, 1);
	pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, mailboxes, n);
	CHECK_ST(wire_send(&m, rig_chan(r), loop, WIRE_IFS_CREATE, &a, &rig_err), ST_OK);
	token = plist_u64(&a.list, PR_BODY_TOKEN, 0);
	wire_answer_free(&a);
	return token;
}

static void file_write(struct rig *r, unsigned loop, uint64_t token, const char *text)
{
	struct wire_answer a;
	struct wire_msg m;

	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, token);
	CHECK_ST(exipc_section_get(rig_chan(r), loop, NO_DEADLINE, &m.sections[0], &rig_err),
		 ST_OK);
	m.nsections = 1;
	m.used[0] = (uint32_t)strlen(text);
	memcpy(m.sections[0].at, text, strlen(text));
	CHECK_ST(wire_send(&m, rig_chan(r), loop, WIRE_IFS_WRITE, &a, &rig_err), ST_OK);
	wire_answer_free(&a);
}

static void file_deliver(struct rig *r, unsigned loop, uint64_t token, const uint64_t *mailboxes,
			 size_t n, enum st *statuses)
{
	struct wire_answer a;
	struct wire_msg m;

	wire_begin(&m, 3);
	pw_span(&m.w, PR_MSG_GUID, span_of(GUID, 16));
	pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, mailboxes, n);
	pw_u64(&m.w, PR_BODY_TOKEN, token);
	CHECK_ST(wire_send(&m, rig_chan(r), loop, WIRE_SMTP_DELIVER, &a, &rig_err), ST_OK);
	for (size_t i = 0; i < n; i++)
		statuses[i] = (enum st)plist_mv_num(&a.list, PR_STATUSES, i);
	wire_answer_free(&a);
}

static void write_while_one_goes(struct rig *r)
{
	uint64_t to[] = { alice.mailbox, bob.mailbox, 999 }, token;
	unsigned loop = wire_loop(rig_chan(r), alice.mailbox);
	enum st st[3];

	token = file_for(r, loop, to, 3);
	file_write(r, loop, token, "Subject: one\r\n\r\n");
	CHECK_ST(dismount(r, SECOND), ST_OK);
	file_write(r, loop, token, "Hello.\r\n");
	file_deliver(r, loop, token, to, 3, st);
	CHECK(st[0] == ST_OK && st[1] == ST_GONE && st[2] == ST_NOTFOUND);
	CHECK(subjects(&alice) == 1);
	CHECK_ST(mount(r, SECOND), ST_OK);
	/* The transport's second try: who has it does not get it again. */
	token = file_for(r, loop, to, 2);
	file_write(r, loop, token, "Subject: one\r\n\r\nHello.\r\n");
	file_deliver(r, loop, token, to, 2, st);
	CHECK(st[0] == ST_OK && st[1] == ST_OK);
	CHECK(subjects(&alice) == 1 && subjects(&bob) == 1);
	CHECK(bodies_in(r, SECOND) == 1 && bodies_in(r, "first/mailbox/default") == 1);
}

/* The database whose file it was written into is not the mailbox's any more. */
static void write_while_he_moves(struct rig *r)
{
	unsigned loop = wire_loop(rig_chan(r), bob.mailbox);
	uint64_t token = file_for(r, loop, &bob.mailbox, 1);
	enum st st;

	file_write(r, loop, token, "Subject: one\r\n\r\nHello.\r\n");
	CHECK_ST(move_user(r, "bob@mailroot.test", "first/default"), ST_OK);
	file_deliver(r, loop, token, &bob.mailbox, 1, &st);
	CHECK(st == ST_GONE);
	CHECK(subjects(&bob) == 0);
}

/* Without a word about mailboxes it is the default database's. */
static void write_for_nobody(struct rig *r)
{
	unsigned loop = wire_loop(rig_chan(r), alice.mailbox);
	uint64_t token = file_for(r, loop, NULL, 0);
	enum st st;

	file_write(r, loop, token, "Subject: two\r\n\r\nHello.\r\n");
	file_deliver(r, loop, token, &alice.mailbox, 1, &st);
	CHECK(st == ST_OK);
}

static void run(void (*fn)(struct rig *r), unsigned loops)
{
	struct rig r;

	rig_make(&r, "dismount_wait_s = 1\n");
	rig_up(&r, loops);
	rig_run(&r, begin);
	rig_run(&r, fn);
	rig_down(&r);
	rig_remove(&r);
}

static void what_is_being_written_loses_the_part_that_goes(void **state)
{
	(void)state;
	for (unsigned loops = 1; loops <= 2; loops++)
		run(write_while_one_goes, loops);
}

static void who_moved_meanwhile_is_asked_again(void **state)
{
	(void)state;
	run(write_while_he_moves, 2);
}

static void without_a_mailbox_it_goes_to_the_default_database(void **state)
{
	(void)state;
	run(write_for_nobody, 2);
}

/* ---- a reply in a client's hand ---- */

static void fetch_held(const struct who *w, struct wire_answer *a)
{
	struct wire_msg m;
	uint64_t fid;

	CHECK_ST(rig_select(w, "INBOX", true, &fid, NULL, NULL), ST_OK);
	rig_begin(&m, w, 3);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, "1");
	pw_u32(&m.w, PR_WANT, WANT_BODY);
	CHECK_ST(rig_send(&m, w, WIRE_IMAP_FETCH, a), ST_OK);
	CHECK_ST(wire_next_row(a, &rig_err), ST_OK);
}

static void hold_over_a_dismount(struct rig *r)
{
	struct wire_answer held;
	struct exipc_fd *fd;
	uint64_t tag;

	rig_mail(r, bob.mailbox, HELLO);
	fetch_held(&bob, &held);
	tag = plist_u64(&held.list, PR_STREAM_TAG, 0);
	fd = exipc_fd_hold(rig_chan(r), tag);
	CHECK(fd && !exipc_fd_withdrawn(fd));
	CHECK_ST(dismount(r, SECOND), ST_OK);
	CHECK(!exipc_fd_hold(rig_chan(r), 12345)); /* reads what the store said */
	CHECK(exipc_fd_withdrawn(fd));
	exipc_fd_drop(fd);
	/* Nothing may be written to pages that somebody may still send from. */
	CHECK_ST(mount(r, SECOND), ST_BUSY);
	wire_answer_free(&held);
	CHECK_ST(mount(r, SECOND), ST_OK);
	fetch_held(&bob, &held);
	CHECK(plist_u64(&held.list, PR_STREAM_TAG, 0) != tag);
	fd = exipc_fd_hold(rig_chan(r), plist_u64(&held.list, PR_STREAM_TAG, 0));
	CHECK(fd);
	exipc_fd_drop(fd);
	wire_answer_free(&held);
}

static void pages_stay_while_a_reply_is_held(void **state)
{
	(void)state;
	run(hold_over_a_dismount, 2);
}

/* ---- moves ---- */

static void move_with_shared_bodies(struct rig *r)
{
	struct buf before = BUF_MAX(65536), after = BUF_MAX(65536);
	char to[64];
	uint64_t fid;

	for (unsigned i = 0; i < 3; i++)
		rig_mail(r, bob.mailbox, HELLO);
	CHECK_ST(rig_select(&bob, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_copy(&bob, fid, "1:2", "Drafts", false, to, sizeof to), ST_OK);
	CHECK_ST(rig_copy(&bob, fid, "1", "Sent Items", false, to, sizeof to), ST_OK);
	CHECK_ST(rig_body(&bob, fid, 1, &before), ST_OK);
	CHECK(bodies_in(r, SECOND) == 3);
	CHECK_ST(move_user(r, "bob@mailroot.test", "first/default"), ST_OK);
	CHECK(bodies_in(r, "first/mailbox/default") == 3);
	/* The same log-on, the same folder. */
	CHECK_ST(rig_body(&bob, fid, 1, &after), ST_OK);
	CHECK(span_eq(buf_get(&before), buf_get(&after)));
	CHECK(subjects(&bob) == 3);
	CHECK_ST(move_user(r, "bob@mailroot.test", "first/default"), ST_OK);
	buf_free(&before);
	buf_free(&after);
}

static void shared_bodies_stay_shared_when_he_moves(void **state)
{
	(void)state;
	run(move_with_shared_bodies, 2);
}

static void refusals(struct rig *r)
{
	CHECK_ST(dismount(r, SECOND), ST_OK);
	CHECK_ST(dismount(r, SECOND), ST_OK);
	CHECK_ST(move_user(r, "bob@mailroot.test", "first/default"), ST_GONE);
	CHECK_ST(move_user(r, "alice@mailroot.test", SECOND), ST_GONE);
	CHECK_ST(move_user(r, "nobody@mailroot.test", SECOND), ST_NOTFOUND);
	CHECK_ST(move_user(r, "alice@mailroot.test", "second"), ST_BAD);
	CHECK_ST(order(r, WIRE_ADM_DATABASE_REMOVE, SECOND, 0, false), ST_EXISTS);
	CHECK_ST(dismount(r, "first/directory"), ST_DENIED);
	CHECK_ST(order(r, WIRE_ADM_DATABASE_REMOVE, "first/directory", 0, false), ST_DENIED);
	CHECK_ST(order(r, WIRE_ADM_DATABASE_REMOVE, SECOND, PR_WITH_MAILBOXES, true), ST_OK);
	CHECK_ST(mount(r, SECOND), ST_NOTFOUND);
	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &bob), ST_DENIED);
	CHECK(subjects(&alice) == 0);
}

static void what_can_not_be_is_refused(void **state)
{
	(void)state;
	run(refusals, 2);
}

/* ---- names ---- */

static void names_are_read(void **state)
{
	static const struct {
		const char *what, *text, *group, *name; /* name NULL: none */
	} rows[] = {
		{ "a whole one", "first/mailbox/default", "first", "mailbox/default" },
		{ "the short form means a mailbox database", "far/sales", "far", "mailbox/sales" },
		{ "a public one", "first/public/rooms", "first", "public/rooms" },
		{ "the directory has no short form", "first/directory", "first", "directory" },
		{ "what else is in it is looked at later", "a/b/c/d", "a", "b/c/d" },
		{ "an empty group is found nowhere", "/x", "", "mailbox/x" },
		{ "an empty name", "first/", "first", "mailbox/" },
		{ "no group", "default", NULL, NULL },
		{ "nothing", "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char name[DATABASE_NAME_MAX + 1];
		struct span group;
		enum st st = database_name_read(span_str(rows[i].text), &group, name, &rig_err);

		print_message("%s\n", rows[i].what);
		assert_int_equal(st, rows[i].name ? ST_OK : ST_BAD);
		if (st == ST_OK) {
			assert_true(span_eq(group, span_str(rows[i].group)));
			assert_string_equal(name, rows[i].name);
		}
	}
	assert_true(group_name_ok(SPAN("a-1_z")));
	assert_false(group_name_ok(SPAN("")));
	assert_false(group_name_ok(SPAN("..")));
	assert_false(group_name_ok(SPAN("A")));
	assert_false(group_name_ok(SPAN("a/b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read),
		cmocka_unit_test(what_is_being_written_loses_the_part_that_goes),
		cmocka_unit_test(who_moved_meanwhile_is_asked_again),
		cmocka_unit_test(without_a_mailbox_it_goes_to_the_default_database),
		cmocka_unit_test(pages_stay_while_a_reply_is_held),
		cmocka_unit_test(shared_bodies_stay_shared_when_he_moves),
		cmocka_unit_test(what_can_not_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
