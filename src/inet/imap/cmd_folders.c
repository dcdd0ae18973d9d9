/* cmd_folders.c - commands about mailboxes: SELECT to STATUS. */
#include "inet/imap/session.h"

#include "proto/imap/match.h"

#include <stdlib.h>

/* ---- special uses (RFC 6154) ---- */

static const struct {
	const char *name;
	uint32_t attr;
} uses[] = {
	{ "\\All", IMAP_USE_ALL },       { "\\Archive", IMAP_USE_ARCHIVE },
	{ "\\Drafts", IMAP_USE_DRAFTS }, { "\\Flagged", IMAP_USE_FLAGGED },
	{ "\\Junk", IMAP_USE_JUNK },     { "\\Sent", IMAP_USE_SENT },
	{ "\\Trash", IMAP_USE_TRASH },
};
#define NUSES (sizeof uses / sizeof uses[0])

static uint32_t use_attr(struct span name)
{
	for (size_t i = 0; i < NUSES; i++)
		if (span_ieq(name, span_str(uses[i].name)))
			return uses[i].attr;
	return 0;
}

/* ---- one request about one name ---- */

static enum st ask_name(struct imap_session *s, enum wire_op op, struct span name, uint32_t tag,
			struct span value, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	imap_ask_begin(s, &m, 2);
	pw_span(&m.w, PR_FOLDER_PATH, name);
	if (tag)
		pw_span(&m.w, tag, value);
	st = imap_ask(s, &m, op, &a, err);
	if (st == ST_OK)
		wire_answer_free(&a);
	return st;
}

static void answer(struct imap_session *s, enum st st, const struct err *err)
{
	if (st == ST_OK)
		imap_ok_code(s, NULL, "Done");
	else
		imap_no(s, st, err);
}

void imap_cmd_create(struct imap_session *s)
{
	const struct imap_create *c = &s->cmd->create;
	struct span use = SPAN_NONE;
	struct err err;
	size_t n = 0;
	enum st st;

	for (size_t i = 0; i < NUSES; i++)
		if (c->use & uses[i].attr) {
			use = span_str(uses[i].name);
			n++;
		}
	if (c->use_unknown || n > 1) {
		imap_no_code(s, "USEATTR",
			     "A mailbox can have one of the special uses of RFC 6154");
		return;
	}
	st = ask_name(s, WIRE_IMAP_CREATE, c->mailbox, n ? PR_SPECIAL_USE : 0, use, &err);
	answer(s, st, &err);
}

void imap_cmd_delete(struct imap_session *s)
{
	struct err err;
	enum st st = ask_name(s, WIRE_IMAP_DELETE, s->cmd->mailbox, 0, SPAN_NONE, &err);

	answer(s, st, &err);
}

void imap_cmd_rename(struct imap_session *s)
{
	struct err err;
	enum st st = ask_name(s, WIRE_IMAP_RENAME, s->cmd->rename.from, PR_NEW_PATH,
			      s->cmd->rename.to, &err);

	answer(s, st, &err);
}

void imap_cmd_subscribe(struct imap_session *s)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct err err;
	enum st st;

	imap_ask_begin(s, &m, 2);
	pw_span(&m.w, PR_FOLDER_PATH, s->cmd->mailbox);
	pw_bool(&m.w, PR_SUBSCRIBED, s->cmd->verb->id == IMAP_SUBSCRIBE);
	st = imap_ask(s, &m, WIRE_IMAP_SUBSCRIBE, &a, &err);
	if (st == ST_OK)
		wire_answer_free(&a);
	answer(s, st, &err);
}

/* ---- SELECT, EXAMINE, CLOSE, UNSELECT ---- */

