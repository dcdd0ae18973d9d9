/* reply.c - writing what an IMAP server says; see reply.h. */
#include "proto/imap/reply.h"

#include "proto/imap/parse.h"
#include "proto/imap/utf7.h"

/* Longer strings go out as literals: a client may read quoted ones into a line buffer. */
#define QUOTED_MAX 1000

/* ---- strings ---- */

void imap_put_quoted(struct buf *b, struct span s)
{
	buf_char(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] == '"' || s.at[i] == '\\')
			buf_char(b, '\\');
		buf_char(b, s.at[i]);
	}
	buf_char(b, '"');
}

void imap_put_literal(struct buf *b, uint64_t octets)
{
	buf_char(b, '{');
	buf_u64(b, octets);
	buf_str(b, "}\r\n");
}

static bool can_quote(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];

		if (!c || c == '\r' || c == '\n' || c >= 0x80)
			return false;
	}
	return s.len <= QUOTED_MAX;
}

void imap_put_string(struct buf *b, struct span s)
{
	if (can_quote(s)) {
		imap_put_quoted(b, s);
		return;
	}
	imap_put_literal(b, s.len);
	char *at = buf_room(b, s.len);
	if (!at)
		return;
	for (size_t i = 0; i < s.len; i++)
		at[i] = s.at[i] ? s.at[i] : '?';
	b->len += s.len;
}

void imap_put_nstring(struct buf *b, struct span s)
{
	if (s.at)
		imap_put_string(b, s);
	else
		buf_str(b, "NIL");
}

void imap_put_astring(struct buf *b, struct span s)
{
	/* NIL is an atom that a client could take for nothing. */
	bool atom = s.len && s.len <= QUOTED_MAX && !span_ieq(s, SPAN("NIL"));

	for (size_t i = 0; i < s.len && atom; i++)
		atom = s.at[i] == ']' || parse_atom_char((unsigned char)s.at[i]);
	if (atom)
		buf_span(b, s);
	else
		imap_put_string(b, s);
}

static void put_name(struct buf *b, struct span name, void (*put)(struct buf *, struct span))
{
	struct buf utf7 = BUF_MAX(IMAP_UTF7_ROOM(name.len));
	char *at = buf_room(&utf7, utf7.max);
	size_t len;

	if (!at)
		b->failed = true;
	else if (imap_utf7_encode(name, at, utf7.max, &len, NULL) == ST_OK)
		put(b, span_of(at, len));
	else
		imap_put_string(b, name);
	buf_free(&utf7);
}

void imap_put_mailbox(struct buf *b, struct span name)
{
	put_name(b, name, imap_put_astring);
}

/* ---- lists of words ---- */

struct bit_word {
	uint32_t bit;
	const char *word;
};

/* The words of the bits, a space between two; true if there was any. */
static bool put_bits(struct buf *b, uint32_t bits, const struct bit_word *words, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (!(bits & words[i].bit))
			continue;
		if (any)
			buf_char(b, ' ');
		buf_str(b, words[i].word);
		any = true;
	}
	return any;
}

static bool put_flag_words(struct buf *b, uint32_t system, const struct span *keywords, size_t n)
{
	static const struct bit_word words[] = {
		{ IMAP_FLAG_ANSWERED, "\\Answered" }, { IMAP_FLAG_FLAGGED, "\\Flagged" },
		{ IMAP_FLAG_DELETED, "\\Deleted" },   { IMAP_FLAG_SEEN, "\\Seen" },
		{ IMAP_FLAG_DRAFT, "\\Draft" },       { IMAP_FLAG_RECENT, "\\Recent" },
	};
	bool any = put_bits(b, system, words, sizeof(words) / sizeof(words[0]));

	for (size_t i = 0; i < n; i++) {
		if (any)
			buf_char(b, ' ');
		buf_span(b, keywords[i]);
		any = true;
	}
	return any;
}

void imap_put_flags(struct buf *b, uint32_t system, const struct span *keywords, size_t n)
{
	buf_char(b, '(');
	put_flag_words(b, system, keywords, n);
	buf_char(b, ')');
}

