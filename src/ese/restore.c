/* restore.c - a backup becomes groups again; see restore.h.
 *
 * For each group: files copied and compared with their hashes, pages with their CRCs; log files brought and cut
 * (restore_logs.c); the engine opens the group, which replays them; then it gets a new signature and an empty log. */
#include "ese/restore_int.h"

#include "base/clock.h"
#include "ese/ese.h"
#include "ese/io.h"
#include "ese/log_read.h"
#include "ese/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLEAN 2u
#define DIRTY 1u

/* ---- small things ---- */

static enum st clear_entry(void *arg, const char *entry, struct err *err)
{
	char path[SEG_PATH_MAX];
	struct stat info;

	if (snprintf(path, sizeof(path), "%s/%s", (const char *)arg, entry) >= (int)sizeof(path))
		return fail(err, ST_TOOBIG, "%s: path too long", entry);
	if (lstat(path, &info) < 0)
		return fail_errno(err, "%s", path);
	return S_ISDIR(info.st_mode) ? restore_clear(path, err) : io_unlink(path, err);
}

enum st restore_clear(const char *path, struct err *err)
{
	char copy[SEG_PATH_MAX];
	enum st st;

	if (access(path, F_OK) < 0 && errno == ENOENT)
		return ST_OK;
	snprintf(copy, sizeof(copy), "%s", path);
	st = io_list(copy, clear_entry, copy, err);
	if (st == ST_OK && rmdir(path) < 0)
		st = fail_errno(err, "remove the folder %s", path);
	return st;
}

void restored_free(struct restored *r)
{
	free(r->groups);
	free(r->dbs);
	*r = (struct restored){ 0 };
}

enum st restore_choose(const char *dir, const struct bk_seq *seq, uint64_t until,
		       const char **name_out, struct err *err)
{
	struct err why = { 0 };

	for (size_t i = seq->n; i > 0; i--) {
		char path[SEG_PATH_MAX];
		struct bk *m;
		bool fits;

		if (strncmp(seq->names[i - 1], "full-", 5) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, seq->names[i - 1]);
		if (bk_load(path, &m, &why) != ST_OK)
			continue;
		fits = !until || m->ended <= until;
		bk_free(m);
		if (fits) {
			*name_out = seq->names[i - 1];
			return ST_OK;
		}
	}
	return fail(err, ST_NOTFOUND, "%s holds no full backup%s%s%.120s", dir,
		    until ? " that was finished by then" : "", why.text[0] ? "; " : "", why.text);
}

static bool is_wanted_as(const char *want, const char *group, const char *name)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", group, name);
	return strcmp(want, full) == 0;
}

static bool is_wanted(const struct restore_options *o, const char *group, const char *name)
{
	for (size_t i = 0; i < o->nonly; i++)
		if (is_wanted_as(o->only[i], group, name))
			return true;
	return o->nonly == 0;
}

/* ---- the rows that say whose a database is and where it stands ---- */

struct stand {
	unsigned char signature[LOG_SIGNATURE];
	uint64_t pos;
	uint32_t state;
	bool applied; /* the applied row says pos, too */
};

static enum st read_row(struct pdb *rows, struct row_key key, char *out, size_t len,
			struct err *err)
{
	struct span v;
	void *hold;
	enum st st = pdb_get(rows, row_key_span(&key), &v, &hold, err);

	if (st == ST_OK) {
		memcpy(out, v.at, v.len < len ? v.len : len);
		if (v.len != len)
			st = ST_NOTFOUND;
		pdb_release(hold);
	}
	return st == ST_NOTFOUND ? fail(err, ST_CORRUPT, "a row of the engine is missing") : st;
}

static enum st put_stand(struct pdb *rows, const struct stand *s, const char *name, struct err *err)
{
	struct row_key key = row_key_header(), akey = row_key_applied();
	char head[ROW_HEADER_BYTES], applied[ROW_APPLIED_BYTES];
	struct row_applied a;
	struct row_header h;
	struct pdb_batch *b;
	enum st st = read_row(rows, key, head, sizeof(head), err);

