/* quota.h - limits on a mailbox's size: what they allow, and who is told.
 *
 * The size is the sum of the folders' (FOLDER_SIZE); what was deleted and is kept does not count.  Own loop. */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "store/mailbox.h"

struct user;

/* What counts for the user: its own limits, else the configured ones; 0: none. */
void quota_limits(const struct store *s, const struct user *u, uint64_t out[static QUOTAS]);
/* Octets that the mailbox may still grow by; UINT64_MAX: no limit. */
uint64_t quota_room(const struct mailbox *mb);
/* May so many octets more come in?  ST_NOSPACE, with what is and what may be. */
enum st quota_admit(const struct mailbox *mb, uint64_t octets, struct err *err);
static inline bool quota_over(const struct mailbox *mb, enum quota q)
{
	return mb->quota[q] && mb->size >= mb->quota[q];
}
/* The size or the limits moved: whoever remembers what the directory says of the mailbox is told when an answer is another
 * one now, and the owner is warned, at most once a day, when it grew. */
void quota_moved(struct mailbox *mb, bool grew);

#endif
