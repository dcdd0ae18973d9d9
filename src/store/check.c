/* check.c - all of a home or a copy: logs, databases, directory; see check.h. */
#include "store/check.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- telling ---- */

static void pass_on(void *arg, const struct finding *f)
{
	struct store_check *c = arg;

	if (finding_rows[f->kind].severity == FOUND_DAMAGE)
		c->found_damage++;
	else
		c->found_notes++;
	c->found(c->arg, f);
}

void check_tell(struct store_check *c, struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
	pass_on(c, f);
}

static void pages_read(void *arg, uint64_t done, uint64_t total)
{
	struct store_check *c = arg;

	if (c->progress)
		c->progress(c->arg, "pages", done, total);
}

static void log_read(void *arg, uint64_t bytes)
{
	struct store_check *c = arg;

	if (c->progress)
		c->progress(c->arg, "log bytes", bytes, 0);
}

/* ---- directory ---- */

static int by_mailbox(const void *a, const void *b)
{
	uint64_t x = ((const struct check_owner *)a)->mailbox;
	uint64_t y = ((const struct check_owner *)b)->mailbox;

	return x < y ? -1 : x > y;
}

/* What one row says of a mailbox; rows of the same one are joined afterwards. */
static enum st add_owner(struct check_directory *d, const struct check_owner *o, struct err *err)
{
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 256;
		void *owners = realloc(d->owners, cap * sizeof *d->owners);

		if (!owners)
			return fail(err, ST_NOMEM, "out of memory");
		d->owners = owners;
		d->cap = cap;
	}
	d->owners[d->n++] = *o;
	return ST_OK;
}

static void join_owners(struct check_directory *d)
{
	size_t n = 0;

	if (d->n)
		qsort(d->owners, d->n, sizeof *d->owners, by_mailbox);
	for (size_t i = 0; i < d->n; i++) {
		struct check_owner *last = n ? &d->owners[n - 1] : NULL;

		if (last && last->mailbox == d->owners[i].mailbox) {
			last->has_user |= d->owners[i].has_user;
			last->has_row |= d->owners[i].has_row;
			last->purged |= d->owners[i].purged;
			last->kept |= d->owners[i].kept;
			last->moving |= d->owners[i].moving;
			if (d->owners[i].database)
				last->database = d->owners[i].database;
		} else {
			d->owners[n++] = d->owners[i];
		}
	}
	d->n = n;
}

static enum st directory_row(struct store_check *c, struct check_directory *d, const char *database,
			     struct span key, struct span value, struct err *err)
{
	struct finding f = { .kind = FOUND_DIR_ROW, .database = database };
	char kind = key.len > 1 ? key.at[1] : 0;
	struct span name = span_skip(key, 2);
	bool of_mailbox =
		kind == DIR_MAILBOX || kind == DIR_PURGE || kind == DIR_REMOVED || kind == DIR_MOVE;
	struct plist l;

	c->rows++;
	if (plist_open(&l, value.at, value.len, NULL) != ST_OK || (of_mailbox && name.len != 8) ||
	    (kind == DIR_USER && !span_eq(plist_span(&l, PR_USER), name))) {
		if (of_mailbox)
			check_tell(c, &f, "the directory's row of mailbox %llu is damaged",
				   (unsigned long long)key_tail_u64(key));
		else
			check_tell(c, &f, "the directory's row '%c' of " SPAN_FMT " is damaged",
				   kind > ' ' && kind < 0x7f ? kind : '?', SPAN_ARG(name));
		return ST_OK;
	}
	if (kind == DIR_USER)
		return add_owner(d,
				 &(struct check_owner){ .mailbox = plist_u64(&l, PR_MAILBOX_ID, 0),
							.has_user = true },
				 err);
	if (of_mailbox)
		return add_owner(d,
				 &(struct check_owner){
					 .mailbox = key_tail_u64(key),
					 .has_row = kind == DIR_MAILBOX,
					 .kept = kind == DIR_REMOVED,
					 .purged = kind == DIR_PURGE,
					 .moving = kind == DIR_MOVE,
					 .database = kind == DIR_MAILBOX
							     ? plist_u64(&l, PR_DATABASE_ID, 0)
							     : 0 },
				 err);
	return ST_OK;
}

static enum st directory_rows(struct store_check *c, struct check_directory *d,
			      const struct offline_db *o, struct err *err)
{
	struct finding f = { .kind = FOUND_ROWS_UNREADABLE, .database = o->name };
	struct span key, value;
	struct look_rows *rows;
	enum st st = look_rows_new(o->db, SPAN("\x10"), SPAN("\x20"), &rows, err);

	if (st != ST_OK)
		return st;
	while ((st = look_rows_next(rows, &key, &value, err)) == ST_OK || st == ST_CORRUPT) {
		if (st == ST_CORRUPT) {
			d->incomplete = true;
			check_tell(c, &f,
				   "database %s: rows of the directory can't be read: %.200s",
				   o->name, err ? err->text : "");
			continue;
		}
		st = directory_row(c, d, o->name, key, value, err);
		if (st != ST_OK)
			break;
	}
	look_rows_free(rows);
	return st == ST_EOF ? ST_OK : st;
}

