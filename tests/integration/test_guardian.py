"""The guardian: outcomes into MySQL exactly once, whatever dies.

What must be in MySQL is told by `seckill-guardian verify`, which refolds the log, and that verify and
reconcile do notice differences has tests of its own: test_compare.py.
"""

import getpass
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

from lib.record import Record, clean
from lib.wait import holds_for, wait_until
from lib.world import order_id_of

HALTED = 3


@pytest.fixture
def world(stack, tmp_path):
    w = Record(stack, tmp_path)
    yield w
    w.close()


@pytest.fixture
def live(world):
    """A log with its genesis, a matcher and the schema; no guardian yet."""
    world.migrate().genesis()
    world.matcher().ready()
    return world


# ---------------------------------------------------------------- exactly once


def test_everything_is_recorded(live):
    live.guardian().ready()
    live.busy(3000)
    live.lapse()
    report = clean(live)
    forgotten = live.rows("SELECT COUNT(*) FROM orders WHERE remembered <> 1")[0][0]
    assert forgotten > 0
    # Beside what Redis has: the items, read at rest, and what it has forgotten.
    assert report["compared"]["mysql"] == report["compared"]["redis"] + 4 + forgotten
    kinds = dict(live.rows("SELECT state, COUNT(*) FROM orders GROUP BY state"))
    assert set(kinds) >= {"R", "P", "C", "E"}, kinds
    assert live.rows("SELECT COUNT(*) FROM payments WHERE answer = 'refund_due'")[0][0] > 0


@pytest.mark.parametrize(
    "where", ["commit.begin:2", "commit.row:9", "commit.row:23", "commit.before:2", "commit.after:2"]
)
def test_killed_around_commit(live, where):
    live.busy(600)
    dying = live.guardian(failpoint=where, batch_rows=100)
    assert dying.wait() == -signal.SIGKILL
    live.busy(300, seed=2)
    live.guardian().ready()
    clean(live)


def test_a_lost_reply_to_commit(live):
    live.busy(600)
    g = live.guardian(failpoint="commit.reply:2", batch_rows=100).ready()
    live.caught_up()
    wait_until(lambda: g.metric("seckill_guardian_retries_total") > 0, 60, "it asked what became of it")
    clean(live)


def test_killed_again_and_again(live):
    """However often, and wherever it stands."""
    stop = threading.Event()

    def feed():
        seed = 10
        while not stop.wait(0.05):
            live.busy(50, seed=seed)
            seed += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for _ in range(6):
            g = live.guardian(batch_rows=50).ready()
            before = live.recorded(0)
            wait_until(lambda before=before: live.recorded(0) > before, 60, "progress")
            g.kill()
    finally:
        stop.set()
        feeder.join()
    live.guardian().ready()
    clean(live)


def test_two_guardians_of_the_same_partitions(live):
    """Of two groups, so that both own everything: as bad as any zombie.  One of them sleeps while
    the other writes, so that it surely begins where MySQL no longer is."""
    _, late = (live.guardian(batch_rows=40, session_timeout="60s").ready() for _ in range(2))
    late.send(signal.SIGSTOP)
    live.busy(1000)
    live.caught_up()
    late.send(signal.SIGCONT)
    live.busy(2000, seed=2)
    wait_until(lambda: late.metric("seckill_guardian_moved_total") > 0, 60, "the late one noticed")
    clean(live)


def test_a_frozen_guardian_comes_back(live):
    group = {"group_id": live.name, "session_timeout": "6s"}
    first = live.guardian(batch_rows=40, **group).ready()
    live.busy(500)
    live.caught_up()
    first.send(signal.SIGSTOP)
    live.busy(500, seed=2)
    live.guardian(**group).ready()
    live.caught_up()
    live.busy(500, seed=3)
    first.send(signal.SIGCONT)
    live.busy(500, seed=4)
    clean(live)


