"""apply.lua in batches of 500, beside one script per order in pipelines of 100, in the same Redis.

All is encoded beforehand, and one request is under way at a time, so what is measured is Redis.
"""

import functools
import socket
import time
import uuid
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
            return self.replies.read(int(line[1:]) + 2)
        return line

    def ask(self, request, replies=1):
        self.socket.sendall(request)
        return [self.reply() for _ in range(replies)]

    def close(self):
        self.replies.close()
        self.socket.close()


@functools.cache
def names(count):
    """Users and order ids: the same for both, and made once."""
    return [(f"user{i}", str(uuid.uuid4())) for i in range(count)]


def apply_requests(sha, stock, keyed, count):
    """What opens a sale, and batches of orders."""
    keys = [f"bench:{{0}}:{name}" for name in "log items orders payments ops outbox due rebuild".split()]
    prev, requests, offset = -1, [], 2
    acked = -1

    def batch(commands, to):
        nonlocal prev, acked
        words = [w for c in commands for w in c]
        chain = "genesis" if prev < 0 else f"after{prev}"
        requests.append(encode("EVALSHA", sha, len(keys), *keys, 1, GENESIS, prev, chain, to, f"after{to}", "hash", acked,
                               64, 10**8, len(commands), *words))
        prev, acked = to, prev

    batch([["G", 0, START_MS, GENESIS, 1, 1],
           ["S", 1, START_MS, "open", "phone@0", "open", stock, 1, HOLD_MS, "", "", ""]], 1)
    people = names(count)
    for first in range(0, count, BATCH):
        some = people[first : first + BATCH]
        commands = [
            ["O", offset + i, START_MS + first // BATCH, order, "phone@0", user, 1, START_MS + HOLD_MS, keyed]
            for i, (user, order) in enumerate(some)
        ]
        offset += len(some)
        batch(commands, offset - 1)
    return requests[0], requests[1:]


def one_by_one_requests(sha, count):
    some = [
        encode("EVALSHA", sha, 3, "one:{0}:stock", "one:{0}:buyers", "one:{0}:due", user, order, START_MS + HOLD_MS)
        for user, order in names(count)
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

    def ours(self):
        opening, requests = apply_requests(self.load(ROOT / "lua" / "apply.lua"), self.stock, self.keyed, self.count)
        assert self.wire.ask(opening)[0].startswith(b"ok ")
        began = time.monotonic()
        for request in requests:
            (answer,) = self.wire.ask(request)
            assert answer.startswith(b"ok "), answer[:200]
        return self.count / (time.monotonic() - began)

    def theirs(self):
        self.wire.ask(encode("HSET", "one:{0}:stock", "stock", self.stock))
        requests = one_by_one_requests(self.load(ROOT / "tests" / "bench" / "one_order.lua"), self.count)
        began = time.monotonic()
        for request in requests:
            self.wire.ask(request, PIPELINE)
        return self.count / (time.monotonic() - began)

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
