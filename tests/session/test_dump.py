"""ese dump, compared with a reader that was written from docs/formats.md alone."""
import fcntl
import json
import os
import shutil

import pytest

import esereader
from harness import Server

MESSAGE = b"From: bob@example.org\r\nTo: alice@mailroot.test\r\nSubject: dumped\r\n\r\n"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("dump"))
    server.add_user("alice")
    server.start()
    for i in range(3):
        server.send(["alice"], MESSAGE + b"".join(b"line %d of %d\r\n" % (k, i) for k in range(700 * i + 1)))
    server.wait_count("alice", 3)
    # While the store runs: log and checkpoint yes, databases no.
    assert server.json("ese", "dump", "log")["files"]
    assert len(server.json("ese", "dump", "checkpoint")["slots"]) == 2
    for words in ("space",), ("message", "1"), ("row", "20"), ("header",):
        said = server.run("ese", "dump", *words, check=False)
        assert said.returncode == 1 and "stop the server" in said.stderr, said
    server.kill()  # the log still holds what a checkpoint would let go
    with open(os.path.join(group(server), "E00.lck"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the store is really gone
    server.killed = tmp_path_factory.mktemp("killed") / "group"
    shutil.copytree(group(server), server.killed)
    yield server


def group(server):
    return os.path.join(server.home, "groups", "first")


def logs(server):
    for path in sorted(server.killed.glob("E00*.log")):
        if "tmp" not in path.name:
            yield path.name, path.read_bytes()


def test_the_log_is_told_as_the_reader_sees_it(stopped):
    told = stopped.json("ese", "dump", "log", "--records", stopped.killed)
    want, files = [], []
    for name, data in logs(stopped):
        head, records = esereader.log_header(data), esereader.log_records(data)
        files.append((name, head["generation"], head["format"], head["bytes"], head["previous_end"], len(records)))
        want += [(f"{r['position']:016x}", r["kind"], len(r["payload"]),
                  f"{r['database']:08x}" if r["database"] else "", r["partition"]) for r in records]
    assert want and [(r["position"], r["kind"], r["payload"], r["database"], r["partition"])
                     for r in told["records"]] == want
    assert [(f["file"], f["generation"], f["format"], f["bytes"], f["previous_end"], f["records"])
            for f in told["files"]] == files
    assert not any(f["note"] for f in told["files"])
    text = stopped.run("ese", "dump", "log", "--records", stopped.killed).stdout
    assert want[0][0] in text and "COMMIT" in text
    one = want[len(want) // 2][0]
    assert [r["position"] for r in stopped.json("ese", "dump", "log", "--records", stopped.killed, "--from", one)["records"]] == \
        [w[0] for w in want if w[0] >= one]


def test_headers_and_checkpoint(stopped):
    name, data = next(logs(stopped))
    head = esereader.log_header(data)
    told = stopped.json("ese", "dump", "header", stopped.killed / name)["log_file"]
    assert told["signature"] == head["signature"].hex()
    for field in "format", "generation", "bytes", "created_ns", "previous_created_ns", "previous_end":
        assert told[field] == head[field]
    want = esereader.checkpoint((stopped.killed / "E00.chk").read_bytes())
    told = stopped.json("ese", "dump", "checkpoint", stopped.killed)
    slot = max(told["slots"], key=lambda s: s["number"])
    assert (slot["number"], slot["format"], slot["position"], slot["oldest_kept"], slot["signature"]) == \
        (want["number"], want["format"], f"{want['position']:016x}", want["oldest_kept"], want["signature"].hex())
    assert slot["state"] == ("clean" if want["state"] == 2 else "in use")
    states = {1: "up", 2: "down", 3: "failed"}
    assert [(d["name"], d["id"], d["position"], d["state"]) for d in told["databases"]] == \
        [(n, f"{i:016x}", f"{p:016x}", states[s]) for n, i, p, s in want["databases"]]
    headers = stopped.json("ese", "dump", "header", stopped.killed)["databases"]
    ids = {d["name"]: d["id"] for d in told["databases"]}
    assert {h["database"]: h["id"] for h in headers} == ids
    assert all(h["signature"] == want["signature"].hex() and h["format"] == 2 for h in headers)


def described(server):
    ids = {}
    for _, data in logs(server):
        for record in esereader.log_records(data):
            if record["kind"] != "COMMIT":
                continue
            for item in esereader.items(record["payload"]):
                if item[0] == "describe":
                    ids[item[1]] = item[2:]
    return ids


def test_bodies_rows_and_space(stopped):
    # A store that came up and stopped in order: the rows are in their files.
    stopped.start()
    stopped.stop()
    bodies = described(stopped)
    with open(os.path.join(group(stopped), "mailbox", "default.stm"), "rb") as file:
        stm = file.read()
    found = 0
    for ident, (length, runs, crcs) in bodies.items():
        content = esereader.body(stm, length, runs, crcs)
        if b"Subject: dumped" not in content:
            continue
        found += 1
        told = stopped.json("ese", "dump", "message", str(ident))
        assert told["body"]["bytes"] == length and told["body"]["references"] == 1
        assert [(r["page"], r["pages"]) for r in told["runs"]] == runs
        assert [int(p["crc"], 16) for p in told["pages"]] == list(crcs)
        assert all(p["ok"] and p["crc"] == p["crc_found"] for p in told["pages"])
        assert [(m["user"], m["folder"], m["subject"]) for m in told["messages"]] == \
            [("alice@mailroot.test", "INBOX", "dumped")]
    assert found == 3
    space = stopped.json("ese", "dump", "space", "--database", "mailbox/default")
    assert space["space"]["pages"] == len(stm) // 4096
    assert space["space"]["committed"] == sum(len(crcs) for _, _, crcs in bodies.values())
    assert sum(r["pages"] for r in space["free_runs"]) == space["space"]["free"]
    rows = stopped.json("ese", "dump", "row", "20", "--prefix", "--database", "mailbox/default")["rows"]
    items = [r for r in rows if r["key"][18:20] == "05"]
    assert len(items) == 3 and all("PR_SUBJECT" in r["list"] and "dumped" in r["list"] for r in items)
    one = stopped.json("ese", "dump", "row", items[0]["key"], "--database", "mailbox/default")["rows"]
    assert one == [items[0]]
    assert "PR_SUBJECT" in stopped.run("ese", "dump", "row", items[0]["key"], "--database", "mailbox/default").stdout
    assert stopped.run("ese", "dump", "row", "2f", "--database", "mailbox/default", check=False).returncode == 1


def test_damage_is_told_and_gone_around(stopped, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(stopped.killed, copy)
    name, data = max(logs(stopped), key=lambda log: len(esereader.log_records(log[1])))
    records = esereader.log_records(data)
    groups = [r for r in records if r["kind"] == "GROUP"]
    with open(copy / name, "r+b") as file:
        file.seek((groups[1]["position"] & 0xFFFFFFFF) + 100)
        file.write(b"damaged")
    told = stopped.json("ese", "dump", "log", str(copy), "--records")
    here = [f for f in told["files"] if f["file"] == name][0]
    assert here["groups"] == 1 and "damaged" in here["note"]
    shutil.rmtree(copy)
    shutil.copytree(group(stopped), copy)
    ident, (_, runs, crcs) = next((i, b) for i, b in described(stopped).items() if b[0] > 5000)
    with open(copy / "mailbox" / "default.stm", "r+b") as file:
        file.seek(runs[0][0] * 4096 + 10)
        file.write(b"damaged")
    told = stopped.run("--json", "ese", "dump", "message", str(ident), str(copy), check=False)
    assert told.returncode == 4
    pages = json.loads(told.stdout)["pages"]
    assert [p["ok"] for p in pages] == [False] + [True] * (len(crcs) - 1)


def test_words_that_make_no_sense_are_refused(stopped):
    for words in (["message", "x"], ["row", "xyz"], ["header", "/nowhere"], ["log", "--records", "--from", "zz"],
                  ["checkpoint", "/nowhere"], ["log", "/dev/null"]):
        said = stopped.run("ese", "dump", *words, check=False)
        assert said.returncode != 0 and said.stderr.startswith("mailroot: "), (words, said)
    assert json.loads(stopped.run("ese", "dump", "log", "--json").stdout)["files"]
    assert "position" in stopped.run("ese", "dump", "log", "--help").stdout
