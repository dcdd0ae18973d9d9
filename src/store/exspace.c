/* exspace.c - who takes how much of which database.
 *
 * A pool thread walks the rows of messages of each mailbox; the bodies of a database are counted in memory (about 50 bytes
 * each), so that what several messages share is known.  Nothing waits for it. */
#include "store/call.h"
#include "store/database.h"
#include "store/exds.h"
#include "store/places.h"

#include <stdlib.h>

/* A body of the database that is being walked. */
struct body {
	struct hnode node;
	uint32_t pages;
	bool shared; /* by more than one message */
};

struct figure {
	char user[NAME_BYTES_MAX + 1];
	uint64_t mailbox;
	struct database *db;
	uint64_t messages, bytes, page_bytes, shared_bytes, kept_bytes;
};

struct walk {
	struct store *store;
	struct figure *at;
	size_t n, cap;
	struct hmap bodies;
	bool counting; /* first all bodies are seen, then each mailbox adds up */
	enum st st;
	struct err err;
};

/* ---- bodies ---- */

static void free_body(void *arg, struct hnode *n)
{
	hmap_remove(arg, n);
	free(HNODE_OF(struct body, node, n));
}

static enum st see_body(struct walk *w, struct database *db, uint64_t id, struct err *err)
{
	struct hnode *n = hmap_get(&w->bodies, id);
	struct ese_scatter where;
	struct body *b;
	enum st st;

	if (n) {
		HNODE_OF(struct body, node, n)->shared = true;
		return ST_OK;
	}
	st = ese_body_find(db->ese, id, false, &where, err);
	if (st != ST_OK)
		return st == ST_NOTFOUND ? ST_OK : st; /* it went meanwhile */
	b = calloc(1, sizeof *b);
	if (b)
		b->pages = where.npages;
	ese_scatter_free(&where);
	if (b && hmap_put(&w->bodies, &b->node, id))
		return ST_OK;
	free(b);
	return fail(err, ST_NOMEM, "out of memory");
}

static void add_body(struct walk *w, struct figure *f, uint64_t id)
{
	struct hnode *n = hmap_get(&w->bodies, id);
	const struct body *b = n ? HNODE_OF(struct body, node, n) : NULL;

	if (!b)
		return;
	f->page_bytes += (uint64_t)b->pages * ESE_PAGE;
	if (b->shared)
		f->shared_bytes += (uint64_t)b->pages * ESE_PAGE;
}

/* ---- rows ---- */

static enum st take_row(struct walk *w, struct figure *f, uint8_t kind, struct span key,
			struct span value, struct err *err)
{
	struct entry e;
	struct plist l;
	enum st st;

	if (kind == BOX_ENTRY) {
		st = w->counting ? ST_OK : entry_read(key, value, &e, err);
		if (st == ST_OK && !w->counting) {
			f->messages++;
			f->bytes += e.size;
		}
		return st;
	}
	st = row_open(value, "a message", &l, err);
	if (st != ST_OK)
		return st;
	if (w->counting)
		return see_body(w, f->db, plist_u64(&l, PR_BODY_ID, 0), err);
	add_body(w, f, plist_u64(&l, PR_BODY_ID, 0));
	if (kind == BOX_KEPT)
		f->kept_bytes += plist_u64(&l, PR_MESSAGE_SIZE_EXTENDED, 0);
	return ST_OK;
}

static enum st walk_kind(struct walk *w, struct figure *f, enum box_row kind, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_box(&to, f->mailbox, kind);
	st = ese_iter_new(f->db->ese, key_box(&from, f->mailbox, kind), key_after(&to), &it, err);
	if (st != ST_OK)
		return st;
	while (st == ST_OK && (st = ese_iter_next(it, &key, &value, err)) == ST_OK)
		st = w->store->stopping ? fail(err, ST_GONE, "the store is stopping")
					: take_row(w, f, kind, key, value, err);
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

static enum st walk_mailboxes(struct walk *w, const struct database *db, bool counting,
			      struct err *err)
{
	static const enum box_row kinds[] = { BOX_ENTRY, BOX_ITEM, BOX_KEPT };
	enum st st = ST_OK;

	w->counting = counting;
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < 3 && st == ST_OK && w->at[i].db == db; k++)
			st = walk_kind(w, &w->at[i], kinds[k], err);
	return st;
}

static enum st walk_database(struct walk *w, struct database *db, struct err *err)
{
	enum st st = database_use(db, err);

	if (st != ST_OK)
		return st == ST_GONE ? ST_OK : st;
	st = walk_mailboxes(w, db, true, err);
	if (st == ST_OK)
		st = walk_mailboxes(w, db, false, err);
	database_release(db);
	hmap_each(&w->bodies, free_body, &w->bodies);
	return st;
}

/* ---- who there is ---- */

