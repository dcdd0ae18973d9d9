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
#include "base/finding.h"
#include "base/st.h"

#define ESE_PAGE         4096u
#define ESE_CLUSTER      16u /* pages */
#define ESE_KEY_MAX      1024u
#define ESE_VALUE_MAX    (4u * 1024 * 1024)
#define ESE_BODY_MAX     (4ull * 1024 * 1024 * 1024)
#define ESE_NAME_MAX     200u
#define ESE_USER_KEY_MIN 0x10u /* first byte of a row key; smaller ones are the engine's */

struct ese;    /* a storage group */
struct ese_db; /* a database in it */

struct ese_options {
	uint32_t segment_bytes; /* log file size, multiple of 4096 (default 5 MiB) */
	uint64_t
		checkpoint_bytes; /* log written since the last checkpoint that starts one (default 64 MiB) */
	uint64_t
		queue_bytes; /* unsynced log bytes that make ese_body_write say ST_BUSY (default 4 MiB) */
	uint64_t
		reserve_bytes; /* free disk space below which new work is refused (default 64 MiB) */
	void (*broken)(
		void *arg,
		const struct err *why); /* engine thread; must not return normally for long */
	void (*progress)(void *arg, const char *what, uint64_t done,
			 uint64_t total); /* recovery; may be NULL */
	/* Damage, met by a reader, a move or the scrubber; each body and page is told once in a run.  Any thread, also a
	 * caller's within a call; may be NULL. */
	finding_fn found;
	void *arg;
	/* 0 is the default for each of these */
	size_t cache_bytes;       /* RocksDB's block cache, per database (32 MiB) */
	uint64_t ship_keep_bytes; /* log kept for those who ship it (shipping.h) at most (1 GiB) */
	uint64_t scrub_bytes_per_s; /* the scrubber's pace; 0: it does not run */
	uint32_t scrub_interval_s;  /* from one pass to the next; 0: only on order */
	bool circular;              /* a group made by this opening begins with circular logging */
	uint32_t direct_bytes;      /* with it, larger bodies do not go through the log (64 KiB) */
	size_t write_buffer_bytes; /* half of the memory for rows not yet in files, per database (16 MiB) */
	uint64_t
		low_bytes; /* free disk space below which log files are no longer kept for a roll-forward */
	bool keep_logs; /* checkpoints do not give log files away (roll-forward needs them) */
	int log_sync;   /* how a group becomes durable: 0 O_DIRECT and O_DSYNC where the file system
				      * allows it, else 1; 1 RWF_DSYNC; 2 fdatasync */
};

/* Open the group in `dir` (made when absent) and recover its databases, each on its own: one that can't be opened
 * or replayed is failed (ese_db_info says why), and the others come up.  ST_CORRUPT names the file and
 * position: the log itself or the checkpoint is damaged; nothing was changed then beyond completing what
 * the log holds.  ST_BUSY: open in another process; ST_BAD: another format, or wrong options. */
enum st ese_open(const char *dir, const struct ese_options *o, struct ese **out, struct err *err);
/* Finish what is queued, checkpoint, close: the next open replays nothing. */
void ese_close(struct ese *g);

/* Circular logging: bodies over direct_bytes are written to their pages and synced beside the log, which then can't roll
 * an older copy forward over them.  Kept by the group; takes effect for bodies that begin now.  Blocks on the disk (a
 * checkpoint).  ST_IO: the group is broken. */
enum st ese_set_circular(struct ese *g, bool on, struct err *err);
/* Is it on, or are bodies still on their way that were begun while it was? */
bool ese_circular(struct ese *g);

/* ---- databases: life.c; docs/crash-states.md, "The life of a database" ---- */

enum ese_state {
	ESE_UP = 1, /* open for work */
	ESE_DOWN,   /* closed by order, clean; stays so over restarts */
	ESE_FAILED, /* could not be opened or replayed, or its files are missing: see the reason */
};

