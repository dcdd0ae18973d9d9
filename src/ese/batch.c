/* batch.c - a set of changes on its way to the log; see ese.h.
 *
 * Items are written straight into the node that will be queued, so that a commit copies nothing. */
#include "ese/ese_int.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_FIRST 1024u

struct ese_batch {
	struct ese_db *db;
	struct node *node;
	uint32_t items;
	bool links;
	struct err failed; /* the first failure; st is ST_OK before it */
};

enum st ese_batch_new(struct ese_db *db, uint64_t partition, struct ese_batch **out,
		      struct err *err)
{
	struct ese_batch *b = calloc(1, sizeof(*b));
	struct node *n = node_new(REC_COMMIT, BATCH_FIRST);

	enum st st = b && n ? db_enter(db, err) : fail(err, ST_NOMEM, "new batch");

	if (st != ST_OK) {
		free(b);
		node_free(n);
		return st;
	}
	n->db = db;
	n->db_number = db->number;
	n->partition = partition;
	n->len = REC_COMMIT_HEAD;
	b->db = db;
	b->node = n;
	*out = b;
	return ST_OK;
}

/* Room for `len` bytes more, at their place; NULL: the batch has failed. */
static char *room(struct ese_batch *b, size_t len)
{
	struct node *n = b->node;
	char *at;

	if (b->failed.st != ST_OK)
		return NULL;
	if (len > log_payload_max(b->db->g->log) - n->len) {
		fail(&b->failed, ST_TOOBIG, "a batch is at most %u bytes",
		     log_payload_max(b->db->g->log));
		return NULL;
	}
	if (n->len + len > n->cap) {
		uint32_t cap = n->cap * 2 > n->len + len ? n->cap * 2 : (uint32_t)(n->len + len);
		struct node *more = realloc(n, sizeof(*n) + cap);

		if (!more) {
			fail(&b->failed, ST_NOMEM, "batch");
			return NULL;
		}
		more->cap = cap;
		b->node = n = more;
	}
	at = n->payload + n->len;
	n->len += (uint32_t)len;
	b->items++;
	return at;
}

static bool row_ok(struct ese_batch *b, struct span key, size_t value)
{
	if (b->failed.st == ST_OK && (key.len == 0 || key.len > ESE_KEY_MAX))
		fail(&b->failed, ST_TOOBIG, "a key has 1 to %u bytes", ESE_KEY_MAX);
	if (b->failed.st == ST_OK && value > ESE_VALUE_MAX)
		fail(&b->failed, ST_TOOBIG, "a value has at most %u bytes", ESE_VALUE_MAX);
	if (b->failed.st != ST_OK)
		return false;
	assert((unsigned char)key.at[0] >= ESE_USER_KEY_MIN);
	return true;
}

void ese_put(struct ese_batch *b, struct span key, struct span value)
{
	char *at = row_ok(b, key, value.len) ? room(b, 7 + key.len + value.len) : NULL;

	if (!at)
		return;
	at[0] = ITEM_PUT;
	le16_put(at + 1, (uint16_t)key.len);
	le32_put(at + 3, (uint32_t)value.len);
	memcpy(at + 7, key.at, key.len);
	if (value.len)
		memcpy(at + 7 + key.len, value.at, value.len);
}

void ese_delete(struct ese_batch *b, struct span key)
{
	char *at = row_ok(b, key, 0) ? room(b, 3 + key.len) : NULL;

	if (!at)
		return;
	at[0] = ITEM_DELETE;
	le16_put(at + 1, (uint16_t)key.len);
	memcpy(at + 3, key.at, key.len);
}

static void put_link(struct ese_batch *b, enum item_kind kind, uint64_t id)
{
	char *at = room(b, 9);

	if (!at)
		return;
	at[0] = (char)kind;
	le64_put(at + 1, id);
}

/* The batch's own reference, dropped when it was applied or thrown away. */
static bool keep_body(struct ese_batch *b, struct ese_body *body)
{
	struct node *n = b->node;

	if (n->nbodies == n->cap_bodies) {
		uint32_t cap = n->cap_bodies ? n->cap_bodies * 2 : 2;
		struct ese_body **more = realloc(n->bodies, cap * sizeof(struct ese_body *));

		if (!more) {
			fail(&b->failed, ST_NOMEM, "batch");
			return false;
		}
		n->bodies = more;
		n->cap_bodies = cap;
	}
	n->bodies[n->nbodies++] = body;
	b->links = true;
	return true;
}

