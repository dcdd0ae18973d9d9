"""The supervisor: starting, restarting, stopping, and what it says when it can't."""
import os
import re
import signal
import socket
import time

import pytest

from harness import PATIENCE, wait_for


def start_without_waiting(server):
    server.start(wait=False)
    return server


def ends(server, status):
    assert server.process.wait(PATIENCE * 2) == status, server.log()
    server.process = None
    return server.log()


MOMENTS = ["program=store state=starting", "program=mailroot-store event=serving", "program=store state=serving",
           "program=inet state=starting", "program=mailroot-inet event=serving"]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: m.replace("program=", "").replace(" ", "-"))
def test_a_signal_while_it_starts_ends_it_in_order(make_server, moment):
    server = start_without_waiting(make_server(start=False))
    wait_for(lambda: moment in server.log(), moment)
    server.process.send_signal(signal.SIGTERM)
    log = ends(server, 0)
    assert "level=error" not in log and "program ended" not in log, log
    server.start()


def test_ctrl_c_is_for_the_supervisor(make_server):
    """A terminal sends it to the whole group; the protocol host must not lose its store under its hands."""
    server = make_server(users=["alice"])
    os.killpg(server.process.pid, signal.SIGINT)
    log = ends(server, 0)
    assert "program ended" not in log and "store lost" not in log.split("event=stopping")[0], log


@pytest.mark.parametrize("program", ["store", "inet"])
def test_what_dies_is_started_again_at_once_and_then_ever_later(make_server, program):
    server = make_server(users=["alice"])
    other = {"store": "inet", "inet": "store"}[program]
    other_pid = server.pid(other)
    for n in range(4):
        server.kill_program(program)
        wait_for(lambda: server.programs()[program]["restarts"] == n + 1
                 and server.programs()[program]["state"] == "serving", f"restart {n + 1} of {program}")
    assert server.pid(other) == other_pid and server.programs()[other]["restarts"] == 0
    waits = re.findall(rf"event=\"program ended\" program={program} how=signal status=9 restart_in_ms=(\d+)", server.log())
    assert [int(w) for w in waits] == [0, 50, 100, 200], server.log()
    wait_for(lambda: server.json("status")["server"]["serving"], "all serve")
    server.send("alice", b"Subject: after it\r\n\r\nx\r\n")
    server.wait_count("alice", 1)


def test_a_store_that_cannot_start_is_an_error_and_an_end(make_server):
    server = make_server(users=["alice"], start=False)
    for log in (server.home / "groups/first").glob("E00*.log"):
        log.write_bytes(b"not a log" * 1000)
    log = ends(start_without_waiting(server), 1)
    assert re.search(r"mailroot-store: .*E00[0-9A-F]+\.log", log), log
    assert "restart_in_ms" not in log


def test_a_protocol_host_that_cannot_start_is_an_error_and_an_end(make_server):
    server = make_server(start=False)
    (server.home / "tls/key.pem").write_text("not a key\n")
    log = ends(start_without_waiting(server), 1)
    assert re.search(r"mailroot-inet: .*key\.pem", log), log
    assert "program=store state=stopped" in log and "restart_in_ms" not in log


def test_every_address_of_the_list_is_listened_on(make_server):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    server = make_server(listen_address="127.0.0.1, ::1")
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, server.ports["smtp"]), timeout=PATIENCE) as s:
            assert s.recv(4).startswith(b"220"), address


def test_log_lines_are_logfmt_or_the_journals(make_server, monkeypatch):
    """One event a line; under systemd a level in front instead of the time."""
    server = make_server(users=["alice"])
    server.send("alice", b"Subject: x\r\n\r\nx\r\n")
    server.wait_count("alice", 1)
    server.stop()
    plain = server.log().splitlines()
    form = r'level=(info|notice|warn) program=mailroot[-a-z]* event=("[^"]+"|\w+)( \w+=("([^"\\]|\\.)*"|[^ "]*))*'
    for line in plain:
        assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z " + form, line), line
    assert any("message accepted" in line for line in plain)
    status = os.stat(server.log_path)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    server.start()
    server.stop()
    journal = server.log().splitlines()[len(plain):]
    assert journal
    for line in journal:
        assert re.fullmatch(r"<[456]>" + form, line), line


def test_a_second_signal_waits_for_nobody(make_server):
    """A store that hangs is not waited for; it loses nothing."""
    server = make_server(users=["alice"])
    server.send("alice", b"Subject: x\r\n\r\nx\r\n")
    server.wait_count("alice", 1)
    os.kill(server.pid("store"), signal.SIGSTOP)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "event=stopping" in server.log(), "the first signal")
    began = time.monotonic()
    while server.process.poll() is None and time.monotonic() - began < PATIENCE:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    log = ends(server, 0)
    assert "stopping at once" in log, log
    server.start()
    server.wait_count("alice", 1)
