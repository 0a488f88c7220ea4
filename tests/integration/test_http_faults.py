"""The door's HTTP contract when something is amiss: limits, overload, servers away, clients that leave."""

import itertools
import json
import os
import re
import secrets
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import confluent_kafka
import pytest
import requests
from lib import kafka
from lib.door import door, problem, stopped
from lib.kafka import next_record, reader
from lib.system import order_id, token
from lib.wait import wait_until
from lib.world import World


def test_a_redis_that_went_back_does_not_deny_an_order(system):
    """Failed over to a replica that lacks the newest records, while the record in MySQL lags too."""
    item = system.open(stock=5)
    keys = f"seckill:{{{system.partition_of(item)}}}:"
    shopper = system.shopper()
    with stopped(system, "guardian"):
        order = shopper.reserve(item)
        with stopped(system, "matcher"), system.redis() as store:
            watermark = int(store.hget(keys + "log", "watermark"))
            orders = store.hget(keys + "orders", shopper.user)
            try:
                store.hset(keys + "log", "watermark", watermark - 1)
                problem(shopper.get(order, patient=False), 503, "recovering")  # reserved then; and now?
                store.hdel(keys + "orders", shopper.user)
                problem(shopper.get(order, patient=False), 503, "recovering")
                problem(shopper.get(order, wait=1, patient=False), 503, "recovering")
            finally:
                store.hset(keys + "orders", shopper.user, orders)
                store.hset(keys + "log", "watermark", watermark)
            assert shopper.state(order) == "reserved"
    system.await_ready()


def test_who_waits_while_redis_recovers_does_not_hear_the_past(system):
    """Outcomes are told again then: what the order was once is not what it is."""
    item = system.open(stock=5)
    partition = system.partition_of(item)
    keys = f"seckill:{{{partition}}}:"
    shopper = system.shopper()
    with ThreadPoolExecutor() as pool, stopped(system, "guardian"):
        order = shopper.reserve(item)
        held = next(v for _, v in system.read("seckill.outcomes", partition) if order.encode() in v)
        assert shopper.pay(order, f"pay-{secrets.token_hex(4)}").json()["payment"] == "paid"
        with stopped(system, "matcher"), system.redis() as store:
            watermark = int(store.hget(keys + "log", "watermark"))
            orders = store.hget(keys + "orders", shopper.user)
            try:
                store.hset(keys + "log", "watermark", watermark - 2)
                store.hdel(keys + "orders", shopper.user)
                answer = pool.submit(shopper.get, order, wait=60, patient=False)
                wait_until(lambda: system.metric("seckill_producer_waiters") == 1, 60, "a waiter")
                told = system.metric("seckill_producer_outcomes_total")
                producer = confluent_kafka.Producer({"bootstrap.servers": system.env["KAFKA_BROKERS"]})
                producer.produce("seckill.outcomes", held, None, partition)
                assert producer.flush(60) == 0
                wait_until(lambda: system.metric("seckill_producer_outcomes_total") > told, 60, "it is told again")
                assert not answer.done(), answer.result().text
            finally:
                store.hset(keys + "orders", shopper.user, orders)
                store.hset(keys + "log", "watermark", watermark)
            shown = answer.result(timeout=20).json()  # long before its deadline: it is looked up again
            assert shown["state"] == "paid", shown
    system.await_ready()


def test_a_repeated_order_does_not_hear_the_past(system, world):
    """Where Kafka lost outcomes they are told again, behind later ones that the door has read since."""
    world.put(0, world.open("thing@0", 5))
    matcher = world.matcher().ready()
    with door(system, "producer-past", **world.settings) as mine, ThreadPoolExecutor() as pool:

        def told():
            text = requests.get(mine.url + "/metrics", timeout=60).text
            return system.metric("seckill_producer_outcomes_total", text)

        other, shopper = mine.shopper(), mine.shopper()
        order = other.reserve("thing@0")
        past = next(v for _, v, _ in world.records(world.outcomes, 0) if order.encode() in v).decode()
        matcher.process.send_signal(signal.SIGSTOP)
        placed = shopper.order("thing@0", key="k", wait=0).json()
        answer = pool.submit(shopper.order, "thing@0", key="k", wait=60)
        wait_until(lambda: waiters(mine) == 1, 60, "a waiter")
        before = told()
        producer = confluent_kafka.Producer({"bootstrap.servers": world.brokers})
        past = past.replace(order, placed["order_id"]).replace(other.user, shopper.user)
        producer.produce(world.outcomes, past, None, 0)
        assert producer.flush(60) == 0
        wait_until(lambda: told() > before, 60, "it is told")
        matcher.process.send_signal(signal.SIGCONT)
        shown = answer.result(timeout=60).json()
    assert (shown["state"], shown["position"]) == ("reserved", placed["position"]), shown


