/* Domains, users, aliases, logging on: through the wire, on a real engine. */
#include "rig.h"

#include <gsasl.h>

#define DOTS "Subject: x\r\n\r\nwords\r\n"

static struct who alice;

/* ---- administration ---- */

static enum st admin(struct rig *r, enum wire_op op, uint32_t tag, const char *value)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_str(&m.w, tag, value);
	if (op == WIRE_DS_ALIAS_ADD)
		pw_mv_span(&m.w, PR_TARGETS,
			   (struct span[]){ SPAN("alice@mailroot.test"), SPAN("x@far.test") }, 2);
	st = wire_send(&m, rig_admin(r), 0, op, &a, &rig_err);
	wire_answer_free(&a);
	return st;
}

static enum st set_password(struct rig *r, const char *user, const char *password)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_str(&m.w, PR_USER, user);
	pw_str(&m.w, PR_PASSWORD, password);
	st = wire_send(&m, rig_admin(r), 0, WIRE_DS_USER_PASSWD, &a, &rig_err);
	wire_answer_free(&a);
	return st;
}

static enum st disable(struct rig *r, const char *user, bool disabled)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_str(&m.w, PR_USER, user);
	pw_bool(&m.w, PR_DISABLED, disabled);
	st = wire_send(&m, rig_admin(r), 0, WIRE_DS_USER_DISABLE, &a, &rig_err);
	wire_answer_free(&a);
	return st;
}

/* "mailbox USER", "alias 2", "-local", "-strange": what DS_RESOLVE says. */
static void resolve(struct rig *r, const char *address, char *out, size_t room)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	pw_str(&m.w, PR_ADDRESS, address);
	st = wire_send(&m, rig_chan(r), 0, WIRE_DS_RESOLVE, &a, &rig_err);
	if (st == ST_NOTFOUND)
		snprintf(out, room, "%s",
			 plist_bool(&a.list, PR_DOMAIN_LOCAL, false) ? "-local" : "-strange");
	else if (st != ST_OK)
		snprintf(out, room, "%s", st_name(st));
	else if (plist_u32(&a.list, PR_OBJECT_KIND, 0) == OBJECT_ALIAS)
		snprintf(out, room, "alias %zu", plist_mv_count(&a.list, PR_TARGETS));
	else
		snprintf(out, room, "mailbox " SPAN_FMT "%s",
			 SPAN_ARG(plist_span(&a.list, PR_USER)),
			 plist_bool(&a.list, PR_DISABLED, false) ? " disabled" : "");
	wire_answer_free(&a);
}

static void names_are_kept(struct rig *r)
{
	static const struct {
		const char *name;
		enum wire_op op;
		uint32_t tag;
		const char *value;
		enum st want;
	} rows[] = {
		{ "a domain twice", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "MailRoot.test", ST_EXISTS },
		{ "another", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "other.test", ST_OK },
		{ "in other letters", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "M\xc3\xbcller.test", ST_OK },
		{ "the same as the DNS has it", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "xn--mller-kva.test",
		  ST_EXISTS },
		{ "letters that no domain has", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "\xe2\x80\x8f.test",
		  ST_BAD },
		{ "no domain", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "a@b", ST_BAD },
		{ "nothing", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "", ST_BAD },
		{ "an alias", WIRE_DS_ALIAS_ADD, PR_ADDRESS, "All@mailroot.test", ST_OK },
		{ "twice", WIRE_DS_ALIAS_ADD, PR_ADDRESS, "all@mailroot.test", ST_EXISTS },
		{ "a user's name", WIRE_DS_ALIAS_ADD, PR_ADDRESS, "bob@mailroot.test", ST_EXISTS },
		{ "far away", WIRE_DS_ALIAS_ADD, PR_ADDRESS, "all@far.test", ST_NOTFOUND },
		{ "a domain in use", WIRE_DS_DOMAIN_REMOVE, PR_DOMAIN, "mailroot.test", ST_EXISTS },
		{ "an unused one", WIRE_DS_DOMAIN_REMOVE, PR_DOMAIN, "other.test", ST_OK },
		{ "an unknown one", WIRE_DS_DOMAIN_REMOVE, PR_DOMAIN, "other.test", ST_NOTFOUND },
		{ "an unknown alias", WIRE_DS_ALIAS_REMOVE, PR_ADDRESS, "x@mailroot.test",
		  ST_NOTFOUND },
		{ "an unknown user", WIRE_DS_USER_REMOVE, PR_USER, "x@mailroot.test", ST_NOTFOUND },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum st st = admin(r, rows[i].op, rows[i].tag, rows[i].value);

		if (st != rows[i].want) {
			fprintf(stderr, "%s: %s\n", rows[i].name, st_name(st));
			abort();
		}
	}
	CHECK_ST(rig_add_user(r, "Alice@mailroot.test", "demo", NULL), ST_EXISTS);
	CHECK_ST(rig_add_user(r, "all@mailroot.test", "demo", NULL), ST_EXISTS);
	CHECK_ST(rig_add_user(r, "dave@far.test", "demo", NULL), ST_NOTFOUND);
	CHECK_ST(rig_add_user(r, "dave", "demo", NULL), ST_BAD);
	CHECK_ST(rig_add_user(r, "dave@mailroot.test", "", NULL), ST_BAD);
}

