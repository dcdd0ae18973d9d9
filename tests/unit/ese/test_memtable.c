/* test_memtable.c - rows in memory against a sorted array: order, versions, many readers beside the writer. */
#include "ese/memtable.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS   3000u
#define ROUNDS 20000u

/* ---- a model: of each key the batches that changed it ---- */

struct change {
	uint32_t number;
	int value; /* -1: deleted */
};
struct model_row {
	char key[24];
	size_t len;
	struct change *changes;
	uint32_t n, cap;
};
static struct model_row model[KEYS];

static int by_key(const void *a, const void *b)
{
	const struct model_row *x = a, *y = b;

	return span_cmp(span_of(x->key, x->len), span_of(y->key, y->len));
}

/* Keys as mail has them (many with the same beginning), and some that are each other's beginning. */
static void make_keys(void)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		struct model_row *m = &model[i];

		free(m->changes);
		*m = (struct model_row){ 0 };
		if (i < 100) {
			memset(m->key, 'm', i / 5 + 1);
			m->len = i / 5 + 1 + (size_t)snprintf(m->key + i / 5 + 1, 4, "%u", i % 5);
			continue;
		}
		m->len = 12;
		memcpy(m->key, "m\0\0\0\0\0\0\0\0\0\0\0", 12);
		m->key[3] = (char)(i % 7);
		m->key[7] = (char)(i % 3);
		m->key[10] = (char)(i >> 8);
		m->key[11] = (char)i;
	}
	qsort(model, KEYS, sizeof(*model), by_key);
}

static void model_change(uint32_t i, uint32_t number, int value)
{
	struct model_row *m = &model[i];

	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 4;
		m->changes = realloc(m->changes, m->cap * sizeof(*m->changes));
		assert_non_null(m->changes);
	}
	m->changes[m->n++] = (struct change){ number, value };
}

/* NULL: nothing is known of it as of that batch. */
static const struct change *model_at(uint32_t i, uint32_t number)
{
	const struct change *c = NULL;

	for (uint32_t n = 0; n < model[i].n && model[i].changes[n].number <= number; n++)
		c = &model[i].changes[n];
	return c;
}

static struct span value_text(int value, char *out)
{
	return span_of(out, (size_t)sprintf(out, "%d", value));
}

static void put(struct memtable *t, uint32_t number, uint32_t i, int value)
{
	char text[16];
	struct memtable_value v = { .deleted = value < 0 };

	if (value >= 0)
		v.bytes = value_text(value, text);
	assert_true(memtable_put(t, number, span_of(model[i].key, model[i].len), &v));
	model_change(i, number, value);
}

static uint32_t next_random(uint32_t *x)
{
	*x = *x * 1103515245u + 12345u;
	return *x >> 8;
}

static void same(const struct memtable_value *v, const struct change *c)
{
	char text[16];

	assert_int_equal(v->deleted, c->value < 0);
	if (c->value >= 0)
		assert_true(span_cmp(v->bytes, value_text(c->value, text)) == 0);
}

static void check_gets(struct memtable *t, uint32_t number)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		const struct change *c = model_at(i, number);
		struct memtable_value v;

		assert_int_equal(memtable_get(t, number, span_of(model[i].key, model[i].len), &v),
				 c != NULL);
		if (c)
			same(&v, c);
	}
}

/* From a key, and from right behind it. */
static void check_cursor(struct memtable *t, uint32_t number, uint32_t from, bool behind)
{
	struct memtable_cursor c;
	char key[32];

	memcpy(key, model[from].key, model[from].len);
	key[model[from].len] = '\0';
	memtable_seek(&c, t, number, span_of(key, model[from].len + behind));
	for (uint32_t i = from + behind; i < KEYS; i++) {
		const struct change *m = model_at(i, number);

		if (!m)
			continue;
		assert_non_null(c.row);
		assert_true(span_cmp(c.key, span_of(model[i].key, model[i].len)) == 0);
		same(&c.value, m);
		memtable_next(&c);
	}
	assert_null(c.row);
}

