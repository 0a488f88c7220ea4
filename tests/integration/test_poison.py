"""Records that nobody can process: what becomes of them, and what an operator can do about them.

One log with every bad record of lib/poison.py and good orders in between, for all tests.
"""

import json
import re
import subprocess
import time

import pytest

from lib.poison import KEYED, TOPIC_MAX, battery, good, look_alikes, text
from lib.record import Record
from lib.stack import BIN
from lib.wait import wait_until
from lib.world import RedisServer, order_id_of

BATTERY = battery()
GOOD_EVERY = 10


class Poisoned:
    """A world whose partition 0 has a good order, mostly in odd clothes, after every tenth bad record."""

    def __init__(self, world):
        self.world = world
        self.bad = {}  # offset: Bad
        self.orders = []  # of the good ones
        self.keys = [None]  # by offset; the genesis has none
        self.producer = world.make_producer(**{"message.max.bytes": 2 * TOPIC_MAX})

    @property
    def offset(self):
        """Of the last record."""
        return len(self.keys) - 1

    def _put(self, value, key, headers=()):
        self.producer.produce(self.world.orders, value, key, 0, headers=list(headers))
        self.producer.poll(0)
        self.keys.append(key)

    def fill(self):
        w = self.world
        self._put(text(w.open("thing@0", 10_000, 3)), b"thing@0")
        rules = 1
        for i, bad in enumerate(BATTERY):
            if bad.rules != rules:
                rules = bad.rules
                self._put(text({"type": "rules", "rules": rules}), None)
            self._put(bad.value, bad.key, bad.headers)
            self.bad[self.offset] = bad
            if i % GOOD_EVERY == 0:
                order = w.order(0, "thing@0", f"user{i}")
                clothes = list(look_alikes(order))
                self._put(*clothes[len(self.orders) % len(clothes)])
                self.orders.append(order["order_id"])
        assert self.producer.flush(60) == 0
        assert w.log_end(0) == self.offset + 1
        return self

    def outcomes(self, copies):
        """{offset: bytes}; fails unless each came that often, always the same."""
        found = {}
        for key, value, _ in self.world.records(self.world.outcomes, 0):
            found.setdefault(json.loads(value)["offset"], []).append((key, value))
        # (A redelivery after a lost acknowledgement is one more.)
        for offset in range(self.offset + 1):
            assert len(found[offset]) >= copies, offset
            assert len(set(found[offset])) == 1, found[offset]
        return {offset: told[0] for offset, told in found.items()}

    def letters(self):
        found = {}
        for key, value, headers in self.world.records(self.world.dead, 0):
            found.setdefault(int(headers["offset"]), set()).add((key, value, tuple(sorted(headers.items()))))
        return found

    def fold_again(self, copies):
        """Redis forgets everything; waits until all has been told once more."""
        w = self.world
        w.redis.flushall()
        wait_until(lambda: w.log_end(0, w.outcomes) >= copies * (self.offset + 1), 180, "told again", 0.1)
        w.applied()


@pytest.fixture(scope="module")
def poisoned(stack, tmp_path_factory):
    directory = tmp_path_factory.mktemp("poison")
    server = RedisServer(directory / "redis", stack.port("poison")).start()
    w = Record(stack, directory, own_redis=server, max_message_bytes=TOPIC_MAX)
    w.migrate().genesis()
    p = Poisoned(w).fill()
    w.matcher().ready()
    w.guardian().ready()
    w.applied()
    wait_until(lambda: len(p.letters()) == len(p.bad), 60, "all letters are written", 0.2)
    yield p
    # Whatever the tests appended: all of it was decided, and every copy says the same.
    w.applied()
    w.caught_up()
    w.verify()
    w.check()
    for daemon in w.matchers + w.guardians:
        if daemon.process.poll() is None:
            assert daemon.stop() == 0
    complaints = w.complaints()
    w.close()
    assert complaints == []


def test_the_battery_is_large_and_knows_every_detail():
    assert len(BATTERY) >= 300
    assert len({(b.key, b.value, b.headers) for b in BATTERY}) == len(BATTERY)
    details = {"null_value", "too_large", "not_json", "unknown_type", "missing_field", "unknown_field", "bad_field"}
    assert {b.detail for b in BATTERY} == details | {"wrong_partition"}
    assert len({b.name for b in BATTERY}) == len(BATTERY)


