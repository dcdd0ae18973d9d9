"""The administrator's command line: every command in text and JSON, its errors, and what a running server makes of it."""
import json
import signal
import os
import smtplib
import subprocess

import pytest

from harness import BUILD, DOMAIN, PASSWORD, PATIENCE, wait_for

TEXT = b"From: a@example.org\r\nSubject: for you\r\n\r\nx\r\n"


@pytest.fixture(scope="module", params=["stopped", "running"])
def server(request, tmp_path_factory):
    """Every command that changes the directory works with and without a running server."""
    from harness import Server
    made = Server(tmp_path_factory.mktemp("admin") / request.param, directory_ttl_s=3600, directory_negative_ttl_s=3600)
    if request.param == "running":
        made.start()
    yield made
    made.stop()


def names(server, what, key):
    return [row[key] for row in server.json(what, "list")[{"user": "users", "domain": "domains", "alias": "aliases"}[what]]]


def refused(server, status, *words, stdin=""):
    """The command fails with that status, says why in one line, and nothing on standard output."""
    done = server.run(*words, stdin=stdin, check=False)
    assert done.returncode == status, (words, done)
    assert done.stdout == "" and done.stderr.startswith(("mailroot: ", "usage: ")), (words, done)
    assert done.stderr.count("\n") == 1, (words, done.stderr)
    return done.stderr


# ---- users, domains, aliases ----

def test_users(server):
    done = server.run("user", "add", "Dora@Mailroot.Test", "--name", "Dora D.", "--password-stdin", stdin="pw\n")
    assert done.stdout == "" and done.stderr == ""
    server.run("user", "add", f"emil@{DOMAIN}", "--password-stdin", stdin="pw\n")
    rows = {row["user"]: row for row in server.json("user", "list")["users"]}
    assert rows[f"dora@{DOMAIN}"]["name"] == "Dora D." and rows[f"dora@{DOMAIN}"]["disabled"] is False
    assert rows[f"dora@{DOMAIN}"]["mailbox"] != rows[f"emil@{DOMAIN}"]["mailbox"]
    text = server.run("user", "list").stdout.splitlines()
    assert text[0] == "users" and text[1].split() == ["user", "name", "disabled", "mailbox", "created"]
    assert any(line.startswith(f"dora@{DOMAIN}") and "Dora D." in line for line in text)
    server.run("user", "disable", f"dora@{DOMAIN}")
    assert {r["user"]: r["disabled"] for r in server.json("user", "list")["users"]}[f"dora@{DOMAIN}"] is True
    server.run("user", "enable", f"dora@{DOMAIN}")
    server.run("user", "passwd", f"dora@{DOMAIN}", "--password-stdin", stdin="other\n")
    server.run("user", "remove", f"dora@{DOMAIN}")
    assert f"dora@{DOMAIN}" not in names(server, "user", "user")
    server.run("user", "remove", f"emil@{DOMAIN}")


def test_domains_and_aliases(server):
    server.run("domain", "add", "Second.Test")
    assert names(server, "domain", "domain") == [DOMAIN, "second.test"]
    assert server.run("domain", "list").stdout == f"domains\ndomain\n{DOMAIN}\nsecond.test\n"
    server.run("alias", "add", "Info@second.test", f"anna@{DOMAIN}", "berta@second.test")
    assert server.json("alias", "list")["aliases"] == [
        {"alias": "info@second.test", "targets": f"anna@{DOMAIN} berta@second.test"}]
    assert "info@second.test  anna" in server.run("alias", "list").stdout
    assert "info@second.test" in refused(server, 1, "domain", "remove", "second.test")
    server.run("alias", "remove", "info@second.test")
    assert server.run("alias", "list").stdout == "aliases\n(none)\n"
    assert server.json("alias", "list") == {"aliases": []}
    server.run("domain", "remove", "second.test")
    assert names(server, "domain", "domain") == [DOMAIN]


