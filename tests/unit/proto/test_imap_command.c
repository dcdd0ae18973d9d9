/* IMAP commands taken apart: each row whole, split at every octet, octet by octet, and with a pool
 * that is one octet too small. */
#include "imap_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ALL_EXTS 0x1FFFFu
/* What is not said by a row: any state that its command is allowed in, every extension. */
struct row {
	const char *name, *in, *want;
};

static const struct row session_rows[] = {
	{ "no arguments", "a1 CAPABILITY\r\n", "a1 CAPABILITY\n" },
	{ "verbs know no case", "a1 nOOp\r\n", "a1 NOOP\n" },
	{ "a tag of odd characters", "a]1.-#&' LOGOUT\r\n", "a]1.-#&' LOGOUT\n" },
	{ "STARTTLS", "a STARTTLS\r\n", "a STARTTLS\n" },
	{ "NAMESPACE", "a NAMESPACE\r\n", "a NAMESPACE\n" },
	{ "IDLE", "a IDLE\r\n", "a IDLE\n" },
	{ "CHECK", "a CHECK\r\n", "a CHECK\n" },
	{ "CLOSE", "a CLOSE\r\n", "a CLOSE\n" },
	{ "UNSELECT", "a UNSELECT\r\n", "a UNSELECT\n" },
	{ "EXPUNGE", "a EXPUNGE\r\n", "a EXPUNGE\n" },

	{ "LOGIN with atoms", "a LOGIN joe sesame]\r\n", "a LOGIN 'joe' 'sesame]'\n" },
	{ "LOGIN with quoted strings", "a LOGIN \"joe \\\"x\\\"\" \"a\\\\b\"\r\n",
	  "a LOGIN 'joe \"x\"' 'a\\b'\n" },
	{ "LOGIN with nothing between quotes", "a LOGIN joe \"\"\r\n", "a LOGIN 'joe' ''\n" },
	{ "LOGIN with UTF-8 between quotes", "a LOGIN joe \"p\xC3\xA4\xC3\x9F\"\r\n",
	  "a LOGIN 'joe' 'p\xC3\xA4\xC3\x9F'\n" },
	{ "LOGIN with literals", "a LOGIN {3}\r\njoe {6}\r\nse\r\nme\r\n",
	  "+\n+\na LOGIN 'joe' 'se\\r\\nme'\n" },
	{ "LOGIN with literals that do not wait", "a LOGIN {3+}\r\njoe {0+}\r\n\r\n",
	  "a LOGIN 'joe' ''\n" },
	{ "a literal that looks like another", "a LOGIN {6+}\r\nx {3}\r {3}\r\nabc\r\n",
	  "+\na LOGIN 'x {3}\\r' 'abc'\n" },
	{ "a literal that ends in a CR", "a LOGIN {1+}\r\n\r {1+}\r\n\n\r\n",
	  "a LOGIN '\\r' '\\n'\n" },
	{ "a literal with any octets", "a LOGIN {3}\r\n\x01\xFF\x80 x\r\n",
	  "+\na LOGIN '\x01\xFF\x80' 'x'\n" },
	{ "leading zeros of a literal", "a LOGIN {0003}\r\njoe x\r\n", "+\na LOGIN 'joe' 'x'\n" },

	{ "AUTHENTICATE", "a AUTHENTICATE scram-sha-256\r\n", "a AUTHENTICATE 'SCRAM-SHA-256'\n" },
	{ "AUTHENTICATE with an initial response", "a AUTHENTICATE PLAIN AGpvZQBzZXNhbWU=\r\n",
	  "a AUTHENTICATE 'PLAIN' 'AGpvZQBzZXNhbWU='\n" },
	{ "AUTHENTICATE with an empty initial response", "a AUTHENTICATE EXTERNAL =\r\n",
	  "a AUTHENTICATE 'EXTERNAL' ''\n" },
	{ "ENABLE", "a ENABLE condstore X-Good\r\n", "a ENABLE 'CONDSTORE' 'X-GOOD'\n" },
	{ "ID of nobody", "a ID NIL\r\n", "a ID\n" },
	{ "ID with nothing", "a ID ()\r\n", "a ID\n" },
	{ "ID", "a ID (\"name\" \"sodr\" \"version\" NIL \"os\" {2}\r\nhp)\r\n",
	  "+\na ID 'name' 'sodr' 'version' NIL 'os' 'hp'\n" },
	{ NULL, NULL, NULL },
};

