/* expunge.c - messages that vanish. */
#include "store/change.h"
#include "store/eximap.h"
#include "store/keep.h"

#include <stdlib.h>

#define PIECE     500 /* messages of one commit */
#define IN_FLIGHT 4   /* commits that are queued before one of them is waited for */

enum st vanish_prepare(struct change *c, struct folder *f, const struct uset *uids, uint64_t *cn,
		       struct err *err)
{
	struct figures *fig = change_figures(c, f);
	size_t drop = index_vanished_over(f->ix);
	struct buf row = BUF_MAX(ESE_VALUE_MAX);
	struct key k;
	enum st st = index_reserve(f->ix, 0, err);

	if (st != ST_OK)
		return st;
	for (size_t i = 0; i < drop; i++) {
		uint64_t old = f->ix->vanished[i].cn;

		ese_delete(c->batch, key_vanished(&k, f->mb->id, f->number, old));
		fig->vanished_from = old;
	}
	*cn = change_number(c, fig);
	uset_write(uids, &row);
	if (row.failed)
		st = fail(err, ST_NOMEM, "out of memory");
	else
		change_put(c, key_vanished(&k, f->mb->id, f->number, *cn), &row);
	buf_free(&row);
	return st;
}

/* Its rows go; its link to the body goes too, or to the row of what is kept. */
static enum st delete_message(struct change *c, struct folder *f, const struct entry *e,
			      struct keeping *keeping, struct err *err)
{
	struct figures *fig = change_figures(c, f);
	struct ese_value row;
	struct plist l;
	struct key k;
	enum st st = ese_get(f->mb->db->ese,
			     key_message(&k, f->mb->id, BOX_ITEM, f->number, e->uid), &row, err);

	if (st == ST_NOTFOUND)
		st = fail(err, ST_CORRUPT, "message %u of folder %u has lost a row", e->uid,
			  f->number);
	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "a message", &l, err);
	if (st == ST_OK && keeping)
		st = keeping_put(keeping, c, e, &l, err);
	else if (st == ST_OK)
		ese_unlink(c->batch, plist_u64(&l, PR_BODY_ID, 0));
	if (st == ST_OK) {
		ese_delete(c->batch, key_message(&k, f->mb->id, BOX_ITEM, f->number, e->uid));
		ese_delete(c->batch, key_message(&k, f->mb->id, BOX_ENTRY, f->number, e->uid));
		fig->count--;
		fig->size -= e->size;
		if (!(e->flags & MF_SEEN))
			fig->unread--;
	}
	ese_value_free(&row);
	return st;
}

/* The next PIECE at most; *uid moves on, 0 at the end. */
static enum st build_piece(struct change *c, struct folder *f, struct folder_index *ix,
			   const struct uset *uids, uint32_t *uid, struct keeping *keeping,
			   struct uset *piece, struct err *err)
{
	uint32_t visible = f->seen.uidnext;
	size_t i = index_from(ix, *uid), n = 0;
	enum st st = ST_OK;

	for (; i < ix->n && ix->at[i].uid < visible && n < PIECE && !change_full(c) && st == ST_OK;
	     i++) {
		*uid = ix->at[i].uid + 1;
		if (!uset_has(uids, ix->at[i].uid))
			continue;
		st = delete_message(c, f, &ix->at[i], keeping, err);
		if (st == ST_OK && uset_add(piece, ix->at[i].uid, ix->at[i].uid) != ST_OK)
			st = fail(err, ST_NOMEM, "out of memory");
		n++;
	}
	if (i == ix->n || ix->at[i].uid >= visible)
		*uid = 0;
	return st;
}

/* Queues it; *queued says whether there was anything. */
static enum st queue_piece(struct change *c, struct folder *f, struct folder_index *ix,
			   const struct uset *uids, uint32_t *uid, struct keeping *keeping,
			   struct uset *gone, bool *queued, struct err *err)
{
	struct uset piece = { 0 };
	uint64_t cn;
	enum st st = change_begin(c, f->mb, err);

