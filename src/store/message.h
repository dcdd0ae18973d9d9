/* message.h - a new message in a folder. */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "store/change.h"
#include "store/content.h"

struct new_message {
	struct content *content;
	int64_t date; /* nanoseconds since 1970 */
	uint32_t flags;
	uint64_t keywords; /* bits of the folder's table */
	struct span guid;  /* 16 bytes, remembered as delivered; or absent */
	uint32_t
		uid; /* 0: the next one; else one that is not below it, and the next one follows it */
};

/* Begin a change, put the message into it and commit it.  No park; folder_ready() must have been called
 * just before.  Whatever comes, the change is committed or over.
 * ST_OK: queued, and in the index as far as there is one; change_wait(c) follows.  *uid is its UID. */
enum st message_add(struct change *c, struct folder *f, const struct new_message *m, uint32_t *uid,
		    struct err *err);

/* Give the folder the keywords of the request that it has not got yet; its row is written with its next
 * change.  The bits of all of them go to *bits.  ST_BAD: no keyword at all; ST_TOOBIG: no room for another;
 * then nothing changed. */
enum st keywords_learn(struct folder *f, const struct plist *in, uint64_t *bits, struct err *err);

#endif
