/* exrestore.c - the administrator puts messages back that were taken out of a backup. */
#include "store/call.h"
#include "store/content.h"
#include "store/item.h"
#include "store/tree.h"

static enum st find_mailbox(struct call *c, struct err *err)
{
	uint64_t id = plist_u64(&c->in, PR_MAILBOX_ID, 0);

	if (shard_of(c->store, id) != c->shard)
		return fail(err, ST_BAD, "mailbox %llu belongs to another loop",
			    (unsigned long long)id);
	return mailbox_get(c->shard, id, &c->mb, err);
}

/* ---- what is there ---- */

static enum st tell_message(struct wire_rows_out *rows, const struct entry *e,
			    const struct plist *item)
{
	struct pw w;

	wire_row_begin(rows, &w, 4);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, e->uid);
	pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, e->size);
	pw_u64(&w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)e->date);
	pw_copy(&w, item, PR_INTERNET_MESSAGE_ID);
	return wire_row_end(rows, &w);
}

/* Positions in the index move while a row is sent: it goes by UIDs. */
static enum st tell_messages(struct call *c, struct wire_rows_out *rows, struct err *err)
{
	uint32_t next = c->folder->seen.uidnext;
	struct items items;
	enum st st = ST_OK;
	size_t i = 0;

	items_begin(&items, c->folder);
	while (st == ST_OK && i < c->ix->n && c->ix->at[i].uid < next) {
		struct entry e = c->ix->at[i];
		struct plist item;

		st = items_get(&items, e.uid, next - 1, &item, err);
		if (st == ST_OK)
			st = tell_message(rows, &e, &item);
		if (st == ST_NOTFOUND) /* it vanished meanwhile */
			st = ST_OK;
		i = index_from(c->ix, e.uid + 1);
	}
	items_end(&items);
	return st;
}

enum st serve_ADM_MESSAGES(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	struct folder *f;
	struct pw w;
	enum st st = find_mailbox(c, err);

	if (st != ST_OK)
		return st;
	f = folder_by_path(c->mb, plist_span(&c->in, PR_FOLDER_PATH), true);
	if (!f)
		return fail(err, ST_NOTFOUND, "there is no such folder");
	c->folder = folder_hold(f);
	st = index_get(f, &c->ix, err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	wire_row_begin(&rows, &w, 2);
	pw_u32(&w, PR_UIDVALIDITY, f->uidvalidity);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER_NEXT, f->seen.uidnext);
	st = wire_row_end(&rows, &w);
	if (st == ST_OK)
		st = tell_messages(c, &rows, err);
	return call_rows_end(c, &rows, st, err);
}

/* ---- putting one back ---- */

/* The folder of the path, made when it is not there. */
static enum st find_folder(struct call *c, struct err *err)
{
	struct span path = plist_span(&c->in, PR_FOLDER_PATH);
	struct folder *f = folder_by_path(c->mb, path, true);
	enum st st = ST_OK;

	if (!f)
		st = tree_create(c->mb, path, plist_span(&c->in, PR_SPECIAL_USE), &f, err);
	if (st == ST_EXISTS) /* somebody else was first */
		f = folder_by_path(c->mb, path, true);
	if (!f)
		return st == ST_EXISTS ? ST_NOTFOUND : st;
	c->folder = folder_hold(f);
	return ST_OK;
}

/* The UID that the message had is free when the numbers are the same ones (the folder's UIDVALIDITY, or a folder
 * that never had a message) and it was not yet given out: RFC 3501 2.3.1.1 lets UIDs only ascend. */
static uint32_t uid_wanted(const struct call *c, const struct folder *f)
{
	uint32_t uid = plist_u32(&c->in, PR_INTERNET_ARTICLE_NUMBER, 0);
	bool same = plist_u32(&c->in, PR_UIDVALIDITY, 0) == f->uidvalidity || f->now.uidnext == 1;

	return same && uid >= f->now.uidnext && uid < UINT32_MAX ? uid : 0;
}

static enum st add(struct call *c, struct content *content, struct err *err)
{
	struct folder *f = c->folder;

	folder_ready(f);
	if (f->gone || f->noselect)
		return fail(err, ST_NOTFOUND, "the folder was deleted");
	return call_put_message(c, f, content, uid_wanted(c, f), err);
}

enum st serve_ADM_RESTORE(struct call *c, struct err *err)
{
	struct content *content;
	uint64_t mailbox = plist_u64(&c->in, PR_MAILBOX_ID, 0);
	enum st st = content_of_request(c->shard, c->rq, &c->in, &mailbox, 1, &content, err);

	if (st != ST_OK)
		return st;
	st = find_mailbox(c, err);
	if (st == ST_OK)
		st = find_folder(c, err);
	if (st == ST_OK)
		st = add(c, content, err);
	content_drop(content);
	return st;
}
