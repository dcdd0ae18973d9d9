"""Real servers for tests: a private home in a temporary folder, free ports, the programs of the build folder.

	server = Server(tmp_path)          # made, not started
	server.add_user("alice")           # alice@mailroot.test, password "secret"
	server.start()
	with server.imap("alice") as imap: ...
	server.stop()

MAILROOT_BUILD names the build folder (default: build)."""
import contextlib
import imaplib
import itertools
import json
import os
import pathlib
import poplib
import random
import re
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MAILROOT_BUILD", ROOT / "build")).resolve()
DOMAIN = "mailroot.test"
PASSWORD = "secret"
SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
# A sanitizer build is slower; nothing in the tests depends on how fast it is, only on when to give up.
PATIENCE = float(os.environ.get("MAILROOT_TEST_PATIENCE", "30"))

imaplib._MAXLINE = 10_000_000
poplib._MAXLINE = 1_000_000


def _candidates():
    """Ports below those that the kernel gives to outgoing connections (else a client of another test takes one before its
    server is there); each worker of pytest-xdist has a range of its own."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "0")) or 0)
    first = 12000 + worker % 20 * 1000
    start = random.randrange(1000)
    for n in itertools.count(start):
        yield first + n % 1000


_next_ports = _candidates()


def free_ports(count):
    """Ports that were free a moment ago."""
    found = []
    for port in _next_ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found


def wait_for(condition, what, patience=None):
    """Wait for something that no event announces to a client; fails loudly, never silently passes."""
    deadline = time.monotonic() + (patience or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"still not: {what}")
        time.sleep(0.02)


class Server:
    def __init__(self, folder, **settings):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.home = folder / "h"
        self.process = None
        self.log_path = folder / "log"
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES))))
        self.run("init", "--hostname", "localhost", "--domain", DOMAIN)
        self.configure(**{f"port_{name}": port for name, port in self.ports.items()}, **settings)

    # ---- the command line ----

    def command(self, *words):
        return [str(BUILD / "mailroot"), "--home", str(self.home), *map(str, words)]

    def run(self, *words, stdin="", check=True):
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, text=True, timeout=PATIENCE * 4)
        if check and done.returncode != 0:
            raise AssertionError(f"mailroot {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def json(self, *words):
        return json.loads(self.run("--json", *words).stdout)

    def configure(self, **settings):
        """Set values in mailroot.conf; the keys are there already (init writes every one)."""
        path = self.home / "mailroot.conf"
        lines = path.read_text().splitlines()
        for key, value in settings.items():
            text = f'"{value}"' if isinstance(value, str) else str(int(value))
            if isinstance(value, bool):
                text = "true" if value else "false"
            for i, line in enumerate(lines):
                if line.lstrip("# ").startswith(f"{key} =") or line.lstrip("# ").startswith(f"{key}="):
                    lines[i] = f"{key} = {text}"
                    break
            else:
                raise AssertionError(f"no setting {key}")
        path.write_text("\n".join(lines) + "\n")

    def add_user(self, name, password=PASSWORD):
        self.run("user", "add", f"{name}@{DOMAIN}", "--password-stdin", stdin=password + "\n")
        return f"{name}@{DOMAIN}"

    # ---- the daemons ----

    def start(self, wait=True):
        ready, told = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(BUILD / "mailrootd"), "--home", str(self.home), "--ready-fd", str(told)],
                stdout=log, stderr=log, pass_fds=[told], start_new_session=True)
        os.close(told)
        try:
            if wait:
                readable, _, _ = select.select([ready], [], [], PATIENCE * 2)
                if not readable or os.read(ready, 1) != b"1":
                    self.kill()
                    raise AssertionError(f"the server did not start:\n{self.log()}")
        finally:
            os.close(ready)
        return self

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self):
        """An orderly stop; every program must end with status 0 and without a sanitizer's word."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE * 2)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop:\n{self.log()[-4000:]}") from None
        self.process = None
        log = self.log()
        assert status == 0, f"mailrootd ended with {status}:\n{log[-4000:]}"
        assert "Sanitizer" not in log, log[-8000:]

    def kill(self):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def programs(self):
        return {p["program"]: p for p in self.json("status")["programs"]}

    def pid(self, program):
        return self.programs()[program]["pid"]

    def kill_program(self, program, sig=signal.SIGKILL):
        pid = self.pid(program)
        os.kill(pid, sig)
        return pid

    # ---- clients ----

    def tls(self):
        context = ssl.create_default_context(cafile=str(self.home / "tls/cert.pem"))
        return context

    def smtp(self, service="smtp"):
        if service == "submissions":
            return smtplib.SMTP_SSL("localhost", self.ports[service], context=self.tls(), timeout=PATIENCE)
        return smtplib.SMTP("localhost", self.ports[service], timeout=PATIENCE)

    def send(self, recipients, message, sender="sender@example.org"):
        if isinstance(recipients, str):
            recipients = [recipients]
        to = [r if "@" in r else f"{r}@{DOMAIN}" for r in recipients]
        with self.smtp() as client:
            return client.sendmail(sender, to, message)

    @contextlib.contextmanager
    def imap(self, user, password=PASSWORD, tls=False, mailbox=None):
        if tls:
            client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls(), timeout=PATIENCE)
        else:
            client = imaplib.IMAP4("localhost", self.ports["imap"], timeout=PATIENCE)
        try:
            client.login(f"{user}@{DOMAIN}", password)
            if mailbox:
                status, data = client.select(mailbox)
                assert status == "OK", data
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.logout()

    @contextlib.contextmanager
    def pop3(self, user, password=PASSWORD, tls=False):
        if tls:
            client = poplib.POP3_SSL("localhost", self.ports["pop3s"], context=self.tls(), timeout=PATIENCE)
        else:
            client = poplib.POP3("localhost", self.ports["pop3"], timeout=PATIENCE)
        try:
            client.user(f"{user}@{DOMAIN}")
            client.pass_(password)
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.quit()

    def raw(self, service):
        """A bare connection for bytes that no client would send."""
        return Raw(self.ports[service])

    def wait_count(self, user, count, mailbox="INBOX"):
        """Until the mailbox holds `count` messages."""
        with self.imap(user) as imap:
            def arrived():
                status, data = imap.status(mailbox, "(MESSAGES)")
                assert status == "OK", data
                return int(data[0].rsplit(b" ", 1)[1].rstrip(b")")) >= count
            wait_for(arrived, f"{count} messages in {mailbox} of {user}")


class Raw:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """One line without its CRLF; b"" at the end of the connection."""
        line = self.file.readline()
        assert line == b"" or line.endswith(b"\r\n"), line
        return line[:-2]

    def smtp(self, data=None):
        """Send (if anything) and read one whole SMTP reply: (code, lines)."""
        if data is not None:
            self.send(data)
        lines = []
        while True:
            line = self.line()
            assert line != b"", (data, lines)
            lines.append(line.decode())
            if line[3:4] != b"-":
                return int(line[:3]), lines

    def imap(self, tag, data):
        """Send and read up to the tagged line: (tagged line, untagged lines)."""
        self.send(data)
        untagged = []
        while True:
            line = self.line()
            assert line != b"", (data, untagged)
            if line.startswith(tag + b" "):
                return line, untagged
            untagged.append(line)

    def at_end(self):
        """True when the server closed the connection (after whatever it still says)."""
        try:
            while self.file.read(65536):
                pass
        except ConnectionResetError:
            pass
        return True


def have(*programs):
    return all(shutil.which(p) for p in programs)
