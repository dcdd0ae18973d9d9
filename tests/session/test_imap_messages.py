"""IMAP: messages in a mailbox: APPEND, STORE, COPY, MOVE, EXPUNGE, several sessions on one mailbox."""
import email.utils
import hashlib
import re
import time

import pytest

from imapwire import Imap, logged_in, parse

MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.fixture
def server(shared_server):
    return shared_server


@pytest.fixture
def user(new_user):
    return new_user()


@pytest.fixture
def box(server, user):
    with logged_in(server, user) as c:
        yield c


def fill(c, n, mailbox="INBOX"):
    c.send("".join(f"f{i} APPEND {mailbox} {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}\r\n" for i in range(n)))
    for i in range(n):
        assert c.wait(b"f%d" % i).ok


def flags(c, numbers="1:*"):
    return {n: {f.decode() for f in i["FLAGS"]} - {"\\Recent"} for n, i in c.fetch(numbers, "(FLAGS)").items()}


def uids(c):
    return [int(i["UID"]) for _, i in sorted(c.fetch("1:*", "(UID)").items())]


# ---- APPEND ----

@pytest.mark.parametrize("plus", [False, True], ids=["waits", "does not wait"])
def test_append_with_flags_and_date(box, plus):
    reply = box.append("INBOX", MESSAGE, "\\Seen \\Draft kw $Fwd", "17-Jul-1996 02:44:25 -0700", plus)
    validity, uid = re.fullmatch(r"APPENDUID (\d+) (\d+)", reply.code).groups()
    codes = box.ok("SELECT INBOX").codes()
    assert codes["UIDVALIDITY"] == validity and uid == "1"
    got = box.fetch("1", "(UID FLAGS INTERNALDATE BODY.PEEK[] RFC822.SIZE)")[1]
    assert got["UID"] == b"1" and got["BODY[]"] == MESSAGE and int(got["RFC822.SIZE"]) == len(MESSAGE)
    assert {f.decode() for f in got["FLAGS"]} == {"\\Seen", "\\Draft", "kw", "$Fwd", "\\Recent"}
    when = email.utils.parsedate_to_datetime(got["INTERNALDATE"].decode().replace("-", " "))
    assert when.timestamp() == email.utils.parsedate_to_datetime("17 Jul 1996 02:44:25 -0700").timestamp()


def test_append_without_a_date_is_now(box):
    box.append("INBOX", MESSAGE)
    box.ok("SELECT INBOX")
    got = box.fetch("1", "INTERNALDATE")[1]["INTERNALDATE"].decode()
    assert re.fullmatch(r"[ 0-3]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}", got), got
    when = email.utils.parsedate_to_datetime(got.strip().replace("-", " ", 2)).timestamp()
    assert abs(when - time.time()) < 60


def test_append_refused(box):
    assert box.append("nothing", MESSAGE, plus=False).code == "TRYCREATE"
    assert box.append("nothing", MESSAGE).code == "TRYCREATE"
    assert box("APPEND INBOX {999999999}").code == "TOOBIG"
    assert box("APPEND INBOX (\\Recent) {3+}\r\nabc").status == "BAD"
    assert box("APPEND INBOX (\\Frob) {3+}\r\nabc").status in ("BAD", "NO")
    assert box('APPEND INBOX "99-Foo-1996 02:44:25 -0700" {3+}\r\nabc').status == "BAD"
    assert box("APPEND INBOX {0+}\r\n").status == "NO"
    assert box("APPEND INBOX {3+}\r\nabcdef").status == "BAD"
    assert box("APPEND INBOX").status == "BAD"
    assert box.ok("SELECT INBOX").number("EXISTS") == 0


def test_append_to_the_selected_mailbox_is_told_first(box):
    box.ok("SELECT INBOX")
    reply = box.append("INBOX", MESSAGE)
    assert reply.ok and reply.number("EXISTS") == 1 and reply.number("RECENT") == 1