def test_a_guardian_that_waits_for_its_group(live):
    """It knows of nothing that is not loaded, and yet is not ready."""
    group = {"group_id": live.name, "session_timeout": "60s"}
    first = live.guardian(**group).ready()
    wait_until(lambda: first.ask("/readyz").status_code == 200, 60, "the first has them all")
    first.send(signal.SIGSTOP)
    try:
        second = live.guardian(**group)
        wait_until(lambda: second.lines("admin.listening"), 60, "the second runs")
        told = second.ask("/readyz?verbose")
        assert told.status_code == 503 and "[-] group: waits for partitions" in told.text, told.text
    finally:
        first.send(signal.SIGCONT)
    for g in (first, second):
        wait_until(lambda g=g: g.ask("/readyz").status_code == 200, 90, "each has one")
    assert "[+] group: has partitions" in second.ask("/readyz?verbose").text


def test_partitions_are_shared(live):
    first, second = (live.guardian(group_id=live.name).ready() for _ in range(2))
    shares = lambda: sorted(  # noqa: E731
        g.metrics()['seckill_guardian_partitions{state="assigned"}'] for g in (first, second)
    )
    wait_until(lambda: shares() == [1, 1], 60, "one partition each", 0.2)
    live.busy(500)
    clean(live)


def test_sigterm_under_load_drains(live):
    g = live.guardian(batch_linger="2s").ready()
    live.busy(1000)
    wait_until(lambda: live.recorded(0) > 0, 60, "progress")
    assert g.stop() == 0
    live.guardian().ready()
    clean(live)


def test_transactions_keep_their_distance(live):
    """Who is alone is written at once; the next ones wait for company, unless they are many, a mark, or the end."""
    g = live.guardian(batch_linger="1h", batch_rows=20).ready()
    commits = lambda: g.metric("seckill_guardian_commits_total")  # noqa: E731
    queued = lambda: g.metrics()['seckill_guardian_queued{partition="0"}']  # noqa: E731
    live.caught_up()
    began, at = commits(), live.recorded(0)

    def order(n):
        live.put(0, live.order(0, "lamp@0", f"user{n}"))

    live.put(0, live.open("lamp@0", 50, 9, 600_000))
    for n in range(18):
        order(n)
        wait_until(lambda n=n: queued() == n + 2, 60, "it is read")
    assert (commits(), live.recorded(0)) == (began, at)
    order(18)  # the twentieth
    live.caught_up()
    assert (commits(), queued()) == (began + 1, 0)
    order(19)
    wait_until(lambda: queued() == 1, 60, "it is read")
    live.reconcile()  # a mark, which what came before it precedes
    order(20)
    wait_until(lambda: queued() == 1, 60, "it is read")
    assert g.stop() == 0
    live.applied()
    assert live.recorded(0) == live.log_end(0) - 1
    clean(live)


def keyed_orders(w, item, user, count):
    return [w.order(0, item, user, order_id=order_id_of(0, keyed=True)) for _ in range(count)]


@pytest.mark.parametrize("rows", [1, 5000])
def test_what_redis_forgets_is_marked_as_forgotten(live, rows):
    """At most 64 orders per user, and 8 payments per order; beyond that it matters what is asked when."""
    live.guardian(batch_rows=rows).ready()
    live.put(0, live.open("lamp@0", 1000, 1000), live.open("desk@0", 1000, 1))
    live.put(0, *keyed_orders(live, "lamp@0", "many", 70))
    live.put(0, *keyed_orders(live, "desk@0", "pushy", 70))
    paid = live.order(0, "lamp@0", "payer")
    pays = [
        {"type": "pay", "order_id": paid["order_id"], "payment_id": f"p{i}", "user_id": "payer"} for i in range(11)
    ]
    # The first payment overtakes its order: answered, but never listed with it.
    live.put(0, pays[0], paid, *pays[1:])
    live.applied()
    live.caught_up()
    counts = dict(live.rows("SELECT user_id, COUNT(*) FROM orders WHERE remembered = 1 GROUP BY user_id"))
    assert counts == {b"many": 64, b"pushy": 64, b"payer": 1}
    assert live.rows("SELECT COUNT(*) FROM orders WHERE remembered = 0") == ((12,),)
    live.reconcile()
    clean(live)