	if (st == ST_OK)
		st = row_header_get(span_of(head, sizeof(head)), &h, name, err);
	if (st == ST_OK)
		st = read_row(rows, akey, applied, sizeof(applied), err);
	if (st == ST_OK)
		st = row_applied_get(span_of(applied, sizeof(applied)), &a);
	if (st != ST_OK)
		return st;
	memcpy(h.signature, s->signature, LOG_SIGNATURE);
	h.pos = s->pos;
	h.state = s->state;
	if (s->applied)
		a.pos = s->pos;
	row_header_put(head, &h);
	row_applied_put(applied, &a);
	b = pdb_batch_new();
	if (!b)
		return fail(err, ST_NOMEM, "database %s", name);
	pdb_put(b, row_key_span(&key), span_of(head, sizeof(head)));
	pdb_put(b, row_key_span(&akey), span_of(applied, sizeof(applied)));
	st = pdb_write(rows, b, err);
	pdb_batch_free(b);
	return st == ST_OK ? pdb_flush(rows, err) : st;
}

static enum st stand_at(const char *folder, const char *name, const struct stand *s,
			struct err *err)
{
	struct pdb_conf c = { .cache_bytes = 1 << 20, .buffer_bytes = 1 << 20, .files_max = 64 };
	char path[SEG_PATH_MAX];
	struct pdb *rows;
	enum st st;

	snprintf(path, sizeof(path), "%s/%s.edb", folder, name);
	st = pdb_open(path, false, &c, &rows, err);
	if (st != ST_OK)
		return st;
	st = put_stand(rows, s, name, err);
	pdb_close(rows);
	return st;
}

/* ---- files ---- */

static enum st check_hash(struct restore *r, const struct bk_file *f,
			  const unsigned char hash[HASH_BYTES], uint64_t size, struct err *err)
{
	char text[1200];

	if (size == f->size && memcmp(hash, f->hash, HASH_BYTES) == 0)
		return ST_OK;
	if (!r->o->partial)
		return fail(err, ST_CORRUPT,
			    "%.180s of the backup is not what was copied (--partial tries it "
			    "nevertheless)",
			    f->path);
	snprintf(text, sizeof(text), "%s is not what was copied", f->path);
	return bk_note(r->run, text, err);
}

