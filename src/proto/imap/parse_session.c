/* parse_session.c - the arguments of commands about the session itself. */
#include "proto/imap/parse.h"

bool parse_nothing(struct imap_parse *p, struct imap_command *c)
{
	(void)c;
	return parse_end(p);
}

bool parse_login(struct imap_parse *p, struct imap_command *c)
{
	return parse_sp(p) && parse_astring(p, &c->login.user) && parse_sp(p) &&
	       parse_astring(p, &c->login.password) && parse_end(p);
}

/* base64 as it stands; whether it decodes is SASL's business. */
static bool parse_base64(struct imap_parse *p, struct span *out)
{
	const char *from = p->at;

	while (p->at < p->end &&
	       (*p->at == '+' || *p->at == '/' || *p->at == '=' ||
		(*p->at >= '0' && *p->at <= '9') || (*p->at >= 'A' && *p->at <= 'Z') ||
		(*p->at >= 'a' && *p->at <= 'z')))
		p->at++;
	size_t len = (size_t)(p->at - from);
	if (!len)
		return parse_bad(p, "base64 is expected");
	/* "=" alone is the empty initial response (RFC 4959 section 3). */
	if (len == 1 && *from == '=')
		len = 0;
	char *at = parse_get(p, len);
	if (!at)
		return false;
	memcpy(at, from, len);
	*out = span_of(at, len);
	return true;
}

bool parse_authenticate(struct imap_parse *p, struct imap_command *c)
{
	struct imap_authenticate *a = &c->authenticate;

	if (!parse_sp(p) || !parse_upper_atom(p, &a->mechanism))
		return false;
	a->has_initial = parse_take(p, ' ');
	if (a->has_initial && (!parse_need(p, IMAP_EXT_SASL_IR) || !parse_base64(p, &a->initial)))
		return false;
	return parse_end(p);
}

bool parse_enable(struct imap_parse *p, struct imap_command *c)
{
	struct span *names = NULL;
	uint32_t n = 0;

	do {
		names = parse_grow(p, names, n, sizeof(*names));
		if (!names || !parse_sp(p) || !parse_upper_atom(p, &names[n++]))
			return false;
	} while (parse_peek(p) == ' ');
	c->enable = (struct imap_enable){ names, n };
	return parse_end(p);
}

/* RFC 2971 section 3.3: what a field and a value may be long. */
#define ID_FIELD_MAX 30
#define ID_VALUE_MAX 1024

static bool parse_id_pair(struct imap_parse *p, struct span *pair)
{
	if (!parse_string(p, &pair[0]) || !parse_sp(p))
		return false;
	if (!parse_take_word(p, "NIL") && !parse_string(p, &pair[1]))
		return false;
	if (pair[0].len > ID_FIELD_MAX || pair[1].len > ID_VALUE_MAX)
		return parse_bad(p, "a field or value is too long");
	return true;
}

bool parse_id(struct imap_parse *p, struct imap_command *c)
{
	bool more = true;

	if (!parse_sp(p))
		return false;
	if (parse_take_word(p, "NIL"))
		return parse_end(p);
	if (!parse_char(p, '('))
		return false;
	if (parse_take(p, ')'))
		return parse_end(p);
	struct span *pairs = parse_get(p, 2 * IMAP_ID_MAX * sizeof(*pairs));
	if (!pairs)
		return false;
	while (more) {
		if (c->id.n == IMAP_ID_MAX)
			return parse_bad(p, "too many pairs");
		if (!parse_id_pair(p, &pairs[2 * c->id.n++]) || !parse_list_next(p, &more))
			return false;
	}
	c->id.pairs = pairs;
	return parse_end(p);
}
