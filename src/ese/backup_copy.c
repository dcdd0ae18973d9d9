/* backup_copy.c - a run of a backup: its folder, its files, its end; see backup_copy.h. */
#include "ese/backup_run.h"

#include "base/clock.h"
#include "ese/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- progress, rate, findings ---- */

static enum st wait_for_rate(struct bk_run *r)
{
	uint64_t moved = r->p.copied + r->p.kept;
	int64_t due = r->began + (int64_t)((double)moved / (double)r->o.rate * 1e9);
	struct timespec until = { .tv_sec = due / NS_PER_SEC, .tv_nsec = due % NS_PER_SEC };

	/* A signal ends it early: progress() is asked next. */
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	return ST_OK;
}

enum st bk_step(struct bk_run *r, const char *what, uint64_t bytes, struct err *err)
{
	r->p.what = what;
	r->p.done += bytes;
	r->p.ns = (uint64_t)(clock_mono() - r->began);
	if (r->o.progress && !r->o.progress(r->o.arg, &r->p))
		return fail(err, ST_GONE, "the backup was stopped; what is copied stays in %s",
			    r->folder);
	return r->o.rate && bytes ? wait_for_rate(r) : ST_OK;
}

enum st bk_note(struct bk_run *r, const char *text, struct err *err)
{
	r->p.findings++;
	if (r->found) {
		r->found(r->o.arg, text);
		return ST_OK;
	}
	return bk_add_finding(r->m, text) ? ST_OK : fail(err, ST_NOMEM, "a finding");
}

/* ---- files ---- */

enum st bk_hash_file(const char *path, struct hash *h, char *chunk, uint64_t most,
		     bool (*step)(void *arg, uint64_t bytes), void *arg,
		     unsigned char out[HASH_BYTES], uint64_t *size_out, struct err *err)
{
	uint64_t off = 0;
	size_t got = BK_CHUNK;
	enum st st;
	int fd = -1;

	st = io_open(path, O_RDONLY, &fd, err);
	while (st == ST_OK && got == BK_CHUNK && off < most) {
		st = io_read(fd, chunk, BK_CHUNK, off, &got, path, err);
		if (st != ST_OK)
			break;
		hash_add(h, chunk, got);
		off += got;
		if (step && !step(arg, got))
			st = fail(err, ST_GONE, "stopped");
	}
	hash_end(h, out);
	if (fd >= 0)
		close(fd);
	*size_out = off;
	return st;
}

/* What a killed run wrote may not be durable yet. */
static bool make_durable(const char *path)
{
	bool done;
	int fd;

	if (io_open(path, O_RDWR, &fd, NULL) != ST_OK)
		return false;
	done = io_sync(fd, path, NULL) == ST_OK;
	close(fd);
	return done;
}

/* The same bytes already? */
static bool is_there(struct bk_run *r, const char *from, const char *to, uint64_t size,
		     unsigned char hash_out[HASH_BYTES])
{
	unsigned char other[HASH_BYTES];
	struct stat info;
	uint64_t n;

	if (stat(to, &info) < 0 || (uint64_t)info.st_size != size)
		return false;
	return bk_hash_file(from, r->hash, r->chunk, UINT64_MAX, NULL, NULL, hash_out, &n, NULL) ==
		       ST_OK &&
	       n == size &&
	       bk_hash_file(to, r->hash, r->chunk, UINT64_MAX, NULL, NULL, other, &n, NULL) ==
		       ST_OK &&
	       memcmp(other, hash_out, HASH_BYTES) == 0 && make_durable(to);
}

static enum st copy_bytes(struct bk_run *r, int from, int to, const char *name, uint64_t *size_out,
			  struct err *err)
{
	uint64_t off = 0;
	size_t got = BK_CHUNK;
	enum st st = ST_OK;