ERRORS = [
    # status, words, standard input, what the message names
    (1, ["user", "add", "nobody@elsewhere.example", "--password-stdin"], "pw\n", "elsewhere.example"),
    (1, ["user", "add", "no-address", "--password-stdin"], "pw\n", "no-address"),
    (1, ["user", "remove", f"nobody@{DOMAIN}"], "", "nobody@"),
    (1, ["user", "disable", f"nobody@{DOMAIN}"], "", "nobody@"),
    (1, ["user", "enable", f"nobody@{DOMAIN}"], "", "nobody@"),
    (1, ["user", "passwd", f"nobody@{DOMAIN}", "--password-stdin"], "pw\n", "nobody@"),
    (1, ["domain", "add", "not a domain"], "", "no blanks"),
    (1, ["domain", "remove", "other.test"], "", "other.test"),
    (1, ["alias", "add", "x@elsewhere.example", f"a@{DOMAIN}"], "", "elsewhere.example"),
    (1, ["alias", "add", f"x@{DOMAIN}", "no-address"], "", "no-address"),
    (1, ["alias", "remove", f"x@{DOMAIN}"], "", "x@"),
    (2, ["user", "add", f"x@{DOMAIN}", "--password-stdin"], "", "password"),
    (2, ["user", "add", f"x@{DOMAIN}", "--password-stdin"], "y" * 2000 + "\n", "longer"),
    (2, ["user", "add", f"x@{DOMAIN}"], "", "password-stdin"),
    (2, ["user", "add"], "", "user add ADDRESS"),
    (2, ["user", "add", "a", "b"], "", "user add ADDRESS"),
    (2, ["user", "list", "more"], "", "user list"),
    (2, ["user", "list", "--no-such"], "", "--no-such"),
    (2, ["user", "add", "--name"], "", "--name"),
    (2, ["user", "add", "--password-stdin=x"], "", "no value"),
    (2, ["frobnicate"], "", "frobnicate"),
    (2, ["alias", "add", f"x@{DOMAIN}"], "", "ADDRESS TARGET"),
    (2, ["status", "--wait", "soon"], "", "soon"),
    (2, ["init", "--port-base", "70000"], "", "70000"),
    (1, ["init"], "", "already the home"),
]


@pytest.mark.parametrize("status, words, stdin, named", ERRORS, ids=[" ".join(r[1])[:40] for r in ERRORS])
def test_errors(server, status, words, stdin, named):
    assert named in refused(server, status, *words, stdin=stdin)


def test_a_user_twice(server):
    server.add_user("twice")
    assert "twice@" in refused(server, 1, "user", "add", f"Twice@{DOMAIN}", "--password-stdin", stdin="pw\n")
    assert "twice@" in refused(server, 1, "alias", "add", f"twice@{DOMAIN}", f"a@{DOMAIN}")
    server.run("user", "remove", f"twice@{DOMAIN}")


def test_help_version_and_manual(server):
    for program in ("mailroot", "mailrootd", "mailroot-store", "mailroot-inet"):
        def ask(option):
            return subprocess.run([BUILD / program, option], capture_output=True, text=True, check=True).stdout
        assert ask("--version").split() [0] == program
        assert ask("--help").startswith(f"{program}: ")
        assert ask("--man").startswith(f".TH {program} 8")
        wrong = subprocess.run([BUILD / program, "--no-such"], capture_output=True, text=True)
        assert wrong.returncode == 2 and "--no-such" in wrong.stderr
    assert server.run("user", "add", "--help").stdout.startswith("usage: mailroot user add ADDRESS")
    overview, manual = server.run("--help").stdout, server.run("--man").stdout
    for text in ("Backup, restore, recovery", "done (or looked at), but damage was found"):
        assert text in overview and text in manual
    assert max(map(len, overview.splitlines())) <= 140
    for words in (["user"], ["user", "rename"]):
        wrong = server.run(*words, check=False)
        assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.startswith("mailroot: user takes one of these")
        assert "Users, domains and aliases\n  user add ADDRESS" in wrong.stderr and "domain add" not in wrong.stderr
    assert server.run("user", "--help").stdout.startswith("Users, domains and aliases\n  user add")
    assert subprocess.run([BUILD / "mailroot"], capture_output=True).returncode == 2


def test_the_home_may_be_named_anywhere(server, monkeypatch):
    home = str(server.home)
    for words, env in (([f"--home={home}", "domain", "list"], None), (["domain", "list", "--home", home], None),
                       (["domain", "list", "--home", os.path.relpath(home)], None), (["domain", "list"], home)):
        environment = {**os.environ, **({"MAILROOT_HOME": env} if env else {"MAILROOT_HOME": "/nowhere"})}
        done = subprocess.run([BUILD / "mailroot", *words], capture_output=True, text=True, env=environment, check=True)
        assert DOMAIN in done.stdout


def test_store_figures(server):
    answer = server.json("store")
    assert set(answer) >= {"store", "databases", "engine", "groups", "loops"}
    assert answer["engine"]["commits"] >= 0 and "first/mailbox/default" in [row["name"] for row in answer["databases"]]
    text = server.run("store").stdout
    assert text.startswith("store\nstarted ") and "\nengine\ncommits " in text and "\nloops\n" in text


