/* Fibers, what they wait in, and timers. */
#include "run.h"

#include <string.h>

struct trace {
	char text[64];
	struct fiber *one, *two;
	struct fiber_queue queue;
	struct fiber_lock lock;
	int done;
};

static void note(struct trace *t, const char *what)
{
	must(strlen(t->text) + strlen(what) < sizeof(t->text));
	strcat(t->text, what);
}

static void spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	struct err err;

	must(fiber_spawn(name, fn, arg, &err) == ST_OK);
}

static void yielding(void *arg)
{
	struct trace *t = arg;

	for (int i = 0; i < 3; i++) {
		note(t, "b");
		fiber_yield();
	}
	t->done = 1;
}

static void yield_body(void *arg)
{
	struct trace *t = arg;

	spawn("yielding", yielding, t);
	while (!t->done) {
		note(t, "a");
		fiber_yield();
	}
	must(strcmp(t->text, "abababa") == 0);
}

static void fibers_take_turns(void **state)
{
	struct trace t = { 0 };

	(void)state;
	run_on_loop(yield_body, &t);
}

static void remembered_body(void *arg)
{
	(void)arg;
	fiber_wake(fiber_self());
	fiber_wake(fiber_self());
	must(fiber_park(NO_DEADLINE)); /* two wakes are one */
	int64_t before = clock_mono();
	must(!fiber_park(deadline_in_ms(20)));
	must(clock_mono() - before >= 20 * NS_PER_MS);
	must(!fiber_park(before)); /* a deadline in the past */
	fiber_wake(fiber_self());
	fiber_sleep(deadline_in_ms(5)); /* sleeps all the same, and leaves the wake */
	must(fiber_park(NO_DEADLINE));
}

static void a_wake_before_the_park_is_remembered_once(void **state)
{
	(void)state;
	run_on_loop(remembered_body, NULL);
}

static void waker(void *arg)
{
	struct trace *t = arg;

	fiber_sleep(deadline_in_ms(5));
	fiber_wake(t->one);
}

static void wake_body(void *arg)
{
	struct trace *t = arg;

	t->one = fiber_self();
	spawn("waker", waker, t);
	must(fiber_park(deadline_in_ms(5000)));
	must(!fiber_park(deadline_in_ms(1)));
}

static void a_wake_ends_a_park_before_its_deadline(void **state)
{
	struct trace t = { 0 };

	(void)state;
	run_on_loop(wake_body, &t);
}

static void waits(void *arg)
{
	struct trace *t = arg;
	char name[2] = { (char)('0' + t->done++), 0 };
	bool woken = fiber_queue_wait(&t->queue, name[0] == '1' ? deadline_in_ms(5) : NO_DEADLINE);

	note(t, name);
	note(t, woken ? "w" : "t");
}

static void queue_body(void *arg)
{
	struct trace *t = arg;

	for (int i = 0; i < 4; i++)
		spawn("waits", waits, t);
	fiber_sleep(deadline_in_ms(20)); /* number 1 leaves from the middle */
	must(strcmp(t->text, "1t") == 0);
	fiber_queue_wake_one(&t->queue);
	fiber_yield();
	must(strcmp(t->text, "1t0w") == 0);
	fiber_queue_wake_all(&t->queue);
	fiber_yield();
	must(strcmp(t->text, "1t0w2w3w") == 0);
	must(!t->queue.head && !t->queue.tail);
	fiber_queue_wake_one(&t->queue);
}

static void a_queue_is_first_in_first_out_and_times_out(void **state)
{
	struct trace t = { 0 };

	(void)state;
	run_on_loop(queue_body, &t);
}

static void locks(void *arg)
{
	struct trace *t = arg;
	char name[2] = { (char)('0' + t->done++), 0 };

	fiber_lock(&t->lock);
	note(t, name);
	fiber_yield();
	note(t, name);
	fiber_unlock(&t->lock);
}

static void lock_body(void *arg)
{
	struct trace *t = arg;

	fiber_lock(&t->lock);
	for (int i = 0; i < 3; i++)
		spawn("locks", locks, t);
	fiber_sleep(deadline_in_ms(2));
	must(t->text[0] == 0);
	fiber_unlock(&t->lock);
	fiber_lock(&t->lock); /* behind the three */
	must(strcmp(t->text, "001122") == 0);
	fiber_unlock(&t->lock);
}

static void a_lock_is_handed_over_in_order(void **state)
{
	struct trace t = { 0 };

	(void)state;
	run_on_loop(lock_body, &t);
}

static void count_name(void *arg, const char *name)
{
	if (strcmp(name, "parks") == 0)
		++*(int *)arg;
}

static void parks(void *arg)
{
	++*(int *)arg;
	while (*(int *)arg < 1000)
		fiber_sleep(deadline_in_ms(1));
}

