"""The whole system on a stack: daemons, shoppers over HTTP, the log itself, and the proof."""

import base64
import copy
import hashlib
import hmac
import itertools
import json
import os
import re
import secrets
import subprocess
import time
import uuid

import confluent_kafka
import requests

from lib.kafka import reader
from lib.stack import BIN, mysql_of
from lib.wait import wait_until
from lib.world import PatientRedis

NAMES = itertools.count(1)


def token(secret, user, **claims):
    """A bearer token; claims replace or add to sub and exp, None removes."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    body = {"sub": user, "exp": int(time.time()) + 3600} | claims
    body = {name: value for name, value in body.items() if value is not None}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(body).encode())
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(mac)).decode()


def order_id(partition):
    """An unkeyed order id (UUIDv7) of a partition."""
    ms = int(time.time() * 1000)
    number = ms << 80 | 7 << 76 | partition << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=number))


def keyed_order_id(partition, user, item, key):
    """The order id (UUIDv8) that user, item and key always have."""
    number = int.from_bytes(hashlib.sha256(f"{user}\0{item}\0{key}".encode()).digest()[:16], "big")
    number &= ~(0xF << 76 | 0xFFF << 64 | 0b11 << 62)
    return str(uuid.UUID(int=number | 8 << 76 | partition << 64 | 0b10 << 62))


# What a door says whose Redis or Kafka stood still for some seconds, of what it has not placed.
PASSING = {"not_ready", "recovering", "slow"}


def is_passing(answer):
    return answer.status_code == 503 and answer.json().get("reason") in PASSING


class Shopper:
    """One user at the door, who comes again while it is not ready.  A call that is not patient is one request."""

    def __init__(self, system, user):
        self.system = system
        self.user = user
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token(system.secret, user)}"

    def call(self, method, path, wait=None, headers=None, patient=True, **more):
        headers = dict(headers or {})
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        until = time.monotonic() + 60
        while True:
            answer = self.session.request(method, self.system.url + path, headers=headers, timeout=60, **more)
            if not patient or not is_passing(answer) or time.monotonic() >= until:
                return answer
            time.sleep(0.2)

    def order(self, item, qty=1, key=None, wait=30, patient=True):
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.call("POST", "/v1/orders", wait, headers, patient, json={"item_id": item, "qty": qty})

    def reserve(self, item, **more):
        """An order that must become a reservation; its id."""
        answer = self.order(item, **more)
        assert answer.status_code == 201, answer.text
        assert answer.json()["state"] == "reserved"
        return answer.json()["order_id"]

    def get(self, order, wait=None, patient=True):
        return self.call("GET", f"/v1/orders/{order}", wait, patient=patient)

    def state(self, order):
        return self.get(order).json().get("state")

    def pay(self, order, payment, wait=30):
        return self.call("POST", f"/v1/orders/{order}/payment", wait, json={"payment_id": payment})

    def cancel(self, order, wait=30):
        return self.call("DELETE", f"/v1/orders/{order}", wait)


class System:
    """Daemons on a Stack.  settings are environment variables for all of them."""

    def __init__(self, stack, **settings):
        self.stack = stack
        self.settings = settings
        self.own_url = None
        self.producer = None
        self.expected = []  # patterns of error lines that the running test provokes
        self.marks = {}

    def start(self, *names):
        self.stack.start_daemons(*names, **self.settings)
        return self

    def is_ready(self):
        """The door sells: Kafka, Redis and the outcomes are there."""
        return requests.get(self.url + "/readyz", timeout=60).status_code == 200

    def await_ready(self):
        wait_until(self.is_ready, 60, "the door is ready")

    # ------------------------------------------------------------------ who and where

    @property
    def env(self):
        return self.stack.env

    @property
    def url(self):
        return self.own_url or self.env["SECKILL_URL"]

    def at(self, url, **settings):
        """The same system, asked at another door; doors that are started from there on have its settings."""
        other = copy.copy(self)
        other.own_url = url
        other.settings = self.settings | settings
        return other

    @property
    def secret(self):
        return self.env["SECKILL_TOKEN_SECRET"]

    @property
    def partitions(self):
        return int(self.env["SECKILL_PARTITIONS"])

    def redis(self):
        return PatientRedis(self.env["REDIS_HOST"], int(self.env["REDIS_PORT"]), decode_responses=True)

    def mysql(self):
        return mysql_of(self.env)

    def rows(self, sql, *args):
        with self.mysql() as db, db.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall()

    def run(self, program, *args, check=True, timeout=300):
        patience = {"SECKILL_TIMEOUT": "2m", "SECKILL_REDIS_TIMEOUT": "30s"}
        done = subprocess.run(
            [BIN / program, *map(str, args)],
            env=self.stack.environ(**self.settings, **patience),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{program} {args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ctl(self, *args, **more):
        return self.run("seckillctl", *args, **more)

    # ------------------------------------------------------------------ sales and shoppers

    def open(self, stock, limit=1, hold_ms=60000, partition=None, **options):
        """A new sale; its item_id, which names its partition."""
        number = next(NAMES)
        where = number % self.partitions if partition is None else partition
        item = f"thing-{os.getpid()}-{number}@{where}"
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self.ctl("sale", "open", item, f"--stock={stock}", f"--limit={limit}", f"--hold-ms={hold_ms}", *flags)
        return item

    def item(self, item):
        return json.loads(self.ctl("sale", "show", item, "--json").stdout)

    def counts(self, item):
        shown = self.item(item)
        return shown["total"], shown["available"], shown["held"], shown["sold"]

    def shopper(self, user=None):
        return Shopper(self, user or f"user-{next(NAMES)}")

    # ------------------------------------------------------------------ the log

    @staticmethod
    def partition_of(item):
        return int(item.rpartition("@")[2])

    def append(self, partition, record, key=None):
        """A raw record into the orders topic; its offset."""
        if self.producer is None:
            self.producer = confluent_kafka.Producer(
                {"bootstrap.servers": self.env["KAFKA_BROKERS"], "linger.ms": 0, "acks": "all"}
            )
        landed = []
        value = record if isinstance(record, bytes | type(None)) else json.dumps(record, separators=(",", ":")).encode()
        self.producer.produce(
            "seckill.orders",
            value,
            key,
            partition,
            on_delivery=lambda error, message: landed.append((error, message.offset())),
        )
        self.producer.flush(60)
        assert landed and landed[0][0] is None, f"the record did not land: {landed}"
        return landed[0][1]

    def read(self, topic, partition):
        """All of a partition as (offset, value) at this moment."""
        consumer = reader(self.env["KAFKA_BROKERS"], **{"enable.partition.eof": True})
        where = confluent_kafka.TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING)
        consumer.assign([where])
        records = []
        deadline = time.monotonic() + 60
        while True:
            message = consumer.poll(1)
            assert time.monotonic() < deadline, f"{topic} [{partition}] cannot be read to its end"
            if message is None:
                continue
            if message.error():
                if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    break
                continue
            records.append((message.offset(), message.value()))
        consumer.close()
        return records

    def outcomes(self, partition):
        """Outcome by command offset; every copy of one must have the same bytes."""
        found = {}
        for _, value in self.read("seckill.outcomes", partition):
            outcome = json.loads(value)
            is_mark = any(event["type"] == "mark" for event in outcome["events"])
            first = found.setdefault(outcome["offset"], value)
            assert first == value or is_mark, f"two outcomes of one command: {first}, {value}"
        return {offset: json.loads(value) for offset, value in found.items()}

    def outcome(self, partition, offset, timeout=60):
        return wait_until(
            lambda: self.outcomes(partition).get(offset), timeout, f"outcome of {partition}:{offset}", interval=0.1
        )

    def own_events(self, partition, offset):
        """What a command did itself: before it, holds of any sale in its partition may have expired."""
        return [event for event in self.outcome(partition, offset)["events"] if event["type"] != "expired"]

    def events_of(self, item, order):
        """(type, event) of everything the log says about an order."""
        outcomes = self.outcomes(self.partition_of(item))
        return [
            event
            for offset in sorted(outcomes)
            for event in outcomes[offset]["events"]
            if event.get("order_id") == order
        ]

    # ------------------------------------------------------------------ the proof

    def verify(self):
        """Log, Redis and MySQL say the same; what `verify --json` says."""
        done = self.run("seckill-guardian", "verify", "--json", check=False)
        assert done.returncode == 0, f"verify: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        proof = json.loads(done.stdout)
        for source in ("redis", "mysql", "log"):
            counts = proof[source]
            assert counts["total"] == counts["available"] + counts["held"] + counts["sold"], source
        return proof

    def mark_logs(self):
        self.expected = []
        self.marks = {path: path.stat().st_size for path in (self.stack.dir / "log").glob("*.log")}

    def errors(self):
        """Error lines of the daemons since mark_logs(), and sanitizer reports, that nobody expected."""
        found = []
        for path in (self.stack.dir / "log").glob("*.log"):
            if not path.name.startswith(("producer", "matcher", "guardian")):
                continue
            with path.open(errors="replace") as log:
                log.seek(self.marks.get(path, 0))
                for line in log:
                    bad = re.search(r"^\S+ error |Sanitizer|runtime error|Assertion", line)
                    if bad and not any(re.search(pattern, line) for pattern in self.expected):
                        found.append(f"{path.name}: {line.rstrip()}")
        return found

    def metric(self, name, text=None):
        """The sum of a metric's samples at the producer."""
        text = text or requests.get(self.url + "/metrics", timeout=60).text
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))
