"""IMAP: commands about the session, states, literals, logging on, IDLE, what is wrong and how it is refused."""
import base64
import socket
import ssl

import pytest

from harness import DOMAIN, PASSWORD
from imapwire import Imap, logged_in

MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"
CAPABILITIES = ("IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE UNSELECT UIDPLUS MOVE CHILDREN SPECIAL-USE").split()


@pytest.fixture
def server(shared_server):
    return shared_server


# ---- what is announced ----

def test_greeting_and_capabilities_say_what_is_served(server, new_user):
    user = new_user()
    with Imap(server) as c:
        assert c.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
        before = c.ok("CAPABILITY").lines("CAPABILITY")[0].decode().split()
        assert set(CAPABILITIES) <= set(before)
        assert {"SASL-IR", "STARTTLS", "AUTH=PLAIN", "AUTH=SCRAM-SHA-256"} <= set(before)
        assert f"* OK [CAPABILITY {' '.join(before)}] " in c.greeting.decode()
        reply = c.login(user)
        after = c.ok("CAPABILITY").lines("CAPABILITY")[0].decode().split()
        assert set(CAPABILITIES) <= set(after)
        assert not [w for w in after if w.startswith(("AUTH=", "STARTTLS", "SASL-IR", "LOGINDISABLED"))]
        assert reply.code == "CAPABILITY " + " ".join(after)


def test_id_enable_namespace(server, new_user):
    user = new_user()
    with Imap(server) as c:
        assert c.ok("ID NIL").lines("ID")[0].startswith(b'("name" "Mailroot"')
        c.login(user)
        c.ok('ID ("name" "sodr" "version" "19.34" "vendor" NIL)')
        assert c("ID (\"name\")").status == "BAD"
        assert c.ok("ENABLE CONDSTORE X-UNKNOWN").untagged == [b"* ENABLED"]
        assert c("ENABLE").status == "BAD"
        assert c.ok("NAMESPACE").untagged == [b'* NAMESPACE (("" "/")) NIL NIL']
        c.ok("NOOP")


# ---- states ----

ANY = {"CAPABILITY": "CAPABILITY", "NOOP": "NOOP", "ID": "ID NIL"}
BEFORE = {"STARTTLS": "STARTTLS", "AUTHENTICATE": "AUTHENTICATE PLAIN", "LOGIN": "LOGIN a b"}
LOGGED_ON = {
    "SELECT": "SELECT INBOX", "EXAMINE": "EXAMINE INBOX", "CREATE": "CREATE x", "DELETE": "DELETE x",
    "RENAME": "RENAME x y", "SUBSCRIBE": "SUBSCRIBE x", "UNSUBSCRIBE": "UNSUBSCRIBE x", "LIST": 'LIST "" *',
    "LSUB": 'LSUB "" *', "NAMESPACE": "NAMESPACE", "STATUS": "STATUS INBOX (MESSAGES)",
    "APPEND": "APPEND INBOX {1+}\r\nx", "IDLE": "IDLE"}
SELECTED = {
    "CHECK": "CHECK", "CLOSE": "CLOSE", "UNSELECT": "UNSELECT", "EXPUNGE": "EXPUNGE", "SEARCH": "SEARCH ALL",
    "FETCH": "FETCH 1 FLAGS", "STORE": "STORE 1 FLAGS (\\Seen)", "COPY": "COPY 1 INBOX", "MOVE": "MOVE 1 INBOX",
    "UID FETCH": "UID FETCH 1 FLAGS", "UID STORE": "UID STORE 1 FLAGS ()", "UID COPY": "UID COPY 1 INBOX",
    "UID SEARCH": "UID SEARCH ALL", "UID EXPUNGE": "UID EXPUNGE 1", "UID MOVE": "UID MOVE 1 INBOX"}


@pytest.mark.parametrize("state,wrong", [
    ("before login", {**LOGGED_ON, **SELECTED, "ENABLE": "ENABLE X"}), ("logged in", {**BEFORE, **SELECTED}),
    ("selected", {**BEFORE, "ENABLE": "ENABLE X"})])
def test_a_command_in_a_wrong_state_is_bad(make_server, state, wrong):
    server = make_server(users=["a"], errors_max=1000)
    with Imap(server) as c:
        if state != "before login":
            c.login("a")
        if state == "selected":
            c.ok("SELECT INBOX")
        for word, command in wrong.items():
            reply = c(command)
            assert reply.status == "BAD", (word, reply)
            assert reply.untagged == [], (word, reply)
        for command in ANY.values():
            c.ok(command)
        for words in ("", "FROB", "UID FROB", "UID", "UID NOOP", "FETCH", "SELECT", "SELECT a b", "NOOP x",
                      "CAPABILITY 1", "LOGIN", "LOGOUT now"):
            assert c(words).status == "BAD", words
        c.send("\r\n")
        assert c.response().startswith(b"* BAD")
        c.send("untagged\r\n")
        assert c.response().startswith((b"* BAD", b"untagged BAD"))
        c.send("* NOOP\r\n")
        assert c.response().startswith(b"* BAD")
        c.send("+ NOOP\r\n")
        assert c.response().startswith(b"* BAD")
        c.send("a\x80 NOOP\r\n".encode("latin-1"))
        assert c.response().startswith(b"* BAD")
        c.ok("noop")


