#include "proto/smtp/address.h"

#include <arpa/inet.h>

static bool is_high(char c)
{
	return (unsigned char)c >= 0x80;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* RFC 5322 atext; UTF-8 after RFC 6531 section 3.3. */
static bool is_atext(char c)
{
	return is_alnum(c) || is_high(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

bool smtp_is_utf8(struct span s)
{
	for (size_t i = 0; i < s.len;) {
		size_t n = span_utf8(span_skip(s, i));

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

/* How many bytes at the start of `s` are a domain name; 0 for none. */
static size_t domain_len(struct span s)
{
	size_t i = 0, label = 0;

	for (; i < s.len; i++) {
		char c = s.at[i];

		if (is_alnum(c) || is_high(c)) {
			label++;
		} else if (c == '-' && label > 0) {
			label++;
		} else if (c == '.' && label > 0 && s.at[i - 1] != '-') {
			label = 0;
		} else {
			break;
		}
		if (label > SMTP_LABEL_MAX)
			return 0;
	}
	if (label == 0 || s.at[i - 1] == '-' || i > SMTP_DOMAIN_MAX)
		return 0;
	return i;
}

bool smtp_is_literal(struct span s)
{
	const struct span tag = SPAN("IPv6:");
	char text[INET6_ADDRSTRLEN];
	unsigned char address[16];
	int family = AF_INET;

	if (s.len < 3 || s.at[0] != '[' || s.at[s.len - 1] != ']')
		return false;
	s = span_of(s.at + 1, s.len - 2);
	if (span_ihas_prefix(s, tag)) {
		family = AF_INET6;
		s = span_skip(s, tag.len);
	}
	if (s.len >= sizeof(text) || memchr(s.at, 0, s.len))
		return false;
	memcpy(text, s.at, s.len);
	text[s.len] = 0;
	return inet_pton(family, text, address) == 1;
}

/* Cut `len` bytes off the front of *in. */
static struct span take(struct span *in, size_t len)
{
	struct span got = span_cut(*in, len);

	*in = span_skip(*in, len);
	return got;
}

static bool take_char(struct span *in, char c)
{
	if (in->len == 0 || in->at[0] != c)
		return false;
	*in = span_skip(*in, 1);
	return true;
}

/* "@a,@b:" is checked and thrown away. */
static bool drop_route(struct span *in)
{
	if (in->len == 0 || in->at[0] != '@')
		return true;
	do {
		size_t n;

		if (!take_char(in, '@'))
			return false;
		n = domain_len(*in);
		if (n == 0)
			return false;
		take(in, n);
	} while (take_char(in, ','));
	return take_char(in, ':');
}

static size_t dot_string_len(struct span s)
{
	size_t i = 0;

	while (i < s.len && is_atext(s.at[i])) {
		while (i < s.len && is_atext(s.at[i]))
			i++;
		if (i + 1 >= s.len || s.at[i] != '.' || !is_atext(s.at[i + 1]))
			break;
		i++;
	}
	return i;
}

/* With both quotes; 0 when it is no quoted string. */
static size_t quoted_len(struct span s)
{
	for (size_t i = 1; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];

		if (c == '"')
			return i + 1;
		if (c == '\\') {
			if (++i == s.len)
				return 0;
			c = (unsigned char)s.at[i];
			if (c >= 0x80) /* a quoted pair is ASCII */
				return 0;
		}
		if (c < 0x20 || c == 0x7F)
			return 0;
	}
	return 0;
}

static bool parse_local(struct span *in, struct smtp_path *p)
{
	size_t n;

	p->quoted = in->len > 0 && in->at[0] == '"';
	n = p->quoted ? quoted_len(*in) : dot_string_len(*in);
	if (n == 0 || n > SMTP_LOCAL_MAX)
		return false;
	p->local = take(in, n);
	return true;
}

static bool parse_domain(struct span *in, struct smtp_path *p)
{
	size_t n;

	p->literal = in->len > 0 && in->at[0] == '[';
	if (p->literal) {
		n = span_find(*in, ']');
		if (n == SIZE_MAX)
			return false;
		p->domain = take(in, n + 1);
		return smtp_is_literal(p->domain);
	}
	n = domain_len(*in);
	p->domain = take(in, n);
	return n > 0;
}

static bool parse_inside(struct span *in, struct smtp_path *p)
{
	if (in->len > 0 && in->at[0] == '>') {
		p->kind = SMTP_PATH_NULL;
		return true;
	}
	if (!drop_route(in) || !parse_local(in, p))
		return false;
	if (take_char(in, '@')) {
		p->kind = SMTP_PATH_MAILBOX;
		return parse_domain(in, p);
	}
	p->kind = SMTP_PATH_POSTMASTER;
	return span_ieq(p->local, SPAN("Postmaster"));
}

enum st smtp_path_parse(struct span in, struct smtp_path *out, struct span *rest)
{
	struct span all = in;
	size_t used;

	*out = (struct smtp_path){ 0 };
	if (!take_char(&in, '<') || !parse_inside(&in, out) || !take_char(&in, '>'))
		return ST_BAD;
	used = all.len - in.len;
	if (used > SMTP_PATH_MAX || !smtp_is_utf8(span_cut(all, used)))
		return ST_BAD;
	for (size_t i = 0; i < used; i++)
		out->utf8 |= is_high(all.at[i]);
	*rest = in;
	return ST_OK;
}

void smtp_path_local(const struct smtp_path *p, struct buf *out)
{
	if (!p->quoted) {
		buf_span(out, p->local);
		return;
	}
	for (size_t i = 1; i + 1 < p->local.len; i++) {
		if (p->local.at[i] == '\\')
			i++;
		buf_char(out, p->local.at[i]);
	}
}

static void write_quoted(struct span plain, struct buf *out)
{
	buf_char(out, '"');
	for (size_t i = 0; i < plain.len; i++) {
		if (plain.at[i] == '"' || plain.at[i] == '\\')
			buf_char(out, '\\');
		buf_char(out, plain.at[i]);
	}
	buf_char(out, '"');
}

void smtp_path_write(const struct smtp_path *p, struct buf *out)
{
	struct buf plain = BUF_MAX(SMTP_LOCAL_MAX);

	if (p->kind == SMTP_PATH_NULL)
		return;
	smtp_path_local(p, &plain);
	out->failed |= plain.failed;
	if (plain.len > 0 && dot_string_len(buf_get(&plain)) == plain.len)
		buf_span(out, buf_get(&plain));
	else
		write_quoted(buf_get(&plain), out);
	buf_free(&plain);
	if (p->kind == SMTP_PATH_MAILBOX) {
		buf_char(out, '@');
		buf_span(out, p->domain);
	}
}
