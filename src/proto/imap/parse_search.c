/* parse_search.c - the arguments of SEARCH (RFC 3501 section 6.4.4, RFC 7162 section 3.1.5, RFC 4731).
 *
 * Keys become nodes of a tree.  Its nodes and its depth are bounded, so recursion here and wherever
 * the tree is walked is too. */
#include "proto/imap/parse.h"

enum takes {
	TAKES_NOTHING,
	TAKES_FLAG, /* num is the flag */
	TAKES_NOT_FLAG,
	TAKES_NEW,
	TAKES_NUMBER,
	TAKES_DATE,
	TAKES_STRING,
	TAKES_HEADER,
	TAKES_KEYWORD,
	TAKES_NOT_KEYWORD,
	TAKES_UIDS,
	TAKES_NOT,
	TAKES_OR,
	TAKES_MODSEQ
};

static const struct key_word {
	const char *name;
	enum imap_key_op op;
	enum takes takes;
	uint32_t flag;
} key_words[] = {
	{ "ALL", IMAP_KEY_ALL, TAKES_NOTHING, 0 },
	{ "ANSWERED", IMAP_KEY_FLAG, TAKES_FLAG, IMAP_FLAG_ANSWERED },
	{ "BCC", IMAP_KEY_BCC, TAKES_STRING, 0 },
	{ "BEFORE", IMAP_KEY_BEFORE, TAKES_DATE, 0 },
	{ "BODY", IMAP_KEY_BODY, TAKES_STRING, 0 },
	{ "CC", IMAP_KEY_CC, TAKES_STRING, 0 },
	{ "DELETED", IMAP_KEY_FLAG, TAKES_FLAG, IMAP_FLAG_DELETED },
	{ "DRAFT", IMAP_KEY_FLAG, TAKES_FLAG, IMAP_FLAG_DRAFT },
	{ "FLAGGED", IMAP_KEY_FLAG, TAKES_FLAG, IMAP_FLAG_FLAGGED },
	{ "FROM", IMAP_KEY_FROM, TAKES_STRING, 0 },
	{ "HEADER", IMAP_KEY_HEADER, TAKES_HEADER, 0 },
	{ "KEYWORD", IMAP_KEY_KEYWORD, TAKES_KEYWORD, 0 },
	{ "LARGER", IMAP_KEY_LARGER, TAKES_NUMBER, 0 },
	{ "MODSEQ", IMAP_KEY_MODSEQ, TAKES_MODSEQ, 0 },
	{ "NEW", IMAP_KEY_AND, TAKES_NEW, 0 },
	{ "NOT", IMAP_KEY_NOT, TAKES_NOT, 0 },
	{ "OLD", IMAP_KEY_FLAG, TAKES_NOT_FLAG, IMAP_FLAG_RECENT },
	{ "ON", IMAP_KEY_ON, TAKES_DATE, 0 },
	{ "OR", IMAP_KEY_OR, TAKES_OR, 0 },
	{ "RECENT", IMAP_KEY_FLAG, TAKES_FLAG, IMAP_FLAG_RECENT },
	{ "SEEN", IMAP_KEY_FLAG, TAKES_FLAG, IMAP_FLAG_SEEN },
	{ "SENTBEFORE", IMAP_KEY_SENTBEFORE, TAKES_DATE, 0 },
	{ "SENTON", IMAP_KEY_SENTON, TAKES_DATE, 0 },
	{ "SENTSINCE", IMAP_KEY_SENTSINCE, TAKES_DATE, 0 },
	{ "SINCE", IMAP_KEY_SINCE, TAKES_DATE, 0 },
	{ "SMALLER", IMAP_KEY_SMALLER, TAKES_NUMBER, 0 },
	{ "SUBJECT", IMAP_KEY_SUBJECT, TAKES_STRING, 0 },
	{ "TEXT", IMAP_KEY_TEXT, TAKES_STRING, 0 },
	{ "TO", IMAP_KEY_TO, TAKES_STRING, 0 },
	{ "UID", IMAP_KEY_UIDS, TAKES_UIDS, 0 },
	{ "UNANSWERED", IMAP_KEY_FLAG, TAKES_NOT_FLAG, IMAP_FLAG_ANSWERED },
	{ "UNDELETED", IMAP_KEY_FLAG, TAKES_NOT_FLAG, IMAP_FLAG_DELETED },
	{ "UNDRAFT", IMAP_KEY_FLAG, TAKES_NOT_FLAG, IMAP_FLAG_DRAFT },
	{ "UNFLAGGED", IMAP_KEY_FLAG, TAKES_NOT_FLAG, IMAP_FLAG_FLAGGED },
	{ "UNKEYWORD", IMAP_KEY_KEYWORD, TAKES_NOT_KEYWORD, 0 },
	{ "UNSEEN", IMAP_KEY_FLAG, TAKES_NOT_FLAG, IMAP_FLAG_SEEN },
};