/* A database of the group by name ("mailbox/default"); create: make it when there is none.  The pointer
 * lives until ese_close, whatever becomes of the database.  ST_OK: it is up.  ST_GONE: it is there, *out is
 * set, but it is down or failed, as the text says.  ST_NOTFOUND, ST_BAD (the name), ST_NOSPACE, ST_TOOBIG (a
 * group has at most ESE_DATABASES), ST_IO: *out is not set.
 *
 * On a database that is not up every call below gives ST_GONE, ese_pin gives 0 (which ese_unpin takes) and
 * ese_db_stream_fd gives -1. */
#define ESE_DATABASES 128u
enum st ese_db_open(struct ese *g, const char *name, bool create, struct ese_db **out,
		    struct err *err);

/* The calls that follow change a database's life.  They wait for each other and for the disk: not on a
 * loop thread, not in a callback of the engine.
 *
 * Close it in order: what is queued of it is applied, its files are flushed and its header says clean.
 * The caller guarantees that no call of it is running and no value of it is held; batches, bodies, iterators
 * and pins are counted.  ST_OK (also when it was down); ST_BUSY: one of those is there, nothing was changed;
 * ST_GONE: it is failed; ST_IO: its files could not be written (it is failed now) or the group is broken. */
enum st ese_db_dismount(struct ese_db *db, struct err *err);
/* Open it.  A clean one at once; a failed one, whose files were mended or put back, replays from its
 * position.  One that was moved here is taken in.  ST_OK (also when it was up); anything else: it is
 * failed for the reason given, but one that is on its way between two groups stays down. */
enum st ese_db_mount(struct ese_db *db, struct err *err);
/* Delete it for good, whatever its state; as ese_db_dismount first when it is up.  The pointer stays valid,
 * all calls give ST_GONE, and the name may be used for a new one. */
enum st ese_db_remove(struct ese_db *db, struct err *err);
/* Move its files into `to` (another open group on the same file system, or its own for another name) under `name`, and
 * take it in there: *out is the database there, up.  It must be down.  ST_EXISTS: the name is taken there; ST_GONE:
 * it is not down; ST_BAD: the name, or another file system; ST_IO.  A crash or a failure in between leaves it down in one of the two
 * groups (the next call, or ese_db_mount, goes on from there). */
enum st ese_db_move(struct ese_db *db, struct ese *to, const char *name, struct ese_db **out,
		    struct err *err);

struct ese_db_info {
	char name[ESE_NAME_MAX + 1];
	uint64_t id, created; /* 0: its header could not be read */
	enum ese_state state;
	char reason[256]; /* failed, or down for another reason than an order; else "" */
	uint64_t
		position; /* everything of it before is in its files: log files are kept for it from there
			     * on, unless it is down; 0: all that there are */
	bool holds_log;
	/* as of now, or when it was last up */
	uint64_t stm_bytes, row_bytes, bodies, pages_total, pages_free, pages_reserved, pins;
};
/* Any thread, never waits for the disk. */
void ese_db_info(struct ese_db *db, struct ese_db_info *out);
/* The databases of the group, in the order of their names; at most `max` into out[]; returns how many there are. */
unsigned ese_db_list(struct ese *g, struct ese_db **out, unsigned max);

/* Random, fixed at creation, the same for the life of the database. */
uint64_t ese_db_id(const struct ese_db *db); /* random, fixed at creation */
/* A read-only descriptor of the streaming file, owned by the engine: valid while the database is up. */
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
/* ST_CORRUPT: a page of it is known to be damaged, or its row is. */
enum st ese_body_find(struct ese_db *db, uint64_t body_id, bool with_crc, struct ese_scatter *out,
		      struct err *err);
void ese_scatter_free(struct ese_scatter *s);
/* Bytes that are read through a scatter list are not compared with their CRCs by whoever sends them.  So a body is verified
 * before its place is first given away: were all its pages, since they were written or the database was opened?  A bit
 * for each page.  Never waits for the disk. */
bool ese_body_verified(struct ese_db *db, const struct ese_scatter *s);
/* Read all of it and compare; afterwards it counts as verified.  ST_CORRUPT: it is damaged, and ese_body_find says so from
 * now on.  Waits for the disk: not on a loop thread. */
enum st ese_body_verify(struct ese_db *db, uint64_t body_id, struct err *err);
/* The same for a small body whose pages are in memory, without waiting for the disk.  ST_BUSY (no text): it is not small, or
 * they are not. */
