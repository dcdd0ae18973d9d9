/* cmd_keep.c - deleted messages and mailboxes that are kept: listed, brought back, removed for good. */
#include "admin/cli.h"
#include "admin/progress.h"
#include "admin/storelink.h"
#include "base/timetext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (64u * 1024 * 1024)

struct errand {
	struct cli *cli;
	enum wire_op op;
	const char *user; /* whose mailbox; NULL: the request is not about one */
	void (*fill)(struct pw *w, const struct errand *e);
	void (*row)(struct report *r, const struct plist *row);
	const char *table;
	bool facts;   /* the answer is one list, not rows */
	uint64_t box; /* a mailbox without a user */
	uint64_t *ids;
	size_t nids;
	int64_t since;
	struct report report;
	struct progress progress;
};

/* ---- asking ---- */

static enum st mailbox_of(const struct errand *e, struct exipc_chan *chan, uint64_t *mailbox,
			  struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	pw_str(&m.w, PR_ADDRESS, e->user);
	st = wire_send(&m, chan, 0, WIRE_DS_RESOLVE, &a, err);
	*mailbox = st == ST_OK ? plist_u64(&a.list, PR_MAILBOX_ID, 0) : 0;
	if (st == ST_OK && !*mailbox)
		st = fail(err, ST_BAD, "'%s' is an alias, not a user", e->user);
	if (st == ST_NOTFOUND)
		st = fail(err, ST_NOTFOUND, "there is no user '%s'", e->user);
	wire_answer_free(&a);
	return st;
}

static enum st take_answer(struct errand *e, struct wire_answer *a, struct err *err)
{
	uint64_t done = 0;
	enum st st = ST_OK;

	if (!e->row)
		return ST_OK;
	if (e->facts) {
		report_row(&e->report);
		e->row(&e->report, &a->list);
		done = plist_u64(&a->list, PR_KEPT_COUNT, 0);
	}
	while (!e->facts && (st = wire_next_row(a, err)) == ST_OK) {
		report_row(&e->report);
		e->row(&e->report, &a->list);
		progress_tell(&e->progress, e->table, ++done, e->nids, "messages");
	}
	if (st == ST_EOF || st == ST_OK)
		st = done < e->nids ? fail(err, ST_NOTFOUND,
					   "only %llu of the %zu messages are kept in the mailbox",
					   (unsigned long long)done, e->nids)
				    : ST_OK;
	return st;
}

static enum st ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct errand *e = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	uint64_t mailbox = 0;
	enum st st = e->user ? mailbox_of(e, chan, &mailbox, err) : ST_OK;

	if (st != ST_OK)
		return st;
	wire_begin(&m, 8);
	/* As long as it takes: it may move a hundred thousand messages. */
	m.deadline = NO_DEADLINE;
	if (e->user)
		pw_u64(&m.w, PR_MAILBOX_ID, mailbox);
	if (e->fill)
		e->fill(&m.w, e);
	st = wire_send(&m, chan, wire_loop(chan, mailbox), e->op, &a, err);
	if (st == ST_OK)
		st = take_answer(e, &a, err);
	wire_answer_free(&a);
	return st;
}

/* What was done before a failure is told too. */
static int run(struct errand *e)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct err err;
	enum st st;

	if (e->row) {
		report_open(&e->report, &text, e->cli->json);
		report_table(&e->report, e->table, e->facts);
	}
	progress_begin(&e->progress, !e->cli->json);
	st = storelink_run(e->cli->home, ask, e, &err);
	progress_end(&e->progress);
	if (e->row)
		report_close(&e->report);
	free(e->ids);
	if (st == ST_OK)
		return cli_print(&text);
	if (e->row && e->report.any_row)
		(void)cli_print(&text);
	else
		buf_free(&text);
	return cli_fail(&err);
}

/* ---- words ---- */

