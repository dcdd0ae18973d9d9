/* Delivery, folders, flags, news, copies, searches, the maildrop: through the wire, on a real engine. */
#include "rig.h"

#define HELLO                                                                                      \
	"From: Bob <bob@mailroot.test>\r\nTo: alice@mailroot.test\r\nSubject: Hello there\r\n"     \
	"Date: Sat, 21 Nov 2026 10:00:00 +0100\r\n\r\nFirst light.\r\n"
#define DOTS "From: carol@x.test\r\nSubject: Dots\r\n\r\n.hidden\r\nwords of wisdom\r\n"

static struct who alice, bob;

static void log_on(struct rig *r)
{
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &bob), ST_OK);
}

/* ---- rows of a rowset as text ---- */

static void fetch_text(const struct who *w, uint64_t fid, const char *uids, uint32_t want,
		       char *out, size_t room)
{
	struct wire_answer a;
	struct wire_msg m;
	size_t len = 0;

	out[0] = '\0';
	rig_begin(&m, w, 3);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, uids);
	pw_u32(&m.w, PR_WANT, want);
	CHECK_ST(rig_send(&m, w, WIRE_IMAP_FETCH, &a), ST_OK);
	while (wire_next_row(&a, &rig_err) == ST_OK) {
		len += (size_t)snprintf(out + len, room - len, "%u:%u",
					plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER, 0),
					plist_u32(&a.list, PR_IMAP_FLAGS, 0));
		for (size_t i = 0; i < plist_mv_count(&a.list, PR_KEYWORDS); i++)
			len += (size_t)snprintf(out + len, room - len, "," SPAN_FMT,
						SPAN_ARG(plist_mv_span(&a.list, PR_KEYWORDS, i)));
		len += (size_t)snprintf(out + len, room - len, " ");
	}
	wire_answer_free(&a);
}

/* "new gone recent | changed", by SYNC; *since moves on. */
static void sync_text(const struct who *w, uint64_t fid, uint64_t *since, char *out, size_t room)
{
	char fresh[64], gone[64], recent[64];
	struct wire_answer a;
	struct wire_msg m;
	size_t len;

	rig_begin(&m, w, 2);
	pw_u64(&m.w, PR_FID, fid);
	pw_u64(&m.w, PR_SINCE, *since);
	CHECK_ST(rig_send(&m, w, WIRE_IMAP_SYNC, &a), ST_OK);
	CHECK_ST(wire_next_row(&a, &rig_err), ST_OK);
	CHECK(plist_u64(&a.list, PR_CHANGE_NUM, 0) >= *since);
	*since = plist_u64(&a.list, PR_CHANGE_NUM, 0);
	rig_set_text(plist_span(&a.list, PR_UIDS_NEW), fresh, sizeof fresh);
	rig_set_text(plist_span(&a.list, PR_UIDS_VANISHED), gone, sizeof gone);
	rig_set_text(plist_span(&a.list, PR_UIDS_RECENT), recent, sizeof recent);
	len = (size_t)snprintf(out, room, "+%s -%s r%s |", fresh, gone, recent);
	while (wire_next_row(&a, &rig_err) == ST_OK)
		len += (size_t)snprintf(out + len, room - len, " %u:%u",
					plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER, 0),
					plist_u32(&a.list, PR_IMAP_FLAGS, 0));
	wire_answer_free(&a);
}

/* ---- the tests ---- */

static void delivered_is_there(struct rig *r)
{
	struct buf body = BUF_MAX(100000);
	struct uset uids = { 0 };
	uint64_t fid;

	rig_mail(r, alice.mailbox, HELLO);
	CHECK_ST(rig_select(&alice, "inbox", false, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 1 && uset_has(&uids, 1));
	CHECK_ST(rig_body(&alice, fid, 1, &body), ST_OK);
	CHECK(span_eq(buf_get(&body), SPAN(HELLO)));
	buf_free(&body);
	uset_free(&uids);
}

static void envelope_without_body(struct rig *r)
{
	struct wire_answer a;
	struct wire_msg m;
	uint64_t fid;

	(void)r;
	CHECK_ST(rig_select(&alice, "INBOX", true, &fid, NULL, NULL), ST_OK);
	rig_begin(&m, &alice, 3);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, "1");
	pw_u32(&m.w, PR_WANT, WANT_ENVELOPE | WANT_STRUCTURE | WANT_SIZE | WANT_DATE);
	CHECK_ST(rig_send(&m, &alice, WIRE_IMAP_FETCH, &a), ST_OK);
	CHECK_ST(wire_next_row(&a, &rig_err), ST_OK);
	CHECK(memmem(plist_span(&a.list, PR_IMAP_ENVELOPE).at,
		     plist_span(&a.list, PR_IMAP_ENVELOPE).len, "\"Hello there\"", 13));
	CHECK(plist_has(&a.list, PR_MIME_STRUCTURE));
	CHECK(plist_u64(&a.list, PR_MESSAGE_SIZE_EXTENDED, 0) == strlen(HELLO));
	CHECK(!plist_has(&a.list, PR_BODY_SCATTER));
	CHECK_ST(wire_next_row(&a, &rig_err), ST_EOF);
	wire_answer_free(&a);
}

