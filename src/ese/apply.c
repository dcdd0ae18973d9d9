/* apply.c - the thread that brings the log's records into the databases and runs the done callbacks.
 *
 * The happy path: the committer hands the nodes of a group over as soon as they have their places in the log, and begins
 * to write it; meanwhile the records go into the rounds of their databases and these are prepared (bytes in their pages,
 * rows in memory, nothing to be seen).  When the group is durable the rounds are published, references are dropped, callbacks run,
 * memory goes back.
 * Possible failures: a failed page write, rows that are not taken, a damaged row.  All of them break the group. */
#include "ese/ese_int.h"
#include "ese/io.h"

#include <stdlib.h>

/* A round ends here at the latest, so that the first callbacks do not wait for a long list. */
#define ROUND_BYTES (1024u * 1024)

static enum st add_piece(void *arg, const struct rec_body *piece, struct err *err)
{
	return round_body(arg, piece, err);
}

enum st apply_record(struct ese_db *db, const struct rec *r, bool rows, bool pages, struct err *err)
{
	struct rec_body body;
	uint64_t id;

	switch (r->kind) {
	case REC_BODY:
		if (!pages)
			return ST_OK;
		if (rec_body_get(r->payload, &body) != ST_OK)
			break;
		if (db->beside)
			return beside_pieces(db->beside, r, &body, add_piece, db->round, err);
		return round_body(db->round, &body, err);
	case REC_COMMIT:
		return rows ? round_commit(db->round, r, err) : ST_OK;
	case REC_FREE:
		if (!rows)
			return ST_OK;
		if (rec_free_get(r->payload, &id) == ST_OK)
			return round_drop(db->round, id, err);
		break;
	default:
		return ST_OK;
	}
	return fail(err, ST_CORRUPT, "the record at log position %016llx is damaged",
		    (unsigned long long)r->pos);
}

enum st apply_end(struct ese *g, uint64_t applied, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next)
		if (db->live)
			st = round_end(db->round, applied, err);
	return st;
}

enum st apply_mark(struct ese *g, uint64_t applied, struct err *err)
{
	for (struct ese_db *db = g->dbs; db; db = db->next)
		if (db->live)
			round_mark(db->round);
	return apply_end(g, applied, err);
}

/* Take what may be one round from the front of *list: at most `max` nodes. */
static struct node *cut_round(struct node **list, uint64_t max, uint64_t *nodes_out)
{
	struct node *first = *list, **end = list;
	size_t bytes = 0;
	uint64_t nodes = 0;

	while (*end && bytes < ROUND_BYTES && nodes < max) {
		bytes += (*end)->len;
		nodes++;
		end = &(*end)->next;
	}
	*list = *end;
	*end = NULL;
	*nodes_out = nodes;
	return first;
}

static enum st prepare(struct ese *g, const struct node *n, uint64_t *end_out, struct err *err)
{
	enum st st = ST_OK;

	for (; st == ST_OK && n; n = n->next) {
		if (n->way != NODE_LOGGED)
			continue;
		struct rec r = { .kind = n->kind,
				 .db = n->db_number,
				 .pos = n->pos,
				 .partition = n->partition,
				 .payload = span_of(n->payload, n->len) };

		st = apply_record(n->db, &r, true, true, err);
		*end_out = n->pos + rec_size(n->len);
	}
	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next)
		if (db->live)
			st = round_prepare(db->round, *end_out, err);
	return st;
}

static enum st publish(struct ese *g, const struct node *n, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next)
		if (db->live)
			st = round_publish(db->round, err);
	for (; st == ST_OK && n; n = n->next)
		if (n->way != NODE_LOGGED)
			body_passed(n);
	return st;
}

/* How many of the nodes behind the first `taken` are durable by now: those do not wait for the others. */
static uint64_t durable_ahead(struct ese *g, uint64_t taken)
{
	uint64_t n;

	pthread_mutex_lock(&g->lock);
	n = g->durable - taken;
	pthread_mutex_unlock(&g->lock);
	return n;
}

/* The first `taken` nodes are durable; false: the group broke. */
static bool wait_durable(struct ese *g, uint64_t taken)
{
	bool broken;

	pthread_mutex_lock(&g->lock);
	while (g->durable < taken && !g->broken)
		pthread_cond_wait(&g->synced, &g->lock);
	broken = g->broken;
	pthread_mutex_unlock(&g->lock);
	return !broken;
}

