/* Posts from threads, work that blocks, pollers, descriptors. */
#include "run.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- posts ---- */

#define POSTERS 4
#define POSTS   20000

struct poster {
	struct loop *loop;
	struct fiber *waiter;
	pthread_t thread;
	int next, got;
	int *total;
};

static void take_post(void *arg)
{
	struct poster *p = arg;

	must(!fiber_self());
	p->got++;
	if (++*p->total == POSTERS * POSTS)
		fiber_wake(p->waiter);
}

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++)
		loop_post(p->loop, take_post, p);
	return NULL;
}

static void posts_body(void *arg)
{
	struct poster posters[POSTERS];
	int total = 0;

	(void)arg;
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){ loop_self(), fiber_self(), 0, 0, 0, &total };
		must(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]) == 0);
	}
	while (total < POSTERS * POSTS)
		must(fiber_park(deadline_in_ms(60000)));
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		must(posters[i].got == POSTS);
	}
}

static void no_post_of_four_threads_is_lost(void **state)
{
	(void)state;
	run_on_loop(posts_body, NULL);
}

struct pinger {
	struct loop *loops[2];
	struct fiber *waiter;
	int left;
};

static void ping(void *arg);

static void pong(void *arg)
{
	struct pinger *p = arg;

	loop_post(p->loops[0], ping, p);
}

static void ping(void *arg)
{
	struct pinger *p = arg;

	if (p->left--)
		loop_post(p->loops[1], pong, p);
	else
		fiber_wake(p->waiter);
}