static void addresses_resolve(struct rig *r)
{
	static const struct {
		const char *address, *want;
	} rows[] = {
		{ "alice@mailroot.test", "mailbox alice@mailroot.test" },
		{ "ALICE@MAILROOT.TEST", "mailbox alice@mailroot.test" },
		{ "alice+news@mailroot.test", "mailbox alice@mailroot.test" },
		{ "all@mailroot.test", "alias 2" },
		{ "nobody@mailroot.test", "-local" },
		{ "+x@mailroot.test", "-local" },
		{ "alice@far.test", "-strange" },
		{ "x@m\xc3\xbcller.test", "-local" },
		{ "x@XN--Mller-kva.test", "-local" },
		{ "x@mu\xcc\x88ller.TEST", "-local" },
		{ "x@m\xc3\xa4ller.test", "-strange" },
		{ "alice", "bad" },
		{ "a b@mailroot.test", "bad" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char got[128];

		resolve(r, rows[i].address, got, sizeof got);
		if (strcmp(got, rows[i].want) != 0) {
			fprintf(stderr, "%s: %s, not %s\n", rows[i].address, got, rows[i].want);
			abort();
		}
	}
}

/* ---- logging on ---- */

static void passwords_open(struct rig *r)
{
	struct who w;

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK_ST(rig_login(r, "ALICE@mailroot.test", "demo", &w), ST_OK);
	CHECK(w.mailbox == alice.mailbox && w.logon != alice.logon);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "Demo", &w), ST_DENIED);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "", &w), ST_DENIED);
	CHECK_ST(rig_login(r, "nobody@mailroot.test", "demo", &w), ST_DENIED);
	CHECK_ST(rig_login(r, "alice", "demo", &w), ST_DENIED);
	CHECK_ST(set_password(r, "alice@mailroot.test", "better"), ST_OK);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &w), ST_DENIED);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "better", &w), ST_OK);
	CHECK_ST(set_password(r, "alice@mailroot.test", "demo"), ST_OK);
}

/* One step of an exchange; the answer's data go to *out. */
static enum st sasl(struct rig *r, const char *mechanism, uint64_t *id, struct span data,
		    struct buf *out)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 4);
	if (mechanism) {
		pw_str(&m.w, PR_MECHANISM, mechanism);
		pw_str(&m.w, PR_CLIENT_IP, "10.0.0.9");
	} else {
		pw_u64(&m.w, PR_SASL_ID, *id);
	}
	if (data.at)
		pw_span(&m.w, PR_SASL_DATA, data);
	st = wire_send(&m, rig_chan(r), 0, mechanism ? WIRE_DS_SASL_START : WIRE_DS_SASL_STEP, &a,
		       &rig_err);
	buf_clear(out);
	if (st == ST_MORE)
		*id = plist_u64(&a.list, PR_SASL_ID, 0);
	buf_span(out, plist_span(&a.list, PR_SASL_DATA));
	wire_answer_free(&a);
	return st;
}

