"""Parts without I/O, as pure_bench counts them: nanoseconds of CPU each."""

import subprocess

from bench.marks import bench
from lib.stack import BUILD


ROUNDS = 50000


def counted(given, part):
    """{what: ns}, as pure_bench prints it."""
    rounds = str(min(ROUNDS, given.many(ROUNDS)))
    out = subprocess.run([BUILD / "tests" / "pure_bench", part, rounds], capture_output=True, text=True, check=True).stdout
    rows = [line.rsplit(None, 2) for line in out.splitlines()]
    return {what: float(ns) for what, ns, _ in rows}


@bench("jwt-verify", "ns", "the same without memory: one HMAC each time", is_cost=True)
def jwt_verify(given):
    """A bearer token that was seen before is verified 50,000 times."""
    ns = counted(given, "request")
    return ns["verify, remembered"], ns["verify, never remembered"]


@bench("http-parse", "ns", "verifying its token once", is_cost=True)
def http_parse(given):
    """An order's HTTP request is parsed 50,000 times."""
    ns = counted(given, "request")
    return ns["parse an order"], ns["verify a token"]


def coded(given, verb, what):
    """An order and its outcome, ours and the JSON library's."""
    ns = counted(given, "records")
    given.tell(f"an order {ns[f'{verb} an order']:.0f} ns, an outcome {ns[f'{verb} an outcome']:.0f} ns")
    return [sum(ns[f"{name} an {record}"] for record in ("order", "outcome")) for name in (verb, f"library {what}")]


@bench("record-encode", "ns", "the same bytes by jansson: a tree made and written", is_cost=True)
def record_encode(given):
    """An order and its outcome are written as JSON 50,000 times."""
    return coded(given, "encode", "encodes")


@bench("record-decode", "ns", "the same bytes read by jansson into a tree, none of it checked", is_cost=True)
def record_decode(given):
    """The same records are read and checked 50,000 times."""
    return coded(given, "decode", "decodes")