static void *run_other(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void sleepers_body(void *arg)
{
	struct pinger p = { { loop_self() }, fiber_self(), 2000 };
	pthread_t thread;
	struct err err;

	(void)arg;
	must(loop_new("other", &p.loops[1], &err) == ST_OK);
	must(pthread_create(&thread, NULL, run_other, p.loops[1]) == 0);
	ping(&p);
	while (p.left >= 0)
		must(fiber_park(deadline_in_ms(60000)));
	loop_stop(p.loops[1]);
	pthread_join(thread, NULL);
	loop_free(p.loops[1]);
}

static void two_sleeping_loops_wake_each_other(void **state)
{
	(void)state;
	run_on_loop(sleepers_body, NULL);
}

struct ordered {
	int seen[10], count;
};

struct ordered_post {
	struct ordered *to;
	int n;
};

static void take_ordered(void *arg)
{
	struct ordered_post *p = arg;

	p->to->seen[p->to->count++] = p->n;
}

static void order_body(void *arg)
{
	struct ordered o = { 0 };
	struct ordered_post posts[10];

	(void)arg;
	for (int i = 0; i < 10; i++) {
		posts[i] = (struct ordered_post){ &o, i };
		loop_post(loop_self(), take_ordered, &posts[i]);
	}
	fiber_yield();
	must(o.count == 10);
	for (int i = 0; i < 10; i++)
		must(o.seen[i] == i);
}

static void posts_run_in_the_order_posted(void **state)
{
	(void)state;
	run_on_loop(order_body, NULL);
}

static struct loop *signalled;

static void stop_it(int sig)
{
	(void)sig;
	loop_stop(signalled);
}

static void a_signal_handler_may_stop_the_loop(void **state)
{
	struct itimerspec soon = { .it_value.tv_nsec = 5 * 1000 * 1000 };
	struct err err;
	timer_t timer;

	(void)state;
	assert_int_equal(loop_new("signalled", &signalled, &err), ST_OK);
	signal(SIGALRM, stop_it);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
	loop_run(signalled);
	timer_delete(timer);
	loop_free(signalled);
}

static void a_stop_before_the_run_is_remembered(void **state)
{
	struct loop *loop;
	struct err err;

	(void)state;
	assert_int_equal(loop_new("early", &loop, &err), ST_OK);
	loop_stop(loop);
	loop_run(loop);
	loop_stop(loop); /* and it can run again */
	loop_run(loop);
	loop_free(loop);
}

/* ---- work ---- */

struct worked {
	pthread_t loop_thread;
	struct fiber *waiter;
	atomic_int ran;
	int done;
};

static void block_a_while(void *arg)
{
	struct worked *w = arg;
	struct timespec pause = { 0, 1000 * 1000 };

	must(!pthread_equal(pthread_self(), w->loop_thread));
	must(!loop_self());
	nanosleep(&pause, NULL);
	atomic_fetch_add(&w->ran, 1);
}

static void work_fiber(void *arg)
{
	struct worked *w = arg;

	work_run(block_a_while, w);
	w->done++;
	fiber_wake(w->waiter);
}

static void submitted(void *arg)
{
	struct worked *w = arg;

	must(pthread_equal(pthread_self(), w->loop_thread) && !fiber_self());
	w->done++;
	fiber_wake(w->waiter);
}

static void work_body(void *arg)
{
	struct worked w = { .loop_thread = pthread_self(), .waiter = fiber_self() };
	struct err err;

	(void)arg;
	for (int i = 0; i < 20; i++)
		must(fiber_spawn("work", work_fiber, &w, &err) == ST_OK);
	for (int i = 0; i < 20; i++)
		work_submit(block_a_while, &w, submitted);
	fiber_wake(fiber_self()); /* a stray wake must not end the wait for the work */
	work_run(block_a_while, &w);
	must(atomic_load(&w.ran) >= 1);
	while (w.done < 40)
		must(fiber_park(deadline_in_ms(60000)));
	must(atomic_load(&w.ran) == 41);
}

static void work_runs_elsewhere_and_comes_back(void **state)
{
	(void)state;
	work_start(3);
	run_on_loop(work_body, NULL);
}

static void work_starts_by_itself(void **state)
{
	(void)state;
	run_on_loop(work_body, NULL);
}

/* ---- pollers ---- */

struct polled {
	struct poller poller, twin;
	atomic_int ready;    /* what a producer thread put */
	atomic_bool sleeps;  /* said by before_sleep */
	int doorbell, taken; /* an eventfd; what was polled */
	int before, after;
	struct watch bell;
	struct fiber *waiter;
};

static bool poll_ready(void *arg)
{
	struct polled *p = arg;
	int n = atomic_exchange(&p->ready, 0);

	p->taken += n;
	if (n && p->waiter)
		fiber_wake(p->waiter);
	return n > 0;
}

static bool says_it_sleeps(void *arg)
{
	struct polled *p = arg;

	p->before++;
	atomic_store(&p->sleeps, true);
	return !atomic_load(&p->ready);
}

static void says_it_is_awake(void *arg)
{
	struct polled *p = arg;

	p->after++;
	atomic_store(&p->sleeps, false);
}

static void bell_rang(void *arg, unsigned events)
{
	struct polled *p = arg;
	uint64_t n;

	(void)events;
	must(read(p->doorbell, &n, sizeof(n)) == sizeof(n));
}

static void *produce(void *arg)
{
	struct polled *p = arg;

	for (int i = 0; i < 20000; i++) {
		uint64_t one = 1;

		atomic_fetch_add(&p->ready, 1);
		if (atomic_load(&p->sleeps) && atomic_exchange(&p->sleeps, false))
			must(write(p->doorbell, &one, sizeof(one)) == sizeof(one));
		if (i % 1000 == 0)
			usleep(200); /* let it fall asleep now and then */
	}
	return NULL;
}

static void poller_body(void *arg)
{
	struct polled *p = arg;
	struct loop_stats stats;
	pthread_t thread;
	struct err err;

	p->poller = (struct poller){ poll_ready, says_it_sleeps, says_it_is_awake, p, NULL };
	p->waiter = fiber_self();
	p->doorbell = eventfd(0, EFD_NONBLOCK);
	must(loop_watch(&p->bell, p->doorbell, 1, bell_rang, p, &err) == ST_OK);
	loop_poller_add(&p->poller);
	must(pthread_create(&thread, NULL, produce, p) == 0);
	while (p->taken < 20000)
		must(fiber_park(deadline_in_ms(60000)));
	pthread_join(thread, NULL);
	fiber_sleep(deadline_in_ms(5));
	must(p->taken == 20000);
	must(p->before > 0);
	loop_stats(loop_self(), &stats);
	uint64_t turns = stats.turns;
	fiber_sleep(deadline_in_ms(50));
	loop_stats(loop_self(), &stats);
	must(stats.turns - turns < 20); /* idle: no spinning */
	loop_poller_remove(&p->poller);
	loop_unwatch(&p->bell);
	close(p->doorbell);
}

static void a_poller_loses_nothing_and_rests_when_idle(void **state)
{
	struct polled p = { 0 };

	(void)state;
	run_on_loop(poller_body, &p);
}

static bool remove_both(void *arg)
{
	struct polled *p = arg;

	if (p->taken++)
		return false;
	loop_poller_remove(&p->twin);
	loop_poller_remove(&p->poller);
	return true;
}

static void removal_body(void *arg)
{
	struct polled p = { 0 };

	(void)arg;
	p.poller = p.twin = (struct poller){ remove_both, NULL, NULL, &p, NULL };
	loop_poller_add(&p.twin);
	loop_poller_add(&p.poller);
	fiber_sleep(deadline_in_ms(2));
	must(p.taken == 1);
}

static void a_poller_may_remove_itself_and_the_next(void **state)
{
	(void)state;
	run_on_loop(removal_body, NULL);
}

/* ---- descriptors ---- */

struct pair {
	struct watch a, b;
	int calls;
};

/* Whichever is called first unwatches (and in real life frees) both. */
static void one_ends_both(void *arg, unsigned events)
{
	struct pair *p = arg;

	(void)events;
	p->calls++;
	loop_unwatch(&p->a);
	loop_unwatch(&p->b);
	loop_unwatch(&p->b);
}

static void watch_body(void *arg)
{
	struct pair p = { 0 };
	int a = eventfd(1, 0), b = eventfd(1, 0);
	struct err err;

	(void)arg;
	must(loop_watch(&p.a, a, 1, one_ends_both, &p, &err) == ST_OK);
	must(loop_watch(&p.b, b, 1, one_ends_both, &p, &err) == ST_OK);
	fiber_sleep(deadline_in_ms(5));
	must(p.calls == 1);
	close(a);
	close(b);
	must(loop_watch(&p.a, a, 1, one_ends_both, &p, &err) == ST_IO);
	must(strstr(err.text, "watch descriptor"));
	loop_unwatch(&p.a);
}

static void an_unwatched_descriptor_is_silent_in_the_same_turn(void **state)
{
	(void)state;
	run_on_loop(watch_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_post_of_four_threads_is_lost),
		cmocka_unit_test(two_sleeping_loops_wake_each_other),
		cmocka_unit_test(posts_run_in_the_order_posted),
		cmocka_unit_test(a_signal_handler_may_stop_the_loop),
		cmocka_unit_test(a_stop_before_the_run_is_remembered),
		cmocka_unit_test(work_runs_elsewhere_and_comes_back),
		cmocka_unit_test(work_starts_by_itself),
		cmocka_unit_test(a_poller_loses_nothing_and_rests_when_idle),
		cmocka_unit_test(a_poller_may_remove_itself_and_the_next),
		cmocka_unit_test(an_unwatched_descriptor_is_silent_in_the_same_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
