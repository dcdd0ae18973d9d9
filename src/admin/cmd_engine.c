/* cmd_engine.c - circular logging, giving space back, the scrubber. */
#include "admin/backup_words.h"
#include "admin/cli.h"
#include "admin/progress.h"
#include "admin/storelink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (1024u * 1024)

/* ---- group circular ---- */

struct switching {
	const char *group;
	bool on;
};

static enum st ask_circular(void *arg, struct exipc_chan *chan, struct err *err)
{
	const struct switching *s = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	m.deadline = NO_DEADLINE;
	pw_str(&m.w, PR_GROUP, s->group);
	pw_bool(&m.w, PR_LOG_CIRCULAR, s->on);
	st = wire_send(&m, chan, 0, WIRE_ADM_CIRCULAR, &a, err);
	wire_answer_free(&a);
	return st;
}

int cmd_group_circular(struct cli *c)
{
	struct switching s = { .group = c->args[0], .on = strcmp(c->args[1], "on") == 0 };
	struct err err;

	if (!s.on && strcmp(c->args[1], "off") != 0)
		return cli_misuse("on or off, not '%s'", c->args[1]);
	if (storelink_run(c->home, ask_circular, &s, &err) != ST_OK)
		return cli_fail(&err);
	if (s.on && !c->json)
		fprintf(stderr,
			"mailroot: from now on a restored backup of group %s can't be rolled forward; "
			"the next backup must be a full one\n",
			s.group);
	return 0;
}

/* ---- ese compact ---- */

struct compacting {
	struct cli *cli;
	const char *database;
	uint64_t rate;
	bool punch;
	struct progress progress;
	uint64_t moved, moved_bytes, before, punched;
	uint64_t left, damaged, now, free; /* as the last piece says */
	bool done;
};

static enum st piece(struct compacting *k, struct exipc_chan *chan, bool punch, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 3);
	m.deadline = NO_DEADLINE;
	pw_str(&m.w, PR_DATABASE, k->database);
	pw_u64(&m.w, PR_SPACE_RATE, k->rate);
	pw_bool(&m.w, PR_SPACE_PUNCH, punch);
	st = wire_send(&m, chan, 0, WIRE_ADM_COMPACT, &a, err);
	if (st == ST_OK) {
		k->moved += plist_u64(&a.list, PR_SPACE_MOVED, 0);
		k->moved_bytes += plist_u64(&a.list, PR_SPACE_MOVED_BYTES, 0);
		k->punched += plist_u64(&a.list, PR_SPACE_PUNCHED, 0);
		k->left = plist_u64(&a.list, PR_SPACE_LEFT, 0);
		k->damaged = plist_u64(&a.list, PR_SPACE_DAMAGED, 0);
		k->now = plist_u64(&a.list, PR_SPACE_NOW, 0);
		k->free = plist_u64(&a.list, PR_SPACE_FREE, 0);
		k->done = plist_bool(&a.list, PR_SPACE_DONE, true);
		if (!k->before)
			k->before = plist_u64(&a.list, PR_SPACE_BEFORE, 0);
		progress_bytes(&k->progress, "moved", k->moved_bytes, 0);
	}
	wire_answer_free(&a);
	return st;
}

static enum st ask_compact(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct compacting *k = arg;
	enum st st;

	do
		st = piece(k, chan, false, err);
	while (st == ST_OK && !k->done);
	return st == ST_OK && k->punch ? piece(k, chan, true, err) : st;
}

static void put_compacted(struct report *r, const struct compacting *k)
{
	report_table(r, "compacted", true);
	report_row(r);
	report_str(r, "database", k->database);
	report_num(r, "bytes_before", k->before);
	report_num(r, "bytes_now", k->now);
	report_num(r, "bytes_free", k->free);
	report_num(r, "bodies_moved", k->moved);
	report_num(r, "bytes_moved", k->moved_bytes);
	report_num(r, "bodies_left", k->left);
	report_num(r, "bodies_damaged", k->damaged);
	report_num(r, "bytes_punched", k->punched);
}

enum { COMPACT_DATABASE, COMPACT_RATE, COMPACT_PUNCH };

