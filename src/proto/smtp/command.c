#include "proto/smtp/command.h"

#include <stdio.h>

static enum st refuse(enum smtp_reply_id *why, enum smtp_reply_id id)
{
	*why = id;
	return ST_BAD;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool all(struct span s, bool (*is)(char))
{
	for (size_t i = 0; i < s.len; i++)
		if (!is(s.at[i]))
			return false;
	return true;
}

/* Names that are no domain by the letter but sent by real clients (underscores, single labels) pass:
 * the text only goes into the Received field, where these characters are harmless. */
static bool is_name_char(char c)
{
	return is_alnum(c) || c == '.' || c == '-' || c == '_';
}

static enum st parse_hello(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	c->text = args;
	if (args.len <= SMTP_DOMAIN_MAX && (all(args, is_name_char) || smtp_is_literal(args)))
		return ST_OK;
	return refuse(why, SMTP_R_BAD_HELO);
}

static enum st parse_text(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	c->text = args;
	return smtp_is_utf8(args) ? ST_OK : refuse(why, SMTP_R_BAD_ARGS);
}

static enum st parse_none(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	(void)args;
	(void)c;
	(void)why;
	return ST_OK;
}

/* ---- MAIL and RCPT ---- */

static bool param_size(struct span value, struct smtp_command *c)
{
	c->has_size = true;
	return value.len >= 1 && value.len <= 20 && span_u64(value, &c->size);
}

static bool param_body(struct span value, struct smtp_command *c)
{
	static const struct {
		const char *name;
		enum smtp_body body;
	} rows[] = {
		{ "7BIT", SMTP_BODY_7BIT },
		{ "8BITMIME", SMTP_BODY_8BITMIME },
		{ "BINARYMIME", SMTP_BODY_BINARYMIME },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (span_ieq(value, span_str(rows[i].name))) {
			c->body = rows[i].body;
			return true;
		}
	}
	return false;
}

static bool param_smtputf8(struct span value, struct smtp_command *c)
{
	c->smtputf8 = true;
	return value.at == NULL;
}

static bool is_upper_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* xtext of RFC 3461 section 4. */
static bool param_auth(struct span value, struct smtp_command *c)
{
	c->auth = value;
	for (size_t i = 0; i < value.len; i++) {
		char x = value.at[i];

		if (x == '+') {
			if (value.len - i < 3 || !is_upper_hex(value.at[i + 1]) ||
			    !is_upper_hex(value.at[i + 2]))
				return false;
			i += 2;
		} else if (x < '!' || x > '~' || x == '=') {
			return false;
		}
	}
	return value.len > 0;
}

static const struct {
	const char *name;
	bool (*take)(struct span value, struct smtp_command *c);
} mail_params[] = {
	{ "SIZE", param_size },
	{ "BODY", param_body },
	{ "SMTPUTF8", param_smtputf8 },
	{ "AUTH", param_auth },
};
#define MAIL_PARAMS (sizeof(mail_params) / sizeof(mail_params[0]))

static enum st mail_param(struct span word, unsigned *seen, struct smtp_command *c,
			  enum smtp_reply_id *why)
{
	struct span value, name = span_split(word, '=', &value);

