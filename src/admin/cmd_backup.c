/* cmd_backup.c - mailroot ese backup: the store holds still, this process copies; backups and verify.
 *
 * The requests go over the loop, the copying runs in the work pool, so that the binding stays served meanwhile: what the store
 * holds for us ends with it. */
#include "admin/backup_words.h"
#include "admin/cli.h"
#include "admin/storelink.h"
#include "base/pool.h"
#include "ese/backup_copy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANSWER_MAX (64u * 1024 * 1024)
#define POOL_MAX   (16u * 1024 * 1024)
#define WAIT_MS    (30 * 60 * 1000) /* a flush of everything on a slow disk */
#define DBS_MAX    1024u
#define GROUPS_MAX 256u

struct job {
	struct cli *c;
	struct bk_options o;
	struct told told;
	struct pool *pool;
	struct bk_source sources[GROUPS_MAX];
	struct bk_source_db *dbs; /* of all groups */
	uint32_t next[GROUPS_MAX];
	size_t ngroups, ndbs;
	struct bk_run *run;
	unsigned left_out; /* groups */
	bool some;         /* only some databases: log files stay for the others */
	enum st st;
	struct err err;
};

/* ---- what the store said ---- */

static bool wanted(const struct job *j, struct span full)
{
	struct span rest = span_str(j->c->options[2]);

	if (!rest.at)
		return true;
	while (rest.at)
		if (span_eq(span_split(rest, ',', &rest), full))
			return true;
	return false;
}

static void note_left_out(struct job *j, const struct plist *row)
{
	fprintf(stderr, "mailroot: group " SPAN_FMT " is left out: " SPAN_FMT "\n",
		SPAN_ARG(plist_span(row, PR_GROUP)), SPAN_ARG(plist_span(row, PR_REASON)));
	j->left_out++;
}

static enum st take_group(struct job *j, const struct plist *row, struct err *err)
{
	struct bk_source *s = &j->sources[j->ngroups];
	struct span signature = plist_span(row, PR_LOG_SIGNATURE);
	const char *name;

	if (j->ngroups == GROUPS_MAX || signature.len != sizeof s->signature)
		return fail(err, ST_BAD, "the store's answer makes no sense");
	name = pool_cstr(j->pool, plist_span(row, PR_GROUP));
	if (!name)
		return fail(err, ST_NOMEM, "out of memory");
	*s = (struct bk_source){ .group = name,
				 .path = pool_printf(j->pool, "%s/groups/%s", j->c->home, name),
				 .circular = plist_bool(row, PR_BACKUP_CIRCULAR, false),
				 .first_gen = plist_u32(row, PR_BACKUP_FIRST, 0),
				 .dbs = j->dbs + j->ndbs };
	memcpy(s->signature, signature.at, signature.len);
	j->ngroups++;
	return s->path ? ST_OK : fail(err, ST_NOMEM, "out of memory");
}

static enum st take_database(struct job *j, const struct plist *row, struct err *err)
{
	struct span name, full = plist_span(row, PR_DATABASE), why = plist_span(row, PR_REASON);
	struct bk_source_db *d = j->dbs + j->ndbs;

	span_split(full, '/', &name);
	if (j->ngroups == 0 || j->ndbs == DBS_MAX || !bk_path_ok(name))
		return fail(err, ST_BAD, "the store's answer makes no sense");
	if (!wanted(j, full)) {
		j->some = true;
		return ST_OK;
	}
	*d = (struct bk_source_db){ .name = pool_cstr(j->pool, name),
				    .id = plist_u64(row, PR_DATABASE_ID, 0),
				    .position = plist_u64(row, PR_LOG_POSITION, 0),
				    .stm_bytes = plist_u64(row, PR_STM_BYTES, 0),
				    .why = why.at ? pool_cstr(j->pool, why) : NULL };
	j->ndbs++;
	j->sources[j->ngroups - 1].ndbs++;
	return d->name ? ST_OK : fail(err, ST_NOMEM, "out of memory");
}

