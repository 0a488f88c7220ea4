"""Parts without I/O, as pure_bench counts them: nanoseconds of CPU each."""

import subprocess

from bench.marks import bench
from lib.stack import BUILD


def counted():
    """{what: ns}, as pure_bench prints it."""
    out = subprocess.run([BUILD / "tests" / "pure_bench"], capture_output=True, text=True, check=True).stdout
    rows = [line.rsplit(None, 2) for line in out.splitlines()]
    return {what: float(ns) for what, ns, _ in rows}


@bench("jwt-verify", "ns", "the same without memory: one HMAC each time", is_cost=True)
def jwt_verify(_):
    """A bearer token that was seen before is verified 300,000 times."""
    ns = counted()
    return ns["verify, remembered"], ns["verify, never remembered"]


@bench("http-parse", "ns", "verifying its token once", is_cost=True)
def http_parse(_):
    """An order's HTTP request is parsed 300,000 times."""
    ns = counted()
    return ns["parse an order"], ns["verify a token"]