def test_an_order_that_is_decided_is_not_told_as_queued(system):
    """Beyond the limit, so nothing remembers it: Redis is past its record, and its outcome is not there yet."""
    item = system.open(stock=5)
    log = f"seckill:{{{system.partition_of(item)}}}:log"
    with stopped(system, "guardian"), stopped(system, "matcher"), system.redis() as store:
        before = system.shopper().order(item, wait=None).json()["position"]
        watermark = store.hget(log, "watermark")
        try:
            store.hset(log, "watermark", before + 1)
            answer = system.shopper().order(item, wait=1)
        finally:
            store.hset(log, "watermark", watermark)
        shown = answer.json()
        assert (answer.status_code, shown["state"], shown["position"]) == (202, "unknown", before + 1), shown
        assert "records_ahead" not in shown and "receipt" in shown
        answer = system.shopper().order(item, wait=1)
        assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    wait_until(lambda: system.counts(item) == (5, 2, 3, 0), 60, "the decisions")


def test_a_refund_has_its_reason_whoever_tells_it(system, network):
    """Redis has decided the payment, its outcome is not there yet, and others' items are looked up with it."""
    item = system.open(stock=5)
    partition = system.partition_of(item)
    keys = f"seckill:{{{partition}}}:"
    link = network.link("redis")
    link.aim(system.env["REDIS_HOST"], int(system.env["REDIS_PORT"]))
    settings = {"SECKILL_REDIS_HOST": "127.0.0.1", "SECKILL_REDIS_PORT": link.port, "SECKILL_REDIS_TIMEOUT": "50s"}
    payment = f"pay-{secrets.token_hex(4)}"
    with door(system, "producer-look", **settings) as other:
        shopper = other.shopper()
        order = shopper.reserve(item)
        assert shopper.cancel(order).json()["state"] == "cancelled"

        def metric(name):
            return system.metric(f"seckill_producer_{name}", requests.get(other.url + "/metrics", timeout=60).text)

        def show(n):
            return other.shopper().call("GET", f"/v1/items/{secrets.token_hex(8)}{n}@{partition}", None)

        with (
            ThreadPoolExecutor() as pool,
            stopped(system, "guardian"),
            stopped(system, "matcher"),
            system.redis() as store,
        ):
            offset = shopper.order(item, key="k", wait=None).json()["position"] + 1
            watermark, orders = store.hget(keys + "log", "watermark"), store.hget(keys + "orders", shopper.user)
            assert orders.endswith(" -")
            placed, over = metric("delivered_total"), metric("wait_over_total")
            paying = pool.submit(shopper.pay, order, payment, 15)
            wait_until(lambda: metric("delivered_total") == placed + 1, 60, "the payment is placed")
            # Partitions are looked up once a second; the payment was, too, between two such times.
            asked = metric("lookups_total") + 2 * system.partitions
            wait_until(lambda: metric("lookups_total") > asked, 60, "its first look-up")
            link.clog()
            try:
                store.hset(keys + "payments", payment, f"R 10 {order} {offset}")
                store.hset(keys + "orders", shopper.user, f"{orders[:-1]}R{payment}")
                store.hset(keys + "log", "watermark", offset)
                items = [pool.submit(show, n) for n in range(4)]
                wait_until(lambda: metric("calls") == 5, 60, "theirs")
                wait_until(lambda: metric("wait_over_total") == over + 1, 60, "its last, with them")
                link.heal()
                told = paying.result().json()
                assert {shown.result().status_code for shown in items} == {404}
            finally:
                link.heal()
                store.hset(keys + "log", "watermark", watermark)
                store.hset(keys + "orders", shopper.user, orders)
                store.hdel(keys + "payments", payment)
        assert (told["payment"], told["reason"]) == ("refund_due", "already_cancelled"), told
    system.await_ready()


