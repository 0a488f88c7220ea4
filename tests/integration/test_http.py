"""The door's HTTP contract (docs/protocol.md section 7), against the real stack and a real matcher."""

import json
import re
import secrets
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from lib.door import door, post, problem, raw, stopped
from lib.system import order_id, token
from lib.wait import wait_until

# ------------------------------------------------------------------ orders


def test_an_accepted_order(system):
    item = system.open(stock=5)
    shopper = system.shopper()
    answer = shopper.order(item, wait=None)
    assert answer.status_code == 202
    body = answer.json()
    assert body["state"] == "queued"
    assert body["item_id"] == item and body["user_id"] == shopper.user and body["qty"] == 1
    assert int(answer.headers["Retry-After"]) >= 1
    place = answer.headers["Location"]
    assert place == f"/v1/orders/{body['order_id']}?receipt={body['receipt']}"
    shown = wait_until(
        lambda: (a := shopper.call("GET", place).json())["state"] == "reserved" and a, 60, "the decision"
    )
    assert shown["order_id"] == body["order_id"] and shown["position"] == body["position"]
    assert shown["due"] > 0 and shown["payments"] == []


@pytest.mark.parametrize("without_mysql", [(), ("--mysql-port=1",)])
def test_an_operator_is_shown_an_order(system, without_mysql):
    """Its user is in MySQL; else all orders in Redis are read for it."""
    order = system.shopper().reserve(system.open(stock=5))
    assert f'"{order}"' in system.ctl("order", "show", order, "--json", *without_mysql).stdout
    nobody = system.ctl("order", "show", order[:-4] + "0000", *without_mysql, check=False)
    assert nobody.returncode == 1 and "unknown_order" in nobody.stderr


def test_a_decision_waited_for(system):
    item = system.open(stock=1)
    winner, loser = system.shopper(), system.shopper()
    answer = winner.order(item)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/orders/{answer.json()['order_id']}"
    assert winner.get(answer.json()["order_id"]).json() == answer.json()
    answer = loser.order(item)
    problem(answer, 409, "sold_out")


def test_the_log_rejects_what_the_gate_lets_pass(system):
    item = system.open(stock=5, limit=1)
    shopper = system.shopper()
    first = shopper.reserve(item)
    answer = shopper.order(item, key="second")
    body = problem(answer, 409, "limit_reached")
    assert body["state"] == "rejected" and body["order_id"] != first
    shown = shopper.get(body["order_id"]).json()
    assert (shown["state"], shown["reason"]) == ("rejected", "limit_reached")


def test_prefer_wait_is_a_bound(system):
    item = system.open(stock=5)
    with stopped(system, "matcher"):
        shopper = system.shopper()
        before = time.monotonic()
        answer = shopper.order(item, wait=1)
        assert answer.status_code == 202
        assert 0.9 <= time.monotonic() - before < 25  # without a bound of its own it would be 30
        order = answer.json()["order_id"]
        shown = shopper.call("GET", answer.headers["Location"]).json()
        assert shown["state"] == "queued" and shown["records_ahead"] >= 0
        # This door placed it, so it knows without the receipt; a stranger learns nothing.
        assert shopper.state(order) == "queued"
        problem(system.shopper().get(order), 404, "unknown_order")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shopper.get, order, 30)
            wait_until(lambda: system.metric("seckill_producer_waiters") == 1, 60, "a waiter")
            system.stack.kill_daemon("matcher", signal.SIGCONT)
            assert waiting.result().json()["state"] == "reserved"


def test_prefer_that_is_nonsense_is_ignored(system):
    item = system.open(stock=5)
    for prefer in ("wait=soon", "wait=-1", "respond-async", "wait=0"):
        answer = system.shopper().call("POST", "/v1/orders", None, {"Prefer": prefer}, json={"item_id": item})
        assert answer.status_code == 202, prefer


