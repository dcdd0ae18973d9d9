"""IMAP: mailboxes by name: CREATE, DELETE, RENAME, LIST, LSUB, SUBSCRIBE, STATUS."""
import base64

import pytest

from imapwire import Imap, logged_in, parse

MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"
STANDARD = {"INBOX", "Drafts", "Sent Items", "Deleted Items", "Junk Email", "Outbox"}


@pytest.fixture
def server(shared_server):
    return shared_server


@pytest.fixture
def box(server, new_user):
    with logged_in(server, new_user()) as c:
        yield c


def status(c, name, items="MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN"):
    lines = c.ok(f"STATUS {name} ({items})").lines("STATUS")
    assert len(lines) == 1
    values = parse(lines[0])[1]
    return {k.decode(): int(v) for k, v in zip(values[::2], values[1::2])}


# ---- the standard folders, special uses ----

def test_a_new_mailbox_has_its_standard_folders_with_their_uses(box):
    have = box.ok('LIST "" *').list()
    assert STANDARD == set(have)
    for name, use in (("Drafts", "\\Drafts"), ("Sent Items", "\\Sent"), ("Deleted Items", "\\Trash"), ("Junk Email", "\\Junk")):
        assert use in have[name]
    assert have["INBOX"] == {"\\HasNoChildren"}


def test_create_with_a_special_use(box):
    box.ok("CREATE Store (USE (\\Archive))")
    assert "\\Archive" in box.ok('LIST "" Store').list()["Store"]
    reply = box("CREATE Other (USE (\\Frob))")
    assert (reply.status, reply.code) == ("NO", "USEATTR")
    reply = box("CREATE Other (USE (\\Archive \\Junk))")
    assert (reply.status, reply.code) == ("NO", "USEATTR")
    assert "Other" not in box.ok('LIST "" *').list()


# ---- creating and deleting ----

def test_create_makes_what_is_above_it(box):
    box.ok("CREATE a/b/c")
    have = box.ok('LIST "" a*').list()
    assert have == {"a": {"\\HasChildren"}, "a/b": {"\\HasChildren"}, "a/b/c": {"\\HasNoChildren"}}
    for name in have:
        box.ok(f"SELECT {name}")
    assert box("CREATE a/b").code == "ALREADYEXISTS"
    assert box("CREATE inbox").code == "ALREADYEXISTS"
    box.ok("CREATE d/")
    assert "d" in box.ok('LIST "" d').list()
    box.ok("CREATE InBoX/below")
    assert box.ok('LIST "" INBOX*').list() == {"INBOX": {"\\HasChildren"}, "INBOX/below": {"\\HasNoChildren"}}


@pytest.mark.parametrize("name", ['""', '"a//b"', '"/a"', '"a*b"', '"a%b"', '"x' + "y" * 300 + '"', '"&&"', '"&Jjo"',
                                  "/".join(str(i) for i in range(60))])
def test_names_that_cannot_be(box, name):
    reply = box(f"CREATE {name}")
    assert reply.status in ("NO", "BAD"), reply
    assert set(box.ok('LIST "" *').list()) <= STANDARD


def test_a_deleted_parent_stays_as_a_name(box):
    box.ok("CREATE p/kid")
    box.append("p", MESSAGE)
    before = status(box, "p")["UIDVALIDITY"]
    box.ok("DELETE p")
    have = box.ok('LIST "" p*').list()
    assert have == {"p": {"\\Noselect", "\\HasChildren"}, "p/kid": {"\\HasNoChildren"}}
    assert box.ok('LIST "" %').list()["p"] == {"\\Noselect", "\\HasChildren"}
    for command in ("SELECT p", "EXAMINE p", "STATUS p (MESSAGES)", "DELETE p"):
        reply = box(command)
        assert reply.status == "NO", (command, reply)
    assert box.append("p", MESSAGE).code == "TRYCREATE"
    box.ok("CREATE p")
    assert box.ok('LIST "" p').list() == {"p": {"\\HasChildren"}}
    after = status(box, "p")
    assert after["MESSAGES"] == 0 and after["UIDVALIDITY"] > before
    box.ok("DELETE p")
    box.ok("DELETE p/kid")
    box.ok("DELETE p")
    assert box.ok('LIST "" p*').list() == {}


