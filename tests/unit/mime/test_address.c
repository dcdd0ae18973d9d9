#include "mime/address.h"
#include "rows.h"

static void put_field(struct buf *out, struct span s)
{
	if (s.at)
		buf_span(out, s);
	else
		buf_char(out, '-');
}

/* [name|adl|mailbox|host], absent as "-" */
static void put_one(struct buf *out, const struct mime_address *a)
{
	buf_char(out, '[');
	put_field(out, a->name);
	buf_char(out, '|');
	put_field(out, a->adl);
	buf_char(out, '|');
	put_field(out, a->mailbox);
	buf_char(out, '|');
	put_field(out, a->host);
	buf_char(out, ']');
	/* The kinds are what RFC 3501 tells apart by NIL. */
	if (a->kind == MIME_ADDRESS)
		assert_true(a->mailbox.at && a->host.at);
	if (a->kind == MIME_GROUP_BEGIN)
		assert_true(a->mailbox.at && !a->host.at);
	if (a->kind == MIME_GROUP_END)
		assert_true(!a->mailbox.at && !a->host.at);
}

static const struct {
	const char *name, *in, *want, *text;
} rows[] = {
	{ "bare", "joe@example.org", "[-|-|joe|example.org]", "joe@example.org" },
	{ "in brackets", "<joe@example.org>", "[-|-|joe|example.org]", "joe@example.org" },
	{ "a name", "Joe Doe <joe@example.org>", "[Joe Doe|-|joe|example.org]",
	  "Joe Doe <joe@example.org>" },
	{ "a quoted name", "\"Doe, Joe\" <joe@x>", "[Doe, Joe|-|joe|x]", "\"Doe, Joe\" <joe@x>" },
	{ "quotes in quotes", "\"Joe \\\"X\\\" Doe\" <joe@x>", "[Joe \"X\" Doe|-|joe|x]",
	  "\"Joe \"X\" Doe\" <joe@x>" },
	{ "a dot in the name", "Joe Q. Public <john.q.public@example.com>",
	  "[Joe Q. Public|-|john.q.public|example.com]",
	  "Joe Q. Public <john.q.public@example.com>" },
	{ "words and quotes", "Joe \"the\" Doe <joe@x>", "[Joe the Doe|-|joe|x]",
	  "Joe the Doe <joe@x>" },
	{ "a list", "a@b, c@d ,e@f", "[-|-|a|b][-|-|c|d][-|-|e|f]", "a@b, c@d, e@f" },
	{ "empty places", ",, a@b,,c@d,", "[-|-|a|b][-|-|c|d]", "a@b, c@d" },
	{ "semicolons between", "a@b; c@d;", "[-|-|a|b][-|-|c|d]", "a@b, c@d" },
	{ "folded", "Joe\r\n Doe\r\n\t<joe@x>", "[Joe Doe|-|joe|x]", "Joe Doe <joe@x>" },
	{ "a group", "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
	  "[-|-|A Group|-][Ed Jones|-|c|a.test][-|-|joe|where.test][John|-|jdoe|one.test][-|-|-|-]",
	  "A Group: Ed Jones <c@a.test>, joe@where.test, John <jdoe@one.test>;" },
	{ "an empty group", "undisclosed-recipients:;", "[-|-|undisclosed-recipients|-][-|-|-|-]",
	  "undisclosed-recipients: ;" },
	{ "a group of blanks", "(x) : (y) ; z@z", "[-|-||-][-|-|-|-][-|-|z|z]", ": ;, z@z" },
	{ "a group among others", "a@b, G: c@d;, e@f",
	  "[-|-|a|b][-|-|G|-][-|-|c|d][-|-|-|-][-|-|e|f]", "a@b, G: c@d;, e@f" },
	{ "a group that is not closed", "G: a@b, c@d", "[-|-|G|-][-|-|a|b][-|-|c|d][-|-|-|-]",
	  "G: a@b, c@d;" },
	{ "no group in a group", "G: H: a@b;", "[-|-|G|-][H:|-|a|b][-|-|-|-]", "G: \"H:\" <a@b>;" },
	{ "a comment is the name", "joe@x.org (Joe Doe)", "[Joe Doe|-|joe|x.org]",
	  "Joe Doe <joe@x.org>" },
	{ "the last comment", "(a)joe@x.org(b)(c (nested) \\) d)", "[c (nested) ) d|-|joe|x.org]",
	  "\"c (nested) ) d\" <joe@x.org>" },
	{ "no comment besides a name", "Joe (x) <joe@x.org> (y)", "[Joe|-|joe|x.org]",
	  "Joe <joe@x.org>" },
	{ "RFC 5322 A.5", "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
	  "[Pete|-|pete|silly.test]", "Pete <pete@silly.test>" },
	{ "RFC 5322 A.6.1", "Joe Q. Public <john.q.public@example.com>",
	  "[Joe Q. Public|-|john.q.public|example.com]",
	  "Joe Q. Public <john.q.public@example.com>" },
	{ "RFC 5322 A.6.3", "John Doe <jdoe@machine(comment).  example>",
	  "[John Doe|-|jdoe|machine.example]", "John Doe <jdoe@machine.example>" },
	{ "RFC 5322 A.6.1, a route", "<@node.test,@other:mary@example.net>, , jdoe@test  . example",
	  "[-|@node.test,@other|mary|example.net][-|-|jdoe|test.example]",
	  "mary@example.net, jdoe@test.example" },
	{ "blanks around dots", "joe . doe @ x . org", "[-|-|joe.doe|x.org]", "joe.doe@x.org" },
	{ "a quoted local part", "\"joe doe\"@x.org", "[-|-|joe doe|x.org]", "joe doe@x.org" },
	{ "quoted inside brackets", "X <\"a,b>c\"@x.org>, d@e", "[X|-|a,b>c|x.org][-|-|d|e]",
	  "X <a,b>c@x.org>, d@e" },
	{ "a literal", "joe@[192.0.2.1], joe@[IPv6:2001:db8::1]",
	  "[-|-|joe|[192.0.2.1]][-|-|joe|[IPv6:2001:db8::1]]",
	  "joe@[192.0.2.1], joe@[IPv6:2001:db8::1]" },
	{ "no host", "root", "[-|-|root|]", "root" },
	{ "no host in brackets", "Root <root>", "[Root|-|root|]", "Root <root>" },
	{ "no host, words", "Joe Doe", "[-|-|Joe Doe|]", "Joe Doe" },
	{ "nothing in brackets", "<>", "[-|-||]", "" },
	{ "a name and nothing", "Joe <>", "[Joe|-||]", "Joe <>" },
	{ "an address as the name", "joe@example.org <joe@example.org>",
	  "[joe@example.org|-|joe|example.org]", "\"joe@example.org\" <joe@example.org>" },
	{ "words in front of a bare one", "Joe Doe joe@x.org", "[Joe Doe|-|joe|x.org]",
	  "Joe Doe <joe@x.org>" },
	{ "not closed", "Joe <joe@x.org", "[Joe|-|joe|x.org]", "Joe <joe@x.org>" },
	{ "not closed, and another", "Joe <joe@x.org, b@c", "[Joe|-|joe|x.org][-|-|b|c]",
	  "Joe <joe@x.org>, b@c" },
	{ "two at signs", "<joe@x@y>, joe@x@y", "[-|-|joe@x|y][-|-|joe@x|y]", "joe@x@y, joe@x@y" },
	{ "noise behind", "Joe <joe@x> junk, b@c", "[Joe|-|joe|x][-|-|b|c]", "Joe <joe@x>, b@c" },
	{ "a quote that is not closed", "\"Joe <joe@x>, b@c", "[-|-|Joe <joe@x>, b@c|]",
	  "Joe <joe@x>, b@c" },
	{ "a comment that is not closed", "joe@x (Joe", "[Joe|-|joe|x]", "Joe <joe@x>" },
	{ "encoded", "=?utf-8?Q?J=C3=BCrgen?= <j@x>", "[=?utf-8?Q?J=C3=BCrgen?=|-|j|x]",
	  "Jürgen <j@x>" },
	{ "encoded with what should be quoted", "=?utf-8?Q?Doe,_J._<x>?= <j@x>",
	  "[=?utf-8?Q?Doe,_J._<x>?=|-|j|x]", "\"Doe, J. <x>\" <j@x>" },
	{ "encoded in a comment", "j@x (=?utf-8?Q?J=C3=BC?=)", "[=?utf-8?Q?J=C3=BC?=|-|j|x]",
	  "Jü <j@x>" },
	{ "utf-8", "Jürgen <jürgen@grün.example>", "[Jürgen|-|jürgen|grün.example]",
	  "Jürgen <jürgen@grün.example>" },
	{ "only a comment", "(nobody)", "", "" },
	{ "only signs", ">>>)) ]", "[-|-|>>>)) ]|]", ">>>)) ]" },
	{ "an at sign", "@", "[-|-||]", "" },
	{ "a host", "@x.org", "[-|-||x.org]", "@x.org" },
	{ "blanks", " \r\n\t ", "", "" },
	{ "nothing", "", "", "" },
};

