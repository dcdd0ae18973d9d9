/* offline.c - databases from outside, and their users; see offline.h. */
#include "store/offline.h"

#include "ese/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4200

/* ---- databases ---- */

enum st offline_new(struct offline **out, struct err *err)
{
	*out = calloc(1, sizeof **out);
	return *out ? ST_OK : fail(err, ST_NOMEM, "out of memory");
}

static bool more(void **list, size_t n, size_t size)
{
	void *bigger;

	/* Room doubles at each power of two. */
	if (n & (n - 1))
		return true;
	bigger = realloc(*list, (n ? n * 2 : 1) * size);
	if (bigger)
		*list = bigger;
	return bigger != NULL;
}

enum st offline_add(struct offline *o, const char *dir, const char *name, const char *edb,
		    const char *stm, struct err *err)
{
	struct offline_db *d;

	if (!more((void **)&o->dbs, o->ndbs, sizeof *o->dbs))
		return fail(err, ST_NOMEM, "out of memory");
	d = &o->dbs[o->ndbs++];
	*d = (struct offline_db){
		.dir = strdup(dir), .name = strdup(name), .edb = strdup(edb), .stm = strdup(stm)
	};
	if (!d->dir || !d->name || !d->edb || !d->stm)
		return fail(err, ST_NOMEM, "out of memory");
	d->head_st = look_open(name, edb, stm, &d->db, &d->why);
	if (d->head_st == ST_OK)
		d->head_st = look_head(d->db, &d->head, &d->why);
	return ST_OK;
}

enum st offline_add_open(struct offline *o, const char *name, struct ese_db *db, struct err *err)
{
	struct offline_db *d;

	if (!more((void **)&o->dbs, o->ndbs, sizeof *o->dbs))
		return fail(err, ST_NOMEM, "out of memory");
	d = &o->dbs[o->ndbs++];
	*d = (struct offline_db){
		.dir = strdup(""), .name = strdup(name), .db = db, .borrowed = true
	};
	return d->name && d->dir ? ST_OK : fail(err, ST_NOMEM, "out of memory");
}

void offline_close(struct offline *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->ndbs; i++) {
		struct offline_db *d = &o->dbs[i];

		if (!d->borrowed)
			look_close(d->db);
		free(d->dir);
		free(d->name);
		free(d->edb);
		free(d->stm);
	}
	for (size_t i = 0; i < o->nusers; i++) {
		free(o->users[i].name);
		free(o->users[i].display);
	}
	for (size_t i = 0; i < o->nlocks; i++)
		look_unlock(o->locks[i]);
	free(o->dbs);
	free(o->users);
	free(o->locks);
	free(o);
}

/* ---- finding them ---- */

struct finding_dbs {
	struct offline *o;
	const char *dir;
};

static enum st add_entry(void *arg, const struct look_entry *e, struct err *err)
{
	struct finding_dbs *f = arg;

	return offline_add(f->o, f->dir, e->name, e->edb, e->stm, err);
}

static enum st add_group(struct offline *o, const char *dir, struct err *err)
{
	struct finding_dbs f = { o, dir };
	enum st st;
	int lock;

	if (!more((void **)&o->locks, o->nlocks, sizeof *o->locks))
		return fail(err, ST_NOMEM, "out of memory");
	st = look_lock(dir, &lock, err);
	if (st != ST_OK)
		return st;
	o->locks[o->nlocks++] = lock;
	return look_list(dir, add_entry, &f, err);
}

static enum st group_of_entry(void *arg, const char *name, struct err *err)
{
	struct finding_dbs *f = arg;
	char path[PATH_ROOM];
	struct stat info;

	if (snprintf(path, sizeof path, "%s/%s", f->dir, name) >= (int)sizeof path ||
	    stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
		return ST_OK;
	return add_group(f->o, path, err);
}

enum st offline_open(const char *path, struct offline **out, struct err *err)
{
	char groups[PATH_ROOM];
	struct finding_dbs f = { .dir = path };
	enum st st = offline_new(&f.o, err);

