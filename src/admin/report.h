/* report.h - what a program tells the administrator: tables, as aligned text or as JSON.
 *
 * One description gives both forms.  In JSON a report is one object whose members are the tables
 * (arrays of objects); in text each table is a heading and aligned columns; a table of facts (one row)
 * is printed as lines "name  value"; one that would be too wide for a terminal and has few rows stands on its
 * side.  One thread. */
#ifndef ADMIN_REPORT_H
#define ADMIN_REPORT_H

#include "base/buf.h"

#define REPORT_COLUMNS_MAX 24

struct report {
	struct buf *out;
	bool json;
	bool facts, any_table, any_row;
	unsigned column, ncolumns;
	const char *names[REPORT_COLUMNS_MAX];
	bool numeric[REPORT_COLUMNS_MAX];
	size_t nrows;
	struct buf cells; /* text form: NUL-terminated cells, row by row */
};

void report_open(struct report *r, struct buf *out, bool json);
void report_close(struct report *r);
/* facts: exactly one row, printed as lines. */
void report_table(struct report *r, const char *name, bool facts);
void report_row(
	struct report
		*r); /* begins the next row; every row has the same columns in the same order */
void report_span(struct report *r, const char *column, struct span value);
void report_str(struct report *r, const char *column, const char *value);
void report_num(struct report *r, const char *column, uint64_t value);
/* Nanoseconds since 1970 as 2026-11-30T12:00:00Z; 0 as nothing. */
void report_time(struct report *r, const char *column, int64_t ns);
void report_bool(struct report *r, const char *column, bool value);

#endif
