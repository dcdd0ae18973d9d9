/* ese.h - the transactional engine: storage group, transaction log, property database, streaming file.
 *
 * A storage group is one sequence of log files and any number of databases; a database is a property
 * database (NAME.edb: ordered rows, bytes to bytes) and a streaming file (NAME.stm: bodies in 4 KiB pages).
 * It knows no mail.  docs/formats.md describes the bytes, docs/crash-states.md the states and syncs.
 *
 * Threads: every call may come from any thread; a batch and a body being written belong to one thread
 * at a time.  The engine has its own threads: one writes and syncs the log (group commit), one applies
 * synced records to the databases and runs the done callbacks, one checkpoints.  No call waits for the disk, except
 * open, close and cold reads.
 *
 * A commit is durable and visible when its done callback runs with ST_OK, not before.  After a failed
 * write or sync the group takes no more: `broken` is called once and the process must end and recover. */
#ifndef ESE_ESE_H
#define ESE_ESE_H

#include "base/buf.h"
#include "base/st.h"

#define ESE_PAGE         4096u
#define ESE_CLUSTER      16u /* pages */
#define ESE_KEY_MAX      1024u
#define ESE_VALUE_MAX    (4u * 1024 * 1024)
#define ESE_BODY_MAX     (4ull * 1024 * 1024 * 1024)
#define ESE_USER_KEY_MIN 0x10u /* first byte of a row key; smaller ones are the engine's */

struct ese;    /* a storage group */
struct ese_db; /* a database in it */

struct ese_options {
	uint32_t segment_bytes; /* log file size, multiple of 4096 (default 5 MiB) */
	uint64_t
		checkpoint_bytes; /* log written since the last checkpoint that starts one (default 20 MiB) */
	uint64_t
		queue_bytes; /* unsynced log bytes that make ese_body_write say ST_BUSY (default 4 MiB) */
	uint64_t
		reserve_bytes; /* free disk space below which new work is refused (default 64 MiB) */
	void (*broken)(
		void *arg,
		const struct err *why); /* engine thread; must not return normally for long */
	void (*progress)(void *arg, const char *what, uint64_t done,
			 uint64_t total); /* recovery; may be NULL */
	void *arg;
	/* 0 is the default for each of these */
	size_t cache_bytes;        /* RocksDB's block cache, per database (32 MiB) */
	size_t write_buffer_bytes; /* one of RocksDB's two write buffers, per database (16 MiB) */
	bool keep_logs; /* checkpoints do not give log files away (roll-forward needs them) */
	int log_sync;   /* how a group becomes durable: 0 O_DIRECT and O_DSYNC where the file system
				      * allows it, else 1; 1 RWF_DSYNC; 2 fdatasync */
};

/* Open the group in `dir` (made when absent), recover every database of it.  ST_CORRUPT names the
 * file and position; nothing was changed then beyond completing what the log holds. */
enum st ese_open(const char *dir, const struct ese_options *o, struct ese **out, struct err *err);
/* Finish what is queued, checkpoint, close: the next open replays nothing. */
void ese_close(struct ese *g);

/* Open a database of the group by name ("mailbox/default"); create: make it when absent.
 * The pointer lives until ese_close. */
enum st ese_db_open(struct ese *g, const char *name, bool create, struct ese_db **out,
		    struct err *err);
uint64_t ese_db_id(const struct ese_db *db); /* random, fixed at creation */
/* A read-only descriptor of the streaming file, owned by the engine. */
int ese_db_stream_fd(const struct ese_db *db);

/* ---- reading rows (what has been applied) ---- */

struct ese_value {
	struct span bytes; /* valid until ese_value_free */
	void *hold;
};
/* ST_OK, ST_NOTFOUND (no err text), ST_IO, ST_CORRUPT.  Free *out after ST_OK. */
enum st ese_get(struct ese_db *db, struct span key, struct ese_value *out, struct err *err);
void ese_value_free(struct ese_value *v);

/* Forward over [from, to) in key order, on a snapshot taken at the start. */
struct ese_iter;
enum st ese_iter_new(struct ese_db *db, struct span from, struct span to, struct ese_iter **out,
		     struct err *err);
/* ST_OK: key and value valid until the next call; ST_EOF: no more; ST_IO / ST_CORRUPT. */
enum st ese_iter_next(struct ese_iter *it, struct span *key, struct span *value, struct err *err);
void ese_iter_free(struct ese_iter *it);

