"""IMAP FETCH: every item, every kind of section and partial; Python's email package says what a section holds."""
import email
import email.policy
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness import have, wait_for
from imapwire import Quoted, logged_in, parse

SIMPLE = (b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
          b"Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
          b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\nMessage-Id: <B27397-0100000@cac.washington.edu>\r\n"
          b"MIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nOne line.\r\nAnother.\r\n")

# Parts in parts, a message in a message, headers of every kind, bodies with and without a last line end.
NESTED = (
    b"From: \"A (the) \\\"First\\\"\" <a@example.org>, b@example.org\r\nSender: <s@example.org>\r\nReply-To: Group: x@example.org, y@example.org;\r\n"
    b"To: undisclosed-recipients:;\r\nSubject: a folded\r\n\tsubject {5}\r\nIn-Reply-To: <x@y>\r\nX-Long: " + b"w " * 600 +
    b"\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"out er\"; x-param=\"q\\\"uote\"\r\n\r\nThe preamble.\r\n"
    b"--out er\r\n\r\nimplicit text part\r\n"
    b"--out er\r\nContent-Type: multipart/alternative; boundary=in\r\nContent-Language: de, en\r\nContent-Location: http://x/y\r\n\r\n"
    b"--in\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nContent-Disposition: inline; filename=\"a b.txt\"\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n\r\n"
    b"--in\r\nContent-Type: text/html\r\nContent-ID: <id1>\r\nContent-Description: the \"html\"\r\nContent-MD5: Q2hlY2s=\r\n\r\n<p>no last line end</p>\r\n"
    b"--in--\r\n"
    b"--out er\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"
    b"From: inner@example.org\r\nTo: you@example.org\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=deep\r\n\r\n"
    b"--deep\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n"
    b"--deep\r\nContent-Type: message/rfc822\r\n\r\nSubject: innermost\r\nX-A: 1\r\n\r\nleaf text\r\n--deep--\r\n"
    b"--out er\r\nContent-Type: image/gif\r\n\r\n\r\n"
    b"--out er--\r\nepilogue\r\n")

ODD = {
    "no header end": b"Subject: only\r\n",
    "empty header": b"\r\nbody only\r\n",
    "a boundary that never comes": b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing here\r\n",
    "a part that never ends": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nA: b\r\n\r\nopen",
    "an empty part": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n\r\n--x--\r\n",
    "no boundary parameter": b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx\r\n",
    "broken content type": b"Content-Type: ;;;\r\n\r\nx\r\n",
    "8 bits in fields": "Subject: grüß\r\nFrom: Jürgen <j@example.org>\r\n\r\nx\r\n".encode(),
    "a control in a field": b"Subject: a\x01b\x7f\r\nFrom: \"x\ty\" <a@b>\r\n\r\n",
    "a NUL in a field": b"Subject: a\0b\r\n\r\nx\0y\r\n",
    "a bare CR and LF": b"Subject: a\rb\nX: y\r\n\r\nx\n",
    "addresses that are none": b"From: <<>>,,@,;:\r\nTo: ,\r\nCc: (((\r\nReply-To: \"\r\n\r\n",
    "source route and domain literal": b"From: <@a,@b:c@[1.2.3.4]>\r\nTo: a b c <d@e> (comment)\r\n\r\n",
    "a digest": b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: in the digest\r\n\r\nt\r\n--x--\r\n",
    "message/rfc822 at the top": b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninside\r\n",
    "deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(80)) + b"\r\nbottom\r\n",
    "many parts": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\np\r\n" * 1500 + b"--x--\r\n",
    "a long field": b"Subject: " + b"y" * 100000 + b"\r\n\r\n",
    "many addresses": b"To: " + b",\r\n ".join(b"u%d@example.org" % i for i in range(3000)) + b"\r\n\r\nx\r\n",
    "RFC 2231": b"Content-Type: text/plain; name*0*=utf-8''a%20; name*1=b; charset*=us-ascii'en'utf-8\r\n\r\nx",
}


@pytest.fixture
def server(shared_server):
    return shared_server


@pytest.fixture
def box(server, new_user):
    with logged_in(server, new_user()) as c:
        yield c


def put(c, *messages):
    for m in messages:
        assert c.append("INBOX", m).ok
    c.ok("SELECT INBOX")


