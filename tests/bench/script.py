"""apply.lua in batches of 500, beside one script per order in pipelines of 100, in the same Redis.

All is encoded beforehand, and what counts is the CPU time of Redis's main thread: so many orders a core decides in a second.
"""

import itertools
import socket
from pathlib import Path

from bench.marks import bench
from lib.stack import ROOT
from lib.world import RedisServer

BATCH, PIPELINE = 500, 100
ORDERS = 40000
REFERENCE = f"one script per order, pipelined by {PIPELINE}"
GENESIS, START_MS, HOLD_MS = "a" * 32, 1700000000000, 600000


def encode(*words):
    raw = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in raw)


class Wire:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.replies = self.socket.makefile("rb")

    def reply(self):
        line = self.replies.readline()
        assert line[:1] != b"-", line
        if line[:1] == b"$":
            return self.replies.read(int(line[1:]) + 2)[:-2]
        return line

    def ask(self, request, replies=1):
        self.socket.sendall(request)
        return [self.reply() for _ in range(replies)]

    def close(self):
        self.replies.close()
        self.socket.close()


def buyer(i):
    """A user and an order id."""
    return f"user{i}", f"{i:08x}-0000-7000-8000-{i:012x}"


class Log:
    """What a matcher asks of apply.lua, each request following the one before it."""

    def __init__(self, sha):
        self.sha = sha
        self.keys = [f"bench:{{0}}:{name}" for name in "log items orders payments ops outbox due rebuild".split()]
        self.prev = self.acked = -1
        self.time = START_MS

    def request(self, *commands):
        """Applies commands, each without its offset and time."""
        first, to = self.prev + 1, self.prev + len(commands)
        words = [w for i, c in enumerate(commands) for w in (c[0], first + i, self.time, *c[1:])]
        chain = "genesis" if self.prev < 0 else f"after{self.prev}"
        head = (1, GENESIS, self.prev, chain, to, f"after{to}", "hash", self.acked, 64, 10**8, len(commands))
        self.prev, self.acked, self.time = to, self.prev, self.time + 1
        return encode("EVALSHA", self.sha, len(self.keys), *self.keys, *head, *words)

    def batches(self, commands):
        commands = iter(commands)
        while some := list(itertools.islice(commands, BATCH)):
            yield self.request(*some)

    def opening(self, stock, items):
        sales = (("S", f"open{item}", item, "open", stock, 1, HOLD_MS, "", "", "") for item in items)
        return self.batches(itertools.chain([("G", GENESIS, 1, 1)], sales))

    def orders(self, numbers, items=("phone@0",), keyed="1"):
        """One unit for each of these buyers, of one item after the other."""
        people = ((i, *buyer(i)) for i in numbers)
        return self.batches(("O", order, items[i % len(items)], user, 1, START_MS + HOLD_MS, keyed) for i, user, order in people)


def one_by_one_requests(sha, count):
    some = [
        encode("EVALSHA", sha, 3, "one:{0}:stock", "one:{0}:buyers", "one:{0}:due", *buyer(i), START_MS + HOLD_MS)
        for i in range(count)
    ]
    return [b"".join(some[i : i + PIPELINE]) for i in range(0, count, PIPELINE)]


class Pair:
    """A Redis of its own, both scripts loaded, and how fast each takes the same orders."""

    def __init__(self, given, stock, keyed="1"):
        self.count = given.many(ORDERS, BATCH)
        self.stock, self.keyed = stock, keyed
        # Neither is to wait for a disk.
        self.server = RedisServer(given.dir / "redis", given.stack.port("bench-redis"), "--appendonly", "no").start()
        self.wire = Wire(self.server.port)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.wire.close()
        self.server.stop()

    def load(self, path):
        return self.wire.ask(encode("SCRIPT", "LOAD", Path(path).read_bytes()))[0].strip()

    def cpu_s(self):
        used = self.server.client.info("cpu")
        return used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"]

    def ask(self, requests, replies=1):
        """The answers, and Redis's seconds for all requests, which were made beforehand."""
        requests = list(requests)
        began = self.cpu_s()
        answers = [answer for request in requests for answer in self.wire.ask(request, replies)]
        return answers, self.cpu_s() - began

    def apply(self, requests):
        """What each command became, a line each, and Redis's seconds."""
        answers, took = self.ask(requests)
        assert all(answer.startswith(b"ok ") for answer in answers), answers[-1][:200]
        return [line for answer in answers for line in answer.splitlines()[1:]], took

    def open(self, items=("phone@0",)):
        log = Log(self.load(ROOT / "lua" / "apply.lua"))
        self.apply(log.opening(self.stock, items))
        return log

    def orders(self, log, numbers, **more):
        """Redis's seconds for orders of these buyers, all of which must be sold, or none."""
        took = 0
        for first in range(numbers.start, numbers.stop, ORDERS):  # there may be millions, and they are made beforehand
            some = range(first, min(first + ORDERS, numbers.stop))
            lines, seconds = self.apply(log.orders(some, **more))
            sold = [line for line in lines if not line.startswith(b"-1 ")]
            assert len(lines) == len(some) and len(sold) == (len(some) if self.stock else 0), lines[-1]
            took += seconds
        return took

    def ours(self):
        return self.count / self.orders(self.open(), range(self.count), keyed=self.keyed)

    def theirs(self):
        self.wire.ask(encode("HSET", "one:{0}:stock", "stock", self.stock))
        answers, took = self.ask(one_by_one_requests(self.load(ROOT / "tests" / "bench" / "one_order.lua"), self.count), PIPELINE)
        assert all(answer.startswith(b":-1") == (not self.stock) for answer in answers), answers[-1]
        return self.count / took

    def used_bytes(self):
        return self.server.client.info("memory")["used_memory"]


@bench("script-reserve", "orders/s", REFERENCE)
def reserve(given):
    """apply.lua takes new users' orders of one item, 500 in each call."""
    with Pair(given, stock=10**8) as pair:
        return pair.ours(), pair.theirs()


@bench("script-soldout", "orders/s", REFERENCE)
def soldout(given):
    """The same with nothing left and without a key: nothing need be remembered of a refusal."""
    with Pair(given, stock=0, keyed="0") as pair:
        return pair.ours(), pair.theirs()


@bench("script-soldout-keyed", "orders/s", REFERENCE)
def soldout_keyed(given):
    """The same with nothing left and a key: each refusal is remembered."""
    with Pair(given, stock=0) as pair:
        return pair.ours(), pair.theirs()


@bench("memory-hold", "bytes", "one script per order: a buyer and when it falls due", runs=3, is_cost=True)
def memory_hold(given):
    """Redis's memory for each open hold; the outbox is in it, trimmed as it is in life."""
    with Pair(given, stock=10**8) as pair:
        empty = pair.used_bytes()
        pair.ours()
        full = pair.used_bytes()
        pair.theirs()
        return (full - empty) / pair.count, (pair.used_bytes() - full) / pair.count
