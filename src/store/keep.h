/* keep.h - deleted messages that are kept: written when a message is expunged, listed, brought back, removed for
 * good.
 *
 * A kept message is one row BOX_KEPT of its mailbox (docs/formats.md), with the body still linked by it.  It is
 * known by its number, the MID that it had, which no other message of the mailbox ever has.  Own loop; F:
 * inside a fiber (may park). */
#ifndef STORE_KEEP_H
#define STORE_KEEP_H

#include "store/change.h"

/* A row, read; spans and lists point into it. */
struct kept {
	int64_t deleted; /* nanoseconds since 1970 */
	uint64_t id;
	struct plist row;
	struct entry entry; /* flags, date, size as they were; uid there */
	struct plist item;  /* row BOX_ITEM as it was */
};
/* ST_CORRUPT. */
enum st kept_read(struct span key, struct span row, struct kept *out, struct err *err);

/* ---- keeping ---- */

/* Messages of one folder that are about to be kept, by one change.  It does not park. */
struct keeping {
	struct folder *folder;
	int64_t time;
	struct buf path, row;
};
/* Are deleted messages kept here at all? */
bool keep_is_on(const struct store *s);
void keeping_begin(struct keeping *k, struct folder *f);
/* Put the row; the body's link is its own from now on.  `item`: row BOX_ITEM. */
enum st keeping_put(struct keeping *k, struct change *c, const struct entry *e,
		    const struct plist *item, struct err *err);
void keeping_end(struct keeping *k);

/* ---- the kept ones ---- */

/* Places of rows, in order of time. */
struct kept_keys {
	struct kept_key {
		int64_t deleted;
		uint64_t id;
	} * at;
	size_t n, cap;
};
void kept_keys_free(struct kept_keys *k);
/* F: find those of `ids` (n of them; ids NULL: all) that are there, on a pool thread. */
enum st kept_find(struct mailbox *mb, const uint64_t *ids, size_t n, struct kept_keys *out,
		  struct err *err);
/* F: remove them for good, durable on return; *removed counts.  Those that are gone are skipped. */
enum st kept_remove(struct mailbox *mb, const struct kept_keys *keys, uint64_t *removed,
		    struct err *err);
/* F: remove for good what was deleted before `before`. */
enum st kept_remove_before(struct mailbox *mb, int64_t before, uint64_t *removed, struct err *err);

/* ---- restore.c ---- */

/* Called for each one that is back; not ST_OK ends it.  May park. */
typedef enum st kept_restored(void *arg, uint64_t id, const struct folder *f, uint32_t uid);
/* F: bring them back into their folders, which are made again where they are gone, or into the folder `to`
 * (absent: their own); durable and seen by sessions when told. */
enum st kept_restore(struct mailbox *mb, const struct kept_keys *keys, struct span to,
		     kept_restored *told, void *arg, struct err *err);

/* ---- expire.c: the pass that removes for good what is old enough ---- */

/* What was deleted before this may go now from a mailbox; 0: nothing. */
int64_t keep_limit(struct store *s, uint64_t mailbox, int64_t kept_ns);
/* On the shard, once: a pass now and then from now on. */
void expire_begin(struct shard *sh, void *unused);
/* F, on the shard: one pass over its mailboxes. */
enum st expire_pass(struct shard *sh, uint64_t *removed, struct err *err);

#endif
