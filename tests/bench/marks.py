"""The benches: each is a function that measures once, itself and what it is compared with.

    @bench("script-reserve", "orders/s", "one script per order, pipelined by 100")
    def reserve(given):
        "What it does: its first line is told before it begins."
        return ours, reference

Both numbers are of the same minute on the same machine; only their ratio means something elsewhere.
given.tell(text) adds a line to what is shown of the last run.  A bench whose answers are not what they should be fails.
"""

import importlib
from dataclasses import dataclass
from typing import Callable

BENCHES = {}
MODULES = ("chain", "door", "connections", "matcher", "script", "growth", "ring", "pure", "record")


@dataclass
class Bench:
    name: str
    unit: str
    reference: str
    measure: Callable
    runs: int
    is_cost: bool  # less is better

    @property
    def what(self):
        return self.measure.__doc__.strip().splitlines()[0].rstrip(".")


def bench(name, unit, reference, runs=5, is_cost=False):
    def note(measure):
        assert name not in BENCHES, f"two benches {name}"
        assert measure.__doc__, f"{name} does not say what it does"
        BENCHES[name] = Bench(name, unit, reference, measure, runs, is_cost)
        return measure

    return note


def load():
    """All benches, by name, in the order of their modules."""
    for module in MODULES:
        importlib.import_module(f"bench.{module}")
    return BENCHES
