/* SMTP command lines: every row's parser, its limits, and what comes out. */
#include "proto/smtp/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* One line of text about what was parsed, so that a row reads like the protocol. */
static void show(const struct smtp_command *c, struct buf *out)
{
	static const char *const kinds[] = { "null", "postmaster", "mailbox" };
	static const char *const bodies[] = { "7bit", "8bitmime", "binarymime" };

	buf_str(out, c->verb->name);
	switch (c->verb->cmd) {
	case SMTP_MAIL:
	case SMTP_RCPT:
		buf_printf(out, " %s ", kinds[c->path.kind]);
		smtp_path_write(&c->path, out);
		if (c->has_size)
			buf_printf(out, " size=%llu", (unsigned long long)c->size);
		if (c->body != SMTP_BODY_7BIT)
			buf_printf(out, " body=%s", bodies[c->body]);
		if (c->smtputf8)
			buf_str(out, " smtputf8");
		if (c->auth.at)
			buf_printf(out, " auth=" SPAN_FMT, SPAN_ARG(c->auth));
		break;
	case SMTP_BDAT:
		buf_printf(out, " %llu%s", (unsigned long long)c->size, c->last ? " last" : "");
		break;
	case SMTP_AUTH:
		buf_printf(out, " " SPAN_FMT, SPAN_ARG(c->mechanism));
		if (c->initial.at)
			buf_printf(out, " '" SPAN_FMT "'", SPAN_ARG(c->initial));
		break;
	default:
		if (c->text.at)
			buf_printf(out, " '" SPAN_FMT "'", SPAN_ARG(c->text));
	}
}

#define LOCAL_64                                                                                   \
	"1234567890123456789012345678901234567890123456789012345678901234" /* the longest */
#define LABEL_63   "123456789012345678901234567890123456789012345678901234567890123"
#define DOMAIN_191 LABEL_63 "." LABEL_63 "." LABEL_63

