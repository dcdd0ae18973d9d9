"""What a set of processes uses: CPU, memory, system calls.  A server is its first process and all descendants."""
import collections
import os
import pathlib
import re
import signal
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
O_DSYNC = 0o10000  # in /proc/PID/fdinfo


def _fields(pid):
    """/proc/PID/stat from the state on; None when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def started(pid):
    """When the process began, in ticks since boot; None when it is gone or only waits to be reaped."""
    fields = _fields(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def _stat(pid):
    """(parent, CPU seconds with those of reaped children), or None when it is gone."""
    fields = _fields(pid)
    return (int(fields[1]), sum(map(int, fields[11:15])) / TICK) if fields else None


def tree(roots):
    """{pid: CPU seconds} of the processes `roots` and their descendants."""
    stats = {int(p): s for p in os.listdir("/proc") if p.isdigit() and (s := _stat(p))}
    children = collections.defaultdict(list)
    for pid, (parent, _) in stats.items():
        children[parent].append(pid)
    found, todo = {}, [r for r in roots if r in stats]
    while todo:
        pid = todo.pop()
        found[pid] = stats[pid][1]
        todo += children[pid]
    return found


def cpu(roots):
    """CPU seconds.  A child reaped between two looks would be missed: look until two looks agree."""
    last = sum(tree(roots).values())
    for _ in range(10):
        time.sleep(0.03)
        this = sum(tree(roots).values())
        if abs(this - last) < 0.005:
            break
        last = this
    return this


def pss(roots):
    """(KiB of memory by proportional set size, processes)."""
    total = count = 0
    for pid in tree(roots):
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(re.search(r"^Pss: +(\d+)", text, re.M)[1])
        count += 1
    return total, count


def synchronous_files(roots):
    """Paths that are open so that each write is a sync (O_DSYNC)."""
    found = set()
    for pid in tree(roots):
        try:
            for fd in os.listdir(f"/proc/{pid}/fdinfo"):
                text = pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
                if int(re.search(r"^flags:\s+(\d+)", text, re.M)[1], 8) & O_DSYNC:
                    found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


CALL = re.compile(r"^\d+ +(\w+)\((?:\d+<([^>]*)>)?")
SYNC_CALLS = {"fsync", "fdatasync", "syncfs", "sync_file_range", "msync"}
WRITE_CALLS = {"write", "writev", "pwrite64", "pwritev", "pwritev2"}


class Trace:
    """Every system call of a server, by strace, from `with Trace(...)` on to its end.

    Afterwards: calls (a Counter by name) and syncs (calls that wait for the disk: the sync calls, and writes
    to a file that was opened, or with a flag that asks, to be synchronous).  strace slows the server down and
    takes spinning and batching apart: only the counts mean something."""

    def __init__(self, roots, folder):
        self.roots, self.file = roots, pathlib.Path(folder) / "strace"

    def __enter__(self):
        self.dsync = synchronous_files(self.roots)
        pids = [word for pid in tree(self.roots) for word in ("-p", str(pid))]
        # A file per trace, not a pipe: a full pipe would stop the server.
        self.strace = subprocess.Popen(["strace", "-f", "-y", "-qq", "-s", "0", "-o", self.file, *pids],
                                       stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while any(not self._traced(pid) for pid in tree(self.roots)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self

    @staticmethod
    def _traced(pid):
        try:
            return "TracerPid:\t0" not in pathlib.Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    def __exit__(self, *_):
        self.dsync |= synchronous_files(self.roots)
        self.strace.send_signal(signal.SIGINT)
        self.strace.wait(20)
        self.calls, self.syncs = collections.Counter(), 0
        for line in self.file.read_text(errors="replace").splitlines():
            call = CALL.match(line)
            if not call:
                continue
            name, path = call.groups()
            self.calls[name] += 1
            self.syncs += (name in SYNC_CALLS or "RWF_DSYNC" in line or "RWF_SYNC" in line
                           or name in WRITE_CALLS and path in self.dsync)
        self.file.unlink()
