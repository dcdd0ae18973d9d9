"""Limits on a mailbox: warned, may not send, receives nothing; with real clients, at once and through restarts."""
import imaplib

from harness import DOMAIN, PASSWORD, Server, wait_for

ALICE = f"alice@{DOMAIN}"
KB = 1000


def message(octets, subject="filler"):
    head = f"From: bob@example.org\r\nTo: {ALICE}\r\nSubject: {subject}\r\n\r\n".encode()
    return head + b"x" * (octets - len(head) - 2) + b"\r\n"


def make(tmp_path, **settings):
    s = Server(tmp_path, auth_without_tls=True, queue_glitch_retry_s=1, **settings)
    s.add_user("alice")
    s.add_user("bob")
    s.start()
    return s


def quota(server, user=ALICE):
    return server.json("user", "quota", user)["quotas"][0]


def subjects(server, user="alice"):
    with server.imap(user, mailbox="INBOX") as imap:
        data = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if imap.response("EXISTS")[1] != [b"0"] else []
        return [d[1].split(b": ", 1)[1].strip().decode() for d in data if isinstance(d, tuple)]


def can_log_on(server):
    try:
        with server.imap("alice"):
            return True
    except imaplib.IMAP4.error:
        return False


def soon(ask, want):
    """The directory's remembered answers are forgotten at once, but by a notice that may come behind the client's reply; it
    is in any case sooner than directory_ttl_s."""
    wait_for(lambda: ask()[:len(want)] == want, f"{want}")


def append(imap, octets, folder="INBOX"):
    return imap.append(folder, None, None, message(octets))


def empty(imap, folder="INBOX"):
    assert imap.select(folder)[0] == "OK"
    imap.store("1:*", "+FLAGS", r"(\Deleted)")
    assert imap.expunge()[0] == "OK"


def submit(server):
    with server.smtp("submission") as client:
        client.ehlo()
        client.login(ALICE, PASSWORD)
        return client.mail(ALICE)


def rcpt(server, size=None):
    with server.smtp() as client:
        client.ehlo()
        assert client.mail("a@example.org", [f"SIZE={size}"] if size else [])[0] == 250
        code, words = client.rcpt(ALICE)
        return code, words.split()[0].decode()


def test_a_full_mailbox_receives_nothing_until_there_is_room(tmp_path):
    server = make(tmp_path, quota_receive_bytes=100 * KB)
    try:
        with server.imap("alice", mailbox="INBOX") as imap:
            assert append(imap, 60 * KB)[0] == "OK"
            # A message that would cross the limit is over it.
            status, words = append(imap, 40 * KB + 1)
            assert status == "NO" and words[0].startswith(b"[OVERQUOTA]"), words
            status, words = imap.copy("1", "Drafts")
            assert status == "NO" and words[0].startswith(b"[OVERQUOTA]"), words
            assert imap._simple_command("MOVE", "1", "Drafts")[0] == "OK"
            assert append(imap, 30 * KB)[0] == "OK"
            assert rcpt(server, 11 * KB) == (452, "4.2.2")
            assert rcpt(server, 9 * KB)[0] == 250
            assert append(imap, 10 * KB)[0] == "OK"
            soon(lambda: rcpt(server), (452, "4.2.2"))
            assert quota(server)["state"] == "full" and quota(server)["bytes"] == 100 * KB
            assert [q["user"] for q in server.json("quota", "list", "--over")["quotas"]] == [ALICE]
            # Others are not concerned, also when they get the same message.
            server.send("bob", message(50 * KB))
            server.wait_count("bob", 1)
            empty(imap, "Drafts")
            soon(lambda: rcpt(server), (250,))
            assert quota(server)["deleted_bytes"] == 60 * KB
    finally:
        server.stop()


def test_what_did_not_say_its_size_waits_in_the_queue(tmp_path):
    server = make(tmp_path, quota_receive_bytes=100 * KB)
    try:
        with server.imap("alice", mailbox="INBOX") as imap:
            assert append(imap, 60 * KB)[0] == "OK"
            with server.smtp() as client:
                client.helo()
                client.mail("a@example.org")
                for name in ("alice", "bob"):
                    assert client.rcpt(f"{name}@{DOMAIN}")[0] == 250
                assert client.data(message(50 * KB, "waited"))[0] == 250
            server.wait_count("bob", 1)
            assert subjects(server) == ["filler"]
            empty(imap)
        server.wait_count("alice", 1)
        assert subjects(server) == ["waited"] and subjects(server, "bob") == ["waited"]
    finally:
        server.stop()