/* ---- status replies ---- */

void imap_put_cond_begin(struct buf *b, struct span tag, enum imap_cond cond)
{
	static const char *const words[] = { "OK", "NO", "BAD", "BYE", "PREAUTH" };

	if (tag.at)
		buf_span(b, tag);
	else
		buf_char(b, '*');
	buf_char(b, ' ');
	buf_str(b, words[cond]);
	buf_char(b, ' ');
}

static void put_text(struct buf *b, const char *text)
{
	for (; *text; text++)
		buf_char(b, *text >= ' ' && *text < 0x7F ? *text : '?');
}

void imap_put_text_end(struct buf *b, const char *text)
{
	buf_char(b, ' ');
	put_text(b, text);
	buf_str(b, "\r\n");
}

void imap_put_cond(struct buf *b, struct span tag, enum imap_cond cond, const char *code,
		   const char *text)
{
	imap_put_cond_begin(b, tag, cond);
	if (code) {
		buf_char(b, '[');
		buf_str(b, code);
		buf_str(b, "] ");
	}
	put_text(b, text);
	buf_str(b, "\r\n");
}

void imap_put_code_number(struct buf *b, const char *code, uint64_t n, const char *text)
{
	imap_put_cond_begin(b, SPAN_NONE, IMAP_OK);
	buf_char(b, '[');
	buf_str(b, code);
	buf_char(b, ' ');
	buf_u64(b, n);
	buf_char(b, ']');
	imap_put_text_end(b, text);
}

void imap_put_appenduid(struct buf *b, struct span tag, uint32_t uidvalidity, uint32_t uid,
			const char *text)
{
	imap_put_cond_begin(b, tag, IMAP_OK);
	buf_printf(b, "[APPENDUID %u %u]", uidvalidity, uid);
	imap_put_text_end(b, text);
}

void imap_put_copyuid(struct buf *b, struct span tag, uint32_t uidvalidity, const struct uset *from,
		      const struct uset *to, const char *text)
{
	/* The code has no form for nothing at all (RFC 4315 section 3). */
	if (!from->count) {
		imap_put_cond(b, tag, IMAP_OK, NULL, text);
		return;
	}
	imap_put_cond_begin(b, tag, IMAP_OK);
	buf_printf(b, "[COPYUID %u ", uidvalidity);
	uset_text(from, b);
	buf_char(b, ' ');
	uset_text(to, b);
	buf_char(b, ']');
	imap_put_text_end(b, text);
}

/* ---- data replies ---- */

void imap_put_number(struct buf *b, uint32_t n, const char *what)
{
	buf_str(b, "* ");
	buf_u64(b, n);
	buf_char(b, ' ');
	buf_str(b, what);
	buf_str(b, "\r\n");
}

void imap_put_capability(struct buf *b, const struct imap_offer *offer)
{
	buf_str(b, "* CAPABILITY ");
	imap_capabilities(b, offer);
	buf_str(b, "\r\n");
}

void imap_put_flags_line(struct buf *b, uint32_t system, const struct span *keywords, size_t n)
{
	buf_str(b, "* FLAGS ");
	imap_put_flags(b, system, keywords, n);
	buf_str(b, "\r\n");
}

void imap_put_permanentflags(struct buf *b, uint32_t system, const struct span *keywords, size_t n,
			     bool any)
{
	buf_str(b, "* OK [PERMANENTFLAGS (");
	if (put_flag_words(b, system, keywords, n) && any)
		buf_char(b, ' ');
	if (any)
		buf_str(b, "\\*");
	buf_str(b, ")] these flags last\r\n");
}