# ---- items ----

def test_the_example_of_the_rfc(box):
    """RFC 3501 section 8."""
    put(box, SIMPLE)
    got = box.fetch("1", "full")[1]
    assert set(got) == {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"}
    assert got["ENVELOPE"] == [
        b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", b"IMAP4rev1 WG mtg summary and minutes",
        [[b"Terry Gray", None, b"gray", b"cac.washington.edu"]], [[b"Terry Gray", None, b"gray", b"cac.washington.edu"]],
        [[b"Terry Gray", None, b"gray", b"cac.washington.edu"]], [[None, None, b"imap", b"cac.washington.edu"]],
        [[None, None, b"minutes", b"CNRI.Reston.VA.US"], [b"John Klensin", None, b"KLENSIN", b"MIT.EDU"]],
        None, None, b"<B27397-0100000@cac.washington.edu>"]
    assert [x.upper() if isinstance(x, bytes) else x for x in got["BODY"]] == [
        b"TEXT", b"PLAIN", got["BODY"][2], None, None, b"7BIT", b"21", b"2"]
    assert [x.upper() for x in got["BODY"][2]] == [b"CHARSET", b"US-ASCII"]


@pytest.mark.parametrize("ask,want", [
    ("FAST", {"FLAGS", "INTERNALDATE", "RFC822.SIZE"}), ("ALL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"}),
    ("(UID)", {"UID"}), ("(FLAGS FLAGS UID)", {"FLAGS", "UID"}), ("BODY", {"BODY"}), ("BODYSTRUCTURE", {"BODYSTRUCTURE"}),
    ("(BODY BODYSTRUCTURE ENVELOPE)", {"BODY", "BODYSTRUCTURE", "ENVELOPE"}), ("RFC822.HEADER", {"RFC822.HEADER"}),
    ("(body.peek[text]<0.5> UID)", {"BODY[TEXT]<0>", "UID"}), ("RFC822.SIZE", {"RFC822.SIZE"}),
    ("(BODY.PEEK[HEADER.FIELDS (\"Subject\" {4+}\r\nDate)])", None)])
def test_items(box, ask, want):
    put(box, SIMPLE)
    got = box.fetch("1", ask)[1]
    if want:
        assert set(got) == want
    assert box.fetch("1", "FLAGS")[1]["FLAGS"] == [b"\\Recent"]


@pytest.mark.parametrize("ask", ["", "()", "FROB", "(FLAGS FROB)", "(FAST UID)", "BODY[", "BODY[FROB]", "BODY[0]", "BODY[1.]", "BODY[MIME]", "BODY[1.0]", "BODY[]<5>",
                                 "BODY[]<0.0>", "BODY[]<-1.5>", "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY.PEEK", "(FLAGS", "FLAGS)",
                                 "BODY[" + ".".join(["1"] * 60) + "]", "RFC822.FROB", "MODSEQ", "(FLAGS) (CHANGEDSINCE 1)"])
def test_items_that_are_none_are_bad(box, ask):
    put(box, SIMPLE)
    reply = box(f"FETCH 1 {ask}")
    assert reply.status == "BAD" and reply.fetches() == {}


@pytest.mark.parametrize("ask", ["BODY[]", "RFC822", "RFC822.TEXT", "BODY[TEXT]", "BODY[1]", "BODY[HEADER]", "BODY[]<0.1>"])
def test_reading_sets_seen_and_says_so(box, ask):
    put(box, SIMPLE, SIMPLE)
    got = box.fetch("1", ask)[1]
    assert b"\\Seen" in got["FLAGS"]
    assert set(box.fetch("1", ask)[1]) == set(got) - {"FLAGS"}, "nothing changed this time"
    assert box.ok("NOOP").untagged == []
    assert b"\\Seen" in box.fetch("2", f"(FLAGS {ask})")[2]["FLAGS"]
    assert box.ok("SEARCH UNSEEN").search() == []


def test_peeking_sets_nothing(box):
    put(box, SIMPLE)
    box.fetch("1", "(BODY.PEEK[] BODY.PEEK[1] BODY.PEEK[HEADER] RFC822.HEADER ENVELOPE BODYSTRUCTURE RFC822.SIZE)")
    assert box.ok("SEARCH UNSEEN").search() == [1]