static bool parse_key(struct imap_parse *p, struct imap_key **out);

static struct imap_key *new_key(struct imap_parse *p, enum imap_key_op op)
{
	if (++p->keys > IMAP_KEYS_MAX) {
		parse_bad(p, "too many search keys");
		return NULL;
	}
	struct imap_key *k = parse_get(p, sizeof(*k));
	if (k)
		k->op = op;
	return k;
}

static bool new_flag(struct imap_parse *p, uint32_t flag, struct imap_key **out)
{
	*out = new_key(p, IMAP_KEY_FLAG);
	if (*out)
		(*out)->num = flag;
	return *out;
}

/* Put NOT above *k. */
static bool negate(struct imap_parse *p, struct imap_key **k)
{
	struct imap_key *above = new_key(p, IMAP_KEY_NOT);

	if (!above)
		return false;
	above->kids = *k;
	*k = above;
	return true;
}

/* NEW: RECENT and not SEEN. */
static bool new_new(struct imap_parse *p, struct imap_key **out)
{
	struct imap_key *both = new_key(p, IMAP_KEY_AND), *seen;

	if (!both || !new_flag(p, IMAP_FLAG_RECENT, &both->kids) ||
	    !new_flag(p, IMAP_FLAG_SEEN, &seen) || !negate(p, &seen))
		return false;
	both->kids->next = seen;
	*out = both;
	return true;
}

/* SP key SP key; where the second is an OR itself its keys become ours, so that a long chain of
 * alternatives is not a deep tree. */
static bool parse_or(struct imap_parse *p, struct imap_key *k)
{
	struct imap_key **tail = &k->kids;

	do {
		if (!parse_sp(p) || !parse_key(p, tail) || !parse_sp(p))
			return false;
		tail = &(*tail)->next;
	} while (parse_take_word(p, "OR"));
	return parse_key(p, tail);
}

static bool parse_keyword(struct imap_parse *p, struct span *out)
{
	struct span name;

	if (!parse_atom(p, &name))
		return false;
	char *at = parse_get(p, name.len);
	if (!at)
		return false;
	memcpy(at, name.at, name.len);
	*out = span_of(at, name.len);
	return true;
}

/* [SP entry-name SP entry-type] SP number */
static bool parse_modseq_key(struct imap_parse *p, struct imap_key *k)
{
	if (!parse_need(p, IMAP_EXT_CONDSTORE))
		return false;
	if (parse_peek(p) == '"') {
		if (!parse_string(p, &k->name) || !parse_sp(p))
			return false;
		if (!parse_take_word(p, "all") && !parse_take_word(p, "shared") &&
		    !parse_take_word(p, "priv"))
			return parse_bad(p, "no such entry type");
		if (!parse_sp(p))
			return false;
	}
	return parse_number64(p, &k->num);
}

/* What stands behind a key's name, into a node of its own. */
static bool parse_argument(struct imap_parse *p, enum takes takes, struct imap_key *k)
{
	if (takes == TAKES_OR)
		return parse_or(p, k);
	if (!parse_sp(p))
		return false;
	switch (takes) {
	case TAKES_NUMBER:
		return parse_number64(p, &k->num);
	case TAKES_DATE:
		return parse_date(p, &k->num);
	case TAKES_STRING:
		return parse_astring(p, &k->text);
	case TAKES_HEADER:
		return parse_astring(p, &k->name) && parse_sp(p) && parse_astring(p, &k->text);
	case TAKES_KEYWORD:
	case TAKES_NOT_KEYWORD:
		return parse_keyword(p, &k->text);
	case TAKES_UIDS:
		return parse_set(p, &k->set);
	case TAKES_NOT:
		return parse_key(p, &k->kids);
	default:
		return parse_modseq_key(p, k);
	}
}

