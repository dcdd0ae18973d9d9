"""The main job, end to end: in by SMTP, out by IMAP and POP3, with the clients of Python's library."""
import email
import hashlib
import imaplib
import os
import signal
import threading

import pytest

from harness import BUILD, DOMAIN, PASSWORD, wait_for

MESSAGE = (b"From: Bob <bob@example.org>\r\nTo: alice@mailroot.test\r\nSubject: Hello\r\n"
           b"Message-ID: <1@example.org>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100\r\n\r\nFirst light.\r\n")


def fetch_one(imap, number, what):
    status, data = imap.fetch(str(number), what)
    assert status == "OK", data
    return data


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_smtp_in_imap_out(shared_server, new_user, tls):
    user = new_user()
    shared_server.send(user, MESSAGE)
    shared_server.wait_count(user, 1)
    with shared_server.imap(user, tls=tls, mailbox="INBOX") as imap:
        body = fetch_one(imap, 1, "(RFC822)")[0][1]
        assert body.endswith(MESSAGE)
        assert body.startswith(b"Return-Path: <sender@example.org>\r\nReceived: from ")
        message = email.message_from_bytes(body)
        assert message["Subject"] == "Hello"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_smtp_in_pop3_out(shared_server, new_user, tls):
    user = new_user()
    shared_server.send(user, MESSAGE)
    shared_server.wait_count(user, 1)
    with shared_server.pop3(user, tls=tls) as pop:
        count, size = pop.stat()
        assert count == 1
        _, lines, octets = pop.retr(1)
        assert b"First light." in lines
        assert size == sum(len(line) + 2 for line in lines)
        assert int(pop.list(1).split()[2]) == size
        pop.dele(1)
    with shared_server.pop3(user, tls=tls) as pop:
        assert pop.stat() == (0, 0)


@pytest.mark.parametrize("service", ["submission", "submissions"])
@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
def test_submission_with_auth(shared_server, new_user, service, mechanism):
    user = new_user()
    with shared_server.smtp(service) as client:
        client.ehlo()
        if service == "submission":
            client.starttls(context=shared_server.tls())
            client.ehlo()
        client.user, client.password = f"{user}@{DOMAIN}", PASSWORD
        code, words = client.auth(mechanism.removeprefix("auth_").upper(), getattr(client, mechanism))
        assert code == 235, words
        client.sendmail(f"{user}@{DOMAIN}", [f"{user}@{DOMAIN}"], MESSAGE)
    shared_server.wait_count(user, 1)


def test_submission_without_auth_is_refused(shared_server, new_user):
    user = new_user()
    with shared_server.smtp("submission") as client:
        client.ehlo()
        code, words = client.mail(f"{user}@{DOMAIN}")
        assert code == 530, words


def test_one_message_to_many_is_delivered_once_each(shared_server, new_user):
    users = [new_user() for _ in range(5)]
    shared_server.send(users, MESSAGE)
    for user in users:
        shared_server.wait_count(user, 1)
        with shared_server.imap(user, mailbox="INBOX") as imap:
            assert len(imap.search(None, "ALL")[1][0].split()) == 1


def test_unknown_recipients_are_refused_at_rcpt(shared_server):
    with shared_server.smtp() as client:
        client.ehlo()
        client.mail("a@example.org")
        code, words = client.rcpt(f"nobody-at-all@{DOMAIN}")
        assert code == 550 and words.startswith(b"5.1.1"), (code, words)
        code, words = client.rcpt("someone@elsewhere.example")
        assert code == 550 and words.startswith(b"5.7.1"), (code, words)


def test_aliases_reach_their_targets(make_server):
    server = make_server(start=False, users=["alice", "bob"])
    server.run("alias", "add", f"team@{DOMAIN}", f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    server.run("alias", "add", f"all@{DOMAIN}", f"team@{DOMAIN}")
    server.start()
    server.send("all", MESSAGE)
    server.wait_count("alice", 1)
    server.wait_count("bob", 1)


def test_flags_set_in_one_client_are_seen_in_another(shared_server, new_user):
    user = new_user()
    shared_server.send(user, MESSAGE)
    shared_server.wait_count(user, 1)
    with shared_server.imap(user, mailbox="INBOX") as one, shared_server.imap(user, mailbox="INBOX") as two:
        assert one.store("1", "+FLAGS", r"(\Flagged $Work)")[0] == "OK"
        assert two.noop()[0] == "OK"
        news = two.untagged_responses.get("FETCH", [])
        assert any(b"\\Flagged" in line and b"$Work" in line for line in news), news
        flags = fetch_one(two, 1, "(FLAGS)")
        assert b"\\Flagged" in flags[0]


def test_expunge_in_one_session_renumbers_the_other(shared_server, new_user):
    user = new_user()
    for _ in range(3):
        shared_server.send(user, MESSAGE)
    shared_server.wait_count(user, 3)
    with shared_server.imap(user, mailbox="INBOX") as one, shared_server.imap(user, mailbox="INBOX") as two:
        one.store("2", "+FLAGS", r"\Deleted")
        assert one.expunge()[1] == [b"2"]
        two.noop()
        assert two.untagged_responses.get("EXPUNGE") == [b"2"]
        assert two.search(None, "ALL")[1][0] == b"1 2"


def test_idle_announces_a_delivery(shared_server, new_user):
    user = new_user()
    with shared_server.raw("imap") as idler:
        idler.line()
        assert idler.imap(b"a", f"a LOGIN {user}@{DOMAIN} {PASSWORD}\r\n")[0].startswith(b"a OK")
        assert idler.imap(b"b", "b SELECT INBOX\r\n")[0].startswith(b"b OK")
        idler.send("c IDLE\r\n")
        assert idler.line().startswith(b"+")
        shared_server.send(user, MESSAGE)
        assert idler.line() == b"* 1 EXISTS"
        assert idler.line() == b"* 1 RECENT"
        tagged, _ = idler.imap(b"c", "DONE\r\n")
        assert tagged.startswith(b"c OK")


def test_scram_sha_256(shared_server, new_user):
    """An exchange as RFC 5802 section 3 and RFC 7677 write it, with the server's proof checked."""
    import base64
    import hmac
    user = f"{new_user()}@{DOMAIN}"
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n={user},r={nonce}"

    def steps(challenge):
        if not challenge:
            return f"n,,{bare}".encode()
        text = challenge.decode()
        if text.startswith("v="):
            assert text[2:] == steps.proof
            return b""
        fields = dict(f.split("=", 1) for f in text.split(","))
        assert fields["r"].startswith(nonce)
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={fields['r']}"
        auth = f"{bare},{text},{final}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        steps.proof = base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")).decode()
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    client = imaplib.IMAP4("localhost", shared_server.ports["imap"])
    assert client.authenticate("SCRAM-SHA-256", steps)[0] == "OK"
    client.logout()


