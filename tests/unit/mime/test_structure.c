#include "mime/structure.h"
#include "mime/scan.h"
#include "rows.h"

/* A message of the shapes that sections tell apart (the tree of RFC 3501 6.4.5's example). */
static const char message[] = "Subject: outer\r\n"
			      "Content-Type: multipart/mixed; boundary=o\r\n"
			      "\r\n"
			      "--o\r\n"
			      "X: 1\r\n"
			      "\r\n"
			      "text one\r\n"
			      "--o\r\n"
			      "Content-Type: application/octet-stream\r\n"
			      "\r\n"
			      "bytes\r\n"
			      "--o\r\n"
			      "Content-Type: message/rfc822\r\n"
			      "\r\n"
			      "Subject: single\r\n"
			      "\r\n"
			      "inner text\r\n"
			      "--o\r\n"
			      "Content-Type: message/rfc822\r\n"
			      "X: 4\r\n"
			      "\r\n"
			      "Subject: multi\r\n"
			      "Content-Type: multipart/mixed; boundary=i\r\n"
			      "\r\n"
			      "--i\r\n"
			      "\r\n"
			      "first\r\n"
			      "--i\r\n"
			      "Content-Type: multipart/alternative; boundary=j\r\n"
			      "\r\n"
			      "--j\r\n"
			      "X: 4.2.1\r\n"
			      "\r\n"
			      "plain\r\n"
			      "--j--\r\n"
			      "--i--\r\n"
			      "--o\r\n"
			      "Content-Type: multipart/mixed; boundary=never\r\n"
			      "\r\n"
			      "nothing\r\n"
			      "--o--\r\n";

static const char bodystructure[] =
	"((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 8 0 NIL NIL NIL NIL)"
	"(\"application\" \"octet-stream\" NIL NIL NIL \"7BIT\" 5 NIL NIL NIL NIL)"
	"(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 29"
	" (NIL \"single\" NIL NIL NIL NIL NIL NIL NIL NIL)"
	" (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 10 0 NIL NIL NIL NIL)"
	" 2 NIL NIL NIL NIL)"
	"(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 167"
	" (NIL \"multi\" NIL NIL NIL NIL NIL NIL NIL NIL)"
	" ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0 NIL NIL NIL NIL)"
	"((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0 NIL NIL NIL NIL)"
	" \"alternative\" (\"boundary\" \"j\") NIL NIL NIL)"
	" \"mixed\" (\"boundary\" \"i\") NIL NIL NIL)"
	" 14 NIL NIL NIL NIL)"
	"((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"
	" \"mixed\" (\"boundary\" \"never\") NIL NIL NIL)"
	" \"mixed\" (\"boundary\" \"o\") NIL NIL NIL)";

static const char body[] =
	"((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 8 0)"
	"(\"application\" \"octet-stream\" NIL NIL NIL \"7BIT\" 5)"
	"(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 29"
	" (NIL \"single\" NIL NIL NIL NIL NIL NIL NIL NIL)"
	" (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 10 0) 2)"
	"(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 167"
	" (NIL \"multi\" NIL NIL NIL NIL NIL NIL NIL NIL)"
	" ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0)"
	"((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0) \"alternative\")"
	" \"mixed\") 14)"
	"((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) \"mixed\")"
	" \"mixed\")";

struct fixture {
	struct buf bytes;
	struct pool *pool;
	struct mime_tree tree;
};

/* The tree as it comes back from its bytes. */
static void load(struct fixture *f, struct span m)
{
	struct mime_scan *s = mime_scan_new(NULL);
	struct mime_tree t;

	mime_scan_feed(s, m.at, m.len);
	assert_int_equal(mime_scan_end(s, NULL), ST_OK);
	t = mime_scan_tree(s);
	f->bytes = BUF_MAX(1 << 20);
	f->pool = pool_new("test", 1 << 20);
	mime_tree_write(&t, &f->bytes);
	mime_scan_free(s);
	assert_int_equal(mime_tree_read(buf_get(&f->bytes), f->pool, &f->tree, NULL), ST_OK);
}

static void unload(struct fixture *f)
{
	pool_free(f->pool);
	buf_free(&f->bytes);
}

static void test_body_and_bodystructure(void **state)
{
	struct fixture f;
	struct buf out = BUF_MAX(1 << 16);

	(void)state;
	load(&f, span_str(message));
	mime_bodystructure(&f.tree, true, &out);
	expect_buf("BODYSTRUCTURE", &out, bodystructure);
	mime_bodystructure(&f.tree, false, &out);
	expect_buf("BODY", &out, body);
	buf_free(&out);
	unload(&f);
}

