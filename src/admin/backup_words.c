/* backup_words.c - see backup_words.h. */
#include "admin/backup_words.h"

#include "base/clock.h"
#include "base/timetext.h"
#include "store/check.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- progress ---- */

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

void told_begin(struct told *t, bool json, const char *what)
{
	struct sigaction act = { .sa_handler = on_signal };

	*t = (struct told){ .what = what, .json = json };
	stop = 0;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	progress_begin(&t->line, !json);
}

void told_end(struct told *t)
{
	struct sigaction act = { .sa_handler = SIG_DFL };

	progress_end(&t->line);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

bool told_stopped(void)
{
	return stop != 0;
}

bool told_progress(void *told, const struct bk_progress *p)
{
	struct told *t = told;
	int64_t now = clock_mono();
	char what[96];

	if (stop)
		return false;
	if (t->json && now - t->last >= NS_PER_SEC) {
		t->last = now;
		fprintf(stderr,
			"{\"done\": %" PRIu64 ", \"total\": %" PRIu64 ", \"copied\": %" PRIu64
			", \"kept\": %" PRIu64 ", \"files\": %" PRIu64 ", \"findings\": %" PRIu64
			", \"ms\": %" PRIu64 "}\n",
			p->done, p->total, p->copied, p->kept, p->files, p->findings,
			p->ns / (uint64_t)NS_PER_MS);
	}
	snprintf(what, sizeof what, "%s, %" PRIu64 " files", t->what, p->files);
	if (p->findings)
		snprintf(what, sizeof what, "%s, %" PRIu64 " files, %" PRIu64 " findings", t->what,
			 p->files, p->findings);
	progress_bytes(&t->line, what, p->done, p->total > p->done ? p->total : p->done);
	return true;
}

/* ---- words ---- */

bool backup_rate(const char *text, uint64_t *bytes_out)
{
	char *rest;
	double mb = strtod(text, &rest);

	if (*rest || !(mb > 0 && mb <= 1e6)) {
		fprintf(stderr, "mailroot: --rate takes MB a second, as 20, not '%s'\n", text);
		return false;
	}
	*bytes_out = (uint64_t)(mb * 1e6);
	return true;
}

void backup_split(const char *path, char *dir, size_t dir_room, char *one, size_t one_room)
{
	const char *name;
	size_t len;
	char *slash;

	snprintf(dir, dir_room, "%s", path);
	for (len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
		dir[len - 1] = '\0';
	slash = strrchr(dir, '/');
	name = slash ? slash + 1 : dir;
	one[0] = '\0';
	if (strncmp(name, "full-", 5) != 0 && strncmp(name, "incr-", 5) != 0)
		return;
	snprintf(one, one_room, "%s", name);
	if (!slash)
		snprintf(dir, dir_room, ".");
	else
		slash[slash == dir] = '\0';
}

uint64_t backup_bytes(const struct bk *m)
{
	uint64_t n = 0;

	for (size_t i = 0; i < m->nfiles; i++)
		n += m->files[i].size;
	for (size_t i = 0; i < m->nlogs; i++)
		n += m->logs[i].size;
	for (size_t i = 0; i < m->ndbs; i++)
		n += m->dbs[i].pages * SEG_HEAD;
	return n;
}

uint64_t backup_bodies(const struct bk *m)
{
	uint64_t n = 0;

	for (size_t i = 0; i < m->ndbs; i++)
		n += m->dbs[i].bodies;
	return n;
}

void backup_put_findings(struct report *r, const struct bk *m)
{
	if (r->json || m->nfindings)
		report_table(r, "damage", false);
	for (size_t i = 0; i < m->nfindings; i++) {
		report_row(r);
		report_str(r, "finding", m->findings[i]);
	}
	if (r->json || m->nleft_out)
		report_table(r, "not_copied", false);
	for (size_t i = 0; i < m->nleft_out; i++) {
		report_row(r);
		report_str(r, "group", m->left_out[i].group);
		report_str(r, "database", m->left_out[i].name);
		report_str(r, "why", m->left_out[i].why);
	}
}

/* ---- whose body is that? ---- */

struct naming {
	struct bk_run *run;
	struct offline *o;
	const char *group, *db;
};

static enum st name_link(void *arg, const struct offline_link *l, struct err *err)
{
	struct naming *n = arg;
	char owner[NAME_BYTES_MAX + 1], date[TIME_TEXT] = "?", text[1024];

	offline_owner_name(n->o, l->mailbox, owner);
	if (l->message->has_entry)
		time_write(date, l->message->entry.date, 0);
	snprintf(text, sizeof text,
		 "%s/%s: body %" PRIu64 " is a message of %.200s, folder %.200s, UID %u, of %s, "
		 "subject: %.*s",
		 n->group, n->db, l->body, owner, l->folder ? l->folder->path : "?",
		 l->message->uid, date,
		 (int)(l->message->subject.len < 200 ? l->message->subject.len : 200),
		 l->message->subject.at ? l->message->subject.at : "");
	return bk_run_note(n->run, text, err);
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The damaged bodies of one database, each once and in order. */
static size_t ids_of(const struct bk_damaged *d, size_t n, const struct naming *w, uint64_t *ids)
{
	size_t have = 0, kept = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(d[i].group, w->group) == 0 && strcmp(d[i].db, w->db) == 0)
			ids[have++] = d[i].body;
	if (have)
		qsort(ids, have, sizeof *ids, by_id);
	for (size_t i = 0; i < have; i++)
		if (i == 0 || ids[i] != ids[kept - 1])
			ids[kept++] = ids[i];
	return kept;
}

static enum st add_all(struct offline *o, const struct bk_source *sources, size_t n,
		       struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; i < n; i++)
		for (size_t d = 0; st == ST_OK && d < sources[i].ndbs; d++) {
			const struct bk_source *s = &sources[i];
			char edb[4300], stm[4300];

			if (s->dbs[d].why)
				continue;
			snprintf(edb, sizeof edb, "%s/%s.snap", s->path, s->dbs[d].name);
			snprintf(stm, sizeof stm, "%s/%s.stm", s->path, s->dbs[d].name);
			st = offline_add(o, s->path, s->dbs[d].name, edb, stm, err);
		}
	return st == ST_OK ? offline_load_users(o, err) : st;
}

static enum st name_all(struct naming *n, const struct bk_source *sources, size_t nsources,
			const struct bk_damaged *d, size_t ndamaged, uint64_t *ids, struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < n->o->ndbs; i++) {
		struct offline_db *db = &n->o->dbs[i];
		size_t count;

		n->db = db->name;
		n->group = NULL;
		for (size_t s = 0; s < nsources; s++)
			if (strcmp(sources[s].path, db->dir) == 0)
				n->group = sources[s].group;
		if (!n->group || !db->db)
			continue;
		count = ids_of(d, ndamaged, n, ids);
		if (count)
			st = offline_links(db->db, ids, count, name_link, n, err);
	}
	return st;
}