static void tell_selected(struct imap_session *s, const struct plist *answer_list)
{
	struct imap_view *v = s->view;
	uint32_t unseen = plist_u32(answer_list, PR_FIRST_UNSEEN, 0);
	size_t n = plist_mv_count(answer_list, PR_KEYWORDS);
	struct span *keywords = n ? pool_get(s->pool, n * sizeof *keywords) : NULL;

	for (size_t i = 0; keywords && i < n; i++)
		keywords[i] = plist_mv_span(answer_list, PR_KEYWORDS, i);
	if (!keywords)
		n = 0;
	imap_put_flags_line(&s->out, MF_ALL, keywords, n);
	imap_put_number(&s->out, v->uids.count, "EXISTS");
	imap_put_number(&s->out, v->recent.count, "RECENT");
	if (unseen && uset_has(&v->uids, unseen))
		imap_put_code_number(&s->out, "UNSEEN", uset_rank(&v->uids, unseen),
				     "First unseen");
	imap_put_permanentflags(&s->out, v->readonly ? 0 : MF_ALL, keywords, v->readonly ? 0 : n,
				!v->readonly);
	imap_put_code_number(&s->out, "UIDVALIDITY", plist_u32(answer_list, PR_UIDVALIDITY, 0),
			     "UIDs valid");
	imap_put_code_number(&s->out, "UIDNEXT",
			     plist_u32(answer_list, PR_INTERNET_ARTICLE_NUMBER_NEXT, 0),
			     "Predicted next UID");
}

void imap_cmd_select(struct imap_session *s)
{
	bool readonly = s->cmd->verb->id == IMAP_EXAMINE;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct err err;
	enum st st;

	imap_view_close(s);
	s->view = imap_view_new(s);
	if (!s->view) {
		imap_no_code(s, "UNAVAILABLE", "Out of memory");
		return;
	}
	imap_ask_begin(s, &m, 3);
	pw_span(&m.w, PR_FOLDER_PATH, s->cmd->select.mailbox);
	pw_bool(&m.w, PR_READONLY, readonly);
	pw_u64(&m.w, PR_WATCH_TOKEN, s->view->watcher.token);
	st = imap_ask(s, &m, WIRE_IMAP_SELECT, &a, &err);
	if (st == ST_OK)
		st = imap_view_open(s, &a.list, readonly, &err);
	if (st == ST_OK) {
		tell_selected(s, &a.list);
		s->state = IMAP_SELECTED;
		imap_ok_code(s, readonly ? "READ-ONLY" : "READ-WRITE",
			     readonly ? "EXAMINE done" : "SELECT done");
	}
	wire_answer_free(&a);
	if (st != ST_OK) {
		imap_view_close(s);
		imap_no(s, st, &err);
	}
}

void imap_cmd_close(struct imap_session *s)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct err err;
	enum st st = ST_OK;

	if (s->cmd->verb->id == IMAP_CLOSE && !s->view->readonly) {
		imap_ask_begin(s, &m, 1);
		pw_u64(&m.w, PR_FID, s->view->fid);
		st = imap_ask(s, &m, WIRE_IMAP_EXPUNGE, &a, &err);
		if (st == ST_OK)
			wire_answer_free(&a);
	}
	imap_view_close(s);
	answer(s, st, &err);
}

/* ---- STATUS ---- */

static bool ask_status(struct imap_session *s, struct span name, uint32_t items, enum st *st,
		       struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;

	imap_ask_begin(s, &m, 1);
	pw_span(&m.w, PR_FOLDER_PATH, name);
	*st = imap_ask(s, &m, WIRE_IMAP_STATUS, &a, err);
	if (*st != ST_OK)
		return false;
	const struct imap_status_values v = {
		.messages = plist_u32(&a.list, PR_CONTENT_COUNT, 0),
		.recent = plist_u32(&a.list, PR_RECENT_COUNT, 0),
		.uidnext = plist_u32(&a.list, PR_INTERNET_ARTICLE_NUMBER_NEXT, 0),
		.uidvalidity = plist_u32(&a.list, PR_UIDVALIDITY, 0),
		.unseen = plist_u32(&a.list, PR_CONTENT_UNREAD, 0),
		.highestmodseq = plist_u64(&a.list, PR_CHANGE_NUM, 0),
	};
	imap_put_status(&s->out, name, items, &v);
	wire_answer_free(&a);
	return true;
}

void imap_cmd_status(struct imap_session *s)
{
	struct err err;
	enum st st;

	if (ask_status(s, s->cmd->status.mailbox, s->cmd->status.items, &st, &err))
		imap_ok(s, "STATUS done");
	else
		imap_no(s, st, &err);
}

