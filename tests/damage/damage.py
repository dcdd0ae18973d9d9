"""Damage a filled home in one place and see what becomes of it: the server, `ese check`, `ese repair`.

	home = Filled(folder)                   # made once: a home and the truth about every message in it
	result = attempt(home, KINDS[3], seed)  # one damaged copy: asserts what must hold always, returns what was measured

What must hold for every kind of damage, whatever the seed:
  - no program ends by a signal, none hangs;
  - no body is served that is not the one that was sent (SHA-256), neither by the damaged home nor by the repaired one;
  - where something is wrong the words say what and where;
  - a repaired home starts, and its check is clean."""
import fcntl
import hashlib
import imaplib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/session"))

from harness import BUILD, DOMAIN, PASSWORD, PATIENCE, SERVICES, Server, free_ports, wait_for  # noqa: E402

USERS = ("alice", "bob", "carol")
FOLDERS = ("INBOX", "Work", "Work/Tax")
SIZES = (1, 30, 700, 4096, 9000, 40_000, 70_000, 200_000, 600_000, 2_000_000)
NOTICE = b"X-Mailroot-Repair:"
PAGE = 4096


def is_free(home):
    """No process has the home's groups open."""
    for path in home.glob("groups/*/E00.lck"):
        with open(path) as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def message(rng, number, size):
    body = rng.randbytes((size + 1) // 2).hex()[:size]
    lines = "\r\n".join(body[i:i + 76] for i in range(0, len(body), 76))
    return (f"From: Sender {number} <s{number}@example.org>\r\nTo: alice@{DOMAIN}\r\nSubject: number {number}\r\n"
            f"Message-ID: <{number}@example.org>\r\n\r\n{lines}\r\n").encode()


class Filled:
    """A home with users, folders and messages.  `dirty`: killed, so that the log holds what the databases do not."""

    def __init__(self, folder, dirty=False, seed=1, rounds=1):
        self.folder = pathlib.Path(folder)
        self.dirty = dirty
        self.truth = {}  # (user, folder, uid) -> SHA-256, size
        self.expunged = {}  # the same, of what was there and is not any more; and of the rest
        rng = random.Random(seed)
        self.server = Server(self.folder, log_segment_bytes=1 << 20, checkpoint_bytes=64 << 20)
        for user in USERS[:2]:
            self.server.add_user(user)
        self.server.start()
        # A second group, which no damage is done to.
        self.server.run("group", "create", "far")
        self.server.run("database", "create", "far/sales")
        self.server.run("user", "add", f"{USERS[2]}@{DOMAIN}", "--password-stdin", "--database", "far/sales",
                        stdin=PASSWORD + "\n")
        for n in range(rounds):
            self.fill(rng, n)
        if not dirty:
            self.server.stop()
            self.server.start()
        self.change(rng)
        if dirty:
            self.server.kill()
            wait_for(lambda: is_free(self.server.home), "the killed store is gone")
        else:
            self.server.stop()
        self.bytes = sum(size for _, size in self.truth.values())

    def fill(self, rng, n):
        for user in USERS:
            with self.server.imap(user) as imap:
                for path in FOLDERS[1:]:
                    imap.create(path)
                for path in FOLDERS:
                    for size in SIZES if user == "alice" else SIZES[:-2]:
                        self.append(imap, user, path, message(rng, f"{user}-{path}-{n}-{size}".replace("/", "-"), size))
        # One body in three mailboxes.
        shared = message(rng, f"shared-{n}", 5000)
        self.server.send(list(USERS), shared)
        for user in USERS:
            self.server.wait_count(user, (n + 1) * (len(SIZES if user == "alice" else SIZES[:-2]) + 1))
        self.read(self.server, self.truth)

    def append(self, imap, user, path, text):
        status, data = imap.append(f'"{path}"', rf"({random.choice(['', chr(92) + 'Seen'])})", None, text)
        assert status == "OK", data

    def change(self, rng):
        """Flags, an expunge, and pages that are used again."""
        with self.server.imap("bob", mailbox="INBOX") as imap:
            imap.store("1:2", "+FLAGS", r"\Deleted")
            imap.expunge()
        with self.server.imap("bob") as imap:
            for size in (700, 9000):
                self.append(imap, "bob", "INBOX", message(rng, f"late-{size}", size))
        self.expunged = dict(self.truth)
        self.truth.clear()
        self.read(self.server, self.truth)

    @staticmethod
    def read(server, into, problems=None, tls=False):
        """Everything that IMAP gives: (user, folder, uid) -> (SHA-256 or None for a notice, size)."""
        for user in USERS:
            try:
                with server.imap(user, tls=tls) as imap:
                    for path in FOLDERS if problems is None else folders(imap):
                        read_folder(imap, user, path, into, problems)
            except (imaplib.IMAP4.error, OSError, AssertionError) as error:
                if problems is None:
                    raise
                problems.append(f"{user}: {error}")
        return into


def folders(imap):
    status, data = imap.list()
    assert status == "OK", data
    names = [re.search(rb'"/" "?(.*?)"?$', row)[1].decode() for row in data if row]
    return [name for name in names if name not in ("Drafts", "Sent Items", "Deleted Items", "Junk Email", "Outbox")]


def read_folder(imap, user, path, into, problems):
    status, data = imap.select(f'"{path}"', readonly=True)
    if status != "OK":
        assert problems is not None, data
        problems.append(f"{user} {path}: {data}")
        return
    status, data = imap.uid("SEARCH", "ALL")
    if status != "OK":
        assert problems is not None, data
        problems.append(f"{user} {path}: {data}")
        return
    for uid in data[0].split():
        try:
            status, data = imap.uid("FETCH", uid, "(BODY.PEEK[])")
        except (imaplib.IMAP4.abort, OSError) as error:
            # The server ended the connection rather than send what is wrong.
            assert problems is not None, error
            problems.append(f"{user} {path} {uid}: {error}")
            raise
        rows = [part[1] for part in data if isinstance(part, tuple)]
        if status != "OK" or not rows:
            assert problems is not None, data
            problems.append(f"{user} {path} {uid.decode()}: {status} {data}")
            continue
        text = rows[0]
        digest = None if NOTICE in text.split(b"\r\n\r\n", 1)[0] else hashlib.sha256(text).hexdigest()
        into[(user, path, int(uid))] = (digest, len(text))


# ---- kinds of damage: each a function of (home, rng) that says what it did, or None where it can't be done ----

def flip(path, at, bit):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1 << bit]))
    return f"bit {bit} of byte {at} of {path.name}"


