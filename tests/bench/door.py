"""The door: CPU of a producer for each order that it takes, beside nginx saying 202 to the same requests.

Each order comes with a token of its own, so each has to be verified.  The matcher runs, because reading what became
of the orders is work of the producer too; all of it is counted.
"""

import functools
import os
import secrets
import shutil
import statistics
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from bench.marks import bench
from lib.stack import ROOT
from lib.system import System, token
from lib.wait import wait_until

CONNECTIONS = 256
SECONDS = 4
RATE_MAX = 60000  # of orders in a second
ENOUGH = 10**6  # of every rate and bound


def cpu_s(pid):
    """Of all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Storm:
    """What wrk said: requests answered, answers that were no 2xx, and connections that failed."""

    def __init__(self, url, requests, length, seconds):
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", ROOT / "tests" / "bench" / "orders.lua"]
        done = subprocess.run([*command, url, "--", requests, str(length)], capture_output=True, text=True, check=True)
        self.requests, self.refused, self.broken = map(int, done.stdout.split()[-3:])
        assert self.broken == 0, done.stdout


class Nginx:
    """A door that says 202 to everybody.  A context manager, which ends it."""

    def __init__(self, given, connections=4096):
        own = Path(mkdtemp(prefix="nginx-", dir=given.dir))
        port = given.stack.port(own.name)
        text = (ROOT / "tests" / "bench" / "nginx.conf").read_text()
        for name, value in {"DIR": own, "PORT": port, "CONNECTIONS": connections}.items():
            text = text.replace(f"@{name}@", str(value))
        (own / "conf").write_text(text)
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = subprocess.Popen([nginx, "-p", own, "-c", own / "conf", "-e", own / "error.log"], stdin=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}/v1/orders"

    def __enter__(self):
        wait_until(self.answers, 60, "nginx answers")
        return self

    def answers(self):
        return subprocess.run(["curl", "-fs", "--noproxy", "*", "-o", "/dev/null", self.url]).returncode == 0

    def __exit__(self, *exc):
        self.process.terminate()
        self.process.wait(60)


class Doors:
    """A producer with its matcher, an nginx, and shoppers for both."""

    def __init__(self, given):
        self.given = given
        self.dir = given.dir
        self.seconds = given.many(SECONDS)
        self.system = System(
            given.stack,
            **{f"SECKILL_{name}": ENOUGH for name in ("RATE_GLOBAL", "RATE_ITEM", "RATE_IP", "LAG_MAX")},
            SECKILL_LIMITER="off",  # as many as it can take is what is asked
            SECKILL_HTTP_THREADS=os.environ.get("HTTP_THREADS", "0"),
            **{f"SECKILL_{name}": ENOUGH for name in ("BURST_GLOBAL", "BURST_ITEM", "BURST_IP")},
        )
        self.system.start("producer", "matcher").await_ready()
        given.ends.callback(given.stack.stop_daemons, "producer", "matcher")
        self.item = self.system.open(stock=10**9, limit=1000, hold_ms=86400000, partition=0)
        self.secret = self.system.secret
        self.rates = {True: [], False: []}
        self.nginx = given.ends.enter_context(Nginx(given))

    def write_requests(self, is_keyed):
        """One order of each of many new shoppers; returns the length of each request."""
        run, body = secrets.token_hex(4), f'{{"item_id":"{self.item}","qty":1}}'
        length = 0
        with self.requests.open("w") as out:
            for i in range(RATE_MAX * self.seconds):
                who = f"{run}-{i:07}"
                key = f"Idempotency-Key: {who}\r\n" if is_keyed else ""
                length = out.write(
                    f"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token(self.secret, who)}\r\n"
                    f"Content-Type: application/json\r\n{key}Content-Length: {len(body)}\r\n\r\n{body}"
                )
        return length

    @property
    def requests(self):
        return self.dir / "requests"

    def is_quiet(self):
        return self.system.metric("seckill_producer_lag") == 0

    def orders(self, length):
        """Seconds of CPU, and orders."""
        pid = int(self.system.env["PRODUCER_PID"])
        wait_until(self.is_quiet, 600, "all is decided", 0.1)
        placed, began = self.system.metric("seckill_producer_delivered_total"), cpu_s(pid)
        storm = Storm(self.system.url + "/v1/orders", self.requests, length, self.seconds)
        wait_until(self.is_quiet, 600, "all is decided", 0.1)
        took, placed = cpu_s(pid) - began, self.system.metric("seckill_producer_delivered_total") - placed
        assert storm.refused == 0, f"{storm.refused} of {storm.requests} orders were refused"
        # Those under way when wrk ended have nobody who counts them.
        assert 0 <= placed - storm.requests <= CONNECTIONS, f"{storm.requests} were told 202, {placed} are in the log"
        assert placed < RATE_MAX * self.seconds, "the same tokens came twice"
        return took, storm.requests

    def answers(self, length):
        began = cpu_s(self.nginx.process.pid)
        storm = Storm(self.nginx.url, self.requests, length, self.seconds)
        assert storm.refused == 0
        return cpu_s(self.nginx.process.pid) - began, storm.requests

    def compare(self, is_keyed):
        length = self.write_requests(is_keyed)
        ours, made = self.orders(length)
        theirs, answered = self.answers(length)
        self.rates[is_keyed].append((made / self.seconds, answered / self.seconds))
        rates = [f"{statistics.median(r):,.0f}" for r in zip(*self.rates[is_keyed])]
        self.given.told = [f"{rates[0]} orders/s beside Kafka, matcher and wrk; {rates[1]} answers/s of nginx beside wrk"]
        return ours * 1e6 / made, theirs * 1e6 / answered


@functools.cache
def doors(given):
    return Doors(given)


REFERENCE = "nginx's CPU for the same requests, all answered with one and the same 202"


@bench("producer-cpu", "us/order", REFERENCE, is_cost=True)
def producer_cpu(given):
    """A producer's CPU for an order accepted (202), at saturation, each with a token not seen before."""
    return doors(given).compare(is_keyed=False)


@bench("producer-cpu-keyed", "us/order", REFERENCE, is_cost=True)
def producer_cpu_keyed(given):
    """The same with an Idempotency-Key, so that each user is looked up in Redis first."""
    return doors(given).compare(is_keyed=True)
