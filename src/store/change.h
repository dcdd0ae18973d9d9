/* change.h - one change of a mailbox: built, queued, durable.
 *
 *	change_begin(&c, mb, err)
 *	fig = change_figures(&c, f)	figures of a folder as they will be
 *	change_put / change_delete / change_link ...
 *	change_commit(&c, err)		ST_OK: queued; now the memory (index, folders) is changed likewise
 *	change_wait(&c)			F: durable
 *
 * Between begin and commit the fiber must not park: numbers taken for the change would not be the next ones
 * any more (asserted).  Many changes of a mailbox may be under way; they become durable in
 * the order in which they were committed, and `seen` of the folders moves along with them. */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "store/mailbox.h"

struct change {
	struct mailbox *mb;
	struct ese_batch *batch;
	struct folder *folders[2];
	struct figures after[2];
	unsigned nfolders;
	uint64_t cn; /* the last change number taken */
	struct kept_figures kept;
	bool kept_moved;
	uint64_t commits; /* of the mailbox, at the beginning */
	struct fiber *waiter;
	bool durable, detached;
};

enum st change_begin(struct change *c, struct mailbox *mb, struct err *err);
/* At most two folders. */
struct figures *change_figures(struct change *c, struct folder *f);
/* The next change number, for a folder that change_figures was called for. */
uint64_t change_number(struct change *c, struct figures *fig);
void change_entry(struct change *c, const struct folder *f, const struct entry *e);
/* Rows of the mailbox (next folder, last UIDVALIDITY: as they stand in mb) and of a folder. */
void change_mailbox(struct change *c);
void change_folder(struct change *c, const struct folder *f);
void change_new_folder(struct change *c, const struct folder *f); /* with its first figures */
void change_put(struct change *c, struct span key, const struct buf *value);

/* That many messages with that many octets more are kept after their deletion. */
void change_kept(struct change *c, int64_t count, int64_t octets);

/* The owner was told that the mailbox is large. */
void change_warned(struct change *c, int64_t when);

/* Enough rows for one batch (a batch must fit one log file): commit and begin another. */
bool change_full(const struct change *c);

/* Write the figures and queue it.  Not ST_OK: nothing happened and *c is over (ST_NOSPACE, ST_TOOBIG, ST_IO,
 * ST_NOMEM).  ST_OK: `now` of the folders and mb->cn have moved. */
enum st change_commit(struct change *c, struct err *err);
void change_abandon(struct change *c); /* instead of committing */
/* F: until it is durable. */
void change_wait(struct change *c);
/* Nobody waits: *c must come from malloc and is freed when durable. */
void change_detach(struct change *c);

#endif