def group(home):
    return home / "groups/first"


def logs(home):
    return sorted(p for p in group(home).glob("E00????????.log") if len(p.name) == 15)


def used_logs(home):
    return [p for p in logs(home) if any(p.read_bytes()[PAGE:PAGE + 64])]


def used_end(path):
    """Behind the last byte of a log file that is not zero."""
    return max(len(path.read_bytes().rstrip(b"\0")), PAGE + 64)


def database(home, rng):
    return rng.choice(["mailbox/default", "mailbox/default", "directory"])


def files(home, rng, pattern, name=None):
    found = sorted((group(home) / f"{name or database(home, rng)}.edb").glob(pattern))
    return found


def flip_in(path, rng, first, end):
    return flip(path, rng.randrange(first, end), rng.randrange(8))


def stm_page(home, rng):
    path = group(home) / "mailbox/default.stm"
    return flip_in(path, rng, 0, path.stat().st_size)


def stm_pages(home, rng):
    return ", ".join(stm_page(home, rng) for _ in range(10))


def log_record(home, rng):
    path = rng.choice(used_logs(home))
    return flip_in(path, rng, PAGE, used_end(path))


def log_record_head(kind):
    """One bit of the 40 bytes before a record's payload; kinds as docs/formats.md numbers them."""
    def damage(home, rng):
        for path in rng.sample(used_logs(home), len(used_logs(home))):
            data = path.read_bytes()
            mark = data[16:20]
            generation = data[32:36]
            found = [m.start() - 28 for m in re.finditer(re.escape(mark), data)
                     if m.start() >= PAGE + 28 and data[m.start() - 8:m.start() - 4] == generation
                     and data[m.start() - 16:m.start() - 14] == kind.to_bytes(2, "little")]
            if found:
                return flip_in(path, rng, (at := rng.choice(found)), at + 40)
        return None
    damage.__name__ = f"log_record_{kind}"
    return damage


