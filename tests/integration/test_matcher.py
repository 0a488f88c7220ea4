"""The matcher alone: commands are appended by the test, outcomes read from the topic, Redis looked at.

Every test ends with the same question: is there one outcome per command, whole, in a chain, always
the same bytes, and does Redis hold what they say?
"""

import os
import random
import re
import signal
import threading
import time
import uuid

import pytest
from lib import kafka
from lib.wait import holds_for, wait_until
from lib.world import RedisServer, World, order_id_of

FAILED = 2
HALTED = 3


def finish(w, *expected):
    for m in w.matchers:
        if m.process.poll() is None:
            assert m.stop() == 0, m.log.read_text()[-3000:]
    w.check()
    assert w.complaints(*expected) == []


@pytest.fixture
def world(stack, tmp_path):
    """Topics of its own, on the shared servers."""
    w = World(stack, tmp_path)
    yield w
    w.close()


@pytest.fixture
def alone(stack, tmp_path, request):
    """The same with a Redis that the test may break."""
    server = RedisServer(tmp_path / "redis", stack.port(request.node.name)).start()
    w = World(stack, tmp_path, own_redis=server)
    yield w
    w.close()


class Feed:
    """Appends orders, payments and cancellations from a thread until told to stop."""

    BACKLOG_MAX = 20_000  # what waits for a broker that is away

    def __init__(self, w, items, pause=0.0):
        self.w, self.items, self.pause = w, items, pause
        self.stopping = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        assert self.w.producer.flush(60) == 0

    def _run(self):
        dice, known = random.Random(7), []
        while not self.stopping.is_set():
            if len(self.w.producer) > self.BACKLOG_MAX:
                self.w.producer.poll(0.1)
                continue
            for _ in range(50):
                partition = dice.randrange(self.w.partitions)
                self.w.put(partition, self._command(dice, partition, known), wait=False)
                self.count += 1
            time.sleep(self.pause)

    def _command(self, dice, partition, known):
        mine = [o for o in known[-40:] if o[0] == partition]
        if mine and dice.random() < 0.3:
            _, order_id, user = dice.choice(mine)
            if dice.random() < 0.5:
                return {"type": "cancel", "order_id": order_id, "user_id": user}
            payment = {"type": "pay", "order_id": order_id, "payment_id": uuid.uuid4().hex}
            return payment | {"user_id": user}
        user = f"user-{dice.randrange(2000)}"
        o = self.w.order(partition, self.items[partition], user, order_id=order_id_of(partition))
        known.append((partition, o["order_id"], user))
        return o


def open_all(w, total=300, limit=3, hold_ms=600000):
    items = [f"thing@{p}" for p in range(w.partitions)]
    w.genesis()
    for p, item in enumerate(items):
        w.put(p, w.open(item, total, limit, hold_ms))
    return items


def watermarks(w):
    return sum(w.position(p) for p in range(w.partitions))


def feed_until(w, feed, more, timeout=30):
    """Waits until the matchers have come `more` records further."""
    goal = watermarks(w) + more
    wait_until(lambda: watermarks(w) >= goal, timeout, f"{more} more records applied")


# ---- the ordinary way


def test_from_genesis_to_outcomes(world):
    w = world
    w.genesis()
    first = w.order(0, "phone@0", "ann")
    w.put(0, w.open("phone@0", 3), first, first)
    w.put(0, *[w.order(0, "phone@0", f"u{i}") for i in range(4)])
    w.put(0, {"type": "cancel", "order_id": first["order_id"], "user_id": "ann"})
    w.put(0, w.order(0, "phone@0", "bob"), w.order(0, "phone@0", "u0"))
    m = w.matcher().ready()
    w.applied()
    kinds = [e["type"] for e in w.events(0)]
    assert kinds == ["genesis", "stock", "reserved", "duplicate"] + ["reserved"] * 2 + ["rejected"] * 2 + [
        "cancelled",
        "reserved",
        "rejected",
    ]
    reasons = [e["reason"] for e in w.events(0, "rejected")]
    assert reasons == ["sold_out", "sold_out", "limit_reached"]
    assert w.item(0, "phone@0") == {"total": 3, "available": 0, "held": 3, "sold": 0}
    numbers = m.metrics()
    assert numbers["seckill_matcher_records_total"] == 12
    assert numbers['seckill_matcher_events_total{event="reserved"}'] == 4
    assert numbers['seckill_matcher_rejected_total{reason="sold_out"}'] == 2
    assert numbers['seckill_matcher_watermark{partition="0"}'] == 10
    finish(w)
    assert len(w.records(w.outcomes, 0)) == 11  # nothing was told twice