class Growth:
    """How much the anonymous memory of each program grew at most while this was open."""

    def __init__(self, server):
        self.pids = {name: row["pid"] for name, row in server.programs().items()}
        self.stop = threading.Event()

    @staticmethod
    def kib(pid):
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))

    def watch(self):
        while not self.stop.wait(0.02):
            self.peak = {name: max(self.peak[name], self.kib(pid)) for name, pid in self.pids.items()}

    def __enter__(self):
        self.first = {name: self.kib(pid) for name, pid in self.pids.items()}
        self.peak = dict(self.first)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.grew = {name: self.peak[name] - self.first[name] for name in self.pids}


def send_by_smtp(server, body, tls):
    with server.smtp("submissions" if tls else "smtp") as client:
        if tls:
            client.login(f"alice@{DOMAIN}", PASSWORD)
        client.sendmail("a@example.org", f"alice@{DOMAIN}", body)


def send_by_append(server, body, tls):
    with server.imap("alice", tls=tls) as imap:
        assert imap.append("INBOX", None, None, body)[0] == "OK"


def read_by_imap(server, tls):
    with server.imap("alice", tls=tls, mailbox="INBOX") as imap:
        return imap.fetch("2", "(BODY.PEEK[])")[1][0][1]


def read_by_pop3(server, tls):
    with server.pop3("alice", tls=tls) as pop:
        return b"\r\n".join(pop.retr(2)[1]) + b"\r\n"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("send, read", [(send_by_smtp, read_by_imap), (send_by_append, read_by_pop3)],
                         ids=["smtp-imap", "append-pop3"])
def test_a_large_message_passes_unchanged(make_server, send, read, tls):
    """64 MiB in and out, byte for byte, with bounded memory in every process."""
    server = make_server(users=["alice"], message_size_max=100 * 1024 * 1024)
    line = hashlib.sha256(b"seed").hexdigest().encode()
    lines = (64 * 1024 * 1024) // (len(line) + 2)
    body = b"Subject: large\r\n\r\n" + (line + b"\r\n") * lines
    send(server, b"Subject: warm\r\n\r\nup\r\n", tls)
    server.wait_count("alice", 1)
    with Growth(server) as growth:
        send(server, body, tls)
        server.wait_count("alice", 2)
        got = read(server, tls)
    assert got.endswith(body) and len(got) - len(body) < 1000
    if not {"asan", "tsan"} & set(BUILD.name.split("-")):
        for name, kib in growth.grew.items():
            assert kib < 8 * 1024, growth.grew


def test_data_survives_a_restart(make_server):
    server = make_server(users=["alice"])
    server.send("alice", MESSAGE)
    server.wait_count("alice", 1)
    with server.imap("alice", mailbox="INBOX") as imap:
        imap.store("1", "+FLAGS", r"\Answered")
        uid = imap.fetch("1", "(UID)")[1]
    server.stop()
    server.start()
    with server.imap("alice", mailbox="INBOX") as imap:
        assert imap.fetch("1", "(UID)")[1] == uid
        assert b"\\Answered" in imap.fetch("1", "(FLAGS)")[1][0]


def test_queued_mail_is_delivered_after_a_restart(make_server):
    """Acknowledged while the store stands still; delivered when it goes on, by a new protocol host."""
    server = make_server(users=["alice"])
    store = server.pid("store")
    with server.raw("smtp") as raw:
        raw.smtp()
        raw.smtp("EHLO x\r\n")
        raw.smtp("MAIL FROM:<a@example.org>\r\n")
        assert raw.smtp(f"RCPT TO:<alice@{DOMAIN}>\r\n")[0] == 250
        os.kill(store, signal.SIGSTOP)
        try:
            raw.smtp("DATA\r\n")
            assert raw.smtp(MESSAGE + b".\r\n")[0] == 250
            assert server.json("queue")["transport"]["waiting"] == 1
            pid = server.kill_program("inet")
        finally:
            os.kill(store, signal.SIGCONT)
    wait_for(lambda: server.programs()["inet"]["state"] == "serving" and server.pid("inet") != pid,
             "the protocol host is back")
    server.wait_count("alice", 1)
    assert server.json("queue")["transport"]["found_at_start"] == 1
    with server.imap("alice", mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b"1"
