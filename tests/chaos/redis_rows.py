"""R: Redis forgets, refuses, stalls, splits, moves, and is edited."""

import os
import time

from chaos.disk import fill, small_disk
from chaos.rows import counted, row, told
from lib.wait import wait_until
from lib.world import PatientRedis, RedisServer

# ---------------------------------------------------------------------------- the stack's own Redis


def aof_of(field):
    """The file that its last writes went to."""
    return max((field.stack.dir / "redis").rglob("*.incr.aof"), key=lambda p: p.stat().st_mtime)


def trim(field, most):
    """Takes up to `most` bytes off the end, as a power cut does; how many."""
    path = aof_of(field)
    n = min(field.dice.randint(1, most), path.stat().st_size)
    os.truncate(path, path.stat().st_size - n)
    return n


def let_rewrite(field):
    """A matcher has the file of a Redis that went back rewritten.  Redis 7.0 executes half of a MULTI that was cut off
    when it is cut once more before that, and this is nothing that we could undo (docs/faults.md)."""
    client = field.redis()
    for is_under_way in (True, False):
        until = time.monotonic() + 5
        while time.monotonic() < until and client.info("persistence")["aof_rewrite_in_progress"] != is_under_way:
            time.sleep(0.01)


@row("R1", "Redis is killed and started again; its scripts are gone")
def killed(field):
    field.stack.kill("redis")
    field.stack.restart("redis")
    field.note("redis killed")


@row("R2", "Redis loses the end of its log, as in a power cut", proof=told("matcher", "redis.went_back"))
def power_cut(field):
    field.stack.kill("redis")
    n = trim(field, 2000000)
    field.stack.restart("redis")
    field.note(f"{n} bytes of the append-only file lost")
    let_rewrite(field)


def half_was_undone(field):
    assert "incomplete MULTI" in field.stack.log("redis"), "Redis never met half a MULTI: it proved nothing"


@row("R3", "Redis's log ends within a MULTI", proof=half_was_undone)
def torn_multi(field):
    field.stack.kill("redis")
    key = f"seckill:{{{field.dice.randrange(4)}}}:items".encode()
    with aof_of(field).open("ab") as aof:
        aof.write(b"*1\r\n$5\r\nMULTI\r\n*4\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n$7\r\nhalf@0x\r\n$4\r\nhalf\r\n" % (len(key), key))
    field.stack.restart("redis")
    field.note("half a MULTI at the end of the append-only file")


@row("R6", "FLUSHALL at the peak", proof=told("matcher", "to=-1"))
def flushall(field):
    field.redis().flushall()
    field.note("FLUSHALL")


@row("R8", "another client's script keeps Redis BUSY", proof=told("matcher", "BUSY "))
def busy(field):
    client = field.redis()
    client.config_set("busy-reply-threshold", 100)
    until = field.dice.randint(400, 1500)
    text = "local t = redis.call('TIME'); local e = t[1] * 1000 + t[2] / 1000 + ARGV[1] " \
           "repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e"
    client.eval(text, 0, until)
    client.config_set("busy-reply-threshold", 5000)
    field.note(f"BUSY for {until} ms")


@row("R9", "Redis is out of memory", proof=told("matcher", "OOM "))
def out_of_memory(field):
    client = field.redis()
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1000000)
    field.breathe(0.5, 2)
    client.config_set("maxmemory", before)
    field.note("OOM")


@row(
    "R10", "Redis is set to evict", alone=True, proof=counted("no matcher had a partition when it saw that"),
    halts=("evicting",),
)
def evicting(field):
    """Nobody may use it as long as it does; nothing is evicted meanwhile, there is memory.  Matchers halt and leave."""
    client = field.redis()
    matchers = [d for d in field.daemons.values() if d.kind == "matcher"]
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        if field.dice.random() < 0.5:
            client.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: not any(d.runs for d in matchers), 60, "the matchers leave")
        # Between two assignments one has no partition to halt, and has failed.
        codes = {d.process.returncode for d in matchers}
        assert codes <= {2, 3}, f"halted is exit 3, not {codes}"
        field.struck += 3 in codes
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    field.restart_dead()
    field.note("maxmemory-policy allkeys-lru")


