/* removed.h - mailboxes of users who were removed: they wait for another owner, or for their end.
 *
 * The directory keeps the user's row under the mailbox's id (DIR_REMOVED); the mailbox itself is as it was, but nobody
 * can log on to it and nothing is delivered.  Loop 0; F: inside a fiber. */
#ifndef STORE_REMOVED_H
#define STORE_REMOVED_H

#include "store/directory.h"

/* Do such mailboxes wait here at all? */
bool removed_are_kept(const struct store *s);
/* F.  The user (or one who was removed already) goes, logons end; the mailbox waits, or is purged. */
enum st removed_take(struct directory *d, const struct user *u, bool keep, struct err *err);
/* F.  It belongs to a user of that name again; the name is free (d->lock is held). */
enum st removed_give_back(struct directory *d, struct user *u, const char *name, struct err *err);
/* F.  Purge those that have waited long enough. */
enum st removed_expire(struct directory *d, struct err *err);

/* What a mailbox holds, from its rows.  Any thread.  ST_GONE: its database is not up; zeros then, and for one that
 * was never used. */
struct box_figures {
	uint64_t messages, bytes;
	struct kept_figures kept;
};
enum st box_figures(struct store *s, uint64_t mailbox, struct box_figures *out, struct err *err);

/* Owners and what their mailboxes hold. */
struct boxes {
	struct box {
		struct user user;
		struct box_figures figures;
		bool down; /* nobody knows: its database is not up */
	} * at;            /* free() */
	size_t n, cap;
};
/* F: the rows of that kind (DIR_USER, DIR_REMOVED), or of the user `only`; read on a pool thread. */
enum st boxes_gather(struct store *s, enum dir_row kind, const char *only, struct boxes *out,
		     struct err *err);

#endif