static const struct {
	const char *name, *line,
		*want; /* want: show()'s text, or the reply's code and enhanced code */
} rows[] = {
	{ "a greeting", "EHLO client.example", "EHLO 'client.example'" },
	{ "verbs know no case", "eHlO client.example", "EHLO 'client.example'" },
	{ "a greeting by address", "EHLO [192.0.2.1]", "EHLO '[192.0.2.1]'" },
	{ "a greeting by IPv6 address", "HELO [IPv6:2001:db8::1]", "HELO '[IPv6:2001:db8::1]'" },
	{ "a greeting with an underscore", "EHLO my_pc", "EHLO 'my_pc'" },
	{ "a greeting that would forge a trace field", "EHLO a(b)", "501 5.5.4" },
	{ "a greeting of two words", "EHLO a b", "501 5.5.4" },
	{ "a greeting without a name", "EHLO", "501 5.5.4" },
	{ "a greeting with UTF-8", "EHLO m\xC3\xBCller", "501 5.5.4" },

	{ "a sender", "MAIL FROM:<a@b.example>", "MAIL mailbox a@b.example" },
	{ "keywords know no case", "mail from:<a@b.example> size=1 body=8bitmime",
	  "MAIL mailbox a@b.example size=1 body=8bitmime" },
	{ "a blank behind the colon is taken", "MAIL FROM: <a@b.example>",
	  "MAIL mailbox a@b.example" },
	{ "trailing blanks are taken", "MAIL FROM:<a@b.example> \t", "MAIL mailbox a@b.example" },
	{ "nobody as the sender", "MAIL FROM:<>", "MAIL null " },
	{ "nobody with parameters", "MAIL FROM:<> SIZE=100", "MAIL null  size=100" },
	{ "Postmaster sends nothing", "MAIL FROM:<Postmaster>", "501 5.1.7" },
	{ "no angle brackets", "MAIL FROM:a@b.example", "501 5.1.7" },
	{ "no closing bracket", "MAIL FROM:<a@b.example", "501 5.1.7" },
	{ "no keyword", "MAIL <a@b.example>", "501 5.1.7" },
	{ "the wrong keyword", "MAIL TO:<a@b.example>", "501 5.1.7" },
	{ "rubbish behind the path", "MAIL FROM:<a@b.example>x", "501 5.1.7" },
	{ "no argument", "MAIL", "501 5.5.4" },
	{ "every parameter",
	  "MAIL FROM:<a@b.example> SIZE=12345 BODY=BINARYMIME SMTPUTF8 AUTH=e+3Dmc2@example.com",
	  "MAIL mailbox a@b.example size=12345 body=binarymime smtputf8 auth=e+3Dmc2@example.com" },
	{ "7BIT said", "MAIL FROM:<a@b.example> BODY=7BIT", "MAIL mailbox a@b.example" },
	{ "AUTH of nobody", "MAIL FROM:<a@b.example> AUTH=<>", "MAIL mailbox a@b.example auth=<>" },
	{ "AUTH with a broken escape", "MAIL FROM:<a@b.example> AUTH=a+3", "501 5.5.4" },
	{ "AUTH with small hex digits", "MAIL FROM:<a@b.example> AUTH=a+3d", "501 5.5.4" },
	{ "AUTH without a value", "MAIL FROM:<a@b.example> AUTH", "501 5.5.4" },
	{ "a parameter nobody announced", "MAIL FROM:<a@b.example> RET=FULL", "555 5.5.4" },
	{ "a parameter twice", "MAIL FROM:<a@b.example> SIZE=1 SIZE=1", "501 5.5.4" },
	{ "SIZE without a value", "MAIL FROM:<a@b.example> SIZE", "501 5.5.4" },
	{ "SIZE with a sign", "MAIL FROM:<a@b.example> SIZE=-1", "501 5.5.4" },
	{ "the largest SIZE", "MAIL FROM:<a@b.example> SIZE=18446744073709551615",
	  "MAIL mailbox a@b.example size=18446744073709551615" },
	{ "SIZE over 64 bits", "MAIL FROM:<a@b.example> SIZE=18446744073709551616", "501 5.5.4" },
	{ "a body type unknown", "MAIL FROM:<a@b.example> BODY=9BIT", "501 5.5.4" },
	{ "SMTPUTF8 takes no value", "MAIL FROM:<a@b.example> SMTPUTF8=yes", "501 5.5.4" },
	{ "two blanks between parameters", "MAIL FROM:<a@b.example>  SIZE=1  BODY=7BIT",
	  "MAIL mailbox a@b.example size=1" },
	{ "UTF-8 with SMTPUTF8", "MAIL FROM:<j\xC3\xBCrgen@m\xC3\xBCller.example> SMTPUTF8",
	  "MAIL mailbox j\xC3\xBCrgen@m\xC3\xBCller.example smtputf8" },
	{ "UTF-8 without it", "MAIL FROM:<j\xC3\xBCrgen@b.example>", "553 5.6.7" },
	{ "bytes that are no UTF-8", "MAIL FROM:<j\xFCrgen@b.example> SMTPUTF8", "501 5.1.7" },
	{ "an overlong form", "MAIL FROM:<j\xC0\xAFn@b.example> SMTPUTF8", "501 5.1.7" },
	{ "a surrogate", "MAIL FROM:<j\xED\xA0\x80n@b.example> SMTPUTF8", "501 5.1.7" },
	{ "a control character", "MAIL FROM:<a\x01@b.example>", "501 5.5.4" },

	{ "a recipient", "RCPT TO:<alice@mailroot.test>", "RCPT mailbox alice@mailroot.test" },
	{ "this server's postmaster", "RCPT TO:<PostMaster>", "RCPT postmaster PostMaster" },
	{ "a local part alone", "RCPT TO:<alice>", "501 5.1.3" },
	{ "nobody receives nothing", "RCPT TO:<>", "501 5.1.3" },
	{ "a source route is dropped", "RCPT TO:<@a.example,@b.example:u@c.example>",
	  "RCPT mailbox u@c.example" },
	{ "a source route without its colon", "RCPT TO:<@a.example,u@c.example>", "501 5.1.3" },
	{ "a source route of nothing", "RCPT TO:<@:u@c.example>", "501 5.1.3" },
	{ "a quoted local part", "RCPT TO:<\"john smith\"@b.example>",
	  "RCPT mailbox \"john smith\"@b.example" },
	{ "quotes that need not be", "RCPT TO:<\"alice\"@b.example>",
	  "RCPT mailbox alice@b.example" },
	{ "a backslash that need not be", "RCPT TO:<\"al\\ice\"@b.example>",
	  "RCPT mailbox alice@b.example" },
	{ "a quote inside quotes", "RCPT TO:<\"a\\\"b\"@b.example>",
	  "RCPT mailbox \"a\\\"b\"@b.example" },
	{ "a bracket inside quotes", "RCPT TO:<\"a>b@c\"@b.example>",
	  "RCPT mailbox \"a>b@c\"@b.example" },
	{ "nothing inside quotes", "RCPT TO:<\"\"@b.example>", "RCPT mailbox \"\"@b.example" },
	{ "an open quote", "RCPT TO:<\"ab@b.example>", "501 5.1.3" },
	{ "two dots together", "RCPT TO:<a..b@c.example>", "501 5.1.3" },
	{ "a dot first", "RCPT TO:<.a@c.example>", "501 5.1.3" },
	{ "a dot last", "RCPT TO:<a.@c.example>", "501 5.1.3" },
	{ "every sign an atom may hold", "RCPT TO:<!#$%&'*+-/=?^_`{|}~@c.example>",
	  "RCPT mailbox !#$%&'*+-/=?^_`{|}~@c.example" },
	{ "two ats", "RCPT TO:<a@b@c.example>", "501 5.1.3" },
	{ "an IPv4 literal", "RCPT TO:<a@[192.0.2.1]>", "RCPT mailbox a@[192.0.2.1]" },
	{ "an IPv6 literal", "RCPT TO:<a@[IPv6:::1]>", "RCPT mailbox a@[IPv6:::1]" },
	{ "a literal that is no address", "RCPT TO:<a@[192.0.2.300]>", "501 5.1.3" },
	{ "an open literal", "RCPT TO:<a@[192.0.2.1>", "501 5.1.3" },
	{ "a domain of one label", "RCPT TO:<a@localhost>", "RCPT mailbox a@localhost" },
	{ "a domain that ends with a dot", "RCPT TO:<a@b.example.>", "501 5.1.3" },
	{ "a label that begins with a hyphen", "RCPT TO:<a@-b.example>", "501 5.1.3" },
	{ "a label that ends with a hyphen", "RCPT TO:<a@b-.example>", "501 5.1.3" },
	{ "a blank in the domain", "RCPT TO:<a@b .example>", "501 5.1.3" },
	{ "no domain behind the at", "RCPT TO:<a@>", "501 5.1.3" },
	{ "the longest local part", "RCPT TO:<" LOCAL_64 "@b.example>",
	  "RCPT mailbox " LOCAL_64 "@b.example" },
	{ "a local part too long", "RCPT TO:<" LOCAL_64 "5@b.example>", "501 5.1.3" },
	{ "the longest label", "RCPT TO:<a@" LABEL_63 ".example>",
	  "RCPT mailbox a@" LABEL_63 ".example" },
	{ "a label too long", "RCPT TO:<a@" LABEL_63 "4.example>", "501 5.1.3" },
	{ "the longest path", "RCPT TO:<" LOCAL_64 "@" DOMAIN_191 ">", "501 5.1.3" },
	{ "a path of 256",
	  "RCPT TO:<23456789012345678901234567890123456789012345678901234567890123@" DOMAIN_191 ">",
	  "RCPT mailbox 23456789012345678901234567890123456789012345678901234567890123@" DOMAIN_191 },
	{ "a parameter nobody announced for RCPT", "RCPT TO:<a@b.example> NOTIFY=NEVER",
	  "555 5.5.4" },

	{ "DATA", "DATA", "DATA" },
	{ "DATA takes nothing", "DATA now", "501 5.5.4" },
	{ "a chunk", "BDAT 1000", "BDAT 1000" },
	{ "the last chunk", "BDAT 0 last", "BDAT 0 last" },
	{ "a chunk of no number", "BDAT x", "501 5.5.4" },
	{ "a chunk with a sign", "BDAT +1", "501 5.5.4" },
	{ "a chunk with rubbish behind", "BDAT 1 FIRST", "501 5.5.4" },
	{ "a chunk with rubbish behind LAST", "BDAT 1 LAST LAST", "501 5.5.4" },
	{ "a chunk over 64 bits", "BDAT 99999999999999999999", "501 5.5.4" },
	{ "AUTH", "AUTH PLAIN", "AUTH PLAIN" },
	{ "AUTH with its first answer",
	  "AUTH PLAIN AGFsaWNlAGRlbW8=", "AUTH PLAIN 'AGFsaWNlAGRlbW8='" },
	{ "AUTH with an empty first answer", "AUTH EXTERNAL =", "AUTH EXTERNAL ''" },
	{ "AUTH with what is no base64", "AUTH PLAIN a*b", "501 5.5.2" },
	{ "AUTH with a name too long", "AUTH ABCDEFGHIJKLMNOPQRSTU", "501 5.5.4" },
	{ "AUTH without a name", "AUTH", "501 5.5.4" },
	{ "NOOP with a word", "NOOP hello", "NOOP 'hello'" },
	{ "NOOP", "NOOP", "NOOP" },
	{ "VRFY", "VRFY alice", "VRFY 'alice'" },
	{ "VRFY without a name", "VRFY", "501 5.5.4" },
	{ "HELP about a verb", "HELP MAIL", "HELP 'MAIL'" },
	{ "RSET", "RSET", "RSET" },
	{ "QUIT with a word", "QUIT now", "501 5.5.4" },
	{ "STARTTLS", "STARTTLS", "STARTTLS" },
	{ "no verb at all", "", "500 5.5.1" },
	{ "a verb nobody knows", "XYZZY", "500 5.5.1" },
	{ "a verb that is longer", "DATAX", "500 5.5.1" },
	{ "a verb that is shorter", "DAT", "500 5.5.1" },
	{ "a blank first", " NOOP", "500 5.5.1" },
	{ "a tab behind the verb", "NOOP\tx", "500 5.5.1" },
};

