/* A client that means harm, or is only unlucky, against a whole store: nothing may stay behind for ever. */
#include "rig.h"

#define MAIL "From: Bob <bob@mailroot.test>\r\nSubject: Again\r\n\r\nAnd again.\r\n"

/* ---- the same message at a time, its mailboxes in another order ---- */

struct again {
	struct rig *r;
	const char *guid;
	uint64_t boxes[2];
	enum st st, status[2];
	bool over;
};

static void deliver_again(void *arg)
{
	struct again *a = arg;

	a->st = rig_deliver(a->r, a->guid, a->boxes, 2, MAIL, strlen(MAIL), a->status);
	a->over = true;
}

static uint64_t one, two;

static void add_two(struct rig *r)
{
	rig_people(r);
	CHECK_ST(rig_add_user(r, "one@mailroot.test", "demo", &one), ST_OK);
	CHECK_ST(rig_add_user(r, "two@mailroot.test", "demo", &two), ST_OK);
}

/* Neither mailbox is in memory: each delivery waits for its first one, and then finds its second entered by
 * the other. */
static void deliveries_pass_each_other(struct rig *r)
{
	struct again there = { .r = r, .guid = "the very same 16", .boxes = { one, two } };
	struct again back = { .r = r, .guid = "the very same 16", .boxes = { two, one } };

	CHECK_ST(fiber_spawn("there", deliver_again, &there, &rig_err), ST_OK);
	CHECK_ST(fiber_spawn("back", deliver_again, &back, &rig_err), ST_OK);
	while (!there.over || !back.over)
		fiber_sleep(deadline_in_ms(1));
	CHECK_ST(there.st, ST_OK);
	CHECK_ST(back.st, ST_OK);
	for (unsigned i = 0; i < 2; i++)
		CHECK(there.status[i] == ST_OK && back.status[i] == ST_OK);
}

/* ---- requests with what belongs to somebody else ---- */

static void folders_of_others_are_denied(struct rig *r)
{
	static const enum wire_op ops[] = { WIRE_IMAP_SYNC,    WIRE_IMAP_FETCH, WIRE_IMAP_STORE,
					    WIRE_IMAP_EXPUNGE, WIRE_IMAP_COPY,  WIRE_IMAP_SEARCH };
	struct who alice, bob;
	uint64_t fid;

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &bob), ST_OK);
	rig_mail(r, alice.mailbox, MAIL);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
		struct wire_msg m;

		rig_begin(&m, &bob, 4);
		pw_u64(&m.w, PR_FID, fid);
		rig_put_uids(&m, PR_UIDS, "1:4294967295");
		pw_u32(&m.w, PR_WANT, WANT_BODY);
		pw_str(&m.w, PR_FOLDER_PATH, "INBOX");
		CHECK_ST(rig_do(&m, &bob, ops[i]), ST_DENIED);
	}
}

static void a_token_is_one_binding_s(struct rig *r)
{
	struct who before, after;
	struct wire_answer a;
	struct wire_msg m;
	uint64_t token;

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &before), ST_OK);
	rig_begin(&m, &before, 0);
	CHECK_ST(rig_send(&m, &before, WIRE_IFS_CREATE, &a), ST_OK);
	token = plist_u64(&a.list, PR_BODY_TOKEN, 0);
	wire_answer_free(&a);
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, token ^ 1 << 20);
	CHECK_ST(rig_do(&m, &before, WIRE_IFS_CLOSE), ST_NOTFOUND);
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, token);
	CHECK_ST(rig_do(&m, &before, WIRE_IFS_CLOSE), ST_OK);
	after = before;
	after.logon ^= 1 << 20;
	rig_begin(&m, &after, 0);
	CHECK_ST(rig_do(&m, &after, WIRE_IMAP_FOLDERS), ST_DENIED);
}

/* ---- a folder that goes while what SELECT took from it is still on its way to the disk ---- */

static void selected_and_deleted_at_once(struct rig *r)
{
	struct who alice;
	uint64_t fid;
	uint32_t uid;
	char gone[32];

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "short lived", NULL), ST_OK);
		CHECK_ST(rig_append(&alice, "short lived", MAIL, 0, &uid), ST_OK);
		/* Nothing is left in it, but something that was recent is still to be taken. */
		CHECK_ST(rig_select(&alice, "short lived", true, &fid, NULL, NULL), ST_OK);
		CHECK_ST(rig_store(&alice, fid, "1", STORE_ADD, MF_DELETED, NULL), ST_OK);
		CHECK_ST(rig_expunge(&alice, fid, gone, sizeof gone), ST_OK);
		CHECK_ST(rig_select(&alice, "short lived", false, &fid, NULL, NULL), ST_OK);
		CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "short lived", NULL), ST_OK);
	}
}

/* ---- requests to forget, as many as fit ---- */

static void much_is_forgotten_at_once(struct rig *r)
{
	static uint64_t boxes[10000];
	struct who alice;
	struct wire_msg m;

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	for (size_t i = 0; i < 10000; i++)
		boxes[i] = i + 1;
	wire_begin(&m, 2);
	pw_span(&m.w, PR_MSG_GUID, SPAN("nobody knows it."));
	pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, boxes, 10000);
	CHECK_ST(rig_do(&m, &alice, WIRE_SMTP_FORGET), ST_OK);
}

static struct rig rig;

static void each(void **state)
{
	static void (*const tests[])(struct rig * r) = {
		folders_of_others_are_denied,
		a_token_is_one_binding_s,
		selected_and_deleted_at_once,
		much_is_forgotten_at_once,
	};

	(void)state;
	rig_make(&rig, "");
	rig_up(&rig, 1);
	rig_run(&rig, add_two);
	rig_down(&rig);
	rig_up(&rig, 1);
	rig_run(&rig, deliveries_pass_each_other);
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
		rig_run(&rig, tests[i]);
	rig_down(&rig);
	rig_remove(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
