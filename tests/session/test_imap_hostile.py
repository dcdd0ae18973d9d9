"""IMAP: clients that do not read, do not end, ask for everything; and what others notice of it: nothing."""
import time

import pytest

from harness import DOMAIN, PASSWORD, wait_for
from imapwire import Imap, logged_in

MESSAGE = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\n\r\nbody\r\n"


def fill(c, n, message=MESSAGE, mailbox="INBOX"):
    for at in range(0, n, 500):
        some = range(at, min(n, at + 500))
        c.send(b"".join(b"f%d APPEND %s {%d+}\r\n%s\r\n" % (i, mailbox.encode(), len(message), message) for i in some))
        for i in some:
            assert c.wait(b"f%d" % i).ok


def deaf(server, user, command, mailbox="INBOX"):
    """A client that asks and never reads."""
    c = Imap(server)
    c.login(user)
    c.ok(f"SELECT {mailbox}")
    c.send(f"x {command}\r\n")
    return c


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """One event loop in each process, so that everyone shares everything; a large mailbox."""
    from harness import Server
    server = Server(tmp_path_factory.mktemp("crowded"), loops=1, errors_max=1000)
    for user in ("big", "other"):
        server.add_user(user)
    server.start()
    with logged_in(server, "big") as c:
        fill(c, 6000, MESSAGE.replace(b"Subject: x", b"Subject: " + b"long " * 150))
        fill(c, 30, b"Subject: body\r\n\r\n" + b"0123456789abcde\n" * 20000, "Drafts")
        c.ok("CREATE Empty")
    yield server
    server.stop()


@pytest.mark.parametrize("command,mailbox", [
    ("FETCH 1:* (ENVELOPE BODYSTRUCTURE FLAGS)", "INBOX"), ("FETCH 1:* (FLAGS)", "INBOX"), ("FETCH 1:* BODY.PEEK[]", "INBOX"),
    ("FETCH 1:* BODY.PEEK[]", "Drafts"), ("FETCH 1:* (BODYSTRUCTURE BODY.PEEK[1])", "Drafts"), ("STORE 1:* FLAGS (\\Seen a b c d)", "INBOX"),
    ("SEARCH ALL", "INBOX"), ("COPY 1:5 Empty", "INBOX")])
def test_many_who_never_read_stop_nobody(crowded, command, mailbox):
    server = crowded
    silent = [deaf(server, "big", command, mailbox) for _ in range(60)]
    try:
        for _ in range(3):
            with logged_in(server, "other", "INBOX") as c:
                c.socket.settimeout(10)
                assert c.append("INBOX", MESSAGE).ok
                assert c.fetch("*", "BODY.PEEK[]")
                assert c.ok("SEARCH TEXT body").search()
                assert c.append("INBOX", b"x" * 300000).ok
                assert len(c.fetch("*", "BODY.PEEK[]").popitem()[1]["BODY[]"]) == 300000
    finally:
        for c in silent:
            c.close()


def test_a_late_reader_gets_all_of_it(crowded):
    with deaf(crowded, "big", "FETCH 1:* (UID ENVELOPE)") as c:
        time.sleep(0.5)
        reply = c.wait(b"x")
        assert reply.ok and len(reply.fetches()) == 6000
    with deaf(crowded, "big", "FETCH 1:* (UID BODY.PEEK[])", "Drafts") as c:
        time.sleep(0.5)
        assert sum(len(i["BODY[]"]) for i in c.wait(b"x").fetches().values()) == 30 * 320017


def test_a_mailbox_full_of_holes(crowded):
    """Sets with thousands of runs: views, commands, searches and news."""
    with logged_in(crowded, "big") as c, logged_in(crowded, "big") as other:
        c.ok("CREATE holes")
        c.ok("SELECT INBOX")
        c.ok("STORE 1:* FLAGS.SILENT ()")
        c.ok("COPY 1:6000 holes")
        c.ok("SELECT holes")
        other.ok("SELECT holes")
        odd = ",".join(str(i) for i in range(1, 6001, 2))
        c.ok(f"STORE {odd} +FLAGS.SILENT (\\Deleted)")
        assert len(c.ok("EXPUNGE").numbers("EXPUNGE")) == 3000
        assert len(other.ok("NOOP").numbers("EXPUNGE")) == 3000
        assert c.ok("SELECT holes").number("EXISTS") == 3000
        assert [int(i["UID"]) for i in c.fetch("1:*", "(UID)").values()] == list(range(2, 6001, 2))
        assert len(c.ok("SEARCH NOT SEEN").search()) == 3000
        assert len(c.ok(f"SEARCH {','.join(str(i) for i in range(1, 3000, 2))}").search()) == 1500
        assert len(c.ok(f"UID SEARCH UID {','.join(str(i) for i in range(2, 6000, 4))}").search()) == 1500
        assert len(c.fetch(",".join(str(i) for i in range(1, 3000, 2)), "(FLAGS ENVELOPE)")) == 1500
        c.ok("STORE 1:* +FLAGS.SILENT (\\Seen)")
        assert len(other.ok("NOOP").fetches()) == 3000
        c.ok("COPY 1:* Empty")
        assert c("FETCH " + ",".join(["1"] * 12000) + " FLAGS").status == "BAD"
        assert c("FETCH " + ",".join(["1:*"] * 9000) + " UID").ok
        assert c("SELECT " + "x" * 30000).status in ("NO", "BAD")
        c.ok("DELETE holes")