static void once_by_guid(struct rig *r)
{
	uint64_t both[] = { alice.mailbox, bob.mailbox, alice.mailbox, 4711 };
	enum st st[4];
	struct uset uids = { 0 };
	uint64_t fid;

	CHECK_ST(rig_deliver(r, "guid guid guid 1", both, 4, DOTS, strlen(DOTS), st), ST_OK);
	CHECK(st[0] == ST_OK && st[1] == ST_OK && st[2] == ST_OK && st[3] == ST_NOTFOUND);
	CHECK_ST(rig_deliver(r, "guid guid guid 1", both, 4, DOTS, strlen(DOTS), st), ST_OK);
	CHECK(st[0] == ST_OK && st[1] == ST_OK && st[2] == ST_OK && st[3] == ST_NOTFOUND);
	CHECK_ST(rig_select(&alice, "INBOX", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 2);
	uset_free(&uids);
	CHECK_ST(rig_select(&bob, "INBOX", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 1);
	uset_free(&uids);
}

static void forgotten_guid_is_new(struct rig *r)
{
	uint64_t box = bob.mailbox, fid;
	struct uset uids = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	pw_span(&m.w, PR_MSG_GUID, SPAN("guid guid guid 1"));
	pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, &box, 1);
	CHECK_ST(rig_do(&m, &bob, WIRE_SMTP_FORGET), ST_OK);
	/* The forgetting waits for nobody, but a delivery behind it is behind it. */
	rig_mail(r, bob.mailbox, HELLO);
	CHECK_ST(rig_deliver(r, "guid guid guid 1", &box, 1, DOTS, strlen(DOTS), &st), ST_OK);
	CHECK_ST(rig_select(&bob, "INBOX", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 3);
	uset_free(&uids);
}

static void flags_are_kept(struct rig *r)
{
	char text[256];
	uint64_t fid;

	(void)r;
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "1", STORE_REPLACE, MF_FLAGGED, "work"), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "1:2", STORE_ADD, MF_SEEN, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "2", STORE_ADD, 0, "Work"), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "2", STORE_REMOVE, 0, "nobody-knows"), ST_OK);
	fetch_text(&alice, fid, "1:9", WANT_FLAGS, text, sizeof text);
	CHECK(!strcmp(text, "1:5,work 2:1,work "));
	CHECK_ST(rig_store(&alice, fid, "1", STORE_REMOVE, MF_FLAGGED, "work"), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "1", STORE_ADD, 0, "no good"), ST_BAD);
	fetch_text(&alice, fid, "1:9", WANT_FLAGS, text, sizeof text);
	CHECK(!strcmp(text, "1:1 2:1,work "));
}

static void news_tell_all(struct rig *r)
{
	char text[256], gone[64];
	uint64_t fid, since;

	CHECK_ST(rig_select(&bob, "INBOX", false, &fid, NULL, &since), ST_OK);
	sync_text(&bob, fid, &since, text, sizeof text);
	CHECK(!strcmp(text, "+ - r |"));
	rig_mail(r, bob.mailbox, HELLO);
	CHECK_ST(rig_store(&bob, fid, "2", STORE_ADD, MF_DELETED, NULL), ST_OK);
	CHECK_ST(rig_store(&bob, fid, "1", STORE_ADD, MF_SEEN, NULL), ST_OK);
	CHECK_ST(rig_expunge(&bob, fid, gone, sizeof gone), ST_OK);
	CHECK(!strcmp(gone, "2"));
	CHECK(r->notified && r->token == 77);
	sync_text(&bob, fid, &since, text, sizeof text);
	CHECK(!strcmp(text, "+4 -2 r4 | 1:1"));
	CHECK_ST(rig_store(&bob, fid, "4", STORE_ADD, MF_ANSWERED, NULL), ST_OK);
	sync_text(&bob, fid, &since, text, sizeof text);
	CHECK(!strcmp(text, "+ - r | 4:2"));
}

