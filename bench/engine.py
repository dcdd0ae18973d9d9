"""The part `engine` of bench/run: the storage engine alone, beside the physical limit, SQLite and LMDB, on all CPUs."""
import os
import statistics
import subprocess

WAYS = ("engine", "loop", "sqlite", "lmdb")
NAMES = {"engine": "Mailroot", "loop": "bare loop", "sqlite": "SQLite WAL", "lmdb": "LMDB"}
DELIVERERS = (1, 8, 64)
BODIES = (4096, 16384, 65536)
EVERY_CPU = range(os.cpu_count())


def measure(bench, *words):
    """One run of ese_bench; {name: number}."""
    done = subprocess.run([bench.programs / "ese_bench", "--dir", bench.folder, *map(str, words)], capture_output=True,
                          text=True, timeout=600, preexec_fn=lambda: os.sched_setaffinity(0, EVERY_CPU))
    if done.returncode != 0:
        raise SystemExit(f"ese_bench {' '.join(map(str, words))}: {done.stderr}")
    return {k: float(v) for k, v in (word.split("=") for word in done.stdout.split())}


def median(results, key):
    return statistics.median(r[key] for r in results)


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}" if x >= 0.1 else f"{x:.3f}"


def row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def head(title, *cells):
    print(f"\n### {title}\n")
    row(*cells)
    row(*["---"] * len(cells))


def in_turns(bench, ways, deliverers, body, seconds):
    """{way: its results}, one run each, then the next."""
    results = {way: [] for way in ways}
    for _ in range(min(bench.runs, 3)):
        for way in ways:
            os.sync()  # what the one before left is not this one's to wait for
            one = measure(bench, "--way", way, "--deliverers", deliverers, "--body", body, "--seconds", seconds)
            if "absent" not in one:
                results[way].append(one)
    return {way: found for way, found in results.items() if found}


def rates(bench):
    """Durable transactions a second; the ratio to the loop is the median of each run's own, taken in turns."""
    seconds = 0.7 if bench.quick else 1.5
    bodies = BODIES[:1] if bench.quick else BODIES
    all_results = {}
    for body in bodies:
        for deliverers in DELIVERERS:
            all_results[body, deliverers] = in_turns(bench, WAYS, deliverers, body, seconds)
    ways = [way for way in WAYS if way in all_results[bodies[0], 1]]
    head("Durable transactions a second (a body and 6 rows)", "body", "deliverers", *[NAMES[w] for w in ways], "to the loop",
         "p50 / p99, ms")
    for (body, deliverers), r in all_results.items():
        ratio = statistics.median(ours["rate"] / loop["rate"] for ours, loop in zip(r["engine"], r["loop"]))
        row(f"{body // 1024} KiB", str(deliverers), *[number(median(r[way], "rate")) for way in ways], f"{ratio:.2f}",
            f"{number(median(r['engine'], 'p50_ms'))} / {number(median(r['engine'], 'p99_ms'))}")
    for title, key in (("Syncs each, all of them counted", "syncs"), ("Bytes written each, everything until it is closed", "written"),
                       ("CPU each, us, deliverers included", "cpu_us")):
        head(title, "body", "deliverers", *[NAMES[w] for w in ways])
        for (body, deliverers), r in all_results.items():
            row(f"{body // 1024} KiB", str(deliverers), *[number(median(r[way], key)) for way in ways])


def recovery(bench):
    counts = (3000, 10000) if bench.quick else (10000, 30000, 100000, 300000)
    head("Recovery: transactions (4 KiB) in the log that no checkpoint covers", "transactions", "replay, s", "until it is open, s")
    for count in counts:
        results = [measure(bench, "--recover", count) for _ in range(1 if bench.quick else 3)]
        if any(r["bodies"] < count for r in results):
            raise SystemExit("a transaction that was durable is not there after recovery")
        row(f"{count:,}", f"{median(results, 'replay_s'):.2f}", f"{median(results, 'open_s'):.2f}")


def size(bench):
    count = 50000 if bench.quick else 1000000
    r = measure(bench, "--fill", count, "--body", 2048)
    head(f"{count:,} messages of 2 KiB in one database", "what", "is")
    row("filled in, s", number(r["fill_s"]))
    row("payload (bodies, keys, values), MB", number(r["payload"] / 1e6))
    row("bodies' file, MB (a page of 4 KiB each)", number(r["bodies"] / 1e6))
    row("rows, MB", number(r["rows"] / 1e6))
    row("everything over payload", f"{r['all'] / r['payload']:.2f}")
    row("opening, s", f"{r['open_s']:.3f}")
    row("memory after opening, MiB", number(r["memory_open"] / 2**20))
    row("memory after looking at every 100th body, MiB", number(r["memory_read"] / 2**20))
    row("a look at a body's place, us", number(r["find_us"]))


def engine(bench):
    rates(bench)
    recovery(bench)
    size(bench)
