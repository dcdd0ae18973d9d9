/* check_mail.c - rows of mailboxes: each by itself, and what they say of each other; see check.h.
 *
 * The rows of a mailbox come in the order of their kinds, folder by folder: first all of a message's first
 * parts, from which each folder's figures are counted, then the second parts, which are matched with them. */
#include "store/check.h"

#include "base/uset.h"

#include <stdio.h>
#include <stdlib.h>

/* What the messages of one folder add up to. */
struct tally {
	uint32_t folder, count, unread, last_uid;
	uint64_t size, last_mid, last_cn;
	size_t first, next, end; /* its UIDs in box.uids; `next` is not matched yet */
	bool lost;               /* a gap in its rows */
};

struct box {
	struct store_check *c;
	struct check_db *db;
	const struct check_directory *dir;
	bool open;
	char user[NAME_BYTES_MAX + 1];
	struct offline_tree tree;
	struct tally *tallies; /* ascending by folder */
	size_t n, cap;
	uint32_t *uids;
	size_t nuids, uids_cap;
	struct kept_figures kept; /* counted, until they are compared */
	bool dying;               /* its rows are being deleted: they need not fit to each other */
};

/* ---- telling ---- */

static struct finding about(const struct box *b, enum finding_kind kind,
			    const struct offline_folder *f)
{
	return (struct finding){
		.kind = kind, .database = b->db->name, .user = b->user, .folder = f ? f->path : NULL
	};
}

static const char *path_of(const struct offline_folder *f)
{
	return f ? f->path : "a lost folder";
}

/* The date stands in the other row. */
static int64_t date_of(const struct box *b, uint32_t folder, uint32_t uid)
{
	struct ese_value v;
	struct entry e;
	struct key k;
	struct span key = key_message(&k, b->tree.mailbox, BOX_ENTRY, folder, uid);
	int64_t date = 0;

	if (ese_get(b->db->db, key, &v, NULL) != ST_OK)
		return 0;
	if (entry_read(key, v.bytes, &e, NULL) == ST_OK)
		date = e.date;
	ese_value_free(&v);
	return date;
}

static void tell_message(struct box *b, enum finding_kind kind, uint32_t folder, uint32_t uid,
			 const struct offline_message *m, const char *what)
{
	const struct offline_folder *of = offline_folder(&b->tree, folder);
	struct finding f = about(b, kind, of);

	f.uid = uid;
	f.date = date_of(b, folder, uid);
	if (m) {
		f.body = m->body;
		f.from = m->from;
		f.subject = m->subject;
	}
	check_tell(b->c, &f, "%s of %s: message UID %u: %s", path_of(of), b->user, uid, what);
}

static void tell_row(struct box *b, unsigned kind, struct span rest)
{
	const struct offline_folder *of =
		rest.len >= 4 && kind != BOX_SUBSCRIBED && kind != BOX_DELIVERED
			? offline_folder(&b->tree, key_tail_u32(span_cut(rest, 4)))
			: NULL;
	struct finding f = about(b, kind == BOX_VANISHED ? FOUND_VANISHED_ROW : FOUND_MAIL_ROW, of);

	if ((kind == BOX_ENTRY || kind == BOX_ITEM) && rest.len == 8) {
		f.uid = key_tail_u32(rest);
		check_tell(b->c, &f, "%s of %s: message UID %u: its row %02u is damaged",
			   path_of(of), b->user, f.uid, kind);
	} else {
		check_tell(b->c, &f, "mailbox of %s%s%s: a row of kind %02u is damaged", b->user,
			   of ? ", folder " : "", of ? of->path : "", kind);
	}
}

/* ---- a folder's messages ---- */

static enum st tally_for(struct box *b, uint32_t folder, struct tally **out, struct err *err)
{
	size_t at = b->n;

	while (at > 0 && b->tallies[at - 1].folder >= folder)
		at--;
	if (at < b->n && b->tallies[at].folder == folder) {
		*out = &b->tallies[at];
		return ST_OK;
	}
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 16;
		void *more = realloc(b->tallies, cap * sizeof *b->tallies);

