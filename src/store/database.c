#include "store/database.h"

#include "store/rows.h"
#include "store/upgrade.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- finding ---- */

struct group *group_find(const struct store *s, struct span name)
{
	struct group *g = s->groups;

	while (g && !span_eq(span_str(g->name), name))
		g = g->next;
	return g;
}

static bool is_there(const struct database *db)
{
	return db->state != DATABASE_REMOVED;
}

struct database *database_find(const struct store *s, const struct group *g, struct span name)
{
	struct database *db = s->databases;

	while (db && !(db->group == g && is_there(db) && span_eq(span_str(db->name), name)))
		db = db->next;
	return db;
}

enum st database_name_read(struct span full, struct span *group,
			   char name[static DATABASE_NAME_MAX + 1], struct err *err)
{
	const char *slash = full.len ? memchr(full.at, '/', full.len) : NULL;
	struct span rest;

	if (!slash)
		return fail(err, ST_BAD, "'" SPAN_FMT "' is not of the form GROUP/NAME",
			    SPAN_ARG(full));
	*group = span_of(full.at, (size_t)(slash - full.at));
	rest = span_skip(full, group->len + 1);
	if (span_eq(rest, SPAN(DIRECTORY_NAME)) || (rest.len && memchr(rest.at, '/', rest.len)))
		snprintf(name, DATABASE_NAME_MAX + 1, SPAN_FMT, SPAN_ARG(rest));
	else
		snprintf(name, DATABASE_NAME_MAX + 1, "mailbox/" SPAN_FMT, SPAN_ARG(rest));
	return ST_OK;
}

enum st database_named(const struct store *s, struct span full, struct database **out,
		       struct err *err)
{
	char name[DATABASE_NAME_MAX + 1];
	struct span group;
	enum st st = database_name_read(full, &group, name, err);
	const struct group *g;

	if (st != ST_OK)
		return st;
	g = group_find(s, group);
	*out = g ? database_find(s, g, span_str(name)) : NULL;
	return *out ? ST_OK
		    : fail(err, ST_NOTFOUND, "there is no database '" SPAN_FMT "'", SPAN_ARG(full));
}

struct database *database_by_id(const struct store *s, uint64_t id)
{
	struct database *db = s->databases;

	while (db && !(db->id == id && is_there(db)))
		db = db->next;
	return db;
}

struct database *database_default(const struct store *s)
{
	const struct group *g = group_find(s, SPAN(FIRST_GROUP));

	return g ? database_find(s, g, SPAN(DEFAULT_NAME)) : NULL;
}

const char *database_state_name(int state)
{
	static const char *const names[] = { "up", "closing", "down", "failed", "removed" };

	return names[state];
}

void database_full_name(const struct database *db, struct buf *out)
{
	buf_printf(out, "%s/%s", db->group->name, db->name);
}

/* ---- using ---- */

static enum st not_up(struct database *db, struct err *err)
{
	return fail(err, ST_GONE, "the database %s/%s is %s; try again later", db->group->name,
		    db->name, database_state_name(db->state));
}

void database_reason(struct database *db, char *out, size_t room)
{
	struct ese_db_info info;

	ese_db_info(db->ese, &info);
	snprintf(out, room, "%s", info.reason);
}

enum st database_use(struct database *db, struct err *err)
{
	/* Counted first: who closes it looks at the count after the state. */
	db->uses++;
	if (db->state == DATABASE_UP)
		return ST_OK;
	database_release(db);
	return not_up(db, err);
}

void database_release(struct database *db)
{
	if (--db->uses == 0 && !database_is_up(db))
		database_stir(db);
}

struct database *database_of_row(const struct store *s, const struct plist *row)
{
	uint64_t id = plist_u64(row, PR_DATABASE_ID, 0);

	return id ? database_by_id(s, id) : database_default(s);
}

enum st database_of_mailbox(struct store *s, uint64_t mailbox, struct database **out,
			    struct err *err)
{
	struct ese_value row;
	struct plist l;
	struct key k;
	enum st st = ese_get(s->dir, key_dir_mailbox(&k, DIR_MAILBOX, mailbox), &row, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_NOTFOUND, "there is no mailbox %llu",
			    (unsigned long long)mailbox);
	if (st != ST_OK)
		return st;
	st = row_open(row.bytes, "a mailbox's place", &l, err);
	if (st == ST_OK) {
		*out = database_of_row(s, &l);
		st = *out ? database_use(*out, err)
			  : fail(err, ST_GONE,
				 "the database of mailbox %llu is not here; try again later",
				 (unsigned long long)mailbox);
	}
	ese_value_free(&row);
	return st;
}

