/* scan.c - the structure of a message while it streams past.
 *
 * The bytes are looked at line by line.  `open` is the stack of parts that the current line is inside of,
 * the message first; the topmost is either in its header or in its body.  A boundary line closes all parts above
 * its multipart.  Everything a part needs of its own header is collected while it is the topmost. */
#include "mime/scan.h"
#include "mime/content.h"
#include "mime/decode.h"
#include "mime/preview.h"
#include "mime/promote.h"

#include <stdlib.h>

#define LINE_KEEP     (BOUNDARY_MAX + 16) /* how much of a line must be seen to know a boundary */
#define PLAIN_CAPTURE 4096                /* how much of a body the preview may need */
#define HTML_CAPTURE  32768

struct open_part {
	uint32_t part, last_child;
	struct span boundary; /* absent: none, or closed */
	uint64_t body_lines;  /* lines of the message in front of its body */
};

/* The beginning of the first plain and the first HTML text. */
struct capture {
	uint32_t part; /* MIME_NONE: not found yet */
	struct buf bytes;
};

struct mime_scan {
	struct mime_limits limits;
	struct pool *pool;
	struct mime_part *parts;
	size_t count, cap;
	struct open_part *open;
	uint32_t depth; /* how many are open; the topmost is open[depth - 1] */
	bool in_header;
	bool nomem;

	uint64_t at, lines; /* of the whole message so far */
	unsigned flags;
	char last; /* byte */

	char line[LINE_KEEP]; /* the beginning of the current line, when it came in pieces */
	uint64_t line_len;    /* of the current line so far, all pieces */
	unsigned eol_before;  /* length of the line end in front of the current line */

	struct buf top, header; /* the message's header, and the one of the part being read */
	size_t header_line;     /* where the current line begins in it */
	struct capture plain, html;
	struct capture *capturing; /* the topmost part's, or NULL */
	struct buf preview;
};

struct mime_scan *mime_scan_new(const struct mime_limits *limits)
{
	struct mime_scan *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->limits = limits ? *limits : MIME_LIMITS_DEFAULT;
	s->pool = pool_new("mime scan", s->limits.text);
	s->open = calloc(s->limits.depth + 2, sizeof *s->open);
	s->top = BUF_MAX(s->limits.top_header);
	s->header = BUF_MAX(s->limits.part_header);
	s->plain = (struct capture){ MIME_NONE, BUF_MAX(PLAIN_CAPTURE) };
	s->html = (struct capture){ MIME_NONE, BUF_MAX(HTML_CAPTURE) };
	s->preview = BUF_MAX(2 * MIME_PREVIEW_MAX);
	if (!s->pool || !s->open) {
		mime_scan_free(s);
		return NULL;
	}
	return s;
}

void mime_scan_free(struct mime_scan *s)
{
	if (!s)
		return;
	pool_free(s->pool);
	free(s->parts);
	free(s->open);
	buf_free(&s->top);
	buf_free(&s->header);
	buf_free(&s->plain.bytes);
	buf_free(&s->html.bytes);
	buf_free(&s->preview);
	free(s);
}

/* ---- parts open and close ---- */

static struct open_part *topmost(struct mime_scan *s)
{
	return &s->open[s->depth - 1];
}

static struct mime_part *top_part(struct mime_scan *s)
{
	return &s->parts[topmost(s)->part];
}

static struct buf *header_buf(struct mime_scan *s)
{
	return s->depth == 1 ? &s->top : &s->header;
}

/* A part begins with its header at `at`, inside the topmost part. */
static void open_part(struct mime_scan *s, uint64_t at)
{
	uint32_t index = (uint32_t)s->count, parent = MIME_NONE;

	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 4;
		struct mime_part *parts = reallocarray(s->parts, cap, sizeof *parts);

		if (!parts) {
			s->nomem = true;
			return;
		}
		s->parts = parts;
		s->cap = cap;
	}
	s->count++;
	if (s->depth > 0) {
		struct open_part *up = topmost(s);

		parent = up->part;
		s->parts[parent].children++;
		if (up->last_child == MIME_NONE)
			s->parts[parent].first_child = index;
		else
			s->parts[up->last_child].next = index;
		up->last_child = index;
	}
	s->parts[index] = (struct mime_part){
		.parent = parent,
		.first_child = MIME_NONE,
		.next = MIME_NONE,
		.header_at = at,
	};
	s->open[s->depth++] = (struct open_part){ .part = index, .last_child = MIME_NONE };
	s->in_header = true;
	s->header.max = s->limits.part_header;
	buf_clear(header_buf(s));
	s->header_line = 0;
}

