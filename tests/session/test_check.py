"""mailroot ese check and ese repair by hand: what they say, to whom, with which exit status."""
import json
import threading

from harness import DOMAIN

TEXT = "From: Sender <s@example.org>\r\nSubject: {}\r\nMessage-ID: <{}@example.org>\r\n\r\n{}\r\n"


def fill(server):
    with server.imap("alice") as imap:
        imap.create("Work")
        for n in range(5):
            status, _ = imap.append("Work", r"(\Flagged)", None, TEXT.format(f"report {n}", n, "line " * 3000).encode())
            assert status == "OK"


def damage(server, logs=False):
    """A byte of every second page of the streaming file; and of every log file, which else still has the right bytes."""
    paths = [server.home / "groups/first/mailbox/default.stm"]
    for path in paths + (sorted(server.home.glob("groups/first/E000*.log")) if logs else []):
        data = bytearray(path.read_bytes())
        for at in range(4196, len(data), 8192):
            data[at] ^= 1
        path.write_bytes(data)


def findings(done):
    return json.loads(done.stdout)["findings"]


def test_a_sound_home_is_clean(make_server):
    server = make_server(users=["alice"])
    fill(server)
    busy = server.run("ese", "check", check=False)
    assert busy.returncode == 1 and "is open in another process" in busy.stderr and "--online" in busy.stderr
    online = server.run("--json", "ese", "check", "--online")
    assert findings(online) == [] and json.loads(online.stdout)["checked"]["messages"] == 5
    assert json.loads(online.stdout)["checked"]["pages"] > 0
    server.stop()
    done = server.run("ese", "check")
    assert "messages" in done.stdout and "damage:" not in done.stdout
    group = server.run("--json", "ese", "check", server.home / "groups/first")
    assert findings(group) == []
    quick = server.run("--json", "ese", "check", "--quick")
    assert json.loads(quick.stdout)["checked"]["pages"] == 0


def test_damage_is_named_as_a_user_knows_it(make_server):
    server = make_server(users=["alice"])
    fill(server)
    server.stop()
    damage(server)
    done = server.run("ese", "check", check=False)
    assert done.returncode == 4, done.stderr
    assert f"Work of alice@{DOMAIN}: message UID 3" in done.stdout
    assert "from Sender <s@example.org>, 'report 2'" in done.stdout
    as_json = server.run("--json", "ese", "check", check=False)
    found = [f for f in findings(as_json) if f["kind"] == "message-damaged"]
    assert len(found) == 5 and {f["uid"] for f in found} == {1, 2, 3, 4, 5}
    assert all(f["folder"] == "Work" and f["user"] == f"alice@{DOMAIN}" and f["date"] for f in found)
    server.start()
    online = server.run("--json", "ese", "check", "--online", check=False)
    assert online.returncode == 4
    assert len([f for f in findings(online) if f["kind"] == "message-damaged"]) == 5
    with server.imap("alice", mailbox="Work") as imap:
        try:
            status, data = imap.fetch("1:5", "(BODY.PEEK[])")
            assert status == "NO", (status, data)
        except imap.error as error:
            assert "damaged" in str(error)
        assert imap.fetch("1:5", "(FLAGS ENVELOPE)")[0] == "OK"
    server.stop()


def test_a_notice_takes_the_place_of_what_is_lost(make_server, tmp_path):
    server = make_server(users=["alice"])
    fill(server)
    server.stop()
    damage(server, logs=True)
    new = tmp_path / "new"
    done = server.run("--json", "ese", "repair", server.home, "--to", new, "--keep-damaged", check=False)
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert report["repaired"]["messages"] == 5 and report["repaired"]["messages_with_a_notice_instead"] == 5
    assert report["repaired"]["per_cent_of_messages"] == "0.00" and report["repaired"]["damage_in_the_new_home"] == 0
    assert server.run("ese", "repair", server.home, "--to", new, check=False).returncode == 1
    server.home = new
    server.start()
    running = server.run("ese", "repair", new, "--to", tmp_path / "other", check=False)
    assert running.returncode == 1 and "open in another process" in running.stderr
    assert not (tmp_path / "other").exists()
    with server.imap("alice", mailbox="Work") as imap:
        status, data = imap.fetch("3", "(UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[1])")
        assert status == "OK"
        text = str(data)
        assert "UID 3" in text and r"\\Flagged" in text and "[damaged] report 2" in text
        assert "What is lost:" in text and "octets 0 to" in text.replace("octets 4096 to", "octets 0 to")
        assert '"application" "octet-stream"' in text.lower()
    server.stop()


def test_mail_that_comes_and_goes_is_no_damage(make_server):
    """Deliveries, flags and expunges go on while it is checked."""
    server = make_server(users=["alice"])
    stop = threading.Event()
    failures = []

    def keep_busy():
        try:
            n = 0
            with server.imap("alice") as imap:
                while not stop.is_set():
                    server.send("alice", TEXT.format(n, n, "line " * (n % 50) * 100))
                    imap.select("INBOX")
                    imap.store("1:*", "+FLAGS", r"\Seen")
                    if n % 5 == 4:
                        imap.store("1:3", "+FLAGS", r"\Deleted")
                        imap.expunge()
                    n += 1
        except Exception as error:
            failures.append(error)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(6):
            done = server.run("--json", "ese", "check", "--online", check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        stop.set()
        busy.join()
    assert not failures, failures


def test_a_backup_is_checked_and_can_be_made_a_home(make_server, tmp_path):
    server = make_server(users=["alice"])
    fill(server)
    server.run("ese", "backup", tmp_path / "backups")
    server.stop()
    backup = next(p for p in (tmp_path / "backups").iterdir() if p.is_dir())
    done = server.run("--json", "ese", "check", backup)
    assert json.loads(done.stdout)["checked"]["messages"] == 5
    assert json.loads(done.stdout)["checked"]["damage"] == 0
    done = server.run("--json", "ese", "repair", backup, "--to", tmp_path / "new")
    assert json.loads(done.stdout)["repaired"]["per_cent_of_messages"] == "100.00"
    server.home = tmp_path / "new"
    server.start()
    with server.imap("alice", mailbox="Work") as imap:
        assert len(imap.search(None, "FLAGGED")[1][0].split()) == 5
    server.stop()
