/* ese_int.h - the inside of a storage group: what the engine's files share.
 *
 * Threads, and what each alone touches: callers (batches, bodies being written), the committer and the
 * preparer (log.h), the apply thread (struct round, committed page bits, body rows), the checkpointer.
 * Locks, in the order in which they may be taken: ese.life (a database's life changes), ese.slot (the checkpoint's
 * slot; which databases are live), ese.lock, ese_db.lock.  The last two are not held over the disk, the log or
 * a callback. */
#ifndef ESE_INT_H
#define ESE_INT_H

#include "ese/backup.h"
#include "ese/ese.h"
#include "ese/beside.h"
#include "ese/format.h"
#include "ese/log.h"
#include "ese/log_read.h"
#include "ese/log_tail.h"
#include "ese/pdb.h"
#include "ese/pins.h"
#include "ese/round.h"
#include "ese/rows.h"
#include "ese/shipping.h"
#include "ese/space.h"

#include <pthread.h>
#include <stdatomic.h>

#define BODY_TABLE      1024u /* hash lists of bodies that somebody holds */
#define FINDINGS_TOLD   1024u
#define BAD_BODIES      256u /* damaged ones that are remembered */
#define BODY_READ_PAGES 16u
#define ID_GAP          65536u     /* body ids left out at each opening */
#define RESERVE_CHECK   (1u << 20) /* bytes taken between two looks at the free space */

struct checkpoint_db {
	uint64_t id, position;
	enum ese_state state;
	char name[ESE_NAME_MAX + 1];
};
/* What the slot keeps beside positions. */
#define CHECKPOINT_CIRCULAR     1u
#define CHECKPOINT_CHAIN_BROKEN 2u
#define CHECKPOINT_DIRECT       4u /* records about bodies beside the log may stand behind the position */
struct checkpoint_facts {
	uint32_t flags;
	uint64_t full_pos, full_time; /* the last full backup; 0: none */
	uint64_t last_pos, last_time; /* the last backup of any kind */
};
struct checkpoint {
	uint64_t number, position, time;
	uint32_t state, keep_from, ndbs, format;
	unsigned char signature[LOG_SIGNATURE];
	struct checkpoint_facts facts;
	struct checkpoint_db dbs[ESE_DATABASES];
};
#define STATE_DIRTY 1u
#define STATE_CLEAN 2u
#define STATE_GIVEN 3u /* a header's only */

struct waiter {
	struct waiter *next;
	void (*fn)(void *arg);
	void *arg;
};

/* Who ships the log, and up to where he has it (shipping.c; ese.lock, `written` the checkpointer's). */
struct hold {
	uint64_t who, pos;
};
struct shipping {
	void (*moved)(void *arg);
	void *arg;
	struct hold holds[ESE_HOLDS_MAX];
	uint32_t n;
	char written[16 + ESE_HOLDS_MAX * 16]; /* E00.ship */
};

struct ese {
	struct ese_options o;
	char *dir;
	int lock_fd;
	unsigned char signature[LOG_SIGNATURE];
	struct log *log;

	pthread_mutex_t lock;
	pthread_cond_t synced;        /* to the apply thread: nodes, or they are durable */
	pthread_cond_t settled;       /* applied_seq moved, or the group broke */
	pthread_cond_t check;         /* to the checkpointer */
	pthread_cond_t checked;       /* from it */
	_Atomic(struct ese_db *) dbs; /* grows only, at the front */
	pthread_mutex_t life, slot;
	struct node *head, **tail; /* placed in the log, not yet taken */
	uint64_t placed, durable;  /* nodes handed over so far; of these, synced */
	struct waiter *waiters;
	uint64_t queue_bytes;     /* queued and not yet applied */
	uint64_t queued, applied; /* nodes so far */
	uint64_t applied_pos, marked_pos, checkpoint_pos, checkpoint_number, checkpoint_log;
	struct checkpoint_facts facts; /* lock */
	uint64_t start_pos;            /* where this run's log begins: what it found ends before */
	uint64_t checkpoint_wanted, checkpoint_done; /* requests counted */
	struct err checkpoint_err;
	uint64_t commits;
	bool stop, stop_apply;
	_Atomic bool broken;
	bool standby; /* its log comes from elsewhere (standby.c): no log, no threads */
	bool fresh;   /* no log was found at opening: a new group */
	struct err broken_why;
	uint32_t
		backup_holds; /* lock: a backup is under way and needs log files from here on; 0: none is */
	bool backup_circular; /* lock: since it began, bodies may have gone beside the log */
	bool mark_rows; /* to the apply thread: write the applied position into every database */
	bool apply_runs, checkpointer_runs;
	pthread_t apply_thread, checkpointer;

