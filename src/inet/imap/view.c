/* view.c - the selected folder as one session knows it, and telling the client what is new.
 *
 * Sequence numbers are positions in view->uids.  Others may expunge at any time, but the client may be
 * told only when no sequence numbers are under way (RFC 3501 7.4.1): until then those UIDs wait in
 * view->gone and keep their positions. */
#include "inet/imap/session.h"

#include <stdlib.h>

/* ---- life ---- */

static void changed(void *arg, uint64_t value)
{
	struct imap_view *v = arg;

	if (value <= v->change_num)
		return;
	v->changed = true;
	if (v->session->idling)
		conn_kick(v->session->base.conn);
}

struct imap_view *imap_view_new(struct imap_session *s)
{
	struct imap_view *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->session = s;
	v->watcher.changed = changed;
	v->watcher.arg = v;
	inet_watch(s->base.loop, &v->watcher);
	return v;
}

void imap_view_free(struct imap_session *s, struct imap_view *v)
{
	inet_unwatch(s->base.loop, &v->watcher);
	uset_free(&v->uids);
	uset_free(&v->gone);
	uset_free(&v->recent);
	uset_free(&v->own);
	free(v);
}

enum st imap_view_open(struct imap_session *s, const struct plist *answer, bool readonly,
		       struct err *err)
{
	struct imap_view *v = s->view;
	enum st st = imap_get_set(answer, PR_UIDS, &v->uids, err);

	if (st == ST_OK)
		st = imap_get_set(answer, PR_UIDS_RECENT, &v->recent, err);
	v->fid = plist_u64(answer, PR_FID, 0);
	v->change_num = plist_u64(answer, PR_CHANGE_NUM, 0);
	v->nkeywords = (uint32_t)plist_mv_count(answer, PR_KEYWORDS);
	v->readonly = readonly;
	return st;
}

void imap_view_close(struct imap_session *s)
{
	struct imap_view *v = s->view;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct err err;

	if (!v)
		return;
	if (v->fid && ds_logon_alive(s->base.loop->ds, &s->logon)) {
		imap_ask_begin(s, &m, 2);
		pw_u64(&m.w, PR_FID, v->fid);
		pw_u64(&m.w, PR_WATCH_TOKEN, v->watcher.token);
		/* If the store does not hear it, the watch ends with the log-on. */
		if (imap_ask(s, &m, WIRE_IMAP_UNSELECT, &a, &err) == ST_OK)
			wire_answer_free(&a);
	}
	imap_view_free(s, v);
	s->view = NULL;
	if (s->state == IMAP_SELECTED)
		s->state = IMAP_AUTH;
}

/* ---- rows of flags ---- */

void imap_put_row_flags(struct imap_session *s, const struct plist *row)
{
	struct span *keywords;
	uint32_t uid = plist_u32(row, PR_INTERNET_ARTICLE_NUMBER, 0);
	uint32_t flags = plist_u32(row, PR_IMAP_FLAGS, 0) & MF_ALL;
	size_t n = plist_mv_count(row, PR_KEYWORDS), mark = pool_mark(s->pool);

	if (s->view && uset_has(&s->view->recent, uid))
		flags |= IMAP_FLAG_RECENT;
	keywords = n ? pool_get(s->pool, n * sizeof *keywords) : NULL;
	if (n && !keywords)
		n = 0;
	for (size_t i = 0; i < n; i++)
		keywords[i] = plist_mv_span(row, PR_KEYWORDS, i);
	buf_str(&s->out, "FLAGS ");
	imap_put_flags(&s->out, flags, keywords, n);
	pool_back(s->pool, mark);
}

void imap_put_row_fetch(struct imap_session *s, const struct plist *row, bool with_uid)
{
	uint32_t uid = plist_u32(row, PR_INTERNET_ARTICLE_NUMBER, 0);
	uint32_t seq = uset_rank(&s->view->uids, uid);

	if (seq == 0)
		return;
	imap_put_fetch_begin(&s->out, seq);
	imap_put_row_flags(s, row);
	if (with_uid)
		buf_printf(&s->out, " UID %u", uid);
	imap_put_fetch_end(&s->out);
}

void imap_view_own(struct imap_session *s, uint64_t change_num)
{
	if (!change_num || change_num <= s->view->change_num)
		return;
	/* Full or out of memory: the client is told its own change once more, which is harmless. */
	if (uset_add(&s->view->own, (uint32_t)change_num, (uint32_t)change_num) != ST_OK)
		uset_free(&s->view->own);
}

bool imap_view_knows(const struct imap_session *s, uint64_t change_num)
{
	return change_num <= s->view->change_num || uset_has(&s->view->own, (uint32_t)change_num);
}

uint64_t imap_view_since(const struct imap_session *s)
{
	const struct imap_view *v = s->view;
	const struct urun *first = v->own.runs;

	/* Our own changes, when nothing of another lies between. */
	if (v->own.nruns && first->first == (uint32_t)v->change_num + 1)
		return v->change_num + (first->last - first->first + 1);
	return v->change_num;
}