# ---- a server that does not run ----

@pytest.mark.parametrize("words", [["status"], ["ipc"], ["queue"], ["status", "--wait", "0"]], ids=" ".join)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_stopped_server_is_status_3(make_server, words, form):
    server = make_server(start=False)
    message = refused(server, 3, *form, *words)
    assert "not running" in message or "nobody listens" in message or "does not serve" in message


def test_no_home_at_all(make_server, tmp_path):
    server = make_server(start=False)
    server.home = tmp_path / "nothing"
    assert "not the home of a server" in refused(server, 1, "user", "list")


def test_commands_say_nothing_but_their_answer(make_server):
    """Without a server a store is started for the command: it has nothing to tell a terminal."""
    server = make_server(start=False)
    for words in (["domain", "list"], ["user", "list"], ["store"]):
        assert server.run(*words).stderr == ""


def test_a_program_that_hangs_does_not_hang_the_administrator(make_server):
    server = make_server()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        assert "hangs" in refused(server, 1, "status")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


# ---- a running server, looked at ----

def test_status_ipc_and_queue(shared_server, new_user):
    user = new_user()
    shared_server.send(user, TEXT)
    shared_server.wait_count(user, 1)
    status = shared_server.json("status")
    assert status["server"]["serving"] is True and status["server"]["home"] == str(shared_server.home)
    assert {p["service"]: p["port"] for p in status["ports"]} == shared_server.ports
    assert [p["program"] for p in status["programs"]] == ["store", "inet"]
    counters = {p["protocol"]: p for p in status["protocols"]}
    assert counters["smtp"]["messages_in"] >= 1 and counters["imap"]["logons"] >= 1
    text = shared_server.run("status").stdout
    for head in ("server\n", "\nprograms\n", "\nports\n", "\nprotocols\n", "\nmessages_in "):
        assert head in "\n" + text, text
    assert max(map(len, text.splitlines())) < 132
    ipc = shared_server.json("ipc")["queues"]
    assert {"client", "requests", "client_queue", "store_queue", "client_wakeups", "rejected"} <= set(ipc[0])
    assert sum(row["requests"] for row in ipc if row["client"] == "inet") > 0
    assert "client_wakeups" in shared_server.run("ipc").stdout
    requests = shared_server.json("ipc", "--requests")["requests"]
    assert {"SMTP_DELIVER", "IMAP_FETCH", "POP_OPEN", "DS_RESOLVE"} <= {row["name"] for row in requests}
    queue = shared_server.json("queue")
    assert queue["transport"]["delivered_messages"] >= 1 and queue["messages"] == []
    assert any(row["queue"] == "Local delivery" for row in queue["queues"])
    assert "Local delivery" in shared_server.run("queue").stdout


def test_the_queue_lists_what_waits(make_server):
    """The store stands still: as many messages as may be are in the hands of the store driver, the others wait behind them."""
    server = make_server(users=["alice"], queue_fibers=4, queue_glitch_retry_s=1)
    store, senders = server.pid("store"), [server.raw("smtp") for _ in range(6)]
    for raw in senders:
        for line in (None, "EHLO x\r\n", "MAIL FROM:<a@example.org>\r\n", f"RCPT TO:<alice@{DOMAIN}>\r\n", "DATA\r\n"):
            raw.smtp(line)
    os.kill(store, signal.SIGSTOP)
    try:
        for raw in senders:
            raw.send(TEXT + b".\r\n")
        accepted = set()
        for raw in senders:
            code, lines = raw.smtp()
            assert code == 250, lines
            accepted.add(lines[0].split()[-1])
            raw.close()
        wait_for(lambda: len(server.json("queue")["messages"]) == 2, "two wait")
        answer = server.json("queue")
        listed = {row["message"] for row in answer["messages"]}
        assert listed < accepted
        assert all(row["bytes"] > len(TEXT) for row in answer["messages"])
        assert answer["transport"]["waiting"] == 6
        assert sum(row["active"] for row in answer["queues"]) == 4
        text = server.run("queue").stdout
        assert all(name in text for name in listed) and "Local delivery" in text
    finally:
        os.kill(store, signal.SIGCONT)
    server.wait_count("alice", 6)
    wait_for(lambda: server.json("queue")["transport"]["waiting"] == 0, "nothing waits")


# ---- a running server sees at once what was changed ----

