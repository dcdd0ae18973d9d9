/* eximap_search.c - searching a folder. */
#include "store/eximap.h"
#include "store/item.h"
#include "store/match.h"

#include <stdlib.h>

#define TURN       200 /* messages looked at before others have their turn */
#define BODIES_MAX 2 /* looked into at a time, of a loop: the pool has other work, logons for one */

struct search {
	struct call *c;
	struct match match;
	struct items items;
	struct uset view, found;
	unsigned looked;
};

/* Reading a body waits for the disk: on a pool thread, with copies of what it needs. */
struct body_job {
	struct match *match;
	struct entry entry;
	struct plist item;
	struct ese_db *db;
	enum verdict verdict;
	enum st st;
	struct err err;
};

static void body_run(void *arg)
{
	struct body_job *j = arg;

	j->st = match_body(j->match, &j->entry, &j->item, j->db, &j->verdict, &j->err);
}

static void turn_get(struct shard *sh)
{
	while (sh->searching >= BODIES_MAX)
		fiber_queue_wait(&sh->search_turn, NO_DEADLINE);
	sh->searching++;
}

static void turn_put(struct shard *sh)
{
	sh->searching--;
	fiber_queue_wake_one(&sh->search_turn);
}

static enum st look_into_body(struct search *s, const struct entry *e, const struct plist *item,
			      enum verdict *v, struct err *err)
{
	struct body_job j = { .match = &s->match, .entry = *e, .db = s->c->mb->db->ese };
	struct ese_db *db = j.db;
	uint64_t pin;

	/* The item stays in place while this fiber waits: nobody else moves these items on. */
	j.item = *item;
	turn_get(s->c->shard);
	if (exipc_request_gone(s->c->rq) || s->c->store->stopping) {
		turn_put(s->c->shard);
		return fail(err, ST_GONE, "nobody waits for the search");
	}
	pin = ese_pin(db);
	work_run(body_run, &j);
	ese_unpin(db, pin);
	turn_put(s->c->shard);
	*v = j.verdict;
	if (j.st == ST_NOTFOUND) /* it vanished meanwhile */
		*v = MATCH_NO;
	else if (j.st != ST_OK)
		return fail(err, j.st, "%s", j.err.text);
	return ST_OK;
}

static enum st look_at(struct search *s, uint32_t uid, enum verdict *v, struct err *err)
{
	const struct entry *at = index_find(s->c->ix, uid);
	struct plist item;
	struct entry e;
	enum st st;

	*v = MATCH_NO;
	if (!at)
		return ST_OK;
	e = *at;
	*v = match_entry(&s->match, &e);
	if (*v != MATCH_OPEN)
		return ST_OK;
	st = items_get(&s->items, uid, uset_max(&s->view), &item, err);
	if (st == ST_NOTFOUND) {
		*v = MATCH_NO;
		return ST_OK;
	}
	if (st != ST_OK)
		return st;
	*v = match_item(&s->match, &e, &item);
	return *v == MATCH_OPEN ? look_into_body(s, &e, &item, v, err) : ST_OK;
}

static enum st search_run(struct search *s, struct err *err)
{
	uint32_t visible = s->c->folder->seen.uidnext;
	struct folder_index *ix = s->c->ix;
	uint32_t uid = uset_next(&s->view, 1);

	while (uid && uid < visible) {
		size_t i = index_from(ix, uid);
		enum verdict v;
		enum st st;

		if (i == ix->n)
			break;
		/* What the session no longer has, or the folder. */
		if (ix->at[i].uid != uid) {
			uid = uset_next(&s->view, ix->at[i].uid);
			continue;
		}
		st = look_at(s, uid, &v, err);
		if (st != ST_OK)
			return st;
		if (v == MATCH_YES && uset_add(&s->found, uid, uid) != ST_OK)
			return fail(err, ST_NOMEM, "out of memory");
		uid = uset_next(&s->view, uid + 1);
		if (++s->looked % TURN == 0) {
			if (exipc_request_gone(s->c->rq))
				return fail(err, ST_GONE, "nobody waits for the search");
			fiber_yield();
		}
	}
	return ST_OK;
}

enum st serve_IMAP_SEARCH(struct call *c, struct err *err)
{
	struct search s = { .c = c };
	enum st st = call_index(c, RIGHT_READ, err);

	if (st == ST_OK)
		st = call_uids(c, PR_UIDS, &s.view, err);
	if (st != ST_OK)
		return st;
	items_begin(&s.items, c->folder);
	st = match_begin(&s.match, c->folder, plist_span(&c->in, PR_SEARCH_PROGRAM), err);
	if (st == ST_OK)
		st = search_run(&s, err);
	if (st == ST_OK)
		put_uids(call_reply(c, 1), PR_UIDS, &s.found);
	match_end(&s.match);
	items_end(&s.items);
	uset_free(&s.view);
	uset_free(&s.found);
	return st;
}