BAD_ORDERS = {
    "empty": ("", 400, "bad_json"),
    "not json": ("{", 400, "bad_json"),
    "an array": ("[]", 400, "bad_json"),
    "two objects": ('{"item_id":"a@0"}{}', 400, "bad_json"),
    "a name twice": ('{"item_id":"a@0","item_id":"a@0"}', 400, "bad_json"),
    "bad utf-8": (b'{"item_id":"\xff"}', 400, "bad_json"),
    "a NUL": ('{"item_id":"a\\u0000"}', 400, "bad_json"),
    "no item": ("{}", 400, "bad_field"),
    "item a number": ('{"item_id":7}', 400, "bad_field"),
    "item null": ('{"item_id":null}', 400, "bad_field"),
    "item empty": ('{"item_id":""}', 400, "bad_field"),
    "item too long": (json.dumps({"item_id": "x" * 65}), 400, "bad_field"),
    "item with unicode": (json.dumps({"item_id": "téléphone"}), 400, "bad_field"),
    "item with a blank": ('{"item_id":"a b"}', 400, "bad_field"),
    "item with a quote": ('{"item_id":"a\\"b"}', 400, "bad_field"),
    "item in no partition": ('{"item_id":"a@4095"}', 400, "bad_field"),
    "qty 0": ('{"item_id":"a@0","qty":0}', 400, "bad_field"),
    "qty negative": ('{"item_id":"a@0","qty":-1}', 400, "bad_field"),
    "qty too large": ('{"item_id":"a@0","qty":1001}', 400, "bad_field"),
    "qty a fraction": ('{"item_id":"a@0","qty":1.5}', 400, "bad_field"),
    "qty a float": ('{"item_id":"a@0","qty":1.0}', 400, "bad_field"),
    "qty a string": ('{"item_id":"a@0","qty":"1"}', 400, "bad_field"),
    "qty true": ('{"item_id":"a@0","qty":true}', 400, "bad_field"),
    "qty huge": ('{"item_id":"a@0","qty":1e400}', 400, "bad_json"),
    "unknown member": ('{"item_id":"a@0","price":1}', 400, "unknown_field"),
    "user in the body": ('{"item_id":"a@0","user_id":"victim"}', 400, "unknown_field"),
    "deep nesting": ("[" * 3000 + "]" * 3000, 413, "body_too_large"),
}


@pytest.mark.parametrize("name", BAD_ORDERS)
def test_bad_orders(system, name):
    body, status, reason = BAD_ORDERS[name]
    answer = post(system, body)
    if status == 413:
        assert answer.status_code == 413
    else:
        problem(answer, status, reason)


def test_bad_headers(system):
    good = '{"item_id":"a@0"}'
    problem(post(system, good, Content_Type=None), 415, "unsupported_media_type")
    problem(post(system, good, Content_Type="text/plain"), 415, "unsupported_media_type")
    problem(post(system, good, Content_Type="application/json; charset=latin1"), 415, "unsupported_media_type")
    for key in ("", '""', "x" * 256, '"open', 'a"b', "a\tb"):
        problem(post(system, good, Idempotency_Key=key), 400, "bad_key")
    problem(post(system, good, Authorization=None), 401, "unauthenticated")
    answer = post(system, good, Authorization="Basic dGVzdDp0ZXN0")
    problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


