/* repair_int.h - what repair.c (databases, directory), repair_mail.c (mailboxes), repair_body.c (bodies, notices)
 * and repair_out.c (writing) share. */
#ifndef STORE_REPAIR_INT_H
#define STORE_REPAIR_INT_H

#include "store/repair.h"

#include "ese/salvage.h"
#include "store/hmap.h"
#include "store/offline.h"

#include <pthread.h>

/* ---- writing: repair_out.c ---- */

#define OUT_BODIES 128

/* Batches of one partition of a new database. */
struct out {
	struct ese *group;
	struct ese_db *db;
	uint64_t partition;
	struct ese_batch *batch;             /* NULL: none begun */
	struct ese_body *bodies[OUT_BODIES]; /* linked in the batch for the first time */
	unsigned nbodies;
	uint64_t body_bytes;
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool ready;     /* what is waited for came */
	struct err why; /* no batch could be made */
};
void out_begin(struct out *o, struct ese *group, struct ese_db *db);
void out_free(struct out *o); /* what was not committed is not there */
void out_put(struct out *o, struct span key, const struct buf *value);
void out_put_bytes(struct out *o, struct span key, struct span value);
/* Link a body: new since the last out_turn (it takes the reference over), or of before. */
void out_link_new(struct out *o, struct ese_body *body);
void out_link(struct out *o, uint64_t id);
/* Between two messages: commit and wait when the batch is large enough, or `always` (before the partition changes). */
enum st out_turn(struct out *o, bool always, struct err *err);
/* Write all of it, waiting for room. */
enum st out_body(struct out *o, struct ese_body *b, const void *bytes, size_t len, struct err *err);

/* ---- one database on its way ---- */

struct part {
	struct repair *r;
	struct salvage *from;
	const char *name;
	struct ese *group;
	struct ese_db *to;
	struct offline *o; /* users of all of them */
	struct out out;
	struct hmap bodies; /* old id -> struct moved */
};

/* ---- bodies: repair_body.c ---- */

/* What became of a body of the source. */
struct moved {
	struct hnode node;      /* key: its old id */
	uint64_t id;            /* in the new database; 0: damaged */
	struct ese_body *fresh; /* until it was linked */
	uint64_t len;
	uint32_t pages, damaged; /* pages 0 and damaged 1: nothing is known of it */
};
enum st body_move(struct part *p, uint64_t old, const struct moved **out, struct err *err);
/* Link it in the batch; it is whole. */
void body_link(struct part *p, const struct moved *m);
void bodies_free(struct part *p);

/* A notice in place of message m (whatever is known of it), written and linked.  *item is its row BOX_ITEM, *size its
 * length. */
enum st notice_write(struct part *p, const struct offline_message *m, const struct moved *body,
		     struct buf *item, uint32_t *size, struct err *err);

/* ---- the directory: repair_dir.c ---- */
struct repair_dir {
	struct repair *r;
	struct repair_id {
		uint64_t old, id;
	} * ids; /* of databases */
	size_t nids;
	struct hmap owners;
	uint64_t last; /* mailbox given out */
};
/* Rows of the directory that are left in `from`. */
enum st repair_dir_rows(struct repair_dir *d, struct ese_db *from, struct out *out,
			struct err *err);
/* A mailbox has rows, in this new database.  false: out of memory. */
bool repair_dir_mailbox(struct repair_dir *d, uint64_t mailbox, uint64_t database);
/* Where it is said to be, or was written; 0: nobody said. */
uint64_t repair_dir_place(struct repair_dir *d, uint64_t mailbox);
/* Was it being deleted? */
bool repair_dir_is_gone(struct repair_dir *d, uint64_t mailbox);
/* Users and places that are missing, and the counters. */
enum st repair_dir_end(struct repair_dir *d, struct out *out, struct err *err);
void repair_dir_free(struct repair_dir *d);

/* ---- mailboxes: repair_mail.c ---- */
enum st repair_mailbox(struct part *p, uint64_t mailbox, struct err *err);

void repair_tell(struct repair *r, struct finding *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
