"""The battlefield: servers, two of each daemon behind proxies, a storm of shoppers, the judge."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from chaos.brokers import Brokers
from chaos.disk import release
from chaos.network import WITH_US, Network, swizzle
from lib.stack import BIN, ROOT, Stack, mysql_of
from lib.wait import wait_until
from lib.world import PatientRedis

DAEMONS = ("producer", "producer-2", "matcher", "matcher-2", "guardian", "guardian-2")
SERVERS = {"producer": ("kafka", "redis", "mysql"), "matcher": ("kafka", "redis"), "guardian": ("kafka", "redis", "mysql")}
PARTITIONS = 4
BROKEN_HEAP = (  # what glibc says before it aborts
    "free(): ", "malloc(): ", "realloc(): ", "malloc_consolidate", "corrupted size", "corrupted double", "stack smashing",
    "buffer overflow detected",
)
HALTED = 3  # exit status of a daemon whose partitions are all halted
# The limits at the door are not what is tried here; everything else is as it ships, but faster to see
# that somebody is dead.
SETTINGS = {
    "RATE_GLOBAL": 0,
    "RATE_ITEM": 0,
    "RATE_USER": 0,
    "RATE_IP": 0,
    "SESSION_TIMEOUT": "3s",
    "REDIS_TIMEOUT": "1s",
}
# One door has one thread for everything, the other has threads for HTTP.
OWN_SETTINGS = {"producer-2": {"HTTP_THREADS": 2}}


class Daemon:
    """One process of ours; it comes and goes, its name and port stay."""

    def __init__(self, field, name):
        self.field = field
        self.name = name
        self.kind = name.partition("-")[0]
        self.port = field.stack.port(name)
        self.log = field.stack.dir / "log" / f"{name}.log"
        self.process = None
        self.ends = []  # exit statuses of the processes before this one, -N by signal N

    def environ(self, **settings):
        links = {s: self.field.link(f"{self.name}-{s}").port for s in SERVERS[self.kind]}
        mine = SETTINGS | OWN_SETTINGS.get(self.name, {}) | self.field.settings | {
            "KAFKA_BROKERS": f"127.0.0.1:{links['kafka']}",
            "REDIS_PORT": links["redis"],
            ("LISTEN" if self.kind == "producer" else "METRICS_LISTEN"): f"127.0.0.1:{self.port}",
        }
        if "mysql" in links:
            mine["MYSQL_PORT"] = links["mysql"]
        # A setting that a kind does not have is somebody else's.
        environ = self.field.stack.environ(**{f"SECKILL_{k}": v for k, v in (mine | settings).items()})
        return environ | (self.field.skews[self.name].environ if self.name in self.field.skews else {})

    def start(self, failpoint=None, out=None, **settings):
        """Returns once it is started, not once it is ready.  out: where its log goes instead."""
        assert not self.runs, f"{self.name} runs already"
        if self.process:
            self.ends.append(self.process.returncode)
        environ = self.environ(**settings)
        if failpoint:
            environ["SECKILL_FAILPOINT"] = failpoint
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*WITH_US, BIN / f"seckill-{self.kind}"],
                env=environ, stdin=subprocess.DEVNULL, stdout=out or log, stderr=out or log, start_new_session=True,
            )
        return self

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def ended(self):
        """How it ended each time, also the last."""
        return self.ends + ([] if self.process is None or self.runs else [self.process.returncode])

    def is_ready(self):
        if not self.runs:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=3) as answer:
                return answer.status == 200
        except OSError:
            return False

    def revived(self):
        """Ready, or started again if it found no server and ended: as its supervisor does."""
        if not self.runs:
            self.start()
        return self.is_ready()

    def await_ready(self, seconds=90):
        wait_until(self.revived, seconds, f"{self.name} is ready; see {self.log}", 0.1)
        return self

    def send(self, sig):
        self.process.send_signal(sig)

    def kill(self):
        if self.runs:
            self.send(signal.SIGKILL)
            self.process.wait(30)

    def stop(self, seconds=60):
        """SIGTERM; its exit status."""
        if self.runs:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        return self.process.wait(seconds) if self.process else 0

    def restart(self, **settings):
        self.kill()
        return self.start(**settings).await_ready()

    def metric(self, name):
        """The sum of a metric's samples, 0 when it cannot be asked."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                rows = answer.read().decode().splitlines()
        except OSError:
            return 0
        return sum(float(r.rsplit(" ", 1)[1]) for r in rows if r.split("{")[0].split(" ")[0] == name)

    def said(self, text):
        """How often its log has text."""
        return self.log.read_text(errors="replace").count(text) if self.log.exists() else 0


