/* A folder's index against a plain list of the same messages. */
#include "store/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#undef fail

#define MESSAGES 3000

static struct shard shard;
static struct mailbox mailbox = { .shard = &shard };
static struct folder folder = { .mb = &mailbox };

static struct folder_index *index_make(void)
{
	struct folder_index *ix = calloc(1, sizeof *ix);

	assert_non_null(ix);
	ix->folder = &folder;
	ix->cap = 1;
	ix->at = calloc(1, sizeof *ix->at);
	ix->block_cn = calloc(1, sizeof *ix->block_cn);
	return ix;
}

/* The same by looking at every entry. */
static size_t changed_plainly(const struct folder_index *ix, size_t from, uint64_t since)
{
	while (from < ix->n && ix->at[from].cn <= since)
		from++;
	return from;
}

static void compare_changes(const struct folder_index *ix, uint64_t since)
{
	for (size_t i = 0, k = 0; i < ix->n || k < ix->n; i++, k++) {
		i = index_changed(ix, i, since);
		k = changed_plainly(ix, k, since);
		assert_int_equal(i, k);
	}
}

static void changes_are_found(void **state)
{
	struct folder_index *ix = index_make();
	struct uset gone = { 0 }, uids = { 0 };
	uint64_t cn = 0;

	(void)state;
	srandom(7);
	for (uint32_t uid = 1; uid <= MESSAGES; uid += 1 + (uint32_t)random() % 3) {
		struct entry e = { .uid = uid, .mid = cn + 1, .cn = cn + 1 };

		cn++;
		assert_int_equal(index_reserve(ix, 1, NULL), ST_OK);
		index_append(ix, &e);
	}
	for (int i = 0; i < 60; i++) {
		struct entry *e = &ix->at[(size_t)random() % ix->n];

		e->cn = ++cn;
		index_touched(ix, e);
	}
	for (uint64_t since = 0; since <= cn + 1; since += 17)
		compare_changes(ix, since);
	/* Every other message goes. */
	for (size_t i = 0; i < ix->n; i += 2)
		assert_int_equal(uset_add(&gone, ix->at[i].uid, ix->at[i].uid), ST_OK);
	size_t left = ix->n - gone.count;
	assert_int_equal(index_reserve(ix, 0, NULL), ST_OK);
	index_vanish(ix, ++cn, &gone);
	assert_int_equal(ix->n, left);
	assert_int_equal(gone.count, 0);
	for (uint64_t since = 0; since <= cn; since += 17)
		compare_changes(ix, since);
	assert_int_equal(index_uids(ix, UINT32_MAX, &uids), ST_OK);
	assert_int_equal(uids.count, left);
	for (size_t i = 0; i < ix->n; i++) {
		assert_ptr_equal(index_find(ix, ix->at[i].uid), &ix->at[i]);
		assert_true(uset_has(&uids, ix->at[i].uid));
	}
	assert_null(index_find(ix, 0));
	assert_null(index_find(ix, MESSAGES * 2));
	uset_free(&uids);
	index_free(ix);
	assert_int_equal(shard.index_bytes, 0);
}

static void the_oldest_news_go_first(void **state)
{
	struct folder_index *ix = index_make();

	(void)state;
	for (uint64_t cn = 1; cn <= VANISHED_MAX; cn++) {
		struct uset one = { 0 };

		assert_int_equal(index_vanished_over(ix), 0);
		assert_int_equal(uset_add(&one, (uint32_t)cn, (uint32_t)cn), ST_OK);
		assert_int_equal(index_reserve(ix, 0, NULL), ST_OK);
		index_vanish(ix, cn, &one);
	}
	size_t over = index_vanished_over(ix);
	assert_true(over > 0);
	index_vanished_drop(ix, over);
	assert_int_equal(ix->nvanished, VANISHED_MAX - over);
	assert_int_equal(ix->vanished[0].cn, over + 1);
	index_free(ix);
}

/* Room is made from the end of the list, around what is in use. */
static void memory_is_bounded(void **state)
{
	static struct folder folders[10];
	struct folder_index *ix[10];

	(void)state;
	link_init(&shard.indexes_used);
	for (int i = 0; i < 10; i++) {
		folders[i].mb = &mailbox;
		ix[i] = index_make();
		ix[i]->folder = &folders[i];
		folders[i].ix = ix[i];
		assert_int_equal(index_reserve(ix[i], 1000, NULL), ST_OK);
		link_push(&shard.indexes_used, &ix[i]->used);
	}
	ix[0]->pins = 1;
	folders[1].inflight = 1;
	shard.index_limit = shard.index_bytes / 2;
	indexes_trim(&shard);
	assert_true(shard.index_bytes <= shard.index_limit);
	assert_non_null(folders[0].ix);
	assert_non_null(folders[1].ix);
	assert_null(folders[2].ix);
	assert_non_null(folders[9].ix);
	ix[0]->pins = 0;
	folders[1].inflight = 0;
	shard.index_limit = 0;
	indexes_trim(&shard);
	assert_int_equal(shard.index_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_are_found),
		cmocka_unit_test(the_oldest_news_go_first),
		cmocka_unit_test(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
