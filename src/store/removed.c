/* removed.c - mailboxes of users who were removed; see removed.h. */
#include "store/removed.h"

#include "store/keep.h"
#include "store/logon.h"

#include <stdlib.h>

bool removed_are_kept(const struct store *s)
{
	return s->keep_mailboxes_ns > 0 || s->keep_until_backup;
}

/* ---- on the mailbox's shard ---- */

struct parting {
	uint64_t mailbox;
	struct database *db;
	bool keep;
};

static void set_disconnected(struct shard *sh, uint64_t mailbox, bool is)
{
	struct mailbox *mb;

	/* One that can't be loaded now reads it from the directory when it can. */
	if (mailbox_get(sh, mailbox, &mb, NULL) != ST_OK)
		return;
	mb->disconnected = is;
	mailbox_put(mb);
}

static void part(struct shard *sh, void *arg)
{
	const struct parting *p = arg;

	logons_end_mailbox(sh, p->mailbox);
	if (p->keep)
		set_disconnected(sh, p->mailbox, true);
	else
		purge_start(sh, p->mailbox, p->db);
}

static void reconnect(struct shard *sh, void *arg)
{
	set_disconnected(sh, *(uint64_t *)arg, false);
}

/* ---- on loop 0 ---- */

enum st removed_take(struct directory *d, const struct user *u, bool keep, struct err *err)
{
	struct parting p = { .mailbox = u->mailbox, .keep = keep };
	struct store *s = d->store;
	struct user now;
	uint64_t place = 0;
	enum st st;

	fiber_lock(&d->lock);
	/* As it is by now: whoever was first has done it. */
	st = u->removed ? directory_removed(d, u->mailbox, &now, err)
			: directory_user(d, u->name, &now, err);
	if (st == ST_OK && now.mailbox != u->mailbox)
		st = fail(err, ST_NOTFOUND, "there is no user '%s'", u->name);
	if (st == ST_OK)
		st = directory_place(d, u->mailbox, &place, err);
	if (st == ST_OK)
		st = directory_user_remove(d, &now, keep, err);
	fiber_unlock(&d->lock);
	if (st != ST_OK)
		return st;
	p.db = place ? database_by_id(s, place) : database_default(s);
	return shard_call(shard_of(s, p.mailbox), part, &p, err);
}

enum st removed_give_back(struct directory *d, struct user *u, const char *name, struct err *err)
{
	enum st st;

	if (name != u->name)
		memcpy(u->name, name, strlen(name) + 1);
	st = directory_reconnect(d, u, err);
	if (st != ST_OK)
		return st;
	return shard_call(shard_of(d->store, u->mailbox), reconnect, &u->mailbox, err);
}

/* The first that has waited long enough, above *after.  ST_EOF: none. */
static enum st next_old(struct directory *d, uint64_t after, struct user *out, struct err *err)
{
	struct store *s = d->store;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_dir(&to, DIR_REMOVED, SPAN_NONE);
	st = ese_iter_new(s->dir, key_dir_mailbox(&from, DIR_REMOVED, after + 1), key_after(&to),
			  &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		struct plist l;

		st = row_open(value, "a user who was removed", &l, err);
		if (st != ST_OK)
			break;
		user_read(&l, out);
		if (out->removed < keep_limit(s, out->mailbox, s->keep_mailboxes_ns))
			break;
	}
	ese_iter_free(it);
	return st;
}

enum st removed_expire(struct directory *d, struct err *err)
{
	struct user u = { 0 };
	enum st st;

	while ((st = next_old(d, u.mailbox, &u, err)) == ST_OK) {
		st = removed_take(d, &u, false, err);
		if (st != ST_OK && st != ST_NOTFOUND)
			break;
	}
	return st == ST_EOF ? ST_OK : st;
}

/* ---- figures ---- */

static enum st add_folders(struct ese_db *db, uint64_t mailbox, struct box_figures *out,
			   struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_box(&to, mailbox, BOX_FIGURES);
	st = ese_iter_new(db, key_box(&from, mailbox, BOX_FIGURES), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK) {
		struct figures f;

		st = figures_read(value, &f, err);
		if (st != ST_OK)
			break;
		out->messages += f.count;
		out->bytes += f.size;
	}
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

enum st box_figures(struct store *s, uint64_t mailbox, struct box_figures *out, struct err *err)
{
	struct database *db;
	struct ese_value row;
	struct key k;
	enum st st = database_of_mailbox(s, mailbox, &db, err);

	*out = (struct box_figures){ 0 };
	if (st != ST_OK)
		return st;
	st = add_folders(db->ese, mailbox, out, err);
	if (st == ST_OK)
		st = ese_get(db->ese, key_box(&k, mailbox, BOX_KEPT_FIGURES), &row, err);
	if (st == ST_OK) {
		st = kept_figures_read(row.bytes, &out->kept, err);
		ese_value_free(&row);
	}
	database_release(db);
	return st == ST_NOTFOUND ? ST_OK : st;
}

/* ---- all of them ---- */

struct gather {
	struct store *store;
	enum dir_row kind;
	const char *only;
	struct boxes *out;
	enum st st;
	struct err err;
};

static enum st gather_one(struct gather *g, const struct plist *row)
{
	struct boxes *b = g->out;
	struct box *at = b->at;
	struct err ignored; /* one whose database is down is there, and nobody knows how large */

	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 16;
		at = realloc(b->at, b->cap * sizeof *at);
		if (!at)
			return fail(&g->err, ST_NOMEM, "out of memory");
		b->at = at;
	}
	at += b->n++;
	user_read(row, &at->user);
	at->down = box_figures(g->store, at->user.mailbox, &at->figures, &ignored) != ST_OK;
	return ST_OK;
}

/* On a pool thread. */
static void gather_run(void *arg)
{
	struct gather *g = arg;
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	struct plist l;

	key_dir(&from, g->kind, g->only ? span_str(g->only) : SPAN_NONE);
	to = from;
	g->st = ese_iter_new(g->store->dir, span_of(from.at, from.len), key_after(&to), &it,
			     &g->err);
	if (g->st != ST_OK)
		return;
	while (g->st == ST_OK && (g->st = ese_iter_next(it, &key, &value, &g->err)) == ST_OK) {
		if (g->only && key.len != from.len) /* a longer name */
			continue;
		g->st = row_open(value, "a user", &l, &g->err);
		if (g->st == ST_OK)
			g->st = gather_one(g, &l);
	}
	ese_iter_free(it);
	if (g->st == ST_EOF)
		g->st = ST_OK;
}

enum st boxes_gather(struct store *s, enum dir_row kind, const char *only, struct boxes *out,
		     struct err *err)
{
	struct gather g = { .store = s, .kind = kind, .only = only, .out = out };

	*out = (struct boxes){ 0 };
	work_run(gather_run, &g);
	if (g.st == ST_OK)
		return ST_OK;
	free(out->at);
	return fail(err, g.st, "%s", g.err.text);
}