def test_mysql_refuses_an_oversold_item(live):
    live.guardian().ready()
    live.put(0, live.open("lamp@0", 3))
    live.caught_up()
    for change in ("held = held + 4", "sold = 4, available = -1", "available = available + 1"):
        with pytest.raises(Exception, match="items_"):
            live.edit(f"UPDATE items SET {change}")
    clean(live)


# ---------------------------------------------------------------- MySQL in trouble


@pytest.mark.kills_mysql
def test_mysql_killed_and_restarted(live):
    g = live.guardian().ready()
    live.busy(500)
    live.caught_up()
    live.stack.kill("mysql")
    live.busy(500, seed=2)
    wait_until(lambda: g.lines("mysql.unwell"), 60, "the guardian notices")
    live.stack.restart("mysql")
    clean(live)


@pytest.mark.kills_mysql
def test_mysql_away_when_partitions_are_given(live):
    live.busy(300)
    g = live.guardian().ready()
    live.caught_up()
    live.stack.kill("mysql")
    other = live.guardian()  # waits for MySQL before it joins
    live.busy(300, seed=2)
    wait_until(lambda: other.lines("program.waiting"), 60, "the other one waits")
    live.stack.restart("mysql")
    g.kill()
    other.ready()
    clean(live)


def test_a_lock_that_is_held_for_long(live):
    g = live.guardian().ready()
    live.put(0, live.open("lamp@0", 50, 9))
    live.caught_up()
    db = live.connect(live.database)
    with db.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM items FOR UPDATE")
        live.put(0, *[live.order(0, "lamp@0", f"user{i}") for i in range(20)])
        wait_until(lambda: g.metric("seckill_guardian_retries_total") > 0, 60, "a retry after 1205")
        cursor.execute("ROLLBACK")
    db.close()
    clean(live)


def test_deadlocks(live):
    """Another session takes the locks the other way round, until the guardian is the one whose work is undone."""
    g = live.guardian(batch_linger="0ms").ready()
    live.put(0, live.open("lamp@0", 100000, 9))
    live.caught_up()
    db = live.connect(live.database)
    with db.cursor() as cursor:
        cursor.execute("CREATE TABLE heavy (n INT) ENGINE=InnoDB")
    for n in range(1000):
        # Of others each time: who has reached the limit changes no item.
        live.put(0, *[live.order(0, "lamp@0", f"user{n}-{i}") for i in range(5)], wait=False)
        with db.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            # The server undoes the transaction that has written less.
            cursor.execute("INSERT INTO heavy VALUES " + ",".join(f"({n})" for n in range(2000)))
            cursor.execute("SELECT * FROM items FOR UPDATE")
            try:
                cursor.execute("SELECT * FROM progress WHERE partition_id = 0 FOR UPDATE")
            except Exception as e:  # noqa: BLE001  it was ours all the same
                assert e.args[0] in (1213, 1205), e
            cursor.execute("ROLLBACK")
        if "(1213)" in g.log.read_text():
            break
    db.close()
    assert "(1213)" in g.log.read_text(), "the two never met"
    assert g.metrics()["seckill_guardian_retries_total"] > 0
    clean(live)


def test_a_row_that_contradicts_the_log_halts_the_partition(live):
    g = live.guardian().ready()
    live.put(0, live.open("lamp@0", 50, 9))
    live.put(1, live.open("desk@1", 50, 9))
    order = live.order(0, "lamp@0", "ann")
    live.put(0, order)
    live.caught_up()
    live.edit("UPDATE orders SET state = 'C' WHERE state = 'H'")
    live.put(0, {"type": "cancel", "order_id": order["order_id"], "user_id": "ann"})
    wait_until(lambda: g.lines("partition.halted"), 60, "it halts")
    assert "contradicts" in g.lines("partition.halted")[0]
    at = live.recorded(0)
    live.put(1, live.order(1, "desk@1", "bob"))
    wait_until(lambda: live.recorded(1) >= live.log_end(1) - 1, 60, "the other partition goes on")
    assert live.recorded(0) == at
    assert g.metrics()['seckill_guardian_halted{reason="record"}'] == 1
    assert g.stop() == HALTED


