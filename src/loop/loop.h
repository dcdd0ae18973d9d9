/* loop.h - one event loop per thread, fibers on it, timers, and a small pool for what blocks.
 *
 * A fiber is a stackful coroutine that belongs to one loop for life: session code reads straight
 * down.  Fibers of a loop never run at the same time, so what belongs to one loop needs no lock.
 * Stacks (64 KiB and a guard page) come from a per-loop cache and go back when the fiber ends: an
 * idle connection has none.  Switches are annotated for ASan and TSan.
 *
 * Nothing may block a loop.  What blocks (disk, password hashes, name look-ups) goes through
 * work_run().  An idle loop sleeps in epoll_wait without a timeout: idle costs nothing.
 *
 * "Own loop" below means: called on the loop's own thread. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "base/clock.h"
#include "base/st.h"

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct fiber;

/* The first loop of a process makes it ignore SIGPIPE: sendfile(2) and OpenSSL have no flag for it. */
enum st loop_new(const char *name, struct loop **out, struct err *err);
/* Not while it runs, its fibers must have ended, and no thread may still be inside a loop_post() to it:
 * join those threads and call work_stop() first. */
void loop_free(struct loop *loop);
/* Make it this thread's loop before loop_run(), so that what must be called on the own loop
 * (fibers, listeners, timers) can be set up by the thread that will run it.  loop_run() does it too. */
void loop_enter(struct loop *loop);
/* Run on the calling thread until loop_stop().  Returns when stopped and no fiber is runnable. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread; async-signal-safe */
struct loop *loop_self(void);      /* the loop of this thread, or NULL */
const char *loop_name(const struct loop *loop);

/* Run fn(arg) on the loop, in the order posted, outside any fiber.  Any thread.  Never fails: the
 * node is allocated, out of memory panics. */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

/* ---- fibers ---- */

/* Start a fiber that runs fn(arg) at the loop's next turn.  Own loop.  ST_NOMEM; ST_BUSY when the
 * loop already runs FIBERS_MAX.  `name` is a literal, shown by loop_fibers(). */
enum st fiber_spawn(const char *name, void (*fn)(void *arg), void *arg, struct err *err);
#define FIBERS_MAX  20000
#define FIBER_STACK (64 * 1024)
struct fiber *fiber_self(void); /* NULL outside a fiber */
/* each(arg, name) for every fiber that has not ended.  Own loop. */
void loop_fibers(void (*each)(void *arg, const char *name), void *arg);

/* Sleep until somebody calls fiber_wake() on this fiber, or the deadline (clock_mono; NO_DEADLINE).
 * true: woken; false: the deadline passed.  A wake before the park is not lost (one is remembered).
 * Wakes may be spurious: loop over the condition. */
bool fiber_park(int64_t deadline);
void fiber_wake(struct fiber *f); /* own loop; a fiber that is not parked remembers it */
/* Let others run, come back at the next turn. */
void fiber_yield(void);
void fiber_sleep(int64_t deadline);

/* A queue of fibers that wait for a condition (first in, first out).  Zeroed = empty.  Own loop. */
struct fiber_queue {
	struct fiber_wait *head, *tail;
};
/* true: woken by fiber_queue_wake*; false: deadline. */
bool fiber_queue_wait(struct fiber_queue *q, int64_t deadline);
void fiber_queue_wake_one(struct fiber_queue *q);
void fiber_queue_wake_all(struct fiber_queue *q);

/* A fiber mutex, first come first served.  Zeroed = free.  Not recursive (assert). */
struct fiber_lock {
	struct fiber *owner;
	struct fiber_queue waiters;
};
void fiber_lock(struct fiber_lock *l);
void fiber_unlock(struct fiber_lock *l);

/* ---- timers ---- */

/* Embed in what it belongs to; zeroed = not set.  fn(arg) runs on the loop outside any fiber.
 * Own loop. */
struct timer {
	int64_t at;
	void (*fn)(void *arg);
	void *arg;
	size_t slot; /* place in the loop's heap + 1, 0 = not set */
	struct loop *loop;
};
void timer_set(struct timer *t, int64_t at, void (*fn)(void *arg), void *arg); /* moves a set one */
void timer_clear(struct timer *t);

/* ---- descriptors ---- */

/* Watch a descriptor, edge-triggered.  fn runs on the loop outside any fiber with epoll bits.
 * The struct must live until loop_unwatch(); after that fn is not called again, also not for events
 * of the same turn.  Own loop. */
struct watch {
	int fd;
	void (*fn)(void *arg, unsigned events);
	void *arg;
	struct loop *loop;
};
/* ST_IO (epoll refuses the descriptor), ST_NOSPACE (too many watched), ST_NOMEM. */
enum st loop_watch(struct watch *w, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
		   void *arg, struct err *err);
void loop_unwatch(struct watch *w); /* does not close the descriptor */

/* ---- pollers: shared-memory queues ---- */

/* The loop calls poll() every turn.  While one returned true within the last spin window (adaptive,
 * at most 50 us, 0 when the machine has one CPU), the loop does not sleep.  Before it sleeps it
 * calls before_sleep() on each: false means work came meanwhile and the loop must not sleep.  After
 * the sleep it calls after_sleep().  Own loop. */
struct poller {
	bool (*poll)(void *arg);         /* true: did something */
	bool (*before_sleep)(void *arg); /* may be NULL */
	void (*after_sleep)(void *arg);  /* may be NULL */
	void *arg;
	struct poller *next;
};
void loop_poller_add(struct poller *p);
void loop_poller_remove(struct poller *p);

/* ---- work that blocks ---- */

/* Run fn(arg) on a pool thread while the calling fiber sleeps.  Own loop, inside a fiber.  The pool
 * is shared by the process: `threads` set once by work_start() (default 4). */
void work_start(unsigned threads);
void work_stop(void); /* waits for what is queued and runs; a later work_run() starts it anew */
void work_run(void (*fn)(void *arg), void *arg);
/* The same without waiting: done(arg) is posted to the calling loop afterwards (may be NULL). */
void work_submit(void (*fn)(void *arg), void *arg, void (*done)(void *arg));

/* ---- figures ---- */
struct loop_stats {
	uint64_t turns, sleeps, spins, posts, fibers_started;
	uint32_t fibers_now, stacks_cached;
	int64_t busy_ns;
};
void loop_stats(const struct loop *loop, struct loop_stats *out); /* any thread, approximate */
int64_t loop_now(
	const struct loop *loop); /* clock_mono() of this turn, without asking.  Own loop. */

#endif
