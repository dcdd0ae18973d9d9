#include "store/places.h"

#include <stdio.h>

#define PIECE 200 /* rows of one batch */

bool places_is_in(const struct store *s, const struct plist *row, const struct database *db)
{
	uint64_t id = plist_u64(row, PR_DATABASE_ID, 0);

	return id ? id == db->id : database_default(s) == db;
}

/* ---- who is in it ---- */

struct scan {
	struct ese_iter *it;
	const struct store *store;
	const struct database *db;
};

static enum st scan_begin(struct scan *n, const struct store *s, enum dir_row kind,
			  const struct database *db, struct err *err)
{
	struct key from, to;

	*n = (struct scan){ .store = s, .db = db };
	key_dir(&to, kind, SPAN_NONE);
	return ese_iter_new(s->dir, key_dir(&from, kind, SPAN_NONE), key_after(&to), &n->it, err);
}

/* The next row that means the database.  ST_EOF. */
static enum st scan_next(struct scan *n, uint64_t *mailbox, struct plist *row, struct err *err)
{
	struct span key, value;
	enum st st;

	do {
		st = ese_iter_next(n->it, &key, &value, err);
		if (st == ST_OK)
			st = row_open(value, "a mailbox's place", row, err);
	} while (st == ST_OK && !places_is_in(n->store, row, n->db));
	if (st == ST_OK)
		*mailbox = key_tail_u64(key);
	return st;
}

enum st places_count(const struct store *s, const struct database *db, uint64_t *n, struct err *err)
{
	uint64_t mailbox;
	struct plist row;
	struct scan scan;
	enum st st = scan_begin(&scan, s, DIR_MAILBOX, db, err);

	*n = 0;
	if (st != ST_OK)
		return st;
	while ((st = scan_next(&scan, &mailbox, &row, err)) == ST_OK)
		++*n;
	ese_iter_free(scan.it);
	return st == ST_EOF ? ST_OK : st;
}

static void forget_mailbox(struct ese_batch *b, uint64_t mailbox, const struct plist *row)
{
	struct key k;

	ese_delete(b, key_dir_mailbox(&k, DIR_MAILBOX, mailbox));
	ese_delete(b, key_dir_mailbox(&k, DIR_REMOVED, mailbox));
	ese_delete(b, key_dir(&k, DIR_USER, plist_span(row, PR_USER)));
}

static void forget_purge(struct ese_batch *b, uint64_t mailbox, const struct plist *row)
{
	struct key k;

	(void)row;
	ese_delete(b, key_dir_mailbox(&k, DIR_PURGE, mailbox));
}

/* A removed user's name may be another one's by now: only the owner of the mailbox goes with it. */
static bool is_owner(struct directory *d, uint64_t mailbox, const struct plist *row)
{
	char name[NAME_BYTES_MAX + 1];
	struct span user = span_cut(plist_span(row, PR_USER), NAME_BYTES_MAX);
	struct user u;

	if (user.len)
		memcpy(name, user.at, user.len);
	name[user.len] = '\0';
	return directory_user(d, name, &u, NULL) == ST_OK && u.mailbox == mailbox;
}

static void forget_kept(struct ese_batch *b, uint64_t mailbox, const struct plist *row)
{
	struct key k;

	(void)row;
	ese_delete(b, key_dir_mailbox(&k, DIR_MAILBOX, mailbox));
	ese_delete(b, key_dir_mailbox(&k, DIR_REMOVED, mailbox));
}

/* ST_OK: a piece went; ST_EOF: there is nothing left. */
static enum st forget_piece(struct directory *d, enum dir_row kind, const struct database *db,
			    struct err *err)
{
	struct ese_batch *b;
	struct scan scan;
	struct plist row;
	uint64_t mailbox;
	unsigned n = 0;
	enum st st = scan_begin(&scan, d->store, kind, db, err);

	if (st != ST_OK)
		return st;
	st = ese_batch_new(d->store->dir, 0, &b, err);
	while (st == ST_OK && n < PIECE && (st = scan_next(&scan, &mailbox, &row, err)) == ST_OK) {
		if (kind == DIR_PURGE)
			forget_purge(b, mailbox, &row);
		else if (is_owner(d, mailbox, &row))
			forget_mailbox(b, mailbox, &row);
		else
			forget_kept(b, mailbox, &row);
		n++;
	}
	ese_iter_free(scan.it);
	if (n && (st == ST_OK || st == ST_EOF))
		return commit_and_tell(d, b, err);
	ese_batch_free(b);
	return st;
}

enum st places_empty(struct directory *d, const struct database *db, struct err *err)
{
	static const enum dir_row kinds[] = { DIR_MAILBOX, DIR_PURGE };
	enum st st = ST_EOF;

	for (size_t i = 0; i < 2 && st == ST_EOF; i++)
		do
			st = forget_piece(d, kinds[i], db, err);
		while (st == ST_OK);
	return st == ST_EOF ? ST_OK : st;
}

/* ---- on its way ---- */

enum st places_move_begin(struct directory *d, const struct database *db, const struct group *to,
			  const char *name, struct err *err)
{
	char target[GROUP_NAME_MAX + DATABASE_NAME_MAX + 2];
	struct buf row = BUF_MAX(1024);
	struct ese_batch *b;
	struct key k;
	struct pw w;
	enum st st = ese_batch_new(d->store->dir, 0, &b, err);

	if (st != ST_OK)
		return st;
	snprintf(target, sizeof target, "%s/%s", to->name, name);
	pw_begin(&w, &row, 1);
	pw_str(&w, PR_NEW_DATABASE, target);
	pw_end(&w);
	ese_put(b, key_dir_mailbox(&k, DIR_SHIFT, db->id), buf_get(&row));
	buf_free(&row);
	return commit_wait(b, err);
}

static enum st over(struct store *s, uint64_t id, struct ese_batch **b, struct err *err)
{
	struct key k;
	enum st st = ese_batch_new(s->dir, 0, b, err);

	if (st == ST_OK)
		ese_delete(*b, key_dir_mailbox(&k, DIR_SHIFT, id));
	return st;
}

enum st places_move_end(struct directory *d, uint64_t id, struct err *err)
{
	struct ese_batch *b;
	enum st st = over(d->store, id, &b, err);

	return st == ST_OK ? commit_wait(b, err) : st;
}

enum st places_move_over(struct store *s, uint64_t id, struct err *err)
{
	struct ese_batch *b;
	enum st st = over(s, id, &b, err);

	return st == ST_OK ? commit_block(b, err) : st;
}

enum st places_move_next(const struct store *s, uint64_t *id, struct buf *target, struct err *err)
{
	struct span key, value;
	struct key from, to;
	struct ese_iter *it;
	struct plist row;
	enum st st;

	key_dir(&to, DIR_SHIFT, SPAN_NONE);
	st = ese_iter_new(s->dir, key_dir_mailbox(&from, DIR_SHIFT, *id + 1), key_after(&to), &it,
			  err);
	if (st != ST_OK)
		return st;
	st = ese_iter_next(it, &key, &value, err);
	if (st == ST_OK)
		st = row_open(value, "a database that moves", &row, err);
	if (st == ST_OK) {
		*id = key_tail_u64(key);
		buf_clear(target);
		buf_span(target, plist_span(&row, PR_NEW_DATABASE));
	}
	ese_iter_free(it);
	return st;
}
