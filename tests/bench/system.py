"""A log with all daemons on it, for benches of the whole and of its parts, and what fills it."""

import itertools
import json
import subprocess
import time
from dataclasses import dataclass

import requests

from lib.record import GuardianProcess, Record
from lib.stack import BIN, BUILD
from lib.wait import wait_until

HOLD_MS = 86400000
STOCK = 100000000


@dataclass
class Filling:
    """What fill_bench says."""

    records: int
    seconds: float
    p50_us: int
    p99_us: int


def fill(brokers, topic, partitions, orders, items=None, paid=0, rate=0):
    """Orders by a user each for items things in turn; of paid orders, one is paid (0: none)."""
    words = [brokers, topic, partitions, items or partitions, orders, paid, rate]
    done = subprocess.run([BUILD / "tests" / "fill_bench", *map(str, words)], capture_output=True, text=True, check=True)
    records, seconds, p50, p99 = done.stdout.split()
    return Filling(int(records), float(seconds), int(p50), int(p99))


class ProducerProcess(GuardianProcess):
    program = "seckill-producer"


class Chain(Record):
    """Topics, keys and a database of its own.  A context manager, which ends it."""

    def __init__(self, given, partitions=4):
        super().__init__(given.stack, given.dir, partitions)
        self.names = itertools.count()
        self.door = None
        self.url = f"http://127.0.0.1:{self.stack.port('bench-door')}"
        self.migrate().genesis()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.door:
            self.door.kill()
        super().close()

    def start(self, **settings):
        """All that a sale needs; settings are the door's."""
        self.matcher()
        self.guardian()
        # Nobody comes too often here.
        free = {f"rate_{what}": 0 for what in ("global", "item", "user", "ip")}
        mine = {"listen": self.url.rpartition("/")[2], "listen_shared": "false"}
        environ = self.environ(**(mine | free | settings))
        self.door = ProducerProcess(self.dir / f"producer-{self.name}.log", environ)
        wait_until(self.is_open, 60, "the door is ready")
        return self

    def is_open(self):
        try:
            return requests.get(self.url + "/readyz", timeout=60).status_code == 200
        except requests.ConnectionError:
            return False

    def sell(self, items, prefix="thing"):
        """So many new sales, over the partitions; their names, which fill() knows too."""
        names = [f"{prefix}{i}@{i % self.partitions}" for i in range(items)]
        for p in range(self.partitions):
            self.put(p, *(self.open(name, STOCK, 1, HOLD_MS) for name in names[p :: self.partitions]))
        return names

    def fill(self, orders, items, paid=0):
        return fill(self.brokers, self.orders, self.partitions, orders, items, paid)

    # -- a crowd

    def pids(self):
        named = {"producer": [self.door], "matcher": self.matchers, "guardian": self.guardians}
        return {
            f"{name.upper()}{f'_{i + 1}' if i else ''}_PID": str(p.process.pid)
            for name, processes in named.items() for i, p in enumerate(processes)
        }

    def decided(self):
        return sum(self.position(p) + 1 for p in range(self.partitions))

    def behind(self, cursor):
        """Commands that are decided and not recorded."""
        cursor.execute("SELECT COALESCE(SUM(position + 1), 0) FROM progress")
        recorded = int(cursor.fetchone()[0])
        return max(0, self.decided() - recorded)

    def storm(self, *words, items=None):
        """A crowd of people who want one thing each, from sales of its own, and wait for the decision.  All of them
        must get it, and the record must bear that out.  What stampede reports, and how far behind the record was."""
        names = self.sell(items or self.partitions, f"crowd{next(self.names)}-")
        self.applied()
        before = self.decided()
        report, said = self.dir / "storm.json", self.dir / "storm.log"
        command = [
            BIN / "stampede", f"--url={self.url}", f"--item={','.join(names)}", "--wait=100", "--wait-s=60", "--pay=0",
            "--cancel=0", "--abandon=1", "--double-press=0", "--retry=0", "--come-back=0", "--settle-ms=0",
            "--step=100ms", f"--verify={BIN}/seckill-guardian verify --json --timeout=300s", f"--report={report}", *words,
        ]
        behind = 0
        db = self.connect(self.database)
        with db, db.cursor() as cursor, said.open("w") as out:
            stampede = subprocess.Popen(
                command, env=self.environ() | self.pids(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            try:
                while stampede.poll() is None:
                    behind = max(behind, self.behind(cursor))
                    time.sleep(0.2)
            finally:
                stampede.kill()
        assert stampede.returncode == 0, said.read_text()
        told = json.loads(report.read_text())
        self.check_storm(told, self.decided() - before)
        return told | {"behind": behind}

    @staticmethod
    def check_storm(told, commands):
        """Everybody was served, once, by an order of their own; who was told to come again, came again."""
        assert told["ok"] and told["shoppers"] == told["reserved"] == told["ends"]["abandoned"] <= commands, told["ends"]
        wrong = {what: told[what] for what in ("unknown", "unexpected", "timeouts", "rejected") if told[what]}
        assert not wrong, wrong
