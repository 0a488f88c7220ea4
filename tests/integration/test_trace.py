"""The probes, and what tools/trace shows of running daemons from outside."""

import re
import subprocess
import threading
import warnings

import pytest

from lib.stack import BIN, ROOT
from lib.wait import wait_until

TRACE = ROOT / "tools" / "trace"
DAEMONS = ("producer", "matcher", "guardian")


def probes_of(daemon):
    notes = subprocess.run(
        ["readelf", "-n", BIN / f"seckill-{daemon}"], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"Provider: seckill\s+Name: (\w+)", notes))


@pytest.mark.parametrize("daemon", DAEMONS)
def test_scripts_and_programs_name_the_same_probes(daemon):
    script = (TRACE / f"{daemon}.bt").read_text()
    assert set(re.findall(r"usdt:\*:seckill:(\w+)", script)) == probes_of(daemon) != set()


def test_the_observer_knows_its_probes():
    script = (TRACE / "observe.bt").read_text()
    assert set(re.findall(r"usdt:\*:seckill:(\w+)", script)) == {"script_sent", "script_answered"} <= probes_of("matcher")


class Tracer:
    """A script at work on a daemon; what it printed until now is in text."""

    def __init__(self, daemon, pid):
        self.text = ""
        self.process = subprocess.Popen(
            ["bpftrace", "-B", "none", "-p", pid, TRACE / f"{daemon}.bt"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.text += line

    def has(self, *names):
        assert self.process.poll() is None, self.text
        return all(re.search(rf"^@{name}:\s*\n\[", self.text, re.MULTILINE) for name in names)

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.reader.join()


def test_histograms_of_a_running_sale(system):
    """Where the kernel lets us look; where it does not, it says so."""
    allowed = subprocess.run(
        ["bpftrace", "-e", "BEGIN { exit(); }"], capture_output=True, text=True, check=False
    )
    if allowed.returncode != 0:
        warnings.warn(f"no tracing on this machine: {allowed.stderr or allowed.stdout}", stacklevel=1)
        return
    item = system.open(stock=10000)
    tracers = {daemon: Tracer(daemon, system.env[f"{daemon.upper()}_PID"]) for daemon in DAEMONS}

    def all_shown():
        system.shopper().reserve(item)
        return (
            tracers["producer"].has("line_us", "kafka_us", "decision_us")
            and tracers["matcher"].has("script_us", "script_commands", "idle_script_us", "kafka_us")
            and tracers["guardian"].has("commit_us", "commit_records")
        )

    try:
        wait_until(all_shown, 90, "histograms of all channels")
    finally:
        for tracer in tracers.values():
            tracer.close()