def test_outcomes_carry_the_key_of_their_command(world):
    w = world
    w.genesis()
    w.put(1, w.open("a@1", 5), {"type": "tick"})
    w.put(1, {"type": "tick"}, key=b"\x00\xff odd")
    w.matcher().ready()
    w.applied()
    assert [key for key, _, _ in w.records(w.outcomes, 1)] == [None, b"a@1", None, b"\x00\xff odd"]
    finish(w)


def test_ticks_expire_holds_and_then_cease(world):
    w = world
    items = open_all(w, total=5, hold_ms=1500)
    m = w.matcher().ready()
    w.put(0, *[w.order(0, items[0], f"u{i}") for i in range(5)])
    wait_until(lambda: (w.item(0, items[0]) or {}).get("held") == 5, 60, "all held")
    wait_until(lambda: w.item(0, items[0])["available"] == 5, 60, "all expired, without any traffic")
    w.applied()
    assert len(w.events(0, "expired")) == 5
    end = w.log_end(0)
    holds_for(lambda: w.log_end(0) == end, 2, "no more ticks when nothing is due")
    # (Where something stands still for a while, a few more are on their way before one is applied.)
    assert 1 <= m.metrics()["seckill_matcher_ticks_total"] <= 10
    w.put(0, w.order(0, items[0], "late"))
    w.applied()
    assert len(w.events(0, "reserved")) == 6
    finish(w)


def test_mark_tells_the_counters_at_its_place(world):
    w = world
    items = open_all(w, total=4)
    w.put(0, *[w.order(0, items[0], f"u{i}") for i in range(3)])
    w.put(0, {"type": "mark", "run_id": "run-1"})
    w.put(0, w.order(0, items[0], "after"))
    w.matcher().ready()
    w.applied()
    (mark,) = w.events(0, "mark")
    assert mark["run_id"] == "run-1" and mark["orders"] == 3
    assert mark["items"] == [{"item_id": items[0], "total": 4, "available": 1, "held": 3, "sold": 0}]
    finish(w)


def test_records_as_large_as_kafka_takes_them(world):
    """Neither the copy nor the outcome may be larger than what came in: the producer would refuse it for ever."""
    w = world
    items = open_all(w)
    w.put(0, b"v" * 999_900)
    w.put(0, b"v", key=b"k" * 999_900)
    w.put(0, w.order(0, items[0], "u"))
    w.matcher().ready()
    w.applied()
    events = [e for o in w.story(0) for e in o["events"]]
    assert [e["type"] for e in events[-3:]] == ["refused", "refused", "reserved"]
    assert [e["detail"] for e in events[-3:-1]] == ["too_large", "not_json"]
    dead = {int(h["offset"]): value for _, value, h in w.records(w.dead, 0)}
    assert sorted(len(v) for v in dead.values()) == [1, 8192]
    finish(w)


def test_three_matchers_share_and_take_over(world):
    w = world
    items = open_all(w)
    first = w.matcher().ready()
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 500)
        second = w.matcher()
        third = w.matcher()
        wait_until(lambda: second.lines("group.assigned") and third.lines("group.assigned"), 60, "they join")
        feed_until(w, feed, 500)
        assert first.stop() == 0
        feed_until(w, feed, 500)
        second.kill()
        feed_until(w, feed, 300, 40)
    w.applied()
    finish(w)


# ---- its own end


def test_killed_again_and_again(world):
    w = world
    items = open_all(w, total=400)
    dice = random.Random(3)
    m = w.matcher(session_timeout="6s").ready()
    with Feed(w, items, 0.01) as feed:
        for _ in range(4):
            feed_until(w, feed, dice.randrange(200, 1500), 60)
            m.kill()
            m = w.matcher(session_timeout="6s")
        feed_until(w, feed, 300, 60)
    w.applied()
    assert m.metrics()["seckill_matcher_mismatches_total"] == 0
    finish(w)


def test_static_member_is_back_at_once(world):
    w = world
    items = open_all(w)
    m = w.matcher(instance_id="one", session_timeout="5m").ready()
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 300)
        m.kill()
        w.matcher(instance_id="one", session_timeout="5m").ready()
        feed_until(w, feed, 300)
    w.applied()
    finish(w)