static bool is_attachment(const struct mime_part *p)
{
	if (p->kind == MIME_MULTIPART)
		return false;
	if (p->disposition.at)
		return span_ieq(p->disposition, SPAN("attachment"));
	return p->kind == MIME_LEAF && !p->id.at && p->parent != MIME_NONE;
}

/* A text part's body begins: is it the one for the preview? */
static void choose_capture(struct mime_scan *s, const struct mime_part *p)
{
	struct capture *c = NULL;

	if (p->kind != MIME_TEXT || is_attachment(p))
		return;
	if (mime_is(p, "text", "plain"))
		c = &s->plain;
	else if (mime_is(p, "text", "html"))
		c = &s->html;
	if (!c || c->part != MIME_NONE)
		return;
	c->part = topmost(s)->part;
	s->capturing = c;
}

/* May a part inside the topmost one be opened? */
static bool room_inside(const struct mime_scan *s)
{
	return s->count < s->limits.parts && s->depth <= s->limits.depth;
}

/* Containers: what the type says, if the limits allow. */
static void decide_kind(struct mime_scan *s, struct mime_part *p)
{
	bool multipart = mime_is(p, "multipart", NULL);
	struct span boundary = multipart ? mime_param(p, "boundary") : SPAN_NONE;

	if (!multipart && !mime_is(p, "message", "rfc822"))
		return;
	if (!room_inside(s)) {
		s->flags |= MIME_OVER_LIMIT;
		content_opaque(p);
		return;
	}
	if (!multipart) {
		p->kind = MIME_MESSAGE;
		return;
	}
	while (boundary.len > 0 && boundary.at[boundary.len - 1] == ' ')
		boundary.len--;
	if (boundary.len == 0 || boundary.len > BOUNDARY_MAX) {
		content_default(p); /* no multipart without one: RFC 2045 5.2 makes it text */
		p->kind = MIME_TEXT;
		return;
	}
	p->kind = MIME_MULTIPART;
	topmost(s)->boundary = boundary;
}

/* The envelope of a message inside. */
static void keep_envelope(struct mime_scan *s, struct mime_part *p)
{
	struct buf text = BUF_MAX(2 * MIME_ENVELOPE_MAX);

	mime_envelope(buf_get(&s->header), &text);
	if (!text.failed)
		p->envelope = pool_span(s->pool, buf_get(&text));
	if (!p->envelope.at)
		s->flags |= MIME_OVER_LIMIT;
	buf_free(&text);
}

/* The topmost part's header ends in front of `body`. */
static void end_header(struct mime_scan *s, uint64_t body)
{
	struct mime_part *p = top_part(s);
	const struct mime_part *up = p->parent == MIME_NONE ? NULL : &s->parts[p->parent];
	bool in_digest = up && up->kind == MIME_MULTIPART && mime_is(up, "multipart", "digest");

	s->in_header = false;
	p->header_len = body - p->header_at;
	topmost(s)->body_lines = s->lines;
	if (!content_read(buf_get(header_buf(s)), in_digest, s->pool, p))
		s->flags |= MIME_OVER_LIMIT;
	if (up && up->kind == MIME_MESSAGE)
		keep_envelope(s, p);
	decide_kind(s, p);
	choose_capture(s, p);
	if (is_attachment(p))
		s->flags |= MIME_HAS_ATTACH;
	if (p->kind == MIME_MESSAGE)
		open_part(s, body);
}

