"""The one recovery: Redis put at MySQL's position, by hand and by itself, for every loss there is.

What a rebuilt Redis must hold is told by what stood there before: every key is compared, byte by byte.
"""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from lib.recovery import (  # noqa: F401 (fixtures)
    DONE, FAILED, REFUSED, TAKEN, alone, at_rest, at_the_end, clean, dump, log_begin, rebuild, sell, sold, stop_matchers, trim, wipe, world,
)
from lib.stack import BIN
from lib.wait import holds_for, wait_until

PLACES = ["rebuild.begun:1", "rebuild.piece:2", "rebuild.end:1"]  # where one may be interrupted

# ---------------------------------------------------------------- by hand


def test_every_key_is_as_it_was(sold):
    stop_matchers(sold)
    before = [dump(sold, p) for p in range(2)]
    assert before[0]["log"]["orders"] != "0" and any(n.startswith("due:") for n in before[0])
    for p in range(2):
        wipe(sold, p)
    said = rebuild(sold)
    assert [dump(sold, p) for p in range(2)] == before
    for p in range(2):
        assert f"partition {p}: at {before[p]['log']['watermark']}, {before[p]['log']['orders']} orders" in said
    assert "could not be checked" not in said
    # What has a state is left alone, unless it is named.
    assert rebuild(sold).count("unchanged: has a state") == 2
    assert "partition 1: at" in rebuild(sold, DONE, "--partition=1")
    assert [dump(sold, p) for p in range(2)] == before
    sold.matcher().ready()
    sold.guardian().ready()
    sold.busy(500, seed=2)
    clean(sold)


def test_a_master_that_becomes_a_replica(alone):
    """It goes on answering: what it tells is not taken for the present."""
    g = alone.migrate().genesis().guardian().ready()
    m = alone.matcher().ready()
    at_rest(alone)
    alone.redis.replicaof("127.0.0.1", "1")
    for daemon, event in ((g, "redis.unwell"), (m, "redis.lost")):
        wait_until(lambda d=daemon, e=event: any("not a master" in line for line in d.lines(e)), 60, f"{event}: it is heard")
    assert "not a master" in rebuild(alone, FAILED)
    alone.redis.replicaof("NO", "ONE")
    alone.put(0, alone.open("thing@0", 5), alone.order(0, "thing@0", "ann"))
    at_rest(alone)
    clean(alone)


def test_edited_by_hand(sold):
    """A matcher runs on; what it had applied comes again with the same bytes."""
    sold.guardian().ready()
    name = next(n for n in sold.redis.hkeys(sold.key(0, "items")))
    fields = sold.redis.hget(sold.key(0, "items"), name).split()
    fields[0], fields[1] = str(int(fields[0]) + 7), str(int(fields[1]) + 7)
    sold.redis.hset(sold.key(0, "items"), name, " ".join(fields))
    user = sold.redis.hkeys(sold.key(0, "orders"))[0]
    sold.redis.hdel(sold.key(0, "orders"), user)
    sold.redis.rpush(sold.key(0, "due:12345"), "1 1 a b")
    rebuild(sold, DONE, "--partition=0")
    assert not sold.redis.exists(sold.key(0, "due:12345"))
    sold.busy(500, seed=2)
    clean(sold, "partition.needs_rebuild")
    sold.story(0, sold.recorded(0))


def test_reconcile_repairs_what_differs(sold):
    sold.guardian().ready()
    user = sold.redis.hkeys(sold.key(1, "orders"))[0]
    sold.redis.hdel(sold.key(1, "orders"), user)
    report = sold.reconcile(1, "--repair")
    assert report["repaired"] == [1]
    sold.reconcile(0)
    clean(sold)


def test_a_key_of_another_type(sold):
    stop_matchers(sold)
    before = dump(sold, 0)
    sold.redis.delete(sold.key(0, "log"))
    sold.redis.set(sold.key(0, "log"), "nonsense")
    rebuild(sold, DONE, "--partition=0")
    assert dump(sold, 0) == before


