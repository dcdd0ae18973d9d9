/* Both halves of a pair without any loop: what passes between them, and what a hostile client tries. */
#include "exipc/client_pair.h"
#include "exipc/store_pair.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define EPOCH 0x1122334455667788u

struct both {
	struct exipc_lane *client, *store;
	struct client_pair c;
	struct store_pair s;
};

static struct exipc_lane *lane_new(void)
{
	struct exipc_lane *l = aligned_alloc(_Alignof(struct exipc_lane), sizeof(*l));

	assert_non_null(l);
	memset(l, 0, sizeof(*l));
	return l;
}

static void both_new(struct both *b)
{
	b->client = lane_new();
	b->store = lane_new();
	client_pair_init(&b->c, b->store, b->client, EPOCH);
	store_pair_init(&b->s, b->client, b->store, EPOCH);
}

static void both_drop(struct both *b)
{
	client_pair_drop(&b->c);
	store_pair_drop(&b->s);
	free(b->client);
	free(b->store);
}

static unsigned released;

static void release(void *arg)
{
	released += (unsigned)(uintptr_t)arg;
}

static void send_request(struct both *b, struct exipc_entry *e, struct span payload)
{
	*e = (struct exipc_entry){ .epoch = EPOCH, .call = 5, .kind = EXIPC_REQUEST, .code = 9 };
	e->len = (uint32_t)payload.len;
	if (payload.len)
		assert_int_equal(client_pair_block(&b->c, payload, &e->offset), ST_OK);
	assert_int_equal(client_pair_send(&b->c, e), ST_OK);
}

static void a_request_goes_and_its_reply_comes(void **state)
{
	struct both b;
	struct exipc_entry sent, got;
	struct store_request rq;

	(void)state;
	both_new(&b);
	assert_int_equal(store_pair_take(&b.s, &rq), ST_MORE);
	send_request(&b, &sent, SPAN("question"));
	assert_int_equal(store_pair_take(&b.s, &rq), ST_OK);
	assert_int_equal(rq.call, 5);
	assert_int_equal(rq.op, 9);
	assert_true(span_eq(rq.payload, SPAN("question")));
	assert_int_equal(b.s.unanswered, 1);

	struct exipc_pin pin = { release, (void *)(uintptr_t)1 };
	assert_int_equal(store_pair_reply(&b.s, &rq, ST_NOTFOUND, SPAN("answer"), false, pin),
			 ST_OK);
	assert_int_equal(b.s.unanswered, 0);
	assert_int_equal(client_pair_take(&b.c, &got), ST_OK);
	assert_int_equal(got.call, 5);
	assert_int_equal(got.code, ST_NOTFOUND);
	assert_int_equal(got.flags, EXIPC_PINNED);
	assert_memory_equal(b.store->heap + got.offset, "answer", 6);
	client_pair_done(&b.c, &sent);
	assert_int_equal(b.c.heap.blocks, 0);

	released = 0;
	assert_int_equal(store_pair_returns(&b.s), ST_MORE);
	client_pair_return(&b.c, got.offset);
	assert_int_equal(store_pair_returns(&b.s), ST_OK);
	assert_int_equal(released, 1);
	assert_int_equal(b.s.heap.blocks, 0);
	both_drop(&b);
}

static void the_blocks_of_a_full_heap_all_return(void **state)
{
	struct both b;
	struct exipc_entry e, got;
	struct store_request rq;
	struct exipc_pin none = { 0 };
	static uint32_t offset[EXIPC_GRANULES];
	unsigned taken = 0;

	(void)state;
	both_new(&b);
	send_request(&b, &e, SPAN_NONE);
	assert_int_equal(store_pair_take(&b.s, &rq), ST_OK);
	for (unsigned round = 0; round < 3; round++) {
		/* Replies until the heap is full, then everything back at once: the return ring holds all. */
		for (unsigned n = 0; n < EXIPC_GRANULES; n++) {
			assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN("x"), true, none),
					 ST_OK);
			assert_int_equal(client_pair_take(&b.c, &got), ST_OK);
			ring_tell(&b.c.replies);
			offset[n] = got.offset;
			taken++;
		}
		assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN("x"), true, none),
				 ST_NOSPACE);
		for (unsigned n = 0; n < EXIPC_GRANULES; n++)
			client_pair_return(&b.c, offset[n]);
		assert_int_equal(store_pair_returns(&b.s), ST_OK);
		assert_int_equal(b.s.heap.blocks, 0);
	}
	assert_int_equal(taken, 3 * EXIPC_GRANULES);
	both_drop(&b);
}

