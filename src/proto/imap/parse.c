/* parse.c - the words of the IMAP grammar; see parse.h. */
#include "proto/imap/parse.h"

#include "proto/imap/utf7.h"

bool parse_bad(struct imap_parse *p, const char *why)
{
	if (p->stop == IMAP_STOP_NONE) {
		p->stop = IMAP_STOP_BAD;
		p->why = why;
	}
	return false;
}

bool parse_need(struct imap_parse *p, uint32_t ext)
{
	if (ext & ~p->exts)
		return parse_bad(p, "that extension is not offered here");
	p->needs |= ext;
	return true;
}

bool parse_deeper(struct imap_parse *p)
{
	if (++p->depth > IMAP_DEPTH_MAX)
		return parse_bad(p, "nested too deeply");
	return true;
}

void *parse_get(struct imap_parse *p, size_t len)
{
	void *at = pool_get(p->pool, len);

	if (!at)
		parse_bad(p, "the command is too complex");
	return at;
}

void *parse_grow(struct imap_parse *p, void *items, size_t n, size_t size)
{
	/* The room is the power of two from n up: full when n is one itself. */
	if (n & (n - 1))
		return items;
	void *more = parse_get(p, (n ? 2 * n : 1) * size);
	if (more && n)
		memcpy(more, items, n * size);
	return more;
}

bool parse_atom_char(unsigned char c)
{
	switch (c) {
	case '(':
	case ')':
	case '{':
	case '%':
	case '*':
	case '"':
	case '\\':
	case ']':
		return false;
	default:
		return c > ' ' && c < 0x7F;
	}
}

static bool astring_char(unsigned char c)
{
	return c == ']' || parse_atom_char(c);
}

static bool list_char(unsigned char c)
{
	return c == '%' || c == '*' || astring_char(c);
}

static bool name_char(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '-';
}

int parse_peek(const struct imap_parse *p)
{
	return p->at < p->end ? (unsigned char)*p->at : -1;
}

