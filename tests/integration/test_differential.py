"""lua/apply.lua in a real Redis against common/fold.c: two readings of docs/protocol.md, one answer."""

import os
import subprocess

from lib.stack import BUILD

BATCHES = 10_000
PROGRAM = BUILD / "tests" / "differential"


def test_script_and_fold_agree_in_every_byte(stack):
    """The seed is new each time and stands in the output, so a failure can be played again."""
    seed = os.environ.get("SEED", str(int.from_bytes(os.urandom(4), "big")))
    done = subprocess.run(
        [PROGRAM, "--batches", str(BATCHES), "--seed", seed],
        env=stack.environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    assert f"of seed {seed}: no difference" in done.stdout
