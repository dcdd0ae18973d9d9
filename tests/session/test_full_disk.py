"""A file system that is really full: new mail is refused for now, what was acknowledged stays, and with room all goes on."""
import os
import smtplib
import subprocess

import pytest

from harness import DOMAIN, PATIENCE, Server, wait_for

BODY = b"Subject: %s\r\n\r\n" + (b"x" * 70 + b"\r\n") * 2000


@pytest.fixture
def small_disk(tmp_path):
    """80 MB of memory as a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m,mode=755", "none", folder], capture_output=True).returncode != 0:
        pytest.skip("file systems can't be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder, leave):
    """A file of somebody else's that leaves just so many bytes."""
    fs = os.statvfs(folder)
    with open(folder / "filler", "ab") as f:
        f.write(bytes(max(0, fs.f_bavail * fs.f_frsize - leave)))


def send(server, name):
    """The code for one message; a connection that breaks is none."""
    try:
        with server.smtp() as client:
            client.ehlo()
            code, _ = client.mail("a@example.org")
            if code == 250:
                code, _ = client.rcpt(f"alice@{DOMAIN}")
            if code == 250:
                code, _ = client.data(BODY % name)
            return code
    except (smtplib.SMTPException, OSError):
        return None


@pytest.mark.parametrize("reserve", [8 * 1024 * 1024, 0], ids=["reserve", "no-reserve"])
def test_a_really_full_disk(small_disk, reserve):
    server = Server(small_disk, disk_reserve_bytes=reserve, checkpoint_bytes=4 * 1024 * 1024, queue_glitch_retry_s=1)
    server.add_user("alice")
    server.start()
    try:
        accepted = [b"before"]
        assert send(server, b"before") == 250
        server.wait_count("alice", 1)
        fill(small_disk, reserve + 3 * 1024 * 1024)
        codes = []
        for n in range(60):
            codes.append(send(server, b"%d" % n))
            if codes[-1] == 250:
                accepted.append(b"%d" % n)
        assert codes[-1] == 452, codes
        assert set(codes) <= {250, 451, 452, None}, codes
        with server.imap("alice", mailbox="INBOX") as imap:
            assert imap.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(BODY % b"before")
            assert imap.append("INBOX", None, None, BODY % b"appended")[0] == "NO"
            assert imap.noop()[0] == "OK"
        server.stop()
        if reserve:
            # Also a start on a full disk serves what is there.
            server.start()
            with server.imap("alice", mailbox="INBOX") as imap:
                assert imap.fetch("1", "(BODY.PEEK[])")[0] == "OK"
            (small_disk / "filler").unlink()
        else:
            # Without a reserve there is no room to start in: it says so, and harms nothing.
            server.start(wait=False)
            assert server.process.wait(PATIENCE) == 1
            server.process = None
            assert "No space left on device" in server.log()
            (small_disk / "filler").unlink()
            server.start()
        wait_for(lambda: send(server, b"after") == 250, "mail is taken again")
        server.wait_count("alice", len(accepted) + 1)
        with server.imap("alice", mailbox="INBOX") as imap:
            data = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            got = [item[1].split(b": ")[1].strip() for item in data if isinstance(item, tuple)]
        assert sorted(got) == sorted(accepted + [b"after"]), (got, accepted)
    finally:
        server.stop()


def disk(server, folder):
    return next(d for d in server.json("status")["disks"] if d["disk"].startswith(str(folder)))


def test_a_warning_comes_before_the_refusal_and_deleting_works_throughout(small_disk):
    mib = 1024 * 1024
    server = Server(small_disk, disk_reserve_bytes=8 * mib, disk_warn_bytes=20 * mib, disk_warn_percent=0, checkpoint_bytes=4 * mib)
    server.add_user("alice")
    server.start()
    try:
        server.send("alice", BODY % b"kept")
        server.wait_count("alice", 1)
        assert disk(server, small_disk)["state"] == "ok" and "nearly full" not in server.log()
        fill(small_disk, 14 * mib)
        low = disk(server, small_disk)
        assert low["state"] == "low" and low["warn_below"] == 20 * mib and "make room" in low["do"]
        assert "deleted expire" in server.run("status").stdout
        assert send(server, b"still taken") == 250
        fill(small_disk, 6 * mib)
        assert disk(server, small_disk)["state"] == "full"
        assert send(server, b"refused") == 452
        server.wait_count("alice", 2)
        with server.imap("alice", mailbox="INBOX") as imap:
            assert imap.store("1:*", "+FLAGS", r"(\Deleted)")[0] == "OK"
            assert len(imap.expunge()[1]) == 2
        assert server.json("deleted", "purge", f"alice@{DOMAIN}", "--all", "--yes")["purged"]["removed"] == 2
        (small_disk / "filler").unlink()
        assert disk(server, small_disk)["state"] == "ok"
        told = [line for line in server.log().splitlines() if "event=\"the disk" in line]
        assert [line.split('event="')[1].split('"')[0] for line in told] == ["the disk is nearly full", "the disk is full", "the disk has room again"], told
        assert all("level=warn" in line for line in told)
        wait_for(lambda: send(server, b"after") == 250, "mail is taken again")
    finally:
        server.stop()
