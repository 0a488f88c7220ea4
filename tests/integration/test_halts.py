"""Halt rather than guess: each condition stops its partition, and no other.

Of each halt four things are seen: the message (with what to do), the event in the log, the metric by
reason, and exit status 3 once the process leaves.  docs/operations.md section 6 has the table.
"""

import itertools
import json
import signal
import time
import uuid

import pytest
from lib.record import Record
from lib.segments import Partition
from lib.skew import Skew
from lib.wait import holds_for, wait_until
from lib.world import RedisServer, World

HALTED = 3
USERS = itertools.count(1)


@pytest.fixture
def world(stack, tmp_path):
    w = World(stack, tmp_path)
    yield w
    w.close()


@pytest.fixture
def alone(stack, tmp_path, request):
    """With a Redis that the test may break."""
    server = RedisServer(tmp_path / "redis", stack.port(request.node.originalname)).start()
    w = World(stack, tmp_path, own_redis=server)
    yield w
    w.close()


def open_all(w, partitions=None):
    w.genesis()
    for p in partitions or range(w.partitions):
        w.put(p, w.open(f"thing@{p}", 1000, 9))


def buy(w, partition, count=1):
    w.put(partition, *[w.order(partition, f"thing@{partition}", f"u{next(USERS)}") for _ in range(count)])


def halted(daemon, reason, text, partition=0):
    """It says so, once, with what to do, and its metric counts it."""

    def told():
        return [x for x in daemon.lines("partition.halted") if f" partition={partition} " in x]

    wait_until(told, 60, f"partition {partition} halts; {daemon.log}")
    assert len(told()) == 1, told()
    line = told()[0]
    assert line.split()[1] == "error" and f" reason={reason} " in line and text in line, line
    assert ' todo="' in line and len(line.split(' todo="')[1]) > 20, line
    counted = {k: v for k, v in daemon.metrics().items() if "_halted{reason=" in k and v}
    assert [v for k, v in counted.items() if f'reason="{reason}"' in k] == [1], counted


def goes_on(w, partition=1):
    """A partition is applied as ever."""
    buy(w, partition)
    end = w.log_end(partition) - 1
    wait_until(lambda: w.position(partition) >= end, 60, f"partition {partition} goes on")


def ends(w, m, **positions):
    """It stays assigned and stopped while it runs, and leaves with 3.  A restart finds the same."""
    assert m.process.poll() is None, m.log.read_text()[-2000:]
    goes_on(w)
    for p, at in positions.items():
        assert w.position(int(p[1:])) == at
    assert m.stop() == HALTED
    assert w.complaints("partition.halted") == []


# ---------------------------------------------------------------- the log


def broken_log(w, stack, breaking, after=lambda: None):
    """Stops the broker cleanly, breaks partitions, starts it; after() before any matcher sees it."""
    for m in w.matchers:
        if m.process.poll() is None:
            m.send(signal.SIGSTOP)
    stack.kill("kafka", signal.SIGTERM)
    try:
        breaking()
    finally:
        stack.restart("kafka")
    w.producer = w.make_producer()  # the old one counts on what is gone
    after()
    for m in w.matchers:
        if m.process.poll() is None:
            m.send(signal.SIGCONT)


def test_a_log_cut_back_and_grown_again_under_a_live_matcher(stack, tmp_path):
    """Partition 0 is cut, 1 not touched, 2 cut and grown past where it was, 3 grown to the very place."""
    w = World(stack, tmp_path, partitions=4)
    try:
        open_all(w)
        for p in range(4):
            for _ in range(4):
                buy(w, p, 3)
        m = w.matcher(session_timeout="5m").ready()
        w.applied()
        at = [w.position(p) for p in range(4)]
        end = at[2] + 1

        def cut():
            for p in (0, 2, 3):
                Partition(stack, w.orders, p).cut(8)

        def grow():
            assert w.log_end(0) == w.log_end(2) == 8
            buy(w, 2, end - 8 + 5)
            buy(w, 3, end - 8)

        broken_log(w, stack, cut, grow)
        halted(m, "log_too_short", f"ends at 8, but Redis has applied {at[0]}", 0)
        halted_chain(m, 2, 3)
        ends(w, m, p0=at[0], p2=at[2], p3=at[3])
    finally:
        w.close()


