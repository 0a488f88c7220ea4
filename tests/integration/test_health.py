"""seckillctl health: what a container's health check stands on."""

import json
import socket
import subprocess

from lib.stack import BIN


def test_health_tells_ready_from_not_ready_and_from_nobody_there(system):
    ready = system.run("seckillctl", "health", system.url)
    assert ready.stdout == "ready\n"
    assert json.loads(system.run("seckillctl", "health", system.url, "--json").stdout) == {"ready": True}

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
    asked = subprocess.run(
        [BIN / "seckillctl", "health", system.url], env={}, capture_output=True, timeout=60, check=False
    )
    assert asked.returncode == 0, asked.stderr
