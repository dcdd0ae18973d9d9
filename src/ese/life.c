/* life.c - the life of a database: found, created, dismounted, mounted, removed, moved; see ese.h.
 *
 * The orders of writes and what a crash between them leaves: docs/crash-states.md, "The life of a
 * database".  Each change holds g->life from its beginning to its end; what touches the slot or the apply
 * thread's set of live databases holds g->slot as well, so that no checkpoint runs meanwhile. */
#include "ese/ese_int.h"

#include "ese/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- who may call ---- */

enum st db_gone(struct ese_db *db, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&db->lock);
	if (db->removed)
		st = fail(err, ST_GONE, "database %s was removed", db->name);
	else if (db->state == ESE_DOWN)
		st = fail(err, ST_GONE, "database %s is down%s%s", db->name,
			  db->last.reason[0] ? ": " : "", db->last.reason);
	else
		st = fail(err, ST_GONE, "database %s failed: %s", db->name, db->last.reason);
	pthread_mutex_unlock(&db->lock);
	return st;
}

/* Counted first: whoever closes the database looks at the count after it closed the gate. */
enum st db_enter(struct ese_db *db, struct err *err)
{
	atomic_fetch_add(&db->uses, 1);
	if (atomic_load(&db->state) == ESE_UP)
		return ST_OK;
	db_leave(db);
	return db_gone(db, err);
}

void db_leave(struct ese_db *db)
{
	atomic_fetch_sub(&db->uses, 1);
}

static void set_state(struct ese_db *db, enum ese_state state, const char *reason)
{
	pthread_mutex_lock(&db->lock);
	snprintf(db->last.reason, sizeof(db->last.reason), "%s", reason);
	atomic_store(&db->state, state);
	pthread_mutex_unlock(&db->lock);
}

void db_fail(struct ese_db *db, const struct err *why)
{
	db->live = false;
	db->replaying = false;
	db->beside = NULL;
	db_close_files(db);
	set_state(db, ESE_FAILED, why->text);
}

/* ---- looking ---- */

void ese_db_info(struct ese_db *db, struct ese_db_info *out)
{
	struct space_counts c;

	pthread_mutex_lock(&db->lock);
	*out = db->last;
	snprintf(out->name, sizeof(out->name), "%s", db->name);
	out->id = db->id;
	out->created = db->created;
	out->state = db->state;
	out->position = db->safe;
	out->holds_log = out->state == ESE_FAILED && db->holds;
	out->pins = 0;
	if (out->state == ESE_UP && db->rows) {
		space_count(db->space, &c);
		out->pages_total = c.total;
		out->pages_free = c.free;
		out->pages_reserved = c.total - c.free - c.committed;
		out->bodies = db->nbodies;
		out->row_bytes = pdb_size(db->rows);
		out->pins = pins_count(db->pins);
		out->reason[0] = '\0';
	}
	out->stm_bytes = out->pages_total * ESE_PAGE;
	pthread_mutex_unlock(&db->lock);
}

