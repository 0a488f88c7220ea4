"""Matchers alone: a log that is full before they may begin, and nobody else there.

Redis stands still while the log is filled, and its first step is the beginning.
"""

import signal
import time
from contextlib import contextmanager

from bench.marks import bench
from bench.script import BATCH, Pair
from bench.system import Chain
from lib.wait import wait_until

ORDERS = 200000
LONG_S = 900


@contextmanager
def standing(stack, part):
    stack.kill(part, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.kill(part, signal.SIGCONT)


def is_told(chain, ends):
    """All outcomes are acknowledged, as the matchers know it."""
    metrics = [item for m in chain.matchers for item in m.metrics().items()]
    position = {name: value for name, value in metrics if name.startswith("seckill_matcher_watermark{")}
    unacked = sum(value for name, value in metrics if name.startswith("seckill_matcher_unacked{"))
    applied = [position.get(f'seckill_matcher_watermark{{partition="{p}"}}', -1) + 1 for p in range(len(ends))]
    return unacked == 0 and all(a >= end for a, end in zip(applied, ends))


def decide(given, partitions, matchers, items):
    """Orders per second from the full log until the last outcome is told."""
    orders = given.many(ORDERS, items)
    with Chain(given, partitions) as chain:
        names = chain.sell(items)
        for _ in range(matchers):
            chain.matcher().ready()
        chain.applied()
        with standing(chain.stack, "redis"):
            chain.fill(orders, items)
            ends = [chain.log_end(p) for p in range(partitions)]
        began, redis = time.monotonic(), chain.redis
        log_keys = [chain.key(p, "log") for p in range(partitions)]
        for key, end in zip(log_keys, ends):
            wait_until(lambda k=key, e=end: int(redis.hget(k, "watermark")) + 1 >= e, LONG_S, "all is applied", 0.002)
        wait_until(lambda: is_told(chain, ends), LONG_S, "all is told", 0.002)
        took = time.monotonic() - began
        assert all(chain.log_end(p, chain.outcomes) >= end for p, end in enumerate(ends))
        held = [chain.item(i % partitions, name)["held"] for i, name in enumerate(names)]
        assert sum(held) == orders and chain.complaints() == [], held
        cpu = sum(m.metrics()["process_cpu_seconds_total"] for m in chain.matchers)
        given.tell(f"{matchers} on {partitions} partitions: {orders / took:,.0f} orders/s, {cpu * 1e6 / orders:.1f} us of CPU per order")
        return orders / took


@bench("matcher", "orders/s", f"apply.lua alone, the same orders in batches of {BATCH}", runs=3)
def matcher(given):
    """A matcher decides a log of one partition that was filled before, and tells the outcomes."""
    ours = decide(given, 1, 1, 1)
    with Pair(given, stock=10**8) as pair:
        return ours, pair.ours()


@bench("matchers", "orders/s", "one matcher", runs=2)
def matchers(given):
    """Four matchers decide a log of four partitions; one and two of them do the same."""
    one, _, four = (decide(given, 4, n, 4) for n in (1, 2, 4))
    return four, one