static const struct row mailbox_rows[] = {
	{ "SELECT", "a SELECT Drafts\r\n", "a SELECT 'Drafts'\n" },
	{ "INBOX in any case", "a EXAMINE inBox\r\n", "a EXAMINE 'INBOX'\n" },
	{ "INBOX as a literal", "a SELECT {5}\r\nInbox\r\n", "+\na SELECT 'INBOX'\n" },
	{ "a name in modified UTF-7", "a SELECT \"~peter/mail/&U,BTFw-/&ZeVnLIqe-\"\r\n",
	  "a SELECT '~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E'\n" },
	{ "a name with an ampersand", "a SELECT A&-B]\r\n", "a SELECT 'A&B]'\n" },
	{ "SELECT (CONDSTORE)", "a SELECT INBOX (CONDSTORE)\r\n", "a SELECT 'INBOX' condstore\n" },
	{ "SELECT (QRESYNC)", "a SELECT INBOX (QRESYNC (67890007 20050715194045000))\r\n",
	  "a SELECT 'INBOX' uidvalidity=67890007 modseq=20050715194045000\n" },
	{ "SELECT (QRESYNC) with all it can have",
	  "a SELECT INBOX (CONDSTORE QRESYNC (67890007 9 41,43:211 (1,3:5 41,43:45)))\r\n",
	  "a SELECT 'INBOX' condstore uidvalidity=67890007 modseq=9 41,43:211 match 1,3:5 41,43:45\n" },
	{ "SELECT (QRESYNC) without known UIDs", "a SELECT INBOX (QRESYNC (67890007 9 (1 41)))\r\n",
	  "a SELECT 'INBOX' uidvalidity=67890007 modseq=9 match 1 41\n" },
	{ "CREATE", "a CREATE owatagusiam/\r\n", "a CREATE 'owatagusiam/'\n" },
	{ "CREATE with a use", "a CREATE Everything (USE (\\All))\r\n",
	  "a CREATE 'Everything' use=256\n" },
	{ "CREATE with uses", "a CREATE X (use (\\sent \\Trash \\Archive))\r\n",
	  "a CREATE 'X' use=25088\n" },
	{ "CREATE with no use", "a CREATE X (USE ())\r\n", "a CREATE 'X'\n" },
	{ "CREATE with a use nobody knows", "a CREATE X (USE (\\Drafts \\Vogon))\r\n",
	  "a CREATE 'X' use?=1024\n" },
	{ "DELETE", "a DELETE blurdybloop\r\n", "a DELETE 'blurdybloop'\n" },
	{ "RENAME", "a RENAME inbox {7}\r\nold-box\r\n", "+\na RENAME 'INBOX' 'old-box'\n" },
	{ "SUBSCRIBE", "a SUBSCRIBE #news.comp.mail\r\n", "a SUBSCRIBE '#news.comp.mail'\n" },
	{ "UNSUBSCRIBE", "a UNSUBSCRIBE #news.comp.mail\r\n", "a UNSUBSCRIBE '#news.comp.mail'\n" },
	{ "LIST", "a LIST \"\" *\r\n", "a LIST '' '*'\n" },
	{ "LIST of the delimiter", "a LIST \"\" \"\"\r\n", "a LIST '' ''\n" },
	{ "LIST with a reference", "a LIST ~/Mail/ %]\r\n", "a LIST '~/Mail/' '%]'\n" },
	{ "LIST with a pattern in modified UTF-7", "a LIST \"\" \"&AOk-t&AOk-/*\"\r\n",
	  "a LIST '' '\xC3\xA9t\xC3\xA9/*'\n" },
	{ "LIST of special uses", "a LIST (SPECIAL-USE) \"\" *\r\n",
	  "a LIST select=8 '' '*' extended\n" },
	{ "LIST that returns special uses", "a LIST \"\" % RETURN (SPECIAL-USE)\r\n",
	  "a LIST '' '%' return=8 extended\n" },
	{ "LIST with all it can have",
	  "a LIST (SUBSCRIBED REMOTE RECURSIVEMATCH) \"\" (INBOX Drafts Sent/%) RETURN (SUBSCRIBED "
	  "CHILDREN STATUS (MESSAGES UNSEEN))\r\n",
	  "a LIST select=7 '' 'INBOX' 'Drafts' 'Sent/%' return=49 status=17 extended\n" },
	{ "LIST with empty options", "a LIST () \"\" % RETURN ()\r\n", "a LIST '' '%' extended\n" },
	{ "LSUB", "a LSUB #news. comp.mail.*\r\n", "a LSUB '#news.' 'comp.mail.*'\n" },
	{ "STATUS", "a STATUS blurdybloop (UIDNEXT MESSAGES)\r\n",
	  "a STATUS 'blurdybloop' items=5\n" },
	{ "STATUS of everything",
	  "a STATUS x (messages recent uidnext uidvalidity unseen highestmodseq)\r\n",
	  "a STATUS 'x' items=63\n" },

	{ "APPEND", "a APPEND Sent {5}\r\nhello\r\n",
	  "STREAM a APPEND 'Sent' () size=5\nDATA 'hello'\na APPEND 'Sent' () size=5\n" },
	{ "APPEND that does not wait", "a APPEND Sent {5+}\r\nhello\r\n",
	  "STREAM a APPEND 'Sent' () size+=5\nDATA 'hello'\na APPEND 'Sent' () size+=5\n" },
	{ "APPEND with flags and a date",
	  "a APPEND saved-messages (\\Seen $Done $DONE) \"07-Feb-1994 21:52:25 -0800\" {2}\r\n\r\n\r\n",
	  "STREAM a APPEND 'saved-messages' (\\Seen $Done) date=760686745 zone=-480 size=2\n"
	  "DATA '\\r\\n'\n"
	  "a APPEND 'saved-messages' (\\Seen $Done) date=760686745 zone=-480 size=2\n" },
	{ "APPEND with no flags and a day of one digit",
	  "a APPEND x () \" 1-jan-1970 00:00:00 +0000\" {0}\r\n\r\n",
	  "STREAM a APPEND 'x' () date=0 zone=0 size=0\nDATA ''\n"
	  "a APPEND 'x' () date=0 zone=0 size=0\n" },
	{ "APPEND to a mailbox named by a literal",
	  "a APPEND {5}\r\nInbox (\\Draft) {3+}\r\nabc\r\n",
	  "+\nSTREAM a APPEND 'INBOX' (\\Draft) size+=3\nDATA 'abc'\n"
	  "a APPEND 'INBOX' (\\Draft) size+=3\n" },
	{ "APPEND of something that looks like commands",
	  "a APPEND x {24}\r\nb LOGOUT\r\nc NOOP x {3}\r\n\r\nd NOOP\r\n",
	  "STREAM a APPEND 'x' () size=24\nDATA 'b LOGOUT\\r\\nc NOOP x {3}\\r\\n'\n"
	  "a APPEND 'x' () size=24\nd NOOP\n" },
	{ NULL, NULL, NULL },
};

