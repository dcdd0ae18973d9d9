/* pdb_int.h - what the files of a property database share (pdb.c, pdb_flush.c, pdb_iter.c). */
#ifndef ESE_PDB_INT_H
#define ESE_PDB_INT_H

#include "ese/memtable.h"
#include "ese/pdb.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

/* The tables in memory, newest first; a reader holds one view and sees them all as long as it does. */
struct view {
	_Atomic uint32_t holders;
	struct table *active; /* being written */
	struct table *frozen; /* complete, on its way to a file; NULL: none */
};

/* A table in memory, with those who hold it (views). */
struct table {
	_Atomic uint32_t holders;
	struct memtable *rows;
};

struct pdb {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_env_t *env;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_flushoptions_t *flush, *begin_flush; /* the first waits for the end */
	char *path;
	size_t limit; /* bytes of one table */

	_Atomic uint64_t number; /* of the last batch that is visible */

	/* Writers and the flusher.  Taken before `look`. */
	pthread_mutex_t lock;
	pthread_cond_t freeze; /* to the flusher: there is a frozen table, or `stop` */
	pthread_cond_t
		frozen; /* from it: there is none any more, or it failed; a prepared batch is settled */
	bool prepared; /* a batch is in the active table that is not to be seen yet */
	uint64_t tables_frozen, tables_written;
	bool stop, flusher_runs;
	struct err failed; /* a table could not be written: nothing more is taken */
	pthread_t flusher;

	pthread_mutex_t look; /* readers: the view and its count */
	struct view *view;    /* NULL: opened for looking only */
};

/* RocksDB's message, which is freed, as an error. */
enum st pdb_failed(char *message, const char *what, struct err *err);

/* What is in memory now; NULL: nothing (looking only).  Until view_drop. */
struct view *view_take(struct pdb *p);
void view_drop(struct view *v);

/* ---- pdb_flush.c ---- */
enum st flush_start(struct pdb *p, struct err *err);
void flush_stop(struct pdb *p);
/* With p->lock held: the active table becomes the frozen one; waits for the one before. */
enum st flush_freeze(struct pdb *p, struct err *err);

#endif
