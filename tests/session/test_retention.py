"""What was deleted can come back, for as long as the settings say: with real clients, through restarts and kills."""
import imaplib
import smtplib
import threading
import time

import pytest

from harness import DOMAIN, Server, wait_for

ALICE = f"alice@{DOMAIN}"


def message(n, words="", author="Bob"):
    return (f"From: {author} <bob@example.org>\r\nTo: {ALICE}\r\nSubject: note {n} {words}\r\n"
            f"Date: Sat, 21 Nov 2026 10:{n % 60:02}:00 +0100\r\n\r\nThis is number {n}.\r\n").encode()


@pytest.fixture
def server(tmp_path):
    s = Server(tmp_path)
    s.add_user("alice")
    s.start()
    yield s
    s.stop()


def append(imap, folder, n, flags=None, **more):
    assert imap.append(folder, flags, imaplib.Time2Internaldate(1_700_000_000 + n), message(n, **more))[0] == "OK"


def deleted(server, *more):
    return server.json("deleted", "list", ALICE, *more)["deleted"]


def expunge(imap, folder, which="1:*"):
    assert imap.select(folder)[0] == "OK"
    imap.store(which, "+FLAGS", r"(\Deleted)")
    status, gone = imap.expunge()
    assert status == "OK"
    return gone


def everything(imap, folder):
    """{subject: (flags, internal date, body)}"""
    assert imap.select(folder, readonly=True)[0] == "OK"
    status, data = imap.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])") if int(imap.status(folder, "(MESSAGES)")[1][0].rsplit(b" ")[-1].rstrip(b")")) else ("OK", [])
    assert status == "OK"
    found = {}
    for item in data:
        if isinstance(item, tuple):
            flags = {f for f in imaplib.ParseFlags(item[0]) if f != rb"\Recent"}
            date = item[0].split(b'INTERNALDATE "')[1].split(b'"')[0]
            subject = item[1].split(b"Subject: ")[1].split(b"\r\n")[0].strip().decode()
            assert subject not in found, "twice"
            found[subject] = (flags, date, item[1])
    return found


def test_expunged_messages_come_back_as_they_were(server):
    with server.imap("alice") as imap:
        append(imap, "INBOX", 1, r"(\Seen \Flagged)")
        append(imap, "INBOX", 2, r"($Important)")
        append(imap, "Drafts", 3, r"(\Draft)")
        before = {f: everything(imap, f) for f in ("INBOX", "Drafts")}
        assert len(expunge(imap, "INBOX")) == 2
        assert len(expunge(imap, "Drafts")) == 1
        assert everything(imap, "INBOX") == {}
        rows = deleted(server)
        assert [(r["folder"], r["subject"]) for r in rows] == [("INBOX", "note 1"), ("INBOX", "note 2"), ("Drafts", "note 3")]
        assert rows[0]["from"] == "Bob <bob@example.org>" and rows[0]["bytes"] == len(message(1))
        assert imap.select("INBOX")[0] == "OK"
        back = server.json("deleted", "restore", ALICE, "--all")["restored"]
        assert [(r["id"], r["folder"], r["uid"]) for r in back] == [(rows[0]["id"], "INBOX", 3), (rows[1]["id"], "INBOX", 4), (rows[2]["id"], "Drafts", 2)]
        # The session that has the folder open is told.
        imap.noop()
        assert imap.untagged_responses.get("EXISTS", [b"0"])[-1] == b"2"
        assert {f: everything(imap, f) for f in ("INBOX", "Drafts")} == before
        assert deleted(server) == []


