/* exengine.c - circular logging, giving space back, the scrubber: what the administrator asks of the engine.
 *
 * Long work is done in pieces of a few seconds, a request each: who asks shows how far it is, and when nobody asks any
 * more it ends. */
#include "base/clock.h"
#include "store/call.h"
#include "store/database.h"
#include "store/found.h"

#include <stdlib.h>

#define PIECE_NS (3 * NS_PER_SEC)

/* ---- circular logging ---- */

struct circular {
	struct ese *ese;
	bool on;
	enum st st;
	struct err err;
};

static void circular_run(void *arg)
{
	struct circular *c = arg;

	c->st = ese_set_circular(c->ese, c->on, &c->err);
}

enum st serve_ADM_CIRCULAR(struct call *c, struct err *err)
{
	struct span name = plist_span(&c->in, PR_GROUP);
	struct circular run = { .on = plist_bool(&c->in, PR_LOG_CIRCULAR, false) };
	struct group *g = group_find(c->store, name);

	if (!g)
		return fail(err, ST_NOTFOUND,
			    "there is no storage group '" SPAN_FMT
			    "'; mailroot group list shows those that there are",
			    SPAN_ARG(name));
	if (!g->ese)
		return fail(err, ST_GONE, "group %s is not open: %.200s", g->name, g->why.text);
	run.ese = g->ese;
	work_run(circular_run, &run);
	return run.st == ST_OK ? ST_OK : fail(err, run.st, "%s", run.err.text);
}

/* ---- compaction ---- */

struct compaction {
	struct store *store;
	struct ese_db *db;
	struct ese_compact_options o;
	struct ese_compact_figures f;
	struct ese_space space;
	int64_t until;
	bool cut; /* there may be more to do */
	enum st st;
	struct err err;
};

static bool compact_on(void *arg, const struct ese_compact_figures *f)
{
	struct compaction *c = arg;

	(void)f;
	c->cut = c->cut || clock_mono() >= c->until || c->store->stopping;
	return !c->cut;
}

static void compact_run(void *arg)
{
	struct compaction *c = arg;

	c->st = ese_compact(c->db, &c->o, &c->f, &c->err);
	if (c->st == ST_OK)
		c->st = ese_space(c->db, &c->space, &c->err);
}

static void put_compaction(struct pw *w, const struct compaction *c)
{
	pw_u64(w, PR_SPACE_MOVED, c->f.bodies_moved);
	pw_u64(w, PR_SPACE_MOVED_BYTES, c->f.bytes_moved);
	pw_u64(w, PR_SPACE_LEFT, c->f.bodies_left);
	pw_u64(w, PR_SPACE_DAMAGED, c->f.bodies_damaged);
	pw_u64(w, PR_SPACE_BEFORE, c->f.pages_before * ESE_PAGE);
	pw_u64(w, PR_SPACE_NOW, c->f.pages_now * ESE_PAGE);
	pw_u64(w, PR_SPACE_FREE, c->space.pages_free * ESE_PAGE);
	pw_u64(w, PR_SPACE_PUNCHED, c->f.pages_punched * ESE_PAGE);
	pw_bool(w, PR_SPACE_DONE, !c->cut);
}

enum st serve_ADM_COMPACT(struct call *c, struct err *err)
{
	struct compaction run = { .store = c->store, .until = clock_mono() + PIECE_NS };
	struct database *db;
	enum st st = database_named(c->store, plist_span(&c->in, PR_DATABASE), &db, err);

	if (st == ST_OK)
		st = database_use(db, err);
	if (st != ST_OK)
		return st;
	run.db = db->ese;
	run.o = (struct ese_compact_options){ .bytes_per_s = plist_u64(&c->in, PR_SPACE_RATE, 0),
					      .punch = plist_bool(&c->in, PR_SPACE_PUNCH, false),
					      .go_on = compact_on,
					      .arg = &run };
	work_run(compact_run, &run);
	database_release(db);
	if (run.st != ST_OK)
		return fail(err, run.st, "%s", run.err.text);
	put_compaction(call_reply(c, 9), &run);
	return ST_OK;
}

/* ---- the scrubber ---- */