static void login_asks_twice(struct rig *r)
{
	struct buf data = BUF_MAX(4096);
	uint64_t id;

	CHECK_ST(sasl(r, "LOGIN", &id, SPAN_NONE, &data), ST_MORE);
	CHECK(span_eq(buf_get(&data), SPAN("Username:")));
	CHECK_ST(sasl(r, NULL, &id, SPAN("alice@mailroot.test"), &data), ST_MORE);
	CHECK(span_eq(buf_get(&data), SPAN("Password:")));
	CHECK_ST(sasl(r, NULL, &id, SPAN("demo"), &data), ST_OK);
	CHECK_ST(sasl(r, NULL, &id, SPAN("demo"), &data), ST_NOTFOUND);
	CHECK_ST(sasl(r, "PLAIN", &id, SPAN_NONE, &data), ST_MORE);
	CHECK_ST(sasl(r, NULL, &id, SPAN("\0alice@mailroot.test\0demo"), &data), ST_OK);
	CHECK_ST(sasl(r, "PLAIN", &id, SPAN("garbage"), &data), ST_BAD);
	CHECK_ST(sasl(r, "PLAIN", &id, SPAN("bob@mailroot.test\0alice@mailroot.test\0demo"), &data),
		 ST_DENIED);
	CHECK_ST(sasl(r, "CRAM-MD5", &id, SPAN_NONE, &data), ST_BAD);
	buf_free(&data);
}

/* libgsasl on both sides: theirs as the client. */
static enum st scram(struct rig *r, const char *user, const char *password)
{
	struct buf data = BUF_MAX(4096);
	Gsasl_session *session;
	Gsasl *ctx;
	uint64_t id = 0;
	char *out;
	size_t len;
	enum st st;
	int rc;

	CHECK(gsasl_init(&ctx) == GSASL_OK);
	CHECK(gsasl_client_start(ctx, "SCRAM-SHA-256", &session) == GSASL_OK);
	gsasl_property_set(session, GSASL_AUTHID, user);
	gsasl_property_set(session, GSASL_PASSWORD, password);
	rc = gsasl_step(session, NULL, 0, &out, &len);
	CHECK(rc == GSASL_NEEDS_MORE);
	st = sasl(r, "SCRAM-SHA-256", &id, span_of(out, len), &data);
	gsasl_free(out);
	while (st == ST_MORE) {
		rc = gsasl_step(session, data.at, data.len, &out, &len);
		CHECK(rc == GSASL_NEEDS_MORE || rc == GSASL_OK);
		st = sasl(r, NULL, &id, span_of(out, len), &data);
		gsasl_free(out);
	}
	if (st == ST_OK) {
		/* The client wants the server's proof as well. */
		rc = gsasl_step(session, data.at, data.len, &out, &len);
		CHECK(rc == GSASL_OK);
		gsasl_free(out);
	}
	gsasl_finish(session);
	gsasl_done(ctx);
	buf_free(&data);
	return st;
}

static void scram_proves(struct rig *r)
{
	CHECK_ST(scram(r, "alice@mailroot.test", "demo"), ST_OK);
	CHECK_ST(scram(r, "alice@mailroot.test", "wrong"), ST_DENIED);
	CHECK_ST(scram(r, "nobody@mailroot.test", "demo"), ST_DENIED);
}

