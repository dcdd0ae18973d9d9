/* recover.c - replay: bring the databases to the end of the log; see docs/crash-states.md, "Replay".
 *
 * The records go through the same rounds as in service.  At opening this runs before the engine's threads; a mount
 * brings its one database up to date while the others work. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/rows.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- records about databases ---- */

/* One that the log knows and nobody else. */
static enum st add_lost(struct ese *g, uint64_t id, struct span name, uint64_t pos, struct err *err)
{
	struct err why = { 0 };
	struct ese_db *db;
	char text[ESE_NAME_MAX + 1];

	if (name.len)
		snprintf(text, sizeof(text), "%.*s", (int)name.len, name.at);
	else
		snprintf(text, sizeof(text), "lost-%08X", (unsigned)id);
	db = db_by_name(g, text);
	if (!db || db->number) {
		db = db_new(g, text);
		if (!db)
			return fail(err, ST_NOMEM, "database %s", text);
		db_list_add(g, db);
		fail(&why, ST_CORRUPT,
		     name.len ? "its files are missing: the log names it, and %s has no %s.edb"
			      : "its files are missing, and the log from here on does not name it",
		     g->dir, text);
		db_fail(db, &why);
	}
	db->id = id;
	db->number = (uint32_t)id;
	db->safe = db->from = pos;
	db->holds = name.len != 0;
	return ST_OK;
}

/* A standby, or a roll-forward: the log has all of it from its first record on. */
static enum st make(struct replay *r, const struct rec_attach *a, uint64_t pos, struct err *err)
{
	char name[ESE_NAME_MAX + 1];
	struct err why = { 0 };
	struct ese_db *db;
	enum st st;

	snprintf(name, sizeof(name), "%.*s", (int)a->name.len, a->name.at);
	if (!db_name_ok(name))
		return fail(err, ST_CORRUPT, "the log names a database '%s'", name);
	st = db_make_files(r->g, name, a->id, err);
	if (st != ST_OK)
		return st;
	db = db_new(r->g, name);
	if (!db)
		return fail(err, ST_NOMEM, "database %s", name);
	db_list_add(r->g, db);
	st = db_open_files(db, 0, &why);
	if (st != ST_OK) {
		db_fail(db, &why);
		return ST_OK;
	}
	db->safe = db->from = pos;
	db->live = true;
	return ST_OK;
}

/* It was removed, as a record said.  A standby has no slot written for that as the source had, and without one the next opening
 * would take a later database of the same name for this one. */
static enum st finish_removal(struct ese_db *db, struct err *err)
{
	struct ese *g = db->g;
	enum st st = db_finish_removal(db, err);

	if (st != ST_OK || !g->standby)
		return st;
	pthread_mutex_lock(&g->slot);
	st = checkpoint_rewrite(g, err);
	pthread_mutex_unlock(&g->slot);
	return st;
}

/* A database of that name that is there already is a later one, of an earlier replay: the one to be made is removed
 * further on. */
static enum st created(struct replay *r, const struct rec_attach *a, uint64_t pos, struct err *err)
{
	char name[ESE_NAME_MAX + 1];
	struct ese_db *old;
	enum st st = ST_OK;

	snprintf(name, sizeof(name), "%.*s", (int)a->name.len, a->name.at);
	old = db_by_name(r->g, name);
	if (old && old->detached)
		st = finish_removal(old, err);
	if (st != ST_OK)
		return st;
	return old && !old->removed ? add_lost(r->g, a->id, a->name, pos, err)
				    : make(r, a, pos, err);
}

static enum st attached(struct replay *r, const struct rec *rec, uint32_t format, struct err *err)
{
	struct ese_db *db = db_by_number(r->g, rec->db);
	struct rec_attach a;

	if (rec_attach_get(rec->payload, format, &a) != ST_OK)
		return fail(err, ST_CORRUPT, "the record at log position %016llx is damaged",
			    (unsigned long long)rec->pos);
	/* Under its old name nobody would find it after a promotion. */
	if (r->create && db && db->live && a.how == ATTACH_TAKEN &&
	    !span_eq(a.name, span_str(db->name)))
		return fail(err, ST_BAD,
			    "database %s got the name %.*s at the source, which can't be followed; "
			    "begin again from a backup",
			    db->name, (int)a.name.len, a.name.at);
	if (r->only || (db && strncmp(db->name, "lost-", 5) != 0))
		return ST_OK;
	if (db)
		db->removed = true;
	if (r->create && a.how == ATTACH_CREATED)
		return created(r, &a, rec->pos, err);
	return add_lost(r->g, a.id, a.name, rec->pos, err);
}

static enum st detached(struct replay *r, const struct rec *rec, struct err *err)
{
	struct ese_db *db = db_by_number(r->g, rec->db);
	struct rec_detach d;

