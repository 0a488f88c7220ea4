"""The ring beside what else could stand between two threads, as ring_bench counts it."""

import statistics
import subprocess
from collections import defaultdict

from bench.marks import bench
from lib.stack import BUILD

RECORDS = {"throughput": 300000, "latency": 50000}  # of each producer
NAMES = {"per_s": "records/s", "cpu_ns": "ns of a producer's CPU", "p50_ns": "p50 in ns", "p99_ns": "p99 in ns"}
ENQUEUE = "rd_kafka_produce() of the same 256 bytes, by a client without a broker; nobody receives"
PLAIN = "ck_ring of Concurrency Kit"


def measured(given, what, producers, kept=defaultdict(lambda: defaultdict(list))):
    """{measure: {queue: value}}; the medians of all runs are told."""
    program = BUILD / "tests" / "ring_bench"
    out = subprocess.run([program, what, str(producers), str(given.many(RECORDS[what]))], capture_output=True, text=True, check=True)
    found, all_runs = defaultdict(dict), kept[what, producers]
    for queue, measure, value in map(str.split, out.stdout.splitlines()):
        found[measure][queue] = float(value)
        all_runs[measure, queue].append(float(value))
    given.told = [
        f"{NAMES[measure]}: " + ", ".join(f"{q} {statistics.median(all_runs[measure, q]):,.0f}" for q in queues)
        for measure, queues in found.items()
    ]
    return found


def throughput(given, producers):
    found = measured(given, "throughput", producers)["per_s"]
    return found["ring-batches"], found["librdkafka"]


def latency(given, producers):
    found = measured(given, "latency", producers)["p99_ns"]
    return found["ring"], found["ck_ring"]


@bench("ring-throughput", "records/s", ENQUEUE)
def throughput_1(given):
    """One thread gives 300,000 records to another, in batches of 32."""
    return throughput(given, 1)


@bench("ring-throughput-2", "records/s", ENQUEUE)
def throughput_2(given):
    """Two threads give 300,000 records each to a third, in batches of 32."""
    return throughput(given, 2)


@bench("ring-latency", "ns", PLAIN, is_cost=True)
def latency_1(given):
    """p99 one way between two threads, the receiver spinning, 50,000 records one after the other."""
    return latency(given, 1)


@bench("ring-latency-2", "ns", PLAIN, is_cost=True)
def latency_2(given):
    """The same, two senders on one processor."""
    return latency(given, 2)
