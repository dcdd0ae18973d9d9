/* expop.c - the POP3 maildrop: INBOX, held by one session at a time. */
#include "store/eximap.h"
#include "store/item.h"

/* INBOX and its index; with `held` only for the logon that opened the maildrop. */
static enum st maildrop(struct call *c, bool held, struct err *err)
{
	const struct logon *l;
	struct folder *inbox;
	enum st st = call_mailbox(c, err);

	if (st != ST_OK)
		return st;
	if (held && c->mb->maildrop_logon != c->logon)
		return fail(err, ST_DENIED, "the maildrop is not open");
	inbox = folder_by_number(c->mb, FOLDER_INBOX);
	if (!inbox)
		return fail(err, ST_CORRUPT, "the mailbox has no INBOX");
	st = logon_find(c->shard, c->rq->binding_id, c->logon, &l, err);
	if (st == ST_OK)
		st = rights_check(l, folder_fid(inbox), RIGHT_READ | RIGHT_WRITE, err);
	if (st != ST_OK)
		return st;
	c->folder = folder_hold(inbox);
	return index_get(inbox, &c->ix, err);
}

/* As RETR sends it: with the end of the last line. */
static uint64_t octets(const struct entry *e)
{
	return (uint64_t)e->size + (e->flags & ENTRY_OPEN_END ? 2 : 0);
}

static enum st put_maildrop(struct call *c, struct wire_rows_out *rows)
{
	struct folder_index *ix = c->ix;
	uint32_t uid = 1;
	struct pw w;
	enum st st;

	wire_row_begin(rows, &w, 2);
	pw_u64(&w, PR_FID, folder_fid(c->folder));
	pw_u32(&w, PR_UIDVALIDITY, c->folder->uidvalidity);
	st = wire_row_end(rows, &w);
	while (st == ST_OK) {
		size_t i = index_from(ix, uid);

		if (i == ix->n || ix->at[i].uid >= c->folder->seen.uidnext)
			break;
		uid = ix->at[i].uid + 1;
		wire_row_begin(rows, &w, 2);
		pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, ix->at[i].uid);
		pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, octets(&ix->at[i]));
		st = wire_row_end(rows, &w);
	}
	return st;
}

enum st serve_POP_OPEN(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	const struct logon *l;
	enum st st = maildrop(c, false, err);

	if (st != ST_OK)
		return st;
	folder_settle(c->folder);
	/* It may have ended meanwhile, and then nobody would give the maildrop back. */
	st = logon_find(c->shard, c->rq->binding_id, c->logon, &l, err);
	if (st != ST_OK)
		return st;
	if (c->mb->maildrop_logon && c->mb->maildrop_logon != c->logon)
		return fail(err, ST_BUSY, "another session holds the maildrop");
	c->mb->maildrop_logon = c->logon;
	wire_rows_begin(&rows, c->rq);
	st = put_maildrop(c, &rows);
	return call_rows_end(c, &rows, st, err);
}

enum st serve_POP_RETR(struct call *c, struct err *err)
{
	uint32_t uid = plist_u32(&c->in, PR_INTERNET_ARTICLE_NUMBER, 0);
	struct wire_rows_out rows;
	struct items items;
	struct plist item;
	struct pw w;
	enum st st = maildrop(c, true, err);

	if (st != ST_OK)
		return st;
	if (!index_find(c->ix, uid) || uid >= c->folder->seen.uidnext)
		return fail(err, ST_NOTFOUND, "there is no message %u", uid);
	items_begin(&items, c->folder);
	wire_rows_begin(&rows, c->rq);
	item_pin_rows(&rows, c->mb->db);
	wire_row_begin(&rows, &w, 5);
	st = items_get(&items, uid, uid, &item, err);
	if (st == ST_OK)
		st = item_put_body(c->mb->db, &w, &item, err);
	if (st == ST_OK) {
		pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, octets(index_find(c->ix, uid)));
		pw_bool(&w, PR_HAS_DOT_LINES, plist_bool(&item, PR_HAS_DOT_LINES, false));
		st = wire_row_end(&rows, &w);
	} else {
		wire_row_drop(&rows);
	}
	if (st == ST_NOTFOUND)
		st = fail(err, st, "there is no message %u", uid);
	items_end(&items);
	return call_rows_end(c, &rows, st, err);
}

static void maildrop_close(struct call *c)
{
	if (c->mb->maildrop_logon == c->logon)
		c->mb->maildrop_logon = 0;
}

enum st serve_POP_UPDATE(struct call *c, struct err *err)
{
	struct uset uids = { 0 }, gone = { 0 };
	enum st st = maildrop(c, true, err);

	if (st == ST_OK)
		st = call_uids(c, PR_UIDS, &uids, err);
	if (st != ST_OK)
		return st;
	st = expunge_uids(c->folder, c->ix, &uids, true, &gone, err);
	maildrop_close(c);
	if (st == ST_OK)
		put_uids(call_reply(c, 1), PR_UIDS, &gone);
	uset_free(&uids);
	uset_free(&gone);
	return st;
}

enum st serve_POP_CLOSE(struct call *c, struct err *err)
{
	enum st st = call_mailbox(c, err);

	if (st == ST_OK)
		maildrop_close(c);
	return st;
}
