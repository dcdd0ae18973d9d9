#include "store/change.h"
#include "store/directory.h"
#include "store/index.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/watch.h"

#include <assert.h>
#include <stdlib.h>

#define MAILBOXES_KEPT     4096               /* idle or not, of a loop */
#define OLD_DELIVERY_S     (7 * 24 * 60 * 60) /* beyond queue_expire_s */
#define OLD_DELIVERIES_MAX 1000               /* dropped at a time */

/* What a mailbox is born with; the first is FOLDER_INBOX. */
static const struct {
	const char *name, *special;
} standard_folders[] = {
	{ "INBOX", "" },
	{ "Drafts", "\\Drafts" },
	{ "Sent Items", "\\Sent" },
	{ "Deleted Items", "\\Trash" },
	{ "Junk Email", "\\Junk" },
	{ "Outbox", "" },
};
#define STANDARD_FOLDERS (sizeof(standard_folders) / sizeof(standard_folders[0]))

void mailbox_row(const struct mailbox *mb, struct buf *out)
{
	struct pw w;

	pw_begin(&w, out, 3);
	pw_u32(&w, PR_NEXT_FOLDER, mb->next_folder);
	pw_u32(&w, PR_UIDVALIDITY, mb->uidvalidity);
	pw_u64(&w, PR_CHANGE_NUM, mb->cn);
	pw_end(&w);
}

/* ---- loading, on a pool thread: nobody else touches the mailbox yet ---- */

static enum st load_figures(struct mailbox *mb, struct ese_db *db, struct folder *f,
			    struct err *err)
{
	struct ese_value row;
	struct key k;
	enum st st = ese_get(db, key_folder(&k, mb->id, BOX_FIGURES, f->number), &row, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_CORRUPT, "folder %u of mailbox %llu has no figures", f->number,
			    (unsigned long long)mb->id);
	if (st != ST_OK)
		return st;
	st = figures_read(row.bytes, &f->now, err);
	ese_value_free(&row);
	f->seen = f->now;
	mb->size += f->now.size;
	if (f->now.cn > mb->cn)
		mb->cn = f->now.cn;
	return st;
}

static enum st load_keywords(struct folder *f, const struct plist *l, struct err *err)
{
	size_t n = plist_mv_count(l, PR_KEYWORDS);

	for (size_t i = 0; i < n && i < KEYWORDS_MAX; i++) {
		struct span word = plist_mv_span(l, PR_KEYWORDS, i);

		f->keywords[i] = strndup(word.at, word.len);
		if (!f->keywords[i])
			return fail(err, ST_NOMEM, "out of memory");
		f->nkeywords++;
	}
	return ST_OK;
}

static enum st load_folder(struct mailbox *mb, struct ese_db *db, struct span key,
			   struct span value, struct err *err)
{
	struct span special;
	struct folder *f;
	struct plist l;
	enum st st = row_open(value, "a folder", &l, err);

	if (st != ST_OK)
		return st;
	f = folder_room(mb, 1)
		    ? folder_make(mb, key_tail_u32(key), (uint32_t)plist_u64(&l, PR_PARENT_FID, 0),
				  plist_span(&l, PR_DISPLAY_NAME))
		    : NULL;
	if (!f)
		return fail(err, ST_NOMEM, "out of memory");
	folder_enter(mb, f);
	f->uidvalidity = plist_u32(&l, PR_UIDVALIDITY, 0);
	f->created = (int64_t)plist_u64(&l, PR_CREATION_TIME, 0);
	f->noselect = plist_bool(&l, PR_NOSELECT, false);
	special = plist_span(&l, PR_SPECIAL_USE);
	if (special.len) {
		free(f->special);
		f->special = strndup(special.at, special.len);
		if (!f->special)
			return fail(err, ST_NOMEM, "out of memory");
	}
	st = load_keywords(f, &l, err);
	return st == ST_OK ? load_figures(mb, db, f, err) : st;
}