def test_news_of_many_changes(crowded):
    with logged_in(crowded, "big") as c, logged_in(crowded, "big") as other:
        c.ok("SELECT INBOX")
        tag = c.start("IDLE")
        assert c.response().startswith(b"+ ")
        other.ok("SELECT INBOX")
        other.ok("STORE 1:* +FLAGS.SILENT (\\Flagged " + " ".join(f"kw{i}" for i in range(20)) + ")")
        seen = set()
        while len(seen) < 6000:
            line = c.response()
            assert line
            if b" FETCH " in line:
                assert b"kw19" in line and b"\\Flagged" in line
                seen.add(int(line.split()[1]))
        c.send("DONE\r\n")
        assert c.wait(tag).ok
        other.ok("STORE 1:* -FLAGS.SILENT (\\Flagged)")
        assert len(c.ok("NOOP").fetches()) == 6000
        assert c.ok("NOOP").untagged == []


def test_clients_that_leave_in_the_middle_of_replies(crowded):
    for command, mailbox in (("FETCH 1:* (ENVELOPE)", "INBOX"), ("FETCH 1:* BODY.PEEK[]", "Drafts"), ("STORE 1:* -FLAGS (\\Seen)", "INBOX"),
                             ("LOGOUT", "INBOX"), ("SEARCH TEXT 0123", "Drafts")):
        for _ in range(5):
            c = deaf(crowded, "big", command, mailbox)
            c.socket.recv(100)
            c.close()
    with logged_in(crowded, "big", "Drafts") as c:
        assert len(c.fetch("1:*", "BODY.PEEK[TEXT]")) == 30
    assert "message broken off" not in crowded.log() and "fetch failed" not in crowded.log()


def test_idle_sessions_are_cheap(make_server):
    """Between commands a session is a few structs: no stack, no pool, no buffers."""
    server = make_server(users=["a"], connections_per_ip_max=0)
    with logged_in(server, "a") as c:
        fill(c, 50)
    pid = server.pid("inet")

    def resident():
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))

    clients = [logged_in(server, "a", "INBOX") for _ in range(100)]
    before = resident()
    clients += [logged_in(server, "a", "INBOX") for _ in range(400)]
    for c in clients[100:]:
        c.start("IDLE")
        assert c.response().startswith(b"+")
    grown = resident() - before
    for c in clients:
        c.close()
    if "san" not in str(server.command("status")[0]):
        assert grown < 400 * 8, f"{grown} KiB for 400 sessions"
    wait_for(lambda: resident() < 10 ** 9, "they are gone")


def test_an_orderly_stop_tells_everyone(make_server):
    server = make_server(users=["a"])
    with logged_in(server, "a") as c:
        fill(c, 100, b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * 10000)
    sessions = [Imap(server)] + [logged_in(server, "a", "INBOX") for _ in range(3)]
    sessions[1].start("IDLE")
    assert sessions[1].response().startswith(b"+")
    sessions[2].send(b"x FETCH 1:* BODY.PEEK[]\r\n")
    assert sessions[2].wait(b"x").ok
    server.stop()
    for c in sessions:
        assert c.response().startswith(b"* BYE [UNAVAILABLE]")
        assert c.response() == b""
        c.close()
    server.start()
    with logged_in(server, "a") as c:
        assert c.ok("SELECT INBOX").number("EXISTS") == 100


def test_the_store_is_killed_under_sessions(make_server):
    """A session whose store died says so and ends; a new one works."""
    server = make_server(users=["a"])
    with logged_in(server, "a") as c:
        fill(c, 200)
    sessions = [logged_in(server, "a", "INBOX") for _ in range(6)]
    sessions[0].start("IDLE")
    assert sessions[0].response().startswith(b"+")
    sessions[1].send(b"x APPEND INBOX {100000+}\r\n" + b"y" * 50000)
    for c in sessions[2:4]:
        c.send(b"".join(b"c%d FETCH 1:* (ENVELOPE)\r\n" % i for i in range(50)))
    server.kill_program("store")
    sessions[1].send(b"y" * 50000 + b"\r\n")
    for c in sessions:
        assert c.at_end()
        c.close()

    def works():
        try:
            with Imap(server) as c:
                return c(f"LOGIN a@{DOMAIN} {PASSWORD}").ok and c.ok("SELECT INBOX").number("EXISTS") == 200
        except (AssertionError, OSError):
            return False

    wait_for(works, "the mailbox is served again")