static void unchanged_since_protects(struct rig *r)
{
	struct wire_answer a;
	struct wire_msg m;
	char failed[32];
	uint64_t fid, cn;

	(void)r;
	CHECK_ST(rig_select(&bob, "INBOX", false, &fid, NULL, &cn), ST_OK);
	CHECK_ST(rig_store(&bob, fid, "3", STORE_ADD, MF_FLAGGED, NULL), ST_OK);
	rig_begin(&m, &bob, 5);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, "1,3");
	pw_u32(&m.w, PR_STORE_MODE, STORE_ADD);
	pw_u32(&m.w, PR_IMAP_FLAGS, MF_DRAFT);
	pw_u64(&m.w, PR_UNCHANGED_SINCE, cn);
	CHECK_ST(rig_send(&m, &bob, WIRE_IMAP_STORE, &a), ST_OK);
	CHECK_ST(wire_next_row(&a, &rig_err), ST_OK);
	rig_set_text(plist_span(&a.list, PR_UIDS_FAILED), failed, sizeof failed);
	CHECK(!strcmp(failed, "3"));
	CHECK_ST(wire_next_row(&a, &rig_err), ST_OK);
	CHECK(plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER, 0) == 1);
	CHECK_ST(wire_next_row(&a, &rig_err), ST_EOF);
	wire_answer_free(&a);
}

static void folders_are_a_tree(struct rig *r)
{
	uint64_t fid;

	(void)r;
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "a/b/c", NULL), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "a/b", NULL), ST_EXISTS);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "a//b", NULL), ST_BAD);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "x*", NULL), ST_BAD);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "\xff", NULL), ST_BAD);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "inbox", NULL), ST_EXISTS);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "InBox/sub/", NULL), ST_OK);
	CHECK_ST(rig_select(&alice, "INBOX/sub", true, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_RENAME, "a/b", "a/b/inside"), ST_BAD);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_RENAME, "a/b", "new/place"), ST_OK);
	CHECK_ST(rig_select(&alice, "new/place/c", true, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_select(&alice, "a/b/c", true, &fid, NULL, NULL), ST_NOTFOUND);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "new/place", NULL), ST_OK);
	CHECK_ST(rig_select(&alice, "new/place", true, &fid, NULL, NULL), ST_NOTFOUND);
	CHECK_ST(rig_select(&alice, "new/place/c", true, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "new/place", NULL), ST_DENIED);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "new/place", NULL), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "new/place/c", NULL), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "new/place/c", NULL), ST_NOTFOUND);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "INBOX", NULL), ST_DENIED);
}

static void list_has_all(struct rig *r)
{
	unsigned folders = 0, special = 0, missing = 0, subscribed = 0;
	struct wire_answer a;
	struct wire_msg m;

	(void)r;
	CHECK_ST(rig_path_op(&bob, WIRE_IMAP_SUBSCRIBE, "never/there", NULL), ST_OK);
	CHECK_ST(rig_path_op(&bob, WIRE_IMAP_SUBSCRIBE, "inbox", NULL), ST_OK);
	rig_begin(&m, &bob, 0);
	CHECK_ST(rig_send(&m, &bob, WIRE_IMAP_FOLDERS, &a), ST_OK);
	while (wire_next_row(&a, &rig_err) == ST_OK) {
		folders += plist_has(&a.list, PR_FID);
		special += plist_has(&a.list, PR_SPECIAL_USE);
		missing += plist_bool(&a.list, PR_NONEXISTENT, false);
		subscribed += plist_bool(&a.list, PR_SUBSCRIBED, false);
	}
	wire_answer_free(&a);
	CHECK(folders == 6 && special == 4 && missing == 1 && subscribed == 2);
}

static void copies_and_moves(struct rig *r)
{
	char to[64], text[256];
	uint64_t fid, other, since;
	struct uset uids = { 0 };
	struct buf body = BUF_MAX(100000);

	for (int i = 0; i < 5; i++)
		rig_mail(r, alice.mailbox, HELLO);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, &uids, &since), ST_OK);
	CHECK(uids.count == 7);
	uset_free(&uids);
	CHECK_ST(rig_store(&alice, fid, "3", STORE_ADD, MF_SEEN, "kept"), ST_OK);
	CHECK_ST(rig_copy(&alice, fid, "3:4,9", "Drafts", false, to, sizeof to), ST_OK);
	CHECK(!strcmp(to, "1:2"));
	CHECK_ST(rig_copy(&alice, fid, "5", "no such", false, to, sizeof to), ST_NOTFOUND);
	CHECK_ST(rig_copy(&alice, fid, "5:6", "Drafts", true, to, sizeof to), ST_OK);
	CHECK(!strcmp(to, "3:4"));
	CHECK_ST(rig_copy(&alice, fid, "7", "INBOX", true, to, sizeof to), ST_OK);
	CHECK(!strcmp(to, "8"));
	CHECK_ST(rig_select(&alice, "Drafts", false, &other, &uids, NULL), ST_OK);
	CHECK(uids.count == 4);
	fetch_text(&alice, other, "1:9", WANT_FLAGS, text, sizeof text);
	CHECK(!strcmp(text, "1:1,kept 2:0 3:0 4:0 "));
	sync_text(&alice, fid, &since, text, sizeof text);
	CHECK(!strcmp(text, "+8 -5:7 r8 | 3:1"));
	CHECK_ST(rig_body(&alice, other, 4, &body), ST_OK);
	CHECK(span_eq(buf_get(&body), SPAN(HELLO)));
	buf_free(&body);
	uset_free(&uids);
}

