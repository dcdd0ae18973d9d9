#include "proto/smtp/data.h"

#include <assert.h>

/* Offset from `i` on of the first byte that needs a thought inside a line, or in.len. */
static size_t plain_end(struct span in, size_t i)
{
	while (i < in.len && in.at[i] != '\r' && in.at[i] != '\n' && in.at[i] != '\0')
		i++;
	return i;
}

/* One byte inside a line or behind a CR: all of these are passed on. */
static void note(struct smtp_data *d, char c)
{
	bool after_cr = d->state == SMTP_DATA_CR;

	if (after_cr && c == '\n') {
		d->state = SMTP_DATA_LINE;
		return;
	}
	if (after_cr)
		d->faults |= SMTP_BARE_CR;
	if (c == '\n')
		d->faults |= SMTP_BARE_LF;
	if (c == '\0')
		d->faults |= SMTP_NUL;
	d->state = c == '\r' ? SMTP_DATA_CR : SMTP_DATA_TEXT;
}

/* Pass on bytes up to the next dot at the start of a line. */
static size_t run_len(struct smtp_data *d, struct span in)
{
	size_t i = 0;

	while (i < in.len) {
		if (d->state == SMTP_DATA_LINE && in.at[i] == '.')
			break;
		if (d->state == SMTP_DATA_TEXT) {
			i = plain_end(in, i);
			if (i == in.len)
				break;
		}
		note(d, in.at[i++]);
	}
	return i;
}

/* What comes behind a dot at the start of a line.  True when the byte was used up. */
static bool behind_dot(struct smtp_data *d, char c, struct span *out)
{
	if (d->state == SMTP_DATA_DOT && c == '\r') {
		d->state = SMTP_DATA_DOT_CR;
		return true;
	}
	if (d->state == SMTP_DATA_DOT_CR && c == '\n') {
		d->state = SMTP_DATA_END;
		return true;
	}
	/* The dot was stuffing.  A CR held back with it belongs to the message, and stands alone unless
	 * c is its LF, which the branch above had. */
	if (d->state == SMTP_DATA_DOT_CR) {
		*out = SPAN("\r");
		d->octets++;
		d->state = SMTP_DATA_CR;
	} else {
		d->state = SMTP_DATA_TEXT;
	}
	return false;
}

enum st smtp_data_take(struct smtp_data *d, struct span in, size_t *used, struct span *out)
{
	size_t i = 0, n;

	assert(in.len > 0 && d->state != SMTP_DATA_END);
	*out = span_of(in.at, 0);
	while (i < in.len) {
		if (d->state == SMTP_DATA_LINE && in.at[i] == '.') {
			d->state = SMTP_DATA_DOT;
			i++;
			continue;
		}
		if (d->state != SMTP_DATA_DOT && d->state != SMTP_DATA_DOT_CR)
			break;
		i += behind_dot(d, in.at[i], out);
		if (d->state == SMTP_DATA_END) {
			*used = i;
			return ST_OK;
		}
		if (out->len > 0) {
			*used = i; /* the held CR goes out by itself */
			return ST_MORE;
		}
	}
	n = run_len(d, span_skip(in, i));
	*out = span_of(in.at + i, n);
	d->octets += n;
	*used = i + n;
	return ST_MORE;
}

void smtp_text_look(struct smtp_text *t, struct span in)
{
	for (size_t i = 0; i < in.len; i++) {
		char c = in.at[i];

		if (t->cr != (c == '\n'))
			t->faults |= t->cr ? SMTP_BARE_CR : SMTP_BARE_LF;
		if (c == '\0')
			t->faults |= SMTP_NUL;
		t->cr = c == '\r';
	}
}

void smtp_text_end(struct smtp_text *t)
{
	if (t->cr)
		t->faults |= SMTP_BARE_CR;
	t->cr = false;
}
