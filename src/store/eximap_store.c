/* eximap_store.c - flags and keywords. */
#include "store/change.h"
#include "store/eximap.h"
#include "store/message.h"

#include <stdlib.h>

#define PIECE 2000 /* messages of one commit */

static void flags_apply(const struct flag_change *fc, struct entry *e)
{
	switch ((enum wire_store_mode)fc->mode) {
	case STORE_REPLACE:
		e->flags = (e->flags & ~MF_ALL) | fc->flags;
		e->keywords = fc->keywords;
		break;
	case STORE_ADD:
		e->flags |= fc->flags;
		e->keywords |= fc->keywords;
		break;
	case STORE_REMOVE:
		e->flags &= ~fc->flags;
		e->keywords &= ~fc->keywords;
		break;
	}
}

/* Figures and rows of up to PIECE entries from *uid on; the new entries are kept in `after`. */
static size_t build_piece(struct call *c, struct change *ch, const struct uset *uids,
			  struct flag_change *fc, uint32_t *uid, struct entry *after,
			  struct uset *failed)
{
	struct figures *fig = change_figures(ch, c->folder);
	struct folder_index *ix = c->ix;
	uint32_t visible = c->folder->seen.uidnext;
	size_t n = 0, i = index_from(ix, *uid);

	for (; i < ix->n && ix->at[i].uid < visible && n < PIECE && !change_full(ch); i++) {
		struct entry e = ix->at[i];

		*uid = e.uid + 1;
		if (!uset_has(uids, e.uid))
			continue;
		if (e.cn > fc->unchanged_since) {
			(void)uset_add(failed, e.uid, e.uid);
			continue;
		}
		/* Out of memory: the client is not told what another one did, until it asks. */
		if (e.cn > fc->since)
			(void)uset_add(&fc->stale, e.uid, e.uid);
		flags_apply(fc, &e);
		if (e.flags == ix->at[i].flags && e.keywords == ix->at[i].keywords)
			continue;
		e.cn = change_number(ch, fig);
		if ((e.flags ^ ix->at[i].flags) & MF_SEEN)
			fig->unread += e.flags & MF_SEEN ? UINT32_MAX : 1;
		change_entry(ch, c->folder, &e);
		after[n++] = e;
	}
	if (i == ix->n || ix->at[i].uid >= visible)
		*uid = 0;
	return n;
}

static enum st change_piece(struct call *c, const struct uset *uids, struct flag_change *fc,
			    uint32_t *uid, struct entry *after, struct uset *failed,
			    struct err *err)
{
	struct change ch;
	size_t n;
	enum st st = change_begin(&ch, c->mb, err);

	if (st != ST_OK)
		return st;
	n = build_piece(c, &ch, uids, fc, uid, after, failed);
	if (!n) {
		change_abandon(&ch);
		return ST_OK;
	}
	st = change_commit(&ch, err);
	if (st != ST_OK)
		return st;
	for (size_t i = 0; i < n; i++) {
		struct entry *e = index_find(c->ix, after[i].uid);

		*e = after[i];
		index_touched(c->ix, e);
		fc->cn = e->cn;
	}
	change_wait(&ch);
	return ST_OK;
}

enum st flags_change(struct call *c, const struct uset *uids, struct flag_change *fc,
		     struct uset *failed, struct err *err)
{
	struct entry *after = malloc(PIECE * sizeof *after);
	uint32_t uid = uset_next(uids, 1);
	enum st st = ST_OK;

	if (!after)
		return fail(err, ST_NOMEM, "out of memory");
	while (uid && st == ST_OK) {
		if (c->folder->gone || c->folder->noselect)
			st = fail(err, ST_NOTFOUND, "the folder was deleted");
		else
			st = change_piece(c, uids, fc, &uid, after, failed, err);
	}
	free(after);
	return st;
}

/* Flags and keywords of the request; taking away a keyword that nobody knows is nothing. */
static enum st read_flags(struct call *c, struct flag_change *fc, struct err *err)
{
	size_t n = plist_mv_count(&c->in, PR_KEYWORDS);

	fc->mode = plist_u32(&c->in, PR_STORE_MODE, STORE_REPLACE);
	fc->flags = plist_u32(&c->in, PR_IMAP_FLAGS, 0) & MF_ALL;
	fc->unchanged_since = plist_u64(&c->in, PR_UNCHANGED_SINCE, UINT64_MAX);
	fc->since = plist_u64(&c->in, PR_SINCE, UINT64_MAX);
	if (fc->mode > STORE_REMOVE)
		return fail(err, ST_BAD, "STORE_MODE %u", fc->mode);
	if (fc->mode != STORE_REMOVE)
		return keywords_learn(c->folder, &c->in, &fc->keywords, err);
	for (size_t i = 0; i < n; i++) {
		unsigned at = folder_keyword(c->folder, plist_mv_span(&c->in, PR_KEYWORDS, i));

		if (at != KEYWORDS_MAX)
			fc->keywords |= (uint64_t)1 << at;
	}
	return ST_OK;
}

static enum st put_result(struct call *c, struct wire_rows_out *rows, const struct uset *uids,
			  const struct uset *failed, const struct uset *stale)
{
	struct pw w;
	enum st st;

	wire_row_begin(rows, &w, 4);
	pw_u64(&w, PR_CHANGE_NUM, c->folder->seen.cn);
	put_uids(&w, PR_UIDS_FAILED, failed);
	put_uids(&w, PR_UIDS, stale);
	put_keywords(&w, c->folder, UINT64_MAX);
	st = wire_row_end(rows, &w);
	for (uint32_t uid = uset_next(uids, 1); uid && st == ST_OK;) {
		size_t i = index_from(c->ix, uid);

		if (i == c->ix->n || c->ix->at[i].uid >= c->folder->seen.uidnext)
			break;
		uid = c->ix->at[i].uid;
		if (uset_has(uids, uid) && !uset_has(failed, uid))
			st = put_flags_row(rows, c->folder, &c->ix->at[i]);
		uid = uset_next(uids, uid + 1);
	}
	return st;
}

enum st serve_IMAP_STORE(struct call *c, struct err *err)
{
	struct uset uids = { 0 }, failed = { 0 };
	struct flag_change fc = { 0 };
	struct wire_rows_out rows;
	enum st st = call_index(c, RIGHT_WRITE, err);

	if (st == ST_OK)
		st = call_uids(c, PR_UIDS, &uids, err);
	if (st != ST_OK)
		return st;
	folder_ready(c->folder);
	st = read_flags(c, &fc, err);
	if (st == ST_OK)
		st = flags_change(c, &uids, &fc, &failed, err);
	wire_rows_begin(&rows, c->rq);
	if (st == ST_OK)
		st = put_result(c, &rows, &uids, &failed, &fc.stale);
	uset_free(&uids);
	uset_free(&failed);
	uset_free(&fc.stale);
	return call_rows_end(c, &rows, st, err);
}