# ---------------------------------------------------------------- what stands in the topic


def outbox_of(w, p, prev):
    """Redis says that it still holds all outcomes after prev; None: that it holds none."""
    w.redis.delete(w.key(p, "outbox"))
    if prev is not None:
        w.redis.rpush(w.key(p, "outbox"), f"{prev} 999999 {'0' * 16} 0\n")


@pytest.fixture
def told(live):
    """Guardians read a topic that the test fills with copies of true outcomes."""
    live.make_told()
    live.busy(200, hold_ms=600000)
    live.applied()
    live.values = [live.outcome_values(p) for p in range(live.partitions)]
    for m in live.matchers:
        assert m.stop() == 0
    for p in range(live.partitions):
        outbox_of(live, p, -1)
    # Nobody rebuilds what the test took away.
    quiet = {"probe_after": "300ms", "auto_rebuild": "false"}
    live.reader = lambda **more: live.guardian(topic_outcomes=live.told, **quiet, **more).ready()
    return live


def all_recorded(w):
    for p in range(w.partitions):
        last = json.loads(w.values[p][-1])["offset"]
        wait_until(lambda p=p, last=last: w.recorded(p) == last, 60, f"mysql: partition {p} at {last}")
        outbox_of(w, p, None)  # what was made up would be found out
    report = w.verify()
    assert report["redis"] == report["mysql"] == report["log"]


def test_copies_older_and_later_ones(told):
    g = told.reader()
    for p, v in enumerate(told.values):
        told.fill(p, v[:10] + v[:5] + v[12:20] + v[10:12] + v[11:15] + v[12:] + v)
    all_recorded(told)
    assert g.metrics()['seckill_guardian_outcomes_skipped_total{why="later"}'] > 0
    assert g.metrics()['seckill_guardian_outcomes_skipped_total{why="old"}'] > 0
    assert g.stop() == 0
    assert told.complaints() == []


def test_starts_at_the_last_applied_record(told):
    for p, v in enumerate(told.values):
        told.fill(p, v[:50])
    g = told.reader()
    wait_until(lambda: all(told.recorded(p) >= 49 for p in range(2)), 60, "half of it is recorded")
    assert g.stop() == 0
    again = told.reader()
    for p, v in enumerate(told.values):
        told.fill(p, v[50:])
    all_recorded(told)
    skipped = again.metrics()['seckill_guardian_outcomes_skipped_total{why="old"}']
    assert skipped == 2  # the overlap of each
    assert again.stop() == 0


def test_a_topic_that_was_filled_anew(told):
    """The overlap is not where it was: everything is read from the start."""
    for p, v in enumerate(told.values):
        told.fill(p, v[:50])
    g = told.reader()
    wait_until(lambda: all(told.recorded(p) >= 49 for p in range(2)), 60, "half of it is recorded")
    assert g.stop() == 0
    told.delete_topic(told.told)
    told.make_told()
    for p, v in enumerate(told.values):
        told.fill(p, v[40:])
    g = told.reader()
    all_recorded(told)
    assert g.stop() == 0
    assert told.complaints() == []


def test_garbage_is_passed_over(told):
    g = told.reader()
    for p, v in enumerate(told.values):
        other = told.values[1 - p][0]
        told.fill(p, [b"", b"{}", b'{"partition":', other] + v[:10] + [b"\xff" * 100] + v[10:])
    all_recorded(told)
    assert g.stop() == 0
    assert told.complaints() == []


def test_a_gap_waits_while_the_outbox_holds_it(told):
    v = told.values[0]
    told.fill(1, told.values[1])
    told.fill(0, v[:30] + v[31:])
    outbox_of(told, 0, 29)
    g = told.reader()
    wait_until(lambda: told.recorded(0) == 29, 60, "mysql at the gap")
    asked = g.metric("seckill_guardian_probes_total")
    wait_until(lambda: g.metric("seckill_guardian_probes_total") > asked + 4, 60, "Redis was asked")
    assert told.recorded(0) == 29 and not g.lines("partition.halted")
    told.fill(0, v[30:])
    all_recorded(told)
    assert g.stop() == 0