enum st backup_name_bodies(struct bk_run *run, const struct bk_source *sources, size_t n,
			   struct err *err)
{
	struct naming w = { .run = run };
	size_t ndamaged;
	const struct bk_damaged *d = bk_run_damaged(run, &ndamaged);
	uint64_t *ids;
	enum st st;

	if (!ndamaged)
		return ST_OK;
	ids = calloc(ndamaged, sizeof *ids);
	if (!ids)
		return fail(err, ST_NOMEM, "out of memory");
	st = offline_new(&w.o, err);
	if (st == ST_OK) {
		st = add_all(w.o, sources, n, err);
		if (st == ST_OK)
			st = name_all(&w, sources, n, d, ndamaged, ids, err);
		offline_close(w.o);
	}
	free(ids);
	return st;
}

/* ---- do rows fit? ---- */

struct checking {
	struct bk_run *run;
	enum st st;
	struct err *err;
};

static void checked(void *arg, const struct finding *f)
{
	struct checking *c = arg;
	char text[600];

	/* Two databases are of two moments: what one says of the other may have changed in between. */
	if (finding_rows[f->kind].severity != FOUND_DAMAGE || f->kind == FOUND_MAILBOX_NO_OWNER ||
	    f->kind == FOUND_USER_NO_MAILBOX || c->st != ST_OK)
		return;
	snprintf(text, sizeof text, "%s: %.500s", finding_rows[f->kind].name, f->text);
	c->st = bk_run_note(c->run, text, c->err);
}

enum st backup_check_rows(struct bk_run *run, const struct bk_source *sources, size_t n,
			  struct err *err)
{
	struct checking c = { .run = run, .err = err };
	struct store_check check = { .quick = true, .no_logs = true, .found = checked, .arg = &c };
	enum st st = offline_new(&check.o, err);

	if (st != ST_OK)
		return st;
	st = add_all(check.o, sources, n, err);
	if (st == ST_OK)
		st = store_check(&check, err);
	offline_close(check.o);
	return st == ST_OK ? c.st : st;
}
