/* format.h - the one format version of everything that the engine writes. */
#ifndef ESE_FORMAT_H
#define ESE_FORMAT_H

#include "base/st.h"

#include <stdint.h>

#define ESE_FORMAT     2u
#define ESE_FORMAT_OLD 1u /* what `mailroot ese upgrade` takes over */

/* Is `found`, read from what `what` names, ours?  ST_BAD: no; the sentence says what to do.  While a group is
 * upgraded (format_take_old) format 1 is fine too. */
enum st format_check(uint32_t found, const char *what, struct err *err);
/* For the whole process, before a group is opened: the upgrade's own. */
void format_take_old(bool yes);
bool format_takes_old(void);

#endif