static void inbox_renamed_is_empty(struct rig *r)
{
	struct uset uids = { 0 };
	uint64_t fid;

	(void)r;
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_RENAME, "INBOX", "Old"), ST_OK);
	CHECK_ST(rig_select(&alice, "INBOX", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 0);
	CHECK_ST(rig_select(&alice, "Old", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == 5);
	uset_free(&uids);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "Old", NULL), ST_OK);
}

static void appended_with_flags(struct rig *r)
{
	char text[64];
	uint64_t fid;
	uint32_t uid;

	(void)r;
	CHECK_ST(rig_append(&alice, "Sent Items", HELLO, MF_SEEN | MF_DRAFT, &uid), ST_OK);
	CHECK(uid == 1);
	CHECK_ST(rig_append(&alice, "nowhere", HELLO, 0, &uid), ST_NOTFOUND);
	CHECK_ST(rig_append(&alice, "Sent Items", "", 0, &uid), ST_BAD);
	CHECK_ST(rig_select(&alice, "Sent Items", true, &fid, NULL, NULL), ST_OK);
	fetch_text(&alice, fid, "1", WANT_FLAGS, text, sizeof text);
	CHECK(!strcmp(text, "1:17 "));
}

static void searches_find(struct rig *r)
{
	static struct search_node kid = { .op = S_BODY, .text = { "WISDOM", 6 } };
	static struct uset first_two;
	struct buf set = BUF_MAX(64);
	uint64_t fid;

	CHECK_ST(uset_add(&first_two, 1, 2), ST_OK);
	uset_write(&first_two, &set);
	const struct {
		const char *name;
		struct search_node node;
		const char *want;
	} rows[] = {
		{ "all", { .op = S_ALL }, "1:3" },
		{ "a set", { .op = S_UIDS, .text = buf_get(&set) }, "1:2" },
		{ "a flag", { .op = S_FLAG, .num = MF_FLAGGED }, "2" },
		{ "a keyword", { .op = S_KEYWORD, .text = SPAN("blue") }, "2" },
		{ "larger", { .op = S_SIZE_OVER, .num = 100 }, "1,3" },
		{ "smaller", { .op = S_SIZE_UNDER, .num = 100 }, "2" },
		{ "from", { .op = S_FROM, .text = SPAN("CAROL") }, "2" },
		{ "to", { .op = S_TO, .text = SPAN("alice@") }, "1,3" },
		{ "subject", { .op = S_SUBJECT, .text = SPAN("hello") }, "1,3" },
		{ "sent on its writer's day", { .op = S_SENT_ON, .num = 20778 }, "1,3" },
		{ "sent before that", { .op = S_SENT_BEFORE, .num = 20778 }, "" },
		{ "came before 1980", { .op = S_DATE_BEFORE, .num = 3652 }, "" },
		{ "came since", { .op = S_DATE_SINCE, .num = 3652 }, "1:3" },
		{ "in the body", { .op = S_BODY, .text = SPAN("light") }, "1,3" },
		{ "not in the body", { .op = S_BODY, .text = SPAN("Hello there") }, "" },
		{ "anywhere", { .op = S_TEXT, .text = SPAN("hello THERE") }, "1,3" },
		{ "a field",
		  { .op = S_HEADER, .name = SPAN("subject"), .text = SPAN("dot") },
		  "2" },
		{ "a field that is there",
		  { .op = S_HEADER, .name = SPAN("date"), .text = SPAN("") },
		  "1,3" },
		{ "not", { .op = S_NOT, .kids = &kid }, "1,3" },
	};

	rig_mail(r, alice.mailbox, HELLO);
	rig_mail(r, alice.mailbox, DOTS);
	rig_mail(r, alice.mailbox, HELLO);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_copy(&alice, fid, "1:99", "Junk Email", true, (char[64]){ 0 }, 64), ST_OK);
	CHECK_ST(rig_select(&alice, "Junk Email", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "2", STORE_ADD, MF_FLAGGED, "blue"), ST_OK);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char found[64];

		CHECK_ST(rig_search(&alice, fid, &rows[i].node, found, sizeof found), ST_OK);
		if (strcmp(found, rows[i].want) != 0) {
			fprintf(stderr, "search %s: %s, not %s\n", rows[i].name, found,
				rows[i].want);
			abort();
		}
	}
	uset_free(&first_two);
	buf_free(&set);
}

