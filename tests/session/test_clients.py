"""Other people's clients: curl, swaks, mutt, mbsync, fetchmail."""
import os
import pty
import select
import subprocess

import pytest

from harness import DOMAIN, PASSWORD, PATIENCE, have

MESSAGE = b"From: bob@example.org\r\nTo: alice@mailroot.test\r\nSubject: %s\r\n\r\nBody of %s\r\n"


def call(words, stdin=None, env=None, cwd=None):
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, timeout=PATIENCE * 4,
                          env={**os.environ, **(env or {})}, cwd=cwd)
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.fixture
def alice(shared_server, new_user):
    user = new_user()
    shared_server.send(user, MESSAGE % (b"first", b"first"))
    shared_server.wait_count(user, 1)
    return user


@pytest.mark.skipif(not have("curl"), reason="curl is not installed")
def test_curl_sends_and_reads(shared_server, new_user, tmp_path):
    user = new_user()
    address, ports, ca = f"{user}@{DOMAIN}", shared_server.ports, shared_server.home / "tls/cert.pem"
    text = tmp_path / "message"
    text.write_bytes(MESSAGE % (b"curl", b"curl"))
    call(["curl", "-sS", f"smtp://127.0.0.1:{ports['smtp']}", "--mail-from", "a@example.org", "--mail-rcpt", address,
          "-T", text])
    call(["curl", "-sS", "--ssl-reqd", "--cacert", ca, "--user", f"{address}:{PASSWORD}",
          f"smtp://localhost:{ports['submission']}", "--mail-from", address, "--mail-rcpt", address, "-T", text])
    shared_server.wait_count(user, 2)
    login = ["curl", "-sS", "--user", f"{address}:{PASSWORD}"]
    assert b"Body of curl" in call(login + [f"imap://localhost:{ports['imap']}/INBOX;MAILINDEX=1"])
    assert b"Body of curl" in call(login + ["--cacert", ca, f"imaps://localhost:{ports['imaps']}/INBOX;MAILINDEX=2"])
    assert b"Body of curl" in call(login + [f"pop3://localhost:{ports['pop3']}/1"])
    assert b"Body of curl" in call(login + ["--cacert", ca, f"pop3s://localhost:{ports['pop3s']}/2"])


@pytest.mark.skipif(not have("swaks"), reason="swaks is not installed")
@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
def test_swaks_sends(shared_server, new_user, auth):
    user = new_user()
    address = f"{user}@{DOMAIN}"
    call(["swaks", "--server", "127.0.0.1", "--port", shared_server.ports["submission"], "--tls", "--auth", auth,
          "--auth-user", address, "--auth-password", PASSWORD, "--from", address, "--to", address, "--hide-all"])
    shared_server.wait_count(user, 1)


@pytest.mark.skipif(not have("mutt"), reason="mutt is not installed")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_mutt_reads_and_tags(shared_server, alice, tmp_path, tls):
    """mutt in batch mode: save every message to a file, delete it from the folder."""
    service = "imaps" if tls else "imap"
    saved = tmp_path / "saved"
    rc = tmp_path / "muttrc"
    rc.write_text(f"""
set folder="{service}://localhost:{shared_server.ports[service]}/"
set spoolfile="+INBOX"
set imap_user="{alice}@{DOMAIN}"
set imap_pass="{PASSWORD}"
set ssl_starttls=no ssl_force_tls=no
set certificate_file="{shared_server.home}/tls/cert.pem"

set header_cache="" message_cachedir=""
set quit=yes delete=yes confirmappend=no confirmcreate=no mbox_type=mbox
push "<tag-pattern>~A<enter><tag-prefix><save-message>{saved}<enter><quit>"
""")
    # mutt wants a terminal that takes what it paints, even with its keys pushed.
    main, terminal = pty.openpty()
    with subprocess.Popen(["mutt", "-n", "-F", str(rc)], stdin=terminal, stdout=terminal, stderr=terminal, cwd=tmp_path,
                          env={**os.environ, "TERM": "vt100", "HOME": str(tmp_path)}) as mutt:
        os.close(terminal)
        painted = b""
        while select.select([main], [], [], PATIENCE)[0]:
            try:
                painted += os.read(main, 65536)
            except OSError:  # the terminal's last user is gone
                break
        else:
            mutt.kill()
        os.close(main)
    assert mutt.returncode == 0, painted[-3000:]
    assert b"Body of first" in saved.read_bytes()
    with shared_server.imap(alice, mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b""


@pytest.mark.skipif(not have("mbsync"), reason="isync is not installed")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_mbsync_both_ways(shared_server, alice, tmp_path, tls):
    maildir = tmp_path / "mail"
    maildir.mkdir()
    rc = tmp_path / "mbsyncrc"
    rc.write_text(f"""
IMAPAccount a
Host localhost
Port {shared_server.ports['imaps' if tls else 'imap']}
User {alice}@{DOMAIN}
Pass {PASSWORD}
SSLType {'IMAPS' if tls else 'None'}
AuthMechs LOGIN
CertificateFile {shared_server.home}/tls/cert.pem

IMAPStore far
Account a

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
    sync = ["mbsync", "-c", rc, "-a"]
    call(sync, env={"HOME": str(tmp_path)})
    files = [p for p in (maildir / "INBOX").rglob("*") if p.is_file() and p.parent.name in ("new", "cur")]
    assert len(files) == 1 and b"Body of first" in files[0].read_bytes()
    # A message put into the Maildir and a flag set there arrive on the server.
    new = maildir / "INBOX/cur/1.other:2,F"
    new.write_bytes((MESSAGE % (b"local", b"local")).replace(b"\r\n", b"\n"))
    files[0].rename(maildir / "INBOX/cur" / (files[0].name.split(":")[0] + ":2,S"))
    call(sync, env={"HOME": str(tmp_path)})
    with shared_server.imap(alice, mailbox="INBOX") as imap:
        assert len(imap.search(None, "SEEN")[1][0].split()) == 1
        assert len(imap.search(None, "FLAGGED", "SUBJECT", "local")[1][0].split()) == 1


@pytest.mark.skipif(not have("fetchmail"), reason="fetchmail is not installed")
@pytest.mark.parametrize("protocol,tls", [("imap", False), ("pop3", False), ("imap", True), ("pop3", True)])
def test_fetchmail_collects(shared_server, alice, tmp_path, protocol, tls):
    rc = tmp_path / "fetchmailrc"
    box = tmp_path / "box"
    service = protocol + "s" if tls else protocol
    rc.write_text(f"""
set no bouncemail
poll localhost protocol {protocol} port {shared_server.ports[service]}
  user "{alice}@{DOMAIN}" password "{PASSWORD}"
  {'ssl sslcertck sslcertfile ' + str(shared_server.home / 'tls/cert.pem') if tls else "sslproto ''"}
  nokeep mda "cat >> {box}"
""")
    rc.chmod(0o700)
    call(["fetchmail", "-f", rc, "--nosyslog", "--nodetach", "--pidfile", tmp_path / "pid"],
         env={"HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path), "FETCHMAILUSER": "tester"})
    assert b"Body of first" in box.read_bytes()
    with shared_server.imap(alice, mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b""
