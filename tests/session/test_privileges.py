"""Started by root, the daemons go on as users of their own."""
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from harness import DOMAIN, Server, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
STORE, INET = "nobody", "daemon"


@pytest.fixture
def server():
    """In a folder that other users may enter, as /var/lib is."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-users-"))
    folder.chmod(0o755)
    made = Server(folder, user_store=STORE, user_inet=INET)
    yield made
    made.stop()
    shutil.rmtree(folder)


def user_of(pid):
    with open(f"/proc/{pid}/status") as f:
        ids = next(line for line in f if line.startswith("Uid:")).split()[1:]
    assert len(set(ids)) == 1, ids
    return pwd.getpwuid(int(ids[0])).pw_name


def test_each_program_is_its_own_user(server):
    server.add_user("alice")  # by a private store, before the first start
    server.start()
    for program, user in (("store", STORE), ("inet", INET)):
        assert user_of(server.pid(program)) == user
    server.send("alice", b"Subject: one\r\n\r\nx\r\n")
    server.wait_count("alice", 1)
    for program in ("store", "inet"):
        pid = server.kill_program(program)
        wait_for(lambda: server.json("status")["server"]["serving"] and server.pid(program) != pid, f"{program} is back")
    server.add_user("bob")
    server.send(["alice", "bob"], b"Subject: two\r\n\r\nx\r\n")
    server.wait_count("alice", 2)
    server.wait_count("bob", 1)
    assert server.json("ipc")["queues"] and "transport" in server.json("queue")
    server.stop()
    server.run("domain", "add", "second.test")  # a private store again, on what the other one wrote
    server.start()
    server.wait_count("bob", 1)


def test_what_each_of_them_can_reach(server):
    server.start()

    def may(user, test, path):
        return subprocess.run(["setpriv", f"--reuid={user}", "--clear-groups", "test", test, path]).returncode == 0

    home = server.home
    assert may(STORE, "-w", home / "groups/first") and not may(INET, "-x", home / "groups")
    assert may(INET, "-w", home / "Mailroot/Vsi 1/Queue") and not may(STORE, "-x", home / "Mailroot/Vsi 1")
    for user in (STORE, INET):
        assert not may(user, "-r", home / "tls/key.pem")
        assert not may(user, "-w", home / "run")
        assert not may(user, "-r", home / "mailroot.conf")
    assert not may(STORE, "-w", home / "run/inet") and not may("mail", "-w", home / "run/exipc")


def test_a_user_that_is_not_there(server):
    server.configure(user_store="no-such-user")
    server.start(wait=False)
    assert server.process.wait(60) == 1
    server.process = None
    assert "no-such-user" in server.log()
    server.configure(user_store=STORE)


def test_a_home_that_the_user_cannot_enter(server):
    server.home.chmod(0o700)
    server.start(wait=False)
    assert server.process.wait(60) == 1
    server.process = None
    assert "0711" in server.log() and STORE in server.log()
    server.home.chmod(0o711)
    server.start()
