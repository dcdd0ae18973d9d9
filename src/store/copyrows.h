/* copyrows.h - all rows and bodies of a mailbox, from one database into another. */
#ifndef STORE_COPYROWS_H
#define STORE_COPYROWS_H

#include "store/database.h"

/* On a pool thread; it waits for the disk.  Nobody changes the mailbox meanwhile, and `to` holds nothing of it.  Every
 * body is read with its checksums; one that several of its messages share is copied once.  ST_OK: durable there;
 * anything else: some of it may be there.  ST_CORRUPT: a body or a row is damaged; ST_BUSY: the store is stopping. */
enum st mailbox_copy(struct database *from, struct database *to, uint64_t mailbox, struct err *err);

#endif
