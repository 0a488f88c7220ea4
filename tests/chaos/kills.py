"""K: processes that are killed, each at the step where it hurts."""

import subprocess
import time

from chaos.redis_rows import seed_by_hand
from chaos.rows import counted, row, told
from lib.stack import BIN
from lib.wait import wait_until


LOST_REPLY = "pretending that the reply was lost"


@row("K1", "the door dies before it hands an order to Kafka's client")
def door_before_send(field):
    field.crash("producer", "send.before", 400)


@row("K2", "the door dies with orders in its Kafka client that were never sent")
def door_after_send(field):
    field.crash("producer", "send.after", 400)


@row("K3", "the door dies after Kafka stored an order, before it knows")
def door_unacknowledged(field):
    door = field.any("producer")
    link = field.link(f"{door.name}-kafka")
    link.swallow("down")
    field.breathe(0.1, 0.5)
    door.kill()
    link.heal()
    door.restart()
    field.note(f"{door.name} never heard of its last orders")


@row("K4", "the door dies with the report in hand, or with half an answer on its way", links=("producer", "producer-2"))
def door_half_an_answer(field):
    if field.dice.random() < 0.5:
        field.crash("producer", "report.before", 400)
        return
    door = field.any("producer")
    link = field.link(f"{door.name}-http")
    link.cut_after(field.dice.randint(1, 20000))
    field.breathe(0.1, 0.5)
    door.kill()
    link.heal()
    door.restart()
    field.note(f"{door.name} cut off in mid-answer")


@row("K5", "the matcher dies before it sends a batch to Redis")
def matcher_before_apply(field):
    field.crash("matcher", "apply.before", 200)


MISMATCHES = "seckill_matcher_mismatches_total"


@row(
    "K6", "the matcher dies with a batch sent and not executed; it arrives later, beside the successor's", alone=True,
    proof=counted("no successor found that Redis had moved on"),
)
def matcher_batch_in_limbo(field):
    """What the dead one has sent is on its way until another has its partitions, or for longer."""
    victim = field.any("matcher")
    other = field.daemons["matcher-2" if victim.name == "matcher" else "matcher"]
    taken, mismatches = other.said("group.assigned partitions=0,1,2,3"), other.metric(MISMATCHES)
    link = field.link(f"{victim.name}-redis")
    link.clog("up")
    field.breathe(0.2, 0.6)
    victim.kill()
    wait_until(lambda: other.said("group.assigned partitions=0,1,2,3") > taken, 60, "the other takes over", 0.005)
    time.sleep(field.dice.choice((0, 0, field.dice.uniform(0, 0.1), field.dice.uniform(0, 2))))
    link.heal()
    field.note(f"{victim.name} died with a batch before Redis")
    victim.start().await_ready()
    field.struck += other.metric(MISMATCHES) > mismatches


@row("K7", "the matcher dies after Redis executed a batch: its outcomes are in the outbox only")
def matcher_after_apply(field):
    if field.dice.random() < 0.5:
        field.crash("matcher", "apply.after", 200)
        return
    victim = field.any("matcher")
    link = field.link(f"{victim.name}-redis")
    link.swallow("down")
    field.breathe(0.2, 0.8)
    victim.kill()
    link.heal()
    victim.restart()
    field.note(f"{victim.name} never heard Redis's reply")


@row("K8", "the matcher dies with some outcomes of a batch acknowledged")
def matcher_some_told(field):
    field.crash("matcher", "publish.some", 2000)


@row("K9", "the matcher dies with all outcomes acknowledged and the outbox untrimmed")
def matcher_all_told(field):
    field.crash("matcher", "publish.all", 100)


@row("K10", "the guardian dies in mid-transaction: at BEGIN, among the rows, before COMMIT")
def guardian_in_transaction(field):
    field.crash("guardian", field.dice.choice(("commit.begin", "commit.row", "commit.before")))


@row("K11", "COMMIT is sent, its reply is lost", proof=told("guardian", LOST_REPLY))
def guardian_commit_unknown(field):
    victim = field.any("guardian")
    if field.dice.random() < 0.5:
        before = victim.said(LOST_REPLY)
        victim.restart(failpoint=f"commit.reply:{field.dice.randint(1, 20)}")
        field.breathe(0.5, 2)
        if victim.said(LOST_REPLY) > before:
            field.note(f"{victim.name} loses a reply of COMMIT")
        return
    link = field.link(f"{victim.name}-mysql")
    link.swallow("down")
    field.breathe(0.05, 0.4)
    link.cut()
    link.heal()
    field.note(f"{victim.name}: MySQL's replies are lost, then the connection")


@row("K12", "the guardian dies after COMMIT")
def guardian_after_commit(field):
    field.crash("guardian", "commit.after")


@row("K13", "reconcile is killed", pause_s=(0, 0.3), alone=True)
def reconcile_killed(field):
    """Whatever moment: the next one's report is clean."""
    process = subprocess.Popen(
        [BIN / "seckill-guardian", "reconcile"],
        env=field.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    time.sleep(field.dice.uniform(0, 1.2))
    process.kill()
    process.wait()
    field.note("reconcile killed")
    if field.faults % 10 == 0:
        clean_reconcile(field)


def clean_reconcile(field):
    done = field.run("seckill-guardian", "reconcile", "--timeout=60s", check=False, timeout=480)
    assert done.returncode == 0, f"reconcile: {done.returncode}\n{done.stdout}{done.stderr}"


@row("K14", "a rebuild is killed, and again by whoever goes on with it", alone=True, proof=told("guardian", "rebuild.done"))
def rebuild_killed(field):
    """Both guardians die at the same step, when they come to it; started again, they end what was begun."""
    point = field.dice.choice(("rebuild.found", "rebuild.begun", "rebuild.piece", "rebuild.end"))
    guardians = [field.daemons[name] for name in ("guardian", "guardian-2")]
    for guardian in guardians:
        guardian.restart(failpoint=f"{point}:1")
    p = seed_by_hand(field)
    wait_until(lambda: not all([g.runs for g in guardians]), 90, f"a guardian dies at {point}", 0.1)
    before = field.said("guardian", "rebuild.done")
    wait_until(lambda: field.restart_dead() or field.said("guardian", "rebuild.done") > before, 180, "the partition is rebuilt")
    field.note(f"the rebuild of partition {p} died at {point}")
    for guardian in guardians:  # one may have the place of its death still before it
        guardian.restart()


@row("K15", "several of everything are killed at once, and come back in any order", alone=True)
def many_at_once(field):
    """From two daemons to all of them with Redis and MySQL too, as in a power cut of their host."""
    victims = field.dice.sample(sorted(field.daemons), field.dice.randint(2, len(field.daemons)))
    servers = [s for s in ("redis", "mysql", "kafka") if field.dice.random() < 0.25]
    field.kill(*victims)
    for server in servers:
        field.stack.kill(server)
    for one in field.dice.sample(victims + servers, len(victims + servers)):
        if one in servers:
            field.stack.restart(one)
        else:
            field.daemons[one].start()
    # A door or guardian that found no server at its start has ended, as it should.
    field.restart_dead()
    field.note("killed together: " + " ".join(victims + servers))


@row("K16", "SIGTERM under load: everything is drained, exit 0", alone=True)
def drained(field):
    daemon = field.daemons[field.dice.choice(sorted(field.daemons))]
    status = daemon.stop()
    daemon.start().await_ready()
    assert status == 0, f"{daemon.name} ended with {status} when it was asked to"
    field.note(f"{daemon.name} drained")
