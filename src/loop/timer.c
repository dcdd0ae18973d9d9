/* timer.c - timers in a binary heap by time; see loop.h. */
#include "loop/loop_private.h"

#include <assert.h>
#include <stdlib.h>

static void place(struct loop *loop, size_t i, struct timer_slot slot)
{
	loop->timers[i] = slot;
	slot.timer->slot = i + 1;
}

static void sift_up(struct loop *loop, size_t i, struct timer_slot slot)
{
	while (i) {
		size_t parent = (i - 1) / 2;

		if (loop->timers[parent].at <= slot.at)
			break;
		place(loop, i, loop->timers[parent]);
		i = parent;
	}
	place(loop, i, slot);
}

static void sift_down(struct loop *loop, size_t i, struct timer_slot slot)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= loop->timer_count)
			break;
		if (child + 1 < loop->timer_count &&
		    loop->timers[child + 1].at < loop->timers[child].at)
			child++;
		if (slot.at <= loop->timers[child].at)
			break;
		place(loop, i, loop->timers[child]);
		i = child;
	}
	place(loop, i, slot);
}

static void put(struct loop *loop, size_t i, struct timer_slot slot)
{
	if (i && slot.at < loop->timers[(i - 1) / 2].at)
		sift_up(loop, i, slot);
	else
		sift_down(loop, i, slot);
}

static void grow(struct loop *loop)
{
	size_t cap = loop->timer_cap ? loop->timer_cap * 2 : 64;
	struct timer_slot *timers = realloc(loop->timers, cap * sizeof(*timers));

	if (!timers)
		panic("%s: no memory for %zu timers", loop->name, cap);
	loop->timers = timers;
	loop->timer_cap = cap;
}

void timer_set(struct timer *t, int64_t at, void (*fn)(void *arg), void *arg)
{
	struct loop *loop = loop_here();

	assert(!t->slot || t->loop == loop);
	t->at = at;
	t->fn = fn;
	t->arg = arg;
	t->loop = loop;
	if (t->slot) {
		put(loop, t->slot - 1, (struct timer_slot){ at, t });
		return;
	}
	if (loop->timer_count == loop->timer_cap)
		grow(loop);
	loop->timer_count++;
	sift_up(loop, loop->timer_count - 1, (struct timer_slot){ at, t });
}

void timer_clear(struct timer *t)
{
	if (!t->slot)
		return;
	struct loop *loop = t->loop;
	size_t i = t->slot - 1;
	struct timer_slot last = loop->timers[--loop->timer_count];

	t->slot = 0;
	if (last.timer != t)
		put(loop, i, last);
}

int64_t timers_next(const struct loop *loop)
{
	return loop->timer_count ? loop->timers[0].at : NO_DEADLINE;
}

void timers_run(struct loop *loop)
{
	/* Bounded, so that a timer which sets itself again for a time past cannot hold the loop. */
	for (size_t left = loop->timer_count; left && timers_next(loop) <= loop->now; left--) {
		struct timer *t = loop->timers[0].timer;

		timer_clear(t);
		t->fn(t->arg);
	}
}
