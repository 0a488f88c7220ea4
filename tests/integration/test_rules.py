"""The second rules number: switched by the logged command in mid-sale, and what `archive` forgets under it."""

import json
import subprocess
import threading

import pytest
import redis

from lib.record import Record
from lib.stack import BIN
from lib.wait import wait_until
from lib.world import RedisServer, order_id_of

ARCHIVED = "a"


@pytest.fixture
def alone(stack, tmp_path, request):
    """A log under rules 1 with matcher and guardian, and a Redis that the test may set back."""
    server = RedisServer(tmp_path / "redis", stack.port(request.node.name)).start()
    w = Record(stack, tmp_path, own_redis=server)
    w.migrate().genesis()
    w.matcher().ready()
    w.guardian().ready()
    yield w
    w.close()


def switch(w, number):
    for p in range(w.partitions):
        w.put(p, {"type": "rules", "rules": number})


def in_force(w):
    return [w.redis.hget(w.key(p, "log"), "rules") for p in range(w.partitions)]


def ctl(w, *words):
    return subprocess.run(
        [BIN / "seckillctl", *words], env=w.environ(), capture_output=True, text=True, timeout=60, check=False
    )


def at_rest(w):
    w.applied()
    w.caught_up()


def clean(w):
    at_rest(w)
    w.reconcile()
    report = w.verify()
    assert report["redis"] == report["mysql"] == report["log"]
    assert w.complaints() == []


