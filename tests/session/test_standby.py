"""Log shipping and the standby: the real programs, killed at any moment, and what the promoted home holds afterwards."""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import smtplib
import subprocess
import threading
import time

from harness import BUILD, DOMAIN, PATIENCE, Server, free_ports, wait_for

MAILROOT = str(BUILD / "mailroot")
KILLS = int(os.environ.get("MAILROOT_KILL_ROUNDS", "6"))


def mailroot(home, *words, check=True):
    done = subprocess.run([MAILROOT, "--home", str(home), *map(str, words)], capture_output=True, text=True,
                          timeout=PATIENCE * 4)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done


def adopt(server, home):
    """A server on another home, with ports of its own."""
    other = Server.__new__(Server)
    other.home, other.process = home, None
    other.log_path = home.parent / f"{home.name}.log"
    other.ports = dict(zip(server.ports, free_ports(len(server.ports))))
    other.configure(**{f"port_{name}": port for name, port in other.ports.items()})
    return other


def make_standby(server, folder):
    """A standby of a running server, from a backup made meanwhile."""
    backups = folder.parent / f"{folder.name}.backups"
    server.run("ese", "backup", backups)
    mailroot(folder, "standby", "init", backups)
    return folder


def via(home):
    return f"exec {MAILROOT} --home {home} standby receive"