static enum st add_figure(struct walk *w, struct span key, struct span value, struct err *err)
{
	struct figure *f;
	struct span user;
	struct plist l;
	enum st st = row_open(value, "a mailbox's place", &l, err);

	if (st != ST_OK)
		return st;
	if (w->n == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 64;

		f = realloc(w->at, cap * sizeof *f);
		if (!f)
			return fail(err, ST_NOMEM, "out of memory");
		w->at = f;
		w->cap = cap;
	}
	f = &w->at[w->n++];
	*f = (struct figure){ .mailbox = key_tail_u64(key), .db = database_of_row(w->store, &l) };
	user = span_cut(plist_span(&l, PR_USER), NAME_BYTES_MAX);
	if (user.len)
		memcpy(f->user, user.at, user.len);
	return ST_OK;
}

static enum st find_mailboxes(struct walk *w, struct err *err)
{
	struct span key, value;
	struct ese_iter *it;
	struct key from, to;
	enum st st;

	key_dir(&to, DIR_MAILBOX, SPAN_NONE);
	st = ese_iter_new(w->store->dir, key_dir(&from, DIR_MAILBOX, SPAN_NONE), key_after(&to),
			  &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK &&
	       (st = add_figure(w, key, value, err)) == ST_OK)
		;
	ese_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

/* On a pool thread. */
static void walk_run(void *arg)
{
	struct walk *w = arg;

	w->st = find_mailboxes(w, &w->err);
	for (struct database *db = w->store->databases; db && w->st == ST_OK; db = db->next)
		w->st = walk_database(w, db, &w->err);
	hmap_free(&w->bodies);
}

/* ---- the answer ---- */

struct look {
	struct database *db;
	struct ese_space space;
	enum st st;
	struct err err;
};

static void look_run(void *arg)
{
	struct look *l = arg;

	l->st = ese_space(l->db->ese, &l->space, &l->err);
}

static enum st put_database(struct wire_rows_out *rows, struct database *db)
{
	struct buf name = BUF_MAX(1024);
	struct look l = { .db = db };
	struct ese_db_info info;
	struct pw w;

	work_run(look_run, &l);
	if (l.st != ST_OK) /* it is not up: nothing is known of its pages */
		return l.st == ST_GONE ? ST_OK : l.st;
	ese_db_info(db->ese, &info);
	database_full_name(db, &name);
	wire_row_begin(rows, &w, 8);
	pw_span(&w, PR_DATABASE, buf_get(&name));
	pw_u64(&w, PR_EDB_BYTES, info.row_bytes);
	pw_u64(&w, PR_STM_BYTES, l.space.disk_bytes);
	pw_u64(&w, PR_PAGES_COMMITTED,
	       l.space.pages_total - l.space.pages_free - l.space.pages_reserved);
	pw_u64(&w, PR_PAGES_FREE, l.space.pages_free);
	pw_u64(&w, PR_PAGES_RESERVED, l.space.pages_reserved);
	pw_mv_num(&w, PR_FREE_RUNS,
		  (const uint64_t[]){ l.space.free_runs, l.space.longest_run, l.space.tail_run },
		  3);
	buf_free(&name);
	return wire_row_end(rows, &w);
}

static enum st put_figure(struct wire_rows_out *rows, const struct figure *f)
{
	struct buf name = BUF_MAX(1024);
	struct pw w;

	if (f->db)
		database_full_name(f->db, &name);
	wire_row_begin(rows, &w, 8);
	pw_str(&w, PR_USER, f->user);
	pw_span(&w, PR_DATABASE, buf_get(&name));
	pw_bool(&w, PR_DATABASE_UP, f->db && database_is_up(f->db));
	pw_u64(&w, PR_MESSAGES, f->messages);
	pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, f->bytes);
	pw_u64(&w, PR_STM_BYTES, f->page_bytes);
	pw_u64(&w, PR_SHARED_BYTES, f->shared_bytes);
	pw_u64(&w, PR_KEPT_BYTES, f->kept_bytes);
	buf_free(&name);
	return wire_row_end(rows, &w);
}

enum st serve_ADM_SPACE(struct call *c, struct err *err)
{
	struct walk w = { .store = c->store };
	struct wire_rows_out rows;
	enum st st = exds_on_loop_0(c, err);

	if (st != ST_OK)
		return st;
	work_run(walk_run, &w);
	if (w.st != ST_OK) {
		free(w.at);
		return fail(err, w.st, "%s", w.err.text);
	}
	wire_rows_begin(&rows, c->rq);
	for (struct database *db = c->store->databases; db && st == ST_OK; db = db->next)
		if (database_is_up(db))
			st = put_database(&rows, db);
	for (size_t i = 0; i < w.n && st == ST_OK; i++)
		st = put_figure(&rows, &w.at[i]);
	free(w.at);
	return call_rows_end(c, &rows, st, err);
}