		if (!more)
			return fail(err, ST_NOMEM, "out of memory");
		b->tallies = more;
		b->cap = cap;
	}
	memmove(b->tallies + at + 1, b->tallies + at, (b->n++ - at) * sizeof *b->tallies);
	b->tallies[at] = (struct tally){
		.folder = folder, .first = b->nuids, .next = b->nuids, .end = b->nuids
	};
	*out = &b->tallies[at];
	return ST_OK;
}

static enum st add_uid(struct box *b, struct tally *t, uint32_t uid, struct err *err)
{
	if (b->nuids == b->uids_cap) {
		size_t cap = b->uids_cap ? b->uids_cap * 2 : 1024;
		void *more = realloc(b->uids, cap * sizeof *b->uids);

		if (!more)
			return fail(err, ST_NOMEM, "out of memory");
		b->uids = more;
		b->uids_cap = cap;
	}
	b->uids[b->nuids++] = uid;
	t->end = b->nuids;
	return ST_OK;
}

static enum st take_entry(struct box *b, struct span key, struct span rest, struct span value,
			  struct err *err)
{
	uint32_t folder = key_tail_u32(span_cut(rest, 4));
	struct tally *t;
	struct entry e;
	enum st st;

	if (rest.len != 8 || entry_read(key, value, &e, NULL) != ST_OK) {
		tell_row(b, BOX_ENTRY, rest);
		return ST_OK;
	}
	b->c->messages++;
	st = tally_for(b, folder, &t, err);
	if (st != ST_OK)
		return st;
	if (!e.uid || e.mid <= t->last_mid || e.cn < e.mid)
		tell_message(b, FOUND_FOLDER_UIDS, folder, e.uid, NULL,
			     "its change numbers do not ascend with its UID");
	t->count++;
	t->size += e.size;
	t->unread += !(e.flags & MF_SEEN);
	t->last_uid = e.uid;
	t->last_mid = e.mid > t->last_mid ? e.mid : t->last_mid;
	t->last_cn = e.cn > t->last_cn ? e.cn : t->last_cn;
	return add_uid(b, t, e.uid, err);
}

/* UIDs below `uid` (0: all) have had their turn: those that were not matched have lost their second row. */
static void pass_over(struct box *b, struct tally *t, uint32_t uid)
{
	if (b->dying)
		return;
	for (; t->next < t->end && (!uid || b->uids[t->next] < uid); t->next++)
		tell_message(b, FOUND_MESSAGE_HALF, t->folder, b->uids[t->next], NULL,
			     "the row with its content is missing");
}

static void link_body(struct box *b, const struct offline_message *m)
{
	struct check_body *body = check_body(b->db, m->body);

	if (!body) {
		tell_message(b, FOUND_MESSAGE_DAMAGED, m->folder, m->uid, m,
			     "its content is not there");
		return;
	}
	body->links++;
	if (body->damaged)
		tell_message(b, FOUND_MESSAGE_DAMAGED, m->folder, m->uid, m,
			     "its content is damaged");
}

static enum st take_item(struct box *b, struct span rest, struct span value, struct err *err)
{
	struct offline_message m = { .has_item = true };
	struct tally *t;
	enum st st;

	m.folder = key_tail_u32(span_cut(rest, 4));
	m.uid = key_tail_u32(rest);
	if (rest.len == 8) {
		st = tally_for(b, m.folder, &t, err);
		if (st != ST_OK)
			return st;
		pass_over(b, t, m.uid);
		if (t->next < t->end && b->uids[t->next] == m.uid)
			t->next++;
		else
			tell_message(b, FOUND_MESSAGE_HALF, m.folder, m.uid, NULL,
				     "the row with its flags and date is missing");
	}
	if (rest.len != 8 || plist_open(&m.item, value.at, value.len, NULL) != ST_OK) {
		tell_row(b, BOX_ITEM, rest);
		return ST_OK;
	}
	offline_name_message(&m);
	link_body(b, &m);
	return ST_OK;
}

