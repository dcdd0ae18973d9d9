/* client_pair.h - the client's half of one queue pair.
 *
 * Pure: no loop, no fiber, never waits.  One thread.  The client trusts the store, but what it reads is
 * checked all the same: ST_BAD means that the two do not understand each other, and the binding ends. */
#ifndef EXIPC_CLIENT_PAIR_H
#define EXIPC_CLIENT_PAIR_H

#include "exipc/heap.h"
#include "exipc/ring.h"

/* Sections of a lane that serve payloads; the rest is for bulk data. */
#define EXIPC_PAYLOAD_SECTIONS 32u
#define EXIPC_BULK_SECTIONS    (EXIPC_HEAP_SECTIONS - EXIPC_PAYLOAD_SECTIONS)

struct bulk_holder {
	const void *who; /* a fiber; NULL: unused */
	unsigned held;   /* sections it has and did not send */
};

struct client_pair {
	const struct exipc_lane *in; /* the store's lane, read-only */
	struct exipc_lane *out;      /* ours */
	uint64_t epoch;
	struct ring_in replies;
	struct ring_out requests;
	struct heap heap;   /* payload sections of our lane */
	uint64_t returned;  /* handles put into the return ring */
	uint32_t bulk_free; /* a bit per bulk section */
	uint64_t ring_full, heap_full;
	struct bulk_holder holder[EXIPC_BULK_SECTIONS];
	uint8_t held_by[EXIPC_BULK_SECTIONS]; /* place in holder + 1; 0: free or sent */
};
static_assert(EXIPC_BULK_SECTIONS == 32, "bulk_free has a bit for each");

void client_pair_init(struct client_pair *p, const struct exipc_lane *in, struct exipc_lane *out,
		      uint64_t epoch);
void client_pair_drop(struct client_pair *p);

/* A bulk section for `who`.  ST_OK: *index, counted in the lane's heap.  ST_NOSPACE: none now, or
 * not safe now: with it those who hold some could come to wait for each other.  ST_TOOBIG: `who` holds
 * EXIPC_BULK_MAX. */
enum st client_pair_section(struct client_pair *p, const void *who, uint32_t *index);
bool client_pair_holds(const struct client_pair *p, const void *who);
/* Unused: back to the book. */
void client_pair_unsection(struct client_pair *p, uint32_t index);

/* A block with a copy of `payload` (not empty).  ST_OK, ST_NOSPACE, ST_NOMEM. */
enum st client_pair_block(struct client_pair *p, struct span payload, uint32_t *offset);
/* Send: sections named by *e are no longer held by anyone.  ST_OK, ST_BUSY (ring full), ST_BAD. */
enum st client_pair_send(struct client_pair *p, const struct exipc_entry *e);
/* Free what a request that was sent, or will never be, takes of the heap. */
void client_pair_done(struct client_pair *p, const struct exipc_entry *e);

/* Count that somebody waits because of ST_BUSY or ST_NOSPACE. */
void client_pair_waits(struct client_pair *p, enum st why);

/* The next reply or notification.  ST_OK, ST_MORE: none waits, ST_BAD. */
enum st client_pair_take(struct client_pair *p, struct exipc_entry *e);
/* Give a reply's block back.  Never full. */
void client_pair_return(struct client_pair *p, uint32_t offset);

#endif