/* Files of one database; its pages; and it stands at its backup's position. */
static enum st bring_db(struct restore *r, const struct bk_group *g, const struct bk_db *d,
			const char *folder, struct err *err)
{
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX], rows[SEG_PATH_MAX], prefix[600], label[512];
	struct bk_stream f = {
		.label = label, .rows = rows, .from = from, .to = to, .bytes = d->stm_bytes
	};
	struct stand at = { .pos = d->position, .state = DIRTY };
	unsigned char hash[HASH_BYTES];
	uint64_t size, pages, bodies;
	size_t skip;
	enum st st;

	snprintf(prefix, sizeof(prefix), "groups/%s/%s.edb/", d->group, d->name);
	skip = strlen("groups/") + strlen(d->group) + 1;
	st = bk_make_folders(folder, prefix + skip, err);
	for (size_t i = 0; st == ST_OK && i < r->m->nfiles; i++) {
		const struct bk_file *file = &r->m->files[i];

		if (strncmp(file->path, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(from, sizeof(from), "%s/%s/%s", r->o->dir, r->o->full, file->path);
		snprintf(to, sizeof(to), "%s/%s", folder, file->path + skip);
		st = bk_copy_file(r->run, from, to, file->mode, hash, &size, err);
		if (st == ST_OK)
			st = check_hash(r, file, hash, size, err);
	}
	snprintf(rows, sizeof(rows), "%s/%s.edb", folder, d->name);
	if (st == ST_OK)
		st = io_sync_dir(rows, err);
	snprintf(label, sizeof(label), "%s/%s", d->group, d->name);
	snprintf(from, sizeof(from), "%s/%s/groups/%s/%s.stm", r->o->dir, r->o->full, d->group,
		 d->name);
	snprintf(to, sizeof(to), "%s/%s.stm", folder, d->name);
	if (st == ST_OK)
		st = bk_copy_stream(r->run, &f, &pages, &bodies, err);
	if (st == ST_OK)
		st = bk_sync_parent(to, err);
	memcpy(at.signature, g->signature, LOG_SIGNATURE);
	return st == ST_OK ? stand_at(folder, d->name, &at, err) : st;
}

/* ---- where logs may be ---- */

/* Takes m over, if there is one. */
static enum st add_source(struct log_sources *s, const char *dir, struct bk *m, struct err *err)
{
	void *more = realloc(s->at, (s->n + 1) * sizeof(*s->at));

	if (!more) {
		bk_free(m);
		return fail(err, ST_NOMEM, "folders of logs");
	}
	s->at = more;
	s->at[s->n].m = m;
	snprintf(s->at[s->n++].dir, sizeof(s->at->dir), "%s", dir);
	return ST_OK;
}

void log_sources_clear(struct log_sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		bk_free(s->at[i].m);
	free(s->at);
	*s = (struct log_sources){ 0 };
}

static bool has_logs(const char *dir)
{
	struct seg_list list;
	bool any;

	if (access(dir, F_OK) < 0 || seg_list(dir, &list, NULL) != ST_OK)
		return false;
	any = list.ngens > 0;
	seg_list_free(&list);
	return any;
}

/* --logs: the group's own folder, a home, or a folder of groups. */
static enum st add_given(struct restore *r, const struct bk_group *g, struct err *err)
{
	char under[2][SEG_PATH_MAX / 2];
	enum st st = ST_OK;
	bool any = false;

	snprintf(under[0], sizeof(under[0]), "%s/groups/%s", r->o->logs, g->name);
	snprintf(under[1], sizeof(under[1]), "%s/%s", r->o->logs, g->name);
	for (int i = 0; st == ST_OK && i < 2; i++)
		if (has_logs(under[i])) {
			any = true;
			st = add_source(&r->sources, under[i], NULL, err);
		}
	if (st == ST_OK && has_logs(r->o->logs)) {
		any = true;
		st = add_source(&r->sources, r->o->logs, NULL, err);
	}
	if (st == ST_OK && !any && r->m->ngroups == 1)
		st = fail(err, ST_NOTFOUND, "%s holds no log files (E00*.log) of group %s",
			  r->o->logs, g->name);
	return st;
}

/* The log files of one backup of the sequence, if it was finished and is of this group (not of one that was restored). */
static enum st add_backup(struct restore *r, const struct bk_group *g, const char *name,
			  struct err *err)
{
	char path[SEG_PATH_MAX / 2];
	const struct bk_group *theirs;
	struct err why = { 0 };
	struct bk *m;

	snprintf(path, sizeof(path), "%s/%s", r->o->dir, name);
	if (bk_load(path, &m, &why) != ST_OK)
		return why.st == ST_NOTFOUND ? ST_OK : bk_note(r->run, why.text, err);
	theirs = bk_group_named(m, g->name);
	if (!theirs || memcmp(theirs->signature, g->signature, LOG_SIGNATURE) != 0) {
		bk_free(m);
		return ST_OK;
	}
	snprintf(path, sizeof(path), "%s/%s/groups/%s", r->o->dir, name, g->name);
	return add_source(&r->sources, path, m, err);
}

static enum st find_sources(struct restore *r, const struct bk_group *g, struct err *err)
{
	struct bk_seq seq;
	enum st st = bk_seq_read(r->o->dir, &seq, err);

	log_sources_clear(&r->sources);
	for (size_t i = 0; st == ST_OK && i < seq.n; i++)
		if (strcmp(seq.names[i] + 5, r->o->full + 5) >= 0)
			st = add_backup(r, g, seq.names[i], err);
	bk_seq_free(&seq);
	return st == ST_OK && r->o->logs ? add_given(r, g, err) : st;
}

/* ---- replay ---- */

struct engine {
	pthread_mutex_t lock;
	struct err why;
};

static void on_broken(void *arg, const struct err *why)
{
	struct engine *e = arg;

	pthread_mutex_lock(&e->lock);
	e->why = *why;
	pthread_mutex_unlock(&e->lock);
}

static struct restored_db *db_report(struct restore *r, const char *group, const char *name)
{
	for (size_t i = 0; i < r->out->ndbs; i++)
		if (strcmp(r->out->dbs[i].group, group) == 0 &&
		    strcmp(r->out->dbs[i].name, name) == 0)
			return &r->out->dbs[i];
	return NULL;
}

static enum st note_dbs(struct restore *r, const struct bk_group *g, struct ese *ese,
			struct err *err)
{
	struct ese_db *dbs[ESE_DATABASES];
	unsigned n = ese_db_list(ese, dbs, ESE_DATABASES);
	enum st st = ST_OK;

	for (size_t i = 0; i < r->out->ndbs; i++)
		if (strcmp(r->out->dbs[i].group, g->name) == 0 &&
		    r->out->dbs[i].state == RESTORED_GOOD)
			r->out->dbs[i].state = RESTORED_REMOVED;
	for (unsigned i = 0; i < n && i < ESE_DATABASES; i++) {
		struct ese_db_info info;
		struct restored_db *d;

		ese_db_info(dbs[i], &info);
		d = db_report(r, g->name, info.name);
		if (!d)
			continue;
		d->state = info.state == ESE_UP ? RESTORED_GOOD : RESTORED_FAILED;
		d->bodies = info.bodies;
		d->bytes = (info.pages_total - info.pages_free) * ESE_PAGE;
		if (d->state == RESTORED_GOOD)
			continue;
		snprintf(d->why, sizeof(d->why), "%s", info.reason);
		if (st == ST_OK && !r->o->partial && is_wanted(r->o, g->name, info.name))
			st = fail(err, ST_CORRUPT,
				  "%s/%s can't be rolled forward: %.160s (--partial goes on)",
				  g->name, info.name, info.reason);
	}
	return st;
}

/* The engine's recovery does the work, and the group is closed in order.  `last`: it is as it will be found. */
static enum st open_once(struct restore *r, const struct bk_group *g, const char *folder, bool last,
			 struct err *err)
{
	struct engine e = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct ese_options o = { .reserve_bytes = 1, .broken = on_broken, .arg = &e };
	struct ese *ese;
	enum st st = ese_open(folder, &o, &ese, err);

	if (st != ST_OK)
		return st;
	st = note_dbs(r, g, ese, err);
	if (st == ST_OK && last && g->circular)
		st = ese_set_circular(ese, true, err);
	ese_close(ese);
	if (st != ST_OK)
		return st;
	return e.why.st == ST_OK ? ST_OK : fail(err, e.why.st, "%s: %.200s", folder, e.why.text);
}

/* ---- a group of its own ---- */

static enum st remove_log(void *arg, const char *entry, struct err *err)
{
	char path[SEG_PATH_MAX];

	if (strncmp(entry, "E00", 3) != 0)
		return ST_OK;
	snprintf(path, sizeof(path), "%s/%s", (const char *)arg, entry);
	return io_unlink(path, err);
}

static enum st new_log(const char *folder, const unsigned char *signature, uint32_t gen,
		       struct err *err)
{
	struct seg_head h = { .gen = gen,
			      .size = 5u * 1024 * 1024,
			      .created = (uint64_t)clock_real() };
	struct seg s;
	enum st st;

	memcpy(h.signature, signature, LOG_SIGNATURE);
	st = seg_make_spare(folder, 1, h.size, err);
	if (st == ST_OK)
		st = seg_take_spare(folder, 1, &h, SEG_SYNC, &s, err);
	if (st == ST_OK)
		seg_close(&s);
	return st;
}

/* A new signature, and a log that begins behind everything: no record of before can ever be replayed into it. */
static enum st own_log(struct restore *r, const struct bk_group *g, const char *folder,
		       uint64_t end, struct err *err)
{
	struct stand at = { .pos = pos_of(pos_gen(end) + 1, SEG_HEAD),
			    .state = CLEAN,
			    .applied = true };
	char copy[SEG_PATH_MAX];
	uint32_t last = 0;
	struct seg_list list;
	enum st st = seg_list(folder, &list, err);

	if (st != ST_OK)
		return st;
	if (list.ngens)
		last = list.gens[list.ngens - 1];
	seg_list_free(&list);
	if (last >= pos_gen(at.pos))
		at.pos = pos_of(last + 1, SEG_HEAD);
	random_bytes(at.signature, LOG_SIGNATURE);
	snprintf(copy, sizeof(copy), "%s", folder);
	st = io_list(folder, remove_log, copy, err);
	for (size_t i = 0; st == ST_OK && i < r->m->ndbs; i++) {
		const struct bk_db *d = &r->m->dbs[i];
		struct restored_db *rd = db_report(r, d->group, d->name);

		if (strcmp(d->group, g->name) != 0 || !rd || rd->state != RESTORED_GOOD)
			continue;
		rd->position = at.pos;
		st = stand_at(folder, d->name, &at, err);
	}
	if (st == ST_OK)
		st = new_log(folder, at.signature, pos_gen(at.pos), err);
	return st == ST_OK ? io_sync_dir(folder, err) : st;
}

/* ---- one group ---- */

static enum st report_dbs(struct restore *r, const struct bk_group *g, struct err *err)
{
	for (size_t i = 0; i < r->m->ndbs; i++) {
		const struct bk_db *d = &r->m->dbs[i];
		struct restored_db *more;

		if (strcmp(d->group, g->name) != 0)
			continue;
		more = realloc(r->out->dbs, (r->out->ndbs + 1) * sizeof(*more));
		if (!more)
			return fail(err, ST_NOMEM, "database %s", d->name);
		r->out->dbs = more;
		more += r->out->ndbs++;
		*more = (struct restored_db){ .backup_position = d->position,
					      .bodies = d->bodies,
					      .bytes = d->pages * SEG_HEAD };
		snprintf(more->group, sizeof(more->group), "%s", d->group);
		snprintf(more->name, sizeof(more->name), "%s", d->name);
	}
	return ST_OK;
}

/* Databases that were replayed with the others and that nobody wants. */
static enum st drop_unwanted(struct restore *r, const struct bk_group *g, const char *folder,
			     struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < r->out->ndbs; i++) {
		struct restored_db *d = &r->out->dbs[i];
		char path[SEG_PATH_MAX];

		if (strcmp(d->group, g->name) != 0 || is_wanted(r->o, d->group, d->name))
			continue;
		snprintf(path, sizeof(path), "%s/%s.edb", folder, d->name);
		st = restore_clear(path, err);
		snprintf(path, sizeof(path), "%s/%s.stm", folder, d->name);
		if (st == ST_OK)
			st = io_unlink(path, err);
		d->state = RESTORED_UNWANTED;
	}
	return st;
}

