/* store_pair.h - the store's half of one queue pair.
 *
 * Pure: no loop, no fiber, never waits.  Everything it reads from the client's lane is hostile: loaded
 * once, checked, and only the copy used.  ST_BAD from any call means that the client broke a rule; the pair
 * must then only be dropped.  One thread. */
#ifndef EXIPC_STORE_PAIR_H
#define EXIPC_STORE_PAIR_H

#include "exipc/heap.h"
#include "exipc/notes.h"
#include "exipc/ring.h"

/* What lets go of something when the client gave the block of a reply back. */
struct exipc_pin {
	void (*release)(void *arg);
	void *arg;
};

struct store_pair {
	const struct exipc_lane *in; /* the client's lane: hostile, read-only */
	struct exipc_lane *out;      /* ours */
	uint64_t epoch;
	struct ring_in requests;
	struct ring_out replies;
	struct heap heap;  /* of our lane; a block's cookie is its struct exipc_pin, or NULL */
	uint64_t returned; /* handles taken from the return ring */
	uint64_t
		held[EXIPC_GRANULES / 64]; /* of the client's heap: what unanswered requests name */
	struct notes notes;
	struct exipc_pin *spare_pins; /* a list through arg */
	uint64_t nreplies, nnotes, ring_full, heap_full;
	unsigned unanswered;
};

/* A request that passed every check; the payload is still in hostile memory. */
struct store_request {
	uint64_t call;
	uint16_t op;
	struct span payload;
	unsigned nsections;
	struct span section[EXIPC_BULK_MAX];
};

void store_pair_init(struct store_pair *p, const struct exipc_lane *in, struct exipc_lane *out,
		     uint64_t epoch);
/* Runs every release that is still due. */
void store_pair_drop(struct store_pair *p);

/* The next request.  ST_OK; ST_MORE: none waits; ST_BAD.  Its memory is held until
 * store_pair_answered(). */
enum st store_pair_take(struct store_pair *p, struct store_request *rq);
/* Let go of a request's memory: right before its last reply is put, or when it will get none. */
void store_pair_answered(struct store_pair *p, const struct store_request *rq);
/* Take what the client gave back, running the releases.  ST_OK: something; ST_MORE: nothing; ST_BAD. */
enum st store_pair_returns(struct store_pair *p);

/* Put one reply.  With `more` false the request's memory is let go of first (store_pair_answered).
 *   ST_OK      it is in the ring; pin.release (may be NULL) runs when the block comes back
 *   ST_BUSY    the ring is full; nothing was changed
 *   ST_NOSPACE the heap is full; nothing was changed
 *   ST_TOOBIG  payload over EXIPC_BLOCK_MAX    ST_NOMEM    ST_BAD */
enum st store_pair_reply(struct store_pair *p, const struct store_request *rq, enum st status,
			 struct span payload, bool more, struct exipc_pin pin);

/* Count that somebody waits because of ST_BUSY or ST_NOSPACE. */
void store_pair_waits(struct store_pair *p, enum st why);

/* Put what waits in p->notes, as far as there is room.  ST_OK: something; ST_MORE: nothing; ST_BAD. */
enum st store_pair_notes(struct store_pair *p);

#endif
