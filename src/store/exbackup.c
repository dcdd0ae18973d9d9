/* exbackup.c - what `mailroot ese backup` asks: hold still, close the log, it is done.
 *
 * The engine's calls wait for the disk, so they run in the work pool; a backup belongs to its binding and is only touched
 * by one request at a time. */
#include "store/exbackup.h"

#include "ese/backup.h"
#include "store/call.h"
#include "store/database.h"

#include <inttypes.h>
#include <stdlib.h>

struct held {
	struct group *group;
	struct ese_backup *backup; /* NULL: left out, see is_left_out() */
	uint32_t next;
};

struct backup {
	struct store *store;
	uint64_t binding;
	bool full, busy,
		over; /* busy: a request is at work on it; over: its binding went meanwhile */
	struct held *held;
	size_t n;
	/* for the work pool */
	bool done;
	enum st st;
	struct err err;
};

/* ---- in the work pool ---- */

static void end_all(struct backup *b, bool done)
{
	for (size_t i = 0; i < b->n; i++) {
		struct err err = { 0 };
		enum st st;

		if (!b->held[i].backup)
			continue;
		st = ese_backup_end(b->held[i].backup, done, &err);
		b->held[i].backup = NULL;
		if (st != ST_OK && b->st == ST_OK) {
			b->st = st;
			b->err = err;
		}
	}
}

/* The log of a group with circular logging can't roll anything forward: only full backups have something of it. */
static bool is_left_out(const struct backup *b, const struct group *g)
{
	return !b->full && ese_circular(g->ese);
}

static void begin_run(void *arg)
{
	struct backup *b = arg;

	for (size_t i = 0; b->st == ST_OK && i < b->n; i++)
		if (!is_left_out(b, b->held[i].group))
			b->st = ese_backup_begin(b->held[i].group->ese, b->full, &b->held[i].backup,
						 &b->err);
	if (b->st == ST_OK)
		return;
	end_all(b, false);
}

static void roll_run(void *arg)
{
	struct backup *b = arg;

	b->st = ST_OK;
	for (size_t i = 0; b->st == ST_OK && i < b->n; i++)
		if (b->held[i].backup)
			b->st = ese_backup_roll(b->held[i].backup, &b->held[i].next, &b->err);
}

static void end_run(void *arg)
{
	struct backup *b = arg;

	b->st = ST_OK;
	end_all(b, b->done);
}

/* ---- one at a time ---- */

static void backup_free(struct backup *b)
{
	free(b->held);
	free(b);
}

static struct backup *backup_new(struct store *store, uint64_t binding, bool full)
{
	struct backup *b = calloc(1, sizeof *b);
	size_t n = 0;

	for (struct group *g = store->groups; g; g = g->next)
		n += g->ese != NULL;
	if (b)
		b->held = calloc(n + 1, sizeof *b->held);
	if (!b || !b->held) {
		free(b);
		return NULL;
	}
	b->store = store;
	b->binding = binding;
	b->full = full;
	for (struct group *g = store->groups; g && b->n < n; g = g->next)
		if (g->ese)
			b->held[b->n++].group = g;
	return b;
}

static void end_fiber(void *arg)
{
	struct backup *b = arg;

	work_run(end_run, b);
	store_end(b->store);
	backup_free(b);
}

/* Not waited for: the binding is gone. */
static void let_go(struct store *store)
{
	struct backup *b = store->backup;

	store->backup = NULL;
	b->done = false;
	store_begin(store);
	if (fiber_spawn("backup", end_fiber, b, NULL) == ST_OK)
		return;
	end_run(b);
	store_end(store);
	backup_free(b);
}

void backup_binding_over(struct shard *sh, uint64_t binding)
{
	struct backup *b;

	if (sh->index != 0)
		return;
	b = sh->store->backup;
	if (!b || b->binding != binding)
		return;
	b->over = true;
	if (!b->busy)
		let_go(sh->store);
}

void backup_close(struct store *store)
{
	if (!store->backup)
		return;
	end_all(store->backup, false);
	backup_free(store->backup);
	store->backup = NULL;
}

/* Run a step of the caller's backup. */
static enum st step(struct call *c, void (*run)(void *arg), struct backup **out, struct err *err)
{
	struct backup *b = c->store->backup;
	enum st st;

	if (!b || b->binding != c->rq->binding_id || b->busy)
		return fail(err, ST_BAD, "no backup of yours is under way");
	b->busy = true;
	work_run(run, b);
	b->busy = false;
	st = b->st == ST_OK ? ST_OK : fail(err, b->st, "%s", b->err.text);
	if (b->over) {
		let_go(c->store);
		return fail(err, ST_GONE, "the binding is over");
	}
	*out = b;
	return st;
}

/* ---- requests ---- */

