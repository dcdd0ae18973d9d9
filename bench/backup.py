"""The part `backup` of bench/run: an online backup and its verification beside `cp -r` of the same files, on all CPUs, with
nothing else to do and while mail comes in.  Both copies are synced."""
import json
import os
import shutil
import statistics
import subprocess
import threading
import time

import servers

BOXES = 4
SIZE = 65536
EVERY_CPU = range(os.cpu_count())


def run(*words, check=True):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=600,
                          preexec_fn=lambda: os.sched_setaffinity(0, EVERY_CPU))
    if check and done.returncode != 0:
        raise SystemExit(f"{words}: {done.stderr}")
    return done.stdout


def copy(bench, server):
    """cp -r of the groups, then a sync of every file: MB/s."""
    target = bench.folder / "cp"
    start = time.monotonic()
    # While mail comes in files go away under it: it is no copy that one could use, only one of that size.
    run("cp", "-r", "--sparse=never", server.home / "groups", target, check=False)
    run("find", target, "-type", "f", "-exec", "sync", "-d", "{}", "+")
    seconds = time.monotonic() - start
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
    shutil.rmtree(target)
    return size / 1e6 / seconds


def backup(bench, server):
    """A full backup into an empty folder: MB/s."""
    target = bench.folder / "backup"
    start = time.monotonic()
    done = json.loads(run(*server.command("--json", "ese", "backup", target)))["backup"]
    seconds = time.monotonic() - start
    assert done["findings"] == 0
    shutil.rmtree(target)
    return done["bytes_copied"] / 1e6 / seconds


def verify(bench, server):
    target = bench.folder / "backup"
    done = json.loads(run(*server.command("--json", "ese", "backup", target)))["backup"]
    start = time.monotonic()
    run(*server.command("ese", "verify", target))
    seconds = time.monotonic() - start
    shutil.rmtree(target)
    return done["bytes_copied"] / 1e6 / seconds


class Load:
    """Deliveries of 4 KiB by 20 sessions for as long as it is there."""

    def __init__(self, bench, server):
        self.bench, self.server, self.stopping, self.messages = bench, server, False, 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stopping:
            self.messages += self.bench.smtp(self.server, BOXES, 20, 400)["messages"]

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.rate = self.messages / (time.monotonic() - self.began)


def spread(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def measure(bench):
    users = [f"m{i}" for i in range(1, BOXES + 1)]
    messages = 1500 if bench.quick else 6000
    folder = bench.folder / "backed-up"
    folder.mkdir()
    server = servers.Mailroot(folder, users)
    try:
        bench.client("smtp_load", server.ports["smtp"], server.ports["imap"], servers.DOMAIN, servers.PASSWORD, BOXES, 20,
                     messages, SIZE)
        print(f"\n### Backup beside cp, {messages * SIZE / 1e6:,.0f} MB in messages of 64 KiB\n\n"
              "| what | cp -r and sync, MB/s | backup, MB/s | ratio | verify, MB/s |\n| --- | --- | --- | --- | --- |")
        for what in ("nothing else to do", "while mail comes in"):
            results = {copy: [], backup: [], verify: []}
            for _ in range(bench.runs):
                for way, into in results.items():
                    if what == "nothing else to do":
                        into.append(way(bench, server))
                    elif way is not verify:
                        with Load(bench, server):
                            into.append(way(bench, server))
            ratio = statistics.median(b / c for b, c in zip(results[backup], results[copy]))
            print(f"| {what} | {spread(results[copy])} | {spread(results[backup])} | {ratio:.2f} | "
                  f"{spread(results[verify]) if results[verify] else '-'} |", flush=True)
    finally:
        server.stop()