/* The topmost part ends in front of `end`; `lines` were before that. */
static void close_part(struct mime_scan *s, uint64_t end, uint64_t lines)
{
	struct open_part *o;
	struct mime_part *p;

	while (s->in_header && !s->nomem)
		end_header(s, end > top_part(s)->header_at ? end : top_part(s)->header_at);
	o = topmost(s);
	p = top_part(s);
	s->capturing = NULL;
	if (end > mime_body_at(p))
		p->body_len = end - mime_body_at(p);
	if (p->body_len > 0)
		p->lines = lines - o->body_lines;
	s->depth--;
}

/* ---- lines ---- */

/* Is the line (its beginning) this boundary, alone but for blanks?  *closing: with "--" behind it. */
static bool is_boundary(struct span line, struct span boundary, bool *closing)
{
	struct span rest = span_skip(line, 2);

	if (!boundary.at || !span_has_prefix(rest, boundary))
		return false;
	rest = span_skip(rest, boundary.len);
	*closing = span_has_prefix(rest, SPAN("--"));
	if (*closing)
		rest = span_skip(rest, 2);
	for (size_t i = 0; i < rest.len; i++)
		if (!strchr(" \t\r\n", rest.at[i]) || !rest.at[i])
			return false;
	return true;
}

/* A line that begins with "--": whose boundary is it?  The innermost that fits; MIME_NONE. */
static uint32_t boundary_of(const struct mime_scan *s, struct span line, bool *closing)
{
	for (uint32_t i = s->depth; i-- > 0;)
		if (is_boundary(line, s->open[i].boundary, closing))
			return i;
	return MIME_NONE;
}

/* A whole line of `len` bytes has passed; `line` is its beginning.  true: it was a boundary. */
static bool boundary_line(struct mime_scan *s, struct span line, uint64_t len)
{
	uint64_t start = s->at - len, end = start - s->eol_before;
	uint64_t lines = s->lines - 1;
	bool closing;
	uint32_t level = boundary_of(s, line, &closing);

	if (level == MIME_NONE)
		return false;
	if (!closing && s->count >= s->limits.parts) {
		s->flags |= MIME_OVER_LIMIT; /* the last part takes what follows */
		return false;
	}
	if (s->in_header)
		header_buf(s)->len = s->header_line;
	/* The line end in front belongs to the boundary, except behind a header: then the body is empty. */
	while (s->depth - 1 > level && !s->nomem)
		close_part(s, end, lines - 1);
	s->capturing = NULL;
	s->in_header = false;
	if (closing)
		s->open[level].boundary = SPAN_NONE;
	else
		open_part(s, s->at);
	return true;
}

/* A header over its limit is kept up to its last whole line. */
static void header_line_done(struct mime_scan *s)
{
	struct buf *b = header_buf(s);

	if (b->len == b->max) {
		b->len = b->max = s->header_line;
		s->flags |= MIME_OVER_LIMIT;
	}
	s->header_line = b->len;
}

static void line_done(struct mime_scan *s, struct span line, uint64_t len)
{
	bool empty = len <= 2 && (line.at[0] == '\n' || (len == 2 && line.at[0] == '\r'));

	s->lines++;
	if (len > 1 && line.at[0] == '-' && line.len > 1 && line.at[1] == '-' &&
	    boundary_line(s, line, len))
		return;
	if (s->in_header)
		header_line_done(s);
	if (s->in_header && empty)
		end_header(s, s->at);
}

static void keep_bytes(struct buf *b, struct span piece)
{
	size_t room = b->max - b->len;

	buf_span(b, span_cut(piece, room));
}

/* A piece of the current line; `ends` when its LF is the last byte. */
static void take_piece(struct mime_scan *s, struct span piece, bool ends)
{
	struct span line = span_cut(piece, LINE_KEEP);

	if (s->in_header)
		keep_bytes(header_buf(s), piece);
	else if (s->capturing)
		keep_bytes(&s->capturing->bytes, piece);
	s->at += piece.len;
	if (s->line_len > 0 || !ends) {
		if (s->line_len < LINE_KEEP) {
			struct span kept = span_cut(piece, LINE_KEEP - (size_t)s->line_len);

			memcpy(s->line + s->line_len, kept.at, kept.len);
		}
		s->line_len += piece.len;
		line = span_of(s->line, s->line_len < LINE_KEEP ? (size_t)s->line_len : LINE_KEEP);
	} else {
		s->line_len = piece.len;
	}
	if (ends) {
		line_done(s, line, s->line_len);
		s->line_len = 0;
	}
}