@pytest.fixture
def world(stack, tmp_path):
    """A log and a part of Redis of its own, that the test may empty; MySQL knows none of it."""
    w = World(stack, tmp_path, partitions=int(stack.env["SECKILL_PARTITIONS"])).genesis()
    yield w
    w.close()


def waiters(at):
    """Who wait at a door of the test's own."""
    return at.system.metric("seckill_producer_waiters", requests.get(at.url + "/metrics", timeout=60).text)


def test_a_door_that_begins_while_redis_is_filled_again(system, world):
    """The newest outcome is an old one then; what others told since, the log alone can say."""
    world.put(0, world.open("thing@0", 5))
    matcher = world.matcher().ready()
    with door(system, "producer-before", **world.settings) as before:
        one, two = before.shopper(), before.shopper()
        gone = one.reserve("thing@0", key="k")
        first = world.log_end(0) - 1
        assert one.cancel(gone).json()["state"] == "cancelled"
        held = two.reserve("thing@0", key="k")
    world.put(0, world.open("new@0", 5))
    world.applied()
    matcher.kill()
    told = world.log_end(0, world.outcomes)
    for name in world.redis.scan_iter(world.key(0, "*")):
        world.redis.delete(name)
    matcher = world.matcher(remembered_max=1, batch_max=1)  # holds where the first order was reserved
    wait_until(lambda: world.log_end(0, world.outcomes) == told + first + 1, 60, "it is filled in part")
    assert world.position(0) == first
    with door(system, "producer-behind", **world.settings) as late, ThreadPoolExecutor() as pool:
        one, two, new = late.shopper(one.user), late.shopper(two.user), late.shopper()
        problem(one.order("thing@0", key="k", patient=False), 503, "recovering")
        problem(one.get(gone, patient=False), 503, "recovering")
        problem(two.order("thing@0", key="k", patient=False), 503, "recovering")
        problem(two.get(held, patient=False), 503, "recovering")
        problem(new.order("new@0", patient=False), 503, "recovering")
        problem(new.order("thing@0", patient=False), 503, "recovering")
        problem(new.call("GET", "/v1/items/new@0", patient=False), 503, "recovering")
        asked = pool.submit(one.get, gone, wait=60, patient=False)
        wait_until(lambda: waiters(late) == 1, 60, "he waits")
        assert requests.get(late.url + "/readyz", timeout=60).status_code == 200  # payments and cancels go on
        matcher.kill()
        world.matcher()
        assert asked.result().json()["state"] == "cancelled"
        assert one.order("thing@0", key="k").json()["state"] == "cancelled"
        assert two.order("thing@0", key="k").json()["order_id"] == held
        assert new.order("new@0").status_code == 201
    assert world.complaints() == []


def test_a_door_finds_the_outcomes_again(system, world):
    """The topic was made anew: the door's place in it is none, and it reads on as at its start."""
    world.put(0, world.open("thing@0", 9))
    matcher = world.matcher().ready()
    with door(system, "producer-stuck", **world.settings) as mine:

        def read():
            text = requests.get(mine.url + "/metrics", timeout=60).text
            return int(re.search(r'seckill_producer_outcome_offset{partition="0"} (-?\d+)', text)[1])

        def newest():
            return world.log_end(0) - 1

        for _ in range(3):
            mine.shopper().reserve("thing@0")
        wait_until(lambda: read() == newest(), 60, "it reads what is told")
        world.applied()
        matcher.kill()
        kafka.delete_topic(world.brokers, world.outcomes)
        kafka.make_topics(world.brokers, [kafka.new_topic(world.outcomes, world.partitions)])
        world.matcher().ready()
        wait_until(lambda: mine.shopper().order("thing@0").status_code == 201, 60, "orders are decided")
        wait_until(lambda: read() == newest(), 60, "it reads again")
    assert "stream.stuck" in system.stack.log("producer-stuck")


def test_a_door_that_begins_while_no_matcher_runs(system, world):
    """All in the log is decided: it takes orders.  Some is not: it cannot know whether Redis went back."""
    world.put(0, world.open("thing@0", 5))
    matcher = world.matcher().ready()
    world.applied()
    matcher.process.send_signal(signal.SIGSTOP)
    with door(system, "producer-before", **world.settings) as before, ThreadPoolExecutor() as pool:
        early = before.shopper()
        placed = early.order("thing@0", wait=None, patient=False)
        assert placed.status_code == 202, placed.text
        with door(system, "producer-behind", **world.settings) as late:
            again = late.shopper(early.user)
            shown = again.call("GET", placed.headers["Location"]).json()
            assert shown["state"] == "unknown", shown
            problem(late.shopper().order("thing@0", patient=False), 503, "recovering")
            asked = pool.submit(again.call, "GET", placed.headers["Location"], 60)
            wait_until(lambda: waiters(late) == 1, 60, "he waits")
            matcher.process.send_signal(signal.SIGCONT)
            assert asked.result().json()["state"] == "reserved"
            assert late.shopper().order("thing@0").status_code == 201
    assert world.complaints() == []


