/* charset.c - any charset to UTF-8. */
#include "mime/decode.h"
#include "mime/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

#define NAME_MAX_LEN 40
#define HELD_MAX     16

struct mime_charset {
	enum { CHARSET_UTF8, CHARSET_1252, CHARSET_ICONV } kind;
	iconv_t iconv;
	struct utf8_stream utf8;
	char held[HELD_MAX]; /* an unfinished character, for iconv */
	size_t nheld;
};

/* Names that mean something else in real mail than they say, or that iconv doesn't know. */
static const struct {
	const char *name;
	const char *iconv; /* NULL: done here */
	int kind;
} known[] = {
	{ "utf-8", NULL, CHARSET_UTF8 },
	{ "utf8", NULL, CHARSET_UTF8 },
	{ "us-ascii", NULL, CHARSET_UTF8 },
	{ "ascii", NULL, CHARSET_UTF8 },
	{ "ansi_x3.4-1968", NULL, CHARSET_UTF8 },
	{ "unknown-8bit", NULL, CHARSET_UTF8 },
	{ "iso-8859-1", NULL, CHARSET_1252 },
	{ "iso8859-1", NULL, CHARSET_1252 },
	{ "iso_8859-1", NULL, CHARSET_1252 },
	{ "latin1", NULL, CHARSET_1252 },
	{ "windows-1252", NULL, CHARSET_1252 },
	{ "cp1252", NULL, CHARSET_1252 },
	{ "gb2312", "GB18030", CHARSET_ICONV },
	{ "gbk", "GB18030", CHARSET_ICONV },
	{ "x-gbk", "GB18030", CHARSET_ICONV },
	{ "ks_c_5601-1987", "CP949", CHARSET_ICONV },
	{ "euc-kr", "CP949", CHARSET_ICONV },
	{ "shift_jis", "CP932", CHARSET_ICONV },
	{ "shift-jis", "CP932", CHARSET_ICONV },
	{ "x-sjis", "CP932", CHARSET_ICONV },
	{ "iso-8859-8-i", "ISO-8859-8", CHARSET_ICONV },
	{ "unicode-1-1-utf-7", "UTF-7", CHARSET_ICONV },
	{ "windows-874", "CP874", CHARSET_ICONV },
	{ "x-mac-roman", "MACINTOSH", CHARSET_ICONV },
};

/* What 0x80-0x9F are in windows-1252; 0 where it has nothing. */
static const uint16_t high_1252[32] = {
	0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
	0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
	0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178,
};

static void put_1252(struct buf *out, unsigned char c)
{
	uint32_t cp = c >= 0x80 && c < 0xA0 ? high_1252[c - 0x80] : c;

	utf8_put(out, cp || !c ? cp : 0xFFFD);
}

/* The name goes to iconv_open: letters, digits and a few signs, so that nobody adds //SUFFIXES. */
static bool plain_name(struct span name, char out[NAME_MAX_LEN + 1])
{
	if (name.len == 0 || name.len > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c && strchr("-_.:+()", c))))
			return false;
		out[i] = c;
	}
	out[name.len] = '\0';
	return true;
}

static bool charset_open(struct mime_charset *c, struct span name)
{
	char text[NAME_MAX_LEN + 1];
	const char *iconv_name = text;

	*c = (struct mime_charset){ .kind = CHARSET_ICONV };
	name = span_trim(name);
	if (!plain_name(name, text))
		return false;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (span_ieq(name, span_str(known[i].name))) {
			c->kind = known[i].kind;
			iconv_name = known[i].iconv;
		}
	if (c->kind != CHARSET_ICONV)
		return true;
	c->iconv = iconv_open("UTF-8", iconv_name);
	return c->iconv != (iconv_t)-1; // NOLINT: iconv's own way to fail
}

static void charset_close(struct mime_charset *c)
{
	if (c->kind == CHARSET_ICONV)
		iconv_close(c->iconv);
}

/* A module stays loaded while one descriptor of it is open: these are never closed. */
size_t mime_charsets_preload(void)
{
	static const char *const usual[] = {
		"ISO-8859-2",   "ISO-8859-3",   "ISO-8859-4",   "ISO-8859-5",   "ISO-8859-6",
		"ISO-8859-7",   "ISO-8859-8",   "ISO-8859-9",   "ISO-8859-10",  "ISO-8859-13",
		"ISO-8859-14",  "ISO-8859-15",  "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1253",
		"WINDOWS-1254", "WINDOWS-1255", "WINDOWS-1256", "WINDOWS-1257", "WINDOWS-1258",
		"CP874",        "KOI8-R",       "KOI8-U",       "MACINTOSH",    "GB18030",
		"BIG5",         "BIG5-HKSCS",   "CP949",        "ISO-2022-KR",  "CP932",
		"EUC-JP",       "ISO-2022-JP",  "TIS-620",      "UTF-7",        "UTF-16",
	};
	static iconv_t kept[sizeof usual / sizeof usual[0]];
	size_t missing = 0;

	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		kept[i] = iconv_open("UTF-8", usual[i]);
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		missing += kept[i] == (iconv_t)-1; // NOLINT: iconv's own way to fail
	return missing;
}

bool mime_charset_known(struct span name)
{
	struct mime_charset c;
	bool known_one = charset_open(&c, name);

	if (known_one)
		charset_close(&c);
	return known_one;
}

struct mime_charset *mime_charset_new(struct span name)
{
	struct mime_charset *c = malloc(sizeof *c);

