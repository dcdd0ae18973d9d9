/* diskwatch.h - the supervisor's eye on the disks of the home: warns before they are full, and says when it is over.
 *
 * Looked at are the file systems of the storage groups and of the queue, each once, every DISKWATCH_MS and whenever the
 * administrator asks.  One of a process; on the supervisor's loop. */
#ifndef MAIN_DISKWATCH_H
#define MAIN_DISKWATCH_H

#include "admin/report.h"
#include "base/config.h"
#include "loop/loop.h"

#define DISKWATCH_MS  10000
#define DISKWATCH_MAX 64 /* file systems */

void diskwatch_start(const struct config *c);
/* Look now; the table "disks". */
void diskwatch_report(struct report *r);
void diskwatch_stop(void);

#endif
