/* fold.c - simple case folding and the search that goes by it. */
#include "mime/decode.h"
#include "mime/utf8.h"

#include <stdlib.h>

struct fold_run {
	uint32_t first, last;
	int step, delta;
};

static const struct fold_run runs[] = {
#include "mime/fold.inc"
};
#define RUNS (sizeof runs / sizeof runs[0])

uint32_t mime_fold(uint32_t cp)
{
	size_t low = 0, high = RUNS;

	if (cp < 0x80)
		return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct fold_run *r = &runs[mid];

		if (cp > r->last)
			low = mid + 1;
		else if (cp < r->first)
			high = mid;
		else
			return (cp - r->first) % (uint32_t)r->step == 0
				       ? (uint32_t)((int64_t)cp + r->delta)
				       : cp;
	}
	return cp;
}

/* Knuth, Morris and Pratt over folded code points: each is looked at once, and a stream needs no
 * memory of what went by. */
struct mime_search {
	size_t len, at;
	bool found;
	struct utf8_stream in;
	uint32_t *needle;
	size_t *back; /* longest border of needle[0..i] */
};

static void make_borders(struct mime_search *s)
{
	size_t k = 0;

	for (size_t i = 1; i < s->len; i++) {
		while (k > 0 && s->needle[i] != s->needle[k])
			k = s->back[k - 1];
		if (s->needle[i] == s->needle[k])
			k++;
		s->back[i] = k;
	}
}

struct mime_search *mime_search_new(struct span needle)
{
	struct mime_search *s = calloc(1, sizeof *s);
	struct utf8_stream in = { 0 };
	uint32_t cp;

	if (!s)
		return NULL;
	s->needle = malloc((needle.len + 1) * sizeof *s->needle);
	s->back = calloc(needle.len + 1, sizeof *s->back);
	if (!s->needle || !s->back) {
		mime_search_free(s);
		return NULL;
	}
	while (utf8_next(&in, &needle, &cp))
		s->needle[s->len++] = mime_fold(cp);
	while (utf8_flush(&in, &cp))
		s->needle[s->len++] = mime_fold(cp);
	make_borders(s);
	s->found = s->len == 0;
	return s;
}

void mime_search_free(struct mime_search *s)
{
	if (!s)
		return;
	free(s->needle);
	free(s->back);
	free(s);
}

static void search_step(struct mime_search *s, uint32_t cp)
{
	cp = mime_fold(cp);
	while (s->at > 0 && cp != s->needle[s->at])
		s->at = s->back[s->at - 1];
	if (cp == s->needle[s->at])
		s->at++;
	if (s->at == s->len) {
		s->found = true;
		s->at = 0;
	}
}

bool mime_search_feed(struct mime_search *s, struct span utf8)
{
	uint32_t cp;

	while (!s->found && utf8_next(&s->in, &utf8, &cp))
		search_step(s, cp);
	return s->found;
}

void mime_search_restart(struct mime_search *s)
{
	s->at = 0;
	s->in = (struct utf8_stream){ 0 };
}

bool mime_search_found(const struct mime_search *s)
{
	return s->found;
}

static bool is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] & 0x80)
			return false;
	return true;
}

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool ascii_contains(struct span haystack, struct span needle)
{
	unsigned char first = lower(needle.at[0]);

	for (size_t i = 0; i + needle.len <= haystack.len; i++) {
		size_t k = 1;

		if (lower(haystack.at[i]) != first)
			continue;
		while (k < needle.len && lower(haystack.at[i + k]) == lower(needle.at[k]))
			k++;
		if (k == needle.len)
			return true;
	}
	return false;
}

bool mime_casefold_contains(struct span haystack, struct span needle)
{
	struct mime_search *s;
	bool found;

	if (needle.len == 0)
		return true;
	/* Short needles only: the simple loop's worst case is their product. */
	if (needle.len <= 64 && is_ascii(needle) && is_ascii(haystack))
		return ascii_contains(haystack, needle);
	s = mime_search_new(needle);
	found = s && mime_search_feed(s, haystack);
	mime_search_free(s);
	return found;
}