static int misuse(const char *what, const char *word)
{
	return cli_misuse("%s%s%s", what, word ? ": " : "", word ? word : "");
}

/* The arguments behind the user are numbers of messages, or there is --all. */
static int read_ids(struct errand *e, bool all)
{
	struct cli *c = e->cli;

	if (all == (c->nargs > 1))
		return misuse(
			"give numbers of messages as 'mailroot deleted list' shows them, or --all",
			NULL);
	if (all)
		return 0;
	e->ids = calloc((size_t)c->nargs, sizeof *e->ids);
	if (!e->ids) {
		fprintf(stderr, "mailroot: out of memory\n");
		return CLI_FAILED;
	}
	for (int i = 1; i < c->nargs; i++)
		if (!span_u64(span_str(c->args[i]), &e->ids[e->nids++])) {
			free(e->ids);
			return misuse("this is not the number of a message", c->args[i]);
		}
	return 0;
}

static void fill_ids(struct pw *w, const struct errand *e)
{
	if (e->ids)
		pw_mv_num(w, PR_KEPT_IDS, e->ids, e->nids);
}

/* ---- deleted list ---- */

enum { LIST_FOLDER, LIST_SINCE, LIST_SUBJECT, LIST_FROM };

static void fill_list(struct pw *w, const struct errand *e)
{
	const char *const *o = e->cli->options;

	if (o[LIST_FOLDER])
		pw_str(w, PR_FOLDER_PATH, o[LIST_FOLDER]);
	if (e->since)
		pw_u64(w, PR_SINCE, (uint64_t)e->since);
	if (o[LIST_SUBJECT])
		pw_str(w, PR_SUBJECT, o[LIST_SUBJECT]);
	if (o[LIST_FROM])
		pw_str(w, PR_DISPLAY_FROM, o[LIST_FROM]);
}

static void deleted_row(struct report *r, const struct plist *row)
{
	report_num(r, "id", plist_u64(row, PR_KEPT_ID, 0));
	report_time(r, "deleted", (int64_t)plist_u64(row, PR_DELETED_ON, 0));
	if (plist_has(row, PR_REMOVED_AFTER))
		report_time(r, "kept_until", (int64_t)plist_u64(row, PR_REMOVED_AFTER, 0));
	else
		report_str(r, "kept_until", "backup");
	report_span(r, "folder", plist_span(row, PR_FOLDER_PATH));
	report_time(r, "date", (int64_t)plist_u64(row, PR_MESSAGE_DELIVERY_TIME, 0));
	report_num(r, "bytes", plist_u64(row, PR_MESSAGE_SIZE_EXTENDED, 0));
	report_span(r, "from", plist_span(row, PR_DISPLAY_FROM));
	report_span(r, "subject", plist_span(row, PR_SUBJECT));
}

int cmd_deleted_list(struct cli *c)
{
	struct errand e = { .cli = c,
			    .op = WIRE_KEEP_LIST,
			    .user = c->args[0],
			    .fill = fill_list,
			    .row = deleted_row,
			    .table = "deleted" };
	int status = cli_time(c, LIST_SINCE, &e.since);

	return status ? status : run(&e);
}

/* ---- deleted restore ---- */

enum { RESTORE_ALL, RESTORE_TO };

static void fill_restore(struct pw *w, const struct errand *e)
{
	fill_ids(w, e);
	if (e->cli->options[RESTORE_TO])
		pw_str(w, PR_FOLDER_PATH, e->cli->options[RESTORE_TO]);
}

static void restored_row(struct report *r, const struct plist *row)
{
	report_num(r, "id", plist_u64(row, PR_KEPT_ID, 0));
	report_span(r, "folder", plist_span(row, PR_FOLDER_PATH));
	report_num(r, "uid", plist_u32(row, PR_INTERNET_ARTICLE_NUMBER, 0));
}

