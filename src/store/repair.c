/* repair.c - all databases of a home into a new one; see repair.h. */
#include "store/repair_int.h"

#include "ese/io.h"
#include "store/database.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 4200
#define PARTS_MAX 128

struct group_to {
	char dir[PATH_ROOM]; /* of the source */
	char name[GROUP_NAME_MAX + 1];
	struct ese *ese;
	int lock;
};

struct all {
	struct repair *r;
	struct group_to *groups;
	size_t ngroups, now; /* now: the one whose databases are being found */
	struct part parts[PARTS_MAX];
	char *names[PARTS_MAX];
	size_t group_of[PARTS_MAX];
	size_t nparts;
	struct offline *o;
	struct repair_dir dir;
	struct out dir_out; /* the new directory's */
	bool dir_open;
};

void repair_tell(struct repair *r, struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
	r->found(r->arg, f);
}

/* ---- what there is ---- */

static enum st add_group(struct all *a, const char *dir, const char *name, struct err *err)
{
	struct group_to *more = realloc(a->groups, (a->ngroups + 1) * sizeof *more), *g;

	if (!more)
		return fail(err, ST_NOMEM, "out of memory");
	a->groups = more;
	g = &more[a->ngroups];
	*g = (struct group_to){ .lock = -1 };
	if (snprintf(g->dir, sizeof g->dir, "%s", dir) >= (int)sizeof g->dir ||
	    snprintf(g->name, sizeof g->name, "%s", name) >= (int)sizeof g->name)
		return fail(err, ST_TOOBIG, "%s: the name is too long", dir);
	a->ngroups++;
	return look_lock(dir, &g->lock, err);
}

struct listing {
	struct all *a;
	const char *dir;
};

static enum st add_folder(void *arg, const char *name, struct err *err)
{
	struct listing *l = arg;
	char path[PATH_ROOM];
	struct stat info;

	if (snprintf(path, sizeof path, "%s/%s", l->dir, name) >= (int)sizeof path ||
	    stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
		return ST_OK;
	return add_group(l->a, path, name, err);
}

static enum st find_groups(struct all *a, struct err *err)
{
	char groups[PATH_ROOM];
	struct listing l = { .a = a, .dir = groups };

	snprintf(groups, sizeof groups, "%s/groups", a->r->source);
	if (access(groups, F_OK) == 0)
		return io_list(groups, add_folder, &l, err);
	return add_group(a, a->r->source, FIRST_GROUP, err);
}

/* ---- databases ---- */

static void progress(void *arg, const char *what, uint64_t done)
{
	struct repair *r = arg;

	if (r->progress)
		r->progress(r->arg, what, done);
}

static void found(void *arg, const struct finding *f)
{
	struct repair *r = arg;

	r->found(r->arg, f);
}

static enum st add_part(void *arg, const struct look_entry *e, struct err *err)
{
	struct all *a = arg;
	size_t group = a->now;
	char scratch[PATH_ROOM];
	struct part *p = &a->parts[a->nparts];
	struct salvage_source src = { .name = e->name,
				      .log = a->groups[group].dir,
				      .edb = e->edb,
				      .stm = e->stm,
				      .scratch = scratch,
				      .found = found,
				      .progress = progress,
				      .arg = a->r };
	enum st st;

	if (a->nparts == PARTS_MAX)
		return fail(err, ST_TOOBIG, "there are over %d databases", PARTS_MAX);
	snprintf(scratch, sizeof scratch, "%s/.scratch-%zu", a->r->to, a->nparts);
	src.tell_log = a->nparts == 0 || a->group_of[a->nparts - 1] != group;
	a->names[a->nparts] = strdup(e->name);
	if (!a->names[a->nparts])
		return fail(err, ST_NOMEM, "out of memory");
	a->group_of[a->nparts] = group;
	*p = (struct part){ .r = a->r, .name = a->names[a->nparts] };
	a->nparts++;
	st = salvage_open(&src, &p->from, err);
	if (st == ST_OK)
		st = offline_add_open(a->o, p->name, salvage_db(p->from), err);
	a->r->databases++;
	return st;
}

static enum st open_group(struct all *a, struct group_to *g, struct err *err)
{
	struct ese_options o = { .reserve_bytes = 1, .broken = a->r->broken, .arg = a->r->arg };
	char path[PATH_ROOM];

	snprintf(path, sizeof path, "%s/%s", a->r->to, g->name);
	return ese_open(path, &o, &g->ese, err);
}

static enum st open_part(struct all *a, size_t i, struct err *err)
{
	struct part *p = &a->parts[i];
	struct repair_id *more = realloc(a->dir.ids, (a->dir.nids + 1) * sizeof *more);
	enum st st;

