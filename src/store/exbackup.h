/* exbackup.h - the backup that is under way.  Loop 0, if nothing else is said. */
#ifndef STORE_EXBACKUP_H
#define STORE_EXBACKUP_H

#include "store/shard.h"

/* The binding is over: its backup ends, not done.  Does not wait. */
void backup_binding_over(struct shard *sh, uint64_t binding);
/* When no loop runs any more, before the groups are closed. */
void backup_close(struct store *store);
/* Rows "logs" of the report: which log files are kept, and for what. */
void backup_report(const struct store *store, struct buf *out);

#endif
