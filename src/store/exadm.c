/* exadm.c - what the administrator asks. */
#include "store/call.h"
#include "store/exbackup.h"
#include "store/database.h"

#include <inttypes.h>

/* The report: a line for each row, the name of its table and then key=value, without blanks in either. */
static void put(struct buf *out, const char *key, uint64_t value)
{
	buf_printf(out, " %s=%" PRIu64, key, value);
}

static void put_store(struct buf *out, const struct store *s)
{
	buf_str(out, "store");
	put(out, "started", (uint64_t)(s->started / NS_PER_SEC));
	put(out, "uptime_s", (uint64_t)((clock_real() - s->started) / NS_PER_SEC));
	buf_char(out, '\n');
	for (const struct database *db = s->databases; db; db = db->next) {
		if (db->state == DATABASE_REMOVED)
			continue;
		buf_str(out, "databases name=");
		database_full_name(db, out);
		buf_printf(out, " id=0x%016" PRIx64 " state=%s\n", db->id,
			   database_state_name(db->state));
	}
}

static void add(struct ese_stats *sum, const struct ese_stats *e)
{
	sum->commits += e->commits;
	sum->log_bytes += e->log_bytes;
	sum->log_syncs += e->log_syncs;
	sum->bodies += e->bodies;
	sum->pages_total += e->pages_total;
	sum->pages_free += e->pages_free;
	sum->pages_reserved += e->pages_reserved;
	sum->pins += e->pins;
	sum->queue_bytes += e->queue_bytes;
	sum->recovered_records += e->recovered_records;
	sum->recovery_ns += e->recovery_ns;
	sum->refusing |= e->refusing;
}

/* What all groups did together. */
static void put_engine(struct buf *out, const struct store *s)
{
	struct ese_stats e, sum = { 0 };

	for (const struct group *g = s->groups; g; g = g->next)
		if (g->ese) {
			ese_stats(g->ese, &e);
			add(&sum, &e);
		}
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{ "commits", sum.commits },
		{ "log_bytes", sum.log_bytes },
		{ "log_syncs", sum.log_syncs },
		{ "bodies", sum.bodies },
		{ "pages_total", sum.pages_total },
		{ "pages_free", sum.pages_free },
		{ "pages_reserved", sum.pages_reserved },
		{ "pins", sum.pins },
		{ "queue_bytes", sum.queue_bytes },
		{ "recovered_records", sum.recovered_records },
		{ "recovery_us", sum.recovery_ns / 1000 },
		{ "refusing", sum.refusing },
	};

	buf_str(out, "engine");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		put(out, rows[i].key, rows[i].value);
	buf_char(out, '\n');
}

static void put_groups(struct buf *out, const struct store *s)
{
	for (const struct group *g = s->groups; g; g = g->next) {
		struct ese_stats e = { 0 };

		if (g->ese)
			ese_stats(g->ese, &e);
		buf_printf(out, "groups group=%s state=%s", g->name, g->ese ? "up" : "failed");
		put(out, "commits", e.commits);
		put(out, "log_syncs", e.log_syncs);
		put(out, "log_position", e.log_position);
		put(out, "applied_position", e.applied_position);
		put(out, "checkpoint_position", e.checkpoint_position);
		put(out, "refusing", e.refusing);
		buf_char(out, '\n');
	}
}

static void put_loops(struct buf *out, const struct store *s)
{
	for (unsigned i = 0; i < s->nshards; i++) {
		const struct shard *sh = &s->shards[i];
		struct loop_stats l;

		loop_stats(sh->loop, &l);
		buf_str(out, "loops");
		put(out, "loop", i);
		put(out, "mailboxes", sh->mailboxes_loaded);
		put(out, "indexes", sh->indexes_loaded);
		put(out, "index_bytes", sh->index_bytes_seen);
		put(out, "logons", sh->logons_now);
		put(out, "files_being_written", sh->vfiles_now);
		put(out, "fibers", l.fibers_now);
		put(out, "busy_us", (uint64_t)l.busy_ns / 1000);
		buf_char(out, '\n');
	}
}

static void put_requests(struct buf *out, const struct store *s)
{
	for (size_t r = 0; r < wire_nrows; r++) {
		uint64_t requests = 0, failures = 0, ns = 0;

		for (unsigned i = 0; i < s->nshards; i++) {
			const struct op_figures *f = &s->shards[i].ops[wire_rows[r].number];

			requests += f->requests;
			failures += f->failures;
			ns += f->nanoseconds;
		}
		if (!requests)
			continue;
		buf_printf(out, "requests request=%s", wire_rows[r].name);
		put(out, "count", requests);
		put(out, "failed", failures);
		put(out, "mean_us", ns / requests / 1000);
		buf_char(out, '\n');
	}
}

enum st serve_ADM_STATUS(struct call *c, struct err *err)
{
	struct buf text = BUF_MAX(262144);
	enum st st = ST_OK;

	put_store(&text, c->store);
	put_engine(&text, c->store);
	put_groups(&text, c->store);
	backup_report(c->store, &text);
	put_loops(&text, c->store);
	put_requests(&text, c->store);
	if (text.failed)
		st = fail(err, ST_NOMEM, "out of memory");
	else
		pw_span(call_reply(c, 1), PR_REPORT, buf_get(&text));
	buf_free(&text);
	return st;
}

struct checkpoint {
	struct store *store;
	enum st st;
	struct err err;
};

static void checkpoint_run(void *arg)
{
	struct checkpoint *p = arg;

	p->st = ST_OK;
	for (struct group *g = p->store->groups; g && p->st == ST_OK; g = g->next)
		if (g->ese)
			p->st = ese_checkpoint(g->ese, &p->err);
}

enum st serve_ADM_CHECKPOINT(struct call *c, struct err *err)
{
	struct checkpoint p = { .store = c->store };

	work_run(checkpoint_run, &p);
	return p.st == ST_OK ? ST_OK : fail(err, p.st, "%s", p.err.text);
}
