/* section.c - section paths, RFC 3501 6.4.5. */
#include "mime/structure.h"

/* Where a path has led: to a message (the whole one at the start), or by a number to a part.  A message
 * that is no multipart has its own body as part 1. */
struct place {
	uint32_t part;
	bool is_message;
	bool made_up; /* part 1 of a multipart that has none: the empty text of its body structure */
};

static bool step(const struct mime_tree *t, struct place *at, uint32_t n)
{
	const struct mime_part *p = &t->parts[at->part];
	uint32_t child;

	if (at->made_up || n == 0)
		return false;
	if (!at->is_message && p->kind == MIME_MESSAGE) {
		at->part = p->first_child;
		at->is_message = true;
		p = &t->parts[at->part];
	}
	if (p->kind != MIME_MULTIPART) {
		bool own_body = at->is_message && n == 1;

		at->is_message = false;
		return own_body;
	}
	at->is_message = false;
	at->made_up = n == 1 && p->first_child == MIME_NONE;
	if (at->made_up)
		return true;
	child = p->first_child;
	while (child != MIME_NONE && --n > 0)
		child = t->parts[child].next;
	at->part = child;
	return child != MIME_NONE;
}

static enum st whole(const struct mime_tree *t, const struct place *at, bool numbered,
		     struct mime_section *out)
{
	const struct mime_part *p = &t->parts[at->part];

	if (numbered)
		*out = (struct mime_section){ .at = mime_body_at(p),
					      .len = at->made_up ? 0 : p->body_len,
					      .part = at->part,
					      .what = MIME_SECTION_PART };
	else
		*out = (struct mime_section){ .len = p->header_len + p->body_len,
					      .part = MIME_NONE,
					      .what = MIME_SECTION_ALL };
	return ST_OK;
}

static enum st mime_header(const struct mime_tree *t, const struct place *at, bool numbered,
			   struct mime_section *out, struct err *err)
{
	const struct mime_part *p = &t->parts[at->part];

	if (!numbered)
		return fail(err, ST_BAD, "section: MIME needs a part's number");
	*out = (struct mime_section){ .at = p->header_at,
				      .len = at->made_up ? 0 : p->header_len,
				      .part = at->part,
				      .what = MIME_SECTION_MIME };
	return ST_OK;
}

/* HEADER and TEXT: of the message, or of the message inside a message/rfc822 part. */
static enum st of_message(const struct mime_tree *t, const struct place *at, bool header,
			  struct mime_section *out, struct err *err)
{
	const struct mime_part *p = &t->parts[at->part];
	uint32_t part = at->part;

	if (!at->is_message) {
		if (at->made_up || p->kind != MIME_MESSAGE)
			return fail(err, ST_NOTFOUND, "section: that part is no message");
		part = p->first_child;
		p = &t->parts[part];
	}
	*out = (struct mime_section){ .at = header ? p->header_at : mime_body_at(p),
				      .len = header ? p->header_len : p->body_len,
				      .part = part,
				      .what = header ? MIME_SECTION_HEADER : MIME_SECTION_TEXT };
	return ST_OK;
}

enum st mime_section(const struct mime_tree *t, struct span path, struct mime_section *out,
		     struct err *err)
{
	struct place at = { .is_message = true };
	struct span all = path;
	bool numbered = false;

	while (path.len > 0) {
		struct span rest, word = span_split(path, '.', &rest);
		uint32_t n;

		if (!span_u32(word, &n)) {
			if (rest.at)
				break;
			if (span_ieq(word, SPAN("HEADER")) || span_ieq(word, SPAN("TEXT")))
				return of_message(t, &at, word.len == 6, out, err);
			if (span_ieq(word, SPAN("MIME")))
				return mime_header(t, &at, numbered, out, err);
			break;
		}
		if (word.at[0] == '0' || (rest.at && rest.len == 0))
			break;
		if (!step(t, &at, n))
			return fail(err, ST_NOTFOUND, "section " SPAN_FMT ": no such part",
				    SPAN_ARG(span_cut(all, 64)));
		numbered = true;
		path = rest;
	}
	if (path.len > 0)
		return fail(err, ST_BAD, "section " SPAN_FMT ": not understood",
			    SPAN_ARG(span_cut(all, 64)));
	return whole(t, &at, numbered, out);
}
