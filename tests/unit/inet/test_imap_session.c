/* IMAP sessions against a store that fails at every single call, in every way. */
#include "fakeimap.h"
#include "inet/imap/imap.h"
#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define SETTINGS "auth_failure_delay_ms = 1\nerrors_max = 100\nmessage_size_max = 1000000\n"
#define LOGIN    "S: * OK *\nC: a LOGIN alice@mailroot.test demo\nS: a OK *\n"

/* Every command that asks the store for anything; the large message goes out by reference, and in parts. */
#define EVERYTHING                                                                                 \
	"R: *\n"                                                                                   \
	"C: a LOGIN alice@mailroot.test demo\nR: a\n"                                              \
	"C: b LIST \"\" *\nR: b\n"                                                                 \
	"C: c STATUS INBOX (MESSAGES UIDNEXT)\nR: c\n"                                             \
	"C: d SELECT INBOX\nR: d\n"                                                                \
	"C: e FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\nR: e\n"                                    \
	"C: f FETCH 1:* BODY[]\nR: f\n"                                                            \
	"C: g FETCH 2 (BODY.PEEK[1] UID BODY.PEEK[HEADER] BODY.PEEK[2] BODYSTRUCTURE)\nR: g\n"     \
	"C: h STORE 1:2 +FLAGS (\\Flagged kw)\nR: h\n"                                             \
	"C: i STORE 1 +FLAGS.SILENT (\\Draft)\nR: i\n"                                             \
	"C: j SEARCH TEXT x\nR: j\n"                                                               \
	"C: k COPY 1 Drafts\nR: k\n"                                                               \
	"C: l MOVE 3 Drafts\nR: l\n"                                                               \
	"c: m APPEND INBOX {12+}\\r\\nSubject: x\\r\\n\\r\\n\nR: m\n"                              \
	"c: n APPEND INBOX {140000+}\\r\\n\nW: 140000\nc: \\r\\n\nR: n\n"                          \
	"c: o IDLE\\r\\nDONE\\r\\n\nR: o\n"                                                        \
	"C: p UID EXPUNGE 1\nR: p\n"                                                               \
	"C: q CREATE x\nR: q\n"                                                                    \
	"C: r RENAME x y\nR: r\n"                                                                  \
	"C: s SUBSCRIBE y\nR: s\n"                                                                 \
	"C: t CLOSE\nR: t\n"                                                                       \
	"C: z LOGOUT\nR:\n"

static const struct talk talks[] = {
	{ .name = "everything, without trouble", .text = EVERYTHING },
	{ .name = "a message that ends its command in a wrong way, and the next command",
	  .text = LOGIN
	  "c: b APPEND INBOX {3+}\\r\\nabcdef\\r\\n\nS: b BAD *\nC: c NOOP\nS: c OK *\n"
	  "C: d LOGOUT\nR:\n" },
	{ .name = "a connection that ends inside a message",
	  .text = LOGIN "c: b APPEND INBOX {5000+}\\r\\nabc\n" },
	{ .name = "a connection that ends inside a long message",
	  .text = LOGIN "c: b APPEND INBOX {500000+}\\r\\n\nW: 300000\n" },
	{ .name = "a connection that ends behind its message",
	  .text = LOGIN "c: b APPEND INBOX {500+}\\r\\n\nW: 500\n" },
	{ .name = "a message that is too large is passed over",
	  .text = LOGIN "c: b APPEND INBOX {1000001+}\\r\\n\nW: 1000001\nc: \\r\\n\n"
			"S: b NO [[]TOOBIG] *\nC: c NOOP\nS: c OK *\nC: d LOGOUT\nR:\n" },
	{ .name = "a message that is too large is not asked for",
	  .text = LOGIN "C: b APPEND INBOX {1000001}\nS: b NO [[]TOOBIG] *\nC: c LOGOUT\nR:\n" },
	{ .name = "no password in the clear from afar",
	  .ip = "192.0.2.1",
	  .text = "S: * OK [[]CAPABILITY * LOGINDISABLED*\nC: a LOGIN alice@mailroot.test demo\n"
		  "S: a NO [[]PRIVACYREQUIRED] *\nC: b AUTHENTICATE PLAIN\nS: b NO *\nC: c LOGOUT\nR:\n" },
	{ .name = "a client that goes while it is idle",
	  .text = LOGIN "C: b SELECT INBOX\nR: b\nC: c IDLE\nR: +\n" },
	{ .name = "a client that never reads",
	  .text = LOGIN "C: b SELECT INBOX\nC: c FETCH 1:* BODY[]\nC: d FETCH 1:* BODY[]\n" },
};

