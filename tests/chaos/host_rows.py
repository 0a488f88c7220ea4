"""H: the machine and the network between its processes."""

import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from chaos.field import DAEMONS
from chaos.rows import counted, row, told
from lib.skew import Skew
from lib.wait import wait_until

# How far a daemon's clock may be off, in seconds: a door must still take tokens (the last ones are a few seconds old, and
# valid for minutes), a matcher behind by a minute halts, as it should.
CLOCKS = {"producer": (-4, 45), "matcher": (-50, 86400), "guardian": (-86400, 86400)}


def with_clocks(field):
    field.skews = {name: Skew(field.dir / f"{name}.skew") for name in DAEMONS}


@row("H1", "a daemon's clock is wrong, and steps", setup=with_clocks, soak=False, pause_s=(0, 1))
def clock_steps(field):
    daemon = field.daemons[field.dice.choice(DAEMONS)]
    seconds = field.dice.uniform(*CLOCKS[daemon.kind])
    assert "skew.so" in Path(f"/proc/{daemon.pid}/maps").read_text(), f"{daemon.name} has its own clock"
    field.skews[daemon.name].set(seconds)
    field.breathe(0.5, 4)
    field.skews[daemon.name].set(0)
    field.note(f"{daemon.name}: its clock was off by {seconds:.1f} s")


@row("H2", "everything sleeps at once, as a suspended machine does", alone=True, pause_s=(1, 3))
def suspended(field):
    pids = [d.pid for d in field.daemons.values() if d.runs] + [field.pid_of(s) for s in ("kafka", "redis", "mysql")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(field.dice.uniform(2, 6))
    for pid in field.dice.sample(pids, len(pids)):
        os.kill(pid, signal.SIGCONT)
    field.note("everything was stopped, and woke in another order")


@row(
    "H3", "the disk takes its time over every fsync of one server", alone=True, pause_s=(0.5, 2),
    proof=counted("no server had anything to write"),
)
def slow_disk(field):
    delayed = field.dir / "fsync.log"
    part = field.dice.choice(("kafka", "redis", "mysql"))
    ms = field.dice.choice((300, 1000, 3000))
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", delayed, "-e", "trace=fsync,fdatasync",
         "-e", f"inject=fsync,fdatasync:delay_enter={ms}000", "-p", str(field.pid_of(part))],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        field.breathe(2, 5)
        assert tracer.poll() is None, f"strace cannot attach to {part}"
    finally:
        tracer.terminate()
        tracer.wait(30)
    field.struck += delayed.stat().st_size > 0
    field.note(f"{part}: every fsync took {ms} ms")


@row("H4", "nobody takes a daemon's log: its pipe is full, or its disk", alone=True, pause_s=(0.2, 1))
def log_blocked(field):
    """It works on all the same."""
    daemon = field.daemons[field.dice.choice(sorted(field.daemons))]
    what = field.dice.choice(["pipe", "disk"])
    unread, pipe = os.pipe()
    disk = os.open("/dev/full", os.O_WRONLY)
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        daemon.kill()
        daemon.start(out=pipe if what == "pipe" else disk, LOG_LEVEL="debug").await_ready()
        if what == "pipe":
            wait_until(lambda: is_full(pipe), 30, f"{daemon.name} fills the pipe", 0.1)
        field.breathe(1, 3)
        wait_until(daemon.is_ready, 30, f"{daemon.name} works although nobody takes its log, the {what} is full", 0.1)
        assert daemon.stop() == 0, f"{daemon.name} cannot end for its log's {what}"
    finally:
        os.close(unread)
        os.close(pipe)
        os.close(disk)
    daemon.start().await_ready()
    field.note(f"{daemon.name}: the {what} of its log was full")


def is_full(pipe):
    return not select.select([], [pipe], [], 0)[1]


@row("H5", "a door runs out of file descriptors", alone=True, proof=told("producer", "http.accept_failed"), pause_s=(0.2, 1))
def no_descriptors(field):
    door = field.any("producer")
    before = resource.prlimit(door.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(door.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    field.link(f"{door.name}-redis").cut()
    with socket.create_connection(("127.0.0.1", door.port)):  # shoppers may have theirs already
        field.breathe(1, 3)
    resource.prlimit(door.pid, resource.RLIMIT_NOFILE, before)
    field.note(f"{door.name} had no descriptors left")


@row(
    "H6", "no memory is left for a daemon", alone=True, proof=counted("nobody ended for want of it"), pause_s=(0.2, 1),
    signals=(signal.SIGABRT,),
)
def no_memory(field):
    """It may end, never go on with half of something.  A new one has not yet all that it will need."""
    daemon = field.daemons[field.dice.choice(sorted(field.daemons))]
    daemon.restart()
    used = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (used + field.dice.randint(0, 1 << 18), resource.RLIM_INFINITY))
    field.breathe(1, 4)
    ended = not daemon.runs
    if not ended:
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    daemon.restart()
    field.struck += ended
    field.note(f"{daemon.name} had no memory left, and {'ended' if ended else 'went on'}")


@row("H7", "one link: nothing passes, one way only, half open, refused, slow", pause_s=(0.2, 1))
def partitioned(field):
    link = field.dice.choice(field.links("-kafka", "-redis", "-mysql"))
    what = field.dice.choice(("clog", "up", "down", "halve", "refuse", "delay", "flap"))
    if what == "clog":
        link.clog()
    elif what in ("up", "down"):
        link.clog(what)
    elif what == "delay":
        link.delay(0.05, 0.2)
    elif what == "flap":
        for _ in range(field.dice.randint(2, 8)):
            link.cut()
            field.breathe(0, 0.2)
    else:
        getattr(link, what)()
    field.breathe(0.5, 4)
    link.heal()
    field.note(f"{link.name}: {what}")


@row("H8", "links clog one after the other, and open in another order", pause_s=(0.5, 2))
def swizzled(field):
    field.swizzle(field.links("-kafka", "-redis", "-mysql"), 0.5)


@row("H9", "no CPU is left for anybody", pause_s=(0.5, 2))
def starved(field):
    hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        field.breathe(2, 6)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    field.note(f"{len(hogs)} busy loops")
