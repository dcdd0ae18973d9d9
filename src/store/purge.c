/* purge.c - deleting the mailbox of a user who was removed, a piece at a time.
 *
 * The directory's row DIR_PURGE stands from the removal until the last row is gone, so a restart goes on
 * where this left off. */
#include "store/directory.h"
#include "store/mailbox.h"

#include <stdlib.h>

#define PIECE 500 /* rows of one batch */

struct purge {
	struct hnode node; /* by mailbox, in the shard's table */
	struct shard *shard;
	struct database *db; /* NULL: none of ours, it waits for another start */
	struct fiber *fiber;
	bool running; /* false: it waits for the database, or for another start */
};

bool purge_is_on(const struct shard *sh, uint64_t mailbox)
{
	return hmap_get(&sh->purging, mailbox) != NULL;
}

static void delete_row(struct ese_batch *b, struct span key, struct span value, size_t kind_at)
{
	struct plist l;

	uint8_t kind = (uint8_t)key.at[kind_at];

	if ((kind == BOX_ITEM || kind == BOX_KEPT) &&
	    plist_open(&l, value.at, value.len, NULL) == ST_OK)
		ese_unlink(b, plist_u64(&l, PR_BODY_ID, 0));
	ese_delete(b, key);
}

/* ST_OK: deleted some; ST_EOF: there is nothing left. */
static enum st purge_piece(struct database *db, uint64_t mailbox, struct err *err)
{
	struct key from, to;
	struct span first = key_box(&from, mailbox, BOX_MAILBOX), key, value;
	struct ese_batch *b;
	struct ese_iter *it;
	unsigned n = 0;
	enum st st;

	key_box(&to, mailbox, BOX_ROWS_END);
	st = ese_iter_new(db->ese, first, span_of(to.at, to.len), &it, err);
	if (st != ST_OK)
		return st;
	st = ese_batch_new(db->ese, mailbox, &b, err);
	if (st != ST_OK) {
		ese_iter_free(it);
		return st;
	}
	while (n < PIECE && (st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		delete_row(b, key, value, first.len - 1);
		n++;
	}
	ese_iter_free(it);
	if (n && (st == ST_OK || st == ST_EOF))
		return commit_wait(b, err);
	ese_batch_free(b);
	return st;
}

static enum st purge_end(struct shard *sh, uint64_t mailbox, struct err *err)
{
	struct ese_batch *b;
	struct key k;
	enum st st = ese_batch_new(sh->store->dir, 0, &b, err);

	if (st != ST_OK)
		return st;
	ese_delete(b, key_dir_mailbox(&k, DIR_PURGE, mailbox));
	return commit_wait(b, err);
}

enum st mailbox_rows_delete(struct database *db, uint64_t mailbox, struct err *err)
{
	enum st st = database_use(db, err);

	if (st != ST_OK)
		return st;
	do
		st = purge_piece(db, mailbox, err);
	while (st == ST_OK && database_is_up(db) && !db->group->store->stopping);
	if (st == ST_OK)
		st = fail(err, ST_GONE, "the database is being closed");
	database_release(db);
	return st == ST_EOF ? ST_OK : st;
}

static void purge_run(void *arg)
{
	struct purge *p = arg;
	struct shard *sh = p->shard;
	uint64_t mailbox = p->node.key;
	struct err err;
	enum st st;

	store_begin(sh->store);
	p->fiber = fiber_self();
	/* Requests that were under way end first; new ones are refused since purge_start(). */
	while (!mailbox_forget(sh, mailbox))
		fiber_park(NO_DEADLINE);
	st = mailbox_rows_delete(p->db, mailbox, &err);
	if (st == ST_OK)
		st = purge_end(sh, mailbox, &err);
	/* On a full disk it stays refused, and the next start, or mount, goes on. */
	if (st == ST_OK) {
		hmap_remove(&sh->purging, &p->node);
		free(p);
	} else {
		p->fiber = NULL;
		p->running = false;
	}
	store_end(sh->store);
}

void purge_start(struct shard *sh, uint64_t mailbox, struct database *db)
{
	struct hnode *n = hmap_get(&sh->purging, mailbox);
	struct purge *p = n ? HNODE_OF(struct purge, node, n) : calloc(1, sizeof *p);

	if (!p || (!n && !hmap_put(&sh->purging, &p->node, mailbox))) {
		free(p); /* the next start begins it */
		return;
	}
	p->shard = sh;
	p->db = db;
	if (db && !p->running)
		p->running = fiber_spawn("purge", purge_run, p, NULL) == ST_OK;
}

void purge_wake(struct shard *sh, uint64_t mailbox)
{
	struct hnode *n = hmap_get(&sh->purging, mailbox);
	struct purge *p = n ? HNODE_OF(struct purge, node, n) : NULL;

	if (p && p->fiber)
		fiber_wake(p->fiber);
}

struct resumed {
	uint64_t mailbox;
	struct database *db;
};

static void resume_one(struct shard *sh, void *arg)
{
	struct resumed r = *(struct resumed *)arg;

	free(arg);
	purge_start(sh, r.mailbox, r.db);
}

static enum st resume_row(struct store *s, struct span key, struct span value, struct err *err)
{
	struct resumed *r = malloc(sizeof *r);
	struct plist l;
	enum st st = row_open(value, "a mailbox to be deleted", &l, err);

	if (st != ST_OK || !r) {
		free(r);
		return st != ST_OK ? st : fail(err, ST_NOMEM, "out of memory");
	}
	*r = (struct resumed){ key_tail_u64(key), database_of_row(s, &l) };
	shard_post(shard_of(s, r->mailbox), resume_one, r);
	return ST_OK;
}

enum st purge_resume(struct store *s, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_dir(&to, DIR_PURGE, SPAN_NONE);
	st = ese_iter_new(s->dir, key_dir(&from, DIR_PURGE, SPAN_NONE), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK &&
	       (st = resume_row(s, key, value, err)) == ST_OK)
		;
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

static void end_any(void *arg, struct hnode *n)
{
	(void)arg;
	free(HNODE_OF(struct purge, node, n));
}

void purges_end(struct shard *sh)
{
	hmap_each(&sh->purging, end_any, NULL);
}
