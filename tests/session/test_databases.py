"""Several groups and databases: made, mounted, dismounted, moved and removed while the rest serves."""
import collections
import imaplib
import os
import poplib
import random
import signal
import subprocess
import threading
import time

import pytest

from harness import BUILD, DOMAIN, PASSWORD, wait_for

ROUNDS = int(os.environ.get("MAILROOT_KILL_ROUNDS", "4"))
SECOND, THIRD = "first/mailbox/sales", "far/mailbox/sales"


def databases(server):
    return {row["database"]: row for row in server.json("database", "list")["databases"]}


def add_user(server, name, database):
    server.run("user", "add", f"{name}@{DOMAIN}", "--password-stdin", "--database", database, stdin=PASSWORD + "\n")


def letter(number, octets=2000):
    return f"From: a@example.org\r\nSubject: number {number}\r\n\r\n{'x' * 70}\r\n" * 1 + "y" * octets + "\r\n"


def subjects(imap):
    status, data = imap.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])") if imap.select("INBOX")[1] != [b"0"] else ("OK", [])
    assert status == "OK", data
    return [item[1].split(b"\r\n")[next(i for i, l in enumerate(item[1].split(b"\r\n")) if l.startswith(b"Subject"))].decode()
            for item in data if isinstance(item, tuple)]


@pytest.fixture
def server(make_server):
    """alice in the default database, bob in another of the same group, carol in another group."""
    server = make_server()
    server.run("database", "create", "first/sales")
    server.run("group", "create", "far")
    server.run("database", "create", "far/sales")
    for name, database in (("alice", "first/default"), ("bob", "first/sales"), ("carol", "far/sales")):
        add_user(server, name, database)
    return server


