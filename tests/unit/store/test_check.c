/* test_check.c - one row of mail is damaged, and the checker says which, by the names that a user knows. */
#include "rig.h"

#include "ese/pdb.h"
#include "ese/rows.h"
#include "store/check.h"

#include <glob.h>

#define HELLO                                                                                      \
	"From: Bob <bob@mailroot.test>\r\nTo: alice@mailroot.test\r\nSubject: Hello there\r\n"     \
	"Message-ID: <1@x>\r\n\r\nFirst light.\r\n"
#define LATER "From: carol@x.test\r\nSubject: Later\r\n\r\nwords\r\n"

/* ---- a home, filled once and copied for each row ---- */

static void fill(struct rig *r)
{
	struct who alice;
	uint32_t uid;
	uint64_t fid;
	char gone[64];

	rig_people(r);
	CHECK_ST(rig_login(r, "alice@mailroot.test", "demo", &alice), ST_OK);
	CHECK(alice.mailbox == 1);
	CHECK_ST(rig_path_op(&alice, WIRE_IMAP_CREATE, "Work/Tax", NULL), ST_OK);
	for (unsigned i = 0; i < 4; i++)
		rig_mail(r, alice.mailbox, HELLO);
	CHECK_ST(rig_append(&alice, "Work/Tax", LATER, MF_SEEN, &uid), ST_OK);
	CHECK_ST(rig_select(&alice, "INBOX", false, &fid, NULL, NULL), ST_OK);
	CHECK_ST(rig_store(&alice, fid, "4", STORE_ADD, MF_DELETED, NULL), ST_OK);
	CHECK_ST(rig_expunge(&alice, fid, gone, sizeof gone), ST_OK);
}

/* ---- findings as text ---- */

static void found(void *arg, const struct finding *f)
{
	struct buf *out = arg;

	buf_printf(out, "%s%s", out->len ? "; " : "", finding_rows[f->kind].name);
	if (f->user)
		buf_printf(out, " %s", f->user);
	if (f->folder)
		buf_printf(out, " %s", f->folder);
	if (f->uid)
		buf_printf(out, " %u", f->uid);
	if (f->subject.len)
		buf_printf(out, " '" SPAN_FMT "'%s", SPAN_ARG(f->subject),
			   f->date ? "" : " undated");
	if (!f->text[0])
		buf_str(out, " says nothing");
}

static void look(const char *home, struct buf *out)
{
	struct store_check c = { .found = found, .arg = out };

	buf_clear(out);
	CHECK_ST(offline_open(home, &c.o, &rig_err), ST_OK);
	CHECK_ST(store_check(&c, &rig_err), ST_OK);
	CHECK(c.messages >= 3 && c.databases >= 1 && c.mailboxes >= 1);
	offline_close(c.o);
	buf_char(out, '\0');
}

/* ---- changing rows ---- */

static struct pdb *rows;
static char rows_path[300];

static void rows_open(const char *home, const char *pattern)
{
	struct pdb_conf c = { .cache_bytes = 1 << 20, .buffer_bytes = 1 << 20, .files_max = 50 };
	char path[300];
	glob_t g;

	snprintf(path, sizeof path, "%s/groups/*/%s.edb", home, pattern);
	CHECK(glob(path, 0, NULL, &g) == 0 && g.gl_pathc == 1);
	snprintf(rows_path, sizeof rows_path, "%s", g.gl_pathv[0]);
	globfree(&g);
	CHECK_ST(pdb_open(rows_path, false, &c, &rows, &rig_err), ST_OK);
}

static void rows_close(void)
{
	CHECK_ST(pdb_flush(rows, &rig_err), ST_OK);
	pdb_close(rows);
}

static void put(struct span key, struct span value)
{
	struct pdb_batch *b = pdb_batch_new();

	pdb_put(b, key, value);
	CHECK_ST(pdb_write(rows, b, &rig_err), ST_OK);
	pdb_batch_free(b);
}

static void delete (struct span key)
{
	struct pdb_batch *b = pdb_batch_new();
	struct span v;
	void *hold;

	CHECK_ST(pdb_get(rows, key, &v, &hold, &rig_err), ST_OK);
	pdb_release(hold);
	pdb_delete(b, key);
	CHECK_ST(pdb_write(rows, b, &rig_err), ST_OK);
	pdb_batch_free(b);
}