static int by_name(const void *a, const void *b)
{
	const struct ese_db *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

unsigned ese_db_list(struct ese *g, struct ese_db **out, unsigned max)
{
	unsigned n = 0;

	for (struct ese_db *db = g->dbs; db; db = db->next) {
		if (db->removed)
			continue;
		if (n < max)
			out[n] = db;
		n++;
	}
	if (n && max)
		qsort(out, n < max ? n : max, sizeof(struct ese_db *), by_name);
	return n;
}

uint64_t ese_db_id(const struct ese_db *db)
{
	return db->id;
}

int ese_db_stream_fd(const struct ese_db *db)
{
	return atomic_load(&db->state) == ESE_UP ? db->read_fd : -1;
}

/* ---- coming up ---- */

/* Everything in its files, and they say so. */
static enum st settle_files(struct ese_db *db, uint32_t state, uint64_t pos, struct err *err)
{
	enum st st = ST_OK;

	if (!db->given)
		st = db_mark_applied(db, pos, err);
	if (st == ST_OK)
		st = io_sync(db->fd, db->name, err);
	return st == ST_OK ? db_mark(db, state, pos, err) : st;
}

/* Its files are open and at the end of its log: it joins the group. */
static enum st go_live(struct ese_db *db, enum attach_how how, struct err *err)
{
	struct ese *g = db->g;
	uint64_t pos;
	enum st st;

	db_begin(db);
	pthread_mutex_lock(&g->slot);
	pthread_mutex_lock(&g->lock);
	pos = g->applied_pos;
	pthread_mutex_unlock(&g->lock);
	st = settle_files(db, STATE_DIRTY, pos, err);
	if (st == ST_OK)
		st = db_attach(db, how, err);
	if (st == ST_OK) {
		pthread_mutex_lock(&db->lock);
		db->safe = pos;
		pthread_mutex_unlock(&db->lock);
		db->until = 0;
		db->holds = false;
		db->live = true;
		st = checkpoint_rewrite(g, err);
	}
	pthread_mutex_unlock(&g->slot);
	if (st != ST_OK)
		return st;
	set_state(db, ESE_UP, "");
	return recover_orphans(db, err);
}

/* Down or failed: try it. */
static enum st bring_up(struct ese_db *db, struct err *err)
{
	uint64_t until = db->until ? db->until : db->g->start_pos;
	enum st st = db_open_files(db, db->safe, err);
	struct ese_db *other;
	bool taken;

	if (st != ST_OK)
		return st;
	other = db_by_number(db->g, db->number);
	if (other != db)
		return fail(err, ST_EXISTS, "databases %s and %s have the same id", db->name,
			    other ? other->name : "?");
	taken = db->given;
	if (!taken)
		st = replay_catch_up(db, until, err);
	return st == ST_OK ? go_live(db, taken ? ATTACH_TAKEN : ATTACH_OPENED, err) : st;
}

/* With g->life held. */
static enum st mount(struct ese_db *db, struct err *err)
{
	struct err why = { 0 };
	enum st st;

	if (db->removed)
		return db_gone(db, err);
	if (db_is_up(db))
		return ST_OK;
	st = bring_up(db, &why);
	if (st == ST_OK || db->live) {
		/* Live and not up: the slot could not be written, and the group is broken. */
		if (err && st != ST_OK)
			*err = why;
		return st;
	}
	if (db->given) {
		/* Its parts may be on two sides of a move, which goes on from here. */
		db_close_files(db);
		set_state(db, ESE_DOWN, why.text);
		if (err)
			*err = why;
		return st;
	}
	db->holds = db->holds || (db->until && db->safe < db->until);
	db_fail(db, &why);
	if (err)
		*err = why;
	return st;
}

enum st ese_db_mount(struct ese_db *db, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&db->g->life);
	st = mount(db, err);
	pthread_mutex_unlock(&db->g->life);
	return st;
}

/* ---- creating ---- */

static enum st create(struct ese *g, const char *name, struct ese_db **out, struct err *err)
{
	struct ese_db *db;
	enum st st;

	if (!db_name_ok(name))
		return fail(err, ST_BAD, "'%s' can't be the name of a database", name);
	if (ese_db_list(g, NULL, 0) >= ESE_DATABASES)
		return fail(err, ST_TOOBIG, "%s has %u databases, which is the most of a group",
			    g->dir, ESE_DATABASES);
	st = group_admit(g, 0, false, err);
	if (st == ST_OK)
		st = db_make_files(g, name, 0, err);
	if (st != ST_OK)
		return st;
	db = db_new(g, name);
	if (!db)
		return fail(err, ST_NOMEM, "create database %s", name);
	st = db_open_files(db, 0, err);
	if (st != ST_OK) {
		db_free(db);
		return st;
	}
	db_list_add(g, db);
	st = go_live(db, ATTACH_CREATED, err);
	if (st != ST_OK && !db->live && err)
		db_fail(db, err);
	*out = db;
	return st;
}

static enum st find_or_create(struct ese *g, const char *name, bool may_create, struct ese_db **out,
			      struct err *err)
{
	struct ese_db *db = db_by_name(g, name);

	if (db) {
		*out = db;
		return db_is_up(db) ? ST_OK : db_gone(db, err);
	}
	if (!may_create)
		return fail(err, ST_NOTFOUND, "no database %s in %s", name, g->dir);
	return create(g, name, out, err);
}

enum st ese_db_open(struct ese *g, const char *name, bool may_create, struct ese_db **out,
		    struct err *err)
{
	struct err why = { 0 };
	enum st st;

	pthread_mutex_lock(&g->life);
	st = find_or_create(g, name, may_create, out, &why);
	pthread_mutex_unlock(&g->life);
	if (st != ST_OK && err)
		*err = why;
	return st;
}

/* ---- going down ---- */

/* What is queued of it has been applied; ST_IO: the group broke. */
static enum st quiet(struct ese_db *db, struct err *err)
{
	struct ese *g = db->g;
	enum st st = ST_OK;

	log_kick(g->log);
	pthread_mutex_lock(&g->lock);
	while (db->pending > 0 && !g->broken)
		pthread_cond_wait(&g->settled, &g->lock);
	if (db->pending > 0)
		st = fail(err, ST_IO, "the group is broken: %.200s", g->broken_why.text);
	pthread_mutex_unlock(&g->lock);
	return st;
}

/* The gate is closed and nobody is inside. */
static enum st take_down(struct ese_db *db, struct err *err)
{
	struct ese *g = db->g;
	struct err why = { 0 };
	uint64_t pos;
	enum st st, slot;

