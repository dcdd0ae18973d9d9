/* cmd_server.c - looking at a running server: status, store, ipc, queue. */
#include "admin/cli.h"
#include "admin/control.h"
#include "admin/storelink.h"
#include "base/pool.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#define ANSWER_MAX (64u * 1024 * 1024)
#define POOL_MAX   (4u * 1024 * 1024)

static enum st ask_program(struct cli *c, const char *socket_name, const char *verb,
			   struct buf *text, struct err *err)
{
	char path[4200];
	enum st st;

	snprintf(path, sizeof path, "%s/run/%s", c->home, socket_name);
	st = control_ask(path, verb, c->json, text, err);
	if (st == ST_NOTFOUND)
		err->st = ST_GONE;
	return st;
}

static int finish(struct buf *text, enum st st, const struct err *err)
{
	if (st == ST_OK)
		return cli_print(text);
	buf_free(text);
	return cli_fail(err);
}

/* Two reports become one: the tables of both. */
static void join_reports(struct buf *first, const struct buf *second, bool json)
{
	struct span more = buf_get(second);

	if (!json) {
		buf_char(first, '\n');
	} else {
		first->len -= strlen("}\n");
		buf_char(first, ',');
		more = span_skip(more, strlen("{"));
	}
	buf_span(first, more);
}

/* Wait until the protocol host's control socket answers: it is made last, once everything serves.  The run
 * folder is watched, nothing is polled. */
static enum st wait_serving(const char *home, int64_t deadline, struct err *err)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	char path[4200], events[4096];
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	enum st st;

	snprintf(path, sizeof path, "%s/run", home);
	if (fd < 0 || inotify_add_watch(fd, path, IN_CREATE | IN_ATTRIB) < 0) {
		st = fail_errno(err, "watch %s", path);
		if (fd >= 0)
			close(fd);
		return st;
	}
	snprintf(path, sizeof path, "%s/run/inet", home);
	while ((st = control_ask(path, "status", false, &text, err)) == ST_NOTFOUND) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = (deadline - clock_mono()) / NS_PER_MS;

		if (left <= 0 || poll(&p, 1, (int)left) == 0) {
			st = fail(err, ST_TIMEOUT, "the server of %s does not serve yet", home);
			break;
		}
		while (read(fd, events, sizeof events) > 0)
			;
	}
	buf_free(&text);
	close(fd);
	return st;
}

int cmd_status(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX), counters = BUF_MAX(ANSWER_MAX);
	struct err err, ignored;
	uint32_t seconds;
	enum st st;

	if (c->options[0]) {
		if (!span_u32(span_str(c->options[0]), &seconds) || seconds > 86400) {
			return cli_misuse("--wait takes seconds, not '%s'", c->options[0]);
		}
		if (wait_serving(c->home, deadline_in_ms((int64_t)seconds * 1000), &err) != ST_OK) {
			if (err.st == ST_TIMEOUT)
				err.st = ST_GONE;
			return cli_fail(&err);
		}
	}
	st = ask_program(c, "mailrootd", "status", &text, &err);
	/* While the protocol host is being started again there is nobody who counts. */
	if (st == ST_OK && ask_program(c, "inet", "status", &counters, &ignored) == ST_OK)
		join_reports(&text, &counters, c->json);
	buf_free(&counters);
	return finish(&text, st, &err);
}

int cmd_queue(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct err err;
	enum st st = ask_program(c, "inet", "queue", &text, &err);

	return finish(&text, st, &err);
}

/* ---- the store's figures ---- */

/* The store's answer is copied, since names of tables and columns must outlive the row. */
struct store_report {
	struct report *report;
	struct pool *pool;
	const char *table;
};

static const char *keep(struct store_report *s, struct span name)
{
	return pool_cstr(s->pool, name);
}

