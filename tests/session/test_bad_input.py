"""What strangers and broken networks send: each gets a clear answer or a closed door, and the server serves on."""
import os
import socket
import ssl
import time

import pytest

from harness import DOMAIN, PASSWORD, Server, wait_for

GREETING = {"smtp": b"220 ", "imap": b"* OK ", "pop3": b"+OK"}


def still_serves(server):
    with server.smtp() as client:
        assert client.noop()[0] == 250


@pytest.mark.parametrize("service", list(GREETING))
def test_garbage_bytes(shared_server, service):
    with shared_server.raw(service) as raw:
        assert raw.line().startswith(GREETING[service])
        try:
            for i in range(64):
                raw.send(bytes((i * 37 + n * 101) % 256 for n in range(1024)) + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.at_end()
    still_serves(shared_server)


@pytest.mark.parametrize("service", list(GREETING))
def test_an_endless_line_is_cut_off(shared_server, service):
    with shared_server.raw(service) as raw:
        raw.line()
        sent = 0
        raw.socket.settimeout(20)
        try:
            while sent < 512 * 1024 * 1024:
                sent += raw.socket.send(b"A" * 65536)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        assert sent < 512 * 1024 * 1024, "the server took half a gigabyte of one line"
    still_serves(shared_server)


def test_a_huge_literal_is_refused_before_it_is_sent(shared_server, new_user):
    user = new_user()
    with shared_server.raw("imap") as raw:
        raw.line()
        # Before a login nothing of that size is taken.
        tagged, _ = raw.imap(b"a", "a LOGIN {4294967295}\r\n")
        assert tagged.startswith((b"a BAD", b"a NO"))
    with shared_server.raw("imap") as raw:
        raw.line()
        raw.imap(b"a", f"a LOGIN {user}@{DOMAIN} {PASSWORD}\r\n")
        tagged, _ = raw.imap(b"b", "b APPEND INBOX {99999999999}\r\n")
        assert tagged.startswith((b"b NO", b"b BAD"))
        tagged, _ = raw.imap(b"c", "c NOOP\r\n")
        assert tagged.startswith(b"c OK")


def test_ten_thousand_recipients_are_limited(shared_server, new_user):
    user = new_user()
    with shared_server.raw("smtp") as raw:
        raw.smtp()
        raw.smtp("EHLO x\r\n")
        raw.smtp("MAIL FROM:<a@example.org>\r\n")
        taken = refused = 0
        for start in range(0, 10_000, 500):
            raw.send(f"RCPT TO:<{user}@{DOMAIN}>\r\n" * 500)
            for _ in range(500):
                code, lines = raw.smtp()
                taken += code == 250
                refused += code == 452
        assert taken == 1000 and refused == 9000, (taken, refused)
        code, _ = raw.smtp("DATA\r\n")
        assert code == 354
        code, _ = raw.smtp("Subject: many\r\n\r\nx\r\n.\r\n")
        assert code == 250
    shared_server.wait_count(user, 1)
    with shared_server.imap(user, mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b"1", "one mailbox gets one copy"


SMUGGLING = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r"]


@pytest.mark.parametrize("end", SMUGGLING, ids=repr)
def test_only_crlf_dot_crlf_ends_data(shared_server, new_user, end):
    """SMTP smuggling: what stands behind a false end must never be run as commands."""
    user, victim = new_user(), new_user()
    with shared_server.raw("smtp") as raw:
        raw.smtp()
        raw.smtp("EHLO x\r\n")
        raw.smtp("MAIL FROM:<a@example.org>\r\n")
        raw.smtp(f"RCPT TO:<{user}@{DOMAIN}>\r\n")
        assert raw.smtp("DATA\r\n")[0] == 354
        inner = (f"MAIL FROM:<admin@{DOMAIN}>\r\nRCPT TO:<{victim}@{DOMAIN}>\r\nDATA\r\n"
                 f"Subject: smuggled\r\n\r\nx\r\n.\r\n").encode()
        code, lines = raw.smtp(b"Subject: outer\r\n\r\nbody" + end + inner)
        # One reply for the whole: taken as one message or refused as one, never two.
        assert code in (250, 550, 554), lines
        raw.send("QUIT\r\n")
        assert raw.smtp()[0] == 221
    with shared_server.imap(victim, mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b""


def test_bare_line_ends_do_not_end_commands(shared_server):
    with shared_server.raw("smtp") as raw:
        raw.smtp()
        code, _ = raw.smtp("EHLO x\nMAIL FROM:<a@example.org>\r\n")
        assert code == 500
        assert raw.smtp("RCPT TO:<a@example.org>\r\n")[0] == 503


def test_commands_before_the_tls_handshake_are_not_taken_as_after(shared_server):
    with shared_server.raw("smtp") as raw:
        raw.smtp()
        raw.smtp("EHLO x\r\n")
        raw.send("STARTTLS\r\nMAIL FROM:<injected@example.org>\r\n")
        assert raw.smtp()[0] == 220
        tls = shared_server.tls().wrap_socket(raw.socket, server_hostname="localhost")
        tls.sendall(b"NOOP\r\n")
        assert tls.recv(4096).startswith(b"250"), "the reply to NOOP, not to the injected MAIL"
        tls.sendall(b"RCPT TO:<a@example.org>\r\n")
        assert tls.recv(4096).startswith(b"503")
        tls.close()


@pytest.mark.parametrize("service", ["submissions", "imaps", "pop3s"])
def test_half_open_tls(make_server, service):
    server = make_server(tls_timeout_s=1)
    silent = socket.create_connection(("127.0.0.1", server.ports[service]))
    garbage = socket.create_connection(("127.0.0.1", server.ports[service]))
    garbage.sendall(b"\x16\x03\x01\x02\x00\x01" + b"\x00" * 100)
    for s in (silent, garbage):
        s.settimeout(30)
        while True:
            try:
                if not s.recv(4096):
                    break
            except ConnectionResetError:
                break
        s.close()
    still_serves(server)


def test_slow_clients_are_timed_out(make_server):
    server = make_server(smtp_timeout_s=1, imap_timeout_s=1, pop3_timeout_s=1, login_timeout_s=1)
    for service in GREETING:
        with server.raw(service) as raw:
            raw.line()
            raw.send("N")
            assert raw.at_end()
    still_serves(server)


def test_wrong_passwords_are_delayed_and_limited(make_server):
    server = make_server(users=["alice"], auth_failures_per_minute=3, auth_failure_delay_ms=300)
    delays = []
    with server.raw("imap") as raw:
        raw.line()
        for i in range(3):
            began = time.monotonic()
            tagged, _ = raw.imap(b"a%d" % i, f"a{i} LOGIN alice@{DOMAIN} wrong\r\n")
            delays.append(time.monotonic() - began)
            assert b"AUTHENTICATIONFAILED" in tagged
    assert min(delays) >= 0.3, delays
    with server.raw("pop3") as raw:
        # The limit is the address's, over all protocols: even the right password is not looked at now.
        raw.line()
        raw.send(f"USER alice@{DOMAIN}\r\nPASS {PASSWORD}\r\n")
        assert raw.line().startswith(b"+OK")
        assert raw.line().startswith(b"-ERR")


def test_unknown_user_and_wrong_password_look_alike(make_server):
    server = make_server(users=["alice"], auth_failure_delay_ms=0)
    answers = set()
    for user in ("alice", "nobody"):
        with server.raw("imap") as raw:
            raw.line()
            answers.add(raw.imap(b"a", f"a LOGIN {user}@{DOMAIN} wrong\r\n")[0])
    assert len(answers) == 1, answers


def test_too_many_errors_end_the_connection(make_server):
    server = make_server(errors_max=5)
    with server.raw("smtp") as raw:
        raw.smtp()
        codes = []
        for _ in range(10):
            try:
                codes.append(raw.smtp("NONSENSE\r\n")[0])
            except (AssertionError, BrokenPipeError, ConnectionResetError):
                break
        assert 421 in codes and len(codes) <= 6, codes


def test_connections_per_address_are_limited(make_server):
    server = make_server(connections_per_ip_max=3)
    held = [server.raw("imap") for _ in range(3)]
    for raw in held:
        assert raw.line().startswith(b"* OK")
    with server.raw("imap") as fourth:
        assert fourth.line().startswith(b"* BYE")
    held.pop().close()
    for raw in held:
        raw.close()
    wait_for(lambda: b"OK" in _greeting(server), "a place is free again")


def _greeting(server):
    with server.raw("imap") as raw:
        return raw.line()


def test_a_message_over_the_limit(make_server):
    server = make_server(users=["alice"], message_size_max=65536)
    with server.smtp() as client:
        client.ehlo()
        code, words = client.mail("a@example.org", ["size=70000"])
        assert code == 552 and words.startswith(b"5.3.4"), (code, words)
        client.mail("a@example.org")
        client.rcpt(f"alice@{DOMAIN}")
        code, words = client.data(b"Subject: x\r\n\r\n" + b"y" * 100 + b"\r\n" * 40000)
        assert code == 552, words
        client.rset()
        client.sendmail("a@example.org", f"alice@{DOMAIN}", b"Subject: small\r\n\r\nx\r\n")
    server.wait_count("alice", 1)


# ---- the machine's faults ----

def test_a_port_in_use_is_said_at_the_start(make_server):
    server = make_server(start=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.ports["imap"]))
        taken.listen()
        server.start(wait=False)
        assert server.process.wait(60) == 1
        server.process = None
    log = server.log()
    assert str(server.ports["imap"]) in log and "imap" in log and "in use" in log.lower(), log


def test_a_second_server_on_one_home_is_refused(make_server):
    server = make_server()
    other = Server.__new__(Server)
    other.home, other.log_path, other.process = server.home, server.log_path.with_name("log2"), None
    other.start(wait=False)
    assert other.process.wait(60) == 1
    assert "already runs" in other.log()
    still_serves(server)


def test_a_wrong_setting_is_named_with_its_line(make_server):
    server = make_server(start=False)
    path = server.home / "mailroot.conf"
    path.write_text(path.read_text() + "\nno_such_setting = 1\n")
    number = len(path.read_text().splitlines())
    server.start(wait=False)
    assert server.process.wait(60) == 1
    server.process = None
    log = server.log()
    assert "no_such_setting" in log and f"mailroot.conf:{number}" in log, log


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/usr/bin/setpriv"), reason="root writes everywhere")
def test_a_read_only_home_is_said_at_the_start(make_server, tmp_path):
    import subprocess
    from harness import BUILD
    server = make_server(start=False)
    for path in [server.home, *server.home.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    words = [str(BUILD / "mailrootd"), "--home", str(server.home)]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid=65534", "--clear-groups"] + words
        for path in [server.home, *server.home.parents]:
            if str(path).startswith(str(tmp_path)) or path.stat().st_mode & 0o005 != 0o005:
                path.chmod(0o755 if path != server.home else 0o555)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    for path in [server.home, *server.home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 1
    assert "run" in done.stderr and ("denied" in done.stderr.lower() or "read-only" in done.stderr.lower()), done.stderr


def test_a_damaged_queue_file_is_set_aside(make_server):
    server = make_server(users=["alice"])
    server.stop()
    queue = server.home / "Mailroot/Vsi 1/Queue"
    (queue / "MR_0000000000000000DEADBEEF.eml").write_bytes(b"Subject: no envelope\r\n\r\nx\r\n")
    server.start()
    server.send("alice", b"Subject: fine\r\n\r\nx\r\n")
    server.wait_count("alice", 1)
    bad = server.home / "Mailroot/Vsi 1/Badmail"
    wait_for(lambda: list(bad.iterdir()), "the damaged file is in Badmail")
    names = {p.suffix.upper() for p in bad.iterdir()}
    assert ".BAD" in names and ".BDR" in names, names
    wait_for(lambda: not list(queue.glob("*DEADBEEF*")), "the queue folder is clean")


def test_a_full_disk_refuses_and_serves_on(make_server):
    """The reserve is set above what is free: every new message is refused for now, reading goes on."""
    server = make_server(users=["alice"])
    server.send("alice", b"Subject: before\r\n\r\nx\r\n")
    server.wait_count("alice", 1)
    server.stop()
    server.configure(disk_reserve_bytes=1024 * 1024 ** 3)
    server.start()
    with server.imap("alice", mailbox="INBOX") as imap:
        assert imap.fetch("1", "(BODY.PEEK[])")[0] == "OK"
        status, words = imap.append("INBOX", None, None, b"Subject: no room\r\n\r\nx\r\n")
        assert status == "NO", words
    with server.smtp() as client:
        client.ehlo()
        client.mail("a@example.org")
        client.rcpt(f"alice@{DOMAIN}")
        code, words = client.data(b"Subject: no room\r\n\r\nx\r\n")
        assert code == 452, (code, words)
    server.stop()
    server.configure(disk_reserve_bytes=0)
    server.start()
    with server.imap("alice", mailbox="INBOX") as imap:
        assert imap.append("INBOX", None, None, b"Subject: room\r\n\r\nx\r\n")[0] == "OK"
        assert len(imap.search(None, "ALL")[1][0].split()) == 2
