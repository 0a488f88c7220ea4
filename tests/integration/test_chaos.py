"""The fault matrix: a bounded selection of its rows, each with a small storm, and that the judge of them
can say no.  `make chaos` runs all rows, with storms that are not small."""

import json
from types import SimpleNamespace

import pytest
from chaos import check, rows
from chaos.__main__ import fight
from chaos.field import Daemon, Field
from lib.stack import BUILD

ORDERS = 2000
SECONDS = 6
ROWS = rows.load()
SELECTED = "K3 K7 K15 R2 R6 R16 A9 D1 H8".split()


@pytest.fixture(scope="module")
def field():
    """One stack for all of them: only rows that need none of their own are selected."""
    with Field(BUILD / "test-chaos", ROWS[SELECTED[0]], 1) as made:
        yield made


@pytest.mark.parametrize("name", SELECTED)
def test_row(field, name):
    verdict = fight(field, ROWS[name], seed=1, orders=ORDERS, seconds=SECONDS)
    assert verdict["result"] == "PASS", verdict
    assert verdict["faults"] > 0 and verdict["orders"] >= ORDERS // 2


# ---------------------------------------------------------------------------- the judge


def judged(field, ledgers):
    field.storm.ledgers, before = ledgers, field.storm.ledgers
    try:
        return field.judge("judge", 0, 0, within=180)
    finally:
        field.storm.ledgers = before


def wrong(verdict, kind):
    """It fails, and for the reason that it should have."""
    assert verdict["result"] == "FAIL" and verdict[kind] > 0, verdict


def some_order(field, state):
    with field.mysql() as db, db.cursor() as cursor:
        cursor.execute("SELECT order_id, user_id, partition_id FROM orders WHERE state = %s LIMIT 1", state)
        return [c.decode() if isinstance(c, bytes) else c for c in cursor.fetchone()]


def test_the_judge_sees_mysql_changed(field):
    """An order that became another, a payment that is gone."""
    order, user, _ = some_order(field, "P")
    change = "UPDATE orders SET state = %s WHERE order_id = %s AND user_id = %s"
    with field.mysql() as db, db.cursor() as cursor:
        cursor.execute("SELECT * FROM payments LIMIT 1")
        payment = cursor.fetchone()
        cursor.execute(change, ("C", order, user))
        cursor.execute("DELETE FROM payments WHERE partition_id = %s AND payment_id = %s", payment[:2])
        try:
            verdict = judged(field, [])
            wrong(verdict, "foreign")
            wrong(verdict, "missing")
        finally:
            cursor.execute(change, ("P", order, user))
            cursor.execute(f"INSERT INTO payments VALUES ({','.join(['%s'] * len(payment))})", payment)


def test_the_judge_sees_a_field_of_redis_changed(field):
    order, user, partition = some_order(field, "P")
    key = f"seckill:{{{partition}}}:orders"
    before = field.redis().hget(key, user)
    field.redis().hset(key, user, before.replace(f"{order} ", f"{order[:-1]}x "))
    try:
        verdict = judged(field, [])
        wrong(verdict, "foreign")
        wrong(verdict, "missing")
    finally:
        field.redis().hset(key, user, before)


def test_the_judge_sees_a_ledger_that_does_not_fit(field, tmp_path):
    """A shopper was told something else, another's order is not in the log, and the end is gone."""
    lines = [json.loads(text) for text in field.storm.ledgers[0].read_text().splitlines()][:-1]
    next(line for line in lines if "paid" in line["told"])["told"] = ["rejected"]
    accepted = next(line for line in lines if line["accepted"])
    lines.append(accepted | {"order_id": accepted["order_id"][:-1] + "x"})
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdict = judged(field, [path])
    wrong(verdict, "double")
    wrong(verdict, "missing")
    assert "no last line" in "".join(verdict["why"])


def outcome(offset, *events, prev=None):
    before = offset - 1 if prev is None else prev
    return offset, json.dumps({"offset": offset, "prev": before, "events": list(events)}).encode()


def reserved(order, user="u"):
    return {"type": "reserved", "order_id": order, "item_id": "i", "user_id": user, "qty": 1, "due": 9, "available": 8}


@pytest.mark.parametrize(
    ("kind", "commands", "outcomes"),
    [
        (None, ["a"], [outcome(0, reserved("a"))]),
        ("missing", ["a", "b"], [outcome(0, reserved("a"))]),
        ("missing", ["a", "b"], [outcome(0, reserved("a")), outcome(1)]),
        ("missing", ["a", "b", "c"], [outcome(0, reserved("a")), outcome(2, reserved("c"), prev=1)]),
        ("double", ["a", "a"], [outcome(0, reserved("a")), outcome(1, reserved("a"))]),
        ("double", ["a"], [outcome(0, reserved("a")), outcome(0, reserved("a", "v"))]),
        ("foreign", ["a"], [outcome(0, reserved("a")), outcome(1, reserved("b"))]),
    ],
)
def test_the_judge_compares_commands_and_outcomes(kind, commands, outcomes):
    found = check.Findings()
    records = [(i, json.dumps({"type": "order", "order_id": o}).encode()) for i, o in enumerate(commands)]
    check.retell(0, records, check.outcomes_of(outcomes, 0, found), set(), found)
    if kind is None:
        assert found.is_clean, found.words
    else:
        assert found.counts[kind] > 0, found.counts


HALTED = "error matcher partition.halted partition=1 reason={} watermark=7\n"


@pytest.mark.parametrize(
    ("row", "ends", "log", "complaints"),
    [
        ("R6", [-9, 0, 1, 2], "warn matcher redis.lost host=h\n", 0),
        ("R6", [-11], "", 1),
        ("R6", [3], "", 1),
        ("R6", [], HALTED.format("state"), 1),
        ("R10", [3], HALTED.format("evicting"), 0),
        ("R10", [3], HALTED.format("state"), 1),
        ("H6", [-6], "", 0),
        ("H6", [-6], "x.c:7: f: Assertion `n' failed.\n", 1),
        ("H6", [-6], "free(): invalid pointer\n", 1),
    ],
)
def test_who_crashes_or_halts_is_noticed(tmp_path, row, ends, log, complaints):
    (tmp_path / "log").write_text(log)
    daemon = SimpleNamespace(name="matcher", ended=lambda: ends, log=tmp_path / "log")
    field = SimpleNamespace(row=ROWS[row], daemons={"matcher": daemon})
    assert len(list(Field.complaints(field))) == complaints


def test_who_ended_last_is_noticed_too():
    process = SimpleNamespace(returncode=-11)
    assert Daemon.ended(SimpleNamespace(ends=[0], process=process, runs=False)) == [0, -11]
    assert Daemon.ended(SimpleNamespace(ends=[0], process=process, runs=True)) == [0]
    assert Daemon.ended(SimpleNamespace(ends=[], process=None, runs=False)) == []