def test_each_has_the_outcome_of_the_page_and_good_orders_go_on(poisoned):
    outcomes = poisoned.outcomes(1)
    told = {offset: json.loads(value) for offset, (_, value) in outcomes.items()}
    wrong = {}
    for offset, bad in poisoned.bad.items():
        events = told[offset]["events"]
        if events != [{"index": 0, "type": "refused", "reason": "malformed", "detail": bad.detail}]:
            wrong[bad.name] = (bad.detail, events)
    assert wrong == {}
    reserved = [e["order_id"] for o in told.values() for e in o["events"] if e["type"] == "reserved"]
    assert reserved == poisoned.orders and len(reserved) >= len(BATTERY) / GOOD_EVERY
    # (For librdkafka's producer an empty key is none.)
    assert [outcomes[o][0] or b"" for o in sorted(outcomes)] == [(key or b"")[:1024] for key in poisoned.keys]


def test_each_has_one_dead_letter(poisoned):
    letters = poisoned.letters()
    assert sorted(letters) == sorted(poisoned.bad)
    topic = poisoned.world.orders.encode()
    for offset, bad in poisoned.bad.items():
        ((key, value, headers),) = letters[offset]
        # librdkafka's producer makes no difference between an empty key or value and none.
        assert (key or b"") == (bad.key or b"")[:1024], bad.name
        assert (value or b"") == (bad.value or b"")[:8192], bad.name
        assert dict(headers) == {
            "reason": bad.detail.encode(),
            "topic": topic,
            "partition": b"0",
            "offset": str(offset).encode(),
        }


def test_the_same_for_ever(poisoned):
    """A replay after FLUSHALL, and a second matcher that has seen nothing of it."""
    w = poisoned.world
    first, letters = poisoned.outcomes(1), poisoned.letters()
    poisoned.fold_again(2)
    assert w.matchers[0].stop() == 0
    w.redis.flushall()
    w.matcher(batch_max=7).ready()
    wait_until(lambda: w.log_end(0, w.outcomes) >= 3 * (poisoned.offset + 1), 180, "told a third time", 0.1)
    w.applied()
    assert poisoned.outcomes(3) == first
    assert poisoned.letters() == letters  # sets of copies: one kind each
    w.caught_up()
    report = w.verify()
    assert report["redis"] == report["mysql"] == report["log"]


# ---------------------------------------------------------------- dead


def dead(poisoned, *words, stdin=None, **settings):
    """Runs `seckill-guardian dead`; output as bytes."""
    return subprocess.run(
        [BIN / "seckill-guardian", "dead", *words],
        env=poisoned.world.environ(**settings),
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=300,
        check=False,
    )


def listed(poisoned, *flags):
    done = dead(poisoned, "list", "--json", *flags)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def name_of(poisoned, name):
    """PARTITION:OFFSET of a record of the battery."""
    (offset,) = (o for o, b in poisoned.bad.items() if b.name == name)
    return f"0:{offset}"


def harmless(output):
    """Nothing but printable ASCII and line ends: a terminal obeys none of it."""
    return re.fullmatch(rb"[\x20-\x7e\n]*", output) is not None


def test_list(poisoned):
    letters = listed(poisoned)
    assert [(x["letter"], x["reason"]) for x in letters] == [
        (f"0:{o}", b.detail) for o, b in sorted(poisoned.bad.items())
    ]
    plain = dead(poisoned, "list")
    assert plain.returncode == 0 and harmless(plain.stdout) and harmless(plain.stderr)
    lines = plain.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == [x["letter"] for x in letters]
    for line, (_, bad) in zip(lines, sorted(poisoned.bad.items())):
        _, _, reason, size, key, value = line.split(" ", 5)
        assert reason == bad.detail
        assert size == ("8192+" if len(bad.value or b"") >= 8192 else str(len(bad.value or b"")))
        assert (key == "-") == (bad.key is None)
        assert (value == "-", value == '""') == (bad.value is None, bad.value == b"")
    assert f"{len(lines)} dead letters" in plain.stderr.decode()
    assert dead(poisoned, "list", "--quiet").stderr == b""