/* A row with one number in it changed. */
static void change(struct span key, uint32_t tag, uint64_t value)
{
	struct buf out = BUF_MAX(100000);
	struct plist l;
	struct span v;
	struct pw w;
	void *hold;

	CHECK_ST(pdb_get(rows, key, &v, &hold, &rig_err), ST_OK);
	CHECK_ST(plist_open(&l, v.at, v.len, &rig_err), ST_OK);
	pw_begin(&w, &out, 64);
	if (PROP_TYPE(tag) == PT_LONG)
		pw_u32(&w, tag, (uint32_t)value);
	else
		pw_u64(&w, tag, value);
	pw_merge(&w, &l);
	pw_end(&w);
	pdb_release(hold);
	put(key, buf_get(&out));
	buf_free(&out);
}

#define JUNK SPAN("this is no row")
static struct key k;

static void nothing(void)
{
}
static void entry_junk(void)
{
	put(key_message(&k, 1, BOX_ENTRY, 1, 2), JUNK);
}
static void entry_gone(void)
{
	delete (key_message(&k, 1, BOX_ENTRY, 1, 2));
}
static void item_gone(void)
{
	delete (key_message(&k, 1, BOX_ITEM, 1, 3));
}
static void item_junk(void)
{
	put(key_message(&k, 1, BOX_ITEM, 1, 1), JUNK);
}
static void body_unknown(void)
{
	change(key_message(&k, 1, BOX_ITEM, 1, 1), PR_BODY_ID, 777);
}
static void figures_wrong(void)
{
	change(key_folder(&k, 1, BOX_FIGURES, 1), PR_CONTENT_COUNT, 9);
}
static void figures_gone(void)
{
	delete (key_folder(&k, 1, BOX_FIGURES, 8));
}
static void uidnext_low(void)
{
	change(key_folder(&k, 1, BOX_FIGURES, 8), PR_INTERNET_ARTICLE_NUMBER_NEXT, 1);
}
static void change_low(void)
{
	change(key_folder(&k, 1, BOX_FIGURES, 8), PR_CHANGE_NUM, 0);
}
static void mid_low(void)
{
	change(key_message(&k, 1, BOX_ENTRY, 1, 3), PR_MID, 1);
}
static void folder_gone(void)
{
	delete (key_folder(&k, 1, BOX_FOLDER, 8));
}
static void folder_of_nobody(void)
{
	change(key_folder(&k, 1, BOX_FOLDER, 8), PR_PARENT_FID, 99);
}
static void folder_in_itself(void)
{
	change(key_folder(&k, 1, BOX_FOLDER, 7), PR_PARENT_FID, 8);
}
static void folder_twice(void)
{
	struct span v;
	void *hold;

	CHECK_ST(pdb_get(rows, key_folder(&k, 1, BOX_FOLDER, 2), &v, &hold, &rig_err), ST_OK);
	put(key_folder(&k, 1, BOX_FOLDER, 6), v);
	pdb_release(hold);
}
static void vanished_junk(void)
{
	struct pdb_iter *it;
	struct span key, v;
	struct key to;

	key_folder(&k, 1, BOX_VANISHED, 1);
	key_folder(&to, 1, BOX_VANISHED, 2);
	CHECK_ST(pdb_iter_new(rows, span_of(k.at, k.len), span_of(to.at, to.len), &it, &rig_err),
		 ST_OK);
	CHECK_ST(pdb_iter_next(it, &key, &v, &rig_err), ST_OK);
	put(key, SPAN("\xff\xff\xff\xff\xff\xff"));
	pdb_iter_free(it);
}
static void mailbox_gone(void)
{
	delete (key_box(&k, 1, BOX_MAILBOX));
}
static void next_folder_low(void)
{
	change(key_box(&k, 1, BOX_MAILBOX), PR_NEXT_FOLDER, 4);
}
static void links_wrong(void)
{
	struct pdb_iter *it;
	struct span key, v;
	char value[4096];

	CHECK_ST(pdb_iter_new(rows, SPAN("\x03"), SPAN("\x04"), &it, &rig_err), ST_OK);
	CHECK_ST(pdb_iter_next(it, &key, &v, &rig_err), ST_OK);
	CHECK(v.len < sizeof value);
	memcpy(value, v.at, v.len);
	value[0] = 5;
	put(key, span_of(value, v.len));
	pdb_iter_free(it);
}
static void stray_kind(void)
{
	put(key_named(&k, 1, BOX_ROWS_END, SPAN("x")), JUNK);
}
static void user_gone(void)
{
	delete (key_dir(&k, DIR_USER, SPAN("alice@mailroot.test")));
}
static void user_junk(void)
{
	put(key_dir(&k, DIR_USER, SPAN("alice@mailroot.test")), JUNK);
}
static void owner_gone(void)
{
	delete (key_dir_mailbox(&k, DIR_MAILBOX, 1));
}
static void both_gone(void)
{
	user_gone();
	owner_gone();
}

