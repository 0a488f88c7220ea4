"""`archive --trim`: the log without its head, what must stay in it, and what is proven then."""

import json

import pytest
from lib import kafka
from lib.recovery import (  # noqa: F401 (fixtures)
    DONE, REFUSED, at_rest, at_the_end, clean, dump, log_begin, rebuild, sold, stop_matchers, trim, wipe, world,
)

# ---------------------------------------------------------------- a log without its head


def test_nothing_is_trimmed_where_one_may_not_be(sold):
    """Both could be; then the second has no state in Redis, and of the first nothing is told that was not done."""
    stop_matchers(sold)
    wipe(sold, 1)
    assert trim(sold, 1) == "partition 1: nothing was trimmed: Redis has no state: rebuild it first\n"
    assert [log_begin(sold, p) for p in range(2)] == [0, 0]
    rebuild(sold)
    assert trim(sold).count("started at 0, starts at ") == 2
    assert min(log_begin(sold, p) for p in range(2)) > 0


def test_what_must_stay_stays(sold):
    """What MySQL still lacks; from --upto on; all of it where Redis has no state."""
    behind = [sold.recorded(p) for p in range(2)]
    sold.busy(200, seed=4)
    sold.applied()
    trim(sold)
    assert [log_begin(sold, p) for p in range(2)] == behind
    sold.guardian().ready()
    clean(sold)
    trim(sold, 64, f"--upto={behind[0] + 5}")  # of which?
    trim(sold, 0, "--partition=0", f"--upto={behind[0] + 5}")
    assert [log_begin(sold, p) for p in range(2)] == [behind[0] + 5, behind[1]]
    stop_matchers(sold)
    wipe(sold, 1)
    assert "Redis has no state" in trim(sold, 1)
    assert [log_begin(sold, p) for p in range(2)] == [behind[0] + 5, behind[1]]


def test_outcomes_that_were_not_deleted_are_deleted_the_next_time(sold):
    """The commands were, and there is nothing more to do for them; what was deleted beside them was a copy."""

    def outcomes_begin():
        return [kafka.watermarks(sold.brokers, sold.outcomes, p)[0] for p in range(2)]

    stop_matchers(sold)
    sold.make_told()
    for p in range(2):
        sold.fill(p, [value for _, value, _ in sold.records(sold.outcomes, p)])
    trim(sold, topic_outcomes=sold.told)
    begin = [log_begin(sold, p) for p in range(2)]
    assert min(begin) > 0 and outcomes_begin() == [0, 0]
    for _ in range(2):
        assert trim(sold).count(" as before\n") == 2
        assert min(outcomes_begin()) > 0
        assert [log_begin(sold, p) for p in range(2)] == begin
    assert sold.verify()["unproven"] == []


def test_verify_of_a_log_without_its_head(sold):
    """MySQL is taken as it is at its position; what came after it must follow from it."""
    trim(sold)
    g = sold.guardian().ready()
    sold.busy(200, seed=4)
    at_rest(sold)
    assert sold.verify()["from_mysql"] == 2
    user, orders = next(iter(sold.redis.hgetall(sold.key(0, "orders")).items()))
    sold.redis.hdel(sold.key(0, "orders"), user)
    at = sold.recorded(0)
    assert sold.verify(1)["differences"] == [f"partition 0: offset up to {at}: redis: orders {user}: redis lacks it"]
    sold.redis.hset(sold.key(0, "orders"), user, orders)
    sold.verify()
    assert g.stop() == 0
    sold.edit("UPDATE progress SET chain = REVERSE(chain) WHERE partition_id = 0")
    assert any("not the one that MySQL was made from" in text for text in sold.verify(2)["unchecked"])


@pytest.fixture
def untold(sold):
    """A topic of outcomes that was made anew: nothing of MySQL's position is in it."""
    stop_matchers(sold)
    sold.make_told()
    return {"topic_outcomes": sold.told}


def test_without_the_outcome_the_genesis_proves(sold, untold):
    before = dump(sold, 0)
    wipe(sold, 0)
    assert "could not be checked" not in rebuild(sold, DONE, "--partition=0", **untold)
    assert dump(sold, 0) == before


def test_without_the_outcome_nothing_is_trimmed(sold, untold):
    """What is left would be proven by nothing."""
    assert f"is not in {sold.told}: wait until" in trim(sold, REFUSED, **untold)
    assert [log_begin(sold, p) for p in range(2)] == [0, 0]
    wipe(sold, 0)
    assert "could not be checked" not in rebuild(sold, DONE, "--partition=0", **untold)


def test_without_either_it_says_that_nothing_is_proven(sold, untold):
    trim(sold)
    before = [dump(sold, p) for p in range(2)]
    assert sold.verify()["unproven"] == []
    wipe(sold, 0)
    assert "its chain could not be checked" in rebuild(sold, DONE, "--partition=0", **untold)
    assert [dump(sold, p) for p in range(2)] == before
    done = sold.command("verify", "--json", **untold)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"] and report["from_mysql"] == 2
    assert [text.partition(":")[0] for text in report["unproven"]] == ["partition 0", "partition 1"]
    said = sold.command("verify", "--quiet", **untold).stdout
    assert said.count("unproven: partition") == said.count("\n") == 2
    assert sold.command("verify", "--quiet").stdout == ""


def test_a_copy_of_the_log(sold):
    """The same commands at the same offsets, and yet another log: their times differ."""
    stop_matchers(sold)
    before = dump(sold, 0)
    sold.make_told()
    sold.fill(0, [value for _, value, _ in sold.records(sold.orders, 0)])
    said = rebuild(sold, REFUSED, "--partition=0", topic_orders=sold.told)
    assert "is not the one that MySQL was made from" in said
    assert dump(sold, 0) == before


# ---------------------------------------------------------------- going back to an older MySQL


def test_the_outcomes_stay_for_an_older_mysql(sold):
    """A copy of MySQL, restored after the topics were trimmed up to its position, goes on from there."""
    behind = [sold.recorded(p) for p in range(2)]
    primary, copy = sold.database, f"{sold.database}_copy"
    sold.execute(f"CREATE DATABASE {copy}")
    for (table,) in sold.rows("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
                              "AND TABLE_TYPE = 'BASE TABLE'"):
        sold.execute(f"CREATE TABLE {copy}.{table} LIKE {primary}.{table}")
        sold.execute(f"INSERT INTO {copy}.{table} SELECT * FROM {primary}.{table}")
    g = sold.guardian().ready()
    sold.busy(300, seed=4)
    at_the_end(sold)
    assert g.stop() == 0
    trim(sold, 0, "--partition=0", f"--upto={behind[0]}")
    assert log_begin(sold, 0) == behind[0] and behind[0] > 0
    begin, _ = kafka.watermarks(sold.brokers, sold.outcomes, 0)
    assert begin > 0
    sold.database = copy
    try:
        g = sold.guardian().ready()
        clean(sold)
        assert not g.lines("outcomes.stuck") and not g.lines("rebuild.begins")
    finally:
        sold.execute(f"DROP DATABASE {primary}")