	for (size_t i = 0; i < MAIL_PARAMS; i++) {
		if (!span_ieq(name, span_str(mail_params[i].name)))
			continue;
		if (*seen & 1u << i || !mail_params[i].take(value, c))
			return refuse(why, SMTP_R_BAD_ARGS);
		*seen |= 1u << i;
		return ST_OK;
	}
	return refuse(why, SMTP_R_BAD_PARAM);
}

/* "FROM:" SP* path *(SP parameter).  A blank behind the colon is against the grammar and sent by many. */
static enum st parse_path_args(struct span args, struct span keyword, struct smtp_command *c,
			       struct span *params)
{
	if (!span_ihas_prefix(args, keyword))
		return ST_BAD;
	args = span_trim(span_skip(args, keyword.len));
	if (smtp_path_parse(args, &c->path, params) != ST_OK)
		return ST_BAD;
	return params->len == 0 || params->at[0] == ' ' ? ST_OK : ST_BAD;
}

static enum st parse_mail(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	struct span rest;
	unsigned seen = 0;

	if (parse_path_args(args, SPAN("FROM:"), c, &rest) != ST_OK ||
	    c->path.kind == SMTP_PATH_POSTMASTER)
		return refuse(why, SMTP_R_BAD_SENDER);
	while (rest.at != NULL) {
		struct span word = span_split(rest, ' ', &rest);

		if (word.len == 0)
			continue;
		if (mail_param(word, &seen, c, why) != ST_OK)
			return ST_BAD;
	}
	if (c->path.utf8 && !c->smtputf8)
		return refuse(why, SMTP_R_NEED_UTF8);
	return ST_OK;
}

static enum st parse_rcpt(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	struct span rest;

	if (parse_path_args(args, SPAN("TO:"), c, &rest) != ST_OK || c->path.kind == SMTP_PATH_NULL)
		return refuse(why, SMTP_R_BAD_RCPT);
	if (span_trim(rest).len > 0)
		return refuse(why, SMTP_R_BAD_PARAM);
	return ST_OK;
}

/* ---- BDAT and AUTH ---- */

static enum st parse_bdat(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	struct span last, size = span_split(args, ' ', &last);

	if (size.len > 20 || !span_u64(size, &c->size))
		return refuse(why, SMTP_R_BAD_ARGS);
	last = span_trim(last);
	c->last = last.len > 0;
	if (c->last && !span_ieq(last, SPAN("LAST")))
		return refuse(why, SMTP_R_BAD_ARGS);
	return ST_OK;
}

static bool is_mechanism_char(char c)
{
	return is_alnum(c) || c == '-' || c == '_';
}

static bool is_base64_char(char c)
{
	return is_alnum(c) || c == '+' || c == '/' || c == '=';
}

static enum st parse_auth(struct span args, struct smtp_command *c, enum smtp_reply_id *why)
{
	c->mechanism = span_split(args, ' ', &c->initial);
	if (c->mechanism.len > 20 || !all(c->mechanism, is_mechanism_char))
		return refuse(why, SMTP_R_BAD_ARGS);
	if (c->initial.at == NULL)
		return ST_OK;
	if (c->initial.len == 0 || !all(c->initial, is_base64_char))
		return refuse(why, SMTP_R_BAD_BASE64);
	if (span_eq(c->initial, SPAN("=")))
		c->initial.len = 0;
	return ST_OK;
}

/* ---- the table ---- */

#define IN_MAIL (SMTP_SENDER | SMTP_RCPTS)
#define GREETED (SMTP_ANY & ~SMTP_START)

static const struct smtp_verb verbs[SMTP_CMDS] = {
	{ "HELO", SMTP_HELO, parse_hello, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NEEDED,
	  SMTP_LINE_MAX, "<domain>" },
	{ "EHLO", SMTP_EHLO, parse_hello, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NEEDED,
	  SMTP_LINE_MAX, "<domain>" },
	{ "MAIL", SMTP_MAIL, parse_mail, SMTP_READY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NEEDED,
	  SMTP_MAIL_LINE_MAX, "FROM:<address> [SIZE=n] [BODY=type] [SMTPUTF8] [AUTH=address]" },
	{ "RCPT", SMTP_RCPT, parse_rcpt, IN_MAIL, SMTP_R_NEED_MAIL, SMTP_ARGS_NEEDED, SMTP_LINE_MAX,
	  "TO:<address>" },
	{ "DATA", SMTP_DATA, parse_none, SMTP_RCPTS, SMTP_R_NEED_RCPT, SMTP_ARGS_NONE,
	  SMTP_LINE_MAX, "" },
	{ "BDAT", SMTP_BDAT, parse_bdat, SMTP_RCPTS | SMTP_CHUNKS, SMTP_R_NEED_RCPT,
	  SMTP_ARGS_NEEDED, SMTP_LINE_MAX, "<octets> [LAST]" },
	{ "RSET", SMTP_RSET, parse_none, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NONE,
	  SMTP_LINE_MAX, "" },
	{ "NOOP", SMTP_NOOP, parse_text, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_MAYBE,
	  SMTP_LINE_MAX, "" },
	{ "VRFY", SMTP_VRFY, parse_text, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NEEDED,
	  SMTP_LINE_MAX + 10, "<address>" },
	{ "HELP", SMTP_HELP, parse_text, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_MAYBE,
	  SMTP_LINE_MAX, "[command]" },
	{ "QUIT", SMTP_QUIT, parse_none, SMTP_ANY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NONE,
	  SMTP_LINE_MAX, "" },
	{ "STARTTLS", SMTP_STARTTLS, parse_none, GREETED, SMTP_R_NEED_HELLO, SMTP_ARGS_NONE,
	  SMTP_LINE_MAX, "" },
	{ "AUTH", SMTP_AUTH, parse_auth, SMTP_READY, SMTP_R_WRONG_ORDER, SMTP_ARGS_NEEDED,
	  SMTP_AUTH_LINE_MAX, "<mechanism> [initial response]" },
};

const struct smtp_verb *smtp_verb_at(size_t i)
{
	return i < SMTP_CMDS ? &verbs[i] : NULL;
}

static const struct smtp_verb *find_verb(struct span name)
{
	for (size_t i = 0; i < SMTP_CMDS; i++)
		if (span_ieq(name, span_str(verbs[i].name)))
			return &verbs[i];
	return NULL;
}

static bool is_text_char(char c)
{
	return (unsigned char)c >= 0x20 && c != 0x7F;
}

enum st smtp_parse(struct span line, struct smtp_command *out, enum smtp_reply_id *why)
{
	struct span args, name = span_split(line, ' ', &args);
	const struct smtp_verb *v = find_verb(span_trim(name));