static void the_disabled_are_out(struct rig *r)
{
	uint64_t fid;
	struct who w;
	char got[128];

	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &w), ST_OK);
	CHECK_ST(rig_select(&w, "INBOX", true, &fid, NULL, NULL), ST_OK);
	CHECK_ST(disable(r, "bob@mailroot.test", true), ST_OK);
	CHECK_ST(rig_select(&w, "INBOX", true, &fid, NULL, NULL), ST_DENIED);
	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &w), ST_DENIED);
	CHECK_ST(scram(r, "bob@mailroot.test", "demo"), ST_DENIED);
	resolve(r, "bob@mailroot.test", got, sizeof got);
	CHECK(!strcmp(got, "mailbox bob@mailroot.test disabled"));
	CHECK_ST(disable(r, "bob@mailroot.test", false), ST_OK);
	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &w), ST_OK);
}

static void guessing_is_slowed(struct rig *r)
{
	struct buf data = BUF_MAX(4096);
	struct wire_answer a;
	struct wire_msg m;
	uint64_t id;
	enum st st = ST_OK;

	for (int i = 0; i < 50 && st != ST_BUSY; i++)
		st = sasl(r, "PLAIN", &id, SPAN("\0carol@mailroot.test\0wrong"), &data);
	CHECK(st == ST_BUSY);
	/* The same from there with another name is still looked at; and how long to wait is said. */
	CHECK_ST(sasl(r, "PLAIN", &id, SPAN("\0alice@mailroot.test\0demo"), &data), ST_OK);
	wire_begin(&m, 3);
	pw_str(&m.w, PR_MECHANISM, "PLAIN");
	pw_str(&m.w, PR_CLIENT_IP, "10.0.0.9");
	pw_span(&m.w, PR_SASL_DATA, SPAN("\0carol@mailroot.test\0wrong"));
	CHECK_ST(wire_send(&m, rig_chan(r), 0, WIRE_DS_SASL_START, &a, &rig_err), ST_BUSY);
	CHECK(plist_u32(&a.list, PR_RETRY_MS, 0) > 1000);
	wire_answer_free(&a);
	buf_free(&data);
}

/* ---- users who go ---- */

static uint64_t gone_mailbox;

static void the_removed_are_gone(struct rig *r)
{
	char guid[16] = "a guid of purge";
	uint64_t again;
	struct who w;
	enum st st;

	CHECK_ST(rig_add_user(r, "eve@mailroot.test", "demo", &gone_mailbox), ST_OK);
	CHECK_ST(rig_login(r, "eve@mailroot.test", "demo", &w), ST_OK);
	for (int i = 0; i < 20; i++)
		rig_mail(r, gone_mailbox, DOTS);
	CHECK_ST(admin(r, WIRE_DS_USER_REMOVE, PR_USER, "eve@mailroot.test"), ST_OK);
	CHECK_ST(rig_path_op(&w, WIRE_IMAP_CREATE, "x", NULL), ST_DENIED);
	CHECK_ST(rig_deliver(r, guid, &gone_mailbox, 1, DOTS, strlen(DOTS), &st), ST_OK);
	CHECK(st == ST_NOTFOUND);
	CHECK_ST(rig_add_user(r, "eve@mailroot.test", "demo", &again), ST_OK);
	CHECK(again != gone_mailbox);
}

static void still_gone(struct rig *r)
{
	char guid[16] = "a guid of purge";
	struct who w;
	enum st st;

	CHECK_ST(rig_deliver(r, guid, &gone_mailbox, 1, DOTS, strlen(DOTS), &st), ST_OK);
	CHECK(st == ST_NOTFOUND);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &w), ST_OK);
	/* A logon of another run is worth nothing. */
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "x", NULL), ST_DENIED);
	CHECK_ST(scram(r, "alice@mailroot.test", "demo"), ST_OK);
}

