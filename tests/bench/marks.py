"""The benches: each is a function that measures once, itself and what it is compared with.

    @bench("script-reserve", "orders/s", "one script per order, pipelined by 100")
    def reserve(given):
        return ours, reference

Both numbers are of the same minute on the same machine; only their ratio means something elsewhere.
given.tell(text) adds a line to what is shown.
"""

import importlib
from dataclasses import dataclass
from typing import Callable

BENCHES = {}
MODULES = ("script", "pure", "record")


@dataclass
class Bench:
    name: str
    unit: str
    reference: str
    measure: Callable
    runs: int
    is_cost: bool  # less is better


def bench(name, unit, reference, runs=5, is_cost=False):
    def note(measure):
        assert name not in BENCHES, f"two benches {name}"
        BENCHES[name] = Bench(name, unit, reference, measure, runs, is_cost)
        return measure

    return note


def load():
    """All benches, by name, in the order of their modules."""
    for module in MODULES:
        importlib.import_module(f"bench.{module}")
    return BENCHES