	st = db_detach(db, DETACH_DOWN, err);
	if (st == ST_OK)
		st = quiet(db, err);
	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&g->slot);
	db->live = false;
	st = checkpoint_meet(g, &pos, err);
	if (st != ST_OK) {
		pthread_mutex_unlock(&g->slot);
		return st;
	}
	db->until = pos;
	st = settle_files(db, STATE_CLEAN, pos, &why);
	if (st == ST_OK) {
		pthread_mutex_lock(&db->lock);
		db->safe = pos;
		pthread_mutex_unlock(&db->lock);
		db_close_files(db);
	} else {
		db->holds = true;
		db_fail(db, &why);
		if (err)
			*err = why;
	}
	slot = checkpoint_rewrite(g, st == ST_OK ? err : NULL);
	pthread_mutex_unlock(&g->slot);
	return st == ST_OK ? slot : st;
}

static enum st dismount(struct ese_db *db, struct err *err)
{
	struct err why = { 0 };
	enum st st;

	if (db->removed || db->state == ESE_FAILED)
		return db_gone(db, err);
	if (db->state == ESE_DOWN)
		return ST_OK;
	/* The scrubber, which uses it without being asked, ends its step. */
	pthread_mutex_lock(&db->g->scrubbing);
	set_state(db, ESE_DOWN, "");
	if (atomic_load(&db->uses) > 0)
		set_state(db, ESE_UP, "");
	pthread_mutex_unlock(&db->g->scrubbing);
	if (db_is_up(db))
		return fail(err, ST_BUSY, "database %s is in use", db->name);
	st = take_down(db, &why);
	if (st == ST_NOMEM && db->live)
		set_state(db, ESE_UP, "");
	if (st != ST_OK && err)
		*err = why;
	return st;
}

enum st ese_db_dismount(struct ese_db *db, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&db->g->life);
	st = dismount(db, err);
	pthread_mutex_unlock(&db->g->life);
	return st;
}

/* ---- going away ---- */

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static enum st rename_gone(struct ese_db *db, const char *end, struct err *err)
{
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX + 8];

	db_path(from, db->g, db->name, end);
	snprintf(to, sizeof(to), "%s.gone", from);
	if (!is_there(from))
		return ST_OK;
	if (strcmp(end, ".edb") == 0 && is_there(to)) {
		enum st st = db_remove_folder(to, err);

		if (st != ST_OK)
			return st;
	}
	return io_rename(from, to, err);
}

static enum st sync_folder(const struct ese *g, const char *name, struct err *err)
{
	char folder[SEG_PATH_MAX];

	db_path(folder, g, name, "");
	*strrchr(folder, '/') = '\0';
	return is_there(folder) ? io_sync_dir(folder, err) : ST_OK;
}

/* Of a removed one only the log may still know; the files under its name are those of a later one. */
static bool name_is_free(const struct ese_db *db)
{
	const struct ese_db *other = db->g->dbs;

	while (other && (other == db || other->removed || strcmp(other->name, db->name) != 0))
		other = other->next;
	return !other;
}

static enum st hide_files(struct ese_db *db, struct err *err)
{
	enum st st = rename_gone(db, ".edb", err);

	if (st == ST_OK)
		st = rename_gone(db, ".stm", err);
	if (st == ST_OK)
		st = sync_folder(db->g, db->name, err);
	if (st == ST_OK)
		db->removed = true;
	return st;
}

/* What is not deleted now is deleted at the next opening. */
static void delete_files(struct ese_db *db)
{
	char path[SEG_PATH_MAX];

	db_path(path, db->g, db->name, ".stm.gone");
	io_unlink(path, NULL);
	db_path(path, db->g, db->name, ".edb.gone");
	if (is_there(path))
		db_remove_folder(path, NULL);
}

enum st db_finish_removal(struct ese_db *db, struct err *err)
{
	enum st st;

	db->live = false;
	db_close_files(db);
	if (!name_is_free(db)) {
		db->removed = true;
		return ST_OK;
	}
	st = hide_files(db, err);
	if (st == ST_OK)
		delete_files(db);
	return st;
}

static enum st remove_for_good(struct ese_db *db, struct err *err)
{
	struct ese *g = db->g;
	enum st st = db->state == ESE_UP ? dismount(db, err) : ST_OK;

	if (st != ST_OK || db->removed)
		return st;
	if (db->number)
		st = db_detach(db, DETACH_REMOVED, err);
	if (st == ST_OK)
		st = quiet(db, err);
	if (st == ST_OK)
		st = hide_files(db, err);
	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&g->slot);
	st = checkpoint_rewrite(g, err);
	pthread_mutex_unlock(&g->slot);
	if (st == ST_OK)
		delete_files(db);
	return st;
}