int cmd_deleted_restore(struct cli *c)
{
	struct errand e = { .cli = c,
			    .op = WIRE_KEEP_RESTORE,
			    .user = c->args[0],
			    .fill = fill_restore,
			    .row = restored_row,
			    .table = "restored" };
	int status = read_ids(&e, c->options[RESTORE_ALL] != NULL);

	return status ? status : run(&e);
}

/* ---- deleted purge, deleted expire ---- */

enum { PURGE_ALL, PURGE_YES };

static void purged_row(struct report *r, const struct plist *row)
{
	report_num(r, "removed", plist_u64(row, PR_KEPT_COUNT, 0));
}

int cmd_deleted_purge(struct cli *c)
{
	struct errand e = { .cli = c,
			    .op = WIRE_KEEP_PURGE,
			    .user = c->args[0],
			    .fill = fill_ids,
			    .row = purged_row,
			    .table = "purged",
			    .facts = true };
	int status = read_ids(&e, c->options[PURGE_ALL] != NULL);

	if (status)
		return status;
	if (!c->options[PURGE_YES]) {
		free(e.ids);
		return misuse(
			"nothing brings these messages back; say --yes to remove them for good",
			NULL);
	}
	return run(&e);
}

int cmd_deleted_expire(struct cli *c)
{
	struct errand e = { .cli = c,
			    .op = WIRE_KEEP_EXPIRE,
			    .row = purged_row,
			    .table = "expired",
			    .facts = true };

	return run(&e);
}

/* ---- mailboxes of users who were removed ---- */

static void removed_row(struct report *r, const struct plist *row)
{
	report_num(r, "id", plist_u64(row, PR_MAILBOX_ID, 0));
	report_span(r, "user", plist_span(row, PR_USER));
	report_time(r, "removed", (int64_t)plist_u64(row, PR_DELETED_ON, 0));
	if (plist_has(row, PR_REMOVED_AFTER))
		report_time(r, "kept_until", (int64_t)plist_u64(row, PR_REMOVED_AFTER, 0));
	else
		report_str(r, "kept_until", "backup");
	report_num(r, "messages", plist_u32(row, PR_CONTENT_COUNT, 0));
	report_num(r, "bytes", plist_u64(row, PR_FOLDER_SIZE, 0));
	report_num(r, "deleted_messages", plist_u64(row, PR_KEPT_COUNT, 0));
	report_num(r, "deleted_bytes", plist_u64(row, PR_KEPT_SIZE, 0));
}

static void reconnected_row(struct report *r, const struct plist *row)
{
	report_span(r, "user", plist_span(row, PR_USER));
}

static void fill_box(struct pw *w, const struct errand *e)
{
	pw_u64(w, PR_MAILBOX_ID, e->box);
	if (e->cli->nargs > 1)
		pw_str(w, PR_USER, e->cli->args[1]);
}

int cmd_mailbox_removed(struct cli *c)
{
	struct errand e = {
		.cli = c, .op = WIRE_REMOVED_LIST, .row = removed_row, .table = "removed"
	};

	return run(&e);
}

static int run_on_box(struct errand *e)
{
	if (!span_u64(span_str(e->cli->args[0]), &e->box))
		return misuse(
			"this is not the id of a mailbox, as 'mailroot mailbox removed' shows it",
			e->cli->args[0]);
	return run(e);
}

int cmd_mailbox_reconnect(struct cli *c)
{
	struct errand e = { .cli = c,
			    .op = WIRE_REMOVED_RECONNECT,
			    .fill = fill_box,
			    .row = reconnected_row,
			    .table = "reconnected",
			    .facts = true };

	return run_on_box(&e);
}

int cmd_mailbox_purge(struct cli *c)
{
	struct errand e = { .cli = c, .op = WIRE_REMOVED_PURGE, .fill = fill_box };

	if (!c->options[0])
		return misuse("nothing brings this mailbox back; say --yes to remove it for good",
			      NULL);
	return run_on_box(&e);
}
