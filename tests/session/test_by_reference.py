"""Listings are made from what was promoted at delivery; only bodies are read from the streaming file."""
import re
import threading

from harness import DOMAIN

MESSAGES = 10_000
SENDERS = 8


def deliver(server, numbers):
    """BDAT may be pipelined whole: one send for each message."""
    with server.raw("smtp") as raw:
        raw.smtp()
        raw.smtp("EHLO x\r\n")
        for n in numbers:
            text = (f"From: Sender {n} <s{n}@example.org>\r\nTo: alice@{DOMAIN}\r\nSubject: number {n}\r\n"
                    f"Message-ID: <{n}@example.org>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{'body ' * 50}\r\n")
            raw.send(f"MAIL FROM:<a@example.org>\r\nRCPT TO:<alice@{DOMAIN}>\r\nBDAT {len(text)} LAST\r\n{text}")
            assert [raw.smtp()[0] for _ in range(3)] == [250, 250, 250]


def test_envelopes_of_ten_thousand_open_no_body(make_server):
    """With the streaming file wiped out between two runs every listing is whole, and no body is."""
    server = make_server(users=["alice"])
    threads = [threading.Thread(target=deliver, args=(server, range(i, MESSAGES, SENDERS))) for i in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.wait_count("alice", MESSAGES)
    server.stop()
    stream = server.home / "groups/first/mailbox/default.stm"
    size = stream.stat().st_size
    assert size > MESSAGES * 300
    stream.write_bytes(b"")
    with open(stream, "r+b") as f:
        f.truncate(size)
    server.start()
    with server.imap("alice", mailbox="INBOX") as imap:
        status, data = imap.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
        assert status == "OK" and len(data) == MESSAGES
        seen = set()
        for row in data:
            number = int(re.search(rb'"number (\d+)"', row)[1])
            assert b'"Sender %d" NIL "s%d" "example.org"' % (number, number) in row
            assert b"<%d@example.org>" % number in row
            assert b'("text" "plain" ("charset" "utf-8")' in row.lower()
            seen.add(number)
        assert seen == set(range(MESSAGES))
        assert imap.search(None, "SUBJECT", '"number 77"')[1][0]
        answer = imap.fetch("1", "(BODY.PEEK[TEXT])")
        assert b"body body" not in str(answer).encode()
