/* pins.c - epochs of readers; see pins.h. */
#include "ese/pins.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct epoch {
	uint64_t readers;
	struct run *runs; /* freed while this was the newest epoch with readers */
	uint32_t nruns, cap;
};

/* Epochs first ... first + n - 1 in a ring; the last is the newest, where pins go. */
struct pins {
	pthread_mutex_t lock;
	struct space *space;
	struct epoch *ring;
	uint32_t cap, n;
	uint64_t first, readers;
};

static struct epoch *epoch(struct pins *p, uint64_t number)
{
	return &p->ring[number % p->cap];
}

struct pins *pins_new(struct space *space)
{
	struct pins *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cap = 16;
	p->ring = calloc(p->cap, sizeof(*p->ring));
	if (!p->ring) {
		free(p);
		return NULL;
	}
	p->space = space;
	p->first = 1;
	p->n = 1;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

void pins_free(struct pins *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->cap; i++)
		free(p->ring[i].runs);
	free(p->ring);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

uint64_t pins_take(struct pins *p)
{
	uint64_t pin;

	pthread_mutex_lock(&p->lock);
	pin = p->first + p->n - 1;
	epoch(p, pin)->readers++;
	p->readers++;
	pthread_mutex_unlock(&p->lock);
	return pin;
}

/* Oldest epochs without readers go, with what waited for them. */
static void sweep(struct pins *p)
{
	while (epoch(p, p->first)->readers == 0) {
		struct epoch *e = epoch(p, p->first);

		for (uint32_t i = 0; i < e->nruns; i++)
			space_release(p->space, e->runs[i].page, e->runs[i].pages);
		e->nruns = 0;
		if (p->n == 1)
			return;
		free(e->runs);
		*e = (struct epoch){ 0 };
		p->first++;
		p->n--;
	}
}

void pins_drop(struct pins *p, uint64_t pin)
{
	pthread_mutex_lock(&p->lock);
	assert(pin >= p->first && pin < p->first + p->n && epoch(p, pin)->readers > 0);
	epoch(p, pin)->readers--;
	p->readers--;
	sweep(p);
	pthread_mutex_unlock(&p->lock);
}

static void grow_ring(struct pins *p)
{
	uint32_t cap = p->cap * 2;
	struct epoch *ring = calloc(cap, sizeof(*ring));

	if (!ring)
		panic("out of memory for readers' epochs");
	for (uint32_t i = 0; i < p->n; i++)
		ring[(p->first + i) % cap] = *epoch(p, p->first + i);
	free(p->ring);
	p->ring = ring;
	p->cap = cap;
}

void pins_defer(struct pins *p, uint32_t page, uint32_t pages)
{
	struct epoch *e;

	pthread_mutex_lock(&p->lock);
	e = epoch(p, p->first + p->n - 1);
	if (e->readers > 0) {
		if (p->n == p->cap)
			grow_ring(p);
		p->n++;
	}
	if (p->readers == 0) {
		pthread_mutex_unlock(&p->lock);
		space_release(p->space, page, pages);
		return;
	}
	/* It waits for the newest epoch that may hold a reader: the one before the empty newest. */
	e = epoch(p, p->first + p->n - 2);
	if (e->nruns == e->cap) {
		uint32_t cap = e->cap ? e->cap * 2 : 4;
		struct run *more = realloc(e->runs, cap * sizeof(*more));

		if (!more)
			panic("out of memory for deleted pages");
		e->runs = more;
		e->cap = cap;
	}
	e->runs[e->nruns++] = (struct run){ page, pages };
	pthread_mutex_unlock(&p->lock);
}

uint64_t pins_count(struct pins *p)
{
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	n = p->readers;
	pthread_mutex_unlock(&p->lock);
	return n;
}
