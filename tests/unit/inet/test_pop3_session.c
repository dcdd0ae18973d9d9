/* POP3 sessions, as their transcripts read, against a store that is none. */
#include "fakestore.h"
#include "inet/pop3/pop3.h"
#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HELLO "S: +OK Mailroot POP3 ready\n"
#define LOGON HELLO "C: USER alice@mailroot.test\nS: +OK *\nC: PASS demo\nS: +OK Maildrop *\n"
#define BYE   "C: QUIT\nS: +OK Bye\nE:\n"

static const struct talk talks[] = {
	{ .name = "before a log-on",
	  .text = HELLO "C: STAT\nS: -ERR Not now\nC: PASS demo\nS: -ERR Send USER first\n"
			"C: NOOP\nS: -ERR Not now\nC: XYZZY\nS: -ERR Unknown command\n"
			"C: STLS\nS: -ERR TLS is not available\n" BYE },
	{ .name = "capabilities",
	  .text = HELLO
	  "C: CAPA\nS: +OK *\nS: TOP\nS: UIDL\nS: RESP-CODES\nS: AUTH-RESP-CODE\n"
	  "S: PIPELINING\nS: EXPIRE NEVER\nS: USER\nS: UTF8 USER\nS: LANG\n"
	  "S: SASL PLAIN LOGIN SCRAM-SHA-256\nS: IMPLEMENTATION Mailroot test\nS: .\n"
	  "C: LANG\nS: +OK *\nS: en English\nS: .\nC: LANG de\nS: -ERR *\nC: LANG en\nS: +OK *\n"
	  "C: UTF8\nS: +OK *\n" BYE },
	{ .name = "no passwords in the clear from afar",
	  .ip = "192.0.2.1",
	  .text = HELLO "C: USER alice@mailroot.test\nS: -ERR Start TLS first*\n"
			"C: AUTH PLAIN AGFsaWNlAGRlbW8=\nS: -ERR Mechanism *\n" BYE },
	{ .name = "a wrong password",
	  .text = HELLO "C: USER alice@mailroot.test\nS: +OK *\nC: PASS wrong\nS: -ERR [[]AUTH] *\n"
			"C: PASS demo\nS: -ERR Send USER first\n"
			"C: USER alice@mailroot.test\nS: +OK *\nC: PASS demo\nS: +OK *\n" BYE },
	{ .name = "a maildrop that another session holds",
	  .text = HELLO "C: USER busy@mailroot.test\nS: +OK *\nC: PASS demo\nS: -ERR [[]IN-USE] *\n"
			"C: STAT\nS: -ERR Not now\n" BYE },
	{ .name = "AUTH PLAIN, the answer behind the verb",
	  .text = HELLO "C: AUTH PLAIN AGFsaWNlQG1haWxyb290LnRlc3QAZGVtbw==\nS: +OK *\n" BYE },
	{ .name = "AUTH PLAIN, the answer asked for",
	  .text = HELLO
	  "C: auth plain\nS: + \nC: AGFsaWNlQG1haWxyb290LnRlc3QAZGVtbw==\nS: +OK *\n" BYE },
	{ .name = "AUTH LOGIN",
	  .text = HELLO "C: AUTH LOGIN\nS: + VXNlcm5hbWU6\nC: YWxpY2VAbWFpbHJvb3QudGVzdA==\n"
			"S: + UGFzc3dvcmQ6\nC: ZGVtbw==\nS: +OK *\n" BYE },
	{ .name = "AUTH given up, not base64, not offered, listed",
	  .text = HELLO "C: AUTH PLAIN\nS: + \nC: *\nS: -ERR Auth*cancelled\n"
			"C: AUTH PLAIN ?\nS: -ERR Not base64\nC: AUTH XYZZY\nS: -ERR Mechanism *\n"
			"C: AUTH\nS: +OK *\nS: PLAIN\nS: LOGIN\nS: SCRAM-SHA-256\nS: .\n" BYE },
	{ .name = "sizes and names",
	  .text = LOGON
	  "C: STAT\nS: +OK 4 108\nC: LIST\nS: +OK *\nS: 1 23\nS: 2 31\nS: 3 26\nS: 4 28\nS: .\n"
	  "C: LIST 2\nS: +OK 2 31\nC: LIST 5\nS: -ERR No such message\n"
	  "C: UIDL\nS: +OK *\nS: 1 77.10\nS: 2 77.11\nS: 3 77.12\nS: 4 77.13\nS: .\n"
	  "C: UIDL 4\nS: +OK 4 77.13\n" BYE },
	{ .name = "a message, by reference",
	  .text = LOGON "C: RETR 1\nS: +OK *\nS: Subject: one\nS: \nS: hello\nS: .\n" BYE },
	{ .name = "a message with dots is stuffed",
	  .text = LOGON
	  "C: RETR 2\nS: +OK *\nS: Subject: two\nS: \nS: ..dot\nS: ...\nS: end\nS: .\n" BYE },
	{ .name = "a message whose last line does not end",
	  .text = LOGON "C: RETR 3\nS: +OK *\nS: Subject: three\nS: \nS: no end\nS: .\n" BYE },
	{ .name = "several in one go",
	  .text = LOGON "c: RETR 1\\r\\nRETR 2\\r\\nNOOP\\r\\nRETR 9\\r\\nRETR 1\\r\\n\n"
			"S: +OK *\nS: Subject: one\nS: \nS: hello\nS: .\n"
			"S: +OK *\nS: Subject: two\nS: \nS: ..dot\nS: ...\nS: end\nS: .\n"
			"S: +OK OK\nS: -ERR *\n"
			"S: +OK *\nS: Subject: one\nS: \nS: hello\nS: .\n" BYE },
	{ .name = "the top of a message",
	  .text = LOGON
	  "C: TOP 4 0\nS: +OK *\nS: Subject: four\nS: \nS: .\n"
	  "C: TOP 4 2\nS: +OK *\nS: Subject: four\nS: \nS: 1\nS: 2\nS: .\n"
	  "C: TOP 4 99\nS: +OK *\nS: Subject: four\nS: \nS: 1\nS: 2\nS: ..3\nS: .\n" BYE },
	{ .name = "marks are taken back by RSET",
	  .text = LOGON
	  "C: DELE 2\nS: +OK *\nC: DELE 2\nS: -ERR Message is marked*\nC: STAT\nS: +OK 3 77\n"
	  "C: LIST\nS: +OK *\nS: 1 23\nS: 3 26\nS: 4 28\nS: .\n"
	  "C: RETR 2\nS: -ERR Message is marked*\nC: RSET\nS: +OK *\nC: STAT\nS: +OK 4 108\n" BYE },
	{ .name = "a connection that ends deletes nothing", .text = LOGON "C: DELE 1\nS: +OK *\n" },
	{ .name = "neither does silence",
	  .text = LOGON "C: DELE 1\nS: +OK *\nS: -ERR Timeout*\nE:\n" },
	{ .name = "QUIT deletes", .text = LOGON "C: DELE 1\nS: +OK *\nC: DELE 3\nS: +OK *\n" BYE },
	{ .name = "and they are gone",
	  .text = LOGON
	  "C: LIST\nS: +OK *\nS: 1 31\nS: 2 28\nS: .\nC: UIDL 1\nS: +OK 1 77.11\n" BYE },
	{ .name = "an LF alone ends no command",
	  .text = HELLO "c: CAPA\\nQUIT\\r\\n\nS: -ERR Only CR LF*\n" BYE },
	{ .name = "a line without end",
	  .text = HELLO "W: 1000000\nS: -ERR Line too long\nS: -ERR Too many*\n" },
	{ .name = "too many wrong commands",
	  .text = HELLO
	  "C: 1\nS: -ERR *\nC: 2\nS: -ERR *\nC: 3\nS: -ERR *\nC: 4\nS: -ERR *\nC: 5\nS: -ERR *\n"
	  "C: 6\nS: -ERR *\nS: -ERR Too many errors*\nE:\n" },
};

