/* ring.c - single producer, single consumer; see ring.h. */
#include "exipc/ring.h"

#define SLOT(counter) ((counter) % EXIPC_RING_ENTRIES)

enum st ring_room(struct ring_out *r, unsigned *room)
{
	if (r->tail - r->head == EXIPC_RING_ENTRIES) {
		uint64_t head = word_get(&r->theirs->head);

		if (head < r->head || head > r->tail)
			return ST_BAD;
		r->head = head;
	}
	*room = EXIPC_RING_ENTRIES - (unsigned)(r->tail - r->head);
	return ST_OK;
}

void ring_put(struct ring_out *r, const struct exipc_entry *e)
{
	assert(r->tail - r->head < EXIPC_RING_ENTRIES);
	r->mine->ring[SLOT(r->tail)] = *e;
	r->tail++;
	word_set(&r->mine->tail, r->tail);
}

enum st ring_waiting(struct ring_in *r, unsigned *waiting)
{
	uint64_t tail = word_get(&r->theirs->tail);

	if (tail < r->tail || tail - r->head > EXIPC_RING_ENTRIES)
		return ST_BAD;
	r->tail = tail;
	*waiting = (unsigned)(tail - r->head);
	return ST_OK;
}

/* Word by word, each loaded exactly once: a copy that the compiler may not take back to the source. */
static void copy_entry(struct exipc_entry *to, const struct exipc_entry *from)
{
	uint64_t words[sizeof(*to) / sizeof(uint64_t)];
	const uint64_t *at = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] = __atomic_load_n(at + i, __ATOMIC_RELAXED);
	memcpy(to, words, sizeof(words));
}

void ring_take(struct ring_in *r, struct exipc_entry *e)
{
	assert(r->head < r->tail);
	copy_entry(e, &r->theirs->ring[SLOT(r->head)]);
	r->head++;
}

bool ring_tell(struct ring_in *r)
{
	if (r->told == r->head)
		return false;
	r->told = r->head;
	word_set(&r->mine->head, r->head);
	return true;
}