bool parse_take(struct imap_parse *p, char c)
{
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

static struct span run_of(struct imap_parse *p, bool (*in)(unsigned char))
{
	const char *from = p->at;

	while (p->at < p->end && in((unsigned char)*p->at))
		p->at++;
	return span_of(from, (size_t)(p->at - from));
}

struct span parse_name(struct imap_parse *p)
{
	return run_of(p, name_char);
}

bool parse_take_word(struct imap_parse *p, const char *word)
{
	const char *from = p->at;

	if (span_ieq(parse_name(p), span_str(word)))
		return true;
	p->at = from;
	return false;
}

const struct imap_word *imap_word(const struct imap_word *words, struct span name)
{
	for (; words->name; words++) {
		if (span_ieq(name, span_str(words->name)))
			return words;
	}
	return NULL;
}

bool parse_end(struct imap_parse *p)
{
	if (p->end - p->at != 2 || p->at[0] != '\r' || p->at[1] != '\n')
		return parse_bad(p, "the end of the line is expected");
	p->at = p->end;
	return true;
}

bool parse_sp(struct imap_parse *p)
{
	return parse_take(p, ' ') || parse_bad(p, "a space is expected");
}

bool parse_char(struct imap_parse *p, char c)
{
	return parse_take(p, c) || parse_bad(p, c == '(' ? "'(' is expected" : "')' is expected");
}

bool parse_list_next(struct imap_parse *p, bool *more)
{
	*more = parse_take(p, ' ');
	return *more || parse_char(p, ')');
}

bool parse_atom(struct imap_parse *p, struct span *out)
{
	*out = run_of(p, parse_atom_char);
	return out->len || parse_bad(p, "an atom is expected");
}

bool parse_number64(struct imap_parse *p, uint64_t *out)
{
	const char *from = p->at;

	while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
		p->at++;
	if (p->at == from)
		return parse_bad(p, "a number is expected");
	if (!span_u64(span_of(from, (size_t)(p->at - from)), out) || *out > INT64_MAX)
		return parse_bad(p, "the number is too large");
	return true;
}

bool parse_number(struct imap_parse *p, uint32_t *out)
{
	uint64_t n;

	if (!parse_number64(p, &n))
		return false;
	if (n > UINT32_MAX)
		return parse_bad(p, "the number is too large");
	*out = (uint32_t)n;
	return true;
}

bool parse_nz_number(struct imap_parse *p, uint32_t *out)
{
	return parse_number(p, out) && (*out || parse_bad(p, "the number must not be 0"));
}

/* ---- strings ---- */

static bool keep(struct imap_parse *p, struct span s, struct span *out)
{
	char *at = parse_get(p, s.len);

	if (!at)
		return false;
	if (s.len)
		memcpy(at, s.at, s.len);
	*out = span_of(at, s.len);
	return true;
}

bool imap_literal_at_end(struct span line, uint64_t *octets, bool *sync)
{
	size_t end = line.len, from;

	if (!end || line.at[--end] != '}')
		return false;
	bool plus = end && line.at[end - 1] == '+';
	if (plus)
		end--;
	for (from = end; from && line.at[from - 1] >= '0' && line.at[from - 1] <= '9'; from--)
		;
	if (from == end || !from || line.at[from - 1] != '{')
		return false;
	if (!span_u64(span_of(line.at + from, end - from), octets))
		*octets = UINT64_MAX;
	*sync = !plus;
	return true;
}

bool parse_literal_head(struct imap_parse *p, uint64_t *octets, bool *sync)
{
	if (!parse_take(p, '{'))
		return parse_bad(p, "a literal is expected");
	if (!parse_number64(p, octets))
		return false;
	*sync = !parse_take(p, '+');
	if (!*sync && !parse_need(p, IMAP_EXT_LITERAL_PLUS))
		return false;
	if (!parse_take(p, '}') || !parse_take(p, '\r') || !parse_take(p, '\n'))
		return parse_bad(p, "a literal is announced by {n} at the end of a line");
	return true;
}

static bool parse_literal(struct imap_parse *p, struct span *out)
{
	uint64_t octets;
	bool sync;

	if (!parse_literal_head(p, &octets, &sync))
		return false;
	/* Behind a literal the line goes on: without that its octets are not all here, were they none. */
	if (octets >= (size_t)(p->end - p->at)) {
		p->stop = IMAP_STOP_LITERAL;
		return false;
	}
	struct span s = span_of(p->at, (size_t)octets);
	if (span_find(s, '\0') != SIZE_MAX)
		return parse_bad(p, "a literal must not hold a NUL");
	p->at += octets;
	return keep(p, s, out);
}

/* One character between quotes, 8-bit ones as UTF-8; the cursor moves behind it.  NULL: not allowed. */
static const char *quoted_char(struct imap_parse *p, size_t *len)
{
	const char *at = p->at;

	if (*at == '\\') {
		at++;
		if (p->end - at < 1 || (*at != '"' && *at != '\\'))
			return NULL;
	}
	*len = span_utf8(span_of(at, (size_t)(p->end - at)));
	if (!*len || *at == '\r' || *at == '\n' || *at == '\0')
		return NULL;
	p->at = at + *len;
	return at;
}

static bool parse_quoted(struct imap_parse *p, struct span *out)
{
	const char *close = ++p->at;
	size_t len;

	/* The end first: then the copy can be as long as it has to be. */
	while (close < p->end && *close != '"' && *close != '\r')
		close += *close == '\\' && close + 1 < p->end ? 2 : 1;
	if (close >= p->end || *close != '"')
		return parse_bad(p, "a quoted string has no end");
	char *to = parse_get(p, (size_t)(close - p->at));
	if (!to)
		return false;
	*out = span_of(to, 0);
	while (p->at < close) {
		const char *from = quoted_char(p, &len);
		if (!from)
			return parse_bad(p, "a character that a quoted string cannot hold");
		memcpy(to + out->len, from, len);
		out->len += len;
	}
	p->at++;
	return true;
}

bool parse_string(struct imap_parse *p, struct span *out)
{
	int c = parse_peek(p);

	if (c == '"')
		return parse_quoted(p, out);
	if (c == '{')
		return parse_literal(p, out);
	return parse_bad(p, "a string is expected");
}

static bool parse_chars_or_string(struct imap_parse *p, bool (*in)(unsigned char), struct span *out)
{
	int c = parse_peek(p);

	if (c == '"' || c == '{')
		return parse_string(p, out);
	struct span s = run_of(p, in);
	return s.len ? keep(p, s, out) : parse_bad(p, "a string is expected");
}

bool parse_astring(struct imap_parse *p, struct span *out)
{
	return parse_chars_or_string(p, astring_char, out);
}

bool parse_upper_atom(struct imap_parse *p, struct span *out)
{
	struct span s;

	if (!parse_atom(p, &s))
		return false;
	char *at = parse_get(p, s.len);
	if (!at)
		return false;
	for (size_t i = 0; i < s.len; i++)
		at[i] = s.at[i] >= 'a' && s.at[i] <= 'z' ? (char)(s.at[i] - 'a' + 'A') : s.at[i];
	*out = span_of(at, s.len);
	return true;
}

static bool decode_name(struct imap_parse *p, struct span utf7, struct span *out)
{
	size_t room = IMAP_UTF8_ROOM(utf7.len), len;
	char *at = parse_get(p, room);

	if (!at)
		return false;
	if (imap_utf7_decode(utf7, at, room, &len, NULL) != ST_OK)
		return parse_bad(p, "the mailbox name is not modified UTF-7");
	*out = span_of(at, len);
	return true;
}

bool parse_mailbox(struct imap_parse *p, struct span *out)
{
	struct span s;

	if (!parse_astring(p, &s) || !decode_name(p, s, out))
		return false;
	if (span_ieq(*out, SPAN("INBOX")))
		*out = SPAN("INBOX");
	return true;
}

bool parse_list_mailbox(struct imap_parse *p, struct span *out)
{
	struct span s;

	if (!parse_chars_or_string(p, list_char, &s))
		return false;
	if (s.len > IMAP_PATTERN_MAX)
		return parse_bad(p, "the pattern is too long");
	return decode_name(p, s, out);
}

/* ---- sets and flags ---- */

/* seq-number: 0 for '*'. */
static bool parse_seq_number(struct imap_parse *p, uint32_t *out)
{
	*out = 0;
	return parse_take(p, '*') || parse_nz_number(p, out);
}

static bool parse_range(struct imap_parse *p, struct imap_range *r)
{
	if (!parse_seq_number(p, &r->first))
		return false;
	r->last = r->first;
	if (!parse_take(p, ':'))
		return true;
	if (!parse_seq_number(p, &r->last))
		return false;
	/* '*' counts as the largest here, so it goes last. */
	if (!r->first || (r->last && r->last < r->first))
		*r = (struct imap_range){ r->last, r->first };
	return true;
}

bool parse_set(struct imap_parse *p, struct imap_set *out)
{
	uint32_t n = 1;

	for (const char *at = p->at; at < p->end && strchr("0123456789:*,", *at) && *at; at++)
		n += *at == ',';
	if (n > IMAP_SET_MAX)
		return parse_bad(p, "the set has too many ranges");
	struct imap_range *ranges = parse_get(p, n * sizeof(*ranges));
	if (!ranges)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (i && !parse_take(p, ','))
			return parse_bad(p, "a set of numbers is expected");
		if (!parse_range(p, &ranges[i]))
			return false;
	}
	*out = (struct imap_set){ ranges, n };
	return true;
}