def halted_chain(m, *partitions):
    wait_until(lambda: len(m.lines("partition.halted")) == 1 + len(partitions), 60, f"all halt; {m.log}")
    lines = {int(x.split("partition=")[1].split()[0]): x for x in m.lines("partition.halted")}
    for p in partitions:
        assert "reason=chain" in lines[p] and "not the one that Redis was made from" in lines[p], lines[p]
    assert m.metrics()['seckill_matcher_halted{reason="chain"}'] == len(partitions)


def test_a_log_with_a_hole_and_one_that_cannot_be_read(stack, tmp_path):
    # Each of the large ones fills a segment.
    w = World(stack, tmp_path, partitions=3, segment_bytes=1 << 20)
    try:
        open_all(w)
        m = w.matcher().ready()
        w.applied()
        assert m.stop() == 0
        for p in (0, 2):
            for _ in range(3):
                w.put(p, b"x" * 990_000)
            buy(w, p)
        assert [w.log_end(p) for p in (0, 2)] == [6, 6]

        def breaking():
            hole = Partition(stack, w.orders, 0)
            assert len(hole.segments()) >= 3, hole.segments()
            hole.remove(1)
            Partition(stack, w.orders, 2).damage(5)

        broken_log(w, stack, breaking)
        m = w.matcher().ready()
        halted(m, "log_gap", "are missing in the log", 0)
        halted(m, "log_unreadable", "", 2)
        ends(w, m)
    finally:
        w.close()


def another_log(w):
    """The topic made anew, with more records than the matcher has applied of the old one."""
    w.make_orders_again()
    w.log_ids = [uuid.uuid4().hex for _ in range(w.partitions)]
    open_all(w)
    for p in (0, 1):
        buy(w, p, 40)


def finds_another_log(w, m, before):
    # All of its partitions are: it leaves by itself.
    assert m.wait() == HALTED, m.log.read_text()[-3000:]
    for line in m.lines("partition.halted"):
        assert any(f"reason={r} " in line for r in ("chain", "genesis", "log_too_short")), line
    assert len(m.lines("partition.halted")) == 2
    assert before == [w.redis.hgetall(w.key(p, "log")) for p in (0, 1)]


def applied_some(w):
    open_all(w)
    for p in (0, 1):
        buy(w, p, 20)
    m = w.matcher().ready()
    w.applied()
    return m, [w.redis.hgetall(w.key(p, "log")) for p in (0, 1)]


def test_another_log_under_the_same_name_under_a_live_matcher(world):
    m, before = applied_some(world)
    another_log(world)
    finds_another_log(world, m, before)


def test_another_log_while_the_matcher_stood_still(world):
    """No fetch of it was waiting at the broker that could have failed."""
    m, before = applied_some(world)
    m.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    holds_for(lambda: m.process.poll() is None, 1, "its last fetch is answered")
    another_log(world)
    late = stopped + 2.5 - time.monotonic()
    holds_for(lambda: m.process.poll() is None, late, "it is late for the next one")
    m.process.send_signal(signal.SIGCONT)
    finds_another_log(world, m, before)


def test_another_genesis_when_all_is_read_again(world):
    """The outbox still holds the first batch, so the genesis itself is compared."""
    w = world
    open_all(w)
    w.matcher().ready()
    w.applied()
    assert w.matchers[0].stop() == 0
    position = w.position(0)
    w.redis.delete(w.key(0, "outbox"))
    chain = "0" * 16
    w.redis.rpush(w.key(0, "outbox"), f"-1 {position} {chain} 0\ng\no\n")
    w.redis.hset(w.key(0, "log"), "genesis", uuid.uuid4().hex)
    m = w.matcher().ready()
    halted(m, "genesis", "genesis is not the one in Redis")
    ends(w, m, p0=position)


