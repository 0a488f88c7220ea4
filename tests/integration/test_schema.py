"""The schema: seckill-guardian migrate, whatever stands there already."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.record import Record
from lib.stack import ROOT
from lib.wait import holds_for

SCHEMA = sorted((ROOT / "schema").glob("*.sql"))


def statements_of(path):
    text = "\n".join(line.split("--")[0].rstrip() for line in path.read_text().splitlines())
    return [s for s in text.split(";\n") if s.strip()]


@pytest.fixture
def world(stack, tmp_path):
    w = Record(stack, tmp_path)
    yield w
    w.close()


def test_migrate_is_idempotent(world):
    assert world.guardian().wait() == 1  # nothing there yet
    assert "seckill-guardian migrate" in world.guardians[0].log.read_text()
    runs = [world.command("migrate") for _ in range(2)]
    assert [r.returncode for r in runs] == [0, 0]
    names = [f.stem for f in SCHEMA]
    assert f"applied={len(names)}" in runs[0].stderr and "applied=0" in runs[1].stderr
    assert world.rows("SELECT version, name FROM schema_version") == tuple(
        (int(name[:4]), name.encode()) for name in names
    )


def test_a_record_from_before_the_journal_keeps_its_rows(world):
    """stock_ledger and tcc_log tell as views what they told as tables, also if 0003 was cut short and runs again."""
    db = world.connect(world.database)

    def told():
        cursor.execute("SELECT *, CONCAT(from_account), CONCAT(to_account) FROM stock_ledger ORDER BY 2, 3")
        moves = cursor.fetchall()
        cursor.execute("SELECT *, CONCAT(phase), CONCAT(cause) FROM tcc_log ORDER BY 2, 3, CONCAT(phase)")
        return moves, cursor.fetchall()

    def run(files):
        for statement in [s for f in files for s in statements_of(f)]:
            cursor.execute(statement)

    with db, db.cursor() as cursor:
        run(SCHEMA[:2])
        entries = ("supply", "available", "added"), ("available", "held", "reserved"), ("held", "sold", "paid"), (
            "held", "available", "cancelled"), ("held", "available", "expired"), ("available", "sold", "late"), (
            "available", "supply", "removed")
        phases = {"reserved": ["try"], "paid": ["confirm"], "late": ["try", "confirm"], "cancelled": ["cancel"],
                  "expired": ["cancel"]}
        for at, (giver, taker, cause) in enumerate(entries):
            ours = "" if cause in ("added", "removed") else f"order{at}"
            cursor.execute("INSERT INTO stock_ledger VALUES (1, %s, 2, 'lamp', %s, %s, %s, %s)",
                           (at, ours, giver, taker, at + 1))
            if not ours:
                cursor.execute("INSERT INTO operations (partition_id, op_id, item_id, log_offset, log_time, reason) "
                               "VALUES (1, %s, 'lamp', %s, %s, 0)", (cause, at, 1000 + at))
            for phase in phases.get(cause, []):
                cursor.execute("INSERT INTO tcc_log VALUES (1, %s, 2, %s, %s, 'ann', %s, %s)",
                               (at, phase, ours, cause, 1000 + at))
        before = told()
        run(SCHEMA[2:3])
        cursor.execute("CREATE TABLE schema_version (version INT NOT NULL PRIMARY KEY, name VARBINARY(128) NOT NULL, "
                       "applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)")
        cursor.execute("INSERT INTO schema_version (version, name) VALUES (2, '0002_archive')")
        world.migrate()
        assert told() == before and len(before[0]) == len(entries) and len(before[1]) == 6
        cursor.execute("SELECT cause, log_time FROM journal ORDER BY log_offset")
        assert cursor.fetchall() == tuple((cause, 1000 + at) for at, (_, _, cause) in enumerate(entries))


def test_migrate_side_by_side(world):
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(world.command("migrate").returncode)) for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert codes == [0, 0, 0, 0]
    assert len(world.rows("SELECT version FROM schema_version")) == len(SCHEMA)


def test_a_half_applied_migration_is_finished(world):
    world.migrate()
    world.execute(f"DROP TABLE {world.database}.payments")
    world.execute(f"DELETE FROM {world.database}.schema_version")
    world.migrate()
    assert world.rows("SELECT COUNT(*) FROM payments") == ((0,),)


def test_a_newer_schema_is_refused(world):
    world.migrate()
    world.edit("INSERT INTO schema_version (version, name) VALUES (999, 'later')")
    done = world.command("migrate")
    assert done.returncode == 1 and "newer build" in done.stderr
    assert world.guardian().wait() == 1


def test_tables_without_transactions_are_refused(world):
    world.migrate()
    world.execute(f"ALTER TABLE {world.database}.journal ENGINE=MyISAM")
    assert world.guardian().wait() == 1
    assert "InnoDB" in world.guardians[0].log.read_text()


def test_migrate_waits_for_a_long_statement(world):
    """A table of millions is not altered within mysql-timeout."""
    world.migrate()
    lock = world.connect(world.database)
    with lock, lock.cursor() as cursor, ThreadPoolExecutor() as one:
        cursor.execute("LOCK TABLES schema_version WRITE")
        run = one.submit(world.command, "migrate", mysql_timeout="1s")
        holds_for(lambda: not run.done(), 4, "it waits")
        cursor.execute("UNLOCK TABLES")
        assert run.result().returncode == 0, run.result().stderr