/* ---- pins ---- */

struct database_pin {
	struct database_pin *prev, *next; /* of the mount */
	struct database *db;
	uint64_t id, mount;
};

struct database_pin *database_pin(struct database *db)
{
	struct database_pin *p = malloc(sizeof *p);

	if (!p)
		panic("out of memory");
	pthread_mutex_lock(&db->lock);
	*p = (struct database_pin){ .next = db->pins, .db = db, .mount = db->mount };
	p->id = ese_pin(db->ese);
	if (db->pins)
		db->pins->prev = p;
	db->pins = p;
	pthread_mutex_unlock(&db->lock);
	return p;
}

void database_unpin(struct database_pin *p)
{
	struct database *db = p->db;
	bool last;

	pthread_mutex_lock(&db->lock);
	if (p->mount == db->mount) {
		ese_unpin(db->ese, p->id);
		if (p->next)
			p->next->prev = p->prev;
		*(p->prev ? &p->prev->next : &db->pins) = p->next;
	} else {
		db->old_pins--;
	}
	last = !db->pins && !db->old_pins;
	pthread_mutex_unlock(&db->lock);
	if (last && !database_is_up(db))
		database_stir(db);
	free(p);
}

bool database_pinned(struct database *db)
{
	bool pinned;

	pthread_mutex_lock(&db->lock);
	pinned = db->pins || db->old_pins;
	pthread_mutex_unlock(&db->lock);
	return pinned;
}

void database_outlive_pins(struct database *db)
{
	pthread_mutex_lock(&db->lock);
	for (struct database_pin *p = db->pins; p; p = p->next) {
		ese_unpin(db->ese, p->id);
		db->old_pins++;
	}
	db->pins = NULL;
	db->mount++;
	pthread_mutex_unlock(&db->lock);
}

/* ---- who waits for it, on loop 0 ---- */

static void wake_waiter(void *arg)
{
	struct database *db = arg;

	if (db->waiter)
		fiber_wake(db->waiter);
}

void database_stir(struct database *db)
{
	loop_post(db->group->store->shards[0].loop, wake_waiter, db);
}

/* ---- opening ---- */

struct database *database_enter(struct group *g, struct ese_db *ese, struct err *err)
{
	struct store *s = g->store;
	struct database *db = calloc(1, sizeof *db);
	struct ese_db_info info;

	if (!db) {
		fail(err, ST_NOMEM, "out of memory");
		return NULL;
	}
	ese_db_info(ese, &info);
	snprintf(db->name, sizeof db->name, "%s", info.name);
	pthread_mutex_init(&db->lock, NULL);
	db->group = g;
	db->ese = ese;
	db->id = info.id;
	db->state = info.state == ESE_FAILED          ? DATABASE_FAILED
		    : info.state == ESE_UP && !s->ipc ? DATABASE_UP
						      : DATABASE_DOWN;
	db->tag = random_u64();
	db->next = s->databases;
	s->databases = db;
	return db;
}

/* Every database that is in the group already. */
static enum st enter_all(struct group *g, struct err *err)
{
	struct ese_db *found[ESE_DATABASES];
	unsigned n = ese_db_list(g->ese, found, ESE_DATABASES);

	while (n > 0)
		if (!database_enter(g, found[--n], err))
			return ST_NOMEM;
	return ST_OK;
}

bool group_name_ok(struct span name)
{
	bool ok = name.len > 0 && name.len <= GROUP_NAME_MAX;

	for (size_t i = 0; i < name.len && ok; i++)
		ok = memchr("abcdefghijklmnopqrstuvwxyz0123456789-_", name.at[i], 38) != NULL;
	return ok;
}

enum st group_open(struct store *s, const char *name, struct group **out, struct err *err)
{
	struct group *g = calloc(1, sizeof *g);
	char path[4400];
	enum st st;

