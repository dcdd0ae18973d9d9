/* backup_logs.c - the log files of a backup, and the sequence that it belongs to. */
#include "ese/backup_run.h"

#include "base/clock.h"
#include "ese/io.h"
#include "ese/log_read.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- sequences ---- */

void bk_time_name(uint64_t ns, char out[20])
{
	time_t t = (time_t)(ns / NS_PER_SEC);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 20, "%Y%m%dT%H%M%SZ", &tm);
}

static enum st seq_entry(void *arg, const char *entry, struct err *err)
{
	struct bk_seq *s = arg;
	char **more;

	if (strncmp(entry, "full-", 5) != 0 && strncmp(entry, "incr-", 5) != 0)
		return ST_OK;
	more = realloc(s->names, (s->n + 1) * sizeof(*more));
	if (!more)
		return fail(err, ST_NOMEM, "list of backups");
	s->names = more;
	s->names[s->n] = strdup(entry);
	if (!s->names[s->n])
		return fail(err, ST_NOMEM, "list of backups");
	s->n++;
	return ST_OK;
}

/* By time, which stands behind the kind. */
static int by_time(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x + 5, *y + 5);
}

enum st bk_seq_read(const char *dir, struct bk_seq *out, struct err *err)
{
	enum st st;

	*out = (struct bk_seq){ 0 };
	st = io_list(dir, seq_entry, out, err);
	if (st != ST_OK) {
		bk_seq_free(out);
		return st;
	}
	if (out->n)
		qsort(out->names, out->n, sizeof(*out->names), by_time);
	return ST_OK;
}

void bk_seq_free(struct bk_seq *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->names[i]);
	free(s->names);
	*s = (struct bk_seq){ 0 };
}

/* ---- what an incremental backup goes on from ---- */

/* Does backup `prev` end where this group's kept logs can go on? */
static enum st chain_fits(const struct bk_source *s, const struct bk *prev, const char *name,
			  struct err *err)
{
	const struct bk_group *g = bk_group_named(prev, s->group);

	if (s->circular)
		return fail(err, ST_BAD,
			    "group %s has circular logging: only full backups are possible",
			    s->group);
	if (!g)
		return fail(err, ST_BAD, "group %s is not in %s: a full backup is due", s->group,
			    name);
	if (memcmp(g->signature, s->signature, LOG_SIGNATURE) != 0)
		return fail(err, ST_BAD,
			    "group %s is not the one in %s (another server, or restored since): a "
			    "full backup is due",
			    s->group, name);
	if (!s->first_gen || g->circular || g->next < s->first_gen || !g->next)
		return fail(err, ST_BAD,
			    "group %s: log files since %s are no longer kept (given up for space, "
			    "circular logging, or copied by another backup): a full backup is due",
			    s->group, name);
	return ST_OK;
}

enum st bk_chain_find(struct bk_run *r, const struct bk_seq *seq, struct err *err)
{
	for (size_t i = seq->n; i > 0; i--) {
		const char *name = seq->names[i - 1];
		char path[SEG_PATH_MAX];
		struct bk *prev;
		enum st st;

		snprintf(path, sizeof(path), "%s/%s", r->o.dir, name);
		st = bk_load(path, &prev, err);
		if (st == ST_NOTFOUND)
			continue;
		if (st != ST_OK)
			return st;
		for (size_t g = 0; st == ST_OK && g < r->nsources; g++)
			st = chain_fits(&r->sources[g], prev, name, err);
		if (st != ST_OK) {
			bk_free(prev);
			return st;
		}
		r->prev = prev;
		r->m->after = bk_keep(r->m, span_str(name));
		return r->m->after ? ST_OK : fail(err, ST_NOMEM, "backup");
	}
	return fail(err, ST_BAD, "%s holds no finished backup yet: a full one is due", r->o.dir);
}

/* ---- copying ---- */

static enum st note_log(struct bk_run *r, const char *group, uint32_t gen, const char *why,
			struct err *err)
{
	char text[512];

	snprintf(text, sizeof(text), "%s/E00%08X.log: %.300s (copied as it is)", group, gen, why);
	return bk_note(r, text, err);
}

static enum st copy_log(struct bk_run *r, const struct bk_source *s, uint32_t gen, struct err *err)
{
	char from[SEG_PATH_MAX], folder[SEG_PATH_MAX], to[SEG_PATH_MAX], page[SEG_HEAD];
	struct bk_log *l = bk_add_log(r->m);
	struct seg_head h = { 0 };
	uint64_t size = 0;
	size_t got = 0;
	enum st st;
	int fd;