static bool parse_system_flag(struct imap_parse *p, uint32_t *flags)
{
	static const struct imap_word words[] = {
		{ "Seen", IMAP_FLAG_SEEN, 0 },       { "Answered", IMAP_FLAG_ANSWERED, 0 },
		{ "Flagged", IMAP_FLAG_FLAGGED, 0 }, { "Deleted", IMAP_FLAG_DELETED, 0 },
		{ "Draft", IMAP_FLAG_DRAFT, 0 },     { NULL, 0, 0 },
	};
	struct span name;

	if (!parse_atom(p, &name))
		return false;
	const struct imap_word *w = imap_word(words, name);
	if (!w)
		return parse_bad(p, "no such system flag can be set");
	*flags |= w->value;
	return true;
}

static bool parse_flag(struct imap_parse *p, struct span **keywords, struct imap_flags *out)
{
	struct span name;

	if (parse_take(p, '\\'))
		return parse_system_flag(p, &out->system);
	if (!parse_atom(p, &name))
		return false;
	for (uint32_t i = 0; i < out->nkeywords; i++) {
		if (span_ieq((*keywords)[i], name))
			return true;
	}
	if (out->nkeywords == IMAP_KEYWORDS_MAX)
		return parse_bad(p, "too many keywords");
	*keywords = parse_grow(p, *keywords, out->nkeywords, sizeof(**keywords));
	return *keywords && keep(p, name, &(*keywords)[out->nkeywords++]);
}

bool parse_flags(struct imap_parse *p, bool bare, struct imap_flags *out)
{
	struct span *keywords = NULL;
	bool list = parse_take(p, '('), more = true;

	*out = (struct imap_flags){ 0 };
	if (!list && !bare)
		return parse_bad(p, "'(' is expected");
	if (list && parse_take(p, ')'))
		return true;
	while (more) {
		if (!parse_flag(p, &keywords, out))
			return false;
		if (!list)
			more = parse_take(p, ' ');
		else if (!parse_list_next(p, &more))
			return false;
	}
	out->keywords = keywords;
	return true;
}

bool parse_status_items(struct imap_parse *p, uint32_t *out)
{
	static const struct imap_word words[] = {
		{ "MESSAGES", IMAP_STATUS_MESSAGES, 0 },
		{ "RECENT", IMAP_STATUS_RECENT, 0 },
		{ "UIDNEXT", IMAP_STATUS_UIDNEXT, 0 },
		{ "UIDVALIDITY", IMAP_STATUS_UIDVALIDITY, 0 },
		{ "UNSEEN", IMAP_STATUS_UNSEEN, 0 },
		{ "HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ, IMAP_EXT_CONDSTORE },
		{ NULL, 0, 0 },
	};
	bool more = true;

	if (!parse_char(p, '('))
		return false;
	while (more) {
		const struct imap_word *w = imap_word(words, parse_name(p));
		if (!w)
			return parse_bad(p, "no such status item");
		*out |= w->value;
		if (!parse_need(p, w->ext) || !parse_list_next(p, &more))
			return false;
	}
	return true;
}
