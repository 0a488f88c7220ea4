"""The rows of the fault matrix: each is a function that provokes its fault once and takes it back.

    @row("R6", "FLUSHALL at the peak")
    def flushall(field):
        field.redis().flushall()

The runner calls it again and again while a storm runs; field.dice is the only source of chance.  What
is undone when it returns is what can be mixed with others in a soak.
"""

import importlib
from dataclasses import dataclass, field as member
from typing import Callable

ROWS = {}
MODULES = ("kills", "redis_rows", "kafka_rows", "mysql_rows", "host_rows")


@dataclass
class Row:
    id: str
    title: str
    fault: Callable
    settings: dict = member(default_factory=dict)  # of all daemons, beside the usual ones
    setup: Callable | None = None  # with the servers running and no daemon yet
    proof: Callable | None = None  # after the storm: did the fault really strike?
    pause_s: tuple = (0.5, 3.0)  # between two faults
    once: bool = False  # one fault is all there can be
    soak: bool = True  # may be mixed with others, one after the other
    alone: bool = False  # and never at the same time
    brokers: int = 1  # of Kafka; each stores everything
    links: tuple = ()  # doors that shoppers reach through a proxy
    halts: tuple = ()  # reasons for which a partition may halt; nobody halts for any other
    signals: tuple = ()  # that daemons may end by, beside those that we send


def row(name, title, **options):
    def note(fault):
        assert name not in ROWS, f"two rows {name}"
        ROWS[name] = Row(name, title, fault, **options)
        return fault

    return note


def told(kind, *texts):
    """A proof: the fault struck, because some daemon of a kind (or of two), or a server, said so, in one of these words."""

    def proof(field):
        assert any(field.said(k, t) for k in kind.split() for t in texts), f"no {kind} said {' or '.join(texts)}: it proved nothing"

    return proof


def counted(what):
    """A proof: the fault noted itself in field.struck."""

    def proof(field):
        assert field.struck > 0, f"{what}: it proved nothing"

    return proof


def load():
    """All rows, in the order of the matrix."""
    for module in MODULES:
        try:
            importlib.import_module(f"chaos.{module}")
        except ModuleNotFoundError as e:
            if e.name != f"chaos.{module}":
                raise
    order = "KARDH"
    return dict(sorted(ROWS.items(), key=lambda r: (order.find(r[0][0]), int("".join(filter(str.isdigit, r[0]))), r[0])))