def test_nothing_recorded_yet(world):
    """MySQL has nothing: Redis is emptied, and the log folded from its genesis."""
    world.migrate().genesis()
    world.matcher().ready()
    world.put(0, world.open("lamp@0", 5))
    world.applied()
    assert "partition 0: at -1" in rebuild(world, DONE, "--partition=0")
    world.applied()
    world.guardian().ready()
    clean(world)


# ---------------------------------------------------------------- what must not be rebuilt


def test_mysql_ahead_of_the_log(sold):
    stop_matchers(sold)
    before = dump(sold, 0)
    sold.edit("UPDATE progress SET position = position + 100000 WHERE partition_id = 0")
    assert "MySQL is ahead" in rebuild(sold, REFUSED, "--partition=0")
    assert dump(sold, 0) == before


def test_another_history(sold):
    stop_matchers(sold)
    before = dump(sold, 0)
    for change, back in (
        ("chain = REVERSE(chain)", "chain = REVERSE(chain)"),
        ("position = position - 1", "position = position + 1"),
        ("log_time = log_time + 1", "log_time = log_time - 1"),
        ("rules = 3 - rules", "rules = 3 - rules"),
    ):
        sold.edit(f"UPDATE progress SET {change} WHERE partition_id = 0")
        assert "is not the one that MySQL was made from" in rebuild(sold, REFUSED, "--partition=0"), change
        sold.edit(f"UPDATE progress SET {back} WHERE partition_id = 0")
    assert dump(sold, 0) == before
    rebuild(sold, DONE, "--partition=0")
    assert dump(sold, 0) == before


def test_another_history_halts_the_guardian(sold):
    """It has every reason to rebuild, and must not."""
    stop_matchers(sold)
    trim(sold)
    wipe(sold, 0)
    sold.edit("UPDATE progress SET log_time = 5 WHERE partition_id = 0")
    g = sold.guardian(rebuild_stall="1s")
    wait_until(lambda: g.lines("partition.halted"), 60, "it halts")
    assert not sold.redis.exists(sold.key(0, "log"))
    g.stop()


# ---------------------------------------------------------------- nobody answers


def test_whoever_does_not_answer_nothing_is_changed(world):
    world.migrate().genesis()
    world.matcher().ready()
    world.guardian().ready()
    for p in range(2):
        world.put(p, world.open(f"lamp@{p}", 5))
    at_the_end(world)
    stop_matchers(world)
    before = [dump(world, p) for p in range(2)]
    port = world.stack.port("nobody")
    for name in ("redis_port", "mysql_port", "kafka_brokers"):
        nobody = {name: f"127.0.0.1:{port}" if name == "kafka_brokers" else port}
        assert "partition 0: unchanged: " in rebuild(world, FAILED, "--partition=0", "--timeout=2s", **nobody), name
        assert "partition 0: nothing was trimmed: " in trim(world, FAILED, "--timeout=2s", **nobody), name
    assert [dump(world, p) for p in range(2)] == before
    assert [log_begin(world, p) for p in range(2)] == [0, 0]
    rebuild(world, DONE, "--partition=0")
    assert trim(world).count("started at 0") == 2


# ---------------------------------------------------------------- fences


def test_the_later_of_two_wins(sold):
    stop_matchers(sold)
    before = dump(sold, 0)
    first = start_rebuild(sold, "rebuild.piece:2", pause=True)
    wait_until(lambda: is_stopped(first), 60, "the first one stands in the middle")
    assert sold.redis.hget(sold.key(0, "rebuild"), "progress") == "1"
    rebuild(sold, DONE, "--partition=0")
    first.send_signal(signal.SIGCONT)
    # The other has finished, so the partition is open, and not a byte of the first came after that.
    assert first.wait(60) in (DONE, TAKEN)
    assert dump(sold, 0) == before


def test_the_earlier_of_two_hears_that_it_lost(sold):
    stop_matchers(sold)
    before = dump(sold, 0)
    first = start_rebuild(sold, "rebuild.piece:2", pause=True)
    wait_until(lambda: is_stopped(first), 60, "the first one stands in the middle")
    second = start_rebuild(sold, "rebuild.piece:3", pause=True)
    wait_until(lambda: is_stopped(second), 60, "the second one stands in the middle")
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == TAKEN
    assert "another rebuild has taken over" in first.stdout.read()
    second.send_signal(signal.SIGCONT)
    assert second.wait(60) == DONE
    assert dump(sold, 0) == before


