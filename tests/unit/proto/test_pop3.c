/* POP3: command lines, capabilities, dots and TOP. */
#include "proto/pop3/body.h"
#include "proto/pop3/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define A POP3_AUTHORIZATION
#define T POP3_TRANSACTION

static const struct {
	const char *name;
	enum pop3_state state;
	const char *line,
		*want; /* want: "VERB text number lines mechanism initial", or the error's text */
} rows[] = {
	{ "a name", A, "USER alice", "USER 'alice' 0 0" },
	{ "verbs know no case", A, "user alice", "USER 'alice' 0 0" },
	{ "a password", A, "PASS demo", "PASS 'demo' 0 0" },
	{ "a password with blanks", A, "PASS  a b ", "PASS ' a b ' 0 0" },
	{ "no password", A, "PASS", "Wrong arguments" },
	{ "two names", A, "USER a b", "Wrong arguments" },
	{ "no name", A, "USER ", "Wrong arguments" },
	{ "a name in UTF-8", A, "USER j\xC3\xBCrgen", "USER 'j\xC3\xBCrgen' 0 0" },
	{ "a verb out of its state", A, "STAT", "Not now" },
	{ "USER once in", T, "USER alice", "Not now" },
	{ "which mechanisms", A, "AUTH", "AUTH 0 0" },
	{ "a mechanism", A, "AUTH PLAIN", "AUTH 0 0 PLAIN" },
	{ "a mechanism with its first answer", A, "AUTH PLAIN AAAA", "AUTH 0 0 PLAIN 'AAAA'" },
	{ "a mechanism with an empty first answer", A, "AUTH PLAIN =", "AUTH 0 0 PLAIN ''" },
	{ "TLS", A, "STLS", "STLS 0 0" },
	{ "TLS once in", T, "STLS", "Not now" },
	{ "UTF-8", A, "UTF8", "UTF8 0 0" },
	{ "a language", T, "LANG en", "LANG 'en' 0 0" },
	{ "which languages", A, "LANG", "LANG 0 0" },
	{ "STAT", T, "STAT", "STAT 0 0" },
	{ "STAT with a word", T, "STAT 1", "Wrong arguments" },
	{ "all sizes", T, "LIST", "LIST 0 0" },
	{ "one size", T, "LIST 7", "LIST 7 0" },
	{ "message zero", T, "LIST 0", "Wrong arguments" },
	{ "a message with a sign", T, "RETR -1", "Wrong arguments" },
	{ "a message over 32 bits", T, "RETR 4294967296", "Wrong arguments" },
	{ "the last message number", T, "RETR 4294967295", "RETR 4294967295 0" },
	{ "RETR of nothing", T, "RETR", "Wrong arguments" },
	{ "TOP", T, "TOP 3 10", "TOP 3 10" },
	{ "TOP of no lines", T, "TOP 3 0", "TOP 3 0" },
	{ "TOP without lines", T, "TOP 3", "Wrong arguments" },
	{ "TOP with rubbish", T, "TOP 3 x", "Wrong arguments" },
	{ "QUIT at once", A, "QUIT", "QUIT 0 0" },
	{ "CAPA once in", T, "CAPA", "CAPA 0 0" },
	{ "trailing blanks", T, "DELE 1  ", "DELE 1 0" },
	{ "APOP is not offered", A, "APOP alice c4c9334bac560ecc979e58001b3e22fb",
	  "Unknown command" },
	{ "nothing", A, "", "Unknown command" },
	{ "a blank first", A, " QUIT", "Unknown command" },
};

static void run(struct span line, enum pop3_state state, struct buf *got)
{
	struct pop3_command c;
	enum pop3_reply_id why;

	if (pop3_parse(line, state, &c, &why) != ST_OK) {
		buf_str(got, pop3_reply(why)->text);
		return;
	}
	buf_str(got, c.verb->name);
	if (c.text.at)
		buf_printf(got, " '" SPAN_FMT "'", SPAN_ARG(c.text));
	buf_printf(got, " %u %llu", c.number, (unsigned long long)c.lines);
	if (c.mechanism.at)
		buf_printf(got, " " SPAN_FMT, SPAN_ARG(c.mechanism));
	if (c.initial.at)
		buf_printf(got, " '" SPAN_FMT "'", SPAN_ARG(c.initial));
}

static void commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf got = BUF_MAX(4096);

		run(span_str(rows[i].line), rows[i].state, &got);
		buf_char(&got, 0);
		if (strcmp(got.at, rows[i].want) != 0)
			fail_msg("%s: got %s", rows[i].name, got.at);
		buf_free(&got);
	}
}

static void cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t len = 0; len <= strlen(rows[i].line); len++) {
			struct buf got = BUF_MAX(4096);
			char *copy = malloc(len + !len);

			assert_non_null(copy);
			memcpy(copy, rows[i].line, len);
			run(span_of(copy, len), rows[i].state, &got);
			free(copy);
			buf_free(&got);
		}
	}
}

static void a_line_of_256_octets_is_too_long(void **state)
{
	char line[254];
	struct pop3_command c;
	enum pop3_reply_id why;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "USER ", 5);
	assert_int_equal(pop3_parse(span_of(line, 253), A, &c, &why), ST_OK);
	assert_int_equal(pop3_parse(span_of(line, 254), A, &c, &why), ST_BAD);
	assert_int_equal(why, POP3_R_LINE_TOO_LONG);
}

