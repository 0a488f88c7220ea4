"""seckill-guardian explain: one order's life, and whether all tell the same of it."""

import json

import pytest
from lib.record import Record
from lib.world import order_id_of


@pytest.fixture
def sold(stack, tmp_path):
    """An order paid, one cancelled, and one that nobody could read, of one partition."""
    w = Record(stack, tmp_path)
    w.migrate().genesis()
    w.matcher().ready()
    w.guardian().ready()
    w.put(0, w.open("phone@0", 10, limit=5))
    w.paid, w.cancelled, w.torn = (w.order(0, "phone@0", "alice") for _ in range(3))
    w.put(0, w.paid, w.cancelled, json.dumps(w.torn)[:-1].encode())
    w.put(0, {"type": "pay", "order_id": w.paid["order_id"], "payment_id": "p-1", "user_id": "alice"})
    w.put(0, {"type": "cancel", "order_id": w.cancelled["order_id"], "user_id": "alice"})
    w.applied()
    w.caught_up()
    yield w
    w.close()


def explain(w, order_id, code=0, *flags):
    done = w.command("explain", order_id, "--timeout=60s", *flags)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in flags else done.stdout


def types(lines, what):
    return [line[what]["type"] for line in lines]


def test_a_life_from_order_to_payment(sold):
    told = explain(sold, sold.paid["order_id"], 0, "--json")
    assert told["status"] == "agreed" and told["partition"] == 0 and not told["remarks"]
    assert [c["command"]["type"] for c in told["commands"]] == ["order", "pay"]
    assert [(e["offset"], e["event"]["type"]) for e in told["events"]] == [
        (told["commands"][0]["offset"], "reserved"),
        (told["commands"][1]["offset"], "paid"),
    ]
    for where in ("redis", "mysql"):
        assert told[where]["orders"]["alice"]["state"] == "paid"
        assert "p-1" in told[where]["orders"]["alice"]["payments"]
    text = explain(sold, sold.cancelled["order_id"])
    assert text.index('"type":"order"') < text.index('"type":"reserved"') < text.index('"type":"cancelled"')
    assert text.count("user alice, cancelled") == 2 and text.endswith("\nagreed\n")


def test_who_differs_is_named(sold):
    paid = sold.paid["order_id"]
    sold.execute(f"UPDATE {sold.database}.orders SET state = 'E' WHERE order_id = %s", paid)
    told = explain(sold, paid, 1, "--json")
    assert told["status"] == "different" and "redis and mysql differ" in told["remarks"][0]
    sold.execute(f"DELETE FROM {sold.database}.orders WHERE order_id = %s", paid)
    assert "only redis has it" in explain(sold, paid, 1)


def test_what_nobody_could_read_is_shown(sold):
    """The torn record names the order, and so is found; nothing came of it."""
    told = explain(sold, sold.torn["order_id"], 1, "--json")
    assert isinstance(told["commands"][0]["command"], str) and "nobody knows" in told["remarks"][0]
    assert told["events"] == [] and told["redis"]["orders"] == told["mysql"]["orders"] == {}


def test_whoever_does_not_answer_is_told(sold):
    done = sold.command("explain", sold.paid["order_id"], "--timeout=60s", redis_port=1)
    assert done.returncode == 2 and "redis 127.0.0.1:1" in done.stdout
    assert '"type":"paid"' in done.stdout and "user alice, paid" in done.stdout


@pytest.mark.parametrize("words", [(), ("x",), (order_id_of(4095),), (order_id_of(0), "more")])
def test_bad_words(sold, words):
    done = sold.command("explain", *words)
    assert done.returncode == 64 and done.stderr.startswith("seckill-guardian: ") and not done.stdout