def test_answers_that_are_lost(alone):
    """Pieces are sent again; one that was executed late, and one that is executed twice, do no harm."""
    sell(alone)
    stop_matchers(alone)
    before = dump(alone, 0)

    def evals():
        return alone.redis.info("commandstats")["cmdstat_eval"]["calls"]

    start = evals()
    rebuild(alone, DONE, "--partition=0")
    needed = evals() - start
    process = start_rebuild(alone, "rebuild.piece:2", pause=True, redis_timeout="300ms")
    wait_until(lambda: is_stopped(process), 60, "it stands in the middle")
    alone.own_redis.process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGCONT)
    holds_for(lambda: process.poll() is None, 3, "it insists")
    alone.own_redis.process.send_signal(signal.SIGCONT)
    assert process.wait(60) == DONE, process.stdout.read()
    wait_until(lambda: evals() - start > 2 * needed, 60, "more was executed than is needed")
    assert dump(alone, 0) == before
    alone.matcher().ready()
    alone.guardian().ready()
    clean(alone)


def test_a_matcher_refolds_while_the_keys_are_looked_up(sold):
    """What it made in between is wiped, too: nothing of it is in what SCAN found."""
    before = dump(sold, 0)
    sold.busy(200, seed=3)  # beyond MySQL's position
    sold.applied()
    stop_matchers(sold)
    wipe(sold, 0)
    first = start_rebuild(sold, "rebuild.found:1", pause=True)
    wait_until(lambda: is_stopped(first), 60, "it has looked up the keys")
    m = sold.matcher().ready()
    sold.applied()
    assert m.stop() == 0
    assert dump(sold, 0) != before
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == DONE
    assert dump(sold, 0) == before and not sold.redis.exists(sold.key(0, "outbox"))
    sold.matcher().ready()
    sold.guardian().ready()
    clean(sold)