def test_a_gap_waits_while_redis_is_behind_it(told):
    """Redis went back: the matcher will apply, and tell, the same again."""
    v = told.values[0]
    told.fill(1, told.values[1])
    told.fill(0, v[:30] + v[31:])
    outbox_of(told, 0, None)
    true = told.redis.hget(told.key(0, "log"), "watermark")
    told.redis.hset(told.key(0, "log"), "watermark", 20)
    g = told.reader()
    wait_until(lambda: told.recorded(0) == 29, 60, "mysql at the gap")
    asked = g.metric("seckill_guardian_probes_total")
    wait_until(lambda: g.metric("seckill_guardian_probes_total") > asked + 4, 60, "Redis was asked")
    assert not g.lines("partition.halted")
    told.fill(0, v[30:])
    told.redis.hset(told.key(0, "log"), "watermark", true)
    all_recorded(told)
    assert g.stop() == 0


def test_an_outcome_lost_for_certain_halts_its_partition(told):
    v = told.values[0]
    told.fill(0, v[:30] + v[31:])
    outbox_of(told, 0, None)
    g = told.reader()
    wait_until(lambda: g.lines("partition.halted"), 60, "partition 0 halts")
    assert "lost" in g.lines("partition.halted")[0]
    wait_until(lambda: told.recorded(0) == 29, 60, "what was before it is recorded")
    told.fill(1, told.values[1])
    last = json.loads(told.values[1][-1])["offset"]
    wait_until(lambda: told.recorded(1) == last, 60, "the other partition goes on")
    assert told.recorded(0) == 29
    assert g.stop() == HALTED


def test_a_lost_tail_halts_too(told):
    """Nothing later shows that something is missing: only Redis knows."""
    told.fill(1, told.values[1])
    told.fill(0, told.values[0][:30])
    outbox_of(told, 0, None)
    g = told.reader()
    wait_until(lambda: g.lines("partition.halted"), 60, "partition 0 halts")
    wait_until(lambda: told.recorded(0) == 29, 60, "what was before it is recorded")
    assert g.stop() == HALTED


def test_all_partitions_halted_ends_the_process(told):
    for p, v in enumerate(told.values):
        told.fill(p, v[:30] + v[31:])
        outbox_of(told, p, None)
    assert told.reader().wait() == HALTED


def test_another_log_halts(told):
    v = told.values[0]
    told.fill(0, v[:30] + [v[30].replace(told.log_ids[0].encode(), b"f" * 32)])
    g = told.reader()
    wait_until(lambda: g.lines("partition.halted"), 60, "partition 0 halts")
    assert "another log" in g.lines("partition.halted")[0]
    assert g.stop() == HALTED


def test_another_history_halts(told):
    v = told.values[0]
    told.fill(0, v[:30])
    g = told.reader()
    wait_until(lambda: told.recorded(0) == 29, 60, "some of it")
    assert g.stop() == 0
    chain = json.loads(v[29])["chain"]
    told.edit("UPDATE progress SET chain = %s WHERE chain = %s", chain[::-1], chain)
    g = told.reader()
    wait_until(lambda: g.lines("partition.halted"), 60, "partition 0 halts")
    assert g.stop() == HALTED


def test_unknown_rules_halt(told):
    v = told.values[0]
    told.fill(0, v[:30] + [v[30].replace(b'"rules":1', b'"rules":3')])
    g = told.reader()
    wait_until(lambda: g.lines("partition.halted"), 60, "partition 0 halts")
    assert "rules" in g.lines("partition.halted")[0]
    wait_until(lambda: told.recorded(0) == 29, 60, "what was before it is recorded")
    assert g.stop() == HALTED


# ---------------------------------------------------------------- the program