	while (st == ST_OK && got == BK_CHUNK) {
		st = io_read(from, r->chunk, BK_CHUNK, off, &got, name, err);
		if (st != ST_OK || got == 0)
			break;
		hash_add(r->hash, r->chunk, got);
		st = io_write(to, r->chunk, got, off, name, err);
		if (st != ST_OK)
			break;
		off += got;
		r->p.copied += got;
		st = bk_step(r, name, got, err);
	}
	*size_out = off;
	return st;
}

enum st bk_copy_file(struct bk_run *r, const char *from, const char *to, uint32_t mode,
		     unsigned char hash_out[HASH_BYTES], uint64_t *size_out, struct err *err)
{
	struct stat info;
	enum st st;
	int in, out;

	if (stat(from, &info) < 0)
		return fail_errno(err, "%s", from);
	r->p.files++;
	*size_out = (uint64_t)info.st_size;
	if (is_there(r, from, to, *size_out, hash_out)) {
		r->p.kept += *size_out;
		return bk_step(r, to, *size_out, err);
	}
	st = io_open(from, O_RDONLY, &in, err);
	if (st != ST_OK)
		return st;
	st = io_open(to, O_RDWR | O_CREAT | O_TRUNC, &out, err);
	if (st == ST_OK) {
		/* Keys stay secret while they are being copied, too. */
		if (fchmod(out, (mode_t)mode) < 0)
			st = fail_errno(err, "%s: set the mode", to);
		if (st == ST_OK)
			st = copy_bytes(r, in, out, to, size_out, err);
		if (st == ST_OK)
			st = io_sync(out, to, err);
		close(out);
	}
	hash_end(r->hash, hash_out);
	close(in);
	return st;
}

enum st bk_sync_parent(const char *path, struct err *err)
{
	char parent[SEG_PATH_MAX];
	size_t len;
	char *slash;

	snprintf(parent, sizeof(parent), "%s", path);
	for (len = strlen(parent); len > 1 && parent[len - 1] == '/'; len--)
		parent[len - 1] = '\0';
	slash = strrchr(parent, '/');
	if (!slash)
		return io_sync_dir(".", err);
	slash[slash == parent] = '\0';
	return io_sync_dir(parent, err);
}

enum st bk_make_folders(const char *base, const char *path, struct err *err)
{
	char at[SEG_PATH_MAX];
	size_t from = strlen(base) + 1;
	enum st st = ST_OK;

	snprintf(at, sizeof(at), "%s/%s/", base, path);
	for (char *slash = strchr(at + from, '/'); st == ST_OK && slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		st = io_mkdir(at, err);
		*slash = '/';
	}
	return st;
}

/* One file of the backup, by its path in it. */
static enum st add_file(struct bk_run *r, const char *from, const char *path, struct err *err)
{
	char to[SEG_PATH_MAX];
	struct bk_file *f;
	struct stat info;
	enum st st;

	if (stat(from, &info) < 0)
		return fail_errno(err, "%s", from);
	f = bk_add_file(r->m);
	if (f)
		f->path = bk_keep(r->m, span_str(path));
	if (!f || !f->path)
		return fail(err, ST_NOMEM, "%s", path);
	f->mode = info.st_mode & 07777;
	snprintf(to, sizeof(to), "%s/%s", r->folder, path);
	st = bk_copy_file(r, from, to, f->mode, f->hash, &f->size, err);
	return st;
}

struct tree {
	struct bk_run *r;
	const char *from, *path;
	bool only_size;
};

static enum st tree_entry(void *arg, const char *entry, struct err *err)
{
	struct tree *t = arg;
	char from[SEG_PATH_MAX], path[SEG_PATH_MAX];
	struct stat info;

	snprintf(from, sizeof(from), "%s/%s", t->from, entry);
	snprintf(path, sizeof(path), "%s/%s", t->path, entry);
	if (stat(from, &info) < 0 || !S_ISREG(info.st_mode))
		return ST_OK;
	if (!t->only_size)
		return add_file(t->r, from, path, err);
	t->r->p.total += (uint64_t)info.st_size;
	return ST_OK;
}

