/* match.c - LIST patterns against mailbox names; see match.h.
 *
 * All places of the pattern that the name's beginning can have reached are kept as a set, and moved
 * on octet by octet: no back-tracking, so no pattern is slow. */
#include "proto/imap/match.h"

#include "proto/imap/command.h"

#define PATTERN_MAX (2 * IMAP_PATTERN_MAX)

struct span imap_list_join(struct pool *pool, struct span reference, struct span pattern,
			   char delim)
{
	/* A mailbox argument that begins at the root needs no reference. */
	if (delim && pattern.len && pattern.at[0] == delim)
		return pool_span(pool, span_skip(pattern, 1));
	char *at = pool_get(pool, reference.len + pattern.len);
	if (!at)
		return SPAN_NONE;
	if (reference.len)
		memcpy(at, reference.at, reference.len);
	if (pattern.len)
		memcpy(at + reference.len, pattern.at, pattern.len);
	return span_of(at, reference.len + pattern.len);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Wildcards match nothing as well: whoever stands before one stands behind it too. */
static void pass_wildcards(struct span pattern, bool *at)
{
	for (size_t i = 0; i < pattern.len; i++) {
		if (at[i] && (pattern.at[i] == '*' || pattern.at[i] == '%'))
			at[i + 1] = true;
	}
}

/* Move every place over the octet c; false when none is left. */
static bool advance(struct span pattern, bool *at, char c, bool fold, char delim)
{
	bool any = false;

	/* From the back, so that each place is read before it is written. */
	for (size_t i = pattern.len + 1; i-- > 0;) {
		bool stay = at[i] && i < pattern.len &&
			    (pattern.at[i] == '*' || (pattern.at[i] == '%' && c != delim));
		bool come = i && at[i - 1] && pattern.at[i - 1] != '*' &&
			    pattern.at[i - 1] != '%' &&
			    (fold ? lower(pattern.at[i - 1]) == lower(c) : pattern.at[i - 1] == c);
		at[i] = stay || come;
		any |= at[i];
	}
	return any;
}

static size_t inbox_len(struct span name, char delim)
{
	struct span inbox = SPAN("INBOX");

	if (!span_ihas_prefix(name, inbox))
		return 0;
	return name.len == inbox.len || name.at[inbox.len] == delim ? inbox.len : 0;
}

bool imap_list_match(struct span pattern, struct span name, char delim)
{
	bool at[PATTERN_MAX + 1];
	size_t fold = inbox_len(name, delim);

	if (pattern.len > PATTERN_MAX)
		return false;
	memset(at, 0, pattern.len + 1);
	at[0] = true;
	for (size_t i = 0; i < name.len; i++) {
		pass_wildcards(pattern, at);
		if (!advance(pattern, at, name.at[i], i < fold, delim))
			return false;
	}
	pass_wildcards(pattern, at);
	return at[pattern.len];
}

struct span imap_list_match_parent(struct span pattern, struct span name, char delim)
{
	for (size_t i = 1; i < name.len; i++) {
		if (name.at[i] == delim && imap_list_match(pattern, span_cut(name, i), delim))
			return span_cut(name, i);
	}
	return SPAN_NONE;
}
