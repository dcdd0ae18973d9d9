#include "mime/scan.h"
#include "mime/structure.h"
#include "rows.h"

/* ---- a tree as text: one part a line, indented, a leaf's body in <> with "/" for line ends ---- */

static void put_body(struct buf *out, struct span body)
{
	buf_str(out, " <");
	for (size_t i = 0; i < body.len; i++)
		if (body.at[i] != '\r')
			buf_char(out, body.at[i] == '\n' ? '/' : body.at[i]);
	buf_char(out, '>');
}

static void lower_into(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_char(out, s.at[i] >= 'A' && s.at[i] <= 'Z' ? (char)(s.at[i] + 32) : s.at[i]);
}

static void put_tree(struct buf *out, const struct mime_tree *t, uint32_t part, unsigned depth,
		     struct span message)
{
	const struct mime_part *p = &t->parts[part];

	for (unsigned i = 0; i < depth; i++)
		buf_char(out, ' ');
	lower_into(out, p->type);
	buf_char(out, '/');
	lower_into(out, p->subtype);
	assert_true(mime_body_at(p) + p->body_len <= message.len);
	if (p->kind == MIME_LEAF || p->kind == MIME_TEXT)
		put_body(out, span_of(message.at + mime_body_at(p), p->body_len));
	buf_char(out, '\n');
	for (uint32_t i = p->first_child; i != MIME_NONE; i = t->parts[i].next) {
		assert_int_equal(t->parts[i].parent, part);
		put_tree(out, t, i, depth + 1, message);
	}
}

/* Every line end count is the one that counting gives. */
static void check_lines(const struct mime_tree *t, struct span message)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct mime_part *p = &t->parts[i];
		uint64_t lines = 0;

		for (uint64_t k = 0; k < p->body_len; k++)
			lines += message.at[mime_body_at(p) + k] == '\n';
		if (lines != p->lines)
			fail_msg("part %zu: %u lines, not %u", i, (unsigned)p->lines,
				 (unsigned)lines);
	}
}

static struct mime_scan *scan_pieces(struct span m, size_t cut, size_t step)
{
	struct mime_scan *s = mime_scan_new(NULL);

	for (size_t at = 0; at < m.len;) {
		size_t n = at < cut && at + step > cut ? cut - at : step;
		struct span piece;

		if (n > m.len - at)
			n = m.len - at;
		piece = exact_copy(span_of(m.at + at, n));
		mime_scan_feed(s, piece.at, piece.len);
		free_copy(piece);
		at += n;
	}
	assert_int_equal(mime_scan_end(s, NULL), ST_OK);
	return s;
}

/* Everything that a scan says, so that all ways of splitting can be compared. */
static void put_scan(struct buf *out, struct mime_scan *s, struct span message)
{
	struct mime_tree t = mime_scan_tree(s);

	assert_int_equal(mime_scan_size(s), message.len);
	check_lines(&t, message);
	put_tree(out, &t, 0, 0, message);
	buf_printf(out, "flags %x lines %u header %zu preview ", mime_scan_flags(s),
		   (unsigned)mime_scan_lines(s), mime_scan_header(s).len);
	buf_span(out, mime_scan_preview(s));
	mime_tree_write(&t, out);
}

static void with_crlf(const char *text, struct buf *out)
{
	for (; *text; text++) {
		if (*text == '\n')
			buf_char(out, '\r');
		buf_char(out, *text);
	}
}

static void check_tree(const char *name, struct span m, const char *want)
{
	struct buf tree = BUF_MAX(1 << 20), whole = BUF_MAX(1 << 20), split = BUF_MAX(1 << 20);
	struct mime_scan *s = scan_pieces(m, 0, m.len + 1);
	struct mime_tree t = mime_scan_tree(s);

	put_tree(&tree, &t, 0, 0, m);
	expect_buf(name, &tree, want);
	put_scan(&whole, s, m);
	mime_scan_free(s);
	for (size_t cut = 0; cut <= m.len; cut++) {
		s = cut ? scan_pieces(m, cut, m.len + 1) : scan_pieces(m, 0, 1);
		put_scan(&split, s, m);
		if (!span_eq(buf_get(&whole), buf_get(&split)))
			fail_msg("%s: cut at %zu it is\n" SPAN_FMT "\ninstead of\n" SPAN_FMT, name,
				 cut, SPAN_ARG(buf_get(&split)), SPAN_ARG(buf_get(&whole)));
		buf_clear(&split);
		mime_scan_free(s);
	}
	buf_free(&tree);
	buf_free(&whole);
	buf_free(&split);
}