int cmd_ese_compact(struct cli *c)
{
	struct compacting k = { .cli = c, .database = "first/mailbox/default" };
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report report;
	struct err err;
	enum st st;
	int status;

	if (c->options[COMPACT_DATABASE])
		k.database = c->options[COMPACT_DATABASE];
	if (c->options[COMPACT_RATE] && !backup_rate(c->options[COMPACT_RATE], &k.rate))
		return CLI_MISUSED;
	k.punch = c->options[COMPACT_PUNCH] != NULL;
	progress_begin(&k.progress, !c->json);
	st = storelink_run(c->home, ask_compact, &k, &err);
	progress_end(&k.progress);
	if (st != ST_OK)
		return cli_fail(&err);
	report_open(&report, &text, c->json);
	put_compacted(&report, &k);
	report_close(&report);
	status = cli_print(&text);
	return status == CLI_DONE && k.damaged ? CLI_DAMAGE : status;
}

/* ---- ese scrub ---- */

struct scrubbing {
	struct cli *cli;
	uint32_t order;
	struct report report;
	bool found; /* damage */
};

static void database_row(struct report *r, const struct plist *row)
{
	report_row(r);
	report_span(r, "database", plist_span(row, PR_DATABASE));
	report_span(r, "state", plist_span(row, PR_SCRUB_STATE));
	report_num(r, "bytes_read", plist_u64(row, PR_SCRUB_READ, 0));
	report_num(r, "bytes", plist_u64(row, PR_SPACE_NOW, 0));
	report_time(r, "last_pass", (int64_t)plist_u64(row, PR_SCRUB_ENDED, 0));
	report_num(r, "findings", plist_u64(row, PR_SCRUB_FOUND, 0));
	report_num(r, "bytes_per_s", plist_u64(row, PR_SPACE_RATE, 0));
}

static void found_row(struct report *r, const struct plist *row)
{
	report_row(r);
	report_time(r, "found", (int64_t)plist_u64(row, PR_SCRUB_ENDED, 0));
	report_span(r, "kind", plist_span(row, PR_SCRUB_STATE));
	report_num(r, "body", plist_u64(row, PR_BODY_ID, 0));
	report_span(r, "what", plist_span(row, PR_REASON));
}

/* First the databases, then what was found. */
static enum st ask_scrub(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct scrubbing *s = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 2);
	m.deadline = NO_DEADLINE;
	pw_u32(&m.w, PR_SCRUB_ORDER, s->order);
	if (s->cli->options[0])
		pw_str(&m.w, PR_DATABASE, s->cli->options[0]);
	st = wire_send(&m, chan, 0, WIRE_ADM_SCRUB, &a, err);
	if (st == ST_OK) {
		report_table(&s->report, "scrubber", false);
		while ((st = wire_next_row(&a, err)) == ST_OK) {
			bool damage = !plist_has(&a.list, PR_DATABASE);

			if (damage && !s->found)
				report_table(&s->report, "damage", false);
			s->found = s->found || damage;
			(damage ? found_row : database_row)(&s->report, &a.list);
		}
		st = st == ST_EOF ? ST_OK : st;
	}
	wire_answer_free(&a);
	return st;
}

static int scrub(struct cli *c, uint32_t order)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct scrubbing s = { .cli = c, .order = order };
	struct err err;
	enum st st;
	int status;

	report_open(&s.report, &text, c->json);
	st = storelink_run(c->home, ask_scrub, &s, &err);
	report_close(&s.report);
	if (st != ST_OK) {
		buf_free(&text);
		return cli_fail(&err);
	}
	status = cli_print(&text);
	return status == CLI_DONE && s.found && order == WIRE_SCRUB_LOOK ? CLI_DAMAGE : status;
}

int cmd_ese_scrub_start(struct cli *c)
{
	return scrub(c, WIRE_SCRUB_START);
}

int cmd_ese_scrub_stop(struct cli *c)
{
	return scrub(c, WIRE_SCRUB_STOP);
}

int cmd_ese_scrub_status(struct cli *c)
{
	return scrub(c, WIRE_SCRUB_LOOK);
}
