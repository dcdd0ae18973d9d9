#include "mime/content.h"
#include "mime/header.h"
#include "mime/token.h"

/* RFC 2045 tspecials without "/" and "=", which some write into values. */
#define VALUE_STOPS ";"
#define TOKEN_STOPS "()<>@,;:\\\"/[]?="

struct reading {
	struct pool *pool;
	struct buf text; /* scratch */
	bool full;
};

/* What is in the scratch buffer, copied; an empty one is present. */
static struct span keep_text(struct reading *r)
{
	struct span s = buf_get(&r->text);

	if (s.len == 0)
		return SPAN("");
	s = pool_span(r->pool, s);
	r->full = r->full || !s.at;
	return s;
}

/* The value of a parameter: a quoted string, or all up to ";" (file names with blanks inside are
 * written without quotes by some), comments left out. */
static void read_value(struct reading *r, struct span *s)
{
	token_skip(s, NULL);
	if (s->len > 0 && s->at[0] == '"') {
		token_quoted(s, &r->text);
		token_take(s, VALUE_STOPS);
		return;
	}
	while (s->len > 0 && s->at[0] != ';') {
		if (token_skip(s, NULL)) {
			if (s->len > 0 && s->at[0] != ';')
				buf_char(&r->text, ' ');
			continue;
		}
		buf_span(&r->text, token_take(s, VALUE_STOPS));
	}
}

/* *( ";" name "=" value ), in the order of the field. */
static const struct mime_param *read_params(struct reading *r, struct span s, uint32_t *count)
{
	struct mime_param found[PARAMS_MAX];
	const struct mime_param *kept;
	uint32_t n = 0;

	while (s.len > 0 && n < PARAMS_MAX) {
		struct span name;

		while (s.len > 0 && s.at[0] != ';') /* noise in front of the ";" */
			if (!token_skip(&s, NULL))
				s = span_skip(s, 1);
		s = span_skip(s, 1);
		token_skip(&s, NULL);
		name = token_take(&s, TOKEN_STOPS);
		token_skip(&s, NULL);
		if (name.len == 0 || s.len == 0 || s.at[0] != '=')
			continue;
		s = span_skip(s, 1);
		buf_clear(&r->text);
		buf_span(&r->text, name);
		found[n].name = keep_text(r);
		buf_clear(&r->text);
		read_value(r, &s);
		found[n].value = keep_text(r);
		if (found[n].name.at && found[n].value.at)
			n++;
	}
	kept = n > 0 ? pool_dup(r->pool, found, n * sizeof found[0]) : NULL;
	r->full = r->full || (n > 0 && !kept);
	*count = kept ? n : 0;
	return kept;
}

static void read_type(struct reading *r, struct span s, struct mime_part *p)
{
	struct span type, subtype;

	token_skip(&s, NULL);
	type = token_take(&s, TOKEN_STOPS);
	token_skip(&s, NULL);
	if (type.len == 0 || s.len == 0 || s.at[0] != '/')
		return;
	s = span_skip(s, 1);
	token_skip(&s, NULL);
	subtype = token_take(&s, TOKEN_STOPS);
	if (subtype.len == 0)
		return;
	type = pool_span(r->pool, type);
	subtype = pool_span(r->pool, subtype);
	if (!type.at || !subtype.at) {
		r->full = true;
		return;
	}
	p->type = type;
	p->subtype = subtype;
	p->params = read_params(r, s, &p->nparams);
}

static void read_disposition(struct reading *r, struct span s, struct mime_part *p)
{
	token_skip(&s, NULL);
	buf_clear(&r->text);
	buf_span(&r->text, token_take(&s, TOKEN_STOPS));
	if (r->text.len == 0)
		return;
	p->disposition = keep_text(r);
	p->disposition_params = read_params(r, s, &p->ndisposition_params);
}

#define LANGUAGES_MAX 32