static void test_sections(void **state)
{
	static const struct {
		const char *path;
		enum st st;
		const char *want;
	} rows[] = {
		{ "", ST_OK, message },
		{ "1", ST_OK, "text one" },
		{ "1.MIME", ST_OK, "X: 1\r\n\r\n" },
		{ "1.mime", ST_OK, "X: 1\r\n\r\n" },
		{ "2", ST_OK, "bytes" },
		{ "3", ST_OK, "Subject: single\r\n\r\ninner text" },
		{ "3.HEADER", ST_OK, "Subject: single\r\n\r\n" },
		{ "3.header", ST_OK, "Subject: single\r\n\r\n" },
		{ "3.TEXT", ST_OK, "inner text" },
		{ "3.MIME", ST_OK, "Content-Type: message/rfc822\r\n\r\n" },
		{ "3.1", ST_OK, "inner text" },
		{ "3.1.MIME", ST_OK, "Subject: single\r\n\r\n" },
		{ "4.MIME", ST_OK, "Content-Type: message/rfc822\r\nX: 4\r\n\r\n" },
		{ "4.HEADER", ST_OK,
		  "Subject: multi\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n" },
		{ "4.1", ST_OK, "first" },
		{ "4.2", ST_OK, "--j\r\nX: 4.2.1\r\n\r\nplain\r\n--j--" },
		{ "4.2.1", ST_OK, "plain" },
		{ "4.2.1.MIME", ST_OK, "X: 4.2.1\r\n\r\n" },
		{ "5", ST_OK, "nothing" },
		{ "5.1", ST_OK, "" },
		{ "5.1.MIME", ST_OK, "" },
		{ "5.2", ST_NOTFOUND, NULL },
		{ "5.1.1", ST_NOTFOUND, NULL },
		{ "6", ST_NOTFOUND, NULL },
		{ "4294967295", ST_NOTFOUND, NULL },
		{ "1.1", ST_NOTFOUND, NULL },
		{ "1.HEADER", ST_NOTFOUND, NULL },
		{ "1.TEXT", ST_NOTFOUND, NULL },
		{ "3.2", ST_NOTFOUND, NULL },
		{ "3.1.1", ST_NOTFOUND, NULL },
		{ "3.1.TEXT", ST_NOTFOUND, NULL },
		{ "4.2.HEADER", ST_NOTFOUND, NULL },
		{ "4.3", ST_NOTFOUND, NULL },
		{ "MIME", ST_BAD, NULL },
		{ "0", ST_BAD, NULL },
		{ "01", ST_BAD, NULL },
		{ "1.0", ST_BAD, NULL },
		{ "1.", ST_BAD, NULL },
		{ ".1", ST_BAD, NULL },
		{ "1..2", ST_BAD, NULL },
		{ "-1", ST_BAD, NULL },
		{ "4294967296", ST_BAD, NULL },
		{ "1.X", ST_BAD, NULL },
		{ "HEADER.1", ST_BAD, NULL },
		{ "TEXT.MIME", ST_BAD, NULL },
		{ "HEADER.FIELDS", ST_BAD, NULL },
		{ "1 ", ST_BAD, NULL },
	};
	struct fixture f;

	(void)state;
	load(&f, span_str(message));
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span path = exact_copy(span_str(rows[i].path));
		struct mime_section section = { 0 };

		if (mime_section(&f.tree, path, &section, NULL) != rows[i].st)
			fail_msg("[%s]: not what it should be", rows[i].path);
		if (rows[i].want)
			expect_span(rows[i].path, span_of(message + section.at, section.len),
				    span_str(rows[i].want));
		free_copy(path);
	}
	unload(&f);
}

static void test_sections_of_a_plain_message(void **state)
{
	static const char plain[] = "Subject: s\r\n\r\nbody\r\n";
	static const struct {
		const char *path, *want; /* NULL: not there */
	} rows[] = {
		{ "", plain },
		{ "1", "body\r\n" },
		{ "TEXT", "body\r\n" },
		{ "HEADER", "Subject: s\r\n\r\n" },
		{ "1.MIME", "Subject: s\r\n\r\n" },
		{ "2", NULL },
		{ "1.1", NULL },
		{ "1.TEXT", NULL },
	};
	struct mime_section section;
	struct fixture f;

	(void)state;
	load(&f, span_str(plain));
	for (size_t i = 0; i < ROWS(rows); i++) {
		enum st st = mime_section(&f.tree, span_str(rows[i].path), &section, NULL);

		assert_int_equal(st, rows[i].want ? ST_OK : ST_NOTFOUND);
		if (rows[i].want)
			expect_span(rows[i].path, span_of(plain + section.at, section.len),
				    span_str(rows[i].want));
	}
	unload(&f);
}

