/* eximap_select.c - a folder as a session sees it: status, selecting, what is new. */
#include "store/eximap.h"
#include "store/watch.h"

#include <stdlib.h>

/* The folder of FOLDER_PATH, held. */
static enum st call_path(struct call *c, unsigned rights, struct err *err)
{
	struct span path = plist_span(&c->in, PR_FOLDER_PATH);
	const struct logon *l;
	struct folder *f;
	enum st st = call_mailbox(c, err);

	if (st != ST_OK)
		return st;
	f = folder_by_path(c->mb, path, true);
	if (!f)
		return fail(err, ST_NOTFOUND, "there is no folder '" SPAN_FMT "'",
			    SPAN_ARG(span_cut(path, 100)));
	st = logon_find(c->shard, c->rq->binding_id, c->logon, &l, err);
	if (st == ST_OK)
		st = rights_check(l, folder_fid(f), rights, err);
	if (st == ST_OK)
		c->folder = folder_hold(f);
	return st;
}

static void put_figures(struct pw *w, const struct folder *f, const struct figures *fig,
			uint32_t recent)
{
	pw_u64(w, PR_FID, folder_fid(f));
	pw_u32(w, PR_CONTENT_COUNT, fig->count);
	pw_u32(w, PR_CONTENT_UNREAD, fig->unread);
	pw_u32(w, PR_RECENT_COUNT, recent);
	pw_u32(w, PR_INTERNET_ARTICLE_NUMBER_NEXT, fig->uidnext);
	pw_u32(w, PR_UIDVALIDITY, f->uidvalidity);
	pw_u64(w, PR_CHANGE_NUM, fig->cn);
	pw_u64(w, PR_FOLDER_SIZE, fig->size);
}
#define FIGURES_PROPS 8

enum st serve_IMAP_STATUS(struct call *c, struct err *err)
{
	uint32_t recent = 0;
	enum st st = call_path(c, RIGHT_READ, err);

	if (st != ST_OK)
		return st;
	/* Only a folder with recent messages needs its index for this. */
	if (c->folder->seen.recent_from < c->folder->seen.uidnext) {
		st = index_get(c->folder, &c->ix, err);
		if (st != ST_OK)
			return st;
		recent = (uint32_t)(index_from(c->ix, c->folder->seen.uidnext) -
				    index_from(c->ix, c->folder->now.recent_from));
	}
	put_figures(call_reply(c, FIGURES_PROPS), c->folder, &c->folder->seen, recent);
	return ST_OK;
}

/* ---- \Recent ---- */

static enum st find_recent(const struct folder *f, const struct uset *uids, uint32_t uidnext,
			   struct uset *recent, struct err *err)
{
	uint32_t from = f->now.recent_from;

	for (uint32_t u = uset_next(uids, from); u && u < uidnext; u = uset_next(uids, u + 1))
		if (uset_add(recent, u, u) != ST_OK)
			return fail(err, ST_NOMEM, "out of memory");
	return ST_OK;
}

/* From now on a session was told of them.  Nobody waits until that is durable: after a crash they are recent
 * once more. */
static enum st take_recent(struct folder *f, uint32_t uidnext, struct err *err)
{
	struct change *c;
	enum st st;

	if (f->now.recent_from >= uidnext)
		return ST_OK;
	c = malloc(sizeof *c);
	if (!c)
		return fail(err, ST_NOMEM, "out of memory");
	st = change_begin(c, f->mb, err);
	if (st == ST_OK) {
		change_figures(c, f)->recent_from = uidnext;
		st = change_commit(c, err);
	}
	if (st == ST_OK)
		change_detach(c);
	else
		free(c);
	/* A full disk is no reason not to open a folder. */
	return st == ST_NOSPACE ? ST_OK : st;
}

/* ---- selecting ---- */

static uint32_t first_unseen(const struct folder_index *ix, uint32_t uidnext)
{
	for (size_t i = 0; i < ix->n && ix->at[i].uid < uidnext; i++)
		if (!(ix->at[i].flags & MF_SEEN))
			return ix->at[i].uid;
	return 0;
}

static enum st select_folder(struct call *c, struct uset *uids, struct uset *recent,
			     struct err *err)
{
	bool readonly = plist_bool(&c->in, PR_READONLY, false);
	struct folder *f = c->folder;
	struct figures fig;
	struct pw *w;
	enum st st;

	folder_settle(f);
	folder_ready(f);
	fig = f->seen;
	if (index_uids(c->ix, fig.uidnext, uids) != ST_OK)
		return fail(err, ST_NOMEM, "out of memory");
	st = find_recent(f, uids, fig.uidnext, recent, err);
	if (st == ST_OK && !readonly)
		st = take_recent(f, fig.uidnext, err);
	if (st != ST_OK)
		return st;
	w = call_reply(c, FIGURES_PROPS + 4);
	put_figures(w, f, &fig, recent->count);
	put_uids(w, PR_UIDS, uids);
	put_uids(w, PR_UIDS_RECENT, recent);
	pw_u32(w, PR_FIRST_UNSEEN, first_unseen(c->ix, fig.uidnext));
	put_keywords(w, f, UINT64_MAX);
	return ST_OK;
}

enum st serve_IMAP_SELECT(struct call *c, struct err *err)
{
	uint64_t token = plist_u64(&c->in, PR_WATCH_TOKEN, 0);
	struct uset uids = { 0 }, recent = { 0 };
	enum st st = call_path(c, RIGHT_READ, err);

