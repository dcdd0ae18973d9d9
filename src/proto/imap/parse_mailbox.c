/* parse_mailbox.c - the arguments of commands about mailboxes. */
#include "proto/imap/parse.h"

bool parse_one_mailbox(struct imap_parse *p, struct imap_command *c)
{
	return parse_sp(p) && parse_mailbox(p, &c->mailbox) && parse_end(p);
}

bool parse_rename(struct imap_parse *p, struct imap_command *c)
{
	return parse_sp(p) && parse_mailbox(p, &c->rename.from) && parse_sp(p) &&
	       parse_mailbox(p, &c->rename.to) && parse_end(p);
}

/* ---- SELECT, EXAMINE (RFC 7162 section 7) ---- */

static bool has_star(const struct imap_set *set)
{
	for (uint32_t i = 0; i < set->n; i++) {
		if (!set->ranges[i].last)
			return true;
	}
	return false;
}

static bool parse_known_set(struct imap_parse *p, struct imap_set *out)
{
	if (!parse_set(p, out))
		return false;
	return !has_star(out) || parse_bad(p, "'*' has no meaning here");
}

static bool parse_seq_match(struct imap_parse *p, struct imap_select *s)
{
	return parse_char(p, '(') && parse_known_set(p, &s->match_seqs) && parse_sp(p) &&
	       parse_known_set(p, &s->match_uids) && parse_char(p, ')');
}

/* "(" uidvalidity SP modseq [SP known-uids] [SP seq-match-data] ")" */
static bool parse_qresync(struct imap_parse *p, struct imap_select *s)
{
	s->qresync = true;
	if (!parse_sp(p) || !parse_char(p, '(') || !parse_nz_number(p, &s->uidvalidity) ||
	    !parse_sp(p) || !parse_number64(p, &s->modseq))
		return false;
	if (!s->modseq)
		return parse_bad(p, "the number must not be 0");
	bool more = parse_take(p, ' ');
	if (more && parse_peek(p) != '(') {
		if (!parse_known_set(p, &s->known_uids))
			return false;
		more = parse_take(p, ' ');
	}
	if (more && !parse_seq_match(p, s))
		return false;
	return parse_char(p, ')');
}

static bool parse_select_param(struct imap_parse *p, struct imap_select *s)
{
	if (parse_take_word(p, "CONDSTORE")) {
		s->condstore = true;
		return parse_need(p, IMAP_EXT_CONDSTORE);
	}
	if (parse_take_word(p, "QRESYNC"))
		return parse_need(p, IMAP_EXT_QRESYNC) && parse_qresync(p, s);
	return parse_bad(p, "no such parameter");
}

bool parse_select(struct imap_parse *p, struct imap_command *c)
{
	bool more;

	if (!parse_sp(p) || !parse_mailbox(p, &c->select.mailbox))
		return false;
	more = parse_take(p, ' ');
	if (more && !parse_char(p, '('))
		return false;
	while (more) {
		if (!parse_select_param(p, &c->select) || !parse_list_next(p, &more))
			return false;
	}
	return parse_end(p);
}

/* ---- CREATE (RFC 6154 section 5) ---- */

static bool parse_use(struct imap_parse *p, struct imap_create *c)
{
	static const struct imap_word words[] = {
		{ "All", IMAP_USE_ALL, 0 },       { "Archive", IMAP_USE_ARCHIVE, 0 },
		{ "Drafts", IMAP_USE_DRAFTS, 0 }, { "Flagged", IMAP_USE_FLAGGED, 0 },
		{ "Junk", IMAP_USE_JUNK, 0 },     { "Sent", IMAP_USE_SENT, 0 },
		{ "Trash", IMAP_USE_TRASH, 0 },   { NULL, 0, 0 },
	};
	struct span name;

	if (!parse_take(p, '\\'))
		return parse_bad(p, "a special use is expected");
	if (!parse_atom(p, &name))
		return false;
	const struct imap_word *w = imap_word(words, name);
	if (w)
		c->use |= w->value;
	else
		c->use_unknown = true;
	return true;
}

static bool parse_uses(struct imap_parse *p, struct imap_create *c)
{
	bool more = true;

	if (!parse_take_word(p, "USE"))
		return parse_bad(p, "no such parameter");
	if (!parse_need(p, IMAP_EXT_CREATE_SPECIAL_USE) || !parse_sp(p) || !parse_char(p, '('))
		return false;
	if (parse_take(p, ')'))
		return true;
	while (more) {
		if (!parse_use(p, c) || !parse_list_next(p, &more))
			return false;
	}
	return true;
}

bool parse_create(struct imap_parse *p, struct imap_command *c)
{
	if (!parse_sp(p) || !parse_mailbox(p, &c->create.mailbox))
		return false;
	if (parse_take(p, ' ') &&
	    (!parse_char(p, '(') || !parse_uses(p, &c->create) || !parse_char(p, ')')))
		return false;
	return parse_end(p);
}

/* ---- LIST, LSUB (RFC 5258 section 6, RFC 6154, RFC 5819) ---- */

