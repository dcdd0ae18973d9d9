/* heap_wait.c - fibers of a client loop that wait for heap, served in order by whoever frees some. */
#include "exipc/channel.h"

static void waits_push(struct heap_waits *q, struct heap_wait *w)
{
	if (!q->first)
		q->end = &q->first;
	*q->end = w;
	q->end = &w->next;
}

static void waits_remove(struct heap_waits *q, const struct heap_wait *w)
{
	struct heap_wait **at = &q->first;

	while (*at && *at != w)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = w->next;
	if (!w->next)
		q->end = at;
}

static void waits_done(struct heap_waits *q, struct heap_wait *w, enum st st)
{
	waits_remove(q, w);
	w->st = st;
	w->done = true;
	fiber_wake(w->fiber);
}

/* Blocks strictly in order, so that a large one is not overtaken for ever. */
void heap_serve_blocks(struct chan_pair *cp)
{
	while (cp->blocks.first) {
		struct heap_wait *w = cp->blocks.first;
		enum st st = client_pair_block(&cp->p, w->payload, &w->got);

		if (st == ST_NOSPACE)
			return;
		waits_done(&cp->blocks, w, st);
	}
}

/* Sections in order, but who holds some passes those who hold none: only so can it get ready. */
void heap_serve_sections(struct chan_pair *cp)
{
	bool newcomer_waits = false;

	for (struct heap_wait *w = cp->sections.first, *next; w; w = next) {
		bool holds = client_pair_holds(&cp->p, w->fiber);

		next = w->next;
		if (newcomer_waits && !holds)
			continue;
		enum st st = client_pair_section(&cp->p, w->fiber, &w->got);
		if (st != ST_NOSPACE)
			waits_done(&cp->sections, w, st);
		else
			newcomer_waits |= !holds;
	}
}

enum st heap_wait_for(struct chan_pair *cp, struct heap_waits *q, struct heap_wait *w,
		      int64_t deadline, struct err *err)
{
	client_pair_waits(&cp->p, ST_NOSPACE);
	w->fiber = fiber_self();
	waits_push(q, w);
	while (!w->done && fiber_park(deadline))
		continue;
	if (!w->done) {
		waits_remove(q, w);
		return fail(err, ST_TIMEOUT, "exipc: no room in the heap in time");
	}
	if (w->st)
		return fail(err, w->st, "exipc: the store went away");
	return ST_OK;
}

void heap_fail_waits(struct heap_waits *q)
{
	while (q->first)
		waits_done(q, q->first, ST_GONE);
}
