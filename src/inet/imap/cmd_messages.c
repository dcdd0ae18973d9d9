/* cmd_messages.c - EXPUNGE, STORE, COPY, MOVE and SEARCH. */
#include "inet/imap/session.h"

#include "wire/search.h"

#define STORE_BATCH 2000u /* messages of one request */

/* After a command: what others did meanwhile.  Failures show at the next command. */
static void tell_news(struct imap_session *s, bool always)
{
	bool expunge = !(s->cmd->verb->effects & IMAP_HOLDS_EXPUNGE);
	struct err err;

	if (s->view && (always || s->view->changed || (expunge && s->view->gone.count > 0)))
		(void)imap_view_sync(s, expunge, &err);
}

void imap_cmd_expunge(struct imap_session *s)
{
	struct wire_answer a = { 0 };
	struct uset uids = { 0 };
	struct wire_msg m;
	struct err err;
	enum st st = ST_OK;

	if (s->cmd->verb->uid)
		st = imap_view_resolve(s, &s->cmd->expunge, true, &uids, &err);
	if (st == ST_OK) {
		imap_ask_begin(s, &m, 2);
		pw_u64(&m.w, PR_FID, s->view->fid);
		if (s->cmd->verb->uid)
			imap_put_set(&m, PR_UIDS, &uids);
		st = imap_ask(s, &m, WIRE_IMAP_EXPUNGE, &a, &err);
	}
	uset_free(&uids);
	if (st == ST_OK)
		st = imap_get_set(&a.list, PR_UIDS, &uids, &err);
	wire_answer_free(&a);
	if (st == ST_OK) {
		imap_view_expunge(s, &uids);
		tell_news(s, false);
		imap_ok(s, "EXPUNGE done");
	} else {
		imap_no(s, st, &err);
	}
	uset_free(&uids);
}

/* ---- STORE ---- */

static void put_flags(struct wire_msg *m, const struct imap_flags *f)
{
	pw_u32(&m->w, PR_IMAP_FLAGS, f->system & MF_ALL);
	if (f->nkeywords)
		pw_mv_span(&m->w, PR_KEYWORDS, f->keywords, f->nkeywords);
}

/* The first row: what the folder's keywords are now, and who had changed before us. */
static void take_store_head(struct imap_session *s, const struct plist *head, struct uset *stale)
{
	struct err err;

	imap_view_keywords(s, head);
	if (imap_get_set(head, PR_UIDS, stale, &err) != ST_OK)
		*stale = (struct uset){ 0 };
}

/* A client that asked for silence concludes the flags from its own change: where another one had changed them it
 * would be wrong, so that is news. */
static void take_stored(struct imap_session *s, const struct plist *row, const struct uset *stale)
{
	uint32_t uid = plist_u32(row, PR_INTERNET_ARTICLE_NUMBER, 0);

	if (s->cmd->store.silent && uset_has(stale, uid)) {
		s->view->changed = true;
		return;
	}
	imap_view_own(s, plist_u64(row, PR_CHANGE_NUM, 0));
	if (!s->cmd->store.silent)
		imap_put_row_fetch(s, row, s->cmd->verb->uid);
}

static enum st ask_store(struct imap_session *s, const struct uset *uids, uint32_t *rows,
			 struct err *err)
{
	static const enum wire_store_mode modes[] = {
		[IMAP_STORE_REPLACE] = STORE_REPLACE,
		[IMAP_STORE_ADD] = STORE_ADD,
		[IMAP_STORE_REMOVE] = STORE_REMOVE,
	};
	const struct imap_store *c = &s->cmd->store;
	struct wire_answer a = { 0 };
	struct uset stale = { 0 };
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 7);
	pw_u64(&m.w, PR_FID, s->view->fid);
	imap_put_set(&m, PR_UIDS, uids);
	pw_u32(&m.w, PR_STORE_MODE, modes[c->mode]);
	put_flags(&m, &c->flags);
	pw_u64(&m.w, PR_SINCE, imap_view_since(s));
	if (c->has_unchangedsince)
		pw_u64(&m.w, PR_UNCHANGED_SINCE, c->unchangedsince);
	st = imap_ask(s, &m, WIRE_IMAP_STORE, &a, err);
	if (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK)
		take_store_head(s, &a.list, &stale);
	while (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK) {
		take_stored(s, &a.list, &stale);
		++*rows;
	}
	wire_answer_free(&a);
	uset_free(&stale);
	return st == ST_EOF ? ST_OK : st;
}

/* In batches: between them the client may take its time. */
static enum st store_all(struct imap_session *s, const struct uset *uids, uint32_t *rows,
			 struct err *err)
{
	uint32_t next = 1;
	enum st st = ST_OK;

