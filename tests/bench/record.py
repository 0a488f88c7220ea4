"""What follows the log, one partition and one process at a time, beside the bare work that is in it.

Each order is by a user of its own; half are paid.
"""

import functools
import time

from confluent_kafka import Consumer, TopicPartition

from bench.marks import bench
from bench.system import Chain
from lib.wait import wait_until

ORDERS = 100000
LONG_S = 1800


def seconds_until(reached):
    began = time.monotonic()
    wait_until(reached, LONG_S, "the end", 0.01)
    return time.monotonic() - began


class Filled:
    """A log of orders, nobody there yet who reads it."""

    def __init__(self, given):
        self.orders = given.many(ORDERS)
        self.world = Chain(given, partitions=1)
        self.world.sell(1)
        self.world.fill(self.orders, 1, paid=2)
        self.end = self.world.log_end(0) - 1

    def is_applied(self):
        return self.world.position(0) >= self.end

    def is_recorded(self):
        return self.world.recorded(0) >= self.end

    def read(self):
        """Seconds to read the log and do nothing with it."""
        consumer = Consumer({"bootstrap.servers": self.world.brokers, "group.id": "bare"})
        consumer.assign([TopicPartition(self.world.orders, 0, 0)])
        began, seen = time.monotonic(), 0
        while seen <= self.end:
            seen += len(consumer.consume(10000, 1))
        took = time.monotonic() - began
        consumer.close()
        return took


@functools.cache
def filled(given):
    """One for all benches: its log, and both its matcher and its guardian behind it."""
    f = Filled(given)
    given.ends.callback(f.world.close)
    f.world.matcher().ready()
    f.guardian = f.world.guardian(auto_rebuild="false").ready()
    wait_until(f.is_applied, LONG_S, "all is applied", 0.1)
    wait_until(f.is_recorded, LONG_S, "all is recorded", 0.1)
    return f


def empty_redis(w):
    w.redis.delete(*w.redis.scan_iter(f"{w.name}:{{0}}:*", 1000))


@bench("recovery-replay", "orders/s", "reading the log, and nothing else", runs=3)
def replay(given):
    """FLUSHALL to selling again, by the matcher from the log."""
    f = filled(given)
    empty_redis(f.world)
    took = seconds_until(f.is_applied)
    return f.orders / took, f.orders / f.read()


@bench("recovery-rebuild", "orders/s", "the matcher's replay", runs=3)
def rebuild(given):
    """FLUSHALL to selling again, from MySQL."""
    f = filled(given)
    empty_redis(f.world)
    replayed = seconds_until(f.is_applied)
    empty_redis(f.world)
    began = time.monotonic()
    done = f.world.command("rebuild", "--partition=0", timeout=LONG_S)
    assert done.returncode == 0, done.stdout
    wait_until(f.is_applied, LONG_S, "the end", 0.01)
    return f.orders / (time.monotonic() - began), f.orders / replayed


TABLES = ("orders", "payments", "journal")  # those that grow with the orders


def rows_in(cursor, tables):
    cursor.execute("SELECT " + " + ".join(f"(SELECT COUNT(*) FROM {t})" for t in tables))
    return cursor.fetchone()[0]


def record_anew(f):
    """Rows and orders per second of a guardian with an empty database, from its first commit on."""
    w, name = f.world, f"{f.world.database}_anew"
    w.execute(f"CREATE DATABASE {name}")
    db = None
    try:
        assert w.command("migrate", mysql_database=name).returncode == 0
        db = w.connect(name)
        g = w.guardian(mysql_database=name, auto_rebuild="false")
        with db.cursor() as cursor:

            def position():
                cursor.execute("SELECT COALESCE(MAX(position), -1) FROM progress")
                return cursor.fetchone()[0]

            wait_until(lambda: position() >= 0, 60, "the first commit", 0.005)
            rows, orders = rows_in(cursor, TABLES), rows_in(cursor, ["orders"])
            took = seconds_until(lambda: position() >= f.end)
            rows, orders = rows_in(cursor, TABLES) - rows, rows_in(cursor, ["orders"]) - orders
            assert rows_in(cursor, ["orders"]) == f.orders
        assert g.stop() == 0
        return rows / took, orders / took
    finally:
        if db:
            db.close()
        w.execute(f"DROP DATABASE {name}")


def insert_bare(f):
    """Rows per second of the orders' rows into an empty table like theirs, 500 in each transaction."""
    w = f.world
    found = w.rows("SELECT * FROM orders")
    db = w.connect(w.database)
    try:
        with db.cursor() as cursor:
            cursor.execute("CREATE TABLE bare LIKE orders")
            one = "(" + ", ".join(["%s"] * len(found[0])) + ")"
            texts = [cursor.mogrify(one, row) for row in found]
            inserts = ["INSERT INTO bare VALUES " + ",".join(texts[i : i + 500]) for i in range(0, len(texts), 500)]
            began = time.monotonic()
            for insert in inserts:
                cursor.execute(insert)
            return len(texts) / (time.monotonic() - began)
    finally:
        db.close()
        w.execute(f"DROP TABLE IF EXISTS {w.database}.bare")


@bench("guardian-durable", "rows/s", "a loop of INSERTs of 500 order rows each", runs=3)
def durable(given):
    """A guardian with an empty database records the topic of outcomes, with ledger, payments and position."""
    f = filled(given)
    rows, orders = record_anew(f)
    given.tell(f"{orders:,.0f} orders/s")
    return rows, insert_bare(f)