static void maildrop_is_one_session_s(struct rig *r)
{
	unsigned messages = 0;
	struct wire_answer a;
	struct wire_msg m;
	struct who second;
	char gone[32];

	CHECK_ST(rig_login(r, "bob@mailroot.test", "demo", &second), ST_OK);
	rig_begin(&m, &bob, 0);
	CHECK_ST(rig_send(&m, &bob, WIRE_POP_OPEN, &a), ST_OK);
	CHECK_ST(wire_next_row(&a, &rig_err), ST_OK);
	CHECK(plist_has(&a.list, PR_UIDVALIDITY));
	while (wire_next_row(&a, &rig_err) == ST_OK)
		messages++;
	wire_answer_free(&a);
	CHECK(messages == 3);
	rig_begin(&m, &second, 0);
	CHECK_ST(rig_do(&m, &second, WIRE_POP_OPEN), ST_BUSY);
	rig_begin(&m, &second, 1);
	pw_u32(&m.w, PR_INTERNET_ARTICLE_NUMBER, 1);
	CHECK_ST(rig_do(&m, &second, WIRE_POP_RETR), ST_DENIED);
	rig_begin(&m, &bob, 1);
	pw_u32(&m.w, PR_INTERNET_ARTICLE_NUMBER, 1);
	CHECK_ST(rig_send(&m, &bob, WIRE_POP_RETR, &a), ST_OK);
	CHECK(plist_bool(&a.list, PR_HAS_DOT_LINES, false));
	CHECK(plist_u64(&a.list, PR_MESSAGE_SIZE_EXTENDED, 0) == strlen(DOTS));
	wire_answer_free(&a);
	rig_begin(&m, &bob, 1);
	rig_put_uids(&m, PR_UIDS, "1,99");
	CHECK_ST(rig_send(&m, &bob, WIRE_POP_UPDATE, &a), ST_OK);
	rig_set_text(plist_span(&a.list, PR_UIDS), gone, sizeof gone);
	CHECK(!strcmp(gone, "1"));
	wire_answer_free(&a);
	rig_begin(&m, &second, 0);
	CHECK_ST(rig_do(&m, &second, WIRE_POP_OPEN), ST_OK);
	/* Logging off gives it back. */
	rig_begin(&m, &second, 0);
	CHECK_ST(rig_do(&m, &second, WIRE_DS_LOGOFF), ST_OK);
	rig_begin(&m, &bob, 0);
	CHECK_ST(rig_do(&m, &bob, WIRE_POP_OPEN), ST_OK);
	rig_begin(&m, &bob, 0);
	CHECK_ST(rig_do(&m, &bob, WIRE_POP_CLOSE), ST_OK);
}

static void others_folders_are_closed(struct rig *r)
{
	struct wire_msg m;
	uint64_t fid;
	struct who thief = alice;

	(void)r;
	CHECK_ST(rig_select(&bob, "INBOX", true, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "1", STORE_ADD, MF_SEEN, NULL), ST_DENIED);
	rig_begin(&m, &alice, 2);
	pw_u64(&m.w, PR_FID, fid);
	pw_u64(&m.w, PR_SINCE, 0);
	CHECK_ST(rig_do(&m, &alice, WIRE_IMAP_SYNC), ST_DENIED);
	thief.logon = bob.logon ^ 4;
	CHECK_ST(rig_select(&thief, "INBOX", true, &fid, NULL, NULL), ST_DENIED);
	/* The administrator's program sends no host's requests, and the host none of his. */
	wire_begin(&m, 1);
	pw_str(&m.w, PR_DOMAIN, "evil.test");
	CHECK_ST(wire_send(&m, rig_chan(r), 0, WIRE_DS_DOMAIN_ADD, &(struct wire_answer){ 0 },
			   &rig_err),
		 ST_DENIED);
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_LOGON, bob.logon);
	CHECK_ST(wire_send(&m, rig_admin(r), 0, WIRE_IMAP_FOLDERS, &(struct wire_answer){ 0 },
			   &rig_err),
		 ST_DENIED);
}