static const struct talk under_tls[] = {
	{ .name = "TLS begins, and the name said before is forgotten",
	  .text = HELLO
	  "C: USER alice@mailroot.test\nS: +OK *\nC: STLS\nS: +OK *\nT:\n"
	  "C: PASS demo\nS: -ERR Send USER first\nC: STLS\nS: -ERR TLS is already*\n"
	  "C: USER alice@mailroot.test\nS: +OK *\nC: PASS demo\nS: +OK *\n"
	  "C: RETR 2\nS: +OK *\nS: Subject: two\nS: \nS: ..dot\nS: ...\nS: end\nS: .\n"
	  "C: RETR 1\nS: +OK *\nS: Subject: one\nS: \nS: hello\nS: .\n" BYE },
	{ .name = "commands put in before TLS are never run",
	  .text = HELLO
	  "c: STLS\\r\\nUSER evil\\r\\n\nS: +OK *\nT:\nC: PASS x\nS: -ERR Send USER first\n" BYE },
	{ .name = "TLS from the first byte",
	  .service = "pop3s",
	  .ip = "192.0.2.1",
	  .text = "T:\n" HELLO
		  "C: USER alice@mailroot.test\nS: +OK *\nC: PASS demo\nS: +OK *\n" BYE },
};

static void transcripts_under_tls(void **state)
{
	(void)state;
	fakestore_reset();
	talk_run_tls(&pop3_protocol, "auth_failure_delay_ms = 10\n", under_tls,
		     sizeof(under_tls) / sizeof(under_tls[0]));
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
}

static void transcripts(void **state)
{
	(void)state;
	fakestore_reset();
	talk_run(
		&pop3_protocol,
		"errors_max = 6\npop3_timeout_s = 1\nlogin_timeout_s = 1\nauth_failure_delay_ms = 10\n",
		talks, sizeof(talks) / sizeof(talks[0]));
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts),
		cmocka_unit_test(transcripts_under_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