	struct shipping ship;
	/* scrub.c */
	pthread_mutex_t
		scrubbing; /* behind ese.life: a step; also kept by whoever shortens a file or closes a database.
				    * Held over the disk */
	pthread_mutex_t scrub_lock;
	pthread_cond_t scrub_call;
	uint64_t scrub_calls, scrub_rate; /* scrub_lock */
	uint64_t scrub_interval;          /* scrubbing; ns */
	bool scrub_stop, scrubber_runs;
	pthread_t scrubber;
	uint64_t told[FINDINGS_TOLD]; /* lock: which findings were */
	uint32_t ntold;

	/* circular logging (direct.c) */
	_Atomic bool circular; /* new bodies may go beside the log */
	uint32_t direct_now;   /* bodies that do, still held by somebody */
	_Atomic uint64_t direct_bytes, direct_syncs;

	/* the disk's free space, looked at now and then (reserve.c) */
	_Atomic uint64_t taken_since, last_look, free_bytes;

	uint64_t recovered_records, recovery_ns;
};

struct scrub_row {     /* row 06 */
	uint64_t next; /* body; 0: no pass runs */
	uint64_t began, ended, pages, found, found_before;
};
struct scrub {
	bool loaded, wanted, stopped;
	struct scrub_row row;
	uint64_t unnoted; /* bytes read since the row was written */
};

struct ese_db {
	struct ese_db *next;
	struct ese *g;
	char name[ESE_NAME_MAX + 1];
	uint64_t id, created;
	uint32_t number; /* 0: the id is not known */
	struct pdb *rows;
	int fd, read_fd; /* the streaming file */
	struct space *space;
	struct pins *pins;
	struct round
		*round;   /* the apply thread's; while it is not live, whoever changes its life */
	uint64_t applied; /* as in row 01 */
	_Atomic uint64_t nbodies;
	_Atomic uint64_t next_id;
	bool direct_dirty; /* committer: pages were written since its last sync */

	/* its life: docs/crash-states.md */
	_Atomic enum ese_state state; /* callers look at it: up or not */
	_Atomic bool live;            /* open, and the apply thread's; changed with `slot` held */
	_Atomic bool removed;
	struct beside *beside;    /* replay: what was written beside the log */
	bool replaying;           /* records come from the log's files */
	bool given;               /* its header says that any group may take it in */
	bool holds;               /* failed: the log from `safe` on is kept */
	_Atomic uint64_t uses;    /* batches, bodies, iterators and pins that somebody has */
	_Atomic uint64_t pending; /* nodes of it between group_queue and the end of their round */
	uint64_t safe;            /* everything of it before is in its files; slot */
	uint64_t from;            /* records before are not looked at */
	uint64_t until; /* not live: no record of it stands here or behind; 0: not known */
	bool detached;  /* replay met the record of its removal */

	_Atomic uint32_t nbad; /* grows only; lock */
	uint64_t bad[BAD_BODIES];
	struct scrub scrub; /* g->scrubbing */
	_Atomic bool compacting;
	_Atomic bool compact_room;
	_Atomic uint64_t moves_done; /* batches of moves that were applied */

