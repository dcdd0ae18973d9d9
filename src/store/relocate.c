#include "store/relocate.h"

#include "store/copyrows.h"
#include "store/mailbox.h"
#include "store/places.h"
#include "store/watch.h"

#include <stdlib.h>

#define LEAVE_MS 10000 /* for its requests to end */

struct move {
	struct store *store;
	struct user user;
	struct database *from, *to;
	enum st st;
	struct err err;
};

/* ---- the row ---- */

static void put_move(struct ese_batch *b, const struct move *m, bool done)
{
	struct buf row = BUF_MAX(1024);
	struct key k;
	struct pw w;

	pw_begin(&w, &row, 4);
	pw_str(&w, PR_USER, m->user.name);
	pw_u64(&w, PR_FROM_DATABASE_ID, m->from->id);
	pw_u64(&w, PR_DATABASE_ID, m->to->id);
	if (done)
		pw_bool(&w, PR_MOVE_DONE, true);
	pw_end(&w);
	ese_put(b, key_dir_mailbox(&k, DIR_MOVE, m->user.mailbox), buf_get(&row));
	buf_free(&row);
}

static enum st row_begin(const struct move *m, struct err *err)
{
	struct ese_value row;
	struct ese_batch *b;
	struct key k;
	enum st st =
		ese_get(m->store->dir, key_dir_mailbox(&k, DIR_MOVE, m->user.mailbox), &row, err);

	if (st == ST_OK) {
		ese_value_free(&row);
		return fail(err, ST_BUSY,
			    "an earlier move of '%s' is not over: its old rows are "
			    "being deleted",
			    m->user.name);
	}
	if (st == ST_NOTFOUND)
		st = ese_batch_new(m->store->dir, 0, &b, err);
	if (st != ST_OK)
		return st;
	put_move(b, m, false);
	return commit_wait(b, err);
}

/* One batch: the mailbox is there from now on, and what it was is to be deleted. */
static enum st row_switch(const struct move *m, struct err *err)
{
	struct directory *d = m->store->directory;
	struct ese_batch *b;
	uint64_t place;
	enum st st;

	fiber_lock(&d->lock);
	st = directory_place(d, m->user.mailbox, &place, err); /* it may have been removed */
	if (st == ST_OK)
		st = ese_batch_new(m->store->dir, 0, &b, err);
	if (st == ST_OK) {
		directory_put_place(b, DIR_MAILBOX, &m->user, m->to->id);
		put_move(b, m, true);
		st = commit_and_tell(d, b, err);
	}
	fiber_unlock(&d->lock);
	return st;
}

static enum st row_end(struct store *s, uint64_t mailbox, struct err *err)
{
	struct ese_batch *b;
	struct key k;
	enum st st = ese_batch_new(s->dir, 0, &b, err);

	if (st != ST_OK)
		return st;
	ese_delete(b, key_dir_mailbox(&k, DIR_MOVE, mailbox));
	return commit_wait(b, err);
}

/* ---- what is left behind ---- */

struct cleaning {
	struct hnode node; /* by mailbox, in the shard's table: never two of one */
	struct shard *shard;
	struct database *db;
};

static enum st clean(struct cleaning *c, struct err *err)
{
	enum st st = mailbox_rows_delete(c->db, c->node.key, err);

	return st == ST_OK ? row_end(c->shard->store, c->node.key, err) : st;
}

/* What does not end now is begun again at the next start, or mount. */
static void clean_run(void *arg)
{
	struct cleaning *c = arg;
	struct store *s = c->shard->store;
	struct err ignored;

	store_begin(s);
	(void)!clean(c, &ignored);
	hmap_remove(&c->shard->cleaning, &c->node);
	free(c);
	store_end(s);
}

static void clean_begin(struct shard *sh, void *arg)
{
	struct cleaning *c = arg;

	c->shard = sh;
	if (hmap_get(&sh->cleaning, c->node.key) ||
	    !hmap_put(&sh->cleaning, &c->node, c->node.key)) {
		free(c);
		return;
	}
	if (fiber_spawn("clean", clean_run, c, NULL) != ST_OK) {
		hmap_remove(&sh->cleaning, &c->node);
		free(c);
	}
}

static void clean_post(struct store *s, uint64_t mailbox, struct database *db)
{
	struct cleaning *c = calloc(1, sizeof *c);

	if (!c)
		return; /* the next start does it */
	c->node.key = mailbox;
	c->db = db;
	shard_post(shard_of(s, mailbox), clean_begin, c);
}

enum st relocations_resume(struct store *s, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	struct plist l;
	enum st st;

	key_dir(&to, DIR_MOVE, SPAN_NONE);
	st = ese_iter_new(s->dir, key_dir(&from, DIR_MOVE, SPAN_NONE), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK &&
	       (st = row_open(value, "a mailbox that moves", &l, err)) == ST_OK) {
		bool done = plist_bool(&l, PR_MOVE_DONE, false);
		struct database *db = database_by_id(
			s, plist_u64(&l, done ? PR_FROM_DATABASE_ID : PR_DATABASE_ID, 0));

		if (db && database_is_up(db))
			clean_post(s, key_tail_u64(key), db);
	}
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

/* ---- moving ---- */

/* On the mailbox's shard: out of the memory, and nobody gets in (store->moving). */
static void leave(struct shard *sh, void *arg)
{
	struct move *m = arg;
	int64_t deadline = deadline_in_ms(LEAVE_MS);
	bool gone;

	sh->mover = fiber_self();
	mailbox_tell_sessions(sh, m->user.mailbox);
	while (!(gone = mailbox_forget(sh, m->user.mailbox)) && clock_mono() < deadline)
		fiber_park(deadline);
	sh->mover = NULL;
	m->st = gone ? ST_OK
		     : fail(&m->err, ST_BUSY, "a request to the mailbox of '%s' does not end",
			    m->user.name);
}

static void copy(void *arg)
{
	struct move *m = arg;

	m->st = mailbox_copy(m->from, m->to, m->user.mailbox, &m->err);
}

static enum st move_rows(struct move *m, struct err *err)
{
	enum st st = shard_call(shard_of(m->store, m->user.mailbox), leave, m, err);

	if (st == ST_OK && m->st != ST_OK)
		st = fail(err, m->st, "%s", m->err.text);
	if (st == ST_OK)
		st = row_begin(m, err);
	if (st != ST_OK)
		return st;
	work_run(copy, m);
	st = m->st == ST_OK ? row_switch(m, err) : fail(err, m->st, "%s", m->err.text);
	clean_post(m->store, m->user.mailbox, st == ST_OK ? m->from : m->to);
	return st;
}

enum st mailbox_relocate(struct directory *d, const struct user *u, struct database *to,
			 struct err *err)
{
	struct move m = { .store = d->store, .user = *u, .to = to };
	struct store *s = d->store;
	enum st st = database_of_mailbox(s, u->mailbox, &m.from, err);

	if (st != ST_OK || m.from == to) {
		if (st == ST_OK)
			database_release(to);
		return st;
	}
	st = database_use(to, err);
	if (st == ST_OK) {
		s->moving = u->mailbox;
		st = move_rows(&m, err);
		s->moving = 0;
		/* Deliveries that were told to wait come again. */
		watch_notify(&s->shards[0], WATCH_DIRECTORY, ++d->changes);
		database_release(to);
	}
	database_release(m.from);
	return st;
}