def log_header(home, rng):
    return flip_in(rng.choice(logs(home)), rng, 0, 64)


def log_cut(home, rng):
    path = rng.choice(logs(home))
    at = rng.randrange(path.stat().st_size)
    os.truncate(path, at)
    return f"{path.name} cut off at {at}"


def log_removed(home, rng):
    path = rng.choice(logs(home))
    path.unlink()
    return f"{path.name} removed"


def logs_removed(home, rng):
    for path in logs(home):
        path.unlink()
    return "all log files removed"


def logs_swapped(home, rng):
    if len(logs(home)) < 2:
        return None
    a, b = rng.sample(logs(home), 2)
    keep = a.with_suffix(".x")
    a.rename(keep)
    b.rename(a)
    keep.rename(b)
    return f"{a.name} and {b.name} swapped"


def log_old(home, rng):
    """An older file under a newer one's name."""
    if len(logs(home)) < 2:
        return None
    old, new = sorted(rng.sample(logs(home), 2))
    shutil.copyfile(old, new)
    return f"{old.name} over {new.name}"


def checkpoint_slot(home, rng):
    path = group(home) / "E00.chk"
    return flip_in(path, rng, *rng.choice([(0, 200), (path.stat().st_size // 2, path.stat().st_size // 2 + 200)]))


def checkpoint_both(home, rng):
    path = group(home) / "E00.chk"
    half = path.stat().st_size // 2
    return flip(path, 20, 1) + ", " + flip(path, min(half, 32768) + 20, 1)


def checkpoint_cut(home, rng):
    path = group(home) / "E00.chk"
    at = rng.randrange(path.stat().st_size)
    os.truncate(path, at)
    return f"E00.chk cut off at {at}"


def checkpoint_removed(home, rng):
    (group(home) / "E00.chk").unlink()
    return "E00.chk removed"


def sst_data(home, rng):
    path = rng.choice(files(home, rng, "*.sst"))
    return f"{path.parent.name}: " + flip_in(path, rng, 0, path.stat().st_size * 3 // 4)


def sst_end(home, rng):
    path = rng.choice(files(home, rng, "*.sst"))
    return f"{path.parent.name}: " + flip_in(path, rng, path.stat().st_size - 53, path.stat().st_size)


def edb_file(pattern, how):
    def damage(home, rng):
        found = files(home, rng, pattern)
        if not found:
            return None
        path = rng.choice(found)
        if how == "flip":
            return f"{path.parent.name}: " + flip_in(path, rng, 0, path.stat().st_size)
        if how == "cut":
            at = rng.randrange(path.stat().st_size)
            os.truncate(path, at)
            return f"{path.parent.name}: {path.name} cut off at {at}"
        path.unlink()
        return f"{path.parent.name}: {path.name} removed"
    damage.__name__ = f"edb_{re.sub('[^A-Za-z]', '', pattern).lower()}_{how}"
    return damage


def edb_removed(home, rng):
    name = database(home, rng)
    shutil.rmtree(group(home) / f"{name}.edb")
    return f"{name}.edb removed"


def stm_cut(home, rng):
    path = group(home) / "mailbox/default.stm"
    at = rng.randrange(path.stat().st_size)
    os.truncate(path, at)
    return f"{path.name} cut off at {at}"


def stm_removed(home, rng):
    (group(home) / "mailbox/default.stm").unlink()
    return "mailbox/default.stm removed"


# Kind, what must be kept at least, in per cent of the messages (of a home closed in order; None: measured only), and
# the words of which one must be said when something is said at all.
KINDS = [
    (stm_page, 95, "page|\\.stm"), (stm_pages, 80, "page|\\.stm"), (stm_cut, None, "\\.stm|page"),
    (stm_removed, None, "\\.stm|streaming"),
    (log_record, 100, "log"), (log_record_head(1), 100, "log"), (log_record_head(4), 100, "log"),
    (log_record_head(5), 100, "log"), (log_record_head(3), 100, "log"), (log_record_head(2), 100, "log"),
    (log_header, 100, "log"), (log_cut, 100, "log"), (log_removed, 100, "log"), (logs_removed, 100, "log"),
    (logs_swapped, 100, "log"), (log_old, 100, "log"),
    (checkpoint_slot, 100, "checkpoint|log|E00"), (checkpoint_both, 100, "checkpoint|log|E00"),
    (checkpoint_cut, 100, "checkpoint|log|E00"), (checkpoint_removed, 100, "checkpoint|log|E00"),
    (sst_data, None, "database|directory|row|mailbox"), (sst_end, None, "database|directory"),
    (edb_file("*.sst", "cut"), None, "database|row"), (edb_file("*.sst", "removed"), None, "database|row"),
    (edb_file("MANIFEST*", "flip"), 100, "database"), (edb_file("MANIFEST*", "cut"), 100, "database"),
    (edb_file("MANIFEST*", "removed"), 100, "database"),
    (edb_file("CURRENT", "flip"), 100, "database"), (edb_file("CURRENT", "cut"), 100, "database"),
    (edb_file("CURRENT", "removed"), 100, "database"),
    (edb_file("OPTIONS*", "flip"), 100, "database"), (edb_file("OPTIONS*", "cut"), 100, "database"),
    (edb_file("OPTIONS*", "removed"), 100, "database"), (edb_removed, None, "database"),
]


# ---- one attempt ----

class Copy(Server):
    """A copy of a filled home."""

    def __init__(self, filled, folder):  # noqa: super is not asked: there is nothing to make
        self.home = folder / "h"
        self.ports = {}
        self.process = None
        self.log_path = folder / "log"
        subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", str(filled.server.home), str(self.home)],
                       check=True)


def run(*words):
    done = subprocess.run([str(BUILD / "mailroot"), *map(str, words)], capture_output=True, text=True, errors="replace",
                          timeout=PATIENCE * 4)
    assert done.returncode >= 0, f"{words} ended by signal {-done.returncode}: {done.stderr[-2000:]}"
    assert "Sanitizer" not in done.stderr, done.stderr[-8000:]
    return done


def serve(server):
    """Start it, on ports of its own; its words when it does not come up (it must end by itself then, and not by a signal)."""
    while True:
        server.log_path.unlink(missing_ok=True)
        server.ports = dict(zip(SERVICES, free_ports(len(SERVICES))))
        server.configure(**{f"port_{name}": port for name, port in server.ports.items()})
        try:
            server.start()
            return None
        except AssertionError:
            server.kill()
            if "Address already in use" not in server.log():
                return server.log()


def judge(filled, got, where):
    """No wrong body; how many are the right ones.  What was expunged may come back when the rows that say so are lost."""
    same = 0
    for key, (digest, size) in got.items():
        if digest is None:
            continue
        if key[1].startswith("Recovered"):
            # A folder whose name is lost: what is in it was in one of the user's.
            known = [d for (user, _, uid), (d, _) in filled.truth.items() if user == key[0] and uid == key[2]]
            assert digest in known, f"{where}: a wrong body was served for {key}"
            same += 1
            continue
        assert key in filled.truth or key in filled.expunged, f"{where}: {key} was never there"
        right = filled.truth.get(key) or filled.expunged[key]
        assert digest == right[0], f"{where}: a wrong body was served for {key}"
        same += key in filled.truth
    return same


def look(filled, server, tls, said):
    """What the damaged home serves."""
    words = serve(server)
    problems = []
    got = {}
    if words is None:
        filled.read(server, got, problems, tls)
        log = server.log()
        assert "signal=" not in log or "signal=0" in log, log[-4000:]
        server.kill()
        wait_for(lambda: is_free(server.home), "the killed server is gone")
    else:
        said.append(words)
    assert "Sanitizer" not in server.log(), server.log()[-8000:]
    said.extend(problems)
    said.append(server.log())
    return judge(filled, got, "the damaged home")


def attempt(filled, kind, seed, folder, tls=False):
    damage, least, words = kind
    rng = random.Random(f"{damage.__name__}-{seed}")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    server = Copy(filled, folder)
    what = damage(server.home, rng)
    if what is None:
        shutil.rmtree(folder)
        return None
    where = f"{damage.__name__} seed {seed}{' dirty' if filled.dirty else ''}: {what}"
    try:
        result = repair_and_compare(filled, server, folder, where, least, words, tls)
    except AssertionError as error:
        raise AssertionError(f"{where}\n{error}\n(left in {folder})") from None
    shutil.rmtree(folder)
    result["what"] = what
    return result


def repair_and_compare(filled, server, folder, where, least, words, tls):
    check = run("--json", "ese", "check", server.home)
    assert check.returncode in (0, 1, 4), check.stderr
    assert check.returncode != 1 or check.stderr.strip(), "nothing was said"
    findings = json.loads(check.stdout)["findings"] if check.returncode != 1 else []
    told = " ".join(f["what"] for f in findings if f["severity"] == "damage") + check.stderr
    assert check.returncode == 0 or re.search(words, told), f"nothing about '{words}' in: {told}"

    # The repair comes first: serving a copy may change it.
    new = folder / "new"
    repair = run("--json", "ese", "repair", server.home, "--to", new)
    assert repair.returncode in (0, 4), f"repair: {repair.returncode} {repair.stderr} {repair.stdout[-3000:]}"
    report = json.loads(repair.stdout)
    lost = any(f["severity"] == "damage" for f in report["findings"])
    assert lost == (repair.returncode == 4), repair.stdout[-3000:]
    clean = run("--json", "ese", "check", new)
    assert clean.returncode == 0, f"the repaired home is not clean: {clean.stdout[:3000]}"
    again = run("--json", "ese", "check", server.home)
    assert again.stdout == check.stdout, "repair changed its source"

    said = []
    served = look(filled, server, tls, said)
    server.home = new
    got = {}
    words_new = serve(server)
    assert words_new is None, f"the repaired home does not start: {words_new}"
    problems = []
    filled.read(server, got, problems)
    server.stop()
    logins = [p for p in problems if "AUTHENTICATIONFAILED" in p or "authentic" in p.lower()]
    # A folder of which nothing is left is not there; how much that costs is counted below.
    others = [p for p in problems if "NONEXISTENT" not in p and p not in logins]
    assert not others, f"the repaired home: {others}"
    same = judge(filled, got, "the repaired home")
    kept = 100 * min(report["repaired"]["messages_kept"], len(filled.truth)) / len(filled.truth)
    if not logins:
        right = sum(digest is not None for digest, _ in got.values())
        assert right == report["repaired"]["messages_kept"], \
            f"repair says {report['repaired']['messages_kept']} kept, {right} are there"
        kept = 100 * same / len(filled.truth)
    if least is not None and not filled.dirty:
        assert kept >= least, f"only {kept:.2f} % kept: {report['repaired']} {report['findings'][:5]}"
    lost = len(filled.truth) - same
    if lost and not logins:
        assert report["findings"], "something is lost, and nothing was said"
    return {"found": check.returncode, "served": served, "kept": kept, "there": len(filled.truth),
            "damage": len(findings), "logins_lost": bool(logins)}