/* A database of the group is asked for; it may have been made behind the backup. */
static bool group_wanted(const struct restore *r, const struct bk_group *g)
{
	struct span rest;

	for (size_t i = 0; i < r->o->nonly; i++)
		if (span_eq(span_split(span_str(r->o->only[i]), '/', &rest), span_str(g->name)))
			return true;
	return r->o->nonly == 0;
}

static enum st all_found(const struct restore *r, struct err *err)
{
	for (size_t i = 0; i < r->o->nonly; i++) {
		bool found = false;

		for (size_t d = 0; !found && d < r->out->ndbs; d++)
			found = r->out->dbs[d].state != RESTORED_UNWANTED &&
				r->out->dbs[d].state != RESTORED_REMOVED &&
				is_wanted_as(r->o->only[i], r->out->dbs[d].group,
					     r->out->dbs[d].name);
		if (!found)
			return fail(err, ST_NOTFOUND,
				    "there is no database '%.100s' in %s (names are GROUP/NAME, as "
				    "first/mailbox/default)",
				    r->o->only[i], r->o->full);
	}
	return ST_OK;
}

/* The lowest position of its databases, the highest; 0: it has none. */
static void positions(const struct restore *r, const struct bk_group *g, uint64_t *low,
		      uint64_t *high)
{
	*low = *high = 0;
	for (size_t i = 0; i < r->m->ndbs; i++) {
		const struct bk_db *d = &r->m->dbs[i];

		if (strcmp(d->group, g->name) != 0)
			continue;
		if (!*low || d->position < *low)
			*low = d->position;
		if (d->position > *high)
			*high = d->position;
	}
}

