"""tools/stack.sh: the ground that every other test stands on."""

import os
import signal
import socket
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from lib.kafka import first_record, make_topics
from lib.stack import ROOT, Stack, ToolError, clean_environ, mysql_of, read_env

PARTS = ("kafka", "redis", "mysql")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two stacks that were started at the same moment; a space in the path is allowed."""
    stacks = [Stack(tmp_path_factory.mktemp("a stack")) for _ in range(2)]
    starts = [
        subprocess.Popen([ROOT / "tools/stack.sh", "start", s.dir], env=clean_environ()) for s in stacks
    ]
    try:
        assert [p.wait(timeout=480) for p in starts] == [0, 0]
        yield stacks
    finally:
        for s in stacks:
            s.remove()


def kafka_put(env, topic, value):
    failures = []
    producer = Producer({"bootstrap.servers": env["KAFKA_BROKERS"], "acks": "all"})
    producer.produce(topic, value, on_delivery=lambda err, _: err and failures.append(err))
    assert producer.flush(60) == 0 and not failures


def make_topic(env):
    name = f"t-{uuid.uuid4()}"
    make_topics(env["KAFKA_BROKERS"], [NewTopic(name, 1, 1)])
    return name


def topics_of(env):
    return AdminClient({"bootstrap.servers": env["KAFKA_BROKERS"]}).list_topics(timeout=60).topics


def open_files(pid):
    """What a process has open; it goes on opening and closing meanwhile."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield os.readlink(path)


def redis_of(env):
    return redis.Redis(env["REDIS_HOST"], int(env["REDIS_PORT"]))