void imap_put_list(struct buf *b, const char *what, uint32_t attrs, char delim, struct span name)
{
	static const struct bit_word words[] = {
		{ IMAP_ATTR_NOINFERIORS, "\\Noinferiors" },
		{ IMAP_ATTR_NOSELECT, "\\Noselect" },
		{ IMAP_ATTR_NONEXISTENT, "\\NonExistent" },
		{ IMAP_ATTR_MARKED, "\\Marked" },
		{ IMAP_ATTR_UNMARKED, "\\Unmarked" },
		{ IMAP_ATTR_SUBSCRIBED, "\\Subscribed" },
		{ IMAP_ATTR_HASCHILDREN, "\\HasChildren" },
		{ IMAP_ATTR_HASNOCHILDREN, "\\HasNoChildren" },
		{ IMAP_USE_ALL, "\\All" },
		{ IMAP_USE_ARCHIVE, "\\Archive" },
		{ IMAP_USE_DRAFTS, "\\Drafts" },
		{ IMAP_USE_FLAGGED, "\\Flagged" },
		{ IMAP_USE_JUNK, "\\Junk" },
		{ IMAP_USE_SENT, "\\Sent" },
		{ IMAP_USE_TRASH, "\\Trash" },
	};

	buf_str(b, "* ");
	buf_str(b, what);
	buf_str(b, " (");
	put_bits(b, attrs, words, sizeof(words) / sizeof(words[0]));
	buf_str(b, ") ");
	imap_put_nstring(b, delim ? span_of(&delim, 1) : SPAN_NONE);
	buf_char(b, ' ');
	imap_put_mailbox(b, name);
	buf_str(b, "\r\n");
}

void imap_put_status(struct buf *b, struct span mailbox, uint32_t items,
		     const struct imap_status_values *v)
{
	const struct {
		uint32_t item;
		const char *name;
		uint64_t value;
	} rows[] = {
		{ IMAP_STATUS_MESSAGES, "MESSAGES ", v->messages },
		{ IMAP_STATUS_RECENT, "RECENT ", v->recent },
		{ IMAP_STATUS_UIDNEXT, "UIDNEXT ", v->uidnext },
		{ IMAP_STATUS_UIDVALIDITY, "UIDVALIDITY ", v->uidvalidity },
		{ IMAP_STATUS_UNSEEN, "UNSEEN ", v->unseen },
		{ IMAP_STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ ", v->highestmodseq },
	};
	bool any = false;

	buf_str(b, "* STATUS ");
	imap_put_mailbox(b, mailbox);
	buf_str(b, " (");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!(items & rows[i].item))
			continue;
		if (any)
			buf_char(b, ' ');
		any = true;
		buf_str(b, rows[i].name);
		buf_u64(b, rows[i].value);
	}
	buf_str(b, ")\r\n");
}

void imap_put_search(struct buf *b, const struct uset *found)
{
	buf_str(b, "* SEARCH");
	for (uint32_t i = 0; i < found->nruns; i++) {
		for (uint64_t n = found->runs[i].first; n <= found->runs[i].last; n++) {
			buf_char(b, ' ');
			buf_u64(b, n);
		}
	}
	buf_str(b, "\r\n");
}

void imap_put_esearch(struct buf *b, struct span tag, bool uid, unsigned returns,
		      const struct uset *found)
{
	buf_str(b, "* ESEARCH (TAG ");
	imap_put_quoted(b, tag);
	buf_str(b, uid ? ") UID" : ")");
	if (found->count && (returns & IMAP_RETURN_MIN))
		buf_printf(b, " MIN %u", found->runs[0].first);
	if (found->count && (returns & IMAP_RETURN_MAX))
		buf_printf(b, " MAX %u", uset_max(found));
	if (returns & IMAP_RETURN_COUNT)
		buf_printf(b, " COUNT %u", found->count);
	if (found->count && (returns & IMAP_RETURN_ALL)) {
		buf_str(b, " ALL ");
		uset_text(found, b);
	}
	buf_str(b, "\r\n");
}

void imap_put_id(struct buf *b, const struct span *pairs, size_t n)
{
	buf_str(b, n ? "* ID (" : "* ID NIL");
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(b, ' ');
		imap_put_string(b, pairs[2 * i]);
		buf_char(b, ' ');
		imap_put_nstring(b, pairs[2 * i + 1]);
	}
	buf_str(b, n ? ")\r\n" : "\r\n");
}

