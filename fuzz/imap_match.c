/* LIST patterns: a line of pattern, then a name, against the definition written as it reads. */
#include "proto/imap/match.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exponential, so for short patterns only. */
static bool plain(struct span p, struct span n)
{
	if (!p.len)
		return !n.len;
	bool star = p.at[0] == '*', percent = p.at[0] == '%';
	if ((star || percent) && plain(span_skip(p, 1), n))
		return true;
	if (!n.len || (percent && n.at[0] == '/'))
		return false;
	if (star || percent)
		return plain(p, span_skip(n, 1));
	return p.at[0] == n.at[0] && plain(span_skip(p, 1), span_skip(n, 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span name, pattern = span_split(span_of(data, size), '\n', &name);
	bool got = imap_list_match(pattern, name, '/');

	imap_list_match_parent(pattern, name, '/');
	if (pattern.len > 12 || name.len > 16 || span_ihas_prefix(name, SPAN("INBOX")))
		return 0;
	assert(got == plain(pattern, name));
	return 0;
}
