"""position.lua and the scripts of a rebuild by themselves: each rule, and what must not be touched."""

import pytest
import redis

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


def run(db, name, keys, *arguments):
    script = (ROOT / f"lua/{name}.lua").read_text()
    return db.eval(script, len(keys), *keys, *arguments)


def begin(db, token, *others):
    return run(db, "rebuild_begin", ["rebuild", "log", *others], token, "due")


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


def test_begin_wins_over_an_earlier_one(db):
    begin(db, "t")
    put(db, "t", 1)
    assert begin(db, "u", "due:10") == "ok"
    assert db.hgetall("rebuild") == {"token": "u", "progress": "0"}
    unchanged(db, "lost", put, "t", 2)
    unchanged(db, "lost", end, "t", 1, "watermark", "5")
    assert put(db, "u", 1) == "ok"


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
