/* recover.c - replay: bring the databases to the end of the log; see docs/crash-states.md, "Replay".
 *
 * Before the engine's threads run.  The records go through the same rounds as in service. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/rows.h"

#include <stdlib.h>

static enum st replay_record(struct ese *g, const struct rec *r, struct err *err)
{
	struct ese_db *db = r->db ? db_by_number(g, r->db) : NULL;
	struct rec_attach a;

	g->recovered_records++;
	if (db || r->kind != REC_ATTACH)
		return apply_record(g, r, db && r->pos >= db->applied, true, err);
	if (rec_attach_get(r->payload, &a) != ST_OK)
		return fail(err, ST_CORRUPT, "the record at log position %016llx is damaged",
			    (unsigned long long)r->pos);
	return fail(err, ST_CORRUPT, "database %.*s, which the log names, is missing in %s",
		    (int)a.name.len, a.name.at, g->dir);
}

static enum st replay_group(struct ese *g, const struct log_group *group, uint64_t from,
			    struct err *err)
{
	uint64_t end = group->pos + group->head.bytes;
	struct log_cursor c;
	struct rec r;
	enum st st;

	if (end <= from)
		return ST_OK;
	log_group_open(group, &c);
	while ((st = log_group_next(&c, &r)) == ST_OK)
		if (r.pos >= from && (st = replay_record(g, &r, err)) != ST_OK)
			return st;
	if (st != ST_EOF)
		return fail(err, st, "the log group at %016llx is damaged",
			    (unsigned long long)group->pos);
	return apply_end(g, end, err);
}

static enum st replay(struct ese *g, struct log_reader *r, uint64_t from, struct err *err)
{
	struct log_group group;
	uint64_t bytes = 0;
	enum st st;

	while ((st = log_read_group(r, &group, err)) == ST_OK) {
		st = replay_group(g, &group, from, err);
		if (st != ST_OK)
			return st;
		bytes += group.head.bytes;
		if (g->o.progress)
			g->o.progress(g->o.arg, "replaying the log", bytes, 0);
	}
	return st == ST_EOF ? ST_OK : st;
}

/* The log is always synced before it is applied: a database that is ahead was put there by somebody, or its log cut. */
static enum st check_ahead(struct ese *g, const struct log_end *end, struct err *err)
{
	for (struct ese_db *db = g->dbs; db; db = db->next)
		if (db->applied > pos_of(end->gen, end->off))
			return fail(err, ST_CORRUPT,
				    "database %s is at %016llx, but its log ends at %016llx",
				    db->name, (unsigned long long)db->applied,
				    (unsigned long long)pos_of(end->gen, end->off));
	return ST_OK;
}

/* From the checkpoint on; from further back when a database holds less than it says (its MANIFEST was cut, or
 * an older copy was put there).  Without a checkpoint from the oldest file, which must reach back to every database. */
static uint64_t replay_from(struct ese *g, const struct checkpoint *cp)
{
	uint64_t from = cp->position ? cp->position : UINT64_MAX;

	for (struct ese_db *db = g->dbs; db; db = db->next)
		if (db->applied < from)
			from = db->applied;
	return from == UINT64_MAX ? 0 : from;
}

enum st recover(struct ese *g, const struct checkpoint *cp, struct log_end *end_out,
		struct err *err)
{
	uint64_t from = replay_from(g, cp);
	int64_t began = clock_mono();
	struct log_reader *r;
	enum st st;

	st = log_sync_all(g->dir, pos_gen(from), err);
	if (st == ST_OK)
		st = log_read_open(g->dir, cp->position ? pos_gen(from) : 0, g->signature, &r, err);
	if (st != ST_OK)
		return st;
	if (g->standby)
		log_read_unfinished(r);
	log_read_end(r, end_out);
	if (from != 0 && end_out->gen > pos_gen(from)) {
		log_read_close(r);
		return fail(err, ST_CORRUPT, "%s: log file E00%08X.log is missing", g->dir,
			    pos_gen(from));
	}
	g->beside = beside_new();
	st = g->beside ? beside_scan(g->beside, g->dir, cp->position ? from : 0, g->signature, err)
		       : fail(err, ST_NOMEM, "replay");
	g->replaying = true;
	if (st == ST_OK)
		st = replay(g, r, cp->position ? from : 0, err);
	beside_free(g->beside);
	g->beside = NULL;
	g->replaying = g->standby;
	log_read_end(r, end_out);
	log_read_close(r);
	g->recovery_ns = (uint64_t)(clock_mono() - began);
	return st == ST_OK ? check_ahead(g, end_out, err) : st;
}

enum st recover_group(struct ese *g, const struct log_group *group, struct err *err)
{
	return replay_group(g, group, group->pos, err);
}

static enum st free_orphans(struct ese_db *db, struct err *err)
{
	struct row_key from = row_key_orphan(0);
	struct span key, v, to = SPAN("\x06");
	struct pdb_iter *it;
	enum st st = pdb_iter_new(db->rows, row_key_span(&from), to, &it, err);

	if (st != ST_OK)
		return st;
	while ((st = pdb_iter_next(it, &key, &v, err)) == ST_OK) {
		uint64_t id;

		if (row_key_id(key, &id))
			body_queue_free(db, id);
	}
	pdb_iter_free(it);
	return st == ST_EOF ? ST_OK : st;
}

enum st recover_orphans(struct ese *g, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next)
		st = free_orphans(db, err);
	return st;
}