	if (rec_detach_get(rec->payload, &d) != ST_OK)
		return fail(err, ST_CORRUPT, "the record at log position %016llx is damaged",
			    (unsigned long long)rec->pos);
	if (!db || r->only || d.why == DETACH_DOWN || (!db->rows && db->state == ESE_DOWN))
		return ST_OK;
	if (d.why == DETACH_REMOVED)
		db->detached = true;
	else if (!db->rows)
		db->removed = true; /* it went to another group, with its files */
	return ST_OK;
}

/* ---- records of a database ---- */

/* What `db` could not take is its own misfortune. */
static enum st blame(struct replay *r, struct ese_db *db, enum st st, const struct err *why,
		     struct err *err)
{
	if (st == ST_OK)
		return ST_OK;
	if (r->only || r->strict || st == ST_NOMEM) {
		if (err)
			*err = *why;
		return st;
	}
	db->holds = true;
	db_fail(db, why);
	return ST_OK;
}

static enum st replay_record(struct replay *r, const struct rec *rec, uint32_t format,
			     struct err *err)
{
	struct ese_db *db;
	struct err why = { 0 };
	enum st st;

	r->records++;
	if (rec->kind == REC_ATTACH)
		return attached(r, rec, format, err);
	if (rec->kind == REC_DETACH)
		return detached(r, rec, err);
	db = db_by_number(r->g, rec->db);
	if (!db && !r->only)
		return add_lost(r->g, rec->db, (struct span){ 0 }, rec->pos, err);
	if (!db || !db->rows || (r->only && db != r->only) || rec->pos < db->from)
		return ST_OK;
	db->replaying = true;
	db->beside = r->beside;
	st = apply_record(db, rec, rec->pos >= db->applied, true, &why);
	return blame(r, db, st, &why, err);
}

static enum st end_rounds(struct replay *r, uint64_t end, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = r->g->dbs; st == ST_OK && db; db = db->next) {
		struct err why = { 0 };

		if (!db->rows || (r->only && db != r->only) || !db->replaying)
			continue;
		st = blame(r, db, round_end(db->round, end, &why), &why, err);
		db->replaying = false;
		db->beside = NULL;
	}
	return st;
}

enum st replay_group(struct replay *r, const struct log_group *group, struct err *err)
{
	uint64_t end = group->pos + group->head.bytes;
	struct log_cursor c;
	struct rec rec;
	enum st st;

	if (end <= r->from)
		return ST_OK;
	log_group_open(group, &c);
	while ((st = log_group_next(&c, &rec)) == ST_OK)
		if (rec.pos >= r->from &&
		    (st = replay_record(r, &rec, group->format, err)) != ST_OK)
			return st;
	if (st != ST_EOF)
		return fail(err, st, "the log group at %016llx is damaged",
			    (unsigned long long)group->pos);
	r->end = end;
	return end_rounds(r, end, err);
}

/* Only a log that may hold records about bodies beside it is read twice: the slot tells for what is behind its
 * position.  `to`: where the log counts as ended, 0: at its end. */
static enum st look_ahead(struct replay *r, uint64_t to, struct err *err)
{
	const struct ese *g = r->g;

	if (!r->strict && g->checkpoint_pos && r->from >= g->checkpoint_pos &&
	    !(g->facts.flags & CHECKPOINT_DIRECT))
		return ST_OK;
	r->beside = beside_new();
	if (!r->beside)
		return fail(err, ST_NOMEM, "replay");
	return beside_scan(r->beside, r->g->dir, r->from, to, r->g->signature, err);
}

static enum st replay_all(struct replay *r, struct log_reader *reader, struct err *err)
{
	struct ese *g = r->g;
	struct log_group group;
	uint64_t bytes = 0;
	enum st st;

	while ((st = log_read_group(reader, &group, err)) == ST_OK) {
		st = replay_group(r, &group, err);
		if (st != ST_OK)
			return st;
		bytes += group.head.bytes;
		if (g->o.progress)
			g->o.progress(g->o.arg, "replaying the log", bytes, 0);
	}
	return st == ST_EOF ? ST_OK : st;
}

/* ---- one database ---- */

static enum st no_log(struct ese_db *db, const char *why, struct err *err)
{
	return fail(err, ST_CORRUPT, "it needs the log from position %016llx on: %.150s",
		    (unsigned long long)db->from, why);
}

enum st replay_catch_up(struct ese_db *db, uint64_t to, struct err *err)
{
	struct ese *g = db->g;
	struct replay r = { .g = g, .only = db, .from = db->from };
	struct log_reader *reader;
	struct log_end end;
	struct err why = { 0 };
	enum st st;

