"""A sale at rest, to be trimmed, damaged and rebuilt: what the tests of both commands share."""

import time

import pytest

from lib import kafka, record
from lib.record import Record
from lib.wait import wait_until
from lib.world import RedisServer, order_id_of

DONE, REFUSED, FAILED, TAKEN = range(4)


def world_of(stack, tmp_path, own_redis=None):
    w = Record(stack, tmp_path, own_redis=own_redis)
    w.rebuilders = []
    yield w
    for process in w.rebuilders:
        process.kill()
        process.wait()
    w.close()


@pytest.fixture
def world(stack, tmp_path):
    yield from world_of(stack, tmp_path)


@pytest.fixture
def alone(stack, tmp_path):
    """With a Redis of its own, which the test may stop."""
    server = RedisServer(tmp_path / "redis", stack.port("rebuild")).start()
    yield from world_of(stack, tmp_path, server)
    server.kill()


@pytest.fixture
def sold(world):
    return sell(world)


def sell(world):
    """A sale under way, at rest: a matcher runs, MySQL has all of it, no guardian runs."""
    world.migrate().genesis()
    world.matcher().ready()
    world.busy(600)
    pay_often(world)
    g = world.guardian().ready()
    world.applied()
    at_rest(world)
    assert g.stop() == 0
    return world


def pay_often(w):
    """More payments than an order lists."""
    order, item, user = order_id_of(0, True), "often@0", "user'1"
    pays = [{"type": "pay", "order_id": order, "payment_id": f"often-{9 - i}", "user_id": user} for i in range(10)]
    w.put(0, w.open(item, 5), w.order(0, item, user, 1, order), *pays)


def dump(w, p):
    """Every key of a partition but the outbox; of the due lists only what is still held."""
    found = {}
    for key in w.redis.scan_iter(f"{w.name}:{{{p}}}:*", 1000):
        name = key.rpartition("}:")[2]
        if name.startswith("due:"):
            found[name] = w.redis.lrange(key, 0, -1)
        elif name != "outbox":
            found[name] = w.redis.hgetall(key)
    held = {o.split()[0] for user in found.get("orders", {}).values() for o in user.split(";") if o.split()[3] == "H"}
    for name in [n for n in found if n.startswith("due:")]:
        found[name] = [e for e in found[name] if e.split()[2] in held]
        if not found[name]:
            del found[name]
    return found


def holds_due(w):
    """Live holds that fall due within the minute."""
    soon = (time.time() + 30) * 1000
    return [e for p in range(w.partitions) for n, due in dump(w, p).items() if n.startswith("due:")
            for e in due if int(e.split()[0]) < soon]


def wipe(w, p):
    w.redis.delete(*w.redis.scan_iter(f"{w.name}:{{{p}}}:*", 1000))


def stop_matchers(w):
    for m in w.matchers:
        assert m.stop() == 0


def rebuild(w, code=DONE, *flags, **settings):
    done = w.command("rebuild", *flags, **settings)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr[-2000:])
    return done.stdout


def trim(w, code=DONE, *flags, **settings):
    done = w.command("archive", "--trim", *flags, **settings)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr[-2000:])
    return done.stdout


def log_begin(w, p):
    return kafka.watermarks(w.brokers, w.orders, p)[0]


def at_the_end(w):
    """Redis and MySQL have all of the log."""
    for p in range(w.partitions):
        end = w.log_end(p) - 1
        wait_until(lambda p=p, end=end: w.position(p) >= end, 180, f"redis: {p} at {end}", 0.1)
    w.caught_up()


def at_rest(w):
    """Ticks have expired what is due: nothing moves by itself any more."""
    at_the_end(w)
    wait_until(lambda: not holds_due(w), 60, "what is due has expired")
    at_the_end(w)


def clean(w, *expected):
    """A guardian runs; all agrees in the end, though the log may have lost its head."""
    at_the_end(w)
    record.agree(w, *expected)