/* A file that an earlier run copied and that is no part of this backup. */
static enum st stray_entry(void *arg, const char *entry, struct err *err)
{
	struct tree *t = arg;
	char path[SEG_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", t->path, entry);
	for (size_t i = t->r->m->nfiles; i > 0; i--)
		if (strcmp(t->r->m->files[i - 1].path, path) == 0)
			return ST_OK;
	snprintf(path, sizeof(path), "%s/%s/%s", t->r->folder, t->path, entry);
	return io_unlink(path, err);
}

/* The files of a folder, one level, durable with their names. */
static enum st add_folder(struct bk_run *r, const char *from, const char *path, struct err *err)
{
	struct tree t = { .r = r, .from = from, .path = path };
	char to[SEG_PATH_MAX];
	enum st st = bk_make_folders(r->folder, path, err);

	snprintf(to, sizeof(to), "%s/%s", r->folder, path);
	if (st == ST_OK)
		st = io_list(from, tree_entry, &t, err);
	if (st == ST_OK)
		st = io_list(to, stray_entry, &t, err);
	return st == ST_OK ? io_sync_dir(to, err) : st;
}

/* ---- rows ---- */

static enum st copy_db(struct bk_run *r, const struct bk_source *s, const struct bk_source_db *db,
		       struct err *err)
{
	char from[SEG_PATH_MAX], path[SEG_PATH_MAX], label[512], stm[SEG_PATH_MAX];
	struct bk_stream f = {
		.label = label,
		.group = s->group,
		.db = db->name,
		.rows = from,
		.from = stm,
		.to = path,
		.bytes = db->stm_bytes,
	};
	struct bk_db *d = bk_add_db(r->m);
	enum st st;

	if (!d)
		return fail(err, ST_NOMEM, "%s", db->name);
	*d = (struct bk_db){ .group = s->group,
			     .name = db->name,
			     .id = db->id,
			     .position = db->position,
			     .stm_bytes = db->stm_bytes };
	snprintf(from, sizeof(from), "%s/%s.snap", s->path, db->name);
	snprintf(path, sizeof(path), "groups/%s/%s.edb", s->group, db->name);
	st = add_folder(r, from, path, err);
	snprintf(label, sizeof(label), "%s/%s", s->group, db->name);
	snprintf(stm, sizeof(stm), "%s/%s.stm", s->path, db->name);
	snprintf(path, sizeof(path), "%s/groups/%s/%s.stm", r->folder, s->group, db->name);
	return st == ST_OK ? bk_copy_stream(r, &f, &d->pages, &d->bodies, err) : st;
}

static enum st leave_out(struct bk_run *r, const struct bk_source *s, const struct bk_source_db *db,
			 struct err *err)
{
	struct bk_left_out *l = bk_add_left_out(r->m);

	if (!l)
		return fail(err, ST_NOMEM, "%s", db->name);
	*l = (struct bk_left_out){ .group = s->group,
				   .name = db->name,
				   .why = bk_keep(r->m, span_str(db->why)) };
	return l->why ? ST_OK : fail(err, ST_NOMEM, "%s", db->name);
}

/* What will have to be looked at: files of the snapshots, committed pages. */
static void count_db(struct bk_run *r, const struct bk_source *s, const struct bk_source_db *db)
{
	char from[SEG_PATH_MAX];
	struct tree t = { .r = r, .from = from, .path = "", .only_size = true };
	struct pdb *rows;
	uint64_t pages = 0;

	snprintf(from, sizeof(from), "%s/%s.snap", s->path, db->name);
	io_list(from, tree_entry, &t, NULL);
	if (bk_open_rows(from, &rows, NULL) != ST_OK)
		return;
	bk_pages_count(rows, &pages, NULL);
	r->p.total += pages * SEG_HEAD;
	pdb_close(rows);
}

enum st bk_run_rows(struct bk_run *r, struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; i < r->nsources; i++)
		for (size_t d = 0; d < r->sources[i].ndbs; d++)
			if (!r->sources[i].dbs[d].why)
				count_db(r, &r->sources[i], &r->sources[i].dbs[d]);
	for (size_t i = 0; st == ST_OK && i < r->nsources; i++) {
		const struct bk_source *s = &r->sources[i];

		for (size_t d = 0; st == ST_OK && d < s->ndbs; d++)
			st = s->dbs[d].why ? leave_out(r, s, &s->dbs[d], err)
					   : copy_db(r, s, &s->dbs[d], err);
	}
	return st;
}

