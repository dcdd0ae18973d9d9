/* cmd_check_online.c - ese check --online: the store holds still what this process checks.
 *
 * The requests go over the loop, the check runs in the work pool, so that the binding stays served meanwhile: what the store
 * holds for us ends with it.  The logs are left out: they go on being written. */
#include "admin/cli.h"
#include "admin/storelink.h"
#include "loop/loop.h"
#include "store/offline.h"

#include <stdio.h>

#define WAIT_MS   (30 * 60 * 1000) /* a flush of everything on a slow disk */
#define PATH_ROOM 4200

struct online {
	struct cli *cli;
	struct offline *o;
	char group[PATH_ROOM]; /* folder of the one whose databases are being told */
	bool quick;
	int status;
};

static enum st take_database(struct online *j, const struct plist *row, struct err *err)
{
	struct span name, full = plist_span(row, PR_DATABASE), why = plist_span(row, PR_REASON);
	char rows[PATH_ROOM], stm[PATH_ROOM], text[PATH_ROOM];

	span_split(full, '/', &name);
	if (why.at) {
		fprintf(stderr, "mailroot: database " SPAN_FMT " is not checked: " SPAN_FMT "\n",
			SPAN_ARG(full), SPAN_ARG(why));
		return ST_OK;
	}
	if (!name.len ||
	    snprintf(text, sizeof text, SPAN_FMT, SPAN_ARG(name)) >= (int)sizeof text ||
	    snprintf(rows, sizeof rows, "%s/%s.snap", j->group, text) >= (int)sizeof rows ||
	    snprintf(stm, sizeof stm, "%s/%s.stm", j->group, text) >= (int)sizeof stm)
		return fail(err, ST_BAD, "the store's answer makes no sense");
	return offline_add(j->o, j->group, text, rows, stm, err);
}

static enum st take_row(struct online *j, const struct plist *row, struct err *err)
{
	struct span group = plist_span(row, PR_GROUP);

	if (plist_has(row, PR_DATABASE))
		return take_database(j, row, err);
	if (snprintf(j->group, sizeof j->group, "%s/groups/" SPAN_FMT, j->cli->home,
		     SPAN_ARG(group)) >= (int)sizeof j->group)
		return fail(err, ST_TOOBIG, "the home's path is too long");
	return ST_OK;
}

static enum st begin(struct online *j, struct exipc_chan *chan, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	m.deadline = deadline_in_ms(WAIT_MS);
	pw_bool(&m.w, PR_BACKUP_FULL, true);
	st = wire_send(&m, chan, 0, WIRE_BACKUP_BEGIN, &a, err);
	if (st != ST_OK)
		return st;
	while ((st = wire_next_row(&a, err)) == ST_OK) {
		st = take_row(j, &a.list, err);
		if (st != ST_OK)
			break;
	}
	wire_answer_free(&a);
	return st == ST_EOF ? ST_OK : st;
}

static void end(struct exipc_chan *chan)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;

	wire_begin(&m, 1);
	m.deadline = deadline_in_ms(WAIT_MS);
	pw_bool(&m.w, PR_BACKUP_DONE, false);
	/* What it says does not matter: the store lets go with the binding at the latest. */
	(void)wire_send(&m, chan, 0, WIRE_BACKUP_END, &a, NULL);
	wire_answer_free(&a);
}

static void look(void *arg)
{
	struct online *j = arg;
	struct err err = { 0 };

	if (offline_load_users(j->o, &err) == ST_OK)
		j->status = cli_check(j->cli, j->o, j->quick, true);
	else
		j->status = cli_fail(&err);
}

static enum st ask(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct online *j = arg;
	enum st st = begin(j, chan, err);

	if (st == ST_OK)
		work_run(look, j);
	/* The snapshots go away with the end. */
	offline_close(j->o);
	j->o = NULL;
	end(chan);
	return st;
}

int cli_check_online(struct cli *c, bool quick)
{
	struct online j = { .cli = c, .quick = quick, .status = CLI_FAILED };
	struct err err = { 0 };
	enum st st = offline_new(&j.o, &err);

	if (st == ST_OK)
		st = storelink_run(c->home, ask, &j, &err);
	offline_close(j.o);
	if (st == ST_OK)
		return j.status;
	return cli_fail(&err);
}