	*queued = false;
	if (st != ST_OK)
		return st;
	st = build_piece(c, f, ix, uids, uid, keeping, &piece, err);
	if (st == ST_OK && piece.count)
		st = vanish_prepare(c, f, &piece, &cn, err);
	if (st == ST_OK && uset_or_into(gone, &piece) != ST_OK)
		st = fail(err, ST_NOMEM, "out of memory");
	if (st != ST_OK || !piece.count) {
		change_abandon(c);
		uset_free(&piece);
		return st;
	}
	st = change_commit(c, err);
	*queued = st == ST_OK;
	if (st == ST_OK) {
		index_vanished_drop(ix, index_vanished_over(ix));
		index_vanish(ix, cn, &piece);
	}
	uset_free(&piece);
	return st;
}

/* `wait`: until it is durable, and with it what was queued before. */
static enum st expunge_piece(struct folder *f, struct folder_index *ix, const struct uset *uids,
			     uint32_t *uid, struct keeping *keeping, bool wait, struct uset *gone,
			     struct err *err)
{
	struct change *c = malloc(sizeof *c);
	bool queued;
	enum st st;

	if (!c)
		return fail(err, ST_NOMEM, "out of memory");
	st = queue_piece(c, f, ix, uids, uid, keeping, gone, &queued, err);
	if (queued && !wait) {
		change_detach(c);
		fiber_yield();
		return st;
	}
	if (queued)
		change_wait(c);
	free(c);
	return st;
}

enum st expunge_uids(struct folder *f, struct folder_index *ix, const struct uset *uids, bool keep,
		     struct uset *gone, struct err *err)
{
	uint32_t uid = uset_next(uids, 1);
	struct keeping keeping;
	enum st st = ST_OK;

	keep = keep && keep_is_on(f->mb->shard->store);
	keeping_begin(&keeping, f);
	for (unsigned n = 1; uid && st == ST_OK; n++) {
		if (f->gone)
			st = fail(err, ST_NOTFOUND, "the folder was deleted");
		else
			st = expunge_piece(f, ix, uids, &uid, keep ? &keeping : NULL,
					   n % IN_FLIGHT == 0, gone, err);
	}
	folder_settle(f);
	keeping_end(&keeping);
	return st;
}

/* Those of the request (or all) that are marked deleted. */
static enum st find_deleted(const struct call *c, struct uset *out, struct err *err)
{
	bool all = !plist_has(&c->in, PR_UIDS);
	struct uset uids = { 0 };
	enum st st = all ? ST_OK : call_uids(c, PR_UIDS, &uids, err);

	for (size_t i = 0; i < c->ix->n && st == ST_OK; i++) {
		const struct entry *e = &c->ix->at[i];

		if ((e->flags & MF_DELETED) && (all || uset_has(&uids, e->uid)) &&
		    uset_add(out, e->uid, e->uid) != ST_OK)
			st = fail(err, ST_NOMEM, "out of memory");
	}
	uset_free(&uids);
	return st;
}

enum st serve_IMAP_EXPUNGE(struct call *c, struct err *err)
{
	struct uset deleted = { 0 }, gone = { 0 };
	struct pw *w;
	enum st st = call_index(c, RIGHT_WRITE, err);

	if (st == ST_OK) {
		folder_settle(c->folder); /* a \Deleted that is not durable could come back */
		st = find_deleted(c, &deleted, err);
	}
	if (st == ST_OK)
		st = expunge_uids(c->folder, c->ix, &deleted, true, &gone, err);
	if (st == ST_OK) {
		w = call_reply(c, 2);
		put_uids(w, PR_UIDS, &gone);
		pw_u64(w, PR_CHANGE_NUM, c->folder->seen.cn);
	}
	uset_free(&deleted);
	uset_free(&gone);
	return st;
}
