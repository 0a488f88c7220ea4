"""A log, a Redis and matchers of a test's own: commands in, outcomes out, nothing else."""

import json
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

import redis
import requests
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import ConfigResource

from lib import kafka
from lib.stack import BIN
from lib.wait import wait_until


class PatientRedis(redis.Redis):
    """Asks again while Redis takes a script in which it was stopped for one that hangs."""

    def execute_command(self, *args, **options):
        deadline = time.monotonic() + 60
        while True:
            try:
                return super().execute_command(*args, **options)
            except redis.exceptions.ResponseError as e:
                if not str(e).startswith("BUSY ") or time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)


class RedisServer:
    """A redis-server that a test may kill, empty and damage."""

    def __init__(self, directory, port, *options):
        self.dir = Path(directory)
        self.port = port
        self.options = options
        self.process = None
        self.dir.mkdir(parents=True, exist_ok=True)

    def start(self):
        self.launch()
        wait_until(self.answers, 60, "redis-server answers")
        return self

    def launch(self):
        """Starts it and does not wait until it has loaded its data."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.dir)]
            + ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--logfile", "redis.log"]
            + ["--maxmemory-policy", "noeviction", "--enable-debug-command", "local", *self.options],
            stdin=subprocess.DEVNULL,
        )

    def answers(self):
        try:
            return self.client.ping()
        except redis.exceptions.RedisError:
            return False

    @property
    def client(self):
        return PatientRedis("127.0.0.1", self.port, decode_responses=True, socket_timeout=60)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


def bad_lines(log, expected):
    """What a log has at error level, but for the expected events, and what sanitizers said."""
    for line in log.read_text(errors="replace").splitlines():
        parts = line.split()
        is_error = len(parts) > 3 and parts[1] == "error" and parts[3] not in expected
        if is_error or re.search("Sanitizer|runtime error:|Assertion", line):
            yield line


class MatcherProcess:
    """One seckill-matcher; what it says goes to a file, or to out."""

    def __init__(self, log, environ, *flags, out=None):
        self.log = Path(log)
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [BIN / "seckill-matcher", *flags], env=environ, stdin=subprocess.DEVNULL, stderr=out or file
            )

    def lines(self, event):
        return [line for line in self.log.read_text().splitlines() if f" {event}" in line]

    def ready(self, timeout=60):
        """It has been; by now it may have ended, if there was reason to."""
        wait_until(
            lambda: self.process.poll() is not None or self.lines("program.ready"),
            timeout,
            f"matcher ready; {self.log}",
        )
        assert self.lines("program.ready"), self.log.read_text()
        return self

    def send(self, sig):
        self.process.send_signal(sig)

    def wait(self, timeout=90):
        return self.process.wait(timeout)

    def stop(self):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def ask(self, path):
        """What it answers at its metrics-listen, whatever the status."""
        port = self.lines("admin.listening")[-1].split("port=")[1].split()[0]
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=60)

    def metrics(self):
        """{name{labels}: value} as told at /metrics."""
        answer = self.ask("/metrics")
        answer.raise_for_status()
        rows = answer.text.splitlines()
        return {r.rsplit(" ", 1)[0]: float(r.rsplit(" ", 1)[1]) for r in rows if not r.startswith("#")}


class World:
    """Topics of its own on the shared broker, a key prefix and, if wanted, a Redis of its own."""

    def __init__(self, stack, directory, partitions=2, own_redis=None, **orders_config):
        """orders_config: of the topic of the commands, with _ for a dot."""
        self.stack = stack
        self.dir = Path(directory)
        self.name = "m" + uuid.uuid4().hex[:10]
        self.partitions = partitions
        self.orders, self.outcomes, self.dead = (f"{self.name}.{t}" for t in ("orders", "outcomes", "dead"))
        self.own_redis = own_redis
        self.matchers = []
        self.brokers = stack.env["KAFKA_BROKERS"]
        self.log_ids = [uuid.uuid4().hex for _ in range(partitions)]
        self.producer = self.make_producer()
        self._make_topics(orders_config)

    # -- the log

    def make_producer(self, **settings):
        return Producer(
            {"bootstrap.servers": self.brokers, "enable.idempotence": True, "linger.ms": 2} | settings
        )

    def _make_topics(self, orders_config):
        made = {self.orders: orders_config, self.outcomes: {}, self.dead: {}}
        kafka.make_topics(self.brokers, [kafka.new_topic(t, self.partitions, **c) for t, c in made.items()])

    def make_orders_again(self, **config):
        """The topic deleted and made anew: another log under the same name."""
        kafka.delete_topic(self.brokers, self.orders)
        kafka.make_topics(self.brokers, [kafka.new_topic(self.orders, self.partitions, **config)])
        self.producer = self.make_producer()  # the old one counts on what is gone

    def configure(self, topic, name, value):
        """The broker goes by it soon after."""
        # It sets all that a topic has, so what it was made with is said again.
        config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1", name: str(value)}
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config=config)
        kafka.configure(self.brokers, resource)

    def delete_topic(self, topic):
        kafka.delete_topic(self.brokers, topic)

    def put(self, partition, *commands, key=None, wait=True):
        """Appends commands (dicts, or bytes or None as they are); returns their offsets if waited for."""
        offsets, failures = [], []

        def told(error, message):
            (failures.append(error) if error else offsets.append(message.offset()))

        for c in commands:
            value = json.dumps(c, separators=(",", ":")).encode() if isinstance(c, dict) else c
            if key is None and isinstance(c, dict):
                k = c.get("item_id") or c.get("order_id")
            else:
                k = key
            self.producer.produce(self.orders, value, k, partition, on_delivery=told)
            self.producer.poll(0)
        if wait:
            assert self.producer.flush(60) == 0 and not failures, failures
        return offsets

    def genesis(self, *partitions):
        for p in partitions or range(self.partitions):
            self.put(
                p, {"type": "genesis", "log_id": self.log_ids[p], "partitions": self.partitions, "rules": 1}
            )
        return self

    def order(self, partition, item, user, qty=1, order_id=None, patience_ms=600000):
        return {
            "type": "order",
            "order_id": order_id or order_id_of(partition),
            "item_id": item,
            "user_id": user,
            "qty": qty,
            "not_after": int(time.time() * 1000) + patience_ms,
        }

    def open(self, item, total, limit=1, hold_ms=600000):
        return {
            "type": "sale",
            "op_id": uuid.uuid4().hex,
            "item_id": item,
            "action": "open",
            "total": total,
            "limit": limit,
            "hold_ms": hold_ms,
        }

    def records(self, topic, partition, end=None):
        """All records of a partition up to its end as of now: (key, value, headers)."""
        high = kafka.watermarks(self.brokers, topic, partition)[1] if end is None else end
        consumer = kafka.reader(self.brokers)
        try:
            consumer.assign([TopicPartition(topic, partition, 0)])
            out = []
            deadline = time.monotonic() + 60
            while len(out) < high:
                assert time.monotonic() < deadline, f"{topic}: {len(out)} of {high} records read"
                for m in consumer.consume(1000, 0.2):
                    if m.error():
                        assert m.error().code() in kafka.PASSING, m.error()
                        continue
                    out.append((m.key(), m.value(), dict(m.headers() or [])))
            return out
        finally:
            consumer.close()

    def log_end(self, partition, topic=None):
        return kafka.watermarks(self.brokers, topic or self.orders, partition)[1]

    # -- what came of it

    def story(self, partition, upto=None):
        """The outcomes by offset, once they are there up to the log's end as it is now, or up to an offset."""
        upto = self.log_end(partition) - 1 if upto is None else upto
        (story,) = wait_until(
            lambda: [told] if len(told := self._told(partition)) > upto else [],
            60,
            f"outcomes of {partition} up to {upto}",
            0.1,
        )
        return story

    def _told(self, partition):
        """The outcomes as they are; fails unless they are whole, in a chain, and every copy is the same."""
        by_offset, position, known = {}, -1, 0
        for _, value, _ in self.records(self.outcomes, partition):
            o = json.loads(value)
            if o["offset"] in by_offset:
                first = by_offset[o["offset"]]
                same = first == value or any(e["type"] == "mark" for e in o["events"])
                assert same, f"two outcomes of offset {o['offset']}: {first} and {value}"
            by_offset.setdefault(o["offset"], value)
            # As a reader would: apply only what follows.
            if o["prev"] == position:
                position, known = o["offset"], known + 1
                assert o["genesis"] == self.log_ids[partition] and o["partition"] == partition
        assert sorted(by_offset) == list(range(position + 1)) and known == position + 1
        return [json.loads(by_offset[i]) for i in range(position + 1)]

    def events(self, partition, kind=None):
        return [
            e for o in self.story(partition) for e in o["events"] if kind is None or e["type"] == kind
        ]

    # -- Redis and matchers

    @property
    def redis(self):
        if self.own_redis:
            return self.own_redis.client
        env = self.stack.env
        return PatientRedis(env["REDIS_HOST"], int(env["REDIS_PORT"]), decode_responses=True)

    def key(self, partition, name):
        return f"{self.name}:{{{partition}}}:{name}"

    def position(self, partition):
        return int(self.redis.hget(self.key(partition, "log"), "watermark") or -1)

    def item(self, partition, item):
        raw = self.redis.hget(self.key(partition, "items"), item)
        names = ("total", "available", "held", "sold")
        return dict(zip(names, map(int, raw.split()[:4]))) if raw else None

    @property
    def settings(self):
        """What a daemon is told to be one of this world's."""
        return {
            "SECKILL_KAFKA_BROKERS": self.brokers,
            "SECKILL_TOPIC_ORDERS": self.orders,
            "SECKILL_TOPIC_OUTCOMES": self.outcomes,
            "SECKILL_TOPIC_DEAD": self.dead,
            "SECKILL_PARTITIONS": self.partitions,
            "SECKILL_KEY_PREFIX": self.name,
            **({"SECKILL_REDIS_PORT": self.own_redis.port} if self.own_redis else {}),
        }

    def matcher(self, *flags, environ=None, out=None, **settings):
        # A Redis that stands still for some seconds is not lost, unless the test says so.
        settings.setdefault("redis_timeout", "30s")
        environ = (environ or {}) | self.stack.environ(
            **self.settings,
            SECKILL_GROUP_ID=self.name,
            **{f"SECKILL_{k.upper()}": v for k, v in settings.items()},
        )
        m = MatcherProcess(self.dir / f"matcher-{len(self.matchers)}.log", environ, *flags, out=out)
        self.matchers.append(m)
        return m

    def applied(self, timeout=180):
        """Waits until all that was put is in the log, and each partition applied and told to its end."""
        assert self.producer.flush(60) == 0
        for p in range(self.partitions):
            end = self.log_end(p) - 1
            wait_until(lambda p=p, end=end: self.position(p) >= end, timeout, f"partition {p} at {end}")
            wait_until(lambda p=p, end=end: self.log_end(p, self.outcomes) > end, timeout, f"outcomes of {p}", 0.1)
            self.story(p, end)

    def check(self):
        """Conservation and, from the outcomes alone, the same numbers again."""
        for p in range(self.partitions):
            story = self.story(p, self.position(p))  # a tick behind it may still be under way
            for item, raw in self.redis.hgetall(self.key(p, "items")).items():
                total, available, held, sold = map(int, raw.split()[:4])
                assert total == available + held + sold and min(available, held, sold) >= 0, raw
                holds, bought = {}, 0
                for e in (e for o in story for e in o["events"] if e.get("item_id") == item):
                    if e["type"] == "reserved":
                        holds[e["order_id"]] = e["qty"]
                    elif e["type"] in ("cancelled", "expired"):
                        del holds[e["order_id"]]
                    elif e["type"] == "paid":
                        holds.pop(e["order_id"], None)
                        bought += e["qty"]
                if self.position(p) == story[-1]["offset"]:
                    assert (held, sold) == (sum(holds.values()), bought), item

    def complaints(self, *expected):
        """Log lines at error level, but those of expected events, and what sanitizers said."""
        return [line for m in self.matchers for line in bad_lines(m.log, expected)]

    def close(self):
        for m in self.matchers:
            m.kill()
        if self.own_redis:
            self.own_redis.stop()


def order_id_of(partition, keyed=False):
    """A fresh order id that names the partition."""
    n = uuid.uuid4().int
    n = n & ~(0xFFFF << 64) | ((8 if keyed else 7) << 12 | partition) << 64
    return str(uuid.UUID(int=n))
