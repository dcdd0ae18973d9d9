#include "mime/address.h"
#include "mime/header.h"
#include "mime/token.h"

/* What ends a word outside quotes. */
#define SPECIALS "()<>[]:;@,.\""

void mime_addresses_begin(struct mime_address_iter *it, struct span raw)
{
	size_t max = raw.len + 16; /* no field is longer than all of them */

	*it = (struct mime_address_iter){
		.rest = raw,
		.name = BUF_MAX(max),
		.adl = BUF_MAX(max),
		.mailbox = BUF_MAX(max),
		.host = BUF_MAX(max),
		.comment = BUF_MAX(max),
	};
}

void mime_addresses_end(struct mime_address_iter *it)
{
	buf_free(&it->name);
	buf_free(&it->adl);
	buf_free(&it->mailbox);
	buf_free(&it->host);
	buf_free(&it->comment);
}

static char peek(const struct mime_address_iter *it)
{
	return it->rest.len > 0 ? it->rest.at[0] : '\0';
}

static void skip_char(struct mime_address_iter *it)
{
	it->rest = span_skip(it->rest, 1);
}

/* The text of a buffer as a field that is there, be it empty. */
static struct span present(const struct buf *b)
{
	return b->len > 0 ? buf_get(b) : span_of("", 0);
}

/* An encoded word is one atom, whatever commas and brackets a careless writer left inside it. */
static struct span take_encoded_word(struct span *s)
{
	struct span whole = *s;
	unsigned marks = 0;

	for (size_t i = 2; i < s->len && i < 2048 && !token_is_blank(s->at[i]); i++) {
		if (s->at[i] == '?')
			marks++;
		if (marks >= 3 && s->at[i] == '=' && s->at[i - 1] == '?' && i > 6) {
			whole = span_cut(whole, i + 1);
			*s = span_skip(*s, i + 1);
			return whole;
		}
	}
	return SPAN_NONE;
}

/* A word (atom or quoted string) or one special that stands where a word should be. */
static void take_word(struct mime_address_iter *it, struct buf *out)
{
	struct span atom = SPAN_NONE;

	if (peek(it) == '"') {
		token_quoted(&it->rest, out);
		return;
	}
	if (span_has_prefix(it->rest, SPAN("=?")))
		atom = take_encoded_word(&it->rest);
	if (!atom.at)
		atom = token_take(&it->rest, SPECIALS);
	if (atom.len == 0) {
		atom = span_cut(it->rest, 1);
		skip_char(it);
	}
	buf_span(out, atom);
}

/* Behind "@": labels and dots, or a [literal], up to what can't belong to a domain. */
static void take_domain(struct mime_address_iter *it, struct buf *out)
{
	bool behind_dot = true;

	for (;;) {
		bool blank = token_skip(&it->rest, &it->comment);
		char c = peek(it);
		size_t before = out->len;

		if (c == '[') {
			size_t end = span_find(it->rest, ']');
			struct span literal = span_cut(it->rest, end == SIZE_MAX ? end : end + 1);

			buf_span(out, literal);
			it->rest = span_skip(it->rest, literal.len);
		} else if (c == '.') {
			buf_char(out, c);
			skip_char(it);
		} else {
			if (blank && !behind_dot)
				return; /* a new word: no part of this domain */
			buf_span(out, token_take(&it->rest, SPECIALS));
		}
		if (out->len == before)
			return;
		behind_dot = c == '.';
	}
}

/* "@a,@b:" in front of the address inside <>: RFC 3501's at-domain-list. */
static void take_route(struct mime_address_iter *it)
{
	struct span start = it->rest;

	while (token_skip(&it->rest, NULL) || peek(it) == '@' || peek(it) == ',') {
		if (peek(it) == '@' || peek(it) == ',') {
			buf_char(&it->adl, peek(it));
			skip_char(it);
			if (it->adl.at && it->adl.at[it->adl.len - 1] == '@')
				take_domain(it, &it->adl);
		}
	}
	if (peek(it) == ':') {
		skip_char(it);
		return;
	}
	buf_clear(&it->adl); /* it was no route */
	it->rest = start;
}

