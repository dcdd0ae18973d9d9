/* content.h - a message's content: a virtual file while it is written, then bodies and promoted properties.
 *
 * It is written into every database that it is for at once: one body in each, shared by the mailboxes there.  A database that
 * can't take it, or is closed meanwhile, loses its part; the others go on.
 *
 * While bytes arrive they go to the engine's reserved pages and past the MIME scanner, so that when the last
 * one came the properties are ready.  A virtual file has a token, valid in its binding, and lives on the loop where it
 * was made; it ends when it is used up, closed, its binding dies, or nobody wrote for
 * VFILE_IDLE_MS.  Finished content is constant and counted: it may be delivered on several loops. */
#ifndef STORE_CONTENT_H
#define STORE_CONTENT_H

#include "mime/scan.h"
#include "store/database.h"

#define VFILES_MAX     512 /* of a binding, on a loop */
#define VFILE_IDLE_MS  600000
#define RECIPIENTS_MAX 10000         /* of a delivery */
#define ITEM_MAX       (768u * 1024) /* row BOX_ITEM: a reply can hold it with a scatter list */

/* ---- finished ---- */

/* In one database. */
struct content_part {
	struct database *db;   /* used while there is a body */
	struct ese_body *body; /* NULL: it is not stored there, `why` says why */
	struct buf item;       /* row BOX_ITEM as it will be stored */
	struct err why;
};
struct content {
	uint32_t size;
	bool open_end; /* no line end behind its last line */
	_Atomic unsigned refs;
	struct content_part *parts;
	unsigned nparts;
};
/* Its part in that database; ST_GONE when it was not written there; ST_NOSPACE ... as its part failed. */
enum st content_in(const struct content *c, const struct database *db,
		   const struct content_part **out, struct err *err);
struct content *content_hold(struct content *c); /* any thread */
void content_drop(struct content *c);            /* NULL is fine */

/* ---- being written; own loop ---- */

struct vfile;

/* Without a token: for what comes with one request.  It is written where those mailboxes are, as far as that can be done;
 * for none: into the default database. */
enum st vfile_new(struct shard *sh, uint64_t binding, const uint64_t *mailboxes, size_t n,
		  struct vfile **out, struct err *err);
/* F: the engine may make it wait.  `bytes` may be memory that changes while it is read.  ST_TOOBIG over
 * message_size_max, ST_NOMEM, or as all its parts failed (ST_NOSPACE, ST_IO ...): how much was taken is unknown, every
 * later call fails too. */
enum st vfile_write(struct vfile *v, const void *bytes, size_t len, struct err *err);
/* Ends *v whatever comes.  ST_BAD: there is nothing in it. */
enum st vfile_finish(struct vfile *v, struct content **out, struct err *err);
void vfile_free(struct vfile *v);

/* With a token. */
enum st vfile_offer(struct vfile *v, uint64_t *token, struct err *err);
/* In use until vfile_release; ST_NOTFOUND; ST_BUSY: somebody is using it. */
enum st vfile_use(struct shard *sh, uint64_t binding, uint64_t token, struct vfile **out,
		  struct err *err);
void vfile_release(struct vfile *v);
/* Out of the table: the caller's now. */
enum st vfile_take(struct shard *sh, uint64_t binding, uint64_t token, struct vfile **out,
		   struct err *err);
void vfiles_end_binding(struct shard *sh, uint64_t binding);
/* Let go of the parts in databases that are not up. */
void vfiles_leave(struct shard *sh);
/* End the idle ones, now and then. */
void vfiles_sweep_start(struct shard *sh);
void vfiles_end(struct shard *sh); /* all: at the end of the store */

/* F.  The body of a delivery or an APPEND: a token of any loop, which is used up, or the request's
 * sections, written as by vfile_new(). */
enum st content_of_request(struct shard *sh, const struct exipc_request *rq, const struct plist *in,
			   const uint64_t *mailboxes, size_t n, struct content **out,
			   struct err *err);
/* The mailboxes of RECIPIENT_MAILBOXES, allocated; at most `max` of them.  NULL: out of memory, or none. */
uint64_t *recipient_mailboxes(const struct plist *in, size_t max, size_t *n);

#endif