def sell_out(w, p, users=150):
    """A sale with orders in every state, closed, and nothing held any more; the users' ids are as long as can be."""
    item = f"gone@{p}"
    names = [f"{item}-user{i}".ljust(64, "x") for i in range(users)]
    orders = {name: w.order(p, item, name, 1, order_id_of(p, i % 2 == 0)) for i, name in enumerate(names)}
    w.put(p, w.open(item, users * 2 // 3, 2, 1500), *orders.values())
    for i, (user, order) in enumerate(orders.items()):
        pay = {"type": "pay", "order_id": order["order_id"], "payment_id": f"pay-{item}-{i}", "user_id": user}
        cancel = {"type": "cancel", "order_id": order["order_id"], "user_id": user}
        w.put(p, *([pay] if i % 3 == 0 else [cancel] if i % 3 == 1 else []), wait=False)
    w.put(p, {"type": "sale", "op_id": f"close-{item}", "item_id": item, "action": "close"})
    wait_until(lambda: (w.item(p, item) or {}).get("held") == 0, 60, "the last hold lapses")
    return item, orders


def archive(w, p, item, users):
    """As `seckillctl sale archive` does, without listening: some users at a time, then the last word."""
    users = list(users)
    for i in range(0, len(users), 40):
        named = ",".join(users[i : i + 40])
        w.put(p, {"type": "archive", "op_id": f"archive-{item}-{i}", "item_id": item, "users": named})
    w.put(p, {"type": "archive", "op_id": f"archive-{item}", "item_id": item})


def dump(w):
    return {k: w.raw.dump(k) for k in w.raw.keys("*")}


def restore(w, state):
    """As a failover to a replica that had fallen behind."""
    with w.raw.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for key, value in state.items():
            pipe.restore(key, 0, value)
        pipe.execute()


def test_switched_in_mid_sale(alone):
    w = alone
    w.raw = redis.Redis(port=w.own_redis.port)  # replies as they are: a dump is no text
    w.busy(800, seed=1)
    item, orders = sell_out(w, 0)
    archive(w, 0, item, list(orders)[:5])  # refused: rules 1
    done = ctl(w, "sale", "archive", item)
    assert done.returncode == 1 and "rules number 2" in done.stderr
    at_rest(w)
    assert in_force(w) == ["1", "1"]
    before = dump(w)

    traffic = threading.Thread(target=w.busy, args=(1500, 2))
    traffic.start()
    switch(w, 2)
    for p in range(w.partitions):
        wait_until(lambda p=p: in_force(w)[p] == "2", 60, "rules 2")
    w.put(0, {"type": "archive", "op_id": "again", "item_id": item, "users": ",".join(list(orders)[:50])})
    traffic.join()
    at_rest(w)
    remembered = w.redis.hget(w.key(0, "log"), "orders")

    restore(w, before)
    w.busy(300, seed=3)
    at_rest(w)
    assert in_force(w) == ["2", "2"]
    clean(w)

    archive(w, 0, item, orders)
    w.redis.flushall()
    w.busy(300, seed=4)
    clean(w)
    assert w.redis.hget(w.key(0, "items"), item).split()[8] == ARCHIVED
    assert int(w.redis.hget(w.key(0, "log"), "orders")) != int(remembered)
    assert len(w.matchers[0].lines("redis.went_back")) >= 2
    for p in range(w.partitions):
        numbers = [o["rules"] for o in w.story(p)]
        assert numbers == sorted(numbers) and set(numbers) == {1, 2}
    refused = [e for e in w.events(0, "refused") if e.get("op_id", "").startswith("archive-")]
    details = [e for e in w.events(0, "refused") if e.get("detail")]
    assert refused and any(e["detail"] == "unknown_field" for e in details)


def test_what_an_archive_forgets(alone):
    w = alone
    switch(w, 2)
    item, orders = sell_out(w, 1)
    w.applied()
    counts = w.item(1, item)
    before = int(w.redis.hget(w.key(1, "log"), "orders"))
    states = dict(w.redis.hgetall(w.key(1, "orders")))
    done = ctl(w, "sale", "archive", item, "--json")
    assert json.loads(done.stdout) == {"item_id": item, "users": len(states), "orders": before}
    clean(w)

    told = w.events(1, "archived")
    assert sum(e["orders"] for e in told) == len(states) == before
    assert {(e["total"], e["sold"]) for e in told} == {(counts["total"], counts["sold"])}
    assert ctl(w, "sale", "archive", item).stdout.startswith(f"{item} is archived: of 0 users 0 orders")
    assert ctl(w, "sale", "archive", item, "--op-id=x").returncode == 64
    assert w.redis.hgetall(w.key(1, "orders")) == {}
    assert w.redis.hget(w.key(1, "log"), "orders") == "0" and w.redis.hget(w.key(1, "log"), "items") == "0"
    assert w.rows("SELECT remembered, COUNT(*) FROM orders WHERE item_id = %s AND remembered > 0 GROUP BY 1", item) == (
        (2, len(states)),
    )

    # The same order once more, also with another item; a payment twice; a payment of what is forgotten.
    user, first = list(orders.items())[2]  # keyed, and lapsed
    assert user in states
    payer = next(e for e in w.events(1, "paid"))
    pays = [
        {"type": "pay", "order_id": payer["order_id"], "payment_id": n, "user_id": payer["user_id"]}
        for n in (payer["payment_id"], "another")
    ]
    forged = first | {"item_id": "other@1"}
    opened = w.open(item, 10)
    start = w.log_end(1)
    w.put(1, first, w.open("other@1", 5), forged, *pays, opened, w.order(1, item, "late"), {"type": "mark", "run_id": "m"})
    clean(w)
    events = [o["events"][-1] for o in w.story(1)[start : start + 8]]
    assert [(e["type"], e.get("reason")) for e in events] == [
        ("refused", "closed"),
        ("stock", None),
        ("reserved", None),
        ("duplicate", None),
        ("refund_due", "unknown_order"),
        ("refused", "closed"),
        ("refused", "closed"),
        ("mark", None),
    ]
    assert [i["item_id"] for i in events[7]["items"]] == ["other@1"]
    states = w.rows("SELECT item_id, remembered FROM orders WHERE order_id = %s ORDER BY 1", first["order_id"])
    assert states == ((item.encode(), 2), (b"other@1", 1))
    assert w.rows("SELECT state, remembered FROM orders WHERE user_id = 'late'") == (("R", 0),)

    w.redis.flushall()
    w.put(1, {"type": "tick"})
    clean(w)


@pytest.mark.parametrize("number", [None, 1])
def test_a_log_begins_under_rules_and_is_switched(stack, tmp_path, number):
    """A new log takes the newest number, or the one that it is told; `rules set` moves all partitions."""
    w = Record(stack, tmp_path)
    try:
        words = [] if number is None else [f"--rules={number}"]
        made = ctl(w, "topics", "create", *words)
        assert made.returncode == 0 and "genesis written to 2" in made.stdout
        assert ctl(w, "rules", "show").returncode == 2  # no state yet
        w.matcher().ready()
        wait_until(lambda: in_force(w) == [str(number or 2)] * 2, 60, "the log has begun")
        for i in range(2):
            done = ctl(w, "rules", "set", "2", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["partitions"] == [{"partition": p, "rules": 2} for p in range(2)]
            assert ctl(w, "rules", "show").stdout == "partition 0: rules 2\npartition 1: rules 2\n"
        commands = [json.loads(v)["type"] for _, v, _ in w.records(w.orders, 1)]
        assert commands == ["genesis"] + ["rules"] * (number == 1)
        assert ctl(w, "rules", "set", "3").returncode == 64
    finally:
        w.close()


def test_the_door_after_an_archive(system):
    """What Redis has forgotten is answered from the record; a retry with the old key places nothing."""
    item = system.open(stock=5, hold_ms=60000)
    buyer, p = system.shopper(), system.partition_of(item)
    order = buyer.reserve(item, key="mine")
    assert buyer.pay(order, f"pay-{order}").json()["payment"] == "paid"
    system.ctl("sale", "close", item)
    offset = system.append(
        p, {"type": "archive", "op_id": f"archive-{item}", "item_id": item, "users": buyer.user}, item
    )
    told = system.own_events(p, offset)
    assert [(e["type"], e["orders"], e["sold"]) for e in told] == [("archived", 1, 1)]
    assert system.item(item)["state"] == "archived"

    again = buyer.order(item, key="mine")
    assert (again.status_code, again.json()["reason"]) == (409, "closed")
    wait_until(lambda: buyer.state(order) == "paid", 60, "the record answers")
    late = {"type": "order", "order_id": order, "item_id": item, "user_id": buyer.user, "qty": 1}
    late["not_after"] = 2**52
    offset = system.append(p, late, item)
    assert [e["type"] for e in system.own_events(p, offset)] == ["refused"]
    assert buyer.state(order) == "paid"