@row("R11", "Redis loads its data for seconds", proof=told("producer matcher", "still loading"))
def loading(field):
    field.stack.kill("redis")
    # On the same files and port, but so slow that it answers nothing but LOADING.
    slow = RedisServer(field.stack.dir / "redis", field.redis_at[1], "--key-load-delay", "5000")
    slow.launch()
    field.breathe(1, 3)
    slow.kill()
    field.stack.restart("redis")
    field.note("LOADING for seconds")


@row("R12", "the master is made a replica, and a master again", proof=told("matcher", "READONLY", "not a master"))
def demoted(field):
    client = field.redis()
    client.replicaof("127.0.0.1", "1")
    field.breathe(0.5, 2)
    client.replicaof("NO", "ONE")
    field.note("READONLY for a while")


@row("R13", "Redis refuses writes for want of replicas", proof=told("matcher", "NOREPLICAS"))
def no_replicas(field):
    client = field.redis()
    client.config_set("min-replicas-to-write", 1)
    field.breathe(0.5, 2)
    client.config_set("min-replicas-to-write", 0)
    field.note("NOREPLICAS for a while")


@row("R15", "a snapshot fails, and Redis refuses writes (MISCONF)", proof=told("matcher", "MISCONF"))
def misconf(field):
    client = field.redis()
    in_the_way = field.stack.dir / "redis" / "dump.rdb"
    in_the_way.unlink(missing_ok=True)  # what it was sent when it followed another (R4, R5)
    in_the_way.mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 30, "the snapshot fails")
    field.breathe(0.5, 2)
    client.config_set("save", "")
    # It tries again by itself, and one that has begun would find the way free.
    wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], 30, "no snapshot is under way")
    in_the_way.rmdir()
    field.note("MISCONF for a while")


@row("R16", "Redis sleeps past every timeout, then executes what it was sent", proof=told("matcher", "no reply in time"))
def sleeps(field):
    seconds = field.dice.uniform(1.2, 3)
    field.redis().execute_command("DEBUG", "SLEEP", f"{seconds:.2f}")
    field.note(f"DEBUG SLEEP {seconds:.2f}")


@row("R17", "replies are cut at any byte, or are no Redis's at all", proof=told("matcher", "redis.lost"), pause_s=(0, 0.3))
def cut_replies(field):
    link = field.dice.choice(field.links("-redis"))
    if field.dice.random() < 0.8:
        link.cut_after(field.dice.randint(1, 3000))
        field.breathe(0.1, 0.4)
    else:
        # What answers there speaks HTTP.
        link.retarget("127.0.0.1", field.daemons["matcher"].port)
        field.breathe(0.3, 1)
        link.retarget(*field.redis_at)
    link.heal()
    field.note(f"{link.name}: replies cut")


@row("R18", "the log goes over to other rules and back, and Redis to before that", alone=True, pause_s=(0, 1))
def other_rules(field):
    field.rules = 3 - getattr(field, "rules", 2)
    done = field.run("seckillctl", "rules", "set", field.rules, check=False)
    assert done.returncode in (0, 2), f"rules set: {done.stderr}"  # 2: in the log, and not decided so soon
    field.note(f"rules {field.rules}")
    if field.dice.random() < 0.5:
        power_cut(field)


@row("R20", "SCRIPT FLUSH", pause_s=(0, 0.3), proof=told("matcher", "redis.scripts_forgotten"))
def script_flush(field):
    field.redis().script_flush()
    field.note("SCRIPT FLUSH")


# ---------------------------------------------------------------------------- edited by hand


def derive_anew(field, partition):
    """The repair of docs/operations.md: the wrong copy is thrown away and derived from the log."""
    field.kill("matcher", "matcher-2")
    client = field.redis()
    client.delete(*client.scan_iter(f"seckill:{{{partition}}}:*", 1000))
    field.restart_dead()


def seed_by_hand(field):
    """State without a position is none that anybody may use.  The partition."""
    client = field.redis()
    p = field.dice.randrange(4)
    tx = client.pipeline(transaction=True)
    tx.delete(*client.scan_iter(f"seckill:{{{p}}}:*", 1000))
    tx.hset(f"seckill:{{{p}}}:items", field.storm.items[p], "1000 1000 0 0 1 4000 0 0 o 0")
    tx.execute()
    return p


