"""lua/apply.lua in a real Redis against common/fold.c: two readings of docs/protocol.md, one answer."""

import os
import re
import subprocess
from pathlib import Path

from lib.stack import BUILD

BATCHES = 10_000
PROGRAM = BUILD / "tests" / "differential"
BRANCHES = Path(__file__).resolve().parents[1] / "differential" / "branches.py"


def play(stack, *command):
    """What it prints.  The seed is new each time and stands in the output, so a failure can be played again."""
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
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    assert f"of seed {seed}: no difference" in done.stdout
    return done.stdout


def test_script_and_fold_agree_in_every_byte(stack):
    play(stack, PROGRAM)


def test_every_branch_of_the_script_is_taken(stack):
    taken, known = re.search(r"^(\d+) of (\d+) branches", play(stack, BRANCHES, PROGRAM), re.M).groups()
    assert taken == known and int(known) > 300
