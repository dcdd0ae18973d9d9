/* test_offline.c - a stopped store's users, folders and messages, read without it. */
#include "rig.h"

#include "store/offline.h"

#define HELLO                                                                                      \
	"From: Bob <bob@mailroot.test>\r\nTo: alice@mailroot.test\r\nSubject: Hello there\r\n"     \
	"Message-ID: <1@x>\r\n\r\nFirst light.\r\n"
#define LATER "From: carol@x.test\r\nSubject: Later\r\n\r\nwords\r\n"

static void fill(struct rig *r)
{
	struct who alice;
	uint32_t uid;
	uint64_t fid, both[2];
	enum st statuses[2];

	rig_people(r);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "Work/Tax", NULL), ST_OK);
	rig_mail(r, alice.mailbox, HELLO);
	rig_mail(r, alice.mailbox, LATER);
	CHECK_ST(rig_append(&alice, "Work/Tax", LATER, MF_SEEN, &uid), ST_OK);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "2", STORE_ADD, MF_FLAGGED, "urgent"), ST_OK);
	both[0] = alice.mailbox;
	both[1] = alice.mailbox + 1;
	CHECK_ST(rig_deliver(r, "0123456789abcdef", both, 2, HELLO, strlen(HELLO), statuses),
		 ST_OK);
}

static struct offline *open_home(struct rig *r)
{
	struct offline *o;

	CHECK_ST(offline_open(r->home, &o, &rig_err), ST_OK);
	return o;
}

/* ---- what is there, as text ---- */

static enum st add_bytes(void *arg, const char *bytes, size_t len, struct err *err)
{
	(void)err;
	buf_add(arg, bytes, len);
	return ST_OK;
}

static void folder_text(struct ese_db *db, uint64_t mailbox, const struct offline_folder *f,
			struct buf *out)
{
	struct offline_messages *it;
	struct offline_message m;
	enum st st;

	buf_printf(out, "%s %s n%u u%u:", f->path, f->special, f->figures.count, f->figures.unread);
	CHECK_ST(offline_messages_open(db, mailbox, f->number, &it, &rig_err), ST_OK);
	while ((st = offline_messages_next(it, &m, &rig_err)) == ST_OK) {
		CHECK(m.has_entry && m.has_item && m.entry.uid == m.uid && m.body);
		buf_printf(out, " %u,%u," SPAN_FMT "," SPAN_FMT, m.uid, m.entry.flags,
			   SPAN_ARG(m.subject), SPAN_ARG(m.message_id));
		if (m.entry.keywords & 1)
			buf_printf(out, ",%s", offline_keyword(f, 0));
	}
	CHECK(st == ST_EOF);
	offline_messages_close(it);
	buf_char(out, '\n');
}

static void everything_is_found(void **state)
{
	struct buf text = BUF_MAX(100000);
	struct offline_tree tree;
	struct offline_db *d;
	struct offline *o;
	char name[NAME_BYTES_MAX + 1];
	uint64_t mailbox = 0;
	struct rig r;
	enum st st;

	(void)state;
	rig_make(&r, "");
	rig_up(&r, 2);
	rig_run(&r, fill);
	CHECK_ST(offline_open(r.home, &o, &rig_err), ST_BUSY);
	rig_down(&r);
	o = open_home(&r);
	CHECK(o->nusers == 2);
	mailbox = offline_user(o, "alice@mailroot.test")->mailbox;
	offline_owner_name(o, mailbox, name);
	assert_string_equal(name, "alice@mailroot.test");
	offline_owner_name(o, 77, name);
	assert_string_equal(name, "mailbox 77");
	CHECK(offline_db_of(o, 77) == NULL);
	d = offline_db_of(o, mailbox);
	CHECK(d && d->head_st == ST_OK && d->head.clean_pos && d->head.bodies == 4);
	CHECK_ST(offline_tree_load(d->db, mailbox, &tree, &rig_err), ST_OK);
	for (size_t i = 0; i < tree.n; i++)
		folder_text(d->db, mailbox, &tree.folders[i], &text);
	buf_char(&text, '\0');
	assert_string_equal(text.at, "INBOX  n3 u3: 1,0,Hello there,<1@x> 2,4,Later,,urgent "
				     "3,0,Hello there,<1@x>\n"
				     "Drafts \\Drafts n0 u0:\nSent Items \\Sent n0 u0:\n"
				     "Deleted Items \\Trash n0 u0:\nJunk Email \\Junk n0 u0:\n"
				     "Outbox  n0 u0:\nWork  n0 u0:\nWork/Tax  n1 u0: 1,1,Later,\n");
	CHECK(offline_folder_at(&tree, SPAN("inbox")) == &tree.folders[0]);
	CHECK(offline_folder_at(&tree, SPAN("Work/Tax")) == &tree.folders[7]);
	CHECK(offline_folder_at(&tree, SPAN("work/tax")) == NULL);
	offline_tree_free(&tree);
	for (mailbox = 0; (st = offline_mailbox_next(d->db, &mailbox, &rig_err)) == ST_OK;)
		CHECK(offline_owner(o, mailbox));
	CHECK(st == ST_EOF);
	buf_free(&text);
	offline_close(o);
	rig_remove(&r);
}