def start_rebuild(w, failpoint, pause=False, **settings):
    process = subprocess.Popen(
        [BIN / "seckill-guardian", "rebuild", "--partition=0"],
        env=w.environ(failpoint=failpoint + (":stop" if pause else ""), **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    w.rebuilders.append(process)
    return process


def is_stopped(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("where", PLACES)
def test_killed_and_done_again_by_hand(sold, where):
    stop_matchers(sold)
    before = dump(sold, 0)
    assert start_rebuild(sold, where).wait(60) == -signal.SIGKILL
    m = sold.matcher().ready()
    wait_until(lambda: m.metrics()['seckill_matcher_waiting{reason="rebuild_under_way"}'] == 1, 60, "it waits")
    at = sold.position(1)
    sold.put(1, {"type": "tick"})
    wait_until(lambda: sold.position(1) > at, 60, "the other partition goes on")
    assert not sold.redis.exists(sold.key(0, "log"))
    m.stop()
    rebuild(sold)
    assert dump(sold, 0) == before
    sold.matcher().ready()
    sold.guardian().ready()
    clean(sold)


# ---------------------------------------------------------------- by itself


def rebuilt(g, cause):
    wait_until(lambda: g.lines("rebuild.done"), 90, f"rebuilt by itself; {g.log}", 0.2)
    assert f"cause={cause}" in g.lines("rebuild.done")[0]
    wait_until(lambda: g.metrics()[f'seckill_guardian_rebuilds_total{{cause="{cause}"}}'] == 1, 60, "it is counted")


@pytest.mark.parametrize("where", PLACES)
def test_an_interrupted_one_is_finished_by_the_guardian(sold, where):
    before = dump(sold, 0)
    assert start_rebuild(sold, where).wait(60) == -signal.SIGKILL
    g = sold.guardian(rebuild_stall="2s").ready()
    rebuilt(g, "interrupted")
    clean(sold)
    after = dump(sold, 0)
    assert after["orders"] == before["orders"] and after["items"] == before["items"]


def test_one_that_goes_on_is_left_alone(sold):
    stop_matchers(sold)
    sold.redis.delete(*sold.redis.scan_iter(f"{sold.name}:{{0}}:*", 1000))
    g = sold.guardian(rebuild_stall="7s").ready()
    key = sold.key(0, "rebuild")

    def moves():
        sold.redis.hset(key, mapping={"token": "somebody", "progress": str(int(time.time() * 1000))})
        return not g.lines("rebuild.begins")

    holds_for(moves, 9, "somebody else is at it")
    assert g.stop() == 0
    rebuilt(sold.guardian(rebuild_stall="1s").ready(), "interrupted")
    sold.matcher().ready()
    clean(sold)


def test_keys_without_a_watermark(sold):
    sold.redis.delete(sold.key(0, "log"))
    m = sold.matchers[0]
    wait_until(lambda: m.lines("partition.needs_rebuild"), 60, "the matcher says so")
    assert m.metrics()['seckill_matcher_waiting{reason="keys_without_watermark"}'] == 1
    g = sold.guardian().ready()
    rebuilt(g, "keys")
    sold.busy(300, seed=5)
    clean(sold, "partition.needs_rebuild")


def test_empty_and_the_head_of_the_log_gone(sold):
    said = trim(sold)
    assert "started at 0" in said
    assert min(log_begin(sold, p) for p in range(2)) > 0
    before = [dump(sold, p) for p in range(2)]
    for p in range(2):
        wipe(sold, p)
    m = sold.matchers[0]
    wait_until(lambda: len(m.lines("partition.needs_rebuild")) == 2, 60, "the matcher says so")
    g = sold.guardian().ready()
    wait_until(lambda: len(g.lines("rebuild.done")) == 2, 90, "both are rebuilt")
    for p in range(2):
        after = dump(sold, p)
        assert after["orders"] == before[p]["orders"] and after["payments"] == before[p]["payments"]
    sold.busy(300, seed=5)
    clean(sold, "partition.needs_rebuild")


def test_redis_from_before_the_head(sold):
    """As after restoring an old backup."""
    stop_matchers(sold)
    trim(sold)
    sold.redis.hset(sold.key(0, "log"), "watermark", "3")
    sold.redis.delete(sold.key(0, "outbox"))
    m = sold.matcher()
    wait_until(lambda: m.lines("partition.needs_rebuild"), 60, "the matcher says so")
    g = sold.guardian().ready()
    rebuilt(g, "head")
    clean(sold, "partition.needs_rebuild")


def test_redis_from_before_the_head_and_a_guardian_that_lags(world):
    """It has committed nothing: what MySQL has is what another has committed."""
    world.migrate().genesis()
    world.matcher().ready()
    world.make_told()
    late = world.guardian(topic_outcomes=world.told, probe_after="600s").ready()
    wait_until(lambda: len(late.lines("partition.loaded")) == 2, 60, "it has read where MySQL stands")
    g = world.guardian().ready()
    world.busy(300)
    at_rest(world)
    assert g.stop() == 0
    stop_matchers(world)
    trim(world)
    assert log_begin(world, 0) > 3
    world.redis.hset(world.key(0, "log"), "watermark", "3")
    world.redis.delete(world.key(0, "outbox"))
    rebuilt(late, "head")
    late.kill()
    world.matcher().ready()
    world.guardian().ready()
    clean(world)


def test_an_outbox_from_before_the_head(sold):
    """As after a failover to a replica that had not heard that all is told: the same watermark, an older outbox."""
    stop_matchers(sold)
    trim(sold)
    log = sold.redis.hgetall(sold.key(0, "log"))
    at = int(log["watermark"])
    assert 3 < log_begin(sold, 0) == at == sold.recorded(0)
    sold.redis.delete(sold.key(0, "outbox"))  # what is told is dropped a batch later
    sold.redis.rpush(sold.key(0, "outbox"), f"2 {at} {log['chain']} {log['log_time']} 2\n" + "\n" * (at - 2))
    m = sold.matcher()
    wait_until(lambda: m.lines("partition.needs_rebuild"), 60, "the matcher says so")
    g = sold.guardian().ready()
    rebuilt(g, "head")
    clean(sold, "partition.needs_rebuild")


def test_an_outcome_lost_for_certain(world):
    """It is neither in the topic nor in the outbox; its command is still in the log."""
    world.migrate().genesis()
    world.matcher().ready()
    world.busy(300)
    world.applied()
    stop_matchers(world)
    world.make_told()
    for p in range(2):
        values = world.outcome_values(p)
        world.fill(p, values[:30] + values[31 - p :])
        world.redis.delete(world.key(p, "outbox"))
    told = {"topic_outcomes": world.told}
    world.matcher(f"--topic-outcomes={world.told}").ready()
    g = world.guardian(**told).ready()
    rebuilt(g, "lost")
    assert g.lines("outcome.lost")
    world.busy(200, seed=2)
    at_the_end(world)
    done = world.command("verify", "--json", "--timeout=2m", **told)
    assert done.returncode == 0 and json.loads(done.stdout)["ok"], done.stdout
    assert g.stop() == 0
    assert world.complaints("outcome.lost") == []


def test_by_hand_when_automatic_is_off(sold):
    sold.redis.delete(sold.key(0, "log"))
    g = sold.guardian(auto_rebuild="false").ready()
    wait_until(lambda: sold.matchers[0].lines("partition.needs_rebuild"), 60, "the matcher says so")
    holds_for(lambda: not g.lines("rebuild.begins"), 4, "nobody begins")
    rebuild(sold)
    clean(sold, "partition.needs_rebuild")


# ---------------------------------------------------------------- shoppers


def test_the_door_answers_503_meanwhile(system):
    here, there = system.open(50, limit=50, partition=0), system.open(50, partition=1)
    ann = system.shopper()
    order = ann.reserve(here)
    wait_until(lambda: system.rows("SELECT 1 FROM orders WHERE order_id = %s", order), 60, "it is recorded")
    process = subprocess.Popen(
        [BIN / "seckill-guardian", "rebuild", "--partition=0"],
        env=system.stack.environ(**system.settings, SECKILL_FAILPOINT="rebuild.piece:2:stop"),
        stdin=subprocess.DEVNULL,
    )
    # It would finish what stands still for so long.
    system.stack.kill_daemon("guardian", signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(process), 60, "the rebuild stands in the middle")
        reason, again_s = wait_until(lambda: refused(ann, here), 60, "orders are refused")
        assert reason == "not_ready" and again_s > 0
        assert ann.get(order, patient=False).status_code == 503
        system.shopper().reserve(there)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == DONE
    finally:
        system.stack.kill_daemon("guardian", signal.SIGCONT)
        process.kill()
        process.wait()
    wait_until(lambda: ann.order(here).status_code == 201, 60, "it sells again")
    assert ann.state(order) == "reserved"


def refused(shopper, item):
    """The reason, and when to come again, of an order that is answered 503."""
    answer = shopper.order(item, wait=0, patient=False)
    return answer.status_code == 503 and (answer.json()["reason"], int(answer.headers["Retry-After"]))


# ---------------------------------------------------------------- what reconcile does not repair


def test_what_was_not_compared_is_not_repaired(sold):
    """MySQL did not answer at the mark: nothing is known to differ, so nothing is wiped."""
    sold.guardian(mysql_timeout="1s").ready()
    lock = sold.connect(sold.database)
    with lock, lock.cursor() as cursor, ThreadPoolExecutor() as one:
        cursor.execute("LOCK TABLES payments WRITE")
        run = one.submit(sold.reconcile, 2, "--repair")
        wait_until(lambda: len(sold.rows("SELECT 1 FROM reconcile_runs WHERE clean = 2")) == 2, 60, "both are skipped")
        cursor.execute("UNLOCK TABLES")
        report = run.result()
    assert report["repaired"] == [] and report["differences"] == []
    assert sum("could not compare at the mark" in text for text in report["unchecked"]) == 2
    clean(sold)


def test_a_mysql_that_contradicts_itself_is_not_copied(sold):
    """Ten units that nobody ever added: in Redis they would be sold."""
    sold.guardian().ready()
    item, partition = sold.rows("SELECT item_id, partition_id FROM items WHERE available > 0 LIMIT 1")[0]
    was = sold.redis.hget(sold.key(partition, "items"), item.decode())
    sold.edit("UPDATE items SET total = total + 10, available = available + 10 WHERE item_id = %s", item)
    report = sold.reconcile(2, "--repair")
    assert report["repaired"] == []
    assert any("not repaired: MySQL contradicts itself" in text for text in report["unchecked"])
    assert sold.redis.hget(sold.key(partition, "items"), item.decode()) == was
    sold.edit("UPDATE items SET total = total - 10, available = available - 10 WHERE item_id = %s", item)
    clean(sold)


# ---------------------------------------------------------------- a MySQL that sorts for long


@contextmanager
def slow_orders(w):
    """MySQL gives no orders before the block is over.  The lock is on payments, which are read with them."""
    lock = w.connect(w.database)
    with lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLES payments WRITE")
        yield
        cursor.execute("UNLOCK TABLES")


def waiting(w):
    """How many queries of orders wait there."""
    return w.rows(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = %s AND INFO LIKE 'SELECT o.user_id %%'",
        w.database,
    )[0][0]


def test_it_stays_open_while_mysql_sorts(sold):
    """For longer than mysql-timeout, too."""
    stop_matchers(sold)
    before = dump(sold, 0)
    with slow_orders(sold):
        process = start_rebuild(sold, "none:1", mysql_timeout="1s")
        wait_until(lambda: waiting(sold), 60, "it waits for the orders")
        holds_for(lambda: process.poll() is None and not sold.redis.exists(sold.key(0, "rebuild")), 4, "it is open")
        assert dump(sold, 0) == before
    assert process.wait(60) == DONE, process.stdout.read()
    assert dump(sold, 0) == before


def test_one_that_cannot_succeed_changes_nothing(sold):
    stop_matchers(sold)
    before = dump(sold, 0)
    with slow_orders(sold):
        said = rebuild(sold, FAILED, "--partition=0", mysql_timeout="1s", mysql_scan_timeout="2s")
        assert "unchanged: mysql: no answer in time" in said
        wait_until(lambda: not waiting(sold), 60, "MySQL has given it up as well")
    assert dump(sold, 0) == before


def test_a_guardian_that_waits_for_the_sort_can_be_stopped(sold):
    sold.redis.delete(sold.key(0, "log"))
    with slow_orders(sold):
        g = sold.guardian(drain_timeout="50s").ready()
        wait_until(lambda: g.lines("rebuild.begins") and waiting(sold), 60, "it waits for the orders")
        assert g.stop() == 0
        wait_until(lambda: not waiting(sold), 60, "MySQL has given it up as well")
    assert not sold.redis.exists(sold.key(0, "rebuild"))
    rebuilt(sold.guardian().ready(), "keys")
    clean(sold, "partition.needs_rebuild")


def test_a_guardian_that_waits_for_kafka_can_be_stopped(sold):
    sold.redis.delete(sold.key(0, "log"))
    g = sold.guardian().ready()
    stack = sold.stack
    stack.kill("kafka", signal.SIGSTOP)
    try:
        wait_until(lambda: g.lines("rebuild.begins"), 60, "it waits for the log")
        holds_for(lambda: not g.lines("rebuild.failed"), 2, "nobody answers")
        g.send(signal.SIGTERM)
        assert g.wait(30) == 0
    finally:
        stack.kill("kafka", signal.SIGCONT)
    assert not g.lines("rebuild.done") and not sold.redis.exists(sold.key(0, "rebuild"))
    rebuilt(sold.guardian().ready(), "keys")
    clean(sold, "partition.needs_rebuild", "rebuild.failed")


def test_what_is_right_again_when_its_turn_comes_is_left_alone(sold):
    """A guardian's rebuild waits for a thread, and an operator's is quicker."""
    stop_matchers(sold)
    before = dump(sold, 0)
    g = sold.guardian(failpoint="rebuild.queued:1:stop")
    sold.redis.hdel(sold.key(0, "log"), "watermark")
    wait_until(lambda: is_stopped(g.process), 60, "it is about to rebuild")
    rebuild(sold, DONE, "--partition=0")
    g.process.send_signal(signal.SIGCONT)
    wait_until(lambda: g.lines("rebuild.failed"), 60, "it looks again")
    assert "it is not as it was any more" in g.lines("rebuild.failed")[0]
    assert not g.lines("rebuild.done") and dump(sold, 0) == before
    sold.matcher().ready()
    clean(sold)


def test_who_was_quicker_is_left_alone(sold):
    """Somebody else begins, goes on, or has finished, while MySQL sorts."""
    stop_matchers(sold)
    before = dump(sold, 0)
    keys = {key: sold.redis.dump(key) for key in sold.redis.scan_iter(f"{sold.name}:{{0}}:*", 1000)}
    fence = sold.key(0, "rebuild")

    def meanwhile(first, then):
        """Of a rebuild that finds `first`, and `then` when the orders come."""
        wipe(sold, 0)
        first()
        with slow_orders(sold):
            process = start_rebuild(sold, "none:1")
            wait_until(lambda: waiting(sold), 60, "it waits for the orders")
            then()
        return process.wait(60), process.stdout.read()

    def goes_on(progress):
        return lambda: sold.redis.hset(fence, mapping={"token": "somebody", "progress": progress})

    def is_back():
        for key, value in keys.items():
            sold.redis.restore(key, 0, value)

    for first, then in (nothing, goes_on(0)), (goes_on(4), goes_on(5)):
        code, said = meanwhile(first, then)
        assert code == TAKEN and "another rebuild is under way" in said
        assert sold.redis.hget(fence, "token") == "somebody"
    assert meanwhile(nothing, is_back)[0] == TAKEN
    assert dump(sold, 0) == before
    # One that stands still is not waited for.
    assert meanwhile(goes_on(4), nothing)[0] == DONE
    assert dump(sold, 0) == before


def nothing():
    """Happens."""


def test_the_kernel_asks_whether_mysql_is_there(sold):
    """The wait for a sort has no short end, so a host that is gone must be noticed otherwise."""
    with slow_orders(sold):
        process = start_rebuild(sold, "none:1", mysql_timeout="20s")
        wait_until(lambda: waiting(sold), 60, "it waits for the orders")
        port = int(sold.stack.env["MYSQL_PORT"])
        # None while an answer is under way: there is another timer then.
        timers = wait_until(lambda: (t := keepalives(process, port)) and None not in t and t, 60, "its timers")
    assert process.wait(60) == DONE
    assert timers and all(0 < seconds <= 11 for seconds in timers), timers


def keepalives(process, port):
    """In how many seconds the kernel asks about each connection of a process to a port; None: never."""
    sockets = {os.readlink(fd.path) for fd in os.scandir(f"/proc/{process.pid}/fd")}
    with open(f"/proc/{process.pid}/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [
        int(row[5].split(":")[1], 16) / os.sysconf("SC_CLK_TCK") if row[5].startswith("02:") else None
        for row in rows
        if f"socket:[{row[9]}]" in sockets and int(row[2].split(":")[1], 16) == port
    ]


def test_a_log_that_is_trimmed_while_mysql_sorts(sold):
    """What follows the position that the rebuild has read is gone: Redis, which is past it, is not put back there."""
    sold.guardian().ready()
    at = sold.recorded(0)
    with slow_orders(sold):
        process = start_rebuild(sold, "none:1")
        wait_until(lambda: waiting(sold), 60, "it waits for the orders")
        sold.put(0, *[{"type": "tick"}] * 5)
        at_the_end(sold)
        trim(sold, 0, "--partition=0")
        assert log_begin(sold, 0) > at
    assert process.wait(60) == FAILED
    assert "unchanged: the log was trimmed meanwhile" in process.stdout.read()
    assert sold.position(0) > at
    clean(sold)
