"""Waiting with a deadline: tests poll for what must become true, they never sleep for a while."""

import os
import time

# A sanitizer makes programs several times slower.
PATIENCE = 3 if os.environ.get("SAN") else 1
# Any machine may stand still for some seconds.  A deadline is there to end a test that hangs, so none is short.
SHORTEST_S = 60


def wait_until(condition, timeout, what, interval=0.02):
    """Returns condition()'s first true value; fails after timeout seconds, naming what."""
    timeout = max(timeout, SHORTEST_S) * PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {timeout} s (last seen: {value!r})")
        time.sleep(interval)


def holds_for(condition, seconds, what, interval=0.05):
    """Fails as soon as condition() is false within the next seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(interval)
