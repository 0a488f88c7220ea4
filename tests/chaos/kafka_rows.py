"""A: Kafka goes away, loses answers, loses records, and the group changes under load."""

import json
import os
import shutil
import signal
import time

import confluent_kafka

from chaos.disk import copy, fill, small_disk
from chaos.redis_rows import watermarks
from chaos.rows import counted, row, told
from lib.skew import Skew
from lib.wait import wait_until


def reader(field):
    return confluent_kafka.Consumer(
        {"bootstrap.servers": field.stack.env["KAFKA_BROKERS"], "group.id": "chaos", "enable.auto.commit": False}
    )


def ends(field):
    """Where the orders of each partition end."""
    consumer = reader(field)
    try:
        places = [confluent_kafka.TopicPartition("seckill.orders", p) for p in range(4)]
        return [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]
    finally:
        consumer.close()


@row("A1", "a matcher sleeps past its session, and wakes as a zombie", alone=True, pause_s=(1, 4), proof=told("matcher", "SESSTMOUT"))
def zombie_matcher(field):
    victim = field.any("matcher")
    field.freeze(victim, field.dice.uniform(4, 6))
    field.note(f"{victim.name} slept past its session")


@row("A3", "a storm of rebalances", alone=True, pause_s=(0, 0.5))
def rebalances(field):
    victim = field.any("matcher")
    victim.stop()
    field.breathe(0, 1)
    victim.start()
    field.note(f"{victim.name} left the group and came back")


@row("A4", "the broker is killed and started again", pause_s=(2, 5))
def broker_killed(field):
    field.stack.kill("kafka")
    field.stack.restart("kafka")
    field.note("broker killed")


@row(
    "A5", "the leader dies, or sleeps until another leads and wakes as a zombie", brokers=3, soak=False, pause_s=(1, 3),
    proof=counted("no partition was led by another"),
)
def leader_changes(field):
    brokers = field.brokers
    led, victim = max(((brokers.led_by(b), b) for b in brokers.more), key=lambda pair: pair[0])
    dies = field.dice.random() < 0.5
    victim.process.send_signal(signal.SIGKILL if dies else signal.SIGSTOP)
    wait_until(lambda: brokers.led_by(victim) == 0, 60, "others lead")
    field.breathe(0, 3)
    victim.start()
    wait_until(brokers.are_in_sync, 120, f"broker {victim.node} has what the others have", 0.2)
    field.struck += led
    field.note(f"broker {victim.node} {'died' if dies else 'slept'}, which led {led} partitions")


@row(
    "A6", "the broker stores orders, and its answers come too late",
    settings={"SEND_TIMEOUT": "2s"}, pause_s=(1, 3), proof=told("producer", "unknown=true"),
)
def answers_too_late(field):
    door = field.any("producer")
    link = field.link(f"{door.name}-kafka")
    link.swallow("down")
    field.breathe(2.5, 4)
    link.heal()
    field.note(f"{door.name}: sends of unknown fate")


@row("A7", "records stand in the log twice")
def repeated_records(field):
    consumer = reader(field)
    producer = confluent_kafka.Producer({"bootstrap.servers": field.stack.env["KAFKA_BROKERS"]})
    p = field.dice.randrange(4)
    _, end = consumer.get_watermark_offsets(confluent_kafka.TopicPartition("seckill.orders", p), timeout=30)
    consumer.assign([confluent_kafka.TopicPartition("seckill.orders", p, max(0, end - field.dice.randint(1, 500)))])
    again = [m for m in consumer.consume(100, 5) if not m.error() and json.loads(m.value())["type"] not in ("genesis", "mark")]
    consumer.close()
    for m in again:
        producer.produce("seckill.orders", m.value(), m.key(), p)
    assert producer.flush(30) == 0
    if again:
        field.note(f"{len(again)} records of partition {p} once more")


RENEWED = {"producer": "publish.recreated", "matcher": "publish.renewed"}


def both_had_another(field):
    for kind, text in RENEWED.items():
        told(kind, text)(field)


@row("A8", "a door's or a matcher's Kafka client says that it is at its end", proof=both_had_another)
def client_at_its_end(field):
    """With messages in it; what librdkafka calls a fatal error."""
    daemon = field.any(("producer", "matcher")[field.faults % 2])
    renewed = RENEWED[daemon.kind]
    before = daemon.said(renewed)
    daemon.restart(failpoint=f"send.fatal:{field.dice.randint(1, 400)}")
    field.breathe(3, 6)
    if daemon.said(renewed) > before:
        field.note(f"{daemon.name}: another Kafka client")
    daemon.restart()


@row("A9", "the broker's answers are lost, and it is asked again")
def answers_lost(field):
    link = field.dice.choice(field.links("-kafka"))
    link.swallow("down")
    field.breathe(0.1, 1)
    link.heal()
    field.note(f"{link.name}: answers lost")


@row("A10", "the broker is away for long, under full load", pause_s=(3, 6))
def broker_away(field):
    field.stack.kill("kafka")
    field.breathe(5, 12)
    field.stack.restart("kafka")
    field.note("broker away for seconds")


# ---------------------------------------------------------------------------- another log than it was

DATA = "kafka/data"
READERS = ("matcher", "matcher-2", "guardian", "guardian-2")


def halts(field):
    """How often each partition was halted."""
    return [field.said("matcher", f"partition.halted partition={p} ") for p in range(4)]


