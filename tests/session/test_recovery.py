"""A recovery store: a mailbox, a folder or a message out of a restored copy, back into the live store."""
import hashlib
import imaplib
import re
import shutil
import subprocess

import pytest

from harness import DOMAIN


def message(subject, size=200):
    return (f"From: Bob <bob@example.org>\r\nSubject: {subject}\r\nMessage-ID: <{subject.replace(' ', '.')}@example.org>\r\n"
            f"\r\n{'x' * size}\r\n").encode()


def folder_of(imap, folder):
    """UID, flags, internal date and the hash of each message."""
    status, data = imap.select(f'"{folder}"', readonly=True)
    if status != "OK":
        return None
    status, data = imap.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
    assert status == "OK"
    found = {}
    for item in data:
        if isinstance(item, tuple):
            uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
            flags = tuple(sorted(f for f in imaplib.ParseFlags(item[0]) if f != b"\\Recent"))
            found[uid] = (flags, re.search(rb'INTERNALDATE "([^"]*)"', item[0]).group(1), hashlib.sha256(item[1]).hexdigest())
    return found


@pytest.fixture
def lost(make_server, tmp_path):
    """A server, a copy of its stopped home, and what was in it."""
    server = make_server(users=["alice", "bob"])
    with server.imap("alice") as imap:
        imap.create("Work/Plans")
        for n in range(5):
            imap.append("INBOX", r"(\Seen)" if n % 2 else None, '"21-Nov-2026 10:00:0%d +0100"' % n, message(f"inbox {n}"))
            imap.append("Work/Plans", r"(\Flagged $Junk)", '"20-Nov-2026 10:00:0%d +0100"' % n, message(f"plan {n}", n * 30000))
        imap.select("INBOX")
        imap.store("2", "+FLAGS", r"(\Deleted)")
        imap.expunge()
        before = {name: folder_of(imap, name) for name in ("INBOX", "Work/Plans")}
    server.stop()
    copy = tmp_path / "copy"
    shutil.copytree(server.home / "groups", copy / "groups")
    server.start()
    return server, str(copy), before


def facts(server, *words):
    return server.json(*words)["restored"]


def test_lists_and_finds(lost):
    server, copy, _ = lost
    rows = {r["user"]: r for r in server.json("recovery", "list", copy)["mailboxes"]}
    assert rows[f"alice@{DOMAIN}"]["messages"] == 9
    assert rows[f"bob@{DOMAIN}"]["messages"] == 0
    folders = {r["folder"]: r for r in server.json("recovery", "list", copy, f"alice@{DOMAIN}")["folders"]}
    assert folders["INBOX"]["messages"] == 4 and folders["Work/Plans"]["messages"] == 5
    found = server.json("recovery", "find", copy, "--subject", "PLAN 3")["messages"]
    assert [(r["folder"], r["uid"]) for r in found] == [("Work/Plans", 4)]
    found = server.json("recovery", "list", copy, f"alice@{DOMAIN}", "INBOX")["messages"]
    assert [r["uid"] for r in found] == [1, 3, 4, 5]
    text = server.run("recovery", "list", copy, f"alice@{DOMAIN}").stdout
    assert "Work/Plans" in text


def test_a_deleted_folder_comes_back_with_flags_dates_and_uids(lost):
    server, copy, before = lost
    with server.imap("alice") as imap:
        imap.delete("Work/Plans")
        assert folder_of(imap, "Work/Plans") is None
    dry = facts(server, "recovery", "restore", copy, f"alice@{DOMAIN}", "--folder", "Work/Plans", "--dry-run")
    assert dry["messages"] == 5
    done = facts(server, "recovery", "restore", copy, f"alice@{DOMAIN}", "--folder", "Work/Plans")
    assert done["messages"] == done["with_their_uid"] == 5
    with server.imap("alice") as imap:
        assert folder_of(imap, "Work/Plans") == before["Work/Plans"]
        assert folder_of(imap, "INBOX") == before["INBOX"]


def test_what_is_there_is_left_alone_and_what_is_missing_gets_new_uids(lost):
    server, copy, before = lost
    with server.imap("alice") as imap:
        imap.select("INBOX")
        imap.uid("STORE", "1,3", "+FLAGS", r"(\Deleted)")
        imap.expunge()
        imap.append("INBOX", None, None, message("new one"))
        live = folder_of(imap, "INBOX")
    done = facts(server, "recovery", "restore", copy, f"alice@{DOMAIN}")
    assert (done["messages"], done["already_there"]) == (2, 7)
    with server.imap("alice") as imap:
        after = folder_of(imap, "INBOX")
    assert {uid: after[uid] for uid in live} == live
    back = [after[uid] for uid in sorted(after) if uid not in live]
    assert back == [before["INBOX"][1], before["INBOX"][3]]
    assert min(uid for uid in after if uid not in live) > max(live)
    again = facts(server, "recovery", "restore", copy, f"alice@{DOMAIN}")
    assert (again["messages"], again["already_there"]) == (0, 9)


