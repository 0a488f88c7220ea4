"""Settings: what is wrong is refused at the start, with the place and what to do; secrets stay secret."""

import os
import subprocess

import pytest
from lib.stack import BIN, clean_environ

PROGRAMS = {
    "seckill-producer": "producer",
    "seckill-matcher": "matcher",
    "seckill-guardian": "guardian",
    "seckillctl": "ctl",
}


def run(program, *args, **env):
    return subprocess.run(
        [BIN / program, *map(str, args)],
        env=clean_environ() | {"SECKILL_TOKEN_SECRET": "canary-" * 6, "MYSQL_PASSWORD": "canary-mysql"} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(params=PROGRAMS)
def program(request):
    return request.param


def test_defaults_are_valid_and_can_be_printed(program, tmp_path):
    assert run(program, "--check-config").returncode == 0
    printed = run(program, "--print-config")
    assert printed.returncode == 0
    assert "canary" not in printed.stdout + printed.stderr
    # What is printed is a file that says the same.
    file = tmp_path / "printed.conf"
    file.write_text(printed.stdout)
    again = run(program, "--config", file, "--print-config")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    "line, said",
    [
        ("no-such-option = 1", "no-such-option"),
        ("partitions = many", "partitions"),
        ("partitions = 0", "partitions"),
        ("partitions = 4097", "partitions"),
        ("partitions = 4\npartitions = 5", "partitions"),
        ("[nonsense]", "nonsense"),
        ("kafka.enable.idempotence = false", "enable.idempotence"),
        ("kafka.no.such.property = 1", "no.such.property"),
        ("not a setting", "name = value"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(program, tmp_path, line, said):
    file = tmp_path / "wrong.conf"
    file.write_text(f"# a comment\n[{PROGRAMS[program]}]\n{line}\n")
    done = run(program, "--config", file, "--check-config")
    assert done.returncode != 0
    assert said in done.stderr
    assert f"{file}:" in done.stderr or str(file) in done.stderr
    assert any(f":{n}" in done.stderr or f"line {n}" in done.stderr for n in (3, 4)), done.stderr


def test_wrong_flags_and_variables_are_refused(program):
    assert run(program, "--no-such-flag").returncode != 0
    done = run(program, "--check-config", SECKILL_PARTITIONS="-1")
    assert done.returncode != 0
    assert "SECKILL_PARTITIONS" in done.stderr
    done = run(program, "--config", "/nonexistent/file", "--check-config")
    assert done.returncode != 0
    assert "/nonexistent/file" in done.stderr


def test_flag_beats_variable_beats_file(program, tmp_path):
    file = tmp_path / "some.conf"
    file.write_text("partitions = 5\n")

    def partitions(*args, **env):
        text = run(program, "--config", file, *args, "--print-config", **env).stdout
        return next(line for line in text.splitlines() if line.startswith("partitions ")).split()[2]

    assert partitions() == "5"
    assert partitions(SECKILL_PARTITIONS="6") == "6"
    assert partitions("--partitions=7", SECKILL_PARTITIONS="6") == "7"


def test_help_and_version(program):
    assert "--partitions" in run(program, "--help").stdout
    assert run(program, "--version").returncode == 0


def test_producer_wants_a_secret():
    env = {name: value for name, value in os.environ.items() if not name.startswith("SECKILL_")}
    done = subprocess.run(
        [BIN / "seckill-producer", "--check-config"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "token-secret" in done.stderr


@pytest.mark.parametrize("name", ["producer", "matcher", "guardian"])
def test_a_daemon_that_cannot_start_says_why(daemons, name):
    """Other numbers of partitions than the topics have: exit 1, not a guess."""
    done = subprocess.run(
        [BIN / f"seckill-{name}"],
        env=daemons.stack.environ(SECKILL_PARTITIONS=3, SECKILL_METRICS_LISTEN="127.0.0.1:0", SECKILL_LISTEN="127.0.0.1:0"),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "partitions" in done.stderr


def test_threads_need_a_shared_port():
    done = run("seckill-producer", "--http-threads=2", "--listen-shared=false", "--check-config")
    assert done.returncode != 0
    assert "http-threads = 2 needs listen-shared" in done.stderr
    assert run("seckill-producer", "--http-threads=1", "--listen-shared=false", "--check-config").returncode == 0
