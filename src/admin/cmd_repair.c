/* cmd_repair.c - ese repair: a new home with everything that can be kept of a damaged one. */
#include "admin/cli.h"
#include "admin/copytree.h"
#include "admin/progress.h"
#include "store/check.h"
#include "store/repair.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MAX (256u * 1024 * 1024)
#define PATH_ROOM  4200

enum option { TO, KEEP_DAMAGED };

struct telling {
	struct cli *cli;
	struct buf text;
	struct report report;
	struct progress progress;
	uint64_t damage; /* met at all */
	uint64_t left;   /* damage that a check of the new home found */
};

static void found(void *arg, const struct finding *f)
{
	struct telling *t = arg;

	t->damage += finding_rows[f->kind].severity == FOUND_DAMAGE;
	if (t->cli->json) {
		cli_report_finding(&t->report, f);
		return;
	}
	progress_end(&t->progress);
	cli_print_finding(f);
}

static void found_after(void *arg, const struct finding *f)
{
	struct telling *t = arg;

	t->left += finding_rows[f->kind].severity == FOUND_DAMAGE;
	found(arg, f);
}

static void progress(void *arg, const char *what, uint64_t done)
{
	struct telling *t = arg;

	progress_tell(&t->progress, "repairing", done, 0, what);
}

static void broken(void *arg, const struct err *why)
{
	const struct telling *t = arg;

	fprintf(stderr, "mailroot: %s\nmailroot: %s is not complete\n", why->text,
		t->cli->options[TO]);
	_exit(CLI_FAILED);
}

/* Hundredths of a per cent, cut, so that 100 is said only when nothing is lost. */
static void per_cent(struct report *r, const char *column, uint64_t part, uint64_t whole)
{
	uint64_t n = whole ? (uint64_t)((long double)part * 10000 / (long double)whole) : 10000;
	char text[24];

	snprintf(text, sizeof text, "%llu.%02llu", (unsigned long long)n / 100,
		 (unsigned long long)n % 100);
	report_str(r, column, text);
}

static void summarize(struct telling *t, const struct repair *a)
{
	struct report *r = &t->report;
	uint64_t there = a->messages_kept + a->messages_noticed;

	report_table(r, "repaired", true);
	report_row(r);
	report_num(r, "databases", a->databases);
	report_num(r, "users", a->users);
	report_num(r, "mailboxes", a->mailboxes);
	report_num(r, "folders", a->folders);
	report_num(r, "messages", a->messages);
	report_num(r, "messages_kept", a->messages_kept);
	report_num(r, "messages_with_a_notice_instead", a->messages_noticed);
	report_num(r, "messages_lost", a->messages > there ? a->messages - there : 0);
	report_num(r, "bytes", a->bytes);
	report_num(r, "bytes_kept", a->bytes_kept);
	per_cent(r, "per_cent_of_messages", a->messages_kept, a->messages);
	per_cent(r, "per_cent_of_bytes", a->bytes_kept, a->bytes);
	report_num(r, "deleted_messages_kept", a->kept_deleted);
	report_num(r, "deleted_messages_lost", a->lost_deleted);
	report_num(r, "damage_in_the_new_home", t->left);
}

/* ---- the new home ---- */

static bool not_copied(const char *name)
{
	return !strcmp(name, "groups") || !strcmp(name, "run") || !strcmp(name, "standby");
}

static enum st join(char out[PATH_ROOM], const char *home, const char *name, struct err *err)
{
	if (snprintf(out, PATH_ROOM, "%s/%s", home, name) >= PATH_ROOM)
		return fail(err, ST_TOOBIG, "%s: the path is too long", home);
	return ST_OK;
}

/* Configuration, keys and the queue come along as they are. */
static enum st make_home(const char *from, const char *to, struct err *err)
{
	static const struct {
		const char *name;
		mode_t mode;
	} needed[] = { { "run", 0711 }, { "groups", 0700 }, { "Mailroot", 0711 }, { "log", 0700 } };
	char path[PATH_ROOM];
	enum st st = join(path, from, "groups", err);

	if (st != ST_OK)
		return st;
	if (access(path, F_OK) == 0)
		st = copy_tree(from, to, not_copied, err);
	else if (mkdir(to, 0711) < 0)
		st = fail_errno(err, "make the folder %s", to);
	for (size_t i = 0; st == ST_OK && i < sizeof needed / sizeof needed[0]; i++) {
		st = join(path, to, needed[i].name, err);
		if (st == ST_OK && mkdir(path, needed[i].mode) < 0 && errno != EEXIST)
			st = fail_errno(err, "make the folder %s", path);
	}
	return st;
}

static enum st check_new(struct telling *t, const char *to, struct err *err)
{
	struct store_check c = { .found = found_after, .arg = t };
	enum st st = offline_open(to, &c.o, err);

	if (st != ST_OK)
		return st;
	st = store_check(&c, err);
	offline_close(c.o);
	return st;
}

static enum st repair(struct telling *t, struct repair *r, const char *to, struct err *err)
{
	char groups[PATH_ROOM], like[PATH_ROOM];
	enum st st = make_home(r->source, to, err);

	if (st == ST_OK)
		st = join(groups, to, "groups", err);
	if (st == ST_OK)
		st = join(like, r->source, "groups", err);
	if (st != ST_OK)
		return st;
	r->to = groups;
	st = store_repair(r, err);
	if (st == ST_OK)
		st = check_new(t, to, err);
	if (st == ST_OK)
		st = own_tree(groups, access(like, F_OK) == 0 ? like : r->source, err);
	return st;
}

int cmd_repair(struct cli *c)
{
	struct telling t = { .cli = c, .text = BUF_MAX(ANSWER_MAX) };
	struct repair r = { .source = c->args[0],
			    .keep_damaged = c->options[KEEP_DAMAGED] != NULL,
			    .found = found,
			    .progress = progress,
			    .broken = broken,
			    .arg = &t };
	const char *to = c->options[TO];
	struct err err = { 0 };
	enum st st;
	int status;

	if (!to)
		return cli_misuse("say where the repaired home goes: --to NEWHOME");
	if (access(r.source, F_OK) < 0)
		st = fail_errno(&err, "%s", r.source);
	else if (access(to, F_OK) == 0)
		st = fail(&err, ST_EXISTS, "%s is there already: repair only makes new homes", to);
	else
		st = repair_source(r.source, &err);
	if (st != ST_OK)
		return cli_fail(&err);
	report_open(&t.report, &t.text, c->json);
	if (c->json)
		report_table(&t.report, "findings", false);
	progress_begin(&t.progress, !c->json);
	st = repair(&t, &r, to, &err);
	progress_end(&t.progress);
	summarize(&t, &r);
	report_close(&t.report);
	if (st != ST_OK) {
		buf_free(&t.text);
		status = cli_fail(&err);
		fprintf(stderr, "mailroot: %s is not complete\n", to);
		return status;
	}
	if (!c->json)
		printf("\n");
	status = cli_print(&t.text);
	return status ? status : t.damage ? CLI_DAMAGE : CLI_DONE;
}