def test_over_the_limit_nothing_can_be_sent(tmp_path):
    server = make(tmp_path, quota_send_bytes=50 * KB)
    try:
        with server.imap("alice", mailbox="INBOX") as imap:
            assert submit(server)[0] == 250
            assert append(imap, 50 * KB)[0] == "OK"
            soon(lambda: submit(server), (552,))
            assert submit(server)[1].startswith(b"5.2.2 Your mailbox is over its limit")
            # It still receives.
            assert rcpt(server)[0] == 250
            assert quota(server)["state"] == "may not send"
            empty(imap)
            soon(lambda: submit(server), (250,))
    finally:
        server.stop()


def test_the_owner_is_warned_once_a_day(tmp_path):
    server = make(tmp_path, quota_warn_bytes=50 * KB, quota_send_bytes=1000 * KB)
    try:
        with server.imap("alice", mailbox="INBOX") as imap:
            assert append(imap, 49 * KB, "Drafts")[0] == "OK"
            assert append(imap, 2 * KB, "Drafts")[0] == "OK"
        server.wait_count("alice", 1)
        with server.imap("alice", mailbox="INBOX") as imap:
            text = imap.fetch("1", "(BODY.PEEK[])")[1][0][1].decode()
        for words in ("From: System Administrator <postmaster@mailroot.test>", "Subject: Your mailbox is almost full",
                      "Auto-Submitted: auto-generated", "holds 51.0 kB", "You are told so from:     50.0 kB", "It can't send from:       1.0 MB"):
            assert words in text, (words, text)
        assert "receives no more" not in text
        server.kill_program("store")
        wait_for(lambda: can_log_on(server), "the store is back")
        with server.imap("alice") as imap:
            assert append(imap, 5 * KB, "Drafts")[0] == "OK"
        server.send("alice", message(3 * KB, "another"))
        server.wait_count("alice", 2)
        assert subjects(server) == ["Your mailbox is almost full", "another"]
        assert quota(server)["state"] == "warned"
    finally:
        server.stop()


def test_limits_of_one_user_and_sizes_after_a_restart(tmp_path):
    server = make(tmp_path, quota_receive_bytes=100 * KB)
    try:
        with server.imap("alice", mailbox="INBOX") as imap:
            assert append(imap, 90 * KB)[0] == "OK"
            assert rcpt(server, 20 * KB) == (452, "4.2.2")
            server.run("user", "quota", ALICE, "--receive", "200000")
            soon(lambda: rcpt(server, 20 * KB), (250,))
            assert append(imap, 90 * KB)[0] == "OK"
            assert append(imap, 90 * KB)[0] == "NO"
            server.run("user", "quota", ALICE, "--receive", "none")
            assert append(imap, 90 * KB)[0] == "OK"
            q = server.json("user", "quota", ALICE, "--receive", "default", "--warn", "1K")["quotas"][0]
            assert (q["warn"], q["send"], q["receive"]) == (1024, 0, 100 * KB)
            assert append(imap, KB)[0] == "NO"
        server.wait_count("alice", 3)
        before = quota(server)
        assert before["bytes"] >= 270 * KB
        server.stop()
        server.start()
        assert quota(server) == before
        soon(lambda: rcpt(server), (452, "4.2.2"))
        with server.imap("alice") as imap:
            assert append(imap, KB)[0] == "NO"
        for words, status, text in [
                ((ALICE, "--warn", "much"), 2, "not 'much'"),
                ((ALICE, "--warn", "2M", "--receive", "1M"), 1, "must not fall"),
                ((f"nobody@{DOMAIN}",), 1, "there is no user")]:
            done = server.run("user", "quota", *words, check=False)
            assert done.returncode == status and text in done.stderr, (words, done)
        assert [q["user"] for q in server.json("quota", "list")["quotas"]] == [ALICE, f"bob@{DOMAIN}"]
    finally:
        server.stop()
