/* space.h - which pages of a streaming file are whose.
 *
 * In memory, two bits a page: used (not free) and committed; the rows `02` hold the committed bits in
 * chunks of 512 pages (docs/formats.md, "page states").  The used bits are guarded by the lock inside: any thread
 * reserves and releases.  The committed bits belong to the apply thread (and to recovery before it). */
#ifndef ESE_SPACE_H
#define ESE_SPACE_H

#include "base/st.h"

#include <stdbool.h>
#include <stdint.h>

#define SPACE_CHUNK 512u /* pages of a row */
#define SPACE_ROW   (SPACE_CHUNK / 8)

struct space;
struct run {
	uint32_t page, pages;
};

/* `grow` makes the file `pages` long, on the caller's thread, without the lock. */
struct space *space_new(enum st (*grow)(void *arg, uint64_t pages, struct err *err), void *arg);
void space_free(struct space *s); /* NULL is fine */

/* At opening, in this order: the length of the file, then each row, then replay, then: */
enum st space_extend(struct space *s, uint64_t pages, struct err *err);
enum st space_load(struct space *s, uint32_t chunk, const unsigned char row[SPACE_ROW],
		   struct err *err);
void space_begin(struct space *s); /* whatever is not committed is free */

/* A run of 1..want free pages becomes reserved; as long as it can be found cheaply, at `near` (the
 * page behind the caller's last run, 0: anywhere) if that is free.  Grows the file when there is no other way. */
enum st space_reserve(struct space *s, uint32_t want, uint32_t near, struct run *out,
		      struct err *err);
void space_release(struct space *s, uint32_t page, uint32_t pages); /* used -> free */

/* A run of least..want free pages that ends before page `below`, as near to the front as is cheaply found, becomes
 * reserved; false: there is none.  Never grows the file. */
bool space_reserve_below(struct space *s, uint32_t want, uint32_t least, uint32_t below,
			 struct run *out);
/* Free pages at the end are given up, and `cut` makes the file so long (nobody grows it meanwhile); *pages_out is the
 * length now.  When `cut` fails the file is longer than is used, no more. */
enum st space_trim(struct space *s, enum st (*cut)(void *arg, uint64_t pages, struct err *err),
		   void *arg, uint64_t *pages_out, struct err *err);
/* The first run of at least `least` free pages from `from` on becomes reserved, all of it (of one chunk); false: no more.
 */
bool space_reserve_hole(struct space *s, uint32_t from, uint32_t least, struct run *out);

/* The file has no blocks for these pages: `fill` (as given to space_fill_with) gets some before they are reserved. */
void space_punched(struct space *s, uint32_t page, uint32_t pages);
void space_fill_with(struct space *s,
		     enum st (*fill)(void *arg, uint32_t page, uint32_t pages, struct err *err));

/* Pages whose bytes were compared with their CRCs since they were committed, or since the opening. */
void space_verified(struct space *s, uint32_t page, uint32_t pages);
bool space_is_verified(struct space *s, uint32_t page, uint32_t pages);

/* Apply thread: change the committed bits.  Setting sets used as well (replay); clearing does not
 * clear used: the pages are deleted until space_release. */
enum st space_commit(struct space *s, uint32_t page, uint32_t pages, struct err *err);
void space_delete(struct space *s, uint32_t page, uint32_t pages);
/* Take one chunk that changed since the last call; false: no more. */
bool space_dirty(struct space *s, uint32_t *chunk_out, unsigned char row_out[SPACE_ROW]);

struct space_counts {
	uint64_t total, free, committed;
};
void space_count(struct space *s, struct space_counts *out);
/* Looks at every chunk: not for a busy path. */
struct space_runs {
	uint64_t runs, longest, tail; /* free runs, pages of the longest, free pages at the end */
};
void space_free_runs(struct space *s, struct space_runs *out);

#endif
