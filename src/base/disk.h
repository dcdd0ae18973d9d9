/* disk.h - how full a file system is, against the settings: one rule for all who ask.
 *
 * Any thread; it waits for nothing but the file system's own figures. */
#ifndef BASE_DISK_H
#define BASE_DISK_H

#include "base/config.h"
#include "base/st.h"

#include <stdint.h>

enum disk_state {
	DISK_OK,
	DISK_LOW, /* below the warning threshold */
	DISK_FULL /* below the reserve: new mail is refused for now */
};
const char *disk_state_name(enum disk_state s); /* "ok", "low", "full" */

struct disk_view {
	uint64_t free, total; /* bytes */
	uint64_t warn_below; /* disk_warn_bytes or disk_warn_percent, whichever is more; 0: never */
	uint64_t refuse_below; /* disk_reserve_bytes */
	enum disk_state state;
};
/* The file system of the file or folder at path.  ST_IO: it can't be asked; *out is untouched then. */
enum st disk_look(const struct config *c, const char *path, struct disk_view *out, struct err *err);
/* The same from figures that are known: fills in thresholds and state.  After `before` a disk is well again only with a
 * sixteenth more than the threshold, so that nothing is told twice a second. */
void disk_judge(const struct config *c, enum disk_state before, struct disk_view *v);

#endif