static void read_languages(struct reading *r, struct span s, struct mime_part *p)
{
	struct span found[LANGUAGES_MAX];
	uint32_t n = 0;

	while (s.len > 0 && n < LANGUAGES_MAX) {
		struct span tag;

		if (token_skip(&s, NULL))
			continue;
		tag = token_take(&s, ",;(");
		if (tag.len == 0)
			s = span_skip(s, 1);
		else if ((found[n] = pool_span(r->pool, tag)).at)
			n++;
	}
	if (n == 0)
		return;
	p->languages = pool_dup(r->pool, found, n * sizeof found[0]);
	r->full = r->full || !p->languages;
	p->nlanguages = p->languages ? n : 0;
}

static void read_encoding(struct reading *r, struct span s, struct mime_part *p)
{
	struct span token;

	token_skip(&s, NULL);
	token = token_take(&s, "();\"");
	if (token.len == 0)
		return;
	token = pool_span(r->pool, token);
	r->full = r->full || !token.at;
	if (token.at)
		p->encoding = token;
}

static void read_text(struct reading *r, struct span s, struct span *out)
{
	buf_clear(&r->text);
	mime_unfold(s, &r->text);
	if (r->text.len > 0)
		*out = keep_text(r);
}

static void read_id(struct reading *r, struct span s, struct mime_part *p)
{
	read_text(r, s, &p->id);
}

static void read_description(struct reading *r, struct span s, struct mime_part *p)
{
	read_text(r, s, &p->description);
}

static void read_md5(struct reading *r, struct span s, struct mime_part *p)
{
	read_text(r, s, &p->md5);
}

static void read_location(struct reading *r, struct span s, struct mime_part *p)
{
	read_text(r, s, &p->location);
}

static const struct content_field {
	const char *name;
	void (*read)(struct reading *r, struct span value, struct mime_part *p);
} content_fields[] = {
	{ "Content-Type", read_type },
	{ "Content-Transfer-Encoding", read_encoding },
	{ "Content-Disposition", read_disposition },
	{ "Content-ID", read_id },
	{ "Content-Description", read_description },
	{ "Content-MD5", read_md5 },
	{ "Content-Language", read_languages },
	{ "Content-Location", read_location },
};

/* The first of each name counts. */
static void read_field(struct reading *r, struct span name, struct span value, struct mime_part *p,
		       unsigned *seen)
{
	if (!span_ihas_prefix(name, SPAN("Content-")))
		return;
	for (size_t i = 0; i < sizeof content_fields / sizeof content_fields[0]; i++)
		if (span_ieq(name, span_str(content_fields[i].name)) && !(*seen & 1u << i)) {
			*seen |= 1u << i;
			content_fields[i].read(r, value, p);
		}
}

void content_default(struct mime_part *p)
{
	static const struct mime_param us_ascii = { { "CHARSET", 7 }, { "US-ASCII", 8 } };

	p->type = SPAN("TEXT");
	p->subtype = SPAN("PLAIN");
	p->params = &us_ascii;
	p->nparams = 1;
}

void content_opaque(struct mime_part *p)
{
	p->kind = MIME_LEAF;
	p->type = SPAN("APPLICATION");
	p->subtype = SPAN("OCTET-STREAM");
	p->params = NULL;
	p->nparams = 0;
}

bool content_read(struct span header, bool in_digest, struct pool *pool, struct mime_part *p)
{
	struct reading r = { .pool = pool, .text = BUF_MAX(header.len + 1) };
	struct mime_fields it = mime_fields(header);
	struct span name, value;
	unsigned seen = 0;

	while (mime_field_next(&it, &name, &value))
		read_field(&r, name, value, p, &seen);
	buf_free(&r.text);
	if (!p->type.at && in_digest) {
		p->type = SPAN("MESSAGE");
		p->subtype = SPAN("RFC822");
	} else if (!p->type.at) {
		content_default(p);
	}
	if (!p->encoding.at)
		p->encoding = SPAN("7BIT");
	p->kind = mime_is(p, "text", NULL) ? MIME_TEXT : MIME_LEAF;
	return !r.full;
}
