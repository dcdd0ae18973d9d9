"""SMTP whole: every extension that EHLO names, against the real store; what arrives is what was sent."""
import base64
import hashlib
import hmac
import imaplib
import os
import re
import socket
import ssl
import warnings

import pytest

from harness import DOMAIN, PASSWORD, wait_for

LISTED = {"PIPELINING", "SIZE 104857600", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "ENHANCEDSTATUSCODES", "STARTTLS",
          "AUTH PLAIN LOGIN SCRAM-SHA-256", "HELP"}


def say(raw, *lines, code=None):
    """Each line, its reply read; the last reply's code must be that one."""
    for line in lines:
        got, words = raw.smtp(line.encode() + b"\r\n" if isinstance(line, str) else line)
    assert code is None or got == code, (lines[-1], words)
    return words


def hello(server, service="smtp"):
    raw = server.raw(service)
    raw.smtp()
    say(raw, "EHLO client.example", code=250)
    return raw


def only_message(server, user):
    server.wait_count(user, 1)
    with server.imap(user, mailbox="INBOX") as imap:
        return imap.fetch("1", "(BODY.PEEK[])")[1][0][1]


def test_ehlo_names_what_is_served(shared_server):
    with shared_server.raw("smtp") as raw:
        raw.smtp()
        words = say(raw, "EHLO client.example", code=250)
        assert {w[4:] for w in words[1:]} == LISTED
        assert say(raw, "HELO client.example", code=250) == ["250 localhost"]


