/* backup_verify.c - read all of a backup and compare; see backup_copy.h. */
#include "ese/backup_run.h"

#include "ese/io.h"
#include "ese/log_read.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct verify {
	struct bk_run *run;
	const struct bk *m;
	const char *what;
};

static bool step(void *arg, uint64_t bytes)
{
	struct verify *v = arg;

	return bk_step(v->run, v->what, bytes, NULL) == ST_OK;
}

/* A file, of which the manifest tells size and hash. */
static enum st look_at_file(struct verify *v, const char *path, uint64_t size,
			    const unsigned char want[HASH_BYTES], struct err *err)
{
	unsigned char hash[HASH_BYTES];
	char full[SEG_PATH_MAX], text[1200];
	struct err why = { 0 };
	uint64_t n;
	enum st st;

	v->what = path;
	v->run->p.files++;
	snprintf(full, sizeof(full), "%s/%s", v->run->folder, path);
	st = bk_hash_file(full, v->run->hash, v->run->chunk, UINT64_MAX, step, v, hash, &n, &why);
	if (st == ST_GONE)
		return fail(err, ST_GONE, "stopped");
	if (st == ST_OK && n == size && memcmp(hash, want, HASH_BYTES) == 0)
		return ST_OK;
	if (st != ST_OK)
		snprintf(text, sizeof(text), "%.500s: %.300s", path, why.text);
	else if (n != size)
		snprintf(text, sizeof(text), "%.500s has %llu bytes instead of %llu", path,
			 (unsigned long long)n, (unsigned long long)size);
	else
		snprintf(text, sizeof(text), "%.500s is not what was copied", path);
	return bk_note(v->run, text, err);
}

static enum st look_at_db(struct verify *v, const struct bk_db *d, struct err *err)
{
	char rows[SEG_PATH_MAX], stm[SEG_PATH_MAX], label[512], text[1200];
	struct bk_stream f = { .label = label, .rows = rows, .from = stm, .bytes = d->stm_bytes };
	uint64_t pages, bodies;
	struct stat info;

	snprintf(label, sizeof(label), "%s/%s", d->group, d->name);
	snprintf(rows, sizeof(rows), "%s/groups/%s/%s.edb", v->run->folder, d->group, d->name);
	snprintf(stm, sizeof(stm), "%s/groups/%s/%s.stm", v->run->folder, d->group, d->name);
	if (stat(stm, &info) < 0 || (uint64_t)info.st_size < d->stm_bytes) {
		snprintf(text, sizeof(text), "%s.stm is %s", label,
			 access(stm, F_OK) < 0 ? "missing" : "cut off");
		return bk_note(v->run, text, err);
	}
	return bk_copy_stream(v->run, &f, &pages, &bodies, err);
}

static enum st look_at_all(struct verify *v, struct err *err)
{
	enum st st = ST_OK;

	for (size_t i = 0; st == ST_OK && i < v->m->nfiles; i++)
		st = look_at_file(v, v->m->files[i].path, v->m->files[i].size, v->m->files[i].hash,
				  err);
	for (size_t i = 0; st == ST_OK && i < v->m->nlogs; i++) {
		const struct bk_log *l = &v->m->logs[i];
		char path[SEG_PATH_MAX / 2];

		snprintf(path, sizeof(path), "groups/%s/E00%08X.log", l->group, l->gen);
		st = look_at_file(v, path, l->size, l->hash, err);
	}
	for (size_t i = 0; st == ST_OK && i < v->m->ndbs; i++)
		st = look_at_db(v, &v->m->dbs[i], err);
	return st;
}

enum st bk_verify(const char *folder, const struct bk_look *l, struct err *err)
{
	struct bk_options o = { .dir = folder, .progress = l->progress, .arg = l->arg };
	struct verify v = { 0 };
	struct bk *m;
	enum st st = bk_load(folder, &m, err);

	if (st != ST_OK)
		return st;
	v.m = m;
	v.run = bk_run_alloc(&o);
	if (!v.run) {
		bk_free(m);
		return fail(err, ST_NOMEM, "verify");
	}
	snprintf(v.run->folder, sizeof(v.run->folder), "%s", folder);
	v.run->found = l->found;
	for (size_t i = 0; i < m->nfiles; i++)
		v.run->p.total += m->files[i].size;
	for (size_t i = 0; i < m->nlogs; i++)
		v.run->p.total += m->logs[i].size;
	for (size_t i = 0; i < m->ndbs; i++)
		v.run->p.total += m->dbs[i].pages * SEG_HEAD;
	st = look_at_all(&v, err);
	bk_run_free(v.run);
	bk_free(m);
	return st;
}