static void pins_of_a_dropped_pair_are_let_go(void **state)
{
	struct both b;
	struct exipc_entry e;
	struct store_request rq;

	(void)state;
	both_new(&b);
	released = 0;
	for (unsigned i = 0; i < 100; i++) {
		struct exipc_pin pin = { release, (void *)(uintptr_t)1 };

		send_request(&b, &e, SPAN("q"));
		assert_int_equal(store_pair_take(&b.s, &rq), ST_OK);
		ring_tell(&b.s.requests);
		/* Even an empty reply has a block when something is pinned for it. */
		assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN_NONE, false, pin), ST_OK);
	}
	assert_int_equal(released, 0);
	both_drop(&b);
	assert_int_equal(released, 100);
}

/* ---- what a hostile client writes into the ring ---- */

#define GOOD .epoch = EPOCH, .kind = EXIPC_REQUEST

static void entries_are_checked(void **state)
{
	static const struct {
		const char *name;
		struct exipc_entry e;
		enum st want;
	} rows[] = {
		{ "a request with nothing", { GOOD }, ST_OK },
		{ "the last block of the heap",
		  { GOOD, .offset = EXIPC_HEAP - 256, .len = 256 },
		  ST_OK },
		{ "the largest payload", { GOOD, .len = EXIPC_BLOCK_MAX }, ST_OK },
		{ "a full section", { GOOD, .count = 1, .section = { { 63, 32768 } } }, ST_OK },
		{ "an empty section", { GOOD, .count = 1, .section = { { 0, 0 } } }, ST_OK },
		{ "another epoch", { .epoch = EPOCH + 1, .kind = EXIPC_REQUEST }, ST_BAD },
		{ "no epoch", { .kind = EXIPC_REQUEST }, ST_BAD },
		{ "no kind", { .epoch = EPOCH }, ST_BAD },
		{ "a reply", { .epoch = EPOCH, .kind = EXIPC_REPLY }, ST_BAD },
		{ "a kind that is none", { .epoch = EPOCH, .kind = 0xffff }, ST_BAD },
		{ "a flag", { GOOD, .flags = EXIPC_MORE }, ST_BAD },
		{ "what must be zero", { GOOD, .zero = 1 }, ST_BAD },
		{ "a block without length", { GOOD, .offset = 256 }, ST_BAD },
		{ "a block not at a granule", { GOOD, .offset = 128, .len = 1 }, ST_BAD },
		{ "a block behind the heap", { GOOD, .offset = EXIPC_HEAP, .len = 1 }, ST_BAD },
		{ "a block that ends behind the heap",
		  { GOOD, .offset = EXIPC_HEAP - 256, .len = 257 },
		  ST_BAD },
		{ "an offset that wraps", { GOOD, .offset = 0xffffff00, .len = 512 }, ST_BAD },
		{ "a length over the limit", { GOOD, .len = EXIPC_BLOCK_MAX + 1 }, ST_BAD },
		{ "a length that wraps", { GOOD, .offset = 256, .len = UINT32_MAX }, ST_BAD },
		{ "a section too many", { GOOD, .count = 9 }, ST_BAD },
		{ "255 sections", { GOOD, .count = 255 }, ST_BAD },
		{ "a section behind the heap",
		  { GOOD, .count = 1, .section = { { 64, 1 } } },
		  ST_BAD },
		{ "a section far out", { GOOD, .count = 1, .section = { { 0xffff, 1 } } }, ST_BAD },
		{ "a section fuller than full",
		  { GOOD, .count = 1, .section = { { 1, 32769 } } },
		  ST_BAD },
		{ "a section twice",
		  { GOOD, .count = 2, .section = { { 1, 1 }, { 1, 1 } } },
		  ST_BAD },
		{ "a payload inside a section of the same request",
		  { GOOD, .offset = 32768 + 512, .len = 1, .count = 1, .section = { { 1, 1 } } },
		  ST_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct both b;
		struct store_request rq;

		print_message("  %s\n", rows[i].name);
		both_new(&b);
		b.client->ring[0] = rows[i].e;
		word_set(&b.client->tail, 1);
		assert_int_equal(store_pair_take(&b.s, &rq), rows[i].want);
		both_drop(&b);
	}
}

static void memory_that_is_held_cant_be_named_again(void **state)
{
	static const struct {
		const char *name;
		uint32_t offset, len;
		enum st want;
	} rows[] = {
		{ "right behind", 1024, 256, ST_OK },   { "right before", 0, 256, ST_OK },
		{ "the same", 512, 300, ST_BAD },       { "its second granule", 768, 1, ST_BAD },
		{ "over its start", 256, 257, ST_BAD }, { "over all of it", 0, 65536, ST_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct both b;
		struct store_request first, rq;
		struct exipc_pin none = { 0 };

		print_message("  %s\n", rows[i].name);
		both_new(&b);
		b.client->ring[0] = (struct exipc_entry){ GOOD, .offset = 512, .len = 300 };
		b.client->ring[1] =
			(struct exipc_entry){ GOOD, .offset = rows[i].offset, .len = rows[i].len };
		b.client->ring[2] = (struct exipc_entry){ GOOD, .offset = 512, .len = 300 };
		word_set(&b.client->tail, 2);
		assert_int_equal(store_pair_take(&b.s, &first), ST_OK);
		assert_int_equal(store_pair_take(&b.s, &rq), rows[i].want);
		if (rows[i].want == ST_OK) {
			/* Answered is free again. */
			assert_int_equal(
				store_pair_reply(&b.s, &first, ST_OK, SPAN_NONE, false, none),
				ST_OK);
			word_set(&b.client->tail, 3);
			assert_int_equal(store_pair_take(&b.s, &rq), ST_OK);
		}
		both_drop(&b);
	}
}

static void returns_are_checked(void **state)
{
	static const uint64_t good = (EPOCH & UINT32_MAX) << 32;
	static const struct {
		const char *name;
		uint64_t returned, handle;
		enum st want;
	} rows[] = {
		{ "the block that is out", 1, good, ST_OK },
		{ "the same twice", 2, good, ST_BAD },
		{ "a block that is not out", 1, good | 1, ST_BAD },
		{ "a block behind the heap", 1, good | 8192, ST_BAD },
		{ "a block far out", 1, good | UINT32_MAX, ST_BAD },
		{ "another epoch", 1, 0, ST_BAD },
		{ "more than the ring holds", 8193, good, ST_BAD },
		{ "a count from nowhere", UINT64_MAX, good, ST_BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct both b;
		struct exipc_entry e;
		struct store_request rq;
		struct exipc_pin pin = { release, NULL };

		print_message("  %s\n", rows[i].name);
		both_new(&b);
		send_request(&b, &e, SPAN_NONE);
		assert_int_equal(store_pair_take(&b.s, &rq), ST_OK);
		assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN("r"), false, pin), ST_OK);
		word_note(&b.client->returns[0], rows[i].handle);
		word_note(&b.client->returns[1], rows[i].handle);
		word_set(&b.client->returned, rows[i].returned);
		assert_int_equal(store_pair_returns(&b.s), rows[i].want);
		if (rows[i].want == ST_OK) {
			word_set(&b.client->returned, rows[i].returned - 1);
			assert_int_equal(store_pair_returns(&b.s), ST_BAD); /* backwards */
		}
		both_drop(&b);
	}
}

static void a_head_that_lies_is_seen_by_a_reply(void **state)
{
	static const uint64_t heads[] = { 257, 300, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct both b;
		struct exipc_entry e;
		struct store_request rq;
		struct exipc_pin none = { 0 };

		both_new(&b);
		send_request(&b, &e, SPAN_NONE);
		assert_int_equal(store_pair_take(&b.s, &rq), ST_OK);
		for (unsigned n = 0; n < EXIPC_RING_ENTRIES; n++)
			assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN_NONE, true, none),
					 ST_OK);
		assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN_NONE, true, none),
				 ST_BUSY);
		assert_int_equal(notes_set(&b.s.notes, 1, 1), ST_OK);
		assert_int_equal(store_pair_notes(&b.s), ST_MORE);
		word_set(&b.client->head, heads[i]);
		assert_int_equal(store_pair_reply(&b.s, &rq, ST_OK, SPAN_NONE, true, none), ST_BAD);
		assert_int_equal(store_pair_notes(&b.s), ST_BAD);
		both_drop(&b);
	}
}

