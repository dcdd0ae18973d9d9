#include "proto/pop3/command.h"

static bool word(struct span *rest, struct span *out)
{
	*rest = span_trim(*rest);
	if (rest->len == 0)
		return false;
	*out = span_split(*rest, ' ', rest);
	return true;
}

static enum st parse_none(struct span args, struct pop3_command *c)
{
	(void)args;
	(void)c;
	return ST_OK;
}

static enum st parse_word(struct span args, struct pop3_command *c)
{
	c->text = SPAN_NONE;
	word(&args, &c->text);
	return ST_OK;
}

/* A password may hold blanks, also at its end: everything behind the one blank is it. */
static enum st parse_rest(struct span args, struct pop3_command *c)
{
	c->text = args;
	return ST_OK;
}

/* A message number, if there is one. */
static enum st parse_number(struct span args, struct pop3_command *c)
{
	struct span number;

	if (!word(&args, &number))
		return ST_OK;
	return span_u32(number, &c->number) && c->number > 0 ? ST_OK : ST_BAD;
}

static enum st parse_top(struct span args, struct pop3_command *c)
{
	struct span number, lines;

	if (!word(&args, &number) || !word(&args, &lines))
		return ST_BAD;
	return parse_number(number, c) == ST_OK && span_u64(lines, &c->lines) ? ST_OK : ST_BAD;
}

static enum st parse_auth(struct span args, struct pop3_command *c)
{
	c->mechanism = c->initial = SPAN_NONE;
	word(&args, &c->mechanism);
	word(&args, &c->initial);
	if (span_eq(c->initial, SPAN("=")))
		c->initial.len = 0;
	return ST_OK;
}

static const struct pop3_verb verbs[POP3_CMDS] = {
	{ "CAPA", POP3_CAPA, parse_none, POP3_AUTHORIZATION | POP3_TRANSACTION, 0, 0 },
	{ "USER", POP3_USER, parse_word, POP3_AUTHORIZATION, 1, 1 },
	{ "PASS", POP3_PASS, parse_rest, POP3_AUTHORIZATION, 1, UINT8_MAX },
	{ "AUTH", POP3_AUTH, parse_auth, POP3_AUTHORIZATION, 0, 2 },
	{ "STLS", POP3_STLS, parse_none, POP3_AUTHORIZATION, 0, 0 },
	{ "UTF8", POP3_UTF8, parse_none, POP3_AUTHORIZATION, 0, 0 },
	{ "LANG", POP3_LANG, parse_word, POP3_AUTHORIZATION | POP3_TRANSACTION, 0, 1 },
	{ "STAT", POP3_STAT, parse_none, POP3_TRANSACTION, 0, 0 },
	{ "LIST", POP3_LIST, parse_number, POP3_TRANSACTION, 0, 1 },
	{ "UIDL", POP3_UIDL, parse_number, POP3_TRANSACTION, 0, 1 },
	{ "RETR", POP3_RETR, parse_number, POP3_TRANSACTION, 1, 1 },
	{ "TOP", POP3_TOP, parse_top, POP3_TRANSACTION, 2, 2 },
	{ "DELE", POP3_DELE, parse_number, POP3_TRANSACTION, 1, 1 },
	{ "RSET", POP3_RSET, parse_none, POP3_TRANSACTION, 0, 0 },
	{ "NOOP", POP3_NOOP, parse_none, POP3_TRANSACTION, 0, 0 },
	{ "QUIT", POP3_QUIT, parse_none, POP3_AUTHORIZATION | POP3_TRANSACTION, 0, 0 },
};

const struct pop3_verb *pop3_verb_at(size_t i)
{
	return i < POP3_CMDS ? &verbs[i] : NULL;
}

static const struct pop3_verb *find_verb(struct span name)
{
	for (size_t i = 0; i < POP3_CMDS; i++)
		if (span_ieq(name, span_str(verbs[i].name)))
			return &verbs[i];
	return NULL;
}

static size_t count_words(struct span args)
{
	struct span ignored;
	size_t n = 0;

	while (word(&args, &ignored))
		n++;
	return n;
}

enum st pop3_parse(struct span line, enum pop3_state state, struct pop3_command *out,
		   enum pop3_reply_id *why)
{
	struct span args, name = span_split(line, ' ', &args);
	size_t words = count_words(args);

	*out = (struct pop3_command){ .verb = find_verb(name) };
	*why = POP3_R_UNKNOWN_COMMAND;
	if (!out->verb)
		return ST_BAD;
	*why = POP3_R_LINE_TOO_LONG;
	if (line.len + 2 > POP3_LINE_MAX)
		return ST_BAD;
	*why = POP3_R_WRONG_STATE;
	if (!(out->verb->states & state))
		return ST_BAD;
	*why = POP3_R_BAD_ARGS;
	if (words < out->verb->args_min || words > out->verb->args_max)
		return ST_BAD;
	return out->verb->parse(args, out);
}

void pop3_capa(struct buf *out, unsigned caps, const char *mechanisms, const char *version)
{
	static const struct {
		unsigned needs;
		const char *line;
	} rows[] = {
		{ 0, "TOP" },
		{ 0, "UIDL" },
		{ 0, "RESP-CODES" },
		{ 0, "AUTH-RESP-CODE" },
		{ 0, "PIPELINING" },
		{ 0, "EXPIRE NEVER" },
		{ POP3_CAP_USER, "USER" },
		{ POP3_CAP_STLS, "STLS" },
		{ 0, "UTF8 USER" },
		{ 0, "LANG" },
	};

	pop3_reply_write(out, POP3_R_CAPA);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((rows[i].needs & caps) == rows[i].needs)
			buf_printf(out, "%s\r\n", rows[i].line);
	if (caps & POP3_CAP_SASL)
		buf_printf(out, "SASL %s\r\n", mechanisms);
	buf_printf(out, "IMPLEMENTATION Mailroot %s\r\n.\r\n", version);
}