static void test_lists(void **state)
{
	struct buf out = BUF_MAX(4096);
	struct pool *pool = pool_new("test", 65536);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span in = exact_copy(span_str(rows[i].in));
		struct mime_address_iter it;
		struct mime_address a, *list;
		size_t n;

		mime_addresses_begin(&it, in);
		while (mime_address_next(&it, &a))
			put_one(&out, &a);
		mime_addresses_end(&it);
		expect_buf(rows[i].name, &out, rows[i].want);
		assert_int_equal(mime_addresses(in, pool, &list, &n, NULL), ST_OK);
		free_copy(in);
		for (size_t k = 0; k < n; k++)
			put_one(&out, &list[k]);
		expect_buf(rows[i].name, &out, rows[i].want);
		mime_addresses_text(span_str(rows[i].in), &out);
		expect_buf(rows[i].name, &out, rows[i].text);
		pool_back(pool, 0);
	}
	pool_free(pool);
	buf_free(&out);
}

static void test_any_cut_ends(void **state)
{
	struct buf out = BUF_MAX(4096);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		for (size_t cut = 0; cut < strlen(rows[i].in); cut++) {
			struct span in = exact_copy(span_cut(span_str(rows[i].in), cut));
			struct mime_address_iter it;
			struct mime_address a;

			mime_addresses_begin(&it, in);
			while (mime_address_next(&it, &a))
				put_one(&out, &a);
			assert_false(out.failed);
			buf_clear(&out);
			mime_addresses_end(&it);
			free_copy(in);
		}
	buf_free(&out);
}