/* ---- news ---- */

enum st imap_view_seqs(const struct imap_view *v, const struct uset *uids, struct uset *out)
{
	uint32_t before = 0; /* members of the view in front of run r */
	enum st st = ST_OK;

	for (uint32_t r = 0, k = 0; st == ST_OK && r < v->uids.nruns && k < uids->nruns;) {
		struct urun has = v->uids.runs[r], want = uids->runs[k];
		uint32_t first = has.first > want.first ? has.first : want.first;
		uint32_t last = has.last < want.last ? has.last : want.last;

		if (first <= last)
			st = uset_add(out, before + (first - has.first) + 1,
				      before + (last - has.first) + 1);
		if (want.last < has.last) {
			k++;
		} else {
			before += has.last - has.first + 1;
			r++;
		}
	}
	if (st != ST_OK)
		uset_free(out);
	return st;
}

/* *set without `gone`. */
static enum st take_out(struct uset *set, const struct uset *gone)
{
	struct uset left = { 0 };
	enum st st = uset_minus(set, gone, &left);

	if (st != ST_OK)
		return st;
	uset_free(set);
	*set = left;
	return ST_OK;
}

void imap_view_expunge(struct imap_session *s, const struct uset *uids)
{
	struct imap_view *v = s->view;
	struct uset seqs = { 0 };
	enum st st = imap_view_seqs(v, uids, &seqs);

	/* From the highest down: the numbers below stay what they are. */
	for (uint32_t r = seqs.nruns; r-- > 0;)
		for (uint32_t seq = seqs.runs[r].last; seq >= seqs.runs[r].first; seq--)
			imap_put_number(&s->out, seq, "EXPUNGE");
	uset_free(&seqs);
	if (st == ST_OK)
		st = take_out(&v->uids, uids);
	if (st == ST_OK)
		st = take_out(&v->recent, uids);
	/* Without memory the view would lie. */
	if (st != ST_OK)
		imap_bye(s, "UNAVAILABLE", "Out of memory");
}

void imap_view_keywords(struct imap_session *s, const struct plist *row)
{
	size_t n = plist_mv_count(row, PR_KEYWORDS), mark = pool_mark(s->pool);
	bool readonly = s->view->readonly;
	struct span *keywords;

	/* Keywords are never forgotten: another number is what tells. */
	if (!plist_has(row, PR_KEYWORDS) || n == s->view->nkeywords)
		return;
	keywords = pool_get(s->pool, (n + 1) * sizeof *keywords);
	if (!keywords)
		return;
	for (size_t i = 0; i < n; i++)
		keywords[i] = plist_mv_span(row, PR_KEYWORDS, i);
	s->view->nkeywords = (uint32_t)n;
	imap_put_flags_line(&s->out, MF_ALL, keywords, n);
	imap_put_permanentflags(&s->out, readonly ? 0 : MF_ALL, keywords, readonly ? 0 : n,
				!readonly);
	pool_back(s->pool, mark);
}

/* What the first row of IMAP_SYNC says: who came, who went. */
static enum st take_head(struct imap_session *s, const struct plist *head, bool expunge,
			 struct err *err)
{
	struct imap_view *v = s->view;
	struct uset came, went, recent, mine = { 0 };
	enum st st = imap_get_set(head, PR_UIDS_NEW, &came, err);

	if (st != ST_OK)
		return st;
	st = imap_get_set(head, PR_UIDS_VANISHED, &went, err);
	if (st == ST_OK)
		st = imap_get_set(head, PR_UIDS_RECENT, &recent, err);
	else
		recent = (struct uset){ 0 };
	if (st == ST_OK)
		st = uset_and(&went, &v->uids, &mine);
	if (st == ST_OK)
		st = uset_or_into(&v->gone, &mine);
	if (st == ST_OK && expunge && v->gone.count > 0) {
		imap_view_expunge(s, &v->gone);
		uset_free(&v->gone);
	}
	if (st == ST_OK && came.count > 0) {
		uint32_t before = v->uids.count;

		st = uset_or_into(&v->uids, &came);
		if (st == ST_OK)
			st = uset_or_into(&v->recent, &recent);
		if (st == ST_OK && v->uids.count != before) {
			imap_put_number(&s->out, v->uids.count, "EXISTS");
			imap_put_number(&s->out, v->recent.count, "RECENT");
		}
	}
	uset_free(&came);
	uset_free(&went);
	uset_free(&recent);
	uset_free(&mine);
	return st == ST_OK || err->text[0] ? st : fail(err, st, "Out of memory");
}

/* How far the telling of news has come, when it takes more than one look at the store. */
struct news {
	bool expunge, begun;
	uint64_t upto; /* what the first look said: later changes are told the next time */
	uint32_t told; /* UIDs up to here */
};