static enum st begin(struct job *j, struct exipc_chan *chan, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	m.deadline = deadline_in_ms(WAIT_MS);
	pw_bool(&m.w, PR_BACKUP_FULL, j->o.full);
	st = wire_send(&m, chan, 0, WIRE_BACKUP_BEGIN, &a, err);
	if (st != ST_OK)
		return st;
	while ((st = wire_next_row(&a, err)) == ST_OK) {
		if (plist_has(&a.list, PR_DATABASE))
			st = take_database(j, &a.list, err);
		else if (plist_has(&a.list, PR_REASON))
			note_left_out(j, &a.list);
		else
			st = take_group(j, &a.list, err);
		if (st != ST_OK)
			break;
	}
	wire_answer_free(&a);
	if (st == ST_EOF && j->ngroups == 0 && j->left_out)
		return fail(err, ST_BAD,
			    "no group is left for an incremental backup: make a full one");
	if (st == ST_EOF && j->c->options[2] && j->ndbs == 0)
		return fail(err, ST_NOTFOUND,
			    "there is no database '%s' (names are GROUP/NAME, as "
			    "first/mailbox/default)",
			    j->c->options[2]);
	return st == ST_EOF ? ST_OK : st;
}

static enum st roll(struct job *j, struct exipc_chan *chan, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 0);
	m.deadline = deadline_in_ms(WAIT_MS);
	st = wire_send(&m, chan, 0, WIRE_BACKUP_ROLL, &a, err);
	if (st != ST_OK)
		return st;
	while ((st = wire_next_row(&a, err)) == ST_OK)
		for (size_t i = 0; i < j->ngroups; i++)
			if (span_eq(plist_span(&a.list, PR_GROUP), span_str(j->sources[i].group)))
				j->next[i] = plist_u32(&a.list, PR_BACKUP_NEXT, 0);
	wire_answer_free(&a);
	return st == ST_EOF ? ST_OK : st;
}

static enum st end(struct exipc_chan *chan, bool done, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	m.deadline = deadline_in_ms(WAIT_MS);
	pw_bool(&m.w, PR_BACKUP_DONE, done);
	st = wire_send(&m, chan, 0, WIRE_BACKUP_END, &a, err);
	wire_answer_free(&a);
	return st;
}

/* ---- in the work pool ---- */

static void rows_run(void *arg)
{
	struct job *j = arg;

	j->st = bk_run_new(&j->o, j->sources, j->ngroups, &j->run, &j->err);
	if (j->st == ST_OK && j->o.full)
		j->st = bk_run_rows(j->run, &j->err);
	if (j->st == ST_OK && j->o.full)
		j->st = backup_name_bodies(j->run, j->sources, j->ngroups, &j->err);
	if (j->st == ST_OK && j->o.full)
		j->st = backup_check_rows(j->run, j->sources, j->ngroups, &j->err);
}

static void logs_run(void *arg)
{
	static const char *const extra[] = { "mailroot.conf", "tls" };
	struct job *j = arg;

	j->st = ST_OK;
	for (size_t i = 0; j->st == ST_OK && i < j->ngroups; i++)
		j->st = bk_run_log(j->run, j->sources[i].group, j->next[i], &j->err);
	for (size_t i = 0; j->st == ST_OK && i < sizeof extra / sizeof extra[0]; i++)
		j->st = bk_run_extra(j->run, j->c->home, extra[i], &j->err);
	if (j->st == ST_OK)
		j->st = bk_run_end(j->run, &j->err);
}

static enum st run_step(struct job *j, void (*step)(void *arg), struct err *err)
{
	work_run(step, j);
	if (j->st != ST_OK)
		*err = j->err;
	return j->st;
}

/* In a fiber. */
static enum st make_backup(void *arg, struct exipc_chan *chan, struct err *err)
{
	struct job *j = arg;
	enum st st = begin(j, chan, err);