static void run(struct span line, struct buf *got)
{
	struct smtp_command c;
	enum smtp_reply_id why;

	if (smtp_parse(line, &c, &why) == ST_OK)
		show(&c, got);
	else
		buf_printf(got, "%u %s", smtp_reply(why)->code, smtp_reply(why)->enhanced);
	assert_false(got->failed);
}

static void commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf got = BUF_MAX(4096);

		run(span_str(rows[i].line), &got);
		buf_char(&got, 0);
		if (strcmp(got.at, rows[i].want) != 0)
			fail_msg("%s: got %s", rows[i].name, got.at);
		buf_free(&got);
	}
}

/* A line cut anywhere must be judged without a look behind its end: run each prefix in a block of its
 * own, so that a sanitizer sees a step too far. */
static void cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t len = 0; len <= strlen(rows[i].line); len++) {
			struct buf got = BUF_MAX(4096);
			char *copy = malloc(len + !len);

			assert_non_null(copy);
			memcpy(copy, rows[i].line, len);
			run(span_of(copy, len), &got);
			free(copy);
			buf_free(&got);
		}
	}
}

static enum smtp_reply_id why_of(const char *verb, size_t filler, char with)
{
	struct buf line = BUF_MAX(20000);
	struct smtp_command c;
	enum smtp_reply_id why = SMTP_R_OK;