def test_dates_at_the_edges(box):
    for date, want in ((" 1-Jan-1970 00:00:00 +0000", "01-Jan-1970 00:00:00 +0000"), ("31-Dec-1969 23:59:59 +0000", "31-Dec-1969 23:59:59 +0000"),
                       ("29-Feb-2000 12:00:00 -1200", "01-Mar-2000 00:00:00 +0000"), ("01-Jan-1900 00:00:00 +0000", "01-Jan-1900 00:00:00 +0000"),
                       ("19-Jan-2038 03:14:08 +0000", "19-Jan-2038 03:14:08 +0000")):
        assert box.append("INBOX", SIMPLE, date=date).ok
    assert box.append("INBOX", SIMPLE, date="31-Dec-9999 23:59:59 +0000").ok
    box.ok("SELECT INBOX")
    got = [i["INTERNALDATE"].decode().strip().replace(" 1-", "01-") for _, i in sorted(box.fetch("1:5", "INTERNALDATE").items())]
    assert [("0" + g if g[1] == "-" else g) for g in got] == [
        "01-Jan-1970 00:00:00 +0000", "31-Dec-1969 23:59:59 +0000", "01-Mar-2000 00:00:00 +0000", "01-Jan-1900 00:00:00 +0000", "19-Jan-2038 03:14:08 +0000"]
    assert re.search(r"-2262 ", box.fetch("6", "INTERNALDATE")[6]["INTERNALDATE"].decode())


# ---- sections ----

def cut(message):
    at = message.find(b"\r\n\r\n")
    return (message, b"") if at < 0 else (message[:at + 4], message[at + 4:])


def expect(raw, prefix="", message=True, out=None):
    """Every section of a message by the rules of RFC 3501 6.4.5, cut by hand at the boundaries that Python finds."""
    out = {} if out is None else out
    parsed = email.message_from_bytes(raw, policy=email.policy.compat32)
    header, body = cut(raw)
    dot = prefix + "." if prefix else ""
    if message:
        out[dot + "HEADER"], out[dot + "TEXT"] = header, body
    if parsed.get_content_maintype() == "multipart":
        delimiter = b"--" + parsed.get_boundary().encode()
        inner = (b"\r\n" + body).split(b"\r\n" + delimiter)[1:]
        for i, piece in enumerate(p for p in inner if not p.startswith(b"--")):
            piece = piece[piece.index(b"\r\n") + 2:]
            part(piece, f"{dot}{i + 1}", out)
    elif message:
        part(raw, dot + "1", out)
    return out


def part(piece, path, out):
    header, body = (b"\r\n", piece[2:]) if piece.startswith(b"\r\n") else cut(piece)
    out[path], out[path + ".MIME"] = body, header
    kind = email.message_from_bytes(header, policy=email.policy.compat32)
    if kind.get_content_type() == "message/rfc822":
        expect(body, path, True, out)
    elif kind.get_content_maintype() == "multipart":
        expect(piece, path, False, out)