static enum st load_folders(struct mailbox *mb, struct ese_db *db, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_box(&to, mb->id, BOX_FOLDER);
	st = ese_iter_new(db, key_box(&from, mb->id, BOX_FOLDER), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		st = load_folder(mb, db, key, value, err);
		if (st != ST_OK)
			break;
	}
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

static enum st load_kept(struct mailbox *mb, struct ese_db *db, struct err *err)
{
	struct ese_value row;
	struct key k;
	enum st st = ese_get(db, key_box(&k, mb->id, BOX_KEPT_FIGURES), &row, err);

	if (st != ST_OK)
		return st == ST_NOTFOUND ? ST_OK : st;
	st = kept_figures_read(row.bytes, &mb->kept, err);
	ese_value_free(&row);
	return st;
}

/* ST_NOTFOUND: it was never used (mb->next_folder = 1). */
static enum st load_mailbox(struct mailbox *mb, struct ese_db *db, struct err *err)
{
	struct ese_value row;
	struct plist l;
	struct key k;
	enum st st = ese_get(db, key_box(&k, mb->id, BOX_MAILBOX), &row, err);

	if (st == ST_NOTFOUND) {
		mb->next_folder = 1;
		return fail(err, ST_NOTFOUND, "mailbox %llu was never used",
			    (unsigned long long)mb->id);
	}
	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "a mailbox", &l, err);
	if (st == ST_OK) {
		mb->next_folder = plist_u32(&l, PR_NEXT_FOLDER, 1);
		mb->uidvalidity = plist_u32(&l, PR_UIDVALIDITY, 0);
		mb->cn = plist_u64(&l, PR_CHANGE_NUM, 0);
	}
	ese_value_free(&row);
	if (st == ST_OK)
		st = load_kept(mb, db, err);
	return st == ST_OK ? load_folders(mb, db, err) : st;
}

/* ---- deliveries of long ago ---- */

static bool is_older(struct span row, int64_t time)
{
	struct err ignored;
	struct plist l;

	return row_open(row, "a delivery", &l, &ignored) != ST_OK ||
	       (int64_t)plist_u64(&l, PR_CREATION_TIME, 0) < time;
}

static void dropped(void *arg)
{
	(void)arg;
}

/* A row "delivered" is there until the transport says that it will not deliver that message again.  Where a crash
 * swallowed that word the row would stay for ever; but no message is tried for longer than queue_expire_s. */
static enum st drop_old_deliveries(const struct mailbox *mb, struct ese_db *db, int64_t before,
				   struct err *err)
{
	struct ese_batch *b = NULL;
	struct span key, row;
	struct ese_iter *it;
	struct key from, to;
	unsigned n = 0;
	enum st st;

	key_box(&to, mb->id, BOX_DELIVERED);
	st = ese_iter_new(db, key_box(&from, mb->id, BOX_DELIVERED), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while (st == ST_OK && n < OLD_DELIVERIES_MAX &&
	       (st = ese_iter_next(it, &key, &row, err)) == ST_OK) {
		if (!is_older(row, before))
			continue;
		if (!b)
			st = ese_batch_new(db, mb->id, &b, err);
		if (st == ST_OK)
			ese_delete(b, key);
		n++;
	}
	ese_iter_free(it);
	if (b)
		st = ese_commit(b, dropped, NULL, err);
	return st == ST_EOF ? ST_OK : st;
}

/* What the directory says of it. */
static enum st load_owner(struct mailbox *mb, const struct store *s, struct err *err)
{
	struct user u;
	enum st st = directory_owner(s, mb->id, &u, err);

