/* layout.h - what lies in the two shared areas of a binding; docs/exipc.md has it as tables.
 *
 * Every word that both sides look at is atomic.  Whoever reads the other side's area loads each word
 * once and checks what it got: the store never trusts the client's area. */
#ifndef EXIPC_LAYOUT_H
#define EXIPC_LAYOUT_H

#include "exipc/exipc.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#define EXIPC_MAGIC    0x31495845u /* "EXI1" */
#define EXIPC_LAYOUT   2u
#define EXIPC_LINE     128 /* two cache lines: the neighbour is prefetched with the one that is read */
#define EXIPC_GRANULE  256u /* the smallest block, and the alignment of all */
#define EXIPC_HEAP     (EXIPC_HEAP_SECTIONS * EXIPC_SECTION)
#define EXIPC_GRANULES (EXIPC_HEAP / EXIPC_GRANULE)
#define EXIPC_RETURNS  EXIPC_GRANULES /* as many as blocks can be out: never full */
#define EXIPC_NOTES    2u             /* notifications per entry */

enum exipc_side { EXIPC_CLIENT_SIDE = 1, EXIPC_STORE_SIDE = 2 };

enum exipc_kind { EXIPC_REQUEST = 1, EXIPC_REPLY = 2, EXIPC_NOTIFY = 3 };

enum exipc_flag {
	EXIPC_MORE = 1,   /* another reply to the same call follows */
	EXIPC_PINNED = 2, /* the block's return lets something go: ring for it */
};

struct exipc_entry {
	uint64_t epoch;
	uint64_t call;
	uint16_t kind;
	uint16_t code; /* op of a request, status of a reply */
	uint8_t flags;
	uint8_t count; /* of sections or notes */
	uint16_t zero;
	uint32_t offset; /* the payload's block in the writer's heap */
	uint32_t len;    /* 0: no block, unless pinned */
	union {
		struct {
			uint16_t index;
			uint16_t used;
		} section[EXIPC_BULK_MAX];
		struct {
			uint64_t token;
			uint64_t value;
		} note[EXIPC_NOTES];
	};
};
static_assert(sizeof(struct exipc_entry) == 64, "an entry is a cache line");
static_assert(EXIPC_SECTION <= UINT16_MAX, "bytes used fit the entry");

typedef _Atomic uint64_t exipc_word;

struct exipc_loop_words {
	_Alignas(EXIPC_LINE) exipc_word asleep; /* odd: the loop sleeps; a new one for each sleep */
	exipc_word cpu;                         /* where the loop runs, + 1 */
};

struct exipc_head {
	_Alignas(4096) uint32_t magic;
	uint32_t layout;
	uint64_t epoch;
	uint32_t side, client_loops, store_loops, client_pid;
	char name[16];
	exipc_word
		rejected; /* bindings that this store ended for a broken rule, since it started */
	_Alignas(1024) struct exipc_loop_words loop[EXIPC_LOOPS_MAX];
};
static_assert(sizeof(struct exipc_loop_words) == EXIPC_LINE, "a line per loop");
static_assert(offsetof(struct exipc_head, loop) == 1024, "layout 1");
static_assert(sizeof(struct exipc_head) == 4096, "layout 1");

/* For observers only: neither side acts on them. */
struct exipc_figures {
	exipc_word blocks;  /* of the writer's heap that are not free */
	exipc_word replies; /* store lanes */
	exipc_word notes;   /* store lanes */
	exipc_word rung;    /* doorbells of the other side rung */
	exipc_word oldest; /* client lanes: when the oldest unanswered request was made, 0 = none */
	exipc_word ring_full, heap_full;
};

/* One direction of a queue pair, in the area of its writer.  What the other side reads every turn is on
 * one line; `head`, which it reads only when it is short of room, on another. */
struct exipc_lane {
	exipc_word tail;                      /* entries produced */
	exipc_word returned;                  /* client lanes: handles in returns[] */
	exipc_word wanted;                    /* not 0: the writer waits for room */
	_Alignas(EXIPC_LINE) exipc_word head; /* entries of the other lane's ring consumed */
	_Alignas(EXIPC_LINE) struct exipc_figures figures;
	_Alignas(4096) struct exipc_entry ring[EXIPC_RING_ENTRIES];
	exipc_word returns[EXIPC_RETURNS];
	_Alignas(4096) char heap[EXIPC_HEAP];
};
static_assert(offsetof(struct exipc_lane, head) == 128, "layout 1");
static_assert(offsetof(struct exipc_lane, figures) == 256, "layout 1");
static_assert(offsetof(struct exipc_lane, ring) == 4096, "layout 1");
static_assert(offsetof(struct exipc_lane, returns) == 20480, "layout 1");
static_assert(offsetof(struct exipc_lane, heap) == 86016, "layout 1");
static_assert(sizeof(struct exipc_lane) == 2183168, "layout 1");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words in shared memory need lock-free atomics");

static inline size_t exipc_area_size(unsigned client_loops, unsigned store_loops)
{
	return sizeof(struct exipc_head) +
	       (size_t)client_loops * store_loops * sizeof(struct exipc_lane);
}

/* The lane of a pair in the area that begins at `head`. */
static inline struct exipc_lane *exipc_lane_at(struct exipc_head *head, unsigned store_loops,
					       unsigned client_loop, unsigned store_loop)
{
	struct exipc_lane *lanes = (struct exipc_lane *)(head + 1);

	return &lanes[client_loop * store_loops + store_loop];
}

static inline const struct exipc_lane *exipc_lane_in(const struct exipc_head *head,
						     unsigned store_loops, unsigned client_loop,
						     unsigned store_loop)
{
	const struct exipc_lane *lanes = (const struct exipc_lane *)(head + 1);

	return &lanes[client_loop * store_loops + store_loop];
}

#endif