static void test_a_message_that_is_a_message(void **state)
{
	static const char outer[] = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody";
	static const struct {
		const char *path, *want;
	} rows[] = {
		{ "TEXT", "Subject: in\r\n\r\nbody" },
		{ "1", "Subject: in\r\n\r\nbody" },
		{ "1.HEADER", "Subject: in\r\n\r\n" },
		{ "1.TEXT", "body" },
		{ "1.1", "body" },
	};
	struct mime_section section;
	struct fixture f;

	(void)state;
	load(&f, span_str(outer));
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_int_equal(mime_section(&f.tree, span_str(rows[i].path), &section, NULL),
				 ST_OK);
		expect_span(rows[i].path, span_of(outer + section.at, section.len),
			    span_str(rows[i].want));
	}
	unload(&f);
}

/* Use everything of a tree that was read from hostile bytes. */
static void use(const struct mime_tree *t)
{
	struct buf out = BUF_MAX(1 << 22);
	struct mime_section section;

	mime_bodystructure(t, true, &out);
	mime_section(t, SPAN("1.1.1"), &section, NULL);
	mime_section(t, SPAN("4.2.1.MIME"), &section, NULL);
	buf_clear(&out);
	mime_tree_write(t, &out);
	buf_free(&out);
}

static void test_bad_bytes_are_refused_or_safe(void **state)
{
	struct pool *pool = pool_new("test", 1 << 16);
	struct fixture f;
	struct mime_tree t;
	unsigned refused = 0;

	(void)state;
	load(&f, span_str(message));
	for (size_t cut = 0; cut < f.bytes.len; cut++) {
		struct span bytes = exact_copy(span_cut(buf_get(&f.bytes), cut));

		assert_int_equal(mime_tree_read(bytes, pool, &t, NULL), ST_BAD);
		pool_back(pool, 0);
		free_copy(bytes);
	}
	for (size_t bit = 0; bit < f.bytes.len * 8; bit++) {
		struct span bytes = exact_copy(buf_get(&f.bytes));

		((char *)(uintptr_t)bytes.at)[bit / 8] ^= (char)(1 << bit % 8);
		if (mime_tree_read(bytes, pool, &t, NULL) == ST_OK)
			use(&t);
		else
			refused++;
		pool_back(pool, 0);
		free_copy(bytes);
	}
	assert_true(refused > 0);
	buf_char(&f.bytes, 0);
	assert_int_equal(mime_tree_read(buf_get(&f.bytes), pool, &t, NULL), ST_BAD);
	pool_free(pool);
	unload(&f);
}

static void test_a_small_pool_is_refused(void **state)
{
	struct fixture f;
	struct mime_tree t = { 0 };
	struct pool *pool = pool_new("test", 256);

	(void)state;
	load(&f, span_str(message));
	assert_int_equal(mime_tree_read(buf_get(&f.bytes), pool, &t, NULL), ST_TOOBIG);
	assert_null(t.parts);
	pool_free(pool);
	unload(&f);
}

static void test_strings(void **state)
{
	static const struct {
		const char *name, *in, *want;
	} rows[] = {
		{ "plain", "abc def", "\"abc def\"" },
		{ "empty", "", "\"\"" },
		{ "a quote", "a\"b", "{3}\r\na\"b" },
		{ "a backslash", "a\\b", "{3}\r\na\\b" },
		{ "8-bit", "\xc3\xa4", "{2}\r\n\xc3\xa4" },
		{ "a line end", "a\r\nb", "{4}\r\na\r\nb" },
		{ "signs of the protocol are quoted", "(a) {3} NIL *%", "\"(a) {3} NIL *%\"" },
	};
	struct buf out = BUF_MAX(256);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		imap_nstring(span_str(rows[i].in), &out);
		expect_buf(rows[i].name, &out, rows[i].want);
	}
	imap_nstring(SPAN_NONE, &out);
	expect_buf("absent", &out, "NIL");
	imap_nstring(SPAN("a\0b"), &out);
	expect_buf("NUL", &out, "\"a b\"");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_body_and_bodystructure),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_sections_of_a_plain_message),
		cmocka_unit_test(test_a_message_that_is_a_message),
		cmocka_unit_test(test_bad_bytes_are_refused_or_safe),
		cmocka_unit_test(test_a_small_pool_is_refused),
		cmocka_unit_test(test_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