	if (st != ST_OK)
		return st;
	snprintf(groups, sizeof groups, "%s/groups", path);
	if (access(groups, F_OK) == 0)
		f.dir = groups;
	else
		st = add_group(f.o, path, err);
	if (st == ST_OK && f.o->ndbs == 0)
		st = io_list(f.dir, group_of_entry, &f, err);
	if (st == ST_OK && f.o->ndbs == 0)
		st = fail(err, ST_NOTFOUND, "%s: there is no database in it", path);
	if (st == ST_OK)
		st = offline_load_users(f.o, err);
	if (st == ST_OK)
		*out = f.o;
	else
		offline_close(f.o);
	return st;
}

struct offline_db *offline_db_of(struct offline *o, uint64_t mailbox)
{
	for (size_t i = 0; i < o->ndbs; i++) {
		uint64_t found = mailbox - 1;

		if (o->dbs[i].db && offline_mailbox_next(o->dbs[i].db, &found, NULL) == ST_OK &&
		    found == mailbox)
			return &o->dbs[i];
	}
	return NULL;
}

/* ---- users ---- */

static enum st take_user(struct offline *o, struct span value, struct err *err)
{
	struct offline_user *u;
	struct span display;
	struct plist l;

	if (plist_open(&l, value.at, value.len, NULL) != ST_OK)
		return ST_OK;
	if (!more((void **)&o->users, o->nusers, sizeof *o->users))
		return fail(err, ST_NOMEM, "out of memory");
	u = &o->users[o->nusers++];
	display = plist_span(&l, PR_DISPLAY_NAME);
	*u = (struct offline_user){ .mailbox = plist_u64(&l, PR_MAILBOX_ID, 0),
				    .created = (int64_t)plist_u64(&l, PR_CREATION_TIME, 0),
				    .removed = (int64_t)plist_u64(&l, PR_DELETED_ON, 0),
				    .disabled = plist_bool(&l, PR_DISABLED, false),
				    .display =
					    strndup(display.len ? display.at : "", display.len) };
	display = plist_span(&l, PR_USER);
	u->name = strndup(display.len ? display.at : "",
			  display.len < NAME_BYTES_MAX ? display.len : NAME_BYTES_MAX);
	return u->name && u->display ? ST_OK : fail(err, ST_NOMEM, "out of memory");
}

static enum st users_of(struct offline *o, struct ese_db *db, enum dir_row kind, struct err *err)
{
	struct span key, value;
	struct look_rows *rows;
	struct key from, to;
	enum st st;

	key_dir(&to, kind, SPAN_NONE);
	st = look_rows_new(db, key_dir(&from, kind, SPAN_NONE), key_after(&to), &rows, err);
	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_OK)
			st = take_user(o, value, err);
		if (st == ST_NOMEM)
			break;
	}
	look_rows_free(rows);
	return st == ST_EOF ? ST_OK : st;
}

static int by_mailbox(const void *a, const void *b)
{
	uint64_t x = ((const struct offline_user *)a)->mailbox;
	uint64_t y = ((const struct offline_user *)b)->mailbox;

	return x < y ? -1 : x > y;
}

enum st offline_load_users(struct offline *o, struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < o->ndbs; i++) {
		if (!o->dbs[i].db)
			continue;
		st = users_of(o, o->dbs[i].db, DIR_USER, err);
		if (st == ST_OK)
			st = users_of(o, o->dbs[i].db, DIR_REMOVED, err);
	}
	if (o->nusers)
		qsort(o->users, o->nusers, sizeof *o->users, by_mailbox);
	return st;
}

const struct offline_user *offline_owner(const struct offline *o, uint64_t mailbox)
{
	struct offline_user wanted = { .mailbox = mailbox };

	return o->nusers ? bsearch(&wanted, o->users, o->nusers, sizeof wanted, by_mailbox) : NULL;
}

void offline_owner_name(const struct offline *o, uint64_t mailbox,
			char out[static NAME_BYTES_MAX + 1])
{
	const struct offline_user *u = offline_owner(o, mailbox);

	if (u)
		snprintf(out, NAME_BYTES_MAX + 1, "%s", u->name);
	else
		snprintf(out, NAME_BYTES_MAX + 1, "mailbox %llu", (unsigned long long)mailbox);
}

const struct offline_user *offline_user(const struct offline *o, const char *name)
{
	const struct offline_user *found = NULL;

	for (size_t i = 0; i < o->nusers; i++)
		if (!strcmp(o->users[i].name, name) && (!found || !o->users[i].removed))
			found = &o->users[i];
	return found;
}
