"""A World with a database of its own and guardians that fill it."""

import json
import random
import subprocess


from lib import kafka
from lib.stack import BIN, mysql_of
from lib.wait import wait_until
from lib.world import MatcherProcess, World, bad_lines, order_id_of


class GuardianProcess(MatcherProcess):
    """One seckill-guardian; what it says goes to a file."""

    program = "seckill-guardian"

    def __init__(self, log, environ, *flags):  # pylint: disable=super-init-not-called
        self.log = log
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [BIN / self.program, *flags], env=environ, stdin=subprocess.DEVNULL, stderr=out
            )

    def metric(self, name):
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name)


class Record(World):
    """told: a topic that guardians read in the place of the outcomes; the test fills it."""

    SHORT_HOLD_MS = 700

    def __init__(self, stack, directory, partitions=2, own_redis=None, **orders_config):
        super().__init__(stack, directory, partitions, own_redis, **orders_config)
        self.database = f"seckill_{self.name}"
        self.guardians = []
        self.told = f"{self.name}.told"
        self.admin = self.connect(None)
        self.execute(f"CREATE DATABASE {self.database}")

    # -- MySQL

    def connect(self, database):
        return mysql_of(self.stack.env, database=database)

    def execute(self, sql, *args):
        self.admin.ping(reconnect=True)
        with self.admin.cursor() as cursor:
            cursor.execute(sql, args)

    def rows(self, sql, *args):
        db = self.connect(self.database)
        try:
            with db.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall()
        finally:
            db.close()

    def edit(self, sql, *args):
        """A change by hand; it must change something."""
        db = self.connect(self.database)
        try:
            with db.cursor() as cursor:
                assert cursor.execute(sql, args) > 0, sql
        finally:
            db.close()

    def recorded(self, partition):
        found = self.rows("SELECT position FROM progress WHERE partition_id = %s", partition)
        return found[0][0] if found else -1

    # -- the guardian

    def environ(self, **settings):
        mine = {
            "kafka_brokers": self.brokers,
            "topic_orders": self.orders,
            "topic_outcomes": self.outcomes,
            "topic_dead": self.dead,
            "partitions": self.partitions,
            "key_prefix": self.name,
            "mysql_database": self.database,
            "redis_timeout": "30s",
        }
        if self.own_redis:
            mine["redis_port"] = self.own_redis.port
        return self.stack.environ(**{f"SECKILL_{k.upper()}": v for k, v in (mine | settings).items()})

    def guardian(self, *flags, **settings):
        """In a group of its own, so that nobody waits for the session of one that was killed."""
        settings.setdefault("group_id", f"{self.name}-{len(self.guardians)}")
        log = self.dir / f"guardian-{len(self.guardians)}.log"
        g = GuardianProcess(log, self.environ(**settings), *flags)
        self.guardians.append(g)
        return g

    def command(self, *words, timeout=300, **settings):
        return subprocess.run(
            [BIN / "seckill-guardian", *words],
            env=self.environ(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def migrate(self):
        done = self.command("migrate")
        assert done.returncode == 0, done.stderr
        return self

    def caught_up(self, timeout=180):
        """Waits until MySQL has all of the log as it is now."""
        for p in range(self.partitions):
            end = self.log_end(p) - 1
            wait_until(lambda p=p, end=end: self.recorded(p) >= end, timeout, f"mysql: {p} at {end}", 0.1)

    def verify(self, code=0, *flags, timeout="120s"):
        done = self.command("verify", "--json", f"--timeout={timeout}", *flags)
        assert done.returncode == code, done.stdout + done.stderr
        report = json.loads(done.stdout)
        assert report["ok"] == (code == 0)
        return report

    def reconcile(self, code=0, *flags, timeout="120s"):
        done = self.command("reconcile", "--json", f"--timeout={timeout}", *flags)
        assert done.returncode == code, done.stdout + done.stderr
        report = json.loads(done.stdout)
        assert report["ok"] == (code == 0)
        return report

    def complaints(self, *expected):
        found = super().complaints(*expected)
        return found + [line for g in self.guardians for line in bad_lines(g.log, expected)]

    def close(self):
        for g in self.guardians:
            g.kill()
        super().close()
        self.execute(f"DROP DATABASE IF EXISTS {self.database}")
        self.admin.close()

    # -- something to record

    def lapse(self):
        """Waits until what busy() holds for a moment only has expired: nothing moves by itself any more."""
        short = [self.key(p, f"due:{self.SHORT_HOLD_MS}") for p in range(self.partitions)]
        wait_until(lambda: not any(map(self.redis.llen, short)), 60, "the short holds expire")
        self.applied()

    def busy(self, count, seed=1, hold_ms=SHORT_HOLD_MS):
        """Appends count commands of all kinds, many of which contradict each other.  Holds last
        hold_ms or longer than any test."""
        dice, known = random.Random(seed), []
        names = [(f"thing{i}-{seed}@{i % self.partitions}", i % self.partitions) for i in range(4)]
        for name, p in names:
            self.put(p, self.open(name, 200, 3, dice.choice([hold_ms, 600000])), wait=False)
        for i in range(count):
            self._busy_step(dice, names, known, f"{seed}-{i}")
        assert self.producer.flush(60) == 0

    def _busy_step(self, dice, names, known, tag):
        name, p = dice.choice(names)
        kind = dice.random()
        if kind < 0.5 or not known:
            user = f"user'{dice.randrange(40)}" if dice.random() < 0.5 else f"user{dice.randrange(5000)}"
            o = order_id_of(p, dice.random() < 0.5)
            known.append((o, user, p, name))
            self.put(p, self.order(p, name, user, dice.randint(1, 2), o), wait=False)
            return
        o, user, p, name = dice.choice(known[-200:])
        if kind < 0.55:
            self.put(p, self.order(p, name, user, 1, o), wait=False)
        elif kind < 0.7:
            pay = {"type": "pay", "order_id": o, "payment_id": f"pay-{tag}", "user_id": user}
            self.put(p, pay, *([pay] if dice.random() < 0.1 else []), wait=False)
        elif kind < 0.73:
            self.put(p, {"type": "pay", "order_id": o, "payment_id": f"pay-{tag}"}, wait=False)
        elif kind < 0.9:
            self.put(p, {"type": "cancel", "order_id": o, "user_id": user}, wait=False)
        elif kind < 0.93:
            restock = {"type": "restock", "op_id": f"op-{tag}", "item_id": name, "qty": dice.randint(1, 9)}
            self.put(p, restock, *([restock] if dice.random() < 0.2 else []), wait=False)
        elif kind < 0.97:
            action = dice.choice(["pause", "resume", "resume"])
            sale = {"type": "sale", "op_id": f"op-{tag}", "item_id": name, "action": action}
            self.put(p, sale, wait=False)
        else:
            self.put(p, dice.choice([b"garbage", b"{}", {"type": "tick"}]), wait=False)

    def fill(self, partition, values):
        """Appends records to the topic that guardians read with topic_outcomes=self.told."""
        for value in values:
            self.producer.produce(self.told, value, None, partition)
            self.producer.poll(0)
        assert self.producer.flush(60) == 0

    def make_told(self):
        kafka.make_topics(self.brokers, [kafka.new_topic(self.told, self.partitions)])

    def outcome_values(self, partition):
        """The outcomes in order, each once, as bytes."""
        by_offset = {}
        for _, value, _ in self.records(self.outcomes, partition):
            by_offset.setdefault(json.loads(value)["offset"], value)
        return [by_offset[offset] for offset in sorted(by_offset)]


def clean(w, *expected):
    """The log is whole and applied, everything agrees, all end well, nobody complained."""
    w.applied()
    w.caught_up()
    return agree(w, *expected)


def agree(w, *expected):
    """Everything agrees, all end well, nobody complained of anything but what was expected."""
    report = w.verify()
    assert report["redis"] == report["mysql"] == report["log"]
    for g in w.guardians:
        if g.process.poll() is None:
            assert g.stop() == 0, g.log.read_text()[-3000:]
    assert w.complaints(*expected) == []
    return report
