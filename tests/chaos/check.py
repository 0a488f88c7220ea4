"""The judge of a run: a program of its own that believes nobody.

    python3 -m chaos.check --row R4 --seed 7 --faults 12 --seconds 90 --items A,B LEDGER...

It takes one snapshot of MySQL and of Redis, reads both topics, and recomputes from the commands and
the outcomes what must be there; compares that with MySQL, with Redis and with the ledgers of what
shoppers were told; and asks `seckill-guardian verify`, which refolds the log with the C rules.  Servers
are those of the environment (a stack's env file).  It prints

    ROW id seed faults orders missing double foreign seconds PASS|FAIL

orders: how many different ones of those items are in the log; of all items without --items.
missing: told and not in the log; in the log and never decided; decided and not recorded.
double: decided twice, or told one thing and recorded as another.
foreign: in Redis, in MySQL or among the outcomes, and no command made it so.

Exit status: 0 PASS, 1 FAIL, 2 it could not look.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import confluent_kafka
import redis

from lib import kafka
from lib.stack import BIN, mysql_of

LETTERS = {"reserved": "H", "rejected": "R", "paid": "P", "cancelled": "C", "expired": "E"}
REASONS = (
    "none sold_out limit_reached not_open closed paused timed_out unknown_item unknown_order already_paid "
    "already_cancelled already_rejected expired below_committed bad_operation malformed"
).split()
REMEMBERED_MAX = 64


class Findings:
    """What is wrong, counted by kind; the first few of each in words."""

    def __init__(self):
        self.counts = {"missing": 0, "double": 0, "foreign": 0}
        self.other = []  # what has no column and fails the run all the same
        self.words = []

    def add(self, kind, what):
        self.counts[kind] += 1
        if self.counts[kind] <= 5:
            self.words.append(f"{kind}: {what}")

    def fail(self, what):
        self.other.append(what)
        self.words.append(what)

    @property
    def is_clean(self):
        return not self.other and not any(self.counts.values())


# ---------------------------------------------------------------------------- reading


class Log:
    """Both topics, by one consumer that belongs to no group."""

    def __init__(self, brokers, partitions):
        self.partitions = partitions
        self.brokers = brokers
        self.consumer = kafka.reader(brokers)

    def ends(self, topic):
        return [kafka.watermarks(self.brokers, topic, p)[1] for p in range(self.partitions)]

    def read(self, topic, seconds=240):
        """[(offset, value)] of each partition up to its end as it is now."""
        ends = self.ends(topic)
        found = [[] for _ in ends]
        missing = {p for p, end in enumerate(ends) if end > 0}
        self.consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in missing])
        deadline = time.monotonic() + seconds
        while missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} cannot be read to {ends}: {[len(f) for f in found]} records")
            for message in self.consumer.consume(5000, 0.2):
                p = message.partition()
                if message.error() or message.offset() >= ends[p]:
                    continue
                found[p].append((message.offset(), message.value()))
                if message.offset() == ends[p] - 1:
                    missing.discard(p)
        self.consumer.unassign()
        return found


def read_mysql(env):
    """All tables of the record as of one moment."""
    with mysql_of(env, autocommit=False) as db, db.cursor() as cursor:

        def rows(sql):
            cursor.execute(sql)
            return [tuple(c.decode() if isinstance(c, bytes) else c for c in row) for row in cursor.fetchall()]

        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return {
            "position": dict(rows("SELECT partition_id, position FROM progress")),
            "orders": {
                (r[0], r[1]): r[2:]
                for r in rows(
                    "SELECT order_id, user_id, partition_id, item_id, qty, state, reason, due FROM orders"
                )
            },
            "items": {
                r[0]: r[1:] for r in rows("SELECT item_id, partition_id, total, available, held, sold FROM items")
            },
            "payments": {
                (r[0], r[1]): r[2:] for r in rows("SELECT partition_id, payment_id, order_id, answer FROM payments")
            },
        }


def read_redis(client, prefix, partition):
    """One partition's state as of one moment."""
    tx = client.pipeline(transaction=True)
    for name in ("log", "items", "orders", "payments"):
        tx.hgetall(f"{prefix}:{{{partition}}}:{name}")
    log, items, orders, payments = tx.execute()
    state = {"position": int(log.get("watermark", -1)), "orders": {}, "items": {}, "payments": {}}
    for user, text in orders.items():
        for entry in text.split(";"):
            order_id, item_id, qty, letter, reason, due, _, _ = entry.split(" ")
            state["orders"][(order_id, user)] = (partition, item_id, int(qty), letter, int(reason), int(due))
    for item_id, text in items.items():
        state["items"][item_id] = (partition, *map(int, text.split(" ")[:4]))
    for payment_id, text in payments.items():
        answer, _, order_id, _ = text.split(" ")
        state["payments"][(partition, payment_id)] = (order_id, {"P": "paid", "R": "refund_due"}[answer])
    return state


