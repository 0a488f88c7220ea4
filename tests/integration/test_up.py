"""make up and make down, and the env file between them, as a user and a script have them."""

import json
import os
import subprocess

import pytest
import requests

from lib.kafka import first_record
from lib.stack import BIN, BUILD, ROOT, Stack, clean_environ, mysql_of
from lib.wait import wait_until

RUN = BUILD / "test-up"
PROMISED = """SECKILL_URL KAFKA_BROKERS REDIS_HOST REDIS_PORT MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_PASSWORD
    MYSQL_DATABASE PRODUCER_PID MATCHER_PID GUARDIAN_PID KAFKA_PID REDIS_PID MYSQL_PID""".split()


def make(target):
    """Runs `make target` on our own RUN; returns its output."""
    done = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory", target, f"RUN={RUN}", f"SAN={os.environ.get('SAN', '')}"],
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_sourced_shell(command, out=subprocess.PIPE):
    """command in a shell that did `set -a; . env`, as the README says; the process it becomes."""
    return subprocess.Popen(
        ["sh", "-c", f'set -aeu; . "{RUN}/env"; exec {command}'],
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def up():
    make("down")
    try:
        make("up")
        yield Stack(RUN)
    finally:
        make("down")


def test_env_has_what_scripts_rely_on(up):
    env = up.env
    assert [name for name in PROMISED if not env.get(name)] == []
    for name in env:
        assert not name.endswith("INSTANCE_ID")
        if name.endswith("_PID"):
            os.kill(int(env[name]), 0)
    wait_until(lambda: requests.get(env["SECKILL_URL"] + "/readyz", timeout=60).status_code == 200, 60, "it is ready")


def test_topics_begin_with_genesis_and_no_sale_is_open(up):
    env = up.env
    records = [first_record(env["KAFKA_BROKERS"], "seckill.orders", partition) for partition in range(4)]
    logs = {json.loads(record)["log_id"] for record in records}
    assert len(logs) == 4
    done = in_sourced_shell(f'"{BIN}/seckillctl" sale list --json')
    output, _ = done.communicate(timeout=120)
    assert done.returncode == 0, output
    assert json.loads(output) in ([], {"items": []}, {"sales": []})


def test_schema_is_there(up):
    with mysql_of(up.env) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        tables = {row[0] for row in cursor.fetchall()}
    assert {"orders", "stock_ledger", "tcc_log", "payments"} <= tables


def test_up_again_changes_nothing(up):
    before = up.env
    make("up")
    assert up.env == before


def test_up_starts_what_died(up):
    before = up.env
    up.kill_daemon("matcher")
    make("up")
    after = up.env
    assert after["MATCHER_PID"] != before["MATCHER_PID"]
    assert {k: v for k, v in after.items() if k != "MATCHER_PID"} == {
        k: v for k, v in before.items() if k != "MATCHER_PID"
    }


def test_down_stops_all_also_by_hand_and_nothing_else(up, tmp_path):
    log = tmp_path / "matcher.log"
    with log.open("w") as out:
        matcher = in_sourced_shell(f'"{BIN}/seckill-matcher"', out)
    bystander = in_sourced_shell("sleep 600", subprocess.DEVNULL)
    try:
        wait_until(lambda: "program.ready" in log.read_text(), 60, "the matcher started by hand is ready")
        make("down")
        assert matcher.wait(timeout=60) == 0, log.read_text()
        assert bystander.poll() is None
        assert set(up.processes()) <= {bystander.pid}
    finally:
        for process in (matcher, bystander):
            process.kill()
            process.wait()
    make("down")
    # And from the beginning again: no data is left of the stack before.
    make("up")
    assert up.status() == dict.fromkeys(("kafka", "redis", "mysql"), "running")