enum st bk_run_extra(struct bk_run *r, const char *home, const char *path, struct err *err)
{
	char from[SEG_PATH_MAX], folder[SEG_PATH_MAX];
	struct stat info;
	char *slash;
	enum st st = ST_OK;

	snprintf(from, sizeof(from), "%s/%s", home, path);
	if (stat(from, &info) < 0)
		return errno == ENOENT ? ST_OK : fail_errno(err, "%s", from);
	if (access(from, S_ISDIR(info.st_mode) ? R_OK | X_OK : R_OK) < 0) {
		snprintf(folder, sizeof(folder),
			 "%.500s can't be read by this user: it is not copied", path);
		return bk_note(r, folder, err);
	}
	if (S_ISDIR(info.st_mode))
		return add_folder(r, from, path, err);
	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash) {
		*slash = '\0';
		st = bk_make_folders(r->folder, folder, err);
	}
	return st == ST_OK ? add_file(r, from, path, err) : st;
}

/* ---- begin and end ---- */

static enum st add_groups(struct bk_run *r, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < r->nsources; i++) {
		const struct bk_source *s = &r->sources[i];
		struct bk_group *g = bk_add_group(r->m);

		if (!g)
			return fail(err, ST_NOMEM, "group %s", s->group);
		g->name = s->group;
		g->circular = s->circular;
		memcpy(g->signature, s->signature, LOG_SIGNATURE);
		snprintf(path, sizeof(path), "groups/%s", s->group);
		st = bk_make_folders(r->folder, path, err);
		for (size_t d = 0; st == ST_OK && d < s->ndbs; d++) {
			char *slash;

			snprintf(path, sizeof(path), "groups/%s/%s", s->group, s->dbs[d].name);
			slash = strrchr(path, '/');
			*slash = '\0';
			if (!s->dbs[d].why)
				st = bk_make_folders(r->folder, path, err);
		}
	}
	return st;
}