def test_a_letter_to_all_is_in_each_database_once(server):
    for octets in (1000, 700_000):  # with the request; by a virtual file
        server.send(["alice", "bob", "carol"], letter(octets, octets))
        add_user(server, f"also{octets}", SECOND)
        server.send(["bob", f"also{octets}"], letter(octets + 1, octets))
    for name, many in (("alice", 2), ("bob", 4), ("carol", 2), ("also1000", 1)):
        server.wait_count(name, many)
        with server.imap(name) as imap:
            imap.select("INBOX")
            status, data = imap.fetch("1:*", "(BODY.PEEK[])")
            assert status == "OK"
            assert all(item[1].endswith(b"yyy\r\n") for item in data if isinstance(item, tuple))
    rows = databases(server)
    assert {name: (row["state"], row["mailboxes"], row["messages"], row["bodies"]) for name, row in rows.items()} == {
        "first/directory": ("up", 0, 0, 0), "first/mailbox/default": ("up", 1, 2, 2),
        SECOND: ("up", 3, 6, 4), THIRD: ("up", 1, 2, 2)}
    space = server.json("ese", "space")
    pages = {row["database"]: row["pages_committed"] for row in space["databases"]}
    for row in space["mailboxes"]:
        assert row["bytes"] <= row["on_pages"] and row["shared"] == (row["on_pages"] if row["database"] == SECOND else 0) - (
            row["on_pages"] // 2 if row["mailbox"].startswith("bob") else 0), row
    assert pages["first/mailbox/default"] * 4096 == next(r["on_pages"] for r in space["mailboxes"] if "alice" in r["mailbox"])
    server.stop()
    server.start()
    assert databases(server)[SECOND]["bodies"] == 4
    with server.imap("carol") as imap:
        assert len(subjects(imap)) == 2


def test_what_is_dismounted_waits_and_the_rest_serves(server):
    server.send(["alice", "bob"], letter(1))
    with server.imap("bob", mailbox="INBOX") as idle, server.raw("imap") as raw:
        raw.line()
        raw.imap(b"a", f"a LOGIN bob@{DOMAIN} {PASSWORD}\r\n")
        raw.imap(b"b", "b SELECT INBOX\r\n")
        raw.send("c IDLE\r\n")
        assert raw.line().startswith(b"+")
        server.run("database", "dismount", SECOND)
        assert raw.line().startswith(b"* BYE [UNAVAILABLE]")
        with pytest.raises((imaplib.IMAP4.error, imaplib.IMAP4.abort)):
            for _ in range(3):
                status, data = idle.fetch("1", "(BODY.PEEK[])")
                assert status == "NO" and b"UNAVAILABLE" in data[0]
                idle.noop()
    row = databases(server)[SECOND]
    assert row["state"] == "down" and row["clean"]
    with server.raw("smtp") as raw:
        raw.smtp()
        raw.smtp("EHLO x\r\n")
        raw.smtp("MAIL FROM:<a@example.org>\r\n")
        code, words = raw.smtp(f"RCPT TO:<bob@{DOMAIN}>\r\n")
        assert code == 451 and "4.2.1" in words[0]
        assert raw.smtp(f"RCPT TO:<alice@{DOMAIN}>\r\n")[0] == 250
    with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"), server.imap("bob"):
        pass
    with pytest.raises(poplib.error_proto, match="SYS/TEMP"), server.pop3("bob"):
        pass
    server.send(["alice", "carol"], letter(2))
    with server.imap("alice") as imap:
        assert len(subjects(imap)) == 2
    server.stop()
    server.start()
    assert databases(server)[SECOND]["state"] == "down", "it stays so"
    server.run("database", "mount", SECOND)
    server.send(["alice", "bob"], letter(3))
    with server.imap("bob") as imap:
        assert len(subjects(imap)) == 2


def test_deliveries_go_on_as_soon_as_it_is_mounted(server):
    """An alias is taken: whose mailbox it means is found out behind the 250."""
    server.run("alias", "add", f"team@{DOMAIN}", f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    server.run("database", "dismount", SECOND)
    server.send("team", letter(1))
    with server.imap("alice") as imap:
        assert len(subjects(imap)) == 1
    assert server.json("queue")["transport"]["waiting"] == 1
    server.run("database", "mount", SECOND)
    server.wait_count("bob", 1)
    wait_for(lambda: server.json("queue")["transport"]["waiting"] == 0, "the queue is empty")
    with server.imap("alice") as imap:
        assert len(subjects(imap)) == 1, "and not twice"


def test_a_damaged_one_stays_down_and_says_why(server):
    server.send(["alice", "bob", "carol"], letter(1))
    server.stop()
    (server.home / "groups/first/mailbox/sales.edb/CURRENT").write_bytes(b"nonsense\n")
    for log in (server.home / "groups/far").glob("E00*"):
        log.write_bytes(b"x" * 100)
    server.start()
    rows = databases(server)
    assert rows[SECOND]["state"] == "failed" and "sales" in rows[SECOND]["reason"]
    groups = {row["group"]: row for row in server.json("group", "list")["groups"]}
    assert groups["far"]["state"] == "failed" and groups["far"]["reason"]
    told = [line for line in server.log().splitlines() if "not in service" in line]
    assert len(told) == 2 and any(SECOND in line and "CURRENT" in line for line in told), told
    with server.imap("alice") as imap:
        assert len(subjects(imap)) == 1
    for name in ("bob", "carol"):
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"), server.imap(name):
            pass
    server.send("alice", letter(2))
    assert server.run("database", "mount", SECOND, check=False).returncode == 1


def test_make_and_remove(server):
    run = lambda *words: server.run(*words, check=False)
    for words, complaint in ((("create", "first/sales"), "there already"), (("create", "nowhere/x"), "no group"),
                             (("create", "first/odd/x"), "neither"), (("create", "first/mailbox/UP"), "a-z"),
                             (("mount", "first/nothing"), "no database"), (("dismount", "first/directory"), "directory"),
                             (("remove", SECOND, "--yes"), "1 mailboxes are in"), (("remove", SECOND), "--yes")):
        done = run("database", *words)
        assert done.returncode != 0 and complaint in done.stderr, (words, done.stderr)
    server.run("database", "create", "first/public/rooms")
    assert databases(server)["first/public/rooms"]["state"] == "up"
    server.run("database", "remove", "first/public/rooms", "--yes")
    server.send("bob", letter(1))
    server.run("database", "remove", SECOND, "--yes", "--with-mailboxes")
    assert not list((server.home / "groups/first/mailbox").glob("sales*"))
    assert [u["user"] for u in server.json("user", "list")["users"]] == [f"alice@{DOMAIN}", f"carol@{DOMAIN}"]
    server.run("database", "create", SECOND)
    add_user(server, "bob", SECOND)
    with server.imap("bob") as imap:
        assert subjects(imap) == []
    server.stop()
    server.start()
    assert SECOND in databases(server)


def test_a_database_moves(server):
    for n in range(5):
        server.send(["bob", "alice"], letter(n))
    server.run("database", "move", SECOND, "far/moved")
    rows = databases(server)
    assert SECOND not in rows and rows["far/mailbox/moved"]["state"] == "up"
    assert (server.home / "groups/far/mailbox/moved.stm").exists()
    server.send(["bob", "carol"], letter(5))
    for _ in range(2):
        with server.imap("bob") as imap:
            assert len(subjects(imap)) == 6
        server.stop()
        server.start()
    assert server.run("database", "move", "far/moved", THIRD, check=False).returncode == 1


def state(server, user):
    """Everything a client can see of a mailbox."""
    seen = {}
    with server.imap(user) as imap:
        for line in imap.list()[1]:
            folder = line.decode().rsplit(' "/" ', 1)[1].strip('"')
            status, data = imap.select(f'"{folder}"', readonly=True)
            if status != "OK":
                continue
            seen[folder, "uidvalidity"] = imap.response("UIDVALIDITY")[1]
            if data != [b"0"]:
                seen[folder] = imap.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
    return seen


def test_a_user_moves_as_he_is(server):
    for n in range(30):
        server.send("bob", letter(n, n * 3000))
    with server.imap("bob") as imap:
        imap.create("Work/Deep")
        imap.select("INBOX")
        imap.copy("1:9", "Work")
        imap.store("3:5", "+FLAGS", r"(\Flagged Later)")
        imap.store("7", "+FLAGS", r"(\Deleted)")
        imap.expunge()
        imap.subscribe("Work")
    before = state(server, "bob")
    bodies = databases(server)[SECOND]["bodies"]
    for target in (THIRD, "first/default", SECOND):
        with server.imap("bob", mailbox="INBOX") as open_session:
            server.run("user", "move", f"bob@{DOMAIN}", target)
            assert state(server, "bob") == before
            open_session.noop()
        server.send(["alice", "bob"], letter(99))
        with server.imap("bob", mailbox="INBOX") as imap:
            status, data = imap.search(None, "SUBJECT", '"number 99"')
            for number in data[0].split():
                imap.store(number, "+FLAGS", r"\Deleted")
            imap.expunge()
        before = state(server, "bob")
    wait_for(lambda: databases(server)[THIRD]["bodies"] == 0, "what he left behind is gone")
    assert databases(server)[SECOND]["bodies"] >= bodies, "single instances stay single"
    server.stop()
    server.start()
    assert state(server, "bob") == before


class Sender(threading.Thread):
    """Sends until it is told to stop; remembers what was acknowledged, and what may have come twice."""

    def __init__(self, server, user):
        super().__init__()
        self.server, self.user, self.over = server, user, False
        self.sent, self.unknown = [], set()

    def run(self):
        n = 0
        while not self.over:
            name = f"{self.user}-{n}"
            tried = False
            while not self.over:
                try:
                    self.server.send(self.user, f"Subject: {name}\r\n\r\n{'z' * (n * 131 % 9000)}\r\n")
                    self.sent.append(name)
                    break
                except Exception:
                    tried = True
                    time.sleep(0.05)
            if tried:
                self.unknown.add(name)
            n += 1


def check_senders(server, senders):
    for sender in senders:
        sender.over = True
    for sender in senders:
        sender.join()
    wait_for(lambda: server.json("queue")["transport"]["waiting"] == 0, "the queue is empty", 120)
    for sender in senders:
        with server.imap(sender.user) as imap:
            got = collections.Counter(s.split(": ")[1] for s in subjects(imap))
        assert not set(sender.sent) - set(got)
        assert {name for name, times in got.items() if times > 1} <= sender.unknown


def test_a_user_moves_under_load(server):
    senders = [Sender(server, name) for name in ("alice", "bob", "carol")]
    for sender in senders:
        sender.start()
    for target in (THIRD, SECOND, "first/default", SECOND):
        server.run("user", "move", f"bob@{DOMAIN}", target)
    for _ in range(2):
        server.run("database", "dismount", SECOND)
        server.run("database", "mount", SECOND)
    check_senders(server, senders)


@pytest.mark.parametrize("what", ["user", "database"])
def test_kill_while_it_moves(server, what):
    """Whatever moment the store dies at: the mailbox is whole in one place."""
    for n in range(40):
        server.send("bob", letter(n, n * 1000))
    before = state(server, "bob")
    chance = random.Random(what)
    for turn in range(ROUNDS):
        rows = databases(server)
        if what == "user":
            here = next(name for name, row in rows.items() if row["mailboxes"] and name in (SECOND, "far/mailbox/other"))
            if "far/mailbox/other" not in rows:
                server.run("database", "create", "far/other")
            words = ["user", "move", f"bob@{DOMAIN}", "far/other" if here == SECOND else SECOND]
        else:
            here = SECOND if SECOND in rows else "far/mailbox/other"
            words = ["database", "move", here, "far/other" if here == SECOND else SECOND]
        pid = server.pid("store")
        command = subprocess.Popen(server.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 0.4))
        os.kill(pid, signal.SIGKILL)
        command.wait()
        wait_for(lambda: server.programs()["store"]["pid"] not in (0, pid) and
                 server.programs()["store"]["state"] == "serving", "the store is back")
        assert state(server, "bob") == before, (turn, words)
        rows = databases(server)
        assert all(row["state"] == "up" for row in rows.values()), rows
        if what == "user":
            wait_for(lambda: sum(row["bodies"] for row in databases(server).values()) == 40, "there is one copy only")
        else:
            assert (SECOND in rows) != ("far/mailbox/other" in rows)