def test_a_second_member_with_the_same_instance_id(world):
    """The group fences one of them; it must not stay as if it were a member."""
    w = world
    items = open_all(w)
    twins = [w.matcher(instance_id="one").ready(), w.matcher(instance_id="one")]
    wait_until(lambda: any(m.process.poll() is not None for m in twins), 60, "one of them ends")
    fenced, other = sorted(twins, key=lambda m: m.process.poll() is None)
    assert fenced.wait() == FAILED
    assert "fenced" in fenced.lines("program.failed")[0]
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 100)
    w.applied()
    assert other.process.poll() is None
    finish(w, "program.failed")


def test_stopped_past_its_session_and_continued(world):
    w = world
    items = open_all(w, total=400)
    first = w.matcher(session_timeout="6s").ready()
    second = w.matcher(session_timeout="6s")
    wait_until(lambda: second.lines("group.assigned"), 60, "the second joins")
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 500)
        first.send(signal.SIGSTOP)
        at = [w.position(p) for p in range(w.partitions)]
        wait_until(
            lambda: all(w.position(p) > at[p] + 200 for p in range(w.partitions)),
            60,
            "the second has all partitions",
        )
        first.send(signal.SIGCONT)
        feed_until(w, feed, 1000)
    w.applied()
    assert first.process.poll() is None
    finish(w)


def test_sigterm_under_load(world):
    w = world
    items = open_all(w)
    # A batch whose reply is late is told by the next one to own its partition.
    m = w.matcher(drain_timeout="1m").ready()
    with Feed(w, items) as feed:
        feed_until(w, feed, 1000)
        assert m.stop() == 0
        told = {p: w.log_end(p, w.outcomes) for p in range(w.partitions)}
        at = {p: w.position(p) for p in range(w.partitions)}
        assert told == {p: at[p] + 1 for p in at}  # everything applied was told, once, before it left
        w.matcher().ready()
        feed_until(w, feed, 300)
    w.applied()
    finish(w)


def test_a_log_that_cannot_be_written(world):
    w = world
    items = open_all(w)
    with open("/dev/full", "wb") as full:
        m = w.matcher(out=full, log_level="debug")
    w.put(0, *[w.order(0, items[0], f"u{i}") for i in range(200)])
    w.applied()
    assert m.stop() == 0
    finish(w)


# ---- Redis


def test_flushed_in_mid_stream(alone):
    w = alone
    items = open_all(w)
    m = w.matcher().ready()
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 1500)
        w.redis.flushall()
        wait_until(lambda: watermarks(w) > 1500, 60, "all of it is applied again")
        feed_until(w, feed, 300)
    w.applied()
    # At least once: the other partition may just have looked by itself.
    assert m.metrics()["seckill_matcher_mismatches_total"] >= 1
    finish(w)


def test_scripts_forgotten(alone):
    w = alone
    items = open_all(w)
    w.matcher().ready()
    with Feed(w, items, 0.01) as feed:
        for _ in range(5):
            feed_until(w, feed, 200)
            w.redis.script_flush()
    w.applied()
    finish(w)


def test_redis_killed_and_back(alone):
    w = alone
    items = open_all(w)
    w.matcher().ready()
    with Feed(w, items, 0.01) as feed:
        for _ in range(3):
            feed_until(w, feed, 500)
            w.own_redis.kill()
            w.own_redis.start()
        feed_until(w, feed, 300)
    w.applied()
    finish(w)


def scripts_in_aof(w):
    """The append-only file, and where in it the writes of each script begin."""
    aof = max((w.own_redis.dir / "appendonlydir").glob("*.incr.aof"))
    return aof, [m.start() for m in re.finditer(rb"\*1\r\n\$5\r\nMULTI\r\n", aof.read_bytes())]


def has_new_file(w):
    wait_until(lambda: w.redis.info("persistence")["aof_last_rewrite_time_sec"] >= 0, 60, "it has a new file")


def cut_aof(w, lost, share):
    """As after a power cut: killed, and the end of the append-only file never reached the disk: so many
    scripts, and all but a share of the one before.  (More than one per partition: the matcher has heard of some.)"""
    has_new_file(w)
    wait_until(lambda: len(scripts_in_aof(w)[1]) > lost, 60, "so many scripts")
    w.own_redis.kill()
    aof, begins = scripts_in_aof(w)
    at, end = begins[-lost - 1], begins[-lost]
    os.truncate(aof, at + int((end - at) * share))
    w.own_redis.start()