def test_rules_that_this_build_does_not_have(world):
    w = world
    open_all(w)
    m = w.matcher().ready()
    w.put(0, {"type": "rules", "rules": 999999}, {"type": "tick"})
    halted(m, "rules", "rules that this build does not have")
    assert w.position(0) == 2  # the command itself is applied, and told; nothing after it
    assert [e["type"] for o in w.story(0, 2) for e in o["events"]] == ["genesis", "stock", "rules"]
    ends(w, m, p0=2)


def test_partitions_of_another_number(world):
    w = world
    open_all(w)
    m = w.matcher().ready()
    w.applied()
    assert m.stop() == 0
    w.redis.hset(w.key(0, "log"), "partitions", 7)
    m = w.matcher().ready()
    halted(m, "partitions", "another number of partitions")
    ends(w, m)


def test_a_record_ahead_of_our_clock(world, tmp_path):
    """The host's clock is two minutes late, the broker's is right."""
    w = world
    open_all(w)
    skew = Skew(tmp_path / "skew")
    m = w.matcher(environ=skew.environ).ready()
    buy(w, 0)
    buy(w, 1)
    w.applied()
    skew.set(-50)
    buy(w, 0)
    w.applied()  # less than clock-skew-max, 60 s
    at = w.position(0)
    skew.set(-120)
    buy(w, 0)
    halted(m, "clock", "ms ahead of our clock")
    assert w.position(0) == at
    skew.set(0)
    goes_on(w)
    buy(w, 0)
    holds_for(lambda: w.position(0) == at, 1, "a right clock does not start it again")
    ends(w, m, p0=at)
    # After the cause is gone, a restart does.
    w.matcher().ready()
    w.applied()


def test_a_topic_that_lost_its_clock(world):
    w = world
    open_all(w)
    m = w.matcher().ready()
    buy(w, 0)
    w.applied()
    w.configure(w.orders, "message.timestamp.type", "CreateTime")

    def meets_one():
        """The broker goes by it soon, and until then a record is as good as any."""
        buy(w, 0)
        end = w.log_end(0) - 1
        wait_until(lambda: m.lines("partition.halted") or w.position(0) >= end, 60, "a record is looked at")
        return m.lines("partition.halted")

    wait_until(meets_one, 60, "a record without the broker's time")
    at = w.position(0)
    halted(m, "timestamp_type", "LogAppendTime")
    w.configure(w.orders, "message.timestamp.type", "LogAppendTime")
    ends(w, m, p0=at)


# ---------------------------------------------------------------- Redis


def evict_items(w):
    w.redis.delete(w.key(0, "items"))


def lose_one_item(w):
    w.redis.hdel(w.key(0, "items"), "thing@0")


def lose_orders(w):
    w.redis.delete(w.key(0, "orders"))


def lose_ops(w):
    w.redis.delete(w.key(0, "ops"))


def garble_item(w):
    w.redis.hset(w.key(0, "items"), "thing@0", "lots")


@pytest.mark.parametrize(
    "breaking, text",
    [
        (evict_items, "items: 0 of 2 are there"),
        (lose_one_item, "items: 1 of 2 are there"),
        (lose_orders, "orders: the key is missing"),
        (lose_ops, "ops: the key is missing"),
        (garble_item, "item thing@0"),
    ],
)
def test_a_state_with_holes_under_its_watermark(alone, breaking, text):
    """Without it orders for the missing item would be rejected as unknown_item, for ever."""
    w = alone
    open_all(w)
    w.put(0, w.open("other@0", 5))
    buy(w, 0)
    m = w.matcher().ready()
    w.applied()
    at = w.position(0)
    breaking(w)
    if breaking is garble_item:
        buy(w, 0)  # the others are noticed in idleness
    halted(m, "state", text)
    ends(w, m, p0=at)