static enum st restore_group(struct restore *r, const struct bk_group *g, struct restored_group *rg,
			     struct err *err)
{
	char folder[SEG_PATH_MAX / 2];
	uint64_t low, end;
	size_t ndbs = r->m->ndbs;
	enum st st;

	snprintf(rg->name, sizeof(rg->name), "%s", g->name);
	snprintf(folder, sizeof(folder), "%s/%s", r->o->to, g->name);
	st = io_mkdir(folder, err);
	for (size_t i = 0; st == ST_OK && i < ndbs; i++)
		if (strcmp(r->m->dbs[i].group, g->name) == 0)
			st = bring_db(r, g, &r->m->dbs[i], folder, err);
	positions(r, g, &low, &end);
	/* A group without databases has nothing to roll forward; a standby goes on in its log all the same. */
	if (st == ST_OK && g->next && !low && r->o->standby && g->first == g->next)
		st = fail(
			err, ST_BAD,
			"group %s has no databases, and the backup nothing of its log, so its log can't be "
			"followed: create a database in it and make a full backup",
			g->name);
	if (st == ST_OK && g->next && (low || r->o->standby)) {
		st = find_sources(r, g, err);
		if (st == ST_OK)
			st = restore_logs(r, g, folder, low ? pos_gen(low) : g->first, rg, &end,
					  err);
	} else if (st == ST_OK && r->o->logs && !g->next) {
		snprintf(rg->gap, sizeof(rg->gap),
			 "its logging was circular: it is as it was at the backup");
	}
	if (st == ST_OK)
		st = report_dbs(r, g, err);
	if (r->o->standby)
		return st == ST_OK && !g->next
			       ? fail(err, ST_BAD,
				      "group %s: its logging was circular, so its log can't be followed",
				      g->name)
			       : st;
	if (st == ST_OK && rg->rolled)
		st = open_once(r, g, folder, false, err);
	if (st == ST_OK)
		st = drop_unwanted(r, g, folder, err);
	if (st == ST_OK)
		st = own_log(r, g, folder, end, err);
	/* What a server will do first: it is seen here that it can, and the log and the checkpoint are then there as always. */
	return st == ST_OK ? open_once(r, g, folder, true, err) : st;
}

