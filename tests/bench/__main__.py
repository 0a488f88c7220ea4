"""Runs benches, each a few times, and says what they gave beside what was measured with them.

    make bench [ONLY="name name"] [RUNS=5] [SIZE=1]

The table goes to stdout at the end, build/bench/report.json has the same for scripts; with ONLY it keeps what
it had of the others.  value and reference_value are medians, ratio is the median of the runs' own ratios and
spread their least and greatest.  Exit status 1 if a bench failed.
"""

import argparse
import fcntl
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

from bench import marks
from lib.stack import BUILD, ROOT, Stack

REPORT = BUILD / "bench" / "report.json"
STOLEN_MUCH = 0.02


class Given:
    """What a bench may use; servers are started when the first one asks for them."""

    def __init__(self, ends, size, stack=None):
        self.ends = ends
        self.size = size  # 1: what the documents say; less for a quick look
        (BUILD / "bench").mkdir(parents=True, exist_ok=True)
        self.dir = Path(mkdtemp(prefix="run-", dir=BUILD / "bench"))
        self._stack = stack
        self.told = []

    @property
    def stack(self):
        if not self._stack:
            self._stack = self.ends.enter_context(Stack(BUILD / "bench" / "stack"))
        return self._stack

    def many(self, n, unit=1):
        """n as the size has it, in whole units."""
        return max(1, int(n * self.size / unit)) * unit

    def tell(self, text):
        if text not in self.told:
            self.told.append(text)


def version(*command):
    """The first number with a dot that a program says of itself."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    except OSError:
        return "none"
    found = re.search(r"\d+\.\d+[\w.]*", said)
    return found[0] if found else "unknown"


def machine():
    cpu = [l.split(":")[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "cpu": cpu[0] if cpu else platform.machine(), "cores": len(os.sched_getaffinity(0)), "memory_mib": memory,
        "kernel": platform.release(), "redis": version("redis-server", "--version"),
        "mariadb": version("/usr/sbin/mariadbd", "--version"), "java": version("java", "--version"),
        "kafka": re.search(r"<kafka.version>(.*)<", (ROOT / "tools" / "kafka" / "pom.xml").read_text())[1],
        "librdkafka": version("pkg-config", "--modversion", "rdkafka"), "load": round(os.getloadavg()[0], 2),
    }


def stolen_s():
    """Seconds of processors that the host gave to others, since it runs."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def progress(text, end="\r"):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end=end, file=sys.stderr, flush=True)


def run(bench, given, runs):
    pairs, began, stolen = [], time.monotonic(), stolen_s()
    print(f"{bench.name}: {bench.what}", file=sys.stderr)
    for i in range(runs):
        progress(f"{bench.name}: {i + 1} of {runs}")
        given.told = []
        pairs.append(bench.measure(given))
    ratios = [ours / reference for ours, reference in pairs]
    took = time.monotonic() - began
    share = (stolen_s() - stolen) / (took * os.cpu_count())
    if share > STOLEN_MUCH:
        given.tell(f"the host gave {share:.0%} of the processors' time to others meanwhile")
    return {
        "name": bench.name, "value": statistics.median(p[0] for p in pairs), "unit": bench.unit,
        "reference": bench.reference, "reference_value": statistics.median(p[1] for p in pairs),
        "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)], "runs": runs,
        "better": "less" if bench.is_cost else "more", "size": given.size, "at": int(time.time()),
        "seconds": round(took), "stolen": round(share, 3), "told": given.told,
    }


def number(n):
    return f"{n:,.0f}" if n >= 100 else f"{n:.3g}"


def row(r):
    low, high = r["spread"]
    return (f"| `{r['name']}` | {number(r['value'])} {r['unit']} | {number(r['reference_value'])} | "
            f"{r['ratio']:.2f} ({low:.2f}-{high:.2f}) | {r['reference']} |")


def show(report, names):
    """The table, ready for the README."""
    found = [r for r in report["benchmarks"] if r["name"] in names]
    if not found:
        return
    print(", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    print("\n| bench | value | reference | ratio (spread) | the reference is |\n|---|---|---|---|---|")
    print("\n".join(map(row, found)) + "\n")
    for r in found:
        for text in r["told"]:
            print(f"{r['name']}: {text}")


def kept(here):
    """What an earlier run on this machine found."""
    if not REPORT.exists():
        return []
    report = json.loads(REPORT.read_text())
    same = all(report["machine"].get(k) == v for k, v in here.items() if k != "load")
    return report["benchmarks"] if same else []


def save(report, found, order):
    rows = {r["name"]: r for r in report["benchmarks"]} | {found["name"]: found}
    report["benchmarks"] = [rows[name] for name in order if name in rows]
    REPORT.write_text(json.dumps(report, indent=1) + "\n")


def run_all(known, wanted, options):
    """The names of those that failed."""
    report, failed = {"machine": machine(), "benchmarks": []}, []
    if options.only:
        report["benchmarks"] = kept(report["machine"])
    with ExitStack() as ends:
        given = Given(ends, options.size)
        ends.callback(show, report, wanted)
        for name in wanted:
            try:
                found = run(known[name], given, options.runs or known[name].runs)
            except Exception:  # pylint: disable=broad-exception-caught
                traceback.print_exc()
                failed.append(name)
                report["benchmarks"] = [r for r in report["benchmarks"] if r["name"] != name]
                continue
            save(report, found, known)
            progress(row(found), end="\n")
    return failed


def stop(*_):
    """Whatever runs ends with us."""
    sys.exit("stopped")


def main():
    known = marks.load()
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="names, separated by blanks; all without it")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--size", type=float, default=1)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    wanted = options.only.split() or list(known)
    if unknown := [w for w in wanted if w not in known]:
        sys.exit(f"no such bench: {' '.join(unknown)}; there are {' '.join(known)}")
    if options.list:
        for b in known.values():
            print(f"{b.name:20} {b.what}; {b.unit}, beside: {b.reference}")
        return
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    with (REPORT.parent / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"another one runs in {REPORT.parent}")
        if failed := run_all(known, wanted, options):
            sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()