def test_list_filters(poisoned):
    for reason in ("null_value", "wrong_partition", "too_large"):
        want = [f"0:{o}" for o, b in sorted(poisoned.bad.items()) if b.detail == reason]
        assert [x["letter"] for x in listed(poisoned, f"--reason={reason}")] == want
    assert len(listed(poisoned, "--partition=0")) == len(BATTERY)
    assert listed(poisoned, "--partition=1") == []
    assert len(listed(poisoned, "--since=1h")) == len(BATTERY)
    newest = max(x["copied_ms"] for x in listed(poisoned))
    wait_until(lambda: time.time() * 1000 > newest + 100, 60, "the newest is past")
    assert listed(poisoned, "--since=1ms") == []


def test_records_of_others_are_passed_over(poisoned):
    w = poisoned.world
    before = listed(poisoned, "--partition=1")
    right = {"reason": "not_json", "topic": w.orders, "partition": "1", "offset": "7"}
    odd = [{}, right | {"reason": "\x1b[2J"}, right | {"partition": "0"}, right | {"offset": "-1"}]
    odd += [right | {"offset": "x"}, {k: v for k, v in right.items() if k != "topic"}]
    for headers in odd:
        w.producer.produce(w.dead, b"\x1b[2J", None, 1, headers=headers)
    assert w.producer.flush(30) == 0
    assert listed(poisoned, "--partition=1") == before
    done = dead(poisoned, "list", "--partition=1")
    assert b"of somebody else" in done.stderr and harmless(done.stdout)


