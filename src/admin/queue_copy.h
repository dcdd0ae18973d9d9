/* queue_copy.h - messages on their way in another home's queue folder come into ours.
 *
 * They were acknowledged, and are in no log yet.  One that was delivered meanwhile is not delivered twice: the store knows
 * its GUID until its file is gone (docs/crash-states.md, "The order between queue and store").  Blocking. */
#ifndef ADMIN_QUEUE_COPY_H
#define ADMIN_QUEUE_COPY_H

#include "base/config.h"

/* Copies whole messages, durably; those that are in `to` already are left alone, so that it can be done again.
 * *copied_out: how many are there now that were in `from`.  Nothing is changed in `from`.  ST_IO, ST_NOSPACE. */
enum st queue_copy(const struct config *from, const struct config *to, unsigned *copied_out,
		   struct err *err);

#endif
