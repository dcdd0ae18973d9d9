/* shipping.h - what a running group does for those who ship its log (docs/formats.md, "shipping stream").
 *
 * It tells how far the log is durable, and keeps log files that somebody has not shipped yet.  Any thread. */
#ifndef ESE_SHIPPING_H
#define ESE_SHIPPING_H

#include "ese/ese.h"

#define ESE_HOLDS_MAX 8u

struct ese_log_info {
	unsigned char signature[16];
	uint64_t durable; /* position: everything before it is synced */
	uint64_t time;    /* of the newest group, ns since 1970; 0: none was written by this run */
	uint32_t oldest;  /* the first generation that is there */
};
void ese_log_look(struct ese *g, struct ese_log_info *out);

/* From now on moved(arg) runs whenever the durable position has moved: on an engine thread, which must not be
 * held up, and must not call the engine.  One at a time; NULL ends it. */
void ese_log_watch(struct ese *g, void (*moved)(void *arg), void *arg);

/* `who` (any number but 0, kept over restarts) has everything before `pos`: log files from there on stay, but at most
 * ese_options.ship_keep_bytes, and none when the disk runs low: then the hold is given up.  pos 0: forget.
 * Written down by the next checkpoint, which is what gives log files away.  ST_BUSY: ESE_HOLDS_MAX others hold. */
enum st ese_log_hold(struct ese *g, uint64_t who, uint64_t pos, struct err *err);

#endif