def test_many_errors_end_the_connection(make_server):
    server = make_server(users=["a"], errors_max=5)
    with Imap(server) as c:
        c.login("a")
        for _ in range(4):
            assert c("FROB").status == "BAD"
        c.send("x FROB\r\n")
        assert c.response().startswith(b"x BAD")
        assert c.response().startswith(b"* BYE")
        assert c.response() == b""


@pytest.mark.parametrize("text", ["x LOGIN {5000+}\r\n" + "a" * 5000 + " b\r\n", "x LOGIN {5000}\r\n", "x LOGIN " + "a" * 9000 + " b\r\n"],
                         ids=["literal+", "literal", "line"])
def test_strangers_may_say_little(server, new_user, text):
    user = new_user()
    with Imap(server) as c:
        c.send(text)
        assert c.response().startswith(b"x BAD")
        c.login(user)
        c.send("y SELECT {5000+}\r\n" + "a" * 5000 + "\r\nz SELECT " + "a" * 9000 + "\r\n")
        assert c.response().startswith(b"y NO")
        assert c.response().startswith(b"z NO")


def test_logout_says_bye_first(server, new_user):
    with logged_in(server, new_user()) as c:
        c.send("x LOGOUT\r\ny NOOP\r\n")
        assert c.response().startswith(b"* BYE ")
        assert c.response().startswith(b"x OK ")
        assert c.response() == b""


# ---- logging on ----

def test_everything_under_tls(server, new_user):
    user = new_user()
    body = b"Subject: large\r\n\r\n" + bytes(33 + i % 90 for i in range(998)) * 3000
    with Imap(server) as c:
        c.starttls(server)
        c.login(user)
        assert c.append("INBOX", body).ok and c.append("INBOX", MESSAGE, plus=False).ok
        c.ok("SELECT INBOX")
        got = c.fetch("1:2", "(UID BODY.PEEK[] FLAGS BODY.PEEK[TEXT]<100000.100000> RFC822.SIZE)")
        assert got[1]["BODY[]"] == body and got[2]["BODY[]"] == MESSAGE
        assert got[1]["BODY[TEXT]<100000>"] == body[18 + 100000:][:100000]
        tag = c.start("IDLE")
        assert c.response().startswith(b"+ ")
        server.send(user, MESSAGE)
        assert c.response() == b"* 3 EXISTS"
        c.send("DONE\r\n")
        assert c.wait(tag).ok


@pytest.mark.parametrize("form", ["atom", "quoted", "literal", "literal+", "quoted specials"])
def test_login_forms(server, new_user, form):
    user, password = new_user(), PASSWORD
    if form == "quoted specials":
        user, password = new_user() + "q", 'a\\b"c d{3}%*'
        server.add_user(user, password)
    who = f"{user}@{DOMAIN}"
    with Imap(server) as c:
        if form == "atom":
            reply = c(f"LOGIN {who} {password}")
        elif form == "quoted":
            reply = c(f'LOGIN "{who}" "{password}"')
        elif form == "quoted specials":
            escaped = password.replace("\\", "\\\\").replace('"', '\\"')
            reply = c(f'LOGIN "{who}" "{escaped}"')
        elif form == "literal+":
            reply = c(f"LOGIN {{{len(who)}+}}\r\n{who} {{{len(password)}+}}\r\n{password}")
        else:
            c.send(f"x LOGIN {{{len(who)}}}\r\n")
            assert c.response().startswith(b"+ ")
            c.send(f"{who} {{{len(password)}}}\r\n")
            assert c.response().startswith(b"+ ")
            c.send(f"{password}\r\n")
            reply = c.wait(b"x")
        assert reply.ok, reply
        c.ok("SELECT INBOX")


def test_literals_that_do_not_wait_for_the_plus_are_taken_all_the_same(server, new_user):
    who = f"{new_user()}@{DOMAIN}"
    with Imap(server) as c:
        c.send(f"x LOGIN {{{len(who)}}}\r\n{who} {{{len(PASSWORD)}}}\r\n{PASSWORD}\r\ny NOOP\r\n")
        assert c.response().startswith(b"+ ")
        assert c.response().startswith(b"+ ")
        assert c.response().startswith(b"x OK")
        assert c.response().startswith(b"y OK")


