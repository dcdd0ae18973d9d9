#include "imap_show.h"

#include "proto/imap/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void text(struct span s, struct buf *out)
{
	buf_str(out, " '");
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] == '\r')
			buf_str(out, "\\r");
		else if (s.at[i] == '\n')
			buf_str(out, "\\n");
		else
			buf_char(out, s.at[i]);
	}
	buf_char(out, '\'');
}

static void set(const struct imap_set *s, struct buf *out)
{
	for (uint32_t i = 0; i < s->n; i++) {
		buf_char(out, i ? ',' : ' ');
		buf_printf(out, "%u", s->ranges[i].first);
		if (s->ranges[i].last != s->ranges[i].first)
			buf_printf(out, ":%u", s->ranges[i].last);
	}
}

static void flags(const struct imap_flags *f, struct buf *out)
{
	buf_char(out, ' ');
	imap_put_flags(out, f->system, f->keywords, f->nkeywords);
}

static void number(const char *name, uint64_t n, struct buf *out)
{
	buf_printf(out, " %s=%llu", name, (unsigned long long)n);
}

static void key(const struct imap_key *k, struct buf *out)
{
	static const char *const names[] = {
		"?",          "all",     "and",       "or",      "not",    "seqs", "uids",
		"flag",       "keyword", "larger",    "smaller", "before", "on",   "since",
		"sentbefore", "senton",  "sentsince", "from",    "to",     "cc",   "bcc",
		"subject",    "body",    "text",      "header",  "modseq",
	};

	buf_printf(out, " %s", names[k->op]);
	if (k->op >= IMAP_KEY_BEFORE && k->op <= IMAP_KEY_SENTSINCE)
		buf_printf(out, " %lld", (long long)(int64_t)k->num);
	else if (k->num || k->op == IMAP_KEY_LARGER || k->op == IMAP_KEY_SMALLER)
		buf_printf(out, " %llu", (unsigned long long)k->num);
	if (k->name.at)
		text(k->name, out);
	if (k->text.at)
		text(k->text, out);
	set(&k->set, out);
	if (!k->kids)
		return;
	buf_str(out, " (");
	for (const struct imap_key *kid = k->kids; kid; kid = kid->next)
		key(kid, out);
	buf_str(out, " )");
}

static void fetch(const struct imap_fetch *f, struct buf *out)
{
	set(&f->set, out);
	for (uint32_t i = 0; i < f->nitems; i++) {
		buf_str(out, f->items[i].sets_seen ? " !" : " ");
		imap_put_item_name(out, &f->items[i]);
		if (f->items[i].partial)
			buf_printf(out, "+%u", f->items[i].count);
	}
	if (f->has_changedsince)
		number("changedsince", f->changedsince, out);
	if (f->vanished)
		buf_str(out, " vanished");
}

static void select_args(const struct imap_select *s, struct buf *out)
{
	text(s->mailbox, out);
	if (s->condstore)
		buf_str(out, " condstore");
	if (!s->qresync)
		return;
	number("uidvalidity", s->uidvalidity, out);
	number("modseq", s->modseq, out);
	set(&s->known_uids, out);
	if (s->match_seqs.n) {
		buf_str(out, " match");
		set(&s->match_seqs, out);
		set(&s->match_uids, out);
	}
}

static void list(const struct imap_list *l, struct buf *out)
{
	if (l->select)
		number("select", l->select, out);
	text(l->reference, out);
	for (uint32_t i = 0; i < l->npatterns; i++)
		text(l->patterns[i], out);
	if (l->returns)
		number("return", l->returns, out);
	if (l->status)
		number("status", l->status, out);
	if (l->extended)
		buf_str(out, " extended");
}

static void append(const struct imap_append *a, struct buf *out)
{
	text(a->mailbox, out);
	flags(&a->flags, out);
	if (a->has_date)
		buf_printf(out, " date=%lld zone=%d", (long long)a->date, a->zone);
	number(a->sync ? "size" : "size+", a->size, out);
}

static void id(const struct imap_id *i, struct buf *out)
{
	for (uint32_t n = 0; n < 2 * i->n; n++) {
		if (i->pairs[n].at)
			text(i->pairs[n], out);
		else
			buf_str(out, " NIL");
	}
}

static void store(const struct imap_store *s, struct buf *out)
{
	static const char *const modes[] = { "set", "add", "remove" };

	set(&s->set, out);
	buf_printf(out, " %s%s", modes[s->mode], s->silent ? " silent" : "");
	flags(&s->flags, out);
	if (s->has_unchangedsince)
		number("unchangedsince", s->unchangedsince, out);
}

static void search(const struct imap_search *s, struct buf *out)
{
	if (s->esearch)
		number("return", s->returns, out);
	if (s->charset.at)
		text(s->charset, out);
	key(s->key, out);
}

static void session_args(const struct imap_command *c, struct buf *out)
{
	if (c->verb->id == IMAP_LOGIN) {
		text(c->login.user, out);
		text(c->login.password, out);
	} else if (c->verb->id == IMAP_AUTHENTICATE) {
		text(c->authenticate.mechanism, out);
		if (c->authenticate.has_initial)
			text(c->authenticate.initial, out);
	} else if (c->verb->id == IMAP_ID) {
		id(&c->id, out);
	} else if (c->verb->id == IMAP_ENABLE) {
		for (uint32_t i = 0; i < c->enable.n; i++)
			text(c->enable.names[i], out);
	}
}