def test_show(poisoned):
    for offset, bad in sorted(poisoned.bad.items())[:: len(BATTERY) // 12]:
        done = dead(poisoned, "show", f"0:{offset}")
        assert done.returncode == 0 and harmless(done.stdout), bad.name
        assert f"reason: {bad.detail}\n" in done.stdout.decode()
        whole = json.loads(dead(poisoned, "show", f"0:{offset}", "--json").stdout)
        copy = bytes.fromhex(whole["value_hex"] or "")
        assert copy == (bad.value or b"")[:8192] and whole["bytes"] == len(copy)
        assert dead(poisoned, "show", f"0:{offset}", "--raw").stdout == copy
    huge = dead(poisoned, "show", name_of(poisoned, "900000 bytes")).stdout
    assert b"8192 bytes, the beginning of it" in huge
    null = dead(poisoned, "show", name_of(poisoned, "value 0, key 0")).stdout
    assert b"value: null\n" in null and b"key: null\n" in null


def test_raw_bytes_are_not_for_terminals(poisoned):
    name = name_of(poisoned, "no json #26")
    command = f"{BIN}/seckill-guardian dead show {name} --raw"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        env=poisoned.world.environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 64 and b"terminal" in done.stdout and b"\x1b" not in done.stdout


def test_wrong_usage(poisoned):
    some = f"0:{min(poisoned.bad)}"
    wrong = [
        ("dead",),
        ("dead", "remove"),
        ("dead", "list", "0:1"),
        ("dead", "show"),
        ("dead", "show", "17"),
        ("dead", "show", "2:17"),
        ("dead", "show", "0:x"),
        ("dead", "list", "--partition=2"),
        ("dead", "list", "--reason=bad"),
        ("dead", "replay", some),
        ("dead", "replay", some, "--force", "--value=-"),
        ("dead", "replay", some, "--value=/no/such/file"),
    ]
    for words in wrong:
        done = poisoned.world.command(*words)
        assert done.returncode == 64 and done.stderr.startswith("seckill-guardian: "), (words, done)
    done = poisoned.world.command("dead", "show", "0:0")
    assert done.returncode == 1 and "dead list" in done.stderr
    assert poisoned.world.command("dead", "list", "--timeout=1s", kafka_brokers="127.0.0.1:1").returncode == 2


def replay(poisoned, name, *flags, stdin=None):
    return dead(poisoned, "replay", name, *flags, stdin=stdin)


def test_what_is_still_malformed_is_not_replayed(poisoned):
    end = poisoned.world.log_end(0)
    by_detail = {bad.detail: f"0:{offset}" for offset, bad in poisoned.bad.items()}
    for detail, name in by_detail.items():
        if detail != "wrong_partition":
            done = replay(poisoned, name, "--force")
            assert done.returncode == 1 and detail in done.stderr.decode(), done
    some = by_detail["not_json"]
    for value, words in (
        (b"", "not_json"),
        (b'{\n"type":tick}', "not_json: at line 2"),
        (b"[]", "no object"),
        (text(good("order") | {"qty": 0}), "bad_field: qty"),
        (text({"type": "mark"}), "missing_field: run_id"),
        (text(good("restock") | {"item_id": "a@2"}), "wrong_partition"),
        (b"x" * 5000, "too_large"),
        (b"x" * 2_000_000, "too_large"),
        (b'{"type":"tick"}', "a tick is not for replay"),
        (text(good("genesis")), "a genesis is not for replay"),
        (text(good("rules") | {"rules": 2}), "a rules is not for replay"),
    ):
        done = replay(poisoned, some, "--value=-", stdin=value)
        assert done.returncode == 1 and words in done.stderr.decode(), (words, done)
        assert harmless(done.stderr)
    assert poisoned.world.log_end(0) == end


def last_record(w, partition):
    key, value, headers = w.records(w.orders, partition)[-1]
    return key, json.loads(value), headers


def test_replay_corrected(poisoned, tmp_path):
    w = poisoned.world
    name = name_of(poisoned, "order.qty=1.5")
    order = good("order") | {"order_id": order_id_of(0, keyed=True), "user_id": "replayed"}
    value = tmp_path / "order.json"
    value.write_bytes(json.dumps(order, indent=2).encode() + b"\n")
    end = w.log_end(0)
    dry = replay(poisoned, name, f"--value={value}", "--dry-run")
    assert dry.returncode == 0 and dry.stdout.startswith(f"{w.orders} 0 {{".encode())
    assert w.log_end(0) == end
    done = replay(poisoned, name, f"--value={value}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "letter": name,
        "partition": 0,
        "offset": end,
        "result": "reserved",
        "reason": None,
    }
    key, record, headers = last_record(w, 0)
    assert (key, record, headers) == (b"thing@0", order, {"replay_of": name.encode()})
    # Once more is known to be the same.
    again = replay(poisoned, name, "--value=-", stdin=text(order))
    assert again.returncode == 0 and b"duplicate" in again.stdout


def test_replay_as_it_is_where_it_belongs(poisoned):
    w = poisoned.world
    end = w.log_end(1)
    done = replay(poisoned, name_of(poisoned, "restock.item_id=a@1"), "--force", "--json")
    answer = json.loads(done.stdout)
    # There is no such item, which is the log's answer and not the tool's.
    assert (answer["partition"], answer["offset"], answer["result"]) == (1, end, "refused")
    assert answer["reason"] == "unknown_item" and done.returncode == 1
    again = replay(poisoned, name_of(poisoned, "restock.item_id=a@1"), "--force")
    assert again.returncode == 0 and b"duplicate" in again.stdout


def test_replay_of_an_order_whose_time_is_over(poisoned):
    old = good("order") | {"order_id": KEYED, "not_after": 1}
    done = replay(poisoned, name_of(poisoned, "order.qty=1.5"), "--value=-", stdin=text(old))
    assert done.returncode == 1 and b"rejected, timed_out" in done.stdout and b"not_after" in done.stderr


def test_replay_without_a_matcher(poisoned):
    w = poisoned.world
    assert w.matchers[-1].stop() == 0
    restock = text(good("restock") | {"op_id": "patience"})
    some = name_of(poisoned, "order.qty=1.5")
    done = replay(poisoned, some, "--value=-", "--timeout=2s", stdin=restock)
    assert done.returncode == 2 and b"does a matcher run?" in done.stderr
    w.matcher().ready()
    w.applied()
    again = replay(poisoned, some, "--value=-", stdin=restock)
    assert again.returncode == 0 and b"duplicate" in again.stdout
