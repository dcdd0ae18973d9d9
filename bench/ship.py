"""The part `ship` of bench/run: what shipping the log to a standby costs the deliveries, in turns without and with it, and
how far the standby lags meanwhile.  Sender and standby run on the CPUs that servers and clients do not use."""
import json
import os
import statistics
import subprocess
import threading

import servers
from backup import run, spread

BOXES = 4
SIZE = 4096
OTHER_CPUS = set(range(os.cpu_count())) - {0, 1} or set(range(os.cpu_count()))


class Shipping:
    """mailroot ese ship to a standby in another folder; keeps what its reports say of the lag."""

    def __init__(self, server, home):
        receive = f"exec {server.command()[0]} --home {home} standby receive"
        # What was delivered without it is not what it is measured by.
        run(*server.command("ese", "ship", "--once", "--via", receive))
        self.process = subprocess.Popen([*map(str, server.command("--json", "ese", "ship", "--via", receive))],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        preexec_fn=lambda: os.sched_setaffinity(0, OTHER_CPUS))
        self.lags = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lags.append(max((g["lag_ms"] for g in json.loads(line)["groups"]), default=0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.thread.join()


def measure(bench):
    users = [f"m{i}" for i in range(1, BOXES + 1)]
    messages = 4000 if bench.quick else 20000
    folder = bench.folder / "shipped"
    folder.mkdir()
    server = servers.Mailroot(folder, users)
    home = bench.folder / "standby"
    try:
        run(*server.command("ese", "backup", bench.folder / "shipped-backup"))
        run(server.command()[0], "--home", home, "standby", "init", bench.folder / "shipped-backup")

        def rate():
            result = bench.smtp(server, BOXES, 20, messages)
            return result["messages"] / result["delivered_s"]

        without, shipped, lags = [], [], []
        for _ in range(bench.runs):
            without.append(rate())
            with Shipping(server, home) as shipping:
                shipped.append(rate())
            lags += shipping.lags
        ratio = statistics.median(s / w for s, w in zip(shipped, without))
        print(f"\n### Deliveries of 4 KiB by 20 sessions, without and with a standby\n\n"
              "| without, msg/s | with, msg/s | ratio | lag, ms: median, highest |\n| --- | --- | --- | --- |\n"
              f"| {spread(without)} | {spread(shipped)} | {ratio:.2f} | "
              f"{statistics.median(lags or [0]):,.0f}, {max(lags or [0]):,.0f} |", flush=True)
    finally:
        server.stop()
