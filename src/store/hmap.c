#include "store/hmap.h"

#include <stdlib.h>

static size_t slot_of(const struct hmap *m, uint64_t key)
{
	return (size_t)((key * 0x9E3779B97F4A7C15u) >> 32) & (m->nslots - 1);
}

struct hnode *hmap_get(const struct hmap *m, uint64_t key)
{
	if (!m->nslots)
		return NULL;
	for (struct hnode *n = m->slots[slot_of(m, key)]; n; n = n->next)
		if (n->key == key)
			return n;
	return NULL;
}

static void put_node(struct hmap *m, struct hnode *n)
{
	struct hnode **slot = &m->slots[slot_of(m, n->key)];

	n->next = *slot;
	*slot = n;
}

/* A map that can't grow gets slower, not wrong. */
static void grow(struct hmap *m)
{
	struct hmap bigger = { .nslots = m->nslots ? m->nslots * 2 : 16 };

	bigger.slots = calloc(bigger.nslots, sizeof *bigger.slots);
	if (!bigger.slots)
		return;
	for (size_t i = 0; i < m->nslots; i++)
		for (struct hnode *n = m->slots[i], *next; n; n = next) {
			next = n->next;
			put_node(&bigger, n);
		}
	free(m->slots);
	m->slots = bigger.slots;
	m->nslots = bigger.nslots;
}

bool hmap_put(struct hmap *m, struct hnode *n, uint64_t key)
{
	if (m->count >= m->nslots)
		grow(m);
	if (!m->nslots)
		return false;
	n->key = key;
	put_node(m, n);
	m->count++;
	return true;
}

void hmap_remove(struct hmap *m, struct hnode *n)
{
	struct hnode **at = &m->slots[slot_of(m, n->key)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->next = NULL;
	m->count--;
}

void hmap_each(struct hmap *m, void (*each)(void *arg, struct hnode *n), void *arg)
{
	for (size_t i = 0; i < m->nslots; i++)
		for (struct hnode *n = m->slots[i], *next; n; n = next) {
			next = n->next;
			each(arg, n);
		}
}

void hmap_free(struct hmap *m)
{
	free(m->slots);
	*m = (struct hmap){ 0 };
}
