"""position.lua and the scripts of a rebuild by themselves: each rule, and what must not be touched.  Of apply.lua, which
has the differential test, what it says of a state that was damaged."""

import re

import pytest
import redis

from differential import branches
from lib.stack import ROOT
from lib.world import RedisServer


@pytest.fixture(scope="module")
def server(stack, tmp_path_factory):
    running = RedisServer(tmp_path_factory.mktemp("redis"), stack.port("scripts")).start()
    yield running
    running.kill()


@pytest.fixture
def db(server):
    server.client.config_set("maxmemory", 0)
    server.client.flushall()
    return server.client


CHANGED = {}  # name of a script -> its text in the place of ours


def source(name):
    return CHANGED.get(name) or (ROOT / f"lua/{name}.lua").read_text()


def run(db, name, keys, *arguments):
    return db.eval(source(name), len(keys), *keys, *arguments)


def begin(db, token, *others, late_ms=-5000):
    seconds, us = db.time()
    return run(db, "rebuild_begin", ["rebuild", "log", *others], token, "due", seconds * 1000 + us // 1000 - late_ms)


def put(db, token, number, *words, key="due:10"):
    return run(db, "rebuild_put", ["rebuild", key], token, number, *(words or ("RPUSH", f"entry {number}")))


def end(db, token, number, *fields):
    return run(db, "rebuild_end", ["rebuild", "log"], token, number, *fields)


def dump(db):
    """Every key with its bytes."""
    return {key: db.dump(key) for key in db.keys()}


def unchanged(db, said, call, *arguments):
    before = dump(db)
    assert call(db, *arguments) == said
    assert dump(db) == before


def fill(db):
    db.hset("log", mapping={"watermark": "5", "holds": "10,200"})
    for key in ("due:10", "due:200", "due:3000"):
        db.rpush(key, "1 1 a b")
    db.hset("items", "phone", "1 1 0 0 1 1 0 0 0 o")


# ---------------------------------------------------------------- the rebuild


def test_begin_wipes(db):
    fill(db)
    db.set("another", "partition's")
    assert begin(db, "t", "items") == "ok"
    assert db.hgetall("rebuild") == {"token": "t", "progress": "0"}
    assert sorted(db.keys()) == ["another", "due:3000", "rebuild"]


def test_a_begin_that_comes_late_wipes_nothing(db):
    fill(db)
    unchanged(db, "late", lambda db: begin(db, "t", "items", late_ms=1000))


def test_begin_wins_over_an_earlier_one(db):
    begin(db, "t")
    put(db, "t", 1)
    assert begin(db, "u", "due:10") == "ok"
    assert db.hgetall("rebuild") == {"token": "u", "progress": "0"}
    unchanged(db, "lost", put, "t", 2)
    unchanged(db, "lost", end, "t", 1, "watermark", "5")
    assert put(db, "u", 1) == "ok"


def test_one_that_was_overtaken_is_shut_out_where_its_piece_is_the_next(db):
    begin(db, "t")
    put(db, "t", 1)
    begin(db, "u")
    put(db, "u", 1)
    unchanged(db, "lost", put, "t", 2)
    unchanged(db, "lost", end, "t", 1, "watermark", "5")
    assert put(db, "u", 2) == "ok"


@pytest.mark.parametrize("name", ["rebuild_put", "rebuild_end"])
def test_without_the_fence_it_would_be_let_in(db, monkeypatch, name):
    fence = "if state[1] ~= ARGV[1] then"
    assert source(name).count(fence) == 1
    monkeypatch.setitem(CHANGED, name, source(name).replace(fence, "if false then"))
    for test in (
        test_begin_wins_over_an_earlier_one,
        test_one_that_was_overtaken_is_shut_out_where_its_piece_is_the_next,
        test_nothing_is_written_without_a_fence,
    ):
        db.flushall()
        with pytest.raises((AssertionError, redis.exceptions.ResponseError)):
            test(db)


@pytest.mark.parametrize("key", ["log", "rebuild"])
def test_begin_where_a_key_is_of_another_type(db, key):
    db.set(key, "nonsense")
    assert begin(db, "t") == "ok"
    assert db.keys() == ["rebuild"] and db.hget("rebuild", "token") == "t"


def test_begin_wipes_more_than_fits_one_call(db):
    rubbish = [f"rubbish:{i}" for i in range(9000)]
    db.mset({key: "x" for key in rubbish})
    assert begin(db, "t", *rubbish) == "ok"
    assert db.keys() == ["rebuild"]


@pytest.mark.parametrize("under_way", [False, True])
def test_begin_out_of_memory_wipes_nothing(db, under_way):
    fill(db)
    if under_way:
        begin(db, "s")
        fill(db)
    before = dump(db)
    db.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.RedisError, match="OOM|maxmemory"):
        begin(db, "t", "items")
    assert dump(db) == before


