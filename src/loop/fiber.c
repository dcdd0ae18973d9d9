/* fiber.c - fibers, what they wait in, and their stacks; see loop.h.
 *
 * A fiber's struct lies at the top of its own stack, so that one mapping holds both and both go back
 * together.  Every switch is between the loop's own stack and a fiber's: a fiber never switches to
 * another directly. */
#include "loop/loop_private.h"
#include "loop/sanitize.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_SIZE  (FIBER_STACK * STACK_FACTOR)
#define STACKS_KEPT 256

static size_t guard_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static char *stack_of(const struct fiber *f)
{
	return (char *)f->map + guard_size();
}

/* ---- stacks ---- */

static struct fiber *map_stack(void)
{
	size_t guard = guard_size();
	char *map = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map, guard, PROT_NONE) < 0) {
		munmap(map, guard + STACK_SIZE);
		return NULL;
	}
	uintptr_t top = (uintptr_t)map + guard + STACK_SIZE - sizeof(struct fiber);
	struct fiber *f = (struct fiber *)(top & ~(uintptr_t)63);
	f->map = map;
	return f;
}

static void unmap_stack(struct fiber *f)
{
	munmap(f->map, guard_size() + STACK_SIZE);
}

static void count_stacks(struct loop *loop, int change)
{
	atomic_fetch_add_explicit(&loop->counters.stacks_cached, (uint32_t)change,
				  memory_order_relaxed);
}

static struct fiber *take_stack(struct loop *loop)
{
	struct fiber *f = loop->stacks;

	if (!f)
		return map_stack();
	loop->stacks = f->run_next;
	count_stacks(loop, -1);
	return f;
}

static void give_stack(struct loop *loop, struct fiber *f)
{
	/* What the ended fiber's frames left poisoned is no longer true. */
	asan_fresh(stack_of(f), STACK_SIZE);
	if (loop->counters.stacks_cached >= STACKS_KEPT) {
		unmap_stack(f);
		return;
	}
	f->run_next = loop->stacks;
	loop->stacks = f;
	count_stacks(loop, 1);
}

void fibers_drop_stacks(struct loop *loop)
{
	while (loop->stacks)
		unmap_stack(take_stack(loop));
}

/* ---- switching ---- */

static void go_to_fiber(struct loop *loop, struct fiber *f)
{
	loop->current = f;
	asan_leave(&loop->asan_fake_stack, stack_of(f), STACK_SIZE);
	tsan_goto(f->tsan_fiber);
	context_switch(&loop->context, &f->context);
	asan_arrive(loop->asan_fake_stack, NULL, NULL);
	loop->current = NULL;
}

static void go_to_loop(struct fiber *f)
{
	struct loop *loop = f->loop;

	/* A fiber that ends gives its fake stack up. */
	asan_leave(f->ended ? NULL : &f->asan_fake_stack, loop->asan_bottom, loop->asan_size);
	tsan_goto(loop->tsan_fiber);
	context_switch(&f->context, &loop->context);
	asan_arrive(f->asan_fake_stack, NULL, NULL);
}

static void fiber_main(void)
{
	struct loop *loop = loop_here();
	struct fiber *f = loop->current;

	asan_arrive(NULL, &loop->asan_bottom, &loop->asan_size);
	f->fn(f->arg);
	f->ended = true;
	go_to_loop(f);
	panic("fiber %s runs after its end", f->name);
}

static void make_runnable(struct fiber *f)
{
	struct loop *loop = f->loop;

	f->run_next = NULL;
	if (loop->run_tail)
		loop->run_tail->run_next = f;
	else
		loop->run_head = f;
	loop->run_tail = f;
}

static void fiber_end(struct loop *loop, struct fiber *f)
{
	if (f->younger)
		f->younger->older = f->older;
	else
		loop->newest = f->older;
	if (f->older)
		f->older->younger = f->younger;
	atomic_fetch_sub_explicit(&loop->counters.fibers_now, 1, memory_order_relaxed);
	tsan_destroy(f->tsan_fiber);
	give_stack(loop, f);
}

bool fibers_run(struct loop *loop)
{
	struct fiber *f = loop->run_head;

	if (!f)
		return false;
	/* Who becomes runnable meanwhile has to wait for the next turn. */
	loop->run_head = loop->run_tail = NULL;
	while (f) {
		struct fiber *next = f->run_next;

		go_to_fiber(loop, f);
		if (f->ended)
			fiber_end(loop, f);
		f = next;
	}
	return true;
}

