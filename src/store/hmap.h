/* hmap.h - things found by a 64-bit number; the thing embeds the node.
 *
 * One thread.  A zeroed map is empty.  Keys are our own or random numbers, so no seed is needed. */
#ifndef STORE_HMAP_H
#define STORE_HMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hnode {
	struct hnode *next;
	uint64_t key;
};

struct hmap {
	struct hnode **slots;
	size_t nslots, count;
};

struct hnode *hmap_get(const struct hmap *m, uint64_t key); /* NULL: none */
/* The key must not be in the map.  false: out of memory, nothing was added. */
bool hmap_put(struct hmap *m, struct hnode *n, uint64_t key);
void hmap_remove(struct hmap *m, struct hnode *n); /* must be in it */
/* each() may remove the node that it gets, and nothing else. */
void hmap_each(struct hmap *m, void (*each)(void *arg, struct hnode *n), void *arg);
void hmap_free(struct hmap *m); /* the slots, not the nodes */

#define HNODE_OF(type, member, node) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
