/* loop.c - the turn of a loop: posts, timers, fibers, pollers, descriptors; see loop.h.
 *
 * A turn asks the kernel (epoll_wait) only when there is nothing else to do or when it has not asked
 * for 20 us: a loop that is kept busy by shared memory makes no system calls.
 *
 * Posting and sleeping meet in two variables, as in Dekker's algorithm: a poster puts its node on
 * the list, then looks whether the loop sleeps; the loop says that it sleeps, then looks at the list.
 * Both are sequentially consistent, so at least one of them sees the other, and only a poster that
 * finds the loop asleep pays for the write to the eventfd. */
#include "loop/loop_private.h"
#include "loop/sanitize.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ASK_KERNEL_NS (20 * 1000)
#define SPIN_MAX_NS   (50 * 1000)
#define SPIN_LEAST_NS 500

static _Thread_local struct loop *here;

struct loop *loop_self(void)
{
	return here;
}

struct loop *loop_here(void)
{
	if (!here)
		panic("this thread has no loop");
	return here;
}

const char *loop_name(const struct loop *loop)
{
	return loop->name;
}

int64_t loop_now(const struct loop *loop)
{
	return loop->now;
}

/* ---- descriptors ---- */

enum st loop_watch(struct watch *w, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
		   void *arg, struct err *err)
{
	struct loop *loop = loop_here();
	struct epoll_event ev = { .events = events | EPOLLET, .data.ptr = w };

	*w = (struct watch){ .fd = fd, .fn = fn, .arg = arg, .loop = loop };
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &ev) == 0)
		return ST_OK;
	w->loop = NULL;
	return fail_errno(err, "%s: watch descriptor %d", loop->name, fd);
}

void loop_unwatch(struct watch *w)
{
	struct loop *loop = w->loop;

	if (!loop)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	/* Events of this turn that are still to come must not find it. */
	for (int i = loop->event_at; i < loop->event_count; i++)
		if (loop->events[i].data.ptr == w)
			loop->events[i].data.ptr = NULL;
	w->loop = NULL;
}

static void handle_events(struct loop *loop)
{
	while (loop->event_at < loop->event_count) {
		struct epoll_event *ev = &loop->events[loop->event_at++];
		struct watch *w = ev->data.ptr;

		if (w)
			w->fn(w->arg, ev->events);
	}
	loop->event_at = loop->event_count = 0;
}

/* ---- posts ---- */

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* A full counter (EAGAIN) wakes as well. */
	while (write(loop->event, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

static void woken(void *arg, unsigned events)
{
	struct loop *loop = arg;
	uint64_t n;

	(void)events;
	/* Nothing to read (EAGAIN) is fine: the wake-up was all there was to it. */
	if (read(loop->event, &n, sizeof(n)) < 0)
		return;
}

void loop_post_node(struct loop *loop, struct post *post)
{
	post->next = atomic_load_explicit(&loop->posted, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&loop->posted, &post->next, post))
		continue;
	if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false))
		wake(loop);
}

struct lone_post {
	struct post post;
	void (*fn)(void *arg);
	void *arg;
};

static void run_lone_post(void *arg)
{
	struct lone_post lone = *(struct lone_post *)arg;

	free(arg);
	lone.fn(lone.arg);
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct lone_post *lone = malloc(sizeof(*lone));

	if (!lone)
		panic("%s: no memory for a post", loop->name);
	*lone = (struct lone_post){ { NULL, run_lone_post, lone }, fn, arg };
	loop_post_node(loop, &lone->post);
}

static bool run_posts(struct loop *loop)
{
	if (!atomic_load_explicit(&loop->posted, memory_order_relaxed))
		return false;
	struct post *list = atomic_exchange(&loop->posted, NULL), *ordered = NULL;

	while (list) {
		struct post *next = list->next;

		list->next = ordered;
		ordered = list;
		list = next;
	}
	while (ordered) {
		struct post post = *ordered;

		count(&loop->counters.posts);
		post.fn(post.arg); /* may free the node */
		ordered = post.next;
	}
	return true;
}