/* ---- notifications ---- */

static void notes_wait_for_room_and_none_is_lost(void **state)
{
	enum { TOKENS = 2000 };
	uint64_t seen[TOKENS] = { 0 };
	struct both b;
	struct exipc_entry e;

	(void)state;
	both_new(&b);
	for (uint64_t value = 1; value <= 3; value++)
		for (uint64_t t = 0; t < TOKENS; t++) {
			assert_int_equal(notes_set(&b.s.notes, t, value), ST_OK);
			if (t % 100 == 0)
				store_pair_notes(&b.s);
		}
	for (;;) {
		while (client_pair_take(&b.c, &e) == ST_OK)
			for (unsigned i = 0; i < e.count; i++) {
				assert_true(e.note[i].value >= seen[e.note[i].token]);
				seen[e.note[i].token] = e.note[i].value;
			}
		ring_tell(&b.c.replies);
		if (store_pair_notes(&b.s) == ST_MORE)
			break;
	}
	for (unsigned t = 0; t < TOKENS; t++)
		assert_int_equal(seen[t], 3);
	both_drop(&b);
}

/* ---- bulk sections ---- */

static void holders_of_sections_never_wait_in_a_circle(void **state)
{
	enum { FIBERS = 40 };
	char who[FIBERS];
	uint32_t has[FIBERS][EXIPC_BULK_MAX];
	unsigned n[FIBERS] = { 0 }, want[FIBERS], seed = 1, filled = 0;
	struct both b;

	(void)state;
	both_new(&b);
	for (unsigned i = 0; i < FIBERS; i++)
		want[i] = 1 + i % EXIPC_BULK_MAX;
	for (unsigned step = 0; step < 200000; step++) {
		unsigned i = (unsigned)rand_r(&seed) % FIBERS;

		if (n[i] < want[i]) {
			if (!client_pair_section(&b.c, &who[i], &has[i][n[i]]))
				n[i]++;
			continue;
		}
		while (n[i])
			client_pair_unsection(&b.c, has[i][--n[i]]);
		want[i] = 1 + (unsigned)rand_r(&seed) % EXIPC_BULK_MAX;
		filled++;
		if (step % 1000)
			continue;
		/* Whoever holds some can, one after the other, have all that it may ask for. */
		for (bool moved = true; moved;) {
			moved = false;
			for (unsigned k = 0; k < FIBERS; k++) {
				while (n[k] && n[k] < EXIPC_BULK_MAX &&
				       !client_pair_section(&b.c, &who[k], &has[k][n[k]]))
					n[k]++;
				for (; n[k] == EXIPC_BULK_MAX; moved = true)
					while (n[k])
						client_pair_unsection(&b.c, has[k][--n[k]]);
			}
		}
		for (unsigned k = 0; k < FIBERS; k++)
			assert_int_equal(n[k], 0);
	}
	assert_true(filled > 1000);
	both_drop(&b);
}