enum st ese_db_remove(struct ese_db *db, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&db->g->life);
	st = remove_for_good(db, err);
	pthread_mutex_unlock(&db->g->life);
	return st;
}

/* ---- moving ---- */

static enum st may_move(struct ese_db *db, struct ese *to, const char *name, struct err *err)
{
	char path[SEG_PATH_MAX];
	struct stat here, there;

	if (db->removed)
		return db_gone(db, err);
	if (db->state != ESE_DOWN)
		return fail(err, ST_GONE, "database %s is not down: dismount it first", db->name);
	if (!db_name_ok(name))
		return fail(err, ST_BAD, "'%s' can't be the name of a database", name);
	db_path(path, to, name, ".edb");
	if (db_by_name(to, name) || is_there(path))
		return fail(err, ST_EXISTS, "%s has a database %s", to->dir, name);
	if (ese_db_list(to, NULL, 0) >= ESE_DATABASES)
		return fail(err, ST_TOOBIG, "%s has %u databases, which is the most of a group",
			    to->dir, ESE_DATABASES);
	if (stat(db->g->dir, &here) < 0 || stat(to->dir, &there) < 0)
		return fail_errno(err, "%s", to->dir);
	if (here.st_dev != there.st_dev)
		return fail(err, ST_BAD,
			    "%s is on another file system than %s: back the database up and "
			    "restore it there",
			    to->dir, db->g->dir);
	return ST_OK;
}

/* The group lets go of it: header, log, slot. */
static enum st give_away(struct ese_db *db, struct err *err)
{
	struct ese *g = db->g;
	enum st st;

	if (!db->given) {
		st = db_open_files(db, db->safe, err);
		if (st == ST_OK && !db->given)
			st = db_mark(db, STATE_GIVEN, db->safe, err);
		db_close_files(db);
		if (st == ST_OK)
			st = db_detach(db, DETACH_GIVEN, err);
		if (st == ST_OK)
			st = quiet(db, err);
		if (st != ST_OK)
			return st;
	}
	pthread_mutex_lock(&g->slot);
	st = checkpoint_rewrite(g, err);
	pthread_mutex_unlock(&g->slot);
	return st;
}

static enum st make_subfolder(struct ese *to, const char *name, struct err *err)
{
	char folder[SEG_PATH_MAX];
	enum st st;

	db_path(folder, to, name, "");
	*strrchr(folder, '/') = '\0';
	st = strcmp(folder, to->dir) == 0 ? ST_OK : io_mkdir(folder, err);
	return st == ST_OK ? io_sync_dir(to->dir, err) : st;
}

static enum st move_one(struct ese_db *db, struct ese *to, const char *name, const char *end,
			struct err *err)
{
	char from[SEG_PATH_MAX], at[SEG_PATH_MAX];

	db_path(from, db->g, db->name, end);
	db_path(at, to, name, end);
	if (!is_there(from) && is_there(at))
		return ST_OK;
	if (is_there(at))
		return fail(err, ST_EXISTS, "%s is there already", at);
	return io_rename(from, at, err);
}

static enum st move_files(struct ese_db *db, struct ese *to, const char *name, struct err *err)
{
	enum st st = make_subfolder(to, name, err);

	if (st == ST_OK)
		st = move_one(db, to, name, ".stm", err);
	if (st == ST_OK)
		st = sync_folder(to, name, err);
	if (st == ST_OK)
		st = move_one(db, to, name, ".edb", err);
	if (st == ST_OK)
		st = sync_folder(to, name, err);
	if (st == ST_OK)
		st = sync_folder(db->g, db->name, err);
	return st;
}

static enum st move(struct ese_db *db, struct ese *to, const char *name, struct ese_db **out,
		    struct err *err)
{
	struct ese_db *there;
	enum st st = may_move(db, to, name, err);

	if (st == ST_OK)
		st = give_away(db, err);
	if (st == ST_OK)
		st = move_files(db, to, name, err);
	if (st != ST_OK)
		return st;
	db->removed = true;
	there = db_new(to, name);
	if (!there)
		return fail(err, ST_NOMEM, "move database %s", name);
	there->given = true;
	there->state = ESE_DOWN;
	db_list_add(to, there);
	*out = there;
	return mount(there, err);
}

enum st ese_db_move(struct ese_db *db, struct ese *to, const char *name, struct ese_db **out,
		    struct err *err)
{
	struct ese *first = db->g < to ? db->g : to, *second = db->g < to ? to : db->g;
	enum st st;

	pthread_mutex_lock(&first->life);
	if (second != first)
		pthread_mutex_lock(&second->life);
	st = move(db, to, name, out, err);
	if (second != first)
		pthread_mutex_unlock(&second->life);
	pthread_mutex_unlock(&first->life);
	return st;
}
