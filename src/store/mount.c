#include "store/mount.h"

#include "store/content.h"
#include "store/mailbox.h"
#include "store/places.h"
#include "store/relocate.h"
#include "store/watch.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- waiting on the pool for the engine ---- */

struct job {
	enum st (*fn)(struct job *j, struct err *err);
	struct ese_db *db;
	struct ese *to;
	const char *name;
	struct ese_db *out;
	enum st st;
	struct err err;
};

static void job_run(void *arg)
{
	struct job *j = arg;

	j->st = j->fn(j, &j->err);
}

static enum st job_do(struct job *j, struct err *err)
{
	work_run(job_run, j);
	return j->st == ST_OK ? ST_OK : fail(err, j->st, "%s", j->err.text);
}

static enum st job_dismount(struct job *j, struct err *err)
{
	return ese_db_dismount(j->db, err);
}

static enum st job_mount(struct job *j, struct err *err)
{
	return ese_db_mount(j->db, err);
}

static enum st job_remove(struct job *j, struct err *err)
{
	return ese_db_remove(j->db, err);
}

static enum st job_create(struct job *j, struct err *err)
{
	return ese_db_open(j->to, j->name, true, &j->out, err);
}

static enum st job_move(struct job *j, struct err *err)
{
	return ese_db_move(j->db, j->to, j->name, &j->out, err);
}

/* ---- up and down ---- */

/* Who remembers answers about mailboxes, or waits to deliver to them, asks again. */
static void tell(struct database *db)
{
	struct store *s = db->group->store;

	if (s->directory)
		watch_notify(&s->shards[0], WATCH_DIRECTORY, ++s->directory->changes);
}

static void set_up(struct database *db)
{
	struct store *s = db->group->store;

	if (s->ipc)
		exipc_server_offer_fd(s->ipc, db->tag, ese_db_stream_fd(db->ese));
	db->state = DATABASE_UP;
	tell(db);
}

static void withdraw(struct database *db)
{
	exipc_server_withdraw_fd(db->group->store->ipc, db->tag);
	db->tag = random_u64();
}

static void leave_memory(struct shard *sh, void *arg)
{
	vfiles_leave(sh);
	mailboxes_leave(sh, arg);
}

static int64_t patience(const struct database *db)
{
	return deadline_in_ms(config_int(db->group->store->conf, "dismount_wait_s") * 1000);
}

/* Until nobody uses it; false: some request does not end. */
static bool wait_unused(struct database *db)
{
	int64_t deadline = patience(db);

	while (db->uses && clock_mono() < deadline)
		fiber_park(deadline);
	return !db->uses;
}

/* Until no client holds a reply with its bodies. */
static bool wait_unpinned(struct database *db)
{
	int64_t deadline = patience(db);

	while (database_pinned(db) && clock_mono() < deadline)
		fiber_park(deadline);
	return !database_pinned(db);
}

static enum st empty(struct database *db, struct err *err)
{
	struct store *s = db->group->store;
	enum st st = ST_OK;

	for (unsigned i = 0; i < s->nshards && st == ST_OK; i++)
		st = shard_call(&s->shards[i], leave_memory, db, err);
	if (st == ST_OK && !wait_unused(db))
		st = fail(err, ST_BUSY, "%s/%s is still in use by a request that does not end",
			  db->group->name, db->name);
	return st;
}

static enum st go_down(struct database *db, struct err *err)
{
	struct job j = { .fn = job_dismount, .db = db->ese };
	enum st st = empty(db, err);
	bool told = false;

	if (st == ST_OK && !wait_unpinned(db)) {
		withdraw(db);
		told = true;
		(void)wait_unpinned(db);
	}
	if (st == ST_OK) {
		database_outlive_pins(db);
		st = job_do(&j, err);
	}
	if (st == ST_OK || st == ST_IO) {
		if (!told)
			withdraw(db);
		db->state = st == ST_OK ? DATABASE_DOWN : DATABASE_FAILED;
		tell(db);
		return st;
	}
	if (told)
		set_up(db);
	else
		db->state = DATABASE_UP;
	tell(db);
	return st;
}

