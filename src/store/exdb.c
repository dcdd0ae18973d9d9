/* exdb.c - the administrator's requests about groups, databases and where mailboxes are. */
#include "ese/backup.h"
#include "store/call.h"
#include "store/database.h"
#include "store/exds.h"
#include "store/mount.h"
#include "store/places.h"
#include "store/relocate.h"

#include <stdlib.h>

/* ---- changes: one at a time ---- */

static enum st life_begin(const struct call *c, struct err *err)
{
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		fiber_lock(&c->store->life);
	return st;
}

static enum st life_end(const struct call *c, enum st st)
{
	fiber_unlock(&c->store->life);
	return st;
}

/* The database of the request. */
static enum st wanted(const struct call *c, struct database **out, struct err *err)
{
	return database_named(c->store, plist_span(&c->in, PR_DATABASE), out, err);
}

/* GROUP/NAME of a new one. */
static enum st wanted_name(const struct call *c, uint32_t tag, struct group **g,
			   char name[static DATABASE_NAME_MAX + 1], struct err *err)
{
	struct span group;
	enum st st = database_name_read(plist_span(&c->in, tag), &group, name, err);

	if (st != ST_OK)
		return st;
	*g = group_find(c->store, group);
	return *g ? ST_OK
		  : fail(err, ST_NOTFOUND,
			 "there is no group '" SPAN_FMT "'; group create makes it",
			 SPAN_ARG(group));
}

enum st serve_ADM_DATABASE_CREATE(struct call *c, struct err *err)
{
	char name[DATABASE_NAME_MAX + 1];
	struct group *g;
	enum st st = life_begin(c, err);

	if (st != ST_OK)
		return st;
	st = wanted_name(c, PR_DATABASE, &g, name, err);
	return life_end(c, st == ST_OK ? database_create(g, name, err) : st);
}

enum st serve_ADM_DATABASE_MOUNT(struct call *c, struct err *err)
{
	struct database *db;
	enum st st = life_begin(c, err);

	if (st != ST_OK)
		return st;
	st = wanted(c, &db, err);
	if (st == ST_OK)
		st = plist_bool(&c->in, PR_MOUNTED, true) ? database_mount(db, err)
							  : database_dismount(db, err);
	return life_end(c, st);
}

enum st serve_ADM_DATABASE_REMOVE(struct call *c, struct err *err)
{
	struct database *db;
	enum st st = life_begin(c, err);

	if (st != ST_OK)
		return st;
	st = wanted(c, &db, err);
	if (st == ST_OK)
		st = database_remove(db, plist_bool(&c->in, PR_WITH_MAILBOXES, false), err);
	return life_end(c, st);
}

enum st serve_ADM_DATABASE_MOVE(struct call *c, struct err *err)
{
	char name[DATABASE_NAME_MAX + 1];
	struct database *db;
	struct group *to;
	enum st st = life_begin(c, err);

	if (st != ST_OK)
		return st;
	st = wanted(c, &db, err);
	if (st == ST_OK)
		st = wanted_name(c, PR_NEW_DATABASE, &to, name, err);
	return life_end(c, st == ST_OK ? database_move(db, to, name, err) : st);
}

enum st serve_ADM_GROUP_CREATE(struct call *c, struct err *err)
{
	enum st st = life_begin(c, err);

	if (st != ST_OK)
		return st;
	return life_end(c, group_create(c->store, plist_span(&c->in, PR_GROUP), err));
}

enum st serve_ADM_USER_MOVE(struct call *c, struct err *err)
{
	struct directory *d = c->store->directory;
	char name[NAME_BYTES_MAX + 1];
	struct database *to;
	struct user u;
	enum st st = life_begin(c, err);

	if (st != ST_OK)
		return st;
	st = directory_name(plist_span(&c->in, PR_USER), name, err);
	if (st == ST_OK)
		st = directory_user(d, name, &u, err);
	if (st == ST_OK)
		st = wanted(c, &to, err);
	if (st == ST_OK && strncmp(to->name, "mailbox/", 8) != 0)
		st = fail(err, ST_BAD, "%s/%s is no database for mailboxes", to->group->name,
			  to->name);
	return life_end(c, st == ST_OK ? mailbox_relocate(d, &u, to, err) : st);
}

/* ---- the list ---- */

struct listed {
	struct database *db;
	uint64_t mailboxes, messages;
};

struct listing {
	struct store *store;
	struct listed *at;
	size_t n;
	enum st st;
	struct err err;
};

static enum st listing_make(struct listing *l, struct err *err)
{
	for (struct database *db = l->store->databases; db; db = db->next)
		l->n += db->state != DATABASE_REMOVED;
	l->at = calloc(l->n + 1, sizeof *l->at);
	if (!l->at)
		return fail(err, ST_NOMEM, "out of memory");
	l->n = 0;
	for (struct database *db = l->store->databases; db; db = db->next)
		if (db->state != DATABASE_REMOVED)
			l->at[l->n++].db = db;
	return ST_OK;
}