def test_pop3_close_and_folders_that_are_gone(server):
    for n in (1, 2):
        server.send("alice", message(n))
    server.wait_count("alice", 2)
    with server.pop3("alice") as pop:
        pop.dele(1)
        pop.quit()
    with server.imap("alice") as imap:
        assert imap.create("Work")[0] == imap.create("Work/Old")[0] == "OK"
        append(imap, "Work/Old", 3)
        assert imap.select("INBOX")[0] == "OK"
        imap.store("1", "+FLAGS", r"(\Deleted)")
        imap.close()
        assert imap.delete("Work/Old")[0] == imap.delete("Work")[0] == "OK"
    rows = deleted(server)
    assert [(r["folder"], r["subject"].split()[1]) for r in rows] == [("INBOX", "1"), ("INBOX", "2"), ("Work/Old", "3")]
    server.run("deleted", "restore", ALICE, rows[2]["id"])
    server.run("deleted", "restore", ALICE, rows[0]["id"], "--to", "Found/again")
    with server.imap("alice") as imap:
        assert list(everything(imap, "Work/Old")) == ["note 3"]
        assert list(everything(imap, "Found/again")) == ["note 1"]
    assert [r["id"] for r in deleted(server)] == [rows[1]["id"]]
    # A folder that has another name now is still the one it was.
    server.run("deleted", "restore", ALICE, "--all")


def test_a_move_is_no_deletion_and_a_renamed_folder_is_found(server):
    with server.imap("alice") as imap:
        imap.create("One")
        append(imap, "INBOX", 1)
        assert imap.select("INBOX")[0] == "OK"
        assert imap._simple_command("MOVE", "1", "One")[0] == "OK"
        assert deleted(server) == []
        expunge(imap, "One")
        imap.close()
        assert imap.rename("One", "Two")[0] == "OK"
        assert server.json("deleted", "restore", ALICE, "--all")["restored"][0]["folder"] == "Two"
        assert list(everything(imap, "Two")) == ["note 1"]


def test_names_that_are_folders_no_more_and_paths_with_an_end(server):
    with server.imap("alice") as imap:
        assert imap.create("Work/Old")[0] == "OK"
        append(imap, "Work", 1)
        append(imap, "Drafts", 2)
        expunge(imap, "Drafts")
        imap.close()
        # It has a folder inside, so its name stays; it can't be selected.
        assert imap.delete("Work")[0] == "OK" and imap.select("Work")[0] == "NO"
        ids = {r["subject"]: r["id"] for r in deleted(server)}
        assert server.json("deleted", "restore", ALICE, ids["note 1"])["restored"] == [{"id": ids["note 1"], "folder": "Work", "uid": 2}]
        assert list(everything(imap, "Work")) == ["note 1"]
        assert server.json("deleted", "restore", ALICE, ids["note 2"], "--to", "Work/")["restored"][0]["folder"] == "Work"
        assert len(everything(imap, "Work")) == 2
        expunge(imap, "Work")
    for bad in ("a//b", "/a", "x" * 2000):
        assert server.run("deleted", "restore", ALICE, "--all", "--to", bad, check=False).returncode == 1
    assert len(deleted(server)) == 2


def test_the_list_is_searched(server):
    with server.imap("alice") as imap:
        append(imap, "INBOX", 1, words="Äpfel")
        append(imap, "Drafts", 2, author="Zoë")
        expunge(imap, "INBOX")
        expunge(imap, "Drafts")
    assert [r["id"] for r in deleted(server, "--folder", "Drafts")] == [r["id"] for r in deleted(server)][1:]
    assert len(deleted(server, "--folder", "inbox")) == 1 and deleted(server, "--folder", "drafts") == []
    assert len(deleted(server, "--subject", "äPFEL")) == 1
    assert len(deleted(server, "--from", "zoë")) == 1
    assert len(deleted(server, "--from", "example.org")) == 2
    assert len(deleted(server, "--since", "2020-01-01")) == 2
    assert deleted(server, "--since", "2199-01-01T00:00:00Z") == []
    assert server.run("deleted", "list", ALICE, "--since", "2999-01-01", check=False).returncode == 2
    assert "note 1" in server.run("deleted", "list", ALICE).stdout


