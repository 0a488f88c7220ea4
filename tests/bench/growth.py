"""apply.lua when there is much to remember: CPU of Redis per order, and memory per buyer."""

import os

from bench.marks import bench
from bench.script import BATCH, HOLD_MS, PIPELINE, ORDERS, START_MS, Pair, buyer, encode
from lib.wait import wait_until

STOCK = 10**9
ITEMS = (1, 100, 10000)
# How often, so that each takes about as long and the short ones are not left to chance.
REPEATS = {4: 10, 5: 2}


def scripted(pair):
    log = pair.open()
    return lambda numbers: pair.orders(log, numbers)


def bare(pair):
    """Of all that a script does, what grows: the user looked up and written, by two commands of Redis."""

    def words(i):
        user, order = buyer(i)
        entry = f"{order} phone@0 1 H 0 {START_MS + HOLD_MS} {i} -"
        return encode("HGET", "bench:{0}:orders", user) + encode("HSET", "bench:{0}:orders", user, entry)

    def fill(numbers):
        took = 0
        for first in range(numbers.start, numbers.stop, ORDERS):
            some = [words(i) for i in range(first, min(first + ORDERS, numbers.stop))]
            took += pair.ask((b"".join(some[i : i + PIPELINE]) for i in range(0, len(some), PIPELINE)), 2 * PIPELINE)[1]
        return took

    return fill


def cost(given, pair, exponent, begin=scripted):
    """us for each of the orders that make 10^exponent of half as many; one doubling of Redis's tables is in it."""
    n, took, repeats = given.many(10**exponent, 2 * BATCH), 0, REPEATS.get(exponent, 1)
    for _ in range(repeats):
        pair.server.client.flushall()
        take = begin(pair)
        take(range(n // 2))
        took += take(range(n // 2, n))
        assert pair.server.client.hlen("bench:{0}:orders") == n
    return took * 1e6 / (repeats * (n - n // 2))


def by_size(us):
    return ", ".join(f"10^{e} {n:.2f}" for e, n in us.items())


@bench("growth-orders", "us of CPU", "the same with 10^4 orders remembered", runs=3, is_cost=True)
def growth_orders(given):
    """apply.lua takes orders with 10^4, 10^5, 10^6 remembered already; GROWTH=7: with 10^7 (5 GB, minutes)."""
    last = int(os.environ.get("GROWTH", "6"))
    with Pair(given, stock=STOCK) as pair:
        us = {e: cost(given, pair, e) for e in range(4, last + 1)}
        ends = {e: cost(given, pair, e, bare) for e in (4, last)}
    given.tell(f"us per order: {by_size(us)}; one HGET and one HSET of the same user alone: {by_size(ends)}")
    return us[last], us[4]


@bench("growth-items", "us of CPU", "the same orders, all of one item", runs=3, is_cost=True)
def growth_items(given):
    """apply.lua takes orders of 10,000 items in turn, each batch 500 of them; of 100 and one as well."""
    us = []
    with Pair(given, stock=STOCK) as pair:
        for count in ITEMS:
            items = [f"thing{i}@0" for i in range(count)]
            pair.server.client.flushall()
            us.append(pair.orders(pair.open(items), range(pair.count), items=items) * 1e6 / pair.count)
    given.tell("us per order: " + ", ".join(f"{n} items {cost:.2f}" for n, cost in zip(ITEMS, us)))
    return us[-1], us[0]


def pay_all(pair, log):
    """And let what was due pass, so that only the buyers are left."""
    people = [buyer(i) for i in range(pair.count)]
    lines, _ = pair.apply(log.batches(("P", order, user, f"pay-{order}") for user, order in people))
    assert all(line.startswith(b"p ") for line in lines), lines[-1]
    log.time += 2 * HOLD_MS
    client, due = pair.server.client, f"bench:{{0}}:due:{HOLD_MS}"
    assert client.llen(due) == pair.count
    wait_until(lambda: pair.apply([log.request(("T",))]) and not client.exists(due), 60, "nothing is due", 0)
    pair.apply([log.request(("T",))])


def remember_bare(pair):
    """Who bought what, and which payment was for which order."""
    for first in range(0, pair.count, PIPELINE):
        some = [buyer(i) for i in range(first, min(first + PIPELINE, pair.count))]
        words = [("HSET", "bare:buyers", user, order) for user, order in some]
        words += [("HSET", "bare:payments", f"pay-{order}", order) for _, order in some]
        pair.wire.ask(b"".join(encode(*w) for w in words), len(words))


@bench("memory-buyer", "bytes", "two hashes: user to order, payment to order", runs=3, is_cost=True)
def memory_buyer(given):
    """Redis's memory for each order that was paid for: the buyer, the order and the payment, until archive."""
    with Pair(given, stock=STOCK) as pair:
        empty = pair.used_bytes()
        log = pair.open()
        pair.orders(log, range(pair.count))
        pay_all(pair, log)
        full = pair.used_bytes()
        remember_bare(pair)
        return (full - empty) / pair.count, (pair.used_bytes() - full) / pair.count