/* ---- LIST, LSUB ---- */

struct folder {
	struct span path;
	uint32_t attrs;
};

static int by_path(const void *a, const void *b)
{
	return span_cmp(((const struct folder *)a)->path, ((const struct folder *)b)->path);
}

static uint32_t read_attrs(const struct plist *row)
{
	uint32_t attrs = use_attr(plist_span(row, PR_SPECIAL_USE));

	if (plist_bool(row, PR_SUBSCRIBED, false))
		attrs |= IMAP_ATTR_SUBSCRIBED;
	if (plist_bool(row, PR_NONEXISTENT, false))
		attrs |= IMAP_ATTR_NONEXISTENT;
	else if (!plist_has(row, PR_FID)) /* deleted; the name stays for what is below it */
		attrs |= IMAP_ATTR_NOSELECT;
	return attrs;
}

/* All folders of the mailbox, sorted, in memory of their own: *folders is freed by the caller, the paths are
 * in *text.  Subscribed names that are no folders have \NonExistent. */
static enum st read_folders(struct imap_session *s, struct buf *text, struct folder **folders,
			    size_t *n, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	size_t cap = 0;
	enum st st;

	imap_ask_begin(s, &m, 0);
	st = imap_ask(s, &m, WIRE_IMAP_FOLDERS, &a, err);
	while (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK) {
		struct span path = plist_span(&a.list, PR_FOLDER_PATH);
		struct folder *f;

		if (*n == cap) {
			cap = cap ? cap * 2 : 64;
			f = realloc(*folders, cap * sizeof *f);
			if (!f) {
				st = fail(err, ST_NOMEM, "Out of memory");
				break;
			}
			*folders = f;
		}
		f = &(*folders)[(*n)++];
		/* The text may move while it grows: remember the offset, point when all is there. */
		f->path = span_of((const char *)(uintptr_t)text->len, path.len);
		buf_span(text, path);
		f->attrs = read_attrs(&a.list);
	}
	wire_answer_free(&a);
	if (text->failed)
		return fail(err, ST_TOOBIG, "The mailbox has too many folders");
	for (size_t i = 0; i < *n; i++)
		(*folders)[i].path.at = text->at + (uintptr_t)(*folders)[i].path.at;
	if (*n > 1)
		qsort(*folders, *n, sizeof **folders, by_path);
	return st == ST_EOF ? ST_OK : st;
}

static bool is_below(struct span path, struct span parent)
{
	return path.len > parent.len && path.at[parent.len] == IMAP_DELIM &&
	       span_has_prefix(path, parent);
}

/* \HasChildren and \HasNoChildren (RFC 3348).  Names sort before what is below them, but others may stand between
 * ("a", "a!", "a/b"): look on while the prefix holds. */
static void mark_children(struct folder *folders, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool has = false;

		for (size_t k = i + 1;
		     !has && k < n && span_has_prefix(folders[k].path, folders[i].path); k++)
			has = is_below(folders[k].path, folders[i].path) &&
			      !(folders[k].attrs & IMAP_ATTR_NONEXISTENT);
		folders[i].attrs |= has ? IMAP_ATTR_HASCHILDREN : IMAP_ATTR_HASNOCHILDREN;
	}
}

#define LIST_CHILDREN (IMAP_ATTR_HASCHILDREN | IMAP_ATTR_HASNOCHILDREN)

static void list_one(struct imap_session *s, const struct folder *f)
{
	const struct imap_list *l = &s->cmd->list;
	uint32_t show = LIST_CHILDREN | IMAP_USES_MASK | IMAP_ATTR_NOSELECT;
	struct err err;
	enum st st;

	if (l->select & IMAP_LIST_SUBSCRIBED)
		show |= IMAP_ATTR_NONEXISTENT;
	if ((l->select | l->returns) & IMAP_LIST_SUBSCRIBED)
		show |= IMAP_ATTR_SUBSCRIBED;
	imap_put_list(&s->out, "LIST", f->attrs & show, IMAP_DELIM, f->path);
	if ((l->returns & IMAP_LIST_STATUS) &&
	    !(f->attrs & (IMAP_ATTR_NONEXISTENT | IMAP_ATTR_NOSELECT)))
		(void)ask_status(s, f->path, l->status, &st, &err);
	imap_out_some(s);
}

