"""Asking a door, and doors of one's own."""

import secrets
import signal
import socket
from contextlib import contextmanager

import requests

from lib.system import Shopper, token

PROBLEM = "application/problem+json"


class Door:
    """A producer of its own beside the shared one, for tests that need other settings or end it."""

    def __init__(self, system, name):
        self.system = system
        self.secret = system.secret
        self.name = name
        self.url = f"http://127.0.0.1:{system.stack.port(name)}"

    def shopper(self, user=None):
        return Shopper(self, user or f"door-{secrets.token_hex(6)}")


@contextmanager
def door(system, name, **settings):
    system.stack.start_daemons(name, **(system.settings | settings))
    try:
        yield Door(system, name)
    finally:
        system.stack.stop_daemons(name)


@contextmanager
def stopped(system, what):
    """A server or daemon that answers nothing for a while (SIGSTOP)."""
    is_server = what in ("kafka", "redis", "mysql")
    send = system.stack.kill if is_server else system.stack.kill_daemon
    send(what, signal.SIGSTOP)
    try:
        if what == "matcher":
            system.redis().ping()  # what it had sent before is executed when this is answered
        yield
    finally:
        send(what, signal.SIGCONT)


def problem(answer, status, reason):
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    assert answer.headers["Content-Type"].startswith(PROBLEM)
    body = answer.json()
    assert body["reason"] == reason, body
    assert body["type"] == f"urn:seckill:problem:{reason}"
    assert body["status"] == status
    assert body["title"] and body["detail"]
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
    return body


def post(system, body, path="/v1/orders", **headers):
    headers = {"Authorization": f"Bearer {token(system.secret, 'tester')}", "Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    headers = {name: value for name, value in headers.items() if value is not None}
    return requests.post(system.url + path, data=body, headers=headers, timeout=60)


def raw(system, request):
    """Sends bytes, returns everything until the server closes or is silent for long."""
    host, _, port = system.url.rpartition("//")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        connection.settimeout(60)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer
