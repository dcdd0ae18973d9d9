/* words.c - RFC 2047 encoded words. */
#include "mime/decode.h"
#include "mime/header.h"

/* Opening a charset may read files: a header that names a new one in every word gets only so many. */
#define OPENS_MAX 64
/* RFC 2047 says 75; real words are longer.  A bound keeps the search for a word's end linear. */
#define WORD_MAX  2048

struct word {
	struct span charset, text;
	enum mime_encoding encoding;
	size_t len;
};

/* Is there an encoded word at the start?  =?charset*language?B?text?= */
static bool word_at(struct span s, struct word *w)
{
	struct span rest, part;

	if (!span_has_prefix(s, SPAN("=?")))
		return false;
	s = span_cut(s, WORD_MAX);
	part = span_split(span_skip(s, 2), '?', &rest);
	w->charset = span_split(part, '*', &part);
	if (w->charset.len == 0 || rest.len < 2 || rest.at[1] != '?')
		return false;
	if (rest.at[0] == 'B' || rest.at[0] == 'b')
		w->encoding = MIME_BASE64;
	else if (rest.at[0] == 'Q' || rest.at[0] == 'q')
		w->encoding = MIME_QUOTED_PRINTABLE;
	else
		return false;
	w->text = span_skip(rest, 2);
	for (size_t i = 0; i + 1 < w->text.len; i++)
		if (w->text.at[i] == '?' && w->text.at[i + 1] == '=') {
			w->text.len = i;
			w->len = (size_t)(w->text.at + i + 2 - s.at);
			return true;
		}
	return false;
}

/* The bytes of a word; in Q a "_" is a blank, and a blank (which should not be there) is one too. */
static void word_bytes(const struct word *w, struct buf *out)
{
	struct mime_decoder d;

	mime_decoder_begin(&d, w->encoding);
	for (size_t i = 0; i < w->text.len; i++) {
		struct span one = span_of(w->text.at + i, 1);
		bool blank = w->encoding == MIME_QUOTED_PRINTABLE && one.at[0] == '_';

		mime_decoder_feed(&d, blank ? SPAN("=20") : one, out);
	}
	mime_decoder_end(&d, out);
}

struct decoding {
	struct buf *out;
	struct mime_charset *charset; /* of the last word; often the next one's too */
	struct span charset_name;
	unsigned opens;
};

/* Make d->charset the word's.  What an unfinished character left in the old one comes out. */
static bool open_charset(struct decoding *d, const struct word *w)
{
	struct mime_charset *next;

	if (d->charset && span_ieq(d->charset_name, w->charset))
		return true;
	next = d->opens++ < OPENS_MAX ? mime_charset_new(w->charset) : NULL;
	if (!next)
		return false;
	if (d->charset)
		mime_charset_end(d->charset, d->out);
	mime_charset_free(d->charset);
	d->charset = next;
	d->charset_name = w->charset;
	return true;
}

static void add_plain(struct decoding *d, struct span text)
{
	if (d->charset)
		mime_charset_end(d->charset, d->out);
	mime_to_utf8(SPAN("utf-8"), text, d->out);
}

/* A character may be cut between two words of one charset (forbidden, and common): the charset goes on
 * until something else stands between words. */
static void add_word(struct decoding *d, const struct word *w)
{
	struct buf bytes = BUF_MAX(w->text.len + 8);

	word_bytes(w, &bytes);
	mime_charset_feed(d->charset, buf_get(&bytes), d->out);
	buf_free(&bytes);
}

static bool all_blank(struct span s)
{
	return span_trim(s).len == 0;
}

static void decode_words(struct span text, struct buf *out)
{
	struct decoding d = { .out = out };
	size_t plain = 0; /* where the text that waits to be added begins */
	bool behind_word = false;
	struct word w;

	for (size_t i = 0; i < text.len && !out->failed;) {
		struct span before = span_of(text.at + plain, i - plain);

		if (text.at[i] != '=' || !word_at(span_skip(text, i), &w)) {
			i++;
			continue;
		}
		i += w.len;
		if (!open_charset(&d, &w))
			continue; /* plain text, then */
		/* Blanks between two words are not shown. */
		if (before.len > 0 && !(behind_word && all_blank(before)))
			add_plain(&d, before);
		add_word(&d, &w);
		behind_word = true;
		plain = i;
	}
	add_plain(&d, span_skip(text, plain));
	mime_charset_free(d.charset);
}

void mime_decode_text(struct span raw, struct buf *out)
{
	struct buf flat = BUF_MAX(raw.len + 1);
	size_t start = out->len;

	mime_unfold(raw, &flat);
	decode_words(buf_get(&flat), out);
	buf_free(&flat);
	for (size_t i = start; i < out->len; i++)
		if ((unsigned char)out->at[i] < ' ' || out->at[i] == 0x7F)
			out->at[i] = ' ';
}
