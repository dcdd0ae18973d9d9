#include "store/item.h"

#include "loop/loop.h"

#include <assert.h>
#include <stdlib.h>

void items_begin(struct items *i, struct folder *f)
{
	*i = (struct items){ .folder = f };
}

static void items_let_go(struct items *i)
{
	if (i->held)
		ese_value_free(&i->value);
	i->held = false;
}

void items_end(struct items *i)
{
	items_let_go(i);
	if (i->it)
		ese_iter_free(i->it);
	i->it = NULL;
}

static enum st get_one(struct items *i, uint32_t uid, struct span *value, struct err *err)
{
	struct folder *f = i->folder;
	struct key k;
	enum st st = ese_get(f->mb->db->ese, key_message(&k, f->mb->id, BOX_ITEM, f->number, uid),
			     &i->value, err);

	if (st == ST_OK) {
		i->held = true;
		*value = i->value.bytes;
	}
	return st;
}

static enum st scan_begin(struct items *i, uint32_t uid, uint32_t last, struct err *err)
{
	struct folder *f = i->folder;
	struct key from, to;

	if (i->it)
		ese_iter_free(i->it);
	i->it = NULL;
	i->it_uid = 0;
	i->it_last = last;
	key_message(&to, f->mb->id, BOX_ITEM, f->number, last);
	return ese_iter_new(f->mb->db->ese, key_message(&from, f->mb->id, BOX_ITEM, f->number, uid),
			    key_after(&to), &i->it, err);
}

static enum st scan_to(struct items *i, uint32_t uid, struct span *value, struct err *err)
{
	while (i->it_uid < uid) {
		struct span key;
		enum st st = ese_iter_next(i->it, &key, &i->it_value, err);

		if (st == ST_EOF) {
			i->it_uid = UINT32_MAX;
			i->it_value = SPAN_NONE;
		} else if (st != ST_OK) {
			return st;
		} else {
			i->it_uid = key_tail_u32(key);
		}
	}
	*value = i->it_value;
	return i->it_uid == uid && i->it_value.at ? ST_OK : ST_NOTFOUND;
}

enum st items_get(struct items *i, uint32_t uid, uint32_t last, struct plist *out, struct err *err)
{
	struct span value;
	enum st st = ST_OK;

	items_let_go(i);
	if (last > uid && (!i->it || uid > i->it_last))
		st = scan_begin(i, uid, last, err);
	if (st == ST_OK && i->it && uid <= i->it_last)
		st = scan_to(i, uid, &value, err);
	else if (st == ST_OK)
		st = get_one(i, uid, &value, err);
	return st == ST_OK ? row_open(value, "a message", out, err) : st;
}

/* ---- bodies ---- */

_Static_assert(SCATTER_PAGE == ESE_PAGE, "wire and engine mean the same pages");
_Static_assert(sizeof(struct scatter_run) == sizeof(struct ese_scatter_run), "and runs");

struct verifying {
	struct ese_db *db;
	uint64_t body;
	enum st st;
	struct err err;
};

static void verify_run(void *arg)
{
	struct verifying *v = arg;

	v->st = ese_body_verify(v->db, v->body, &v->err);
}

/* Its place is given away only after its bytes were compared with their checksums: who sends them does not look. */
static enum st find_verified(const struct database *db, uint64_t body, struct ese_scatter *out,
			     struct err *err)
{
	struct verifying v = { .db = db->ese, .body = body };
	enum st st;

	while ((st = ese_body_find(db->ese, body, false, out, err)) == ST_OK &&
	       !ese_body_verified(db->ese, out)) {
		st = ese_body_verify_cached(db->ese, body, err);
		if (st == ST_BUSY) {
			work_run(verify_run, &v);
			st = v.st == ST_OK ? ST_OK : fail(err, v.st, "%s", v.err.text);
		}
		if (st == ST_OK && ese_body_verified(db->ese, out))
			break;
		/* It was moved meanwhile, and is looked for again. */
		ese_scatter_free(out);
		if (st != ST_OK)
			break;
	}
	return st;
}

enum st item_put_body(const struct database *db, struct pw *w, const struct plist *item,
		      struct err *err)
{
	struct buf bytes = BUF_MAX(EXIPC_BLOCK_MAX);
	struct ese_scatter sc;
	enum st st = find_verified(db, plist_u64(item, PR_BODY_ID, 0), &sc, err);

	if (st != ST_OK)
		return st;
	scatter_write(&bytes, sc.len, (const struct scatter_run *)(const void *)sc.runs, sc.nruns);
	ese_scatter_free(&sc);
	if (bytes.failed)
		w->out->failed = true;
	else
		pw_span(w, PR_BODY_SCATTER, buf_get(&bytes));
	buf_free(&bytes);
	pw_u64(w, PR_STREAM_TAG, db->tag);
	pw_copy(w, item, PR_HEADER_LENGTH);
	return ST_OK;
}

static void *pin(void *db)
{
	return database_pin(db);
}

static void unpin(void *p)
{
	database_unpin(p);
}

void item_pin_rows(struct wire_rows_out *rows, struct database *db)
{
	rows->mark = pin;
	rows->release = unpin;
	rows->owner = db;
}