void imap_put_enabled(struct buf *b, const struct span *names, size_t n)
{
	buf_str(b, "* ENABLED");
	for (size_t i = 0; i < n; i++) {
		buf_char(b, ' ');
		buf_span(b, names[i]);
	}
	buf_str(b, "\r\n");
}

static void put_one_namespace(struct buf *b, struct span prefix, char delim)
{
	if (!prefix.at) {
		buf_str(b, " NIL");
		return;
	}
	buf_str(b, " ((");
	put_name(b, prefix, imap_put_string);
	buf_char(b, ' ');
	imap_put_quoted(b, span_of(&delim, 1));
	buf_str(b, "))");
}

void imap_put_namespace(struct buf *b, struct span personal, struct span others, struct span shared,
			char delim)
{
	buf_str(b, "* NAMESPACE");
	put_one_namespace(b, personal, delim);
	put_one_namespace(b, others, delim);
	put_one_namespace(b, shared, delim);
	buf_str(b, "\r\n");
}

/* ---- FETCH ---- */

void imap_put_fetch_begin(struct buf *b, uint32_t seq)
{
	buf_str(b, "* ");
	buf_u64(b, seq);
	buf_str(b, " FETCH (");
}

void imap_put_fetch_end(struct buf *b)
{
	buf_str(b, ")\r\n");
}

static void put_section(struct buf *b, const struct imap_section *s)
{
	static const char *const words[] = {
		[IMAP_SECTION_ALL] = "",
		[IMAP_SECTION_HEADER] = "HEADER",
		[IMAP_SECTION_FIELDS] = "HEADER.FIELDS (",
		[IMAP_SECTION_FIELDS_NOT] = "HEADER.FIELDS.NOT (",
		[IMAP_SECTION_TEXT] = "TEXT",
		[IMAP_SECTION_MIME] = "MIME",
	};

	for (uint32_t i = 0; i < s->nparts; i++) {
		if (i)
			buf_char(b, '.');
		buf_u64(b, s->parts[i]);
	}
	if (s->nparts && s->text != IMAP_SECTION_ALL)
		buf_char(b, '.');
	buf_str(b, words[s->text]);
	for (uint32_t i = 0; i < s->nfields; i++) {
		if (i)
			buf_char(b, ' ');
		imap_put_astring(b, s->fields[i]);
	}
	if (s->nfields)
		buf_char(b, ')');
}

void imap_put_item_name(struct buf *b, const struct imap_item *item)
{
	static const char *const words[] = {
		[IMAP_ITEM_UID] = "UID",
		[IMAP_ITEM_FLAGS] = "FLAGS",
		[IMAP_ITEM_INTERNALDATE] = "INTERNALDATE",
		[IMAP_ITEM_SIZE] = "RFC822.SIZE",
		[IMAP_ITEM_ENVELOPE] = "ENVELOPE",
		[IMAP_ITEM_BODY] = "BODY",
		[IMAP_ITEM_BODYSTRUCTURE] = "BODYSTRUCTURE",
		[IMAP_ITEM_MODSEQ] = "MODSEQ",
		[IMAP_ITEM_SECTION] = "BODY[",
		[IMAP_ITEM_RFC822] = "RFC822",
		[IMAP_ITEM_RFC822_HEADER] = "RFC822.HEADER",
		[IMAP_ITEM_RFC822_TEXT] = "RFC822.TEXT",
	};

	buf_str(b, words[item->kind]);
	if (item->kind != IMAP_ITEM_SECTION)
		return;
	put_section(b, &item->section);
	buf_char(b, ']');
	if (item->partial) {
		buf_char(b, '<');
		buf_u64(b, item->first);
		buf_char(b, '>');
	}
}

void imap_item_window(const struct imap_item *item, uint64_t len, uint64_t *first, uint64_t *count)
{
	*first = item->partial ? item->first : 0;
	if (*first > len)
		*first = len;
	*count = len - *first;
	if (item->partial && *count > item->count)
		*count = item->count;
}