def refused(ask, least, most, admitted=202):
    """The first answer that is another: after so many that were not, and one more per second that it took."""
    begin, count = time.monotonic(), 0
    while (answer := ask()).status_code == admitted:
        count += 1
        assert count <= most + (time.monotonic() - begin) + 1, count
    assert count >= least
    return answer


def test_rates(system):
    item = system.open(stock=100, limit=100)
    settings = {"SECKILL_RATE_USER": 1, "SECKILL_BURST_USER": 2, "SECKILL_RATE_GLOBAL": 1, "SECKILL_BURST_GLOBAL": 6}
    with door(system, "producer-rates", **settings) as limited:
        greedy = limited.shopper()
        problem(refused(lambda: greedy.order(item, wait=None), 2, 2), 429, "rate_user")
        problem(refused(lambda: greedy.get(order_id(0)), 0, 2, 404), 429, "rate_user")
        problem(refused(lambda: limited.shopper().order(item, wait=None), 1, 6), 503, "rate_global")
        text = requests.get(limited.url + "/metrics", timeout=60).text
        assert 'refused_total{reason="rate_user",kind="RATE_USER"} 2' in text


def test_rates_per_item_and_address(system):
    items = system.open(stock=100), system.open(stock=100)
    settings = {
        "SECKILL_RATE_ITEM": 1,
        "SECKILL_BURST_ITEM": 2,
        "SECKILL_RATE_IP": 1,
        "SECKILL_BURST_IP": 5,
        "SECKILL_TRUSTED_PROXIES": "127.0.0.1",
    }
    with door(system, "producer-rates", **settings) as limited:

        def order(item, address):
            return limited.shopper().call(
                "POST", "/v1/orders", None, {"X-Forwarded-For": address}, json={"item_id": item}
            )

        addresses = itertools.count(1)
        problem(refused(lambda: order(items[0], f"192.0.2.{next(addresses)}"), 2, 2), 503, "rate_item")
        assert order(items[1], "198.51.100.1").status_code == 202

        def show():
            return limited.shopper().call("GET", f"/v1/items/{items[1]}", None, {"X-Forwarded-For": "198.51.100.1"})

        problem(refused(show, 0, 5, 200), 429, "rate_ip")
        assert order(items[1], "203.0.113.9").status_code == 202


def test_unknown_is_told_as_unknown(system):
    item = system.open(stock=5, limit=5)
    system.expected.append("kafka|publish|group|outcome|query")

    def unknown(text):
        return system.metric("seckill_producer_unknown_total", text)

    with door(system, "producer-short", SECKILL_SEND_TIMEOUT="2s") as short:
        keyed, unkeyed = short.shopper(), short.shopper()
        wait_until(lambda: keyed.order(item, key="warm").status_code in (200, 201), 60, "it is connected")
        before = unknown(requests.get(short.url + "/metrics", timeout=60).text)
        with stopped(system, "kafka"), ThreadPoolExecutor(2) as pool:
            one = pool.submit(keyed.order, item, 1, "k", None)
            two = pool.submit(unkeyed.order, item, 1, None, None)
            one, two = one.result(), two.result()
            text = requests.get(short.url + "/metrics", timeout=60).text
        # Frozen in mid-send: stored or not, nobody can say, and both are told so with their id.
        first, second = problem(one, 504, "unknown"), problem(two, 504, "unknown")
        assert "Idempotency-Key" in first["detail"]
        assert "second" in second["detail"]

        def retried():
            answer = keyed.order(item, key="k")
            return answer.status_code in (200, 201) and answer.json()["order_id"]

        assert wait_until(retried, 60, "the retry with the same key") == first["order_id"]
        held = wait_until(lambda: keyed.state(first["order_id"]) == "reserved", 60, "one order")
        assert held
        assert unknown(text) == before + 2
        conserved(system, text)
        conserved(system, requests.get(short.url + "/metrics", timeout=60).text)
    system.await_ready()


