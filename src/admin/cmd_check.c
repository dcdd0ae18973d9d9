/* cmd_check.c - ese check: are databases, logs and mail what they should be? */
#include "admin/cli.h"
#include "admin/progress.h"
#include "base/timetext.h"
#include "store/check.h"

#include <stdio.h>
#include <unistd.h>

#define ANSWER_MAX (256u * 1024 * 1024)

enum option { QUICK, ONLINE };

struct telling {
	struct cli *cli;
	struct buf text; /* JSON: everything; else the summary */
	struct report report;
	struct progress progress;
	uint64_t kinds[FOUND_KINDS];
};

/* "from Bob <bob@x>, 'Hello', 2026-11-21T10:00:00Z" */
static void name_message(const struct finding *f)
{
	char when[TIME_TEXT];

	if (f->from.len)
		printf(", from " SPAN_FMT, SPAN_ARG(f->from));
	if (f->subject.len)
		printf(", '" SPAN_FMT "'", SPAN_ARG(f->subject));
	if (f->date)
		printf(", %s", time_write(when, f->date, 0));
}

void cli_print_finding(const struct finding *f)
{
	const struct finding_row *row = &finding_rows[f->kind];

	printf("%s: %s: %s", row->severity == FOUND_DAMAGE ? "damage" : "note", row->name, f->text);
	if (f->uid)
		name_message(f);
	printf("\n");
}

void cli_report_finding(struct report *r, const struct finding *f)
{
	const struct finding_row *row = &finding_rows[f->kind];

	report_row(r);
	report_str(r, "kind", row->name);
	report_str(r, "severity", row->severity == FOUND_DAMAGE ? "damage" : "note");
	report_str(r, "what", f->text);
	report_str(r, "database", f->database ? f->database : "");
	report_num(r, "body", f->body);
	report_bool(r, "has_page", f->has_page);
	report_num(r, "page", f->page);
	report_num(r, "log_position", f->position);
	report_str(r, "user", f->user ? f->user : "");
	report_str(r, "folder", f->folder ? f->folder : "");
	report_num(r, "uid", f->uid);
	report_time(r, "date", f->date);
	report_span(r, "from", f->from);
	report_span(r, "subject", f->subject);
}

static void found(void *arg, const struct finding *f)
{
	struct telling *t = arg;

	t->kinds[f->kind]++;
	if (t->cli->json) {
		cli_report_finding(&t->report, f);
		return;
	}
	progress_end(&t->progress);
	cli_print_finding(f);
}

static void progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	struct telling *t = arg;

	progress_tell(&t->progress, "checking", done, total, what);
}

static void summarize(struct telling *t, const struct store_check *c)
{
	struct report *r = &t->report;

	report_table(r, "checked", true);
	report_row(r);
	report_num(r, "databases", c->databases);
	report_num(r, "log_files", c->log_files);
	report_num(r, "log_bytes", c->log_bytes);
	report_num(r, "rows", c->rows);
	report_num(r, "bodies", c->bodies);
	report_num(r, "pages", c->pages);
	report_num(r, "pages_waiting_for_the_log", c->waiting);
	report_num(r, "mailboxes", c->mailboxes);
	report_num(r, "folders", c->folders);
	report_num(r, "messages", c->messages);
	report_num(r, "damage", c->found_damage);
	if (!c->found_damage && !c->found_notes)
		return;
	report_table(r, "found", false);
	for (unsigned i = 0; i < FOUND_KINDS; i++) {
		if (!t->kinds[i])
			continue;
		report_row(r);
		report_num(r, "count", t->kinds[i]);
		report_str(r, "kind", finding_rows[i].name);
		report_str(r, "meaning", finding_rows[i].meaning);
		if (t->cli->json)
			report_str(r, "repair", finding_rows[i].repair);
	}
}

/* What is open is looked at; the exit status. */
int cli_check(struct cli *c, struct offline *o, bool quick, bool no_logs)
{
	struct telling t = { .cli = c, .text = BUF_MAX(ANSWER_MAX) };
	struct store_check check = { .o = o,
				     .quick = quick,
				     .no_logs = no_logs,
				     .found = found,
				     .progress = progress,
				     .arg = &t };
	struct err err = { 0 };
	enum st st;

	report_open(&t.report, &t.text, c->json);
	if (c->json)
		report_table(&t.report, "findings", false);
	progress_begin(&t.progress, !c->json);
	st = store_check(&check, &err);
	progress_end(&t.progress);
	summarize(&t, &check);
	report_close(&t.report);
	if (st != ST_OK) {
		buf_free(&t.text);
		return cli_fail(&err);
	}
	if (!c->json && (check.found_damage || check.found_notes))
		printf("\n");
	if (cli_print(&t.text) != 0)
		return CLI_FAILED;
	return check.found_damage ? CLI_DAMAGE : CLI_DONE;
}

int cmd_check(struct cli *c)
{
	const char *path = c->nargs ? c->args[0] : c->home;
	struct err err = { 0 };
	struct offline *o;
	int status;

	if (c->options[ONLINE] && c->nargs)
		return cli_misuse("--online is for the home of a server (--home), not for a PATH");
	if (c->options[ONLINE])
		return cli_check_online(c, c->options[QUICK] != NULL);
	if (offline_open(path, &o, &err) != ST_OK) {
		status = cli_fail(&err);
		if (err.st == ST_BUSY)
			fprintf(stderr,
				"mailroot: stop the server first, or check it with --online\n");
		return status;
	}
	status = cli_check(c, o, c->options[QUICK] != NULL, false);
	offline_close(o);
	return status;
}
