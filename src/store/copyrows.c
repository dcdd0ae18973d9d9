#include "store/copyrows.h"

#include "store/rows.h"

#include <stdlib.h>

#define PIECE_BYTES (128u * 1024) /* rows of one batch */
#define PIECE_LINKS 200
#define WAITING_MAX 16 /* batches that are not durable yet */
#define READ_BYTES  (256u * 1024)
#define ROW_MAX     (2u * 1024 * 1024)

/* A body that was copied. */
struct copied {
	struct hnode node; /* by its id in the source */
	uint64_t id;       /* in the target */
};

struct copier {
	struct database *from, *to;
	uint64_t mailbox;
	struct ese_batch *batch;
	unsigned links; /* in the batch */
	struct hmap bodies;
	struct buf row, item;
	char *bytes; /* READ_BYTES */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned waiting; /* batches */
	bool room;
};

/* ---- batches ---- */

static void batch_done(void *arg)
{
	struct copier *c = arg;

	pthread_mutex_lock(&c->lock);
	c->waiting--;
	pthread_cond_signal(&c->moved);
	pthread_mutex_unlock(&c->lock);
}

static void wait_batches(struct copier *c, unsigned left)
{
	pthread_mutex_lock(&c->lock);
	while (c->waiting > left)
		pthread_cond_wait(&c->moved, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static enum st batch_commit(struct copier *c, struct err *err)
{
	struct ese_batch *b = c->batch;
	enum st st;

	if (!b)
		return ST_OK;
	c->batch = NULL;
	c->links = 0;
	wait_batches(c, WAITING_MAX);
	pthread_mutex_lock(&c->lock);
	c->waiting++;
	pthread_mutex_unlock(&c->lock);
	st = ese_commit(b, batch_done, c, err);
	if (st != ST_OK)
		batch_done(c);
	return st;
}

static enum st batch_room(struct copier *c, struct err *err)
{
	enum st st = ST_OK;

	if (c->batch && (ese_batch_bytes(c->batch) >= PIECE_BYTES || c->links >= PIECE_LINKS))
		st = batch_commit(c, err);
	if (st == ST_OK && c->from->group->store->stopping)
		st = fail(err, ST_BUSY, "the store is stopping");
	if (st == ST_OK && !c->batch)
		st = ese_batch_new(c->to->ese, c->mailbox, &c->batch, err);
	return st;
}

/* ---- bodies ---- */

static void has_room(void *arg)
{
	struct copier *c = arg;

	pthread_mutex_lock(&c->lock);
	c->room = true;
	pthread_cond_signal(&c->moved);
	pthread_mutex_unlock(&c->lock);
}

static void wait_room(struct copier *c)
{
	c->room = false;
	ese_when_room(c->to->group->ese, has_room, c);
	pthread_mutex_lock(&c->lock);
	while (!c->room)
		pthread_cond_wait(&c->moved, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static enum st body_bytes(struct copier *c, uint64_t id, uint64_t len, struct ese_body *body,
			  struct err *err)
{
	enum st st = ST_OK;

	for (uint64_t at = 0; at < len && st == ST_OK;) {
		size_t n = len - at < READ_BYTES ? (size_t)(len - at) : READ_BYTES;

		st = ese_body_read(c->from->ese, id, at, c->bytes, n, err);
		while (st == ST_OK && (st = ese_body_write(body, c->bytes, n, err)) == ST_BUSY) {
			wait_room(c);
			st = ST_OK;
		}
		at += n;
	}
	return st;
}

/* The body's bytes into the target, linked by the batch. */
static enum st body_copy(struct copier *c, uint64_t id, uint64_t *out, struct err *err)
{
	struct copied *known = calloc(1, sizeof *known);
	struct ese_scatter place = { 0 };
	struct ese_body *body;
	uint64_t len;
	enum st st = known ? ese_body_find(c->from->ese, id, false, &place, err)
			   : fail(err, ST_NOMEM, "out of memory");

	len = place.len;
	if (st == ST_OK) {
		ese_scatter_free(&place);
		st = ese_body_new(c->to->ese, &body, err);
	}
	if (st != ST_OK) {
		free(known);
		return st;
	}
	st = body_bytes(c, id, len, body, err);
	if (st == ST_OK && !hmap_put(&c->bodies, &known->node, id))
		st = fail(err, ST_NOMEM, "out of memory");
	if (st == ST_OK) {
		*out = known->id = ese_body_id(body);
		ese_link(c->batch, body);
	} else {
		free(known);
	}
	ese_body_drop(body);
	return st;
}

static enum st body_of(struct copier *c, uint64_t id, uint64_t *out, struct err *err)
{
	struct hnode *n = hmap_get(&c->bodies, id);
	enum st st;

	c->links++;
	if (!n)
		return body_copy(c, id, out, err);
	/* Only what is committed can be linked by its id. */
	st = batch_commit(c, err);
	wait_batches(c, 0);
	if (st == ST_OK)
		st = batch_room(c, err);
	if (st != ST_OK)
		return st;
	*out = HNODE_OF(struct copied, node, n)->id;
	ese_link_id(c->batch, *out);
	return ST_OK;
}

/* ---- rows ---- */

static void write_item(struct buf *out, const struct plist *item, uint64_t body)
{
	struct pw w;

	buf_clear(out);
	pw_begin(&w, out, plist_count(item));
	pw_u64(&w, PR_BODY_ID, body);
	pw_merge(&w, item);
	pw_end(&w);
}

/* A kept message names its body twice: in its own row, and in that of the message it was. */
static void write_kept(struct copier *c, const struct plist *row, uint64_t body)
{
	struct plist item;
	struct pw w;

	buf_clear(&c->row);
	pw_begin(&w, &c->row, plist_count(row));
	pw_u64(&w, PR_BODY_ID, body);
	if (plist_object(row, PR_KEPT_ITEM, &item)) {
		write_item(&c->item, &item, body);
		pw_object(&w, PR_KEPT_ITEM, plist_trusted(c->item.at, c->item.len));
	}
	pw_merge(&w, row);
	pw_end(&w);
}

static enum st row_with_body(struct copier *c, struct span key, struct span value, bool kept,
			     struct err *err)
{
	struct plist l;
	uint64_t body;
	enum st st = row_open(value, "a message", &l, err);

	if (st == ST_OK)
		st = body_of(c, plist_u64(&l, PR_BODY_ID, 0), &body, err);
	if (st != ST_OK)
		return st;
	if (kept)
		write_kept(c, &l, body);
	else
		write_item(&c->row, &l, body);
	if (c->row.failed || c->item.failed)
		return fail(err, ST_NOMEM, "out of memory");
	ese_put(c->batch, key, buf_get(&c->row));
	return ST_OK;
}

static enum st row_copy(struct copier *c, struct span key, struct span value, size_t kind_at,
			struct err *err)
{
	uint8_t kind = (uint8_t)key.at[kind_at];
	enum st st = batch_room(c, err);

	if (st != ST_OK)
		return st;
	if (kind == BOX_ITEM || kind == BOX_KEPT)
		return row_with_body(c, key, value, kind == BOX_KEPT, err);
	ese_put(c->batch, key, value);
	return ST_OK;
}

static enum st rows_copy(struct copier *c, struct err *err)
{
	struct key from, to;
	struct span first = key_box(&from, c->mailbox, BOX_MAILBOX), key, value;
	struct ese_iter *it;
	enum st st;

	key_box(&to, c->mailbox, BOX_ROWS_END);
	st = ese_iter_new(c->from->ese, first, span_of(to.at, to.len), &it, err);
	if (st != ST_OK)
		return st;
	while ((st = ese_iter_next(it, &key, &value, err)) == ST_OK &&
	       (st = row_copy(c, key, value, first.len - 1, err)) == ST_OK)
		;
	ese_iter_free(it);
	return st == ST_EOF ? batch_commit(c, err) : st;
}

static void free_copied(void *arg, struct hnode *n)
{
	hmap_remove(arg, n);
	free(HNODE_OF(struct copied, node, n));
}

enum st mailbox_copy(struct database *from, struct database *to, uint64_t mailbox, struct err *err)
{
	struct copier c = { .from = from,
			    .to = to,
			    .mailbox = mailbox,
			    .row = BUF_MAX(ROW_MAX),
			    .item = BUF_MAX(ROW_MAX),
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .moved = PTHREAD_COND_INITIALIZER };
	enum st st;

	c.bytes = malloc(READ_BYTES);
	st = c.bytes ? rows_copy(&c, err) : fail(err, ST_NOMEM, "out of memory");
	if (c.batch)
		ese_batch_free(c.batch);
	wait_batches(&c, 0);
	hmap_each(&c.bodies, free_copied, &c.bodies);
	hmap_free(&c.bodies);
	buf_free(&c.row);
	buf_free(&c.item);
	free(c.bytes);
	return st;
}
