"""The adaptive limiter: a slow line to Kafka, a slow line from the matcher to Redis, and more orders than they
carry.  What is let in stays fast, the rest is told so at once."""

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Event, Thread

import requests
from lib.door import door
from lib.flood import Flood
from lib.stack import BIN
from lib.wait import wait_until

RATE = 300  # orders that come in a second; the lines carry a third of them
FAST_S = 3  # without the limiter everybody waits for longer, and longer and longer
LIMIT_MAX = 1000000  # while nothing is slow
OPEN = {"SECKILL_RATE_GLOBAL": 0, "SECKILL_RATE_ITEM": 0}


def metric(gate, name, label=""):
    """The sum over the partitions."""
    rows = requests.get(gate.url + "/metrics", timeout=60).text.splitlines()
    return sum(int(row.split()[-1]) for row in rows if row.startswith(f"seckill_producer_{name}") and label in row)


def is_idle(gate):
    return metric(gate, "inflight ") == 0 and metric(gate, "lag{") == 0


def slow_share(answers, begin_s, end_s):
    """Of those who came then and were let in."""
    admitted = [a for a in answers if begin_s <= a.at_s < end_s and a.status != 503]
    return sum(a.took_s > FAST_S for a in admitted) / max(1, len(admitted))


def is_slow_without(flood):
    answers = flood.press(RATE, 8)
    assert {a.status for a in answers} <= {0, 201, 202}, "somebody was turned away where nobody should be"
    return slow_share(answers, 2.5, 4.5) > 0.8


@dataclass
class Seen:
    """Of those who are let in, once the limiter has found what the line takes, and of those who are not."""

    admitted: int
    refused: int
    refusal_s: float
    slow_share: float
    is_armed: bool
    is_limited: bool

    def __bool__(self):
        is_fast = self.refusal_s < 0.5 and self.slow_share < 0.2
        return is_fast and min(self.admitted, self.refused) > RATE and self.is_armed and self.is_limited


def seen_within(flood, label):
    answers = flood.press(RATE, 10)
    refused = [a for a in answers if a.status == 503]
    assert {a.reason for a in refused} <= {"slow"}
    assert all(a.retry_after_s >= 1 for a in refused)
    return Seen(
        admitted=len(answers) - len(refused),
        refused=len(refused),
        refusal_s=median([a.took_s for a in refused] or [0]),
        slow_share=slow_share(answers, 4.5, 6.5),
        is_armed=metric(flood.door, "limiter_armed{", label) == 1,
        is_limited=metric(flood.door, "limit{", label) < LIMIT_MAX * flood.door.system.partitions,
    )


def is_wide_open(flood):
    return all(a.status != 503 for a in flood.press(RATE, 1))


def check(link, rate, line, without, within):
    """Floods at a door without the limiter, and at one with it; the link is slow meanwhile."""
    link.throttle(rate)
    wait_until(lambda: is_slow_without(without), 60, "who comes to a slow line waits")
    link.heal()
    wait_until(lambda: is_idle(without.door), 60, "the line is empty again")
    label = f'line="{line}"'
    assert metric(within.door, "limiter_armed{", label) == 0
    link.throttle(rate)
    wait_until(lambda: seen_within(within, label), 180, "who is let in does not wait, nor who is not")
    link.heal()
    wait_until(lambda: is_wide_open(within), 60, "everybody is let in again")


@contextmanager
def doors(system, **settings):
    """One without the limiter, and one with it."""
    with (
        door(system, "producer-open", **OPEN, **settings, SECKILL_LIMITER="off") as without,
        door(system, "producer-limited", **OPEN, **settings) as within,
    ):
        yield without, within


def test_a_slow_kafka(system, network):
    """Slow is the door's own line to it."""
    item = system.open(stock=100000, limit=1)
    link = network.link("kafka")
    try:
        with doors(system, SECKILL_KAFKA_BROKERS=f"127.0.0.1:{link.port}") as (without, within):
            check(link, 25000, "kafka", Flood(without, item), Flood(within, item))
    finally:
        link.heal()


@contextmanager
def matcher_through(system, link):
    link.aim(system.env["REDIS_HOST"], int(system.env["REDIS_PORT"]))
    system.stack.stop_daemons("matcher")
    # A batch that takes longer than redis-timeout on such a line is another matter.
    more = {"SECKILL_REDIS_PORT": link.port, "SECKILL_BATCH_MAX": 40}
    system.stack.start_daemons("matcher", **system.settings, **more)
    try:
        yield
    finally:
        link.heal()
        system.stack.stop_daemons("matcher")  # the next test starts it as it was


def test_a_slow_redis(system, network):
    """Slow is the matcher's line to it: orders are stored at once, and decided late."""
    item = system.open(stock=100000, limit=1)
    link = network.link("redis")
    with matcher_through(system, link), doors(system) as (without, within):
        check(link, 18000, "decision", Flood(without, item, wait_s=30), Flood(within, item, wait_s=30))


@contextmanager
def observer(path, partitions, line):
    """Somebody who tells, ten times a second, that orders of each partition take long."""
    ended = Event()

    def tell():
        with open(path, "wb", buffering=0) as pipe:
            while not ended.wait(0.1):
                for partition in range(partitions):
                    pipe.write(line.replace("{}", str(partition)).encode())

    teller = Thread(target=tell)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def test_an_observer_tells_that_it_is_slow(system, tmp_path):
    """Nothing is, so only what it writes can have narrowed; what is no such line has no effect."""
    pipe = tmp_path / "observer"
    item = system.open(stock=100000, limit=1)

    def is_narrow(flood):
        answers = flood.press(RATE, 2)
        assert {a.reason for a in answers if a.status == 503} <= {"slow"}
        return metric(flood.door, "limiter_armed{", 'line="decision"') == 1

    with door(system, "producer-observed", **OPEN, SECKILL_LIMITER_OBSERVER=pipe) as gate:
        flood = Flood(gate, item)
        with observer(pipe, system.partitions, "decision {} 900 fifty\ndecision {} 9000000 50\nredis {} 900 50\n" + "x" * 99):
            wait_until(lambda: metric(gate, "observed_malformed_total") > 50, 60, "nonsense is counted")
            assert not is_narrow(flood)
        assert metric(gate, "observed_total") == 0
        with observer(pipe, system.partitions, "\ndecision {} 900 50\n"):
            wait_until(lambda: is_narrow(flood), 60, "the limiter believes the observer")
        assert metric(gate, "limiter_armed{", 'line="kafka"') == 0
        wait_until(lambda: is_wide_open(flood), 60, "everybody is let in again")


def test_a_pipe_that_is_none(system, tmp_path):
    path = tmp_path / "observer"
    path.write_text("a file of somebody's\n")
    done = subprocess.run(
        [BIN / "seckill-producer", f"--limiter-observer={path}", "--listen=127.0.0.1:0"],
        env=system.stack.environ(**system.settings),
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 1 and "is no named pipe" in done.stderr, done.stderr
    assert path.read_text() == "a file of somebody's\n"
