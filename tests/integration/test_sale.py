"""What a sale promises its shoppers: units, limits, one winner, one answer."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lib.system import keyed_order_id, order_id
from lib.wait import wait_until


def at_once(calls):
    """Runs the calls in as many threads; their results."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_no_oversell_under_50_concurrent_clients(system):
    item = system.open(stock=20)
    shoppers = [system.shopper() for _ in range(50)]
    answers = at_once([lambda s=s: s.order(item) for s in shoppers])
    reserved = [a for a in answers if a.status_code == 201]
    turned_away = [a for a in answers if a.status_code == 409]
    assert len(reserved) == 20
    assert len(turned_away) == 30
    assert {a.json()["reason"] for a in turned_away} == {"sold_out"}
    assert len({a.json()["order_id"] for a in reserved}) == 20
    assert system.counts(item) == (20, 0, 20, 0)


def test_limit_per_user_under_concurrent_retries(system):
    item = system.open(stock=100, limit=2)
    shopper = system.shopper()
    # Ten keys, each pressed three times at once: two reservations, and each key one answer.
    presses = [f"key-{i % 10}" for i in range(30)]
    answers = at_once([lambda k=k: (k, shopper.order(item, key=k)) for k in presses])
    states = {}
    for key, answer in answers:
        state = answer.json().get("state", answer.json().get("reason"))
        assert answer.status_code in (200, 201, 409), answer.text
        states.setdefault(key, set()).add("reserved" if state == "reserved" else "refused")
    assert all(len(state) == 1 for state in states.values()), states
    assert sorted(s for state in states.values() for s in state).count("reserved") == 2
    assert system.counts(item) == (100, 98, 2, 0)


def test_limit_counts_units_and_returns_them(system):
    item = system.open(stock=10, limit=3)
    shopper = system.shopper()
    first = shopper.reserve(item, qty=2)
    assert shopper.order(item, qty=2).json()["reason"] == "limit_reached"
    assert shopper.cancel(first).json()["state"] == "cancelled"
    shopper.reserve(item, qty=3)
    assert system.counts(item) == (10, 7, 3, 0)


def test_same_key_same_payload_is_one_order(system):
    item = system.open(stock=5)
    shopper = system.shopper()
    first = shopper.order(item, key="k1")
    again = shopper.order(item, key="k1")
    quoted = shopper.order(item, key='"k1"')
    assert first.status_code == 201
    assert again.status_code == quoted.status_code == 200
    assert again.headers["Idempotency-Replayed"] == "true"
    ids = {a.json()["order_id"] for a in (first, again, quoted)}
    assert ids == {keyed_order_id(system.partition_of(item), shopper.user, item, "k1")}
    assert again.json()["state"] == "reserved"
    assert system.counts(item) == (5, 4, 1, 0)


