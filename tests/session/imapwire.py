"""An IMAP client that shows every octet: what was said, what was answered, and the answers taken apart.

	with Imap(server) as c:                       # connected, greeting read
		c.login(user)
		reply = c("SELECT INBOX")                 # Reply: status, code, text, untagged
		assert reply.ok and reply.number("EXISTS") == 3
		c.fetch("1", "(FLAGS)") == {1: {"FLAGS": ["\\Seen"]}}
"""
import re

from harness import DOMAIN, PASSWORD, Raw

NIL = None


class Reply:
    """One tagged reply and the untagged ones in front of it (bytes, literals in place)."""

    def __init__(self, line, untagged):
        self.line, self.untagged = line, untagged
        match = re.match(rb"(\S+) (OK|NO|BAD)(?: \[(.*?)\])? ?(.*)$", line, re.S)
        assert match, line
        self.status = match[2].decode()
        self.code = (match[3] or b"").decode()
        self.text = match[4].decode()

    @property
    def ok(self):
        return self.status == "OK"

    def __repr__(self):
        return f"<{self.line!r} after {self.untagged!r}>"

    def lines(self, word):
        """Untagged replies of a kind ("LIST", "SEARCH", "OK"), without "* WORD "."""
        head = b"* " + word.encode() + b" "
        return [u[len(head):] for u in self.untagged if u.startswith(head)] + [
            b"" for u in self.untagged if u == head[:-1]]

    def numbers(self, word):
        """[3, 1] of "* 3 EXPUNGE", "* 1 EXPUNGE"."""
        found = [re.fullmatch(rb"\* (\d+) " + word.encode(), u) for u in self.untagged]
        return [int(m[1]) for m in found if m]

    def number(self, word):
        got = self.numbers(word)
        assert len(got) == 1, self
        return got[0]

    def codes(self):
        """{"UIDNEXT": "4", ...} of the untagged OKs with a code."""
        out = {}
        for u in self.untagged:
            m = re.match(rb"\* OK \[(\S+?)(?: (.*?))?\]", u)
            if m:
                out[m[1].decode()] = (m[2] or b"").decode()
        return out

    def search(self):
        got = self.lines("SEARCH")
        assert len(got) == 1, self
        return [int(n) for n in got[0].split()]

    def fetches(self):
        """{sequence number: {item: value}}; several for one message are joined."""
        out = {}
        for u in self.untagged:
            m = re.match(rb"\* (\d+) FETCH ", u)
            if m:
                items = parse(u[m.end():])[0]
                assert len(items) % 2 == 0, u
                out.setdefault(int(m[1]), {}).update(
                    {name(k): v for k, v in zip(items[::2], items[1::2])})
        return out

    def list(self, word="LIST"):
        """{name: attributes} of LIST or LSUB; a name told twice fails."""
        out = {}
        for line in self.lines(word):
            attrs, delim, path = parse(line)
            assert delim == b"/", line
            path = path.decode()
            assert path not in out, ("told twice", path)
            out[path] = {a.decode() for a in attrs}
        return out


def name(item):
    """BODY[HEADER.FIELDS (A B)]<0> and the like are put together again by the parser as bytes."""
    return item.decode() if isinstance(item, bytes) else item


class Quoted(bytes):
    """A quoted string or literal: b"NIL" said so is not NIL."""


def parse(data):
    """Lists, atoms (bytes), strings (Quoted), NIL (None)."""
    out, pos = parse_items(data, 0)
    assert pos == len(data), (data, pos)
    return out


def parse_items(data, pos):
    out = []
    while pos < len(data):
        c = data[pos:pos + 1]
        if c == b" ":
            pos += 1
            assert data[pos:pos + 1] not in (b" ", b")", b""), ("a blank too many", data[:pos + 40])
        elif c == b")":
            return out, pos
        elif c == b"(":
            inner, pos = parse_items(data, pos + 1)
            assert data[pos:pos + 1] == b")", data
            out.append(inner)
            pos += 1
        elif c == b'"':
            value = bytearray()
            pos += 1
            while data[pos:pos + 1] != b'"':
                if data[pos:pos + 1] == b"\\":
                    pos += 1
                    assert data[pos:pos + 1] in (b'"', b"\\"), data
                assert data[pos] not in (0, 10, 13), data
                value += data[pos:pos + 1]
                pos += 1
            pos += 1
            out.append(Quoted(value))
        elif c == b"{":
            m = re.compile(rb"\{(\d+)\}\r\n").match(data, pos)
            assert m, data[pos:pos + 40]
            end = m.end() + int(m[1])
            out.append(Quoted(data[m.end():end]))
            pos = end
        else:
            m = re.compile(rb"(?:BODY\[[^\]]*\](?:<\d+>)?|[^\s()\"{]+)").match(data, pos)
            assert m, data[pos:pos + 40]
            out.append(NIL if m[0] == b"NIL" else m[0])
            pos = m.end()
    return out, pos


class Imap(Raw):
    def __init__(self, server, port="imap"):
        super().__init__(server.ports[port])
        self.count = 0
        self.greeting = self.response()
        self.late = []

    def starttls(self, server):
        """From here on under TLS."""
        self.ok("STARTTLS")
        self.socket = server.tls().wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def response(self):
        """One response with its literals; b"" at the end."""
        pieces = []
        while True:
            line = self.line()
            pieces.append(line)
            m = re.search(rb"\{(\d+)\}$", line)
            if not m:
                return b"".join(pieces)
            octets = self.file.read(int(m[1]))
            assert len(octets) == int(m[1]), (len(octets), m[0])
            pieces += [b"\r\n", octets]

    def tag(self):
        self.count += 1
        return f"t{self.count}".encode()

    def wait(self, tag):
        untagged = []
        while True:
            r = self.response()
            assert r != b"", ("the connection ended", untagged)
            if r.startswith(tag + b" "):
                return Reply(r, untagged)
            assert r.startswith((b"* ", b"+ ")), r
            untagged.append(r)

    def start(self, text):
        """Send a command, answer later with wait()."""
        tag = self.tag()
        self.send(tag + b" " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return tag

    def __call__(self, text):
        return self.wait(self.start(text))

    def ok(self, text):
        reply = self(text)
        assert reply.ok, (text, reply)
        return reply

    def login(self, user, password=PASSWORD):
        return self.ok(f"LOGIN {user}@{DOMAIN} {password}")

    def fetch(self, numbers, items, uid=False):
        return self.ok(f"{'UID ' if uid else ''}FETCH {numbers} {items}").fetches()

    def append(self, mailbox, message, flags="", date="", plus=True):
        """With a literal that does not wait, or one that does."""
        args = " ".join(x for x in (mailbox, f"({flags})" if flags else "", f'"{date}"' if date else "") if x)
        tag = self.tag()
        self.send(tag + f" APPEND {args} {{{len(message)}{'+' if plus else ''}}}\r\n".encode())
        if not plus:
            r = self.response()
            if not r.startswith(b"+"):
                return Reply(r, [])
        self.send(message + b"\r\n")
        return self.wait(tag)


def logged_in(server, user, mailbox=None, port="imap"):
    c = Imap(server, port)
    c.login(user)
    if mailbox:
        c.ok(f"SELECT {mailbox}")
    return c