static bool is_wanted(const struct imap_list *l, const struct folder *f)
{
	if (!(l->select & IMAP_LIST_SUBSCRIBED) && (f->attrs & IMAP_ATTR_NONEXISTENT))
		return false;
	if ((l->select & IMAP_LIST_SUBSCRIBED) && !(f->attrs & IMAP_ATTR_SUBSCRIBED))
		return false;
	return !(l->select & IMAP_LIST_SPECIAL_USE) || (f->attrs & IMAP_USES_MASK);
}

/* Matching takes as long as pattern and name together; what takes long is done between other sessions' turns. */
#define MATCH_TURN (512u * 1024)

static void let_others(size_t *done, struct span pattern, struct span name)
{
	*done += pattern.len * name.len;
	if (*done < MATCH_TURN)
		return;
	*done = 0;
	fiber_yield();
}

static void list_pattern(struct imap_session *s, struct span pattern, const struct folder *folders,
			 size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < n && !s->ending; i++) {
		let_others(&done, pattern, folders[i].path);
		if (is_wanted(&s->cmd->list, &folders[i]) &&
		    imap_list_match(pattern, folders[i].path, IMAP_DELIM))
			list_one(s, &folders[i]);
	}
}

static bool is_subscribed(struct span path, const struct folder *folders, size_t n)
{
	const struct folder key = { .path = path };
	const struct folder *f = bsearch(&key, folders, n, sizeof *folders, by_path);

	return f && (f->attrs & IMAP_ATTR_SUBSCRIBED);
}

/* LSUB answers "%" with \Noselect parents of subscribed names that are not subscribed themselves. */
static void lsub_pattern(struct imap_session *s, struct span pattern, const struct folder *folders,
			 size_t n)
{
	struct span told = SPAN_NONE; /* what is below one parent stands together */
	size_t done = 0;

	for (size_t i = 0; i < n && !s->ending; i++) {
		struct span path = folders[i].path, parent;

		if (!(folders[i].attrs & IMAP_ATTR_SUBSCRIBED))
			continue;
		let_others(&done, pattern, path);
		if (imap_list_match(pattern, path, IMAP_DELIM)) {
			imap_put_list(&s->out, "LSUB", folders[i].attrs & IMAP_ATTR_NOSELECT,
				      IMAP_DELIM, path);
			imap_out_some(s);
			continue;
		}
		parent = imap_list_match_parent(pattern, path, IMAP_DELIM);
		if (!parent.at || span_eq(parent, told) || is_subscribed(parent, folders, n))
			continue;
		imap_put_list(&s->out, "LSUB", IMAP_ATTR_NOSELECT, IMAP_DELIM, parent);
		imap_out_some(s);
		told = parent;
	}
}

void imap_cmd_list(struct imap_session *s)
{
	const struct imap_list *l = &s->cmd->list;
	bool lsub = s->cmd->verb->id == IMAP_LSUB;
	struct buf text = BUF_MAX(16 * 1024 * 1024);
	struct folder *folders = NULL;
	struct err err;
	size_t n = 0;
	enum st st;

	if (!lsub && !l->extended && l->npatterns == 1 && l->patterns[0].len == 0) {
		/* RFC 3501 6.3.8: an empty name asks for the delimiter and the root. */
		imap_put_list(&s->out, "LIST", IMAP_ATTR_NOSELECT, IMAP_DELIM, SPAN(""));
		imap_ok(s, "LIST done");
		return;
	}
	st = read_folders(s, &text, &folders, &n, &err);
	if (st == ST_OK) {
		mark_children(folders, n);
		for (uint32_t i = 0; i < l->npatterns; i++) {
			struct span pattern =
				imap_list_join(s->pool, l->reference, l->patterns[i], IMAP_DELIM);

			if (lsub)
				lsub_pattern(s, pattern, folders, n);
			else
				list_pattern(s, pattern, folders, n);
		}
		imap_ok(s, lsub ? "LSUB done" : "LIST done");
	} else {
		imap_no(s, st, &err);
	}
	free(folders);
	buf_free(&text);
}