@pytest.mark.parametrize("body, param", [
    (b"Subject: eight\r\n\r\n\xc3\xa4\xff\xfe\r\n", " BODY=8BITMIME"),
    (b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nx.\r\n", ""),
    (b"Subject: long\r\n\r\n" + b"y" * 5000 + b"\r\n", ""),
    (b"no header field at all\r\n", ""),
    (b"\r\n\r\n\r\n", ""),
], ids=["8bit", "dots", "long-line", "no-header", "empty-lines"])
def test_data_arrives_as_it_was_sent(shared_server, new_user, body, param):
    user = new_user()
    with hello(shared_server) as raw:
        say(raw, f"MAIL FROM:<a@example.org>{param}", f"RCPT TO:<{user}@{DOMAIN}>", "DATA", code=354)
        stuffed = re.sub(rb"(?m)^\.", b"..", body)
        say(raw, stuffed + b".\r\n", code=250)
    assert only_message(shared_server, user).endswith(body)


@pytest.mark.parametrize("sizes", [[], [1], [7, 1, 20], [0, 5, 0]], ids=str)
def test_bdat_in_chunks(shared_server, new_user, sizes):
    user, body = new_user(), b"Subject: chunks\r\n\r\n.\r\n..\r\nlast\r\n"
    with hello(shared_server) as raw:
        say(raw, "MAIL FROM:<a@example.org>", f"RCPT TO:<{user}@{DOMAIN}>")
        rest = body
        for n in sizes:
            words = say(raw, b"BDAT %d\r\n" % n + rest[:n], code=250)
            assert f"{n} octets" in words[0]
            rest = rest[n:]
        say(raw, b"BDAT %d LAST\r\n" % len(rest) + rest, code=250)
    assert only_message(shared_server, user).endswith(body)


def test_binarymime_keeps_every_octet(shared_server, new_user):
    """Bare CR and LF and all the others; only a NUL can't be shown by IMAP4rev1 (and is not sent here)."""
    user = new_user()
    body = b"Subject: binary\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(1, 256)) * 40 + b"\n\r\rx"
    with hello(shared_server) as raw:
        say(raw, "MAIL FROM:<a@example.org> BODY=BINARYMIME", f"RCPT TO:<{user}@{DOMAIN}>", code=250)
        say(raw, "DATA", code=503)
        say(raw, b"BDAT 100\r\n" + body[:100], code=250)
        say(raw, b"BDAT %d LAST\r\n" % (len(body) - 100) + body[100:], code=250)
    assert only_message(shared_server, user).endswith(body)


def test_everything_pipelined(shared_server, new_user):
    users = [new_user() for _ in range(3)]
    with hello(shared_server) as raw:
        raw.send("".join(["MAIL FROM:<a@example.org>\r\n", *(f"RCPT TO:<{u}@{DOMAIN}>\r\n" for u in users),
                          f"RCPT TO:<nobody-here@{DOMAIN}>\r\n", "DATA\r\n"]))
        assert [raw.smtp()[0] for _ in range(6)] == [250, 250, 250, 250, 550, 354]
        raw.send("Subject: one\r\n\r\nx\r\n.\r\nMAIL FROM:<a@example.org>\r\n" f"RCPT TO:<{users[0]}@{DOMAIN}>\r\n"
                 "BDAT 16\r\nSubject: two\r\n\r\nBDAT 3 LAST\r\ny\r\nRSET\r\nQUIT\r\n")
        assert [raw.smtp()[0] for _ in range(7)] == [250, 250, 250, 250, 250, 250, 221]
        assert raw.at_end()
    for user, count in zip(users, (2, 1, 1)):
        shared_server.wait_count(user, count)


# ---- SMTPUTF8 ----

def test_a_user_whose_name_is_not_ascii(shared_server):
    shared_server.add_user("jürgen")
    text = "From: Ämilie <ä@example.org>\r\nTo: Jürgen <jürgen@mailroot.test>\r\nSubject: Grüße\r\n\r\nHallo\r\n".encode()
    with hello(shared_server) as raw:
        words = say(raw, "MAIL FROM:<ä@example.org>", code=553)
        assert words[0].split()[1] == "5.6.7"
        say(raw, "MAIL FROM:<a@example.org>", code=250)
        assert say(raw, f"RCPT TO:<jürgen@{DOMAIN}>", code=553)[0].split()[1] == "5.6.7"
        say(raw, "RSET", "MAIL FROM:<ä@example.org> SMTPUTF8 BODY=8BITMIME", f"RCPT TO:<jürgen@{DOMAIN}>", code=250)
        say(raw, "RCPT TO:<jörgen@mailroot.test>", code=550)
        say(raw, "DATA", text + b".\r\n", code=250)
    # Python's imaplib can't say the name; AUTHENTICATE can.
    client = imaplib.IMAP4("localhost", shared_server.ports["imap"])
    client.authenticate("PLAIN", lambda _: f"\0jürgen@{DOMAIN}\0{PASSWORD}".encode())
    wait_for(lambda: client.select("INBOX")[1] == [b"1"], "the message")
    got = client.fetch("1", "(BODY.PEEK[])")[1][0][1]
    client.logout()
    assert got.endswith(text)
    assert "Return-Path: <ä@example.org>".encode() in got and b" with UTF8SMTP " in got


# ---- the small verbs ----

@pytest.mark.parametrize("line, code, enhanced", [
    ("VRFY alice", 252, "2.5.0"), ("VRFY", 501, "5.5.4"), ("HELP", 214, "2.0.0"), ("HELP MAIL", 214, "2.0.0"),
    ("HELP NONSENSE", 214, "2.0.0"), ("NOOP", 250, "2.0.0"), ("NOOP with words", 250, "2.0.0"), ("RSET", 250, "2.0.0"),
    ("RSET x", 501, "5.5.4"), ("EXPN list", 500, "5.5.1"), ("ETRN x", 500, "5.5.1"), ("MAIL", 501, "5.5.4"),
    ("MAIL FROM:a@b", 501, "5.1.7"), ("MAIL FROM:<a@b> SIZE=x", 501, "5.5.4"), ("MAIL FROM:<a@b> XYZ=1", 555, "5.5.4"),
    ("RCPT TO:<a@b>", 503, "5.5.1"), ("DATA", 503, "5.5.1"), ("BDAT 0 LAST", 503, "5.5.1"), ("AUTH XYZ", 504, "5.5.4"),
    ("AUTH PLAIN ???", 501, "5.5.2"), ("AUTH PLAIN AGEAYg==", 535, "5.7.8"),
])
def test_replies(shared_server, line, code, enhanced):
    with hello(shared_server) as raw:
        words = say(raw, line)
        assert int(words[-1][:3]) == code, words
        if enhanced:
            assert all(w[4:].startswith(enhanced + " ") for w in words), words


def test_help_lists_every_verb(shared_server):
    with hello(shared_server) as raw:
        text = " ".join(say(raw, "HELP", code=214))
    for verb in ("HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "HELP", "QUIT", "STARTTLS", "AUTH"):
        assert verb in text, (verb, text)


def test_postmaster_and_the_empty_sender(make_server):
    server = make_server(users=["postmaster"], domain=DOMAIN)
    with hello(server) as raw:
        say(raw, "MAIL FROM:<>", "RCPT TO:<Postmaster>", "DATA", b"Subject: report\r\n\r\nx\r\n.\r\n", code=250)
    assert only_message(server, "postmaster").startswith(b"Return-Path: <>\r\n")


# ---- TLS and AUTH ----

def scram_steps(user, password):
    """The client's side of RFC 5802 and 7677: yields what to send, takes the challenges (base64 all); checks the server's proof."""
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n={user},r={nonce}"
    first = base64.b64decode((yield base64.b64encode(f"n,,{bare}".encode()).decode())).decode()
    fields = dict(f.split("=", 1) for f in first.split(","))
    assert fields["r"].startswith(nonce)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    auth = f"{bare},{first},c=biws,r={fields['r']}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
    verdict = yield base64.b64encode(f"c=biws,r={fields['r']},p={proof}".encode()).decode()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    signed = base64.b64encode(hmac.digest(server_key, auth, "sha256")).decode()
    assert base64.b64decode(verdict).decode() == f"v={signed}"
    yield ""


def scram(raw, user, password):
    """(code, lines) of the last reply."""
    steps = scram_steps(user, password)
    code, words = raw.smtp(f"AUTH SCRAM-SHA-256 {next(steps)}\r\n")
    while code == 334:
        code, words = raw.smtp(steps.send(words[0][4:]) + "\r\n")
    return code, words


def test_auth_scram_proves_both_sides(shared_server, new_user):
    user = new_user()
    with hello(shared_server, "submission") as raw:
        assert say(raw, "MAIL FROM:<a@example.org>", code=530)[0].split()[1] == "5.7.0"
        code, words = scram(raw, f"{user}@{DOMAIN}", "wrong")
        assert code == 535 and words[0].split()[1] == "5.7.8", words
        code, words = scram(raw, f"{user}@{DOMAIN}", PASSWORD)
        assert code == 235 and words[0].split()[1] == "2.7.0", words
        say(raw, "AUTH PLAIN AGEAYg==", code=503)
        say(raw, f"MAIL FROM:<{user}@{DOMAIN}>", code=250)
        assert say(raw, "RCPT TO:<x@elsewhere.example>", code=550)[0].split()[1] == "5.4.4"
        say(raw, f"RCPT TO:<{user}@{DOMAIN}>", "DATA", b"Subject: x\r\n\r\nx\r\n.\r\n", code=250)
    assert b" with ESMTPA " in only_message(shared_server, user)


def test_auth_cancelled_and_inside_a_message(shared_server):
    with hello(shared_server) as raw:
        say(raw, "AUTH LOGIN", code=334)
        assert say(raw, "*", code=501)[0].split()[1] == "5.7.0"
        say(raw, "MAIL FROM:<a@example.org>", code=250)
        say(raw, "AUTH LOGIN", code=503)


def test_starttls_forgets_and_protects(shared_server, new_user):
    user = new_user()
    with hello(shared_server, "submission") as raw:
        say(raw, "STARTTLS", code=220)
        raw.socket = shared_server.tls().wrap_socket(raw.socket, server_hostname="localhost")
        raw.file = raw.socket.makefile("rb")
        assert raw.socket.version() in ("TLSv1.2", "TLSv1.3")
        say(raw, "MAIL FROM:<a@example.org>", code=503)
        words = say(raw, "EHLO client.example", code=250)
        assert {w[4:] for w in words[1:]} == LISTED - {"STARTTLS"}
        say(raw, "STARTTLS", code=503)
        token = base64.b64encode(f"\0{user}@{DOMAIN}\0{PASSWORD}".encode()).decode()
        say(raw, f"AUTH PLAIN {token}", code=235)
        say(raw, "MAIL FROM:<a@example.org>", f"RCPT TO:<{user}@{DOMAIN}>", "DATA", b"Subject: x\r\n\r\nx\r\n.\r\n", code=250)
    received = only_message(shared_server, user).split(b"\r\n\r\n")[0]
    assert b" with ESMTPSA " in received and b"TLSv1" in received
    assert b"from client.example (" in received and b"127.0.0.1" in received


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(shared_server, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = version, version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", shared_server.ports["submissions"])) as s:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(s)