/* ---- other rows ---- */

static void take_vanished(struct box *b, struct span rest, struct span value)
{
	struct uset uids = { 0 };

	if (rest.len != 12 || uset_read(value, &uids, NULL) != ST_OK)
		tell_row(b, BOX_VANISHED, rest);
	uset_free(&uids);
}

/* A deleted message that is kept. */
static void take_kept(struct box *b, struct span key, struct span rest, struct span value)
{
	struct offline_message m;
	uint64_t mailbox;

	if (!offline_links_body(key, value, &mailbox, &m)) {
		tell_row(b, BOX_KEPT, rest);
		return;
	}
	b->kept.count++;
	b->kept.bytes += m.entry.size;
	link_body(b, &m);
}

static void take_kept_figures(struct box *b, struct span rest, struct span value)
{
	struct finding f = about(b, FOUND_FOLDER_FIGURES, NULL);
	struct kept_figures g;

	if (rest.len != 0 || kept_figures_read(value, &g, NULL) != ST_OK) {
		tell_row(b, BOX_KEPT_FIGURES, rest);
		return;
	}
	if (g.count != b->kept.count || g.bytes != b->kept.bytes)
		check_tell(
			b->c, &f,
			"mailbox of %s says that %llu deleted messages of %llu bytes are kept; there are "
			"%llu of %llu",
			b->user, (unsigned long long)g.count, (unsigned long long)g.bytes,
			(unsigned long long)b->kept.count, (unsigned long long)b->kept.bytes);
	b->kept = (struct kept_figures){ 0 };
}

static void take_other(struct box *b, unsigned kind, struct span rest, struct span value)
{
	struct plist l;
	bool ok = plist_open(&l, value.at, value.len, NULL) == ST_OK;

	switch (kind) {
	case BOX_MAILBOX:
		ok = ok && rest.len == 0;
		break;
	case BOX_FOLDER:
	case BOX_FIGURES:
		ok = ok && rest.len == 4;
		break;
	case BOX_SUBSCRIBED:
		ok = ok && rest.len > 0;
		break;
	case BOX_DELIVERED:
		ok = ok && rest.len == GUID_BYTES;
		break;
	default:
		ok = false;
	}
	if (!ok)
		tell_row(b, kind, rest);
}

/* ---- a whole mailbox ---- */

static void judge_figures(struct box *b, const struct offline_folder *of, const struct tally *t)
{
	struct finding f = about(b, FOUND_FOLDER_FIGURES, of);
	const struct figures *g = &of->figures;

	if (!of->has_figures)
		check_tell(b->c, &f, "%s of %s: its figures are missing or damaged", of->path,
			   b->user);
	else if (g->count != t->count || g->unread != t->unread || g->size != t->size)
		check_tell(
			b->c, &f,
			"%s of %s says %u messages, %u unread, %llu bytes; there are %u, %u, %llu",
			of->path, b->user, g->count, g->unread, (unsigned long long)g->size,
			t->count, t->unread, (unsigned long long)t->size);
	if (!of->has_figures)
		return;
	f.kind = FOUND_FOLDER_UIDS;
	if (g->uidnext <= t->last_uid)
		check_tell(b->c, &f, "%s of %s: its next UID is %u, but UID %u is there", of->path,
			   b->user, g->uidnext, t->last_uid);
	if (g->cn < t->last_cn)
		check_tell(b->c, &f, "%s of %s: its last change is %llu, a message's %llu",
			   of->path, b->user, (unsigned long long)g->cn,
			   (unsigned long long)t->last_cn);
}

