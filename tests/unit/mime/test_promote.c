#include "mime/promote.h"
#include "mime/structure.h"
#include "props/tags.h"
#include "rows.h"

static void test_envelopes(void **state)
{
	static const struct {
		const char *name, *header, *want;
	} rows[] = {
		{ "nothing", "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "RFC 3501's example",
		  "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
		  "From: Terry Gray <gray@cac.washington.edu>\r\n"
		  "Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
		  "To: imap@cac.washington.edu\r\n"
		  "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
		  "Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n",
		  "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\""
		  " ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))"
		  " ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))"
		  " ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))"
		  " ((NIL NIL \"imap\" \"cac.washington.edu\"))"
		  " ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\"))"
		  " NIL NIL \"<B27397-0100000@cac.washington.edu>\")" },
		{ "sender and reply-to of their own",
		  "From: a@b\r\nSender: c@d\r\nReply-To: e@f, g@h\r\nBcc: i@j\r\nIn-Reply-To: <k>\r\n",
		  "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\"))"
		  " ((NIL NIL \"e\" \"f\")(NIL NIL \"g\" \"h\")) NIL NIL ((NIL NIL \"i\" \"j\")) \"<k>\" NIL)" },
		{ "empty ones count as none",
		  "From: a@b\r\nSender:\r\nReply-To: \r\nTo:\r\nSubject:\r\n",
		  "(NIL \"\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)" },
		{ "two To fields", "To: a@b\r\nTo: c@d\r\n",
		  "(NIL NIL NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)" },
		{ "the first subject", "Subject: one\r\nSubject: two\r\n",
		  "(NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "a group", "To: A: b@c;\r\n",
		  "(NIL NIL NIL NIL NIL ((NIL NIL \"A\" NIL)(NIL NIL \"b\" \"c\")(NIL NIL NIL NIL)) NIL NIL NIL NIL)" },
		{ "a route", "To: <@x,@y:b@c>\r\n",
		  "(NIL NIL NIL NIL NIL ((NIL \"@x,@y\" \"b\" \"c\")) NIL NIL NIL NIL)" },
		{ "a folded subject with quotes", "Subject: a \"b\"\r\n\tc\r\n",
		  "(NIL {7}\r\na \"b\"\tc NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "8-bit", "Subject: gr\xc3\xbcn\r\nFrom: J\xc3\xbcrgen <j@x>\r\n",
		  "(NIL {5}\r\ngr\xc3\xbcn (({7}\r\nJ\xc3\xbcrgen NIL \"j\" \"x\")) (({7}\r\nJ\xc3\xbcrgen NIL \"j\" \"x\"))"
		  " (({7}\r\nJ\xc3\xbcrgen NIL \"j\" \"x\")) NIL NIL NIL NIL NIL)" },
		{ "encoded words stay", "Subject: =?utf-8?Q?gr=C3=BCn?=\r\n",
		  "(NIL \"=?utf-8?Q?gr=C3=BCn?=\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "no host", "To: root\r\n",
		  "(NIL NIL NIL NIL NIL ((NIL NIL \"root\" \"\")) NIL NIL NIL NIL)" },
	};
	struct buf out = BUF_MAX(65536);

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct span header = exact_copy(span_str(rows[i].header));

		mime_envelope(header, &out);
		expect_buf(rows[i].name, &out, rows[i].want);
		free_copy(header);
	}
	buf_free(&out);
}

/* Ten thousand recipients: what fits, whole. */
static void test_envelopes_have_a_limit(void **state)
{
	struct buf header = BUF_MAX(1 << 22), out = BUF_MAX(1 << 22);
	static const char tail[] = "(NIL NIL \"a\" \"b\")) NIL NIL NIL NIL)";

	(void)state;
	buf_str(&header, "To: a@b");
	for (unsigned i = 0; i < 20000; i++)
		buf_str(&header, ", a@b");
	buf_str(&header, "\r\n");
	mime_envelope(buf_get(&header), &out);
	assert_in_range(out.len, MIME_ENVELOPE_MAX / 11, MIME_ENVELOPE_MAX);
	assert_memory_equal(out.at + out.len - strlen(tail), tail, strlen(tail));
	buf_free(&header);
	buf_free(&out);
}

static void promote(const char *message, struct buf *out, struct plist *l)
{
	struct mime_scan *s = mime_scan_new(NULL);

	mime_scan_feed(s, message, strlen(message));
	assert_int_equal(mime_scan_end(s, NULL), ST_OK);
	assert_int_equal(mime_promote(s, out, NULL), ST_OK);
	mime_scan_free(s);
	assert_int_equal(plist_open(l, out->at, out->len, NULL), ST_OK);
}

