#include "mime/date.h"
#include "mime/token.h"

#define SECS_PER_DAY 86400

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
				    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
static const char weekdays[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };

/* ---- the calendar ---- */

/* Days since 1970-01-01 of a date in the Gregorian calendar; years begin in March, so that the leap day
 * is the last one. */
static int64_t days_of(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2);
}

static int days_in_month(int64_t year, int month)
{
	int64_t next = month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1);

	return (int)(next - days_of(year, month, 1));
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t mime_day(int64_t sec, int zone_min)
{
	return floor_div(sec + 60 * (int64_t)zone_min, SECS_PER_DAY);
}

/* ---- reading ---- */

struct fields {
	int64_t year;
	int month, day, hour, minute, second, zone_min;
	bool has_year, has_month, has_day, has_time, has_zone;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* 1-12, by the first three letters; 0 when it is none. */
static int month_of(struct span word)
{
	for (int i = 0; i < 12; i++)
		if (word.len >= 3 && span_ieq(span_cut(word, 3), span_str(months[i])))
			return i + 1;
	return 0;
}

/* One to nine digits off the front. */
static bool take_number(struct span *s, int64_t *out, size_t *digits)
{
	size_t n = 0;
	int64_t v = 0;

	while (n < s->len && n < 9 && is_digit(s->at[n]))
		v = v * 10 + (s->at[n++] - '0');
	*s = span_skip(*s, n);
	*out = v;
	*digits = n;
	return n > 0;
}

static bool read_time(struct span s, struct fields *f)
{
	int64_t v[3] = { 0 };
	size_t digits;

	for (int i = 0; i < 3; i++) {
		if (!take_number(&s, &v[i], &digits) || digits > 2)
			return false;
		if (s.len == 0 || s.at[0] != ':')
			break;
		s = span_skip(s, 1);
	}
	if (v[0] > 23 || v[1] > 59 || v[2] > 60)
		return false;
	f->hour = (int)v[0];
	f->minute = (int)v[1];
	f->second = (int)v[2];
	f->has_time = true;
	return true;
}

/* +hhmm; false when it isn't that. */
static bool read_numeric_zone(struct span s, int *zone_min)
{
	int64_t v;
	size_t digits;
	int sign = s.len > 0 && s.at[0] == '-' ? -1 : 1;

	s = span_skip(s, 1);
	if (!take_number(&s, &v, &digits) || digits != 4 || s.len > 0 || v % 100 > 59)
		return false;
	*zone_min = sign * (int)(v / 100 * 60 + v % 100);
	return true;
}

static int named_zone(struct span word)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = {
		{ "EST", -5 }, { "EDT", -4 }, { "CST", -6 }, { "CDT", -5 },
		{ "MST", -7 }, { "MDT", -6 }, { "PST", -8 }, { "PDT", -7 },
	};

	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
		if (span_ieq(word, span_str(zones[i].name)))
			return zones[i].hours * 60;
	return 0; /* UT, GMT, the military letters and everything else (RFC 5322 4.3) */
}

/* Two digits: 00-49 are 2000 on; two from 50, and three: 1900 on (RFC 5322 4.3). */
static int64_t full_year(int64_t year, size_t digits)
{
	if (digits <= 2)
		return year + (year < 50 ? 2000 : 1900);
	return digits == 3 ? year + 1900 : year;
}

/* One word of a date; what it is shows in its form and in what is still missing. */
static bool read_word(struct span word, struct fields *f)
{
	struct span rest = word;
	int64_t v;
	size_t digits;

	if (word.at[0] == '+' || word.at[0] == '-') {
		if (f->has_time && !f->has_zone)
			f->has_zone = read_numeric_zone(word, &f->zone_min);
		return true;
	}
	if (!f->has_time && is_digit(word.at[0]) && span_find(word, ':') != SIZE_MAX)
		return read_time(word, f);
	if (is_alpha(word.at[0])) {
		if (!f->has_month && month_of(word) > 0) {
			f->month = month_of(word);
			f->has_month = true;
		} else if (f->has_time && !f->has_zone) {
			f->zone_min = named_zone(word);
			f->has_zone = true;
		}
		return true;
	}
	if (!take_number(&rest, &v, &digits) || rest.len > 0)
		return true; /* some noise */
	if (!f->has_day && digits <= 2) {
		f->day = (int)v;
		f->has_day = true;
	} else if (!f->has_year) {
		f->year = full_year(v, digits);
		f->has_year = true;
	}
	return true;
}

#define DATE_MAX 256 /* longer than any date that makes sense */

/* Comments become blanks, and blanks around ":" go (RFC 5322 4.3 allows "09 (am) : 55"). */
static struct span plain_date(struct span raw, char out[DATE_MAX])
{
	size_t len = 0;

	while (raw.len > 0 && len < DATE_MAX) {
		char c = raw.at[0];
		bool blank = token_skip(&raw, NULL);

		if (blank && len > 0 && out[len - 1] == ':')
			continue;
		if (!blank && c == ':')
			while (len > 0 && out[len - 1] == ' ')
				len--;
		out[len++] = blank ? ' ' : c;
		if (!blank)
			raw = span_skip(raw, 1);
	}
	return span_of(out, len);
}