static bool is_finished(const char *dir, const char *name)
{
	char path[SEG_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s/" BK_NAME, dir, name);
	return access(path, F_OK) == 0;
}

/* The newest folder, if it is of this kind and was not finished; else a new one. */
static enum st choose_folder(struct bk_run *r, const struct bk_seq *seq, struct err *err)
{
	const char *prefix = r->o.full ? "full-" : "incr-", *last;
	uint64_t at = r->m->began;
	char name[20];

	last = seq->n ? seq->names[seq->n - 1] : NULL;
	if (last && strncmp(last, prefix, 5) == 0 && !is_finished(r->o.dir, last)) {
		snprintf(r->folder, sizeof(r->folder), "%s/%s", r->o.dir, last);
		return ST_OK;
	}
	/* Two in one second, or a clock that was set back: names still ascend. */
	do {
		bk_time_name(at, name);
		at += NS_PER_SEC;
	} while (last && strcmp(name, last + 5) <= 0);
	snprintf(r->folder, sizeof(r->folder), "%s/%s%s", r->o.dir, prefix, name);
	if (mkdir(r->folder, 0700) < 0)
		return fail_errno(err, "make the folder %s", r->folder);
	return io_sync_dir(r->o.dir, err);
}

static enum st begin(struct bk_run *r, struct err *err)
{
	struct bk_seq seq = { 0 };
	enum st st = io_mkdir(r->o.dir, err);

	if (st == ST_OK)
		st = bk_seq_read(r->o.dir, &seq, err);
	if (st == ST_OK && !r->o.full)
		st = bk_chain_find(r, &seq, err);
	if (st == ST_OK)
		st = choose_folder(r, &seq, err);
	if (st == ST_OK)
		st = add_groups(r, err);
	bk_seq_free(&seq);
	return st;
}

struct bk_run *bk_run_alloc(const struct bk_options *o)
{
	struct bk_run *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->o = *o;
	r->began = clock_mono();
	r->hash = hash_new();
	if (posix_memalign((void **)&r->chunk, SEG_HEAD, (size_t)2 * BK_CHUNK) != 0)
		r->chunk = NULL;
	r->other = r->chunk ? r->chunk + BK_CHUNK : NULL;
	if (!r->hash || !r->chunk) {
		bk_run_free(r);
		return NULL;
	}
	return r;
}

enum st bk_run_new(const struct bk_options *o, const struct bk_source *sources, size_t nsources,
		   struct bk_run **out, struct err *err)
{
	struct bk_run *r = bk_run_alloc(o);
	enum st st;

	if (r)
		r->m = bk_new();
	if (!r || !r->m) {
		bk_run_free(r);
		return fail(err, ST_NOMEM, "backup");
	}
	r->sources = sources;
	r->nsources = nsources;
	r->m->full = o->full;
	r->m->began = (uint64_t)clock_real();
	st = begin(r, err);
	if (st != ST_OK) {
		bk_run_free(r);
		return st;
	}
	*out = r;
	return ST_OK;
}

void bk_run_free(struct bk_run *r)
{
	if (!r)
		return;
	free(r->chunk);
	hash_free(r->hash);
	free(r->damaged);
	bk_free(r->prev);
	bk_free(r->m);
	free(r);
}

/* Every folder that holds something of the backup, the inner ones first. */
static enum st sync_folders(struct bk_run *r, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < r->m->ndbs; i++) {
		const struct bk_db *d = &r->m->dbs[i];

		snprintf(path, sizeof(path), "%s/groups/%s/%s", r->folder, d->group, d->name);
		*strrchr(path, '/') = '\0';
		st = io_sync_dir(path, err);
	}
	for (size_t i = 0; st == ST_OK && i < r->m->ngroups; i++) {
		snprintf(path, sizeof(path), "%s/groups/%s", r->folder, r->m->groups[i].name);
		st = io_sync_dir(path, err);
	}
	snprintf(path, sizeof(path), "%s/groups", r->folder);
	if (st == ST_OK)
		st = io_sync_dir(path, err);
	if (st == ST_OK)
		st = io_sync_dir(r->folder, err);
	if (st == ST_OK)
		st = io_sync_dir(r->o.dir, err);
	return st == ST_OK ? bk_sync_parent(r->o.dir, err) : st;
}

enum st bk_run_end(struct bk_run *r, struct err *err)
{
	enum st st = sync_folders(r, err);

	r->m->ended = (uint64_t)clock_real();
	return st == ST_OK ? bk_store(r->m, r->folder, err) : st;
}

const struct bk *bk_run_manifest(const struct bk_run *r)
{
	return r->m;
}

const char *bk_run_folder(const struct bk_run *r)
{
	return r->folder;
}

void bk_run_progress(const struct bk_run *r, struct bk_progress *out)
{
	*out = r->p;
}

const struct bk_damaged *bk_run_damaged(const struct bk_run *r, size_t *n_out)
{
	*n_out = r->ndamaged;
	return r->damaged;
}

enum st bk_run_note(struct bk_run *r, const char *text, struct err *err)
{
	return bk_note(r, text, err);
}