static const char *const states[] = {
	[ESE_SCRUB_NONE] = "down",       [ESE_SCRUB_OFF] = "off",
	[ESE_SCRUB_STOPPED] = "stopped", [ESE_SCRUB_WAITS] = "waiting",
	[ESE_SCRUB_RUNS] = "running",
};

static enum st order(struct database *db, uint32_t what, struct err *err)
{
	enum st st = database_use(db, err);

	if (st != ST_OK)
		return st;
	st = ese_scrub_order(db->ese, what == WIRE_SCRUB_START, err);
	database_release(db);
	return st;
}

/* A database that is not up is told by its state; one that is being closed is left out of an order for all. */
static enum st order_all(const struct call *c, uint32_t what, struct err *err)
{
	enum st st = ST_OK;

	for (struct database *db = c->store->databases; st == ST_OK && db; db = db->next)
		if (database_is_up(db) && (st = order(db, what, err)) == ST_GONE)
			st = ST_OK;
	return st;
}

struct look {
	struct store *store;
	const struct database *only;
	struct wire_rows_out rows;
	enum st st;
};

/* The figures of a step under way are waited for, so this is no work for a loop. */
struct one {
	struct ese_db *db;
	struct ese_scrub_info info;
};

static void info_run(void *arg)
{
	struct one *o = arg;

	ese_scrub_info(o->db, &o->info);
}

static enum st put_database(struct look *l, struct database *db)
{
	struct buf name = BUF_MAX(256);
	struct one o = { .db = db->ese };
	struct pw w;

	if (database_use(db, NULL) == ST_OK) {
		work_run(info_run, &o);
		database_release(db);
	}
	database_full_name(db, &name);
	wire_row_begin(&l->rows, &w, 7);
	pw_span(&w, PR_DATABASE, buf_get(&name));
	pw_str(&w, PR_SCRUB_STATE, states[o.info.state]);
	pw_u64(&w, PR_SCRUB_READ, o.info.pages_read * ESE_PAGE);
	pw_u64(&w, PR_SPACE_NOW, o.info.pages_total * ESE_PAGE);
	pw_u64(&w, PR_SCRUB_ENDED, o.info.ended);
	pw_u64(&w, PR_SCRUB_FOUND, o.info.found);
	pw_u64(&w, PR_SPACE_RATE, o.info.bytes_per_s);
	buf_free(&name);
	return wire_row_end(&l->rows, &w);
}

static enum st put_found(struct look *l)
{
	struct found_row *rows = calloc(FOUND_KEPT, sizeof *rows);
	enum st st = rows ? ST_OK : ST_NOMEM;
	uint64_t total;
	unsigned n = rows ? found_list(l->store->found, rows, FOUND_KEPT, &total) : 0;

	for (unsigned i = 0; st == ST_OK && i < n; i++) {
		struct pw w;

		wire_row_begin(&l->rows, &w, 4);
		pw_u64(&w, PR_SCRUB_ENDED, (uint64_t)rows[i].when);
		pw_str(&w, PR_SCRUB_STATE, finding_rows[rows[i].kind].name);
		pw_u64(&w, PR_BODY_ID, rows[i].body);
		pw_str(&w, PR_REASON, rows[i].text);
		st = wire_row_end(&l->rows, &w);
	}
	free(rows);
	return st;
}

enum st serve_ADM_SCRUB(struct call *c, struct err *err)
{
	uint32_t what = plist_u32(&c->in, PR_SCRUB_ORDER, WIRE_SCRUB_LOOK);
	struct look l = { .store = c->store };
	struct database *only = NULL;
	enum st st = ST_OK;

	if (plist_has(&c->in, PR_DATABASE))
		st = database_named(c->store, plist_span(&c->in, PR_DATABASE), &only, err);
	if (st == ST_OK && what != WIRE_SCRUB_LOOK)
		st = only ? order(only, what, err) : order_all(c, what, err);
	if (st != ST_OK)
		return st;
	wire_rows_begin(&l.rows, c->rq);
	for (struct database *db = c->store->databases; st == ST_OK && db; db = db->next)
		if ((!only || db == only) && db->state != DATABASE_REMOVED)
			st = put_database(&l, db);
	if (st == ST_OK)
		st = put_found(&l);
	return call_rows_end(c, &l.rows, st, err);
}
