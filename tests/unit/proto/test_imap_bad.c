/* What IMAP clients must not say: every reason for BAD has a row.  Each is followed by "z NOOP" to show
 * that the reader found the beginning of the next command, and run whole, split and octet by octet. */
#include "imap_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define BASE   IMAP_EXT_SERVED
#define EVERY  0x1FFFFu
#define NONE   0u
#define NOAUTH IMAP_NOT_AUTH
#define AUTH   IMAP_AUTH
#define SEL    IMAP_SELECTED

static const struct row {
	const char *name;
	enum imap_state state;
	uint32_t exts;
	const char *in, *want;
} rows[] = {
	/* the frame */
	{ "an empty line", SEL, BASE, "\r\n", "* BAD a tag is expected\n" },
	{ "a space first", SEL, BASE, " a NOOP\r\n", "* BAD a tag is expected\n" },
	{ "a tag with a plus", SEL, BASE, "a+ NOOP\r\n", "* BAD a tag is expected\n" },
	{ "a tag alone", SEL, BASE, "a\r\n", "a BAD a space is expected\n" },
	{ "a tag and a space", SEL, BASE, "a \r\n", "a BAD no such command\n" },
	{ "an HTTP request", NOAUTH, BASE, "GET / HTTP/1.1\r\n", "GET BAD no such command\n" },
	{ "a command nobody knows", SEL, BASE, "a XYZZY\r\n", "a BAD no such command\n" },
	{ "UID alone", SEL, BASE, "a UID\r\n", "a BAD a space is expected\n" },
	{ "UID of a command that has none", SEL, BASE, "a UID NOOP\r\n",
	  "a BAD no such command\n" },
	{ "two spaces", SEL, BASE, "a  NOOP\r\n", "a BAD no such command\n" },
	{ "a space behind", SEL, BASE, "a NOOP \r\n",
	  "a BAD NOOP: the end of the line is expected\n" },
	{ "a word too many", SEL, BASE, "a CLOSE x\r\n",
	  "a BAD CLOSE: the end of the line is expected\n" },
	{ "a word too few", NOAUTH, BASE, "a LOGIN joe\r\n", "a BAD LOGIN: a space is expected\n" },
	{ "a command of an extension that is off", SEL, NONE, "a IDLE\r\n",
	  "a BAD no such command\n" },
	{ "a line that LF ends", SEL, BASE, "a NOOP\nb LOGOUT\r\n",
	  "a BAD a line ends in CR LF\n" },
	{ "lines that LF ends", SEL, BASE, "a NOOP\nb NOOP\n\r\n",
	  "a BAD a line ends in CR LF\n* BAD a line ends in CR LF\n" },
	{ "a CR inside", SEL, BASE, "a NOOP\rb LOGOUT\r\n",
	  "a BAD NOOP: the end of the line is expected\n" },
	{ "CR CR LF", SEL, BASE, "a NOOP\r\r\n", "a BAD NOOP: the end of the line is expected\n" },

	/* states */
	{ "a mailbox before LOGIN", NOAUTH, BASE, "a SELECT INBOX\r\n",
	  "a BAD SELECT: log in first\n" },
	{ "a literal for a command that is not allowed", NOAUTH, BASE, "a APPEND x {3}\r\n",
	  "a BAD APPEND: log in first\n" },
	{ "the same that does not wait", NOAUTH, BASE, "a APPEND x {10+}\r\ny LOGOUT\r\n\r\n",
	  "a BAD APPEND: log in first\n" },
	{ "LOGIN twice", AUTH, BASE, "a LOGIN joe x\r\n", "a BAD LOGIN: already logged in\n" },
	{ "messages without a mailbox", AUTH, BASE, "a FETCH 1 UID\r\n",
	  "a BAD FETCH: select a mailbox first\n" },
	{ "ENABLE too late", SEL, BASE, "a ENABLE CONDSTORE\r\n",
	  "a BAD ENABLE: not while a mailbox is selected\n" },

	/* strings */
	{ "no closing quote", NOAUTH, BASE, "a LOGIN \"joe x\r\n",
	  "a BAD LOGIN: a quoted string has no end\n" },
	{ "no closing quote because of a backslash", NOAUTH, BASE, "a LOGIN joe \"x\\\"\r\n",
	  "a BAD LOGIN: a quoted string has no end\n" },
	{ "a backslash before nothing special", NOAUTH, BASE, "a LOGIN \"j\\oe\" x\r\n",
	  "a BAD LOGIN: a character that a quoted string cannot hold\n" },
	{ "octets that are not UTF-8 between quotes", NOAUTH, BASE, "a LOGIN \"j\xC3(\" x\r\n",
	  "a BAD LOGIN: a character that a quoted string cannot hold\n" },
	{ "UTF-8 in an atom", NOAUTH, BASE, "a LOGIN j\xC3\xA9 x\r\n",
	  "a BAD LOGIN: a space is expected\n" },
	{ "something that is no string", NOAUTH, BASE, "a LOGIN (joe) x\r\n",
	  "a BAD LOGIN: a string is expected\n" },
	{ "an atom where a string must be", SEL, BASE, "a ID (name x)\r\n",
	  "a BAD ID: a string is expected\n" },
	{ "a literal where none may be", SEL, BASE, "a FETCH {1}\r\n",
	  "a BAD FETCH: a number is expected\n" },
	{ "the same that does not wait", SEL, BASE, "a FETCH {10+}\r\ny LOGOUT\r\n 1\r\n",
	  "a BAD FETCH: a number is expected\n" },
	{ "literals thrown away one after another", SEL, BASE,
	  "a FETCH {1+}\r\n1{3+}\r\n\r\n\r X{0+}\r\n\r\n", "a BAD FETCH: a number is expected\n" },
	{ "a literal between quotes", NOAUTH, BASE, "a LOGIN \"joe {1+}\r\n\n\r\n",
	  "a BAD LOGIN: a quoted string has no end\n" },
	{ "a literal inside a line", NOAUTH, BASE, "a LOGIN {3} joe\r\n",
	  "a BAD LOGIN: a literal is announced by {n} at the end of a line\n" },
	{ "a literal without a number", NOAUTH, BASE, "a LOGIN {}\r\n",
	  "a BAD LOGIN: a number is expected\n" },
	{ "a literal with a wrong plus", NOAUTH, BASE, "a LOGIN {+3}\r\n",
	  "a BAD LOGIN: a number is expected\n" },
	{ "no LITERAL+", NOAUTH, NONE, "a LOGIN {3+}\r\njoe x\r\n",
	  "a BAD LOGIN: that extension is not offered here\n" },
	{ "too large a literal", NOAUTH, BASE, "a LOGIN {65537}\r\n",
	  "a BAD LOGIN: the literals are too large\n" },
	{ "too large a number of octets", NOAUTH, BASE, "a LOGIN {18446744073709551616}\r\n",
	  "a BAD LOGIN: the number is too large\n" },
	{ "something behind a literal", NOAUTH, BASE, "a LOGIN {1+}\r\njx y\r\n",
	  "a BAD LOGIN: a space is expected\n" },
	{ "no SASL-IR", NOAUTH, NONE, "a AUTHENTICATE PLAIN AA==\r\n",
	  "a BAD AUTHENTICATE: that extension is not offered here\n" },
	{ "an initial response that is no base64", NOAUTH, BASE, "a AUTHENTICATE PLAIN \"AA\"\r\n",
	  "a BAD AUTHENTICATE: base64 is expected\n" },
	{ "rubbish behind base64", NOAUTH, BASE, "a AUTHENTICATE PLAIN AA;\r\n",
	  "a BAD AUTHENTICATE: the end of the line is expected\n" },
	{ "a mechanism that is no atom", NOAUTH, BASE, "a AUTHENTICATE \"PLAIN\"\r\n",
	  "a BAD AUTHENTICATE: an atom is expected\n" },
	{ "ENABLE of nothing", AUTH, BASE, "a ENABLE\r\n", "a BAD ENABLE: a space is expected\n" },
	{ "ID with half a pair", SEL, BASE, "a ID (\"name\")\r\n",
	  "a BAD ID: a space is expected\n" },
	{ "ID with a long field", SEL, BASE, "a ID (\"1234567890123456789012345678901\" NIL)\r\n",
	  "a BAD ID: a field or value is too long\n" },
	{ "ID without parentheses", SEL, BASE, "a ID \"x\" \"y\"\r\n",
	  "a BAD ID: '(' is expected\n" },

	/* mailboxes */
	{ "a name that is not modified UTF-7", SEL, BASE, "a SELECT \"a&b\"\r\n",
	  "a BAD SELECT: the mailbox name is not modified UTF-7\n" },
	{ "a name in UTF-8", SEL, BASE, "a SELECT \"\xC3\xA9\"\r\n",
	  "a BAD SELECT: the mailbox name is not modified UTF-7\n" },
	{ "a pattern where a name must be", SEL, BASE, "a SELECT a%\r\n",
	  "a BAD SELECT: the end of the line is expected\n" },
	{ "no such parameter of SELECT", SEL, EVERY, "a SELECT x (FAST)\r\n",
	  "a BAD SELECT: no such parameter\n" },
	{ "no parameters of SELECT", SEL, EVERY, "a SELECT x ()\r\n",
	  "a BAD SELECT: no such parameter\n" },
	{ "no parentheses", SEL, EVERY, "a SELECT x CONDSTORE\r\n",
	  "a BAD SELECT: '(' is expected\n" },
	{ "CONDSTORE is off", SEL, BASE, "a SELECT x (CONDSTORE)\r\n",
	  "a BAD SELECT: that extension is not offered here\n" },
	{ "QRESYNC is off", SEL, BASE, "a SELECT x (QRESYNC (1 2))\r\n",
	  "a BAD SELECT: that extension is not offered here\n" },
	{ "QRESYNC without a UIDVALIDITY", SEL, EVERY, "a SELECT x (QRESYNC (0 2))\r\n",
	  "a BAD SELECT: the number must not be 0\n" },
	{ "QRESYNC without a MODSEQ", SEL, EVERY, "a SELECT x (QRESYNC (1 0))\r\n",
	  "a BAD SELECT: the number must not be 0\n" },
	{ "QRESYNC with '*'", SEL, EVERY, "a SELECT x (QRESYNC (1 2 1:*))\r\n",
	  "a BAD SELECT: '*' has no meaning here\n" },
	{ "QRESYNC with half a match", SEL, EVERY, "a SELECT x (QRESYNC (1 2 3 (4)))\r\n",
	  "a BAD SELECT: a space is expected\n" },
	{ "CREATE with no such parameter", SEL, BASE, "a CREATE x (COLOR (red))\r\n",
	  "a BAD CREATE: no such parameter\n" },
	{ "CREATE with a use that is none", SEL, BASE, "a CREATE x (USE (Sent))\r\n",
	  "a BAD CREATE: a special use is expected\n" },
	{ "CREATE with too few parentheses", SEL, BASE, "a CREATE x (USE (\\Sent)\r\n",
	  "a BAD CREATE: ')' is expected\n" },
	{ "CREATE-SPECIAL-USE is off", SEL, NONE, "a CREATE x (USE (\\Sent))\r\n",
	  "a BAD CREATE: that extension is not offered here\n" },
	{ "LIST without a pattern", SEL, BASE, "a LIST \"\"\r\n",
	  "a BAD LIST: a space is expected\n" },
	{ "LIST that selects something else", SEL, BASE, "a LIST (FOO) \"\" %\r\n",
	  "a BAD LIST: no such option\n" },
	{ "LIST-EXTENDED is off", SEL, BASE, "a LIST (SUBSCRIBED) \"\" %\r\n",
	  "a BAD LIST: that extension is not offered here\n" },
	{ "LIST-EXTENDED is off for patterns as well", SEL, BASE, "a LIST \"\" (a b)\r\n",
	  "a BAD LIST: that extension is not offered here\n" },
	{ "LIST with RECURSIVEMATCH alone", SEL, EVERY, "a LIST (RECURSIVEMATCH REMOTE) \"\" %\r\n",
	  "a BAD LIST: RECURSIVEMATCH needs another selection\n" },
	{ "LIST that returns something else", SEL, EVERY, "a LIST \"\" % RETURN (FOO)\r\n",
	  "a BAD LIST: no such option\n" },
	{ "LIST with a word too many", SEL, EVERY, "a LIST \"\" % FOO\r\n",
	  "a BAD LIST: RETURN is expected\n" },
	{ "LIST with no patterns", SEL, EVERY, "a LIST \"\" ()\r\n",
	  "a BAD LIST: a string is expected\n" },
	{ "LIST with a bad pattern", SEL, EVERY, "a LIST \"\" &*\r\n",
	  "a BAD LIST: the mailbox name is not modified UTF-7\n" },
	{ "STATUS of nothing", SEL, BASE, "a STATUS x ()\r\n",
	  "a BAD STATUS: no such status item\n" },
	{ "STATUS without parentheses", SEL, BASE, "a STATUS x UIDNEXT\r\n",
	  "a BAD STATUS: '(' is expected\n" },
	{ "STATUS of a word too long", SEL, BASE, "a STATUS x (UIDNEXTS)\r\n",
	  "a BAD STATUS: no such status item\n" },
	{ "STATUS of an extension", SEL, BASE, "a STATUS x (HIGHESTMODSEQ)\r\n",
	  "a BAD STATUS: that extension is not offered here\n" },
	{ "APPEND without a message", SEL, BASE, "a APPEND x\r\n",
	  "a BAD APPEND: a space is expected\n" },
	{ "APPEND of a string", SEL, BASE, "a APPEND x \"mail\"\r\n",
	  "a BAD APPEND: a date is expected\n" },
	{ "APPEND of an atom", SEL, BASE, "a APPEND x mail\r\n",
	  "a BAD APPEND: a literal is expected\n" },
	{ "APPEND with something behind the message", SEL, BASE,
	  "a APPEND x {2}\r\nhi (\\Seen)\r\n",
	  "STREAM a APPEND 'x' () size=2\nDATA 'hi'\n"
	  "a BAD APPEND: the end of the line is expected behind the message\n" },
	{ "APPEND with a second message", SEL, BASE,
	  "a APPEND x {2+}\r\nhi {10+}\r\ny LOGOUT\r\n\r\n",
	  "STREAM a APPEND 'x' () size+=2\nDATA 'hi'\n"
	  "a BAD APPEND: the end of the line is expected behind the message\n" },
	{ "no such day", SEL, BASE, "a APPEND x \"29-Feb-1900 00:00:00 +0000\" {2}\r\n",
	  "a BAD APPEND: there is no such day\n" },
	{ "a day without its space", SEL, BASE, "a APPEND x \"1-Feb-1994 00:00:00 +0000\" {2}\r\n",
	  "a BAD APPEND: a date is expected\n" },
	{ "no such month", SEL, BASE, "a APPEND x \"01-Feu-1994 00:00:00 +0000\" {2}\r\n",
	  "a BAD APPEND: a date is expected\n" },
	{ "no such time", SEL, BASE, "a APPEND x \"01-Feb-1994 24:00:00 +0000\" {2}\r\n",
	  "a BAD APPEND: there is no such time\n" },
	{ "no such zone", SEL, BASE, "a APPEND x \"01-Feb-1994 00:00:00 +0060\" {2}\r\n",
	  "a BAD APPEND: there is no such time zone\n" },
	{ "no zone", SEL, BASE, "a APPEND x \"01-Feb-1994 00:00:00\" {2}\r\n",
	  "a BAD APPEND: a date is expected\n" },

	/* messages */
	{ "number 0", SEL, BASE, "a FETCH 0 UID\r\n", "a BAD FETCH: the number must not be 0\n" },
	{ "a number over 32 bits", SEL, BASE, "a FETCH 4294967296 UID\r\n",
	  "a BAD FETCH: the number is too large\n" },
	{ "a comma too many", SEL, BASE, "a FETCH 1,,2 UID\r\n",
	  "a BAD FETCH: a number is expected\n" },
	{ "a range of three", SEL, BASE, "a FETCH 1:2:3,4 UID\r\n",
	  "a BAD FETCH: a set of numbers is expected\n" },
	{ "half a range", SEL, BASE, "a COPY 1: x\r\n", "a BAD COPY: a number is expected\n" },
	{ "no such item", SEL, BASE, "a FETCH 1 FLAG\r\n", "a BAD FETCH: no such item\n" },
	{ "no items", SEL, BASE, "a FETCH 1 ()\r\n", "a BAD FETCH: no such item\n" },
	{ "a macro among items", SEL, BASE, "a FETCH 1 (FLAGS ALL)\r\n",
	  "a BAD FETCH: no such item\n" },
	{ "an item with a tail", SEL, BASE, "a FETCH 1 FLAGS.SILENT\r\n",
	  "a BAD FETCH: no such item\n" },
	{ "items without parentheses", SEL, BASE, "a FETCH 1 FLAGS UID\r\n",
	  "a BAD FETCH: '(' is expected\n" },
	{ "BODY.PEEK of nothing", SEL, BASE, "a FETCH 1 BODY.PEEK\r\n",
	  "a BAD FETCH: '[' is expected\n" },
	{ "no such section", SEL, BASE, "a FETCH 1 BODY[FOOTER]\r\n",
	  "a BAD FETCH: no such section\n" },
	{ "MIME of the message", SEL, BASE, "a FETCH 1 BODY[MIME]\r\n",
	  "a BAD FETCH: no such section\n" },
	{ "a part that ends in a dot", SEL, BASE, "a FETCH 1 BODY[1.]\r\n",
	  "a BAD FETCH: no such section\n" },
	{ "part 0", SEL, BASE, "a FETCH 1 BODY[0]\r\n", "a BAD FETCH: the number must not be 0\n" },
	{ "a section without its end", SEL, BASE, "a FETCH 1 BODY[1\r\n",
	  "a BAD FETCH: ']' is expected\n" },
	{ "header fields without a list", SEL, BASE, "a FETCH 1 BODY[HEADER.FIELDS]\r\n",
	  "a BAD FETCH: a space is expected\n" },
	{ "an empty list of header fields", SEL, BASE, "a FETCH 1 BODY[HEADER.FIELDS ()]\r\n",
	  "a BAD FETCH: a string is expected\n" },
	{ "a part of no octets", SEL, BASE, "a FETCH 1 BODY[]<1.0>\r\n",
	  "a BAD FETCH: the number must not be 0\n" },
	{ "a part without a count", SEL, BASE, "a FETCH 1 BODY[]<1>\r\n",
	  "a BAD FETCH: '.' is expected\n" },
	{ "a part without its end", SEL, BASE, "a FETCH 1 BODY[]<1.1\r\n",
	  "a BAD FETCH: '>' is expected\n" },
	{ "RFC822 in parts", SEL, BASE, "a FETCH 1 RFC822<1.1>\r\n",
	  "a BAD FETCH: the end of the line is expected\n" },
	{ "MODSEQ without CONDSTORE", SEL, BASE, "a FETCH 1 MODSEQ\r\n",
	  "a BAD FETCH: that extension is not offered here\n" },
	{ "CHANGEDSINCE without CONDSTORE", SEL, BASE, "a FETCH 1 UID (CHANGEDSINCE 1)\r\n",
	  "a BAD FETCH: that extension is not offered here\n" },
	{ "CHANGEDSINCE 0", SEL, EVERY, "a FETCH 1 UID (CHANGEDSINCE 0)\r\n",
	  "a BAD FETCH: the number must not be 0\n" },
	{ "a MODSEQ over 63 bits", SEL, EVERY,
	  "a FETCH 1 UID (CHANGEDSINCE 9223372036854775808)\r\n",
	  "a BAD FETCH: the number is too large\n" },
	{ "VANISHED without QRESYNC", SEL, BASE | IMAP_EXT_CONDSTORE,
	  "a UID FETCH 1 UID (CHANGEDSINCE 1 VANISHED)\r\n",
	  "a BAD UID FETCH: that extension is not offered here\n" },
	{ "VANISHED without UID", SEL, EVERY, "a FETCH 1 UID (CHANGEDSINCE 1 VANISHED)\r\n",
	  "a BAD FETCH: VANISHED needs UID FETCH and CHANGEDSINCE\n" },
	{ "VANISHED alone", SEL, EVERY, "a UID FETCH 1 UID (VANISHED)\r\n",
	  "a BAD UID FETCH: VANISHED needs UID FETCH and CHANGEDSINCE\n" },
	{ "no such modifier of FETCH", SEL, EVERY, "a FETCH 1 UID (FOO)\r\n",
	  "a BAD FETCH: no such modifier\n" },
	{ "no such modifier of STORE", SEL, EVERY, "a STORE 1 (FOO 1) FLAGS ()\r\n",
	  "a BAD STORE: no such modifier\n" },
	{ "UNCHANGEDSINCE without CONDSTORE", SEL, BASE,
	  "a STORE 1 (UNCHANGEDSINCE 1) FLAGS ()\r\n",
	  "a BAD STORE: that extension is not offered here\n" },
	{ "STORE of something else", SEL, BASE, "a STORE 1 +UID 5\r\n",
	  "a BAD STORE: FLAGS is expected\n" },
	{ "STORE.LOUD", SEL, BASE, "a STORE 1 FLAGS.LOUD ()\r\n",
	  "a BAD STORE: FLAGS is expected\n" },
	{ "STORE of nothing", SEL, BASE, "a STORE 1 FLAGS\r\n",
	  "a BAD STORE: a space is expected\n" },
	{ "STORE of no flag", SEL, BASE, "a STORE 1 FLAGS \r\n",
	  "a BAD STORE: an atom is expected\n" },
	{ "STORE of \\Recent", SEL, BASE, "a STORE 1 +FLAGS (\\Recent)\r\n",
	  "a BAD STORE: no such system flag can be set\n" },
	{ "STORE of a backslash", SEL, BASE, "a STORE 1 +FLAGS (\\)\r\n",
	  "a BAD STORE: an atom is expected\n" },
	{ "STORE of \\*", SEL, BASE, "a STORE 1 +FLAGS (\\*)\r\n",
	  "a BAD STORE: an atom is expected\n" },
	{ "UID EXPUNGE of what", SEL, BASE, "a UID EXPUNGE\r\n",
	  "a BAD UID EXPUNGE: a space is expected\n" },
	{ "EXPUNGE of something", SEL, BASE, "a EXPUNGE 1\r\n",
	  "a BAD EXPUNGE: the end of the line is expected\n" },

	/* SEARCH */
	{ "SEARCH of nothing", SEL, BASE, "a SEARCH\r\n", "a BAD SEARCH: a space is expected\n" },
	{ "no such key", SEL, BASE, "a SEARCH FOO\r\n", "a BAD SEARCH: no such search key\n" },
	{ "a charset and no key", SEL, BASE, "a SEARCH CHARSET UTF-8\r\n",
	  "a BAD SEARCH: a space is expected\n" },
	{ "an empty list of keys", SEL, BASE, "a SEARCH ()\r\n",
	  "a BAD SEARCH: no such search key\n" },
	{ "keys without their end", SEL, BASE, "a SEARCH (SEEN\r\n",
	  "a BAD SEARCH: ')' is expected\n" },
	{ "OR of one", SEL, BASE, "a SEARCH OR SEEN\r\n", "a BAD SEARCH: a space is expected\n" },
	{ "NOT of none", SEL, BASE, "a SEARCH NOT\r\n", "a BAD SEARCH: a space is expected\n" },
	{ "HEADER without its text", SEL, BASE, "a SEARCH HEADER Date\r\n",
	  "a BAD SEARCH: a space is expected\n" },
	{ "a keyword that is a flag", SEL, BASE, "a SEARCH KEYWORD \\Seen\r\n",
	  "a BAD SEARCH: an atom is expected\n" },
	{ "no such day to search for", SEL, BASE, "a SEARCH ON 31-Apr-2026\r\n",
	  "a BAD SEARCH: there is no such day\n" },
	{ "a year of two digits", SEL, BASE, "a SEARCH ON 1-Apr-26\r\n",
	  "a BAD SEARCH: a date is expected\n" },
	{ "a date without its closing quote", SEL, BASE, "a SEARCH ON \"1-Apr-2026\r\n",
	  "a BAD SEARCH: a date is expected\n" },
	{ "a size that is none", SEL, BASE, "a SEARCH LARGER big\r\n",
	  "a BAD SEARCH: a number is expected\n" },
	{ "MODSEQ without CONDSTORE as a key", SEL, BASE, "a SEARCH MODSEQ 1\r\n",
	  "a BAD SEARCH: that extension is not offered here\n" },
	{ "no such entry type", SEL, EVERY, "a SEARCH MODSEQ \"/flags/x\" mine 1\r\n",
	  "a BAD SEARCH: no such entry type\n" },
	{ "RETURN without ESEARCH", SEL, BASE, "a SEARCH RETURN () ALL\r\n",
	  "a BAD SEARCH: that extension is not offered here\n" },
	{ "no such RETURN", SEL, EVERY, "a SEARCH RETURN (SAVED) ALL\r\n",
	  "a BAD SEARCH: no such option\n" },
};