/* A host that watches hears of every change of the directory, and of nothing else. */
static void changes_are_told(struct rig *r)
{
	static const struct {
		const char *name;
		enum wire_op op;
		uint32_t tag;
		const char *value;
	} rows[] = {
		{ "a domain comes", WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "new.test" },
		{ "a domain goes", WIRE_DS_DOMAIN_REMOVE, PR_DOMAIN, "new.test" },
		{ "an alias comes", WIRE_DS_ALIAS_ADD, PR_ADDRESS, "told@mailroot.test" },
		{ "an alias goes", WIRE_DS_ALIAS_REMOVE, PR_ADDRESS, "told@mailroot.test" },
		{ "a user goes", WIRE_DS_USER_REMOVE, PR_USER, "fred@mailroot.test" },
	};
	struct wire_answer a;
	struct wire_msg m;
	unsigned told;

	wire_begin(&m, 1);
	pw_u64(&m.w, PR_WATCH_TOKEN, 4711);
	CHECK_ST(wire_send(&m, rig_chan(r), 0, WIRE_DS_WATCH, &a, &rig_err), ST_OK);
	wire_answer_free(&a);
	told = r->notified;
	CHECK_ST(rig_add_user(r, "fred@mailroot.test", "demo", NULL), ST_OK);
	while (r->notified == told)
		fiber_yield();
	CHECK_ST(disable(r, "fred@mailroot.test", true), ST_OK);
	while (r->notified == told + 1)
		fiber_yield();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		told = r->notified;
		CHECK_ST(admin(r, rows[i].op, rows[i].tag, rows[i].value), ST_OK);
		while (r->notified == told)
			fiber_yield();
		CHECK(r->token == 4711);
	}
	told = r->notified;
	CHECK_ST(admin(r, WIRE_DS_DOMAIN_ADD, PR_DOMAIN, "mailroot.test"), ST_EXISTS);
	rig_mail(r, alice.mailbox, DOTS);
	CHECK(r->notified == told);
}

static void the_administrator_is_told(struct rig *r)
{
	struct wire_answer a;
	struct wire_msg m;
	struct span text;

	wire_begin(&m, 0);
	CHECK_ST(wire_send(&m, rig_admin(r), 0, WIRE_ADM_STATUS, &a, &rig_err), ST_OK);
	text = plist_span(&a.list, PR_REPORT);
	CHECK(span_has_prefix(text, SPAN("store started=")));
	CHECK(memmem(text.at, text.len, "\nengine commits=", 16));
	CHECK(memmem(text.at, text.len, "\nrequests request=DS_SASL_START count=", 38));
	wire_answer_free(&a);
	wire_begin(&m, 0);
	CHECK_ST(wire_send(&m, rig_admin(r), 0, WIRE_ADM_CHECKPOINT, &a, &rig_err), ST_OK);
	wire_answer_free(&a);
}

static void whole_story(void **state)
{
	struct rig r;

	(void)state;
	rig_make(&r, "");
	rig_up(&r, 2);
	rig_run(&r, rig_people);
	rig_run(&r, names_are_kept);
	rig_run(&r, addresses_resolve);
	rig_run(&r, passwords_open);
	rig_run(&r, login_asks_twice);
	rig_run(&r, scram_proves);
	rig_run(&r, the_disabled_are_out);
	rig_run(&r, guessing_is_slowed);
	rig_run(&r, the_removed_are_gone);
	rig_run(&r, changes_are_told);
	rig_run(&r, the_administrator_is_told);
	rig_down(&r);
	rig_up(&r, 2);
	rig_run(&r, still_gone);
	rig_down(&r);
	rig_remove(&r);
}

/* ---- the other hash ---- */

static void yescrypt_opens(struct rig *r)
{
	struct who w;

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &w), ST_OK);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demi", &w), ST_DENIED);
	CHECK_ST(rig_login(r, "nobody@mailroot.test", "demo", &w), ST_DENIED);
	CHECK_ST(scram(r, "alice@mailroot.test", "demo"), ST_OK);
}

static void passwords_by_yescrypt(void **state)
{
	struct rig r;

	(void)state;
	rig_make(&r, "password_hash = \"yescrypt\"\n");
	rig_up(&r, 1);
	rig_run(&r, rig_people);
	rig_run(&r, yescrypt_opens);
	rig_down(&r);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_story),
		cmocka_unit_test(passwords_by_yescrypt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
