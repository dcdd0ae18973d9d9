"""The limits of mailroot.conf: over one of them a client is told to come again, and everybody else is served."""
import re
import resource
import socket
import threading

import pytest

from harness import DOMAIN, PATIENCE, Server, wait_for

MESSAGE = b"Subject: limited\r\n\r\nx\r\n"


def hello(raw):
    raw.smtp()
    raw.smtp("EHLO x\r\n")
    return raw


def test_connections_max(make_server):
    server = make_server(connections_max=3)
    held = [server.raw(service) for service in ("smtp", "imap", "pop3")]
    for raw in held:
        assert raw.line()
    for service, word in (("smtp", b"421 4.7.0 "), ("imap", b"* BYE "), ("pop3", b"-ERR ")):
        with server.raw(service) as more:
            assert more.line().startswith(word)
            assert more.at_end()
    held.pop().close()

    def served():
        with server.raw("smtp") as raw:
            return raw.line().startswith(b"220")
    wait_for(served, "a place is free again")
    for raw in held:
        raw.close()


def test_connects_per_minute(make_server):
    server = make_server(connects_per_minute_per_ip=4)
    codes = []
    for _ in range(6):
        with server.raw("smtp") as raw:
            codes.append(raw.line()[:3])
    assert codes == [b"220"] * 4 + [b"421"] * 2
    status = {row["protocol"]: row for row in server.json("status")["protocols"]}
    assert status["smtp"]["connections_refused"] == 2


def test_messages_per_minute(make_server):
    server = make_server(users=["alice"], messages_per_minute_per_ip=2)
    with hello(server.raw("smtp")) as raw:
        for n in range(3):
            code, words = raw.smtp("MAIL FROM:<a@example.org>\r\n")
            if n == 2:
                assert code == 451 and words[0].split()[1] == "4.7.1", words
                break
            raw.smtp(f"RCPT TO:<alice@{DOMAIN}>\r\n")
            raw.smtp("DATA\r\n")
            assert raw.smtp(MESSAGE + b".\r\n")[0] == 250
        # From another address of the loopback network: served.
        other = socket.create_connection(("127.0.0.1", server.ports["smtp"]), PATIENCE, source_address=("127.0.0.2", 0))
        answers = other.makefile("rb")
        answers.readline()
        other.sendall(b"HELO x\r\nMAIL FROM:<a@example.org>\r\n")
        assert answers.readline().startswith(b"250") and answers.readline().startswith(b"250")
        answers.close()
        other.close()


def test_recipients_per_minute(make_server):
    server = make_server(users=["alice", "bob"], recipients_per_minute_per_ip=3)
    with hello(server.raw("smtp")) as raw:
        raw.smtp("MAIL FROM:<a@example.org>\r\n")
        codes = [raw.smtp(f"RCPT TO:<{u}@{DOMAIN}>\r\n")[0] for u in ("alice", "nobody", "bob", "alice", "bob")]
        assert codes == [250, 550, 250, 451, 451]
        raw.smtp("DATA\r\n")
        assert raw.smtp(MESSAGE + b".\r\n")[0] == 250
    server.wait_count("alice", 1)
    server.wait_count("bob", 1)


def test_hops(make_server):
    server = make_server(users=["alice"], hops_max=10)
    with server.smtp() as client:
        client.ehlo()
        for hops, want in ((10, 250), (11, 554)):
            client.mail("a@example.org")
            client.rcpt(f"alice@{DOMAIN}")
            code, words = client.data(b"Received: from a by b\r\n" * hops + MESSAGE)
            assert code == want, (hops, words)
    server.wait_count("alice", 1)


@pytest.mark.parametrize("service", ["imap", "pop3"])
def test_a_reader_who_does_not_read_is_cut_off(make_server, service):
    """Output has back-pressure and an end: the message stays in the streaming file, not in our memory."""
    server = make_server(users=["alice"], write_timeout_s=1, message_size_max=200_000_000)
    line = b"y" * 76 + b"\r\n"
    server.send("alice", b"Subject: big\r\n\r\n" + line * 400_000)
    server.wait_count("alice", 1)
    with server.raw(service) as raw:
        raw.line()
        if service == "imap":
            raw.imap(b"a", f"a LOGIN alice@{DOMAIN} secret\r\n")
            raw.imap(b"b", "b SELECT INBOX\r\n")
            raw.send("c FETCH 1 BODY.PEEK[]\r\n")
        else:
            raw.send(f"USER alice@{DOMAIN}\r\nPASS secret\r\nRETR 1\r\n")

        def cut_off():
            rows = {row["protocol"]: row for row in server.json("status")["protocols"]}
            return rows[service]["sessions"] == 0
        wait_for(cut_off, "the session ends although nobody reads")
    server.send("alice", MESSAGE)
    server.wait_count("alice", 2)


def test_slow_senders_do_not_stop_others(make_server):
    """Twenty who send a byte at a time, and one who does not."""
    server = make_server(users=["alice"])
    over, slow = threading.Event(), []
    for _ in range(20):
        raw = hello(server.raw("smtp"))
        for command in ("MAIL FROM:<a@example.org>\r\n", f"RCPT TO:<alice@{DOMAIN}>\r\n", "DATA\r\n"):
            raw.smtp(command)
        slow.append(raw)

    def trickle():
        while not over.wait(0.01):
            for raw in slow:
                raw.send(b"z")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        for _ in range(20):
            server.send("alice", MESSAGE)
        server.wait_count("alice", 20)
    finally:
        over.set()
        thread.join()
    for raw in slow:
        assert raw.smtp(b"\r\n.\r\n")[0] == 250
        raw.close()
    server.wait_count("alice", 40)


def test_a_shells_limit_of_open_files_is_no_limit(tmp_path):
    """1024 in most shells; what is allowed is taken, and where that is less than connections_max it is said."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    server = Server(tmp_path)
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
    try:
        held = [server.raw("imap") for _ in range(100)]
        assert all(raw.line().startswith(b"* OK") for raw in held)
        for raw in held:
            raw.close()
        limits = open(f"/proc/{server.pid('inet')}/limits").read()
        assert re.search(rf"Max open files +{hard} +{hard} ", limits), limits
        assert ("limit of open files" in server.log()) == (hard < 20500)
    finally:
        server.stop()