def test_unknown_words_are_refused(world):
    """A command's 1 is an answer (differences, refused), so whatever is wrong with the question is 64."""
    for command in ("archive", "dead", "explain", "migrate", "rebuild", "reconcile", "verify"):
        assert world.command(command, "--no-such-option").returncode == 64, command
        assert world.command("--no-such-option", command).returncode == 64, command
        assert world.command(command, partitions=0).returncode == 64, command
    for words in (
        ["recover"],
        ["recover", "--no-such-option"],
        ["migrate", "verify"],
        ["archive"],
        ["archive", "--trim", f"--partition={world.partitions}"],
        ["rebuild", f"--partition={world.partitions}"],
    ):
        done = world.command(*words)
        assert done.returncode == 64 and done.stderr.startswith("seckill-guardian: "), (words, done)
    assert world.command("reconcile", mysql_password_file="/no/such/file").returncode == 64
    assert world.command("--no-such-option").returncode == 1  # the daemon
    assert world.command(partitions=0).returncode == 1
    assert world.command("--help", "reconcile").returncode == 0


def test_it_tells_how_it_is(live):
    g = live.guardian().ready()
    live.busy(300, hold_ms=600_000)
    live.applied()
    live.caught_up()
    wait_until(lambda: g.metric("seckill_guardian_lag") == 0, 60, "no lag")
    m = g.metrics()
    for p in range(2):
        assert m[f'seckill_guardian_position{{partition="{p}"}}'] == live.recorded(p) > 0
    assert g.metric("seckill_guardian_halted") == 0
    assert m["seckill_guardian_workers"] >= 4
    assert m["seckill_guardian_commit_seconds_count"] == m["seckill_guardian_commits_total"] > 0
    holds_for(lambda: not g.lines("partition.halted"), 0.2, "no halt")


def test_a_server_that_demands_encryption(world, tmp_path):
    """As MySQL's own accounts may; ours has none, so here is one for whom nothing else will do."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    quiet = {"check": True, "capture_output": True, "stdin": subprocess.DEVNULL, "timeout": 120}
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], **quiet)
    common = ["--no-defaults", f"--user={getpass.getuser()}", "--innodb-use-native-aio=0"]
    # Without grants it needs none of its own tables, only the database in which ours shall be.
    (tmp_path / "data" / "mysql").mkdir(parents=True)
    port = world.stack.port("encrypted")
    path = os.environ["PATH"] + ":/usr/sbin"
    server = subprocess.Popen(
        [shutil.which("mariadbd", path=path), *common, "--datadir=./data", f"--tmpdir={tmp_path}", "--socket=mysql.sock"]
        + [f"--port={port}", "--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-networking=0"]
        + [f"--ssl-key={key}", f"--ssl-cert={certificate}", "--require-secure-transport=ON"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stderr=(tmp_path / "mariadb.log").open("w"),
    )
    try:
        where = {"mysql_host": "127.0.0.1", "mysql_port": port, "mysql_user": "any", "mysql_database": "mysql"}
        wait_until(
            lambda: server.poll() is not None or world.command("migrate", **where).returncode == 0, 60, "migrated", 0.2
        )
        assert server.poll() is None, (tmp_path / "mariadb.log").read_text()
        assert "schema_version" in {p.stem for p in (tmp_path / "data" / "mysql").iterdir()}
    finally:
        server.kill()
        server.wait()


def test_a_statement_that_was_given_up_ends_at_the_server(live):
    """It would keep the lock on the progress row from the next attempt, and from the next hundred."""
    waiting = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s AND STATE LIKE 'Waiting for table%%'"
    live.guardian(mysql_timeout="1s").ready()
    live.caught_up()
    lock = live.connect(live.database)
    with lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLES orders WRITE")
        live.busy(20)
        first = wait_until(lambda: live.rows(waiting, live.database), 60, "a transaction stands")
        wait_until(lambda: not set(first) & set(live.rows(waiting, live.database)), 60, "it is ended")
        wait_until(lambda: live.rows(waiting, live.database), 60, "the next one has come as far")
        cursor.execute("UNLOCK TABLES")
    clean(live)