def test_a_wrong_password_is_no_and_the_next_may_be_right(server, new_user):
    user = new_user()
    with Imap(server) as c:
        reply = c(f"LOGIN {user}@{DOMAIN} wrong")
        assert (reply.status, reply.code) == ("NO", "AUTHENTICATIONFAILED")
        assert c("SELECT INBOX").status == "BAD"
        c.login(user)


def plain(user, password=PASSWORD, as_user=""):
    return base64.b64encode(f"{as_user}\0{user}@{DOMAIN}\0{password}".encode()).decode()


def test_authenticate_plain(server, new_user):
    user = new_user()
    with Imap(server) as c:
        assert c(f"AUTHENTICATE PLAIN {plain(user)}").ok
        assert c("AUTHENTICATE PLAIN").status == "BAD"
        c.ok("SELECT INBOX")
    with Imap(server) as c:
        c.send("x AUTHENTICATE plain\r\n")
        assert c.response() == b"+ "
        c.send(plain(user) + "\r\n")
        assert c.response().startswith(b"x OK [CAPABILITY ")
        c.ok("SELECT INBOX")
    with Imap(server) as c:
        c.send("x AUTHENTICATE PLAIN\r\n")
        assert c.response() == b"+ "
        c.send("*\r\n")
        assert c.response().startswith(b"x BAD")
        c.send("y AUTHENTICATE PLAIN\r\n")
        assert c.response() == b"+ "
        c.send("%%%%\r\n")
        assert c.response().startswith(b"y BAD")
        assert c("AUTHENTICATE FROB").status == "NO"
        assert c("AUTHENTICATE PLAIN =").status in ("NO", "BAD")
        c.send("z AUTHENTICATE LOGIN\r\n")
        for word in (f"{user}@{DOMAIN}", PASSWORD):
            assert c.response().startswith(b"+ ")
            c.send(base64.b64encode(word.encode()) + b"\r\n")
        assert c.response().startswith(b"z OK")


def test_scram_with_an_initial_response(server, new_user):
    user = f"{new_user()}@{DOMAIN}"
    with Imap(server) as c:
        first = base64.b64encode(f"n,,n={user},r=abcdefgh".encode()).decode()
        c.send(f"x AUTHENTICATE SCRAM-SHA-256 {first}\r\n")
        challenge = c.response()
        assert challenge.startswith(b"+ ")
        assert base64.b64decode(challenge[2:]).startswith(b"r=abcdefgh")
        c.send("*\r\n")
        assert c.response().startswith(b"x BAD")
        c.ok("NOOP")


# ---- STARTTLS ----

def test_starttls_forgets_what_was_said_in_the_clear(server, new_user):
    user = new_user()
    with Imap(server) as c:
        c.send(f"x STARTTLS\r\ny LOGIN {user}@{DOMAIN} {PASSWORD}\r\n")
        assert c.response().startswith(b"x OK")
        tls = server.tls().wrap_socket(c.socket, server_hostname="localhost")
        c.socket, c.file = tls, tls.makefile("rb")
        reply = c.ok("CAPABILITY").lines("CAPABILITY")[0].split()
        assert b"STARTTLS" not in reply and b"AUTH=PLAIN" in reply
        assert c("SELECT INBOX").status == "BAD"
        assert c("STARTTLS").status == "BAD"
        c.login(user)
        c.ok("SELECT INBOX")


def test_implicit_tls(server, new_user):
    user = new_user()
    raw = socket.create_connection(("localhost", server.ports["imaps"]))
    with server.tls().wrap_socket(raw, server_hostname="localhost") as tls:
        assert isinstance(tls, ssl.SSLSocket)
        file = tls.makefile("rb")
        assert b"STARTTLS" not in file.readline()
        tls.sendall(f"a LOGIN {user}@{DOMAIN} {PASSWORD}\r\nb SELECT INBOX\r\n".encode())
        assert file.readline().startswith(b"a OK")


# ---- lines and literals ----

def test_many_commands_in_one_packet_are_answered_in_order(server, new_user):
    user = new_user()
    with Imap(server) as c:
        n = 300
        text = f"l LOGIN {user}@{DOMAIN} {PASSWORD}\r\n"
        for i in range(3):
            text += f"p{i} APPEND INBOX {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}\r\n"
        text += "s SELECT INBOX\r\n"
        text += "".join(f"c{i} FETCH 1:3 (UID FLAGS)\r\n" if i % 3 else f"c{i} NOOP\r\n" for i in range(n))
        text += "z LOGOUT\r\n"
        c.send(text)
        assert c.wait(b"l").ok
        for i in range(3):
            assert c.wait(b"p%d" % i).code.startswith("APPENDUID ")
        assert c.wait(b"s").number("EXISTS") == 3
        for i in range(n):
            reply = c.wait(b"c%d" % i)
            assert reply.ok and len(reply.fetches()) == (3 if i % 3 else 0)
        assert c.wait(b"z").ok