@pytest.mark.parametrize("message", [SIMPLE, NESTED, ODD["a digest"].replace(b"--x\r\n\r\nSubject", b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject")],
                         ids=["simple", "nested", "digest"])
def test_every_section(box, message):
    put(box, message)
    want = expect(message)
    want[""] = message
    assert len(want) > 4
    ask = " ".join(f"BODY.PEEK[{k}]" for k in want)
    got = box.fetch("1", f"({ask})")[1]
    for k, v in want.items():
        assert got[f"BODY[{k}]"] == v, k
    # Python's own idea of the leaves agrees.
    leaves = [p.get_payload() for p in email.message_from_bytes(message).walk() if p.get_content_type() == "text/html"]
    if leaves:
        assert [v for k, v in want.items() if v == leaves[0].encode()]
    for k, v in want.items():
        for first, count in ((0, 1), (0, 10), (3, 4), (len(v), 5), (max(0, len(v) - 2), 100), (4294967295, 1), (0, 4294967295)):
            part_ = box.fetch("1", f"BODY.PEEK[{k}]<{first}.{count}>")[1][f"BODY[{k}]<{first}>"]
            assert part_ == v[first:first + count], (k, first, count)


def test_sections_that_are_not_there_are_nil(box):
    put(box, NESTED)
    for path in ("5", "1.1", "2.3", "3.3", "1.HEADER", "1.TEXT", "2.TEXT", "3.2.2", "4.1", "9.9.9", "4294967295", "5.MIME", "2.HEADER.FIELDS (X)"):
        got = box.fetch("1", f"BODY.PEEK[{path}]")[1]
        (value,) = got.values()
        assert value in (None, b""), (path, value)


def test_header_fields(box):
    put(box, NESTED)

    def fields(raw, names, keep):
        header = cut(raw)[0]
        out = b""
        for field in re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", header):
            if (field.split(b":")[0].lower() in names) == keep:
                out += field
        return out + b"\r\n"

    inner = expect(NESTED)["3.HEADER"]
    for names in ("subject", "SUBJECT From", "x-long", "nothing", "x-long subject to from reply-to"):
        lower = {n.encode().lower() for n in names.split()}
        for path, raw in (("", NESTED), ("3.", inner), ("3.2.", expect(NESTED)["3.2.HEADER"])):
            for word, keep in (("HEADER.FIELDS", True), ("HEADER.FIELDS.NOT", False)):
                got = box.fetch("1", f"BODY.PEEK[{path}{word} ({names})]")[1]
                (key, value), = got.items()
                assert key.startswith(f"BODY[{path}{word} (")
                assert value == fields(raw, lower, keep), (path, word, names)
                key2, value2 = list(box.fetch("1", f"BODY.PEEK[{path}{word} ({names})]<3.7>")[1].items())[0]
                assert key2.endswith("]<3>") and value2 == value[3:10]


def test_bodystructure_of_a_nasty_message(box):
    put(box, NESTED)
    got = box.fetch("1", "(BODYSTRUCTURE BODY)")[1]
    bs = got["BODYSTRUCTURE"]
    want = expect(NESTED)

    def lower(x):
        return [lower(i) for i in x] if isinstance(x, list) else x.lower() if isinstance(x, bytes) else x

    one, two, three, four = bs[:4]
    assert lower(bs[4:]) == [b"mixed", [b"boundary", b"out er", b"x-param", b'q"uote'], None, None, None]
    assert lower(one[:8]) == [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", str(len(want["1"])).encode(), b"0"]
    assert lower(two[0]) == [b"text", b"plain", [b"charset", b"utf-8"], None, None, b"8bit", str(len(want["2.1"])).encode(), b"1",
                             None, [b"inline", [b"filename", b"a b.txt"]], None, None]
    assert lower(two[1]) == [b"text", b"html", [b"charset", b"us-ascii"] if two[1][2] else None, b"<id1>", b'the "html"', b"7bit", str(len(want["2.2"])).encode(), b"0",
                             b"q2hly2s=", None, None, None]
    assert lower(two[2:]) == [b"alternative", [b"boundary", b"in"], None, [b"de", b"en"], b"http://x/y"]
    assert lower(three[:7]) == [b"message", b"rfc822", None, None, None, b"7bit", str(len(want["3"])).encode()]
    assert three[7][1] == b"inner" and three[7][2] == [[None, None, b"inner", b"example.org"]]
    deep = three[8]
    assert lower(deep[0])[:7] == [b"application", b"octet-stream", None, None, None, b"base64", b"4"]
    assert lower(deep[1])[:2] == [b"message", b"rfc822"] and deep[1][7][1] == b"innermost"
    assert lower(deep[1][8])[:2] == [b"text", b"plain"]
    assert int(three[9]) == want["3"].count(b"\r\n")
    assert lower(three[11]) == [b"attachment", None]
    assert lower(four[:7]) == [b"image", b"gif", None, None, None, b"7bit", str(len(want["4"])).encode()]

    def plain(x):
        """BODY is BODYSTRUCTURE without the extension data."""
        if isinstance(x[0], list):
            kids = [i for i in x if isinstance(i, list) and isinstance(i[0], (bytes, list)) and x.index(i) < next(
                n for n, v in enumerate(x) if not isinstance(v, list))]
            return [plain(k) for k in kids] + [x[len(kids)]]
        if x[0].lower() == b"text":
            return x[:8]
        if x[0].lower() == b"message":
            return x[:8] + [plain(x[8]), x[9]]
        return x[:7]

    assert got["BODY"] == plain(bs)


def test_envelope_of_a_nasty_message(box):
    put(box, NESTED)
    env = box.fetch("1", "ENVELOPE")[1]["ENVELOPE"]
    assert env[0] is None
    assert env[1].replace(b"\t", b" ") == b"a folded subject {5}"
    assert env[2] == [[b'A (the) "First"', None, b"a", b"example.org"], [None, None, b"b", b"example.org"]]
    assert env[3] == [[None, None, b"s", b"example.org"]]
    assert env[4] == [[None, None, b"Group", None], [None, None, b"x", b"example.org"], [None, None, b"y", b"example.org"], [None, None, None, None]]
    assert env[5] == [[None, None, b"undisclosed-recipients", None], [None, None, None, None]]
    assert env[6:] == [None, None, b"<x@y>", None]


@pytest.mark.parametrize("what", ODD)
def test_odd_messages_do_not_break_the_protocol(box, what):
    """Whatever comes, the answer parses, sizes agree, and the sections that the structure names are there."""
    message = ODD[what]
    put(box, message)
    got = box.fetch("1", "(ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    assert got["BODY[]"].replace(b"\0", b"") == message.replace(b"\0", b"") and len(got["BODY[]"]) == len(message) == int(got["RFC822.SIZE"])
    assert got["BODY[HEADER]"] + got["BODY[TEXT]"] == got["BODY[]"]
    assert len(got["ENVELOPE"]) == 10
    for i in range(2, 8):
        for a in got["ENVELOPE"][i] or []:
            assert len(a) == 4 and not (a[2] is None and a[3] is not None)

    def sections(x, path):
        if isinstance(x[0], list):
            kids = []
            for i in x:
                if not isinstance(i, list):
                    break
                kids.append(i)
            for n, k in enumerate(kids):
                yield from sections(k, f"{path}{n + 1}.")
        else:
            yield path.rstrip(".") or "1", int(x[6])
            if x[0].lower() == b"message" and x[1].lower() == b"rfc822":
                inner = x[8]
                yield from sections(inner, path if isinstance(inner[0], list) else f"{path or '1.'}1.")

    wanted = list(sections(got["BODYSTRUCTURE"], ""))[:40]
    have_ = box.fetch("1", "(" + " ".join(f"BODY.PEEK[{p}]" for p, _ in wanted) + ")")[1]
    for path, size in wanted:
        assert len(have_[f"BODY[{path}]"] or b"") == size, path
    box.ok("NOOP")


# ---- by reference (the streaming file) ----

def counter(server):
    """What the protocol host counted for IMAP, from its control socket."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(server.home / "run/inet"))
        control.sendall(b"status json\n")
        answer = json.loads(control.makefile("rb").read())
    return sum(row["bytes_sendfile"] for row in find(answer, "bytes_sendfile"))


def find(tree, key):
    """All objects of a report that have the key."""
    if isinstance(tree, dict):
        if key in tree:
            yield tree
        tree = tree.values()
    if not isinstance(tree, (str, int, float)) and tree is not None:
        for below in tree:
            yield from find(below, key)


def test_a_large_body_goes_out_by_sendfile(server, new_user):
    user = new_user()
    body = b"Subject: large\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * 60000
    with logged_in(server, user) as c:
        put(c, body)
        before = counter(server)
        assert c.fetch("1", "BODY.PEEK[]")[1]["BODY[]"] == body
        c.ok("LOGOUT")
    wait_for(lambda: counter(server) - before >= len(body), "sendfile is counted")
    with logged_in(server, user, port="imap") as c:
        c.ok("SELECT INBOX")
        got = c.fetch("1", "(FLAGS BODY.PEEK[TEXT]<100000.300000> UID BODY.PEEK[HEADER] BODY.PEEK[]<4000000.400000>)")[1]
        assert got["BODY[TEXT]<100000>"] == body[18 + 100000:][:300000]
        assert got["BODY[]<4000000>"] == body[4000000:4400000]
        assert got["BODY[HEADER]"] == body[:18] and got["UID"] == b"1"


def test_large_parts_of_a_tree_go_out_whole(box):
    """A row that leaves its answer in the middle goes on with its own memory."""
    big = [bytes([65 + i]) * 72 + b"\r\n" for i in range(5)]
    message = b"Content-Type: multipart/mixed; boundary=bb\r\nSubject: tree\r\n\r\n" + b"".join(
        b"--bb\r\nContent-Type: text/plain; name=n%d\r\n\r\n" % i + big[i] * 2000 for i in range(5)) + b"--bb--\r\n"
    put(box, *[message] * 12)
    got = box.fetch("1:*", "(BODY[1] BODYSTRUCTURE BODY[2]<0.100> BODY[3] BODY[5.MIME] FLAGS BODY[5] ENVELOPE BODY[HEADER.FIELDS (SUBJECT)])")
    assert sorted(got) == list(range(1, 13))
    for items in got.values():
        for i in (1, 3, 5):
            assert items[f"BODY[{i}]"] == (big[i - 1] * 2000)[:-2], i
        assert items["BODY[2]<0>"] == (big[1] * 2)[:100] and items["BODY[5.MIME]"] == b"Content-Type: text/plain; name=n4\r\n\r\n"
        assert len(items["BODYSTRUCTURE"]) == 10 and items["ENVELOPE"][1] == b"tree" and b"\\Seen" in items["FLAGS"]


def test_many_sections_of_one_message(box):
    put(box, SIMPLE + b"line of text\r\n" * 2000)
    whole = SIMPLE + b"line of text\r\n" * 2000
    ask = " ".join(f"BODY.PEEK[]<{i}.28000>" for i in range(250))
    got = box.fetch("1", f"({ask})")[1]
    assert len(got) == 250
    for i in range(250):
        assert got[f"BODY[]<{i}>"] == whole[i:i + 28000]


def traced(pid, work):
    """The reading system calls of a process while work() runs."""
    trace = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=pread64,preadv,preadv2,sendfile,read", "-p", str(pid)],
                             stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(0.3)
        if trace.poll() is not None:
            pytest.skip("strace may not attach here")
        work()
    finally:
        trace.send_signal(signal.SIGINT)
        lines = trace.communicate(timeout=20)[1].splitlines()
    return lines


@pytest.mark.skipif(not have("strace"), reason="no strace here")
def test_envelopes_open_no_body(make_server):
    """Criterion: listing reads rows only; reading a body is a sendfile from the streaming file."""
    server = make_server(users=["a"])
    n = 400
    with logged_in(server, "a") as c:
        c.send("".join(f"f{i} APPEND INBOX {{{len(SIMPLE)}+}}\r\n{SIMPLE.decode()}\r\n" for i in range(n)))
        for i in range(n):
            assert c.wait(b"f%d" % i).ok
        put(c, b"Subject: large\r\n\r\n" + b"0123456789" * 50000)
        pid = server.pid("inet")
        streams = "|".join(fd for fd in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{fd}").endswith(".stm"))
        assert streams

        def listing():
            assert len(c.fetch("1:*", "(ENVELOPE BODYSTRUCTURE FLAGS INTERNALDATE RFC822.SIZE UID)")) == n + 1

        lines = traced(pid, listing)
        assert not [line for line in lines if re.search(rf"(pread\w*|read|sendfile)\((\d+, )?({streams})[,)]", line)]
        lines = traced(pid, lambda: c.fetch(str(n + 1), "BODY.PEEK[]"))
        assert [line for line in lines if re.search(rf"sendfile\(\d+, ({streams}),", line)], lines
        # The server looks whether the page cache has the page (one octet); it copies nothing.
        copied = [re.search(rf"p?read\w*\(({streams}),.* = (\d+)$", line) for line in lines]
        assert sum(int(m[2]) for m in copied if m) < 1000


def test_fetch_quotes_what_needs_it(box):
    put(box, b"Subject: back\\slash and \"quotes\"\r\nFrom: \"a\\\\b\" <x@y>\r\n\r\n")
    reply = box.ok("FETCH 1 ENVELOPE")
    env = reply.fetches()[1]["ENVELOPE"]
    assert env[1] == b'back\\slash and "quotes"' and isinstance(env[1], Quoted)
    assert env[2][0][0] == b"a\\b"
    assert parse(b'"a\\\\b"') == [b"a\\b"]