class Storm:
    """Shoppers at every partition's sale, through both doors; ledgers of what they were told."""

    def __init__(self, field, orders, seconds, seed):
        self.field = field
        self.orders = orders
        self.ledgers, self.processes, self.items = [], [], []
        each = max(1, orders // PARTITIONS)
        tag = f"{os.getpid()}-{next(field.numbers)}"
        for p in range(PARTITIONS):
            item = f"rush-{tag}@{p}"
            field.open(item, max(1, each * 62 // 100))
            ledger = field.dir / f"ledger-{tag}-{p}.jsonl"
            ledger.unlink(missing_ok=True)
            self.items.append(item)
            self.ledgers.append(ledger)
        for p, (item, ledger) in enumerate(zip(self.items, self.ledgers)):
            words = {
                "url": field.door_url(p), "item": item, "ledger": ledger, "shoppers": each, "seed": seed * 10 + p,
                "spread-ms": int(seconds * 1000), "patience-ms": int(seconds * 1000) + 180000,
                "front": 10, "connections": 400, "returns": 1,
            }
            with (field.dir / f"storm-{p}.log").open("wb") as log:
                self.processes.append(subprocess.Popen(
                    [*WITH_US, BIN / "stampede", *(f"--{k}={v}" for k, v in words.items())],
                    env=field.stack.environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                ))
        self.started = time.monotonic()
        self.seconds = seconds

    @property
    def is_arriving(self):
        """Shoppers still come; faults after that would strike those who only wait."""
        return time.monotonic() < self.started + self.seconds and self.runs

    @property
    def runs(self):
        return any(p.poll() is None for p in self.processes)

    def end(self, seconds):
        """Waits for the last shopper to go home."""
        wait_until(lambda: not self.runs, seconds, "the storm ends", 0.1)
        codes = [p.returncode for p in self.processes]
        assert not any(codes), f"stampede: {codes}; see {self.field.dir}/storm-*.log"

    def kill(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
                p.wait()


class Field:
    """A context manager.  Everything lives in one directory."""

    def __init__(self, directory, row=None, seed=1):
        self.dir = Path(directory).resolve()
        self.row = row
        self.settings = dict(row.settings) if row else {}
        self.dice = random.Random(seed)
        self.network = Network()  # of the daemons and their servers
        self.street = Network()  # of shoppers and doors: crowded, and nobody else's bytes wait for it
        self.stack = None
        self.daemons = {}
        self.storm = None
        self.skews = {}  # the clocks of daemons that may be wrong
        self.extras = []  # called at the end, last first
        self.numbers = iter(range(1, 1 << 30))
        self.faults = 0
        self.struck = 0  # of these, as a row counts them that has counted() as its proof
        self.redis_at = None  # (host, port) of the master now
        self.brokers = None  # when a row wants more than one

    # -- coming and going

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    def start(self):
        kafka = [(name, self.network.link(f"{name}-kafka")) for name in DAEMONS]
        given = " ".join(f"{name.upper().replace('-', '_')}={link.port}" for name, link in kafka)
        self.stack = Stack(self.dir / "stack", {"KAFKA_LINKS": given})
        release(self.dir)
        self.stack.remove()
        shutil.rmtree(self.dir, ignore_errors=True)
        self.stack.start()
        env = self.stack.env
        for name, link in kafka:
            link.aim("127.0.0.1", self.stack.port(f"kafka_{name.upper().replace('-', '_')}"))
        for name in DAEMONS:
            self.link(f"{name}-redis").aim(env["REDIS_HOST"], int(env["REDIS_PORT"]))
            self.link(f"{name}-mysql").aim(env["MYSQL_HOST"], int(env["MYSQL_PORT"]))
        self.redis_at = (env["REDIS_HOST"], int(env["REDIS_PORT"]))
        if self.row and self.row.brokers > 1:
            self.brokers = Brokers(self, self.row.brokers)
            self.settings["REPLICAS_MIN"] = self.row.brokers
        self.run("seckillctl", "topics", "create")
        self.run("seckill-guardian", "migrate")
        if self.row and self.row.setup:
            self.row.setup(self)
        for name in DAEMONS:
            self.daemons[name] = Daemon(self, name).start()
            if self.daemons[name].kind == "producer":
                self.link(f"{name}-http").aim("127.0.0.1", self.daemons[name].port)
        self.restart_dead()
        return self

    def close(self):
        if self.storm:
            self.storm.kill()
        for d in self.daemons.values():
            d.kill()
        for end in reversed(self.extras):
            end()
        self.network.close()
        self.street.close()
        if self.stack and os.environ.get("KEEP") != "1":
            self.stack.remove()

    # -- who and where

    def link(self, name):
        """Of a daemon to a server ("matcher-2-redis"), or of shoppers to a door ("producer-http")."""
        return (self.street if name.endswith("-http") else self.network).link(name)

    def links(self, *words):
        """Those whose names have one of words, all of them without any."""
        known = self.network.links | self.street.links
        return [l for n, l in sorted(known.items()) if not words or any(w in n for w in words)]

    def door_url(self, number):
        name = ("producer", "producer-2")[number % 2]
        through = self.row and name in self.row.links
        port = self.link(f"{name}-http").port if through else self.daemons[name].port
        return f"http://127.0.0.1:{port}"

    def any(self, kind):
        return self.daemons[self.dice.choice([n for n in DAEMONS if n.partition("-")[0] == kind])]

    def redis(self, port=None):
        host, own = self.redis_at
        return PatientRedis(host, port or own, decode_responses=True, socket_timeout=30)

    def mysql(self, **options):
        return mysql_of(self.stack.env, **options)

    def environ(self):
        """For programs that look from outside, past the proxies."""
        replicas = self.row.brokers if self.row else 1
        return self.stack.environ(
            REDIS_PORT=self.redis_at[1], SECKILL_MYSQL_TIMEOUT="60s", SECKILL_REPLICAS_MIN=replicas
        )

    def run(self, program, *args, check=True, timeout=120):
        done = subprocess.run(
            [BIN / program, *map(str, args)],
            env=self.environ(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )
        assert not check or done.returncode == 0, f"{program} {args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def open(self, item, stock, hold_ms=4000):
        self.run("seckillctl", "sale", "open", item, f"--stock={stock}", "--limit=1", f"--hold-ms={hold_ms}")

    def metric(self, kind, name):
        return sum(d.metric(name) for d in self.daemons.values() if d.kind == kind)

    def said(self, kind, text):
        """How often the logs of that kind of daemon, or of a server, have text."""
        if kind in ("kafka", "redis", "mysql"):
            return self.stack.log(kind).count(text)
        return sum(d.said(text) for d in self.daemons.values() if d.kind == kind)

    # -- faults that many rows share

    def breathe(self, low, high):
        """A pause, cut short by the end of the storm."""
        until = time.monotonic() + self.dice.uniform(low, high)
        while time.monotonic() < until and self.storm.is_arriving:
            time.sleep(0.05)

    def breathe_until_said(self, kind, text):
        """Until somebody of a kind, or a server, says so once more."""
        before, until = self.said(kind, text), time.monotonic() + 15
        while self.said(kind, text) == before and time.monotonic() < until and self.storm.is_arriving:
            time.sleep(0.2)

    def crash(self, kind, point, most=40):
        """One daemon of a kind dies by itself when it passes a named point for the nth time."""
        daemon = self.any(kind)
        # A small storm may be over before the nth: then whatever passes there first.
        for nth, seconds in ((self.dice.randint(1, max(1, min(most, self.storm.orders // 50))), 30), (1, 10)):
            daemon.kill()
            daemon.start(failpoint=f"{point}:{nth}")
            until = time.monotonic() + seconds
            while daemon.runs and time.monotonic() < until and (self.storm.runs or nth == 1):
                time.sleep(0.02)
            if not daemon.runs:
                self.note(f"{daemon.name} died at {point}")
                break
        daemon.restart()

    def kill(self, *names):
        for name in names:
            self.daemons[name].kill()

    def restart_dead(self, seconds=180):
        wait_until(lambda: all([d.revived() for d in self.daemons.values()]), seconds, "all daemons are ready", 0.2)

    def freeze(self, pid, seconds):
        """SIGSTOP for a while; pid is a daemon or a number."""
        pid = pid if isinstance(pid, int) else pid.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def pid_of(self, part):
        return int(self.stack.env[f"{part.upper()}_PID"])

    def swizzle(self, links, pause_s=1.0):
        self.note("swizzled " + " ".join(swizzle(links, self.dice, pause_s)))

    def note(self, text):
        """A fault struck; the journal says which and when."""
        self.faults += 1
        with (self.dir / "journal.log").open("a") as journal:
            journal.write(f"{time.strftime('%H:%M:%S')} {self.row.id if self.row else '-'} {text}\n")

    # -- a run

    def heal(self):
        """Nobody is frozen or cut off, everybody runs."""
        self.network.heal()
        self.street.heal()
        for daemon in self.daemons.values():
            if daemon.runs:
                daemon.send(signal.SIGCONT)
        for part in ("kafka", "redis", "mysql"):
            if self.stack.status().get(part) == "stopped" and not (part == "redis" and self.own_redis_is_gone()):
                self.stack.restart(part)
        if self.brokers:
            self.brokers.heal()
        self.restart_dead()

    def own_redis_is_gone(self):
        """A failover went to another Redis."""
        return self.redis_at[1] != int(self.stack.env["REDIS_PORT"])

    def complaints(self):
        """Sanitizer reports, failed assertions, crashes, and halts that the row gives no reason for; other error
        lines are what faults are answered with."""
        marks = ("Sanitizer", "runtime error:", "Assertion", "partition.halted", *BROKEN_HEAP)
        known = tuple(f" partition.halted partition={p} reason={r} " for p in range(PARTITIONS) for r in self.row.halts)
        if signal.SIGABRT in self.row.signals:
            known += (" rd.h:",)  # what librdkafka does where no memory is left
        signals = (signal.SIGKILL, signal.SIGTERM, *self.row.signals)  # SIGTERM: before it could listen
        for daemon in self.daemons.values():
            for status in daemon.ended():
                if (status == HALTED and not self.row.halts) or (status < 0 and -status not in signals):
                    yield f"{daemon.name} ended with {status}"
            with daemon.log.open(errors="replace") as lines:
                for line in lines:
                    if any(m in line for m in marks) and not any(k in line for k in known):
                        yield f"{daemon.name}: {line.rstrip()}"

    def judge(self, row, seed, seconds, within=180):
        """The verdict as a row of the report."""
        out = self.dir / "verdict.json"
        out.unlink(missing_ok=True)
        words = {"row": row, "seed": seed, "faults": self.faults, "seconds": seconds, "within": within, "json": out}
        ledgers = self.storm.ledgers if self.storm else []
        if self.storm and self.storm.items:
            words["items"] = ",".join(self.storm.items)
        done = subprocess.run(
            ["/usr/bin/python3", "-m", "chaos.check", *(f"--{k}={v}" for k, v in words.items()), *map(str, ledgers)],
            env=self.environ() | {"PYTHONPATH": str(ROOT / "tests"), "BUILD": str(BIN.parent)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )
        assert out.exists(), done.stdout + done.stderr
        return json.loads(out.read_text())
