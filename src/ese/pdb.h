/* pdb.h - a property database: ordered rows in a RocksDB folder, without its own log.
 *
 * Rows that are written stay in memory, in two tables at most (memtable.h): one that takes them and one that is on
 * its way into RocksDB as one batch and one file (pdb_flush.c).  Reads look into both before RocksDB.
 *
 * Reads from any thread; batches and flushes from the engine's threads; one thread of its own writes the files.  One
 * column family: its C API flushes them one by one, which would tear several apart in a crash.  What RocksDB holds after a crash is what
 * was written up to the end of some table, whole: the applied row in every batch says where that is. */
#ifndef ESE_PDB_H
#define ESE_PDB_H

#include "base/span.h"
#include "base/st.h"

struct pdb;
struct pdb_batch;

struct pdb_conf {
	size_t cache_bytes;  /* block cache */
	size_t buffer_bytes; /* memory for rows is twice this at most, a little more while iterators hold old tables; 2 MiB at least */
	int files_max;       /* open files */
};

/* A torn end of RocksDB's MANIFEST is cut off (manifest.h): what is then there may be older than the last flush that
 * returned, and the caller must have the log from there on. */
enum st pdb_open(const char *path, bool create, const struct pdb_conf *c, struct pdb **out,
		 struct err *err);
/* For looking only (a snapshot, a stopped database): nothing in the folder is changed, nothing is cut.  Several may have
 * it open at once, also beside a process that serves it, of whose later changes this one sees nothing; pdb_write, pdb_flush and
 * pdb_snapshot are not for it. */
enum st pdb_open_readonly(const char *path, const struct pdb_conf *c, struct pdb **out,
			  struct err *err);
/* RocksDB's own way to make a new MANIFEST from the files of rows in the folder, which are read whole; one with a damaged block
 * is set aside.  For a copy: rows that were deleted may come back.  ST_CORRUPT, ST_IO. */
enum st pdb_repair(const char *path, struct err *err);
/* What was not flushed is gone.  No value and no iterator is held any more.  NULL is fine. */
void pdb_close(struct pdb *p);
/* Once on each thread that works with rows all day: RocksDB's per-thread counters cost more than a row. */
void pdb_thread(void);

/* *bytes_out is valid until pdb_release(*hold_out).  ST_NOTFOUND fills no text. */
enum st pdb_get(struct pdb *p, struct span key, struct span *bytes_out, void **hold_out,
		struct err *err);
void pdb_release(void *hold);

struct pdb_batch *pdb_batch_new(void); /* NULL: out of memory */
void pdb_batch_free(struct pdb_batch *b);
void pdb_put(struct pdb_batch *b, struct span key, struct span value);
void pdb_delete(struct pdb_batch *b, struct span key);
void pdb_batch_clear(struct pdb_batch *b);
/* Apply and empty the batch; all of it is visible at once, none of it durable.  Waits when both tables are full.  After a
 * failure nothing more is taken. */
enum st pdb_write(struct pdb *p, struct pdb_batch *b, struct err *err);
/* The same in two steps: into memory, where nobody sees it; then visible, at once.  Between the two (not long: flushes and
 * other writers wait) it may also be abandoned, after which nothing more is taken. */
enum st pdb_prepare(struct pdb *p, struct pdb_batch *b, struct err *err);
enum st pdb_publish(struct pdb *p, struct err *err);
void pdb_abandon(struct pdb *p); /* nothing prepared: nothing done */
/* Everything written before the call is durable when it returns. */
enum st pdb_flush(struct pdb *p, struct err *err);
/* All rows written before the call, as a folder of its own that pdb_open and pdb_open_readonly take; RocksDB's files are
 * hard links where the file system allows it (so `dir` costs next to nothing and belongs on the same one), and are
 * durable when it returns.  `dir` must not exist, its parent must; on failure nothing of that name is there.  Any thread, while
 * others read and write. */
enum st pdb_snapshot(struct pdb *p, const char *dir, struct err *err);

/* Bytes of the row files, as RocksDB counts them; does not read the disk. */
uint64_t pdb_size(struct pdb *p);

struct pdb_iter;
/* Rows with from <= key < to in key order, on a snapshot; both are copied.  An empty `from` is the first row, an empty `to`
 * behind the last: with both empty it goes over every row, the engine's own (first byte below 0x10) included,
 * on any open database. */
enum st pdb_iter_new(struct pdb *p, struct span from, struct span to, struct pdb_iter **out,
		     struct err *err);
enum st pdb_iter_next(struct pdb_iter *it, struct span *key, struct span *value, struct err *err);
void pdb_iter_free(struct pdb_iter *it);

#endif