# ---------------------------------------------------------------------------- recomputing


class Story:
    """What the outcomes of one partition make, command after command."""

    def __init__(self, partition, findings):
        self.partition = partition
        self.findings = findings
        self.orders = {}  # (order_id, user_id) -> (partition, item, qty, letter, reason, due)
        self.items = {}  # item -> [partition, total, available, held, sold]
        self.payments = {}
        self.remembered = set()
        self.per_user = defaultdict(int)
        self.units = defaultdict(int)  # (user, item) -> held and sold
        self.limits = {}
        self.was_held = set()

    def apply(self, offset, event):
        kind = event["type"]
        if kind == "stock":
            item = event["item_id"]
            self.items[item] = [self.partition, *(event[n] for n in ("total", "available", "held", "sold"))]
            self.limits[item] = event["limit"]
        elif kind in LETTERS:
            self._order(offset, event, kind)
        if kind in ("paid", "refund_due"):
            self._payment(offset, event, kind)

    def _payment(self, offset, event, kind):
        key = (self.partition, event["payment_id"])
        if key in self.payments:
            self.findings.add("double", f"payment {key} is answered again at {offset}")
        self.payments[key] = (event["order_id"], kind)

    def _order(self, offset, event, kind):
        key = (event["order_id"], event["user_id"])
        before = self.orders.get(key)
        letter = LETTERS[kind]
        decides = kind in ("reserved", "rejected")
        if decides and before is not None and key in self.remembered:
            self.findings.add("double", f"{key[0]} is decided again at {self.partition}:{offset}")
        if not decides and (before is None or before[3] not in {"P": "HE", "C": "H", "E": "H"}[letter]):
            self.findings.add("foreign", f"{key[0]} is {kind} at {self.partition}:{offset}, before: {before}")
        due = event.get("due", before[5] if before else 0)
        reason = REASONS.index(event["reason"]) if kind == "rejected" else 0
        self.orders[key] = (self.partition, event["item_id"], event["qty"], letter, reason, due)
        if decides:
            self._remember(key, kind)
        self._move(offset, key, before[3] if before else "", letter, event)

    def _remember(self, key, kind):
        order_id, user = key
        if kind == "reserved":
            self.was_held.add(key)
        if kind == "reserved" or (order_id[14] == "8" and self.per_user[user] < REMEMBERED_MAX):
            if key not in self.remembered:
                self.per_user[user] += 1
                self.remembered.add(key)

    def _move(self, offset, key, before, after, event):
        """Stock moves as the state does; the numbers must stay whole, and the limit kept."""
        item = self.items.get(event["item_id"])
        if item is None:
            return
        qty = event["qty"]
        column = {"H": 3, "P": 4}
        for state, sign in ((before, -1), (after, 1)):
            if state in column:
                item[column[state]] += sign * qty
                item[2] -= sign * qty
                self.units[(key[1], event["item_id"])] += sign * qty
        if item[2] != event["available"] or min(item[1:]) < 0 or item[1] != sum(item[2:]):
            self.findings.fail(f"{event['item_id']} does not add up at {self.partition}:{offset}: {item}, {event}")
        if after in column and self.units[(key[1], event["item_id"])] > self.limits[event["item_id"]]:
            self.findings.fail(f"{key[1]} is over the limit of {event['item_id']} at {self.partition}:{offset}")

    def snapshot(self):
        return {
            "orders": dict(self.orders),
            "items": {name: tuple(row) for name, row in self.items.items()},
            "payments": dict(self.payments),
            "remembered": set(self.remembered),
        }