BAD_TOKENS = {
    "garbage": lambda s: "garbage",
    "of another secret": lambda s: token("x" * 64, "u"),
    "expired": lambda s: token(s, "u", exp=int(time.time()) - 3600),
    "for ever": lambda s: token(s, "u", exp=None),
    "not yet": lambda s: token(s, "u", nbf=int(time.time()) + 3600),
    "of nobody": lambda s: token(s, "u", sub=None),
    "with a number as user": lambda s: token(s, "u", sub=7),
    "with an empty user": lambda s: token(s, ""),
    "with a comma in the user": lambda s: token(s, "a,b"),
    "with a long user": lambda s: token(s, "u" * 65),
    "with a unicode user": lambda s: token(s, "zoë"),
    "without its signature": lambda s: token(s, "u").rpartition(".")[0] + ".",
    "that names no algorithm": lambda s: "eyJhbGciOiJub25lIn0." + token(s, "u").split(".")[1] + ".",
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_tokens(system, name):
    answer = post(system, '{"item_id":"a@0"}', Authorization="Bearer " + BAD_TOKENS[name](system.secret))
    problem(answer, 401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_paths_and_methods(system):
    shopper = system.shopper()
    problem(shopper.call("GET", "/"), 404, "not_found")
    problem(shopper.call("GET", "/v1/orders/"), 404, "unknown_order")
    problem(shopper.call("GET", "/v1/orders/x/y/z"), 404, "not_found")
    problem(shopper.call("POST", "/v2/orders"), 404, "not_found")
    for path, allowed in (
        ("/v1/orders", "POST"),
        (f"/v1/orders/{order_id(0)}/payment", "POST"),
    ):
        answer = shopper.call("GET", path)
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == allowed
    assert shopper.call("PATCH", "/v1/orders").status_code == 501
    for bad in ("x", order_id(0).upper(), order_id(0)[:-1], order_id(4095), "0" * 36):
        problem(shopper.get(bad), 404, "unknown_order")
        problem(shopper.cancel(bad), 404, "unknown_order")
        problem(shopper.pay(bad, "p"), 404, "unknown_order")
    answer = requests.head(system.url + "/livez", timeout=60)
    assert answer.status_code == 200 and answer.content == b""


def test_keep_alive_and_pipelining(system):
    item = system.open(stock=10)
    bearer = token(system.secret, system.shopper().user)
    body = json.dumps({"item_id": item}).encode()
    one = (
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (bearer.encode(), len(body), body)
    )
    answer = raw(system, one * 3 + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 202 ") == 3
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert answer.index(b"HTTP/1.1 200 ") > answer.rindex(b"HTTP/1.1 202 ")


def test_metrics_asked_for_without_end_are_shown_again(system):
    """Each page made has another CPU time; they come faster than the door may spend on them."""
    host, _, port = system.url.rpartition("//")[2].partition(":")
    shown, n = [], 200
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        while len(set(shown)) == len(shown):
            assert len(shown) < 10000, "each was made anew"
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * n)
            pages = bytearray()
            while pages.count(b"\nseckill_build_info{") < n:
                pages += connection.recv(1 << 20)
            shown += re.findall(rb"\nprocess_cpu_seconds_total (.*)\n", pages)
    assert requests.get(system.url + "/livez", timeout=60).status_code == 200


# ------------------------------------------------------------------ keys


def test_same_key_same_payload(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()
    first = shopper.order(item, key="k")
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    for key in ("k", '"k"'):
        again = shopper.order(item, key=key)
        assert again.status_code == 200
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == first.json()
    order = first.json()["order_id"]
    shopper.cancel(order)
    assert shopper.order(item, key="k").json()["state"] == "cancelled"
    assert system.counts(item) == (5, 5, 0, 0)


def test_same_key_other_payload(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()
    shopper.reserve(item, key="k")
    problem(shopper.order(item, qty=2, key="k"), 422, "key_reused")
    assert system.counts(item) == (5, 4, 1, 0)


def test_same_key_other_user_or_item(system):
    items = system.open(stock=5), system.open(stock=5)
    users = system.shopper(), system.shopper()
    orders = {user.reserve(item, key="k") for item in items for user in users}
    assert len(orders) == 4


def test_a_key_in_flight_is_joined(system):
    item = system.open(stock=5, limit=5)
    shopper = system.shopper()
    with stopped(system, "matcher"), ThreadPoolExecutor(8) as pool:
        same = [pool.submit(system.shopper(shopper.user).order, item, 1, "k") for _ in range(7)]
        wait_until(lambda: system.metric("seckill_producer_waiters") == 7, 60, "seven waiters")
        # Other content is refused while the first is not even decided.
        problem(system.shopper(shopper.user).order(item, 2, "k"), 422, "key_reused")
        system.stack.kill_daemon("matcher", signal.SIGCONT)
        answers = [press.result() for press in same]
    assert {a.status_code for a in answers} == {201}
    assert len({a.json()["order_id"] for a in answers}) == 1
    assert sum("Idempotency-Replayed" in a.headers for a in answers) == 6
    assert system.counts(item) == (5, 4, 1, 0)


def test_the_last_units_owner_asks_again(system):
    item = system.open(stock=1)
    owner, other = system.shopper(), system.shopper()
    order = owner.reserve(item, key="mine")
    problem(other.order(item), 409, "sold_out")
    problem(other.order(item, key="late"), 409, "sold_out")
    for _ in range(5):
        answer = owner.order(item, key="mine", wait=None)
        assert answer.status_code == 200
        assert answer.json()["order_id"] == order and answer.json()["state"] == "reserved"


def test_without_redis_the_owner_does_not_hear_sold_out(system):
    item = system.open(stock=1)
    owner = system.shopper()
    owner.reserve(item, key="mine")
    system.expected.append("redis|lookup|script|reconnect")
    with stopped(system, "redis"):
        answer = owner.order(item, key="mine", wait=None, patient=False)
        assert answer.status_code == 503, answer.text
        assert answer.json()["reason"] in ("not_ready", "recovering", "queue_full")
    wait_until(lambda: owner.order(item, key="mine", wait=None).status_code == 200, 60, "Redis is back")
    system.await_ready()


# ------------------------------------------------------------------ gates


def test_the_gate_reopens_at_once(system):
    item = system.open(stock=1)
    first = system.shopper()
    order = first.reserve(item)
    for _ in range(5):
        second = system.shopper()
        problem(second.order(item, wait=None), 409, "sold_out")
        # The door that tells of the cancel has seen the unit come back.
        assert first.cancel(order).status_code == 200
        order = second.reserve(item)
        first = second


def test_the_gate_reopens_when_a_hold_lapses(system):
    def shut():
        """An item whose last unit is held; it may lapse before anybody hears that it is sold out."""
        item, other = system.open(stock=1, hold_ms=1500), system.shopper()
        system.shopper().reserve(item)
        answer = other.order(item, wait=None)
        if answer.status_code == 409:
            problem(answer, 409, "sold_out")
            return item, other
        return None

    item, other = wait_until(shut, 60, "a shut gate")
    wait_until(lambda: other.order(item).status_code == 201, 60, "a unit that lapsed")


def test_windows_and_pauses(system):
    shopper = system.shopper()
    now = int(time.time() * 1000)
    later = system.open(stock=5, opens_at=now + 3600000)
    problem(shopper.order(later), 409, "not_open")
    past = system.open(stock=5, opens_at=now - 7200000, closes_at=now - 3600000)
    problem(shopper.order(past), 409, "closed")
    item = system.open(stock=5)
    system.ctl("sale", "pause", item)
    wait_until(lambda: shopper.order(item).status_code == 409, 60, "the pause")
    problem(shopper.order(item), 409, "paused")
    system.ctl("sale", "resume", item)
    wait_until(lambda: shopper.order(item).status_code == 201, 60, "the end of the pause")
    system.ctl("sale", "close", item)
    wait_until(lambda: shopper.order(item).json().get("reason") == "closed", 60, "the end of the sale")


def test_an_item_that_nobody_sells(system):
    shopper = system.shopper()
    problem(shopper.order("nothing@0"), 404, "unknown_item")
    problem(shopper.order("nothing@0", key="k"), 404, "unknown_item")
    problem(shopper.call("GET", "/v1/items/nothing@0"), 404, "unknown_item")
    problem(shopper.call("GET", "/v1/items/no~thing"), 404, "unknown_item")


def test_an_item(system):
    item = system.open(stock=7, limit=3, price=999)
    shopper = system.shopper()
    shown = shopper.call("GET", f"/v1/items/{item}").json()
    assert shown["item_id"] == item and shown["state"] == "open"
    assert (shown["total"], shown["limit"], shown["price"]) == (7, 3, 999)
    assert abs(shown["server_time"] - time.time() * 1000) < 60000
    shopper.reserve(item, qty=2)

    def settled():
        now = shopper.call("GET", f"/v1/items/{item}").json()
        assert now["total"] == now["available"] + now["held"] + now["sold"]
        return now["held"] == 2

    wait_until(settled, 60, "two units held")


# ------------------------------------------------------------------ payments and cancels


def test_payments(system):
    item = system.open(stock=5, limit=5)
    shopper, stranger = system.shopper(), system.shopper()
    first, second = shopper.reserve(item), shopper.reserve(item)
    pay = f"pay-{secrets.token_hex(4)}"
    paid = shopper.pay(first, pay)
    assert paid.status_code == 200 and paid.json()["payment"] == "paid"
    again = shopper.pay(first, pay).json()
    assert (again["payment"], again["first_order_id"], again["first_payment"]) == ("duplicate", first, "paid")
    other = shopper.pay(second, pay).json()
    assert (other["payment"], other["first_order_id"]) == ("duplicate", first)
    twice = shopper.pay(first, pay + "-2").json()
    assert (twice["payment"], twice["reason"]) == ("refund_due", "already_paid")
    strange = stranger.pay(second, pay + "-3").json()
    assert (strange["payment"], strange["reason"]) == ("refund_due", "unknown_order")
    answer = shopper.pay(second, pay + "-4", wait=None)
    assert answer.status_code == 202 and answer.json()["payment"] == "queued"
    listed = shopper.get(first).json()["payments"]
    assert listed == [
        {"payment_id": pay, "payment": "paid"},
        {"payment_id": pay + "-2", "payment": "refund_due"},
    ]
    problem(post(system, "{}", f"/v1/orders/{first}/payment"), 400, "bad_field")
    problem(post(system, '{"payment_id":"a;b"}', f"/v1/orders/{first}/payment"), 400, "bad_field")
    problem(post(system, '{"payment_id":"a","amount":1}', f"/v1/orders/{first}/payment"), 400, "unknown_field")


def test_cancels(system):
    item = system.open(stock=5, limit=5)
    shopper, stranger = system.shopper(), system.shopper()
    order = shopper.reserve(item)
    problem(stranger.cancel(order), 404, "unknown_order")
    assert shopper.state(order) == "reserved"
    gone = shopper.cancel(order)
    assert gone.status_code == 200 and gone.json()["state"] == "cancelled"
    problem(shopper.cancel(order), 409, "already_cancelled")
    paid = shopper.reserve(item)
    shopper.pay(paid, f"pay-{secrets.token_hex(4)}")
    problem(shopper.cancel(paid), 409, "already_paid")
    assert shopper.cancel(paid, wait=None).status_code == 202
    problem(shopper.cancel(order_id(0)), 404, "unknown_order")


def test_a_cancel_does_not_hear_anothers_refusal(system):
    """Two of one order, which came between them: the first is refused, the second is not."""
    item = system.open(stock=5)
    p = system.partition_of(item)
    shopper, order = system.shopper(), order_id(p)
    cancel = {"type": "cancel", "order_id": order, "user_id": shopper.user}
    placed = {"type": "order", "order_id": order, "item_id": item, "user_id": shopper.user, "qty": 1}
    with ThreadPoolExecutor() as pool:
        with stopped(system, "matcher"):
            system.append(p, cancel)
            system.append(p, placed | {"not_after": int(time.time() * 1000) + 60000})
            answer = pool.submit(shopper.cancel, order)
            wait_until(lambda: system.metric("seckill_producer_waiters") == 1, 60, "a waiter")
        answer = answer.result(timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "cancelled"


# ------------------------------------------------------------------ receipts, the record


def test_receipts_are_signed(system):
    item = system.open(stock=5)
    shopper = system.shopper()
    body = shopper.order(item, wait=None).json()
    order, receipt = body["order_id"], body["receipt"]
    offset, _, mac = receipt.partition(".")
    for forged in (f"{int(offset) + 1}.{mac}", f"{offset}.{'0' * 32}", offset, "", f"{offset}.{mac}0", f"0{receipt}"):
        problem(shopper.call("GET", f"/v1/orders/{order}?receipt={forged}"), 400, "bad_request")
    assert shopper.call("GET", f"/v1/orders/{order}?receipt={receipt}").status_code == 200


def test_another_door_knows_the_place_by_the_receipt(system):
    item = system.open(stock=5)
    with door(system, "producer-other") as other:
        shopper = system.shopper()
        with stopped(system, "matcher"):
            answer = shopper.order(item, wait=None)
            order, place = answer.json()["order_id"], answer.headers["Location"]
            there = other.shopper(shopper.user)
            problem(there.get(order), 404, "unknown_order")
            shown = there.call("GET", place).json()
            assert shown["state"] == "queued" and shown["records_ahead"] >= 0
        wait_until(lambda: there.state(order) == "reserved", 60, "the decision at the other door")


def test_an_unkeyed_rejection_is_found_in_the_record(system):
    item = system.open(stock=2, limit=1)
    shopper = system.shopper()
    shopper.reserve(item)
    answer = shopper.order(item)
    body = problem(answer, 409, "limit_reached")
    shown = wait_until(
        lambda: (a := shopper.get(body["order_id"])).status_code == 200 and a.json(), 60, "the guardian's record"
    )
    assert (shown["state"], shown["reason"]) == ("rejected", "limit_reached")