@row("R7", "Redis is emptied and somebody puts the stock back by hand", alone=True)
def seeded_by_hand(field):
    """It is thrown away, and MySQL's state put in its place."""
    before = field.said("guardian", "rebuild.done")
    p = seed_by_hand(field)
    wait_until(lambda: field.said("guardian", "rebuild.done") > before, 180, "the partition is rebuilt")
    field.note(f"partition {p} was seeded by hand")


@row("R19", "another client edits an order; reconcile names it, and the copy is derived anew", soak=False, pause_s=(3, 6))
def edited_by_hand(field):
    client = field.redis()
    p = field.dice.randrange(4)
    name = f"nobody-{field.faults}"
    client.hset(
        f"seckill:{{{p}}}:orders", name, f"00000000-0000-7{p:03x}-8000-000000000000 {field.storm.items[p]} 1 P 0 1 1 -"
    )
    done = field.run("seckill-guardian", "reconcile", "--timeout=60s", check=False)
    assert done.returncode == 1, f"reconcile did not see it: {done.returncode}\n{done.stdout}{done.stderr}"
    assert name in done.stdout, f"reconcile did not name it: {done.stdout}"
    derive_anew(field, p)
    field.note(f"a foreign order in partition {p}")


@row("R21", "a key of the wrong type", soak=False, halts=("state", "script"))
def wrong_type(field):
    """Not `ops`, which nobody touches before the next operation on a sale."""
    client = field.redis()
    p = field.dice.randrange(4)
    key = f"seckill:{{{p}}}:{field.dice.choice(('items', 'orders', 'payments', 'outbox'))}"
    before = field.said("matcher", "partition.halted")
    tx = client.pipeline(transaction=True)
    tx.delete(key)
    tx.set(key, "not what it was")
    tx.execute()
    wait_until(lambda: field.said("matcher", "partition.halted") > before, 60, "the partition halts")
    derive_anew(field, p)
    field.note(f"{key} was a text")


# ---------------------------------------------------------------------------- servers of its own


def own_server(field, name, *options):
    server = RedisServer(
        field.dir / name, field.stack.port(name), "--maxmemory", "1gb", "--repl-diskless-sync-delay", "0",
        "--set-proc-title", "no", *map(str, options),
    ).start()
    field.extras.append(server.kill)
    return server


def use(field, server, *names):
    """Moves the address of Redis, for all or for those daemons only."""
    for link in [field.link(f"{n}-redis") for n in names] or field.links("-redis"):
        link.retarget("127.0.0.1", server.port)
    if not names:
        field.redis_at = ("127.0.0.1", server.port)


def follow(field, replica, master):
    """replica follows through the link `replication`, and has all there is when this returns."""
    link = field.network.link("replication")
    link.aim("127.0.0.1", master.port)
    link.heal()
    replica.client.replicaof("127.0.0.1", link.port)
    wait_until(lambda: replica.client.info("replication").get("master_link_status") == "up", 60, "the replica follows", 0.1)


def make_small_disk(field):
    small_disk(field, field.dir / "disk", "400m")
    use(field, own_server(field, "disk"))


@row("R22", "the disk of Redis's log is full", setup=make_small_disk, proof=told("matcher", "MISCONF"), soak=False)
def disk_full(field):
    with fill(field.dir / "disk"):
        field.breathe(1, 3)
    field.note("the append-only file could not be written")


class StackRedis:
    """The stack's own, as one of a pair."""

    def __init__(self, field):
        self.stack = field.stack
        self.port = int(field.stack.env["REDIS_PORT"])
        self.client = PatientRedis("127.0.0.1", self.port, decode_responses=True, socket_timeout=60)

    def kill(self):
        self.stack.kill("redis")

    def start(self):
        self.stack.restart("redis")


def make_pair(field):
    """The stack's own Redis, and another that follows it."""
    if not hasattr(field, "pair"):
        field.pair = StackRedis(field), own_server(field, "spare")
    own, spare = field.pair
    own.client.config_set("repl-diskless-sync-delay", 0)
    follow(field, spare, own)
    return own, spare


def go_home(field):
    """A failover as it is planned: nobody writes until the replica has all there is."""
    own, spare = field.pair
    follow(field, own, spare)
    spare.client.execute_command("CLIENT", "PAUSE", 10000, "WRITE")
    end = spare.client.info("replication")["master_repl_offset"]
    wait_until(lambda: own.client.info("replication")["slave_repl_offset"] >= end, 8, "the replica has all there is", 0.01)
    own.client.replicaof("NO", "ONE")
    use(field, own)
    spare.client.execute_command("CLIENT", "UNPAUSE")


