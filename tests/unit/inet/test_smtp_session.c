/* SMTP sessions, as their transcripts read. */
#include "fakestore.h"
#include "inet/smtp/smtp.h"
#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HELLO                                                                                      \
	"S: 220 mx.mailroot.test ESMTP Mailroot\n"                                                 \
	"C: EHLO c.example\n"                                                                      \
	"S: 250-mx.mailroot.test greets c.example\n"                                               \
	"S: 250-PIPELINING\nS: 250-SIZE 8192\nS: 250-8BITMIME\nS: 250-BINARYMIME\n"                \
	"S: 250-CHUNKING\nS: 250-SMTPUTF8\nS: 250-ENHANCEDSTATUSCODES\n"                           \
	"S: 250-AUTH *SCRAM-SHA-256\nS: 250 HELP\n"
#define FROM     "C: MAIL FROM:<a@b.example>\nS: 250 2.1.0 *\n"
#define TO_ALICE HELLO FROM "C: RCPT TO:<alice@mailroot.test>\nS: 250 2.1.5 *\n"
#define GO       "C: DATA\nS: 354 *\n"
#define QUEUED   "S: 250 2.0.0 Queued as MR_*\n"
#define BYE      "C: QUIT\nS: 221 2.0.0 *\nE:\n"
#define HOP      "C: Received: from a by b\n"