static const struct row message_rows[] = {
	{ "FETCH of one item", "a FETCH 2 FLAGS\r\n", "a FETCH 2 FLAGS\n" },
	{ "FETCH ALL", "a FETCH 1:* all\r\n",
	  "a FETCH 1:0 FLAGS INTERNALDATE RFC822.SIZE ENVELOPE\n" },
	{ "FETCH FAST", "a FETCH * FAST\r\n", "a FETCH 0 FLAGS INTERNALDATE RFC822.SIZE\n" },
	{ "FETCH FULL", "a FETCH 1 FULL\r\n",
	  "a FETCH 1 FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY\n" },
	{ "every item",
	  "a FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE RFC822 "
	  "RFC822.HEADER RFC822.TEXT MODSEQ BODY[])\r\n",
	  "a FETCH 1 UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE !RFC822 "
	  "RFC822.HEADER !RFC822.TEXT MODSEQ !BODY[]\n" },
	{ "an item asked for twice", "a FETCH 1 (FLAGS UID flags BODY[] BODY[])\r\n",
	  "a FETCH 1 FLAGS UID !BODY[] !BODY[]\n" },
	{ "UID FETCH has UID anyhow", "a uid fetch 1 FLAGS\r\n", "a UID FETCH 1 UID FLAGS\n" },
	{ "sections",
	  "a FETCH 1 (BODY[TEXT] BODY[HEADER] BODY[1] BODY[4.2.1.MIME] BODY[3.HEADER] "
	  "BODY[3.TEXT])\r\n",
	  "a FETCH 1 !BODY[TEXT] !BODY[HEADER] !BODY[1] !BODY[4.2.1.MIME] !BODY[3.HEADER] "
	  "!BODY[3.TEXT]\n" },
	{ "a section that is only looked at", "a FETCH 1 body.peek[text]\r\n",
	  "a FETCH 1 BODY[TEXT]\n" },
	{ "header fields", "a FETCH 1 BODY.PEEK[HEADER.FIELDS (DATE From \"x y\")]\r\n",
	  "a FETCH 1 BODY[HEADER.FIELDS (DATE From \"x y\")]\n" },
	{ "header fields of a part, from a literal",
	  "a FETCH 1 (BODY[4.1.HEADER.FIELDS.NOT ({2}\r\nTo)]<0.9> UID)\r\n",
	  "+\na FETCH 1 !BODY[4.1.HEADER.FIELDS.NOT (To)]<0>+9 UID\n" },
	{ "a part of the octets", "a FETCH 1 BODY[]<2048.1024>\r\n",
	  "a FETCH 1 !BODY[]<2048>+1024\n" },
	{ "FETCH of changes", "a FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)\r\n",
	  "a FETCH 1:0 FLAGS MODSEQ changedsince=12345\n" },
	{ "FETCH of changes and what is gone",
	  "a UID FETCH 300:500 FLAGS (CHANGEDSINCE 12345 VANISHED)\r\n",
	  "a UID FETCH 300:500 UID FLAGS MODSEQ changedsince=12345 vanished\n" },

	{ "a set", "a FETCH 2,4:7,9,12:* UID\r\n", "a FETCH 2,4:7,9,12:0 UID\n" },
	{ "ranges the wrong way round", "a FETCH 7:4,*:3,*:*,5:5 UID\r\n",
	  "a FETCH 4:7,3:0,0,5 UID\n" },
	{ "the largest number", "a FETCH 4294967295 UID\r\n", "a FETCH 4294967295 UID\n" },

	{ "STORE", "a STORE 2:4 FLAGS (\\Deleted \\Seen)\r\n",
	  "a STORE 2:4 set (\\Deleted \\Seen)\n" },
	{ "STORE of no flags", "a STORE 1 FLAGS ()\r\n", "a STORE 1 set ()\n" },
	{ "STORE without parentheses", "a STORE 1 +FLAGS \\answered $Junk NonJunk\r\n",
	  "a STORE 1 add (\\Answered $Junk NonJunk)\n" },
	{ "STORE silently", "a UID STORE 1:* -flags.silent (\\Flagged \\Draft)\r\n",
	  "a UID STORE 1:0 remove silent (\\Flagged \\Draft)\n" },
	{ "STORE if unchanged", "a STORE 7,5 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\\Deleted)\r\n",
	  "a STORE 7,5 add silent (\\Deleted) unchangedsince=0\n" },
	{ "COPY", "a COPY 2:4 MEETING\r\n", "a COPY 2:4 'MEETING'\n" },
	{ "UID COPY", "a UID COPY 2 inbox\r\n", "a UID COPY 2 'INBOX'\n" },
	{ "MOVE", "a MOVE 1:3 Trash\r\n", "a MOVE 1:3 'Trash'\n" },
	{ "UID MOVE", "a UID MOVE 42 {5+}\r\nTrash\r\n", "a UID MOVE 42 'Trash'\n" },
	{ "UID EXPUNGE", "a UID EXPUNGE 3000:3002\r\n", "a UID EXPUNGE 3000:3002\n" },
	{ NULL, NULL, NULL },
};