def test_what_is_refused(server):
    with server.imap("alice") as imap:
        append(imap, "INBOX", 1)
        expunge(imap, "INBOX")
    for words, status, text in [
            (["list", f"nobody@{DOMAIN}"], 1, "there is no user"),
            (["restore", ALICE], 2, "--all"),
            (["restore", ALICE, "x"], 2, "not the number"),
            (["restore", ALICE, "4711"], 1, "none of these messages"),
            (["purge", ALICE, "--all"], 2, "--yes")]:
        done = server.run("deleted", *words, check=False)
        assert done.returncode == status and text in done.stderr, (words, done)
    assert len(deleted(server)) == 1
    done = server.run("deleted", "restore", ALICE, deleted(server)[0]["id"], "4711", check=False)
    assert done.returncode == 1 and "only 1 of the 2 messages" in done.stderr and "INBOX" in done.stdout
    with server.imap("alice") as imap:
        expunge(imap, "INBOX")
    assert server.json("deleted", "purge", ALICE, "--all", "--yes")["purged"] == {"removed": 1}
    assert "keeps no deleted messages" in server.run("deleted", "restore", ALICE, "--all", check=False).stderr


def bodies(server):
    return server.json("store")["engine"]["bodies"]


def test_a_restart_keeps_it_and_the_settings_decide(server, tmp_path):
    with server.imap("alice") as imap:
        for n in range(5):
            append(imap, "INBOX", n)
        expunge(imap, "INBOX")
    before = deleted(server)
    assert len(before) == 5 and bodies(server) == 5
    server.kill_program("store")
    assert deleted(server) == before
    assert server.json("deleted", "expire")["expired"] == {"removed": 0}
    # With no days at all what is kept goes at the next pass, and what is deleted goes at once.
    server.stop()
    server.configure(deleted_items_days=0)
    server.start()
    assert server.json("deleted", "expire")["expired"] == {"removed": 5}
    assert deleted(server) == []
    wait_for(lambda: bodies(server) == 0, "the pages are given back")
    with server.imap("alice") as imap:
        append(imap, "INBOX", 7)
        expunge(imap, "INBOX")
    assert deleted(server) == []
    # ... but not before a backup holds it, where that is asked for.
    server.stop()
    server.configure(deleted_items_until_backup=True)
    server.start()
    with server.imap("alice") as imap:
        append(imap, "INBOX", 8)
        expunge(imap, "INBOX")
    assert [r["kept_until"] for r in deleted(server)] == ["backup"]
    assert server.json("deleted", "expire")["expired"] == {"removed": 0}
    server.add_user("bob")
    server.run("user", "remove", f"bob@{DOMAIN}")
    assert [r["kept_until"] for r in removed(server)] == ["backup"]
    server.run("ese", "backup", tmp_path / "backup")
    # What was deleted while or after it was made waits for the next one.
    with server.imap("alice") as imap:
        append(imap, "INBOX", 9)
        expunge(imap, "INBOX")
    assert server.json("deleted", "expire")["expired"] == {"removed": 1}
    assert [r["subject"] for r in deleted(server)] == ["note 9"]
    assert [r["user"] for r in removed(server)] == [f"bob@{DOMAIN}"]


# ---- mailboxes of users who were removed ----

def removed(server):
    return server.json("mailbox", "removed")["removed"]


def test_a_removed_user_comes_back_with_everything(server):
    server.send("alice", message(1))
    server.wait_count("alice", 1)
    with server.imap("alice") as imap:
        append(imap, "Drafts", 2, r"(\Draft)")
        append(imap, "Drafts", 3)
        expunge(imap, "Drafts", "2")
        server.run("user", "remove", ALICE)
        # Whoever is logged on is not any more, and nothing comes in.
        assert imap.select("INBOX")[0] == "NO"
    rows = removed(server)
    assert [(r["user"], r["messages"], r["deleted_messages"]) for r in rows] == [(ALICE, 2, 1)]
    assert rows[0]["kept_until"] > rows[0]["removed"]
    with server.smtp() as client:
        client.ehlo()
        client.mail("a@example.org")
        assert client.rcpt(ALICE)[0] == 550
    assert ALICE not in [u["user"] for u in server.json("user", "list")["users"]]
    # The name is free meanwhile; while somebody has it, the mailbox takes another one.
    server.add_user("alice", "other")
    done = server.run("mailbox", "reconnect", rows[0]["id"], check=False)
    assert done.returncode == 1 and "there already" in done.stderr
    assert server.json("mailbox", "reconnect", rows[0]["id"], f"alice.old@{DOMAIN}")["reconnected"] == {"user": f"alice.old@{DOMAIN}"}
    assert removed(server) == []
    with server.imap("alice.old") as imap:
        assert list(everything(imap, "INBOX")) == ["note 1"]
        assert [v[0] for v in everything(imap, "Drafts").values()] == [{rb"\Draft"}]
        server.run("deleted", "restore", f"alice.old@{DOMAIN}", "--all")
        assert len(everything(imap, "Drafts")) == 2
    server.send("alice.old", message(5))
    server.wait_count("alice.old", 2)
    with server.imap("alice", password="other") as imap:
        assert everything(imap, "INBOX") == {}