static const struct talk talks[] = {
	{ .name = "a message; the dots at the start of lines go",
	  .text = TO_ALICE GO "C: Subject: x\nC:\nC: ..dot\nC: .\n" QUEUED BYE,
	  .content = "+0000\r\nSubject: x\r\n\r\n.dot\r\n",
	  .rcpts = 1 },
	{ .name = "a message by HELO",
	  .text = "S: 220 *\nC: HELO c.example\nS: 250 mx.mailroot.test\n" FROM
		  "C: RCPT TO:<bob@mailroot.test>\nS: 250 2.1.5 *\n" GO "C: x\nC: .\n" QUEUED BYE,
	  .content = "\r\nx\r\n",
	  .rcpts = 1 },
	{ .name = "an empty message",
	  .text = TO_ALICE GO "C: .\n" QUEUED BYE,
	  .content = "+0000\r\n",
	  .rcpts = 1 },
	{ .name = "everything a client may send in one go",
	  .text = HELLO
	  "c: MAIL FROM:<>\\r\\nRCPT TO:<alice@mailroot.test>\\r\\n"
	  "RCPT TO:<nobody@mailroot.test>\\r\\nRCPT TO:<bob@mailroot.test>\\r\\nDATA\\r\\n\n"
	  "S: 250 2.1.0 *\nS: 250 2.1.5 *\nS: 550 5.1.1 *\nS: 250 2.1.5 *\nS: 354 *\n"
	  "c: x\\r\\n.\\r\\nNOOP\\r\\nQUIT\\r\\n\n" QUEUED "S: 250 2.0.0 OK\nS: 221 *\nE:\n",
	  .content = "+0000\r\nx\r\n",
	  .rcpts = 2 },
	{ .name = "who may receive",
	  .text = HELLO FROM "C: RCPT TO:<nobody@mailroot.test>\nS: 550 5.1.1 *\n"
			     "C: RCPT TO:<x@elsewhere.example>\nS: 550 5.7.1 *\n"
			     "C: RCPT TO:<gone@mailroot.test>\nS: 550 5.2.1 *\n"
			     "C: RCPT TO:<down@mailroot.test>\nS: 451 4.3.0 *\n"
			     "C: RCPT TO:<not an address>\nS: 501 5.1.3 *\n"
			     "C: RCPT TO:<j\xC3\xBCrgen@mailroot.test>\nS: 553 5.6.7 *\n"
			     "C: DATA\nS: 503 5.5.1 *\n"
			     "C: RCPT TO:<team@mailroot.test>\nS: 250 2.1.5 *\n"
			     "C: RCPT TO:<ALICE@MailRoot.Test>\nS: 250 2.1.5 *\n"
			     "C: RCPT TO:<\"alice\"@mailroot.test>\nS: 250 2.1.5 *\n"
			     "C: RCPT TO:<@relay.example:alice@mailroot.test>\nS: 250 2.1.5 *\n"
			     "C: RCPT TO:<Postmaster>\nS: 250 2.1.5 *\n" BYE },
	{ .name = "commands out of order",
	  .text = "S: 220 *\nC: MAIL FROM:<a@b>\nS: 503 5.5.1 *EHLO*\nC: DATA\nS: 503 *\n"
		  "C: EHLO c\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\n"
		  "S: 250-*\nS: 250-*\nS: 250 *\n"
		  "C: RCPT TO:<alice@mailroot.test>\nS: 503 5.5.1 Need MAIL*\n" FROM
		  "C: MAIL FROM:<a@b.example>\nS: 503 5.5.1 *\n" BYE },
	{ .name = "the small verbs",
	  .text = HELLO
	  "C: NOOP x\nS: 250 2.0.0 OK\nC: RSET\nS: 250 2.0.0 OK\nC: VRFY alice\nS: 252 2.5.0 *\n"
	  "C: HELP RSET\nS: 214 2.0.0 RSET*\nC: STARTTLS\nS: 454 4.7.0 *\n"
	  "C: XYZZY\nS: 500 5.5.1 *\n" BYE },
	{ .name = "RSET forgets the message",
	  .text = TO_ALICE "C: RSET\nS: 250 *\nC: DATA\nS: 503 5.5.1 *\n" FROM BYE },
	{ .name = "EHLO forgets the message",
	  .text = TO_ALICE "C: HELO c\nS: 250 *\nC: DATA\nS: 503 *\n" BYE },

	{ .name = "smuggling: LF . CRLF does not end",
	  .text = TO_ALICE GO "c: x\\n.\\r\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n"
			      "S: 550 5.6.0 *\nC: NOOP\nS: 250 *\n" BYE },
	{ .name = "smuggling: CRLF . LF does not end",
	  .text = TO_ALICE GO "c: x\\r\\n.\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n"
			      "S: 550 5.6.0 *\nC: NOOP\nS: 250 *\n" BYE },
	{ .name = "smuggling: CR . CR does not end",
	  .text = TO_ALICE GO "c: x\\r.\\rMAIL FROM:<evil@x>\\r\\n.\\r\\n\n"
			      "S: 550 5.6.0 *\nC: NOOP\nS: 250 *\n" BYE },
	{ .name = "smuggling: a NUL",
	  .text = TO_ALICE GO "c: x\\0y\\r\\n.\\r\\n\nS: 550 5.6.0 *\n" BYE },
	{ .name = "an LF alone ends no command",
	  .text = HELLO "c: NOOP\\nQUIT\\r\\n\nS: 500 5.5.2 *\nC: NOOP\nS: 250 *\n" BYE },

	{ .name = "too big, said before",
	  .text = HELLO "C: MAIL FROM:<a@b.example> SIZE=8193\nS: 552 5.3.4 *\n"
			"C: MAIL FROM:<a@b.example> SIZE=8192\nS: 250 *\n" BYE },
	{ .name = "too big, found out; both sides stay in step",
	  .text = TO_ALICE GO
	  "W: 100000\nc: \\r\\n.\\r\\n\nS: 552 5.3.4 *\nC: NOOP\nS: 250 *\n" FROM BYE },
	{ .name = "a loop",
	  .text = TO_ALICE GO HOP HOP HOP HOP HOP HOP HOP HOP HOP HOP HOP
	  "C:\nC: .\nS: 554 5.4.6 *\n" BYE },
	{ .name = "as many hops as may be",
	  .text = TO_ALICE GO HOP HOP HOP HOP HOP HOP HOP HOP HOP HOP "C:\nC: .\n" QUEUED BYE,
	  .content = "Received: from a by b\r\n\r\n",
	  .rcpts = 1 },

	{ .name = "chunks; dots stay as they are",
	  .text = TO_ALICE "c: BDAT 7\\r\\nab\\r\\n.\\r\\n\nS: 250 2.0.0 7 *\n"
			   "c: BDAT 0\\r\\n\nS: 250 2.0.0 0 *\n"
			   "c: BDAT 3 LAST\\r\\nc\\r\\n\n" QUEUED BYE,
	  .content = "+0000\r\nab\r\n.\r\nc\r\n",
	  .rcpts = 1 },
	{ .name = "chunks in one go, and a command behind",
	  .text = TO_ALICE "c: BDAT 4\\r\\nab\\r\\nBDAT 4 LAST\\r\\ncd\\r\\nNOOP\\r\\n\n"
			   "S: 250 2.0.0 4 *\n" QUEUED "S: 250 2.0.0 OK\n" BYE,
	  .content = "+0000\r\nab\r\ncd\r\n",
	  .rcpts = 1 },
	{ .name = "a last chunk that ends no line gets its end",
	  .text = TO_ALICE "c: BDAT 2 LAST\\r\\nab\n" QUEUED BYE,
	  .content = "+0000\r\nab\r\n",
	  .rcpts = 1 },
	{ .name = "binary content stays as it is",
	  .text = HELLO "C: MAIL FROM:<a@b.example> BODY=BINARYMIME\nS: 250 *\n"
			"C: RCPT TO:<alice@mailroot.test>\nS: 250 *\nC: DATA\nS: 503 *\n"
			"c: BDAT 3 LAST\\r\\na\\nb\n" QUEUED BYE,
	  .content = "+0000\r\na\nb",
	  .rcpts = 1 },
	{ .name = "text chunks with an LF alone",
	  .text = TO_ALICE "c: BDAT 3 LAST\\r\\na\\nb\nS: 550 5.6.0 *\nC: NOOP\nS: 250 *\n" BYE },
	{ .name = "chunks that grow too big need RSET",
	  .text = TO_ALICE "C: BDAT 9000\nW: 9000\nS: 552 5.3.4 *\n"
			   "c: BDAT 2\\r\\nxy\nS: 503 5.5.1 *RSET*\nC: RSET\nS: 250 *\n" FROM BYE },
	{ .name = "a chunk that is not allowed is read over",
	  .text = HELLO "c: BDAT 6 LAST\\r\\nQUIT\\r\\n\nS: 503 *\nC: NOOP\nS: 250 *\n" BYE },
	{ .name = "a chunk that is not understood ends it",
	  .text = TO_ALICE "C: BDAT x\nS: 501 *\nS: 421 4.5.0 *\nE:\n" },
	{ .name = "DATA inside chunks",
	  .text = TO_ALICE "c: BDAT 1\\r\\nx\nS: 250 *\nC: DATA\nS: 503 *\n" BYE },

	{ .name = "content before 354",
	  .text = TO_ALICE "c: DATA\\r\\nSubject: x\\r\\n\nS: 421 4.5.0 *\nE:\n" },
	{ .name = "too many wrong commands",
	  .text = "S: 220 *\nC: 1\nS: 500 *\nC: 2\nS: 500 *\nC: 3\nS: 500 *\nC: 4\nS: 500 *\nC: 5\n"
		  "S: 500 *\nC: 6\nS: 500 *\nS: 421 4.7.0 *\nE:\n" },
	{ .name = "a line without end",
	  .text = "S: 220 *\nW: 3000000\nS: 500 5.5.2 *\nS: 421 4.7.0 *\n" },
	{ .name = "a line too long",
	  .text = HELLO "c: NOOP \nW: 600\nc: \\r\\n\nS: 500 5.5.2 *\nC: NOOP\nS: 250 *\n" BYE },
	{ .name = "nobody sends from a submission port without a log-on",
	  .service = "submission",
	  .text = HELLO "C: MAIL FROM:<alice@mailroot.test>\nS: 530 5.7.0 *\n" BYE },
	{ .name = "passwords are not taken in the clear",
	  .ip = "192.0.2.1",
	  .text = HELLO "C: AUTH PLAIN AGFsaWNlAGRlbW8=\nS: 538 5.7.11 *\n"
			"C: AUTH XYZZY\nS: 504 5.5.4 *\n" BYE },
	{ .name = "giving up a log-on",
	  .text = HELLO
	  "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 5.7.0 *\n"
	  "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YWxpY2U=\nS: 334 UGFzc3dvcmQ6\nC: ???\n"
	  "S: 501 5.5.2 *\n" BYE },
	{ .name = "silence", .text = "S: 220 *\nS: 421 4.4.2 *\nE:\n" },
	{ .name = "silence inside a message", .text = TO_ALICE GO "C: x\nS: 421 4.4.2 *\nE:\n" },
};

