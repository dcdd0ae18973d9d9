/* timetext.h - moments as people and scripts write them: RFC 3339.
 *
 * A moment is nanoseconds since 1970, UTC.  Pure, any thread. */
#ifndef BASE_TIMETEXT_H
#define BASE_TIMETEXT_H

#include "base/span.h"
#include "base/st.h"

#define TIME_TEXT 40

/* "2026-11-21T22:30:05.123456789Z"; digits of the second: 0, 3 or 9.  Returns out. */
const char *time_write(char out[TIME_TEXT], int64_t ns, int digits);
/* A day (its first moment), or a moment: "2026-11-21", "2026-11-21T22:30", "2026-11-21 22:30:05.25"; with Z or an
 * offset ("+01:00") behind it, else local time.  ST_BAD says what is accepted; years 1970 to 2200. */
enum st time_read(struct span text, int64_t *ns_out, struct err *err);

#endif