	if (!l)
		return fail(err, ST_NOMEM, "log file %08X", gen);
	seg_path(from, s->path, gen);
	snprintf(folder, sizeof(folder), "%s/groups/%s", r->folder, s->group);
	seg_path(to, folder, gen);
	st = bk_copy_file(r, from, to, 0600, l->hash, &size, err);
	if (st == ST_OK)
		st = io_open(to, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, page, sizeof(page), 0, &got, to, err);
	close(fd);
	/* A damaged header is found by the walk below. */
	if (st == ST_OK && got == sizeof(page))
		seg_head_get(page, &h, to, NULL);
	l->group = s->group;
	l->gen = gen;
	l->size = (uint32_t)size;
	l->created = h.created;
	l->prev_created = h.prev_created;
	return st;
}

/* Every group of the files below `next`, in the store's folder: nobody changes them any more. */
static enum st walk_logs(struct bk_run *r, const struct bk_source *s, uint32_t first, uint32_t next,
			 struct err *err)
{
	struct log_reader *reader = NULL;
	struct log_end end = { .gen = first };
	struct log_group group;
	struct err why = { 0 };
	enum st st = log_read_open(s->path, first, s->signature, &reader, &why);

	while (st == ST_OK) {
		st = log_read_group(reader, &group, &why);
		if (st == ST_OK && pos_gen(group.pos) >= next)
			break;
	}
	if (reader)
		log_read_end(reader, &end);
	log_read_close(reader);
	if (st == ST_EOF && end.gen + 1 < next) {
		fail(&why, ST_CORRUPT, "the log ends at offset %u, before the file that follows",
		     end.off);
		st = ST_CORRUPT;
	}
	if (st == ST_CORRUPT)
		return note_log(r, s->group, end.gen, why.text, err);
	if (st != ST_OK && st != ST_EOF) {
		if (err)
			*err = why;
		return st;
	}
	return ST_OK;
}

static void count_logs(struct bk_run *r, const struct bk_source *s, uint32_t first, uint32_t next)
{
	for (; first < next; first++) {
		char path[SEG_PATH_MAX];
		struct stat info;

		seg_path(path, s->path, first);
		if (stat(path, &info) == 0)
			r->p.total += (uint64_t)info.st_size;
	}
}

static uint32_t first_of(struct bk_run *r, const struct bk_source *s)
{
	const struct bk_group *g = r->prev ? bk_group_named(r->prev, s->group) : NULL;

	return g ? g->next : s->first_gen;
}

/* The first file must be the one behind the last of the backup before: a copy of this group that went its own way has the
 * same signature. */
static enum st check_first(struct bk_run *r, const struct bk_source *s, uint32_t first,
			   struct err *err)
{
	const struct bk_log *mine = NULL;

	for (size_t i = 0; i < r->m->nlogs; i++)
		if (r->m->logs[i].group == s->group && r->m->logs[i].gen == first)
			mine = &r->m->logs[i];
	for (size_t i = 0; mine && r->prev && i < r->prev->nlogs; i++) {
		const struct bk_log *l = &r->prev->logs[i];

		if (strcmp(l->group, s->group) == 0 && l->gen == first - 1 &&
		    l->created != mine->prev_created)
			return fail(err, ST_BAD,
				    "group %s: its log is not the one of %s: a full backup is due",
				    s->group, r->m->after);
	}
	return ST_OK;
}

enum st bk_run_log(struct bk_run *r, const char *group, uint32_t next_gen, struct err *err)
{
	struct bk_group *g = NULL;
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < r->nsources; i++) {
		const struct bk_source *s = &r->sources[i];
		uint32_t first = first_of(r, s);

		if (strcmp(s->group, group) != 0)
			continue;
		g = &r->m->groups[i];
		if (s->circular || !next_gen)
			return ST_OK;
		count_logs(r, s, first, next_gen);
		for (uint32_t gen = first; st == ST_OK && gen < next_gen; gen++)
			st = copy_log(r, s, gen, err);
		if (st == ST_OK)
			st = check_first(r, s, first, err);
		if (st == ST_OK && first < next_gen)
			st = walk_logs(r, s, first, next_gen, err);
		g->first = first;
		g->next = next_gen;
	}
	return g ? st : fail(err, ST_BAD, "no group %s in this backup", group);
}