	*out = (struct smtp_command){ .verb = v };
	if (v == NULL)
		return refuse(why, line.len + 2 > SMTP_MAIL_LINE_MAX ? SMTP_R_LINE_TOO_LONG
								     : SMTP_R_UNKNOWN_COMMAND);
	if (line.len + 2 > v->line_max)
		return refuse(why, SMTP_R_LINE_TOO_LONG);
	args = span_trim(args); /* trailing blanks are to be tolerated, RFC 5321 section 4.1.1 */
	if (!all(args, is_text_char))
		return refuse(why, SMTP_R_BAD_ARGS);
	if (args.len == 0 && v->args == SMTP_ARGS_NEEDED)
		return refuse(why, SMTP_R_NEEDS_ARGS);
	if (args.len > 0 && v->args == SMTP_ARGS_NONE)
		return refuse(why, SMTP_R_NO_ARGS);
	return v->parse(args, out, why);
}

bool smtp_allowed(const struct smtp_verb *v, enum smtp_state state, enum smtp_reply_id *why)
{
	if (v->states & state)
		return true;
	if (state == SMTP_START)
		*why = SMTP_R_NEED_HELLO;
	else if (state == SMTP_BROKEN)
		*why = SMTP_R_NEED_RSET;
	else if (state == SMTP_CHUNKS)
		*why = SMTP_R_NEED_BDAT;
	else
		*why = v->misplaced;
	return false;
}

void smtp_help(struct buf *out, struct span topic)
{
	const struct smtp_verb *v = find_verb(span_trim(topic));
	char text[512];
	size_t len = 0;

	if (v) {
		smtp_reply_say(out, SMTP_R_HELP, "%s %s", v->name, v->help);
		return;
	}
	for (size_t i = 0; i < SMTP_CMDS; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", verbs[i].name,
					i + 1 < SMTP_CMDS ? " " : "");
	smtp_reply_say(out, SMTP_R_HELP, "Commands:\n%s\nEnd of HELP", text);
}