def test_one_message_into_another_folder_of_another_user(lost):
    server, copy, before = lost
    done = facts(server, "recovery", "restore", copy, f"alice@{DOMAIN}", "--folder", "Work/Plans", "--uid", "4",
                 "--to", f"bob@{DOMAIN}", "--into", "Rescued")
    assert done["messages"] == 1
    with server.imap("bob") as imap:
        assert list(folder_of(imap, "Rescued").values()) == [before["Work/Plans"][4]]


def test_a_whole_mailbox_of_a_new_user_keeps_every_uid(lost):
    server, copy, before = lost
    server.add_user("carol")
    done = facts(server, "recovery", "restore", copy, f"alice@{DOMAIN}", "--to", f"carol@{DOMAIN}")
    assert done["messages"] == done["with_their_uid"] == 9
    with server.imap("carol") as imap:
        for folder, messages in before.items():
            assert folder_of(imap, folder) == messages


def test_a_damaged_body_is_named_and_left_out(lost, tmp_path):
    server, copy, _ = lost
    with open(f"{copy}/groups/first/mailbox/default.stm", "r+b") as f:
        content = f.read()
        at = content.index(b"Subject: plan 2")
        f.seek(at)
        f.write(b"subject")
    with server.imap("alice") as imap:
        imap.delete("Work/Plans")
    run = server.run("recovery", "restore", copy, f"alice@{DOMAIN}", "--folder", "Work/Plans", "--json", check=False)
    assert run.returncode == 4
    assert "Work/Plans, UID 3, 'plan 2'" in run.stderr
    with server.imap("alice") as imap:
        assert sorted(folder_of(imap, "Work/Plans")) == [1, 2, 4, 5]


@pytest.mark.parametrize("words, says", [
    (("list", "nothing"), "there is no recovery store 'nothing'"),
    (("list", "../x/y"), "can't be the name"),
    (("find", "COPY", "--user", "nobody"), "there is no user 'nobody'"),
    (("find", "COPY", "--since", "soon"), "'soon' is no time"),
    (("restore", "COPY", "ALICE", "--uid", "3"), "--uid needs --folder"),
    (("restore", "COPY", "ALICE", "--folder", "INBOX", "--uid", "3:"), "is no UID"),
    (("restore", "COPY", "ALICE", "--folder", "None"), "there is no folder 'None'"),
    (("restore", "COPY", "ALICE", "--to", "ghost@" + DOMAIN), "there is no user"),
])
def test_bad_words(lost, words, says):
    server, copy, _ = lost
    words = [{"COPY": copy, "ALICE": f"alice@{DOMAIN}"}.get(w, w) for w in words]
    run = server.run("recovery", *words, check=False)
    assert run.returncode != 0 and says in run.stderr


def test_a_backup_is_mounted_looked_through_and_unmounted(make_server, tmp_path):
    server = make_server(users=["alice"])
    server.send("alice", message("kept"))
    server.wait_count("alice", 1)
    backups = str(tmp_path / "backups")
    server.run("ese", "backup", backups)
    with server.imap("alice") as imap:
        before = folder_of(imap, "INBOX")
        imap.select("INBOX")
        imap.store("1", "+FLAGS", r"(\Deleted)")
        imap.expunge()
    server.run("recovery", "mount", backups, "--name", "before")
    assert [r["name"] for r in server.json("recovery", "list")["recovery"]] == ["before"]
    assert "already" in server.run("recovery", "mount", backups, "--name", "before", check=False).stderr
    assert [r["subject"] for r in server.json("recovery", "find", "before", "--from", "bob")["messages"]] == ["kept"]
    assert facts(server, "recovery", "restore", "before", f"alice@{DOMAIN}")["messages"] == 1
    with server.imap("alice") as imap:
        assert [m[2] for m in folder_of(imap, "INBOX").values()] == [m[2] for m in before.values()]
    server.run("recovery", "unmount", "before")
    assert server.json("recovery", "list")["recovery"] == []
    assert not list((server.home / "recovery").iterdir())
    assert "there is no recovery store" in server.run("recovery", "unmount", "before", check=False).stderr


def test_a_mount_that_fails_leaves_nothing(make_server, tmp_path):
    server = make_server(users=["alice"])
    run = server.run("recovery", "mount", str(tmp_path / "nothing"), "--name", "x", check=False)
    assert run.returncode != 0 and run.stderr
    assert server.json("recovery", "list")["recovery"] == []
