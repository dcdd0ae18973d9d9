/* eximap_fetch.c - what messages are: flags, envelopes, structures, where their bodies lie.
 *
 * Flags, sizes and dates come from the index; the rest from rows BOX_ITEM, read in one scan where a
 * run of UIDs is asked for.  A body is never opened: the reply carries its scatter list, and holds a pin. */
#include "store/eximap.h"
#include "store/item.h"

#include <stdlib.h>

#define ITEM_WANTS (WANT_ENVELOPE | WANT_STRUCTURE | WANT_BODY)
#define SCAN_LEAST 8 /* UIDs in a run that are worth a scan */

struct fetch {
	struct call *c;
	unsigned want;
	struct items items; /* rows BOX_ITEM, one after another */
	struct wire_rows_out rows;
	struct err damaged; /* the first body that is; the others are fetched all the same */
};

static void put_entry(struct fetch *f, struct pw *w, const struct entry *e)
{
	pw_u32(w, PR_INTERNET_ARTICLE_NUMBER, e->uid);
	if (f->want & WANT_FLAGS) {
		pw_u32(w, PR_IMAP_FLAGS, e->flags & MF_ALL);
		put_keywords(w, f->c->folder, e->keywords);
		pw_u64(w, PR_CHANGE_NUM, e->cn);
	}
	if (f->want & WANT_DATE)
		pw_u64(w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)e->date);
	if (f->want & (WANT_SIZE | WANT_BODY))
		pw_u64(w, PR_MESSAGE_SIZE_EXTENDED, e->size);
}

static enum st put_item(struct fetch *f, struct pw *w, const struct plist *item, struct err *err)
{
	if (f->want & WANT_ENVELOPE)
		pw_copy(w, item, PR_IMAP_ENVELOPE);
	if (f->want & WANT_STRUCTURE)
		pw_copy(w, item, PR_MIME_STRUCTURE);
	return f->want & WANT_BODY ? item_put_body(f->c->mb->db, w, item, err) : ST_OK;
}

/* ST_NOTFOUND: it vanished meanwhile. */
static enum st fetch_one(struct fetch *f, uint32_t uid, uint32_t last, struct err *err)
{
	struct folder *folder = f->c->folder;
	const struct entry *e = index_find(f->c->ix, uid);
	struct plist item;
	struct pw w;
	enum st st = ST_OK;

	/* Nobody is told flags that a crash could take back. */
	while (e && (f->want & WANT_FLAGS) && e->cn > folder->seen.cn) {
		folder_wait_cn(folder, e->cn);
		e = index_find(f->c->ix, uid);
	}
	if (!e)
		return ST_NOTFOUND;
	/* The row is begun before the body is looked up, because with it comes the pin. */
	wire_row_begin(&f->rows, &w, 12);
	put_entry(f, &w, e);
	if (f->want & ITEM_WANTS) {
		st = items_get(&f->items, uid, last, &item, err);
		if (st == ST_OK)
			st = put_item(f, &w, &item, err);
	}
	if (st != ST_OK) {
		wire_row_drop(&f->rows);
		return st;
	}
	return wire_row_end(&f->rows, &w);
}

static enum st fetch_run(struct fetch *f, struct urun run, struct err *err)
{
	uint32_t visible = f->c->folder->seen.uidnext;
	struct folder_index *ix = f->c->ix;
	struct err why = { 0 };
	enum st st = ST_OK;

	if (run.last >= visible)
		run.last = visible - 1;
	for (size_t i = index_from(ix, run.first); i < ix->n && ix->at[i].uid <= run.last;
	     i = index_from(ix, run.first)) {
		uint32_t uid = ix->at[i].uid;

		st = fetch_one(f, uid, run.last - uid >= SCAN_LEAST ? run.last : uid, &why);
		if (st == ST_CORRUPT && f->damaged.st == ST_OK)
			fail(&f->damaged, st, "message UID %u can't be read: %.200s", uid,
			     why.text);
		else if (st != ST_OK && st != ST_NOTFOUND && st != ST_CORRUPT)
			return fail(err, st, "%s", why.text);
		if (uid == UINT32_MAX)
			break;
		run.first = uid + 1;
	}
	return ST_OK;
}

/* Set \Seen where it is not yet. */
static enum st set_seen(struct call *c, const struct uset *uids, struct err *err)
{
	struct flag_change fc = { .mode = STORE_ADD,
				  .flags = MF_SEEN,
				  .unchanged_since = UINT64_MAX,
				  .since = UINT64_MAX };
	struct uset failed = { 0 };
	enum st st;

	folder_ready(c->folder);
	st = flags_change(c, uids, &fc, &failed, err);
	uset_free(&failed);
	return st;
}

enum st serve_IMAP_FETCH(struct call *c, struct err *err)
{
	bool seen = plist_bool(&c->in, PR_SET_SEEN, false);
	struct fetch f = { .c = c, .want = plist_u32(&c->in, PR_WANT, 0) };
	struct uset uids = { 0 };
	enum st st = call_index(c, seen ? RIGHT_WRITE : RIGHT_READ, err);

	if (st == ST_OK)
		st = call_uids(c, PR_UIDS, &uids, err);
	if (st != ST_OK)
		return st;
	if (seen) {
		f.want |= WANT_FLAGS;
		st = set_seen(c, &uids, err);
	}
	items_begin(&f.items, c->folder);
	wire_rows_begin(&f.rows, c->rq);
	if (f.want & WANT_BODY)
		item_pin_rows(&f.rows, c->mb->db);
	for (uint32_t i = 0; i < uids.nruns && st == ST_OK; i++)
		st = fetch_run(&f, uids.runs[i], err);
	if (st == ST_OK && f.damaged.st != ST_OK)
		st = fail(err, f.damaged.st, "%s", f.damaged.text);
	items_end(&f.items);
	uset_free(&uids);
	return call_rows_end(c, &f.rows, st, err);
}