static const struct row search_rows[] = {
	{ "SEARCH ALL", "a SEARCH ALL\r\n", "a SEARCH all\n" },
	{ "flags", "a SEARCH ANSWERED DELETED DRAFT FLAGGED RECENT SEEN\r\n",
	  "a SEARCH and ( flag 2 flag 8 flag 16 flag 4 flag 32 flag 1 )\n" },
	{ "flags that must not be there",
	  "a SEARCH UNANSWERED UNDELETED UNDRAFT UNFLAGGED OLD UNSEEN\r\n",
	  "a SEARCH and ( not ( flag 2 ) not ( flag 8 ) not ( flag 16 ) not ( flag 4 ) "
	  "not ( flag 32 ) not ( flag 1 ) )\n" },
	{ "NEW", "a SEARCH NEW\r\n", "a SEARCH and ( flag 32 not ( flag 1 ) )\n" },
	{ "keywords", "a SEARCH KEYWORD $Junk UNKEYWORD x\r\n",
	  "a SEARCH and ( keyword '$Junk' not ( keyword 'x' ) )\n" },
	{ "strings", "a SEARCH BCC b BODY \"o d\" CC c FROM {1}\r\nf SUBJECT s TEXT t TO \"\"\r\n",
	  "+\na SEARCH and ( bcc 'b' body 'o d' cc 'c' from 'f' subject 's' text 't' to '' )\n" },
	{ "dates",
	  "a SEARCH BEFORE 1-Feb-1994 ON \"01-jan-1970\" SINCE 31-Dec-1969 SENTBEFORE 29-Feb-2000 "
	  "SENTON 1-Mar-2000 SENTSINCE 1-Jan-0000\r\n",
	  "a SEARCH and ( before 8797 on 0 since -1 sentbefore 11016 senton 11017 sentsince -719528 )\n" },
	{ "sizes", "a SEARCH LARGER 0 SMALLER 9999999999\r\n",
	  "a SEARCH and ( larger 0 smaller 9999999999 )\n" },
	{ "a header field", "a SEARCH HEADER Message-ID \"\"\r\n",
	  "a SEARCH header 'Message-ID' ''\n" },
	{ "sets", "a SEARCH 1:3,* UID 7:*\r\n", "a SEARCH and ( seqs 1:3,0 uids 7:0 )\n" },
	{ "NOT", "a SEARCH NOT NOT SEEN\r\n", "a SEARCH not ( not ( flag 1 ) )\n" },
	{ "OR", "a SEARCH OR SEEN DRAFT\r\n", "a SEARCH or ( flag 1 flag 16 )\n" },
	{ "a chain of ORs is one", "a SEARCH OR FROM a OR FROM b OR FROM c FROM d\r\n",
	  "a SEARCH or ( from 'a' from 'b' from 'c' from 'd' )\n" },
	{ "OR with OR first", "a SEARCH OR OR FROM a FROM b FROM c\r\n",
	  "a SEARCH or ( or ( from 'a' from 'b' ) from 'c' )\n" },
	{ "parentheses", "a SEARCH (SEEN) NOT (DRAFT (DELETED 1))\r\n",
	  "a SEARCH and ( flag 1 not ( and ( flag 16 and ( flag 8 seqs 1 ) ) ) )\n" },
	{ "a charset", "a SEARCH CHARSET UTF-8 TEXT {4}\r\n\xC3\xA9\xC3\xA9\r\n",
	  "+\na SEARCH 'UTF-8' text '\xC3\xA9\xC3\xA9'\n" },
	{ "UID SEARCH", "a UID SEARCH UID 1 (2)\r\n", "a UID SEARCH and ( uids 1 seqs 2 )\n" },
	{ "RETURN", "a SEARCH RETURN (MIN COUNT) CHARSET x SEEN\r\n",
	  "a SEARCH return=9 'x' flag 1\n" },
	{ "RETURN of nothing is ALL", "a SEARCH RETURN () SEEN\r\n", "a SEARCH return=4 flag 1\n" },
	{ "MODSEQ", "a SEARCH MODSEQ 620162338\r\n", "a SEARCH modseq 620162338\n" },
	{ "MODSEQ of an entry", "a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338\r\n",
	  "a SEARCH modseq 620162338 '/flags/\\draft'\n" },
	{ NULL, NULL, NULL },
};