/* A further "@": what looked like the domain was part of the mailbox. */
static void host_was_mailbox(struct mime_address_iter *it)
{
	buf_char(&it->mailbox, '@');
	buf_span(&it->mailbox, buf_get(&it->host));
	buf_clear(&it->host);
}

/* "<" ... ">", the brackets included; a missing ">" ends at a comma or at the end. */
static void take_angle(struct mime_address_iter *it)
{
	bool at_seen = false;

	skip_char(it);
	buf_clear(&it->mailbox);
	buf_clear(&it->host);
	token_skip(&it->rest, &it->comment);
	if (peek(it) == '@')
		take_route(it);
	for (;;) {
		token_skip(&it->rest, &it->comment);
		if (it->rest.len == 0 || peek(it) == '>' || peek(it) == ',')
			break;
		if (peek(it) == '@') {
			if (at_seen)
				host_was_mailbox(it);
			at_seen = true;
			skip_char(it);
			take_domain(it, &it->host);
		} else if (at_seen) {
			skip_char(it); /* behind the domain: noise */
		} else {
			take_word(it, &it->mailbox);
		}
	}
	if (peek(it) == '>')
		skip_char(it);
	/* What stands behind it up to the next address is noise, or a comment. */
	while (it->rest.len > 0 && peek(it) != ',' && peek(it) != ';') {
		if (!token_skip(&it->rest, &it->comment))
			take_word(it, &(struct buf){ 0 });
	}
}

/* The words in front of "<", ":", "@", "," or the end: in it->name all of them with single blanks, in
 * it->mailbox the last run of words that dots join.  Returns how much of the name is in front of that run. */
static size_t take_phrase(struct mime_address_iter *it)
{
	size_t name_end = 0;
	bool joins = false; /* the next word goes on with the run */

	for (;;) {
		bool blank = token_skip(&it->rest, &it->comment);
		char c = peek(it);

		if (it->rest.len == 0 || (c && strchr("<,;@", c)) || (c == ':' && !it->in_group))
			return name_end;
		if (!joins && c != '.') {
			if (blank || it->mailbox.len == 0) {
				name_end = it->name.len;
				buf_clear(&it->mailbox);
			}
		}
		if (blank && it->name.len > 0)
			buf_char(&it->name, ' ');
		size_t from = it->name.len;

		take_word(it, &it->name);
		if (it->name.len > from)
			buf_add(&it->mailbox, it->name.at + from, it->name.len - from);
		joins = c == '.';
	}
}

static void clear_fields(struct mime_address_iter *it)
{
	buf_clear(&it->name);
	buf_clear(&it->adl);
	buf_clear(&it->mailbox);
	buf_clear(&it->host);
	buf_clear(&it->comment);
}

static void give_address(const struct mime_address_iter *it, struct mime_address *out)
{
	struct span name = span_trim(buf_get(&it->name));

	if (name.len == 0)
		name = span_trim(buf_get(&it->comment));
	*out = (struct mime_address){
		.kind = MIME_ADDRESS,
		.name = name.len > 0 ? name : SPAN_NONE,
		.adl = it->adl.len > 0 ? buf_get(&it->adl) : SPAN_NONE,
		.mailbox = present(&it->mailbox),
		.host = present(&it->host),
	};
}

/* "user@host" without brackets, the words in front of it its name; or it was a name after all. */
static void take_bare(struct mime_address_iter *it, size_t name_end)
{
	while (peek(it) == '@') {
		if (it->host.len > 0)
			host_was_mailbox(it);
		skip_char(it);
		take_domain(it, &it->host);
	}
	token_skip(&it->rest, &it->comment);
	if (peek(it) == '<') { /* joe@example.org <joe@example.org> */
		buf_char(&it->name, '@');
		buf_span(&it->name, buf_get(&it->host));
		take_angle(it);
		return;
	}
	it->name.len = name_end;
	while (it->rest.len > 0 && peek(it) != ',' && peek(it) != ';') {
		if (!token_skip(&it->rest, &it->comment))
			take_word(it, &(struct buf){ 0 });
	}
}

/* Commas, and semicolons outside a group (some writers separate with them). */
static void skip_separators(struct mime_address_iter *it)
{
	while (token_skip(&it->rest, NULL) || peek(it) == ',' || (peek(it) == ';' && !it->in_group))
		if (peek(it) == ',' || (peek(it) == ';' && !it->in_group))
			skip_char(it);
}