def test_a_redis_that_begins_to_evict(alone, stack):
    """All partitions halt at once, so it leaves by itself; Kafka is frozen so that it can be looked at before."""
    w = alone
    open_all(w)
    m = w.matcher().ready()
    w.applied()
    broker = int(stack.env["KAFKA_PID"])
    at = [w.position(p) for p in (0, 1)]
    stack.kill("kafka", signal.SIGSTOP)
    try:
        w.redis.config_set("maxmemory-policy", "allkeys-lru")
        wait_until(lambda: len(m.lines("partition.halted")) == 2, 60, f"both halt; {m.log}")
        assert m.metrics()['seckill_matcher_halted{reason="evicting"}'] == 2
    finally:
        stack.kill("kafka", signal.SIGCONT)
    assert broker == int(stack.env["KAFKA_PID"])
    assert m.wait() == HALTED
    for line in m.lines("partition.halted"):
        assert "reason=evicting" in line and "noeviction" in line and "todo=" in line, line
    assert at == [w.position(p) for p in (0, 1)]
    assert w.complaints("partition.halted", "redis.unfit") == []
    w.redis.config_set("maxmemory-policy", "noeviction")
    w.matcher().ready()
    goes_on(w)


def make_it_another_type(w):
    w.redis.delete(w.key(0, "items"))
    w.redis.set(w.key(0, "items"), "nonsense")


def garble_rules(w):
    w.redis.hset(w.key(0, "log"), "rules", "two")


@pytest.mark.parametrize(
    "breaking, text",
    [(make_it_another_type, "WRONGTYPE"), (garble_rules, "apply.lua answered `rules two`")],
)
def test_a_script_that_fails_and_one_that_says_what_nobody_knows(world, breaking, text):
    w = world
    open_all(w)
    m = w.matcher().ready()
    buy(w, 0)
    w.applied()
    at = w.position(0)
    breaking(w)
    buy(w, 0)
    halted(m, "script", text)
    ends(w, m, p0=at)


# ---------------------------------------------------------------- what is no reason to halt


def test_a_script_killed_by_an_operator_is_sent_again(alone):
    w = alone
    open_all(w)
    w.redis.config_set("busy-reply-threshold", 1)
    m = w.matcher(batch_max=4000).ready()
    killed = 0
    deadline = time.monotonic() + 60
    while killed == 0:
        assert time.monotonic() < deadline, "SCRIPT KILL never met a script"
        for _ in range(2000):
            w.put(0, w.order(0, "thing@0", f"u{next(USERS)}"), wait=False)
        w.producer.flush(0)
        for _ in range(200):
            try:
                w.redis.script_kill()
                killed += 1
            except Exception as e:  # noqa: BLE001  pylint: disable=broad-exception-caught
                assert "NOTBUSY" in str(e) or "No scripts" in str(e) or "UNKILLABLE" in str(e), e
    w.redis.config_set("busy-reply-threshold", 5000)
    w.applied(90)
    assert not m.lines("partition.halted")
    assert m.stop() == 0


def test_a_topic_that_may_not_be_read_for_a_while(world):
    """Deleted and made anew from the same records would be another log; away and back it is the same one."""
    w = world
    open_all(w)
    m = w.matcher().ready()
    w.applied()
    w.delete_topic(w.orders)
    holds_for(lambda: not m.lines("partition.halted"), 5, "it waits", 0.5)
    m.kill()


# ---------------------------------------------------------------- the guardian


@pytest.fixture
def told(stack, tmp_path):
    """Guardians read a topic that the test fills with true outcomes, and others."""
    w = Record(stack, tmp_path)
    w.migrate().genesis()
    w.matcher().ready()
    w.make_told()
    w.busy(100, hold_ms=600000)
    w.applied()
    w.values = [w.outcome_values(p) for p in range(w.partitions)]
    assert w.matchers[0].stop() == 0
    for p in range(w.partitions):
        w.fill(p, w.values[p][:20])
        # Redis still has all outcomes, so none is lost.
        w.redis.delete(w.key(p, "outbox"))
        w.redis.rpush(w.key(p, "outbox"), f"-1 999999 {'0' * 16} 0\n")
    w.reader = lambda **more: w.guardian(topic_outcomes=w.told, probe_after="300ms", **more).ready()
    yield w
    w.close()


def all_read(w):
    wait_until(lambda: all(w.recorded(p) == 19 for p in (0, 1)), 60, "both are recorded")