def outcomes_of(records, partition, findings):
    """{offset: outcome}; every copy of one has the same bytes, and they follow each other."""
    raw, parsed = {}, {}
    for _, value in records:
        outcome = json.loads(value)
        offset = outcome["offset"]
        if offset in raw and raw[offset] != value and all(e["type"] != "mark" for e in outcome["events"]):
            findings.add("double", f"two different outcomes of {partition}:{offset}")
        raw.setdefault(offset, value)
        parsed.setdefault(offset, outcome)
    before = -1
    for offset in sorted(parsed):
        if parsed[offset]["prev"] != before:
            findings.add("missing", f"the outcome before {partition}:{offset}: {before} is not its prev")
        before = offset
    return parsed


def commands_of(records):
    """{order_id: [offset...]} of the orders, {item_id: ids of its orders}, and the set of all offsets."""
    orders, by_item = defaultdict(list), defaultdict(set)
    for offset, value in records:
        try:
            command = json.loads(value)
        except (TypeError, ValueError):
            continue  # malformed: its outcome says so
        if isinstance(command, dict) and command.get("type") == "order":
            orders[command.get("order_id")].append(offset)
            by_item[command.get("item_id")].add(command.get("order_id"))
    return orders, by_item, {offset for offset, _ in records}


def retell(partition, records, outcomes, stops, findings):
    """The story of a partition, its orders, those by item, and its snapshots at the offsets of stops."""
    commands, by_item, offsets = commands_of(records)
    story = Story(partition, findings)
    taken = {stop: story.snapshot() for stop in stops if stop < 0}
    answered = set()
    for offset in sorted(outcomes):
        if offset not in offsets:
            findings.add("foreign", f"an outcome of {partition}:{offset}, where there is no command")
        for event in outcomes[offset]["events"]:
            if event["type"] in LETTERS and event["order_id"] not in commands:
                findings.add("foreign", f"{event['type']} {event['order_id']}, which nobody ordered")
            if event.get("order_id") in commands and event["type"] in ("reserved", "rejected", "duplicate", "refused"):
                answered.add((event["order_id"], offset))
            story.apply(offset, event)
        if offset in stops:
            taken[offset] = story.snapshot()
    last = max(outcomes, default=-1)
    for order_id, places in commands.items():
        for offset in places:
            if offset > last:
                findings.add("missing", f"{order_id} at {partition}:{offset} is not decided")
            elif (order_id, offset) not in answered and not is_malformed(outcomes.get(offset)):
                findings.add("missing", f"{order_id} at {partition}:{offset} has no answer in its outcome")
    return story, commands, by_item, taken


def is_malformed(outcome):
    return outcome is not None and any(e.get("reason") == "malformed" for e in outcome["events"])


# ---------------------------------------------------------------------------- comparing


def compare(name, found, wanted, findings):
    for kind in ("orders", "items", "payments"):
        for key in wanted[kind].keys() - found[kind].keys():
            findings.add("missing", f"{name} lacks {kind} {key}: {wanted[kind][key]}")
        for key in found[kind].keys() - wanted[kind].keys():
            findings.add("foreign", f"{name} has {kind} {key}: {found[kind][key]}")
        for key in wanted[kind].keys() & found[kind].keys():
            if wanted[kind][key] != found[kind][key]:
                findings.add("foreign", f"{name}, {kind} {key}: {found[kind][key]}, not {wanted[kind][key]}")


