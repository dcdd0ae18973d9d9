/* cmd_restore.c - mailroot ese restore: from a backup, and logs, to a home. */
#include "admin/backup_words.h"
#include "admin/cli.h"
#include "admin/options.h"
#include "admin/restore_home.h"
#include "base/timetext.h"
#include "store/offline.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANSWER_MAX (64u * 1024 * 1024)
#define ONLY_MAX   256

struct job {
	struct cli *c;
	struct restore_options o;
	struct restored out;
	struct told told;
	struct buf findings; /* lines */
	uint64_t nfindings;
	char dir[4300], one[256], home[4096], to[4300];
	const char *only[ONLY_MAX];
	bool queue;  /* it was taken from the dead home */
	char *words; /* what `only` points into */
};

static bool on_progress(void *arg, const struct bk_progress *p)
{
	return told_progress(&((struct job *)arg)->told, p);
}

static void on_found(void *arg, const char *text)
{
	struct job *j = arg;

	j->nfindings++;
	buf_str(&j->findings, text);
	buf_char(&j->findings, '\n');
}

/* ---- what is asked for ---- */

static enum st read_options(struct job *j, int64_t until, struct err *err)
{
	struct cli *c = j->c;
	enum st st = ST_OK;

	if (!options_home(c->options[ESE_RESTORE_TO], j->home, sizeof j->home))
		return fail(err, ST_TOOBIG, "%.100s: path too long", c->options[ESE_RESTORE_TO]);
	backup_split(c->args[0], j->dir, sizeof j->dir, j->one, sizeof j->one);
	snprintf(j->to, sizeof j->to, "%s/groups.restoring", j->home);
	j->words =
		c->options[ESE_RESTORE_DATABASE] ? strdup(c->options[ESE_RESTORE_DATABASE]) : NULL;
	for (char *at = j->words; at && j->o.nonly < ONLY_MAX;) {
		char *comma = strchr(at, ',');

		if (comma)
			*comma = '\0';
		j->only[j->o.nonly++] = at;
		at = comma ? comma + 1 : NULL;
	}
	j->o.dir = j->dir;
	j->o.to = j->to;
	j->o.logs = c->options[ESE_RESTORE_LOGS];
	j->o.until = (uint64_t)until;
	j->o.partial = c->options[ESE_RESTORE_PARTIAL] != NULL;
	j->o.only = j->only;
	j->o.progress = on_progress;
	j->o.found = on_found;
	j->o.arg = j;
	return st;
}

/* Which full backup: the one that was named, or that a named incremental one goes on from, or the newest that fits. */
static enum st choose(struct job *j, const struct bk_seq *seq, struct err *err)
{
	const char *name = NULL;
	enum st st;

	for (size_t i = 0; j->one[0] && i < seq->n; i++)
		if (strncmp(seq->names[i], "full-", 5) == 0 &&
		    strcmp(seq->names[i] + 5, j->one + 5) <= 0)
			name = seq->names[i];
	if (j->one[0] && !name)
		return fail(err, ST_NOTFOUND, "%s: there is no full backup that %s goes on from",
			    j->dir, j->one);
	st = name ? ST_OK : restore_choose(j->dir, seq, j->o.until, &name, err);
	if (st == ST_OK)
		snprintf(j->one, sizeof j->one, "%s", name);
	j->o.full = j->one;
	return st;
}

static enum st restore(struct job *j, struct err *err)
{
	char backup[4600];
	struct bk_seq seq = { 0 };
	bool queue = j->o.logs && !j->o.until;
	int lock = -1;
	enum st st = bk_seq_read(j->dir, &seq, err);

	if (st == ST_OK)
		st = choose(j, &seq, err);
	bk_seq_free(&seq);
	if (st == ST_OK)
		st = home_claim(j->home, &lock, err);
	if (st == ST_OK)
		st = restore_clear(j->to, err);
	/* What the dead server acknowledged stands in its logs or in its queue. */
	if (st == ST_OK && queue)
		st = home_queue_room(j->home, j->o.logs, err);
	if (st == ST_OK)
		st = restore_groups(&j->o, &j->out, err);
	if (st == ST_OK && queue)
		st = home_take_queue(j->home, j->o.logs, &j->queue, err);
	snprintf(backup, sizeof backup, "%s/%s", j->dir, j->one);
	if (st == ST_OK)
		st = home_put(j->home, backup, err);
	if (lock >= 0)
		close(lock);
	return st;
}

/* ---- what came of it ---- */

