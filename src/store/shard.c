#include "store/shard.h"

#include <assert.h>
#include <stdlib.h>

/* ---- lists ---- */

void link_init(struct link *list)
{
	list->prev = list->next = list;
}

void link_push(struct link *list, struct link *l)
{
	l->prev = list;
	l->next = list->next;
	list->next->prev = l;
	list->next = l;
}

void link_cut(struct link *l)
{
	if (!l->next)
		return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->prev = l->next = NULL;
}

/* ---- what is under way ---- */

void store_begin(struct store *s)
{
	s->busy++;
}

void store_end(struct store *s)
{
	if (--s->busy == 0 && s->stopping)
		s->idle(s);
}

/* ---- who is where ---- */

struct shard *shard_here(struct store *s)
{
	struct loop *here = loop_self();

	for (unsigned i = 0; i < s->nshards; i++)
		if (s->shards[i].loop == here)
			return &s->shards[i];
	panic("the store is used outside its loops");
}

struct shard *shard_of(struct store *s, uint64_t number)
{
	return &s->shards[number % s->nshards];
}

uint64_t shard_draw(struct shard *sh)
{
	uint64_t n, loops = sh->store->nshards;

	do {
		n = random_u64();
		n = n - n % loops + sh->index;
	} while (n < loops);
	return n;
}

/* ---- from loop to loop ---- */

static void hop_back(void *arg)
{
	struct hop *h = arg;

	h->back = true;
	fiber_wake(h->fiber);
}

static void hop_run(void *arg)
{
	struct hop *h = arg;

	h->fn(h->to, h->arg);
	loop_post(h->from, hop_back, h);
}

static void hop_arrive(void *arg)
{
	struct hop *h = arg;

	h->st = fiber_spawn("from another loop", hop_run, h, &h->err);
	if (h->st != ST_OK)
		loop_post(h->from, hop_back, h);
}

void hop_start(struct hop *h, struct shard *sh, void (*fn)(struct shard *sh, void *arg), void *arg)
{
	*h = (struct hop){ .to = sh, .fn = fn, .arg = arg, .st = ST_OK };
	h->from = loop_self();
	h->fiber = fiber_self();
	assert(h->fiber);
	loop_post(sh->loop, hop_arrive, h);
}

enum st hop_wait(struct hop *h, struct err *err)
{
	while (!h->back)
		fiber_park(NO_DEADLINE);
	if (h->st != ST_OK && err)
		*err = h->err;
	return h->st;
}

enum st shard_call(struct shard *sh, void (*fn)(struct shard *sh, void *arg), void *arg,
		   struct err *err)
{
	struct hop h;

	if (sh->loop == loop_self()) {
		fn(sh, arg);
		return ST_OK;
	}
	hop_start(&h, sh, fn, arg);
	return hop_wait(&h, err);
}

struct message {
	struct shard *to;
	void (*fn)(struct shard *sh, void *arg);
	void *arg;
};

static void message_arrive(void *arg)
{
	struct message m = *(struct message *)arg;

	free(arg);
	m.fn(m.to, m.arg);
}

void shard_post(struct shard *sh, void (*fn)(struct shard *sh, void *arg), void *arg)
{
	struct message *m = malloc(sizeof *m);

	if (!m)
		panic("out of memory");
	*m = (struct message){ sh, fn, arg };
	loop_post(sh->loop, message_arrive, m);
}
