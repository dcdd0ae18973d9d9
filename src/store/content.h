/* content.h - a message's content: a virtual file while it is written, then body and promoted properties.
 *
 * While bytes arrive they go to the engine's reserved pages and past the MIME scanner, so that when the last
 * one came the properties are ready.  A virtual file has a token, valid in its binding, and lives on the loop where it
 * was made; it ends when it is used up, closed, its binding dies, or nobody wrote for
 * VFILE_IDLE_MS.  Finished content is constant and counted: it may be delivered on several loops. */
#ifndef STORE_CONTENT_H
#define STORE_CONTENT_H

#include "mime/scan.h"
#include "store/shard.h"

#define VFILES_MAX    512 /* of a binding, on a loop */
#define VFILE_IDLE_MS 600000
#define ITEM_MAX      (768u * 1024) /* row BOX_ITEM: a reply can hold it with a scatter list */

/* ---- finished ---- */

struct content {
	struct ese_body *body;
	struct buf item; /* row BOX_ITEM as it will be stored */
	uint32_t size;
	bool open_end; /* no line end behind its last line */
	_Atomic unsigned refs;
};
struct content *content_hold(struct content *c); /* any thread */
void content_drop(struct content *c);            /* NULL is fine */

/* ---- being written; own loop ---- */

struct vfile;

/* Without a token: for what comes with one request. */
enum st vfile_new(struct shard *sh, uint64_t binding, struct vfile **out, struct err *err);
/* F: the engine may make it wait.  `bytes` may be memory that changes while it is read.  ST_TOOBIG over
 * message_size_max, ST_NOSPACE, ST_IO, ST_NOMEM: how much was taken is unknown, every later call fails too. */
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
/* End the idle ones, now and then. */
void vfiles_sweep_start(struct shard *sh);
void vfiles_end(struct shard *sh); /* all: at the end of the store */

/* F.  The body of a delivery or an APPEND: a token of any loop, which is used up, or the request's
 * sections. */
enum st content_of_request(struct shard *sh, const struct exipc_request *rq, const struct plist *in,
			   struct content **out, struct err *err);

#endif
