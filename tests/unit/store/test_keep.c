/* Deleted messages are kept, age, come back once: through the wire, on a real engine, with a clock of ours. */
#include "rig.h"

#include "base/clock.h"

#include <time.h>

#define DAY ((int64_t)24 * 60 * 60 * NS_PER_SEC)

static struct who alice;
static _Atomic int64_t ahead; /* of the real time */

static int64_t shifted(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec + ahead;
}

/* ---- requests of the administrator ---- */

static enum st ask(struct rig *r, struct wire_msg *m, enum wire_op op, struct wire_answer *a)
{
	struct exipc_chan *chan = rig_admin(r);

	return wire_send(m, chan, wire_loop(chan, alice.mailbox), op, a, &rig_err);
}

/* "id:subject ..." */
static void list(struct rig *r, const char *folder, char *out, size_t room)
{
	struct wire_answer a;
	struct wire_msg m;
	size_t len = 0;

	out[0] = '\0';
	wire_begin(&m, 2);
	pw_u64(&m.w, PR_MAILBOX_ID, alice.mailbox);
	if (folder)
		pw_str(&m.w, PR_FOLDER_PATH, folder);
	CHECK_ST(ask(r, &m, WIRE_KEEP_LIST, &a), ST_OK);
	while (wire_next_row(&a, &rig_err) == ST_OK)
		len += (size_t)snprintf(out + len, room - len, SPAN_FMT " ",
					SPAN_ARG(plist_span(&a.list, PR_SUBJECT)));
	wire_answer_free(&a);
}

static uint64_t expire(struct rig *r)
{
	struct wire_answer a;
	struct wire_msg m;
	uint64_t n;

	wire_begin(&m, 1);
	CHECK_ST(wire_send(&m, rig_admin(r), 0, WIRE_KEEP_EXPIRE, &a, &rig_err), ST_OK);
	n = plist_u64(&a.list, PR_KEPT_COUNT, 99);
	wire_answer_free(&a);
	return n;
}

static enum st restore_all(struct rig *r, unsigned *back)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	*back = 0;
	wire_begin(&m, 2);
	pw_u64(&m.w, PR_MAILBOX_ID, alice.mailbox);
	st = ask(r, &m, WIRE_KEEP_RESTORE, &a);
	if (st != ST_OK)
		return st;
	while (wire_next_row(&a, &rig_err) == ST_OK)
		++*back;
	wire_answer_free(&a);
	return ST_OK;
}

/* ---- the tests ---- */

static void log_on(struct rig *r)
{
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
}

static void add(const char *folder, const char *subject)
{
	char text[128];
	uint32_t uid;

	snprintf(text, sizeof text, "Subject: %s\r\n\r\nbody of %s\r\n", subject, subject);
	CHECK_ST(rig_append(&alice, folder, text, MF_DELETED | MF_FLAGGED, &uid), ST_OK);
}

static void expunge(const char *folder, const char *want)
{
	char gone[64];
	uint64_t fid;

	CHECK_ST(rig_select(&alice, folder, false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_expunge(&alice, fid, gone, sizeof gone), ST_OK);
	CHECK(!strcmp(gone, want));
}

static void ages(struct rig *r)
{
	char text[128];

	log_on(r);
	add("INBOX", "old");
	expunge("INBOX", "1");
	ahead += 2 * DAY;
	add("INBOX", "new");
	add("Drafts", "draft");
	expunge("INBOX", "2");
	expunge("Drafts", "1");
	list(r, NULL, text, sizeof text);
	CHECK(!strcmp(text, "old new draft "));
	list(r, "Drafts", text, sizeof text);
	CHECK(!strcmp(text, "draft "));
	ahead += 12 * DAY - NS_PER_SEC * 60;
	CHECK(expire(r) == 0);
	ahead += NS_PER_SEC * 120;
	CHECK(expire(r) == 1);
	list(r, NULL, text, sizeof text);
	CHECK(!strcmp(text, "new draft "));
}

static void comes_back_once(struct rig *r)
{
	struct buf body = BUF_MAX(1000);
	struct uset uids = { 0 };
	unsigned back;
	uint64_t fid;
	char text[64];

	log_on(r);
	CHECK_ST(restore_all(r, &back), ST_OK);
	CHECK(back == 2);
	CHECK_ST(restore_all(r, &back), ST_NOTFOUND);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 1 && uset_has(&uids, 3)); /* a UID that nobody ever saw */
	CHECK_ST(rig_body(&alice, fid, 3, &body), ST_OK);
	CHECK(span_eq(buf_get(&body), SPAN("Subject: new\r\n\r\nbody of new\r\n")));
	/* \Deleted is not what it had when it was worth keeping. */
	CHECK_ST(rig_expunge(&alice, fid, text, sizeof text), ST_OK);
	CHECK(!strcmp(text, ""));
	buf_free(&body);
	uset_free(&uids);
}

struct helper {
	struct rig *r;
	struct fiber *waits;
	unsigned back;
	bool over;
};

static void restore_too(void *arg)
{
	struct helper *h = arg;
	enum st st = restore_all(h->r, &h->back);

	CHECK(st == ST_OK || st == ST_NOTFOUND);
	h->over = true;
	fiber_wake(h->waits);
}

/* Twice at the same time: each message comes back by one of them. */
static void many_come_back(struct rig *r)
{
	struct helper h = { .r = r, .waits = fiber_self() };
	struct uset uids = { 0 };
	unsigned back;
	uint64_t fid;

	for (unsigned i = 0; i < 20; i++) {
		char name[8];

		snprintf(name, sizeof name, "m%u", i);
		add("Junk Email", name);
	}
	expunge("Junk Email", "1:20");
	CHECK_ST(fiber_spawn("helper", restore_too, &h, &rig_err), ST_OK);
	fiber_yield();
	CHECK_ST(restore_all(r, &back), ST_OK);
	while (!h.over)
		fiber_park(NO_DEADLINE);
	CHECK(back + h.back == 20);
	CHECK_ST(rig_select(&alice, "Junk Email", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 20);
	uset_free(&uids);
}

static void whole(void **state)
{
	static const struct clock_seam seam = { .real = shifted };
	struct rig r;

	(void)state;
	clock_set_seam(&seam);
	rig_make(&r, "");
	rig_up(&r, 2);
	rig_run(&r, rig_people);
	rig_run(&r, ages);
	rig_down(&r);
	/* A restart changes nothing. */
	rig_up(&r, 3);
	rig_run(&r, comes_back_once);
	rig_run(&r, many_come_back);
	rig_down(&r);
	rig_remove(&r);
	clock_set_seam(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(whole) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