def remembered_only(state):
    return state | {"orders": {k: v for k, v in state["orders"].items() if k in state["remembered"]}}


def part_of(state, partition):
    """What of MySQL's snapshot belongs to a partition."""
    return {
        "orders": {k: v for k, v in state["orders"].items() if v[0] == partition},
        "items": {k: v for k, v in state["items"].items() if v[0] == partition},
        "payments": {k: v for k, v in state["payments"].items() if k[0] == partition},
    }


def check_told(line, stories, commands, findings):
    """One line of a ledger: what a shopper was told is what became of it."""
    key = (line["order_id"], line["user_id"])
    told = set(line["told"])
    if line.get("contradicted"):
        findings.add("double", f"{key}: two answers contradict each other: {line}")
    if line["order_id"] not in commands:
        if line["accepted"] or told:
            findings.add("missing", f"{key} was told {sorted(told) or 'accepted'}, and is not in the log")
        return
    story = next((s for s in stories if key in s.orders), None)
    if story is None:
        if told:
            findings.add("missing", f"{key} was told {sorted(told)}, and was never decided")
        return
    letter, reason = story.orders[key][3:5]
    lies = (
        ("rejected" in told and (letter != "R" or REASONS[reason] != line.get("reason")))
        or (told - {"rejected"} and key not in story.was_held)
        or ("paid" in told and letter != "P")
        or ("cancelled" in told and letter != "C")
        or ("expired" in told and letter not in "EP")
    )
    if lies:
        findings.add("double", f"{key} was told {line}, and is {letter} {REASONS[reason]}")
    if "payment" in line:
        answers = [s.payments.get((s.partition, line["payment_id"])) for s in stories]
        if (line["order_id"], line["payment"]) not in answers:
            findings.add("double", f"{key}: {line['payment_id']} was told {line['payment']}: {answers}")


def check_ledger(path, stories, commands, findings):
    whole = False
    if not Path(path).exists():
        findings.fail(f"{path} is not there: the storm was broken off")
        return
    with Path(path).open() as lines:
        for text in lines:
            line = json.loads(text)
            if "storm" in line:
                whole = True
                if line["storm"]["unexpected"] > 0:
                    findings.fail(f"{path}: {line['storm']['unexpected']} answers outside the protocol")
            else:
                check_told(line, stories, commands, findings)
    if not whole:
        findings.fail(f"{path} has no last line: the storm did not end")


# ---------------------------------------------------------------------------- the program


def positions(env, client, prefix, partitions):
    with mysql_of(env) as db, db.cursor() as cursor:
        cursor.execute("SELECT partition_id, position FROM progress")
        recorded = dict(cursor.fetchall())
    applied = [int(client.hget(f"{prefix}:{{{p}}}:log", "watermark") or -1) for p in range(partitions)]
    return [(applied[p], recorded.get(p, -1)) for p in range(partitions)]


def await_end(env, log, client, prefix, seconds, findings):
    """Everything converges: Redis and MySQL come to the log's end as it was at the beginning."""
    deadline = time.monotonic() + seconds
    ends, seen = None, None
    while time.monotonic() < deadline:
        try:
            ends = ends or log.ends("seckill.orders")
            seen = positions(env, client, prefix, log.partitions)
            if all(min(at) >= end - 1 for at, end in zip(seen, ends)):
                return True
        except Exception as e:  # a server that is not back yet  pylint: disable=broad-exception-caught
            seen = repr(e)
        time.sleep(0.3)
    findings.fail(f"no convergence within {seconds} s: log ends {ends}, (Redis, MySQL) at {seen}")
    return False


