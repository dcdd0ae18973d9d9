"""POP3 whole, against the real store."""
import base64

import pytest

from harness import DOMAIN, PASSWORD, wait_for
from test_smtp import scram_steps

BODIES = [
    b"Subject: plain\r\n\r\nhello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
    b"Subject: no end\r\n\r\nlast line",
    b"Subject: no end, a dot\r\n\r\n.",
    b"Subject: only CR at the end\r\n\r\nx\r",
    b"Subject: only a header\r\n\r\n",
    b"Subject: not even an empty line",
    b"\r\n",
    b"\r\n\r\nempty header\r\n",
    b"Subject: eight bits\r\n\r\n\xff\xfe\x80\r\n",
    b"Subject: large\r\n\r\n" + (b"z" * 70 + b"\r\n") * 5000,
    b"Subject: large with dots\r\n\r\n" + (b"." * 70 + b"\r\n") * 5000 + b".",
]


class Pop:
    """A bare session: one line out, one reply in."""

    def __init__(self, server, service="pop3"):
        self.raw = server.raw(service)
        assert self.raw.line().startswith(b"+OK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def say(self, line):
        self.raw.send(line + "\r\n")
        return self.raw.line().decode()

    def ok(self, line):
        answer = self.say(line)
        assert answer.startswith("+OK"), (line, answer)
        return answer

    def err(self, line, code=""):
        answer = self.say(line)
        assert answer.startswith(f"-ERR {code}"), (line, answer)
        return answer

    def login(self, user, password=PASSWORD):
        self.ok(f"USER {user}@{DOMAIN}")
        self.ok(f"PASS {password}")
        return self

    def lines(self, line):
        """A multi-line answer as it came, dot-stuffing undone, without the last dot."""
        self.ok(line)
        got = b""
        while True:
            one = self.raw.file.readline()
            if one == b".\r\n":
                return got
            got += one.removeprefix(b".") if one.startswith(b".") else one


def raw_append(server, user, body):
    with server.raw("imap") as raw:
        raw.line()
        raw.imap(b"a", f"a LOGIN {user}@{DOMAIN} {PASSWORD}\r\n")
        tagged, _ = raw.imap(b"b", b"b APPEND INBOX {%d+}\r\n%s\r\n" % (len(body), body))
        assert tagged.startswith(b"b OK"), tagged


def test_sizes_are_the_octets_of_retr(shared_server, new_user):
    """RFC 1939 section 11: what STAT and LIST say is what RETR sends, dot-stuffing aside; a last line without end gets one."""
    user = new_user()
    for body in BODIES:
        raw_append(shared_server, user, body)
    with Pop(shared_server) as pop:
        pop.login(user)
        whole = 0
        for n, body in enumerate(BODIES, 1):
            size = int(pop.ok(f"LIST {n}").split()[2])
            got = pop.lines(f"RETR {n}")
            want = body if body.endswith(b"\r\n") else body + b"\r\n"
            assert got == want, (n, got[-40:])
            assert len(got) == size, (n, body[:40])
            whole += size
        assert pop.ok("STAT") == f"+OK {len(BODIES)} {whole}"
        listed = pop.lines("LIST").split()
        assert sum(int(x) for x in listed[1::2]) == whole
        pop.ok("QUIT")


def test_top(shared_server, new_user):
    user = new_user()
    raw_append(shared_server, user, b"Subject: top\r\nX: y\r\n\r\n1\r\n.2\r\n3\r\n")
    raw_append(shared_server, user, b"Subject: no body")
    head = b"Subject: top\r\nX: y\r\n\r\n"
    with Pop(shared_server) as pop:
        pop.login(user)
        assert pop.lines("TOP 1 0") == head
        assert pop.lines("TOP 1 2") == head + b"1\r\n.2\r\n"
        assert pop.lines("TOP 1 1000000") == head + b"1\r\n.2\r\n3\r\n"
        assert pop.lines("TOP 2 5") == b"Subject: no body\r\n"
        for wrong in ("TOP 1", "TOP 3 1", "TOP 0 1", "TOP 1 -1", "TOP x 1"):
            pop.err(wrong)


def test_unique_ids_stay(make_server):
    server = make_server(users=["alice"])
    for n in range(4):
        raw_append(server, "alice", b"Subject: %d\r\n\r\nx\r\n" % n)

    def ids():
        with Pop(server) as pop:
            pop.login("alice")
            listed = pop.lines("UIDL").decode().splitlines()
            one = [pop.ok(f"UIDL {n + 1}").removeprefix("+OK ") for n in range(len(listed))]
            pop.ok("QUIT")
            assert one == listed
        return [line.split()[1] for line in listed]

    first = ids()
    assert len(set(first)) == 4 and all(1 <= len(i) <= 70 for i in first)
    assert ids() == first
    server.stop()
    server.start()
    assert ids() == first
    with Pop(server) as pop:
        pop.login("alice")
        pop.ok("DELE 2")
        pop.ok("QUIT")
    assert ids() == [first[0], first[2], first[3]]
    raw_append(server, "alice", b"Subject: new\r\n\r\nx\r\n")
    again = ids()
    assert again[:3] == [first[0], first[2], first[3]] and again[3] not in first


def test_one_session_holds_the_maildrop(shared_server, new_user):
    user = new_user()
    raw_append(shared_server, user, BODIES[0])
    with Pop(shared_server) as one, Pop(shared_server) as two:
        one.login(user)
        two.ok(f"USER {user}@{DOMAIN}")
        two.err(f"PASS {PASSWORD}", "[IN-USE]")
        two.err("STAT")
        one.ok("QUIT")
        two.login(user)
        assert two.ok("STAT").startswith("+OK 1 ")
        two.raw.close()
    with Pop(shared_server) as three:
        def free():
            three.ok(f"USER {user}@{DOMAIN}")
            return three.say(f"PASS {PASSWORD}").startswith("+OK")
        wait_for(free, "a connection that broke holds nothing")


def test_only_quit_deletes(shared_server, new_user):
    user = new_user()
    for body in BODIES[:3]:
        raw_append(shared_server, user, body)
    with Pop(shared_server) as pop:
        pop.login(user).ok("DELE 1")
        pop.err("RETR 1")
        pop.err("DELE 1")
        pop.err("LIST 1")
        pop.ok("RSET")
        pop.ok("DELE 3")
    with shared_server.imap(user, mailbox="INBOX") as imap:
        assert imap.search(None, "ALL")[1][0] == b"1 2 3"

        def deleted():
            with Pop(shared_server) as again:
                again.ok(f"USER {user}@{DOMAIN}")
                if not again.say(f"PASS {PASSWORD}").startswith("+OK"):
                    return False
                again.ok("DELE 1")
                return again.ok("QUIT")
        wait_for(deleted, "the maildrop is free")
        imap.noop()
        assert imap.untagged_responses.get("EXPUNGE") == [b"1"]
        assert imap.search(None, "ALL")[1][0] == b"1 2"


def test_what_imap_removed_meanwhile_is_an_error_and_no_harm(shared_server, new_user):
    user = new_user()
    for body in BODIES[:3]:
        raw_append(shared_server, user, body)
    with Pop(shared_server) as pop:
        pop.login(user)
        with shared_server.imap(user, mailbox="INBOX") as imap:
            imap.store("2", "+FLAGS", r"\Deleted")
            imap.expunge()
        pop.err("RETR 2")
        assert pop.lines("RETR 3") == BODIES[2] + b"\r\n"
        pop.ok("DELE 1")
        pop.ok("DELE 2")
        pop.ok("QUIT")
    with Pop(shared_server) as pop:
        pop.login(user)
        assert pop.lines("RETR 1") == BODIES[2] + b"\r\n"


CAPA = {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "USER", "UTF8 USER", "LANG",
        "SASL PLAIN LOGIN SCRAM-SHA-256", "STLS"}


def test_capabilities(shared_server, new_user):
    with Pop(shared_server) as pop:
        def listed():
            return {c for c in pop.lines("CAPA").decode().splitlines() if not c.startswith("IMPLEMENTATION ")}
        assert listed() == CAPA
        pop.login(new_user())
        assert listed() >= CAPA - {"STLS", "USER", "UTF8 USER", "SASL PLAIN LOGIN SCRAM-SHA-256"}
        assert "STLS" not in listed()


def test_utf8(shared_server):
    """RFC 6856: UTF8 before the log-on, and a name that is not ASCII."""
    shared_server.add_user("jørgen")
    with Pop(shared_server) as pop:
        pop.ok("UTF8")
        pop.ok(f"USER jørgen@{DOMAIN}")
        pop.ok(f"PASS {PASSWORD}")
        pop.err("UTF8")


def test_wrong_passwords_say_so(make_server):
    server = make_server(users=["alice"], auth_failure_delay_ms=0)
    with Pop(server) as pop:
        for name in ("alice", "nobody"):
            pop.ok(f"USER {name}@{DOMAIN}")
            pop.err("PASS wrong", "[AUTH]")
        pop.err(f"PASS {PASSWORD}")
        pop.login("alice")


@pytest.mark.parametrize("mechanism", ["PLAIN", "PLAIN-initial", "LOGIN", "SCRAM-SHA-256"])
def test_auth(shared_server, new_user, mechanism):
    address = f"{new_user()}@{DOMAIN}"

    def b64(text):
        return base64.b64encode(text.encode()).decode()

    with Pop(shared_server) as pop:
        if mechanism == "PLAIN":
            assert pop.say("AUTH PLAIN") == "+ "
            pop.ok(b64(f"\0{address}\0{PASSWORD}"))
        elif mechanism == "PLAIN-initial":
            pop.ok("AUTH PLAIN " + b64(f"\0{address}\0{PASSWORD}"))
        elif mechanism == "LOGIN":
            assert pop.say("AUTH LOGIN").startswith("+ ")
            assert pop.say(b64(address)).startswith("+ ")
            pop.ok(b64(PASSWORD))
        else:
            steps = scram_steps(address, PASSWORD)
            answer = pop.say("AUTH SCRAM-SHA-256 " + next(steps))
            while answer.startswith("+ "):
                answer = pop.say(steps.send(answer[2:]))
            assert answer.startswith("+OK"), answer
        assert pop.ok("STAT") == "+OK 0 0"


def test_stls(shared_server, new_user):
    user = new_user()
    raw_append(shared_server, user, BODIES[1])
    with Pop(shared_server) as pop:
        pop.ok("STLS")
        pop.raw.socket = shared_server.tls().wrap_socket(pop.raw.socket, server_hostname="localhost")
        pop.raw.file = pop.raw.socket.makefile("rb")
        assert b"STLS" not in pop.lines("CAPA")
        pop.err("STLS")
        pop.login(user)
        assert pop.lines("RETR 1") == BODIES[1]


def test_pipelined(shared_server, new_user):
    user = new_user()
    for body in BODIES[:2]:
        raw_append(shared_server, user, body)
    with Pop(shared_server) as pop:
        pop.raw.send(f"USER {user}@{DOMAIN}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nNOOP\r\nQUIT\r\n")
        heads = [pop.raw.line() for _ in range(4)]
        assert all(h.startswith(b"+OK") for h in heads), heads
        while pop.raw.line() != b".":
            pass
        assert [pop.raw.line()[:3] for _ in range(3)] == [b"+OK"] * 3
        assert pop.raw.at_end()
