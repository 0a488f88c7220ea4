"""The commands that compare, and that they notice: seckill-guardian reconcile and verify."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lib.record import Record, clean
from lib.wait import holds_for, wait_until
from lib.world import order_id_of

# ---------------------------------------------------------------- reconcile


def at_rest(w):
    """A guardian goes on, the short holds have expired, and all is applied, recorded and equal."""
    if not w.guardians or w.guardians[-1].process.poll() is not None:
        w.guardian().ready()
    w.applied()
    w.lapse()
    w.caught_up()
    w.verify()
    return w


@pytest.fixture(scope="module")
def shop(stack, tmp_path_factory):
    """A log with some of everything in it, and a matcher."""
    w = Record(stack, tmp_path_factory.mktemp("shop"))
    try:
        w.migrate().genesis()
        w.matcher().ready()
        w.busy(600)
        yield w
        clean(at_rest(w))
    finally:
        w.close()


@pytest.fixture
def sold(shop):
    """The shop at rest.  A test that damages it repairs it; its guardian may be left stopped."""
    return at_rest(shop)


def some_user(w, p=0):
    user, value = next(iter(w.redis.hscan_iter(w.key(p, "orders"))))
    return user, value


def test_reconcile_clean(sold):
    report = sold.reconcile()
    assert report["status"] == "clean" and len(report["partitions"]) == 2
    assert report["compared"]["users"] > 100 and report["compared"]["payments"] > 20
    assert all(p["met"] and p["clean"] for p in report["partitions"])
    runs = sold.rows(
        "SELECT partition_id, clean FROM reconcile_runs WHERE run_id = %s ORDER BY partition_id", report["run_id"]
    )
    assert runs == ((0, 1), (1, 1))


@contextmanager
def traffic(w, pause_s, commands):
    """So many commands, a pause, and so on for as long as the block runs."""
    stop = threading.Event()

    def feed():
        seed = 50
        while not stop.wait(pause_s):
            w.busy(commands, seed=seed)
            seed += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        stop.set()
        feeder.join()


def test_reconcile_under_traffic(sold):
    with traffic(sold, 0.05, 50):
        for _ in range(3):
            sold.reconcile()
    sold.applied()


def test_reconcile_output(sold, tmp_path):
    quiet = sold.command("reconcile", "--quiet")
    assert (quiet.returncode, quiet.stdout) == (0, "")
    target = tmp_path / "reconcile.prom"
    loud = sold.command("reconcile", f"--prometheus={target}")
    assert loud.returncode == 0 and loud.stdout.startswith("clean: 2 partitions")
    assert "\nseckill_reconcile_status 0\n" in target.read_text()


def drifts(w, *parts):
    report = w.reconcile(1)
    assert report["status"] == "different" and not report["unchecked"]
    for part in parts:
        assert any(part in d for d in report["differences"]), (part, report["differences"])


def test_reconcile_sees_redis_edited(sold):
    r, key = sold.redis, sold.key(0, "orders")
    user, value = some_user(sold)
    r.hdel(key, user)
    drifts(sold, f"orders {user}: redis lacks it")
    r.hset(key, user, value.replace(" ", "0 ", 1))
    drifts(sold, f"orders {user}: redis")
    r.hset(key, user, value)
    r.hset(key, "ghost", value)
    drifts(sold, "orders ghost: mysql lacks it")
    r.hdel(key, "ghost")
    payment, answer = next(iter(r.hscan_iter(sold.key(0, "payments"))))
    r.hset(sold.key(0, "payments"), payment, "P 0 x 1")
    drifts(sold, f"payments {payment}: redis")
    r.hdel(sold.key(0, "payments"), payment)
    drifts(sold, f"payments {payment}: redis lacks it")
    r.hset(sold.key(0, "payments"), payment, answer)
    op, told = next(iter(r.hscan_iter(sold.key(0, "ops"))))
    r.hdel(sold.key(0, "ops"), op)
    drifts(sold, f"ops {op}: redis lacks it")
    r.hset(sold.key(0, "ops"), op, told)
    item, was = next(iter(r.hscan_iter(sold.key(0, "items"))))
    total, available, held, rest = was.split(" ", 3)
    # A counter below zero would be a corrupt item, on which the matcher halts.
    moved = 1 if int(held) > 0 else -1
    r.hset(sold.key(0, "items"), item, f"{total} {int(available) + moved} {int(held) - moved} {rest}")
    drifts(sold, f"{item}: available: redis")
    r.hset(sold.key(0, "items"), item, was.rsplit(" ", 1)[0] + " 77")
    drifts(sold, f"items {item}: redis")
    r.hset(sold.key(0, "items"), item, was)
    sold.reconcile()


def test_reconcile_sees_mysql_edited(sold):
    item = sold.rows("SELECT item_id FROM items WHERE available > 0 LIMIT 1")[0][0]
    sold.edit("UPDATE items SET available = available - 1, held = held + 1 WHERE item_id = %s", item)
    drifts(sold, f"{item.decode()}: available: redis", "in stock_ledger", "held in orders")
    sold.edit("UPDATE items SET available = available + 1, held = held - 1 WHERE item_id = %s", item)
    order = sold.rows("SELECT order_id, user_id FROM orders WHERE state = 'C' LIMIT 1")[0]
    sold.edit("UPDATE orders SET state = 'P' WHERE order_id = %s", order[0])
    drifts(sold, f"orders {order[1].decode()}: redis", "sold in orders")
    sold.edit("UPDATE orders SET state = 'C' WHERE order_id = %s", order[0])
    payment = sold.rows("SELECT payment_id FROM payments LIMIT 1")[0][0]
    sold.edit("UPDATE payments SET payment_id = 'other' WHERE payment_id = %s", payment)
    drifts(sold, "payments other: redis lacks it", f"payments {payment.decode()}: mysql lacks it")
    sold.edit("UPDATE payments SET payment_id = %s WHERE payment_id = 'other'", payment)
    entry = "WHERE partition_id = 0 ORDER BY log_offset LIMIT 1"
    sold.edit(f"UPDATE stock_ledger SET qty = qty + 1 {entry}")
    drifts(sold, "in stock_ledger")
    sold.edit(f"UPDATE stock_ledger SET qty = qty - 1 {entry}")


def test_reconcile_cannot_check(sold):
    assert sold.guardians[-1].stop() == 0
    report = sold.reconcile(2, timeout="2s")
    assert any("guardian" in u for u in report["unchecked"])
    none = sold.command("reconcile", "--timeout=2s", mysql_port=1)
    assert none.returncode == 2 and "unchecked" in none.stdout
    none = sold.command("reconcile", "--timeout=2s", redis_port=1)
    assert none.returncode == 2
    none = sold.command("reconcile", "--timeout=2s", kafka_brokers="127.0.0.1:1")
    assert none.returncode == 2


def test_one_reconcile_at_a_time(sold):
    db = sold.connect(sold.database)
    with db.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(CONCAT('seckill reconcile ', LEFT(DATABASE(), 40)), 0)")
        assert cursor.fetchall() == ((1,),)
    assert any("another reconcile" in u for u in sold.reconcile(2)["unchecked"])
    db.close()
    sold.reconcile()


def test_a_mark_that_comes_twice(sold):
    """Anybody may append one; the same run id again is a row of its own."""
    sold.put(0, {"type": "mark", "run_id": "mine"}, {"type": "mark", "run_id": "mine"})
    sold.caught_up()
    assert sold.rows("SELECT clean FROM reconcile_runs WHERE run_id = 'mine'") == ((1,), (1,))


# ---------------------------------------------------------------- verify


def differs(w, *parts):
    report = w.verify(1)
    for part in parts:
        assert any(part in d for d in report["differences"]), (part, report["differences"])


def test_verify_sees_changes(sold):
    r = sold.redis
    item, was = next(iter(r.hscan_iter(sold.key(1, "items"))))
    total, available, rest = was.split(" ", 2)
    r.hset(sold.key(1, "items"), item, f"{int(total) + 1} {int(available) + 1} {rest}")
    differs(sold, f"redis: items {item}: log")
    r.hset(sold.key(1, "items"), item, was)
    user, value = some_user(sold)
    r.hset(sold.key(0, "orders"), user, value + "x")
    differs(sold, f"redis: orders {user}: log")
    r.hdel(sold.key(0, "orders"), user)
    differs(sold, f"redis: orders {user}: redis lacks it")
    r.hset(sold.key(0, "orders"), user, value)
    item = sold.rows("SELECT item_id FROM items WHERE available > 0 LIMIT 1")[0][0]
    sold.edit("UPDATE items SET available = available - 1, held = held + 1 WHERE item_id = %s", item)
    differs(sold, "mysql: items", "held in orders")
    sold.edit("UPDATE items SET available = available + 1, held = held - 1 WHERE item_id = %s", item)
    order, user = sold.rows("SELECT order_id, user_id FROM orders WHERE state = 'P' LIMIT 1")[0]
    sold.edit("CREATE TABLE kept SELECT * FROM orders WHERE order_id = %s", order)
    sold.edit("DELETE FROM orders WHERE order_id = %s", order)
    differs(sold, f"mysql: orders {user.decode()}:", "sold in orders")
    sold.edit("INSERT INTO orders SELECT * FROM kept")


def test_verify_sees_changes_of_what_redis_forgets(sold):
    """A rejection that only MySQL keeps is compared with the log, too."""
    sold.put(0, sold.open("lamp@0", 1, 9), sold.order(0, "lamp@0", "ann", 2, order_id_of(0)))
    sold.applied()
    sold.caught_up()
    order = sold.rows("SELECT order_id FROM orders WHERE user_id = 'ann'")[0][0]
    sold.verify()
    sold.edit("UPDATE orders SET qty = qty + 1 WHERE order_id = %s", order)
    differs(sold, f"orders {order.decode()} ann lamp@0: forgotten, but not as the log says")
    sold.edit("UPDATE orders SET qty = qty - 1 WHERE order_id = %s", order)
    sold.edit("CREATE TABLE forgotten SELECT * FROM orders WHERE order_id = %s", order)
    sold.edit("DELETE FROM orders WHERE order_id = %s", order)
    differs(sold, f"mysql: lacks 1 forgotten orders, first {order.decode()} ann lamp@0")
    sold.edit("UPDATE forgotten SET user_id = 'bob'")
    sold.edit("INSERT INTO orders SELECT * FROM forgotten")
    differs(sold, "the log forgets no such order", "lacks 1 forgotten orders")
    sold.edit("UPDATE orders SET user_id = 'ann' WHERE order_id = %s", order)


def starts(report, *beginnings):
    """What differs is this, in this order, and nothing else."""
    found = report["differences"]
    assert [d[: len(b)] for d, b in zip(found, beginnings)] == list(beginnings), found
    assert len(found) == len(beginnings), found


USERS = ["zoe", "yan", "xia", "wim", "val"]  # their names are in the other order than their commands


def five_orders(w, item):
    """The offset of the last command that changed each of five users; the first one pays last."""
    orders = [w.order(0, item, f"{user}-{item}", 1, order_id_of(0)) for user in USERS]
    pay = {
        "type": "pay", "order_id": orders[0]["order_id"], "payment_id": f"pay-{item}", "user_id": orders[0]["user_id"]
    }
    offsets = w.put(0, w.open(item, 9, 9), *orders, pay, {"type": "tick"})
    w.applied()
    w.caught_up()
    w.verify()
    users = [order["user_id"] for order in orders]
    return [(offsets[i], users[i - 1]) for i in (2, 3, 4, 5)] + [(offsets[6], users[0])]


def test_verify_names_the_first_difference_in_redis(sold):
    changed = five_orders(sold, "lamp1@0")
    key = sold.key(0, "orders")
    was = {user: sold.redis.hget(key, user) for _, user in changed}
    sold.redis.hset(key, mapping={user: value.replace(" 1 ", " 2 ", 1) for user, value in was.items()})
    sold.redis.hset(key, "ghost", "nothing")
    # A key that the log never touched has no offset, and comes last.
    in_order = [f"partition 0: offset {offset}: redis: orders {user}: log" for offset, user in changed]
    starts(sold.verify(1), *in_order, "partition 0: no offset: redis: orders ghost: not in the log")
    sold.redis.hdel(key, *was)
    lacking = [text.replace(": log", ": redis lacks it") for text in in_order]
    starts(sold.verify(1), *lacking, "partition 0: no offset: redis: orders ghost: not in the log")
    sold.redis.hset(key, mapping=was)
    sold.redis.hdel(key, "ghost")
    first = sold.redis.hget(sold.key(0, "log"), "payments")
    sold.redis.hset(sold.key(0, "log"), "payments", "7")
    starts(sold.verify(1), f"partition 0: offset {changed[-1][0]}: redis: log payments: log \"{first}\", redis \"7\"")
    sold.redis.hset(sold.key(0, "log"), "payments", first)


def test_verify_names_the_first_difference_in_mysql(sold):
    changed = five_orders(sold, "lamp2@0")
    late = "WHERE partition_id = 0 AND user_id LIKE '%%-lamp2@0'"
    sold.edit(f"UPDATE orders SET due = due + 1 {late}")
    in_order = [f"partition 0: offset {offset}: mysql: orders {user}: log" for offset, user in changed]
    starts(sold.verify(1), *in_order)
    # The earlier of the two is named first, whoever has it.
    offset, user = changed[1]
    value = sold.redis.hget(sold.key(0, "orders"), user)
    sold.redis.hset(sold.key(0, "orders"), user, value + "x")
    in_order.insert(2, f"partition 0: offset {offset}: redis: orders {user}: log")
    starts(sold.verify(1), *in_order)
    sold.redis.hset(sold.key(0, "orders"), user, value)
    sold.edit(f"UPDATE orders SET due = due - 1 {late}")
    # One that is lacking is named, too, though another one makes the number right.
    pay = "UPDATE payments SET payment_id = %s WHERE payment_id = %s"
    sold.edit(pay, "ghost", "pay-lamp2@0")
    offset, user = changed[-1]
    starts(
        sold.verify(1),
        f"partition 0: offset {offset}: mysql: orders {user}: log",
        f"partition 0: offset {offset}: mysql: payments pay-lamp2@0: mysql lacks it",
        "partition 0: no offset: mysql: payments ghost: not in the log",
    )
    sold.edit(pay, "pay-lamp2@0", "ghost")


def test_verify_names_the_offset_of_a_counter(sold):
    """Of an item it is that of the last command that moved its stock; the row and the sums that must match it alike."""
    offsets = sold.put(
        0, sold.open("lamp3@0", 9, 9), sold.order(0, "lamp3@0", "ann3"), sold.order(0, "lamp3@0", "bob3", 99)
    )
    sold.applied()
    sold.caught_up()
    sold.verify()
    sold.edit("UPDATE items SET available = available - 1, held = held + 1 WHERE item_id = 'lamp3@0'")
    starts(
        sold.verify(1),
        f"partition 0: offset {offsets[1]}: lamp3@0: mysql: items 2, held in orders 1",
        f"partition 0: offset {offsets[1]}: lamp3@0: mysql: items 2, held in stock_ledger 1",
        f"partition 0: offset {offsets[1]}: lamp3@0: mysql: items 7, available in stock_ledger 8",
        f"partition 0: offset {offsets[1]}: mysql: items lamp3@0: log",
    )
    sold.edit("UPDATE items SET available = available + 1, held = held - 1 WHERE item_id = 'lamp3@0'")


def test_verify_under_traffic(sold):
    """What is on its way in Redis, its outbox with it, is compared where it stands."""
    with traffic(sold, 0.2, 30):
        for _ in range(2):
            sold.verify()
    sold.applied()


def test_verify_sees_keys_of_others(sold):
    sold.redis.set(sold.key(1, "extra"), "1")
    sold.redis.rpush(sold.key(1, "due:5"), "1 2 3 4")
    starts(
        sold.verify(1),
        'partition 1: no offset: redis: key "due:5": the log has no such hold_ms',
        'partition 1: no offset: redis: key "extra": the protocol has no such key',
    )
    sold.redis.delete(sold.key(1, "extra"), sold.key(1, "due:5"))


@pytest.fixture
def apart(stack, tmp_path):
    """A log of its own, of one partition, under rules 2."""
    w = Record(stack, tmp_path, 1)
    w.migrate().genesis()
    w.put(0, {"type": "rules", "rules": 2})
    w.guardian().ready()
    yield w
    w.close()


def test_verify_of_the_due_lists(apart):
    """Entries of orders that are over, or archived, may stand there until their time; no others."""
    w, item, m = apart, "done@0", apart.matcher().ready()
    orders = {user: w.order(0, item, user) for user in ("ann", "bob", "eve")}
    over = [{"type": "cancel", "order_id": orders[u]["order_id"], "user_id": u} for u in orders]
    w.put(0, w.open(item, 9, 9, 700000), *orders.values(), *over)
    w.put(0, {"type": "sale", "op_id": "close", "item_id": item, "action": "close"})
    (archived,) = w.put(0, {"type": "archive", "op_id": "archive", "item_id": item, "users": "ann,bob"})
    later = [w.order(0, "lamp@0", user) for user in ("sam", "kim")]
    _, first, second = w.put(0, w.open("lamp@0", 9, 9, 700000), *later)
    w.applied()
    w.caught_up()
    due = w.key(0, "due:700000")
    entries = w.redis.lrange(due, 0, -1)
    assert [e.split()[3] for e in entries] == ["ann", "bob", "eve", "sam", "kim"]
    w.verify()

    def finds(changed, *beginnings):
        w.redis.delete(due)
        w.redis.rpush(due, *changed)
        starts(w.verify(1), *(f"partition 0: {b}" for b in beginnings))

    foreign = "no offset: redis: due:700000 has {} entries that are not the log's, or not in their place: \"{}\""
    one_of_ann = entries[0].replace(" ann", " amy")
    finds([one_of_ann, *entries[1:]], foreign.format(1, one_of_ann))
    one_of_eve = entries[2].replace(" eve", " eva")
    finds([*entries[:2], one_of_eve, *entries[3:], "garbage"], foreign.format(2, one_of_eve))
    finds([*entries, entries[-1]], foreign.format(1, entries[-1]))
    lacks = "offset {}: redis: due:700000 lacks {} live holds"
    finds(entries[:4], lacks.format(second, 1))
    finds(entries[:3], lacks.format(first, 2))
    finds([*entries[:3], entries[4], entries[3]], lacks.format(first, 1), foreign.format(1, entries[3]))
    w.redis.delete(due)
    w.redis.rpush(due, *entries)
    w.verify()

    # What Redis holds of an order that was archived has the offset of the archive.
    value = f"{orders['ann']['order_id']} {item} 1 C 0 5 3 -"
    w.redis.hset(w.key(0, "orders"), "ann", value)
    starts(w.verify(1), f'partition 0: offset {archived}: redis: orders ann: no longer in the log, redis has "{value}"')
    w.redis.hdel(w.key(0, "orders"), "ann")
    w.verify()
    assert m.stop() == 0


@contextmanager
def list_reads(redis, key):
    """LRANGE of a list while the block runs, as (first, last); in the order in which they were asked."""
    before = redis.config_get("slowlog-*")
    redis.config_set("slowlog-max-len", 100000)
    redis.config_set("slowlog-log-slower-than", 0)
    redis.slowlog_reset()
    found = []
    try:
        yield found
        asked = [e["command"].decode().split() for e in reversed(redis.slowlog_get(100000))]
        found.extend((int(words[2]), int(words[3])) for words in asked if words[:2] == ["LRANGE", key])
    finally:
        for name, value in before.items():
            redis.config_set(name, value)
        redis.slowlog_reset()


def test_verify_of_a_long_due_list(apart):
    """It is read in pieces, for Redis has other things to do; what is wrong with it is found in each."""
    w, m = apart, apart.matcher().ready()
    users = [f"u{i}" for i in range(2500)]
    _, *offsets = w.put(0, w.open("lamp@0", 9999, 9, 700000), *(w.order(0, "lamp@0", user) for user in users))
    w.applied()
    w.caught_up()
    due = w.key(0, "due:700000")
    entries = w.redis.lrange(due, 0, -1)
    assert [e.split()[3] for e in entries] == users
    with list_reads(w.redis, due) as reads:
        w.verify()
    assert reads[0][0] == 0 and reads[-1][1] >= len(users)
    assert max(last - first for first, last in reads) < 1000, reads
    assert all(later <= last + 1 for (_, last), (later, _) in zip(reads, reads[1:])), reads

    changed = list(entries)
    gone = [0, 499, 500, 501, 999, 1000, 1001, 1499, 2499]
    for i in gone:
        changed[i] = entries[i].replace(f" {users[i]}", " nobody")
    w.redis.delete(due)
    w.redis.rpush(due, *changed)
    foreign = "no offset: redis: due:700000 has {} entries that are not the log's, or not in their place: \"{}\""
    starts(
        w.verify(1),
        f"partition 0: offset {offsets[0]}: redis: due:700000 lacks {len(gone)} live holds",
        f"partition 0: {foreign.format(len(gone), changed[0])}",
    )
    w.redis.delete(due)
    w.redis.rpush(due, *entries[:950], *entries[949:])
    starts(w.verify(1), f"partition 0: {foreign.format(1, entries[949])}")
    w.redis.delete(due)
    w.redis.rpush(due, *entries)
    w.verify()
    assert m.stop() == 0


def test_verify_of_a_due_list_that_moves(apart):
    """Holds expire at its head, and others come at its end, while it is read."""
    w, m = apart, apart.matcher().ready()
    due, stop = w.key(0, "due:8000"), threading.Event()
    w.put(0, w.open("lamp@0", 999999, 9, 8000))

    def feed():
        n = 0
        while not stop.wait(0.1):
            w.put(0, *(w.order(0, "lamp@0", f"u{n + i}") for i in range(150)))
            n += 150

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        wait_until(lambda: w.redis.llen(due) > 3000, 60, "a long list")
        full = w.redis.lindex(due, 0)
        wait_until(lambda: w.redis.lindex(due, 0) != full, 60, "the first holds expire")
        begun = w.redis.lindex(due, 0)
        for _ in range(3):
            w.verify()
        assert w.redis.lindex(due, 0) != begun
    finally:
        stop.set()
        feeder.join()
    w.applied()
    assert m.stop() == 0


def test_verify_of_the_outbox(apart):
    """A matcher that dies when all is told and nobody has trimmed yet leaves the outcomes there."""
    w, m = apart, apart.matcher().ready()
    outbox = w.key(0, "outbox")
    w.put(0, w.open("lamp@0", 9, 9))
    w.applied()
    wait_until(lambda: w.redis.llen(outbox) == 0, 60, "the outbox is trimmed")
    assert m.stop() == 0
    (offset,) = w.put(0, w.order(0, "lamp@0", "ann"))
    m = w.matcher(environ={"SECKILL_FAILPOINT": "publish.all:1"})
    assert m.wait() == -signal.SIGKILL
    w.applied()
    w.caught_up()
    (entry,) = w.redis.lrange(outbox, 0, -1)
    w.verify()

    def finds(entries, *beginnings):
        w.redis.delete(outbox)
        w.redis.rpush(outbox, *entries)
        starts(w.verify(1), *(f"partition 0: {place}: redis: outbox: {what}" for place, what in beginnings))

    head, line, _ = entry.split("\n")
    prev, to, *rest = head.split()
    assert (int(prev), int(to)) == (offset - 1, offset)
    finds([f"{head}\n7{line}\n"], (f"offset {offset}", f'the log does not say "7{line}"'))
    finds([f"{head}\n"], (f"offset {offset}", 'the log does not say ""'))
    finds([entry.replace(head, head + "0")], (f"offset {offset}", f'the log does not say "{head}0"'))
    finds([entry, entry], (f"offset {offset + 1}", f'an entry is not the next one: "{head}"'))
    finds(["garbage"], ("no offset", 'not an entry: "garbage"'))
    older = f"0 1 {'0' * 16} 1"
    finds(
        [f"{older}\nv\n"],
        ("offset 1", f'the log does not say "{older}"'),
        ("offset 2", f"it ends at 1, not at {offset}"),
    )
    w.redis.delete(outbox)
    w.redis.rpush(outbox, entry)
    w.verify()


def test_verify_sees_a_lost_hold(sold):
    """A hold that its due list lacks would never expire."""
    _, offset = sold.put(0, sold.open("lamp@0", 9, 9, 700000), sold.order(0, "lamp@0", "ann"))
    sold.applied()
    sold.caught_up()
    sold.verify()
    due = sold.key(0, "due:700000")
    entries = sold.redis.lrange(due, 0, -1)
    sold.redis.delete(due)
    differs(sold, f"offset {offset}: redis: due:700000 lacks 1 live holds")
    sold.redis.rpush(due, *entries)


def test_verify_cannot_check(sold):
    assert sold.guardians[-1].stop() == 0
    sold.put(0, {"type": "tick"})
    report = sold.verify(2, timeout="2s")
    assert any("mysql stands at" in u for u in report["unchecked"])
    assert sold.command("verify", "--timeout=2s", mysql_port=1).returncode == 2
    assert sold.command("verify", "--timeout=2s", redis_port=1).returncode == 2
    assert sold.command("verify", "--timeout=2s", kafka_brokers="127.0.0.1:1").returncode == 2


def test_verify_waits_for_what_is_on_its_way(sold):
    g = sold.guardians[-1]
    g.send(signal.SIGSTOP)
    sold.busy(200, seed=2)
    with ThreadPoolExecutor() as pool:
        proof = pool.submit(sold.verify)
        holds_for(lambda: not proof.done(), 1.5, "it waits")
        g.send(signal.SIGCONT)
        proof.result()