	pthread_mutex_t sealing; /* before ese.lock: whoever links a body first queues its bytes */
	pthread_mutex_t lock;
	struct ese_db_info last; /* lock: why, and the figures when it was last up */
	struct ese_body *table[BODY_TABLE];
};

enum body_way {
	WAY_LOG,
	WAY_OPEN, /* circular logging, and still small: its nodes are kept back until it is known */
	WAY_DIRECT, /* counted in direct_now */
};

/* A body that somebody holds: being written, or only counted (`fresh` is false). */
struct ese_body {
	struct ese_body *next;
	struct ese_db *db;
	uint64_t id, len;
	uint32_t refs; /* db->lock */
	bool fresh;    /* written here */
	bool sealed;   /* db->sealing: complete, linked once */
	bool queued;   /* nodes of it are or were in the log's queue */
	enum body_way way;
	struct node *kept, **kept_tail; /* WAY_OPEN */
	bool linked;                    /* db->lock: the row is there */
	bool orphan;                    /* db->lock: the row is there with count 0 */
	uint32_t nruns, cap_runs, npages, cap_pages;
	struct run *runs;
	uint32_t *crcs;    /* of each page */
	uint32_t reserved; /* pages in all runs */
};

/* ---- group.c, db.c ---- */
/* A group without a log of its own: locked, its databases opened, the log that is there replayed up to *end (unless
 * the group is `fresh`).  *out is set whatever comes, for group_close_standby, which takes NULL. */
enum st group_open_standby(const char *dir, const struct ese_options *o, struct ese **out,
			   struct log_end *end, struct err *err);
void group_close_standby(struct ese *g);
void group_break(struct ese *g, const struct err *why);
/* Told once. */
void group_found(struct ese *g, const struct finding *f);
void group_queue(struct ese *g, struct node *n);
/* What a node counts for in queue_bytes. */
size_t group_cost(const struct node *n);
/* Room in the queue for `len` bytes of a body, counted when ST_OK (its BODY nodes are not counted
 * again); ST_BUSY: none.  `direct`: they need no room in the log. */
enum st group_claim(struct ese *g, size_t len, bool direct, struct err *err);
/* The same, whether there is room or not. */
void group_claim_anyway(struct ese *g, size_t len);
void group_unclaim(struct ese *g, size_t len);
/* Run those who wait for room, if there is room (or no hope of it). */
void group_wake(struct ese *g);
/* May this much new work be taken?  `small`: rows only, allowed deeper into the reserve. */
enum st group_admit(struct ese *g, size_t bytes, bool small, struct err *err);
/* ---- db.c: the files of a database ---- */
struct ese_db *db_by_number(struct ese *g, uint32_t number); /* NULL: none */
struct ese_db *db_by_name(struct ese *g, const char *name);
/* A database without files open, not in the list; NULL: out of memory. */
struct ese_db *db_new(struct ese *g, const char *name);
void db_list_add(struct ese *g, struct ese_db *db);
void db_free(struct ese_db *db);
/* Open rows, bodies and page states, read the header, set `from` and `applied`.  What fails leaves nothing open. */
enum st db_open_files(struct ese_db *db, uint64_t slot_pos, struct err *err);
/* Not live: give up what is open. */
void db_close_files(struct ese_db *db);
/* Make NAME's files: empty, with a header.  id 0: a new one. */
enum st db_make_files(struct ese *g, const char *name, uint64_t id, struct err *err);
/* Replay has ended: what is not committed is free. */
void db_begin(struct ese_db *db);
/* Write the header row and flush: STATE_..., at `pos`; given and taken: with this group's signature. */
enum st db_mark(struct ese_db *db, uint32_t state, uint64_t pos, struct err *err);
/* The applied row says `pos`, at least; the database is not live. */
enum st db_mark_applied(struct ese_db *db, uint64_t pos, struct err *err);
/* Say in the log that the database is there, or is so no more. */
enum st db_attach(struct ese_db *db, enum attach_how how, struct err *err);
enum st db_detach(struct ese_db *db, enum detach_why why, struct err *err);
bool db_name_ok(const char *name);
void db_path(char out[SEG_PATH_MAX], const struct ese *g, const char *name, const char *end);
enum st db_remove_folder(const char *path, struct err *err);