static void test_properties(void **state)
{
	static const char message[] =
		"Date: Wed, 17 Jul 1996 02:44:25 -0700\r\n"
		"From: =?utf-8?Q?J=C3=BCrgen?= <j@x.org>, b@c\r\n"
		"To: d@e (Dora)\r\nCC: f@g\r\nBcc: G: h@i;\r\n"
		"Subject: Re: Fwd: =?utf-8?Q?gr=C3=BCn?=\r\n"
		"Message-ID: <1@x.org>\r\nIn-Reply-To: <0@x.org>\r\nReferences: <a@b>\r\n <c@d>\r\n"
		"X-Priority: 1 (Highest)\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n\r\nHello w\xc3\xb6rld\r\n";
	static const char want[] = "PR_IMPORTANCE(0x00170003)=2\n"
				   "PR_SUBJECT(0x0037001F)=\"Re: Fwd: grün\"\n"
				   "PR_CLIENT_SUBMIT_TIME(0x00390040)=837596665000000000\n"
				   "PR_SENDER_NAME(0x0C1A001F)=\"Jürgen\"\n"
				   "PR_SENDER_EMAIL_ADDRESS(0x0C1F001F)=\"j@x.org\"\n"
				   "PR_DISPLAY_BCC(0x0E02001F)=\"G: h@i;\"\n"
				   "PR_DISPLAY_CC(0x0E03001F)=\"f@g\"\n"
				   "PR_DISPLAY_TO(0x0E04001F)=\"Dora <d@e>\"\n"
				   "PR_MESSAGE_SIZE_EXTENDED(0x0E080014)=321\n"
				   "PR_HASATTACH(0x0E1B000B)=0\n"
				   "PR_NORMALIZED_SUBJECT(0x0E1D001F)=\"grün\"\n"
				   "PR_INTERNET_MESSAGE_ID(0x1035001F)=\"<1@x.org>\"\n"
				   "PR_INTERNET_REFERENCES(0x1039001F)=\"<a@b> <c@d>\"\n"
				   "PR_IN_REPLY_TO_ID(0x1042001F)=\"<0@x.org>\"\n"
				   "PR_PREVIEW(0x3FD9001F)=\"Hello wörld\"\n";
	struct buf b = BUF_MAX(1 << 20), text = BUF_MAX(1 << 20);
	struct plist l;

	(void)state;
	promote(message, &b, &l);
	plist_dump(&l, &text);
	expect_span("the published ones", span_cut(buf_get(&text), strlen(want)), span_str(want));
	assert_int_equal(plist_u64(&l, PR_MESSAGE_SIZE_EXTENDED, 0), strlen(message));
	assert_int_equal(plist_u32(&l, PR_HEADER_LENGTH, 0), strlen(message) - 14);
	assert_int_equal(plist_u32(&l, PR_LINE_COUNT, 0), 14);
	assert_int_equal(plist_u32(&l, PR_MIME_FLAGS, 0), MIME_HAS_8BIT);
	assert_int_equal((int32_t)plist_u32(&l, PR_CLIENT_SUBMIT_ZONE, 0), -420);
	expect_span("from", plist_span(&l, PR_DISPLAY_FROM), SPAN("Jürgen <j@x.org>, b@c"));
	assert_true(plist_span(&l, PR_IMAP_ENVELOPE).len > 100);
	assert_true(plist_span(&l, PR_MIME_STRUCTURE).len > 20);
	buf_free(&text);
	buf_free(&b);
}

static void test_what_is_not_there_is_not_put(void **state)
{
	static const char *const messages[] = { "", "\r\n",
						"Date: never\r\nFrom:\r\nSubject:\r\n\r\n",
						"Subject: \xff\xfe\r\nTo: (\r\n\r\n" };
	static const uint32_t always[] = {
		PR_IMAP_ENVELOPE, PR_MIME_STRUCTURE, PR_MESSAGE_SIZE_EXTENDED,
		PR_LINE_COUNT,    PR_HEADER_LENGTH,  PR_MIME_FLAGS,
		PR_HASATTACH
	};

	(void)state;
	for (size_t i = 0; i < ROWS(messages); i++) {
		struct buf b = BUF_MAX(1 << 20);
		struct plist l;

		promote(messages[i], &b, &l);
		for (size_t k = 0; k < ROWS(always); k++)
			assert_true(plist_has(&l, always[k]));
		assert_false(plist_has(&l, PR_CLIENT_SUBMIT_TIME));
		assert_false(plist_has(&l, PR_SENDER_EMAIL_ADDRESS));
		assert_false(plist_has(&l, PR_DISPLAY_TO));
		assert_int_equal(plist_count(&l), ROWS(always) + (i == 3));
		buf_free(&b);
	}
}

static void test_a_full_buffer_is_refused(void **state)
{
	struct mime_scan *s = mime_scan_new(NULL);

	(void)state;
	mime_scan_feed(s, "Subject: s\r\n\r\nbody\r\n", 20);
	assert_int_equal(mime_scan_end(s, NULL), ST_OK);
	for (size_t max = 0; max < 400; max += 7) {
		struct buf b = BUF_MAX(max);
		enum st st = mime_promote(s, &b, NULL);

		assert_int_equal(st, b.failed ? ST_TOOBIG : ST_OK);
		assert_true(b.failed || max > 200);
		buf_free(&b);
	}
	mime_scan_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelopes),
		cmocka_unit_test(test_envelopes_have_a_limit),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_what_is_not_there_is_not_put),
		cmocka_unit_test(test_a_full_buffer_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