def verify(env, findings):
    """The C rules over the whole log; twice, because a live system moves on between its readings."""
    done = None
    for _ in range(2):
        done = subprocess.run(
            [BIN / "seckill-guardian", "verify", "--json", "--timeout=60s"],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )
        if done.returncode == 0:
            return
    # What it says of each item comes before what is wrong.
    findings.fail(f"verify: exit {done.returncode}: {done.stdout[:200]} ... {done.stdout[-2000:]} {done.stderr[-2000:]}")


def read_outcomes(log, upto, seconds=30):
    """The topic of outcomes to its ends, which soon has what Redis and MySQL already know."""
    deadline = time.monotonic() + seconds
    while True:
        found = log.read("seckill.outcomes")
        last = [max((json.loads(v)["offset"] for _, v in part[-1000:]), default=-1) for part in found]
        if time.monotonic() > deadline or all(has >= wanted for has, wanted in zip(last, upto)):
            return found


def judge(args, env, findings):
    """The number of the storm's orders in the log."""
    log = Log(env["KAFKA_BROKERS"], int(env.get("SECKILL_PARTITIONS", "4")))
    prefix = env.get("SECKILL_KEY_PREFIX", "seckill")
    client = redis.Redis(env["REDIS_HOST"], int(env["REDIS_PORT"]), decode_responses=True, socket_timeout=30)
    if not await_end(env, log, client, prefix, args.within, findings):
        return 0
    verify(env, findings)
    recorded = read_mysql(env)
    live = [read_redis(client, prefix, p) for p in range(log.partitions)]
    stops = [(state["position"], recorded["position"].get(p, -1)) for p, state in enumerate(live)]
    told = read_outcomes(log, [max(s) for s in stops])
    stories, commands, counted = [], {}, 0
    for p, records in enumerate(log.read("seckill.orders")):
        outcomes = outcomes_of(told[p], p, findings)
        last = max(outcomes, default=-1)
        story, ordered, by_item, taken = retell(p, [r for r in records if r[0] <= last], outcomes, stops[p], findings)
        stories.append(story)
        commands |= ordered
        counted += sum(len(ids) for item, ids in by_item.items() if not args.items or item in args.items)
        for name, state, at in zip(("Redis", "MySQL"), (live[p], part_of(recorded, p)), stops[p]):
            if at not in taken:
                findings.add("missing", f"the outcome of {p}:{at}, where {name} is")
                continue
            compare(name, state, remembered_only(taken[at]) if name == "Redis" else taken[at], findings)
    for path in args.ledgers:
        check_ledger(path, stories, commands, findings)
    return counted


def parse(argv):
    parser = argparse.ArgumentParser(prog="chaos.check", description=__doc__.splitlines()[0])
    parser.add_argument("--row", default="-")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--within", type=float, default=120, help="seconds that everything may take to converge")
    parser.add_argument("--items", type=lambda names: names.split(","), default=[], help="those of the storm")
    parser.add_argument("--json", help="file for the row as JSON")
    parser.add_argument("ledgers", nargs="*")
    return parser.parse_args(argv)


def main(argv=None, env=None):
    args = parse(argv)
    findings = Findings()
    orders = 0
    try:
        orders = judge(args, dict(env or os.environ), findings)
    except Exception as e:  # whatever it is, nothing was proved  pylint: disable=broad-exception-caught
        findings.fail(f"could not look: {e!r}")
        if os.environ.get("CHAOS_TRACE"):
            raise
    result = "PASS" if findings.is_clean else "FAIL"
    row = {"row": args.row, "seed": args.seed, "faults": args.faults, "orders": orders}
    row |= findings.counts | {"seconds": round(args.seconds), "result": result}
    for words in findings.words:
        print(f"  {words}", file=sys.stderr)
    print("ROW", *row.values())
    if args.json:
        Path(args.json).write_text(json.dumps(row | {"why": findings.words}) + "\n")
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
