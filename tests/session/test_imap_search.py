"""IMAP SEARCH: every key of RFC 3501 6.4.4, against messages whose answers are known."""
import pytest

from imapwire import logged_in

# name, flags, INTERNALDATE, message
MESSAGES = [
    ("plain", "\\Seen", "01-Feb-2020 23:30:00 +0000",
     b"From: Alice Example <alice@example.org>\r\nTo: Bob <bob@example.com>, carl@example.net\r\nCc: dora@example.org\r\n"
     b"Date: Sat, 1 Feb 2020 12:00:00 +0000\r\nSubject: Hello World\r\nX-Color: deep blue\r\n\r\nThe quick brown fox.\r\n"),
    ("flagged", "\\Flagged \\Answered kw", "02-Feb-2020 00:30:00 +0000",
     b"From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <juergen@example.org>\r\nTo: alice@example.org\r\nBcc: hidden@example.org\r\n"
     b"Date: Sun, 2 Feb 2020 23:59:59 -0800\r\nSubject: =?utf-8?b?R3LDvMOfZSBhdXMgS8O2bG4=?=\r\n"
     b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
     b"Sch=F6ne Gr=FC=\r\n=DFe, the lazy dog.\r\n"),
    ("draft", "\\Draft \\Deleted", "15-Mar-2021 12:00:00 +0100",
     b"From: eve@example.org\r\nTo: Undisclosed: ;\r\nSubject: with attachment\r\nDate: Mon, 15 Mar 2021 12:00:00 +0100\r\n"
     b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\npreamble-word\r\n--b1\r\n\r\nfirst part text\r\n"
     b"--b1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+w7xiZXJhbGw8L3A+\r\n"
     b"--b1\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nc2VjcmV0IGF0dGFjaG1lbnQ=\r\n--b1--\r\n"),
    ("bare", "", "01-Jan-1990 00:00:00 +0000", b"Subject: \r\n\r\n" + b"x" * 5000 + b"\r\n"),
    ("nested", "", "31-Dec-2037 23:59:59 +0000",
     b"From: a@example.org\r\nSubject: forwarded\r\nContent-Type: message/rfc822\r\n\r\n"
     b"From: inner@example.org\r\nSubject: inner subject\r\n\r\ninner words\r\n"),
]
N = {name: i + 1 for i, (name, *_rest) in enumerate(MESSAGES)}
ALL = sorted(N.values())


