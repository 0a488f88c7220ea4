"""More brokers beside the stack's own, whose settings they have: what it stores they store too."""

import signal
import subprocess
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from chaos.network import WITH_US
from lib import kafka
from lib.stack import clean_environ, read_properties
from lib.wait import wait_until


class Broker:
    """One without a vote in the quorum, so that it may die; it comes and goes, its ports and its data stay."""

    def __init__(self, field, node):
        stack = field.stack
        self.node = node
        self.dir = field.dir / f"kafka-{node}"
        self.log = stack.dir / "log" / f"kafka-{node}.log"
        self.settings = self.dir / "server.properties"
        self.process = None
        own = read_properties(stack.dir / "kafka" / "server.properties")
        doors = [each.partition("://")[0] for each in own["listeners"].split(",")]
        listeners = ",".join(f"{d}://127.0.0.1:{stack.port(f'kafka_{node}_{d}')}" for d in doors if d != "CONTROLLER")
        words = Path(f"/proc/{field.pid_of('kafka')}/cmdline").read_text().split("\0")
        self.java = [*WITH_US, *words[: words.index("kafka.Kafka")]]
        self.dir.mkdir()
        own |= {
            "process.roles": "broker", "node.id": node, "log.dirs": self.dir / "data",
            "listeners": listeners, "advertised.listeners": listeners,
        }
        self.settings.write_text("".join(f"{key}={value}\n" for key, value in own.items()))
        cluster = read_properties(stack.dir / "kafka" / "data" / "meta.properties")["cluster.id"]
        self._run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self.settings).wait(60)

    def _run(self, *words):
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.java, *words], env=clean_environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self):
        if self.process is None or self.process.poll() is not None:
            self.process = self._run("kafka.Kafka", self.settings)
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)


class Brokers:
    """So many, the stack's own among them."""

    def __init__(self, field, count):
        self.count = count
        self.own = field.stack.env["KAFKA_BROKERS"]
        self.more = [Broker(field, node) for node in range(2, count + 1)]
        for broker in self.more:
            field.extras.append(broker.kill)
        self.heal()
        wait_until(lambda: len(self._metadata().brokers) == count, 90, f"{count} brokers")
        # The stack's own would make it for itself alone.
        offsets = NewTopic("__consumer_offsets", 1, count, config={"cleanup.policy": "compact"})
        kafka.make_topics(self.own, [offsets])

    def _metadata(self):
        # A client that has met the others may ask one that sleeps.
        return kafka.patiently(lambda: AdminClient({"bootstrap.servers": self.own}).list_topics(timeout=10))

    def _partitions(self):
        return [p for topic in self._metadata().topics.values() for p in topic.partitions.values()]

    def led_by(self, broker):
        """How many partitions have it as their leader."""
        return sum(p.leader == broker.node for p in self._partitions())

    def are_in_sync(self):
        return all(len(p.isrs) == self.count for p in self._partitions())

    def heal(self):
        for broker in self.more:
            broker.start()
