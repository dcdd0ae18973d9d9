/* upgrade.c - see upgrade.h. */
#include "store/upgrade.h"

#include "ese/io.h"
#include "ese/look.h"
#include "store/database.h"
#include "store/rows.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_BYTES (256u * 1024)
#define PATH_BYTES  4096

/* All keys of the directory. */
#define DIR_FROM SPAN("\x10")
#define DIR_TO   SPAN("\x11")

/* ---- commits that are waited for ---- */

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void commit_done(void *arg)
{
	struct waiting *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static enum st commit(struct ese_batch *b, struct err *err)
{
	struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
	enum st st = ese_commit(b, commit_done, &w, err);

	if (st != ST_OK)
		return st;
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	return ST_OK;
}

/* ---- the directory's rows ---- */

static bool is_counters(struct span key)
{
	return key.len == 2 && key.at[1] == DIR_COUNTERS;
}

/* Rows from `it` until one batch is full, copied to `to`, or deleted when `to` is where they are; the counters are
 * left out: they come last and say that the others are there.  ST_EOF: those were the last. */
static enum st one_batch(struct ese_iter *it, struct ese_db *to, bool delete, struct err *err)
{
	struct span key, value;
	struct ese_batch *b;
	enum st st = ese_batch_new(to, 0, &b, err), committed;

	if (st != ST_OK)
		return st;
	while (ese_batch_bytes(b) < BATCH_BYTES &&
	       (st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		if (delete)
			ese_delete(b, key);
		else if (!is_counters(key))
			ese_put(b, key, value);
	}
	if (st != ST_OK && st != ST_EOF) {
		ese_batch_free(b);
		return st;
	}
	committed = commit(b, err);
	return committed == ST_OK ? st : committed;
}

static enum st all_batches(struct ese_db *from, struct ese_db *to, bool delete, struct err *err)
{
	struct ese_iter *it;
	enum st st = ese_iter_new(from, DIR_FROM, DIR_TO, &it, err);

	if (st != ST_OK)
		return st;
	do
		st = one_batch(it, to, delete, err);
	while (st == ST_OK);
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

static enum st copy_counters(struct ese_db *from, struct ese_db *to, struct err *err)
{
	struct ese_value v;
	struct ese_batch *b;
	struct key k;
	struct span key = key_dir(&k, DIR_COUNTERS, SPAN_NONE);
	enum st st = ese_get(from, key, &v, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_CORRUPT, "the directory has no row of its counters");
	if (st != ST_OK)
		return st;
	st = ese_batch_new(to, 0, &b, err);
	if (st == ST_OK) {
		ese_put(b, key, v.bytes);
		st = commit(b, err);
	}
	ese_value_free(&v);
	return st;
}

static enum st has_counters(struct ese_db *db, bool *out, struct err *err)
{
	struct ese_value v;
	struct key k;
	enum st st = ese_get(db, key_dir(&k, DIR_COUNTERS, SPAN_NONE), &v, err);

	*out = st == ST_OK;
	if (st == ST_OK)
		ese_value_free(&v);
	return st == ST_NOTFOUND ? ST_OK : st;
}

static enum st has_rows(struct ese_db *db, bool *out, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	enum st st = ese_iter_new(db, DIR_FROM, DIR_TO, &it, err);

	if (st != ST_OK)
		return st;
	st = ese_iter_next(it, &key, &value, err);
	ese_iter_free(it);
	*out = st == ST_OK;
	return st == ST_EOF ? ST_OK : st;
}

enum st upgrade_finished(struct ese_db *first, struct err *err)
{
	bool has;
	enum st st = has_rows(first, &has, err);

	if (st == ST_OK && has)
		st = fail(err, ST_BAD,
			  "the directory is still in " DEFAULT_NAME ", where an older version of "
			  "mailroot kept it; run: mailroot ese upgrade");
	return st;
}

/* Copied whole before the first one is deleted; once the counters are there nothing is copied any more, since the
 * store may have changed rows in their new place. */
static enum st move_directory(void *arg, struct ese *g, struct err *err)
{
	struct ese_db *from, *to;
	bool has, copied;
	enum st st = ese_db_open(g, DEFAULT_NAME, false, &from, err);

	(void)arg;
	if (st == ST_OK)
		st = has_rows(from, &has, err);
	if (st != ST_OK || !has)
		return st == ST_NOTFOUND ? ST_OK : st;
	st = ese_db_open(g, DIRECTORY_NAME, true, &to, err);
	if (st == ST_OK)
		st = has_counters(to, &copied, err);
	if (st == ST_OK && !copied) {
		st = all_batches(from, to, false, err);
		if (st == ST_OK)
			st = copy_counters(from, to, err);
	}
	return st == ST_OK ? all_batches(from, from, true, err) : st;
}

/* ---- what is there ---- */

static enum st count_rows(const char *dir, uint64_t *out, struct err *err)
{
	char edb[PATH_BYTES + 64];
	struct look_rows *rows;
	struct span key, value;
	struct ese_db *db;
	enum st st;

	*out = 0;
	snprintf(edb, sizeof edb, "%s/" DEFAULT_NAME ".edb", dir);
	if (access(edb, F_OK) < 0)
		return ST_OK;
	st = look_open(DEFAULT_NAME, edb, NULL, &db, err);
	if (st != ST_OK)
		return st;
	st = look_rows_new(db, DIR_FROM, DIR_TO, &rows, err);
	if (st == ST_OK) {
		while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK)
			++*out;
		look_rows_free(rows);
	}
	look_close(db);
	return st == ST_EOF ? ST_OK : st;
}

struct names {
	char (*at)[GROUP_NAME_MAX + 1];
	size_t n;
};

static enum st add_name(void *arg, const char *entry, struct err *err)
{
	struct names *l = arg;
	void *more;

	if (entry[0] == '.' || strlen(entry) > GROUP_NAME_MAX)
		return ST_OK;
	more = realloc(l->at, (l->n + 1) * sizeof *l->at);
	if (!more)
		return fail(err, ST_NOMEM, "out of memory");
	l->at = more;
	snprintf(l->at[l->n++], sizeof *l->at, "%s", entry);
	return ST_OK;
}

/* Two times over the groups: whatever can't be read or is too new is known before anything is changed. */
static enum st one_group(struct store_upgrade *u, const char *name, bool change, struct err *err)
{
	bool first = strcmp(name, FIRST_GROUP) == 0;
	char dir[PATH_BYTES];
	struct ese_survey s;
	uint64_t rows = 0;
	enum st st;

	if (snprintf(dir, sizeof dir, "%s/groups/%s", u->home, name) >= (int)sizeof dir)
		return fail(err, ST_TOOBIG, "%.100s...: path too long", u->home);
	st = ese_survey(dir, &s, err);
	if (st == ST_OK && first)
		st = count_rows(dir, &rows, err);
	if (st != ST_OK)
		return st;
	if (change)
		return ese_is_old(&s) || rows
			       ? ese_upgrade(dir, first ? move_directory : NULL, NULL, err)
			       : ST_OK;
	u->groups++;
	u->old += ese_is_old(&s) || rows;
	u->rows += rows;
	if (u->group)
		u->group(u->arg, name, &s, rows);
	return ST_OK;
}

enum st store_upgrade(struct store_upgrade *u, struct err *err)
{
	struct names l = { 0 };
	char all[PATH_BYTES];
	enum st st;

	u->groups = u->old = 0;
	u->rows = 0;
	snprintf(all, sizeof all, "%s/groups", u->home);
	st = io_list(all, add_name, &l, err);
	for (size_t i = 0; st == ST_OK && i < l.n; i++)
		st = one_group(u, l.at[i], false, err);
	for (size_t i = 0; st == ST_OK && i < l.n && !u->dry_run; i++)
		st = one_group(u, l.at[i], true, err);
	free(l.at);
	return st;
}