static enum imap_state state_of(const char *in)
{
	static const char *const early[] = { " LOGIN ", " AUTHENTICATE ", " STARTTLS" };

	for (size_t i = 0; i < 3; i++) {
		if (strstr(in, early[i]))
			return IMAP_NOT_AUTH;
	}
	return strstr(in, " ENABLE ") ? IMAP_AUTH : IMAP_SELECTED;
}

static void expect(const struct row *row, struct imap_feed *f, const char *want)
{
	struct buf out = BUF_MAX(1 << 20);

	imap_transcript(f, &out);
	buf_char(&out, '\0');
	if (strcmp(out.at, want) != 0)
		print_message("row \"%s\", first %zu, step %zu, pool %zu\n", row->name, f->first,
			      f->step, f->pool_max);
	assert_string_equal(out.at, want);
	buf_free(&out);
}

/* The first BAD of a row that its pool has no room for. */
static void expect_full(const struct row *row, struct imap_feed *f)
{
	struct buf out = BUF_MAX(1 << 20);

	imap_transcript(f, &out);
	buf_char(&out, '\0');
	if (!strstr(out.at, "too complex"))
		print_message("row \"%s\" fits into %zu octets\n", row->name, f->pool_max);
	assert_non_null(strstr(out.at, "too complex"));
	buf_free(&out);
}