/* What kinds of bytes there are: a pass of its own, so that the line loop may jump. */
static void note_bytes(struct mime_scan *s, const char *at, size_t len)
{
	uint64_t all = 0, word;
	size_t i;

	for (i = 0; i + sizeof word <= len; i += sizeof word) {
		memcpy(&word, at + i, sizeof word);
		all |= word;
	}
	for (; i < len; i++)
		all |= (unsigned char)at[i];
	if (all & 0x8080808080808080u)
		s->flags |= MIME_HAS_8BIT;
	if (!(s->flags & MIME_HAS_NUL) && memchr(at, 0, len))
		s->flags |= MIME_HAS_NUL;
	if (s->last == '\r' && at[0] != '\n')
		s->flags |= MIME_HAS_BARE_CR;
	for (const char *cr = at; !(s->flags & MIME_HAS_BARE_CR); cr++) {
		cr = memchr(cr, '\r', (size_t)(at + len - cr));
		if (!cr || cr + 1 == at + len)
			break;
		if (cr[1] != '\n')
			s->flags |= MIME_HAS_BARE_CR;
	}
}

void mime_scan_feed(struct mime_scan *s, const void *bytes, size_t len)
{
	const char *at = bytes, *end = at + len;

	if (len == 0 || s->nomem)
		return;
	if (s->count == 0)
		open_part(s, 0);
	note_bytes(s, at, len);
	while (at < end && !s->nomem) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		size_t n = lf ? (size_t)(lf - at) + 1 : (size_t)(end - at);
		char before = n > 1 ? at[n - 2] : s->last;
		unsigned eol = !lf ? 0 : before == '\r' && s->line_len + n > 1 ? 2 : 1;

		if (eol == 1)
			s->flags |= MIME_HAS_BARE_LF;
		take_piece(s, span_of(at, n), lf != NULL);
		if (lf)
			s->eol_before = eol;
		at += n;
		s->last = at[-1];
	}
}

static void make_preview(struct mime_scan *s, const struct capture *c)
{
	const struct mime_part *p;

	if (c->part == MIME_NONE)
		return;
	p = &s->parts[c->part];
	preview_text(p, span_cut(buf_get(&c->bytes), (size_t)p->body_len), MIME_PREVIEW_MAX,
		     &s->preview);
}

enum st mime_scan_end(struct mime_scan *s, struct err *err)
{
	uint64_t last_line = s->line_len;

	if (s->last == '\r')
		s->flags |= MIME_HAS_BARE_CR;
	if (s->count == 0)
		open_part(s, 0);
	/* A boundary may be the last line and have no end. */
	if (last_line > 1 && s->line[0] == '-' && s->line[1] == '-') {
		s->lines++;
		boundary_line(
			s, span_of(s->line, last_line < LINE_KEEP ? (size_t)last_line : LINE_KEEP),
			last_line);
		s->lines--;
	}
	while (s->depth > 0 && !s->nomem)
		close_part(s, s->at, s->lines);
	if (!s->nomem)
		make_preview(s, &s->plain);
	if (!s->nomem && s->preview.len == 0)
		make_preview(s, &s->html);
	if (s->nomem || s->preview.failed)
		return fail(err, ST_NOMEM, "mime: out of memory after %zu parts", s->count);
	return ST_OK;
}

struct mime_tree mime_scan_tree(const struct mime_scan *s)
{
	return (struct mime_tree){ s->parts, s->count };
}

uint64_t mime_scan_size(const struct mime_scan *s)
{
	return s->at;
}

uint64_t mime_scan_lines(const struct mime_scan *s)
{
	return s->lines;
}

unsigned mime_scan_flags(const struct mime_scan *s)
{
	return s->flags;
}

struct span mime_scan_header(const struct mime_scan *s)
{
	return buf_get(&s->top);
}

struct span mime_scan_preview(const struct mime_scan *s)
{
	return buf_get(&s->preview);
}