def test_redis_forgets_its_last_second(alone):
    """Cut again and again, also in the middle of a script's writes: Redis 7.0 leaves such a torn half
    in its file, and would execute it at the next start, had the matcher not had the file rewritten."""
    w = alone
    items = open_all(w)
    m = w.matcher().ready()
    with Feed(w, items, 0.01) as feed:
        for lost, share in ((2, 0.5), (12, 0.9), (2, 0.1), (5, 0.3)):
            feed_until(w, feed, 800)
            before = len(m.lines("redis.went_back"))
            cut_aof(w, lost, share)
            wait_until(lambda before=before: len(m.lines("redis.went_back")) > before, 60, "it is noticed")
        has_new_file(w)
        feed_until(w, feed, 500)
    w.applied()
    assert m.metrics()["seckill_matcher_mismatches_total"] >= 4
    finish(w)


def test_what_is_torn_in_the_file_stays_undone(alone):
    """Nobody is left who had heard of the last script: a power cut of the host that has Redis and the matcher."""
    w = alone
    items = open_all(w)
    m = w.matcher(session_timeout="3s").ready()
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 800)
        has_new_file(w)
        feed_until(w, feed, 800)
        m.kill()
    cut_aof(w, 1, 0.95)
    w.matcher(session_timeout="3s").ready()
    w.applied()
    has_new_file(w)
    w.put(0, w.order(0, items[0], "late"))
    w.applied()
    w.own_redis.kill()
    w.own_redis.start()
    assert "can not be nested" not in (w.own_redis.dir / "redis.log").read_text()
    finish(w)


def test_slow_redis_executes_late(alone):
    w = alone
    items = open_all(w)
    m = w.matcher(redis_timeout="300ms").ready()
    with Feed(w, items, 0.01) as feed:
        for _ in range(2):
            feed_until(w, feed, 400)
            w.redis.execute_command("DEBUG", "SLEEP", "1.5")
        feed_until(w, feed, 400)
    w.applied()
    assert m.lines("redis.lost")
    finish(w)


def test_redis_refuses_for_a_while(alone):
    w = alone
    items = open_all(w)
    m = w.matcher().ready()
    with Feed(w, items, 0.01) as feed:
        feed_until(w, feed, 300)
        w.redis.config_set("maxmemory", "1mb")
        wait_until(lambda: m.lines("script.refused"), 60, "the script is refused")
        at = watermarks(w)
        holds_for(lambda: watermarks(w) == at, 1, "nothing is applied by halves")
        w.redis.config_set("maxmemory", "0")
        feed_until(w, feed, 300)
        w.redis.config_set("min-replicas-to-write", "1")
        at = watermarks(w)
        w.redis.config_set("min-replicas-to-write", "0")
        feed_until(w, feed, 300)
    w.applied()
    finish(w)


def test_full_outbox_is_waited_out(world):
    w = world
    items = open_all(w)
    w.matcher(outbox_max=1, batch_max=10, linger="50ms").ready()
    w.put(0, *[w.order(0, items[0], f"u{i}") for i in range(200)])
    w.applied()
    finish(w)


# ---- the log


def test_broker_killed_and_back(world, stack):
    w = world
    items = open_all(w)
    w.matcher().ready()
    with Feed(w, items, 0.02) as feed:
        feed_until(w, feed, 500)
        stack.kill("kafka")
        stack.restart("kafka")
        feed_until(w, feed, 500, 90)
    w.applied(90)
    finish(w)


def test_outcomes_refused_by_the_broker(world):
    """Failed reports: the producer is made anew, and everything unacknowledged is sent again in order."""
    w = world
    items = open_all(w)
    m = w.matcher().ready()
    with Feed(w, items, 0.02) as feed:
        feed_until(w, feed, 300)
        w.configure(w.outcomes, "max.message.bytes", 300)
        wait_until(lambda: len(m.lines("publish.renewed")) >= 2, 60, "two new producers")
        w.configure(w.outcomes, "max.message.bytes", 1000000)
        feed_until(w, feed, 300)
    w.applied()
    assert m.metrics()["seckill_matcher_producer_renewals_total"] >= 2
    finish(w)