static enum st put_database(struct wire_rows_out *rows, const struct group *g,
			    const struct ese_backup_db *d)
{
	struct buf name = BUF_MAX(512);
	struct pw w;
	enum st st;

	buf_printf(&name, "%s/%s", g->name, d->name);
	wire_row_begin(rows, &w, 5);
	pw_span(&w, PR_DATABASE, buf_get(&name));
	pw_u64(&w, PR_DATABASE_ID, d->id);
	pw_u64(&w, PR_LOG_POSITION, d->position);
	pw_u64(&w, PR_STM_BYTES, d->stm_bytes);
	if (d->why)
		pw_str(&w, PR_REASON, d->why);
	st = wire_row_end(rows, &w);
	buf_free(&name);
	return st;
}

static enum st put_left_out(struct wire_rows_out *rows, const struct group *g)
{
	struct pw w;

	wire_row_begin(rows, &w, 2);
	pw_str(&w, PR_GROUP, g->name);
	pw_str(&w, PR_REASON, "it has circular logging: only full backups are possible");
	return wire_row_end(rows, &w);
}

static enum st put_group(struct wire_rows_out *rows, const struct held *h)
{
	struct ese_backup_info info;
	struct pw w;
	enum st st;

	if (!h->backup)
		return put_left_out(rows, h->group);

	ese_backup_info(h->backup, &info);
	wire_row_begin(rows, &w, 4);
	pw_str(&w, PR_GROUP, h->group->name);
	pw_span(&w, PR_LOG_SIGNATURE, span_of(info.signature, sizeof info.signature));
	pw_u32(&w, PR_BACKUP_FIRST, info.first_gen);
	pw_bool(&w, PR_BACKUP_CIRCULAR, info.circular);
	st = wire_row_end(rows, &w);
	for (size_t i = 0; st == ST_OK && i < info.ndbs; i++)
		st = put_database(rows, h->group, &info.dbs[i]);
	return st;
}

enum st serve_BACKUP_BEGIN(struct call *c, struct err *err)
{
	struct store *store = c->store;
	struct wire_rows_out rows;
	struct backup *b;
	enum st st;

	if (c->shard->index != 0)
		return fail(err, ST_BAD, "backups are made on the first loop");
	if (store->backup)
		return fail(err, ST_BUSY, "another backup is under way");
	b = backup_new(store, c->rq->binding_id, plist_bool(&c->in, PR_BACKUP_FULL, false));
	if (!b)
		return fail(err, ST_NOMEM, "out of memory");
	store->backup = b;
	st = step(c, begin_run, &b, err);
	if (st != ST_OK) {
		if (store->backup == b) {
			store->backup = NULL;
			backup_free(b);
		}
		return st;
	}
	wire_rows_begin(&rows, c->rq);
	for (size_t i = 0; st == ST_OK && i < b->n; i++)
		st = put_group(&rows, &b->held[i]);
	return call_rows_end(c, &rows, st, err);
}

enum st serve_BACKUP_ROLL(struct call *c, struct err *err)
{
	struct wire_rows_out rows;
	struct backup *b;
	enum st st = step(c, roll_run, &b, err);

	if (st != ST_OK)
		return st;
	wire_rows_begin(&rows, c->rq);
	for (size_t i = 0; st == ST_OK && i < b->n; i++) {
		struct pw w;

		wire_row_begin(&rows, &w, 2);
		pw_str(&w, PR_GROUP, b->held[i].group->name);
		pw_u32(&w, PR_BACKUP_NEXT, b->held[i].next);
		st = wire_row_end(&rows, &w);
	}
	return call_rows_end(c, &rows, st, err);
}

enum st serve_BACKUP_END(struct call *c, struct err *err)
{
	struct backup *b = c->store->backup;
	enum st st;

	if (b && b->binding == c->rq->binding_id && !b->busy)
		b->done = plist_bool(&c->in, PR_BACKUP_DONE, false);
	st = step(c, end_run, &b, err);
	if (c->store->backup && c->store->backup->binding == c->rq->binding_id &&
	    !c->store->backup->busy) {
		backup_free(c->store->backup);
		c->store->backup = NULL;
	}
	return st;
}

/* ---- the report ---- */

void backup_report(const struct store *store, struct buf *out)
{
	static const char *const chains[] = { "none", "whole", "broken" };

	for (const struct group *g = store->groups; g; g = g->next) {
		struct ese_logs l;

		if (!g->ese)
			continue;
		ese_logs(g->ese, &l);
		buf_printf(out,
			   "logs group=%s oldest=%" PRIu32 " kept_files=%" PRIu32
			   " kept_bytes=%" PRIu64 " chain=%s last_backup=%" PRIu64
			   " last_full=%" PRIu64 " under_way=%d\n",
			   g->name, l.from_gen, l.files, l.bytes, chains[l.chain],
			   l.backup_time / (uint64_t)NS_PER_SEC, l.full_time / (uint64_t)NS_PER_SEC,
			   l.backup_runs);
	}
}
