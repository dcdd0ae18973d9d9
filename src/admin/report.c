/* report.c - tables, as aligned text or as JSON. */
#include "admin/report.h"

#include "base/timetext.h"

#include <assert.h>

#define CELLS_MAX (16u * 1024 * 1024)
#define LINE_WIDE 132 /* columns of a terminal */

void report_open(struct report *r, struct buf *out, bool json)
{
	*r = (struct report){ .out = out, .json = json, .cells = BUF_MAX(CELLS_MAX) };
	if (json)
		buf_char(out, '{');
}

static const char *next_cell(const char *cell)
{
	return cell + strlen(cell) + 1;
}

static void print_facts(struct report *r)
{
	const char *cell = r->cells.at;
	size_t width = 0;

	for (unsigned c = 0; c < r->ncolumns; c++)
		width = strlen(r->names[c]) > width ? strlen(r->names[c]) : width;
	for (unsigned c = 0; c < r->ncolumns; c++, cell = next_cell(cell))
		buf_printf(r->out, "%-*s  %s\n", (int)width, r->names[c], cell);
}

/* Aligned; nothing is padded at the end of a line. */
static void print_cell(struct report *r, const char *cell, size_t width, bool numeric, bool last)
{
	if (numeric)
		buf_printf(r->out, "%*s", (int)width, cell);
	else if (last)
		buf_str(r->out, cell);
	else
		buf_printf(r->out, "%-*s", (int)width, cell);
	buf_str(r->out, last ? "\n" : "  ");
}

static size_t wider(size_t width, const char *cell)
{
	return strlen(cell) > width ? strlen(cell) : width;
}

static void print_upright(struct report *r, const size_t *widths)
{
	const char *cell = r->cells.at;

	for (unsigned c = 0; c < r->ncolumns; c++)
		print_cell(r, r->names[c], widths[c], r->numeric[c], c + 1 == r->ncolumns);
	for (size_t i = 0; i < r->nrows; i++)
		for (unsigned c = 0; c < r->ncolumns; c++, cell = next_cell(cell))
			print_cell(r, cell, widths[c], r->numeric[c], c + 1 == r->ncolumns);
}

/* A line for each column; nrows is below REPORT_COLUMNS_MAX. */
static void print_on_its_side(struct report *r)
{
	const char *cells[REPORT_COLUMNS_MAX][REPORT_COLUMNS_MAX], *cell = r->cells.at;
	size_t names = 0, widths[REPORT_COLUMNS_MAX] = { 0 };

	for (unsigned c = 0; c < r->ncolumns; c++)
		names = wider(names, r->names[c]);
	for (size_t i = 0; i < r->nrows; i++)
		for (unsigned c = 0; c < r->ncolumns; c++, cell = next_cell(cell)) {
			cells[i][c] = cell;
			widths[i] = wider(widths[i], cell);
		}
	for (unsigned c = 0; c < r->ncolumns; c++) {
		print_cell(r, r->names[c], names, false, false);
		for (size_t i = 0; i < r->nrows; i++)
			print_cell(r, cells[i][c], widths[i], true, i + 1 == r->nrows);
	}
}

static void print_columns(struct report *r)
{
	size_t widths[REPORT_COLUMNS_MAX], whole = 0;
	const char *cell = r->cells.at;

	for (unsigned c = 0; c < r->ncolumns; c++)
		widths[c] = strlen(r->names[c]);
	for (size_t i = 0; i < r->nrows; i++)
		for (unsigned c = 0; c < r->ncolumns; c++, cell = next_cell(cell))
			widths[c] = wider(widths[c], cell);
	for (unsigned c = 0; c < r->ncolumns; c++)
		whole += widths[c] + 2;
	if (whole > LINE_WIDE && r->nrows < r->ncolumns)
		print_on_its_side(r);
	else
		print_upright(r, widths);
}

static void end_row(struct report *r)
{
	if (!r->any_row)
		return;
	assert(r->nrows == 1 || r->column == r->ncolumns);
	if (r->json)
		buf_char(r->out, '}');
}

static void end_table(struct report *r)
{
	if (!r->any_table)
		return;
	end_row(r);
	if (r->json) {
		if (!r->facts)
			buf_char(r->out, ']');
		else if (!r->any_row)
			buf_str(r->out, "{}");
	} else if (r->nrows == 0) {
		buf_str(r->out, "(none)\n");
	} else if (!r->cells.failed) {
		if (r->facts)
			print_facts(r);
		else
			print_columns(r);
	}
	buf_clear(&r->cells);
}

void report_close(struct report *r)
{
	end_table(r);
	if (r->json)
		buf_str(r->out, "}\n");
	if (r->cells.failed)
		r->out->failed = true;
	buf_free(&r->cells);
}

void report_table(struct report *r, const char *name, bool facts)
{
	end_table(r);
	if (r->json) {
		if (r->any_table)
			buf_char(r->out, ',');
		buf_json(r->out, span_str(name));
		buf_str(r->out, facts ? ":" : ":[");
	} else {
		buf_printf(r->out, "%s%s\n", r->any_table ? "\n" : "", name);
	}
	r->any_table = true;
	r->any_row = false;
	r->facts = facts;
	r->ncolumns = r->column = 0;
	r->nrows = 0;
}

void report_row(struct report *r)
{
	assert(!r->facts || r->nrows == 0);
	end_row(r);
	if (r->json)
		buf_str(r->out, r->any_row ? ",{" : "{");
	r->any_row = true;
	r->column = 0;
	r->nrows++;
}

static void begin_value(struct report *r, const char *column, bool numeric)
{
	assert(r->any_row && r->column < REPORT_COLUMNS_MAX);
	if (r->nrows == 1) {
		r->names[r->column] = column;
		r->numeric[r->column] = numeric;
		r->ncolumns = r->column + 1;
	}
	if (r->json) {
		if (r->column > 0)
			buf_char(r->out, ',');
		buf_json(r->out, span_str(column));
		buf_char(r->out, ':');
	}
	r->column++;
}

void report_span(struct report *r, const char *column, struct span value)
{
	begin_value(r, column, false);
	if (r->json) {
		buf_json(r->out, value);
		return;
	}
	/* A terminal must not be steered by what a peer sent. */
	for (size_t i = 0; i < value.len; i++)
		buf_char(&r->cells, (unsigned char)value.at[i] < 0x20 || value.at[i] == 0x7f
					    ? '?'
					    : value.at[i]);
	buf_char(&r->cells, '\0');
}

void report_str(struct report *r, const char *column, const char *value)
{
	report_span(r, column, span_str(value));
}

void report_num(struct report *r, const char *column, uint64_t value)
{
	begin_value(r, column, true);
	buf_u64(r->json ? r->out : &r->cells, value);
	if (!r->json)
		buf_char(&r->cells, '\0');
}

void report_time(struct report *r, const char *column, int64_t ns)
{
	char text[TIME_TEXT];

	report_str(r, column, ns ? time_write(text, ns, 0) : "");
}

void report_bool(struct report *r, const char *column, bool value)
{
	begin_value(r, column, false);
	buf_str(r->json ? r->out : &r->cells,
		r->json ? (value ? "true" : "false") : (value ? "yes" : "no"));
	if (!r->json)
		buf_char(&r->cells, '\0');
}