def test_deleting(box):
    assert box("DELETE INBOX").status == "NO"
    assert box("DELETE nothing").code == "NONEXISTENT"
    box.ok("CREATE x")
    first = status(box, "x")["UIDVALIDITY"]
    box.append("x", MESSAGE)
    box.ok("DELETE x")
    assert box("SELECT x").code == "NONEXISTENT"
    box.ok("CREATE x")
    again = status(box, "x")
    assert again["UIDVALIDITY"] > first and again["MESSAGES"] == 0 and again["UIDNEXT"] == 1


def test_uidvalidity_is_never_given_out_again(box):
    seen = set()
    for _ in range(5):
        box.ok("CREATE v")
        seen.add(status(box, "v", "UIDVALIDITY")["UIDVALIDITY"])
        box.ok("DELETE v")
    assert len(seen) == 5


# ---- renaming ----

def test_rename_takes_children_and_makes_parents(box):
    box.ok("CREATE old/kid/grandkid")
    box.append("old/kid", MESSAGE)
    was = status(box, "old/kid")
    box.ok("RENAME old new/place")
    assert set(box.ok('LIST "" new*').list()) == {"new", "new/place", "new/place/kid", "new/place/kid/grandkid"}
    assert box.ok('LIST "" old*').list() == {}
    assert status(box, "new/place/kid") == was
    assert box("RENAME nothing x").code == "NONEXISTENT"
    assert box("RENAME new/place INBOX").code == "ALREADYEXISTS"
    assert box("RENAME new Drafts").code == "ALREADYEXISTS"
    assert box("RENAME new new/inside").status == "NO"
    assert set(box.ok('LIST "" new*').list()) == {"new", "new/place", "new/place/kid", "new/place/kid/grandkid"}


def test_rename_of_inbox_moves_its_messages_only(box):
    for _ in range(3):
        box.append("INBOX", MESSAGE, "\\Seen kw")
    box.ok("CREATE INBOX/kid")
    box.ok("RENAME INBOX moved")
    assert status(box, "INBOX")["MESSAGES"] == 0
    assert status(box, "moved")["MESSAGES"] == 3
    assert "INBOX/kid" in box.ok('LIST "" *').list()
    box.ok("SELECT moved")
    assert set(box.fetch("1", "(FLAGS)")[1]["FLAGS"]) == {b"\\Seen", b"\\Recent", b"kw"}


def test_a_renamed_mailbox_stays_selected(server, new_user):
    user = new_user()
    with logged_in(server, user) as c, logged_in(server, user) as other:
        c.ok("CREATE a")
        c.ok("SELECT a")
        other.ok("RENAME a b")
        other.append("b", MESSAGE)
        assert c.ok("NOOP").number("EXISTS") == 1


# ---- names ----

NAMES = ["Entwürfe", "日本語", "a & b", "~peter/mail", "\U0001f4ec", "x\u00e9&-y", "quote\"d", "back\\slash", "{5}", "nil", "NIL",
         "a(b)c", "[x]"]