def test_same_key_other_payload_is_refused(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()
    shopper.reserve(item, key="k1", qty=1)
    answer = shopper.order(item, key="k1", qty=2)
    assert answer.status_code == 422
    assert answer.json()["reason"] == "key_reused"
    assert system.counts(item) == (5, 4, 1, 0)


def test_same_key_of_another_user_is_another_order(system):
    item = system.open(stock=5)
    first = system.shopper().reserve(item, key="k1")
    second = system.shopper().reserve(item, key="k1")
    assert first != second


def test_expiry_and_resale_without_traffic(system):
    item = system.open(stock=1, hold_ms=300)
    loser, winner = system.shopper(), system.shopper()
    held = loser.reserve(item)
    wait_until(lambda: loser.state(held) == "expired", 60, "the hold expires though nobody orders")
    bought = wait_until(
        lambda: (a := winner.order(item)).status_code == 201 and a.json()["order_id"], 60, "the gate opens again"
    )
    assert winner.pay(bought, "late-bird").json()["payment"] == "paid"
    assert system.counts(item) == (1, 0, 0, 1)


def test_gate_answers_sold_out_and_reopens(system):
    item = system.open(stock=1)
    owner, other = system.shopper(), system.shopper()
    held = owner.reserve(item)
    wait_until(lambda: other.order(item).json()["reason"] == "sold_out", 60, "sold out")
    assert other.order(item).status_code == 409
    assert owner.cancel(held).status_code == 200
    wait_until(lambda: other.order(item).status_code == 201, 60, "a returned unit can be had")
    assert system.counts(item) == (1, 0, 1, 0)


def test_last_units_owner_retries_against_the_sold_out_gate(system):
    item = system.open(stock=1)
    owner = system.shopper()
    held = owner.reserve(item, key="mine")
    wait_until(lambda: system.shopper().order(item).json()["reason"] == "sold_out", 60, "the gate is shut")
    again = owner.order(item, key="mine")
    assert again.status_code == 200, again.text
    assert again.json()["order_id"] == held
    assert again.json()["state"] == "reserved"


def test_pay_against_cancel_has_one_winner(system):
    for n in range(6):
        item = system.open(stock=1)
        shopper = system.shopper()
        held = shopper.reserve(item)
        paid, cancelled = at_once([lambda: shopper.pay(held, f"race-{item}-{n}"), lambda: shopper.cancel(held)])
        state = shopper.state(held)
        if state == "paid":
            assert paid.json()["payment"] == "paid"
            assert (cancelled.status_code, cancelled.json()["reason"]) == (409, "already_paid")
            assert system.counts(item) == (1, 0, 0, 1)
        else:
            assert state == "cancelled"
            assert cancelled.json()["state"] == "cancelled"
            assert (paid.json()["payment"], paid.json()["reason"]) == ("refund_due", "already_cancelled")
            assert system.counts(item) == (1, 1, 0, 0)


def test_pay_against_expiry_has_one_winner(system):
    item = system.open(stock=40, limit=1, hold_ms=250)
    shoppers = [system.shopper() for _ in range(20)]
    held = at_once([lambda s=s: s.reserve(item) for s in shoppers])
    answers = at_once([lambda s=s, h=h: s.pay(h, f"pay-{h}") for s, h in zip(shoppers, held, strict=True)])
    for shopper, order, answer in zip(shoppers, held, answers, strict=True):
        assert answer.json()["payment"] == "paid", answer.text  # in time, or late with stock left
        assert shopper.state(order) == "paid"
    assert system.counts(item) == (40, 20, 0, 20)


def test_late_payment_takes_stock_again_or_is_refunded(system):
    item = system.open(stock=1, hold_ms=200)
    first, second = system.shopper(), system.shopper()
    lapsed = first.reserve(item)
    wait_until(lambda: first.state(lapsed) == "expired", 60, "the hold expires")
    system.ctl("sale", "change", item, "--hold-ms=60000")
    taken = wait_until(
        lambda: (a := second.order(item)).status_code == 201 and a.json()["order_id"], 60, "resold"
    )
    late = first.pay(lapsed, f"late-{lapsed}").json()
    assert (late["payment"], late["reason"]) == ("refund_due", "sold_out")
    assert second.cancel(taken).status_code == 200
    again = first.pay(lapsed, f"later-{lapsed}").json()
    assert again["payment"] == "paid"
    assert first.state(lapsed) == "paid"
    listed = {p["payment_id"]: p["payment"] for p in first.get(lapsed).json()["payments"]}
    assert listed == {f"late-{lapsed}": "refund_due", f"later-{lapsed}": "paid"}
    assert system.counts(item) == (1, 0, 0, 1)


def test_late_payment_respects_the_limit(system):
    item = system.open(stock=5, limit=1, hold_ms=200)
    shopper = system.shopper()
    lapsed = shopper.reserve(item)
    wait_until(lambda: shopper.state(lapsed) == "expired", 60, "the hold expires")
    system.ctl("sale", "change", item, "--hold-ms=60000")
    shopper.reserve(item)
    late = shopper.pay(lapsed, f"late-{lapsed}").json()
    assert (late["payment"], late["reason"]) == ("refund_due", "limit_reached")


def test_payment_before_its_order(system):
    item = system.open(stock=1)
    shopper = system.shopper()
    where = system.partition_of(item)
    order = keyed_order_id(where, shopper.user, item, "early")
    offset = system.append(
        where, {"type": "pay", "order_id": order, "payment_id": f"early-{order}", "user_id": shopper.user}
    )
    event = system.outcome(where, offset)["events"][-1]
    assert (event["type"], event["reason"]) == ("refund_due", "unknown_order")
    assert shopper.reserve(item, key="early") == order
    again = shopper.pay(order, f"early-{order}").json()
    assert (again["payment"], again["first_payment"]) == ("duplicate", "refund_due")
    assert shopper.state(order) == "reserved"


def test_same_payment_twice_and_on_two_orders(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()
    one, two = shopper.reserve(item), shopper.reserve(item)
    assert shopper.pay(one, f"once-{one}").json()["payment"] == "paid"
    twice = shopper.pay(one, f"once-{one}").json()
    assert (twice["payment"], twice["first_payment"], twice["first_order_id"]) == ("duplicate", "paid", one)
    other = shopper.pay(two, f"once-{one}").json()
    assert (other["payment"], other["first_payment"], other["first_order_id"]) == ("duplicate", "paid", one)
    assert shopper.state(two) == "reserved"
    second = shopper.pay(one, f"another-{one}").json()
    assert (second["payment"], second["reason"]) == ("refund_due", "already_paid")
    assert system.counts(item) == (5, 3, 1, 1)


def lapse(system, shopper, item, order):
    wait_until(lambda: shopper.state(order) == "expired", 60, "the hold expires")


ENDS = {
    "cancelled": lambda system, shopper, item, order: shopper.cancel(order),
    "paid": lambda system, shopper, item, order: shopper.pay(order, f"pay-{order}"),
    "expired": lapse,
    "rejected": None,
}


@pytest.mark.parametrize("state", ENDS)
def test_duplicate_of_an_orders_record_changes_nothing(system, state):
    item = system.open(stock=1 if state == "rejected" else 5, limit=5, hold_ms=300 if state == "expired" else 60000)
    where = system.partition_of(item)
    shopper = system.shopper()
    order = keyed_order_id(where, shopper.user, item, "k")
    record = {
        "type": "order",
        "order_id": order,
        "item_id": item,
        "user_id": shopper.user,
        "qty": 2 if state == "rejected" else 1,
        "not_after": 9007199254740991,
    }
    system.outcome(where, system.append(where, record))
    if ENDS[state]:
        ENDS[state](system, shopper, item, order)
    else:
        system.ctl("sale", "restock", item, "10")  # stock for it now, yet its answer stands
    before = system.counts(item)
    event = system.outcome(where, system.append(where, record))["events"][-1]
    assert (event["type"], event["order_id"], event["state"]) == ("duplicate", order, state)
    assert shopper.state(order) == state
    assert system.counts(item) == before


def test_a_strangers_cancel_and_payment(system):
    item = system.open(stock=1)
    owner, stranger = system.shopper(), system.shopper()
    held = owner.reserve(item)
    answer = stranger.cancel(held)
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_order")
    paid = stranger.pay(held, f"theirs-{held}").json()
    assert (paid["payment"], paid["reason"]) == ("refund_due", "unknown_order")
    assert stranger.get(held).status_code == 404
    assert owner.state(held) == "reserved"
    assert {e["type"] for e in system.events_of(item, held)} == {"reserved", "refused", "refund_due"}


def test_same_restock_twice_counts_once(system):
    item = system.open(stock=1)
    system.ctl("sale", "restock", item, "5", f"--op-id=restock-{item}")
    again = system.ctl("sale", "restock", item, "5", f"--op-id=restock-{item}")
    assert "answered before" in again.stdout
    assert system.counts(item) == (6, 6, 0, 0)


def test_command_without_effect_and_the_one_after_it(system):
    item = system.open(stock=2)
    where = system.partition_of(item)
    shopper = system.shopper()
    silent = [system.append(where, {"type": "tick"}) for _ in range(3)]
    held = shopper.reserve(item)
    assert all(system.own_events(where, offset) == [] for offset in silent)
    outcomes = system.outcomes(where)
    previous = -1
    for offset in sorted(outcomes):
        assert outcomes[offset]["prev"] == previous
        previous = offset
    wait_until(
        lambda: system.rows("SELECT state FROM orders WHERE order_id = %s", held) == ((b"H",),)
        or system.rows("SELECT state FROM orders WHERE order_id = %s", held) == (("H",),),
        60,
        "MySQL has the order behind them",
    )


def test_sale_pauses_resumes_closes(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()
    held = shopper.reserve(item)
    for action, reason in (("pause", "paused"), ("close", "closed")):
        system.ctl("sale", action, item)
        wait_until(lambda r=reason: shopper.order(item).json().get("reason") == r, 60, reason)
        if action == "pause":
            assert shopper.pay(held, f"pay-{held}").json()["payment"] == "paid"
            system.ctl("sale", "resume", item)
            wait_until(lambda: shopper.order(item).status_code == 201, 60, "open again")
    refused = system.ctl("sale", "resume", item, check=False)
    assert refused.returncode == 1
    assert "closed" in refused.stderr


def test_the_items_page_follows_the_sale(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()

    def page():
        shown = shopper.call("GET", f"/v1/items/{item}").json()
        return shown["available"], shown["held"], shown["sold"]

    def seconds_until(*counts):
        begin = time.monotonic()
        wait_until(lambda: page() == counts, 60, f"the page shows {counts}")
        return time.monotonic() - begin

    assert page() == (5, 0, 0)
    took = []
    for n in range(1, 6):
        held = shopper.reserve(item)
        reserved_s = seconds_until(5 - n, 1, n - 1)
        shopper.pay(held, f"pay-{held}")
        took.append(max(reserved_s, seconds_until(5 - n, 0, n)))
    # A page is fresh for a second; these are sooner, but for those in whose way something stood.
    assert min(took) < 0.9, took


def test_sale_window_is_log_time(system):
    item = system.open(stock=5, opens_at=9007199254740991 - 1)
    answer = system.shopper().order(item)
    assert (answer.status_code, answer.json()["reason"]) == (409, "not_open")


def test_total_below_what_is_committed_is_refused(system):
    item = system.open(stock=3, limit=3)
    system.shopper().reserve(item, qty=2)
    refused = system.ctl("sale", "change", item, "--stock=1", check=False)
    assert refused.returncode == 1
    assert "below_committed" in refused.stderr
    system.ctl("sale", "change", item, "--stock=2")
    assert system.counts(item) == (2, 0, 2, 0)


def test_malformed_records_are_answered_and_copied(system):
    where = 1
    bad = {
        b"": "not_json",
        b"{": "not_json",
        b'{"type":"nonsense"}': "unknown_type",
        b'{"type":"tick","more":1}': "unknown_field",
        b'{"type":"restock","op_id":"x"}': "missing_field",
        b'{"type":"restock","op_id":"x","item_id":"y@1","qty":0}': "bad_field",
        b'{"type":"restock","op_id":"x","item_id":"y@2","qty":1}': "wrong_partition",
        b'{"type":"tick","type":"tick"}': "not_json",
        b"x" * 5000: "too_large",
        None: "null_value",
    }
    dead = len(system.read("seckill.dead", where))
    offsets = {system.append(where, value): detail for value, detail in bad.items()}
    system.outcome(where, max(offsets))
    outcomes = system.outcomes(where)
    for offset, detail in offsets.items():
        event = outcomes[offset]["events"][-1]
        assert (event["type"], event["reason"], event["detail"]) == ("refused", "malformed", detail)
    wait_until(lambda: len(system.read("seckill.dead", where)) >= dead + len(bad), 60, "their copies")
    # The partition goes on.
    item = system.open(stock=1, partition=where)
    system.shopper().reserve(item)


def test_unkeyed_order_of_another_partition_is_malformed(system):
    item = system.open(stock=1, partition=1)
    record = {
        "type": "order",
        "order_id": order_id(2),
        "item_id": item,
        "user_id": "u",
        "qty": 1,
        "not_after": 9007199254740991,
    }
    event = system.outcome(1, system.append(1, record))["events"][-1]
    assert (event["reason"], event["detail"]) == ("malformed", "wrong_partition")
    assert system.counts(item) == (1, 1, 0, 0)
