/* bodystructure.c - BODY and BODYSTRUCTURE, RFC 3501 7.4.2. */
#include "mime/structure.h"

static void put_params(const struct mime_param *params, uint32_t n, struct buf *out)
{
	if (n == 0) {
		buf_str(out, "NIL");
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		buf_char(out, i == 0 ? '(' : ' ');
		imap_nstring(params[i].name, out);
		buf_char(out, ' ');
		imap_nstring(params[i].value, out);
	}
	buf_char(out, ')');
}

/* disposition, language, location: the extension data that both kinds of body have. */
static void put_extension(const struct mime_part *p, struct buf *out)
{
	buf_char(out, ' ');
	if (p->disposition.at) {
		buf_char(out, '(');
		imap_nstring(p->disposition, out);
		buf_char(out, ' ');
		put_params(p->disposition_params, p->ndisposition_params, out);
		buf_char(out, ')');
	} else {
		buf_str(out, "NIL");
	}
	buf_char(out, ' ');
	for (uint32_t i = 0; i < p->nlanguages; i++) {
		buf_char(out, i == 0 ? '(' : ' ');
		imap_nstring(p->languages[i], out);
	}
	buf_str(out, p->nlanguages > 0 ? ") " : "NIL ");
	imap_nstring(p->location, out);
}

static void put_part(const struct mime_tree *t, const struct mime_part *p, bool extended,
		     struct buf *out);

/* A multipart must have a part (the grammar says so): one without gets an empty text. */
static void put_multipart(const struct mime_tree *t, const struct mime_part *p, bool extended,
			  struct buf *out)
{
	buf_char(out, '(');
	for (uint32_t i = p->first_child; i != MIME_NONE; i = t->parts[i].next)
		put_part(t, &t->parts[i], extended, out);
	if (p->first_child == MIME_NONE)
		buf_str(out,
			extended ? "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"
				 : "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)");
	buf_char(out, ' ');
	imap_nstring(p->subtype, out);
	if (extended) {
		buf_char(out, ' ');
		put_params(p->params, p->nparams, out);
		put_extension(p, out);
	}
	buf_char(out, ')');
}

static void put_single(const struct mime_tree *t, const struct mime_part *p, bool extended,
		       struct buf *out)
{
	buf_char(out, '(');
	imap_nstring(p->type, out);
	buf_char(out, ' ');
	imap_nstring(p->subtype, out);
	buf_char(out, ' ');
	put_params(p->params, p->nparams, out);
	buf_char(out, ' ');
	imap_nstring(p->id, out);
	buf_char(out, ' ');
	imap_nstring(p->description, out);
	buf_char(out, ' ');
	imap_nstring(p->encoding, out);
	buf_char(out, ' ');
	buf_u64(out, p->body_len);
	if (p->kind == MIME_MESSAGE) {
		const struct mime_part *inside = &t->parts[p->first_child];

		buf_char(out, ' ');
		buf_span(out, inside->envelope.at
				      ? inside->envelope
				      : SPAN("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"));
		buf_char(out, ' ');
		put_part(t, inside, extended, out);
	}
	if (p->kind == MIME_MESSAGE || p->kind == MIME_TEXT) {
		buf_char(out, ' ');
		buf_u64(out, p->lines);
	}
	if (extended) {
		buf_char(out, ' ');
		imap_nstring(p->md5, out);
		put_extension(p, out);
	}
	buf_char(out, ')');
}

/* The depth of the tree is bounded (scan limits, mime_tree_read): so is this recursion. */
static void put_part(const struct mime_tree *t, const struct mime_part *p, bool extended,
		     struct buf *out)
{
	if (p->kind == MIME_MULTIPART)
		put_multipart(t, p, extended, out);
	else
		put_single(t, p, extended, out);
}

void mime_bodystructure(const struct mime_tree *t, bool extended, struct buf *out)
{
	put_part(t, &t->parts[0], extended, out);
}