def test_pieces_in_order_and_each_once(db):
    begin(db, "t")
    for number in range(1, 12):
        assert put(db, "t", number) == "ok"
        unchanged(db, "ok", put, "t", number)  # its answer was lost
        for wrong in (number - 1, number + 2):
            unchanged(db, "order", put, "t", wrong)
    assert db.lrange("due:10", 0, -1) == [f"entry {n}" for n in range(1, 12)]


def test_a_piece_is_its_command(db):
    begin(db, "t")
    assert put(db, "t", 1, "HSET", "phone", "1", "lamp", "2", key="items") == "ok"
    assert db.hgetall("items") == {"phone": "1", "lamp": "2"}


def test_nothing_is_written_without_a_fence(db):
    unchanged(db, "lost", put, "t", 1)
    unchanged(db, "lost", end, "t", 0, "watermark", "5")


def test_end_opens_only_when_all_is_there(db):
    begin(db, "t")
    put(db, "t", 1)
    for wrong in (0, 2):
        unchanged(db, "order", end, "t", wrong, "watermark", "5")
    assert end(db, "t", 1, "watermark", "5", "chain", "c") == "ok"
    assert db.hgetall("log") == {"watermark": "5", "chain": "c"}
    assert not db.exists("rebuild")
    unchanged(db, "lost", end, "t", 1, "watermark", "5")
    unchanged(db, "lost", put, "t", 2)


def test_end_of_nothing(db):
    begin(db, "t")
    assert end(db, "t", 0) == "ok"
    assert not db.keys()


# ---------------------------------------------------------------- position.lua

STATE = {"genesis": "g", "watermark": "5", "chain": "c", "last_hash": "h", "log_time": "9", "rules": "1"}
KEYS = ["log", "outbox", "items", "orders", "payments", "ops", "rebuild"]


def position(db, *wanted):
    return run(db, "position", KEYS, *wanted)


def test_position_of_a_state(db):
    db.hset("log", mapping=STATE | {"partitions": "4", "holds": "10"})
    told = ["g", "5", "c", "h", "9", "1", "4"]
    unchanged(db, told, position)
    db.rpush("outbox", "first", "second", "third")
    unchanged(db, told + ["first", "second", "third"], position)
    unchanged(db, told, position, "0")
    unchanged(db, told + ["first"], position, "1")


@pytest.mark.parametrize("key", [None, *KEYS[:-1]])
def test_position_without_a_watermark(db, key):
    if key:
        db.hset(key, "field", "value")
    unchanged(db, ["keys"] if key else [], position)
    begin(db, "t")
    put(db, "t", 1)
    unchanged(db, ["rebuild", "t", "1"], position)


