/* relocate.h - a mailbox moves to another database while the server runs.
 *
 * Its rows and bodies are copied as they are: UIDs, flags, dates, change numbers.  Meanwhile nobody gets at it: its sessions are
 * told to come again, deliveries wait in the queue.  The directory's row DIR_MOVE says how far it is (docs/formats.md), so that
 * after a crash it is whole in one place, and what is left in the other is deleted.
 * docs/decisions/0015-databases.md. */
#ifndef STORE_RELOCATE_H
#define STORE_RELOCATE_H

#include "store/directory.h"

/* F, loop 0, store->life held.  ST_OK: it is there (also when it was).  ST_BUSY: an earlier move of it is not over, or a request of it
 * does not end; ST_GONE: a database is not up; as mailbox_copy(): it is where it was. */
enum st mailbox_relocate(struct directory *d, const struct user *u, struct database *to,
			 struct err *err);
/* Loop 0: what moves left behind in databases that are up is deleted, in fibers of their own. */
enum st relocations_resume(struct store *s, struct err *err);

#endif