static void drop_list(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		node_free(n);
		n = next;
	}
}

/* What a round leaves: callbacks, references, memory, room. */
struct finished {
	uint64_t nodes, bytes, commits;
};

/* Whoever hears of it goes on while this thread cleans up; nothing of the batch is in use any more when he does. */
static void finish_nodes(struct node *list, struct finished *f)
{
	for (struct node *n = list; n; n = n->next) {
		for (uint32_t i = 0; i < n->nbodies; i++)
			ese_body_drop(n->bodies[i]);
		f->nodes++;
		f->bytes += group_cost(n);
		f->commits += n->kind == REC_COMMIT;
		atomic_fetch_sub(&n->db->pending, 1);
		if (n->done)
			n->done(n->arg);
	}
	drop_list(list);
}

static void account(struct ese *g, const struct finished *f, uint64_t applied)
{
	uint64_t log_bytes, syncs;

	log_counts(g->log, &log_bytes, &syncs);
	pthread_mutex_lock(&g->lock);
	g->applied += f->nodes;
	g->commits += f->commits;
	g->queue_bytes -= f->bytes;
	g->applied_pos = applied;
	if (log_bytes - g->checkpoint_log > g->o.checkpoint_bytes)
		pthread_cond_signal(&g->check);
	pthread_cond_broadcast(&g->settled);
	pthread_mutex_unlock(&g->lock);
	group_wake(g);
}

/* After a failure: those who wait for room, or for a round to end, must come back to hear that there is none. */
static void give_up(struct ese *g, struct node *a, struct node *b)
{
	for (struct ese_db *db = g->dbs; db; db = db->next)
		if (db->live)
			round_abandon(db->round);
	drop_list(a);
	drop_list(b);
	group_wake(g);
}

/* One list of nodes, which may be on their way to the disk; *taken counts them from the group's opening on.  False: the group broke. */
static bool apply_list(struct ese *g, struct node *list, uint64_t *taken)
{
	while (list) {
		uint64_t max = durable_ahead(g, *taken), nodes;
		struct node *round = cut_round(&list, max > 0 ? max : UINT64_MAX, &nodes);
		struct finished f = { 0 };
		struct err err = { 0 };
		uint64_t pos = g->applied_pos; /* only this thread moves it */
		enum st st = prepare(g, round, &pos, &err);
		bool durable = st == ST_OK && wait_durable(g, *taken + nodes);

		if (durable)
			st = publish(g, round, &err);
		if (st != ST_OK)
			group_break(g, &err);
		if (st != ST_OK || !durable) {
			give_up(g, round, list);
			return false;
		}
		*taken += nodes;
		finish_nodes(round, &f);
		account(g, &f, pos);
	}
	return true;
}

static bool mark(struct ese *g, uint64_t applied)
{
	struct err err = { 0 };

	if (apply_mark(g, applied, &err) != ST_OK) {
		group_break(g, &err);
		return false;
	}
	pthread_mutex_lock(&g->lock);
	g->mark_rows = false;
	g->marked_pos = applied;
	pthread_cond_broadcast(&g->settled);
	pthread_mutex_unlock(&g->lock);
	return true;
}

void *apply_thread(void *arg)
{
	struct ese *g = arg;
	uint64_t taken = 0;

	pthread_setname_np(pthread_self(), "ese-apply");
	pdb_thread();
	for (;;) {
		uint64_t applied;
		struct node *list;
		bool end, wanted;

		pthread_mutex_lock(&g->lock);
		while (!g->head && !g->stop_apply && !g->broken && !g->mark_rows)
			pthread_cond_wait(&g->synced, &g->lock);
		list = g->head;
		g->head = NULL;
		g->tail = &g->head;
		applied = g->applied_pos;
		wanted = g->mark_rows;
		end = g->broken || (g->stop_apply && !list);
		pthread_mutex_unlock(&g->lock);
		if (end) {
			give_up(g, list, NULL);
			return NULL;
		}
		if ((wanted && !mark(g, applied)) || !apply_list(g, list, &taken))
			return NULL;
	}
}