@row(
    "A11", "the broker comes back with an older copy of its log", soak=False, pause_s=(2, 5),
    halts=("chain", "log_too_short"),
)
def older_log(field):
    """Nobody may go on with it.  The doors are away meanwhile: what they were told there would be lost with it."""
    data = field.stack.dir / DATA
    old, true = data.with_name("data.old"), data.with_name("data.true")
    field.stack.kill("kafka")
    shutil.rmtree(old, ignore_errors=True)
    old.mkdir()
    copy(data, old)
    field.stack.restart("kafka")
    copied = ends(field)  # or more
    wait_until(lambda: all(w >= end for w, end in zip(watermarks(field.redis()), copied)), 60, "all go past the copy")
    field.kill("producer", "producer-2")
    field.stack.kill("kafka")
    data.rename(true)
    old.rename(data)
    before = halts(field)
    try:
        field.stack.restart("kafka")
        wait_until(
            lambda: all(now > then for now, then in zip(halts(field), before)), 90, "each partition's log is seen to be another"
        )
        time.sleep(field.dice.uniform(0, 2))
    finally:
        field.kill(*READERS)
        field.stack.kill("kafka")
        shutil.rmtree(data)
        true.rename(data)
        field.stack.restart("kafka")
    field.restart_dead()
    field.note("an older copy of the log, and the true one again")


@row("A15", "a second member with the same instance id", soak=False, pause_s=(1, 3))
def same_instance(field):
    """The group fences one of them; it ends instead of going on."""
    field.kill("matcher", "matcher-2")
    first, second = field.daemons["matcher"], field.daemons["matcher-2"]
    first.start(INSTANCE_ID="twin").await_ready()
    second.start(INSTANCE_ID="twin")
    wait_until(lambda: not (first.runs and second.runs), 60, "one of them ends", 0.1)
    fenced = second if first.runs else first
    assert fenced.process.returncode > 0, f"{fenced.name} ended with {fenced.process.returncode}"
    field.kill("matcher", "matcher-2")
    field.restart_dead()
    field.note(f"{fenced.name} was fenced")


@row(
    "A18", "a byte of the log's last batch is another on disk", soak=False, pause_s=(2, 5),
    halts=("log_unreadable",),
)
def flipped(field):
    """The broker does not look; who reads it must not skip it.  Afterwards it is as it was."""
    p = field.dice.randrange(4)
    field.stack.kill("kafka", 15)  # after SIGKILL it would look, and cut the log there
    path = max((field.stack.dir / DATA / f"seckill.orders-{p}").glob("*.log"))
    end, last = last_batch(path.read_bytes())
    at = end - 3
    before = field.said("matcher", "partition.stuck") + field.said("matcher", "partition.halted")
    byte = flip(path, at)
    try:
        field.stack.restart("kafka")
        wait_until(
            lambda: field.said("matcher", "partition.stuck") + field.said("matcher", "partition.halted") > before,
            60, f"the matcher cannot read partition {p}",
        )
        assert watermarks(field.redis())[p] <= last, "what cannot be read was passed"
    finally:
        field.stack.kill("kafka", 15)
        assert flip(path, at) == byte ^ 0xFF
        field.kill(*READERS)
        field.stack.restart("kafka")
    field.restart_dead()
    field.note(f"partition {p}: a byte was another")


def last_batch(data):
    """Where the last batch of a segment ends (its file may be longer than what was written), and its last offset."""
    end, last = 0, -1
    while end + 12 <= len(data) and (size := int.from_bytes(data[end + 8 : end + 12], "big")) > 0:
        last = int.from_bytes(data[end : end + 8], "big") + int.from_bytes(data[end + 23 : end + 27], "big")
        end += 12 + size
    return end, last


def flip(path, at):
    """Inverts a byte; what it was."""
    with path.open("r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0xFF]))
        f.flush()
        os.fsync(f.fileno())
    return byte


# ---------------------------------------------------------------------------- its clock


def with_clock(field):
    field.skews["kafka"] = Skew(field.dir / "kafka.skew")
    field.stack.kill("kafka", 15)
    field.stack.restart("kafka", field.skews["kafka"].environ)


def times(field, partition):
    """Those that the broker gave to a partition's orders, in the log's order."""
    consumer = reader(field)
    place = confluent_kafka.TopicPartition("seckill.orders", partition, 0)
    _, end = consumer.get_watermark_offsets(place, timeout=30)
    consumer.assign([place])
    found, at = [], 0
    while at < end:
        for m in consumer.consume(1000, 30):
            assert not m.error(), m.error()
            found.append(m.timestamp()[1])
            at = m.offset() + 1
    consumer.close()
    return found


def went_back(field):
    """The log has the steps: the last record of a partition is not always its latest."""
    found = times(field, 0)
    assert any(later < earlier for earlier, later in zip(found, found[1:])), "the broker's clock never stepped back"


@row("A20", "the broker's clock steps forward and back", setup=with_clock, proof=went_back, soak=False)
def broker_clock(field):
    """Within what an order's patience and a matcher's clock allow: beyond that they time out, and it halts."""
    seconds = field.dice.uniform(-15, 30)
    field.skews["kafka"].set(seconds)
    field.note(f"the broker's clock is off by {seconds:.1f} s")


# ---------------------------------------------------------------------------- its disk


NO_SPACE = "No space left on device"


def on_small_disk(field):
    field.stack.kill("kafka", 15)
    small_disk(field, field.stack.dir / DATA, "700m")
    field.stack.restart("kafka")


@row(
    "A19", "the broker's disk is full", setup=on_small_disk, proof=told("kafka", NO_SPACE),
    soak=False, pause_s=(3, 6),
)
def disk_full(field):
    """It ends when it cannot write, and is started again when there is room."""
    with fill(field.stack.dir / DATA):
        field.breathe_until_said("kafka", NO_SPACE)
    if field.stack.status()["kafka"] == "stopped":
        field.stack.restart("kafka")
    field.note("the broker could not write")
