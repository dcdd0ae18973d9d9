/* date.c - the dates of IMAP, read and written; see parse.h and reply.h.
 *
 * Days are counted with the year beginning in March, so that the leap day is its last. */
#include "proto/imap/parse.h"
#include "proto/imap/reply.h"

#define DAYS_400Y      146097 /* of 400 Gregorian years */
#define DAYS_TO_1970   719468 /* from 0000-03-01 */
#define SECONDS_OF_DAY 86400

static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

static unsigned days_of_month(unsigned year, unsigned month)
{
	static const unsigned char days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

bool imap_day(unsigned year, unsigned month, unsigned day, int64_t *days)
{
	if (year > 9999 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
		return false;
	/* One period of 400 years more keeps January and February of year 0 above nothing. */
	int64_t y = (int64_t)year + 400 - (month <= 2);
	int64_t of_year = (153 * ((int64_t)(month + 9) % 12) + 2) / 5 + day - 1;

	*days = y * 365 + y / 4 - y / 100 + y / 400 + of_year - DAYS_400Y - DAYS_TO_1970;
	return true;
}

static void civil(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	int64_t d = days + DAYS_TO_1970 + DAYS_400Y;
	int64_t period = d / DAYS_400Y, in = d % DAYS_400Y;
	int64_t y = (in - in / 1460 + in / 36524 - in / (DAYS_400Y - 1)) / 365;
	int64_t of_year = in - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
	*month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*year = (unsigned)(y + period * 400 - 400 + (*month <= 2));
}

static bool digits(struct imap_parse *p, unsigned least, unsigned most, unsigned *out)
{
	unsigned n = 0;

	*out = 0;
	while (n < most && p->at < p->end && *p->at >= '0' && *p->at <= '9') {
		*out = *out * 10 + (unsigned)(*p->at++ - '0');
		n++;
	}
	return n >= least || parse_bad(p, "a date is expected");
}

static bool mark(struct imap_parse *p, char c)
{
	return parse_take(p, c) || parse_bad(p, "a date is expected");
}

/* "-Jul-1996" behind the day. */
static bool month_year(struct imap_parse *p, unsigned day, int64_t *days)
{
	unsigned month = 0, year;

	if (!mark(p, '-'))
		return false;
	struct span name = parse_name(p);
	/* A name takes the hyphens and digits of the rest as well: give them back. */
	p->at = name.at + (name.len < 3 ? name.len : 3);
	name = span_cut(name, 3);
	while (month < 12 && !span_ieq(name, span_str(month_names[month])))
		month++;
	if (month == 12)
		return parse_bad(p, "a date is expected");
	if (!mark(p, '-') || !digits(p, 4, 4, &year))
		return false;
	return imap_day(year, month + 1, day, days) || parse_bad(p, "there is no such day");
}

bool parse_date(struct imap_parse *p, uint64_t *out)
{
	bool quoted = parse_take(p, '"');
	unsigned day;
	int64_t days;

	if (!digits(p, 1, 2, &day) || !month_year(p, day, &days) || (quoted && !mark(p, '"')))
		return false;
	*out = (uint64_t)days;
	return true;
}

static bool clock_time(struct imap_parse *p, unsigned *seconds)
{
	unsigned h, m, s;

	if (!digits(p, 2, 2, &h) || !mark(p, ':') || !digits(p, 2, 2, &m) || !mark(p, ':') ||
	    !digits(p, 2, 2, &s))
		return false;
	*seconds = (h * 60 + m) * 60 + s;
	/* 60 is a leap second. */
	return (h < 24 && m < 60 && s <= 60) || parse_bad(p, "there is no such time");
}

static bool time_zone(struct imap_parse *p, int16_t *zone)
{
	unsigned h, m;
	bool west = parse_take(p, '-');

	if ((!west && !mark(p, '+')) || !digits(p, 2, 2, &h) || !digits(p, 2, 2, &m))
		return false;
	int minutes = (int)(h * 60 + m);
	*zone = (int16_t)(west ? -minutes : minutes);
	return (h < 24 && m < 60) || parse_bad(p, "there is no such time zone");
}

bool parse_date_time(struct imap_parse *p, int64_t *out, int16_t *zone)
{
	unsigned day, seconds;
	int64_t days;

	if (!mark(p, '"'))
		return false;
	bool one = parse_take(p, ' ');
	if (!digits(p, one ? 1 : 2, one ? 1 : 2, &day) || !month_year(p, day, &days) ||
	    !mark(p, ' ') || !clock_time(p, &seconds) || !mark(p, ' ') || !time_zone(p, zone) ||
	    !mark(p, '"'))
		return false;
	*out = days * SECONDS_OF_DAY + seconds - *zone * 60;
	return true;
}

void imap_put_date_time(struct buf *b, int64_t seconds, int zone)
{
	int64_t least = 0, most = 0;
	unsigned year, month, day;

	imap_day(0, 1, 1, &least);
	imap_day(9999, 12, 31, &most);
	zone = zone < -1439 ? -1439 : zone > 1439 ? 1439 : zone;
	/* A day of room at both ends for the zone. */
	least = (least + 1) * SECONDS_OF_DAY;
	most *= SECONDS_OF_DAY;
	seconds = (seconds < least ? least : seconds > most ? most : seconds) + zone * 60;
	int64_t days = seconds / SECONDS_OF_DAY - (seconds % SECONDS_OF_DAY < 0);
	int rest = (int)(seconds - days * SECONDS_OF_DAY), off = zone < 0 ? -zone : zone;
	civil(days, &year, &month, &day);
	buf_printf(b, "\"%2u-%s-%04u %02d:%02d:%02d %c%02d%02d\"", day, month_names[month - 1],
		   year, rest / 3600, rest / 60 % 60, rest % 60, zone < 0 ? '-' : '+', off / 60,
		   off % 60);
}
