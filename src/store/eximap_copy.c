/* eximap_copy.c - copies and moves between folders of a mailbox; bodies are linked, never copied. */
#include "store/change.h"
#include "store/eximap.h"

#include <stdlib.h>

#define PIECE 200 /* messages of one commit */

struct copy {
	struct folder *from, *to;
	struct folder_index *ix;
	const struct uset *uids;
	bool move;
	struct entry added[PIECE];
	size_t n;
	struct uset piece; /* UIDs in the source */
	uint32_t visible;  /* of the source, when it began */
};

/* Keywords by name from one table to the other; what finds no room is left behind. */
static uint64_t translate(struct copy *k, uint64_t bits)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < k->from->nkeywords; i++) {
		unsigned at;

		if (!(bits >> i & 1))
			continue;
		at = folder_keyword(k->to, span_str(k->from->keywords[i]));
		if (at == KEYWORDS_MAX && k->to->nkeywords < KEYWORDS_MAX) {
			char *word = strdup(k->from->keywords[i]);

			if (!word)
				continue;
			at = k->to->nkeywords++;
			k->to->keywords[at] = word;
			k->to->row_dirty = true;
		}
		if (at != KEYWORDS_MAX)
			out |= (uint64_t)1 << at;
	}
	return out;
}

static void add_to_target(struct change *c, struct copy *k, const struct entry *e)
{
	struct figures *fig = change_figures(c, k->to);
	struct entry *a = &k->added[k->n++];

	*a = *e;
	a->uid = fig->uidnext++;
	a->keywords = translate(k, e->keywords);
	a->mid = a->cn = change_number(c, fig);
	fig->count++;
	fig->size += a->size;
	if (!(a->flags & MF_SEEN))
		fig->unread++;
	change_entry(c, k->to, a);
}

static void take_from_source(struct change *c, struct copy *k, const struct entry *e)
{
	struct figures *fig = change_figures(c, k->from);
	struct key key;

	fig->count--;
	fig->size -= e->size;
	if (!(e->flags & MF_SEEN))
		fig->unread--;
	ese_delete(c->batch, key_message(&key, k->from->mb->id, BOX_ITEM, k->from->number, e->uid));
	ese_delete(c->batch,
		   key_message(&key, k->from->mb->id, BOX_ENTRY, k->from->number, e->uid));
}

static enum st copy_one(struct change *c, struct copy *k, const struct entry *e, struct err *err)
{
	uint64_t mailbox = k->from->mb->id;
	struct ese_value row;
	struct plist l;
	struct key key;
	enum st st =
		ese_get(k->from->mb->db->ese,
			key_message(&key, mailbox, BOX_ITEM, k->from->number, e->uid), &row, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_CORRUPT, "message %u of folder %u has lost a row", e->uid,
			    k->from->number);
	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "a message", &l, err);
	if (st == ST_OK) {
		add_to_target(c, k, e);
		ese_put(c->batch,
			key_message(&key, mailbox, BOX_ITEM, k->to->number, k->added[k->n - 1].uid),
			row.bytes);
		if (k->move) /* the body's link moves along: the count stays */
			take_from_source(c, k, e);
		else
			ese_link_id(c->batch, plist_u64(&l, PR_BODY_ID, 0));
	}
	ese_value_free(&row);
	return st;
}

static enum st build_piece(struct change *c, struct copy *k, uint32_t *uid, struct err *err)
{
	size_t i = index_from(k->ix, *uid);
	enum st st = ST_OK;

	for (; i < k->ix->n && k->ix->at[i].uid < k->visible && k->n < PIECE && !change_full(c) &&
	       st == ST_OK;
	     i++) {
		const struct entry *e = &k->ix->at[i];

		*uid = e->uid + 1;
		if (!uset_has(k->uids, e->uid))
			continue;
		if (change_figures(c, k->to)->uidnext == UINT32_MAX)
			st = fail(err, ST_NOSPACE, "the folder has given out all its UIDs");
		else if (uset_add(&k->piece, e->uid, e->uid) != ST_OK)
			st = fail(err, ST_NOMEM, "out of memory");
		else
			st = copy_one(c, k, e, err);
	}
	if (i == k->ix->n || k->ix->at[i].uid >= k->visible)
		*uid = 0;
	return st;
}