static void expect(const struct row *row, struct imap_feed *f, const char *want)
{
	struct buf out = BUF_MAX(1 << 16);

	imap_transcript(f, &out);
	buf_char(&out, '\0');
	if (strcmp(out.at, want) != 0)
		print_message("row \"%s\", first %zu, step %zu\n", row->name, f->first, f->step);
	assert_string_equal(out.at, want);
	buf_free(&out);
}

static void every_bad_command_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf in = BUF_MAX(1 << 16), want = BUF_MAX(1 << 16);

		buf_printf(&in, "%sz NOOP\r\n", rows[i].in);
		buf_printf(&want, "%sz NOOP\n", rows[i].want);
		buf_char(&want, '\0');
		struct imap_feed f = { .in = buf_get(&in),
				       .state = rows[i].state,
				       .exts = rows[i].exts };
		for (; f.first < in.len; f.first++)
			expect(&rows[i], &f, want.at);
		f.first = f.step = 1;
		expect(&rows[i], &f, want.at);
		buf_free(&in);
		buf_free(&want);
	}
}

static void a_nul_is_refused_wherever_it_is(void **state)
{
	static const struct {
		const char *name, *in;
		size_t len;
		const char *want;
	} nul[] = {
#define NUL_ROW(name, in, want) { name, in, sizeof(in) - 1, want }
		NUL_ROW("in a tag", "a\0b NOOP\r\n", "* BAD a tag is expected\n"),
		NUL_ROW("in a verb", "a NO\0OP\r\n", "a BAD no such command\n"),
		NUL_ROW("in an atom", "a LOGIN j\0e x\r\n", "a BAD LOGIN: a space is expected\n"),
		NUL_ROW("between quotes", "a LOGIN \"j\0e\" x\r\n",
			"a BAD LOGIN: a character that a quoted string cannot hold\n"),
		NUL_ROW("in a literal", "a LOGIN {3+}\r\nj\0e x\r\n",
			"a BAD LOGIN: a literal must not hold a NUL\n"),
#undef NUL_ROW
	};

	(void)state;
	for (size_t i = 0; i < sizeof(nul) / sizeof(nul[0]); i++) {
		struct imap_feed f = { .in = span_of(nul[i].in, nul[i].len),
				       .state = NOAUTH,
				       .exts = BASE };
		struct row row = { .name = nul[i].name };

		for (; f.first < f.in.len; f.first++)
			expect(&row, &f, nul[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bad_command_is_refused),
		cmocka_unit_test(a_nul_is_refused_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