/* ---- bodies and the way back ---- */

static enum st add_link(void *arg, const struct offline_link *l, struct err *err)
{
	(void)err;
	buf_printf(arg, "%llu %s %u %s;", (unsigned long long)l->mailbox,
		   l->folder ? l->folder->path : "?", l->message->uid,
		   l->message->deleted     ? "deleted"
		   : l->message->has_entry ? "dated"
					   : "?");
	return ST_OK;
}

static void a_body_leads_back_to_its_messages(void **state)
{
	struct buf text = BUF_MAX(100000);
	struct offline_messages *it;
	struct offline_message m;
	struct offline *o;
	struct ese_db *db;
	struct rig r;

	(void)state;
	rig_make(&r, "");
	rig_up(&r, 1);
	rig_run(&r, fill);
	rig_down(&r);
	o = open_home(&r);
	db = offline_db_of(o, 2)->db;
	CHECK_ST(offline_messages_open(db, 2, 1, &it, &rig_err), ST_OK);
	CHECK_ST(offline_messages_next(it, &m, &rig_err), ST_OK);
	CHECK_ST(offline_body(db, m.body, add_bytes, &text, &rig_err), ST_OK);
	CHECK(span_eq(buf_get(&text), SPAN(HELLO)));
	buf_clear(&text);
	CHECK_ST(offline_links(db, &m.body, 1, add_link, &text, &rig_err), ST_OK);
	buf_char(&text, '\0');
	assert_string_equal(text.at, "1 INBOX 3 dated;2 INBOX 1 dated;");
	offline_messages_close(it);
	buf_free(&text);
	offline_close(o);
	rig_remove(&r);
}

static void delete_one(struct rig *r)
{
	struct who alice;
	char gone[64];
	uint64_t fid;

	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "3", STORE_ADD, MF_DELETED, NULL), ST_OK);
	CHECK_ST(rig_expunge(&alice, fid, gone, sizeof gone), ST_OK);
}

static void remove_bob(struct rig *r)
{
	struct wire_answer a;
	struct wire_msg m;

	wire_begin(&m, 1);
	pw_str(&m.w, PR_USER, "bob@mailroot.test");
	CHECK_ST(wire_send(&m, rig_admin(r), 0, WIRE_DS_USER_REMOVE, &a, &rig_err), ST_OK);
	wire_answer_free(&a);
}

/* A deleted message that is kept links its body like any other. */
static void deleted_messages_are_found(void **state)
{
	struct buf text = BUF_MAX(100000);
	struct offline_messages *it;
	struct offline_message m;
	struct offline *o;
	struct rig r;

	(void)state;
	rig_make(&r, "");
	rig_up(&r, 1);
	rig_run(&r, fill);
	rig_run(&r, delete_one);
	rig_run(&r, remove_bob);
	rig_down(&r);
	o = open_home(&r);
	CHECK(offline_user(o, "bob@mailroot.test")->removed);
	CHECK(!strcmp(offline_owner(o, 2)->name, "bob@mailroot.test"));
	CHECK_ST(offline_kept_open(offline_db_of(o, 1)->db, 1, &it, &rig_err), ST_OK);
	CHECK_ST(offline_messages_next(it, &m, &rig_err), ST_OK);
	CHECK(m.deleted && m.uid == 3 && span_eq(m.path, SPAN("INBOX")));
	CHECK(span_eq(m.subject, SPAN("Hello there")));
	CHECK_ST(offline_links(offline_db_of(o, 1)->db, &m.body, 1, add_link, &text, &rig_err),
		 ST_OK);
	buf_char(&text, '\0');
	assert_string_equal(text.at, "1 INBOX 3 deleted;2 INBOX 1 dated;");
	CHECK_ST(offline_messages_next(it, &m, &rig_err), ST_EOF);
	offline_messages_close(it);
	buf_free(&text);
	offline_close(o);
	rig_remove(&r);
}

static void nothing_there_says_so(void **state)
{
	struct offline *o;
	struct rig r;

	(void)state;
	rig_make(&r, "");
	CHECK_ST(offline_open(r.home, &o, &rig_err), ST_NOTFOUND);
	CHECK_ST(offline_open("/nonexistent", &o, &rig_err), ST_IO);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_found),
		cmocka_unit_test(a_body_leads_back_to_its_messages),
		cmocka_unit_test(deleted_messages_are_found),
		cmocka_unit_test(nothing_there_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
