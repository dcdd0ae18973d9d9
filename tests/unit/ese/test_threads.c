/* test_threads.c - many deliverers at once, streams of bodies, readers beside them, then a kill. */
#include "rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS 8
#define EACH    60

static struct rig rig;
static _Atomic bool over;

static size_t len_of(unsigned t, unsigned i)
{
	return i % 10 == 9 ? 100000 + t * 777 : (t * 1237u + i * 991u) % 9000;
}

/* Each thread: deliver, every third body also to a second place, every second one deleted again. */
static void *deliver(void *arg)
{
	unsigned t = (unsigned)(uintptr_t)arg;
	uint64_t last = 0;

	for (unsigned i = 0; i < EACH; i++) {
		struct ese_body *body = rig_write(&rig, len_of(t, i), t * 1000 + i);
		uint64_t id = ese_body_id(body);
		struct ese_batch *b;
		char key[32], value[32];

		snprintf(key, sizeof(key), "t%u/%03u", t, i);
		snprintf(value, sizeof(value), "%llu", (unsigned long long)id);
		assert_int_equal(ese_batch_new(rig.db, t, &b, NULL), ST_OK);
		ese_put(b, span_str(key), span_str(value));
		ese_link(b, body);
		if (i % 3 == 0)
			ese_link(b, body);
		ese_body_drop(body);
		assert_int_equal(rig_commit(b, NULL), ST_OK);
		if (i % 2 == 1) {
			assert_int_equal(ese_batch_new(rig.db, t, &b, NULL), ST_OK);
			snprintf(key, sizeof(key), "t%u/%03u", t, i - 1);
			ese_delete(b, span_str(key));
			ese_unlink(b, last);
			if ((i - 1) % 3 == 0)
				ese_unlink(b, last);
			assert_int_equal(rig_commit(b, NULL), ST_OK);
		}
		last = id;
	}
	return NULL;
}

static void *read_along(void *arg)
{
	(void)arg;
	while (!over) {
		struct span key, value;
		uint64_t pin = ese_pin(rig.db);
		struct ese_iter *it;

		assert_int_equal(ese_iter_new(rig.db, SPAN("t"), SPAN("u"), &it, NULL), ST_OK);
		while (ese_iter_next(it, &key, &value, NULL) == ST_OK) {
			struct ese_scatter s;

			/* It may be gone by now, but not damaged. */
			if (ese_body_find(rig.db, strtoull(value.at, NULL, 10), true, &s, NULL) ==
			    ST_OK)
				ese_scatter_free(&s);
		}
		ese_iter_free(it);
		ese_unpin(rig.db, pin);
	}
	return NULL;
}

static void check_all(struct rig *r)
{
	uint64_t pages = 0;
	struct ese_stats s;

	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < EACH; i++) {
			const char *id;
			char key[32];

			snprintf(key, sizeof(key), "t%u/%03u", t, i);
			id = rig_get(r, key);
			if (i % 2 == 0) {
				assert_string_equal(id, "");
				continue;
			}
			assert_string_not_equal(id, "");
			rig_check_body(r, strtoull(id, NULL, 10), len_of(t, i), t * 1000 + i);
			pages += (len_of(t, i) + ESE_PAGE - 1) / ESE_PAGE;
		}
	rig_settle(r);
	ese_stats(r->g, &s);
	assert_int_equal(s.bodies, THREADS * EACH / 2);
	assert_int_equal(s.pages_reserved, 0);
	assert_int_equal(s.pages_total - s.pages_free, pages);
}

static void deliverers_and_readers_at_once(void **state)
{
	pthread_t threads[THREADS], reader;
	struct rig copy;

	(void)state;
	rig_make(&rig);
	rig.o.checkpoint_bytes = 1024 * 1024;
	rig_open(&rig);
	over = false;
	for (unsigned t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, deliver, (void *)(uintptr_t)t),
				 0);
	assert_int_equal(pthread_create(&reader, NULL, read_along, NULL), 0);
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	over = true;
	pthread_join(reader, NULL);
	check_all(&rig);
	rig_fork(&rig, &copy);
	rig_open(&copy);
	check_all(&copy);
	rig_close(&copy);
	rig_remove(&copy);
	rig_close(&rig);
	rig_open(&rig);
	check_all(&rig);
	rig_close(&rig);
	rig_remove(&rig);
}

static long resident_kb(void)
{
	long pages = 0, ignored;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &ignored, &pages), 2);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void *watch(void *arg)
{
	long *most = arg;

	while (!over) {
		long now = resident_kb();

		if (now > *most)
			*most = now;
		usleep(500);
	}
	return NULL;
}

/* 64 MiB in sections, as a client's message comes: the queue says when it is full, memory stays small. */
static void a_large_body_streams_through_little_memory(void **state)
{
	static char section[32768];
	struct ese_stats s;
	struct ese_body *body;
	uint64_t most_queued = 0;
	long before, most = 0;
	pthread_t watcher;
	struct rig r;

	(void)state;
	rig_make(&r);
	r.o.segment_bytes = 0;
	r.o.checkpoint_bytes = 0;
	rig_open(&r);
	ese_body_drop(rig_write(&r, 1 << 20, 1)); /* buffers that stay */
	rig_settle(&r);
	memset(section, 's', sizeof(section));
	over = false;
	before = resident_kb();
	assert_int_equal(pthread_create(&watcher, NULL, watch, &most), 0);
	assert_int_equal(ese_body_new(r.db, &body, NULL), ST_OK);
	for (unsigned i = 0; i < 2048;) {
		struct err err;
		enum st st = ese_body_write(body, section, sizeof(section), &err);

		ese_stats(r.g, &s);
		if (s.queue_bytes > most_queued)
			most_queued = s.queue_bytes;
		if (st == ST_OK)
			i++;
		else
			assert_int_equal(st, ST_BUSY);
	}
	rig_settle(&r);
	over = true;
	pthread_join(watcher, NULL);
	assert_int_equal(ese_body_len(body), 64 << 20);
	assert_true(most_queued <= 4 << 20);
	print_message("64 MiB: %ld KiB more, %llu KiB queued at most\n", most - before,
		      (unsigned long long)most_queued / 1024);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if !defined(__has_feature)
	assert_true(most - before < 8 * 1024);
#elif !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
	assert_true(most - before < 8 * 1024);
#endif
#endif
	ese_body_drop(body);
	rig_close(&r);
	rig_remove(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deliverers_and_readers_at_once),
		cmocka_unit_test(a_large_body_streams_through_little_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