enum st ese_body_verify_cached(struct ese_db *db, uint64_t body_id, struct err *err);
/* Read and verify [offset, offset+len) of a committed body; needs no pin.  ST_CORRUPT names the body and page. */
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

/* ---- giving space back: compact.c ---- */

struct ese_compact_figures {
	uint64_t bodies_moved, bytes_moved;
	uint64_t
		bodies_left; /* they should move, but there is no place, or somebody is writing them */
	uint64_t bodies_damaged;          /* left where they are, and reported */
	uint64_t pages_before, pages_now; /* of the file */
	uint64_t pages_punched;
};
struct ese_compact_options {
	uint64_t bytes_per_s; /* 0: as fast as it goes */
	uint64_t
		bodies_max; /* 0: until there is nothing left to move; else stop after about so many */
	bool punch;         /* also give back the free pages between the bodies */
	/* Now and then, from the caller's thread; false: stop.  May be NULL. */
	bool (*go_on)(void *arg, const struct ese_compact_figures *f);
	void *arg;
};
/* Move bodies from the end of the .stm into free pages nearer to its front, join scattered ones on the way, and give the
 * free end back to the file system, while everything else goes on.  Every byte is verified as it is copied.  May be stopped
 * and begun again at any time.  Blocks: on a thread of the caller's that may wait.
 *   ST_OK    *out says what was done
 *   ST_BUSY  it is being compacted already
 *   ST_BAD  punch, and the file system can't; everything else was done
 *   ST_NOSPACE, ST_IO, ST_NOMEM  as ese_commit; *out is set */
enum st ese_compact(struct ese_db *db, const struct ese_compact_options *o,
		    struct ese_compact_figures *out, struct err *err);

/* ---- the scrubber: scrub.c ---- */

/* It reads every body of a database and compares CRCs, looks at rows and page states, tells what it finds
 * (ese_options.found) and goes on.  One pass after the other, at its pace; a restart goes on where it was. */
void ese_scrub_set(struct ese *g, uint64_t bytes_per_s, uint32_t interval_s);
/* true: a pass begins, or the one that was stopped goes on; false: stop, until the next order.  ST_GONE: the database is
 * not up. */
enum st ese_scrub_order(struct ese_db *db, bool run, struct err *err);
enum ese_scrub_state {
	ESE_SCRUB_NONE, /* the database is not up */
	ESE_SCRUB_OFF,  /* the pace is 0 */
	ESE_SCRUB_STOPPED,
	ESE_SCRUB_WAITS, /* for its day */
	ESE_SCRUB_RUNS,
};
struct ese_scrub_info {
	enum ese_scrub_state state;
	uint64_t bytes_per_s;
	uint64_t began,
		ended; /* of this pass or the last; of the last whole one (0: none); ns since 1970 */
	uint64_t pages_read, pages_total;
	uint64_t found; /* in this pass, or in the last when none runs */
};
void ese_scrub_info(struct ese_db *db, struct ese_scrub_info *out);
/* A step of about a megabyte, on the caller's thread, whatever the pace; *end_out: the pass has ended. */
enum st ese_scrub_step(struct ese_db *db, bool *end_out, struct err *err);

/* Looks at all page states: not on a loop thread. */
struct ese_space {
	uint64_t pages_total, pages_free,
		pages_reserved; /* reserved: also deleted ones that a pin holds */
	uint64_t free_runs, longest_run, tail_run; /* tail_run: free pages at the end */
	uint64_t disk_bytes;                       /* that the .stm takes on the disk */
};
enum st ese_space(struct ese_db *db, struct ese_space *out, struct err *err);

struct ese_stats {
	uint64_t commits, log_bytes, log_syncs, log_position, applied_position, checkpoint_position;
	uint64_t bodies, pages_total, pages_free, pages_reserved, pins,
		queue_bytes;                 /* of all that are up */
	uint64_t direct_bytes, direct_syncs; /* bodies written beside the log */
	uint64_t recovered_records, recovery_ns;
	uint64_t databases, databases_up, databases_failed;
	bool refusing; /* disk nearly full: new work is refused */
};
void ese_stats(struct ese *g, struct ese_stats *out);

#endif