	if (db->from >= to)
		return ST_OK;
	st = log_sync_all(g->dir, pos_gen(db->from), err);
	if (st != ST_OK)
		return st;
	st = log_read_open(g->dir, pos_gen(db->from), g->signature, &reader, &why);
	if (st != ST_OK)
		return no_log(db, why.text, err);
	log_read_limit(reader, to);
	/* At opening, bodies that come behind `to` may have taken pages beside the log. */
	st = look_ahead(&r, g->start_pos ? to : 0, &why);
	if (st == ST_OK)
		st = replay_all(&r, reader, &why);
	beside_free(r.beside);
	log_read_end(reader, &end);
	log_read_close(reader);
	if (st == ST_CORRUPT)
		return no_log(db, why.text, err);
	if (st != ST_OK) {
		if (err)
			*err = why;
		return st;
	}
	if (pos_of(end.gen, end.off) < to)
		return no_log(db, "the log ends before", err);
	db->from = to;
	return ST_OK;
}

/* ---- all of them, at opening ---- */

static enum st catch_up_all(struct ese *g, uint64_t to, struct err *err)
{
	struct replay all = { .g = g };
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next) {
		struct err why = { 0 };

		if (db->live)
			st = blame(&all, db, replay_catch_up(db, to, &why), &why, err);
	}
	return st;
}

/* Without a checkpoint the log's oldest file is where replay starts: who needs more has lost it. */
static void need_from(struct ese *g, uint32_t oldest)
{
	for (struct ese_db *db = g->dbs; db; db = db->next) {
		struct err why = { 0 };

		if (!db->live || pos_gen(db->from) >= oldest || oldest == 1)
			continue;
		no_log(db, "the older log files are missing", &why);
		db->holds = true;
		db_fail(db, &why);
	}
}

/* The log is always synced before it is applied: a database that is ahead was put there by somebody, or its log cut. */
static void check_ahead(struct ese *g, uint64_t end)
{
	for (struct ese_db *db = g->dbs; db; db = db->next) {
		struct err why = { 0 };

		if (!db->live || db->applied <= end)
			continue;
		fail(&why, ST_CORRUPT, "it is at position %016llx, but its log ends at %016llx",
		     (unsigned long long)db->applied, (unsigned long long)end);
		db->holds = true;
		db_fail(db, &why);
	}
}

static enum st finish_removals(struct ese *g, struct err *err)
{
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next)
		if (db->detached && !db->removed)
			st = finish_removal(db, err);
	return st;
}

/* The log is damaged: what that means and what to do. */
static enum st advise(enum st st, struct err *err)
{
	if (err && (st == ST_CORRUPT || st == ST_NOTFOUND)) {
		size_t n = strlen(err->text);

		snprintf(err->text + n, sizeof(err->text) - n,
			 "; put an undamaged copy of the file there, or run: mailroot ese repair");
	}
	return st;
}

enum st recover(struct ese *g, const struct checkpoint *cp, struct log_end *end_out,
		struct err *err)
{
	struct replay r = {
		.g = g, .create = g->standby, .strict = g->standby, .from = cp->position
	};
	int64_t began = clock_mono();
	struct log_reader *reader;
	enum st st;

	st = log_sync_all(g->dir, pos_gen(cp->position), err);
	if (st == ST_OK)
		st = catch_up_all(g, cp->position, err);
	if (st == ST_OK)
		st = log_read_open(g->dir, pos_gen(cp->position), g->signature, &reader, err);
	if (st != ST_OK)
		return advise(st, err);
	if (g->standby)
		log_read_unfinished(reader, true);
	log_read_end(reader, end_out);
	if (cp->position == 0)
		need_from(g, end_out->gen);
	st = g->standby ? ST_OK : look_ahead(&r, 0, err);
	if (st == ST_OK)
		st = replay_all(&r, reader, err);
	beside_free(r.beside);
	log_read_end(reader, end_out);
	log_read_close(reader);
	g->recovered_records = r.records;
	g->recovery_ns = (uint64_t)(clock_mono() - began);
	if (st != ST_OK)
		return advise(st, err);
	check_ahead(g, pos_of(end_out->gen, end_out->off));
	return finish_removals(g, err);
}

/* What is fed to a standby has to be there in all of its databases. */
enum st recover_group(struct ese *g, const struct log_group *group, struct err *err)
{
	struct replay r = { .g = g, .create = true, .strict = true, .from = group->pos };
	enum st st = replay_group(&r, group, err);

	return st == ST_OK ? finish_removals(g, err) : st;
}

static enum st free_orphans(struct ese_db *db, struct pdb_iter *it, struct err *err)
{
	struct span key, v;
	enum st st;

	while ((st = pdb_iter_next(it, &key, &v, err)) == ST_OK) {
		uint64_t id;

		if (row_key_id(key, &id))
			body_queue_free(db, id);
	}
	return st == ST_EOF ? ST_OK : st;
}

enum st recover_orphans(struct ese_db *db, struct err *err)
{
	struct row_key from = row_key_orphan(0);
	struct pdb_iter *it;
	enum st st = pdb_iter_new(db->rows, row_key_span(&from), SPAN("\x06"), &it, err);

	if (st != ST_OK)
		return st;
	st = free_orphans(db, it, err);
	pdb_iter_free(it);
	return st;
}
