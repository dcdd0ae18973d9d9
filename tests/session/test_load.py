"""10,000 messages from 50 parallel SMTP sessions: all arrive, each once."""
import os
import re
import threading
import time

from harness import DOMAIN, Raw, wait_for
from imapwire import logged_in

SESSIONS = 50
# A sanitizer build does the same with fewer.
MESSAGES = 10_000 if "san" not in os.environ.get("MAILROOT_BUILD", "") else 2_000
USERS = 8


def deliver(port, which, share, failures):
    """One session: its messages with pipelined envelopes, each with a subject of its own."""
    try:
        with Raw(port) as c:
            assert c.smtp()[0] == 220
            assert c.smtp(f"EHLO s{which}.example\r\n")[0] == 250
            for i in range(share):
                user = f"u{(which + i) % USERS}@{DOMAIN}"
                c.send(f"MAIL FROM:<s{which}@example.org>\r\nRCPT TO:<{user}>\r\nDATA\r\n")
                codes = [c.smtp()[0] for _ in range(3)]
                assert codes == [250, 250, 354], codes
                body = f"From: s{which}@example.org\r\nTo: {user}\r\nSubject: m{which}-{i}\r\n\r\n" + f"line {i} of {which}\r\n" * 20
                code, words = c.smtp(body + ".\r\n")
                assert code == 250, words
            assert c.smtp("QUIT\r\n")[0] == 221
    except Exception as e:  # told by the test, not by the thread
        failures.append((which, repr(e)))


def test_ten_thousand_messages_arrive_once(make_server):
    server = make_server(users=[f"u{i}" for i in range(USERS)], connections_per_ip_max=0)
    share = MESSAGES // SESSIONS
    failures = []
    threads = [threading.Thread(target=deliver, args=(server.ports["smtp"], w, share, failures)) for w in range(SESSIONS)]
    began = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
    clients = [logged_in(server, f"u{i}", "INBOX") for i in range(USERS)]

    def arrived():
        return sum(int(re.search(rb"MESSAGES (\d+)", c.ok("STATUS INBOX (MESSAGES)").untagged[0])[1]) for c in clients) >= MESSAGES

    wait_for(arrived, "all messages are in their mailboxes", 60)
    took = time.monotonic() - began
    got = []
    for i, c in enumerate(clients):
        c.ok("SELECT INBOX")
        rows = c.fetch("1:*", "(UID ENVELOPE)")
        uids = [int(r["UID"]) for _, r in sorted(rows.items())]
        assert uids == sorted(set(uids))
        for r in rows.values():
            assert r["ENVELOPE"][5][0][2] == b"u%d" % i
            got.append(r["ENVELOPE"][1].decode())
        c.close()
    assert sorted(got) == sorted(f"m{w}-{i}" for w in range(SESSIONS) for i in range(share))
    assert server.json("queue")["transport"]["waiting"] == 0
    print(f"{MESSAGES} messages in {took:.1f} s")
    assert took < 60 or "san" in os.environ.get("MAILROOT_BUILD", "")