/* "table key=value key=value": a row of that table. */
static bool take_row(struct store_report *s, struct span line)
{
	struct span rest, table = span_split(line, ' ', &rest);

	if (!s->table || !span_eq(table, span_str(s->table))) {
		s->table = keep(s, table);
		if (!s->table)
			return false;
		report_table(s->report, s->table,
			     span_eq(table, SPAN("store")) || span_eq(table, SPAN("engine")));
	}
	report_row(s->report);
	while (rest.len > 0) {
		struct span value, key = span_split(span_split(rest, ' ', &rest), '=', &value);
		const char *name = keep(s, key);
		uint64_t number;

		if (!name)
			return false;
		if (span_u64(value, &number))
			report_num(s->report, name, number);
		else
			report_span(s->report, name, value);
	}
	return true;
}

static enum st ask_report(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct store_report *s = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct span rest;
	enum st st;

	wire_begin(&m, 1);
	st = wire_send(&m, chan, 0, WIRE_ADM_STATUS, &a, err);
	rest = st == ST_OK ? plist_span(&a.list, PR_REPORT) : SPAN_NONE;
	while (st == ST_OK && rest.len > 0)
		if (!take_row(s, span_split(rest, '\n', &rest)))
			st = fail(err, ST_NOMEM, "out of memory for the store's answer");
	wire_answer_free(&a);
	return st;
}

int cmd_store(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report r;
	struct store_report s = { .report = &r, .pool = pool_new("store report", POOL_MAX) };
	struct err err = { 0 };
	enum st st;

	report_open(&r, &text, c->json);
	st = s.pool ? storelink_run(c->home, ask_report, &s, &err)
		    : fail(&err, ST_NOMEM, "out of memory");
	report_close(&r);
	pool_free(s.pool);
	return finish(&text, st, &err);
}

/* ---- ExIPC ---- */

static void pair_row(void *arg, const struct exipc_pair_view *v)
{
	struct report *r = arg;

	report_row(r);
	report_str(r, "client", v->client);
	report_num(r, "pid", v->pid);
	report_num(r, "loop", v->client_loop);
	report_num(r, "store_loop", v->store_loop);
	report_num(r, "client_queue", v->client_queue);
	report_num(r, "store_queue", v->store_queue);
	report_num(r, "client_blocks", v->client_blocks);
	report_num(r, "store_blocks", v->store_blocks);
	report_num(r, "requests", v->requests);
	report_num(r, "replies", v->replies);
	report_num(r, "notices", v->notifications);
	report_num(r, "client_wakeups", v->client_wakeups);
	report_num(r, "store_wakeups", v->store_wakeups);
	report_num(r, "client_sleeps", v->client_sleeps);
	report_num(r, "store_sleeps", v->store_sleeps);
	report_num(r, "oldest_us", v->oldest_request_ns / 1000);
	report_num(r, "ring_full", v->ring_full);
	report_num(r, "heap_full", v->heap_full);
	report_num(r, "rejected", v->rejected);
}

static void role_names(struct report *r, unsigned roles)
{
	report_str(r, "who",
		   roles == (ROLE_HOST | ROLE_ADMIN) ? "host, admin"
		   : roles == ROLE_HOST              ? "host"
						     : "admin");
}

static void list_requests(struct report *r)
{
	report_table(r, "requests", false);
	for (size_t i = 0; i < wire_nrows; i++) {
		report_row(r);
		report_num(r, "number", wire_rows[i].number);
		report_str(r, "name", wire_rows[i].name);
		report_str(r, "stub", wire_rows[i].stub);
		role_names(r, wire_rows[i].roles);
		report_str(r, "request", wire_rows[i].in);
		report_str(r, "reply", wire_rows[i].out);
	}
}

int cmd_ipc(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct err err = { 0 };
	struct report r;
	char path[4200];
	enum st st = ST_OK;

	report_open(&r, &text, c->json);
	if (c->options[0]) {
		list_requests(&r);
	} else {
		snprintf(path, sizeof path, "%s/run/exipc", c->home);
		report_table(&r, "queues", false);
		st = exipc_observe(path, pair_row, &r, &err);
	}
	report_close(&r);
	if (st == ST_NOTFOUND)
		fail(&err, ST_GONE, "nobody listens at %s: the server is not running", path);
	return finish(&text, st, &err);
}