/* ---- pollers ---- */

void loop_poller_add(struct poller *p)
{
	struct loop *loop = loop_here();

	p->next = loop->pollers;
	loop->pollers = p;
}

void loop_poller_remove(struct poller *p)
{
	struct loop *loop = loop_here();

	if (loop->poll_next == p)
		loop->poll_next = p->next;
	for (struct poller **at = &loop->pollers; *at; at = &(*at)->next) {
		if (*at != p)
			continue;
		*at = p->next;
		return;
	}
}

static bool run_pollers(struct loop *loop)
{
	bool did = false;

	for (struct poller *p = loop->pollers; p; p = loop->poll_next) {
		loop->poll_next = p->next;
		did |= p->poll(p->arg);
	}
	return did;
}

static int64_t spin_max(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1 ? SPIN_MAX_NS
										   : 0;
}

/* Spinning pays when work comes within the window: then the window grows, otherwise it halves. */
static void spin_paid(struct loop *loop, bool paid)
{
	if (!paid)
		loop->spin_ns = loop->spin_ns < 2 * SPIN_LEAST_NS ? 0 : loop->spin_ns / 2;
	else if (loop->spin_ns < loop->spin_max)
		loop->spin_ns = loop->spin_ns ? loop->spin_ns * 2 : SPIN_LEAST_NS;
	if (loop->spin_ns > loop->spin_max)
		loop->spin_ns = loop->spin_max;
}

static void polled_something(struct loop *loop)
{
	/* After a sleep shorter than the longest window, spinning through it would have paid. */
	if (loop->spun || loop->now - loop->slept_at < loop->spin_max)
		spin_paid(loop, true);
	loop->spun = false;
	loop->hot_until = loop->now + loop->spin_ns;
}

/* true: go on spinning instead of sleeping. */
static bool spin(struct loop *loop)
{
	if (loop->now < loop->hot_until) {
		loop->spun = true;
		count(&loop->counters.spins);
#if defined(__x86_64__)
		__builtin_ia32_pause();
#endif
		return true;
	}
	if (loop->spun)
		spin_paid(loop, false);
	loop->spun = false;
	return false;
}

/* ---- sleeping ---- */

static bool pollers_asleep(struct loop *loop)
{
	for (struct poller *p = loop->pollers; p; p = p->next) {
		if (!p->before_sleep || p->before_sleep(p->arg))
			continue;
		/* Those before it were told that we sleep. */
		for (struct poller *q = loop->pollers; q != p->next; q = q->next)
			if (q->after_sleep)
				q->after_sleep(q->arg);
		return false;
	}
	return true;
}

static void pollers_awake(struct loop *loop)
{
	for (struct poller *p = loop->pollers; p; p = p->next)
		if (p->after_sleep)
			p->after_sleep(p->arg);
}

static int timeout_ms(const struct loop *loop)
{
	int64_t next = timers_next(loop);

	if (next == NO_DEADLINE)
		return -1;
	int64_t now = clock_mono();
	if (next <= now)
		return 0;
	/* Rounded up: waking before the time would be a turn for nothing. */
	int64_t ms = (next - now + NS_PER_MS - 1) / NS_PER_MS;
	return ms > 1000 * 1000 ? 1000 * 1000 : (int)ms;
}

static void ask_kernel(struct loop *loop, int timeout)
{
	int n = epoll_wait(loop->epoll, loop->events, LOOP_EVENTS, timeout);

	if (n < 0 && errno != EINTR)
		panic("%s: epoll_wait: errno %d", loop->name, errno);
	loop->event_at = 0;
	loop->event_count = n < 0 ? 0 : n;
	loop->now = loop->polled_at = clock_mono();
}

static void note_busy(struct loop *loop, int64_t until)
{
	atomic_fetch_add_explicit(&loop->counters.busy_ns, until - loop->awake_since,
				  memory_order_relaxed);
	loop->awake_since = until;
}