static void transcripts(void **state)
{
	(void)state;
	fakestore_reset();
	talk_run(&imap_protocol, SETTINGS, talks, sizeof(talks) / sizeof(talks[0]));
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
}

static void silence(void **state)
{
	static const struct talk silent[] = {
		{ .name = "before the log-on", .text = "S: * OK *\nS: * BYE *\nE:\n" },
		{ .name = "after it", .text = LOGIN "S: * BYE *\nE:\n" },
		{ .name = "while idle",
		  .text = LOGIN "C: b SELECT INBOX\nR: b\nC: c IDLE\nR: +\nR:\n" },
		{ .name = "inside a message",
		  .text = LOGIN "c: b APPEND INBOX {9+}\\r\\nabc\nE:\n" },
	};

	(void)state;
	fakestore_reset();
	talk_run(&imap_protocol, "imap_timeout_s = 1\nlogin_timeout_s = 1\n", silent,
		 sizeof(silent) / sizeof(silent[0]));
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
}

static void a_damaged_message_is_left_out(void **state)
{
	static const struct talk rows[] = {
		{ .name = "a row",
		  .text = LOGIN
		  "C: b SELECT INBOX\nR: b\n"
		  "C: c FETCH 1:* (UID)\nS: [*] 1 FETCH (UID 1)\nS: [*] 3 FETCH (UID 3)\n"
		  "S: c NO [[]CORRUPTION] a row is damaged\n"
		  "C: d FETCH 1,3 (UID)\nS: [*] 1 *\nS: [*] 3 *\nS: d OK *\n"
		  "C: e FETCH 2 (UID)\nS: e NO [[]CORRUPTION] *\nC: f LOGOUT\nR:\n" },
		{ .name = "a structure",
		  .text = LOGIN
		  "C: b SELECT INBOX\nR: b\n"
		  "C: c FETCH 1:3 (UID BODY)\nS: [*] 2 FETCH *\nS: [*] 3 FETCH *\n"
		  "S: c NO [[]CORRUPTION] *\nC: d FETCH 1 (UID)\nS: [*] 1 *\nS: d OK *\n"
		  "C: e LOGOUT\nR:\n" },
	};

	(void)state;
	fakestore_reset();
	fakeimap_damage(2, 0);
	talk_run(&imap_protocol, SETTINGS, rows, 1);
	fakeimap_damage(0, 1);
	talk_run(&imap_protocol, SETTINGS, rows + 1, 1);
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
}

/* Whatever fails, the client gets an answer to what it asked or the end of the connection, what it reads is
 * IMAP, and nothing of the store's is kept. */
static void every_call_fails(void **state)
{
	unsigned calls, n;
	struct talk *all;

	(void)state;
	fakestore_reset();
	talk_run(&imap_protocol, SETTINGS, talks, 1);
	calls = fakeimap_calls();
	assert_in_range(calls, 30, 200);
	n = calls * (TROUBLES - 1);
	all = calloc(n, sizeof(*all));
	assert_non_null(all);
	for (unsigned i = 0; i < n; i++)
		all[i] = (struct talk){ .name = "everything, with trouble",
					.text = EVERYTHING,
					.loose = true };
	fakestore_reset();
	fakeimap_plan(calls);
	talk_run(&imap_protocol, SETTINGS, all, n);
	assert_int_equal(fakestore_held(), 0);
	fakestore_close();
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts),
		cmocka_unit_test(silence),
		cmocka_unit_test(a_damaged_message_is_left_out),
		cmocka_unit_test(every_call_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