static void test_a_full_pool_keeps_what_fits(void **state)
{
	struct buf in = BUF_MAX(1 << 20);
	struct pool *pool = pool_new("test", 65536);
	struct mime_address *list;
	size_t n;

	(void)state;
	for (unsigned i = 0; i < 20000; i++)
		buf_printf(&in, "a%u@b, ", i);
	assert_int_equal(mime_addresses(buf_get(&in), pool, &list, &n, NULL), ST_TOOBIG);
	assert_in_range(n, 64, 1000);
	expect_span("the last one", list[n - 1].host, SPAN("b"));
	pool_free(pool);
	buf_free(&in);
}

static void test_hostile_lists_cost_little(void **state)
{
	static const char *const pieces[] = { "=?a.", "(", "<", "\"", "@",
					      "a:",   "[", ",", "\\", "=?x?q?" };
	struct buf in = BUF_MAX(1 << 20), out = BUF_MAX(16 << 20);

	(void)state;
	for (size_t i = 0; i < ROWS(pieces); i++) {
		buf_clear(&in);
		buf_clear(&out);
		while (in.len < 256 * 1024)
			buf_str(&in, pieces[i]);
		mime_addresses_text(buf_get(&in), &out);
		assert_false(out.failed);
	}
	buf_free(&in);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_any_cut_ends),
		cmocka_unit_test(test_a_full_pool_keeps_what_fits),
		cmocka_unit_test(test_hostile_lists_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
