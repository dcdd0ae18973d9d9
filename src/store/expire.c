/* expire.c - what was deleted long enough ago goes for good; see keep.h.
 *
 * Nothing is remembered about what there is to do: a pass looks at the oldest row of each of the loop's mailboxes, one
 * seek each, on a pool thread, and goes into those only that hold something old enough.  So a restart loses
 * nothing, and a pass that found nothing cost little. */
#include "ese/backup.h"
#include "store/directory.h"
#include "store/keep.h"
#include "store/removed.h"

#include <stdlib.h>

#define FIRST_MS (60 * 1000)
#define EVERY_MS (60 * 60 * 1000)

/* What was there before this time is in a complete backup of the group that the mailbox is in; 0: there is none. */
static int64_t backed_up(struct store *s, uint64_t mailbox)
{
	struct ese_logs logs;
	struct database *db;

	if (database_of_mailbox(s, mailbox, &db, NULL) != ST_OK)
		return 0;
	ese_logs(db->group->ese, &logs);
	database_release(db);
	return (int64_t)logs.backup_time;
}

int64_t keep_limit(struct store *s, uint64_t mailbox, int64_t kept_ns)
{
	int64_t limit = clock_real() - kept_ns, backup;

	if (!s->keep_until_backup)
		return limit;
	backup = backed_up(s, mailbox);
	return limit < backup ? limit : backup;
}

/* ---- which mailboxes ---- */

struct look {
	const struct shard *sh;
	uint64_t *ids; /* with something old enough */
	size_t n, cap;
	enum st st;
	struct err err;
};

static enum st has_old(struct store *s, uint64_t mailbox, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	int64_t limit = keep_limit(s, mailbox, s->keep_items_ns);
	struct database *db;
	enum st st;

	if (limit <= 0)
		return ST_EOF;
	st = database_of_mailbox(s, mailbox, &db, err);
	if (st == ST_GONE || st == ST_NOTFOUND) /* another pass, then */
		return ST_EOF;
	if (st != ST_OK)
		return st;
	st = ese_iter_new(db->ese, key_box(&from, mailbox, BOX_KEPT),
			  key_kept(&to, mailbox, limit, 0), &it, err);
	if (st == ST_OK) {
		st = ese_iter_next(it, &key, &value, err);
		ese_iter_free(it);
	}
	database_release(db);
	return st;
}

static enum st look_into(struct look *l, uint64_t mailbox)
{
	uint64_t *ids = l->ids;
	enum st st;

	if (shard_of(l->sh->store, mailbox) != l->sh)
		return ST_OK;
	st = has_old(l->sh->store, mailbox, &l->err);
	if (st != ST_OK)
		return st == ST_EOF ? ST_OK : st;
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		ids = realloc(l->ids, l->cap * sizeof *ids);
		if (!ids)
			return fail(&l->err, ST_NOMEM, "out of memory");
		l->ids = ids;
	}
	ids[l->n++] = mailbox;
	return ST_OK;
}

/* On a pool thread. */
static void look_run(void *arg)
{
	struct look *l = arg;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;

	key_dir(&to, DIR_MAILBOX, SPAN_NONE);
	l->st = ese_iter_new(l->sh->store->dir, key_dir(&from, DIR_MAILBOX, SPAN_NONE),
			     key_after(&to), &it, &l->err);
	if (l->st != ST_OK)
		return;
	while (l->st == ST_OK && (l->st = ese_iter_next(it, &key, &value, &l->err)) == ST_OK)
		l->st = look_into(l, key_tail_u64(key));
	ese_iter_free(it);
	if (l->st == ST_EOF)
		l->st = ST_OK;
}

/* ---- the pass ---- */

static enum st expire_mailbox(struct shard *sh, uint64_t id, uint64_t *removed, struct err *err)
{
	struct store *s = sh->store;
	struct mailbox *mb;
	enum st st = mailbox_get(sh, id, &mb, err);

	if (st != ST_OK)
		return st;
	st = kept_remove_before(mb, keep_limit(s, id, s->keep_items_ns), removed, err);
	mailbox_put(mb);
	return st;
}

enum st expire_pass(struct shard *sh, uint64_t *removed, struct err *err)
{
	struct look l = { .sh = sh };
	enum st st = sh->index == 0 ? removed_expire(sh->store->directory, err) : ST_OK;

	work_run(look_run, &l);
	if (l.st != ST_OK && st == ST_OK)
		st = fail(err, l.st, "%s", l.err.text);
	/* One that fails does not keep the others from going. */
	for (size_t i = 0; i < l.n && !sh->store->stopping; i++) {
		struct err why;
		enum st one = expire_mailbox(sh, l.ids[i], removed, &why);

		if (one != ST_OK && one != ST_NOTFOUND && st == ST_OK)
			st = fail(err, one, "mailbox %llu: %s", (unsigned long long)l.ids[i],
				  why.text);
	}
	free(l.ids);
	return st;
}

static void expire_now(void *arg)
{
	struct shard *sh = arg;
	uint64_t removed = 0;
	struct err ignored; /* the next pass tries again */

	store_begin(sh->store);
	(void)!expire_pass(sh, &removed, &ignored);
	sh->expiring = false;
	store_end(sh->store);
}

static void expire_due(void *arg)
{
	struct shard *sh = arg;

	if (sh->store->stopping)
		return;
	timer_set(&sh->expire, deadline_in_ms(EVERY_MS), expire_due, sh);
	if (!sh->expiring)
		sh->expiring = fiber_spawn("expire", expire_now, sh, NULL) == ST_OK;
}

void expire_begin(struct shard *sh, void *arg)
{
	(void)arg;
	timer_set(&sh->expire, deadline_in_ms(FIRST_MS), expire_due, sh);
}
