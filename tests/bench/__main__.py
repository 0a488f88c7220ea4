"""Runs benches, each a few times, and says what they gave beside what was measured with them.

    make bench [ONLY="name name"] [RUNS=5] [SIZE=1]

The table goes to stdout, build/bench/report.json has the same for scripts.  value and reference_value are
medians, ratio is the median of the runs' own ratios and spread their least and greatest.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

from bench import marks
from lib.stack import BUILD, Stack


class Given:
    """What a bench may use; servers are started when the first one asks for them."""

    def __init__(self, ends, size):
        self.ends = ends
        self.size = size  # 1: what the documents say; less for a quick look
        self.dir = Path(mkdtemp(prefix="run-", dir=BUILD / "bench"))
        self._stack = None
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


def machine():
    cpu = [l.split(":")[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "cpu": cpu[0] if cpu else platform.machine(), "cores": len(os.sched_getaffinity(0)), "memory_mib": memory,
        "kernel": platform.release(), "load": os.getloadavg()[0],
    }


def run(bench, given, runs):
    pairs = []
    for i in range(runs):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{bench.name}: {i + 1} of {runs}", end="\r", file=sys.stderr)
        pairs.append(bench.measure(given))
    ratios = [ours / reference for ours, reference in pairs]
    return {
        "name": bench.name, "value": statistics.median(p[0] for p in pairs), "unit": bench.unit,
        "reference": bench.reference, "reference_value": statistics.median(p[1] for p in pairs),
        "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)], "runs": runs,
        "better": "less" if bench.is_cost else "more",
    }


def number(n):
    return f"{n:,.0f}" if n >= 100 else f"{n:.3g}"


def show(r):
    low, high = r["spread"]
    print(f"| `{r['name']}` | {number(r['value'])} {r['unit']} | {number(r['reference_value'])} | "
          f"{r['ratio']:.2f} ({low:.2f}-{high:.2f}) | {r['reference']} |", flush=True)


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
            print(f"{b.name:20} {b.unit}, beside: {b.reference}")
        return
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "benchmarks": []}
    print(", ".join(f"{k} {v}" for k, v in report["machine"].items()))
    print("\n| bench | value | reference | ratio (spread) | the reference is |\n|---|---|---|---|---|")
    with ExitStack() as ends:
        given = Given(ends, options.size)
        for name in wanted:
            found = run(known[name], given, options.runs or known[name].runs)
            report["benchmarks"].append(found)
            show(found)
            (BUILD / "bench" / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    for text in given.told:
        print(text)


if __name__ == "__main__":
    main()