@pytest.mark.parametrize("octets", [1, 100, 32767, 32768, 32769, 8 * 32768 - 1, 8 * 32768, 8 * 32768 + 1, 17 * 32768, 5 << 20])
@pytest.mark.parametrize("plus", [False, True], ids=["waits", "does not wait"])
def test_any_length_comes_back_octet_by_octet(box, octets, plus):
    head = b"Subject: long\r\n\r\n"
    line = bytes(33 + i % 90 for i in range(76)) + b"\r\n"
    message = (head + line * (octets // len(line) + 1))[:octets]
    assert box.append("INBOX", message, plus=plus).ok
    box.ok("SELECT INBOX")
    assert int(box.fetch("1", "RFC822.SIZE")[1]["RFC822.SIZE"]) == octets
    got = box.fetch("1", "BODY.PEEK[]")[1]["BODY[]"]
    assert hashlib.sha256(got).digest() == hashlib.sha256(message).digest()


@pytest.mark.parametrize("message", [
    b"Subject: no end of line\r\n\r\nlast line", b"Subject: x\r\n\r\n.\r\n..\r\n.x", b"no header at all", b"\r\n", b"\r\n\r\nx", b"\n\n\n",
    b"Subject: x\n\nbare\nLF\n", b"Subject: only a header\r\n", bytes(range(1, 256)) * 3])
def test_odd_messages_come_back_as_they_are(server, user, box, message):
    assert box.append("INBOX", message).ok
    box.ok("SELECT INBOX")
    got = box.fetch("1", "(BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] RFC822.SIZE BODYSTRUCTURE ENVELOPE)")[1]
    assert got["BODY[]"] == message
    assert got["BODY[HEADER]"] + got["BODY[TEXT]"] == message
    # POP3 counts what it sends: the line end that the last line lacks is part of it.
    with server.pop3(user) as pop:
        _, lines, octets = pop.retr(1)
        assert int(pop.list(1).split()[2]) == octets
        assert pop.stat() == (1, octets)


def test_a_client_that_leaves_in_the_middle_of_its_message_leaves_nothing(server, user):
    for sent in (1, 40000, 600000):
        with logged_in(server, user) as c:
            c.send(b"a APPEND INBOX {1000000+}\r\n" + b"x" * sent)
    with logged_in(server, user) as c:
        assert c.ok("SELECT INBOX").number("EXISTS") == 0
        assert c.append("INBOX", MESSAGE).ok


def test_slow_appends_do_not_stop_others(make_server):
    """Shared memory is not held while a client thinks."""
    server = make_server(users=["a", "b"], loops=1)
    slow = []
    for _ in range(80):
        c = logged_in(server, "a")
        c.send(b"a APPEND INBOX {500000}\r\n")
        assert c.response().startswith(b"+")
        c.send(b"Subject: slow\r\n")
        slow.append(c)
    with logged_in(server, "b", "INBOX") as c:
        c.socket.settimeout(10)
        assert c.append("INBOX", b"x" * 400000).ok
        server.send("b", MESSAGE)
        assert c.fetch("1", "BODY.PEEK[]")[1]["BODY[]"] == b"x" * 400000
    for c in slow:
        c.close()


# ---- STORE ----

def test_store_modes(box):
    fill(box, 3)
    box.ok("SELECT INBOX")
    assert {n: set(i["FLAGS"]) for n, i in box.ok("STORE 1:2 +FLAGS (\\Seen kw)").fetches().items()} == {
        1: {b"\\Seen", b"kw", b"\\Recent"}, 2: {b"\\Seen", b"kw", b"\\Recent"}}
    box.ok("STORE 1 -FLAGS (\\Seen)")
    assert flags(box) == {1: {"kw"}, 2: {"\\Seen", "kw"}, 3: set()}
    reply = box.ok("STORE 2 FLAGS (\\Answered \\Flagged)")
    assert set(reply.fetches()[2]["FLAGS"]) == {b"\\Answered", b"\\Flagged", b"\\Recent"}
    box.ok("STORE 2:3 FLAGS ()")
    assert flags(box) == {1: {"kw"}, 2: set(), 3: set()}
    assert box.ok("STORE 1:3 +FLAGS.SILENT \\Deleted \\Draft").fetches() == {}
    assert flags(box) == {1: {"kw", "\\Deleted", "\\Draft"}, 2: {"\\Deleted", "\\Draft"}, 3: {"\\Deleted", "\\Draft"}}
    assert box.ok("NOOP").untagged == []
    for word in ("one", "two", "three"):
        assert box.ok(f"STORE 1:2 +FLAGS.SILENT ({word})").fetches() == {}
        box.ok(f"STORE 1:2 -FLAGS.SILENT ({word})")
    assert box.ok("CHECK").fetches() == {}
    reply = box.ok("UID STORE 2 -FLAGS (\\Deleted)")
    assert reply.fetches()[2]["UID"] == b"2"
    assert set(box.ok("STORE 1 +FLAGS (KW)").fetches()[1]["FLAGS"]) == {b"kw", b"\\Deleted", b"\\Draft", b"\\Recent"}
    for wrong in ("STORE 1 +FLAGS (\\Recent)", "STORE 1 FLAGS (\\*)", "STORE 1 FLAGS", "STORE 4 FLAGS ()", "STORE 1 FROBS ()",
                  "STORE 1 +FLAGS (a(b)", "STORE 1:9 FLAGS (\\Seen)"):
        assert box(wrong).status == "BAD", wrong
    assert flags(box, "2") == {2: {"\\Draft"}}


def test_keywords_are_announced_and_kept(server, user, box):
    fill(box, 1)
    with logged_in(server, user, "INBOX") as other:
        box.ok("SELECT INBOX")
        reply = box.ok("STORE 1 +FLAGS (new1 $new2)")
        assert b"new1" in reply.lines("FLAGS")[0] and "$new2" in reply.codes()["PERMANENTFLAGS"]
        place = [i for i, u in enumerate(reply.untagged) if u.startswith(b"* FLAGS")][0]
        assert b"FETCH" in reply.untagged[-1] and place < len(reply.untagged) - 1
        told = other.ok("NOOP")
        assert b"new1" in told.lines("FLAGS")[0]
        assert set(told.fetches()[1]["FLAGS"]) >= {b"new1", b"$new2"}
    assert "new1" in box.ok("SELECT INBOX").codes()["PERMANENTFLAGS"]


def test_more_keywords_than_a_folder_holds(box):
    fill(box, 1)
    box.ok("SELECT INBOX")
    box.ok("STORE 1 +FLAGS (" + " ".join(f"k{i}" for i in range(64)) + ")")
    reply = box("STORE 1 +FLAGS (onemore)")
    assert (reply.status, reply.code) == ("NO", "LIMIT")
    box.ok("STORE 1 -FLAGS (never-known)")
    assert len(flags(box)[1]) == 64


def test_a_silent_store_does_not_hide_what_others_did(server, user, box):
    """The flags that a client concludes from its own STORE must be the true ones, or be told."""
    fill(box, 2)
    with logged_in(server, user, "INBOX") as one, logged_in(server, user, "INBOX") as two:
        two.ok("STORE 1 +FLAGS (\\Flagged)")
        reply = one.ok("STORE 1:2 +FLAGS.SILENT (\\Seen)")
        told = reply.fetches()
        told.update(one.ok("NOOP").fetches())
        assert set(told[1]["FLAGS"]) == {b"\\Flagged", b"\\Seen"} or b"\\Flagged" in told[1]["FLAGS"]


def test_read_only(server, user, box):
    fill(box, 2)
    box.ok("EXAMINE INBOX")
    for command in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Drafts", "UID STORE 1 FLAGS ()"):
        reply = box(command)
        assert reply.status == "NO", reply
    box.fetch("1", "(BODY[] RFC822.TEXT)")
    assert flags(box) == {1: set(), 2: set()}
    box.ok("COPY 1 Drafts")
    box.ok("CLOSE")
    assert box.ok("SELECT INBOX").number("EXISTS") == 2


# ---- \Recent ----

def test_recent_belongs_to_one_session(server, user, box):
    fill(box, 2)
    reply = box.ok("EXAMINE INBOX")
    assert reply.number("RECENT") == 2
    assert box.ok("SEARCH RECENT").search() == [1, 2]
    with logged_in(server, user) as other:
        other.append("INBOX", MESSAGE)
        assert box.ok("NOOP").number("RECENT") == 3
        assert other.ok("SELECT INBOX").number("RECENT") == 3, "looking on took them away"
        other.append("INBOX", MESSAGE)
    with logged_in(server, user) as third:
        assert third.ok("SELECT INBOX").number("RECENT") == 0
        assert third.ok("SEARCH OLD").search() == [1, 2, 3, 4]


# ---- COPY, MOVE, UIDPLUS ----

def test_copy(box):
    fill(box, 4)
    box.ok("SELECT INBOX")
    box.ok("STORE 2 +FLAGS (\\Flagged mine)")
    dates = box.fetch("1:4", "INTERNALDATE")
    reply = box.ok("COPY 2,4 Drafts")
    m = re.fullmatch(r"COPYUID (\d+) 2,4 1:2", reply.code)
    assert m, reply
    assert box("COPY 1 nowhere").code == "TRYCREATE"
    assert box("COPY 9 Drafts").status == "BAD"
    assert box.ok("UID COPY 77 Drafts").code == ""
    reply = box.ok("UID COPY 1,3,99 Drafts")
    assert reply.code == f"COPYUID {m[1]} 1,3 3:4"
    assert box.ok("COPY 1 INBOX").number("EXISTS") == 5
    assert box.ok("SELECT Drafts").codes()["UIDVALIDITY"] == m[1]
    assert flags(box) == {1: {"\\Flagged", "mine"}, 2: set(), 3: set(), 4: set()}
    assert box.fetch("1", "(INTERNALDATE BODY.PEEK[])")[1] == {**dates[2], "BODY[]": MESSAGE}


def test_move(server, user, box):
    fill(box, 5)
    with logged_in(server, user, "INBOX") as other:
        box.ok("SELECT INBOX")
        reply = box.ok("MOVE 2:3 Drafts")
        assert re.fullmatch(r"\d+ 2:3 1:2", reply.codes()["COPYUID"])
        copyuid = [i for i, u in enumerate(reply.untagged) if b"COPYUID" in u][0]
        gone = [i for i, u in enumerate(reply.untagged) if b"EXPUNGE" in u]
        assert copyuid < min(gone) and len(gone) == 2
        assert uids(box) == [1, 4, 5]
        assert box("MOVE 1 nowhere").code == "TRYCREATE"
        assert sorted(other.ok("NOOP").numbers("EXPUNGE")) in ([2, 2], [2, 3])
        assert uids(other) == [1, 4, 5]
        reply = other.ok("UID MOVE 4:* Drafts")
        assert len(reply.numbers("EXPUNGE")) == 2
        assert len(box.ok("NOOP").numbers("EXPUNGE")) == 2
        assert uids(box) == [1]
        box.ok("UID MOVE 88 Drafts")
        box.ok("SELECT Drafts")
        assert uids(box) == [1, 2, 3, 4]


def test_expunge_and_uid_expunge(box):
    fill(box, 6)
    box.ok("SELECT INBOX")
    box.ok("STORE 1,3,4,6 +FLAGS.SILENT (\\Deleted)")
    reply = box.ok("UID EXPUNGE 2:4")
    assert reply.numbers("EXPUNGE") in ([4, 3], [3, 3])
    assert uids(box) == [1, 2, 5, 6]
    reply = box.ok("EXPUNGE")
    assert reply.numbers("EXPUNGE") in ([4, 1], [1, 3])
    assert box.ok("EXPUNGE").numbers("EXPUNGE") == []
    box.append("INBOX", MESSAGE)
    assert uids(box) == [2, 5, 7]
    box.ok("STORE 1 +FLAGS (\\Deleted)")
    reply = box.ok("CLOSE")
    assert reply.untagged == []
    box.ok("SELECT INBOX")
    assert uids(box) == [5, 7]
    box.ok("STORE 1 +FLAGS (\\Deleted)")
    box.ok("UNSELECT")
    box.ok("SELECT INBOX")
    assert uids(box) == [5, 7]


# ---- several sessions ----

def test_no_expunge_is_told_while_numbers_are_in_use(server, user, box):
    fill(box, 5)
    with logged_in(server, user, "INBOX") as one, logged_in(server, user, "INBOX") as two:
        two.ok("STORE 2:3 +FLAGS.SILENT \\Deleted")
        two.ok("EXPUNGE")
        for command in ("FETCH 1,4:5 (FLAGS)", "STORE 4 +FLAGS (\\Seen)", "SEARCH ALL", "FETCH 5 BODY[]"):
            reply = one(command)
            assert reply.status == "OK" and reply.numbers("EXPUNGE") == [], (command, reply)
        # Numbers still mean what they meant.
        assert {n: i["UID"] for n, i in one.fetch("1,4,5", "(UID)").items()} == {1: b"1", 4: b"4", 5: b"5"}
        assert one.ok("SEARCH ALL").search() == [1, 4, 5]
        reply = one("FETCH 1:5 (UID)")
        assert reply.numbers("EXPUNGE") == [] and reply.code in ("EXPUNGEISSUED", "")
        assert sorted(reply.fetches()) == [1, 4, 5]
        reply = one("STORE 2 +FLAGS (\\Seen)")
        assert reply.numbers("EXPUNGE") == []
        two.append("INBOX", MESSAGE)
        reply = one("FETCH 1 (FLAGS)")
        assert reply.numbers("EXPUNGE") == []
        reply = one.ok("NOOP")
        assert reply.numbers("EXPUNGE") in ([3, 2], [2, 2])
        assert uids(one) == [1, 4, 5, 6]
        assert one.ok("NOOP").untagged == []


def test_uid_commands_may_tell_of_expunges(server, user, box):
    fill(box, 3)
    with logged_in(server, user, "INBOX") as one, logged_in(server, user, "INBOX") as two:
        two.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        two.ok("EXPUNGE")
        reply = one.ok("UID FETCH 1:* (FLAGS)")
        assert sorted(i["UID"] for i in reply.fetches().values()) == [b"2", b"3"]
        assert one.ok("UID STORE 1 +FLAGS (\\Seen)").fetches() == {}
        one.ok("NOOP")
        assert one.ok("UID SEARCH ALL").search() == [2, 3]


def test_everyone_sees_the_same_in_the_end(server, user, box):
    """Three sessions change one mailbox in turns, each applying what it is told; their views must agree with the truth."""
    import random
    rng = random.Random(5)
    fill(box, 30)
    sessions = [logged_in(server, user) for _ in range(3)]
    views = []
    for c in sessions:
        c.ok("SELECT INBOX")
        views.append([(int(i["UID"]), frozenset(f for f in i["FLAGS"] if f != b"\\Recent"))
                      for _, i in sorted(c.fetch("1:*", "(UID FLAGS)").items())])

    def apply(view, reply):
        for u in reply.untagged:
            if m := re.match(rb"\* (\d+) EXPUNGE", u):
                del view[int(m[1]) - 1]
            elif m := re.match(rb"\* (\d+) EXISTS", u):
                assert int(m[1]) >= len(view), "messages may only come"
                view += [(None, frozenset())] * (int(m[1]) - len(view))
            elif m := re.match(rb"\* (\d+) FETCH ", u):
                items = parse(u[m.end():])[0]
                got = dict(zip(items[::2], items[1::2]))
                uid, old = view[int(m[1]) - 1]
                if b"UID" in got:
                    assert uid in (None, int(got[b"UID"])), (uid, got)
                    uid = int(got[b"UID"])
                if b"FLAGS" in got:
                    old = frozenset(f for f in got[b"FLAGS"] if f != b"\\Recent")
                view[int(m[1]) - 1] = (uid, old)

    words = [b"\\Seen", b"\\Flagged", b"\\Deleted", b"k1", b"k2"]
    for _ in range(250):
        which = rng.randrange(3)
        c, view = sessions[which], views[which]
        what = rng.randrange(10)
        if what < 5 and view:
            n, w, mode = rng.randrange(len(view)), rng.choice(words), rng.choice("+-")
            silent = rng.random() < 0.4
            reply = c(f"STORE {n + 1} {mode}FLAGS{'.SILENT' if silent else ''} ({w.decode()})")
            if reply.ok and silent:
                uid, old = view[n]
                view[n] = (uid, old | {w} if mode == "+" else old - {w})
            apply(view, reply)
        elif what == 5:
            apply(view, c.append("INBOX", MESSAGE))
        elif what == 6 and rng.random() < 0.4:
            apply(view, c.ok("EXPUNGE"))
        elif what == 7 and view:
            apply(view, c.ok(f"COPY {rng.randrange(len(view)) + 1} INBOX"))
        elif what == 8 and view:
            apply(view, c(f"FETCH {rng.randrange(len(view)) + 1} BODY[]"))
        else:
            apply(view, c.ok("NOOP"))
    for c, view in zip(sessions, views):
        apply(view, c.ok("NOOP"))
        if view:
            reply = c.ok("UID FETCH 1:* (UID FLAGS)")
            truth = [(int(i["UID"]), frozenset(f for f in i["FLAGS"] if f != b"\\Recent"))
                     for _, i in sorted(reply.fetches().items())]
            assert len(truth) == len(view)
            for had, true in zip(view, truth):
                assert had[0] in (None, true[0])
                if had[0]:
                    assert had == true
        c.close()


def test_uids_ascend_whatever_happens(server, user, box):
    last = 0
    with logged_in(server, user) as other:
        other.ok("SELECT INBOX")
        for round_ in range(6):
            fill(box, 3)
            server.send(user, MESSAGE)
            server.wait_count(user, 4)
            other.ok("NOOP")
            have = uids(other)
            assert have == sorted(set(have)) and have[0] > last
            last = have[-1]
            assert int(parse(other.ok("STATUS INBOX (UIDNEXT)").lines("STATUS")[0])[1][1]) > last
            other.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            other.ok("EXPUNGE")


# ---- empty mailboxes, sets ----

def test_sets(box):
    box.ok("SELECT INBOX")
    for command in ("FETCH 1 FLAGS", "FETCH * FLAGS", "STORE * FLAGS ()", "COPY 1:* Drafts"):
        assert box(command).status == "BAD", command
    assert box.ok("UID FETCH 1:* FLAGS").fetches() == {}
    assert box.ok("SEARCH ALL").search() == []
    fill(box, 10)
    box.ok("NOOP")
    box.ok("STORE 2,4,6 +FLAGS.SILENT \\Deleted")
    box.ok("EXPUNGE")  # uids 1 3 5 7 8 9 10
    for text, want in (("1", [1]), ("*", [7]), ("3:*", [3, 4, 5, 6, 7]), ("*:6", [6, 7]), ("2:1", [1, 2]), ("1,1,2", [1, 2]), ("7,1,3:4", [1, 3, 4, 7])):
        assert sorted(box.fetch(text, "(UID)")) == want, text
    for text, want in (("1:5", [1, 3, 5]), ("*", [10]), ("99:*", [10]), ("11:20", []), ("4", []), ("9:4294967295", [9, 10])):
        assert sorted(int(i["UID"]) for i in box.fetch(text, "(UID)", uid=True).values()) == want, text
    assert box("FETCH 8 FLAGS").status == "BAD"
    assert box("FETCH 1:8 FLAGS").status == "BAD"
    many = ",".join(str(i) for i in range(1, 9000))
    assert len(box.fetch(many, "(UID)", uid=True)) == 7