static const struct imap_word select_words[] = {
	{ "SPECIAL-USE", IMAP_LIST_SPECIAL_USE, IMAP_EXT_SPECIAL_USE },
	{ "SUBSCRIBED", IMAP_LIST_SUBSCRIBED, IMAP_EXT_LIST_EXTENDED },
	{ "REMOTE", IMAP_LIST_REMOTE, IMAP_EXT_LIST_EXTENDED },
	{ "RECURSIVEMATCH", IMAP_LIST_RECURSIVE, IMAP_EXT_LIST_EXTENDED },
	{ NULL, 0, 0 },
};
static const struct imap_word return_words[] = {
	{ "SPECIAL-USE", IMAP_LIST_SPECIAL_USE, IMAP_EXT_SPECIAL_USE },
	{ "SUBSCRIBED", IMAP_LIST_SUBSCRIBED, IMAP_EXT_LIST_EXTENDED },
	{ "CHILDREN", IMAP_LIST_CHILDREN, IMAP_EXT_LIST_EXTENDED },
	{ "STATUS", IMAP_LIST_STATUS, IMAP_EXT_LIST_STATUS },
	{ NULL, 0, 0 },
};

/* "(" [word *(SP word)] ")"; STATUS among the returns has its items behind it. */
static bool parse_list_words(struct imap_parse *p, const struct imap_word *words, unsigned *out,
			     uint32_t *status)
{
	bool more = true;

	if (!parse_char(p, '('))
		return false;
	if (parse_take(p, ')'))
		return true;
	while (more) {
		const struct imap_word *w = imap_word(words, parse_name(p));
		if (!w)
			return parse_bad(p, "no such option");
		*out |= w->value;
		if (!parse_need(p, w->ext))
			return false;
		if (w->value == IMAP_LIST_STATUS &&
		    (!parse_sp(p) || !parse_status_items(p, status)))
			return false;
		if (!parse_list_next(p, &more))
			return false;
	}
	return true;
}

static bool parse_patterns(struct imap_parse *p, struct imap_list *l)
{
	struct span *patterns = NULL;
	bool list = parse_take(p, '('), more = true;

	if (list && !parse_need(p, IMAP_EXT_LIST_EXTENDED))
		return false;
	l->extended |= list;
	while (more) {
		patterns = parse_grow(p, patterns, l->npatterns, sizeof(*patterns));
		if (!patterns || !parse_list_mailbox(p, &patterns[l->npatterns++]))
			return false;
		more = false;
		if (list && !parse_list_next(p, &more))
			return false;
	}
	l->patterns = patterns;
	return true;
}

bool parse_list(struct imap_parse *p, struct imap_command *c)
{
	struct imap_list *l = &c->list;

	if (!parse_sp(p))
		return false;
	l->extended = parse_peek(p) == '(';
	if (l->extended && (!parse_list_words(p, select_words, &l->select, NULL) || !parse_sp(p)))
		return false;
	/* RFC 5258 section 3.1: what matches recursively must be said. */
	if ((l->select & IMAP_LIST_RECURSIVE) &&
	    !(l->select & ~(IMAP_LIST_RECURSIVE | IMAP_LIST_REMOTE)))
		return parse_bad(p, "RECURSIVEMATCH needs another selection");
	if (!parse_mailbox(p, &l->reference) || !parse_sp(p) || !parse_patterns(p, l))
		return false;
	if (parse_take(p, ' ')) {
		l->extended = true;
		if (!parse_take_word(p, "RETURN"))
			return parse_bad(p, "RETURN is expected");
		if (!parse_sp(p) || !parse_list_words(p, return_words, &l->returns, &l->status))
			return false;
	}
	return parse_end(p);
}

bool parse_lsub(struct imap_parse *p, struct imap_command *c)
{
	struct span *pattern = parse_get(p, sizeof(*pattern));

	if (!pattern || !parse_sp(p) || !parse_mailbox(p, &c->list.reference) || !parse_sp(p) ||
	    !parse_list_mailbox(p, pattern))
		return false;
	c->list.patterns = pattern;
	c->list.npatterns = 1;
	return parse_end(p);
}

/* ---- STATUS, APPEND ---- */

bool parse_status(struct imap_parse *p, struct imap_command *c)
{
	return parse_sp(p) && parse_mailbox(p, &c->status.mailbox) && parse_sp(p) &&
	       parse_status_items(p, &c->status.items) && parse_end(p);
}

bool parse_append(struct imap_parse *p, struct imap_command *c)
{
	struct imap_append *a = &c->append;

	if (!parse_sp(p) || !parse_mailbox(p, &a->mailbox) || !parse_sp(p))
		return false;
	if (parse_peek(p) == '(' && (!parse_flags(p, false, &a->flags) || !parse_sp(p)))
		return false;
	a->has_date = parse_peek(p) == '"';
	if (a->has_date && (!parse_date_time(p, &a->date, &a->zone) || !parse_sp(p)))
		return false;
	if (!parse_literal_head(p, &a->size, &a->sync))
		return false;
	p->stop = IMAP_STOP_STREAM;
	return false;
}