enum st database_dismount(struct database *db, struct err *err)
{
	enum st st;

	if (db->ese == db->group->store->dir)
		return fail(err, ST_DENIED, "the directory serves as long as the store does");
	if (db->state == DATABASE_DOWN)
		return ST_OK;
	if (db->state != DATABASE_UP)
		return fail(err, ST_GONE, "%s/%s is %s", db->group->name, db->name,
			    database_state_name(db->state));
	db->waiter = fiber_self();
	db->state = DATABASE_CLOSING;
	tell(db);
	st = go_down(db, err);
	db->waiter = NULL;
	return st;
}

/* What waited for it goes on. */
static void resume(struct database *db)
{
	struct err ignored; /* the next start goes on, then */

	(void)!purge_resume(db->group->store, &ignored);
	(void)!relocations_resume(db->group->store, &ignored);
}

enum st database_mount(struct database *db, struct err *err)
{
	struct job j = { .fn = job_mount, .db = db->ese };
	enum st st;

	if (database_is_up(db))
		return ST_OK;
	db->waiter = fiber_self();
	if (!wait_unpinned(db))
		st = fail(err, ST_BUSY,
			  "replies of before the dismount are still being read; try again later");
	else
		st = job_do(&j, err);
	db->waiter = NULL;
	if (st != ST_OK) {
		struct ese_db_info info;

		ese_db_info(db->ese, &info);
		db->state = info.state == ESE_DOWN ? DATABASE_DOWN : DATABASE_FAILED;
		return st;
	}
	db->id = ese_db_id(db->ese); /* a failed one may have been unreadable */
	set_up(db);
	resume(db);
	return ST_OK;
}

/* ---- new and gone ---- */

static enum st name_ok(const struct group *g, const char *name, struct err *err)
{
	struct span rest, kind = span_split(span_str(name), '/', &rest);

	if (!g->ese)
		return fail(err, ST_GONE, "the group %s is not open: %s", g->name, g->why.text);
	if (!span_eq(kind, SPAN("mailbox")) && !span_eq(kind, SPAN("public")))
		return fail(err, ST_BAD, "'%s' is neither mailbox/NAME nor public/NAME", name);
	if (!group_name_ok(rest))
		return fail(err, ST_BAD, "a name has 1 to %d of a-z, 0-9, - and _", GROUP_NAME_MAX);
	if (database_find(g->store, g, span_str(name)))
		return fail(err, ST_EXISTS, "%s/%s is there already", g->name, name);
	return ST_OK;
}

enum st database_create(struct group *g, const char *name, struct err *err)
{
	struct job j = { .fn = job_create, .to = g->ese, .name = name };
	struct database *db;
	enum st st = name_ok(g, name, err);

	if (st == ST_OK)
		st = job_do(&j, err);
	if (st != ST_OK)
		return st;
	db = database_enter(g, j.out, err);
	if (!db)
		return ST_NOMEM;
	set_up(db);
	return ST_OK;
}

enum st database_remove(struct database *db, bool with_mailboxes, struct err *err)
{
	struct job j = { .fn = job_remove, .db = db->ese };
	struct directory *d = db->group->store->directory;
	uint64_t mailboxes = 0;
	enum st st = ST_OK;

	if (db->ese == db->group->store->dir)
		return fail(err, ST_DENIED, "there is no store without the directory");
	fiber_lock(&d->lock);
	if (!with_mailboxes) {
		st = places_count(d->store, db, &mailboxes, err);
		if (st == ST_OK && mailboxes)
			st = fail(err, ST_EXISTS,
				  "%llu mailboxes are in %s/%s: move them away (user move) or "
				  "remove them with it (--with-mailboxes)",
				  (unsigned long long)mailboxes, db->group->name, db->name);
	}
	if (st == ST_OK && database_is_up(db))
		st = database_dismount(db, err);
	/* Its users go first: one without a database could neither be used nor removed. */
	if (st == ST_OK)
		st = places_empty(d, db, err);
	if (st == ST_OK)
		st = job_do(&j, err);
	if (st == ST_OK)
		db->state = DATABASE_REMOVED;
	fiber_unlock(&d->lock);
	return st;
}