static void judge_owners(struct store_check *c, const struct check_directory *d)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct check_owner *o = &d->owners[i];
		char name[NAME_BYTES_MAX + 1];
		struct finding f = { .kind = FOUND_USER_NO_MAILBOX, .user = name };

		offline_owner_name(c->o, o->mailbox, name);
		if (o->has_user && !o->has_row)
			check_tell(c, &f, "user %s: mailbox %llu does not name its user", name,
				   (unsigned long long)o->mailbox);
		if (o->has_row && !o->has_user && !o->purged && !o->kept)
			check_tell(c, &f, "mailbox %llu names a user who is not there",
				   (unsigned long long)o->mailbox);
	}
}

enum st check_directory(struct store_check *c, struct check_directory *out, struct err *err)
{
	enum st st = ST_OK;

	*out = (struct check_directory){ 0 };
	for (size_t i = 0; st == ST_OK && i < c->o->ndbs; i++) {
		if (c->o->dbs[i].db)
			st = directory_rows(c, out, &c->o->dbs[i], err);
		else
			out->incomplete = true;
	}
	join_owners(out);
	if (st == ST_OK && !out->incomplete)
		judge_owners(c, out);
	return st;
}

/* ---- logs ---- */

struct group_heads {
	struct look_head *heads;
	const char **names;
	const struct offline_db **dbs;
	size_t n;
};

static enum st collect(struct store_check *c, const char *dir, struct group_heads *out,
		       struct err *err)
{
	size_t n = c->o->ndbs + 1;

	*out = (struct group_heads){ .heads = calloc(n, sizeof *out->heads),
				     .names = calloc(n, sizeof *out->names),
				     .dbs = calloc(n, sizeof *out->dbs) };
	if (!out->heads || !out->names || !out->dbs)
		return fail(err, ST_NOMEM, "out of memory");
	for (size_t i = 0; i < c->o->ndbs; i++) {
		const struct offline_db *d = &c->o->dbs[i];

		if (strcmp(d->dir, dir) || !d->db || d->head_st != ST_OK)
			continue;
		out->heads[out->n] = d->head;
		out->names[out->n] = d->name;
		out->dbs[out->n++] = d;
	}
	return ST_OK;
}

static void heads_free(struct group_heads *h)
{
	free(h->heads);
	free(h->names);
	free(h->dbs);
}

/* ---- databases ---- */

static void tell_closed(struct store_check *c, const struct offline_db *d)
{
	struct finding f = { .kind = d->head_st == ST_NOTFOUND ? FOUND_DB_MISSING
							       : FOUND_DB_UNREADABLE,
			     .database = d->name };

	check_tell(c, &f, "database %s can't be opened: %.250s", d->name, d->why.text);
}

static void tell_links(struct store_check *c, const struct check_db *db)
{
	for (size_t i = 0; i < db->nbodies; i++) {
		const struct check_body *b = &db->bodies[i];
		struct finding f = { .kind = FOUND_LINK_COUNT,
				     .database = db->name,
				     .body = b->id };

		if (b->links != b->refs && !b->damaged)
			check_tell(
				c, &f,
				"database %s: body %llu is linked by %u messages, its count is %u",
				db->name, (unsigned long long)b->id, b->links, b->refs);
	}
}

static enum st check_one(struct store_check *c, const struct offline_db *d,
			 const struct check_pending *pending, const struct check_directory *dir,
			 struct err *err)
{
	struct check_db db = { .name = d->name,
			       .db = d->db,
			       .quick = c->quick,
			       .pending = pending,
			       .found = pass_on,
			       .progress = pages_read,
			       .arg = c };
	enum st st;

	if (!d->db) {
		tell_closed(c, d);
		return ST_OK;
	}
	st = check_db(&db, err);
	if (st == ST_OK)
		st = check_mail(c, &db, dir, err);
	if (st == ST_OK && !db.gaps)
		tell_links(c, &db);
	c->databases++;
	c->rows += db.rows;
	c->pages += db.pages;
	c->bodies += db.nbodies;
	c->waiting += db.waiting;
	check_db_free(&db);
	return st;
}

/* Everything of the group that is in `dir`. */
static enum st check_group(struct store_check *c, const char *dir,
			   const struct check_directory *owners, struct err *err)
{
	struct group_heads h;
	struct check_log log = { .dir = dir, .found = pass_on, .progress = log_read, .arg = c };
	enum st st = collect(c, dir, &h, err);

	log.heads = h.heads;
	log.names = h.names;
	log.nheads = h.n;
	if (st == ST_OK && !c->no_logs)
		st = check_log(&log, err);
	c->log_files += log.files;
	c->log_bytes += log.bytes;
	for (size_t i = 0; st == ST_OK && i < c->o->ndbs; i++) {
		const struct offline_db *d = &c->o->dbs[i];
		const struct check_pending *pending = NULL;

		if (strcmp(d->dir, dir))
			continue;
		for (size_t k = 0; log.pending && k < h.n; k++)
			if (h.dbs[k] == d)
				pending = &log.pending[k];
		st = check_one(c, d, pending, owners, err);
	}
	check_log_free(&log);
	heads_free(&h);
	return st;
}

enum st store_check(struct store_check *c, struct err *err)
{
	struct check_directory dir;
	enum st st = check_directory(c, &dir, err);

	for (size_t i = 0; st == ST_OK && i < c->o->ndbs; i++) {
		bool first = true;

		for (size_t k = 0; k < i; k++)
			first = first && strcmp(c->o->dbs[k].dir, c->o->dbs[i].dir) != 0;
		if (first)
			st = check_group(c, c->o->dbs[i].dir, &dir, err);
	}
	free(dir.owners);
	return st;
}