def test_one_octet_at_a_time(server, new_user):
    user = new_user()
    with Imap(server) as c:
        c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text = (f"a LOGIN {{{len(user) + 1 + len(DOMAIN)}+}}\r\n{user}@{DOMAIN} {PASSWORD}\r\n"
                f"b APPEND INBOX (\\Seen) {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}\r\nc SELECT INBOX\r\n")
        for octet in text:
            c.send(octet)
        for tag in (b"a", b"b", b"c"):
            assert c.wait(tag).ok


@pytest.mark.parametrize("what,text", [
    ("a literal for a command that takes none", "x NOOP {3+}\r\nabc\r\n"),
    ("a literal larger than is gathered", "x SELECT {70000+}\r\n" + "a" * 70000 + "\r\n"),
    ("a literal with a number that has no end", "x SELECT {99999999999999999999}\r\n"),
    ("a bare LF: the line ends with the next CR LF", "x NOOP\ny NOOP\r\n"),
    ("a NUL", "x SELECT a\0b\r\n"),
    ("an open quote", 'x SELECT "abc\r\n'),
    ("a wrong escape", 'x SELECT "a\\b"\r\n'),
    ("eight bits in a quoted string", 'x LIST "" "\xff"\r\n'),
    ("a long line", "x NOOP " + "a" * 70000 + "\r\n"),
    ("too many parentheses", "x SEARCH " + "(" * 200 + "ALL" + ")" * 200 + "\r\n"),
    ("a set of nothing", "x FETCH , FLAGS\r\n"),
    ("a set with zero", "x FETCH 0 FLAGS\r\n"),
    ("a set with a number too large", "x FETCH 4294967296 FLAGS\r\n"),
])
def test_what_cannot_be_read_is_bad_and_the_next_command_works(server, new_user, what, text):
    with logged_in(server, new_user(), "INBOX") as c:
        c.send(text.encode("latin-1"))
        line = c.response()
        assert line.startswith((b"x BAD", b"* BAD")), (what, line)
        c.ok("NOOP")


# ---- IDLE ----

def test_idle_tells_at_once_and_done_ends_it(server, new_user):
    user = new_user()
    with logged_in(server, user, "INBOX") as c, logged_in(server, user, "INBOX") as other:
        tag = c.start("IDLE")
        assert c.response().startswith(b"+ ")
        other.append("INBOX", MESSAGE)
        assert c.response() == b"* 1 EXISTS"
        assert c.response() == b"* 1 RECENT" or True
        other.ok("NOOP")
        other.ok("STORE 1 +FLAGS (\\Flagged kw)")
        told = c.response()
        while b"FETCH" not in told:
            told = c.response()
        assert b"\\Flagged" in told and b"kw" in told
        other.append("INBOX", MESSAGE)
        assert c.response() == b"* 2 EXISTS"
        other.ok("NOOP")
        other.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        other.ok("EXPUNGE")
        told = [c.response()]
        while told[-1] != b"* 1 EXPUNGE":
            told.append(c.response())
        c.send("DONE\r\n")
        assert c.wait(tag).ok
        assert c.ok("SEARCH ALL").search() == [1]


def test_idle_without_a_mailbox_and_pipelined_with_its_end(server, new_user):
    with logged_in(server, new_user()) as c:
        c.send("a IDLE\r\nDONE\r\nb NOOP\r\nc IDLE\r\n")
        assert c.response().startswith(b"+ ")
        assert c.response().startswith(b"a OK")
        assert c.response().startswith(b"b OK")
        assert c.response().startswith(b"+ ")
        c.send("done\r\n")
        assert c.response().startswith(b"c OK")
        c.send("d IDLE\r\n")
        assert c.response().startswith(b"+ ")
        c.send("e NOOP\r\n")
        assert c.response().startswith(b"d BAD")
        c.ok("NOOP")


def test_idle_hears_that_the_mailbox_is_gone(server, new_user):
    user = new_user()
    with logged_in(server, user) as c, logged_in(server, user) as other:
        other.ok("CREATE box")
        c.ok("SELECT box")
        c.start("IDLE")
        assert c.response().startswith(b"+ ")
        other.ok("DELETE box")
        assert c.response().startswith(b"* BYE")
        assert c.response() == b""


def test_idle_dies_quietly_with_its_client(server, new_user):
    user = new_user()
    for _ in range(20):
        with logged_in(server, user, "INBOX") as c:
            c.start("IDLE")
            assert c.response().startswith(b"+ ")
    with logged_in(server, user, "INBOX") as c:
        assert c.append("INBOX", MESSAGE).ok
