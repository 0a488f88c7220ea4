"""A sale under a storm while parts of the system die.  stampede compares every answer that a shopper
got with the record, and log, Redis and MySQL with each other: its exit status is the verdict.
More faults: test_chaos.py."""

import json
import os
import re
import shlex
import signal
import subprocess

import pytest
from lib.stack import BIN, BUILD
from lib.wait import wait_until

STOCK = 400


class Storm:
    """A crowd at the door, in a process of its own."""

    def __init__(self, system, name, shoppers=3000, spread_ms=5000):
        self.system = system
        self.item = system.open(stock=STOCK, limit=1, hold_ms=1500)
        self.report = BUILD / f"storm-{name}.json"
        self.report.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                BIN / "stampede",
                f"--item={self.item}",
                f"--shoppers={shoppers}",
                "--connections=300",
                f"--spread-ms={spread_ms}",
                "--patience-ms=90000",
                "--returns=1",
                "--settle-ms=2500",
                f"--verify={shlex.quote(str(BIN))}/seckill-guardian verify --json --timeout=2m --redis-timeout=30s",
                f"--report={self.report}",
            ],
            env=system.stack.environ(**system.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def in_the_middle(self):
        """Returns when some units are sold and the storm goes on."""
        wait_until(lambda: self.taken() >= STOCK // 8, 60, "the sale is in full swing", interval=0.1)
        assert self.process.poll() is None, self.process.communicate()[0]
        return self

    def taken(self):
        try:
            counts = self.system.item(self.item)
        except AssertionError:  # Redis is away
            return -1
        return counts["held"] + counts["sold"]

    def end(self):
        """The report, after the verdict."""
        said, _ = self.process.communicate(timeout=480)
        assert self.process.returncode == 0, said
        report = json.loads(self.report.read_text())
        assert report["ok"] and report["oversold"] == 0 and report["inconsistent_answers"] == 0
        assert report["reserved"] >= STOCK
        return report


def reconcile(system):
    """Redis and MySQL are compared at one position of the log, under traffic: exit 0."""
    done = system.run("seckill-guardian", "reconcile", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def second_matcher(system):
    """Beside the first, and at work before any storm."""
    system.start("matcher-2")
    wait_until(lambda: len(set(owners(system).values())) == 2, 60, "both own some of the partitions")
    yield
    system.stack.stop_daemons("matcher-2")


@pytest.fixture
def storm(system, request):
    made = Storm(system, request.node.name.replace("/", "_"))
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_two_matchers_one_stopped_past_its_session(system, second_matcher, storm):
    storm.in_the_middle()
    owner = owners(system)[system.partition_of(storm.item)]
    pid = int(system.env[f"{owner.upper().replace('-', '_')}_PID"])
    os.kill(pid, signal.SIGSTOP)
    try:
        report = storm.end()  # the session ends after 10 s, the other one takes over
    finally:
        os.kill(pid, signal.SIGCONT)
    assert report["paid"] > 0
    item = system.open(stock=1)
    system.shopper().reserve(item)


def owners(system):
    """{partition: name of the matcher that owns it}, once each has one that names it as its own, and nobody else."""
    found = {}
    for name in ("matcher", "matcher-2"):
        lines = system.stack.log(name).rpartition("conf.set")[2]  # since it was started
        assigned = re.findall(r"group\.assigned partitions=(\S*)", lines)
        for partition in assigned[-1].strip('"').split(",") if assigned and assigned[-1].strip('"') else []:
            if int(partition) in found:
                return {}
            found[int(partition)] = name
    return found if len(found) == system.partitions else {}


def test_kafka_killed_and_back(system, storm):
    storm.in_the_middle()
    system.stack.kill("kafka")
    system.stack.restart("kafka")
    storm.end()


def test_mysql_killed_and_back(system, storm):
    storm.in_the_middle()
    system.stack.kill("mysql")
    system.stack.restart("mysql")
    storm.end()


def test_reconcile_is_clean_in_mid_sale(system, storm):
    storm.in_the_middle()
    reconcile(system)
    storm.end()