static void check_both_line_ends(const char *name, const char *message, const char *want)
{
	struct buf crlf = BUF_MAX(1 << 20);

	with_crlf(message, &crlf);
	check_tree(name, crlf.len > 0 ? buf_get(&crlf) : SPAN(""), want);
	check_tree(name, span_str(message), want);
	buf_free(&crlf);
}

#define MIXED(b) "Content-Type: multipart/mixed; boundary=" b "\n\n"

static void test_structure(void **state)
{
	static const struct {
		const char *name, *message, *want;
	} rows[] = {
		{ "nothing", "", "text/plain <>\n" },
		{ "a header only", "A: b\n", "text/plain <>\n" },
		{ "a header without line end", "A: b", "text/plain <>\n" },
		{ "an empty body", "A: b\n\n", "text/plain <>\n" },
		{ "no header", "\nbody\n", "text/plain <body/>\n" },
		{ "plain", "A: b\n\none\ntwo\n", "text/plain <one/two/>\n" },
		{ "no line end at the end", "A: b\n\none\ntwo", "text/plain <one/two>\n" },
		{ "a type", "Content-Type: IMAGE/png (c); name=x\n\nb", "image/png <b>\n" },
		{ "a broken type is text", "Content-Type: text\n\nb", "text/plain <b>\n" },
		{ "the first type counts", "Content-Type: a/b\nContent-Type: c/d\n\nx",
		  "a/b <x>\n" },
		{ "two parts", MIXED("x") "--x\n\na\n--x\n\nb\n--x--\n",
		  "multipart/mixed\n text/plain <a>\n text/plain <b>\n" },
		{ "preamble and epilogue",
		  MIXED("x") "pre\n\n--x\nA: b\n\na\n--x--\nepi\n--x\nno part\n",
		  "multipart/mixed\n text/plain <a>\n" },
		{ "empty bodies", MIXED("x") "--x\nA: b\n\n--x\n\n\n--x\n\n--x--\n",
		  "multipart/mixed\n text/plain <>\n text/plain <>\n text/plain <>\n" },
		{ "a part without even a header", MIXED("x") "--x\n--x\n\n--x--",
		  "multipart/mixed\n text/plain <>\n text/plain <>\n" },
		{ "a header that a boundary ends", MIXED("x") "--x\nContent-Type: a/b\n--x--\n",
		  "multipart/mixed\n a/b <>\n" },
		{ "a multipart that a boundary ends in its header",
		  MIXED("x") "--x\nContent-Type: multipart/mixed; boundary=y\n--x--\n",
		  "multipart/mixed\n multipart/mixed\n" },
		{ "a message that a boundary ends in its header",
		  MIXED("x") "--x\nContent-Type: message/rfc822\n--x--\n",
		  "multipart/mixed\n message/rfc822\n  text/plain <>\n" },
		{ "not closed", MIXED("x") "--x\n\na\n--x\n\nb\n",
		  "multipart/mixed\n text/plain <a>\n text/plain <b/>\n" },
		{ "no boundary ever", MIXED("x") "text\n", "multipart/mixed\n" },
		{ "no boundary parameter", "Content-Type: multipart/mixed\n\n--x\n\na\n--x--\n",
		  "text/plain <--x//a/--x--/>\n" },
		{ "an empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\na\n",
		  "text/plain <--//a/>\n" },
		{ "blanks behind a boundary", MIXED("x") "--x \t\n\na\n--x-- \n",
		  "multipart/mixed\n text/plain <a>\n" },
		{ "a longer line is no boundary",
		  MIXED("x") "--x\n\na\n--xy\n--x-\n--x --\n--x--\n",
		  "multipart/mixed\n text/plain <a/--xy/--x-/--x -->\n" },
		{ "a boundary inside a line", MIXED("x") "--x\n\na --x\n --x\n--x--\n",
		  "multipart/mixed\n text/plain <a --x/ --x>\n" },
		{ "a boundary at the end of all", MIXED("x") "--x\n\na\n--x",
		  "multipart/mixed\n text/plain <a>\n text/plain <>\n" },
		{ "nested", MIXED("x") "--x\n" MIXED("y") "--y\n\na\n--y--\n\n--x\n\nb\n--x--\n",
		  "multipart/mixed\n multipart/mixed\n  text/plain <a>\n text/plain <b>\n" },
		{ "the outer boundary closes all",
		  MIXED("x") "--x\n" MIXED("y") "--y\n\na\n--x\n\nb\n",
		  "multipart/mixed\n multipart/mixed\n  text/plain <a>\n text/plain <b/>\n" },
		{ "one boundary is another's beginning",
		  MIXED("xx") "--xx\n" MIXED("x") "--x\n\na\n--x--\n--xx--\n",
		  "multipart/mixed\n multipart/mixed\n  text/plain <a>\n" },
		{ "the same boundary twice",
		  MIXED("x") "--x\n" MIXED("x") "--x\n\na\n--x--\n--x\n\nb\n--x--\n",
		  "multipart/mixed\n multipart/mixed\n  text/plain <a>\n text/plain <b>\n" },
		{ "a message inside",
		  MIXED("x") "--x\nContent-Type: message/rfc822\n\nSubject: i\n\nbody\n--x--\n",
		  "multipart/mixed\n message/rfc822\n  text/plain <body>\n" },
		{ "a message is a message", "Content-Type: message/rfc822\n\nSubject: i\n\nbody\n",
		  "message/rfc822\n text/plain <body/>\n" },
		{ "a message with nothing inside", "Content-Type: message/rfc822\n\n",
		  "message/rfc822\n text/plain <>\n" },
		{ "a message inside with parts",
		  MIXED("x") "--x\nContent-Type: message/rfc822\n\n" MIXED(
			  "y") "--y\n\na\n--y--\n--x\n\nb\n--x--\n",
		  "multipart/mixed\n message/rfc822\n  multipart/mixed\n   text/plain <a>\n"
		  " text/plain <b>\n" },
		{ "other messages are leaves",
		  "Content-Type: message/delivery-status\n\nA: b\n\nc\n",
		  "message/delivery-status <A: b//c/>\n" },
		{ "a digest",
		  "Content-Type: multipart/digest; boundary=x\n\n--x\n\nA: b\n\nc\n--x\nContent-Type: text/plain\n\nd\n--x--\n",
		  "multipart/digest\n message/rfc822\n  text/plain <c>\n text/plain <d>\n" },
		{ "a boundary of many signs",
		  "Content-Type: multipart/mixed;\n boundary=\"=_'()+,-./:=? x\"\n\n--=_'()+,-./:=? x\n\na\n--=_'()+,-./:=? x--\n",
		  "multipart/mixed\n text/plain <a>\n" },
		{ "a boundary in a comment is none",
		  "Content-Type: multipart/mixed (boundary=z); boundary=x (y)\n\n--x\n\na\n--x--\n",
		  "multipart/mixed\n text/plain <a>\n" },
		{ "lines of dashes", MIXED("x") "--x\n\n--\n---\n-- \n-----------\n--x--\n",
		  "multipart/mixed\n text/plain <--/---/-- /----------->\n" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		check_both_line_ends(rows[i].name, rows[i].message, rows[i].want);
}

static void test_python_reads_the_same(void **state)
{
	static const struct {
		const char *message, *want;
	} rows[] = {
#include "python_trees.inc"
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		check_both_line_ends(rows[i].message, rows[i].message, rows[i].want);
}

static void test_mixed_line_ends(void **state)
{
	(void)state;
	check_tree(
		"CRLF and LF",
		SPAN("Content-Type: multipart/mixed;\n boundary=x\r\n\n--x\r\n\na\n--x\n\r\nb\r\n--x--\n"),
		"multipart/mixed\n text/plain <a>\n text/plain <b>\n");
	check_tree("bare CR is no line end", SPAN("A: b\r\n\r\na\rb\r\r\nc"),
		   "text/plain <ab/c>\n");
}

static void test_flags(void **state)
{
	const struct {
		const char *name;
		struct span message;
		unsigned want;
	} rows[] = {
		{ "none", SPAN("A: b\r\n\r\nbody\r\n"), 0 },
		{ "8-bit in the body", SPAN("A: b\r\n\r\nbod\xc3\xbc\r\n"), MIME_HAS_8BIT },
		{ "8-bit in the header", SPAN("A: \xe4\r\n\r\n"), MIME_HAS_8BIT },
		{ "NUL", SPAN("A: b\r\n\r\na\0b\r\n"), MIME_HAS_NUL },
		{ "bare LF", SPAN("A: b\r\n\r\na\nb\r\n"), MIME_HAS_BARE_LF },
		{ "an LF first", SPAN("\nb\r\n"), MIME_HAS_BARE_LF },
		{ "bare CR", SPAN("A: b\r\n\r\na\rb\r\n"), MIME_HAS_BARE_CR },
		{ "two CR", SPAN("A: b\r\n\r\na\r\r\n"), MIME_HAS_BARE_CR },
		{ "a CR last", SPAN("A: b\r\n\r\na\r"), MIME_HAS_BARE_CR },
		{ "all", SPAN("A: \xe4\n\r\na\0b\r"),
		  MIME_HAS_8BIT | MIME_HAS_NUL | MIME_HAS_BARE_LF | MIME_HAS_BARE_CR },
		{ "an attachment", SPAN("Content-Disposition: attachment; filename=x\r\n\r\nx"),
		  MIME_HAS_ATTACH },
		{ "an image inline",
		  SPAN("Content-Type: multipart/related; boundary=x\r\n\r\n--x\r\n\r\n--x\r\n"
		       "Content-Type: image/png\r\nContent-ID: <a@b>\r\n\r\n--x--\r\n"),
		  0 },
		{ "a file without a disposition",
		  SPAN("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x\r\n"
		       "Content-Type: application/pdf\r\n\r\n--x--\r\n"),
		  MIME_HAS_ATTACH },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++)
		for (size_t cut = 0; cut <= rows[i].message.len; cut++) {
			struct mime_scan *s =
				scan_pieces(rows[i].message, cut, cut ? rows[i].message.len : 1);

			if (mime_scan_flags(s) != rows[i].want)
				fail_msg("%s, cut at %zu: %x", rows[i].name, cut,
					 mime_scan_flags(s));
			mime_scan_free(s);
		}
}

static void test_previews(void **state)
{
	static const struct {
		const char *name, *message, *want;
	} rows[] = {
		{ "plain", "A: b\n\n  Hello,\n\n world \t!\n", "Hello, world !" },
		{ "nothing", "A: b\n\n", "" },
		{ "no text", "Content-Type: image/png\n\nabc", "" },
		{ "base64", "Content-Transfer-Encoding: base64\n\nSGVsbG8gd29ybGQ=\n",
		  "Hello world" },
		{ "qp and a charset",
		  "Content-Type: text/plain; charset=iso-8859-1\n"
		  "Content-Transfer-Encoding: quoted-printable\n\ngr=FC=\nn\n",
		  "grün" },
		{ "html alone",
		  "Content-Type: text/html\n\n<html><head><title>T</title><style>p{}</style></head>"
		  "<body><!-- c > --><p class=\"a\">Hi&nbsp;&amp; bye&#33;&#x20AC;&unknown;<br>1 < 2</p>"
		  "<script>x()</script>end</body>\n",
		  "Hi & bye!€&unknown; 1 < 2 end" },
		{ "plain before html, whatever the order",
		  MIXED("x") "--x\nContent-Type: text/html\n\n<p>html\n--x\n\nplain\n--x--\n",
		  "plain" },
		{ "html when the plain text is empty",
		  MIXED("x") "--x\n\n \n--x\nContent-Type: text/html\n\n<p>html\n--x--\n", "html" },
		{ "an attachment is no preview",
		  MIXED("x") "--x\nContent-Disposition: attachment\n\nfile\n--x\n\ntext\n--x--\n",
		  "text" },
		{ "invisible padding goes",
		  "Content-Type: text/html; charset=utf-8\n\nA&zwnj;\xe2\x80\x8b&shy; &#8204; B",
		  "A B" },
		{ "the boundary is not shown", MIXED("x") "--x\n\nshort\n--x--\nepilogue\n",
		  "short" },
	};
	struct buf crlf = BUF_MAX(65536), want = BUF_MAX(1024);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		with_crlf(rows[i].message, &crlf);
		for (size_t cut = 0; cut <= crlf.len; cut++) {
			struct mime_scan *s = scan_pieces(buf_get(&crlf), cut, cut ? crlf.len : 1);

			expect_span(rows[i].name, mime_scan_preview(s), span_str(rows[i].want));
			mime_scan_free(s);
		}
		buf_clear(&crlf);
	}
	/* A long one is cut, between characters. */
	buf_str(&crlf, "Content-Type: text/plain; charset=utf-8\r\n\r\nx");
	for (unsigned i = 0; i < 10000; i++)
		buf_str(&crlf, "ä");
	buf_char(&want, 'x');
	for (unsigned i = 0; i < (MIME_PREVIEW_MAX - 1) / 2; i++)
		buf_str(&want, "ä");
	struct mime_scan *s = scan_pieces(buf_get(&crlf), 0, 100);

	expect_span("a long text", mime_scan_preview(s), buf_get(&want));
	mime_scan_free(s);
	buf_free(&crlf);
	buf_free(&want);
}

static void test_content_fields(void **state)
{
	static const struct {
		const char *name, *header, *want; /* the BODYSTRUCTURE */
	} rows[] = {
		{ "nothing", "",
		  "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL)" },
		{ "a charset with a comment",
		  "Content-type: text/plain; charset=us-ascii (Plain text)\n",
		  "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL)" },
		{ "blanks everywhere", "Content-Type : a / b ; c = d ; e = \"f g\"\n",
		  "(\"a\" \"b\" (\"c\" \"d\" \"e\" \"f g\") NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "RFC 2231 stays for the reader",
		  "Content-Type: a/b; name*0*=us-ascii'en'This%20is; name*1=\"more\"\n",
		  "(\"a\" \"b\" (\"name*0*\" \"us-ascii'en'This%20is\" \"name*1\" \"more\") NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "no value, no name, no semicolon", "Content-Type: a/b; c; =d; ;; e=\"\" f; g=h\n",
		  "(\"a\" \"b\" (\"e\" \"\" \"g\" \"h\") NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "a file name without quotes",
		  "Content-Type: a/b; name=my (old) file (1).txt; c=d\n",
		  "(\"a\" \"b\" (\"name\" \"my file .txt\" \"c\" \"d\") NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "brackets inside a name", "Content-Type: a/b; name=file(1).txt\n",
		  "(\"a\" \"b\" (\"name\" \"file(1).txt\") NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "folded", "Content-Type: a/b;\n c=\"d\n e\"\n",
		  "(\"a\" \"b\" (\"c\" \"d e\") NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "the rest of the fields",
		  "Content-Type: a/b\nContent-ID: <i@d>\nContent-Description: =?utf-8?Q?x?= y\n"
		  "Content-Transfer-Encoding: BASE64 (yes)\nContent-MD5: Q2hlY2s=\n"
		  "Content-Disposition: attachment; filename=f\nContent-Language: de, en-GB (British)\n"
		  "Content-Location: http://x/\n y\n",
		  "(\"a\" \"b\" NIL \"<i@d>\" \"=?utf-8?Q?x?= y\" \"BASE64\" 1 \"Q2hlY2s=\" "
		  "(\"attachment\" (\"filename\" \"f\")) (\"de\" \"en-GB\") \"http://x/ y\")" },
		{ "quotes become a literal", "Content-Type: a/b; c=\"d\\\"e\"\n",
		  "(\"a\" \"b\" (\"c\" {3}\r\nd\"e) NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)" },
		{ "empty fields are absent",
		  "Content-Type:\nContent-ID:\nContent-Disposition:\nContent-Language: ,\n",
		  "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL)" },
	};
	struct buf message = BUF_MAX(65536), out = BUF_MAX(65536);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		with_crlf(rows[i].header, &message);
		buf_str(&message, "\r\nx");
		for (size_t cut = 0; cut <= message.len; cut++) {
			struct mime_scan *s =
				scan_pieces(buf_get(&message), cut, cut ? message.len : 1);
			struct mime_tree t = mime_scan_tree(s);

			mime_bodystructure(&t, true, &out);
			expect_buf(rows[i].name, &out, rows[i].want);
			mime_scan_free(s);
		}
		buf_clear(&message);
	}
	buf_free(&message);
	buf_free(&out);
}

/* ---- limits ---- */

static struct mime_scan *scan_limited(const struct buf *m, struct mime_limits limits)
{
	struct mime_scan *s = mime_scan_new(&limits);

	mime_scan_feed(s, m->at, m->len);
	assert_int_equal(mime_scan_end(s, NULL), ST_OK);
	return s;
}

static void test_too_many_parts(void **state)
{
	struct mime_limits limits = MIME_LIMITS_DEFAULT;
	struct buf m = BUF_MAX(1 << 20);
	struct mime_scan *s;

	(void)state;
	limits.parts = 4;
	buf_str(&m, "Content-Type: multipart/mixed; boundary=x\r\n\r\n");
	for (unsigned i = 0; i < 10; i++)
		buf_printf(&m, "--x\r\n\r\n%u\r\n", i);
	buf_str(&m, "--x--\r\nepilogue\r\n");
	s = scan_limited(&m, limits);
	assert_int_equal(mime_scan_tree(s).count, 4);
	assert_true(mime_scan_flags(s) & MIME_OVER_LIMIT);
	/* The last one has the rest, up to the closing boundary. */
	const struct mime_part *p = &mime_scan_tree(s).parts[3];

	expect_span("the last part", span_cut(span_of(m.at + mime_body_at(p), p->body_len), 6),
		    SPAN("2\r\n--x"));
	assert_memory_equal(m.at + mime_body_at(p) + p->body_len, "\r\n--x--", 7);
	mime_scan_free(s);
	buf_free(&m);
}

static void test_too_deep(void **state)
{
	struct mime_limits limits = MIME_LIMITS_DEFAULT;
	struct buf m = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);
	struct mime_scan *s;
	struct mime_tree t;
	size_t opaque = 0;

	(void)state;
	limits.depth = 5;
	for (unsigned i = 0; i < 50; i++)
		buf_printf(&m, "Content-Type: multipart/mixed; boundary=x%u\r\n\r\n--x%u\r\n", i,
			   i);
	buf_str(&m, "\r\nend\r\n");
	s = scan_limited(&m, limits);
	t = mime_scan_tree(s);
	assert_int_equal(t.count, 6);
	for (size_t i = 0; i < t.count; i++)
		opaque += mime_is(&t.parts[i], "application", "octet-stream");
	assert_int_equal(opaque, 1);
	assert_true(mime_scan_flags(s) & MIME_OVER_LIMIT);
	mime_bodystructure(&t, true, &out);
	mime_scan_free(s);

	buf_clear(&m);
	for (unsigned i = 0; i < 5000; i++)
		buf_str(&m, "Content-Type: message/rfc822\r\n\r\n");
	s = scan_limited(&m, MIME_LIMITS_DEFAULT);
	assert_int_equal(mime_scan_tree(s).count, 51);
	mime_scan_free(s);
	buf_free(&m);
	buf_free(&out);
}