	if (!more)
		return fail(err, ST_NOMEM, "out of memory");
	a->dir.ids = more;
	p->o = a->o;
	p->group = a->groups[a->group_of[i]].ese;
	st = ese_db_open(p->group, p->name, true, &p->to, err);
	if (st != ST_OK)
		return st;
	more[a->dir.nids++] = (struct repair_id){ salvage_id(p->from), ese_db_id(p->to) };
	out_begin(&p->out, p->group, p->to);
	return ST_OK;
}

static enum st open_all(struct all *a, struct err *err)
{
	enum st st = offline_new(&a->o, err);

	for (a->now = 0; st == ST_OK && a->now < a->ngroups; a->now++)
		st = look_list(a->groups[a->now].dir, add_part, a, err);
	if (st == ST_OK && a->nparts == 0)
		st = fail(err, ST_NOTFOUND, "%s: there is no database in it", a->r->source);
	if (st == ST_OK)
		st = offline_load_users(a->o, err);
	for (size_t i = 0; st == ST_OK && i < a->ngroups; i++)
		st = open_group(a, &a->groups[i], err);
	for (size_t i = 0; st == ST_OK && i < a->nparts; i++)
		st = open_part(a, i, err);
	return st;
}

/* ---- writing ---- */

static enum st open_directory(struct all *a, struct err *err)
{
	struct group_to *g = &a->groups[0];
	struct ese_db *db;
	enum st st;

	for (size_t i = 0; i < a->ngroups; i++)
		if (!strcmp(a->groups[i].name, FIRST_GROUP))
			g = &a->groups[i];
	st = ese_db_open(g->ese, DIRECTORY_NAME, true, &db, err);
	if (st == ST_OK)
		out_begin(&a->dir_out, g->ese, db);
	a->dir_open = st == ST_OK;
	return st;
}

/* Rows that a move left behind: the mailbox is in the database that the directory says. */
static bool is_elsewhere(struct all *a, const struct part *here, uint64_t mailbox)
{
	uint64_t place = repair_dir_place(&a->dir, mailbox), other = mailbox - 1;

	for (size_t i = 0; i < a->nparts; i++)
		if (&a->parts[i] != here && ese_db_id(a->parts[i].to) == place)
			return offline_mailbox_next(salvage_db(a->parts[i].from), &other, NULL) ==
				       ST_OK &&
			       other == mailbox;
	return false;
}

static enum st write_mailboxes(struct all *a, struct part *p, struct err *err)
{
	uint64_t mailbox = 0;
	enum st st;

	while ((st = offline_mailbox_next(salvage_db(p->from), &mailbox, err)) == ST_OK ||
	       st == ST_CORRUPT) {
		if (st == ST_CORRUPT || repair_dir_is_gone(&a->dir, mailbox) ||
		    is_elsewhere(a, p, mailbox))
			continue;
		if (!repair_dir_mailbox(&a->dir, mailbox, ese_db_id(p->to)))
			return fail(err, ST_NOMEM, "out of memory");
		st = repair_mailbox(p, mailbox, err);
		if (st != ST_OK)
			return st;
	}
	return st == ST_EOF ? ST_OK : st;
}

static enum st write_all(struct all *a, struct err *err)
{
	enum st st = open_directory(a, err);

	for (size_t i = 0; st == ST_OK && i < a->nparts; i++)
		st = repair_dir_rows(&a->dir, salvage_db(a->parts[i].from), &a->dir_out, err);
	for (size_t i = 0; st == ST_OK && i < a->nparts; i++)
		st = write_mailboxes(a, &a->parts[i], err);
	return st == ST_OK ? repair_dir_end(&a->dir, &a->dir_out, err) : st;
}

static void close_all(struct all *a)
{
	if (a->dir_open)
		out_free(&a->dir_out);
	for (size_t i = 0; i < a->nparts; i++) {
		bodies_free(&a->parts[i]);
		if (a->parts[i].to)
			out_free(&a->parts[i].out);
	}
	offline_close(a->o);
	for (size_t i = 0; i < a->nparts; i++) {
		salvage_close(a->parts[i].from);
		free(a->names[i]);
	}
	for (size_t i = 0; i < a->ngroups; i++) {
		ese_close(a->groups[i].ese);
		look_unlock(a->groups[i].lock);
	}
	repair_dir_free(&a->dir);
	free(a->dir.ids);
	free(a->groups);
	free(a);
}

enum st repair_source(const char *source, struct err *err)
{
	struct repair r = { .source = source };
	struct all *a = calloc(1, sizeof *a);
	enum st st;

	if (!a)
		return fail(err, ST_NOMEM, "out of memory");
	a->r = &r;
	st = find_groups(a, err);
	close_all(a);
	return st;
}

enum st store_repair(struct repair *r, struct err *err)
{
	struct all *a = calloc(1, sizeof *a);
	enum st st;

	if (!a)
		return fail(err, ST_NOMEM, "out of memory");
	a->r = a->dir.r = r;
	st = find_groups(a, err);
	if (st == ST_OK)
		st = open_all(a, err);
	if (st == ST_OK)
		st = write_all(a, err);
	close_all(a);
	return st;
}
