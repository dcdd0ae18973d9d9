/* fsdriver.h - the file-system driver, heir of the seeds' NTFS driver: a virtual server's folder.
 *
 *	Mailroot/Vsi 1/Queue/MR_<time><count>.eml	the content, envelope in its extended attributes
 *	Mailroot/Vsi 1/Queue/MR_<time><count>.stp .stl	the envelope beside it, where they can't hold it
 *	Mailroot/Vsi 1/Pickup, Badmail			(Filter is made when the first message is filtered)
 *
 * Order of a commit: content, properties, sync of the file, rename, sync of the folder; the last one is shared by
 * everybody who renamed before it began.  docs/formats.md "Queue files", docs/crash-states.md "Queue".
 *
 * One driver per folder, used from every loop; it holds a lock on the folder, so that no two processes
 * serve one queue.  Disk work is done on the work pool. */
#ifndef TRANSPORT_FSDRIVER_H
#define TRANSPORT_FSDRIVER_H

#include "transport/mailmsg.h"

/* `dir` is the virtual server's folder (config queue_dir); Queue, Pickup and Badmail are made in it when missing.
 * Blocks (call before loops run).  ST_BUSY: another process holds it; ST_IO, ST_NOSPACE, ST_DENIED (not
 * writable), ST_NOMEM. */
[[nodiscard]] enum st fsdriver_open(const char *dir, struct mailmsg_driver **out, struct err *err);
void fsdriver_close(struct mailmsg_driver *d); /* no message of it is left; NULL is fine */

/* F, once at start, while sessions may already commit: calls found() for every message that was there when the
 * folder was opened, oldest first; size is the content's.  Files begun and never committed were removed by
 * fsdriver_open(); damaged ones show at mailmsg_load().  A folder of any size costs 16 bytes a message until
 * this is through. */
[[nodiscard]] enum st fsdriver_enumerate(struct mailmsg_driver *d,
					 void (*found)(void *arg, struct mailmsg_id id,
						       uint64_t size),
					 void *arg, struct err *err);

struct fsdriver_stats {
	uint64_t committed, removed, file_syncs, folder_syncs, side_files, discarded, badmail;
};
void fsdriver_stats(const struct mailmsg_driver *d, struct fsdriver_stats *out); /* any thread */

#endif