def lit(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return b"{%d+}\r\n%s" % (len(raw), raw)


def utf8(key, text):
    return b"CHARSET UTF-8 " + key + b" " + lit(text)


ROWS = [
    ("ALL", ALL), ("ANSWERED", ["flagged"]), ("UNANSWERED", ["plain", "draft", "bare", "nested"]), ("DELETED", ["draft"]),
    ("UNDELETED", ["plain", "flagged", "bare", "nested"]), ("DRAFT", ["draft"]), ("UNDRAFT", ["plain", "flagged", "bare", "nested"]),
    ("FLAGGED", ["flagged"]), ("UNFLAGGED", ["plain", "draft", "bare", "nested"]), ("SEEN", ["plain"]),
    ("UNSEEN", ["flagged", "draft", "bare", "nested"]), ("KEYWORD kw", ["flagged"]), ("KEYWORD KW", ["flagged"]),
    ("UNKEYWORD kw", ["plain", "draft", "bare", "nested"]), ("KEYWORD never", []), ("UNKEYWORD never", ALL),
    ("RECENT", ALL), ("OLD", []), ("NEW", ["flagged", "draft", "bare", "nested"]),
    ("BEFORE 1-Feb-2020", ["bare"]), ("ON 1-Feb-2020", ["plain"]), ("ON 02-Feb-2020", ["flagged"]),
    ("SINCE 2-Feb-2020", ["flagged", "draft", "nested"]), ('BEFORE "1-Jan-1990"', []), ("SINCE 1-Jan-1990", ALL), ("ON 31-Dec-2037", ["nested"]),
    ("SENTBEFORE 2-Feb-2020", ["plain"]), ("SENTON 2-Feb-2020", ["flagged"]), ("SENTSINCE 2-Feb-2020", ["flagged", "draft"]),
    ("SENTON 3-Feb-2020", []),
    ("FROM alice", ["plain"]), ("FROM ALICE@EXAMPLE", ["plain"]), ('FROM "Alice Example"', ["plain"]), ("FROM example.org", ["plain", "flagged", "draft", "nested"]),
    ("TO bob", ["plain"]), ("TO carl@example.net", ["plain"]), ("CC dora", ["plain"]), ("CC bob", []), ("BCC hidden", ["flagged"]),
    ("TO alice", ["flagged"]),
    ("SUBJECT hello", ["plain"]), ("SUBJECT world", ["plain"]), ("SUBJECT inner", []), ("SUBJECT forw", ["nested"]),
    (utf8(b"SUBJECT", "köln"), ["flagged"]), (utf8(b"SUBJECT", "KÖLN"), ["flagged"]), (utf8(b"SUBJECT", "Grüße"), ["flagged"]),
    (utf8(b"FROM", "jürgen MÜLLER"), ["flagged"]),
    ("HEADER x-color blue", ["plain"]), ("HEADER X-Color \"\"", ["plain"]), ("HEADER X-Color red", []), ("HEADER Subject hello", ["plain"]),
    ("HEADER Date 2020", ["plain", "flagged"]), ("HEADER Bcc \"\"", ["flagged"]), ("HEADER To undisclosed", ["draft"]),
    ("HEADER Message-ID \"\"", []), (utf8(b"HEADER Subject", "köln"), ["flagged"]),
    ("BODY fox", ["plain"]), ("BODY \"QUICK brown\"", ["plain"]), ("BODY hello", []), ("BODY \"first part\"", ["draft"]),
    (utf8(b"BODY", "schöne grüße, the lazy"), ["flagged"]), (utf8(b"BODY", "ÜBERALL"), ["draft"]), ("BODY \"inner words\"", ["nested"]),
    ("BODY Sch=F6ne", []), ("TEXT fox", ["plain"]), ("TEXT alice", ["plain", "flagged"]), ("TEXT \"deep blue\"", ["plain"]), ("TEXT \"lazy dog\"", ["flagged"]),
    (utf8(b"TEXT", "köln"), ["flagged"]),
    ("LARGER 4999", ["bare"]), ("SMALLER 200", ["nested"]), ("LARGER 0", ALL), ("SMALLER 0", []), ("LARGER 4294967295", []),
    ("2:3", [2, 3]), ("1,*", [1, 5]), ("UID 2:3", [2, 3]), ("UID 9:*", [5]), ("UID 7:8", []), ("*", [5]),
    ("NOT SEEN", ["flagged", "draft", "bare", "nested"]), ("NOT NOT SEEN", ["plain"]), ("NOT 1:3", ["bare", "nested"]),
    ("OR SEEN FLAGGED", ["plain", "flagged"]), ("OR OR SEEN FLAGGED DRAFT", ["plain", "flagged", "draft"]),
    ("OR SEEN (FLAGGED ANSWERED)", ["plain", "flagged"]), ("OR (FROM alice) NOT (TEXT x)", None),
    ("SEEN FLAGGED", []), ("FLAGGED ANSWERED KEYWORD kw", ["flagged"]), ("(SEEN)", ["plain"]), ("((SEEN) (1:2))", ["plain"]),
    ("NOT (SEEN FLAGGED)", ALL), ("NOT (OR SEEN FLAGGED)", ["draft", "bare", "nested"]), ("1:3 NOT DELETED BODY fox", ["plain"]),
    ("OR BODY fox BODY dog", ["plain", "flagged"]), ("NOT BODY fox", ["flagged", "draft", "bare", "nested"]),
    ("CHARSET us-ascii SEEN", ["plain"]), ("charset utf-8 TEXT fox", ["plain"]),
    (b"SUBJECT " + lit(b"hello"), ["plain"]),
]


@pytest.fixture(scope="module")
def box(shared_server):
    shared_server.add_user("searcher")
    with logged_in(shared_server, "searcher") as c:
        for _name, flags, date, message in MESSAGES:
            assert c.append("INBOX", message, flags, date).ok
        c.ok("SELECT INBOX")
        yield c


def numbers(want):
    return [N.get(w, w) for w in want]


@pytest.mark.parametrize("keys,want", ROWS, ids=[str(k)[:60] for k, _ in ROWS])
def test_search(box, keys, want):
    raw = keys if isinstance(keys, bytes) else keys.encode()
    reply = box(b"SEARCH " + raw)
    assert reply.ok, reply
    uid = box(b"UID SEARCH " + raw)
    assert uid.search() == reply.search()
    if want is not None:
        assert reply.search() == numbers(want)


@pytest.mark.parametrize("keys", ["", "FROB", "FROM", "OR SEEN", "NOT", "(SEEN", "SEEN)", "()", "BEFORE 32-Jan-2020", "BEFORE 1-Foo-2020", "LARGER x",
                                  "0", "1:", "9", "1:9", "KEYWORD \\Seen", "HEADER x", "CHARSET", "SEEN  FLAGGED", "UID"])
def test_search_that_is_wrong_is_bad(shared_server, box, keys):
    with logged_in(shared_server, "searcher", "INBOX") as c:
        assert c(f"SEARCH {keys}").status == "BAD"
        c.ok("SEARCH ALL")


def test_eight_bits_without_a_charset_break_nothing(shared_server, box):
    with logged_in(shared_server, "searcher", "INBOX") as c:
        reply = c("SEARCH SUBJECT ".encode() + lit("köln"))
        assert reply.status in ("OK", "NO", "BAD")
        reply = c(b"SEARCH CHARSET UTF-8 SUBJECT " + lit(b"\xff\xfe"))
        assert reply.status in ("OK", "NO", "BAD") and (not reply.ok or reply.search() == [])
        reply = c(b"SEARCH CHARSET UTF-8 BODY " + lit("x" * 60000))
        assert reply.status in ("OK", "NO", "BAD")
        assert c("SEARCH CHARSET UTF-8 SUBJECT \"a\0b\"").status == "BAD"
        c.ok("SEARCH ALL")


def test_unknown_charset_is_told_which_are_known(box):
    reply = box("SEARCH CHARSET koi8-r SUBJECT x")
    assert reply.status == "NO" and reply.code == "BADCHARSET (US-ASCII UTF-8)"


def test_a_search_sets_no_flag_and_survives_an_expunge(shared_server, box):
    before = box.fetch("1:*", "FLAGS")
    box.ok("SEARCH TEXT fox BODY lazy")
    assert box.fetch("1:*", "FLAGS") == before


def test_text_across_the_pieces_it_is_read_in(shared_server, new_user):
    with logged_in(shared_server, new_user()) as c:
        for at in (65530, 65536, 131070, 300000):
            line = b"a" * 70 + b"\r\n"
            body = line * (at // 72)
            c.append("INBOX", b"Subject: x\r\n\r\n" + body + b"b" * (at - len(body)) + b"needleword\r\n")
        c.ok("SELECT INBOX")
        assert c.ok("SEARCH BODY needleword").search() == [1, 2, 3, 4]
        assert c.ok("SEARCH TEXT NEEDLEWORD").search() == [1, 2, 3, 4]
        assert c.ok("SEARCH BODY needlewort").search() == []


def test_a_search_of_many_keys(shared_server, box):
    assert box.ok("SEARCH " + " ".join(["NOT DELETED"] * 200)).search() == [1, 2, 4, 5]
    reply = box("SEARCH " + "OR SEEN " * 300 + "FLAGGED")
    assert reply.ok and reply.search() == [1, 2]
    assert box("SEARCH " + "NOT " * 1000 + "SEEN").status == "BAD"
    assert box("SEARCH " + " ".join(["SEEN"] * 2000)).status in ("BAD", "NO")
