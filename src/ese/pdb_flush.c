/* pdb_flush.c - from memory into RocksDB: a frozen table becomes one batch, and that one file.
 *
 * The happy path: a table is full, or pdb_flush wants it; it is frozen and an empty one takes its place; this
 * thread gives its rows to RocksDB in one batch, in order, and has RocksDB begin to flush them into a file; the next table may
 * follow meanwhile.  The applied row is among them with everything it speaks of, and a flush takes whole batches, so after a
 * crash RocksDB holds the batches up to the end of some table.
 * RocksDB makes the writer wait while it flushes two tables, or when compaction is far behind.
 * Possible failures: no room or a failed write or sync.  The rows stay readable in memory; every later write and flush
 * gets the error, and the group ends. */
#include "ese/pdb_int.h"

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

static rocksdb_writebatch_t *batch_of(const struct memtable *t)
{
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	struct memtable_cursor c;

	for (memtable_seek(&c, t, UINT64_MAX, SPAN_NONE); c.row; memtable_next(&c)) {
		if (c.value.deleted)
			rocksdb_writebatch_delete(b, c.key.at, c.key.len);
		else
			rocksdb_writebatch_put(b, c.key.at, c.key.len, c.value.bytes.at,
					       c.value.bytes.len);
	}
	return b;
}

static enum st write_table(struct pdb *p, const struct memtable *t, struct err *err)
{
	rocksdb_writebatch_t *b = batch_of(t);
	char *message = NULL;

	rocksdb_write(p->db, p->write, b, &message);
	rocksdb_writebatch_destroy(b);
	if (!message)
		rocksdb_flush(p->db, p->begin_flush, &message);
	return message ? pdb_failed(message, "write rows", err) : ST_OK;
}

/* ---- the thread ---- */

static void *flusher(void *arg)
{
	struct pdb *p = arg;

	pthread_setname_np(pthread_self(), "ese-rows");
	pdb_thread();
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

/* All tables frozen up to the n-th are in RocksDB, if only in its memory. */
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

	for (;;) {
		st = wait_written(p, p->tables_frozen, err);
		if (st != ST_OK || (p->tables_written == p->tables_frozen && !p->prepared))
			break;
		if (p->prepared)
			pthread_cond_wait(&p->frozen, &p->lock);
	}
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
	char *message = NULL;
	enum st st;

	pthread_mutex_lock(&p->lock);
	st = flush_freeze(p, err);
	if (st == ST_OK)
		st = wait_written(p, p->tables_frozen, err);
	pthread_mutex_unlock(&p->lock);
	if (st == ST_OK)
		rocksdb_flush(p->db, p->flush, &message);
	return message ? pdb_failed(message, "flush rows", err) : st;
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
