/* transfer.c - Content-Transfer-Encoding, RFC 2045 section 6. */
#include "mime/decode.h"

enum mime_encoding mime_encoding(struct span name)
{
	name = span_trim(name);
	if (span_ieq(name, SPAN("base64")))
		return MIME_BASE64;
	if (span_ieq(name, SPAN("quoted-printable")))
		return MIME_QUOTED_PRINTABLE;
	return MIME_IDENTITY;
}

void mime_decoder_begin(struct mime_decoder *d, enum mime_encoding encoding)
{
	*d = (struct mime_decoder){ .encoding = encoding };
}

/* ---- base64 ---- */

static int base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void base64_feed(struct mime_decoder *d, struct span in, struct buf *out)
{
	char *to = buf_room(out, in.len / 4 * 3 + 3);

	if (!to)
		return;
	for (size_t i = 0; i < in.len; i++) {
		int v = base64_value((unsigned char)in.at[i]);

		/* Padding ends a run; what follows is a run of its own (concatenated encodings
		 * are common), so its bits begin anew. */
		if (in.at[i] == '=')
			d->nbits = 0;
		if (v < 0)
			continue;
		d->bits = d->bits << 6 | (uint32_t)v;
		d->nbits += 6;
		if (d->nbits >= 8) {
			d->nbits -= 8;
			*to++ = (char)(d->bits >> d->nbits);
		}
	}
	out->len = (size_t)(to - out->at);
}

/* ---- quoted-printable ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static void qp_give_held(struct mime_decoder *d, struct buf *out)
{
	buf_add(out, d->hold, d->held);
	d->held = 0;
}

/* Blanks are held: at a line's end they are no part of the text.  true: the byte was used up. */
static bool qp_behind_blanks(struct mime_decoder *d, char c, struct buf *out)
{
	if (c == '\n' || c == '\r') {
		d->held = 0;
		return false;
	}
	if ((c != ' ' && c != '\t') || d->held == sizeof d->hold)
		qp_give_held(d, out);
	if (c != ' ' && c != '\t')
		return false;
	d->hold[d->held++] = c;
	return true;
}

/* "=" is held, and perhaps one digit, or the blanks and CR of a soft line break. */
static bool qp_behind_equals(struct mime_decoder *d, char c, struct buf *out)
{
	bool digit_held = d->held == 2 && hex_value(d->hold[1]) >= 0;

	if (digit_held && hex_value(c) >= 0) {
		buf_char(out, (char)(hex_value(d->hold[1]) << 4 | hex_value(c)));
		d->held = 0;
		return true;
	}
	if (!digit_held && c == '\n') {
		d->held = 0;
		return true;
	}
	if (!digit_held && d->held < sizeof d->hold &&
	    (c == ' ' || c == '\t' || c == '\r' || (d->held == 1 && hex_value(c) >= 0))) {
		d->hold[d->held++] = c;
		return true;
	}
	qp_give_held(d, out); /* no encoding at all: it stays as it is */
	return false;
}

static bool qp_held_step(struct mime_decoder *d, char c, struct buf *out)
{
	return d->hold[0] == '=' ? qp_behind_equals(d, c, out) : qp_behind_blanks(d, c, out);
}

static void qp_feed(struct mime_decoder *d, struct span in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len && !out->failed) {
		size_t run = i;
		char c = in.at[i];

		if (d->held > 0 && qp_held_step(d, c, out)) {
			i++;
			continue;
		}
		while (run < in.len && in.at[run] != '=' && in.at[run] != ' ' && in.at[run] != '\t')
			run++;
		buf_add(out, in.at + i, run - i);
		i = run;
		if (i < in.len)
			d->hold[d->held++] = in.at[i++];
	}
}

/* ---- */

void mime_decoder_feed(struct mime_decoder *d, struct span in, struct buf *out)
{
	switch (d->encoding) {
	case MIME_IDENTITY:
		buf_span(out, in);
		break;
	case MIME_BASE64:
		base64_feed(d, in, out);
		break;
	case MIME_QUOTED_PRINTABLE:
		qp_feed(d, in, out);
		break;
	}
}

void mime_decoder_end(struct mime_decoder *d, struct buf *out)
{
	/* "=" at the very end is a soft line break that lost its line end. */
	if (d->held > 0 && (d->hold[0] != '=' || (d->held == 2 && hex_value(d->hold[1]) >= 0)))
		qp_give_held(d, out);
	d->held = 0;
	d->nbits = 0;
}