static void large_message_by_token(struct rig *r)
{
	struct exipc_chan *chan = rig_chan(r);
	unsigned loop = wire_loop(chan, bob.mailbox);
	size_t total = 5 * 1024 * 1024 + 17, sent = 0;
	char *text = malloc(total);
	struct buf body = BUF_MAX(8 * 1024 * 1024);
	struct wire_answer a;
	struct wire_msg m;
	uint64_t token, fid;
	struct uset uids = { 0 };

	memset(text, 'x', total);
	memcpy(text, "Subject: big\r\n\r\n", 16);
	for (size_t i = 78; i + 2 < total; i += 80)
		memcpy(text + i, "\r\n", 2);
	wire_begin(&m, 0);
	CHECK_ST(wire_send(&m, chan, loop, WIRE_IFS_CREATE, &a, &rig_err), ST_OK);
	token = plist_u64(&a.list, PR_BODY_TOKEN, 0);
	wire_answer_free(&a);
	while (sent < total) {
		wire_begin(&m, 1);
		pw_u64(&m.w, PR_BODY_TOKEN, token);
		while (m.nsections < EXIPC_BULK_MAX && sent < total) {
			size_t n = total - sent < EXIPC_SECTION ? total - sent : EXIPC_SECTION;

			CHECK_ST(exipc_section_get(chan, loop, deadline_in_ms(20000),
						   &m.sections[m.nsections], &rig_err),
				 ST_OK);
			memcpy(m.sections[m.nsections].at, text + sent, n);
			m.used[m.nsections++] = (uint32_t)n;
			sent += n;
		}
		CHECK_ST(wire_send(&m, chan, loop, WIRE_IFS_WRITE, &a, &rig_err), ST_OK);
		wire_answer_free(&a);
	}
	wire_begin(&m, 3);
	pw_span(&m.w, PR_MSG_GUID, SPAN("guid of the big1"));
	pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, (uint64_t[]){ bob.mailbox, alice.mailbox }, 2);
	pw_u64(&m.w, PR_BODY_TOKEN, token);
	CHECK_ST(wire_send(&m, chan, loop, WIRE_SMTP_DELIVER, &a, &rig_err), ST_OK);
	CHECK(plist_mv_num(&a.list, PR_STATUSES, 0) == ST_OK);
	CHECK(plist_mv_num(&a.list, PR_STATUSES, 1) == ST_OK);
	wire_answer_free(&a);
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, token);
	CHECK_ST(wire_send(&m, chan, loop, WIRE_IFS_WRITE, &a, &rig_err), ST_NOTFOUND);
	CHECK_ST(rig_select(&bob, "INBOX", true, &fid, &uids, NULL), ST_OK);
	CHECK_ST(rig_body(&bob, fid, uset_max(&uids), &body), ST_OK);
	CHECK(span_eq(buf_get(&body), span_of(text, total)));
	buf_free(&body);
	uset_free(&uids);
	free(text);
}

/* A reply that is held keeps the pages of a message that is gone, whatever is written meanwhile. */
static void pages_wait_for_their_reader(struct rig *r)
{
	struct buf body = BUF_MAX(100000);
	struct wire_answer a;
	struct wire_msg m;
	uint64_t fid, other;
	char gone[32];
	uint32_t uid;

	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "Pins", NULL), ST_OK);
	CHECK_ST(rig_append(&alice, "Pins", HELLO, MF_DELETED, &uid), ST_OK);
	CHECK_ST(rig_select(&alice, "Pins", false, &fid, NULL, NULL), ST_OK);
	rig_begin(&m, &alice, 3);
	pw_u64(&m.w, PR_FID, fid);
	rig_put_uids(&m, PR_UIDS, "1");
	pw_u32(&m.w, PR_WANT, WANT_BODY);
	CHECK_ST(rig_send(&m, &alice, WIRE_IMAP_FETCH, &a), ST_OK);
	CHECK_ST(wire_next_row(&a, &rig_err), ST_OK);
	CHECK_ST(rig_expunge(&alice, fid, gone, sizeof gone), ST_OK);
	CHECK(!strcmp(gone, "1"));
	for (int i = 0; i < 40; i++)
		CHECK_ST(rig_append(&alice, "Pins", DOTS, 0, &uid), ST_OK);
	rig_read_scatter(r, &a.list, &body);
	CHECK(span_eq(buf_get(&body), SPAN(HELLO)));
	wire_answer_free(&a);
	buf_free(&body);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "Pins", NULL), ST_OK);
	CHECK_ST(rig_select(&alice, "Pins", true, &other, NULL, NULL), ST_NOTFOUND);
}

/* ---- a client that dies ---- */

static void hold_the_maildrop(struct rig *r)
{
	struct wire_msg m;

	(void)r;
	rig_begin(&m, &bob, 0);
	CHECK_ST(rig_do(&m, &bob, WIRE_POP_OPEN), ST_OK);
}

static void all_is_given_back(struct rig *r)
{
	struct who old = bob;
	struct wire_msg m;
	enum st st = ST_BUSY;

	log_on(r);
	old.r = r;
	CHECK_ST(rig_path_op(&old, WIRE_IMAP_CREATE, "x", NULL), ST_DENIED);
	/* The store hears of the end in its own time. */
	for (int i = 0; i < 1000 && st == ST_BUSY; i++) {
		rig_begin(&m, &bob, 0);
		st = rig_do(&m, &bob, WIRE_POP_OPEN);
		if (st == ST_BUSY)
			fiber_sleep(deadline_in_ms(5));
	}
	CHECK_ST(st, ST_OK);
	rig_begin(&m, &bob, 0);
	CHECK_ST(rig_do(&m, &bob, WIRE_POP_CLOSE), ST_OK);
}

/* ---- many at once ---- */

#define CROWD 40
#define EACH  25

static struct rig *crowd_rig;
static unsigned crowd_left;
static struct fiber *crowd_waiter;

