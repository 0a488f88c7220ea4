#!/usr/bin/python3
"""Whether the differential test takes every branch of lua/apply.lua.

    branches.py PROGRAM --seed N [ARGUMENT...]

Runs PROGRAM with a script in which each branch is marked, and names those that no call took; what is rare
has the next seeds, too.  Marks go by the layout of the project's scripts: a block opens at the end of a line and closes with an `end` of
its own, at the indent of the line that began it.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import redis

SCRIPT = Path(__file__).resolve().parents[2] / "lua" / "apply.lua"
KEY = "differential:branches"
SEEDS = 5
OPENS = re.compile(r"(\bthen|\belse|\bdo|\bfunction\b.*\))$")


def is_state_made_by_hand(line):
    """What nothing can bring about that uses the script as it must be used; test_scripts.py has each `corrupt`."""
    return re.match(r" +(corrupt|error)\(", line)


def mark(script):
    """The script with marks that add to the set KEY, and the source of each: by its line's number, or by
    -number for an `if` that was passed over."""
    lines, out, sources, ifs = script.split("\n"), [], {}, []

    def add(name, line):
        sources[str(name)] = line
        out.append(f"HIT['{name}'] = true")

    start = lines.index("]]") + 1
    for i, line in enumerate(lines[start:], start):
        text = line.split(" --")[0].rstrip()
        indent = len(text) - len(text.lstrip())
        word = text.strip()
        if ifs and indent == ifs[-1][0]:
            if word == "else":
                ifs[-1][1] = True
            elif word == "end":
                _, has_else, first = ifs.pop()
                if not has_else and not is_state_made_by_hand(lines[i + 1]):
                    out.append("else")
                    add(-first, lines[first - 1].strip())
        if word.startswith("if ") and not word.endswith("end"):
            ifs.append([indent, False, i + 1])
        out.append(line)
        if OPENS.search(text) and not is_state_made_by_hand(lines[i + 1]):
            add(i + 1, word)
    head = ["local HIT = {}", "local function play()"]
    tail = [
        "end",
        "local reply = play()",
        f"for name in pairs(HIT) do redis.call('SADD', '{KEY}', name) end",
        "return reply",
    ]
    return "\n".join(head + out + tail) + "\n", sources


def connect():
    env = os.environ
    if "REDIS_SOCKET" in env:
        return redis.Redis(unix_socket_path=env["REDIS_SOCKET"], decode_responses=True)
    return redis.Redis(env.get("REDIS_HOST", "127.0.0.1"), int(env.get("REDIS_PORT", "6379")), decode_responses=True)


def main():
    marked, sources = mark(SCRIPT.read_text(encoding="utf-8"))
    server = connect()
    server.delete(KEY)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(marked)
        file.flush()
        first = int(sys.argv[sys.argv.index("--seed") + 1])
        for seed in range(first, first + SEEDS):
            status = subprocess.call([*sys.argv[1:], "--script", file.name, "--seed", str(seed)])
            taken = server.smembers(KEY)
            if status or not sources.keys() - taken:
                break
    server.delete(KEY)
    never = sorted(sources.keys() - taken, key=lambda name: abs(int(name)))
    for name in never:
        passed = ", passed over" if name.startswith("-") else ""
        print(f"never taken: {SCRIPT.name}:{abs(int(name))}{passed}: {sources[name]}")
    print(f"{len(sources) - len(never)} of {len(sources)} branches of {SCRIPT.name} taken")
    return status or (1 if never else 0)


if __name__ == "__main__":
    sys.exit(main())
