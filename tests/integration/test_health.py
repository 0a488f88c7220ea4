"""seckillctl health: what a container's health check stands on."""

import json
import socket
import subprocess

from lib.stack import BIN
from lib.wait import wait_until


def test_health_tells_ready_from_not_ready_and_from_nobody_there(system):
    def says(*flags):
        return system.run("seckillctl", "health", system.url, *flags, check=False)

    # A server that stands still for a moment makes any door unready.
    assert wait_until(lambda: (done := says()).returncode == 0 and done, 60, "ready").stdout == "ready\n"
    ready = wait_until(lambda: (done := says("--json")).returncode == 0 and done, 60, "ready")
    assert json.loads(ready.stdout) == {"ready": True}

    other = system.run("seckillctl", "health", f"{system.url}/nowhere", check=False)
    assert other.returncode == 1
    assert "404" in other.stderr

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        gone = system.run("seckillctl", "health", nobody, check=False)
    assert gone.returncode == 2
    assert nobody in gone.stderr


def test_health_needs_no_secret(system):
    def says():
        command = [BIN / "seckillctl", "health", system.url]
        return subprocess.run(command, env={}, capture_output=True, timeout=60, check=False)

    wait_until(lambda: says().returncode == 0, 60, "ready")