static uint64_t count_messages(const struct job *j, const char *group, const char *name)
{
	char dir[4400], edb[4600], stm[4600];
	struct offline *o;
	uint64_t mailbox = 0, n = 0;
	enum st st;

	snprintf(dir, sizeof dir, "%s/groups/%s", j->home, group);
	snprintf(edb, sizeof edb, "%s/%s.edb", dir, name);
	snprintf(stm, sizeof stm, "%s/%s.stm", dir, name);
	if (offline_new(&o, NULL) != ST_OK)
		return 0;
	st = offline_add(o, dir, name, edb, stm, NULL);
	while (st == ST_OK && o->ndbs && o->dbs[0].db) {
		struct offline_tree tree;

		st = offline_mailbox_next(o->dbs[0].db, &mailbox, NULL);
		if (st == ST_CORRUPT) {
			st = ST_OK;
			continue;
		}
		if (st != ST_OK || offline_tree_load(o->dbs[0].db, mailbox, &tree, NULL) != ST_OK)
			break;
		for (size_t i = 0; i < tree.n; i++)
			n += tree.folders[i].figures.count;
		offline_tree_free(&tree);
	}
	offline_close(o);
	return n;
}

static void put_groups(const struct job *j, struct report *r)
{
	report_table(r, "groups", false);
	for (size_t i = 0; i < j->out.ngroups; i++) {
		const struct restored_group *g = &j->out.groups[i];

		report_row(r);
		report_str(r, "group", g->name);
		report_num(r, "log_files", g->files);
		report_num(r, "commits_replayed", g->commits);
		report_time(r, "last_commit", (int64_t)g->last_commit);
		report_str(r, "ends",
			   g->cut      ? "at the time given"
			   : g->gap[0] ? g->gap
			   : g->rolled ? "with the logs"
				       : "with the backup");
	}
}

static bool put_databases(const struct job *j, struct report *r)
{
	bool all = true;

	report_table(r, "databases", false);
	for (size_t i = 0; i < j->out.ndbs; i++) {
		const struct restored_db *d = &j->out.dbs[i];

		if (d->state == RESTORED_UNWANTED || d->state == RESTORED_REMOVED)
			continue;
		all = all && d->state == RESTORED_GOOD;
		report_row(r);
		report_str(r, "group", d->group);
		report_str(r, "database", d->name);
		report_num(r, "messages", count_messages(j, d->group, d->name));
		report_num(r, "bodies", d->bodies);
		report_num(r, "bytes", d->bytes);
		report_str(r, "state", d->state == RESTORED_GOOD ? "good" : d->why);
	}
	return all;
}

static void put_findings(const struct job *j, struct report *r)
{
	struct span rest = buf_get(&j->findings);

	if (!j->c->json && !j->nfindings)
		return;
	report_table(r, "damage", false);
	while (rest.len > 0) {
		report_row(r);
		report_span(r, "finding", span_split(rest, '\n', &rest));
	}
}

static int report(struct job *j, int64_t began)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report r;
	bool all;
	int status;

	report_open(&r, &text, j->c->json);
	report_table(&r, "restored", true);
	report_row(&r);
	report_str(&r, "home", j->home);
	report_str(&r, "backup", j->one);
	report_num(&r, "ms", (uint64_t)((clock_mono() - began) / NS_PER_MS));
	report_num(&r, "findings", j->nfindings);
	report_bool(&r, "queue_taken", j->queue);
	put_groups(j, &r);
	all = put_databases(j, &r);
	put_findings(j, &r);
	report_close(&r);
	status = cli_print(&text);
	return status ? status : all && !j->nfindings ? CLI_DONE : CLI_DAMAGE;
}

int cmd_ese_restore(struct cli *c)
{
	struct job *j = calloc(1, sizeof *j);
	int64_t began = clock_mono(), until;
	struct err err = { 0 };
	enum st st;
	int status;

	status = cli_time(c, ESE_RESTORE_UNTIL, &until);
	if (status != CLI_DONE) {
		free(j);
		return status;
	}
	if (!c->options[ESE_RESTORE_TO] || !c->options[ESE_RESTORE_TO][0]) {
		free(j);
		return cli_misuse("say which home to make: --to HOME");
	}
	if (!j) {
		fail(&err, ST_NOMEM, "out of memory");
		return cli_fail(&err);
	}
	j->c = c;
	j->findings = BUF_MAX(ANSWER_MAX);
	if (c->options[ESE_RESTORE_RATE] &&
	    !backup_rate(c->options[ESE_RESTORE_RATE], &j->o.rate)) {
		free(j);
		return CLI_MISUSED;
	}
	st = read_options(j, until, &err);
	if (st == ST_OK) {
		told_begin(&j->told, c->json, "restoring");
		st = restore(j, &err);
		told_end(&j->told);
	}
	if (st != ST_OK && err.st == ST_GONE)
		err.st = ST_BAD;
	status = st == ST_OK ? report(j, began) : cli_fail(&err);
	restored_free(&j->out);
	buf_free(&j->findings);
	free(j->words);
	free(j);
	return status;
}