static void judge_place(struct box *b, const struct offline_folder *of)
{
	struct finding f = about(b, FOUND_FOLDER_PARENT, of);
	const struct offline_folder *up = of;
	unsigned depth = 0;

	while (up && up->parent && depth++ <= FOLDER_DEPTH_MAX)
		up = offline_folder(&b->tree, up->parent);
	if (!up)
		check_tell(b->c, &f, "%s of %s: its parent is missing", of->path, b->user);
	else if (depth > FOLDER_DEPTH_MAX)
		check_tell(b->c, &f, "folder %s of %s lies inside itself", of->name, b->user);
	f.kind = FOUND_FOLDER_NAME;
	if (!*of->name || strchr(of->name, '/'))
		check_tell(b->c, &f, "folder number %u of %s: '%s' is no name", of->number, b->user,
			   of->name);
	for (const struct offline_folder *other = b->tree.folders; other < of; other++)
		if (other->parent == of->parent && !strcmp(other->name, of->name))
			check_tell(b->c, &f, "%s of %s is there twice (numbers %u and %u)",
				   of->path, b->user, other->number, of->number);
}

static void judge_mailbox(struct box *b)
{
	const struct offline_tree *t = &b->tree;
	struct finding f = about(b, FOUND_MAILBOX_LOST, NULL);

	if (!t->has_row)
		check_tell(b->c, &f, "the mailbox of %s has lost its own row", b->user);
	else if (t->n && t->next_folder <= t->folders[t->n - 1].number)
		check_tell(b->c, &f, "the mailbox of %s would give folder number %u out again",
			   b->user, t->next_folder);
	f.kind = FOUND_MAILBOX_NO_OWNER;
	for (size_t i = 0; i < b->dir->n; i++)
		if (b->dir->owners[i].mailbox == t->mailbox)
			return;
	if (!b->dir->incomplete)
		check_tell(b->c, &f, "mailbox %llu belongs to no user",
			   (unsigned long long)t->mailbox);
}

static void forget(struct box *b)
{
	offline_tree_free(&b->tree);
	b->n = b->nuids = 0;
	b->kept = (struct kept_figures){ 0 };
	b->open = false;
}

static void finish(struct box *b)
{
	struct tally none = { 0 }, *t;

	if (!b->open)
		return;
	b->c->mailboxes++;
	b->c->folders += b->tree.n;
	if (b->dying) {
		forget(b);
		return;
	}
	if (b->kept.count)
		take_kept_figures(b, SPAN_NONE, SPAN_NONE);
	for (size_t i = 0; i < b->n; i++) {
		struct finding f = about(b, FOUND_FOLDER_LOST, NULL);

		pass_over(b, &b->tallies[i], 0);
		if (!offline_folder(&b->tree, b->tallies[i].folder))
			check_tell(b->c, &f,
				   "%u messages of %s are in folder number %u, which is lost",
				   b->tallies[i].count, b->user, b->tallies[i].folder);
	}
	for (size_t i = 0; i < b->tree.n; i++) {
		t = NULL;
		for (size_t k = 0; k < b->n && !t; k++)
			t = b->tallies[k].folder == b->tree.folders[i].number ? &b->tallies[k]
									      : NULL;
		judge_figures(b, &b->tree.folders[i], t ? t : &none);
		judge_place(b, &b->tree.folders[i]);
	}
	judge_mailbox(b);
	forget(b);
}

/* What was left behind by a move or waits to be deleted need not fit to anything. */
static void judge_database(struct box *b, const struct check_owner *o)
{
	struct finding f = about(b, FOUND_MAILBOX_NO_OWNER, NULL);
	bool elsewhere = o->database && o->database != b->db->head.id;

	b->dying = o->purged || elsewhere;
	if (elsewhere && !o->moving && !o->purged)
		check_tell(
			b->c, &f,
			"database %s holds rows of the mailbox of %s, which is said to be in another one",
			b->db->name, b->user);
}

static enum st begin(struct box *b, uint64_t mailbox, struct err *err)
{
	enum st st;

	finish(b);
	st = offline_tree_load(b->db->db, mailbox, &b->tree, err);
	if (st != ST_OK)
		return st;
	offline_owner_name(b->c->o, mailbox, b->user);
	b->open = true;
	b->dying = false;
	for (size_t i = 0; i < b->dir->n; i++)
		if (b->dir->owners[i].mailbox == mailbox)
			judge_database(b, &b->dir->owners[i]);
	return ST_OK;
}

