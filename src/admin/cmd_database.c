/* cmd_database.c - storage groups, databases, and where a user's mailbox is. */
#include "admin/cli.h"
#include "admin/storelink.h"
#include "base/timetext.h"

#include <stdio.h>

#define ANSWER_MAX (64u * 1024 * 1024)

struct order {
	struct cli *cli;
	enum wire_op op;
	void (*fill)(struct pw *w, const struct order *o);
};

static enum st order_ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	const struct order *o = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 4);
	/* As long as it takes: sessions end, files are opened, mailboxes are copied. */
	m.deadline = NO_DEADLINE;
	o->fill(&m.w, o);
	st = wire_send(&m, chan, 0, o->op, &a, err);
	wire_answer_free(&a);
	return st;
}

static int order_run(struct cli *c, enum wire_op op,
		     void (*fill)(struct pw *w, const struct order *o))
{
	struct order o = { c, op, fill };
	struct err err;

	return storelink_run(c->home, order_ask, &o, &err) == ST_OK ? CLI_DONE : cli_fail(&err);
}

/* ---- databases ---- */

static void fill_database(struct pw *w, const struct order *o)
{
	pw_str(w, PR_DATABASE, o->cli->args[0]);
}

static void fill_mount(struct pw *w, const struct order *o)
{
	fill_database(w, o);
	pw_bool(w, PR_MOUNTED, true);
}

static void fill_dismount(struct pw *w, const struct order *o)
{
	fill_database(w, o);
	pw_bool(w, PR_MOUNTED, false);
}

static void fill_remove(struct pw *w, const struct order *o)
{
	fill_database(w, o);
	if (o->cli->options[1])
		pw_bool(w, PR_WITH_MAILBOXES, true);
}

static void fill_move(struct pw *w, const struct order *o)
{
	fill_database(w, o);
	pw_str(w, PR_NEW_DATABASE, o->cli->args[1]);
}

int cmd_database_create(struct cli *c)
{
	return order_run(c, WIRE_ADM_DATABASE_CREATE, fill_database);
}

int cmd_database_mount(struct cli *c)
{
	return order_run(c, WIRE_ADM_DATABASE_MOUNT, fill_mount);
}

int cmd_database_dismount(struct cli *c)
{
	return order_run(c, WIRE_ADM_DATABASE_MOUNT, fill_dismount);
}

int cmd_database_remove(struct cli *c)
{
	if (!c->options[0])
		return cli_misuse(
			"this deletes %s and its files for good; say --yes if you mean it",
			c->args[0]);
	return order_run(c, WIRE_ADM_DATABASE_REMOVE, fill_remove);
}

int cmd_database_move(struct cli *c)
{
	return order_run(c, WIRE_ADM_DATABASE_MOVE, fill_move);
}

/* ---- lists ---- */

struct list {
	struct report report;
	bool databases; /* or the groups */
};

static void database_row(struct report *r, const struct plist *l)
{
	report_row(r);
	report_span(r, "database", plist_span(l, PR_DATABASE));
	report_span(r, "state", plist_span(l, PR_STATE));
	report_bool(r, "clean", plist_bool(l, PR_CLEAN, false));
	report_num(r, "mailboxes", plist_u64(l, PR_MAILBOXES, 0));
	report_num(r, "messages", plist_u64(l, PR_MESSAGES, 0));
	report_num(r, "bodies", plist_u64(l, PR_BODIES, 0));
	report_num(r, "edb_bytes", plist_u64(l, PR_EDB_BYTES, 0));
	report_num(r, "stm_bytes", plist_u64(l, PR_STM_BYTES, 0));
	report_span(r, "reason", plist_span(l, PR_REASON));
}

static void group_row(struct report *r, const struct plist *l)
{
	int64_t time = (int64_t)plist_u64(l, PR_LOG_TIME, 0);
	char backup[TIME_TEXT] = "never";

	if (time)
		time_write(backup, time, 0);
	report_row(r);
	report_span(r, "group", plist_span(l, PR_GROUP));
	report_span(r, "state", plist_span(l, PR_STATE));
	report_bool(r, "circular", plist_bool(l, PR_LOG_CIRCULAR, false));
	report_str(r, "last_backup", backup);
	report_num(r, "logs_kept_bytes", plist_u64(l, PR_LOG_BYTES, 0));
	report_span(r, "reason", plist_span(l, PR_REASON));
}

