/* exship.h - the storage groups whose logs may be shipped. */
#ifndef STORE_EXSHIP_H
#define STORE_EXSHIP_H

#include "store/shard.h"

/* When no loop runs any more, before the groups are closed. */
void shipping_end(struct store *store);

#endif