def utf7(text):
    """Modified UTF-7 (RFC 3501 5.1.3), written from the RFC."""
    out, shifted = "", ""

    def flush(out, shifted):
        if not shifted:
            return out
        coded = base64.b64encode(shifted.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
        return out + "&" + coded + "-"

    for ch in text:
        if " " <= ch <= "~":
            out, shifted = flush(out, shifted), ""
            out += "&-" if ch == "&" else ch
        else:
            shifted += ch
    return flush(out, shifted)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back_as_they_went_in(box, name):
    wire = utf7(name)
    box.ok(f"CREATE {quoted(wire)}")
    assert [parse(x)[2] for x in box.ok(f'LIST "" {quoted(wire)}').lines("LIST")] == [wire.encode()]
    box.ok(f"SUBSCRIBE {{{len(wire)}+}}\r\n{wire}")
    assert [parse(x)[2] for x in box.ok('LSUB "" *').lines("LSUB")] == [wire.encode()]
    assert parse(box.ok(f"STATUS {quoted(wire)} (MESSAGES)").lines("STATUS")[0])[0] == wire.encode()
    box.ok(f"SELECT {quoted(wire)}")
    assert box.append(quoted(wire), MESSAGE).ok
    box.ok("CLOSE")
    box.ok(f"RENAME {quoted(wire)} plain")
    box.ok(f"RENAME plain {quoted(wire)}")
    box.ok(f"DELETE {quoted(wire)}")


# ---- LIST ----

def test_list_patterns(box):
    for name in ("foo", "foo/bar", "foo/bar/baz", "foo/box", "foobar", "FOO", "fo"):
        box.ok(f"CREATE {name}")

    def names(reference, pattern):
        return sorted(n for n in box.ok(f'LIST "{reference}" "{pattern}"').list() if n.lower().startswith("fo"))

    assert names("", "*") == sorted(["foo", "foo/bar", "foo/bar/baz", "foo/box", "foobar", "FOO", "fo"])
    assert names("", "%") == sorted(["foo", "foobar", "FOO", "fo"])
    assert names("", "foo*") == sorted(["foo", "foo/bar", "foo/bar/baz", "foo/box", "foobar"])
    assert names("", "foo%") == ["foo", "foobar"]
    assert names("", "foo/%") == ["foo/bar", "foo/box"]
    assert names("foo/", "%") == ["foo/bar", "foo/box"]
    assert names("foo/", "*") == ["foo/bar", "foo/bar/baz", "foo/box"]
    assert names("foo", "*r") == ["foo/bar", "foobar"]
    assert names("", "%/%") == ["foo/bar", "foo/box"]
    assert names("", "%o/b%/*") == ["foo/bar/baz"]
    assert names("", "*z") == ["foo/bar/baz"]
    assert names("", "foo/b*x") == ["foo/box"]
    assert names("", "nothing") == []
    assert set(box.ok('LIST "" inbox').list()) == {"INBOX"}
    assert set(box.ok('LIST "" iNb%').list()) == {"INBOX"}
    assert box.ok('LIST "" ""').lines("LIST") == [b'(\\Noselect) "/" ""']
    assert [parse(x)[2] for x in box.ok("LIST {0+}\r\n {3+}\r\nfoo").lines("LIST")] == [b"foo"]


def test_children_are_marked_even_with_names_between(box):
    for name in ("a", "a!", "a/b", "a-", "ab/c", "abc"):
        box.ok(f"CREATE {name}")
    have = box.ok('LIST "" a*').list()
    assert {n for n in have if "\\HasChildren" in have[n]} == {"a", "ab"}
    assert all(len({"\\HasChildren", "\\HasNoChildren"} & have[n]) == 1 for n in have)


# ---- subscriptions ----

def test_lsub_shows_names_that_exist_and_names_that_do_not(box):
    assert box.ok('LSUB "" *').list("LSUB") == {}
    box.ok("CREATE there")
    for name in ("there", "not/here", "inbox"):
        box.ok(f"SUBSCRIBE {name}")
    box.ok("SUBSCRIBE there")
    assert set(box.ok('LSUB "" *').list("LSUB")) == {"there", "not/here", "INBOX"}
    assert box.ok('LSUB "" %').list("LSUB")["not"] == {"\\Noselect"}
    assert "not/here" not in box.ok('LIST "" *').list()
    box.ok("DELETE there")
    assert "there" in box.ok('LSUB "" *').list("LSUB")
    box.ok("UNSUBSCRIBE there")
    box.ok("UNSUBSCRIBE not/here")
    box("UNSUBSCRIBE never")
    assert set(box.ok('LSUB "" *').list("LSUB")) == {"INBOX"}


def test_lsub_percent_names_each_parent_once(box):
    for name in ("foo", "foo!x", "foo/a", "foo/b/c", "bar/x", "bar!", "bar/y", "baz/1/2", "baz/1/3"):
        box.ok(f"SUBSCRIBE {name}")
    got = box.ok('LSUB "" %').list("LSUB")
    assert got == {"foo": set(), "foo!x": set(), "bar!": set(), "bar": {"\\Noselect"}, "baz": {"\\Noselect"}}
    assert box.ok('LSUB "" "baz/%"').list("LSUB") == {"baz/1": {"\\Noselect"}}
    assert box.ok('LSUB "foo/" "%"').list("LSUB") == {"foo/a": set(), "foo/b": {"\\Noselect"}}
    assert set(box.ok('LSUB "" "foo*"').list("LSUB")) == {"foo", "foo!x", "foo/a", "foo/b/c"}


# ---- STATUS, SELECT ----

def test_status(server, new_user):
    user = new_user()
    with logged_in(server, user) as c:
        assert {k: v for k, v in status(c, "INBOX").items() if k != "UIDVALIDITY"} == {
            "MESSAGES": 0, "RECENT": 0, "UIDNEXT": 1, "UNSEEN": 0}
        c.append("INBOX", MESSAGE)
        c.append("INBOX", MESSAGE, "\\Seen")
        got = status(c, "INBOX")
        assert (got["MESSAGES"], got["RECENT"], got["UIDNEXT"], got["UNSEEN"]) == (2, 2, 3, 1)
        assert status(c, "inbox", "UNSEEN") == {"UNSEEN": 1}
        assert c("STATUS nothing (MESSAGES)").code == "NONEXISTENT"
        assert c("STATUS INBOX (FROB)").status == "BAD"
        assert c("STATUS INBOX ()").status == "BAD"
        c.ok("SELECT INBOX")
        assert status(c, "INBOX")["RECENT"] == 0


def test_select_tells_what_it_must(box):
    for flags in ("\\Seen", "", "kw"):
        box.append("INBOX", MESSAGE, flags)
    reply = box.ok("SELECT INBOX")
    assert reply.code == "READ-WRITE"
    assert reply.number("EXISTS") == 3 and reply.number("RECENT") == 3
    codes = reply.codes()
    assert codes["UNSEEN"] == "2" and codes["UIDNEXT"] == "4" and int(codes["UIDVALIDITY"]) > 0
    assert set(parse(reply.lines("FLAGS")[0])[0]) == {
        b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft", b"kw"}
    assert codes["PERMANENTFLAGS"].endswith("kw \\*)")
    reply = box.ok("EXAMINE INBOX")
    assert reply.code == "READ-ONLY" and reply.codes()["PERMANENTFLAGS"] == "()"


def test_a_failed_select_leaves_nothing_selected(box):
    box.ok("SELECT INBOX")
    assert box("SELECT nothing").code == "NONEXISTENT"
    assert box("FETCH 1 FLAGS").status == "BAD"
    assert box("CLOSE").status == "BAD"
    box.ok("SELECT INBOX")
    box.ok("UNSELECT")
    assert box("CHECK").status == "BAD"


def test_a_mailbox_deleted_under_a_session_ends_it_with_a_word(server, new_user):
    user = new_user()
    with logged_in(server, user) as c, logged_in(server, user) as other:
        other.ok("CREATE x")
        c.append("x", MESSAGE)
        c.ok("SELECT x")
        other.ok("DELETE x")
        reply = c("FETCH 1 (FLAGS BODY[])")
        assert reply.status == "NO", reply
        tag = c.start("NOOP")
        assert c.response().startswith(b"* BYE")
        assert c.response().startswith(tag + b" NO")
        assert c.response() == b""


# ---- many ----

def test_thousands_of_folders(make_server):
    """LIST, LSUB and CREATE stay quick: nothing here is quadratic enough to notice."""
    server = make_server(users=["a"])
    with Imap(server) as c:
        c.login("a")
        n = 2000
        c.send("".join(f"c{i} CREATE top/f{i % 50}/g{i}\r\ns{i} SUBSCRIBE top/f{i % 50}/g{i}\r\n" for i in range(n)))
        for i in range(n):
            assert c.wait(b"c%d" % i).ok
            assert c.wait(b"s%d" % i).ok
        assert len(c.ok('LIST "" *').list()) >= n + 51
        assert len(c.ok('LSUB "" *').list("LSUB")) == n
        assert set(c.ok('LSUB "" %').list("LSUB")) == {"top"}
        assert len(c.ok('LIST "" "top/%"').list()) == 50