static void crowd_run(void *arg)
{
	uint64_t who = (uintptr_t)arg % 2 ? alice.mailbox : bob.mailbox;

	for (int i = 0; i < EACH; i++)
		rig_mail(crowd_rig, who, HELLO);
	if (!--crowd_left)
		fiber_wake(crowd_waiter);
}

static void a_crowd_delivers(struct rig *r)
{
	struct uset uids = { 0 };
	uint64_t fid, since;
	char text[256];

	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, &uids, &since), ST_OK);
	uint32_t before = uids.count, last = uset_max(&uids);
	crowd_rig = r;
	crowd_left = CROWD;
	crowd_waiter = fiber_self();
	for (uintptr_t i = 0; i < CROWD; i++)
		CHECK_ST(fiber_spawn("crowd", crowd_run, (void *)i, &rig_err), ST_OK);
	/* News while they come: never a UID twice, never one out of order. */
	while (crowd_left) {
		uint64_t cn = since;

		sync_text(&alice, fid, &since, text, sizeof text);
		CHECK(since >= cn);
		(void)fiber_park(deadline_in_ms(5));
	}
	uset_free(&uids);
	CHECK_ST(rig_select(&alice, "INBOX", true, &fid, &uids, NULL), ST_OK);
	CHECK(uids.count == before + CROWD / 2 * EACH);
	CHECK(uset_max(&uids) >= last + CROWD / 2 * EACH);
	uset_free(&uids);
}

static void folder_with_many_goes(struct rig *r)
{
	char to[64];
	uint64_t fid;

	(void)r;
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "Many", NULL), ST_OK);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_copy(&alice, fid, "1:9999", "Many", false, to, sizeof to), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_DELETE, "Many", NULL), ST_OK);
	CHECK_ST(rig_select(&alice, "Many", true, &fid, NULL, NULL), ST_NOTFOUND);
}

/* More expunges than a folder remembers: whoever asks from before is told of all. */
static void news_from_long_ago(struct rig *r)
{
	enum { MESSAGES = 1030 };
	char text[256], uids[32];
	uint64_t fid, since, first;
	struct uset all = { 0 };

	(void)r;
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "Log", NULL), ST_OK);
	for (uint32_t i = 1, uid; i <= MESSAGES; i++)
		CHECK_ST(rig_append(&alice, "Log", DOTS, MF_DELETED, &uid), ST_OK);
	CHECK_ST(rig_select(&alice, "Log", false, &fid, &all, &first), ST_OK);
	CHECK(all.count == MESSAGES);
	uset_free(&all);
	for (uint32_t i = 1; i < MESSAGES; i++) {
		struct wire_msg m;

		snprintf(uids, sizeof uids, "%u", i);
		rig_begin(&m, &alice, 2);
		pw_u64(&m.w, PR_FID, fid);
		rig_put_uids(&m, PR_UIDS, uids);
		CHECK_ST(rig_do(&m, &alice, WIRE_IMAP_EXPUNGE), ST_OK);
	}
	since = first;
	sync_text(&alice, fid, &since, text, sizeof text);
	CHECK(!strcmp(text, "+ -1:1029 r |"));
	since = since - 3;
	sync_text(&alice, fid, &since, text, sizeof text);
	CHECK(!strcmp(text, "+ -1027:1029 r |"));
}

static void recent_is_told_once(struct rig *r)
{
	struct wire_answer a;
	struct who carol;
	char recent[32];
	uint64_t fid;

	CHECK_ST(rig_add_user(r, "carol@mailroot.test", "demo", NULL), ST_OK);
	CHECK_ST(rig_login(r, "carol@mailroot.test", "demo", &carol), ST_OK);
	rig_mail(r, carol.mailbox, HELLO);
	/* EXAMINE shows it and leaves it. */
	for (int i = 0; i < 4; i++) {
		struct wire_msg m;

		rig_begin(&m, &carol, 2);
		pw_str(&m.w, PR_FOLDER_PATH, "INBOX");
		pw_bool(&m.w, PR_READONLY, i < 2);
		CHECK_ST(rig_send(&m, &carol, WIRE_IMAP_SELECT, &a), ST_OK);
		fid = plist_u64(&a.list, PR_FID, 0);
		rig_set_text(plist_span(&a.list, PR_UIDS_RECENT), recent, sizeof recent);
		CHECK(!strcmp(recent, i < 3 ? "1" : ""));
		CHECK(plist_u32(&a.list, PR_RECENT_COUNT, 9) == (i < 3 ? 1 : 0));
		wire_answer_free(&a);
		rig_begin(&m, &carol, 2);
		pw_u64(&m.w, PR_FID, fid);
		pw_u64(&m.w, PR_WATCH_TOKEN, 0);
		CHECK_ST(rig_do(&m, &carol, WIRE_IMAP_UNSELECT), ST_OK);
	}
}

/* ---- what a restart leaves ---- */