	mb->disconnected = st == ST_OK && u.removed;
	if (st == ST_OK)
		quota_limits(s, &u, mb->quota);
	return st;
}

struct load {
	struct mailbox *mb;
	enum st st;
};

static void load_run(void *arg)
{
	struct load *l = arg;
	struct store *s = l->mb->shard->store;
	int64_t kept = (config_int(s->conf, "queue_expire_s") + OLD_DELIVERY_S) * NS_PER_SEC;
	struct err ignored;

	l->st = database_of_mailbox(s, l->mb->id, &l->mb->db, &l->mb->load_error);
	if (l->st != ST_OK) {
		l->mb->db = NULL;
		return;
	}
	l->st = load_owner(l->mb, s, &l->mb->load_error);
	if (l->st == ST_OK)
		l->st = load_mailbox(l->mb, l->mb->db->ese, &l->mb->load_error);
	l->mb->no_send = quota_over(l->mb, QUOTA_SEND);
	l->mb->full = quota_over(l->mb, QUOTA_RECEIVE);
	/* Where this fails (a full disk) the rows stay until the next time: they do no harm. */
	if (l->st == ST_OK)
		(void)!drop_old_deliveries(l->mb, l->mb->db->ese, clock_real() - kept, &ignored);
}

/* ---- a new one ---- */

static enum st make_standard(struct mailbox *mb, struct change *c, struct err *err)
{
	if (!folder_room(mb, STANDARD_FOLDERS))
		return fail(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < STANDARD_FOLDERS; i++) {
		struct folder *f =
			folder_make(mb, mb->next_folder, 0, span_str(standard_folders[i].name));

		if (!f)
			return fail(err, ST_NOMEM, "out of memory");
		folder_enter(mb, f);
		free(f->special);
		f->special = strdup(standard_folders[i].special);
		if (!f->special)
			return fail(err, ST_NOMEM, "out of memory");
		f->created = clock_real();
		f->uidvalidity = mb->uidvalidity = mailbox_uidvalidity(mb);
		f->seen = f->now;
		mb->next_folder++;
		change_new_folder(c, f);
	}
	change_mailbox(c);
	return ST_OK;
}

static enum st mailbox_create(struct mailbox *mb, struct err *err)
{
	struct change c;
	enum st st = change_begin(&c, mb, err);

	if (st != ST_OK)
		return st;
	st = make_standard(mb, &c, err);
	if (st == ST_OK)
		st = change_commit(&c, err);
	if (st == ST_OK)
		change_wait(&c);
	else
		change_abandon(&c);
	return st;
}

/* ---- the table ---- */

static void mailbox_free(struct mailbox *mb)
{
	struct shard *sh = mb->shard;

	if (mb->state != BOX_FAILED) {
		hmap_remove(&sh->mailboxes, &mb->node);
		sh->mailboxes_loaded = sh->mailboxes.count;
	}
	link_cut(&mb->used);
	for (size_t i = 0; i < mb->nfolders; i++)
		folder_free(mb->folders[i]);
	free(mb->folders);
	if (mb->db)
		database_release(mb->db);
	free(mb);
}

void mailbox_put(struct mailbox *mb)
{
	assert(mb->refs);
	if (--mb->refs)
		return;
	if (mb->state == BOX_FAILED)
		mailbox_free(mb);
	else if (purge_is_on(mb->shard, mb->id))
		purge_wake(mb->shard, mb->id);
	else if (mb->id == mb->shard->store->moving && mb->shard->mover)
		fiber_wake(mb->shard->mover);
	else if (!database_is_up(mb->db))
		mailbox_free(mb);
	else
		mailboxes_trim(mb->shard);
}

/* ---- leaving ---- */

struct leaving {
	struct shard *sh;
	const struct database *db;
	uint64_t mailbox; /* 0: all of db */
};

static void leave_one(void *arg, struct hnode *n)
{
	const struct leaving *l = arg;
	struct mailbox *mb = HNODE_OF(struct mailbox, node, n);

	if (mb->db == l->db && mb->state == BOX_READY && !mb->refs)
		mailbox_free(mb);
}

/* Does the folder's mailbox, as far as this loop knows, leave? */
static bool leaves(void *arg, uint64_t fid)
{
	const struct leaving *l = arg;
	struct hnode *n;

	if (l->mailbox)
		return fid >> 32 == l->mailbox;
	n = hmap_get(&l->sh->mailboxes, fid >> 32);
	return !n || HNODE_OF(struct mailbox, node, n)->db == l->db;
}

void mailboxes_leave(struct shard *sh, const struct database *db)
{
	struct leaving l = { .sh = sh, .db = db };

	watch_stir(sh, leaves, &l);
	hmap_each(&sh->mailboxes, leave_one, &l);
}

void mailbox_tell_sessions(struct shard *sh, uint64_t id)
{
	struct leaving l = { .sh = sh, .mailbox = id };

	watch_stir(sh, leaves, &l);
}

bool mailbox_forget(struct shard *sh, uint64_t id)
{
	struct hnode *n = hmap_get(&sh->mailboxes, id);

	if (!n)
		return true;
	if (HNODE_OF(struct mailbox, node, n)->refs)
		return false;
	mailbox_free(HNODE_OF(struct mailbox, node, n));
	return true;
}

void mailboxes_trim(struct shard *sh)
{
	struct link *list = &sh->mailboxes_used, *l = list->prev;

	while (l != list && sh->mailboxes.count > MAILBOXES_KEPT) {
		struct mailbox *mb = HNODE_OF(struct mailbox, used, l);

		l = l->prev;
		if (!mb->refs && !mb->maildrop_logon)
			mailbox_free(mb);
	}
}

static enum st mailbox_load(struct shard *sh, uint64_t id, struct mailbox **out, struct err *err)
{
	struct mailbox *mb = calloc(1, sizeof *mb);
	struct load l = { .mb = mb };