static void rows_stand_in_the_order_of_their_enum(void **state)
{
	(void)state;
	for (size_t i = 0; i < POP3_CMDS; i++)
		assert_int_equal(pop3_verb_at(i)->cmd, i);
	assert_null(pop3_verb_at(POP3_CMDS));
}

static void capabilities_and_replies(void **state)
{
	struct buf out = BUF_MAX(4096);

	(void)state;
	pop3_capa(&out, POP3_CAP_STLS, "", "1.0");
	pop3_capa(&out, POP3_CAP_USER | POP3_CAP_SASL, "PLAIN LOGIN", "1.0");
	pop3_reply_write(&out, POP3_R_IN_USE);
	pop3_reply_say(&out, POP3_R_OK, "2 320\r\nforged");
	buf_char(&out, 0);
	assert_string_equal(out.at,
			    "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\n"
			    "AUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nSTLS\r\nUTF8 USER\r\n"
			    "LANG\r\nIMPLEMENTATION Mailroot 1.0\r\n.\r\n"
			    "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\n"
			    "AUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUSER\r\nUTF8 USER\r\n"
			    "LANG\r\nSASL PLAIN LOGIN\r\nIMPLEMENTATION Mailroot 1.0\r\n.\r\n"
			    "-ERR [IN-USE] Maildrop is in use by another session\r\n"
			    "+OK 2 320??forged\r\n");
	buf_free(&out);
}

static const struct {
	const char *name, *body, *sent;
} bodies[] = {
	{ "lines", "a\r\nb\r\n", "a\r\nb\r\n.\r\n" },
	{ "an empty message", "", ".\r\n" },
	{ "a dot at the start", ".a\r\n", "..a\r\n.\r\n" },
	{ "a line of one dot", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n" },
	{ "dots inside lines", "a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n" },
	{ "many dots", "...\r\n..\r\n", "....\r\n...\r\n.\r\n" },
	{ "no CR LF at the end", "a", "a\r\n.\r\n" },
	{ "a dot as the last byte", "a\r\n.", "a\r\n..\r\n.\r\n" },
	{ "a CR as the last byte", "a\r", "a\r\r\n.\r\n" },
	{ "an LF alone starts no line", "a\n.b\r\n", "a\n.b\r\n.\r\n" },
	{ "a CR alone starts no line", "a\r.b\r\n", "a\r.b\r\n.\r\n" },
	{ "two CRs before an LF", "a\r\r\n.b\r\n", "a\r\r\n..b\r\n.\r\n" },
};

static void stuff(struct pop3_stuffer *s, struct span in, struct buf *out)
{
	while (in.len > 0) {
		size_t used;
		struct span piece = pop3_stuff(s, in, &used);

		assert_true(piece.len > 0);
		buf_span(out, piece);
		in = span_skip(in, used);
	}
}

static void dots_are_stuffed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		for (size_t at = 0; at <= strlen(bodies[i].body); at++) {
			struct pop3_stuffer s = { 0 };
			struct buf out = BUF_MAX(4096);

			stuff(&s, span_of(bodies[i].body, at), &out);
			stuff(&s, span_str(bodies[i].body + at), &out);
			buf_span(&out, pop3_stuff_end(&s));
			buf_char(&out, 0);
			if (strcmp(out.at, bodies[i].sent) != 0)
				fail_msg("%s split at %zu: %s", bodies[i].name, at, out.at);
			buf_free(&out);
		}
	}
}

static void the_top_of_a_message(void **state)
{
	static const struct {
		const char *name, *in;
		uint64_t lines;
		const char *want;
		bool done;
	} tops[] = {
		{ "the fields alone", "A: 1\r\n\r\nx\r\ny\r\n", 0, "A: 1\r\n\r\n", true },
		{ "one line", "A: 1\r\n\r\nx\r\ny\r\n", 1, "A: 1\r\n\r\nx\r\n", true },
		{ "more lines than there are", "A: 1\r\n\r\nx\r\ny\r\n", 9,
		  "A: 1\r\n\r\nx\r\ny\r\n", false },
		{ "no body", "A: 1\r\n", 5, "A: 1\r\n", false },
		{ "no fields", "\r\nx\r\ny\r\n", 1, "\r\nx\r\n", true },
		{ "empty lines count", "A: 1\r\n\r\n\r\n\r\nx\r\n", 1, "A: 1\r\n\r\n\r\n", true },
		{ "an LF alone ends no line", "A: 1\r\n\r\na\nb\r\nc\r\n", 1,
		  "A: 1\r\n\r\na\nb\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		for (size_t at = 0; at <= strlen(tops[i].in); at++) {
			struct pop3_top t = { .lines = tops[i].lines };
			struct buf out = BUF_MAX(4096);
			struct span first = span_of(tops[i].in, at);

			buf_span(&out, span_cut(first, pop3_top_len(&t, first)));
			if (!t.done) {
				struct span rest = span_str(tops[i].in + at);

				buf_span(&out, span_cut(rest, pop3_top_len(&t, rest)));
			}
			buf_char(&out, 0);
			if (strcmp(out.at, tops[i].want) != 0 || t.done != tops[i].done)
				fail_msg("%s split at %zu: %s", tops[i].name, at, out.at);
			buf_free(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(a_line_of_256_octets_is_too_long),
		cmocka_unit_test(rows_stand_in_the_order_of_their_enum),
		cmocka_unit_test(capabilities_and_replies),
		cmocka_unit_test(dots_are_stuffed),
		cmocka_unit_test(the_top_of_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