def guardian_ends(w, g, at=19):
    assert g.process.poll() is None
    w.fill(1, w.values[1][20:30])
    wait_until(lambda: w.recorded(1) == 29, 60, "the other partition goes on")
    assert w.recorded(0) == at
    assert g.stop() == HALTED
    assert w.complaints("partition.halted") == []


def changed(value, **members):
    return json.dumps(json.loads(value) | members, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "members, reason, text",
    [
        ({"genesis": "0" * 32}, "genesis", "an outcome of another log"),
        ({"hash": "0" * 16}, "chain", "follows another record"),
        ({"log_time": 1}, "chain", "log time goes back"),
        ({"rules": 2}, "chain", "the rules change at offset 20 without a command"),
    ],
)
def test_guardian_meets_an_outcome_that_cannot_follow(told, members, reason, text):
    g = told.reader()
    all_read(told)
    told.fill(0, [changed(told.values[0][20], **members)])
    halted(g, reason, text)
    guardian_ends(told, g)


@pytest.mark.parametrize(
    "column, value, reason, text",
    [
        ("chain", "0123456789abcdef", "chain", "is not the one that was applied"),
        ("genesis", "f" * 32, "genesis", "an outcome of another log"),
        ("rules", 77, "rules", "follows rules 77, this build carries"),
        ("partitions", 7, "partitions", "made for 7 partitions"),
    ],
)
def test_guardian_finds_another_history_in_mysql(told, column, value, reason, text):
    g = told.reader()
    all_read(told)
    assert g.stop() == 0
    told.edit(f"UPDATE progress SET {column} = %s WHERE partition_id = 0", value)
    g = told.reader()
    halted(g, reason, text)
    guardian_ends(told, g)


def test_guardian_finds_a_log_that_ends_before_mysql(told):
    """The topics were made anew, or cut back: MySQL has what the log has not."""
    g = told.reader()
    all_read(told)
    assert g.stop() == 0
    told.edit("UPDATE progress SET position = 100000, outcomes_offset = 100000 WHERE partition_id = 0")
    g = told.reader()
    halted(g, "log_too_short", "but MySQL has applied 100000")
    guardian_ends(told, g, 100000)


def test_guardian_has_lost_its_place_in_the_outcomes(told):
    """Kafka has no such offset: they are read from their start, also if that takes an assignment."""
    g = told.reader()
    all_read(told)
    assert g.stop() == 0
    told.edit("UPDATE progress SET outcomes_offset = 5000 WHERE partition_id = 0")
    g = told.reader()
    told.fill(0, [told.values[0][20]])
    wait_until(lambda: told.recorded(0) == 20, 60, "what comes after it is recorded")
    assert g.lines("outcomes.stuck") and g.stop() == 0


def test_guardian_meets_outcomes_that_cannot_be_read(told, stack):
    g = told.reader()
    all_read(told)
    assert g.stop() == 0
    told.fill(0, [told.values[0][20]])
    broken_log(told, stack, lambda: Partition(stack, told.told, 0).damage(20))
    g = told.reader()
    halted(g, "topic_unreadable", "the topic cannot be read: ")
    guardian_ends(told, g)


def test_guardian_misses_an_outcome_that_is_nowhere(told):
    told.redis.delete(told.key(0, "outbox"))
    told.fill(0, told.values[0][21:])
    g = told.reader(auto_rebuild="false")
    halted(g, "outcome_lost", "the outcome after offset 19 is lost: Redis is past it")
    guardian_ends(told, g)


def test_guardian_halts_when_mysql_refuses_the_numbers(told):
    """The CHECK of the table is the last word: it never oversells."""
    g = told.reader()
    all_read(told)
    told.edit("UPDATE items SET held = held + available, available = 0 WHERE partition_id = 0")
    told.fill(0, told.values[0][20:])
    halted(g, "record", "items_")
    guardian_ends(told, g, told.recorded(0))


def test_guardian_leaves_when_all_are_halted(told):
    g = told.reader()
    all_read(told)
    for p in (0, 1):
        told.fill(p, [changed(told.values[p][20], genesis="0" * 32)])
    assert g.wait() == HALTED
    assert len(g.lines("partition.halted")) == 2
    assert [told.recorded(p) for p in (0, 1)] == [19, 19]