	if (!mb || !hmap_put(&sh->mailboxes, &mb->node, id)) {
		free(mb);
		return fail(err, ST_NOMEM, "out of memory");
	}
	mb->shard = sh;
	mb->id = id;
	mb->refs = 1;
	work_run(load_run, &l);
	if (l.st == ST_NOTFOUND && mb->next_folder)
		l.st = mailbox_create(mb, &mb->load_error);
	if (l.st == ST_OK) {
		mb->state = BOX_READY;
		link_push(&sh->mailboxes_used, &mb->used);
		sh->mailboxes_loaded = sh->mailboxes.count;
	} else {
		mb->state = BOX_FAILED;
		hmap_remove(&sh->mailboxes, &mb->node);
	}
	fiber_queue_wake_all(&mb->wake);
	*out = mb;
	return ST_OK;
}

enum st mailbox_get(struct shard *sh, uint64_t id, struct mailbox **out, struct err *err)
{
	struct hnode *n = hmap_get(&sh->mailboxes, id);
	struct mailbox *mb = NULL;
	enum st st;

	if (id == sh->store->moving)
		return fail(err, ST_GONE, "the mailbox is being moved; try again later");
	if (n && HNODE_OF(struct mailbox, node, n)->state == BOX_READY) {
		mb = HNODE_OF(struct mailbox, node, n);
		if (!database_is_up(mb->db))
			return fail(err, ST_GONE, "the database %s/%s is %s; try again later",
				    mb->db->group->name, mb->db->name,
				    database_state_name(mb->db->state));
	}
	if (purge_is_on(sh, id))
		return fail(err, ST_NOTFOUND, "there is no mailbox %llu", (unsigned long long)id);
	if (n) {
		mb = HNODE_OF(struct mailbox, node, n);
		mb->refs++;
		while (mb->state == BOX_LOADING)
			fiber_queue_wait(&mb->wake, NO_DEADLINE);
	} else {
		st = mailbox_load(sh, id, &mb, err);
		if (st != ST_OK)
			return st;
	}
	if (mb->state == BOX_FAILED) {
		st = fail(err, mb->load_error.st, "%s", mb->load_error.text);
		mailbox_put(mb);
		return st;
	}
	link_cut(&mb->used);
	link_push(&sh->mailboxes_used, &mb->used);
	*out = mb;
	return ST_OK;
}

static void end_any(void *arg, struct hnode *n)
{
	(void)arg;
	mailbox_free(HNODE_OF(struct mailbox, node, n));
}

void mailboxes_end(struct shard *sh)
{
	hmap_each(&sh->mailboxes, end_any, NULL);
}
