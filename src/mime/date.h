/* date.h - dates as mail writes them.
 *
 * A moment is seconds since 1970 UTC and the writer's zone in minutes east of UTC.  Pure code, any
 * thread; no locale and no time zone database is asked. */
#ifndef MIME_DATE_H
#define MIME_DATE_H

#include "base/buf.h"

/* RFC 5322 3.3 and 4.3: comments, obsolete zones (EST ...; unknown ones count as UTC), years of 2 and 3
 * digits, no seconds, no weekday, also asctime's order.  false: no date can be read; the outputs are
 * untouched. */
bool mime_date_parse(struct span raw, int64_t *sec, int *zone_min);
/* "Wed, 17 Jul 1996 02:44:25 -0700" */
void mime_date_format(int64_t sec, int zone_min, struct buf *out);

/* RFC 3501 date-time without its quotes: "17-Jul-1996 02:44:25 -0700", day " 7" or "07". */
bool imap_date_parse(struct span text, int64_t *sec, int *zone_min);
void imap_date_format(int64_t sec, int zone_min, struct buf *out);

/* RFC 3501 date without quotes ("7-Jul-1996"), as a day number: days since 1970-01-01. */
bool imap_day_parse(struct span text, int64_t *day);
/* The day number of a moment, in its writer's own zone (RFC 3501 6.4.4 disregards time and zone). */
int64_t mime_day(int64_t sec, int zone_min);

#endif