static void a_table_is_a_sorted_array_with_a_past(void **state)
{
	struct memtable *t = memtable_new();
	uint32_t x = 7, run = 0, at = 0;

	(void)state;
	make_keys();
	assert_true(memtable_is_empty(t));
	check_gets(t, UINT32_MAX);
	for (uint32_t n = 1; n <= ROUNDS; n++) {
		/* Runs of neighbours, jumps between; now and then the same key twice in a batch. */
		if (run-- == 0) {
			run = next_random(&x) % 20;
			at = next_random(&x) % KEYS;
		}
		put(t, n, at, next_random(&x) % 5 == 0 ? -1 : (int)next_random(&x));
		if (next_random(&x) % 4 == 0)
			put(t, n, at, (int)n);
		at = (at + 1) % KEYS;
	}
	assert_false(memtable_is_empty(t));
	for (uint32_t n = 0; n <= ROUNDS; n += ROUNDS / 8) {
		check_gets(t, n);
		for (uint32_t from = 0; from < KEYS; from += 371)
			check_cursor(t, n, from, from % 2);
	}
	memtable_free(t);
}

static void keys_may_come_in_any_order(void **state)
{
	(void)state;
	for (uint32_t step = 1; step < KEYS; step = step * 3 + 1) {
		struct memtable *t = memtable_new();

		make_keys();
		for (uint32_t i = 0; i < KEYS; i++) {
			uint32_t k = (uint32_t)((uint64_t)i * step % KEYS);

			put(t, i + 1, step % 2 ? k : KEYS - 1 - k, (int)i);
		}
		check_gets(t, UINT32_MAX);
		check_cursor(t, UINT32_MAX, 0, false);
		memtable_free(t);
	}
}

static void large_values_are_kept_and_counted(void **state)
{
	struct memtable *t = memtable_new();
	char *big = malloc(3u << 20);
	struct memtable_value v = { .bytes = span_of(big, 3u << 20) }, got;

	(void)state;
	memset(big, 'x', 3u << 20);
	assert_true(
		memtable_put(t, 1, SPAN("small"), &(struct memtable_value){ SPAN("s"), false }));
	assert_true(memtable_put(t, 2, SPAN("big"), &v));
	assert_true(
		memtable_put(t, 3, SPAN("after"), &(struct memtable_value){ SPAN("a"), false }));
	assert_true(memtable_bytes(t) > 3u << 20);
	assert_true(memtable_bytes(t) < 5u << 20);
	assert_true(memtable_get(t, 3, SPAN("big"), &got));
	assert_int_equal(got.bytes.len, 3u << 20);
	assert_memory_equal(got.bytes.at, big, 3u << 20);
	assert_false(memtable_get(t, 1, SPAN("big"), &got));
	memtable_free(t);
	free(big);
}

/* ---- readers beside the writer ---- */

struct shared {
	struct memtable *t;
	_Atomic uint32_t number;
	_Atomic bool stop;
};

/* Batch n puts n into two keys, far apart: whoever looks as of n sees both. */
static void *look(void *arg)
{
	struct shared *s = arg;
	uint32_t looks = 0;

	while (!s->stop || looks == 0) {
		uint32_t n = s->number, rows = 0;
		struct memtable_cursor c;
		struct memtable_value a, b;
		char key[16];

		if (n == 0)
			continue;
		snprintf(key, sizeof(key), "a%08u", n % 500);
		if (!memtable_get(s->t, n, span_str(key), &a))
			return (void *)1;
		key[0] = 'z';
		if (!memtable_get(s->t, n, span_str(key), &b) || !span_eq(a.bytes, b.bytes))
			return (void *)2;
		for (memtable_seek(&c, s->t, n, SPAN_NONE); c.row; memtable_next(&c))
			rows++;
		if (rows != (n < 500 ? n : 500) * 2)
			return (void *)3;
		looks++;
	}
	return NULL;
}

static void readers_see_whole_batches(void **state)
{
	struct shared s = { .t = memtable_new() };
	pthread_t threads[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look, &s), 0);
	for (uint32_t n = 1; n <= 5000; n++) {
		char key[16], text[16];
		struct memtable_value v = { .bytes = value_text((int)n, text) };

		snprintf(key, sizeof(key), "z%08u", n % 500);
		assert_true(memtable_put(s.t, n, span_str(key), &v));
		key[0] = 'a';
		assert_true(memtable_put(s.t, n, span_str(key), &v));
		s.number = n;
	}
	s.stop = true;
	for (size_t i = 0; i < 3; i++) {
		void *result;

		pthread_join(threads[i], &result);
		assert_null(result);
	}
	memtable_free(s.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_a_sorted_array_with_a_past),
		cmocka_unit_test(keys_may_come_in_any_order),
		cmocka_unit_test(large_values_are_kept_and_counted),
		cmocka_unit_test(readers_see_whole_batches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
