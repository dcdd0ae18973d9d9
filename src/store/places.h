/* places.h - what the directory says of databases: whose mailboxes are in them, and which are on their way.
 *
 * Rows DIR_MAILBOX, DIR_PURGE, DIR_SHIFT (docs/formats.md, "The directory"). */
#ifndef STORE_PLACES_H
#define STORE_PLACES_H

#include "store/directory.h"

/* Does a row DIR_MAILBOX or DIR_PURGE mean this database? */
bool places_is_in(const struct store *s, const struct plist *row, const struct database *db);
/* Any thread: mailboxes in it, those of removed users that are kept among them. */
enum st places_count(const struct store *s, const struct database *db, uint64_t *n,
		     struct err *err);
/* F, loop 0, d->lock held: every user whose mailbox is in it goes, and what is to be deleted in it is forgotten. */
enum st places_empty(struct directory *d, const struct database *db, struct err *err);

/* A database begins to move to GROUP/NAME; and has arrived.  F, loop 0. */
enum st places_move_begin(struct directory *d, const struct database *db, const struct group *to,
			  const char *name, struct err *err);
enum st places_move_end(struct directory *d, uint64_t id, struct err *err);
/* Before the loops run: the first such behind *id, and where it goes; ST_EOF.  And: it arrived. */
enum st places_move_next(const struct store *s, uint64_t *id, struct buf *target, struct err *err);
enum st places_move_over(struct store *s, uint64_t id, struct err *err);

#endif