def rcpt(client, address):
    """The answer for a recipient, as code and enhanced code."""
    client.rset()
    client.mail("a@example.org")
    code, words = client.rcpt(address)
    return code, words.split()[0].decode()


def login_works(server, user, password):
    import imaplib
    with imaplib.IMAP4("localhost", server.ports["imap"], timeout=PATIENCE) as client:
        try:
            return client.login(f"{user}@{DOMAIN}", password)[0] == "OK"
        except imaplib.IMAP4.error:
            return False


def test_what_is_changed_holds_at_once(make_server):
    """The cache of addresses lives an hour here: only the news of the change can make it forget.  Connections are
    spread over all event loops, each of which remembers for itself."""
    server = make_server(users=["alice", "bob"], directory_ttl_s=3600, directory_negative_ttl_s=3600)
    clients = [smtplib.SMTP("localhost", server.ports["smtp"], timeout=PATIENCE) for _ in range(8)]

    def everywhere(address, code, enhanced):
        for client in clients:
            wait_for(lambda c=client: rcpt(c, address) == (code, enhanced), f"{address}: {code} {enhanced}")

    for client in clients:
        client.ehlo()
    for name in ("new", "team"):
        everywhere(f"{name}@{DOMAIN}", 550, "5.1.1")
    everywhere("x@second.test", 550, "5.7.1")
    server.add_user("new")
    everywhere(f"new@{DOMAIN}", 250, "2.1.5")
    server.run("alias", "add", f"team@{DOMAIN}", f"new@{DOMAIN}")
    everywhere(f"team@{DOMAIN}", 250, "2.1.5")
    server.run("domain", "add", "second.test")
    everywhere("x@second.test", 550, "5.1.1")
    server.send(["team", "bob"], TEXT)
    server.wait_count("new", 1)
    server.wait_count("bob", 1)
    server.run("alias", "remove", f"team@{DOMAIN}")
    everywhere(f"team@{DOMAIN}", 550, "5.1.1")
    server.run("user", "disable", f"bob@{DOMAIN}")
    everywhere(f"bob@{DOMAIN}", 550, "5.2.1")
    assert not login_works(server, "bob", PASSWORD)
    server.run("user", "enable", f"bob@{DOMAIN}")
    everywhere(f"bob@{DOMAIN}", 250, "2.1.5")
    assert login_works(server, "bob", PASSWORD)
    server.run("user", "remove", f"new@{DOMAIN}")
    everywhere(f"new@{DOMAIN}", 550, "5.1.1")
    assert not login_works(server, "new", PASSWORD)
    for client in clients:
        client.close()


def test_a_new_password_and_no_other(make_server):
    server = make_server(users=["alice"], auth_failure_delay_ms=0)
    assert login_works(server, "alice", PASSWORD)
    server.run("user", "passwd", f"alice@{DOMAIN}", "--password-stdin", stdin="better\n")
    assert not login_works(server, "alice", PASSWORD)
    assert login_works(server, "alice", "better")


def test_a_removed_user_takes_everything_along(make_server):
    """Also the session that is open, and also for one of the same name who comes later."""
    server = make_server(users=["carol"])
    server.send("carol", TEXT)
    server.wait_count("carol", 1)
    with server.raw("imap") as raw:
        raw.line()
        raw.imap(b"a", f"a LOGIN carol@{DOMAIN} {PASSWORD}\r\n")
        raw.imap(b"b", "b SELECT INBOX\r\n")
        server.run("user", "remove", f"carol@{DOMAIN}")
        raw.send("c FETCH 1 BODY.PEEK[]\r\n")
        line = raw.line()
        assert line.startswith((b"c NO", b"* BYE")), line
    server.add_user("carol")
    with server.imap("carol", mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b""


def test_init_makes_a_whole_home(tmp_path):
    home = tmp_path / "deep"
    done = subprocess.run([BUILD / "mailroot", "--home", home, "init", "--domain", "example.org", "--hostname", "mail.example.org",
                           "--port-base", "30000"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and str(home) in done.stdout, done
    conf = (home / "mailroot.conf").read_text()
    for line in ('domain = "example.org"', 'hostname = "mail.example.org"', "port_smtp = 30025", "port_pop3s = 30995"):
        assert line in conf.splitlines(), line
    assert (home / "tls/key.pem").stat().st_mode & 0o077 == 0
    done = subprocess.run([BUILD / "mailroot", "--home", home, "--json", "domain", "list"], capture_output=True, text=True)
    assert json.loads(done.stdout) == {"domains": [{"domain": "example.org"}]}