def watermarks(client):
    return [int(client.hget(f"seckill:{{{p}}}:log", "watermark") or -1) for p in range(4)]


@row(
    "R4", "a replica that was cut off is promoted, and lacks what its master told; later a planned failover back",
    proof=counted("no failover forgot anything"), alone=True, pause_s=(2, 5),
)
def failover(field):
    own, spare = make_pair(field)
    field.network.link("replication").clog()
    field.breathe(0.3, 2.5)
    told_there = watermarks(own.client)
    own.kill()
    spare.client.replicaof("NO", "ONE")
    forgotten = sum(told_there) - sum(watermarks(spare.client))
    use(field, spare)
    field.note(f"failover: {forgotten} records forgotten")
    field.struck += forgotten > 0
    field.breathe(0.5, 2)
    own.start()
    go_home(field)


@row("R5", "two masters at once, and daemons that disagree which it is", proof=counted("no two masters took commands at once"), alone=True, pause_s=(2, 5))
def split_brain(field):
    own, spare = make_pair(field)
    field.network.link("replication").clog()
    field.breathe(0.1, 0.5)
    spare.client.replicaof("NO", "ONE")
    before = [watermarks(r.client) for r in (own, spare)]
    for _ in range(field.dice.randint(2, 5)):
        name = field.dice.choice(sorted(field.daemons))
        use(field, field.dice.choice((own, spare)), name)
        field.breathe(0.1, 1)
    after = [watermarks(r.client) for r in (own, spare)]
    field.struck += all(now != then for now, then in zip(after, before))
    field.note("two masters")
    if field.dice.random() < 0.5:
        use(field, own)
        return
    use(field, spare)
    field.breathe(0.5, 2)
    go_home(field)


# ---------------------------------------------------------------------------- a cluster

LAST_SLOT = 16383


def bus_of(field, name):
    """By default it is 10,000 above the port, where anybody may be."""
    return field.stack.port(f"{name}-bus")


def make_node(field, name):
    bus = bus_of(field, name)
    return own_server(field, name, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", 5000)


def make_cluster(field):
    """Two nodes; the first has every partition's slot, and is the one that everybody talks to.  A master
    without any slot would become the other's replica."""
    a, b = field.nodes = [make_node(field, "node-a"), make_node(field, "node-b")]
    a.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, LAST_SLOT - 1)
    b.client.execute_command("CLUSTER", "ADDSLOTSRANGE", LAST_SLOT, LAST_SLOT)
    b.client.execute_command("CLUSTER", "MEET", "127.0.0.1", a.port, bus_of(field, "node-a"))
    for node in field.nodes:
        wait_until(lambda n=node: is_whole(n), 60, "both nodes know each other", 0.1)
    use(field, a)


def is_whole(node):
    info = node.client.execute_command("CLUSTER", "INFO")
    return "cluster_state:ok" in info and "cluster_known_nodes:2" in info


def id_of(server):
    return server.client.execute_command("CLUSTER", "MYID")


def view_of(server):
    """The epoch and the slots of each node, as this one sees them."""
    rows = [r.split() for r in server.client.execute_command("CLUSTER", "NODES").splitlines()]
    return sorted((r[0], r[6], *[s for s in r[8:] if not s.startswith("[")]) for r in rows)


def move_slot(field, slot, source, target):
    """Key by key, while everybody goes on asking; then both know it, as before another move they must."""
    source_id, target_id = id_of(source), id_of(target)
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        for key in field.dice.sample(sorted(keys), len(keys)):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 10000)
            time.sleep(field.dice.uniform(0, 0.1))
    for node in (target, source):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    wait_until(lambda: view_of(source) == view_of(target), 30, "both nodes agree on who has what", 0.05)


@row("R14", "a partition's slot is moved to another node under load, and back", setup=make_cluster, soak=False, proof=told("matcher", "MOVED ", "ASK ", "TRYAGAIN"))
def resharded(field):
    a, b = field.nodes
    p = field.dice.randrange(4)
    slot = a.client.execute_command("CLUSTER", "KEYSLOT", f"seckill:{{{p}}}:log")
    move_slot(field, slot, a, b)
    field.breathe(0.2, 1.5)
    move_slot(field, slot, b, a)
    field.note(f"slot {slot} of partition {p} went and came back")