static enum st count_messages(struct database *db, uint64_t mailbox, uint64_t *n, struct err *err)
{
	struct span key, value;
	struct figures f;
	struct ese_iter *it;
	struct key from, to;
	enum st st = database_use(db, err);

	if (st != ST_OK)
		return st == ST_GONE ? ST_OK : st;
	key_box(&to, mailbox, BOX_FIGURES);
	st = ese_iter_new(db->ese, key_box(&from, mailbox, BOX_FIGURES), key_after(&to), &it, err);
	if (st == ST_OK) {
		while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK &&
		       (st = figures_read(value, &f, err)) == ST_OK)
			*n += f.count;
		ese_iter_free(it);
	}
	database_release(db);
	return st == ST_EOF ? ST_OK : st;
}

static enum st count_mailbox(struct listing *l, struct span key, struct span value, struct err *err)
{
	struct plist row;
	enum st st = row_open(value, "a mailbox's place", &row, err);

	for (size_t i = 0; i < l->n && st == ST_OK; i++)
		if (places_is_in(l->store, &row, l->at[i].db)) {
			l->at[i].mailboxes++;
			st = count_messages(l->at[i].db, key_tail_u64(key), &l->at[i].messages,
					    err);
		}
	return st;
}

/* On a pool thread. */
static void count_all(void *arg)
{
	struct listing *l = arg;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;

	key_dir(&to, DIR_MAILBOX, SPAN_NONE);
	l->st = ese_iter_new(l->store->dir, key_dir(&from, DIR_MAILBOX, SPAN_NONE), key_after(&to),
			     &it, &l->err);
	if (l->st != ST_OK)
		return;
	while ((l->st = ese_iter_next(it, &key, &value, &l->err)) == ST_OK &&
	       (l->st = count_mailbox(l, key, value, &l->err)) == ST_OK)
		;
	ese_iter_free(it);
	if (l->st == ST_EOF)
		l->st = ST_OK;
}

static enum st put_group(struct wire_rows_out *rows, const struct group *g)
{
	struct ese_logs logs = { 0 };
	struct pw w;

	if (g->ese)
		ese_logs(g->ese, &logs);
	wire_row_begin(rows, &w, 6);
	pw_u64(&w, PR_LOG_BYTES, logs.bytes);
	pw_bool(&w, PR_LOG_CIRCULAR, g->ese && ese_circular(g->ese));
	pw_u64(&w, PR_LOG_TIME, logs.backup_time);
	pw_str(&w, PR_GROUP, g->name);
	pw_str(&w, PR_STATE, g->ese ? "up" : "failed");
	pw_str(&w, PR_REASON, g->ese ? "" : g->why.text);
	return wire_row_end(rows, &w);
}

static enum st put_database(struct wire_rows_out *rows, const struct listed *l)
{
	struct buf name = BUF_MAX(1024);
	struct ese_db_info info;
	struct pw w;

	ese_db_info(l->db->ese, &info);
	database_full_name(l->db, &name);
	wire_row_begin(rows, &w, 13);
	pw_span(&w, PR_DATABASE, buf_get(&name));
	pw_u64(&w, PR_DATABASE_ID, l->db->id);
	pw_str(&w, PR_STATE, database_state_name(l->db->state));
	pw_str(&w, PR_REASON, info.reason);
	pw_bool(&w, PR_CLEAN, info.state == ESE_DOWN);
	pw_u64(&w, PR_MAILBOXES, l->mailboxes);
	pw_u64(&w, PR_MESSAGES, l->messages);
	pw_u64(&w, PR_BODIES, info.bodies);
	pw_u64(&w, PR_EDB_BYTES, info.row_bytes);
	pw_u64(&w, PR_STM_BYTES, info.stm_bytes);
	pw_u64(&w, PR_PAGES_COMMITTED, info.pages_total - info.pages_free - info.pages_reserved);
	pw_u64(&w, PR_PAGES_FREE, info.pages_free);
	pw_u64(&w, PR_PAGES_RESERVED, info.pages_reserved);
	buf_free(&name);
	return wire_row_end(rows, &w);
}

enum st serve_ADM_DATABASES(struct call *c, struct err *err)
{
	struct listing l = { .store = c->store };
	struct wire_rows_out rows;
	enum st st = exds_on_loop_0(c, err);

	if (st == ST_OK)
		st = listing_make(&l, err);
	if (st != ST_OK)
		return st;
	work_run(count_all, &l);
	if (l.st != ST_OK) {
		free(l.at);
		return fail(err, l.st, "%s", l.err.text);
	}
	wire_rows_begin(&rows, c->rq);
	for (const struct group *g = c->store->groups; g && st == ST_OK; g = g->next)
		st = put_group(&rows, g);
	/* The oldest first. */
	for (size_t i = l.n; i > 0 && st == ST_OK; i--)
		st = put_database(&rows, &l.at[i - 1]);
	free(l.at);
	return call_rows_end(c, &rows, st, err);
}