	while (st == ST_OK && next && uset_next(uids, next) && !s->ending) {
		struct uset some;

		st = imap_take_uids(uids, next, STORE_BATCH, &some);
		if (st != ST_OK)
			return fail(err, st, "Out of memory");
		next = uset_max(&some) + 1;
		st = ask_store(s, &some, rows, err);
		uset_free(&some);
		imap_out_some(s);
	}
	return st;
}

void imap_cmd_store(struct imap_session *s)
{
	const struct imap_store *c = &s->cmd->store;
	uint32_t rows = 0, asked;
	struct uset uids;
	struct err err;
	enum st st = imap_view_resolve(s, &c->set, s->cmd->verb->uid, &uids, &err);

	if (st == ST_BAD) {
		imap_bad(s, err.text);
		return;
	}
	asked = uids.count;
	if (st == ST_OK)
		st = store_all(s, &uids, &rows, &err);
	uset_free(&uids);
	if (st != ST_OK) {
		imap_no(s, st, &err);
		return;
	}
	tell_news(s, false);
	/* RFC 2180 section 4.2 */
	if (rows < asked && !s->cmd->verb->uid && !c->silent)
		imap_no_code(s, "EXPUNGEISSUED", "Some of the messages are gone");
	else
		imap_ok(s, "STORE done");
}

/* ---- COPY, MOVE ---- */

/* The reply to a copy that was made: COPYUID, and for MOVE what left (RFC 6851 4.3: COPYUID goes first, untagged). */
static void tell_copied(struct imap_session *s, uint32_t validity, const struct uset *from,
			const struct uset *to)
{
	bool move = s->cmd->verb->id == IMAP_MOVE;

	if (move && from->count > 0) {
		imap_put_copyuid(&s->out, SPAN_NONE, validity, from, to, "Moved");
		imap_view_expunge(s, from);
		imap_out_some(s);
	}
	tell_news(s, true);
	if (move)
		imap_ok(s, "MOVE done");
	else
		imap_put_copyuid(&s->out, s->cmd->tag, validity, from, to, "COPY done");
}

struct copied {
	uint32_t validity;
	struct uset from, to;
};

static enum st ask_copy(struct imap_session *s, const struct uset *uids, struct copied *out,
			struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 4);
	pw_u64(&m.w, PR_FID, s->view->fid);
	imap_put_set(&m, PR_UIDS, uids);
	pw_span(&m.w, PR_FOLDER_PATH, s->cmd->copy.mailbox);
	pw_bool(&m.w, PR_MOVE, s->cmd->verb->id == IMAP_MOVE);
	st = imap_ask(s, &m, WIRE_IMAP_COPY, &a, err);
	out->validity = plist_u32(&a.list, PR_UIDVALIDITY, 0);
	if (st == ST_OK)
		st = imap_get_set(&a.list, PR_UIDS, &out->from, err);
	if (st == ST_OK)
		st = imap_get_set(&a.list, PR_UIDS_NEW, &out->to, err);
	wire_answer_free(&a);
	return st;
}

void imap_cmd_copy(struct imap_session *s)
{
	struct copied copied = { 0 };
	struct uset uids;
	struct err err;
	enum st st = imap_view_resolve(s, &s->cmd->copy.set, s->cmd->verb->uid, &uids, &err);

	if (st == ST_BAD) {
		imap_bad(s, err.text);
		return;
	}
	if (st == ST_OK)
		st = ask_copy(s, &uids, &copied, &err);
	uset_free(&uids);
	if (st == ST_OK)
		tell_copied(s, copied.validity, &copied.from, &copied.to);
	else if (st == ST_NOTFOUND)
		imap_no_code(s, "TRYCREATE", "There is no such mailbox");
	else
		imap_no(s, st, &err);
	uset_free(&copied.from);
	uset_free(&copied.to);
}

/* ---- SEARCH ---- */

static const struct {
	enum search_op op;
	bool num, text, name;
} search_ops[] = {
	[IMAP_KEY_ALL] = { .op = S_ALL },
	[IMAP_KEY_AND] = { .op = S_AND },
	[IMAP_KEY_OR] = { .op = S_OR },
	[IMAP_KEY_NOT] = { .op = S_NOT },
	[IMAP_KEY_FLAG] = { .op = S_FLAG, .num = true },
	[IMAP_KEY_KEYWORD] = { .op = S_KEYWORD, .text = true },
	[IMAP_KEY_LARGER] = { .op = S_SIZE_OVER, .num = true },
	[IMAP_KEY_SMALLER] = { .op = S_SIZE_UNDER, .num = true },
	[IMAP_KEY_BEFORE] = { .op = S_DATE_BEFORE, .num = true },
	[IMAP_KEY_ON] = { .op = S_DATE_ON, .num = true },
	[IMAP_KEY_SINCE] = { .op = S_DATE_SINCE, .num = true },
	[IMAP_KEY_SENTBEFORE] = { .op = S_SENT_BEFORE, .num = true },
	[IMAP_KEY_SENTON] = { .op = S_SENT_ON, .num = true },
	[IMAP_KEY_SENTSINCE] = { .op = S_SENT_SINCE, .num = true },
	[IMAP_KEY_FROM] = { .op = S_FROM, .text = true },
	[IMAP_KEY_TO] = { .op = S_TO, .text = true },
	[IMAP_KEY_CC] = { .op = S_CC, .text = true },
	[IMAP_KEY_BCC] = { .op = S_BCC, .text = true },
	[IMAP_KEY_SUBJECT] = { .op = S_SUBJECT, .text = true },
	[IMAP_KEY_BODY] = { .op = S_BODY, .text = true },
	[IMAP_KEY_TEXT] = { .op = S_TEXT, .text = true },
	[IMAP_KEY_HEADER] = { .op = S_HEADER, .text = true, .name = true },
	[IMAP_KEY_MODSEQ] = { .op = S_MODSEQ, .num = true },
};