def test_removed_mailboxes_go_when_told_and_with_time(server):
    server.add_user("bob")
    for name in ("alice", "bob"):
        server.send(name, message(1))
        server.wait_count(name, 1)
        server.run("user", "remove", f"{name}@{DOMAIN}")
    boxes = {r["user"].split("@")[0]: r["id"] for r in removed(server)}
    assert set(boxes) == {"alice", "bob"} and bodies(server) == 2
    for words, status, text in [
            (["purge", boxes["bob"]], 2, "--yes"),
            (["purge", "77", "--yes"], 1, "not that of a user who was removed"),
            (["reconnect", "77"], 1, "not that of a user who was removed"),
            (["reconnect", boxes["bob"], "bob@elsewhere.test"], 1, "not ours"),
            (["reconnect", "bob"], 2, "not the id")]:
        done = server.run("mailbox", *words, check=False)
        assert done.returncode == status and text in done.stderr, (words, done)
    server.run("mailbox", "purge", boxes["bob"], "--yes")
    wait_for(lambda: bodies(server) == 1, "the mailbox is deleted")
    server.stop()
    server.configure(deleted_mailboxes_days=0)
    server.start()
    assert [r["user"] for r in removed(server)] == [ALICE]
    server.run("deleted", "expire")
    assert removed(server) == []
    wait_for(lambda: bodies(server) == 0, "the mailbox is deleted")
    server.run("user", "add", ALICE, "--password-stdin", stdin="secret\n")
    server.run("user", "remove", ALICE)
    assert removed(server) == []


# ---- kills in the middle ----

class Crowd:
    """Sends, deletes and brings back at the same time, whatever happens to the server; what was acknowledged is noted."""

    def __init__(self, server):
        self.server = server
        self.acknowledged = []
        self.expunged = self.restored = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.again, args=(work,)) for work in (self.send, self.send, self.expunge, self.restore)]
        for t in self.threads:
            t.start()

    def again(self, work):
        while not self.stop.is_set():
            try:
                work()
            except (imaplib.IMAP4.error, smtplib.SMTPException, OSError, AssertionError):
                self.stop.wait(0.02)

    def send(self):
        with self.server.smtp() as client:
            while not self.stop.is_set():
                name = f"{threading.get_ident()}-{time.monotonic_ns()}"
                client.sendmail("bob@example.org", [ALICE], message(0, name))
                self.acknowledged.append(f"note 0 {name}")

    def expunge(self):
        with self.server.imap("alice", mailbox="INBOX") as imap:
            while not self.stop.is_set():
                imap.noop()
                imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
                self.expunged += len([uid for uid in imap.expunge()[1] if uid])

    def restore(self):
        done = self.server.run("deleted", "restore", ALICE, "--all", check=False)
        self.restored += done.stdout.count("INBOX")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()


def test_killed_between_deletion_and_return_nothing_is_lost_or_twice(server):
    crowd = Crowd(server)
    try:
        for _ in range(5):
            before = (len(crowd.acknowledged), crowd.expunged, crowd.restored)
            wait_for(lambda: len(crowd.acknowledged) > before[0] + 30 and crowd.expunged > before[1] + 30 and crowd.restored > before[2] + 30,
                     "mail comes, goes and comes back", 60)
            server.kill_program("store")
    finally:
        crowd.end()
    server.run("deleted", "restore", ALICE, "--all", check=False)
    assert deleted(server) == []
    with server.imap("alice") as imap:
        there = everything(imap, "INBOX")  # it fails where one is there twice
    missing = set(crowd.acknowledged) - set(there)
    assert not missing, (len(missing), len(there))
    server.stop()
    assert server.run("ese", "check", check=False).returncode == 0