static void mailbox_args(const struct imap_command *c, struct buf *out)
{
	switch (c->verb->id) {
	case IMAP_SELECT:
	case IMAP_EXAMINE:
		select_args(&c->select, out);
		break;
	case IMAP_CREATE:
		text(c->create.mailbox, out);
		if (c->create.use || c->create.use_unknown)
			number(c->create.use_unknown ? "use?" : "use", c->create.use, out);
		break;
	case IMAP_RENAME:
		text(c->rename.from, out);
		text(c->rename.to, out);
		break;
	case IMAP_LIST:
	case IMAP_LSUB:
		list(&c->list, out);
		break;
	case IMAP_STATUS:
		text(c->status.mailbox, out);
		number("items", c->status.items, out);
		break;
	case IMAP_APPEND:
		append(&c->append, out);
		break;
	case IMAP_DELETE:
	case IMAP_SUBSCRIBE:
	case IMAP_UNSUBSCRIBE:
		text(c->mailbox, out);
		break;
	default:
		break;
	}
}

void imap_show(const struct imap_command *c, struct buf *out)
{
	buf_printf(out, SPAN_FMT " %s", SPAN_ARG(c->tag), c->verb->name);
	session_args(c, out);
	mailbox_args(c, out);
	switch (c->verb->id) {
	case IMAP_SEARCH:
		search(&c->search, out);
		break;
	case IMAP_FETCH:
		fetch(&c->fetch, out);
		break;
	case IMAP_STORE:
		store(&c->store, out);
		break;
	case IMAP_COPY:
	case IMAP_MOVE:
		set(&c->copy.set, out);
		text(c->copy.mailbox, out);
		break;
	case IMAP_EXPUNGE:
		set(&c->expunge, out);
		break;
	default:
		break;
	}
}

/* ---- the session's part ---- */

struct session {
	struct imap_feed *f;
	struct imap_reader r;
	struct pool *pool;
	size_t at, there; /* consumed; come in */
	struct buf *out;
};

static bool more(struct session *s)
{
	if (s->there == s->f->in.len)
		return false;
	s->there += s->f->step ? s->f->step : s->f->in.len;
	if (s->there > s->f->in.len)
		s->there = s->f->in.len;
	return true;
}

static void stream(struct session *s, const struct imap_result *res)
{
	uint64_t size = res->cmd->append.size, want = size;

	buf_str(s->out, "STREAM ");
	imap_show(res->cmd, s->out);
	buf_char(s->out, '\n');
	if (s->f->refuse) {
		if (!imap_reader_refuse(&s->r))
			buf_str(s->out, "CLOSE\n");
		return;
	}
	if (s->f->abandon)
		want = size / 2;
	while (s->there - s->at < want && more(s))
		;
	if (want > s->there - s->at)
		want = s->there - s->at;
	buf_str(s->out, "DATA");
	text(span_cut(span_skip(s->f->in, s->at), (size_t)want), s->out);
	buf_char(s->out, '\n');
	s->at += (size_t)want;
	if (s->f->abandon)
		imap_reader_abandon(&s->r, size - want);
	else
		imap_reader_streamed(&s->r);
}

static enum imap_read read_once(struct session *s, struct imap_result *res)
{
	size_t len = s->there - s->at;
	char *block = malloc(len + !len);

	assert_non_null(block);
	memcpy(block, s->f->in.at + s->at, len);
	size_t before = pool_used(s->pool);
	enum imap_read got = imap_read(&s->r, s->f->state, span_of(block, len), s->pool, res);
	free(block);
	assert_true(res->used <= len);
	if (got == IMAP_READ_MORE || got == IMAP_READ_CONTINUE)
		assert_int_equal(pool_used(s->pool), before);
	s->at += res->used;
	if (pool_used(s->pool) > s->f->pool_most)
		s->f->pool_most = pool_used(s->pool);
	return got;
}

/* false: nothing more to do. */
static bool turn(struct session *s, size_t *mark)
{
	struct imap_result res;
	enum imap_read got = read_once(s, &res);

	switch (got) {
	case IMAP_READ_CONTINUE:
		buf_str(s->out, "+\n");
		return true;
	case IMAP_READ_MORE:
		return more(s);
	case IMAP_READ_STREAM:
		stream(s, &res);
		if (!s->f->refuse && !s->f->abandon)
			return true;
		break;
	case IMAP_READ_COMMAND:
		imap_show(res.cmd, s->out);
		buf_char(s->out, '\n');
		break;
	case IMAP_READ_BAD:
		imap_put_bad(s->out, &res);
		s->out->len -= 2;
		buf_char(s->out, '\n');
		if (res.close) {
			buf_str(s->out, "CLOSE\n");
			s->at = s->f->in.len;
			return false;
		}
	}
	pool_back(s->pool, *mark);
	return true;
}

void imap_transcript(struct imap_feed *f, struct buf *out)
{
	struct session s = { .f = f,
			     .pool = pool_new("command", f->pool_max ? f->pool_max : IMAP_POOL_MAX),
			     .there = f->first ? f->first : f->in.len,
			     .out = out };
	size_t mark = pool_mark(s.pool);

	imap_reader_init(&s.r, f->exts);
	if (f->line_max)
		s.r.line_max = f->line_max;
	if (f->literals_max)
		s.r.literals_max = f->literals_max;
	f->pool_most = 0;
	while (turn(&s, &mark))
		;
	if (s.at < f->in.len)
		buf_str(out, "MORE\n");
	pool_free(s.pool);
	assert_false(out->failed);
}
