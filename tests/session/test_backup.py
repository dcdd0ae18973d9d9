"""Backups with the real programs: under load, after a kill, rolled forward, cut at a time, damaged, stopped.

The judge is what the senders kept: the SHA-256 of every message that was acknowledged."""
import contextlib
import datetime
import hashlib
import json
import pathlib
import re
import smtplib
import subprocess
import threading
import time

import harness
from harness import Server, wait_for

USERS = ("alice", "bob", "carol")


def server_with_users(folder, **settings):
    server = Server(folder, **settings)
    for user in USERS:
        server.add_user(user)
    return server


def body(n, size):
    line = f"{n} " * 12 + "\r\n"
    return (f"From: s@example.org\r\nSubject: message {n}\r\nMessage-ID: <{n}@example.org>\r\n\r\n"
            + line * (size // len(line) + 1)).encode()


class Senders:
    """Threads that deliver until they are told to stop; `acknowledged` is {user: {number: sha256}}."""

    def __init__(self, server, count, size=3000):
        self.server, self.size = server, size
        self.acknowledged = {user: {} for user in USERS}
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.more = threading.Condition(self.lock)
        self.next = 0
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = None
        while not self.stopping.is_set():
            with self.lock:
                self.next += 1
                n = self.next
            user, message = USERS[n % len(USERS)], body(n, self.size * (n % 7))
            try:
                if client is None:
                    client = self.server.smtp()
                client.sendmail("s@example.org", [f"{user}@{harness.DOMAIN}"], message)
            except (OSError, smtplib.SMTPException):
                client = None
                continue
            with self.lock:
                self.acknowledged[user][n] = hashlib.sha256(message).hexdigest()
                self.more.notify_all()
        with contextlib.suppress(Exception):
            client.quit()

    def total(self):
        return sum(len(kept) for kept in self.acknowledged.values())

    def wait(self, count):
        with self.lock:
            assert self.more.wait_for(lambda: self.total() >= count, harness.PATIENCE * 2), self.total()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(harness.PATIENCE)


def messages(server, user):
    """{number: sha256} of what IMAP has; our own trace lines in front are left out."""
    found = {}
    with server.imap(user, mailbox="INBOX") as imap:
        status, data = imap.fetch("1:*", "(BODY.PEEK[])")
        assert status == "OK"
        for part in data:
            if isinstance(part, tuple):
                text = part[1][part[1].index(b"From: s@example.org"):]
                number = int(re.search(rb"Message-ID: <(\d+)@", text).group(1))
                assert number not in found, f"{number} is there twice"
                found[number] = hashlib.sha256(text).hexdigest()
    return found


class Restored(Server):
    """A server on a home that a restore made."""

    def __init__(self, folder, ports):
        self.home, self.process, self.log_path, self.ports = pathlib.Path(folder), None, pathlib.Path(f"{folder}.log"), ports


def restore(server, backup, to, *options, check=True):
    done = subprocess.run([str(harness.BUILD / "mailroot"), "--json", "ese", "restore", str(backup), "--to", str(to), *map(str, options)],
                          capture_output=True, text=True, timeout=harness.PATIENCE * 8)
    if check:
        assert done.returncode == 0, (done.returncode, done.stderr, done.stdout)
    return done


@contextlib.contextmanager
def restored(server, backup, to, *options, status=0):
    """Restore, start, look, stop."""
    done = restore(server, backup, to, *options, check=False)
    assert done.returncode == status, (done.returncode, done.stderr, done.stdout)
    copy = Restored(to, server.ports)
    copy.report = json.loads(done.stdout)
    checked = copy.run("ese", "check", check=False)
    assert checked.returncode == 0, checked.stdout
    copy.start()
    try:
        yield copy
    finally:
        copy.stop()


def check_all(server, acknowledged, exactly=False):
    for user in USERS:
        found = messages(server, user)
        for number, sha in acknowledged[user].items():
            assert found.get(number) == sha, f"message {number} of {user}: {found.get(number)}"
        if exactly:
            assert set(found) == set(acknowledged[user])


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def copied(acknowledged):
    return {user: dict(kept) for user, kept in acknowledged.items()}


def backup(server, folder, *options, status=0):
    done = server.run("--json", "ese", "backup", folder, *options, check=False)
    assert done.returncode == status, (done.returncode, done.stderr)
    return json.loads(done.stdout)


def test_everything_acknowledged_is_there_after_a_disaster(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    senders = Senders(server, 10)
    try:
        senders.wait(200)
        before = copied(senders.acknowledged)
        backup(server, folder)
        assert senders.total() > 200
        backup(server, folder, "--incremental")
        senders.wait(senders.total() + 100)
        backup(server, folder, "--incremental")
        senders.wait(senders.total() + 200)
        server.kill_program("store")
        server.kill()
    finally:
        senders.stop()
    with restored(server, folder, tmp_path / "b") as copy:
        check_all(copy, before)
    with restored(server, folder, tmp_path / "c", "--logs", server.home) as copy:
        # What was acknowledged between the store's end and the host's was in the queue.
        assert copy.report["restored"]["queue_taken"]
        wait_for(lambda: all(set(senders.acknowledged[user]) <= set(messages(copy, user)) for user in USERS), "the queue is empty")
        check_all(copy, senders.acknowledged)
        # It works on, and is a group of its own.
        count = len(messages(copy, "bob"))
        copy.send("bob", "From: s@example.org\r\nMessage-ID: <0@example.org>\r\n\r\nx\r\n")
        copy.wait_count("bob", count + 1)
        refused = copy.run("ese", "backup", folder, "--incremental", check=False)
        assert refused.returncode == 1 and "full backup is due" in refused.stderr
    listed = server.run("--json", "ese", "backups", folder)
    kinds = [row["kind"] for row in json.loads(listed.stdout)["backups"]]
    assert kinds == ["full", "incremental", "incremental"]
    assert server.run("ese", "verify", folder).returncode == 0


def test_a_time_cuts_exactly(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    sent, times = {}, {}

    def deliver(n):
        message = body(n, 5000)
        server.send("alice", message, "s@example.org")
        sent[n] = hashlib.sha256(message).hexdigest()
        times[n] = time.time_ns()

    for n in range(1, 6):
        deliver(n)
    backup(server, folder)
    for n in range(6, 16):
        deliver(n)
    server.wait_count("alice", 15)
    server.kill()
    for n in (7, 11, 15):
        seconds, rest = divmod(times[n], 10**9)
        text = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}Z"
        with restored(server, folder, tmp_path / f"at{n}", "--logs", server.home / "groups/first", "--until", text) as copy:
            assert messages(copy, "alice") == {m: sent[m] for m in range(1, n + 1)}
    assert restore(server, folder, "", check=False).returncode != 0
    early = restore(server, folder, tmp_path / "early", "--until", "2020-01-01T00:00:00Z", check=False)
    assert early.returncode == 1 and "finished by then" in early.stderr
    assert not (tmp_path / "early/groups").exists()


def test_a_killed_backup_is_gone_on_with(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    senders = Senders(server, 4, size=30000)
    senders.wait(150)
    senders.stop()
    kill_at = None
    process = subprocess.Popen(server.command("--json", "ese", "backup", folder, "--rate", "4"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        kill_at = json.loads(line)
        if kill_at["copied"] > 3_000_000:
            break
    process.kill()
    process.wait()
    assert kill_at and kill_at["copied"] > 3_000_000
    (unfinished,) = [p for p in folder.iterdir()]
    assert not (unfinished / "backup.manifest").exists()
    refused = restore(server, folder, tmp_path / "b", check=False)
    assert refused.returncode == 1
    # The store lets go, and the same folder is gone on with; a terminal's Ctrl-C is an orderly stop.
    wait_for(lambda: not list((server.home / "groups/first").rglob("*.snap")), "the snapshots are gone")
    done = backup(server, folder)["backup"]
    assert pathlib.Path(done["folder"]) == unfinished
    assert done["bytes_kept"] >= 2_500_000
    # The store dies under it.
    process = subprocess.Popen(server.command("--json", "ese", "backup", folder, "--rate", "4"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stderr.readline()
    server.kill_program("store")
    _, words = process.communicate(timeout=harness.PATIENCE * 2)
    assert process.returncode != 0
    server.json("status", "--wait", "30")
    again = wait_for(lambda: server.run("ese", "backup", folder, check=False).returncode == 0, "a backup after that")
    assert again
    server.stop()
    with restored(server, folder, tmp_path / "c") as copy:
        check_all(copy, senders.acknowledged, exactly=True)


def test_a_damaged_page_is_named_and_stops_nothing(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    for n in range(1, 9):
        server.send("alice", body(n, 9000), "s@example.org")
    server.wait_count("alice", 8)
    server.run("ese", "backup", tmp_path / "other")  # what is in the log only is in the .stm now
    server.stop()
    stream = server.home / "groups/first/mailbox/default.stm"
    content = bytearray(stream.read_bytes())
    at = content.index(b"message 5")
    content[at + 20] ^= 1
    stream.write_bytes(content)
    server.start()
    done = backup(server, folder, status=4)
    texts = [row["finding"] for row in done["damage"]]
    assert any("is not what was written" in text for text in texts), texts
    assert any("alice@mailroot.test" in text and "INBOX" in text and "message 5" in text for text in texts), texts
    server.stop()
    done = restore(server, folder, tmp_path / "b", check=False)
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert report["databases"] and any("body" in row["finding"] for row in report["damage"])
    assert {row["database"]: row["messages"] for row in report["databases"]}["mailbox/default"] == 8


def test_nothing_is_overwritten_and_what_is_missing_is_named(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    server.send("alice", body(1, 3000), "s@example.org")
    backup(server, folder)
    live = restore(server, folder, server.home, check=False)
    assert live.returncode == 1 and "a server runs on" in live.stderr
    server.send("alice", body(2, 3000), "s@example.org")
    server.stop()
    stopped = restore(server, folder, server.home, check=False)
    assert stopped.returncode == 1 and "groups/first is there already" in stopped.stderr
    # A log of another server, whose files have the numbers that are wanted.
    last = max(p.name for p in folder.rglob("E00*.log"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    other = Server(tmp_path / "o")
    log = bytearray(next((other.home / "groups/first").glob("E0000*.log")).read_bytes())
    wanted = int(last[3:11], 16) + 1
    log[32:36] = wanted.to_bytes(4, "little")
    log[0:4] = crc32c(log[4:4096]).to_bytes(4, "little")
    (foreign / f"E00{wanted:08X}.log").write_bytes(log)
    refused = restore(server, folder, tmp_path / "b", "--logs", foreign, check=False)
    assert refused.returncode == 1 and "belongs to another group" in refused.stderr
    nothing = restore(server, folder, tmp_path / "c", "--logs", tmp_path, check=False)
    assert nothing.returncode == 1 and "no log files" in nothing.stderr
    # A manifest that was changed, a file that is gone.
    (full,) = list(folder.iterdir())
    manifest = full / "backup.manifest"
    text = manifest.read_text()
    manifest.write_text(text.replace("kind full", "kind incremental"))
    changed = restore(server, full, tmp_path / "d", check=False)
    assert changed.returncode == 1 and "damaged" in changed.stderr
    manifest.write_text(text)
    victim = next(full.rglob("*.sst"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    verified = server.run("ese", "verify", folder, check=False)
    assert verified.returncode == 4 and victim.name in verified.stdout
    broken = restore(server, full, tmp_path / "e", check=False)
    assert broken.returncode == 1 and victim.name in broken.stderr
    assert not (tmp_path / "e/groups").exists()


def test_logs_are_kept_from_a_backup_on(tmp_path):
    server = server_with_users(tmp_path / "a", log_segment_bytes=1 << 20, checkpoint_bytes=1 << 20).start()
    folder = tmp_path / "backups"

    def logs():
        return server.json("store")["logs"][0]

    assert logs()["chain"] == "none"
    backup(server, folder)
    first = logs()
    assert first["chain"] == "whole" and first["last_full"] == first["last_backup"] > 0
    for n in range(1, 40):
        server.send("alice", body(n, 200_000), "s@example.org")
    kept = logs()
    assert kept["kept_files"] >= 5 and kept["kept_bytes"] >= 5 << 20
    done = backup(server, folder, "--incremental")["backup"]
    assert done["log_files"] >= kept["kept_files"]
    assert logs()["kept_files"] < kept["kept_files"]
    server.stop()
    with restored(server, folder, tmp_path / "b") as copy:
        assert len(messages(copy, "alice")) == 39


def test_several_groups_and_a_killed_restore(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    server.run("group", "create", "second")
    server.run("database", "create", "second/mailbox/big")
    server.run("user", "add", f"dave@{harness.DOMAIN}", "--password-stdin", "--database", "second/mailbox/big", stdin=harness.PASSWORD + "\n")
    for n in range(1, 30):
        for user in ("alice", "dave"):
            server.send(user, body(n, 60000), "s@example.org")
    backup(server, folder)
    server.send("dave", body(30, 100), "s@example.org")
    backup(server, folder, "--incremental")
    server.stop()
    process = subprocess.Popen([str(harness.BUILD / "mailroot"), "--json", "ese", "restore", str(folder), "--to", str(tmp_path / "b"), "--rate", "1"],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    process.stderr.readline()
    process.kill()
    process.wait()
    process.stderr.close()
    assert (tmp_path / "b/groups.restoring").exists() and not (tmp_path / "b/groups").exists()
    with restored(server, folder, tmp_path / "b") as copy:
        assert not (tmp_path / "b/groups.restoring").exists()
        assert len(messages(copy, "alice")) == 29 and len(messages(copy, "dave")) == 30
        assert {g["group"] for g in copy.report["groups"]} == {"first", "second"}
    # One database of them, with the directory.
    done = restore(server, folder, tmp_path / "c", "--database", "first/directory,second/mailbox/big")
    assert {d["database"] for d in json.loads(done.stdout)["databases"]} == {"directory", "mailbox/big"}
    wrong = restore(server, folder, tmp_path / "d", "--database", "second/mailbox/none", check=False)
    assert wrong.returncode == 1 and "there is no database" in wrong.stderr


def test_a_circular_group_is_left_out_of_incremental_backups_only(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    folder = tmp_path / "backups"
    server.run("group", "create", "second")
    server.run("database", "create", "second/big")
    server.run("user", "add", f"dave@{harness.DOMAIN}", "--password-stdin", "--database", "second/big", stdin=harness.PASSWORD + "\n")
    server.run("group", "circular", "second", "on")
    for user in ("alice", "dave"):
        server.send(user, body(1, 3000), "s@example.org")
    backup(server, folder)
    for user in ("alice", "dave"):
        server.send(user, body(2, 3000), "s@example.org")
    done = server.run("--json", "ese", "backup", str(folder), "--incremental", check=False)
    assert done.returncode == 4 and "group second is left out: it has circular logging" in done.stderr
    assert json.loads(done.stdout)["backup"]["left_out"] == 1
    server.run("group", "circular", "first", "on")
    none = server.run("ese", "backup", str(folder), "--incremental", check=False)
    assert none.returncode == 1 and "make a full one" in none.stderr
    server.stop()
    with restored(server, folder, tmp_path / "b") as copy:
        assert len(messages(copy, "alice")) == 2 and len(messages(copy, "dave")) == 1


def test_a_group_without_databases_stops_no_restore(tmp_path):
    server = server_with_users(tmp_path / "a").start()
    server.run("group", "create", "second")
    server.run("database", "create", "second/big")
    server.send("alice", body(1, 3000), "s@example.org")
    server.run("database", "move", "second/big", "first/big")
    backup(server, tmp_path / "running")
    server.send("alice", body(2, 3000), "s@example.org")
    server.stop()
    for name, options in (("running", ("--logs", str(server.home))), ("stopped", ())):
        if name == "stopped":
            backup(server, tmp_path / name)
        with restored(server, tmp_path / name, tmp_path / f"from-{name}", *options) as copy:
            assert len(messages(copy, "alice")) == 2
            assert [g["group"] for g in copy.json("group", "list")["groups"]].count("second") == 1


def test_a_restore_that_failed_can_be_given_again(tmp_path):
    """The dead server's queue is taken when everything else is there."""
    server = server_with_users(tmp_path / "a").start()
    server.send("alice", body(1, 3000), "s@example.org")
    full = backup(server, tmp_path / "b")["backup"]["folder"]
    server.stop()
    victim = pathlib.Path(full) / "groups/first/mailbox/default.stm"
    victim.rename(tmp_path / "aside")
    again = ("--logs", str(server.home))
    assert restore(server, tmp_path / "b", tmp_path / "c", *again, check=False).returncode == 1
    (tmp_path / "aside").rename(victim)
    with restored(server, tmp_path / "b", tmp_path / "c", *again) as copy:
        assert copy.report["restored"]["queue_taken"] and len(messages(copy, "alice")) == 1