static enum st list_ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct list *list = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	m.deadline = NO_DEADLINE;
	st = wire_send(&m, chan, 0, WIRE_ADM_DATABASES, &a, err);
	if (st == ST_OK) {
		while ((st = wire_next_row(&a, err)) == ST_OK)
			if (plist_has(&a.list, PR_DATABASE) == list->databases)
				(list->databases ? database_row : group_row)(&list->report,
									     &a.list);
		if (st == ST_EOF)
			st = ST_OK;
	}
	wire_answer_free(&a);
	return st;
}

static int list_run(struct cli *c, bool databases)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct list list = { .databases = databases };
	struct err err;
	enum st st;

	report_open(&list.report, &text, c->json);
	report_table(&list.report, databases ? "databases" : "groups", false);
	st = storelink_run(c->home, list_ask, &list, &err);
	report_close(&list.report);
	if (st == ST_OK)
		return cli_print(&text);
	buf_free(&text);
	return cli_fail(&err);
}

int cmd_database_list(struct cli *c)
{
	return list_run(c, true);
}

int cmd_group_list(struct cli *c)
{
	return list_run(c, false);
}

/* ---- space ---- */

static void space_row(struct report *r, const struct plist *l)
{
	static const char *const names[] = { "free_runs", "longest_run", "free_at_end" };

	report_row(r);
	report_span(r, "database", plist_span(l, PR_DATABASE));
	report_num(r, "edb_bytes", plist_u64(l, PR_EDB_BYTES, 0));
	report_num(r, "stm_bytes", plist_u64(l, PR_STM_BYTES, 0));
	report_num(r, "pages_committed", plist_u64(l, PR_PAGES_COMMITTED, 0));
	report_num(r, "pages_free", plist_u64(l, PR_PAGES_FREE, 0));
	report_num(r, "pages_reserved", plist_u64(l, PR_PAGES_RESERVED, 0));
	for (size_t i = 0; i < 3; i++)
		report_num(r, names[i], plist_mv_num(l, PR_FREE_RUNS, i));
}

static void mailbox_row(struct report *r, const struct plist *l)
{
	report_row(r);
	report_span(r, "mailbox", plist_span(l, PR_USER));
	report_span(r, "database", plist_span(l, PR_DATABASE));
	report_num(r, "messages", plist_u64(l, PR_MESSAGES, 0));
	report_num(r, "bytes", plist_u64(l, PR_MESSAGE_SIZE_EXTENDED, 0));
	report_num(r, "on_pages", plist_u64(l, PR_STM_BYTES, 0));
	report_num(r, "shared", plist_u64(l, PR_SHARED_BYTES, 0));
	report_num(r, "kept", plist_u64(l, PR_KEPT_BYTES, 0));
}

/* Two tables out of one answer: the databases come first. */
static enum st space_ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct list *list = arg;
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	m.deadline = NO_DEADLINE;
	st = wire_send(&m, chan, 0, WIRE_ADM_SPACE, &a, err);
	while (st == ST_OK && (st = wire_next_row(&a, err)) == ST_OK) {
		bool database = !plist_has(&a.list, PR_USER);

		if (!database && list->databases)
			report_table(&list->report, "mailboxes", false);
		list->databases &= database;
		(database ? space_row : mailbox_row)(&list->report, &a.list);
	}
	wire_answer_free(&a);
	if (list->databases)
		report_table(&list->report, "mailboxes", false);
	return st == ST_EOF ? ST_OK : st;
}

int cmd_ese_space(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct list list = { .databases = true };
	struct err err;
	enum st st;

	report_open(&list.report, &text, c->json);
	report_table(&list.report, "databases", false);
	st = storelink_run(c->home, space_ask, &list, &err);
	report_close(&list.report);
	if (st == ST_OK)
		return cli_print(&text);
	buf_free(&text);
	return cli_fail(&err);
}

/* ---- groups and users ---- */

static void fill_group(struct pw *w, const struct order *o)
{
	pw_str(w, PR_GROUP, o->cli->args[0]);
}

static void fill_user(struct pw *w, const struct order *o)
{
	pw_str(w, PR_USER, o->cli->args[0]);
	pw_str(w, PR_DATABASE, o->cli->args[1]);
}

int cmd_group_create(struct cli *c)
{
	return order_run(c, WIRE_ADM_GROUP_CREATE, fill_group);
}

int cmd_user_move(struct cli *c)
{
	return order_run(c, WIRE_ADM_USER_MOVE, fill_user);
}
