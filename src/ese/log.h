/* log.h - the writing half of a group's log: a queue, a committer, files prepared ahead.
 *
 * Any thread queues nodes.  The committer thread gathers what waits, lays it out as one group, writes
 * hands the nodes on in order (`placed`), writes and syncs it and says so (`synced`, both on that thread).  A second thread keeps two files
 * prepared ahead, so that a full disk is known before work is taken.  After a failed write or sync
 * `broken` is called once, on an engine thread, and nothing is handed on any more.
 * docs/formats.md, "Log file"; docs/crash-states.md for the order of syncs. */
#ifndef ESE_LOG_H
#define ESE_LOG_H

#include "base/st.h"

#include "ese/rec.h"
#include "ese/seg.h"

struct ese_db;
struct ese_body;

enum node_way {
	NODE_LOGGED,
	NODE_DIRECT, /* a BODY whose bytes the committer writes to their pages: no record */
	NODE_PASS,   /* nothing to write; it is handed on behind what was queued before it */
};

/* A record on its way: made by its producer, owned by the log once queued, by whoever it is handed
 * to when it has its place in the log. */
struct node {
	struct node *next;
	enum rec_kind kind;
	enum node_way way;
	bool after_direct; /* COMMIT: direct bytes queued before it must be durable first */
	uint32_t payload_crc;
	uint32_t len, cap; /* of payload */
	uint64_t partition, pos;
	struct ese_db *db; /* whose record it is */
	uint32_t db_number;
	void (*done)(void *arg); /* COMMIT */
	void *arg;
	struct ese_body **bodies; /* COMMIT: references to drop when applied */
	uint32_t nbodies, cap_bodies;
	char payload[];
};
struct node *node_new(enum rec_kind kind, uint32_t cap); /* NULL: out of memory */
void node_free(struct node *n);                          /* not the references in it */

struct log_conf {
	const char *dir; /* outlives the log */
	unsigned char signature[LOG_SIGNATURE];
	uint32_t segment_bytes;
	enum seg_sync sync;
	uint32_t spares_max; /* spare files kept for use; more are removed */
	/* Committer: write the bytes of a direct node; make those written since the last call durable.  A failure
	 * breaks the log. */
	enum st (*direct)(void *arg, const struct node *n, struct err *err);
	enum st (*direct_sync)(void *arg, struct err *err);
	/* Committer: these nodes have their places in a group, which is about to be written; they are whose this is given
	 * to now.  Then: the group is durable.  Nothing else is placed in between. */
	void (*placed)(void *arg, struct node *list);
	void (*synced)(void *arg);
	void (*broken)(void *arg, const struct err *why);
	void (*prepared)(void *arg); /* log_starved or log_has_room may have changed */
	void *arg;
};

struct log;
/* Start writing in generation `gen` (a new file), group numbers from `number` on.  prev_created and
 * prev_end as in the header.  Blocks on the disk; starts the threads. */
enum st log_start(const struct log_conf *c, uint32_t gen, uint64_t prev_created, uint32_t prev_end,
		  uint64_t number, struct log **out, struct err *err);
/* Write what is queued, stop the threads, close.  NULL is fine. */
void log_stop(struct log *l);

/* Queue one node (its payload_crc is set here, outside every lock).  BODY nodes are written with the next node
 * of another kind, or when a good many of them wait, or on log_kick; so are those that only pass. */
void log_queue(struct log *l, struct node *n);
void log_kick(struct log *l);
/* Everything that was queued before is written, and the open file is closed if anything is in it: afterwards
 * the log goes on in generation *next_out and every file below it is closed for good.  Blocks on the disk, and
 * while it is full.  ST_IO: the log is broken; ST_GONE: it is being stopped. */
enum st log_roll(struct log *l, uint32_t *next_out, struct err *err);
/* Largest payload of one record. */
uint32_t log_payload_max(const struct log *l);
/* No file could be prepared ahead (the disk is full): take no new work. */
bool log_starved(struct log *l);
/* What is queued and `len` bytes more (counted as half a file at most) fit into the files that are there, with
 * a part of one to spare for batches.  While they do not, no bodies are taken: should the disk turn out to be
 * full, nothing that was taken waits for it. */
bool log_has_room(struct log *l, size_t len);
/* Files of generations below `keep_from` are not needed: reuse or remove them. */
void log_release(struct log *l, uint32_t keep_from);
uint32_t log_oldest(struct log *l); /* the smallest generation that is kept */
/* Where the next group will go. */
uint64_t log_position(struct log *l);
/* The same, with the time of the newest group (0: none yet) and the oldest generation that is there. */
void log_newest(struct log *l, uint64_t *pos, uint64_t *time, uint32_t *oldest);
void log_counts(struct log *l, uint64_t *bytes, uint64_t *syncs);

#endif
