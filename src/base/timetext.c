#include "base/timetext.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

const char *time_write(char out[TIME_TEXT], int64_t ns, int digits)
{
	time_t seconds = (time_t)(ns / NS_PER_SEC);
	int64_t rest = ns % NS_PER_SEC;
	struct tm tm;
	size_t n;

	if (rest < 0) {
		rest += NS_PER_SEC;
		seconds--;
	}
	gmtime_r(&seconds, &tm);
	n = strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	for (int i = digits; i < 9; i++)
		rest /= 10;
	if (digits > 0)
		n += (size_t)snprintf(out + n, TIME_TEXT - n, ".%0*lld", digits, (long long)rest);
	snprintf(out + n, TIME_TEXT - n, "Z");
	return out;
}

/* ---- reading ---- */

struct reader {
	struct span rest;
	bool bad;
};

static bool next_is(struct reader *r, char c)
{
	if (r->bad || r->rest.len == 0 || r->rest.at[0] != c)
		return false;
	r->rest = span_skip(r->rest, 1);
	return true;
}

static void want(struct reader *r, char c)
{
	if (!next_is(r, c))
		r->bad = true;
}

/* Just so many digits, of a number from least to most. */
static int number(struct reader *r, unsigned digits, int least, int most)
{
	int n = 0;

	for (unsigned i = 0; i < digits; i++) {
		if (r->rest.len == 0 || r->rest.at[0] < '0' || r->rest.at[0] > '9') {
			r->bad = true;
			return least;
		}
		n = n * 10 + (r->rest.at[0] - '0');
		r->rest = span_skip(r->rest, 1);
	}
	if (n < least || n > most)
		r->bad = true;
	return n;
}

static int64_t fraction(struct reader *r)
{
	int64_t unit = NS_PER_SEC, ns = 0;
	unsigned digits = 0;

	for (; r->rest.len > 0 && r->rest.at[0] >= '0' && r->rest.at[0] <= '9'; digits++) {
		unit /= 10;
		ns += unit * (r->rest.at[0] - '0');
		r->rest = span_skip(r->rest, 1);
	}
	if (digits == 0)
		r->bad = true;
	return ns;
}

static void read_clock(struct reader *r, struct tm *tm, int64_t *ns)
{
	tm->tm_hour = number(r, 2, 0, 23);
	want(r, ':');
	tm->tm_min = number(r, 2, 0, 59);
	if (!next_is(r, ':'))
		return;
	tm->tm_sec = number(r, 2, 0, 59);
	if (next_is(r, '.'))
		*ns = fraction(r);
}

/* Seconds to take off; false: none is given, the time is local. */
static bool read_zone(struct reader *r, int64_t *offset)
{
	int sign;

	*offset = 0;
	if (next_is(r, 'Z') || next_is(r, 'z'))
		return true;
	sign = next_is(r, '+') ? 1 : next_is(r, '-') ? -1 : 0;
	if (sign == 0)
		return false;
	*offset = sign * 3600LL * number(r, 2, 0, 23);
	want(r, ':');
	*offset += sign * 60LL * number(r, 2, 0, 59);
	return true;
}

static bool day_exists(const struct tm *asked, time_t seconds)
{
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return tm.tm_mday == asked->tm_mday && tm.tm_mon == asked->tm_mon;
}

enum st time_read(struct span text, int64_t *ns_out, struct err *err)
{
	struct reader r = { .rest = text };
	struct tm tm = { .tm_isdst = -1 }, utc;
	int64_t ns = 0, offset, seconds;
	bool zone;

	tm.tm_year = number(&r, 4, 1970, 2200) - 1900;
	want(&r, '-');
	tm.tm_mon = number(&r, 2, 1, 12) - 1;
	want(&r, '-');
	tm.tm_mday = number(&r, 2, 1, 31);
	if (next_is(&r, 'T') || next_is(&r, 't') || next_is(&r, ' '))
		read_clock(&r, &tm, &ns);
	zone = read_zone(&r, &offset);
	utc = tm;
	seconds = timegm(&utc);
	if (r.bad || r.rest.len > 0 || !day_exists(&tm, (time_t)seconds))
		return fail(err, ST_BAD,
			    "'" SPAN_FMT "' is no time: write 2026-11-21T22:30:05Z, "
			    "2026-11-21T22:30:05+01:00, or without a zone for local time",
			    SPAN_ARG(text));
	*ns_out = (zone ? seconds - offset : (int64_t)mktime(&tm)) * NS_PER_SEC + ns;
	return ST_OK;
}