#define GREETING "S: 220 mx.mailroot.test ESMTP Mailroot\n"
#define EHLO_TLS                                                                                    \
	"C: EHLO c.example\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\n" \
	"S: 250-*\nS: 250-STARTTLS\nS: 250-AUTH *\nS: 250 HELP\n"
#define EHLO_INSIDE                                                                                 \
	"C: EHLO c.example\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\nS: 250-*\n" \
	"S: 250-*\nS: 250-AUTH PLAIN LOGIN SCRAM-SHA-256\nS: 250 HELP\n"
#define ALICE "AGFsaWNlQG1haWxyb290LnRlc3QAZGVtbw=="

static const struct talk under_tls[] = {
	{ .name = "TLS begins, and what was said before is forgotten",
	  .ip = "192.0.2.1",
	  .text = GREETING EHLO_TLS
	  "C: MAIL FROM:<a@b.example>\nS: 250 *\nC: STARTTLS\nS: 220 2.0.0 *\nT:\n"
	  "C: RCPT TO:<alice@mailroot.test>\nS: 503 5.5.1 Send EHLO*\n" EHLO_INSIDE
	  "C: STARTTLS\nS: 503 5.5.1 *\n" BYE },
	{ .name = "commands put in before TLS are never run",
	  .text = GREETING EHLO_TLS
	  "c: STARTTLS\\r\\nMAIL FROM:<evil@x>\\r\\n\nS: 220 *\nT:\n" EHLO_INSIDE
	  "C: RCPT TO:<alice@mailroot.test>\nS: 503 5.5.1 Need MAIL*\n" BYE },
	{ .name = "a submission from afar",
	  .service = "submission",
	  .ip = "192.0.2.1",
	  .text = GREETING EHLO_TLS
	  "C: AUTH PLAIN " ALICE "\nS: 538 *\nC: MAIL FROM:<a@b>\nS: 530 *\n"
	  "C: STARTTLS\nS: 220 *\nT:\n" EHLO_INSIDE "C: AUTH PLAIN AGEAYg==\nS: 535 5.7.8 *\n"
	  "C: AUTH PLAIN " ALICE "\nS: 235 2.7.0 *\nC: AUTH PLAIN\nS: 503 *\n"
	  "C: MAIL FROM:<alice@mailroot.test> AUTH=<>\nS: 250 *\n"
	  "C: RCPT TO:<x@elsewhere.example>\nS: 550 5.4.4 *\n"
	  "C: RCPT TO:<bob@mailroot.test>\nS: 250 *\nC: DATA\nS: 354 *\nC: x\nC: .\n" QUEUED BYE,
	  .content = "+0000\r\nx\r\n",
	  .rcpts = 1 },
	{ .name = "TLS from the first byte",
	  .service = "submissions",
	  .text = "T:\n" GREETING EHLO_INSIDE "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\n"
		  "C: YWxpY2VAbWFpbHJvb3QudGVzdA==\nS: 334 UGFzc3dvcmQ6\nC: ZGVtbw==\nS: 235 *\n" BYE },
	{ .name = "half a handshake is waited for, not for ever",
	  .text = GREETING EHLO_TLS "C: STARTTLS\nS: 220 *\nc: \\0\nE:\n" },
};

static void transcripts_under_tls(void **state)
{
	(void)state;
	fakestore_reset();
	talk_run_tls(&smtp_protocol,
		     "message_size_max = 8192\ntls_timeout_s = 1\nauth_failure_delay_ms = 10\n"
		     "domain = \"mailroot.test\"\n",
		     under_tls, sizeof(under_tls) / sizeof(under_tls[0]));
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
}

static void transcripts(void **state)
{
	(void)state;
	talk_run(
		&smtp_protocol,
		"message_size_max = 8192\nsmtp_timeout_s = 1\nlogin_timeout_s = 1\nhops_max = 10\nerrors_max = 6\nrecipients_max = 100\n"
		"domain = \"mailroot.test\"\n",
		talks, sizeof(talks) / sizeof(talks[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts),
		cmocka_unit_test(transcripts_under_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
