#include "store/database.h"

#include "store/rows.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

static enum st not_up(const struct database *db, struct err *err)
{
	return fail(err, ST_GONE, "the database %s/%s is %s; try again later", db->group->name,
		    db->name, database_state_name(db->state));
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
	db->uses--;
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
	struct database *db;
	uint64_t id, mount;
};

struct database_pin *database_pin(struct database *db)
{
	struct database_pin *p = malloc(sizeof *p);

	if (!p)
		panic("out of memory");
	pthread_mutex_lock(&db->lock);
	*p = (struct database_pin){ db, ese_pin(db->ese), db->mount };
	db->pins++;
	pthread_mutex_unlock(&db->lock);
	return p;
}

void database_unpin(struct database_pin *p)
{
	struct database *db = p->db;

	pthread_mutex_lock(&db->lock);
	if (p->mount == db->mount) {
		ese_unpin(db->ese, p->id);
		db->pins--;
	} else {
		db->old_pins--;
	}
	pthread_mutex_unlock(&db->lock);
	free(p);
}

/* ---- opening ---- */

static enum st add_database(struct store *s, struct group *g, const char *name, bool create,
			    struct database **out, struct err *err)
{
	struct database *db = calloc(1, sizeof *db);
	enum st st;

	if (!db)
		return fail(err, ST_NOMEM, "out of memory");
	snprintf(db->name, sizeof db->name, "%s", name);
	db->group = g;
	st = ese_db_open(g->ese, name, create, &db->ese, err);
	if (st != ST_OK) {
		free(db);
		return st;
	}
	pthread_mutex_init(&db->lock, NULL);
	db->id = ese_db_id(db->ese);
	db->tag = random_u64();
	db->next = s->databases;
	s->databases = db;
	*out = db;
	return ST_OK;
}

static enum st open_group(struct store *s, const char *name, const struct ese_options *o,
			  struct group **out, struct err *err)
{
	struct group *g = calloc(1, sizeof *g);
	char path[4400];

	if (!g)
		return fail(err, ST_NOMEM, "out of memory");
	snprintf(g->name, sizeof g->name, "%s", name);
	snprintf(path, sizeof path, "%s/groups/%s", config_home(s->conf), name);
	if (ese_open(path, o, &g->ese, &g->why) != ST_OK)
		g->ese = NULL;
	g->store = s;
	g->next = s->groups;
	s->groups = g;
	*out = g;
	return ST_OK;
}

static enum st open_first(struct store *s, const struct ese_options *o, struct err *err)
{
	struct database *dir, *first;
	struct ese_value row;
	struct group *g = NULL;
	struct key k;
	enum st st = open_group(s, FIRST_GROUP, o, &g, err);

	if (st != ST_OK)
		return st;
	if (!g->ese)
		return fail(err, g->why.st, "%s", g->why.text);
	st = add_database(s, g, DIRECTORY_NAME, true, &dir, err);
	if (st != ST_OK)
		return st;
	s->dir = dir->ese;
	st = ese_get(s->dir, key_dir(&k, DIR_COUNTERS, SPAN_NONE), &row, err);
	if (st == ST_OK)
		ese_value_free(&row);
	if (st != ST_OK && st != ST_NOTFOUND)
		return st;
	return add_database(s, g, DEFAULT_NAME, st == ST_NOTFOUND, &first, err);
}

enum st databases_open(struct store *s, const struct ese_options *o, struct err *err)
{
	return open_first(s, o, err);
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
