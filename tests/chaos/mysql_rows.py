"""D: MySQL dies, refuses, waits, and comes back older than it was."""

import contextlib
import shutil
import time

import pymysql

from chaos.disk import copy, fill, small_disk
from chaos.rows import row, told

IMPATIENT = {"MYSQL_TIMEOUT": "2s"}


def administrator(field):
    """A connection of the one who started the server: the daemons' account may not do what follows."""
    return pymysql.connect(unix_socket=str(data_of(field) / "mysql.sock"), user="root", database="seckill", autocommit=True)


def administer(field, *statements):
    with administrator(field) as db, db.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall()


def data_of(field):
    return field.stack.dir / "mysql" / "data"


@row("D1", "MySQL is killed and started again")
def killed(field):
    field.stack.kill("mysql")
    field.stack.restart("mysql")
    field.note("mysql killed")


@row("D2", "another session takes the locks the other way round", proof=told("guardian", "(1213)"), pause_s=(0, 0.3))
def deadlocked(field):
    """The server ends the transaction that has written least, so half the time the other one has written more."""
    heavy = field.dice.random() < 0.5
    with administrator(field) as db, db.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS chaos (n INT) ENGINE=InnoDB")
        cursor.execute("START TRANSACTION")
        if heavy:
            cursor.execute("INSERT INTO chaos SELECT seq FROM seq_1_to_5000")
        cursor.execute("SELECT * FROM items FOR UPDATE")
        time.sleep(field.dice.uniform(0, 0.2))
        try:
            cursor.execute("SELECT * FROM progress FOR UPDATE")
        except pymysql.MySQLError as e:
            if e.args[0] not in (1205, 1213):
                raise
        cursor.execute("ROLLBACK")
    field.note(f"items before progress{', and much to roll back' if heavy else ''}")


@row("D3", "somebody holds the locks that the guardian needs, for longer than it waits", proof=told("guardian", "(1205)"))
def locked(field):
    """It waits for 5 s."""
    table = field.dice.choice(("progress", "items"))
    with field.mysql(autocommit=False) as db, db.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 60")  # we, too, may have to wait for the lock
        cursor.execute(f"SELECT * FROM {table} FOR UPDATE")
        field.breathe(4, 9)
        db.rollback()
    field.note(f"{table} was locked")


@row("D5", "MySQL is read-only", proof=told("guardian", "(1290)"))
def read_only(field):
    administer(field, "SET GLOBAL read_only = 1")
    field.breathe(0.5, 3)
    administer(field, "SET GLOBAL read_only = 0")
    field.note("read_only for a while")


def on_small_disk(field):
    field.stack.kill("mysql", 15)
    small_disk(field, data_of(field), "400m")
    field.stack.restart("mysql")


IS_FULL = "is full"


@row("D6", "MySQL's disk is full", setup=on_small_disk, proof=told("guardian", IS_FULL), soak=False, pause_s=(2, 5))
def disk_full(field):
    with fill(data_of(field)):
        field.breathe_until_said("guardian", IS_FULL)
    # InnoDB may end itself when it finds no room; what supervises it starts it again.
    if field.stack.status()["mysql"] == "stopped":
        field.stack.restart("mysql")
    field.note("MySQL could not write")


@row("D7", "MySQL takes no more connections", proof=told("guardian", "Too many connections"))
def no_connections(field):
    """For longer than a daemon is silent about the same."""
    with administrator(field) as db, db.cursor() as cursor, contextlib.ExitStack() as taken:
        cursor.execute("SET GLOBAL max_connections = 10")
        for link in field.links("-mysql"):
            link.refuse()
        with contextlib.suppress(pymysql.MySQLError):
            while True:
                taken.enter_context(administrator(field))
        for link in field.links("-mysql"):
            link.heal()
        field.breathe(6, 9)
        cursor.execute("SET GLOBAL max_connections = 200")
    field.note("too many connections for a while")


@row("D8", "MySQL hangs", settings=IMPATIENT, proof=told("guardian", "mysql: no answer in time", "during query (2013)"))
def hangs(field):
    field.freeze(field.pid_of("mysql"), field.dice.uniform(2.5, 5))
    field.note("mysqld stopped for seconds")


@row("D9", "MySQL is an older copy of itself", pause_s=(1, 3))
def older_copy(field):
    """As after a failover to a replica that lacked commits."""
    data = data_of(field)
    old = data.with_name("data.old")
    field.stack.kill("mysql")
    shutil.rmtree(old, ignore_errors=True)
    old.mkdir()
    copy(data, old)
    field.stack.restart("mysql")
    field.breathe(1, 4)
    field.stack.kill("mysql")
    shutil.rmtree(data)
    old.rename(data)
    field.stack.restart("mysql")
    field.note("MySQL lost its last commits")


@row("D12", "a guardian sleeps past its session, and wakes as a zombie", alone=True, pause_s=(1, 4), proof=told("guardian", "SESSTMOUT"))
def zombie_guardian(field):
    victim = field.any("guardian")
    field.freeze(victim, field.dice.uniform(4, 6))
    field.note(f"{victim.name} slept past its session")


@row("D14", "a table is rebuilt under load")
def altered(field):
    table = field.dice.choice(("orders", "items", "payments", "progress", "journal"))
    began = time.monotonic()
    administer(field, f"ALTER TABLE seckill.{table} FORCE, ALGORITHM=COPY")
    field.note(f"{table} was copied in {time.monotonic() - began:.1f} s")
