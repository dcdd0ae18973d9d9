/* notes.c - an array in order of arrival and a hash over it; see notes.h. */
#include "exipc/notes.h"

#include <stdlib.h>
#include <string.h>

#define NOTES_FIRST 32u

/* Twice as many slots as places, so that a probe always finds an empty one. */
static uint32_t slots(const struct notes *n)
{
	return n->cap * 2;
}

static uint32_t hash(const struct notes *n, uint64_t token)
{
	token ^= token >> 32;
	return (uint32_t)((token * 0x9e3779b97f4a7c15u) >> 32) & (slots(n) - 1);
}

/* The slot of `token`, or the empty one where it belongs.  Dead places stay in the chain. */
static uint32_t probe(const struct notes *n, uint64_t token)
{
	uint32_t i = hash(n, token);

	while (n->index[i] && (n->index[i] - 1 < n->first || n->at[n->index[i] - 1].token != token))
		i = (i + 1) & (slots(n) - 1);
	return i;
}

/* Move what waits into a book with room for at least one more. */
static enum st rebuild(struct notes *n)
{
	struct notes fresh = { .cap = n->cap ? n->cap : NOTES_FIRST };

	while (fresh.cap < notes_waiting(n) * 2)
		fresh.cap *= 2;
	fresh.at = malloc(fresh.cap * sizeof(*fresh.at));
	fresh.index = calloc(slots(&fresh), sizeof(*fresh.index));
	if (!fresh.at || !fresh.index) {
		free(fresh.at);
		free(fresh.index);
		return ST_NOMEM;
	}
	for (uint32_t i = n->first; i < n->end; i++) {
		fresh.at[fresh.end] = n->at[i];
		fresh.index[probe(&fresh, n->at[i].token)] = fresh.end + 1;
		fresh.end++;
	}
	free(n->at);
	free(n->index);
	*n = fresh;
	return ST_OK;
}

enum st notes_set(struct notes *n, uint64_t token, uint64_t value)
{
	uint32_t slot = n->cap ? probe(n, token) : 0;

	if (n->cap && n->index[slot]) {
		n->at[n->index[slot] - 1].value = value;
		return ST_OK;
	}
	if (notes_waiting(n) == NOTES_MAX)
		return ST_TOOBIG;
	if (n->end == n->cap) {
		enum st st = rebuild(n);

		if (st)
			return st;
		slot = probe(n, token);
	}
	n->at[n->end] = (struct note){ token, value };
	n->index[slot] = ++n->end;
	return ST_OK;
}

bool notes_take(struct notes *n, struct note *out)
{
	if (n->first == n->end)
		return false;
	*out = n->at[n->first++];
	if (n->first == n->end) {
		if (n->cap > NOTES_FIRST) {
			notes_drop(n);
		} else {
			memset(n->index, 0, slots(n) * sizeof(*n->index));
			n->first = n->end = 0;
		}
	}
	return true;
}

void notes_drop(struct notes *n)
{
	free(n->at);
	free(n->index);
	*n = (struct notes){ 0 };
}
