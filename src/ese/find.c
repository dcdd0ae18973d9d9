/* find.c - which databases a group has: what its folder holds and what its checkpoint names.
 *
 * Before the engine's threads run.  Whatever is wrong with one database fails that one. */
#include "ese/ese_int.h"

#include "ese/io.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct walk {
	struct ese *g;
	const struct checkpoint *cp;
	char under[ESE_NAME_MAX + 2]; /* "" or "mailbox/" */
};

static const struct checkpoint_db *in_slot(const struct checkpoint *cp, const char *name)
{
	for (uint32_t i = 0; i < cp->ndbs; i++)
		if (strcmp(cp->dbs[i].name, name) == 0)
			return &cp->dbs[i];
	return NULL;
}

/* Open it and see whose it is; the caller tells the world. */
static enum st look_inside(struct ese_db *db, const struct checkpoint_db *slot, struct err *err)
{
	struct ese_db *other;
	enum st st = db_open_files(db, slot ? slot->position : 0, err);

	if (st != ST_OK)
		return st;
	other = db_by_number(db->g, db->number);
	if (slot && slot->id && slot->id != db->id)
		return fail(err, ST_CORRUPT,
			    "%s.edb is another database than the one that the checkpoint knows",
			    db->name);
	if (other != db)
		return fail(err, ST_CORRUPT, "databases %s and %s have the same id", db->name,
			    other->name);
	return ST_OK;
}

static void set_down(struct ese_db *db, const char *why)
{
	db_close_files(db);
	snprintf(db->last.reason, sizeof(db->last.reason), "%s", why);
	db->state = ESE_DOWN;
}

/* What the checkpoint knows, before the files have their say. */
static void from_slot(struct ese_db *db, const struct checkpoint_db *slot)
{
	db->id = slot->id;
	db->number = (uint32_t)slot->id;
	db->safe = slot->position;
	db->holds = slot->state != ESE_DOWN;
	if (slot->state == ESE_DOWN)
		db->until = slot->position;
}

static bool has_files(const struct ese_db *db)
{
	char path[SEG_PATH_MAX];

	db_path(path, db->g, db->name, ".edb");
	if (access(path, F_OK) < 0)
		return false;
	db_path(path, db->g, db->name, ".stm");
	return access(path, F_OK) == 0;
}

/* NAME.edb is in the folder, or the slot names it. */
static enum st add(struct ese *g, const struct checkpoint *cp, const char *name, struct err *err)
{
	const struct checkpoint_db *slot = in_slot(cp, name);
	struct ese_db *db = db_new(g, name);
	struct err why = { 0 };
	enum st st;

	if (!db)
		return fail(err, ST_NOMEM, "open database %s", name);
	if (slot)
		from_slot(db, slot);
	if (slot && slot->state == ESE_DOWN && has_files(db)) {
		db_list_add(g, db);
		db->state = ESE_DOWN;
		return ST_OK;
	}
	db_list_add(g, db);
	st = look_inside(db, slot, &why);
	if (st == ST_NOMEM) {
		if (err)
			*err = why;
		return st;
	}
	if (db->given) {
		set_down(db, st == ST_OK
				     ? "it was given away: mount it to have it here, or move it on"
				     : why.text);
		db->holds = false;
	} else if (st != ST_OK) {
		/* Without a checkpoint nobody knows from where on an unreadable one needs the log. */
		db->holds = db->holds || db->safe != 0 || cp->number == 0;
		db_fail(db, &why);
	} else {
		db->live = true;
	}
	return ST_OK;
}

static bool ends(const char *entry, const char *end, size_t *stem)
{
	size_t n = strlen(entry), m = strlen(end);

	if (n <= m || strcmp(entry + n - m, end) != 0)
		return false;
	*stem = n - m;
	return true;
}

static enum st walk_entry(void *arg, const char *entry, struct err *err)
{
	struct walk *w = arg;
	char name[ESE_NAME_MAX + 1], path[SEG_PATH_MAX];
	struct walk below = { .g = w->g, .cp = w->cp };
	struct stat info;
	size_t stem;

	if (snprintf(name, sizeof(name), "%s%s", w->under, entry) >= (int)sizeof(name))
		return ST_OK;
	db_path(path, w->g, name, "");
	if (ends(entry, ".stm.gone", &stem))
		return io_unlink(path, err);
	if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
		return ST_OK;
	if (ends(entry, ".new", &stem) || ends(entry, ".snap", &stem) ||
	    ends(entry, ".edb.gone", &stem))
		return db_remove_folder(path, err);
	if (ends(entry, ".edb", &stem)) {
		if (w->g->fresh)
			return fail(err, ST_CORRUPT,
				    "%s: database %s is there, but its log is missing; put the log "
				    "files back, or run: mailroot ese repair",
				    w->g->dir, name);
		name[strlen(name) - 4] = '\0';
		return add(w->g, w->cp, name, err);
	}
	if (w->under[0] != '\0')
		return ST_OK;
	if (snprintf(below.under, sizeof(below.under), "%s/", entry) >= (int)sizeof(below.under))
		return ST_OK;
	return io_list(path, walk_entry, &below, err);
}

enum st find_databases(struct ese *g, const struct checkpoint *cp, struct err *err)
{
	struct walk w = { .g = g, .cp = cp };
	enum st st = io_list(g->dir, walk_entry, &w, err);

	for (uint32_t i = 0; st == ST_OK && i < cp->ndbs; i++)
		if (!db_by_name(g, cp->dbs[i].name))
			st = add(g, cp, cp->dbs[i].name, err);
	return st;
}
