"""People who mean harm: one session must not hold up the others, and nobody may learn who has a mailbox."""
import base64
import contextlib
import socket
import threading
import time

from harness import DOMAIN, PASSWORD

MESSAGE = b"From: a@example.org\r\nSubject: hello\r\n\r\nhello\r\n"


def log_in(server, user):
    raw = server.raw("imap")
    raw.line()
    tagged, _ = raw.imap(b"a", f"a LOGIN {user}@{DOMAIN} {PASSWORD}\r\n")
    assert tagged.startswith(b"a OK"), tagged
    return raw


def test_messages_that_never_end_hold_up_nobody(shared_server, new_user):
    """What is being uploaded slowly takes none of the memory that deliveries to the same mailbox need."""
    user = new_user()
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            raw = stack.enter_context(log_in(shared_server, user))
            raw.send("b APPEND INBOX {262144}\r\n")
            assert raw.line().startswith(b"+ ")
            raw.send(b"x" * 255_000)
        time.sleep(0.5)  # the octets are on their way; nothing tells when they arrived
        shared_server.send(user, MESSAGE)
        shared_server.wait_count(user, 1)
        with log_in(shared_server, user) as raw:
            raw.send("c APPEND INBOX {%d}\r\n" % len(MESSAGE))
            assert raw.line().startswith(b"+ ")
            raw.send(MESSAGE + b"\r\n")
            assert raw.line().startswith(b"c OK")
        shared_server.wait_count(user, 2)


def salt_of(server, name):
    """What the server says first in SCRAM: the salt and the count of a name."""
    with server.raw("imap") as raw:
        raw.line()
        first = base64.b64encode(f"n,,n={name},r=nonce".encode()).decode()
        raw.send(f"a AUTHENTICATE SCRAM-SHA-256 {first}\r\n")
        line = raw.line()
        assert line.startswith(b"+ "), line
        fields = base64.b64decode(line[2:]).decode().split(",")
        raw.send("*\r\n")
        raw.line()
        return fields[1:]


def test_scram_tells_nobody_who_has_a_mailbox(shared_server, new_user):
    user = new_user()
    for name in (user, "nobody-of-that-name"):
        assert salt_of(shared_server, f"{name}@{DOMAIN}") == salt_of(shared_server, f"{name.upper()}@{DOMAIN}")


def test_guessing_in_other_letters_counts_as_the_same(make_server):
    server = make_server(users=["alice"], auth_failures_per_minute=4, auth_failure_delay_ms=0)

    def attempt(name, password):
        with server.raw("imap") as raw:
            raw.line()
            tagged, _ = raw.imap(b"a", f"a LOGIN {name}@{DOMAIN} {password}\r\n")
            return tagged
    for name in ("alice", "Alice", "aLice", "alIce"):
        assert attempt(name, "wrong").startswith(b"a NO")
    assert attempt("alice", PASSWORD).startswith(b"a NO"), "four wrong passwords, and the fifth is looked at"


def answered_meanwhile(raw, tag, other):
    """How many NOOPs of another session were answered before the hard command of this one was."""
    ended = threading.Event()

    def wait():
        while not raw.line().startswith(tag + b" "):
            pass
        ended.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    answered = 0
    while not ended.is_set():
        tagged, _ = other.imap(b"n", "n NOOP\r\n")
        assert tagged.startswith(b"n OK")
        answered += not ended.is_set()
    waiter.join()
    return answered


def test_a_hard_pattern_holds_up_nobody(make_server):
    """A LIST that is long to match is matched between the commands of others."""
    server = make_server(users=["alice", "bob"], loops=1)
    with log_in(server, "alice") as raw, log_in(server, "bob") as other:
        name = "/".join("a" * 200 for _ in range(4))
        for first in range(0, 1200, 100):
            for i in range(first, first + 100):
                raw.send(f'c{i} CREATE "{i:04}/{name}"\r\n')
            for i in range(first, first + 100):
                assert raw.line().startswith(b"c%d OK" % i)
        raw.send(f'd LIST "" "{"*a" * 500}b"\r\n')
        assert answered_meanwhile(raw, b"d", other) >= 10


def test_a_hard_fetch_holds_up_nobody(make_server):
    """Many fields asked of a header with many fields: what is asked for has a limit."""
    server = make_server(users=["alice", "bob"], loops=1)
    message = b"From: a@example.org\r\n" + b"a:\r\n" * 200_000 + b"\r\nhello\r\n"
    server.send("alice", message)
    server.wait_count("alice", 1)
    with log_in(server, "alice") as raw, log_in(server, "bob") as other:
        raw.imap(b"s", "s SELECT INBOX\r\n")
        # Over the limits: refused at once, so that nobody waits.
        for items in (f'BODY.PEEK[HEADER.FIELDS ({" ".join(["b"] * 10_000)})]', " ".join(["BODY.PEEK[HEADER.FIELDS (b)]"] * 2_000)):
            tagged, _ = raw.imap(b"t", f"t FETCH 1 ({items})\r\n")
            assert tagged.startswith((b"t BAD", b"t NO")), tagged
        # Within them: long, and cut into turns.
        raw.send(f't FETCH 1 ({" ".join(["BODY.PEEK[HEADER.FIELDS (b)]"] * 250)})\r\n')
        assert answered_meanwhile(raw, b"t", other) >= 10


def test_long_searches_hold_up_no_logon(make_server):
    """Looking into bodies takes its share of the threads that also check passwords, and no more."""
    server = make_server(users=["alice", "bob"], work_threads=16)
    server.send("alice", b"Subject: large\r\n\r\n" + (b"abcdefghij" * 7 + b"\r\n") * 30_000)
    server.wait_count("alice", 1)
    needles = " ".join(f'BODY "abcdefghiZ{i}"' for i in range(90))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            raw = stack.enter_context(log_in(server, "alice"))
            raw.imap(b"s", "s SELECT INBOX\r\n")
            raw.send(f"t SEARCH NOT ({needles})\r\n")
        stack.enter_context(log_in(server, "bob"))


def test_readers_who_do_not_read_hold_up_nobody(make_server):
    """A message that is being sent keeps a little of the memory that all replies of the store come in."""
    server = make_server(users=["alice", "bob"], loops=1)
    message = b"Subject: large\r\n\r\n" + (b"y" * 78 + b"\r\n") * 600
    with server.smtp() as client:
        for _ in range(300):
            client.sendmail("a@example.org", [f"alice@{DOMAIN}"], message)
    server.wait_count("alice", 300)
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect(("127.0.0.1", server.ports["imap"]))
            deaf.sendall(f"a LOGIN alice@{DOMAIN} {PASSWORD}\r\ns SELECT INBOX\r\n"
                         "f FETCH 1:* (BODY.PEEK[])\r\n".encode())
        time.sleep(2)  # they are all stuck; nothing tells when
        with log_in(server, "bob") as other:
            assert other.imap(b"s", "s SELECT INBOX\r\n")[0].startswith(b"s OK")