/* ---- find.c: what the folder and the checkpoint know ---- */
/* Every database of the folder and of the slot: opened, down or failed; before the threads run. */
enum st find_databases(struct ese *g, const struct checkpoint *cp, struct err *err);

/* ---- life.c ---- */
/* It is up, or not: ST_GONE and the reason. */
enum st db_gone(struct ese_db *db, struct err *err);
static inline bool db_is_up(struct ese_db *db)
{
	return atomic_load_explicit(&db->state, memory_order_acquire) == ESE_UP;
}
/* One use more; ST_GONE: it is not up, none. */
enum st db_enter(struct ese_db *db, struct err *err);
void db_leave(struct ese_db *db);
/* Not live any more, for this reason; its files are closed. */
void db_fail(struct ese_db *db, const struct err *why);
/* After replay: the files of one whose removal was in the log go away. */
enum st db_finish_removal(struct ese_db *db, struct err *err);

/* ---- shipping.c ---- */
/* At opening: the holds of before; a file that can't be read is none. */
void shipping_open(struct ese *g);
/* The committer's: the durable position has moved. */
void shipping_moved(struct ese *g);
/* At a checkpoint, before log files are given away: *keep_from becomes smaller where somebody needs them, and who
 * does is written down. */
enum st shipping_keep(struct ese *g, uint32_t *keep_from, struct err *err);
/* ---- backup.c ---- */
/* With the lock held: the oldest generation that stays when recovery needs nothing before this position. */
uint32_t backup_keep_from(struct ese *g, uint64_t needed);
/* Without it, before a slot is written: if the disk runs low, log files are no longer kept for a roll-forward. */
void backup_look_at_space(struct ese *g);

/* ---- body.c ---- */
/* A reference to a committed body; ST_NOTFOUND when it has no link. */
enum st body_by_id(struct ese_db *db, uint64_t id, struct ese_body **out, struct err *err);
/* Apply thread: the row of `id` now has `count` references (gone: it was freed). */
void body_applied(struct ese_db *db, uint64_t id, uint32_t count, bool gone);
/* Apply thread: somebody holds it, and it has never been linked: it has no row. */
bool body_is_new(struct ese_db *db, uint64_t id);
/* Ask the log to free a body without references. */
void body_queue_free(struct ese_db *db, uint64_t id);
/* The body is complete: its last nodes are queued when this returns. */
void body_seal(struct ese_body *b);
/* Free it, with what was kept back. */
void body_destroy(struct ese_body *b);
/* Apply thread: a node without a record has come by. */
void body_passed(const struct node *n);

/* ---- scrub.c ---- */
void scrub_init(struct ese *g);
void scrub_destroy(struct ese *g);
enum st scrub_begin(struct ese *g, struct err *err);
/* The thread ends, how far it was is kept.  Once or never begun: nothing. */
void scrub_end(struct ese *g);

/* ---- read.c ---- */
/* Up to BODY_READ_PAGES pages that lie side by side, from body page `first` on, verified; *n_out says how many.  Hold a pin. */
enum st body_read_pages(struct ese_db *db, uint64_t id, const struct row_body *row, uint32_t first,
			uint32_t want, char *out, uint32_t *n_out, struct err *err);
bool body_is_bad(struct ese_db *db, uint64_t id);
/* Remember and report. */
void body_damaged(struct ese_db *db, uint64_t id, const char *text);
/* Pages that are reserved and may have been written, by the queue's nodes: free again behind those. */
void body_give_back(struct ese_db *db, const struct run *runs, uint32_t nruns);

/* ---- compact.c ---- */
/* Blocks for pages that were punched; arg is the database. */
enum st compact_fill(void *arg, uint32_t page, uint32_t pages, struct err *err);
/* At opening: which pages have none? */
void compact_find_holes(struct ese_db *db);