static enum st tell_changed(struct imap_session *s, struct wire_answer *a, struct news *n,
			    struct err *err)
{
	enum st st;

	while ((st = wire_next_row(a, err)) == ST_OK) {
		uint32_t uid = plist_u32(&a->list, PR_INTERNET_ARTICLE_NUMBER, 0);

		if (uid <= n->told)
			continue;
		n->told = uid;
		if (!uset_has(&s->view->own, (uint32_t)plist_u64(&a->list, PR_CHANGE_NUM, 0)))
			imap_put_row_fetch(s, &a->list, true);
		if (s->out.len > IMAP_NEWS)
			return ST_MORE;
	}
	return st;
}

/* ST_EOF: all is told; ST_MORE: the connection must take some first. */
static enum st tell_news(struct imap_session *s, struct news *n, struct err *err)
{
	struct imap_view *v = s->view;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 3);
	pw_u64(&m.w, PR_FID, v->fid);
	pw_u64(&m.w, PR_SINCE, v->change_num);
	pw_bool(&m.w, PR_READONLY, v->readonly);
	st = imap_ask(s, &m, WIRE_IMAP_SYNC, &a, err);
	if (st == ST_OK)
		st = wire_next_row(&a, err);
	if (st == ST_OK) {
		if (!n->begun)
			n->upto = plist_u64(&a.list, PR_CHANGE_NUM, v->change_num);
		n->begun = true;
		imap_view_keywords(s, &a.list);
		st = take_head(s, &a.list, n->expunge, err);
	}
	if (st == ST_OK)
		st = tell_changed(s, &a, n, err);
	wire_answer_free(&a);
	return st;
}

enum st imap_view_sync(struct imap_session *s, bool expunge, struct err *err)
{
	struct imap_view *v = s->view;
	struct news n = { .expunge = expunge };
	enum st st;

	v->changed = false;
	while ((st = tell_news(s, &n, err)) == ST_MORE && !s->ending)
		imap_out_all(s);
	if (st == ST_NOTFOUND || st == ST_GONE) {
		imap_bye(s, "UNAVAILABLE", "The mailbox is not there any more");
		return st;
	}
	if (st != ST_EOF)
		return st == ST_MORE ? ST_OK : st; /* the client went */
	if (n.upto > v->change_num)
		v->change_num = n.upto;
	uset_free(&v->own);
	imap_out_some(s);
	return ST_OK;
}

/* ---- sets of a command ---- */

enum st imap_take_uids(const struct uset *all, uint32_t from, uint32_t max, struct uset *out)
{
	enum st st = ST_OK;

	*out = (struct uset){ 0 };
	for (uint32_t uid = uset_next(all, from); uid && max > 0 && st == ST_OK;) {
		uint32_t last = uid;

		while (last - uid + 1 < max && last < UINT32_MAX && uset_has(all, last + 1))
			last++;
		st = uset_add(out, uid, last);
		max -= last - uid + 1;
		uid = last == UINT32_MAX ? 0 : uset_next(all, last + 1);
	}
	if (st != ST_OK)
		uset_free(out);
	return st;
}

/* UIDs at the positions of `seqs`: one walk along both. */
static enum st uids_at(const struct uset *view, const struct uset *seqs, struct uset *out)
{
	uint32_t before = 0; /* members of the view in front of run r */
	uint32_t r = 0;
	enum st st = ST_OK;

	for (uint32_t i = 0; i < seqs->nruns; i++) {
		uint32_t from = seqs->runs[i].first, to = seqs->runs[i].last;

		while (st == ST_OK && from <= to && r < view->nruns) {
			struct urun run = view->runs[r];
			uint32_t size = run.last - run.first + 1;

			if (from > before + size) {
				before += size;
				r++;
				continue;
			}
			uint32_t last = to < before + size ? to : before + size;

			st = uset_add(out, run.first + (from - before - 1),
				      run.first + (last - before - 1));
			from = last + 1;
		}
	}
	return st;
}

enum st imap_view_resolve(struct imap_session *s, const struct imap_set *set, bool uid,
			  struct uset *out, struct err *err)
{
	struct imap_view *v = s->view;
	struct uset named = { 0 };
	enum st st;

	*out = (struct uset){ 0 };
	if (!uid && v->uids.count == 0) /* not even '*' (RFC 3501 section 9, seq-number) */
		return fail(err, ST_BAD, "There are no messages");
	if (!uid && imap_set_max(set) > v->uids.count)
		return fail(err, ST_BAD, "There are only %u messages", v->uids.count);
	st = imap_set_resolve(set, uid ? uset_max(&v->uids) : v->uids.count, &named);
	if (st == ST_OK)
		st = uid ? uset_and(&named, &v->uids, out) : uids_at(&v->uids, &named, out);
	uset_free(&named);
	if (st == ST_OK)
		return st;
	uset_free(out);
	return fail(err, st, "The set of messages is too large");
}