	if (st == ST_OK)
		st = index_get(c->folder, &c->ix, err);
	/* Watch first, look then: no change falls between. */
	if (st == ST_OK)
		st = watch_add(c->shard, folder_fid(c->folder), c->rq->binding_id,
			       c->rq->client_loop, token, err);
	if (st != ST_OK)
		return st;
	st = select_folder(c, &uids, &recent, err);
	if (st != ST_OK)
		watch_remove(c->shard, folder_fid(c->folder), c->rq->binding_id, c->rq->client_loop,
			     token);
	uset_free(&uids);
	uset_free(&recent);
	return st;
}

/* Also for a folder that is gone meanwhile. */
enum st serve_IMAP_UNSELECT(struct call *c, struct err *err)
{
	enum st st = call_mailbox(c, err);

	if (st != ST_OK)
		return st;
	watch_remove(c->shard, plist_u64(&c->in, PR_FID, 0), c->rq->binding_id, c->rq->client_loop,
		     plist_u64(&c->in, PR_WATCH_TOKEN, 0));
	return ST_OK;
}

/* ---- what is new ---- */

struct news {
	struct figures fig; /* the state that is told */
	uint64_t since;
	struct uset vanished, fresh, recent;
};

static enum st find_vanished(const struct folder_index *ix, struct news *n)
{
	struct uset all = { 0 }, there = { 0 };
	enum st st;

	if (n->since >= n->fig.vanished_from) {
		for (size_t i = ix->nvanished; i-- && ix->vanished[i].cn > n->since;)
			if (ix->vanished[i].cn <= n->fig.cn &&
			    uset_or_into(&n->vanished, &ix->vanished[i].uids) != ST_OK)
				return ST_NOMEM;
		return ST_OK;
	}
	/* Longer ago than is remembered: whatever is not there has vanished. */
	st = index_uids(ix, n->fig.uidnext, &there);
	if (st == ST_OK && n->fig.uidnext > 1)
		st = uset_add(&all, 1, n->fig.uidnext - 1);
	if (st == ST_OK)
		st = uset_minus(&all, &there, &n->vanished);
	uset_free(&all);
	uset_free(&there);
	return st;
}

/* Messages that came after `since`: MIDs ascend, so they are the last ones. */
static enum st find_fresh(const struct folder_index *ix, struct news *n)
{
	size_t end = index_from(ix, n->fig.uidnext), i = end;
	enum st st = ST_OK;

	while (i && ix->at[i - 1].mid > n->since)
		i--;
	for (; i < end && st == ST_OK; i++)
		st = uset_add(&n->fresh, ix->at[i].uid, ix->at[i].uid);
	return st;
}

static enum st put_first(struct wire_rows_out *rows, const struct folder *f, const struct news *n)
{
	struct pw w;

	wire_row_begin(rows, &w, 6);
	pw_u64(&w, PR_CHANGE_NUM, n->fig.cn);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER_NEXT, n->fig.uidnext);
	put_keywords(&w, f, UINT64_MAX);
	put_uids(&w, PR_UIDS_VANISHED, &n->vanished);
	put_uids(&w, PR_UIDS_NEW, &n->fresh);
	put_uids(&w, PR_UIDS_RECENT, &n->recent);
	return wire_row_end(rows, &w);
}

enum st put_flags_row(struct wire_rows_out *rows, const struct folder *f, const struct entry *e)
{
	struct pw w;

	wire_row_begin(rows, &w, 4);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, e->uid);
	pw_u32(&w, PR_IMAP_FLAGS, e->flags & MF_ALL);
	put_keywords(&w, f, e->keywords);
	pw_u64(&w, PR_CHANGE_NUM, e->cn);
	return wire_row_end(rows, &w);
}

/* An entry whose change is not durable yet is told with the next news. */
static enum st put_changed(struct call *c, struct wire_rows_out *rows, const struct news *n)
{
	struct folder_index *ix = c->ix;
	uint32_t uid = 0;
	enum st st = ST_OK;

	while (st == ST_OK) {
		size_t i = index_changed(ix, index_from(ix, uid), n->since);
		struct entry e;

		if (i == ix->n || ix->at[i].uid >= n->fig.uidnext)
			break;
		e = ix->at[i];
		uid = e.uid + 1;
		if (e.cn <= n->fig.cn && e.mid <= n->since)
			st = put_flags_row(rows, c->folder, &e);
	}
	return st;
}

enum st serve_IMAP_SYNC(struct call *c, struct err *err)
{
	bool readonly = plist_bool(&c->in, PR_READONLY, false);
	struct news n = { .since = plist_u64(&c->in, PR_SINCE, 0) };
	struct wire_rows_out rows;
	enum st st = call_index(c, RIGHT_READ, err);

	if (st != ST_OK)
		return st;
	folder_ready(c->folder);
	n.fig = c->folder->seen;
	st = find_vanished(c->ix, &n);
	if (st == ST_OK)
		st = find_fresh(c->ix, &n);
	if (st != ST_OK)
		st = fail(err, ST_NOMEM, "out of memory");
	else
		st = find_recent(c->folder, &n.fresh, n.fig.uidnext, &n.recent, err);
	if (st == ST_OK && !readonly)
		st = take_recent(c->folder, n.fig.uidnext, err);
	wire_rows_begin(&rows, c->rq);
	if (st == ST_OK)
		st = put_first(&rows, c->folder, &n);
	if (st == ST_OK)
		st = put_changed(c, &rows, &n);
	uset_free(&n.vanished);
	uset_free(&n.fresh);
	uset_free(&n.recent);
	return call_rows_end(c, &rows, st, err);
}
