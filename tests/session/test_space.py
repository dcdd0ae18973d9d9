"""Space and damage: bodies move while they are served, the scrubber tells what is broken, circular logging is kept."""
import hashlib
import json
import os
import random

from harness import DOMAIN, Server, wait_for

ALICE = f"alice@{DOMAIN}"


def message(number, octets):
    rng = random.Random(number)
    head = f"From: bob@example.org\r\nTo: {ALICE}\r\nSubject: number {number}\r\n\r\n"
    lines = []
    size = len(head)
    while size < octets:
        lines.append("".join(rng.choice("abcdefghijklmnop") for _ in range(70)) + "\r\n")
        size += len(lines[-1])
    return (head + "".join(lines)).encode()


def make(tmp_path, **settings):
    s = Server(tmp_path, auth_without_tls=True, **settings)
    s.add_user("alice")
    s.start()
    return s


def append(server, numbers, octets):
    with server.imap("alice") as imap:
        for n in numbers:
            assert imap.append("INBOX", None, None, message(n, octets))[0] == "OK"


def bodies(server):
    with server.imap("alice", mailbox="INBOX") as imap:
        data = imap.fetch("1:*", "(BODY.PEEK[])")[1]
        return sorted(hashlib.sha256(d[1]).hexdigest() for d in data if isinstance(d, tuple))


def stream(server):
    return os.path.join(server.home, "groups/first/mailbox/default.stm")


def scrub_status(server):
    """Its exit status says whether damage was met."""
    done = server.run("--json", "ese", "scrub", "status", check=False)
    told = json.loads(done.stdout)
    assert done.returncode == (4 if told.get("damage") else 0), done
    return told


def scrubber(server):
    rows = scrub_status(server)["scrubber"]
    return next(r for r in rows if r["database"] == "first/mailbox/default")


def damage(server):
    return scrub_status(server).get("damage", [])


def test_the_file_gets_shorter_while_it_is_served_and_bodies_stay_the_same(tmp_path):
    s = make(tmp_path)
    append(s, range(40), 150_000)
    with s.imap("alice", mailbox="INBOX") as imap:
        imap.store("1:30", "+FLAGS", r"(\Deleted)")
        imap.expunge()
        kept = [hashlib.sha256(message(n, 150_000)).hexdigest() for n in range(30, 40)]
        s.run("deleted", "purge", ALICE, "--all", "--yes", check=False)
        before = os.path.getsize(stream(s))
        answer = s.json("ese", "compact")["compacted"]
        if isinstance(answer, list):
            answer = answer[0]
        assert answer["bodies_moved"] >= 5
        assert answer["bodies_damaged"] == 0
        assert answer["bytes_now"] == os.path.getsize(stream(s)) < before / 2
        # A session that was there all the time reads them where they are now.
        data = imap.fetch("1:*", "(BODY.PEEK[])")[1]
        assert sorted(hashlib.sha256(d[1]).hexdigest() for d in data if isinstance(d, tuple)) == sorted(kept)
    assert "moved" in s.run("ese", "compact", "--rate", "50", "--punch").stdout
    s.stop()
    s.start()
    assert bodies(s) == sorted(kept)
    s.stop()


def test_damage_is_found_told_and_never_served(tmp_path):
    s = make(tmp_path, scrub_mb_per_s=1000)
    append(s, range(5), 100_000)
    s.run("ese", "scrub", "start")
    wait_for(lambda: scrubber(s)["last_pass"], "a pass of the scrubber")
    assert not damage(s)
    s.stop()
    whole = open(stream(s), "rb").read()
    at = whole.find(b"Subject: number 3") + 60_000
    with open(stream(s), "r+b") as f:
        f.seek(at)
        f.write(bytes([whole[at] ^ 1]))
    s.start()
    # Nobody has read it yet: what is fetched is right or not there.
    with s.imap("alice", mailbox="INBOX") as imap:
        answer, data = imap.uid("FETCH", "1:*", "(BODY.PEEK[])")
        assert answer == "NO" and b"damaged" in data[-1]
        assert len([d for d in imap.response("FETCH")[1] or data if isinstance(d, tuple)]) in (0, 4)
    want = {n: hashlib.sha256(message(n, 100_000)).hexdigest() for n in range(5)}
    with s.imap("alice", mailbox="INBOX") as imap:
        for n in range(5):
            try:
                data = imap.fetch(str(n + 1), "(BODY.PEEK[])")[1]
                got = [hashlib.sha256(d[1]).hexdigest() for d in data if isinstance(d, tuple)]
            except imap.error:
                got = []
            assert got == ([] if n == 3 else [want[n]])
    s.run("ese", "scrub", "start")
    wait_for(lambda: scrubber(s)["findings"] == 1, "the finding")
    (found,) = damage(s)
    assert found["kind"] == "page-damaged" and found["body"]
    seen = s.run("ese", "scrub", "status", check=False)
    assert seen.returncode == 4 and "damaged" in seen.stdout
    s.run("ese", "scrub", "stop", "--database", "first/mailbox/default")
    assert scrubber(s)["state"] == "stopped"
    s.stop()


def test_circular_logging_is_switched_at_once_and_kept(tmp_path):
    s = make(tmp_path)
    assert s.run("group", "circular", "first", "perhaps", check=False).returncode == 2
    assert "no storage group" in s.run("group", "circular", "second", "on", check=False).stderr
    s.run("group", "circular", "first", "on")

    assert s.json("group", "list")["groups"][0]["circular"] is True

    def log_bytes():
        return s.json("store")["engine"]["log_bytes"]

    before = log_bytes()
    append(s, range(10), 100_000)
    assert log_bytes() - before < 500_000
    s.stop()
    s.start()
    before = log_bytes()
    append(s, range(10, 20), 100_000)
    assert log_bytes() - before < 500_000
    s.run("group", "circular", "first", "off")
    assert s.json("group", "list")["groups"][0]["circular"] is False
    before = log_bytes()
    append(s, range(20, 25), 100_000)
    assert log_bytes() - before > 500_000
    s.stop()
    s.start()
    assert bodies(s) == sorted(hashlib.sha256(message(n, 100_000)).hexdigest() for n in range(25))
    s.stop()