/* A set of UIDs as a node; the serialized set lives in the pool. */
static enum st set_node(struct imap_session *s, const struct uset *set, struct search_node *n,
			struct err *err)
{
	struct buf b = BUF_MAX(65536);

	uset_write(set, &b);
	n->op = S_UIDS;
	n->text = b.failed ? SPAN_NONE : pool_span(s->pool, b.at ? buf_get(&b) : SPAN(""));
	buf_free(&b);
	return n->text.at ? ST_OK : fail(err, ST_TOOBIG, "The set of messages is too large");
}

static enum st translate(struct imap_session *s, const struct imap_key *key,
			 struct search_node **out, struct err *err)
{
	struct search_node *n = pool_get(s->pool, sizeof *n), **last;
	struct uset set;
	enum st st;

	if (!n)
		return fail(err, ST_TOOBIG, "The search is too complex");
	*out = n;
	if (key->op == IMAP_KEY_FLAG && key->num == IMAP_FLAG_RECENT)
		return set_node(s, &s->view->recent, n, err);
	if (key->op == IMAP_KEY_SEQS || key->op == IMAP_KEY_UIDS) {
		st = imap_view_resolve(s, &key->set, key->op == IMAP_KEY_UIDS, &set, err);
		if (st == ST_OK)
			st = set_node(s, &set, n, err);
		uset_free(&set);
		return st;
	}
	n->op = search_ops[key->op].op;
	n->num = search_ops[key->op].num ? key->num : 0;
	n->text = search_ops[key->op].text ? key->text : SPAN_NONE;
	n->name = search_ops[key->op].name ? key->name : SPAN_NONE;
	last = &n->kids;
	for (const struct imap_key *k = key->kids; k; k = k->next) {
		st = translate(s, k, last, err);
		if (st != ST_OK)
			return st;
		last = &(*last)->next;
	}
	return ST_OK;
}

static enum st ask_search(struct imap_session *s, struct uset *found, struct err *err)
{
	struct buf program = BUF_MAX(65536);
	struct wire_answer a = { 0 };
	struct search_node *root;
	struct wire_msg m;
	enum st st = translate(s, s->cmd->search.key, &root, err);

	if (st == ST_OK)
		st = search_write(root, &program, err);
	if (st == ST_OK) {
		imap_ask_begin(s, &m, 3);
		pw_u64(&m.w, PR_FID, s->view->fid);
		pw_span(&m.w, PR_SEARCH_PROGRAM, buf_get(&program));
		imap_put_set(&m, PR_UIDS, &s->view->uids);
		st = imap_ask(s, &m, WIRE_IMAP_SEARCH, &a, err);
	}
	buf_free(&program);
	if (st == ST_OK)
		st = imap_get_set(&a.list, PR_UIDS, found, err);
	wire_answer_free(&a);
	return st;
}

/* UIDs to sequence numbers, in place of the set. */
static enum st to_seqs(const struct imap_view *v, struct uset *set)
{
	struct uset seqs = { 0 };
	enum st st = imap_view_seqs(v, set, &seqs);

	uset_free(set);
	*set = seqs;
	return st;
}

void imap_cmd_search(struct imap_session *s)
{
	struct uset found = { 0 };
	struct err err;
	enum st st;

	if (!imap_charset_known(s->cmd->search.charset)) {
		imap_no_code(s, "BADCHARSET (US-ASCII UTF-8)",
			     "Searches are taken in US-ASCII and UTF-8");
		return;
	}
	st = ask_search(s, &found, &err);
	if (st == ST_OK && !s->cmd->verb->uid && to_seqs(s->view, &found) != ST_OK)
		st = fail(&err, ST_NOMEM, "Out of memory");
	if (st == ST_OK) {
		imap_put_search(&s->out, &found);
		tell_news(s, false);
		imap_ok(s, "SEARCH done");
	} else if (st == ST_BAD) {
		imap_bad(s, err.text);
	} else {
		imap_no(s, st, &err);
	}
	uset_free(&found);
}