#define ALICE "alice@mailroot.test"

struct row {
	const char *name;
	bool directory; /* it is a row of the directory */
	void (*damage)(void);
	const char *found;
};
static const struct row table[] = {
	{ "nothing", false, nothing, "" },
	{ "a message's first row", false, entry_junk,
	  "mailbox-row " ALICE " INBOX 2; message-half " ALICE " INBOX 2; folder-figures " ALICE
	  " INBOX" },
	{ "a message's first row is missing", false, entry_gone,
	  "message-half " ALICE " INBOX 2; folder-figures " ALICE " INBOX" },
	{ "a message's second row is missing", false, item_gone,
	  "message-half " ALICE " INBOX 3; link-count" },
	{ "a message's second row", false, item_junk, "mailbox-row " ALICE " INBOX 1; link-count" },
	{ "a body that is not there", false, body_unknown,
	  "message-damaged " ALICE " INBOX 1 'Hello there'; link-count" },
	{ "a folder's figures", false, figures_wrong, "folder-figures " ALICE " INBOX" },
	{ "a folder's figures are missing", false, figures_gone,
	  "folder-figures " ALICE " Work/Tax" },
	{ "the next UID", false, uidnext_low, "folder-uids " ALICE " Work/Tax" },
	{ "a folder's last change", false, change_low, "folder-uids " ALICE " Work/Tax" },
	{ "a change number", false, mid_low, "folder-uids " ALICE " INBOX 3" },
	{ "a folder's row is missing", false, folder_gone, "folder-lost " ALICE },
	{ "a folder without its parent", false, folder_of_nobody, "folder-parent " ALICE " ?/Tax" },
	{ "a vanished set", false, vanished_junk, "vanished-row " ALICE " INBOX" },
	{ "two folders of one name", false, folder_twice, "folder-name " ALICE " Drafts" },
	{ "the mailbox's own row is missing", false, mailbox_gone, "mailbox-lost " ALICE },
	{ "the next folder", false, next_folder_low, "mailbox-lost " ALICE },
	{ "a body's count", false, links_wrong, "link-count" },
	{ "a row of no kind", false, stray_kind, "mailbox-row " ALICE },
	{ "a user is missing", true, user_gone, "user-mailbox mailbox 1" },
	{ "a user's row", true, user_junk, "directory-row; user-mailbox mailbox 1" },
	{ "a mailbox without its user's name", true, owner_gone, "user-mailbox " ALICE },
	{ "a mailbox of nobody", true, both_gone, "mailbox-owner mailbox 1" },
};

static void copy_home(const char *from, const char *to)
{
	char cmd[300];

	snprintf(cmd, sizeof cmd, "rm -rf '%s' && cp -a --sparse=always '%s' '%s'", to, from, to);
	CHECK(system(cmd) == 0);
}

static bool has_directory(const char *home)
{
	char path[300];
	glob_t g;
	bool there;

	snprintf(path, sizeof path, "%s/groups/*/directory.edb", home);
	there = glob(path, 0, NULL, &g) == 0;
	globfree(&g);
	return there;
}

static void one_row_is_damaged(void **state)
{
	struct buf text = BUF_MAX(100000);
	unsigned wrong = 0;
	char copy[80];
	struct rig r;

	(void)state;
	rig_make(&r, "");
	rig_up(&r, 1);
	rig_run(&r, fill);
	rig_down(&r);
	snprintf(copy, sizeof copy, "%s.copy", r.home);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		copy_home(r.home, copy);
		rows_open(copy,
			  table[i].directory && has_directory(copy) ? "directory" : "mailbox/*");
		table[i].damage();
		rows_close();
		look(copy, &text);
		if (strcmp(text.at, table[i].found)) {
			print_error("%s: '%s', not '%s'\n", table[i].name, text.at, table[i].found);
			wrong++;
		}
	}
	copy_home(r.home, copy);
	rows_open(copy, "mailbox/*");
	folder_in_itself();
	rows_close();
	look(copy, &text);
	assert_non_null(strstr(text.at, "folder-parent " ALICE));
	copy_home("/dev/null", copy);
	remove(copy);
	buf_free(&text);
	rig_remove(&r);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_row_is_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
