/* exship.h - the storage groups whose logs may be shipped. */
#ifndef STORE_EXSHIP_H
#define STORE_EXSHIP_H

#include "store/shard.h"

/* Before the loops run, or on loop 0: a group that is open.  ST_NOMEM. */
enum st shipping_add(struct store *store, const char *name, struct ese *ese, struct err *err);
/* When no loop runs any more, before the groups are closed. */
void shipping_end(struct store *store);

#endif