/* ---- bodies ---- */

/* A body is written once, in order, then linked by batches; single instance: N batches may link one
 * body, it is stored once and its pages are freed with the last unlink. */
struct ese_body;
enum st ese_body_new(struct ese_db *db, struct ese_body **out, struct err *err);
/* Queue the next bytes (copied at once; `bytes` may be memory that a hostile peer changes meanwhile).
 *   ST_BUSY     the log's queue is full: nothing was taken; wait for ese_when_room and call again
 *   ST_NOSPACE  the disk is full; ST_TOOBIG over ESE_BODY_MAX; ST_IO the group is broken */
enum st ese_body_write(struct ese_body *b, const void *bytes, size_t len, struct err *err);
/* Call fn(arg) once, on an engine thread (or at once), when the queue has room again. */
void ese_when_room(struct ese *g, void (*fn)(void *arg), void *arg);
uint64_t ese_body_id(const struct ese_body *b); /* never reused in the database */
uint64_t ese_body_len(const struct ese_body *b);
/* References: ese_body_new gives one.  While one is held the pages stay, linked or not. */
void ese_body_hold(struct ese_body *b);
void ese_body_drop(struct ese_body *b); /* the last one without a link frees the reserved pages */

struct ese_scatter_run {
	uint32_t page, pages;
};
/* A committed body's place.  runs[] is allocated (free()).  Hold a pin from before this call until the
 * last read through the runs. */
struct ese_scatter {
	uint64_t len;
	uint32_t nruns;
	struct ese_scatter_run *runs;
	uint32_t *
		page_crc; /* NULL unless asked for: CRC-32C of each page's bytes (the last one's only up to len) */
	uint32_t npages;
};
enum st ese_body_find(struct ese_db *db, uint64_t body_id, bool with_crc, struct ese_scatter *out,
		      struct err *err);
void ese_scatter_free(struct ese_scatter *s);
/* Read and verify [offset, offset+len) of a committed body.  ST_CORRUPT names the body and page. */
enum st ese_body_read(struct ese_db *db, uint64_t body_id, uint64_t offset, void *out, size_t len,
		      struct err *err);

/* Pages freed after a pin was taken are not used again before it is dropped.  Cheap; any number. */
uint64_t ese_pin(struct ese_db *db);
void ese_unpin(struct ese_db *db, uint64_t pin);

/* ---- committing ---- */

/* A batch changes rows of ONE partition (an owner's number: a mailbox, a folder tree, the directory),
 * all or nothing.  Batches are applied in the order in which they were committed. */
struct ese_batch;
enum st ese_batch_new(struct ese_db *db, uint64_t partition, struct ese_batch **out,
		      struct err *err);
/* Copies key and value; failures (ST_TOOBIG, ST_NOMEM) are remembered and returned by ese_commit. */
void ese_put(struct ese_batch *b, struct span key, struct span value);
void ese_delete(struct ese_batch *b, struct span key);
/* Link a body that was completely written (batch takes its own reference until it is applied), or a
 * committed one by id (which must be linked at that moment). */
void ese_link(struct ese_batch *b, struct ese_body *body);
void ese_link_id(struct ese_batch *b, uint64_t body_id);
void ese_unlink(struct ese_batch *b, uint64_t body_id);
size_t ese_batch_bytes(const struct ese_batch *b);
/* Queue the batch and free it.  ST_OK: done(arg, ST_OK) will be called exactly once on an engine thread when it is
 * durable and applied (if the group breaks first the process ends instead).  Anything else: nothing
 * happened, done is not called (ST_NOSPACE, ST_TOOBIG, ST_IO).  Never waits for the disk. */
enum st ese_commit(struct ese_batch *b, void (*done)(void *arg), void *arg, struct err *err);
void ese_batch_free(struct ese_batch *b); /* not committed: throw it away */

/* Write a checkpoint now and wait for it (tests, shutdown, tools). */
enum st ese_checkpoint(struct ese *g, struct err *err);

struct ese_stats {
	uint64_t commits, log_bytes, log_syncs, log_position, applied_position, checkpoint_position;
	uint64_t bodies, pages_total, pages_free, pages_reserved, pins, queue_bytes;
	uint64_t recovered_records, recovery_ns;
	bool refusing; /* disk nearly full: new work is refused */
};
void ese_stats(struct ese *g, struct ese_stats *out);

#endif
