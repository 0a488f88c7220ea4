"""Runs rows of the fault matrix, or a soak that mixes them.

    make chaos [ROW="R4 R6"] [SEED=1] [ORDERS=100000] [MINUTES=N] [LANES=2]
    make soak HOURS=8 [SEED=1] [ROW="the rows to mix"]

A run is made from its seed: which daemon, when, how long.  What the machine adds to that is its own.
The table goes to stdout; build/chaos/report.json has the last run of all rows with 100,000 orders or more each,
some.json that of fewer or less, soak.json that of a soak.  Each row is a process of its own (--one), as many at a time as there are lanes.
"""

import argparse
import copy
import json
import random
import signal
import subprocess
import sys
import time
import traceback
from concurrent import futures

from chaos import rows
from chaos.field import Field, Storm
from chaos.network import WITH_US
from lib.stack import BUILD

DIR = BUILD / "chaos"
STORMS_PER_STACK = 4
FULL_ORDERS = 100000  # of each row
ORDERS_PER_SECOND = 1500  # that shoppers try to place, unless MINUTES says otherwise
CHILDREN = set()  # the rows under way


def fight(field, row, seed, orders, seconds):
    """A storm of orders and some, the row's fault again and again until shoppers stop coming, the verdict."""
    began = time.monotonic()
    why = []
    field.row, field.faults, field.struck = row, 0, 0
    field.storm = Storm(field, orders * 105 // 100, seconds, seed)
    try:
        field.breathe(1, 3)
        while field.storm.is_arriving and not (row.once and field.faults):
            row.fault(field)
            field.breathe(*row.pause_s)
        field.heal()
        field.storm.end(seconds + 300)
        if row.proof:
            row.proof(field)
        if field.faults == 0:
            why.append("no fault struck")
    except Exception:  # pylint: disable=broad-exception-caught
        why.append(traceback.format_exc())
        try:
            field.heal()
        except Exception:  # pylint: disable=broad-exception-caught
            why.append(traceback.format_exc())
    finally:
        field.storm.kill()
    verdict = field.judge(row.id, seed, time.monotonic() - began)
    why += field.complaints()
    verdict["why"] += why
    if why:
        verdict["result"] = "FAIL"
    return verdict


def failed(row, options, began, why):
    """The verdict on a run that came to none."""
    return {
        "row": row.id, "seed": options.seed, "faults": 0, "orders": 0, "missing": 0, "double": 0, "foreign": 0,
        "seconds": round(time.monotonic() - began), "result": "FAIL", "why": [why],
    }


def run_row(row, options):
    began = time.monotonic()
    try:
        with Field(DIR / row.id, row, options.seed) as field:
            verdict = fight(field, row, options.seed, options.orders, options.seconds)
        if verdict["orders"] < options.orders:
            verdict["result"] = "FAIL"
            verdict["why"].append(f"{verdict['orders']} orders, not {options.orders}, are in the log")
        return verdict
    except Exception:  # pylint: disable=broad-exception-caught
        return failed(row, options, began, traceback.format_exc())


def verdict_of(row):
    return DIR / row.id / "verdict.json"


def run_apart(row, options):
    """The same in a process of its own."""
    began = time.monotonic()
    verdict_of(row).unlink(missing_ok=True)
    words = [f"--row={row.id}", f"--seed={options.seed}", f"--orders={options.orders}", f"--minutes={options.seconds / 60}"]
    with subprocess.Popen(
        [*WITH_US, sys.executable, "-m", "chaos", "--one", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as child:
        CHILDREN.add(child)
        said, _ = child.communicate()
        CHILDREN.discard(child)
    if child.returncode or not verdict_of(row).exists():
        return failed(row, options, began, f"exit {child.returncode}: {said}")
    return json.loads(verdict_of(row).read_text())


def run_all(chosen, options):
    """Verdicts as they come; on a terminal, a line that says how far it is."""
    began = time.monotonic()
    with futures.ThreadPoolExecutor(options.lanes) as lanes:
        left = {lanes.submit(run_apart, row, options): row.id for row in chosen}
        try:
            while left:
                done, _ = futures.wait(left, timeout=1, return_when=futures.FIRST_COMPLETED)
                if sys.stderr.isatty():
                    running = " ".join(name for job, name in left.items() if job.running())
                    minutes = (time.monotonic() - began) / 60
                    print(f"\r\x1b[K{len(left)} of {len(chosen)} to go, {minutes:.0f} min: {running}", end="\r", file=sys.stderr)
                for job in done:
                    del left[job]
                    yield job.result()
        finally:
            for job in left:
                job.cancel()
            for child in list(CHILDREN):
                child.terminate()


def mixed(chosen, seed):
    """A row whose fault is any of the others', or two at once that do not strike the same part."""
    faults = [r for r in chosen if r.soak and not r.setup and not r.once and not r.settings]
    halts = tuple(reason for r in faults for reason in r.halts)
    signals = tuple(number for r in faults for number in r.signals)

    def any_of_them(field):
        first, second = field.dice.choices(faults, k=2)
        if first.alone or second.alone or first.id[0] == second.id[0]:
            first.fault(field)
        else:
            both(field, first, second)

    return rows.Row(
        f"soak-{seed}", f"{len(faults)} rows at random", any_of_them, pause_s=(0.2, 4), links=("producer-2",),
        halts=halts, signals=signals,
    )


def both(field, first, second):
    """Two faults at once, each with a chance of its own."""
    aside = copy.copy(field)
    aside.dice, aside.faults = random.Random(field.dice.random()), 0
    with futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(second.fault, aside)
        first.fault(field)
        other.result()
    field.faults += aside.faults


def soak(chosen, options):
    """Storm after storm, a seed each; a verdict after each.  Now and then on a new stack: a log of hours takes
    so long to be read again that shoppers would do little but wait."""
    seed = options.seed
    until = time.monotonic() + options.hours * 3600
    while time.monotonic() < until:
        with Field(DIR / f"soak-{seed}", mixed(chosen, seed), seed) as field:
            for _ in range(STORMS_PER_STACK):
                yield fight(field, mixed(chosen, seed), seed, options.orders, options.seconds)
                seed += 1
                if time.monotonic() >= until:
                    break


HEAD = ("row", "seed", "faults", "orders", "missing", "double", "foreign", "seconds", "result")


def show(verdict):
    print("ROW", *(str(verdict[name]) for name in HEAD), flush=True)
    for words in verdict["why"]:
        print("    " + words.replace("\n", "\n    "), flush=True)


def report(options, verdicts):
    """As far as the run has come.  A full one's report is there when it is."""
    is_full = options.orders >= FULL_ORDERS and {v["row"] for v in verdicts} == set(rows.ROWS)
    name = "soak" if options.hours else "report" if is_full else "some"
    rows_of_it = [{name: verdict[name] for name in HEAD} for verdict in verdicts]
    (DIR / f"{name}.json").write_text(json.dumps(rows_of_it, indent=1) + "\n")


def parse():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--row", default="", help="rows, separated by blanks; all without it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orders", type=int, default=FULL_ORDERS)
    parser.add_argument("--minutes", type=float, default=0, help="how long shoppers come")
    parser.add_argument("--hours", type=float, default=0, help="soak for so long")
    parser.add_argument("--lanes", type=int, default=1, help="rows at a time")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--one", action="store_true", help="in this process, and nothing but a verdict.json")
    options = parser.parse_args()
    options.seconds = options.minutes * 60 or max(15.0, options.orders / ORDERS_PER_SECOND)
    return options


def main():
    options = parse()
    known = rows.load()
    wanted = options.row.split() or list(known)
    if unknown := [w for w in wanted if w not in known]:
        sys.exit(f"no such row: {' '.join(unknown)}; there are {' '.join(known)}")
    chosen = [known[w] for w in wanted]
    if options.list:
        for r in chosen:
            print(f"{r.id:5} {r.title}")
        return 0
    DIR.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped
    if options.one:
        for r in chosen:
            verdict_of(r).write_text(json.dumps(run_row(r, options)))
        return 0
    verdicts = []
    print("ROW", *HEAD[1:], flush=True)
    for verdict in soak(chosen, options) if options.hours else run_all(chosen, options):
        show(verdict)
        verdicts.append(verdict)
        report(options, verdicts)
    lost = [v["row"] for v in verdicts if v["result"] != "PASS"]
    print(f"{len(verdicts)} runs, {sum(v['orders'] for v in verdicts)} orders, failed: {' '.join(lost) or 'none'}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
