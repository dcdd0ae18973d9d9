/* heap.h - the allocator's private book over the sections of one lane.
 *
 * The memory itself is shared; the book is not, and nothing in shared memory is read or written here.
 * Blocks up to 16 KiB come from sections cut into equal parts of 256 bytes, 1, 4 or 16 KiB; larger
 * ones are runs of whole sections.  The section that served a size last serves it
 * again, else the lowest that fits, so that memory that was never needed is never touched.  One thread. */
#ifndef EXIPC_HEAP_H
#define EXIPC_HEAP_H

#include "exipc/layout.h"

#define HEAP_CLASSES 4u
#define HEAP_PARTS   (EXIPC_SECTION / EXIPC_GRANULE) /* of a section, at most */

enum heap_use {
	HEAP_FREE,
	HEAP_PARTED, /* cut into blocks of one class */
	HEAP_RUN,    /* first section of a run */
	HEAP_REST    /* a further section of a run */
};

struct heap_section {
	uint8_t use;  /* enum heap_use */
	uint8_t cls;  /* HEAP_PARTED */
	uint16_t run; /* HEAP_RUN: sections */
	uint16_t taken;
	uint64_t map[HEAP_PARTS / 64]; /* HEAP_PARTED: a bit per block that is out */
	void **cookie;                 /* per block, made at the first use of the section */
};

struct heap {
	unsigned first, end;         /* sections [first, end) of the lane are ours */
	unsigned blocks;             /* out */
	unsigned free;               /* sections */
	unsigned hint[HEAP_CLASSES]; /* the section that served the class last */
	struct heap_section section[EXIPC_HEAP_SECTIONS];
};

void heap_init(struct heap *h, unsigned first, unsigned end);
/* `out`, if not NULL, gets every block's cookie that is still out. */
void heap_drop(struct heap *h, void (*out)(void *arg, void *cookie), void *arg);

/* A block of at least `len` bytes (0 counts as 1); *offset is from the lane's heap, a multiple of
 * EXIPC_GRANULE.  The cookie comes back with heap_free.
 *   ST_NOSPACE  none now    ST_TOOBIG  never    ST_NOMEM  the book can't grow */
enum st heap_get(struct heap *h, size_t len, void *cookie, uint32_t *offset);
/* ST_BAD: no block that is out begins there; nothing was changed. */
enum st heap_put(struct heap *h, uint32_t offset, void **cookie);

#endif