/* What the commit did, in memory. */
static void piece_done(struct copy *k, uint64_t vanished_cn, struct copied *out)
{
	for (size_t i = 0; i < k->n; i++) {
		if (k->to->ix)
			index_append(k->to->ix, &k->added[i]);
		/* Out of memory here only makes the answer incomplete. */
		(void)uset_add(&out->to, k->added[i].uid, k->added[i].uid);
	}
	(void)uset_or_into(&out->from, &k->piece);
	if (k->move) {
		index_vanished_drop(k->ix, index_vanished_over(k->ix));
		index_vanish(k->ix, vanished_cn, &k->piece);
		out->cn = vanished_cn;
	}
}

static enum st copy_piece(struct copy *k, uint32_t *uid, struct copied *out, struct err *err)
{
	struct change c;
	uint64_t cn = 0;
	enum st st = change_begin(&c, k->from->mb, err);

	if (st != ST_OK)
		return st;
	k->n = 0;
	st = build_piece(&c, k, uid, err);
	if (st == ST_OK && k->n && k->move)
		st = vanish_prepare(&c, k->from, &k->piece, &cn, err);
	if (st == ST_OK && k->n && k->to->ix)
		st = index_reserve(k->to->ix, k->n, err);
	if (st != ST_OK || !k->n) {
		change_abandon(&c);
		return st;
	}
	st = change_commit(&c, err);
	if (st != ST_OK)
		return st;
	piece_done(k, cn, out);
	change_wait(&c);
	return ST_OK;
}

/* A copy that could not be finished is not there. */
static void take_back(struct folder *to, struct copied *out)
{
	struct uset gone = { 0 };
	struct folder_index *ix;

	if (index_get(to, &ix, NULL) == ST_OK) {
		(void)expunge_uids(to, ix, &out->to, false, &gone, NULL);
		index_put(ix);
	}
	uset_free(&gone);
	uset_free(&out->to);
	uset_free(&out->from);
}

enum st messages_copy(struct folder *from, struct folder_index *ix, const struct uset *uids,
		      struct folder *to, bool move, struct copied *out, struct err *err)
{
	struct copy *k = calloc(1, sizeof *k);
	uint32_t uid = uset_next(uids, 1);
	enum st st = ST_OK;

	if (!k)
		return fail(err, ST_NOMEM, "out of memory");
	*k = (struct copy){ .from = from, .to = to, .ix = ix, .uids = uids, .move = move };
	/* What it adds to the same folder is not copied again. */
	k->visible = from->seen.uidnext;
	while (uid && st == ST_OK) {
		while (from->loading || to->loading) {
			folder_ready(from);
			folder_ready(to);
		}
		if (from->gone || to->gone || to->noselect)
			st = fail(err, ST_NOTFOUND, "the folder was deleted");
		else
			st = copy_piece(k, &uid, out, err);
		uset_free(&k->piece);
	}
	if (st != ST_OK && !move && out->to.count)
		take_back(to, out);
	free(k);
	return st;
}

static uint64_t octets_of(const struct folder_index *ix, const struct uset *uids)
{
	uint64_t octets = 0;

	for (size_t i = index_from(ix, uset_next(uids, 1)); i < ix->n; i++)
		if (uset_has(uids, ix->at[i].uid))
			octets += ix->at[i].size;
	return octets;
}

enum st serve_IMAP_COPY(struct call *c, struct err *err)
{
	bool move = plist_bool(&c->in, PR_MOVE, false);
	struct uset uids = { 0 };
	struct copied out = { 0 };
	struct folder *to;
	struct pw *w;
	enum st st = call_index(c, move ? RIGHT_WRITE : RIGHT_READ, err);

	if (st == ST_OK)
		st = call_uids(c, PR_UIDS, &uids, err);
	if (st != ST_OK)
		return st;
	folder_settle(c->folder);
	/* A move within a mailbox makes it no larger. */
	if (!move && uids.count)
		st = call_admit(c, octets_of(c->ix, &uids), err);
	if (st != ST_OK) {
		uset_free(&uids);
		return st;
	}
	to = folder_by_path(c->mb, plist_span(&c->in, PR_FOLDER_PATH), true);
	if (to) {
		folder_hold(to);
		st = messages_copy(c->folder, c->ix, &uids, to, move, &out, err);
	} else {
		st = fail(err, ST_NOTFOUND, "there is no such folder to copy to");
	}
	if (st == ST_OK) {
		w = call_reply(c, 4);
		pw_u32(w, PR_UIDVALIDITY, to->uidvalidity);
		put_uids(w, PR_UIDS, &out.from);
		put_uids(w, PR_UIDS_NEW, &out.to);
		if (move && out.cn)
			pw_u64(w, PR_CHANGE_NUM, out.cn);
	}
	if (to)
		folder_drop(to);
	uset_free(&uids);
	uset_free(&out.from);
	uset_free(&out.to);
	return st;
}
