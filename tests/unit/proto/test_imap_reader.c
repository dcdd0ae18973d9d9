/* The IMAP reader: limits, pipelines, messages of APPEND that are not wanted. */
#include "imap_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void expect(struct imap_feed *f, const char *want)
{
	struct buf out = BUF_MAX(1 << 20);

	imap_transcript(f, &out);
	buf_char(&out, '\0');
	if (strcmp(out.at, want) != 0)
		print_message("first %zu, step %zu\n", f->first, f->step);
	assert_string_equal(out.at, want);
	buf_free(&out);
}

static void expect_split(struct imap_feed *f, const char *want)
{
	for (f->first = 0; f->first < f->in.len; f->first++)
		expect(f, want);
	f->first = f->step = 1;
	expect(f, want);
	f->first = f->step = 0;
}

static struct imap_feed feed(const char *in)
{
	return (struct imap_feed){ .in = span_str(in),
				   .state = IMAP_SELECTED,
				   .exts = IMAP_EXT_SERVED };
}

static void commands_come_one_by_one_out_of_a_pipeline(void **state)
{
	struct imap_feed f =
		feed("a NOOP\r\nb COPY 1 {3+}\r\nxyz\r\nc BAD\r\nd APPEND x {1+}\r\n!\r\n"
		     "e LOGOUT\r\nf NOO");

	(void)state;
	expect_split(&f, "a NOOP\nb COPY 1 'xyz'\nc BAD no such command\n"
			 "STREAM d APPEND 'x' () size+=1\nDATA '!'\nd APPEND 'x' () size+=1\n"
			 "e LOGOUT\nMORE\n");
}

static void refused_messages_are_thrown_away(void **state)
{
	struct imap_feed f = feed("a APPEND x {10+}\r\ny LOGOUT\r\n\r\nb NOOP\r\n");

	(void)state;
	f.refuse = true;
	expect_split(&f, "STREAM a APPEND 'x' () size+=10\nb NOOP\n");
	/* A client that waited sends nothing of it. */
	f = feed("a APPEND x {10}\r\nb NOOP\r\n");
	f.refuse = true;
	expect_split(&f, "STREAM a APPEND 'x' () size=10\nb NOOP\n");
	f = feed("a APPEND x {10+}\r\ny LOGOUT\r\n (\\Seen) {5+}\r\nabcde\r\nb NOOP\r\n");
	f.refuse = true;
	expect_split(&f, "STREAM a APPEND 'x' () size+=10\nb NOOP\n");
}

static void messages_given_up_half_way_are_thrown_away(void **state)
{
	struct imap_feed f = feed("a APPEND x {10}\r\ny LOGOUT\r\n\r\nb NOOP\r\n");

	(void)state;
	f.abandon = true;
	expect_split(&f, "STREAM a APPEND 'x' () size=10\nDATA 'y LOG'\nb NOOP\n");
}

static void what_is_too_long_to_throw_away_ends_the_connection(void **state)
{
	struct imap_feed f = feed("a APPEND x {134217729+}\r\n");

	(void)state;
	f.refuse = true;
	expect(&f, "STREAM a APPEND 'x' () size+=134217729\nCLOSE\n");
	f = feed("a SELECT {134217728+}\r\n");
	expect(&f, "a BAD SELECT: the literals are too large\n");
	f = feed("a SELECT {134217729+}\r\n");
	expect(&f, "a BAD SELECT: the literals are too large\nCLOSE\n");
	f = feed("a SELECT {99999999999999999999999999999999+}\r\n");
	expect(&f, "a BAD SELECT: the number is too large\nCLOSE\n");
	f = feed("a NOOP\nb {99999999999999999999999999999999+}\r\n");
	expect_split(&f, "a BAD a line ends in CR LF\n* BAD the literal is too large\nCLOSE\n");
}

static void the_text_of_a_command_has_a_limit(void **state)
{
	struct imap_feed f = feed("a SELECT {6+}\r\n012345 \r\nb NOOP\r\n");

	(void)state;
	/* 15 octets of the first line, 3 behind the literal. */
	f.line_max = 18;
	expect_split(&f, "a BAD SELECT: '(' is expected\nb NOOP\n");
	f.line_max = 17;
	expect_split(&f, "a BAD the line is too long\nb NOOP\n");
	f.line_max = 15;
	expect_split(&f, "a BAD the line is too long\nb NOOP\n");
	/* A line that is refused may end in a literal that has to be thrown away as well. */
	f.line_max = 14;
	expect_split(&f, "a BAD the line is too long\nb NOOP\n");
	f.line_max = 8;
	expect_split(&f, "a BAD the line is too long\nb NOOP\n");
}

static void literals_have_a_limit_together(void **state)
{
	struct imap_feed f = feed("a RENAME {3+}\r\nabc {4+}\r\ndefg\r\nb NOOP\r\n");

	(void)state;
	f.literals_max = 7;
	expect_split(&f, "a RENAME 'abc' 'defg'\nb NOOP\n");
	f.literals_max = 6;
	expect_split(&f, "a BAD RENAME: the literals are too large\nb NOOP\n");
	f = feed("a RENAME {3}\r\nabc {4}\r\nb NOOP\r\n");
	f.literals_max = 6;
	expect_split(&f, "+\na BAD RENAME: the literals are too large\nb NOOP\n");
}

static void a_line_without_end_ends_the_connection(void **state)
{
	size_t len = IMAP_SKIP_MAX + 2 * IMAP_LINE_MAX;
	char *line = malloc(len);

	(void)state;
	assert_non_null(line);
	memset(line, 'a', len);
	memcpy(line, "tag LOGIN ", 10);
	struct imap_feed f = { .in = span_of(line, len), .state = IMAP_NOT_AUTH, .exts = 0 };
	f.first = f.step = 4096;
	expect(&f, "tag BAD the line is too long\n* BAD the line has no end\nCLOSE\n");
	free(line);
}

