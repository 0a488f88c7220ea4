"""lua/apply.lua in a real Redis against common/fold.c: two readings of docs/protocol.md, one answer."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lib.stack import BUILD, ROOT

BATCHES = 10_000
PROGRAM = BUILD / "tests" / "differential"
BRANCHES = Path(__file__).resolve().parents[1] / "differential" / "branches.py"


def play(stack, *command):
    """What it prints."""
    seed, done = run(stack, *command)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    assert f"of seed {seed}: no difference" in done.stdout
    return done.stdout


def run(stack, *command):
    """The seed is new each time and stands in the output, so a failure can be played again."""
    seed = os.environ.get("SEED", str(int.from_bytes(os.urandom(4), "big")))
    done = subprocess.run(
        [*command, "--batches", str(BATCHES), "--seed", seed],
        env=stack.environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return seed, done


def test_script_and_fold_agree_in_every_byte(stack):
    play(stack, PROGRAM)


def test_every_branch_of_the_script_is_taken(stack):
    taken, known = re.search(r"^(\d+) of (\d+) branches", play(stack, BRANCHES, PROGRAM), re.M).groups()
    assert taken == known and int(known) > 300


# What the simulator's mutants of these names do to its Redis, done to the script: what stands there, and in its place.
MUTANTS = {
    "BOUND_PER_BATCH": (
        "local function expire_due()\n    local expired = 0\n",
        "local expired = 0\nlocal function expire_due()\n",
    ),
    "APPLY_ANYWHERE": (
        "if log.genesis ~= genesis or log.watermark ~= prev or log.chain ~= chain then",
        "if false then",
    ),
    "IDLE_NO_TRIM": ("else\n    write_outbox_trim()\nend\nlocal due", "end\nlocal due"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_script_that_lacks_a_rule_is_found(stack, tmp_path, mutant):
    rule, instead = MUTANTS[mutant]
    whole = (ROOT / "lua" / "apply.lua").read_text()
    assert whole.count(rule) == 1
    script = tmp_path / "apply.lua"
    script.write_text(whole.replace(rule, instead))
    seed, done = run(stack, PROGRAM, "--script", script)
    # It ends with the first difference, and names the run; a script that cannot be run would not.
    assert done.returncode != 0 and f"seed {seed}, run " in done.stderr, f"seed {seed}\n{done.stdout}{done.stderr}"