def test_a_kafka_client_at_its_end_is_replaced(system):
    """With orders in it: another takes over, what nobody knows is told as unknown, and a retry finds out."""
    item = system.open(stock=200)
    system.expected.append("kafka|publish")
    with door(system, "producer-fatal", SECKILL_FAILPOINT="send.fatal:50") as mine, ThreadPoolExecutor(32) as pool:
        shoppers = [mine.shopper() for _ in range(200)]
        answers = list(pool.map(lambda s: s.order(item, 1, "k", None, patient=False), shoppers))
        text = requests.get(mine.url + "/metrics", timeout=60).text
        assert {answer.status_code for answer in answers} <= {202, 503, 504}
        assert system.metric("seckill_producer_kafka_recreated_total", text) == 1
        assert conserved(system, text)["delivered_total"] > 0
        told = [answer.json()["order_id"] if answer.status_code in (202, 504) else None for answer in answers]

        def settled(shopper):
            answer = shopper.order(item, key="k")
            return answer.status_code in (200, 201) and answer.json()["order_id"]

        for shopper, order in zip(shoppers, told):
            found = wait_until(lambda s=shopper: settled(s), 60, "his order is decided")
            assert order in (None, found)
    assert system.counts(item) == (200, 0, 200, 0)


def conserved(system, text=None):
    text = text or requests.get(system.url + "/metrics", timeout=60).text
    counts = {
        name: system.metric(f"seckill_producer_{name}", text)
        for name in ("accepted_total", "delivered_total", "failed_total", "unknown_total", "inflight")
    }
    assert counts["accepted_total"] == sum(counts.values()) - counts["accepted_total"], counts
    return counts


def test_numbers_add_up_under_load(system):
    item = system.open(stock=50)
    with ThreadPoolExecutor(16) as pool:
        orders = [pool.submit(system.shopper().order, item, 1, None, None) for _ in range(200)]
        while not all(order.done() for order in orders):
            conserved(system)
        assert {order.result().status_code for order in orders} <= {202, 409}
    counts = conserved(system)
    assert counts["inflight"] == 0 and counts["delivered_total"] > 0


def test_without_redis_not_ready(system):
    item = system.open(stock=5)
    system.expected.append("redis|script|reconnect|lookup")
    system.stack.kill("redis")
    try:
        wait_until(
            lambda: requests.get(system.url + "/readyz", timeout=60).status_code == 503, 60, "not ready without Redis"
        )
        answer = system.shopper().order(item, wait=None, patient=False)
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
        assert requests.get(system.url + "/livez", timeout=60).status_code == 200
        verbose = requests.get(system.url + "/readyz?verbose", timeout=60).text
        assert "[-] redis" in verbose and "[+] serving" in verbose
    finally:
        system.stack.restart("redis")
    system.await_ready()
    wait_until(lambda: system.shopper().order(item).status_code == 201, 60, "orders again")


def test_a_master_that_becomes_a_replica(system):
    """It goes on answering, with what it knew."""
    item = system.open(stock=5)
    system.expected.append("redis|script|reconnect|lookup")
    system.redis().replicaof("127.0.0.1", "1")
    try:
        wait_until(lambda: not system.is_ready(), 60, "not ready with a replica")
    finally:
        system.redis().replicaof("NO", "ONE")
    system.await_ready()
    wait_until(lambda: system.shopper().order(item).status_code == 201, 60, "orders again")


def test_a_partition_without_a_state_does_not_shut_the_others(system, world):
    world.put(0, world.open("thing@0", 5))
    matcher = world.matcher().ready()
    world.applied()
    with door(system, "producer-some", **world.settings) as some:
        port = re.search(r"admin\.listening .*port=(\d+)", system.stack.log("producer-some"))[1]

        def checks(url):
            answer = requests.get(url + "/readyz?verbose", timeout=60)
            return answer.status_code, answer.text

        def forget(*partitions):
            for p in partitions:
                for name in world.redis.scan_iter(world.key(p, "*")):
                    world.redis.delete(name)

        matcher.kill()  # or it would fold the log
        forget(1)
        wait_until(lambda: "[+] partition-1: redis has no state" in checks(some.url)[1], 60, "it is seen")
        assert checks(some.url)[0] == 200
        assert checks(f"http://127.0.0.1:{port}") == checks(some.url)  # its own address, also where doors share a port
        assert some.shopper().order("thing@0", wait=None).status_code == 202
        own = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        assert system.metric("seckill_producer_placed", own) == 1  # as of now
        forget(*range(world.partitions))
        wait_until(lambda: checks(some.url)[0] == 503, 60, "nothing sells")
        assert "[-] partition-1: redis has no state" in checks(some.url)[1]