	if (st == ST_OK)
		st = run_step(j, rows_run, err);
	if (st == ST_OK)
		st = roll(j, chan, err);
	if (st == ST_OK)
		st = run_step(j, logs_run, err);
	return st == ST_OK ? end(chan, !j->some, err) : st;
}

/* ---- mailroot ese backup ---- */

static void report(struct job *j, struct report *r)
{
	const struct bk *m = bk_run_manifest(j->run);
	struct bk_progress p;

	bk_run_progress(j->run, &p);
	report_table(r, "backup", true);
	report_row(r);
	report_str(r, "folder", bk_run_folder(j->run));
	report_str(r, "kind", m->full ? "full" : "incremental");
	report_num(r, "databases", m->ndbs);
	report_num(r, "bodies", backup_bodies(m));
	report_num(r, "pages", p.pages);
	report_num(r, "files", p.files);
	report_num(r, "log_files", m->nlogs);
	report_num(r, "bytes_copied", p.copied);
	report_num(r, "bytes_kept", p.kept);
	report_num(r, "ms", p.ns / NS_PER_MS);
	report_num(r, "findings", m->nfindings);
	report_num(r, "left_out", m->nleft_out + j->left_out);
	backup_put_findings(r, m);
	if (j->some && !j->c->json)
		fprintf(stderr, "mailroot: only some databases were copied: log files stay as they "
				"are, and this is nothing for incremental backups to go on from\n");
	for (size_t i = 0; i < m->ngroups && !j->c->json; i++)
		if (m->groups[i].circular)
			fprintf(stderr,
				"mailroot: group %s has circular logging: it can be restored as it is "
				"in this backup, not rolled forward\n",
				m->groups[i].name);
}

static int finish(struct job *j, enum st st, struct err *err)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct report r;
	bool damage = false;
	int status;

	told_end(&j->told);
	if (st == ST_OK) {
		const struct bk *m = bk_run_manifest(j->run);

		damage = m->nfindings > 0 || m->nleft_out + j->left_out > 0;
		report_open(&r, &text, j->c->json);
		report(j, &r);
		report_close(&r);
	}
	bk_run_free(j->run);
	free(j->dbs);
	pool_free(j->pool);
	free(j);
	if (st != ST_OK) {
		buf_free(&text);
		if (told_stopped())
			err->st = ST_BAD; /* not "the server is not running" */
		return cli_fail(err);
	}
	status = cli_print(&text);
	return status ? status : damage ? CLI_DAMAGE : CLI_DONE;
}

int cmd_ese_backup(struct cli *c)
{
	struct job *j = calloc(1, sizeof *j);
	struct err err = { 0 };
	char groups[4300];
	uint64_t rate = 0;
	enum st st = ST_OK;

	if (c->options[1] && !backup_rate(c->options[1], &rate))
		return CLI_MISUSED;
	if (j) {
		j->dbs = calloc(DBS_MAX, sizeof *j->dbs);
		j->pool = pool_new("backup", POOL_MAX);
	}
	if (!j || !j->dbs || !j->pool) {
		fail(&err, ST_NOMEM, "out of memory");
		return cli_fail(&err);
	}
	j->c = c;
	j->o = (struct bk_options){ .dir = c->args[0],
				    .full = !c->options[0],
				    .rate = rate,
				    .progress = told_progress,
				    .arg = &j->told };
	told_begin(&j->told, c->json, "backing up");
	snprintf(groups, sizeof groups, "%s/groups", c->home);
	if (access(groups, R_OK | X_OK) < 0)
		st = fail_errno(&err,
				"%s has to be readable for a backup (run this as the store's "
				"user, or as root)",
				groups);
	if (st == ST_OK)
		st = storelink_run(c->home, make_backup, j, &err);
	return finish(j, st, &err);
}

/* ---- mailroot ese backups ---- */