/* Does a zone begin here?  "-" is also what some write between day, month and year. */
static bool begins_zone(struct span all, size_t i)
{
	return all.at[i] == '-' && i + 4 < all.len && is_digit(all.at[i + 4]) &&
	       (i == 0 || !is_alpha(all.at[i - 1]));
}

/* The next word at or behind *at: digits and letters, with ":" and "." inside, a sign in front of a
 * zone; all else is between words. */
static bool next_word(struct span all, size_t *at, struct span *word)
{
	size_t i = *at, end;

	while (i < all.len && !is_digit(all.at[i]) && !is_alpha(all.at[i]) && all.at[i] != '+' &&
	       !begins_zone(all, i))
		i++;
	if (i >= all.len)
		return false;
	for (end = i + 1; end < all.len; end++)
		if (!is_digit(all.at[end]) && !is_alpha(all.at[end]) && all.at[end] != ':' &&
		    all.at[end] != '.')
			break;
	*word = span_of(all.at + i, end - i);
	*at = end;
	return true;
}

static bool make_moment(const struct fields *f, int64_t *sec, int *zone_min)
{
	if (!f->has_day || !f->has_month || !f->has_year || f->year > 9999)
		return false;
	if (f->day < 1 || f->day > days_in_month(f->year, f->month))
		return false;
	*sec = days_of(f->year, f->month, f->day) * SECS_PER_DAY + f->hour * 3600 + f->minute * 60 +
	       f->second - 60 * (int64_t)f->zone_min;
	*zone_min = f->zone_min;
	return true;
}

bool mime_date_parse(struct span raw, int64_t *sec, int *zone_min)
{
	struct fields f = { 0 };
	char text[DATE_MAX];
	struct span all = plain_date(raw, text), word;
	size_t at = 0;

	while (next_word(all, &at, &word))
		if (!read_word(word, &f))
			return false;
	return make_moment(&f, sec, zone_min);
}

/* "17-Jul-1996" off the front. */
static bool take_imap_day(struct span *s, struct fields *f)
{
	int64_t day;
	size_t digits;

	if (!take_number(s, &day, &digits) || digits > 2 || s->len < 5 || s->at[0] != '-' ||
	    s->at[4] != '-')
		return false;
	f->day = (int)day;
	f->month = month_of(span_of(s->at + 1, 3));
	*s = span_skip(*s, 5);
	f->has_day = true;
	f->has_month = f->month > 0;
	f->has_year = take_number(s, &f->year, &digits) && digits == 4;
	return f->has_year;
}

bool imap_day_parse(struct span text, int64_t *day)
{
	struct fields f = { 0 };
	int64_t sec;
	int zone;

	if (!take_imap_day(&text, &f) || text.len > 0 || !make_moment(&f, &sec, &zone))
		return false;
	*day = mime_day(sec, 0);
	return true;
}

bool imap_date_parse(struct span text, int64_t *sec, int *zone_min)
{
	struct fields f = { 0 };

	if (text.len > 0 && text.at[0] == ' ')
		text = span_skip(text, 1);
	if (!take_imap_day(&text, &f) || text.len != 15 || text.at[0] != ' ' || text.at[3] != ':' ||
	    text.at[6] != ':' || text.at[9] != ' ' || (text.at[10] != '+' && text.at[10] != '-'))
		return false;
	if (!read_time(span_of(text.at + 1, 8), &f) ||
	    !read_numeric_zone(span_skip(text, 10), &f.zone_min))
		return false;
	return make_moment(&f, sec, zone_min);
}

/* ---- writing ---- */

struct broken {
	int64_t year, of_day;
	int month, day, weekday;
	char sign;
	int zone; /* hhmm */
};

static struct broken break_down(int64_t sec, int zone_min)
{
	int away = zone_min < 0 ? -zone_min : zone_min;
	struct broken b = { .sign = zone_min < 0 ? '-' : '+', .zone = away / 60 * 100 + away % 60 };
	int64_t days = mime_day(sec, zone_min);

	b.of_day = sec + 60 * (int64_t)zone_min - days * SECS_PER_DAY;
	b.weekday = (int)(days - floor_div(days, 7) * 7);
	date_of(days, &b.year, &b.month, &b.day);
	return b;
}

void mime_date_format(int64_t sec, int zone_min, struct buf *out)
{
	struct broken b = break_down(sec, zone_min);

	buf_printf(out, "%s, %d %s %04d %02d:%02d:%02d %c%04d", weekdays[b.weekday], b.day,
		   months[b.month - 1], (int)b.year, (int)(b.of_day / 3600),
		   (int)(b.of_day / 60 % 60), (int)(b.of_day % 60), b.sign, b.zone);
}

void imap_date_format(int64_t sec, int zone_min, struct buf *out)
{
	struct broken b = break_down(sec, zone_min);

	buf_printf(out, "%2d-%s-%04d %02d:%02d:%02d %c%04d", b.day, months[b.month - 1],
		   (int)b.year, (int)(b.of_day / 3600), (int)(b.of_day / 60 % 60),
		   (int)(b.of_day % 60), b.sign, b.zone);
}
