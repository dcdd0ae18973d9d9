/* repair.h - everything that can be kept of a damaged home, group or copy, written into new databases.
 *
 * Nothing of the source is changed.  What is wrong there is told to `found` with the names that a user knows; what is
 * lost for good is told too, and counted.  A message whose content is damaged is never kept as if it were right: a
 * notice with its UID, flags and date takes its place, which says what is lost.
 * One thread, and the engine's of the new groups. */
#ifndef STORE_REPAIR_H
#define STORE_REPAIR_H

#include "base/finding.h"
#include "base/st.h"

struct repair {
	const char *source; /* as offline_open */
	const char *to;     /* folder of the new groups: there, and empty */
	bool keep_damaged;  /* attach the bytes of damaged messages as they are */
	finding_fn found;
	void (*progress)(void *arg, const char *what, uint64_t done); /* may be NULL */
	/* The new groups can't be written any more; an engine thread.  Must end the process. */
	void (*broken)(void *arg, const struct err *why);
	void *arg;

	/* filled */
	uint64_t databases, users, mailboxes, folders;
	uint64_t messages, messages_kept,
		messages_noticed; /* the rest is lost; messages: as far as is known */
	uint64_t bytes, bytes_kept;
	uint64_t kept_deleted, lost_deleted; /* deleted messages that were kept */
};
/* Is there a source, and does no process have it open?  ST_BUSY, ST_NOTFOUND, ST_IO. */
enum st repair_source(const char *source, struct err *err);
/* ST_OK: written, whatever was lost.  ST_NOTFOUND: nothing there; ST_BUSY: a process has a group open; ST_BAD: another
 * format; ST_IO, ST_NOSPACE, ST_NOMEM: the new groups are not complete. */
enum st store_repair(struct repair *r, struct err *err);

#endif