class Shipper:
    """mailroot ese ship, running."""

    def __init__(self, server, *words):
        self.process = subprocess.Popen([MAILROOT, "--home", str(server.home), "--json", "ese", "ship", *map(str, words)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.reports = []
        self.words = []
        self.threads = [threading.Thread(target=self._read, args=a, daemon=True) for a in
                        ((self.process.stdout, self.reports), (self.process.stderr, self.words))]
        for t in self.threads:
            t.start()

    @staticmethod
    def _read(stream, into):
        for line in stream:
            into.append(line)

    def report(self):
        return json.loads(self.reports[-1]) if self.reports else None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        for t in self.threads:
            t.join()
        assert status == 0, "".join(self.words)
        assert "Sanitizer" not in "".join(self.words)

    def kill(self):
        self.process.kill()
        self.process.wait()


def receivers(home):
    """Process ids of what receives for this home."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"receive" in words and str(home).encode() in words:
                    found.append(int(entry.name))
    return found


def status(home):
    return json.loads(mailroot(home, "--json", "standby", "status").stdout)


def group(home):
    """What its status says of the one group; nothing before the first follower has said a word."""
    groups = {g["group"]: g for g in status(home)["groups"]}
    return groups.get("first", {"applied_position": 0, "lag_bytes": -1, "lag_ms": -1})


def source_position(server):
    return {g["group"]: g for g in server.json("store")["groups"]}["first"]["log_position"]


def caught_up(server, home):
    """The standby has applied everything that the source has logged until now."""
    position = source_position(server)
    wait_for(lambda: group(home)["applied_position"] >= position, f"the standby has everything up to {position}")


def message(name, size):
    body = "".join(random.Random(name).choices("abcdefghij \n", k=size)).replace("\n", "\r\n") + "\r\n"
    return f"Subject: {name} {hashlib.sha256(body.encode()).hexdigest()}\r\n\r\n{body}".encode()


def check_messages(server, user, names):
    """Every one of them is there, bit for bit, and nothing that is there is anything else than what was sent."""
    got = set()
    with server.imap(user, mailbox="INBOX") as imap:
        answer, data = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])")
        assert answer == "OK"
        parts = [item[1] for item in data if isinstance(item, tuple)]
        for subject, text in zip(parts[::2], parts[1::2]):
            name, digest = subject.decode().split(":", 1)[1].split()
            assert hashlib.sha256(text).hexdigest() == digest, name
            got.add(name)
    missing = set(names) - got
    assert not missing, sorted(missing)[:10]
    return got


class Load:
    """Senders that go on until they are told to stop; `acknowledged` names what was."""

    def __init__(self, server, sessions=4, first=0):
        self.server, self.first, self.ended, self.acknowledged = server, first, threading.Event(), []
        self.threads = [threading.Thread(target=self._send, args=(i,)) for i in range(sessions)]
        for t in self.threads:
            t.start()

    def _send(self, session):
        client, n = None, self.first
        while not self.ended.is_set():
            name = f"{session}-{n}"
            try:
                client = client or self.server.smtp()
                client.sendmail("a@example.org", [f"alice@{DOMAIN}"], message(name, n * 977 % 30000))
                self.acknowledged.append(name)
                n += 1
            except (smtplib.SMTPException, OSError):
                client = None
                n += 1
                time.sleep(0.02)

    def stop(self):
        self.ended.set()
        for t in self.threads:
            t.join()


def test_a_standby_follows_and_is_promoted(make_server, tmp_path):
    server = make_server(users=["alice"])
    server.send("alice", message("in-the-backup", 20000))
    home = make_standby(server, tmp_path / "standby")
    for program in ("mailrootd", "mailroot-store"):
        refused = subprocess.run([BUILD / program, "--home", home], capture_output=True, text=True, timeout=PATIENCE)
        assert refused.returncode == 1
        assert f"{home} is a standby" in refused.stderr and "standby promote" in refused.stderr
    shipper = Shipper(server, "--via", via(home))
    names = ["in-the-backup"]
    for n in range(20):
        names.append(f"m{n}")
        server.send("alice", message(names[-1], n * 4001 % 70000))
    server.add_user("bob")
    server.send("bob", message("to-bob", 100))
    # A new database, and a new group with one, come to the standby by themselves.
    for place in ("first/mailbox/more", "second/mailbox/big"):
        if place.startswith("second"):
            server.run("group", "create", "second")
        server.run("database", "create", place)
        user = place.rsplit("/", 1)[1]
        server.run("user", "add", f"{user}@{DOMAIN}", "--database", place, "--password-stdin", stdin="secret\n")
        server.send(user, message(f"to-{user}", 40000))
    second = {g["group"]: g for g in server.json("store")["groups"]}["second"]["log_position"]
    wait_for(lambda: any(g["group"] == "second" and g["applied_position"] >= second for g in status(home)["groups"]),
             "the second group has come", PATIENCE * 2)
    caught_up(server, home)
    wait_for(lambda: group(home)["lag_bytes"] == 0 and group(home)["lag_ms"] == 0, "the standby says that it lags no more")
    wait_for(lambda: shipper.report() and all(g["lag_bytes"] == 0 for g in shipper.report()["groups"]), "so does the sender")
    assert status(home)["standby"]["follows"] is True
    second = mailroot(home, "standby", "promote", check=False)
    assert second.returncode != 0 and "another process works on the standby" in second.stderr
    shipper.stop()
    server.stop()
    answer = json.loads(mailroot(home, "--json", "standby", "promote").stdout)
    assert answer["promoted"][0]["known_lost_bytes"] == 0
    promoted = adopt(server, home)
    promoted.start()
    check_messages(promoted, "alice", names)
    check_messages(promoted, "bob", ["to-bob"])
    check_messages(promoted, "more", ["to-more"])
    check_messages(promoted, "big", ["to-big"])
    promoted.send("alice", message("after", 50))
    promoted.wait_count("alice", 22)
    promoted.stop()
    # The old server can't ship to it, and it can't be made to follow again by putting the mark back.
    server.start()
    done = mailroot(server.home, "ese", "ship", "--once", "--via", via(home), check=False)
    assert done.returncode == 1 and "is no standby" in done.stderr
    (home / "standby").write_text("state = following\nsince = 1\nsource = a mistake\n")
    server.send("alice", message("the old line", 50))
    done = mailroot(server.home, "ese", "ship", "--once", "--via", via(home), check=False)
    assert done.returncode == 1 and "of one line" in done.stderr, done.stderr


def test_killed_under_load_and_failed_over(make_server, tmp_path):
    server = make_server(users=["alice"], log_segment_bytes=1048576, checkpoint_bytes=2097152,
                         queue_glitch_retry_s=1)
    home = make_standby(server, tmp_path / "standby")
    shipper = Shipper(server, "--via", via(home))
    load = Load(server)
    chance = random.Random(7)
    for n in range(KILLS):
        time.sleep(chance.uniform(0.2, 0.7))
        victim = ("store", "sender", "receiver")[n % 3]
        if victim == "store":
            wait_for(lambda: server.programs()["store"]["state"] == "serving", "the store serves")
            server.kill_program("store")
        elif victim == "sender":
            shipper.kill()
            wait_for(lambda: not receivers(home), "the receiver has seen that its sender is gone")
            shipper = Shipper(server, "--via", via(home))
        else:
            for pid in receivers(home):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    # What was acknowledged up to here, and what the standby has then, is safe; what comes later need not be.
    # (A message that is still in the queue folder is in no log.)
    load.stop()
    wait_for(lambda: server.programs()["store"]["state"] == "serving", "the store serves")
    wait_for(lambda: server.json("queue")["transport"]["waiting"] == 0, "the queue is empty", 120)
    safe = list(load.acknowledged)
    caught_up(server, home)
    load = Load(server, first=1000)
    time.sleep(chance.uniform(0.3, 0.8))
    server.kill_program("store")
    time.sleep(chance.uniform(0.1, 0.3))
    server.kill()
    shipper.kill()
    load.stop()
    wait_for(lambda: not receivers(home), "the receiver has ended")
    without = tmp_path / "without"
    shutil.copytree(home, without)
    mailroot(without, "standby", "promote")
    told = mailroot(home, "standby", "promote", "--logs", server.home).stdout
    assert "Everything that could be read" in told
    for place, names in ((without, safe), (home, safe + load.acknowledged)):
        promoted = adopt(server, place)
        promoted.start()
        wait_for(lambda: promoted.json("queue")["transport"]["waiting"] == 0, "what was in the queue is delivered", 120)
        check_messages(promoted, "alice", names)
        promoted.stop()
    print(f"{KILLS} kills, {len(safe)} acknowledged before the failover, {len(load.acknowledged)} up to it")


def follow(home, folder):
    return subprocess.Popen([MAILROOT, "--home", str(home), "standby", "run", "--from", str(folder)],
                            stderr=subprocess.PIPE, text=True)


def test_by_a_folder(make_server, tmp_path):
    server = make_server(users=["alice"], log_segment_bytes=1048576)
    home = make_standby(server, tmp_path / "standby")
    folder = tmp_path / "folder"
    # It begins where the source's log does; the standby takes what it has not got.
    shipper = Shipper(server, "--to", folder)
    names = []
    for n in range(60):
        names.append(f"m{n}")
        server.send("alice", message(names[-1], n * 4001 % 70000))
    position = source_position(server)
    wait_for(lambda: shipper.report() and shipper.report()["groups"][0]["shipped_position"] >= position, "all is in the folder")
    follower = follow(home, folder)
    caught_up(server, home)
    follower.kill()
    follower.wait()
    shipper.kill()
    for n in range(60, 80):
        names.append(f"m{n}")
        server.send("alice", message(names[-1], n * 4001 % 70000))
    follower = follow(home, folder)
    shipper = Shipper(server, "--to", folder)
    caught_up(server, home)
    follower.send_signal(signal.SIGTERM)
    assert follower.wait(PATIENCE) == 0, follower.stderr.read()
    shipper.stop()
    server.stop()
    closed = list((folder / "groups/first").glob("*.log"))
    assert closed and len(list((folder / "groups/first").glob("*.part"))) == 1
    mailroot(home, "standby", "promote")
    promoted = adopt(server, home)
    promoted.start()
    check_messages(promoted, "alice", names)
    promoted.stop()


def test_damage_on_the_way_is_refused(make_server, tmp_path):
    server = make_server(users=["alice"])
    server.send("alice", message("in-the-backup", 20000))
    home = make_standby(server, tmp_path / "standby")
    for n in range(5):
        server.send("alice", message(f"m{n}", 5000))
    # One byte of the stream is another: a group that does not check is not taken, whoever made it.
    flip = ("python3 -c \"import sys\nd = sys.stdin.buffer.read(60000)\ni = 9000\n"
            "sys.stdout.buffer.write(d[:i] + bytes([d[i] ^ 1]) + d[i+1:])\"")
    before = group(home)["applied_position"]
    done = mailroot(server.home, "ese", "ship", "--once", "--via", f"{flip} | {MAILROOT} --home {home} standby receive",
                    check=False)
    assert done.returncode == 1 and "damaged" in done.stderr, done.stderr
    mailroot(server.home, "ese", "ship", "--once", "--via", via(home))
    assert group(home)["applied_position"] > before


def test_circular_logging_ends_it(make_server, tmp_path):
    server = make_server(users=["alice"])
    home = make_standby(server, tmp_path / "standby")
    shipper = Shipper(server, "--via", via(home))
    server.send("alice", message("logged", 200000))
    caught_up(server, home)
    server.run("group", "circular", "first", "on")
    server.send("alice", message("beside", 200000))
    assert shipper.process.wait(PATIENCE * 2) == 1
    for t in shipper.threads:
        t.join()
    assert "circular logging" in "".join(shipper.words), shipper.words
    refused = mailroot(server.home, "ese", "ship", "--once", "--via", via(home), check=False)
    assert refused.returncode == 1 and "has circular logging" in refused.stderr
    server.stop()
    mailroot(home, "standby", "promote")
    promoted = adopt(server, home)
    promoted.start()
    check_messages(promoted, "alice", ["logged"])
    promoted.stop()


def test_log_is_kept_for_who_is_away(make_server, tmp_path):
    server = make_server(users=["alice"], log_segment_bytes=1048576, checkpoint_bytes=1048576)
    home = make_standby(server, tmp_path / "standby")
    mailroot(server.home, "ese", "ship", "--once", "--via", via(home))
    names = []
    for n in range(40):
        names.append(f"m{n}")
        server.send("alice", message(names[-1], 150000))
    server.run("ese", "backup", tmp_path / "another", "--incremental", check=False)
    server.run("ese", "backup", tmp_path / "another")
    server.stop()
    server.start()
    mailroot(server.home, "ese", "ship", "--once", "--via", via(home))
    # Given back, it goes with the next checkpoint, and the standby is told that it comes too late.
    mailroot(server.home, "ese", "ship", "--forget", "--via", via(home))
    for n in range(40):
        server.send("alice", message(f"n{n}", 150000))
    server.run("ese", "backup", tmp_path / "another")
    server.stop()
    server.start()
    late = mailroot(server.home, "ese", "ship", "--once", "--via", via(home), check=False)
    assert late.returncode == 1 and "begin again from a newer backup" in late.stderr, late.stderr
    server.stop()
    mailroot(home, "standby", "promote")
    promoted = adopt(server, home)
    promoted.start()
    check_messages(promoted, "alice", names)
    promoted.stop()