def test_another_log_under_the_same_name_halts(world):
    w = world
    items = open_all(w)
    w.put(0, *[w.order(0, items[0], f"u{i}") for i in range(50)])
    w.put(1, *[w.order(1, items[1], f"u{i}") for i in range(50)])
    m = w.matcher().ready()
    w.applied()
    assert m.stop() == 0
    before = [(w.position(p), w.redis.hgetall(w.key(p, "log"))) for p in range(2)]
    w.make_orders_again()
    w.log_ids = [uuid.uuid4().hex for _ in range(w.partitions)]
    open_all(w)
    w.put(0, *[w.order(0, items[0], f"u{i}") for i in range(80)])  # longer than the first one
    m = w.matcher()
    assert m.wait() == HALTED
    reasons = {line.split("partition=")[1][0]: line for line in m.lines("partition.halted")}
    # Which of the two depends on whether the outbox still held the first batch.
    assert "reason=chain" in reasons["0"] or "reason=genesis" in reasons["0"]
    assert any(f"reason={r}" in reasons["1"] for r in ("log_too_short", "chain", "genesis"))
    assert before == [(w.position(p), w.redis.hgetall(w.key(p, "log"))) for p in range(2)]
    assert w.complaints("partition.halted") == []


def test_log_without_genesis_halts(world):
    w = world
    w.genesis(1)
    w.put(0, w.open("a@0", 1))
    w.put(1, w.open("a@1", 1), w.order(1, "a@1", "u"))
    m = w.matcher().ready()
    wait_until(lambda: w.item(1, "a@1") == {"total": 1, "available": 0, "held": 1, "sold": 0}, 60, "1 goes on")
    wait_until(lambda: m.metrics()['seckill_matcher_halted{reason="genesis"}'] == 1, 60, "0 halts")
    assert w.position(0) == -1
    assert m.stop() == HALTED
    assert w.complaints("partition.halted") == []


def test_unknown_rules_halt_after_the_command(world):
    w = world
    open_all(w)
    for p in range(w.partitions):
        w.put(p, {"type": "rules", "rules": 3}, {"type": "tick"})
    m = w.matcher()
    assert m.wait() == HALTED
    assert [w.position(p) for p in range(2)] == [2, 2]
    assert [e["type"] for o in w.story(0, 2) for e in o["events"]] == ["genesis", "stock", "rules"]
    m = w.matcher()
    assert m.wait() == HALTED
    assert w.complaints("partition.halted") == []


# ---- starting


def test_refuses_to_start(world, alone):
    def refuses(w, text, *flags, **settings):
        m = w.matcher(*flags, **settings)
        assert m.wait() == 1
        return text in m.log.read_text()

    w = world
    assert refuses(w, "has 2 partitions, not 3", "--partitions=3")
    # It asks for so long.  A broker that stands still for that time has not said why.
    seconds = iter((2, 10, 30))
    wait_until(
        lambda: refuses(w, "nowhere does not exist", "--topic-dead=nowhere", start_timeout=f"{next(seconds)}s"),
        60,
        "it says which topic there is not",
    )
    assert refuses(w, "replicas", "--replicas-min=3")
    w.make_orders_again(message_timestamp_type="CreateTime")
    assert refuses(w, "LogAppendTime")
    w.make_orders_again(retention_ms="604800000")
    assert refuses(w, "has retention.ms=604800000, not -1")
    alone.redis.config_set("maxmemory-policy", "allkeys-lru")
    assert refuses(alone, "noeviction")


def test_a_topic_that_grows(world):
    """Nobody decides on: what the new partition holds has no state, and no item leads there."""
    w = world
    items = open_all(w)
    first, second = w.matcher().ready(), w.matcher().ready()
    w.put(0, w.order(0, items[0], "ann"))
    w.applied()
    kafka.grow_topic(w.brokers, w.orders, w.partitions + 1)
    # Whoever is given the new one ends, and then the other is.
    assert {first.wait(), second.wait()} == {FAILED}
    assert all("grown more partitions" in m.lines("program.failed")[0] for m in w.matchers)
    m = w.matcher()
    assert m.wait() == 1
    assert "has 3 partitions, not 2" in m.log.read_text()
    w.check()
    assert w.complaints("program.failed") == []


def test_waits_for_redis_and_a_replica_is_none(alone):
    w = alone
    open_all(w)
    w.own_redis.kill()
    m = w.matcher()
    wait_until(lambda: m.lines("redis.unreachable"), 60, "it says so")
    w.own_redis.start()
    m.ready()
    w.applied()
    w.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    w.put(0, {"type": "tick"})
    wait_until(lambda: m.lines("redis.lost") or m.lines("script.refused"), 60, "a replica is refused")
    w.redis.execute_command("REPLICAOF", "NO", "ONE")
    w.applied()
    finish(w)
