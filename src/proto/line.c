#include "proto/line.h"

/* What the byte at `i` means; a CR at the very end of the input can't be judged yet. */
enum line_mark { MARK_NONE, MARK_END, MARK_ALONE, MARK_WAIT };

static enum line_mark mark_at(struct span in, size_t i)
{
	switch (in.at[i]) {
	case '\r':
		if (i + 1 == in.len)
			return MARK_WAIT;
		return in.at[i + 1] == '\n' ? MARK_END : MARK_ALONE;
	case '\n':
	case '\0':
		return MARK_ALONE;
	default:
		return MARK_NONE;
	}
}

static enum st refuse(struct line_reader *r, size_t used, enum st st)
{
	r->skipping = true;
	r->skipped += used;
	r->scanned = 0;
	return st;
}

/* Throw away up to and with CR LF; stop at an LF alone to report it. */
static enum st skip(struct line_reader *r, struct span in, size_t *used)
{
	for (size_t i = 0; i < in.len; i++) {
		enum line_mark mark = mark_at(in, i);

		if (mark == MARK_WAIT) {
			*used = i;
			r->skipped += i;
			return ST_MORE;
		}
		if (mark == MARK_END) {
			*used = i + 2;
			r->skipped += i + 2;
			r->skipping = false;
			return ST_OK;
		}
		if (mark == MARK_ALONE && in.at[i] == '\n') {
			*used = i + 1;
			return refuse(r, i + 1, ST_BAD);
		}
	}
	*used = in.len;
	r->skipped += in.len;
	return ST_MORE;
}

static enum st scan(struct line_reader *r, struct span in, struct span *line, size_t *used)
{
	size_t i = r->scanned;

	for (; i < in.len && i < r->max; i++) {
		enum line_mark mark = mark_at(in, i);

		if (mark == MARK_NONE)
			continue;
		if (mark == MARK_WAIT)
			break;
		if (mark == MARK_ALONE) {
			*used = i + 1;
			return refuse(r, i + 1, ST_BAD);
		}
		if (i + 2 > r->max)
			break;
		*line = span_cut(in, i);
		*used = i + 2;
		r->scanned = 0;
		r->skipped = 0;
		return ST_OK;
	}
	if (in.len >= r->max) {
		*used = i; /* an end of line right here is left for skip() to find */
		return refuse(r, i, ST_TOOBIG);
	}
	r->scanned = i;
	return ST_MORE;
}

enum st line_take(struct line_reader *r, struct span in, struct span *line, size_t *used)
{
	size_t before = 0;
	enum st st;

	*used = 0;
	if (r->skipping) {
		st = skip(r, in, &before);
		*used = before;
		if (st != ST_OK)
			return st;
		in = span_skip(in, before);
		*used = 0;
	}
	st = scan(r, in, line, used);
	*used += before;
	return st;
}