static bool parse_named_key(struct imap_parse *p, struct imap_key **out)
{
	const size_t nwords = sizeof(key_words) / sizeof(key_words[0]);
	struct span name = parse_name(p);
	size_t i = 0;

	while (i < nwords && !span_ieq(name, span_str(key_words[i].name)))
		i++;
	if (i == nwords)
		return parse_bad(p, "no such search key");
	const struct key_word *w = &key_words[i];
	if (w->takes == TAKES_NEW)
		return new_new(p, out);
	*out = new_key(p, w->op);
	if (!*out)
		return false;
	(*out)->num = w->flag;
	if (w->takes > TAKES_NEW && !parse_argument(p, w->takes, *out))
		return false;
	if (w->takes == TAKES_NOT_FLAG || w->takes == TAKES_NOT_KEYWORD)
		return negate(p, out);
	return true;
}

/* Keys up to what ends them: one is itself, more are AND. */
static bool parse_keys(struct imap_parse *p, bool list, struct imap_key **out)
{
	struct imap_key *first = NULL, **tail = &first;
	bool more = true;

	while (more) {
		if (!parse_key(p, tail))
			return false;
		tail = &(*tail)->next;
		if (!list)
			more = parse_take(p, ' ');
		else if (!parse_list_next(p, &more))
			return false;
	}
	*out = first;
	if (!first->next)
		return true;
	*out = new_key(p, IMAP_KEY_AND);
	if (*out)
		(*out)->kids = first;
	return *out;
}

static bool parse_key(struct imap_parse *p, struct imap_key **out)
{
	int c = parse_peek(p);
	bool good;

	if (!parse_deeper(p))
		return false;
	if (parse_take(p, '(')) {
		good = parse_keys(p, true, out);
	} else if (c == '*' || (c >= '0' && c <= '9')) {
		*out = new_key(p, IMAP_KEY_SEQS);
		good = *out && parse_set(p, &(*out)->set);
	} else {
		good = parse_named_key(p, out);
	}
	p->depth--;
	return good;
}

/* "RETURN (" options ")" and the space behind it. */
static bool parse_returns(struct imap_parse *p, struct imap_search *s)
{
	static const struct imap_word words[] = {
		{ "MIN", IMAP_RETURN_MIN, 0 },
		{ "MAX", IMAP_RETURN_MAX, 0 },
		{ "ALL", IMAP_RETURN_ALL, 0 },
		{ "COUNT", IMAP_RETURN_COUNT, 0 },
		{ NULL, 0, 0 },
	};
	bool more = true;

	s->esearch = true;
	if (!parse_need(p, IMAP_EXT_ESEARCH) || !parse_sp(p) || !parse_char(p, '('))
		return false;
	if (parse_take(p, ')'))
		more = false;
	while (more) {
		const struct imap_word *w = imap_word(words, parse_name(p));
		if (!w)
			return parse_bad(p, "no such option");
		s->returns |= w->value;
		if (!parse_list_next(p, &more))
			return false;
	}
	if (!s->returns)
		s->returns = IMAP_RETURN_ALL;
	return parse_sp(p);
}

bool parse_search(struct imap_parse *p, struct imap_command *c)
{
	struct imap_search *s = &c->search;

	if (!parse_sp(p))
		return false;
	if (parse_take_word(p, "RETURN") && !parse_returns(p, s))
		return false;
	if (parse_take_word(p, "CHARSET") &&
	    (!parse_sp(p) || !parse_astring(p, &s->charset) || !parse_sp(p)))
		return false;
	return parse_keys(p, false, &s->key) && parse_end(p);
}

bool imap_charset_known(struct span charset)
{
	return !charset.at || span_ieq(charset, SPAN("US-ASCII")) ||
	       span_ieq(charset, SPAN("UTF-8"));
}