static void test_long_headers_are_cut_at_a_line(void **state)
{
	struct mime_limits limits = MIME_LIMITS_DEFAULT;
	struct buf m = BUF_MAX(1 << 20);
	struct mime_scan *s;

	(void)state;
	limits.top_header = 100;
	buf_str(&m, "Subject: s\r\n");
	for (unsigned i = 0; i < 100; i++)
		buf_printf(&m, "X-%u: abcdefgh\r\n", i);
	buf_str(&m, "Content-Type: a/b\r\n\r\nbody");
	s = scan_limited(&m, limits);
	assert_in_range(mime_scan_header(s).len, 70, 100);
	assert_int_equal(mime_scan_header(s).at[mime_scan_header(s).len - 1], '\n');
	assert_int_equal(mime_scan_tree(s).parts[0].body_len, 4);
	assert_true(mime_is(&mime_scan_tree(s).parts[0], "text", "plain"));
	mime_scan_free(s);
	buf_free(&m);
}

static void test_strings_over_the_limit_are_left_out(void **state)
{
	struct buf m = BUF_MAX(1 << 20), out = BUF_MAX(1 << 20);

	(void)state;
	buf_str(&m, "Content-Type: multipart/mixed; boundary=x; name=\"a name\"\r\n\r\n");
	for (unsigned i = 0; i < 20; i++)
		buf_printf(
			&m,
			"--x\r\nContent-Type: image/png; name=\"%u.png\"\r\nContent-ID: <%u@x>\r\n"
			"Content-Language: en, de\r\n\r\n%u\r\n",
			i, i, i);
	for (size_t text = 0; text < 8192; text += 16) {
		struct mime_limits limits = MIME_LIMITS_DEFAULT;
		struct mime_scan *s;
		struct mime_tree t;

		limits.text = text;
		s = scan_limited(&m, limits);
		t = mime_scan_tree(s);
		mime_bodystructure(&t, true, &out);
		assert_false(out.failed);
		buf_clear(&out);
		mime_scan_free(s);
	}
	buf_free(&m);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_python_reads_the_same),
		cmocka_unit_test(test_mixed_line_ends),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_previews),
		cmocka_unit_test(test_content_fields),
		cmocka_unit_test(test_too_many_parts),
		cmocka_unit_test(test_too_deep),
		cmocka_unit_test(test_long_headers_are_cut_at_a_line),
		cmocka_unit_test(test_strings_over_the_limit_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