/* ---- batch.c ---- */
/* The body's bytes are on these pages; `body` is a reference that the batch takes over. */
void batch_move(struct ese_batch *b, struct ese_body *body, const struct run *runs, uint32_t nruns,
		bool direct);

/* ---- direct.c ---- */
/* May a body go beside the log?  Counted when true. */
bool direct_begin(struct ese *g);
void direct_end(struct ese *g);
bool direct_ended(struct ese *g);
/* For struct log_conf; arg is the group. */
enum st direct_write(void *arg, const struct node *n, struct err *err);
enum st direct_sync(void *arg, struct err *err);

/* ---- apply.c ---- */
void *apply_thread(void *arg);
/* Apply what the round of every live database holds. */
enum st apply_end(struct ese *g, uint64_t applied, struct err *err);
/* Every database's applied row says the group's position; what the apply thread does on mark_rows. */
enum st apply_mark(struct ese *g, uint64_t applied, struct err *err);
/* `rows`, `pages`: which of its effects are wanted. */
enum st apply_record(struct ese_db *db, const struct rec *r, bool rows, bool pages,
		     struct err *err);

/* ---- checkpoint.c ---- */
/* The valid slot with the higher number of DIR/E00.chk.  ST_NOTFOUND: no valid slot; ST_BAD: another format. */
enum st checkpoint_read(const char *dir, struct checkpoint *out, struct err *err);
/* Both slots of the file at `path`; one that is not valid has number 0.  ST_BAD, ST_IO, ST_NOMEM. */
enum st checkpoint_slots(const char *path, struct checkpoint out[2], struct err *err);
/* Takes g->slot. */
enum st checkpoint_take(struct ese *g, uint32_t state, struct err *err);
/* With g->slot held: the apply thread has let go of what is not live any more; where it stands. */
enum st checkpoint_meet(struct ese *g, uint64_t *pos_out, struct err *err);
/* Any thread. */
void checkpoint_facts(struct ese *g, struct checkpoint_facts *out);
/* Let `change` edit the facts (with the locks held: it must not call the engine), and write them into a new
 * slot: durable when ST_OK.  ST_IO: the group is broken.  Waits for the disk. */
enum st checkpoint_facts_change(struct ese *g,
				void (*change)(struct checkpoint_facts *f, void *arg), void *arg,
				struct err *err);
/* With g->slot held: write a slot with the present states, at the last checkpoint's position. */
enum st checkpoint_rewrite(struct ese *g, struct err *err);
void *checkpoint_thread(void *arg);

/* ---- recover.c ---- */
/* Records on their way into databases, group by group, from wherever they are read.  The databases are not
 * live, or the threads do not run yet.  Each one takes the records from its `from` on. */
struct replay {
	struct ese *g;
	struct ese_db *only; /* NULL: every database that is open */
	bool create; /* a database that is created in the log is made (a standby, a roll-forward) */
	bool strict; /* a database that can't take its records fails the replay */
	uint64_t from;         /* records before are not looked at */
	struct beside *beside; /* what the records ahead say of pages beside the log; may be NULL */
	uint64_t records, end; /* fed so far; behind the last group */
};
/* A database that can't take its records is failed, and the others go on.  ST_CORRUPT: the group can't be
 * read; ST_NOMEM. */
enum st replay_group(struct replay *r, const struct log_group *group, struct err *err);
/* Bring one database, open and not live, from db->from to `to` through the files of the folder. */
enum st replay_catch_up(struct ese_db *db, uint64_t to, struct err *err);
/* Replay from `cp` (position 0: the oldest file) to the end of the log, which is *end_out. */
enum st recover(struct ese *g, const struct checkpoint *cp, struct log_end *end_out,
		struct err *err);
/* On a standby: one more group, durable in the log. */
enum st recover_group(struct ese *g, const struct log_group *group, struct err *err);
/* Ask for the FREE of every body that lost its last link but was not freed. */
enum st recover_orphans(struct ese_db *db, struct err *err);

#endif