static void run_rows(const struct row *row)
{
	for (; row->name; row++) {
		struct imap_feed f = { .in = span_str(row->in),
				       .state = state_of(row->in),
				       .exts = ALL_EXTS };

		expect(row, &f, row->want);
		size_t most = f.pool_most;
		for (f.first = 1; f.first < f.in.len; f.first++)
			expect(row, &f, row->want);
		f.first = f.step = 1;
		expect(row, &f, row->want);
		f.first = f.step = 0;
		f.pool_max = most;
		expect(row, &f, row->want);
		f.pool_max = most - 1;
		expect_full(row, &f);
	}
}

static void commands_of_the_session(void **state)
{
	(void)state;
	run_rows(session_rows);
}

static void commands_about_mailboxes(void **state)
{
	(void)state;
	run_rows(mailbox_rows);
}

static void commands_about_messages(void **state)
{
	(void)state;
	run_rows(message_rows);
}

static void searches(void **state)
{
	(void)state;
	run_rows(search_rows);
}

static bool any_row(const struct row *rows, const char *name)
{
	char what[64];

	snprintf(what, sizeof(what), "a %s", name);
	for (; rows->name; rows++) {
		const char *at = strstr(rows->want, what);

		if (at && (at[strlen(what)] == ' ' || at[strlen(what)] == '\n'))
			return true;
	}
	return !strcmp(name, "CAPABILITY") || !strcmp(name, "NOOP") || !strcmp(name, "LOGOUT");
}

static void every_verb_has_a_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < imap_nverbs; i++) {
		const char *name = imap_verbs[i].name;
		bool has = any_row(session_rows, name) || any_row(mailbox_rows, name) ||
			   any_row(message_rows, name) || any_row(search_rows, name);

		if (!has)
			print_message("no row for %s\n", name);
		assert_true(has);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_of_the_session),
		cmocka_unit_test(commands_about_mailboxes),
		cmocka_unit_test(commands_about_messages),
		cmocka_unit_test(searches),
		cmocka_unit_test(every_verb_has_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