static void a_fiber_gets_no_more_than_its_sections(void **state)
{
	struct both b;
	uint32_t index;
	char me, other;

	(void)state;
	both_new(&b);
	for (unsigned i = 0; i < EXIPC_BULK_MAX; i++)
		assert_int_equal(client_pair_section(&b.c, &me, &index), ST_OK);
	assert_int_equal(client_pair_section(&b.c, &me, &index), ST_TOOBIG);
	assert_int_equal(client_pair_section(&b.c, &other, &index), ST_OK);
	assert_true(index >= EXIPC_PAYLOAD_SECTIONS && index < EXIPC_HEAP_SECTIONS);
	both_drop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_goes_and_its_reply_comes),
		cmocka_unit_test(the_blocks_of_a_full_heap_all_return),
		cmocka_unit_test(pins_of_a_dropped_pair_are_let_go),
		cmocka_unit_test(entries_are_checked),
		cmocka_unit_test(memory_that_is_held_cant_be_named_again),
		cmocka_unit_test(returns_are_checked),
		cmocka_unit_test(a_head_that_lies_is_seen_by_a_reply),
		cmocka_unit_test(notes_wait_for_room_and_none_is_lost),
		cmocka_unit_test(holders_of_sections_never_wait_in_a_circle),
		cmocka_unit_test(a_fiber_gets_no_more_than_its_sections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