	buf_str(&line, verb);
	while (filler--)
		buf_char(&line, with);
	if (smtp_parse(buf_get(&line), &c, &why) == ST_OK)
		why = SMTP_R_OK;
	buf_free(&line);
	return why;
}

static void each_verb_has_its_line_limit(void **state)
{
	(void)state;
	assert_int_equal(why_of("NOOP ", 505, 'x'), SMTP_R_OK);
	assert_int_equal(why_of("NOOP ", 506, 'x'), SMTP_R_LINE_TOO_LONG);
	assert_int_equal(why_of("AUTH PLAIN ", 12288 - 13, 'A'), SMTP_R_OK);
	assert_int_equal(why_of("AUTH PLAIN ", 12288 - 12, 'A'), SMTP_R_LINE_TOO_LONG);
	assert_int_equal(why_of("XYZZY ", 5000, 'A'), SMTP_R_LINE_TOO_LONG);
	assert_int_equal(why_of("MAIL FROM:<a@b> AUTH=", 500, 'x'), SMTP_R_OK);
}

static void the_row_is_the_gate(void **state)
{
	static const struct {
		const char *name;
		enum smtp_state at;
		enum smtp_cmd cmd;
		enum smtp_reply_id want; /* SMTP_R_OK: allowed */
	} gates[] = {
		{ "MAIL before a greeting", SMTP_START, SMTP_MAIL, SMTP_R_NEED_HELLO },
		{ "RCPT before MAIL", SMTP_READY, SMTP_RCPT, SMTP_R_NEED_MAIL },
		{ "DATA before MAIL", SMTP_READY, SMTP_DATA, SMTP_R_NEED_RCPT },
		{ "DATA before RCPT", SMTP_SENDER, SMTP_DATA, SMTP_R_NEED_RCPT },
		{ "DATA behind RCPT", SMTP_RCPTS, SMTP_DATA, SMTP_R_OK },
		{ "MAIL inside a message", SMTP_SENDER, SMTP_MAIL, SMTP_R_WRONG_ORDER },
		{ "DATA behind BDAT", SMTP_CHUNKS, SMTP_DATA, SMTP_R_NEED_BDAT },
		{ "RCPT behind BDAT", SMTP_CHUNKS, SMTP_RCPT, SMTP_R_NEED_BDAT },
		{ "BDAT behind BDAT", SMTP_CHUNKS, SMTP_BDAT, SMTP_R_OK },
		{ "BDAT behind a refused one", SMTP_BROKEN, SMTP_BDAT, SMTP_R_NEED_RSET },
		{ "RSET behind a refused one", SMTP_BROKEN, SMTP_RSET, SMTP_R_OK },
		{ "AUTH inside a message", SMTP_SENDER, SMTP_AUTH, SMTP_R_WRONG_ORDER },
		{ "STARTTLS before a greeting", SMTP_START, SMTP_STARTTLS, SMTP_R_NEED_HELLO },
		{ "QUIT at any time", SMTP_BROKEN, SMTP_QUIT, SMTP_R_OK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(gates) / sizeof(gates[0]); i++) {
		enum smtp_reply_id why = SMTP_R_OK;

		assert_int_equal(smtp_allowed(smtp_verb_at(gates[i].cmd), gates[i].at, &why),
				 gates[i].want == SMTP_R_OK);
		if (why != gates[i].want)
			fail_msg("%s: got %u %s", gates[i].name, smtp_reply(why)->code,
				 smtp_reply(why)->text);
	}
}

static void rows_stand_in_the_order_of_their_enum(void **state)
{
	(void)state;
	for (size_t i = 0; i < SMTP_CMDS; i++)
		assert_int_equal(smtp_verb_at(i)->cmd, i);
	assert_null(smtp_verb_at(SMTP_CMDS));
}

static void the_local_part_comes_without_quotes(void **state)
{
	struct smtp_path p;
	struct span rest;
	struct buf got = BUF_MAX(64);

	(void)state;
	assert_int_equal(smtp_path_parse(SPAN("<\"a\\\"b c\"@d> X"), &p, &rest), ST_OK);
	smtp_path_local(&p, &got);
	assert_true(span_eq(buf_get(&got), SPAN("a\"b c")));
	assert_true(span_eq(rest, SPAN(" X")));
	assert_true(span_eq(p.domain, SPAN("d")));
	buf_free(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(each_verb_has_its_line_limit),
		cmocka_unit_test(the_row_is_the_gate),
		cmocka_unit_test(rows_stand_in_the_order_of_their_enum),
		cmocka_unit_test(the_local_part_comes_without_quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