def query(env, sql):
    with mysql_of(env) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_env_file_is_for_shells_and_only_for_its_owner(stack):
    path = stack.dir / "env"
    assert path.stat().st_mode & 0o077 == 0
    # Sourced by a shell it says the same as read by our own reader.
    script = f'set -aeu; . "{path}"; env -0'
    output = subprocess.run(["sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    seen = dict(pair.split("=", 1) for pair in output.stdout.decode().split("\0") if pair)
    assert {name: seen.get(name) for name in stack.env} == stack.env
    for part in PARTS:
        os.kill(int(seen[f"{part.upper()}_PID"]), 0)


def test_redis_is_set_up_not_to_lose_or_evict(stack):
    config = redis_of(stack.env).config_get
    assert config("appendonly") == {"appendonly": "yes"}
    assert config("appendfsync") == {"appendfsync": "everysec"}
    assert config("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_mysql_account_is_no_administrator(stack):
    assert query(stack.env, "SELECT CURRENT_USER()") == (("seckill@127.0.0.1",),)
    with pytest.raises(pymysql.err.OperationalError):
        query(stack.env, "CREATE USER intruder@localhost")


def test_start_again_changes_nothing(stack):
    before = stack.env
    stack.start()
    assert stack.env == before
    assert stack.status() == dict.fromkeys(PARTS, "running")


def test_start_leaves_nobody_waiting_for_its_descriptors(two):
    """A pipe or lock that a server kept open would hang whoever waits for its end, make -j too."""
    one = two[0]
    one.kill("redis")
    read_end, write_end = os.pipe()
    try:
        # Returns only when nobody has our stdout or stderr any more.
        done = subprocess.run(
            [ROOT / "tools/stack.sh", "start", one.dir],
            env=clean_environ(),
            capture_output=True,
            pass_fds=[write_end],
            timeout=480,
            check=True,
        )
        os.close(write_end)
        os.set_blocking(read_end, False)
        assert os.read(read_end, 1) == b"", "a server has the caller's other descriptors"
    finally:
        os.close(read_end)
    assert done.stdout == b"" and done.stderr == b"", "quiet when nobody looks"
    for pid in one.processes():
        assert str(one.dir / ".lock") not in open_files(pid)


def test_mysql_has_its_temporary_files_to_itself(two):
    """A server that starts deletes the temporary tables that it finds, whose ever they are."""
    for stack in two:
        with mysql_of(stack.env) as db, db.cursor() as cursor:
            cursor.execute("SELECT @@tmpdir")
            assert Path(cursor.fetchone()[0]) == stack.dir / "mysql" / "tmp"


def test_two_stacks_share_nothing(two):
    one, other = (s.env for s in two)
    for name in ("KAFKA_BROKERS", "REDIS_PORT", "MYSQL_PORT", "MYSQL_PASSWORD", "SECKILL_TOKEN_SECRET"):
        assert one[name] != other[name]
    topic = make_topic(one)
    assert topic in topics_of(one)
    assert topic not in topics_of(other)


@pytest.mark.parametrize("part", PARTS)
def test_kill_9_and_restart_keeps_port_and_data(two, part):
    env = two[0].env
    topic = make_topic(env)
    key = str(uuid.uuid4())
    kafka_put(env, topic, key)
    redis_of(env).set(key, "kept")
    table = "t_" + key.replace("-", "_")
    query(env, f"CREATE TABLE {table} (v INT) AS SELECT 7 AS v")

    two[0].kill(part)
    assert two[0].status()[part] == "stopped"
    two[0].restart(part)

    after = two[0].env
    pid = f"{part.upper()}_PID"
    assert after[pid] != env[pid]
    assert {k: v for k, v in after.items() if k != pid} == {k: v for k, v in env.items() if k != pid}
    assert first_record(after["KAFKA_BROKERS"], topic) == key.encode()
    assert redis_of(after).get(key) == b"kept"
    assert query(after, f"SELECT v FROM {table}") == ((7,),)


def test_a_stopped_server_can_be_told_to_go_on(two):
    port = int(two[0].env["REDIS_PORT"])
    two[0].kill("redis", signal.SIGSTOP)
    with pytest.raises(redis.exceptions.TimeoutError):
        redis.Redis("127.0.0.1", port, socket_timeout=0.3).ping()
    two[0].kill("redis", signal.SIGCONT)
    assert redis.Redis("127.0.0.1", port, socket_timeout=60).ping()


def test_named_ports_are_kept_and_differ(two):
    ports = [s.port(name) for s in two for name in ("one", "two")]
    assert len(set(ports)) == 4
    assert two[0].port("one") == ports[0]
    with socket.socket() as s:
        s.bind(("127.0.0.1", ports[0]))


def test_own_servers_are_used_and_left_alone(two, tmp_path):
    names = ("KAFKA_BROKERS", "REDIS_HOST", "REDIS_PORT", "MYSQL_HOST", "MYSQL_PORT", "MYSQL_USER", "MYSQL_PASSWORD")
    theirs = two[1].env
    guest = Stack(tmp_path / "guest", given={name: theirs[name] for name in names})
    with guest:
        assert guest.status() == dict.fromkeys(PARTS, "yours")
        assert guest.processes() == {}
        assert {name: guest.env[name] for name in names} == {name: theirs[name] for name in names}
        with pytest.raises(ToolError, match="redis is yours"):
            guest.kill("redis")
    assert two[1].status() == dict.fromkeys(PARTS, "running")


def test_a_sourced_env_file_names_no_own_servers(two, tmp_path):
    """Whoever sourced a stack's env file and starts another stack wants servers of its own."""
    second = Stack(tmp_path / "second", given=two[1].env)
    with second:
        assert second.env["REDIS_PORT"] != two[1].env["REDIS_PORT"]
        assert second.status() == dict.fromkeys(PARTS, "running")


def test_an_own_server_that_does_not_answer_is_named(tmp_path, two):
    guest = Stack(
        tmp_path / "guest", given={"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(two[0].port("nobody"))}
    )
    with pytest.raises(ToolError, match="no Redis answers at REDIS_HOST=127.0.0.1"):
        guest.start()
    assert guest.processes() == {}


def test_what_cannot_be_had_is_said_with_the_way_out(tmp_path):
    """No jars and no Maven: the message names the part and the variable that replaces it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for directory in ("/usr/bin", "/bin", "/usr/sbin"):
        for name in os.listdir(directory):
            if name != "mvn" and not (tools / name).exists():
                (tools / name).symlink_to(f"{directory}/{name}")
    given = {"PATH": str(tools), "KAFKA_JARS": str(tmp_path / "no-jars")}
    broken = Stack(tmp_path / "stack", given=given)
    with pytest.raises(ToolError) as error:
        broken.start()
    assert "there is no mvn here (Debian package maven" in str(error.value)
    assert "set KAFKA_BROKERS=host:port" in str(error.value)
    assert broken.processes() == {}


def test_a_server_that_dies_at_its_start_shows_its_log(two):
    """A port that is taken meanwhile: the log's end tells, and nothing half started stays."""
    one = two[0]
    port = int(one.env["REDIS_PORT"])
    one.kill("redis")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        with pytest.raises(ToolError, match="(?s)redis ended while it started.*Address already in use"):
            one.restart("redis")
    one.restart("redis")
    assert one.status() == dict.fromkeys(PARTS, "running")


def test_stop_ends_everything_also_after_a_crash(two):
    """Pid files lost, a server killed, another stopped: stop finds what runs by itself."""
    one = two[0]
    env = one.env
    one.kill("kafka")
    one.kill("mysql", signal.SIGSTOP)
    for file in (one.dir / "pid").iterdir():
        file.unlink()
    assert len(one.processes()) == 2
    one.stop()
    assert one.processes() == {}
    one.stop()
    # The data is still there, and so are the ports.
    one.start()
    assert {k: v for k, v in one.env.items() if not k.endswith("_PID")} == {
        k: v for k, v in env.items() if not k.endswith("_PID")
    }
    assert read_env(one.dir / "env") == one.env