static bool end_group(struct mime_address_iter *it, struct mime_address *out)
{
	if (!it->in_group)
		return false;
	it->in_group = false;
	*out = (struct mime_address){ .kind = MIME_GROUP_END };
	return true;
}

bool mime_address_next(struct mime_address_iter *it, struct mime_address *out)
{
	size_t name_end;

	skip_separators(it);
	clear_fields(it);
	if (it->rest.len == 0)
		return end_group(it, out);
	if (peek(it) == ';') {
		skip_char(it);
		return end_group(it, out);
	}
	name_end = take_phrase(it);
	switch (peek(it)) {
	case '<':
		take_angle(it);
		break;
	case ':':
		if (it->in_group)
			break;
		skip_char(it);
		it->in_group = true;
		*out = (struct mime_address){ .kind = MIME_GROUP_BEGIN,
					      .mailbox = present(&it->name) };
		return true;
	case '@':
		take_bare(it, name_end);
		break;
	default: /* words alone: a local mailbox */
		buf_clear(&it->mailbox);
		buf_span(&it->mailbox, buf_get(&it->name));
		buf_clear(&it->name);
		break;
	}
	give_address(it, out);
	return true;
}

enum st mime_addresses(struct span raw, struct pool *pool, struct mime_address **list, size_t *n,
		       struct err *err)
{
	struct mime_address_iter it;
	struct mime_address one;
	size_t cap = 0;
	enum st st = ST_OK;

	*list = NULL;
	*n = 0;
	mime_addresses_begin(&it, raw);
	while (st == ST_OK && mime_address_next(&it, &one)) {
		struct span *fields[] = { &one.name, &one.adl, &one.mailbox, &one.host };
		bool full = false;

		if (*n == cap) {
			struct mime_address *more;

			cap = cap ? cap * 2 : 4;
			more = pool_get(pool, cap * sizeof *more);
			if (more && *n > 0)
				memcpy(more, *list, *n * sizeof *more);
			full = !more;
			*list = more ? more : *list;
		}
		for (size_t i = 0; i < 4; i++) {
			if (!fields[i]->at)
				continue;
			*fields[i] = fields[i]->len ? pool_span(pool, *fields[i]) : SPAN("");
			full = full || !fields[i]->at;
		}
		if (full)
			st = fail(err, ST_TOOBIG, "address list: no room after %zu", *n);
		else
			(*list)[(*n)++] = one;
	}
	mime_addresses_end(&it);
	return st;
}

/* A name is shown in quotes when it could be mistaken for more than a name. */
static void text_name(struct span name, struct buf *out)
{
	bool quote = false;

	for (size_t i = 0; i < name.len; i++)
		quote = quote || strchr("()<>[]:;@\\,\"", name.at[i]);
	if (!quote) {
		mime_decode_text(name, out);
		return;
	}
	buf_char(out, '"');
	mime_decode_text(name, out);
	buf_char(out, '"');
}

static void text_address(const struct mime_address *a, struct buf *out)
{
	if (a->name.at) {
		text_name(a->name, out);
		buf_str(out, " <");
	}
	mime_decode_text(a->mailbox, out);
	if (a->host.len > 0) {
		buf_char(out, '@');
		mime_decode_text(a->host, out);
	}
	if (a->name.at)
		buf_char(out, '>');
}

void mime_addresses_text(struct span raw, struct buf *out)
{
	struct mime_address_iter it;
	struct mime_address a;
	bool first = true;

	mime_addresses_begin(&it, raw);
	while (!out->failed && mime_address_next(&it, &a)) {
		if (!first && a.kind != MIME_GROUP_END)
			buf_str(out, ", ");
		first = a.kind == MIME_GROUP_BEGIN;
		if (a.kind == MIME_ADDRESS)
			text_address(&a, out);
		else if (a.kind == MIME_GROUP_END)
			buf_char(out, ';');
		else
			mime_decode_text(a.mailbox, out);
		if (a.kind == MIME_GROUP_BEGIN)
			buf_str(out, ": ");
	}
	mime_addresses_end(&it);
}