def test_a_slow_record_ends_no_wait_late(system):
    """What Redis does not know is asked of MySQL, which here takes longer than anybody waits."""
    item = system.open(stock=2, limit=1)
    shopper = system.shopper()
    shopper.reserve(item)
    with door(system, "producer-read", SECKILL_MYSQL_TIMEOUT="60s", SECKILL_MYSQL_THREADS=1) as other:
        there = other.shopper(shopper.user)
        with stopped(system, "matcher"):
            place = shopper.order(item, wait=None).headers["Location"]  # beyond the limit, and not remembered
        wait_until(lambda: there.call("GET", place).json()["state"] == "rejected", 60, "its decision")
        with stopped(system, "mysql"):
            for _ in range(2):  # one is being asked, the next stands in line
                problem(there.get(order_id(0), wait=1, patient=False), 503, "not_ready")
                shown = there.call("GET", place, 1, patient=False)
                assert (shown.status_code, shown.json()["state"]) == (200, "unknown"), shown.text
        wait_until(lambda: there.get(order_id(0)).status_code == 404, 60, "the record again")


def test_nobody_stands_in_line_for_a_slow_record_for_long(system, network):
    """Each question takes MySQL most of a second: the last of many is not asked any more."""
    link = network.link("mysql")
    link.aim(system.env["MYSQL_HOST"], int(system.env["MYSQL_PORT"]))
    settings = {
        "SECKILL_MYSQL_HOST": "127.0.0.1",
        "SECKILL_MYSQL_PORT": link.port,
        "SECKILL_MYSQL_TIMEOUT": "3s",
        "SECKILL_MYSQL_THREADS": 1,
    }
    with door(system, "producer-read", **settings) as other:
        try:
            link.delay(0.4)
            wait_until(lambda: other.shopper().get(order_id(0)).status_code == 404, 60, "the record")
            with ThreadPoolExecutor(16) as pool:
                asked = [pool.submit(other.shopper().get, order_id(0), None, False) for _ in range(16)]
                answers = {answer.result().status_code for answer in asked}
        finally:
            link.heal()
        assert answers == {404, 503}
        wait_until(lambda: other.shopper().get(order_id(0)).status_code == 404, 60, "a fast one again")


def test_sigterm_drains(system):
    item = system.open(stock=5)
    shopper = None
    with door(system, "producer-drain") as leaving:
        shopper = leaving.shopper()
        with stopped(system, "matcher"), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shopper.order, item, 1, None, 30)
            wait_until(
                lambda: system.metric("seckill_producer_waiters", requests.get(leaving.url + "/metrics", timeout=60).text)
                == 1,
                60,
                "a waiter",
            )
            system.stack.kill_daemon("producer-drain", signal.SIGTERM)
            answer = waiting.result()
        # The wait is cut short, and the order is told as what it is: accepted.
        assert answer.status_code == 202
        assert answer.headers["Connection"] == "close"
    log = system.stack.log("producer-drain")
    assert "program.leaving status=0" in log
    again = system.shopper(shopper.user)
    wait_until(lambda: again.state(answer.json()["order_id"]) == "reserved", 60, "the accepted order")


def test_a_second_signal_denies_nothing(system):
    """Cut short in mid-drain (SIGTERM twice), a door that has an order in the log does not say that it has not."""
    item = system.open(stock=5)
    with door(system, "producer-cut") as leaving:
        shopper = leaving.shopper()
        with stopped(system, "matcher"), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shopper.order, item, 1, None, 30)
            wait_until(
                lambda: system.metric(
                    "seckill_producer_delivered_total", requests.get(leaving.url + "/metrics", timeout=60).text
                )
                == 1,
                60,
                "an order in the log",
            )
            pid = int((system.stack.dir / "pid" / "producer-cut").read_text())
            before = system.stack.log("producer-cut").count("program.draining")
            os.kill(pid, signal.SIGTERM)
            wait_until(
                lambda: system.stack.log("producer-cut").count("program.draining") > before, 60, "the first is taken"
            )
            with suppress(ProcessLookupError):  # its drain need not take long
                os.kill(pid, signal.SIGTERM)
            answer = waiting.result()
        assert answer.status_code == 202, answer.text
        assert answer.json()["state"] == "queued"
    again = system.shopper(shopper.user)
    wait_until(lambda: again.state(answer.json()["order_id"]) == "reserved", 60, "the accepted order")