static void many_literals_are_looked_at_once(void **state)
{
	struct buf in = BUF_MAX(1 << 20), want = BUF_MAX(1 << 20);

	(void)state;
	buf_str(&in, "a SEARCH OR");
	buf_str(&want, "a SEARCH or (");
	for (int i = 0; i < 400; i++) {
		buf_str(&in, i && i < 399 ? " OR TEXT {2+}\r\nxy" : " TEXT {2+}\r\nxy");
		buf_str(&want, " text 'xy'");
	}
	buf_str(&in, "\r\n");
	buf_add(&want, " )\n", 4);
	struct imap_feed f = { .in = buf_get(&in),
			       .state = IMAP_SELECTED,
			       .exts = IMAP_EXT_SERVED };
	expect(&f, want.at);
	f.first = f.step = 7;
	expect(&f, want.at);
	buf_free(&in);
	buf_free(&want);
}

/* A command that counts: `times` pieces between head and tail are taken, one more is not. */
static const struct count {
	const char *name, *head, *piece, *middle, *close, *tail;
	size_t times;
	const char *want;
} counts[] = {
	{ "ranges", "a FETCH 1", ",1", " UID", "", "\r\n", IMAP_SET_MAX - 1,
	  "a BAD FETCH: the set has too many ranges\n" },
	{ "parentheses", "a SEARCH ", "(", "SEEN", ")", "\r\n", IMAP_DEPTH_MAX - 1,
	  "a BAD SEARCH: nested too deeply\n" },
	{ "NOTs", "a SEARCH ", "NOT ", "SEEN", "", "\r\n", IMAP_DEPTH_MAX - 1,
	  "a BAD SEARCH: nested too deeply\n" },
	{ "ORs inside ORs", "a SEARCH ", "OR ", "SEEN", " SEEN", "\r\n", IMAP_DEPTH_MAX - 1,
	  "a BAD SEARCH: nested too deeply\n" },
	/* The root is a node too. */
	{ "keys", "a SEARCH SEEN", " 1", "", "", "\r\n", IMAP_KEYS_MAX - 2,
	  "a BAD SEARCH: too many search keys\n" },
	{ "body parts", "a FETCH 1 BODY[1", ".1", "", "", "]\r\n", IMAP_DEPTH_MAX - 1,
	  "a BAD FETCH: nested too deeply\n" },
	{ "ID pairs", "a ID (\"\" NIL", " \"\" NIL", ")", "", "\r\n", IMAP_ID_MAX - 1,
	  "a BAD ID: too many pairs\n" },
	{ "octets of a pattern", "a LIST \"\" a", "b", "", "", "\r\n", IMAP_PATTERN_MAX - 1,
	  "a BAD LIST: the pattern is too long\n" },
	{ "octets of a tag", "a", "b", " NOOP", "", "\r\n", IMAP_TAG_MAX - 1,
	  "* BAD a tag is expected\n" },
	{ "octets of a line", "a SELECT \"", "b", "", "", "\"\r\n", IMAP_LINE_MAX - 13,
	  "a BAD the line is too long\n" },
};

static void count_run(const struct count *c, size_t times, struct buf *out)
{
	struct buf in = BUF_MAX(1 << 20);

	buf_str(&in, c->head);
	for (size_t i = 0; i < times; i++)
		buf_str(&in, c->piece);
	buf_str(&in, c->middle);
	for (size_t i = 0; i < times; i++)
		buf_str(&in, c->close);
	buf_str(&in, c->tail);
	struct imap_feed f = { .in = buf_get(&in),
			       .state = IMAP_SELECTED,
			       .exts = IMAP_EXT_SERVED };
	imap_transcript(&f, out);
	buf_char(out, '\0');
	buf_free(&in);
}

static void every_count_has_a_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		const struct count *c = &counts[i];
		struct buf most = BUF_MAX(1 << 20), over = BUF_MAX(1 << 20);

		count_run(c, c->times, &most);
		count_run(c, c->times + 1, &over);
		if (strstr(most.at, "BAD") || strcmp(over.at, c->want) != 0)
			print_message("row \"%s\"\n", c->name);
		assert_null(strstr(most.at, "BAD"));
		assert_string_equal(over.at, c->want);
		buf_free(&most);
		buf_free(&over);
	}
}

static void keywords_have_a_limit(void **state)
{
	struct buf in = BUF_MAX(1 << 20);

	(void)state;
	buf_str(&in, "a STORE 1 FLAGS (");
	for (int i = 0; i <= IMAP_KEYWORDS_MAX; i++)
		buf_printf(&in, i ? " k%d" : "k%d", i);
	buf_str(&in, ")\r\n");
	struct imap_feed f = { .in = buf_get(&in), .state = IMAP_SELECTED };
	expect(&f, "a BAD STORE: too many keywords\n");
	buf_free(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_come_one_by_one_out_of_a_pipeline),
		cmocka_unit_test(refused_messages_are_thrown_away),
		cmocka_unit_test(messages_given_up_half_way_are_thrown_away),
		cmocka_unit_test(what_is_too_long_to_throw_away_ends_the_connection),
		cmocka_unit_test(the_text_of_a_command_has_a_limit),
		cmocka_unit_test(literals_have_a_limit_together),
		cmocka_unit_test(a_line_without_end_ends_the_connection),
		cmocka_unit_test(many_literals_are_looked_at_once),
		cmocka_unit_test(every_count_has_a_limit),
		cmocka_unit_test(keywords_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
