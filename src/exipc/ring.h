/* ring.h - one direction of a queue pair: the producer's and the consumer's private half.
 *
 * Single producer, single consumer.  Each half keeps its own counter and the last accepted one of the
 * other side in private memory; what it reads from the other side is loaded once and accepted only if
 * it did not run back and is not further ahead than the ring is long.  ST_BAD means that the other side
 * broke a rule: the caller ends the binding.  Pure: no loop, no memory of its own. */
#ifndef EXIPC_RING_H
#define EXIPC_RING_H

#include "exipc/layout.h"

struct ring_out {
	struct exipc_lane *mine;         /* ring and tail */
	const struct exipc_lane *theirs; /* head */
	uint64_t tail, head;
};

struct ring_in {
	struct exipc_lane *mine;         /* head */
	const struct exipc_lane *theirs; /* ring and tail */
	uint64_t head, tail;
	uint64_t told; /* the head that was published */
};

/* Entries that can be put now without looking at the other side again after this call. */
enum st ring_room(struct ring_out *r, unsigned *room);
/* One entry; the caller saw room. */
void ring_put(struct ring_out *r, const struct exipc_entry *e);

/* Entries waiting: the tail is read once. */
enum st ring_waiting(struct ring_in *r, unsigned *waiting);
/* Copy the next entry; the caller saw one waiting. */
void ring_take(struct ring_in *r, struct exipc_entry *e);
/* Publish what was taken.  True: something new was. */
bool ring_tell(struct ring_in *r);

/* Load a word of the other side, once. */
static inline uint64_t word_get(const exipc_word *w)
{
	return atomic_load_explicit(w, memory_order_acquire);
}

static inline void word_set(exipc_word *w, uint64_t v)
{
	atomic_store_explicit(w, v, memory_order_release);
}

/* Between what this side stored (a counter; asleep; wanted) and what it then loads of the other side
 * (asleep, wanted; a counter), on both sides: docs/exipc.md, Waking. */
static inline void word_fence(void)
{
#if defined(__SANITIZE_THREAD__)
	/* gcc's TSan knows no fences; a locked instruction is one. */
	static exipc_word nothing;

	atomic_fetch_add(&nothing, 1);
#else
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* For figures: nobody orders anything by them. */
static inline void word_note(exipc_word *w, uint64_t v)
{
	atomic_store_explicit(w, v, memory_order_relaxed);
}

#endif
