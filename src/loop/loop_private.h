/* loop_private.h - what the files of the loop share.  Nobody outside src/loop includes it. */
#ifndef LOOP_LOOP_PRIVATE_H
#define LOOP_LOOP_PRIVATE_H

#include "loop/context.h"
#include "loop/loop.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>

/* A call that waits for its turn on a loop; embedded in what it belongs to. */
struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

/* A fiber's place in a fiber_queue: it can wait in one at a time. */
struct fiber_wait {
	struct fiber *fiber;
	struct fiber_wait *before, *behind;
	bool woken;
};

struct fiber {
	struct context context;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
	const char *name;
	struct timer timer;
	struct fiber_wait wait;
	struct fiber *run_next;        /* in the run queue */
	struct fiber *older, *younger; /* all fibers of the loop */
	void *map;                     /* what munmap() takes: guard page, then the stack */
	bool parked, woken, ended;
	void *asan_fake_stack, *tsan_fiber; /* the sanitizers' view of it */
};

struct timer_slot {
	int64_t at;
	struct timer *timer;
};

#define LOOP_EVENTS 128

/* One writer, read by loop_stats() on any thread. */
struct loop_counters {
	_Atomic uint64_t turns, sleeps, spins, posts, fibers_started;
	_Atomic uint32_t fibers_now, stacks_cached;
	_Atomic int64_t busy_ns;
};

struct loop {
	char name[32];
	int epoll, event;
	int64_t now;

	/* what any thread may touch */
	_Alignas(64) _Atomic(struct post *) posted; /* newest first */
	atomic_bool sleeping, stop;
	_Alignas(64) struct loop_counters counters;

	/* own loop only */
	struct watch waker;
	struct epoll_event events[LOOP_EVENTS];
	int event_at, event_count;
	int64_t polled_at, awake_since;

	struct fiber *current;
	struct fiber *run_head, *run_tail, *newest;
	struct fiber *stacks; /* ended ones, kept for their stacks */
	struct context context;
	void *asan_fake_stack, *tsan_fiber;
	const void *asan_bottom;
	size_t asan_size;

	struct timer_slot *timers;
	size_t timer_count, timer_cap;

	struct poller *pollers, *poll_next;
	int64_t spin_ns, spin_max, hot_until, slept_at;
	bool spun; /* since something was polled last */
};

/* loop.c */
void loop_post_node(struct loop *loop, struct post *post);
struct loop *loop_here(void); /* loop_self(), panics when there is none */

static inline void count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* fiber.c */
bool fibers_run(struct loop *loop); /* those runnable now, each once; false when there was none */
void fibers_drop_stacks(struct loop *loop);

/* timer.c */
void timers_run(struct loop *loop);           /* what is due at loop->now */
int64_t timers_next(const struct loop *loop); /* NO_DEADLINE when there is none */

#endif