static void sleep_now(struct loop *loop)
{
	atomic_store(&loop->sleeping, true);
	if (atomic_load(&loop->posted) || atomic_load(&loop->stop) || !pollers_asleep(loop)) {
		atomic_store(&loop->sleeping, false);
		ask_kernel(loop, 0);
		return;
	}
	loop->slept_at = clock_mono();
	note_busy(loop, loop->slept_at);
	count(&loop->counters.sleeps);
	ask_kernel(loop, timeout_ms(loop));
	loop->awake_since = loop->now;
	atomic_store(&loop->sleeping, false);
	pollers_awake(loop);
}

/* ---- life ---- */

static void ignore_sigpipe(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static enum st open_descriptors(struct loop *loop, struct err *err)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = &loop->waker };

	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll < 0 || loop->event < 0)
		return fail_errno(err, "%s: epoll and eventfd", loop->name);
	loop->waker = (struct watch){ .fd = loop->event, .fn = woken, .arg = loop, .loop = loop };
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->event, &ev) < 0)
		return fail_errno(err, "%s: watch the eventfd", loop->name);
	return ST_OK;
}

static void release(struct loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	if (loop->event >= 0)
		close(loop->event);
	free(loop->timers);
	free(loop);
}

enum st loop_new(const char *name, struct loop **out, struct err *err)
{
	struct loop *loop = aligned_alloc(_Alignof(struct loop), sizeof(*loop));

	if (!loop)
		return fail(err, ST_NOMEM, "%s: no memory for a loop", name);
	*loop = (struct loop){ .epoll = -1, .event = -1, .spin_max = spin_max() };
	snprintf(loop->name, sizeof(loop->name), "%s", name);
	enum st st = open_descriptors(loop, err);
	if (st != ST_OK) {
		release(loop);
		return st;
	}
	ignore_sigpipe();
	loop->now = clock_mono();
	*out = loop;
	return ST_OK;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	assert(!loop->counters.fibers_now);
	while (run_posts(loop))
		continue;
	fibers_drop_stacks(loop);
	if (here == loop)
		here = NULL;
	release(loop);
}

void loop_enter(struct loop *loop)
{
	here = loop;
	loop->tsan_fiber = tsan_self();
	loop->now = clock_mono();
}

void loop_stop(struct loop *loop)
{
	int saved = errno;

	atomic_store(&loop->stop, true);
	wake(loop);
	errno = saved;
}

static void turn(struct loop *loop)
{
	count(&loop->counters.turns);
	bool posts = run_posts(loop);
	timers_run(loop);
	bool fibers = fibers_run(loop);
	bool polled = run_pollers(loop);
	loop->now = clock_mono();
	if (polled)
		polled_something(loop);
	bool busy = posts || fibers || polled || loop->run_head;
	if (!busy && !spin(loop) && !atomic_load(&loop->stop)) {
		sleep_now(loop);
	} else if (loop->now - loop->polled_at >= ASK_KERNEL_NS) {
		note_busy(loop, loop->now);
		ask_kernel(loop, 0);
	}
	handle_events(loop);
}

void loop_run(struct loop *loop)
{
	loop_enter(loop);
	loop->awake_since = loop->now;
	while (!atomic_load(&loop->stop) || loop->run_head || atomic_load(&loop->posted))
		turn(loop);
	atomic_store(&loop->stop, false);
}

void loop_stats(const struct loop *loop, struct loop_stats *out)
{
	const struct loop_counters *c = &loop->counters;

	*out = (struct loop_stats){
		.turns = atomic_load_explicit(&c->turns, memory_order_relaxed),
		.sleeps = atomic_load_explicit(&c->sleeps, memory_order_relaxed),
		.spins = atomic_load_explicit(&c->spins, memory_order_relaxed),
		.posts = atomic_load_explicit(&c->posts, memory_order_relaxed),
		.fibers_started = atomic_load_explicit(&c->fibers_started, memory_order_relaxed),
		.fibers_now = atomic_load_explicit(&c->fibers_now, memory_order_relaxed),
		.stacks_cached = atomic_load_explicit(&c->stacks_cached, memory_order_relaxed),
		.busy_ns = atomic_load_explicit(&c->busy_ns, memory_order_relaxed),
	};
}