@pytest.mark.parametrize("cause", ["replica", "no replicas"])
def test_position_says_nothing_is_missing_only_where_it_could_write(db, cause):
    change, back = {
        "replica": (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
        "no replicas": (["CONFIG", "SET", "min-replicas-to-write", n] for n in ("1", "0")),
    }[cause]
    db.execute_command(*change)
    try:
        with pytest.raises(redis.exceptions.RedisError, match="READONLY|read only|NOREPLICAS|good replicas"):
            position(db)
    finally:
        db.execute_command(*back)
    assert position(db) == []


# ---------------------------------------------------------------- apply.lua, on a state that somebody damaged

APPLY_KEYS = ["log", "items", "orders", "payments", "ops", "outbox", "due", "rebuild"]
PHONE = ("S", "op1", "phone", "open", "5", "2", "100", "", "", "")
LAMP = ("S", "op2", "lamp", "open", "5", "2", "200", "", "", "")
TICK = ("T",)


def buy(order, user):
    return "O", order, "phone", user, "1", "9000", "0"


def apply(db, *commands, time=1000):
    """The next commands, as a matcher sends them that stands where Redis does."""
    log = db.hgetall("log")
    prev = int(log.get("watermark", -1))
    words = [w for i, (letter, *own) in enumerate(commands, prev + 1) for w in (letter, i, time, *own)]
    to = prev + len(commands)
    head = ["1", "g", prev, log.get("chain", "c-1"), to, f"c{to}", f"h{to}", -1, 100, 100, len(commands)]
    return run(db, "apply", APPLY_KEYS, *head, *words)


def sell(db):
    """Ann holds until 1100, Bob has paid."""
    start = [("G", "g", "1", "1"), PHONE, buy("o1", "ann"), buy("o2", "bob"), ("P", "o2", "bob", "p1")]
    assert apply(db, *start).startswith("ok 4 1000 1100 ")


def hset(key, field, value):
    return lambda db: db.hset(key, field, value)


def delete(key):
    return lambda db: db.delete(key)


def put_another_item(db):
    db.hset("items", "lamp", db.hget("items", "phone"))
    db.hdel("items", "phone")


def garble_due(db):
    db.lset("due:100", 0, "1100 2 o1")


def garble_outbox(db):
    db.lset("outbox", 0, "garbage")


def leave_due(db):
    db.rpush("due:200", "1 1 a b")


# What was done to it, what is applied then, and what apply.lua says.
DAMAGES = {
    "an item, ordered": (hset("items", "phone", "lots"), [buy("o3", "cid")], "item phone"),
    "an item, in a state that is none": (hset("items", "phone", "5 3 1 1 2 100 0 0 z 0"), [("M",)], "item phone"),
    "a user's orders": (hset("orders", "ann", "o1 phone 1 H"), [("C", "o1", "ann")], "orders of ann"),
    "a hold in the due list": (garble_due, [TICK], "due list"),
    "the item of a hold that expires": (put_another_item, [TICK], "no item phone"),
    "a due list that nobody uses": (leave_due, [LAMP], "a due list of an unused hold_ms"),
    "a payment": (hset("payments", "p1", "Q"), [("P", "o2", "bob", "p1")], "payment p1"),
    "log time": (hset("log", "log_time", "soon"), [TICK], "log: log_time"),
    "a number of the log that is missing": (lambda db: db.hdel("log", "orders"), [TICK], "log: orders"),
    "a number of the log that is none, nothing to apply": (hset("log", "items", "01"), [], "log: items"),
    "a number of the log that is too large": (hset("log", "payments", str(2**53)), [TICK], "log: payments"),
    "all items": (delete("items"), [], "items: 0 of 1 are there"),
    "all orders": (delete("orders"), [], "orders: the key is missing, or should be"),
    "orders that the log does not count": (hset("log", "orders", "0"), [], "orders: the key is missing, or should be"),
    "all payments": (delete("payments"), [], "payments: the key is missing, or should be"),
    "payments that the log does not count":
        (hset("log", "payments", "0"), [], "payments: the key is missing, or should be"),
    "all operations": (delete("ops"), [], "ops: the key is missing"),
    "the outbox": (garble_outbox, [], "outbox"),
}


def meet_damage(db, what):
    """Breaks a state; what apply.lua says then."""
    damage, commands, _ = DAMAGES[what]
    sell(db)
    damage(db)
    return lambda: apply(db, *commands, time=2000)


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_state_is_named_and_left_as_it_is(db, what):
    ask = meet_damage(db, what)
    unchanged(db, f"corrupt {DAMAGES[what][2]}", lambda _: ask())


def test_all_that_apply_says_of_a_damaged_state_has_a_case(db, monkeypatch):
    """branches.py does not ask for these branches."""
    lines = source("apply").split("\n")
    asked = {i for i, line in enumerate(lines, 1) if re.search(r"(?<!function )\bcorrupt\(", line)}
    assert len(asked) > 10 and all(branches.is_state_made_by_hand(lines[i - 1]) for i in asked)
    for i in asked:
        lines[i - 1] = lines[i - 1].replace("corrupt(", f"corrupt('line {i}: ' .. ")
    monkeypatch.setitem(CHANGED, "apply", "\n".join(lines))
    met = set()
    for what in DAMAGES:
        db.flushall()
        said = re.match(r"corrupt line (\d+): ", meet_damage(db, what)())
        assert said, what
        met.add(int(said.group(1)))
    assert met == asked