/* What is to be looked at, for the progress. */
static void count_all(struct restore *r)
{
	for (size_t i = 0; i < r->m->ndbs; i++)
		r->run->p.total += r->m->dbs[i].pages * SEG_HEAD;
	for (size_t i = 0; i < r->m->nfiles; i++)
		r->run->p.total += r->m->files[i].size;
	for (size_t i = 0; i < r->m->nlogs; i++)
		r->run->p.total += r->m->logs[i].size;
}

static enum st prepare(struct restore *r, struct err *err)
{
	struct bk_options o = {
		.dir = r->o->dir, .rate = r->o->rate, .progress = r->o->progress, .arg = r->o->arg
	};
	char path[SEG_PATH_MAX];
	enum st st;

	snprintf(path, sizeof(path), "%s/%s", r->o->dir, r->o->full);
	st = bk_load(path, &r->m, err);
	if (st == ST_OK && !r->m->full)
		st = fail(err, ST_BAD, "%s is no full backup", r->o->full);
	if (st == ST_OK && access(r->o->to, F_OK) == 0)
		st = fail(err, ST_EXISTS, "%s is there already", r->o->to);
	if (st == ST_OK)
		st = io_mkdir(r->o->to, err);
	if (st != ST_OK)
		return st;
	r->run = bk_run_alloc(&o);
	r->out->groups = calloc(r->m->ngroups + 1, sizeof(*r->out->groups));
	if (!r->run || !r->out->groups)
		return fail(err, ST_NOMEM, "restore");
	r->run->found = r->o->found;
	return ST_OK;
}

enum st restore_groups(const struct restore_options *o, struct restored *out, struct err *err)
{
	struct restore r = { .o = o, .out = out };
	enum st st;

	*out = (struct restored){ 0 };
	st = prepare(&r, err);
	if (st == ST_OK)
		count_all(&r);
	for (size_t i = 0; st == ST_OK && i < r.m->ngroups; i++)
		if (group_wanted(&r, &r.m->groups[i]))
			st = restore_group(&r, &r.m->groups[i], &out->groups[out->ngroups++], err);
	if (st == ST_OK)
		st = all_found(&r, err);
	if (st == ST_OK)
		st = io_sync_dir(o->to, err);
	bk_run_free(r.run);
	bk_free(r.m);
	log_sources_clear(&r.sources);
	if (st != ST_OK)
		restored_free(out);
	return st;
}