static void many_body(void *arg)
{
	int live = 0, named = 0;
	struct loop_stats stats;

	(void)arg;
	for (int i = 0; i < 1000; i++)
		spawn("parks", parks, &live);
	loop_fibers(count_name, &named);
	must(named == 1000);
	loop_stats(loop_self(), &stats);
	must(stats.fibers_now == 1001);
	while (stats.fibers_now > 1) {
		fiber_sleep(deadline_in_ms(1));
		loop_stats(loop_self(), &stats);
	}
	must(live == 1000);
	must(stats.stacks_cached > 0 && stats.stacks_cached <= 256);
	must(stats.fibers_started == 1001);
}

static void a_thousand_fibers_come_and_go(void **state)
{
	(void)state;
	run_on_loop(many_body, NULL);
}

static void deep(int left)
{
	volatile char room[512];

	memset((char *)(uintptr_t)room, left, sizeof(room));
	if (left)
		deep(left - 1);
	must(room[17] == (char)left);
}

static void deep_body(void *arg)
{
	(void)arg;
	deep(90);
}

static void a_stack_has_room_for_what_sessions_do(void **state)
{
	(void)state;
	run_on_loop(deep_body, NULL);
}

/* ---- timers ---- */

#define TIMERS 500

struct timers {
	struct timer timers[TIMERS];
	int64_t last;
	int fired;
	bool order_broken;
};

static void fired(void *arg)
{
	struct timers *t = arg;
	int64_t now = clock_mono();

	t->fired++;
	must(!fiber_self());
	if (now < t->last)
		t->order_broken = true;
	t->last = now;
}

static void timers_body(void *arg)
{
	struct timers *t = arg;
	int64_t start = clock_mono();

	srand(1);
	for (int i = 0; i < TIMERS; i++)
		timer_set(&t->timers[i], start + rand() % (30 * NS_PER_MS), fired, t);
	for (int i = 0; i < TIMERS; i += 2) /* move some, clear some */
		timer_set(&t->timers[i], start + rand() % (30 * NS_PER_MS), fired, t);
	for (int i = 0; i < TIMERS; i += 5) {
		timer_clear(&t->timers[i]);
		timer_clear(&t->timers[i]);
	}
	fiber_sleep(start + 40 * NS_PER_MS);
	must(t->fired == TIMERS - TIMERS / 5);
	must(!t->order_broken);
	for (int i = 0; i < TIMERS; i++)
		must(!t->timers[i].slot);
}

static void timers_fire_once_unless_cleared(void **state)
{
	struct timers *t = calloc(1, sizeof(*t));

	(void)state;
	run_on_loop(timers_body, t);
	free(t);
}

static struct timer order_timers[100];
static int order_seen[100], order_count;

static void in_order(void *arg)
{
	order_seen[order_count++] = (int)((struct timer *)arg - order_timers);
}

static void order_body(void *arg)
{
	int64_t start = clock_mono() + 5 * NS_PER_MS;

	(void)arg;
	for (int i = 0; i < 100; i++) {
		int k = i * 37 % 100;

		timer_set(&order_timers[k], start + k, in_order, &order_timers[k]);
	}
	for (int i = 0; i < 100; i += 3)
		timer_clear(&order_timers[i]);
	fiber_sleep(start + 5 * NS_PER_MS);
	must(order_count == 66);
	for (int i = 1; i < order_count; i++)
		must(order_seen[i - 1] < order_seen[i]);
}

static void timers_fire_in_order_of_time(void **state)
{
	(void)state;
	run_on_loop(order_body, NULL);
}

static void again(void *arg)
{
	struct timer *t = arg;

	if (t->at > 0)
		timer_set(t, t->at - 1, again, t);
}

static void again_body(void *arg)
{
	struct timer t = { 0 };

	(void)arg;
	timer_set(&t, 1000, again, &t);
	fiber_sleep(deadline_in_ms(2)); /* the fiber gets its turns all the same */
	timer_clear(&t);
}

static void a_timer_set_in_the_past_cannot_hold_the_loop(void **state)
{
	(void)state;
	run_on_loop(again_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fibers_take_turns),
		cmocka_unit_test(a_wake_before_the_park_is_remembered_once),
		cmocka_unit_test(a_wake_ends_a_park_before_its_deadline),
		cmocka_unit_test(a_queue_is_first_in_first_out_and_times_out),
		cmocka_unit_test(a_lock_is_handed_over_in_order),
		cmocka_unit_test(a_thousand_fibers_come_and_go),
		cmocka_unit_test(a_stack_has_room_for_what_sessions_do),
		cmocka_unit_test(timers_fire_once_unless_cleared),
		cmocka_unit_test(timers_fire_in_order_of_time),
		cmocka_unit_test(a_timer_set_in_the_past_cannot_hold_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