	if (c && !charset_open(c, name)) {
		free(c);
		return NULL;
	}
	return c;
}

void mime_charset_free(struct mime_charset *c)
{
	if (!c)
		return;
	charset_close(c);
	free(c);
}

static void feed_utf8(struct mime_charset *c, struct span in, struct buf *out)
{
	uint32_t cp;

	while (!out->failed) {
		size_t run = 0;

		while (c->utf8.nheld == 0 && run < in.len && !(in.at[run] & 0x80))
			run++;
		buf_add(out, in.at, run);
		in = span_skip(in, run);
		if (!utf8_next(&c->utf8, &in, &cp))
			break;
		if (cp & UTF8_BAD)
			put_1252(out, cp & 0xFF);
		else
			utf8_put(out, cp);
	}
}

/* One piece through iconv; what is left of it (an unfinished character) is returned. */
static struct span iconv_piece(struct mime_charset *c, struct span in, struct buf *out)
{
	char *from = (char *)(uintptr_t)in.at; /* iconv only reads it */
	size_t left = in.len;

	while (left > 0 && !out->failed) {
		char piece[512], *to = piece;
		size_t room = sizeof piece;

		if (iconv(c->iconv, &from, &left, &to, &room) != (size_t)-1)
			errno = 0;
		buf_add(out, piece, (size_t)(to - piece));
		if (errno == EINVAL)
			break;
		if (errno == EILSEQ && left > 0) {
			utf8_put(out, 0xFFFD);
			from++;
			left--;
		}
	}
	return span_of(from, left);
}

static void feed_iconv(struct mime_charset *c, struct span in, struct buf *out)
{
	struct span left;

	/* First the held bytes, with one more at a time until they make a character. */
	while (c->nheld > 0 && in.len > 0 && !out->failed) {
		c->held[c->nheld++] = in.at[0];
		in = span_skip(in, 1);
		left = iconv_piece(c, span_of(c->held, c->nheld), out);
		if (left.len == HELD_MAX) { /* no charset has characters that long */
			utf8_put(out, 0xFFFD);
			left.len = 0;
		}
		memmove(c->held, left.at, left.len);
		c->nheld = left.len;
	}
	left = iconv_piece(c, in, out);
	if (left.len >= HELD_MAX || out->failed)
		return;
	if (c->nheld == 0 && left.len > 0) {
		memcpy(c->held, left.at, left.len);
		c->nheld = left.len;
	}
}

void mime_charset_feed(struct mime_charset *c, struct span in, struct buf *out)
{
	switch (c->kind) {
	case CHARSET_UTF8:
		feed_utf8(c, in, out);
		break;
	case CHARSET_1252:
		for (size_t i = 0; i < in.len && !out->failed; i++)
			put_1252(out, (unsigned char)in.at[i]);
		break;
	case CHARSET_ICONV:
		feed_iconv(c, in, out);
		break;
	}
}

void mime_charset_end(struct mime_charset *c, struct buf *out)
{
	char piece[64], *to = piece;
	size_t room = sizeof piece;
	uint32_t cp;

	while (utf8_flush(&c->utf8, &cp))
		put_1252(out, cp & 0xFF);
	if (c->kind != CHARSET_ICONV)
		return;
	if (c->nheld > 0)
		utf8_put(out, 0xFFFD);
	c->nheld = 0;
	/* Some charsets hold a character back until they know what follows. */
	iconv(c->iconv, NULL, NULL, &to, &room);
	buf_add(out, piece, (size_t)(to - piece));
}

bool mime_to_utf8(struct span charset, struct span bytes, struct buf *out)
{
	struct mime_charset c;

	if (!charset_open(&c, charset))
		return false;
	mime_charset_feed(&c, bytes, out);
	mime_charset_end(&c, out);
	charset_close(&c);
	return true;
}

/* ---- encoding and charset in a row ---- */

struct mime_text {
	struct mime_decoder decoder;
	struct mime_charset charset;
	struct buf bytes; /* decoded, not yet converted; empty between calls */
};

#define TEXT_PIECE 16384

struct mime_text *mime_text_new(struct span encoding, struct span charset)
{
	struct mime_text *t = malloc(sizeof *t);

	if (!t)
		return NULL;
	mime_decoder_begin(&t->decoder, mime_encoding(encoding));
	t->bytes = BUF_MAX(2 * TEXT_PIECE);
	if (charset.len == 0)
		charset = SPAN("us-ascii");
	if (!charset_open(&t->charset, charset))
		charset_open(&t->charset, SPAN("windows-1252"));
	return t;
}

void mime_text_free(struct mime_text *t)
{
	if (!t)
		return;
	charset_close(&t->charset);
	buf_free(&t->bytes);
	free(t);
}

static void convert_decoded(struct mime_text *t, struct buf *utf8)
{
	mime_charset_feed(&t->charset, buf_get(&t->bytes), utf8);
	if (t->bytes.failed)
		utf8->failed = true;
	buf_clear(&t->bytes);
}

void mime_text_feed(struct mime_text *t, struct span in, struct buf *utf8)
{
	while (in.len > 0 && !utf8->failed) {
		struct span piece = span_cut(in, TEXT_PIECE);

		in = span_skip(in, piece.len);
		mime_decoder_feed(&t->decoder, piece, &t->bytes);
		convert_decoded(t, utf8);
	}
}

void mime_text_end(struct mime_text *t, struct buf *utf8)
{
	mime_decoder_end(&t->decoder, &t->bytes);
	convert_decoded(t, utf8);
	mime_charset_end(&t->charset, utf8);
}
