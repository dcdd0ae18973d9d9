/* cmd_upgrade.c - ese upgrade: a home that an older version wrote becomes one of this version's. */
#include "admin/cli.h"
#include "store/upgrade.h"

#include <stdio.h>

#define ANSWER_MAX (1024u * 1024)

static void tell_group(void *arg, const char *name, const struct ese_survey *s, uint64_t rows)
{
	struct report *r = arg;

	report_row(r);
	report_str(r, "group", name);
	report_bool(r, "old", ese_is_old(s) || rows);
	report_num(r, "log_files", s->logs);
	report_num(r, "log_files_old", s->logs_old);
	report_num(r, "checkpoint_format", s->checkpoint);
	report_bool(r, "closed_in_order", s->clean);
	report_num(r, "databases", s->databases);
	report_num(r, "databases_old", s->databases_old);
	report_num(r, "directory_rows_to_move", rows);
}

int cmd_upgrade(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report r;
	struct store_upgrade u = {
		.home = c->home, .dry_run = c->options[0] != NULL, .group = tell_group, .arg = &r
	};
	struct err err = { 0 };
	enum st st;
	int status;

	report_open(&r, &text, c->json);
	report_table(&r, "found", false);
	st = store_upgrade(&u, &err);
	if (st == ST_OK) {
		report_table(&r, "upgrade", true);
		report_row(&r);
		report_num(&r, "groups", u.groups);
		report_num(&r, "groups_old", u.old);
		report_str(&r, "result",
			   !u.old      ? "nothing to do"
			   : u.dry_run ? "nothing was changed: run it without --dry-run"
				       : "done");
	}
	report_close(&r);
	if (st == ST_OK)
		return cli_print(&text);
	buf_free(&text);
	status = cli_fail(&err);
	if (st == ST_BUSY)
		fprintf(stderr, "mailroot: stop the server first\n");
	return status;
}