static char kept_flags[65536];
static uint64_t kept_cn;

static void remember(struct rig *r)
{
	uint64_t fid;

	(void)r;
	CHECK_ST(rig_select(&alice, "Junk Email", false, &fid, NULL, &kept_cn), ST_OK);
	fetch_text(&alice, fid, "1:9999", WANT_FLAGS, kept_flags, sizeof kept_flags);
}

static void compare(struct rig *r)
{
	static char text[65536];
	uint64_t fid, cn;

	log_on(r);
	CHECK_ST(rig_select(&alice, "Junk Email", false, &fid, NULL, &cn), ST_OK);
	CHECK(cn == kept_cn);
	fetch_text(&alice, fid, "1:9999", WANT_FLAGS, text, sizeof text);
	CHECK(!strcmp(text, kept_flags));
	CHECK(strstr(text, "blue"));
	CHECK_ST(rig_select(&bob, "INBOX", false, &fid, NULL, &cn), ST_OK);
	sync_text(&bob, fid, &(uint64_t){ 0 }, text, sizeof text);
	CHECK(strstr(text, "-1:2 "));
}

static void whole_story(unsigned loops)
{
	struct rig r;

	rig_make(&r, "");
	rig_up(&r, loops);
	rig_run(&r, rig_people);
	rig_run(&r, log_on);
	rig_run(&r, recent_is_told_once);
	rig_run(&r, delivered_is_there);
	rig_run(&r, envelope_without_body);
	rig_run(&r, once_by_guid);
	rig_run(&r, forgotten_guid_is_new);
	rig_run(&r, flags_are_kept);
	rig_run(&r, news_tell_all);
	rig_run(&r, unchanged_since_protects);
	rig_run(&r, folders_are_a_tree);
	rig_run(&r, list_has_all);
	rig_run(&r, copies_and_moves);
	rig_run(&r, inbox_renamed_is_empty);
	rig_run(&r, appended_with_flags);
	rig_run(&r, searches_find);
	rig_run(&r, others_folders_are_closed);
	rig_run(&r, maildrop_is_one_session_s);
	rig_run(&r, large_message_by_token);
	rig_run(&r, pages_wait_for_their_reader);
	rig_run(&r, hold_the_maildrop);
	rig_new_client(&r);
	rig_run(&r, all_is_given_back);
	rig_run(&r, a_crowd_delivers);
	rig_run(&r, folder_with_many_goes);
	rig_run(&r, news_from_long_ago);
	rig_run(&r, remember);
	rig_down(&r);
	rig_up(&r, loops == 1 ? 3 : 1);
	rig_run(&r, compare);
	rig_down(&r);
	rig_remove(&r);
}

static void with_one_loop(void **state)
{
	(void)state;
	whole_story(1);
}

static void with_three_loops(void **state)
{
	(void)state;
	whole_story(3);
}

/* ---- how long a delivery is remembered ---- */

static int64_t later;

static int64_t later_real(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec + later;
}

static unsigned inbox_count(const struct who *w)
{
	struct uset uids = { 0 };
	uint64_t fid;
	unsigned n;

	CHECK_ST(rig_select(w, "INBOX", true, &fid, &uids, NULL), ST_OK);
	n = uids.count;
	uset_free(&uids);
	return n;
}

static void deliver_again(struct rig *r)
{
	enum st st;

	CHECK_ST(rig_deliver(r, "guid of long ago", &alice.mailbox, 1, DOTS, strlen(DOTS), &st),
		 ST_OK);
	CHECK_ST(st, ST_OK);
}

static void once_after_a_restart(struct rig *r)
{
	log_on(r);
	deliver_again(r);
	CHECK(inbox_count(&alice) == 1);
}

static void twice_after_years(struct rig *r)
{
	log_on(r);
	rig_mail(r, alice.mailbox, HELLO); /* durable behind what the loading dropped */
	deliver_again(r);
	CHECK(inbox_count(&alice) == 3);
}

static void deliveries_are_remembered_for_a_time(void **state)
{
	static const struct clock_seam seam = { .real = later_real };
	struct rig r;

	(void)state;
	clock_set_seam(&seam);
	rig_make(&r, "queue_expire_s = 3600\n");
	rig_up(&r, 1);
	rig_run(&r, rig_people);
	rig_run(&r, log_on);
	rig_run(&r, deliver_again);
	rig_down(&r);
	later = (3600 + 6 * 86400) * NS_PER_SEC;
	rig_up(&r, 1);
	rig_run(&r, once_after_a_restart);
	rig_down(&r);
	later += 2 * 86400 * NS_PER_SEC;
	rig_up(&r, 1);
	rig_run(&r, twice_after_years);
	rig_down(&r);
	rig_remove(&r);
	clock_set_seam(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_one_loop),
		cmocka_unit_test(with_three_loops),
		cmocka_unit_test(deliveries_are_remembered_for_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
