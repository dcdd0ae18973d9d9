/* What an SMTP server writes: replies, EHLO, HELP, trace fields. */
#include "proto/smtp/command.h"
#include "proto/smtp/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void is(struct buf *got, const char *want)
{
	assert_false(got->failed);
	buf_char(got, 0);
	assert_string_equal(got->at, want);
	buf_free(got);
}

static void replies(void **state)
{
	struct buf out = BUF_MAX(4096);

	(void)state;
	smtp_reply_write(&out, SMTP_R_OK);
	smtp_reply_write(&out, SMTP_R_DATA_GO);
	smtp_reply_write(&out, SMTP_R_AUTH_GO);
	smtp_reply_say(&out, SMTP_R_TRY_LATER, "one\ntwo %d", 2);
	smtp_reply_say(&out, SMTP_R_OK, "no\r forged line\x7F");
	is(&out, "250 2.0.0 OK\r\n"
		 "354 Start mail input; end with <CRLF>.<CRLF>\r\n"
		 "334 \r\n"
		 "451-4.3.0 one\r\n451 4.3.0 two 2\r\n"
		 "250 2.0.0 no? forged line?\r\n");
}

static void codes_fit_their_enhanced_codes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SMTP_R_COUNT; i++) {
		const struct smtp_reply *r = smtp_reply(i);

		assert_in_range(r->code, 211, 559);
		if (r->enhanced[0])
			assert_int_equal(r->enhanced[0], '0' + r->code / 100);
		assert_true(strlen(r->text) < 400);
	}
}

static void ehlo(void **state)
{
	struct buf out = BUF_MAX(4096);

	(void)state;
	smtp_ehlo(&out, SPAN("mx.example"), SPAN("c.example"),
		  SMTP_EXT_ALWAYS | SMTP_EXT_STARTTLS | SMTP_EXT_AUTH, 1000, "PLAIN LOGIN");
	is(&out, "250-mx.example greets c.example\r\n"
		 "250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-BINARYMIME\r\n"
		 "250-CHUNKING\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n"
		 "250-AUTH PLAIN LOGIN\r\n250 HELP\r\n");
	smtp_ehlo(&out, SPAN("mx.example"), SPAN("c"), SMTP_EXT_PIPELINING, 0, "");
	is(&out, "250-mx.example greets c\r\n250 PIPELINING\r\n");
}

static void help(void **state)
{
	struct buf out = BUF_MAX(4096);

	(void)state;
	smtp_help(&out, SPAN(""));
	is(&out,
	   "214-2.0.0 Commands:\r\n"
	   "214-2.0.0 HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH\r\n"
	   "214 2.0.0 End of HELP\r\n");
	smtp_help(&out, SPAN("bdat"));
	is(&out, "214 2.0.0 BDAT <octets> [LAST]\r\n");
}

static const char *text_of(struct buf *b)
{
	buf_char(b, 0);
	b->len = 0;
	return b->at;
}

static void trace_fields(void **state)
{
	struct smtp_trace t = {
		.helo = SPAN("c.example"),
		.client_ip = SPAN("192.0.2.1"),
		.host = SPAN("mx.example"),
		.id = SPAN("1F"),
		.rcpt = SPAN("a@b.example"),
		.esmtp = true,
		.seconds = 1763754120,
	};
	struct buf out = BUF_MAX(4096);

	(void)state;
	smtp_received(&out, &t);
	is(&out, "Received: from c.example ([192.0.2.1])\r\n"
		 "\tby mx.example with ESMTP id 1F\r\n"
		 "\tfor <a@b.example>;\r\n"
		 "\tFri, 21 Nov 2025 19:42:00 +0000\r\n");
	t.rcpt = SPAN_NONE;
	t.client_ip = SPAN("2001:db8::1");
	t.tls = SPAN("TLSv1.3 TLS_AES_256_GCM_SHA384");
	t.authenticated = true;
	smtp_received(&out, &t);
	is(&out, "Received: from c.example ([IPv6:2001:db8::1])\r\n"
		 "\t(using TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
		 "\tby mx.example with ESMTPSA id 1F;\r\n"
		 "\tFri, 21 Nov 2025 19:42:00 +0000\r\n");
	t.utf8 = true;
	smtp_received(&out, &t);
	assert_non_null(strstr(text_of(&out), " with UTF8SMTPSA id "));
	t.esmtp = false;
	smtp_received(&out, &t);
	assert_non_null(strstr(text_of(&out), " with SMTP id "));
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies),      cmocka_unit_test(codes_fit_their_enhanced_codes),
		cmocka_unit_test(ehlo),         cmocka_unit_test(help),
		cmocka_unit_test(trace_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
