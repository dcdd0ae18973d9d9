"""Homes of other formats: an older one is upgraded, a newer one is refused by everything."""
import hashlib
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import tarfile

import pytest

import esereader
from harness import BUILD, SERVICES, Server, free_ports

# What the first release's format left when its store was killed: alice and bob, ten messages, an alias.
KEPT = pathlib.Path(__file__).parent.parent / "data" / "home-format-1.tar.xz"
POWERCUT_EXIT = 86


class OldHome(Server):
    def __init__(self, folder):
        self.process = None
        self.log_path = folder / "log"
        with tarfile.open(KEPT) as archive:
            archive.extractall(folder)
        self.home = folder / "home"
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES))))
        self.configure(**{f"port_{name}": port for name, port in self.ports.items()})


def digest(home):
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in home.rglob("*") if path.is_file()}


def check_mail(server):
    """Everything that was in the kept home, through the running server."""
    server.start()
    with server.imap("alice", mailbox="INBOX") as client:
        kind, found = client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
        assert kind == "OK"
        texts = {int(re.search(rb"UID (\d+)", part[0])[1]): part for part in found if isinstance(part, tuple)}
        assert sorted(texts) == [1, 2, 3, 5, 6, 7]
        assert b"\\Seen" in texts[3][0] and b"\\Flagged" in texts[3][0] and b"\\Seen" not in texts[1][0]
        for uid in 1, 2, 3, 5, 6:
            i = uid - 1
            lines = b"".join(b"line %d of message %d\r\n" % (k, i) for k in range(10 + i * 300))
            assert texts[uid][1].endswith(b"Subject: old %d\r\n\r\n" % i + lines)
        client.select("Kept", readonly=True)
        assert len(client.search(None, "ALL")[1][0].split()) == 2
    with server.imap("bob", mailbox="INBOX") as client:
        kind, found = client.fetch("1:*", "(BODY.PEEK[TEXT])")
        assert [part[1] for part in found if isinstance(part, tuple)] == \
            [b"one body for two\r\n", b"not yet at a checkpoint\r\n"]
    server.send(["all"], b"From: x@example.org\r\nSubject: after\r\n\r\nthe alias is there\r\n")
    server.wait_count("alice", 7)
    server.wait_count("bob", 3)
    server.stop()
    assert server.run("ese", "check", check=False).returncode == 0


def test_an_old_home_is_refused_then_upgraded_and_read(tmp_path):
    server = OldHome(tmp_path)
    before = digest(server.home)
    for words in (["user", "list"], ["ese", "check"], ["ese", "dump", "checkpoint"]):
        said = server.run(*words, check=False)
        assert said.returncode != 0 and "format 1" in said.stderr and "mailroot ese upgrade" in said.stderr, said
    told = server.json("ese", "upgrade", "--dry-run")
    assert told["found"][0]["databases_old"] == 1 and told["found"][0]["directory_rows_to_move"] > 4
    after = digest(server.home)
    assert {name: after[name] for name in before} == before  # nothing is changed
    assert server.json("ese", "upgrade")["upgrade"]["result"] == "done"
    assert server.json("ese", "upgrade")["upgrade"]["result"] == "nothing to do"
    assert not server.json("ese", "upgrade", "--dry-run")["found"][0]["old"]
    check_mail(server)


def test_an_upgrade_may_lose_power_at_any_moment(tmp_path):
    """At every n-th operation of ours and RocksDB's; a sample, or all of them with MAILROOT_FULL=1."""
    library = BUILD / "tests" / "crash" / "libpowercut.so"
    if not library.exists() or (BUILD / "asan").exists():
        pytest.skip("built without the crash tests")
    kept = OldHome(tmp_path / "kept")
    count, at, cuts = None, 1, 0
    while count is None or at <= count:
        server = OldHome.__new__(OldHome)
        server.__dict__.update(kept.__dict__)
        server.home = tmp_path / "home"
        shutil.rmtree(server.home, ignore_errors=True)
        shutil.copytree(kept.home, server.home)
        report = tmp_path / "report"
        environment = dict(os.environ, LD_PRELOAD=str(library), POWERCUT_ROOT=str(server.home),
                           POWERCUT_MODE=("tear", "lose", "keep")[at % 3], POWERCUT_REPORT=str(report),
                           POWERCUT_AT=str(0 if count is None else at), POWERCUT_SEED=str(at))
        done = subprocess.run(server.command("ese", "upgrade"), env=environment, capture_output=True, text=True,
                              check=False)
        if count is None:
            assert done.returncode == 0, done.stderr
            count = int(report.read_text().split()[0])
            at = 1 if os.environ.get("MAILROOT_FULL") else random.Random(7).randrange(1, 9)
            assert count > 50
            continue
        assert done.returncode in (0, POWERCUT_EXIT), (at, done)
        cuts += done.returncode == POWERCUT_EXIT
        said = server.run("user", "list", check=False)  # all of it, or it says what to do
        if said.returncode == 0:
            assert "alice" in said.stdout and "bob" in said.stdout, (at, said)
        else:
            assert "mailroot ese upgrade" in said.stderr, (at, said)
        server.run("ese", "upgrade")
        told = server.json("user", "list")["users"]
        assert [user["user"] for user in told] == ["alice@mailroot.test", "bob@mailroot.test"], at
        found = server.json("ese", "check")["checked"]
        assert (found["messages"], found["damage"]) == (10, 0), (at, found)
        at += 1 if os.environ.get("MAILROOT_FULL") else 17
    print(f"{count} operations, {cuts} cuts")
    assert cuts > 5
    check_mail(server)


def raise_version(path, size, at=0):
    """Format 3 in a header of `size` bytes, with the CRC that belongs to it."""
    data = bytearray(path.read_bytes())
    if data[at + 4:at + 8] not in (b"MRLG", b"MRCK"):
        return
    struct.pack_into("<I", data, at + 8, 3)
    struct.pack_into("<I", data, at, esereader.crc32c(data[at + 4:at + size]))
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["log", "checkpoint"])
def test_a_newer_format_is_refused_in_one_sentence_by_everything(tmp_path, what):
    server = Server(tmp_path)
    server.add_user("alice")
    group = server.home / "groups" / "first"
    if what == "log":
        for path in group.glob("E00[0-9A-F]*.log"):
            raise_version(path, 4096)
    else:
        raise_version(group / "E00.chk", 32768)
        raise_version(group / "E00.chk", 32768, 32768)
    before = digest(server.home)
    for words in (["user", "list"], ["ese", "upgrade"], ["ese", "upgrade", "--dry-run"], ["ese", "dump", what],
                  ["ese", "check"]):
        said = server.run(*words, check=False)
        told = said.stderr + said.stdout
        assert "format 3 is newer than this program's 2" in told, (words, said)
        assert said.returncode != 0, (words, said)
    after = digest(server.home)
    assert {name: after[name] for name in before} == before
