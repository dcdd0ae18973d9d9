/* exadm.c - what the administrator asks. */
#include "store/call.h"

#include <inttypes.h>

static void put_engine(struct buf *out, struct store *s)
{
	struct ese_stats e;

	ese_stats(s->ese, &e);
	buf_printf(out,
		   "\"databases\":[{\"name\":\"mailbox/default\",\"id\":\"%016" PRIx64 "\"}],"
		   "\"engine\":{\"commits\":%" PRIu64 ",\"log_bytes\":%" PRIu64
		   ",\"log_syncs\":%" PRIu64 ",\"log_position\":%" PRIu64
		   ",\"applied_position\":%" PRIu64 ",\"checkpoint_position\":%" PRIu64,
		   s->db_id, e.commits, e.log_bytes, e.log_syncs, e.log_position,
		   e.applied_position, e.checkpoint_position);
	buf_printf(out,
		   ",\"bodies\":%" PRIu64 ",\"pages_total\":%" PRIu64 ",\"pages_free\":%" PRIu64
		   ",\"pages_reserved\":%" PRIu64 ",\"pins\":%" PRIu64 ",\"queue_bytes\":%" PRIu64
		   ",\"recovered_records\":%" PRIu64 ",\"recovery_ns\":%" PRIu64
		   ",\"refusing\":%s}",
		   e.bodies, e.pages_total, e.pages_free, e.pages_reserved, e.pins, e.queue_bytes,
		   e.recovered_records, e.recovery_ns, e.refusing ? "true" : "false");
}

static void put_loops(struct buf *out, const struct store *s)
{
	buf_str(out, ",\"loops\":[");
	for (unsigned i = 0; i < s->nshards; i++) {
		const struct shard *sh = &s->shards[i];
		struct loop_stats l;

		loop_stats(sh->loop, &l);
		buf_printf(out,
			   "%s{\"mailboxes\":%" PRIu64 ",\"indexes\":%" PRIu64
			   ",\"index_bytes\":%" PRIu64 ",\"logons\":%" PRIu64
			   ",\"files_being_written\":%" PRIu64 ",\"fibers\":%u,\"busy_ns\":%" PRId64
			   "}",
			   i ? "," : "", sh->mailboxes_loaded, sh->indexes_loaded,
			   sh->index_bytes_seen, sh->logons_now, sh->vfiles_now, l.fibers_now,
			   l.busy_ns);
	}
	buf_char(out, ']');
}

static void put_requests(struct buf *out, const struct store *s)
{
	bool first = true;

	buf_str(out, ",\"requests\":{");
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
		buf_printf(out,
			   "%s\"%s\":{\"count\":%" PRIu64 ",\"failed\":%" PRIu64
			   ",\"mean_us\":%" PRIu64 "}",
			   first ? "" : ",", wire_rows[r].name, requests, failures,
			   ns / requests / 1000);
		first = false;
	}
	buf_char(out, '}');
}

enum st serve_ADM_STATUS(struct call *c, struct err *err)
{
	struct buf json = BUF_MAX(262144);
	enum st st = ST_OK;

	buf_printf(&json, "{\"started\":%" PRId64 ",\"uptime_s\":%" PRId64 ",",
		   (int64_t)(c->store->started / NS_PER_SEC),
		   (int64_t)((clock_real() - c->store->started) / NS_PER_SEC));
	put_engine(&json, c->store);
	put_loops(&json, c->store);
	put_requests(&json, c->store);
	buf_char(&json, '}');
	if (json.failed)
		st = fail(err, ST_NOMEM, "out of memory");
	else
		pw_span(call_reply(c, 1), PR_REPORT, buf_get(&json));
	buf_free(&json);
	return st;
}

struct checkpoint {
	struct ese *ese;
	enum st st;
	struct err err;
};

static void checkpoint_run(void *arg)
{
	struct checkpoint *p = arg;

	p->st = ese_checkpoint(p->ese, &p->err);
}

enum st serve_ADM_CHECKPOINT(struct call *c, struct err *err)
{
	struct checkpoint p = { .ese = c->store->ese };

	work_run(checkpoint_run, &p);
	return p.st == ST_OK ? ST_OK : fail(err, p.st, "%s", p.err.text);
}
