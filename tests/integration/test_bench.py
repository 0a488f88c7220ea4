"""The benches: all are in the documents, and some of every kind run, small, and say what a report needs."""

import re
from contextlib import ExitStack

import pytest
from bench import marks
from bench.__main__ import Given, row, run
from lib.stack import ROOT

# Whoever compares versions asks by these names.
FIXED = """chain-decided chain-p99 producer-cpu script-reserve script-soldout matcher guardian-durable recovery-replay
    ring-throughput ring-latency growth-orders growth-items memory-hold connections""".split()


def test_every_bench_is_in_the_documents():
    text = (ROOT / "docs" / "performance.md").read_text()
    table = text.partition("| bench | what | beside |\n|---|---|---|\n")[2].partition("\n\n")[0]
    told = [name for line in table.splitlines() for name in re.findall(r"`([\w-]+)`", line.split("|")[1])]
    assert sorted(told) == sorted(marks.load())
    assert set(FIXED) <= set(told)


@pytest.mark.parametrize("name", ["chain-decided", "growth-items", "record-decode"])
def test_a_small_bench_gives_what_a_report_needs(stack, name):
    with ExitStack() as ends:
        found = run(marks.load()[name], Given(ends, 0.01, stack), 1)
    assert found["name"] == name and found["value"] > 0 and found["reference_value"] > 0 and found["runs"] == 1
    assert found["ratio"] == pytest.approx(found["value"] / found["reference_value"])
    assert found["spread"] == [found["ratio"]] * 2
    assert row(found).count("|") == 6