def test_a_client_that_leaves_at_once(system):
    """Gone before Kafka has its order: then nobody must wait for the decision."""
    item = system.open(stock=5)
    body = json.dumps({"item_id": item}).encode()
    host, _, port = system.url.rpartition("//")[2].partition(":")
    with stopped(system, "matcher"):
        for _ in range(20):
            bearer = token(system.secret, system.shopper().user)
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                connection.sendall(
                    b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nPrefer: wait=30\r\nContent-Type: application/json\r\n"
                    b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (bearer.encode(), len(body), body)
                )
        wait_until(
            lambda: system.metric("seckill_producer_waiters") + system.metric("seckill_producer_calls") == 0,
            60,
            "the end of all calls",
        )


def test_a_client_that_leaves_while_waiting(system):
    item = system.open(stock=5)
    bearer = token(system.secret, system.shopper().user)
    body = json.dumps({"item_id": item}).encode()
    host, _, port = system.url.rpartition("//")[2].partition(":")
    with stopped(system, "matcher"):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(
                b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nPrefer: wait=30\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (bearer.encode(), len(body), body)
            )
            wait_until(lambda: system.metric("seckill_producer_waiters") == 1, 60, "a waiter")
        wait_until(lambda: system.metric("seckill_producer_waiters") == 0, 60, "its end")
        wait_until(lambda: system.metric("seckill_producer_calls") == 0, 60, "the end of its call")
    wait_until(lambda: system.counts(item) == (5, 4, 1, 0), 60, "the order, all the same")


def test_who_leaves_before_the_order_is_placed_has_not_ordered(system):
    """Without a key nobody could ever ask for it; with one the owner may come again."""
    item = system.open(stock=5)
    body = json.dumps({"item_id": item}).encode()
    with door(system, "producer-left", SECKILL_REDIS_TIMEOUT="30s") as other:
        host, _, port = other.url.rpartition("//")[2].partition(":")

        def metric(name):
            return system.metric(name, requests.get(other.url + "/metrics", timeout=60).text)

        def order(extra):
            bearer = token(system.secret, system.shopper().user).encode()
            return (
                b"POST /v1/orders HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (extra, bearer, len(body), body)
            )

        with stopped(system, "redis"):
            # The last one's second order is read when the first is answered, and its client long gone.
            for sent in (
                order(b"Prefer: wait=30"),
                order(b"X: y"),
                order(b"Idempotency-Key: k"),
                order(b"Idempotency-Key: k") + order(b"X: y"),
            ):
                with socket.create_connection((host, int(port)), timeout=60) as connection:
                    connection.sendall(sent)
            wait_until(lambda: metric("seckill_producer_gone_total") == 4, 60, "all have left")
        wait_until(lambda: metric("seckill_producer_gone_total") == 5, 60, "what was sent ahead")
        wait_until(lambda: metric("seckill_producer_calls") == 0, 60, "the end of their calls")
        assert metric("seckill_producer_delivered_total") == 2
    wait_until(lambda: system.counts(item) == (5, 3, 2, 0), 60, "those with a key")


def test_a_trace_goes_along(system):
    item = system.open(stock=5)
    trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    shopper = system.shopper()
    position = {}
    for name, header in (("good", trace), ("bad", "00-xyz")):
        answer = shopper.call("POST", "/v1/orders", None, {"traceparent": header}, json={"item_id": item})
        assert answer.status_code == 202
        position[name] = answer.json()["position"]
    consumer = reader(system.env["KAFKA_BROKERS"])
    headers = {}
    for name, offset in position.items():
        consumer.assign([confluent_kafka.TopicPartition("seckill.orders", system.partition_of(item), offset)])
        message = next_record(consumer)
        assert message.offset() == offset
        headers[name] = message.headers()
    consumer.close()
    assert headers["good"] == [("traceparent", trace.encode())]
    assert not headers["bad"]
