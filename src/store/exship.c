/* exship.c - what `mailroot ese ship` asks: where the logs are, how far they are durable, what is to be kept.
 *
 * A watcher is found as one of a folder is (watch.h), under a number that no folder has.  The engine's word that a log grew comes on
 * an engine thread; the loop is told once until it has looked. */
#include "store/exship.h"

#include "ese/shipping.h"
#include "store/call.h"
#include "store/database.h"
#include "store/watch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct shipped {
	struct shipped *next;
	struct store *store;
	struct ese *ese;
	char name[65];
	uint64_t watched; /* in the place of a FID */
	_Atomic bool told;
};

/* ---- the word that a log grew ---- */

/* On loop 0. */
static void tell(void *arg)
{
	struct shipped *s = arg;
	struct ese_log_info info;

	s->told = false;
	ese_log_look(s->ese, &info);
	watch_notify(&s->store->shards[0], s->watched, info.durable);
}

/* The committer's thread. */
static void moved(void *arg)
{
	struct shipped *s = arg;

	if (!s->store->stopping && !atomic_exchange(&s->told, true))
		loop_post(s->store->shards[0].loop, tell, s);
}

/* ---- groups ---- */

static enum st add(struct store *store, const struct group *g, struct err *err)
{
	struct shipped *s = calloc(1, sizeof *s);

	if (!s)
		return fail(err, ST_NOMEM, "out of memory");
	*s = (struct shipped){ .next = store->shipped, .store = store, .ese = g->ese };
	snprintf(s->name, sizeof s->name, "%s", g->name);
	s->watched = 1 + (store->shipped ? store->shipped->watched : 0);
	store->shipped = s;
	return ST_OK;
}

static struct shipped *named(const struct store *store, struct span name)
{
	struct shipped *s = store->shipped;

	while (s && !span_eq(span_str(s->name), name))
		s = s->next;
	return s;
}

/* Groups may come while the store runs; they never go. */
static enum st gather(struct store *store, struct err *err)
{
	enum st st = ST_OK;

	for (const struct group *g = store->groups; st == ST_OK && g; g = g->next)
		if (g->ese && !named(store, span_str(g->name)))
			st = add(store, g, err);
	return st;
}

/* ---- requests ---- */

/* ST_NOTFOUND; ST_BAD on another loop than 0. */
static enum st find(const struct call *c, struct shipped **out, struct err *err)
{
	struct span name = plist_span(&c->in, PR_LOG_GROUP);

	if (c->shard->index != 0)
		return fail(err, ST_BAD, "logs are asked for on the first loop");
	*out = named(c->store, name);
	return *out ? ST_OK
		    : fail(err, ST_NOTFOUND, "there is no storage group '" SPAN_FMT "'",
			   SPAN_ARG(name));
}

enum st serve_LOG_LIST(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	enum st st;

	if (c->shard->index != 0)
		return fail(err, ST_BAD, "logs are asked for on the first loop");
	st = gather(c->store, err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	for (struct shipped *s = c->store->shipped; st == ST_OK && s; s = s->next) {
		struct ese_log_info info;
		struct pw w;

		ese_log_look(s->ese, &info);
		wire_row_begin(&rows, &w, 6);
		pw_str(&w, PR_LOG_GROUP, s->name);
		pw_u64(&w, PR_LOG_POSITION, info.durable);
		pw_span(&w, PR_LOG_SIGNATURE, span_of(info.signature, sizeof info.signature));
		pw_u64(&w, PR_LOG_TIME, info.time);
		pw_u32(&w, PR_LOG_OLDEST, info.oldest);
		pw_bool(&w, PR_LOG_CIRCULAR, ese_circular(s->ese));
		st = wire_row_end(&rows, &w);
	}
	return call_rows_end(c, &rows, st, err);
}

enum st serve_LOG_WATCH(struct call *c, struct err *err)
{
	struct shipped *s;
	enum st st = find(c, &s, err);

	if (st == ST_OK)
		st = watch_add(c->shard, s->watched, c->rq->binding_id, c->rq->client_loop,
			       plist_u64(&c->in, PR_WATCH_TOKEN, 0), err);
	if (st == ST_OK)
		ese_log_watch(s->ese, moved, s);
	return st;
}

enum st serve_LOG_HOLD(struct call *c, struct err *err)
{
	uint64_t who = plist_u64(&c->in, PR_SHIP_ID, 0);
	struct shipped *s;
	enum st st = find(c, &s, err);

	if (st == ST_OK && who == 0)
		return fail(err, ST_BAD, "nobody has the number 0");
	return st == ST_OK ? ese_log_hold(s->ese, who, plist_u64(&c->in, PR_LOG_POSITION, 0), err)
			   : st;
}

/* ---- life ---- */

void shipping_end(struct store *store)
{
	while (store->shipped) {
		struct shipped *s = store->shipped;

		store->shipped = s->next;
		ese_log_watch(s->ese, NULL, NULL);
		free(s);
	}
}
