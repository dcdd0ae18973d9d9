"""Any program may be killed at any time: nothing acknowledged is lost, nothing is delivered twice."""
import collections
import os
import random
import smtplib
import threading
import time

import pytest

from harness import DOMAIN, wait_for

SESSIONS = 10
MESSAGES = int(os.environ.get("MAILROOT_KILL_MESSAGES", "60"))  # of each session
KILLS = int(os.environ.get("MAILROOT_KILL_ROUNDS", "6"))


def deliver(server, session, acknowledged, unknown):
    """Send MESSAGES messages, one after the other; what was acknowledged, what ended without an answer."""
    client = None
    for n in range(MESSAGES):
        name = f"{session}-{n}"
        text = f"Subject: {name}\r\n\r\n{'x' * (n * 97 % 5000)}\r\n".encode()
        while True:
            data_sent = False
            try:
                if client is None:
                    client = server.smtp()
                    client.ehlo()
                client.mail("a@example.org")
                code, words = client.rcpt(f"alice@{DOMAIN}")
                if code == 250:
                    data_sent = True
                    code, words = client.data(text)
                if code == 250:
                    acknowledged.append(name)
                    break
                if code >= 500:
                    raise AssertionError((name, code, words))
                client.rset()
                time.sleep(0.05)  # told to come again later
            except (smtplib.SMTPException, OSError):
                client = None
                if data_sent:
                    unknown.append(name)
    if client:
        client.close()


@pytest.mark.parametrize("victim", ["store", "inet"])
def test_kill_under_load(make_server, victim):
    server = make_server(users=["alice"])
    acknowledged, unknown = [], []
    threads = [threading.Thread(target=deliver, args=(server, i, acknowledged, unknown)) for i in range(SESSIONS)]
    for t in threads:
        t.start()
    chance = random.Random(victim)
    back = []
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 0.6))
        before = server.programs()[victim]
        if before["state"] != "serving":
            wait_for(lambda: server.programs()[victim]["state"] == "serving", f"{victim} serves")
        pid = server.kill_program(victim)
        began = time.monotonic()
        wait_for(lambda: server.programs()[victim]["pid"] not in (0, pid) and
                 server.programs()[victim]["state"] == "serving", f"{victim} is back")
        back.append(time.monotonic() - began)
        other = {"store": "inet", "inet": "store"}[victim]
        assert server.programs()[other]["restarts"] == 0, f"{other} carried on"
    for t in threads:
        t.join()
    assert len(acknowledged) == SESSIONS * MESSAGES
    wait_for(lambda: server.json("queue")["transport"]["waiting"] == 0, "the queue is empty", 120)
    with server.imap("alice", mailbox="INBOX") as imap:
        status, data = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert status == "OK"
        got = collections.Counter(item[1].decode().split(":")[1].strip() for item in data if isinstance(item, tuple))
    missing = set(acknowledged) - set(got)
    assert not missing, missing
    # A message may be there twice only if its first sending ended without an answer: then the client sent it again.
    twice = {name for name, n in got.items() if n > 1}
    assert twice <= set(unknown), twice - set(unknown)
    for name, n in got.items():
        assert n <= 1 + unknown.count(name), (name, n)
    print(f"{victim}: killed {KILLS} times, back after {max(back):.2f} s at most, {len(unknown)} sent again")


def test_the_supervisor_killed_takes_all_down_and_a_new_one_starts(make_server):
    server = make_server(users=["alice"])
    server.send("alice", b"Subject: one\r\n\r\nx\r\n")
    pids = [p["pid"] for p in server.programs().values()]
    os.kill(server.process.pid, 9)
    server.process.wait()
    server.process = None

    def ended(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_for(lambda: all(ended(pid) for pid in pids), "the programs end with their supervisor")
    server.start()
    server.wait_count("alice", 1)


def test_imap_sessions_are_told_when_the_store_dies(make_server):
    server = make_server(users=["alice"])
    with server.raw("imap") as raw:
        raw.line()
        raw.imap(b"a", f"a LOGIN alice@{DOMAIN} secret\r\n")
        raw.imap(b"b", "b SELECT INBOX\r\n")
        raw.send("c IDLE\r\n")
        raw.line()
        server.kill_program("store")
        assert raw.line().startswith(b"* BYE")
        assert raw.at_end()
    wait_for(lambda: server.programs()["store"]["state"] == "serving", "the store is back")
    with server.imap("alice", mailbox="INBOX"):
        pass