	if (!g)
		return fail(err, ST_NOMEM, "out of memory");
	g->store = s;
	snprintf(g->name, sizeof g->name, "%s", name);
	snprintf(path, sizeof path, "%s/groups/%s", config_home(s->conf), name);
	st = ese_open(path, &s->ese_options, &g->ese, &g->why);
	if (st != ST_OK) {
		g->ese = NULL;
		g->why.st = st;
	}
	*out = g;
	return ST_OK;
}

enum st group_enter(struct group *g, struct err *err)
{
	struct store *s = g->store;

	g->next = s->groups;
	s->groups = g;
	return g->ese ? enter_all(g, err) : ST_OK;
}

static enum st add_group(struct store *s, const char *name, struct group **out, struct err *err)
{
	enum st st = group_open(s, name, out, err);

	return st == ST_OK ? group_enter(*out, err) : st;
}

static enum st open_or_make(struct group *g, const char *name, struct err *err)
{
	struct ese_db *ese;
	enum st st;

	if (database_find(g->store, g, span_str(name)))
		return ST_OK;
	st = ese_db_open(g->ese, name, true, &ese, err);
	if (st != ST_OK)
		return st;
	return database_enter(g, ese, err) ? ST_OK : ST_NOMEM;
}

static enum st is_new_home(struct store *s, bool *is_new, struct err *err)
{
	struct ese_value row;
	struct key k;
	enum st st = ese_get(s->dir, key_dir(&k, DIR_COUNTERS, SPAN_NONE), &row, err);

	*is_new = st == ST_NOTFOUND;
	if (st == ST_OK)
		ese_value_free(&row);
	return st == ST_NOTFOUND ? ST_OK : st;
}

/* The group of the directory: without it there is no store. */
static enum st open_first(struct store *s, struct err *err)
{
	struct group *g = NULL;
	struct database *dir;
	bool is_new;
	enum st st = add_group(s, FIRST_GROUP, &g, err);

	if (st != ST_OK)
		return st;
	if (!g->ese)
		return fail(err, g->why.st, "%s", g->why.text);
	st = open_or_make(g, DIRECTORY_NAME, err);
	if (st != ST_OK)
		return st;
	dir = database_find(s, g, SPAN(DIRECTORY_NAME));
	s->dir = dir->ese;
	st = is_new_home(s, &is_new, err); /* ST_GONE with the reason when it is not up */
	if (st == ST_OK && is_new)
		st = open_or_make(g, DEFAULT_NAME, err);
	if (st == ST_OK && is_new)
		st = upgrade_finished(database_find(s, g, SPAN(DEFAULT_NAME))->ese, err);
	return st;
}

static int is_group(const struct dirent *e)
{
	return group_name_ok(span_str(e->d_name)) && strcmp(e->d_name, FIRST_GROUP) != 0;
}

/* A group that can't be opened is one without databases, and says why. */
static enum st open_others(struct store *s, struct err *err)
{
	struct dirent **names = NULL;
	struct group *g;
	char path[4200];
	enum st st = ST_OK;
	int n;

	snprintf(path, sizeof path, "%s/groups", config_home(s->conf));
	n = scandir(path, &names, is_group, alphasort);
	if (n < 0)
		return fail_errno(err, "read the folder %s", path);
	for (int i = 0; i < n; i++) {
		if (st == ST_OK)
			st = add_group(s, names[i]->d_name, &g, err);
		free(names[i]);
	}
	free(names);
	return st;
}

enum st databases_open(struct store *s, const struct ese_options *o, struct err *err)
{
	enum st st;

	s->ese_options = *o;
	st = open_first(s, err);
	return st == ST_OK ? open_others(s, err) : st;
}

void databases_offer(struct store *s)
{
	for (struct database *db = s->databases; db; db = db->next)
		if (database_is_up(db) && db->ese != s->dir)
			exipc_server_offer_fd(s->ipc, db->tag, ese_db_stream_fd(db->ese));
}

void databases_close(struct store *s)
{
	for (struct group *g = s->groups, *next; g; g = next) {
		next = g->next;
		if (g->ese)
			ese_close(g->ese);
		free(g);
	}
	for (struct database *db = s->databases, *next; db; db = next) {
		next = db->next;
		pthread_mutex_destroy(&db->lock);
		free(db);
	}
	s->groups = NULL;
	s->databases = NULL;
}