static void list_one(struct report *r, const char *dir, const char *name)
{
	struct err err = { 0 };
	char path[4300];
	struct bk *m;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	report_row(r);
	report_str(r, "name", name);
	if (bk_load(path, &m, &err) != ST_OK) {
		report_str(r, "kind", strncmp(name, "full-", 5) == 0 ? "full" : "incremental");
		report_str(r, "state", err.st == ST_NOTFOUND ? "not finished" : "unreadable");
		report_str(r, "began", "-");
		report_str(r, "ended", "-");
		report_num(r, "databases", 0);
		report_num(r, "bytes", 0);
		report_num(r, "log_files", 0);
		report_num(r, "findings", 0);
		report_str(r, "after", "-");
		return;
	}
	report_str(r, "kind", m->full ? "full" : "incremental");
	report_str(r, "state", m->nfindings || m->nleft_out ? "with findings" : "good");
	report_time(r, "began", (int64_t)m->began);
	report_time(r, "ended", (int64_t)m->ended);
	report_num(r, "databases", m->ndbs);
	report_num(r, "bytes", backup_bytes(m));
	report_num(r, "log_files", m->nlogs);
	report_num(r, "findings", m->nfindings + m->nleft_out);
	report_str(r, "after", m->after ? m->after : "-");
	bk_free(m);
}

int cmd_ese_backups(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct err err = { 0 };
	struct bk_seq seq;
	struct report r;
	enum st st = bk_seq_read(c->args[0], &seq, &err);

	if (st != ST_OK)
		return cli_fail(&err);
	report_open(&r, &text, c->json);
	report_table(&r, "backups", false);
	for (size_t i = 0; i < seq.n; i++)
		list_one(&r, c->args[0], seq.names[i]);
	report_close(&r);
	bk_seq_free(&seq);
	return cli_print(&text);
}

/* ---- mailroot ese verify ---- */

struct verifying {
	struct told told;
	struct report *report;
	const char *name;
	uint64_t findings;
};

static bool verify_progress(void *arg, const struct bk_progress *p)
{
	return told_progress(&((struct verifying *)arg)->told, p);
}

static void verify_found(void *arg, const char *text)
{
	struct verifying *v = arg;

	v->findings++;
	report_row(v->report);
	report_str(v->report, "backup", v->name);
	report_str(v->report, "finding", text);
}

static enum st verify_one(struct verifying *v, const char *dir, const char *name, struct err *err)
{
	const struct bk_look look = { verify_progress, verify_found, v };
	char path[4300];
	enum st st;

	v->name = name;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	st = bk_verify(path, &look, err);
	if (st == ST_NOTFOUND || st == ST_CORRUPT) {
		verify_found(v, err->text);
		return ST_OK;
	}
	return st;
}

int cmd_ese_verify(struct cli *c)
{
	struct buf text = BUF_MAX(ANSWER_MAX);
	struct err err = { 0 };
	struct report r;
	struct verifying v = { .report = &r };
	char dir[4300], one[256];
	struct bk_seq seq = { 0 };
	enum st st;
	int status;

	backup_split(c->args[0], dir, sizeof dir, one, sizeof one);
	st = one[0] ? ST_OK : bk_seq_read(dir, &seq, &err);
	if (st == ST_OK && !one[0] && seq.n == 0)
		st = fail(&err, ST_NOTFOUND, "%s holds no backups", dir);
	if (st != ST_OK)
		return cli_fail(&err);
	told_begin(&v.told, c->json, "verifying");
	report_open(&r, &text, c->json);
	report_table(&r, "findings", false);
	if (one[0])
		st = verify_one(&v, dir, one, &err);
	for (size_t i = 0; st == ST_OK && i < seq.n; i++)
		st = verify_one(&v, dir, seq.names[i], &err);
	report_close(&r);
	told_end(&v.told);
	bk_seq_free(&seq);
	if (st != ST_OK) {
		buf_free(&text);
		err.st = ST_BAD;
		return cli_fail(&err);
	}
	if (!c->json && v.findings == 0)
		printf("everything is as it was copied\n");
	if (v.findings == 0 && !c->json)
		buf_clear(&text);
	status = cli_print(&text);
	return status ? status : v.findings ? CLI_DAMAGE : CLI_DONE;
}
