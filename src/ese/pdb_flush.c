/* pdb_flush.c - from memory into RocksDB: a frozen table becomes one sorted file that is put in whole.
 *
 * The happy path: a table is full, or pdb_flush wants it; it is frozen and an empty one takes its place; this
 * thread writes its rows in order into a file of RocksDB's form, syncs it, and has RocksDB take it in, which is one synced
 * record in its MANIFEST.  The applied row is in the file with everything it speaks of, so after a crash RocksDB holds
 * the batches up to the end of some table, as it did when it flushed its own.
 * Possible failures: no room or a failed write or sync.  The rows stay readable in memory; every later write and flush
 * gets the error, and the group ends. */
#include "ese/io.h"
#include "ese/pdb_int.h"

#include <stdio.h>
#include <stdlib.h>

static struct table *table_new(void)
{
	struct table *t = malloc(sizeof(*t));

	if (!t)
		return NULL;
	t->holders = 1;
	t->rows = memtable_new();
	if (!t->rows) {
		free(t);
		return NULL;
	}
	return t;
}

static void table_hold(struct table *t)
{
	if (t)
		atomic_fetch_add(&t->holders, 1);
}

static void table_drop(struct table *t)
{
	if (!t || atomic_fetch_sub(&t->holders, 1) > 1)
		return;
	memtable_free(t->rows);
	free(t);
}

/* ---- views ---- */

struct view *view_take(struct pdb *p)
{
	struct view *v;

	pthread_mutex_lock(&p->look);
	v = p->view;
	if (v)
		atomic_fetch_add(&v->holders, 1);
	pthread_mutex_unlock(&p->look);
	return v;
}

void view_drop(struct view *v)
{
	if (!v || atomic_fetch_sub(&v->holders, 1) > 1)
		return;
	table_drop(v->active);
	table_drop(v->frozen);
	free(v);
}

/* From now on readers see these; takes over `active`. */
static enum st set_view(struct pdb *p, struct table *active, struct table *frozen, struct err *err)
{
	struct view *v = active ? malloc(sizeof(*v)) : NULL, *old;

	if (!v) {
		table_drop(active);
		return fail(err, ST_NOMEM, "rows in memory");
	}
	table_hold(frozen);
	v->holders = 1;
	v->active = active;
	v->frozen = frozen;
	pthread_mutex_lock(&p->look);
	old = p->view;
	p->view = v;
	pthread_mutex_unlock(&p->look);
	view_drop(old);
	return ST_OK;
}

/* ---- a table becomes a file ---- */

static void put_rows(rocksdb_sstfilewriter_t *w, const struct memtable *t, char **message)
{
	struct memtable_cursor c;

	for (memtable_seek(&c, t, UINT64_MAX, SPAN_NONE); c.row && !*message; memtable_next(&c)) {
		if (c.value.deleted)
			rocksdb_sstfilewriter_delete(w, c.key.at, c.key.len, message);
		else
			rocksdb_sstfilewriter_put(w, c.key.at, c.key.len, c.value.bytes.at,
						  c.value.bytes.len, message);
	}
}

static enum st write_file(struct pdb *p, const struct memtable *t, const char *path,
			  struct err *err)
{
	rocksdb_envoptions_t *env = rocksdb_envoptions_create();
	rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(env, p->options);
	char *message = NULL;

	rocksdb_sstfilewriter_open(w, path, &message);
	if (!message)
		put_rows(w, t, &message);
	if (!message)
		rocksdb_sstfilewriter_finish(w, &message);
	rocksdb_sstfilewriter_destroy(w);
	rocksdb_envoptions_destroy(env);
	return message ? pdb_failed(message, "write rows", err) : ST_OK;
}

/* An empty write waits as any write does while compaction is far behind. */
static enum st wait_for_compaction(struct pdb *p, struct err *err)
{
	rocksdb_writebatch_t *none = rocksdb_writebatch_create();
	char *message = NULL;

	rocksdb_write(p->db, p->write, none, &message);
	rocksdb_writebatch_destroy(none);
	return message ? pdb_failed(message, "write rows", err) : ST_OK;
}

static enum st take_in(struct pdb *p, const char *path, struct err *err)
{
	rocksdb_ingestexternalfileoptions_t *o = rocksdb_ingestexternalfileoptions_create();
	const char *files[] = { path };
	char *message = NULL;

	rocksdb_ingestexternalfileoptions_set_move_files(o, 1);
	rocksdb_ingest_external_file(p->db, files, 1, o, &message);
	rocksdb_ingestexternalfileoptions_destroy(o);
	return message ? pdb_failed(message, "write rows", err) : ST_OK;
}

static enum st write_table(struct pdb *p, const struct memtable *t, struct err *err)
{
	char path[4096];
	enum st st;

	snprintf(path, sizeof(path), "%s/rows.new", p->path);
	st = io_unlink(path, err); /* what a crash left */
	if (st == ST_OK)
		st = wait_for_compaction(p, err);
	if (st == ST_OK)
		st = write_file(p, t, path, err);
	return st == ST_OK ? take_in(p, path, err) : st;
}

/* ---- the thread ---- */

static void *flusher(void *arg)
{
	struct pdb *p = arg;

	pthread_setname_np(pthread_self(), "ese-rows");
	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct err err = { 0 };
		struct table *t;
		enum st st;

		while (!p->stop && (!p->view->frozen || p->failed.st != ST_OK))
			pthread_cond_wait(&p->freeze, &p->lock);
		if (p->stop)
			break;
		t = p->view->frozen;
		pthread_mutex_unlock(&p->lock);
		st = write_table(p, t->rows, &err);
		pthread_mutex_lock(&p->lock);
		if (st == ST_OK) {
			table_hold(p->view->active);
			st = set_view(p, p->view->active, NULL, &err);
		}
		if (st == ST_OK)
			p->tables_written++;
		else
			p->failed = err;
		pthread_cond_broadcast(&p->frozen);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* All tables frozen up to the n-th are in RocksDB. */
static enum st wait_written(struct pdb *p, uint64_t n, struct err *err)
{
	while (p->tables_written < n && p->failed.st == ST_OK)
		pthread_cond_wait(&p->frozen, &p->lock);
	if (p->failed.st != ST_OK && err)
		*err = p->failed;
	return p->failed.st;
}

enum st flush_freeze(struct pdb *p, struct err *err)
{
	enum st st = ST_OK;

	while (st == ST_OK && p->tables_written < p->tables_frozen)
		st = wait_written(p, p->tables_frozen, err);
	if (st != ST_OK || memtable_is_empty(p->view->active->rows))
		return st;
	st = set_view(p, table_new(), p->view->active, err);
	if (st == ST_OK) {
		p->tables_frozen++;
		pthread_cond_signal(&p->freeze);
	}
	return st;
}

enum st pdb_flush(struct pdb *p, struct err *err)
{
	enum st st;

	pthread_mutex_lock(&p->lock);
	st = flush_freeze(p, err);
	if (st == ST_OK)
		st = wait_written(p, p->tables_frozen, err);
	pthread_mutex_unlock(&p->lock);
	return st;
}

enum st flush_start(struct pdb *p, struct err *err)
{
	enum st st = set_view(p, table_new(), NULL, err);

	if (st == ST_OK && pthread_create(&p->flusher, NULL, flusher, p) != 0)
		st = fail(err, ST_NOMEM, "thread for rows");
	p->flusher_runs = st == ST_OK;
	return st;
}

void flush_stop(struct pdb *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->freeze);
	pthread_mutex_unlock(&p->lock);
	if (p->flusher_runs)
		pthread_join(p->flusher, NULL);
	view_drop(p->view);
}
