/* index.h - a folder's messages in memory: UID, flags, sizes, dates, change numbers.
 *
 * One entry is 48 bytes.  SELECT, flags, SYNC, sizes and dates are answered from here without the disk.  An
 * index is loaded when it is needed first and thrown away when all of a loop's indexes together
 * are over their limit, the one longest unused first; never one that is pinned or whose folder has
 * changes under way.  Own loop.
 *
 * Positions move whenever the fiber parks: keep UIDs across a park, not positions. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/uset.h"
#include "store/mailbox.h"

#define VANISHED_MAX 1024 /* sets kept of a folder */

struct vanished {
	uint64_t cn;
	struct uset uids;
};

struct folder_index {
	struct folder *folder;
	struct entry *at; /* ascending by uid */
	size_t n, cap;
	uint64_t *
		block_cn; /* highest cn of each INDEX_BLOCK entries: finding changes skips the rest */
	struct vanished *vanished; /* ascending by cn */
	size_t nvanished, vanished_cap;
	size_t bytes;
	unsigned pins;
	struct link used;
};
#define INDEX_BLOCK 256

/* F: load when need be, and pin.  The folder must be held.  ST_NOTFOUND: the folder was deleted meanwhile. */
enum st index_get(struct folder *f, struct folder_index **out, struct err *err);
void index_put(struct folder_index *ix);
void index_free(struct folder_index *ix); /* NULL is fine; not a pinned one */
void indexes_trim(struct shard *sh);

struct entry *index_find(const struct folder_index *ix, uint32_t uid); /* NULL: none */
/* Position of the first entry with that uid or a higher one; ix->n: none. */
size_t index_from(const struct folder_index *ix, uint32_t uid);
/* Position of the first entry at or behind `from` whose cn is above `since`. */
size_t index_changed(const struct folder_index *ix, size_t from, uint64_t since);

/* Room for that many more entries and one more vanished set, so that what follows a commit can't fail. */
enum st index_reserve(struct folder_index *ix, size_t entries, struct err *err);
void index_append(struct folder_index *ix, const struct entry *e);
void index_touched(struct folder_index *ix, const struct entry *e); /* its cn grew */
/* Takes the set over (it is emptied).  Entries in it go, the set is remembered under cn. */
void index_vanish(struct folder_index *ix, uint64_t cn, struct uset *uids);
/* How many of the oldest sets must go before another is added; their rows and vanished_from are the
 * caller's. */
size_t index_vanished_over(const struct folder_index *ix);
void index_vanished_drop(struct folder_index *ix, size_t oldest);

/* The uids readers may know of: below figures.uidnext.  The set must be empty. */
enum st index_uids(const struct folder_index *ix, uint32_t uidnext, struct uset *out);

#endif