/* ---- all rows ---- */

static enum st take_row(struct box *b, struct span key, struct span value, struct err *err)
{
	struct finding f = { .kind = FOUND_ROW_STRAY, .database = b->db->name };
	struct span rest;
	uint64_t mailbox;
	unsigned kind;
	enum st st = ST_OK;

	b->c->rows++;
	if (!key_box_read(key, &mailbox, &kind, &rest)) {
		check_tell(b->c, &f, "database %s: a row under a key that nothing uses",
			   b->db->name);
		return ST_OK;
	}
	if (!b->open || b->tree.mailbox != mailbox)
		st = begin(b, mailbox, err);
	if (st != ST_OK)
		return st;
	switch (kind) {
	case BOX_ENTRY:
		return take_entry(b, key, rest, value, err);
	case BOX_ITEM:
		return take_item(b, rest, value, err);
	case BOX_VANISHED:
		take_vanished(b, rest, value);
		return ST_OK;
	case BOX_KEPT:
		take_kept(b, key, rest, value);
		return ST_OK;
	case BOX_KEPT_FIGURES:
		take_kept_figures(b, rest, value);
		return ST_OK;
	default:
		take_other(b, kind, rest, value);
		return ST_OK;
	}
}

/* "INBOX UID 7 of alice@..." for a key at the edge of a gap. */
static void edge_text(struct box *b, struct span key, char *out, size_t room)
{
	char user[NAME_BYTES_MAX + 1];
	const struct offline_folder *of = NULL;
	struct span rest;
	uint64_t mailbox;
	unsigned kind;

	if (!key_box_read(key, &mailbox, &kind, &rest)) {
		snprintf(out, room, "the %s", key.len ? "rows before the mailboxes" : "end");
		return;
	}
	offline_owner_name(b->c->o, mailbox, user);
	if (b->open && b->tree.mailbox == mailbox && rest.len >= 4)
		of = offline_folder(&b->tree, key_tail_u32(span_cut(rest, 4)));
	if ((kind == BOX_ENTRY || kind == BOX_ITEM) && rest.len == 8)
		snprintf(out, room, "%s UID %u of %.80s", of ? of->path : "a folder's",
			 key_tail_u32(rest), user);
	else
		snprintf(out, room, "row %02u of %.80s", kind, user);
}

static void tell_gap(struct box *b, const struct look_rows *rows, const struct err *why)
{
	struct finding f = { .kind = FOUND_ROWS_UNREADABLE,
			     .database = b->db->name,
			     .user = b->open ? b->user : NULL };
	struct span last, next;
	char from[200], to[200];

	look_rows_gap(rows, &last, &next);
	edge_text(b, last, from, sizeof from);
	edge_text(b, next, to, sizeof to);
	check_tell(b->c, &f, "database %s: rows between %.80s and %.80s can't be read: %.100s",
		   b->db->name, from, to, why->text);
	b->db->gaps++;
}

enum st check_mail(struct store_check *c, struct check_db *db, const struct check_directory *dir,
		   struct err *err)
{
	struct box b = { .c = c, .db = db, .dir = dir };
	struct span key, value;
	struct look_rows *rows;
	struct err why = { 0 };
	enum st st = look_rows_new(db->db, SPAN("\x20"), SPAN_NONE, &rows, err);

	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, &why)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT) {
			tell_gap(&b, rows, &why);
			continue;
		}
		st = take_row(&b, key, value, err);
		if (st != ST_OK)
			break;
	}
	look_rows_free(rows);
	if (st == ST_EOF)
		finish(&b);
	else if (err && !err->text[0])
		*err = why;
	st = st == ST_EOF ? ST_OK : st;
	offline_tree_free(&b.tree);
	free(b.tallies);
	free(b.uids);
	return st;
}