static void put_description(struct ese_batch *b, const struct ese_body *body)
{
	char *at = room(b, 25 + (size_t)body->nruns * 8 + (size_t)body->npages * 4);

	if (!at)
		return;
	at[0] = body->way == WAY_DIRECT ? ITEM_DESCRIBE_DIRECT : ITEM_DESCRIBE;
	b->node->after_direct |= body->way == WAY_DIRECT;
	le64_put(at + 1, body->id);
	le64_put(at + 9, body->len);
	le32_put(at + 17, body->nruns);
	le32_put(at + 21, body->npages);
	at += 25;
	for (uint32_t i = 0; i < body->nruns; i++, at += 8) {
		le32_put(at, body->runs[i].page);
		le32_put(at + 4, body->runs[i].pages);
	}
	for (uint32_t i = 0; i < body->npages; i++, at += 4)
		le32_put(at, body->crcs[i]);
}

void ese_link(struct ese_batch *b, struct ese_body *body)
{
	bool known;

	assert(body->db == b->db);
	if (b->failed.st != ST_OK)
		return;
	if (body->fresh)
		body_seal(body);
	pthread_mutex_lock(&body->db->lock);
	known = body->linked;
	body->refs++;
	pthread_mutex_unlock(&body->db->lock);
	if (!keep_body(b, body)) {
		ese_body_drop(body);
		return;
	}
	if (!known)
		put_description(b, body);
	put_link(b, ITEM_LINK, body->id);
}

void ese_link_id(struct ese_batch *b, uint64_t id)
{
	struct ese_body *body;

	if (b->failed.st != ST_OK || body_by_id(b->db, id, &body, &b->failed) != ST_OK)
		return;
	if (!keep_body(b, body)) {
		ese_body_drop(body);
		return;
	}
	put_link(b, ITEM_LINK, id);
}

void ese_unlink(struct ese_batch *b, uint64_t id)
{
	put_link(b, ITEM_UNLINK, id);
}

void batch_move(struct ese_batch *b, struct ese_body *body, const struct run *runs, uint32_t nruns,
		bool direct)
{
	uint32_t pages = 0;
	char *at;

	if (b->failed.st != ST_OK || !keep_body(b, body)) {
		ese_body_drop(body);
		return;
	}
	at = room(b, 17 + (size_t)nruns * 8);
	if (!at)
		return;
	at[0] = direct ? ITEM_MOVE_DIRECT : ITEM_MOVE;
	b->node->after_direct |= direct;
	le64_put(at + 1, body->id);
	le32_put(at + 9, nruns);
	for (uint32_t i = 0; i < nruns; i++) {
		le32_put(at + 17 + (size_t)i * 8, runs[i].page);
		le32_put(at + 21 + (size_t)i * 8, runs[i].pages);
		pages += runs[i].pages;
	}
	le32_put(at + 13, pages);
}

size_t ese_batch_bytes(const struct ese_batch *b)
{
	return b->node->len;
}

enum st ese_commit(struct ese_batch *b, void (*done)(void *arg), void *arg, struct err *err)
{
	struct ese *g = b->db->g;
	struct node *n = b->node;
	enum st st = b->failed.st;

	if (st != ST_OK && err)
		*err = b->failed;
	if (st == ST_OK)
		st = group_admit(g, n->len, !b->links, err);
	if (st != ST_OK) {
		ese_batch_free(b);
		return st;
	}
	le64_put(n->payload, (uint64_t)clock_real());
	le32_put(n->payload + 8, b->items);
	le32_put(n->payload + 12, 0);
	n->done = done;
	n->arg = arg;
	group_queue(g, n);
	db_leave(b->db);
	free(b);
	return ST_OK;
}

void ese_batch_free(struct ese_batch *b)
{
	if (!b)
		return;
	for (uint32_t i = 0; i < b->node->nbodies; i++)
		ese_body_drop(b->node->bodies[i]);
	node_free(b->node);
	db_leave(b->db);
	free(b);
}
