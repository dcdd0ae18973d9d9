/* restore.c - deleted messages come back; see keep.h.
 *
 * The row of what is kept goes and the rows of a message come in one commit, and the body's link passes from one
 * to the other: at no moment is the message there twice or not at all.  It gets a new UID: the one that it had
 * is below UIDNEXT, and no UID is ever given out again (RFC 3501 2.3.1.1). */
#include "store/index.h"
#include "store/keep.h"
#include "store/message.h"
#include "store/tree.h"

#include <stdlib.h>

#define PIECE 200 /* messages of one commit */

struct restore {
	struct mailbox *mb;
	const struct kept_keys *keys;
	struct span to; /* absent: where it was */
	kept_restored *told;
	void *arg;
	size_t next; /* key */
	struct {
		uint64_t id;
		struct entry entry;
	} done[PIECE];
	size_t n;
};

/* The folder as it is called now, else one that has its path today; NULL: it must be made. */
static struct folder *target_of(const struct restore *r, const struct kept *k)
{
	struct folder *f = NULL;

	if (r->to.len)
		return folder_by_path(r->mb, r->to, true);
	f = folder_by_number(r->mb, (uint32_t)plist_u64(&k->row, PR_FID, 0));
	if (f && !f->noselect)
		return f;
	return folder_by_path(r->mb, plist_span(&k->row, PR_FOLDER_PATH), true);
}

static enum st get_row(const struct restore *r, size_t i, struct ese_value *row, struct kept *k,
		       struct err *err)
{
	const struct kept_key *at = &r->keys->at[i];
	struct key key;
	struct span where = key_kept(&key, r->mb->id, at->deleted, at->id);
	enum st st = ese_get(r->mb->db->ese, where, row, err);

	if (st != ST_OK)
		return st;
	st = kept_read(where, row->bytes, k, err);
	if (st != ST_OK)
		ese_value_free(row);
	return st;
}

/* The folder of the next one that is there, held.  ST_EOF: none is left. */
static enum st next_target(struct restore *r, struct folder **out, struct err *err)
{
	struct ese_value row;
	struct span path;
	struct kept k;
	enum st st = ST_NOTFOUND;

	for (; st == ST_NOTFOUND && r->next < r->keys->n; r->next++)
		st = get_row(r, r->next, &row, &k, err);
	if (st != ST_OK)
		return st == ST_NOTFOUND ? ST_EOF : st;
	r->next--;
	*out = target_of(r, &k);
	path = r->to.len ? r->to : plist_span(&k.row, PR_FOLDER_PATH);
	if (!*out)
		st = tree_create(r->mb, path, SPAN_NONE, out, err);
	if (st == ST_EXISTS) { /* somebody else made it meanwhile */
		*out = folder_by_path(r->mb, path, true);
		st = *out ? ST_OK
			  : fail(err, ST_BUSY, "the folder '" SPAN_FMT "' comes and goes",
				 SPAN_ARG(path));
	}
	if (st == ST_OK)
		folder_hold(*out);
	ese_value_free(&row);
	return st;
}

static enum st put_back(struct restore *r, struct change *c, struct folder *f, const struct kept *k,
			struct err *err)
{
	struct figures *fig = change_figures(c, f);
	struct entry *e = &r->done[r->n].entry;
	struct key key;

	if (fig->uidnext == UINT32_MAX)
		return fail(err, ST_NOSPACE, "the folder has given out all its UIDs");
	*e = k->entry;
	e->uid = fig->uidnext++;
	e->mid = e->cn = change_number(c, fig);
	e->flags &= ~(uint32_t)MF_DELETED; /* the next EXPUNGE would take it away again */
	/* Keywords for which the folder has no room are left behind. */
	if (keywords_learn(f, &k->row, &e->keywords, NULL) != ST_OK)
		e->keywords = 0;
	fig->count++;
	fig->size += e->size;
	if (!(e->flags & MF_SEEN))
		fig->unread++;
	change_entry(c, f, e);
	ese_put(c->batch, key_message(&key, f->mb->id, BOX_ITEM, f->number, e->uid),
		span_of(k->item.at, k->item.len));
	ese_delete(c->batch, key_kept(&key, f->mb->id, k->deleted, k->id));
	change_kept(c, -1, -(int64_t)e->size);
	r->done[r->n++].id = k->id;
	return ST_OK;
}

/* Those behind one another that go into this folder. */
static enum st build_piece(struct restore *r, struct change *c, struct folder *f, struct err *err)
{
	enum st st = ST_OK;

	for (r->n = 0; r->next < r->keys->n && r->n < PIECE && !change_full(c) && st == ST_OK;) {
		struct ese_value row;
		struct kept k;
		bool here;

		st = get_row(r, r->next, &row, &k, err);
		if (st == ST_NOTFOUND) {
			st = ST_OK;
			r->next++;
			continue;
		}
		if (st != ST_OK)
			break;
		here = target_of(r, &k) == f;
		if (here)
			st = put_back(r, c, f, &k, err);
		ese_value_free(&row);
		if (!here)
			break;
		r->next++;
	}
	return st;
}

static enum st restore_piece(struct restore *r, struct folder *f, struct err *err)
{
	struct change c;
	enum st st;

	folder_ready(f);
	if (f->gone || f->noselect)
		return ST_OK; /* deleted again: the next turn makes it */
	st = change_begin(&c, r->mb, err);
	if (st != ST_OK)
		return st;
	st = build_piece(r, &c, f, err);
	if (st == ST_OK && f->ix)
		st = index_reserve(f->ix, r->n, err);
	if (st != ST_OK || !r->n) {
		change_abandon(&c);
		return st;
	}
	st = change_commit(&c, err);
	if (st != ST_OK)
		return st;
	for (size_t i = 0; i < r->n && f->ix; i++)
		index_append(f->ix, &r->done[i].entry);
	change_wait(&c);
	for (size_t i = 0; i < r->n && st == ST_OK; i++)
		st = r->told(r->arg, r->done[i].id, f, r->done[i].entry.uid);
	return st;
}

static enum st restore_all(struct restore *r, struct err *err)
{
	struct folder *f;
	enum st st;

	for (;;) {
		if (r->mb->shard->store->stopping)
			return fail(err, ST_GONE, "the store is stopping");
		st = next_target(r, &f, err);
		if (st != ST_OK)
			return st == ST_EOF ? ST_OK : st;
		st = restore_piece(r, f, err);
		folder_drop(f);
		if (st != ST_OK)
			return st;
	}
}

enum st kept_restore(struct mailbox *mb, const struct kept_keys *keys, struct span to,
		     kept_restored *told, void *arg, struct err *err)
{
	struct restore *r = calloc(1, sizeof *r);
	enum st st;

	if (!r)
		return fail(err, ST_NOMEM, "out of memory");
	if (to.len && to.at[to.len - 1] == '/') /* as path_read() takes it */
		to.len--;
	*r = (struct restore){ .mb = mb, .keys = keys, .to = to, .told = told, .arg = arg };
	/* One at a time: what is not yet durable is still found by the next. */
	fiber_lock(&mb->keeping);
	st = restore_all(r, err);
	fiber_unlock(&mb->keeping);
	free(r);
	return st;
}