enum st group_create(struct store *s, struct span name, struct err *err)
{
	char text[GROUP_NAME_MAX + 1];
	struct group *g;
	enum st st;

	if (!group_name_ok(name))
		return fail(err, ST_BAD, "a name has 1 to %d of a-z, 0-9, - and _", GROUP_NAME_MAX);
	if (group_find(s, name))
		return fail(err, ST_EXISTS, "the group " SPAN_FMT " is there already",
			    SPAN_ARG(name));
	snprintf(text, sizeof text, SPAN_FMT, SPAN_ARG(name));
	st = group_open(s, text, &g, err);
	if (st == ST_OK && !g->ese) {
		st = fail(err, g->why.st, "%s", g->why.text);
		free(g);
		return st;
	}
	return st == ST_OK ? group_enter(g, err) : st;
}

/* ---- moving ---- */

static enum st arrive(struct database *db, struct group *to, struct ese_db *ese, struct err *err)
{
	struct database *there = database_enter(to, ese, err);

	if (!there)
		return ST_NOMEM;
	db->state = DATABASE_REMOVED;
	set_up(there);
	resume(there);
	return ST_OK;
}

enum st database_move(struct database *db, struct group *to, const char *name, struct err *err)
{
	struct job j = { .fn = job_move, .db = db->ese, .to = to->ese, .name = name };
	struct directory *d = to->store->directory;
	struct err ignored;
	enum st st = name_ok(to, name, err);

	/* The intent first: a dismounted database stays down over restarts, and somebody must bring this one up again. */
	if (st == ST_OK)
		st = places_move_begin(d, db, to, name, err);
	if (st != ST_OK)
		return st;
	st = database_dismount(db, err);
	if (st != ST_OK) {
		(void)!places_move_end(d, db->id, &ignored);
		return st;
	}
	st = job_do(&j, err);
	if (st == ST_OK) {
		st = arrive(db, to, j.out, err);
		return st == ST_OK ? places_move_end(d, db->id, err) : st;
	}
	/* It is still where it was, unless its files are on the way: then the next start goes on. */
	if (database_mount(db, &ignored) == ST_OK)
		(void)!places_move_end(d, db->id, &ignored);
	return st;
}

static enum st resume_move(struct store *s, uint64_t id, struct span target, struct err *err)
{
	struct database *db = database_by_id(s, id);
	char name[DATABASE_NAME_MAX + 1];
	struct ese_db *ese;
	struct group *to;
	struct span group;
	enum st st = database_name_read(target, &group, name, err);

	if (st != ST_OK || !db || !db->group->ese)
		return st;
	to = group_find(s, group);
	if (to && to->ese && !(db->group == to && strcmp(db->name, name) == 0)) {
		st = ese_db_dismount(db->ese, err);
		if (st == ST_OK)
			st = ese_db_move(db->ese, to->ese, name, &ese, err);
		if (st != ST_OK)
			return st;
		db->state = DATABASE_REMOVED;
		return database_enter(to, ese, err) ? ST_OK : ST_NOMEM;
	}
	st = ese_db_mount(db->ese, err);
	if (st == ST_OK)
		db->state = DATABASE_UP;
	return st;
}

enum st database_moves_resume(struct store *s, struct err *err)
{
	struct buf target = BUF_MAX(1024);
	struct err ignored; /* it stays down, and says why */
	uint64_t id = 0;
	enum st st;

	while ((st = places_move_next(s, &id, &target, err)) == ST_OK)
		if (resume_move(s, id, buf_get(&target), &ignored) == ST_OK &&
		    (st = places_move_over(s, id, err)) != ST_OK)
			break;
	buf_free(&target);
	return st == ST_EOF ? ST_OK : st;
}