/* ---- life ---- */

enum st fiber_spawn(const char *name, void (*fn)(void *arg), void *arg, struct err *err)
{
	struct loop *loop = loop_here();

	if (loop->counters.fibers_now >= FIBERS_MAX)
		return fail(err, ST_BUSY, "%s: %d fibers run already", loop->name, FIBERS_MAX);
	struct fiber *f = take_stack(loop);
	if (!f)
		return fail(err, ST_NOMEM, "%s: no memory for a stack", loop->name);
	*f = (struct fiber){ .loop = loop,
			     .fn = fn,
			     .arg = arg,
			     .name = name,
			     .map = f->map,
			     .older = loop->newest,
			     .tsan_fiber = tsan_create() };
	if (loop->newest)
		loop->newest->younger = f;
	loop->newest = f;
	context_make(&f->context, stack_of(f), (size_t)((char *)f - stack_of(f)), fiber_main);
	atomic_fetch_add_explicit(&loop->counters.fibers_now, 1, memory_order_relaxed);
	count(&loop->counters.fibers_started);
	make_runnable(f);
	return ST_OK;
}

struct fiber *fiber_self(void)
{
	struct loop *loop = loop_self();

	return loop ? loop->current : NULL;
}

void loop_fibers(void (*each)(void *arg, const char *name), void *arg)
{
	for (struct fiber *f = loop_here()->newest; f; f = f->older)
		each(arg, f->name);
}

/* ---- sleeping and waking ---- */

static void stop_parking(struct fiber *f)
{
	if (!f->parked)
		return;
	f->parked = false;
	make_runnable(f);
}

static void park_timed_out(void *arg)
{
	stop_parking(arg);
}

bool fiber_park(int64_t deadline)
{
	struct fiber *f = fiber_self();

	assert(f);
	if (!f->woken) {
		if (deadline != NO_DEADLINE)
			timer_set(&f->timer, deadline, park_timed_out, f);
		f->parked = true;
		go_to_loop(f);
		timer_clear(&f->timer);
	}
	bool woken = f->woken;
	f->woken = false;
	return woken;
}

void fiber_wake(struct fiber *f)
{
	f->woken = true;
	stop_parking(f);
}

void fiber_yield(void)
{
	struct fiber *f = fiber_self();

	assert(f);
	make_runnable(f);
	go_to_loop(f);
}

void fiber_sleep(int64_t deadline)
{
	bool woken = false;

	while (fiber_park(deadline))
		woken = true;
	/* The wake was meant for what the fiber does next. */
	fiber_self()->woken = woken;
}

/* ---- queues ---- */

static void queue_remove(struct fiber_queue *q, struct fiber_wait *w)
{
	if (w->before)
		w->before->behind = w->behind;
	else
		q->head = w->behind;
	if (w->behind)
		w->behind->before = w->before;
	else
		q->tail = w->before;
}

bool fiber_queue_wait(struct fiber_queue *q, int64_t deadline)
{
	struct fiber *me = fiber_self();

	assert(me);
	struct fiber_wait *w = &me->wait;
	*w = (struct fiber_wait){ .fiber = me, .before = q->tail };
	if (q->tail)
		q->tail->behind = w;
	else
		q->head = w;
	q->tail = w;
	while (!w->woken && fiber_park(deadline))
		continue;
	if (!w->woken)
		queue_remove(q, w);
	return w->woken;
}

void fiber_queue_wake_one(struct fiber_queue *q)
{
	struct fiber_wait *w = q->head;

	if (!w)
		return;
	queue_remove(q, w);
	w->woken = true;
	fiber_wake(w->fiber);
}

void fiber_queue_wake_all(struct fiber_queue *q)
{
	while (q->head)
		fiber_queue_wake_one(q);
}

void fiber_lock(struct fiber_lock *l)
{
	struct fiber *me = fiber_self();

	assert(me && l->owner != me);
	if (!l->owner)
		l->owner = me;
	else
		fiber_queue_wait(&l->waiters, NO_DEADLINE);
	assert(l->owner == me);
}

void fiber_unlock(struct fiber_lock *l)
{
	assert(l->owner == fiber_self());
	/* Handed over, not let go: nobody can come in between. */
	l->owner = l->waiters.head ? l->waiters.head->fiber : NULL;
	fiber_queue_wake_one(&l->waiters);
}
