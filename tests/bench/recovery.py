#!/usr/bin/python3
"""How fast an empty Redis sells again: by replaying the log, and by a rebuild from MySQL.

    make bench-recovery ORDERS=200000

Each order is by a user of its own; half are paid.  One partition, one matcher, one guardian.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.record import Record  # noqa: E402  pylint: disable=wrong-import-position
from lib.stack import BUILD, Stack  # noqa: E402  pylint: disable=wrong-import-position
from lib.wait import wait_until  # noqa: E402  pylint: disable=wrong-import-position


def fill(w, orders):
    w.put(0, w.open("lamp@0", orders, 1, 86400000))
    for i in range(orders):
        o = w.order(0, "lamp@0", f"user{i}")
        pay = {"type": "pay", "order_id": o["order_id"], "payment_id": f"pay{i}", "user_id": f"user{i}"}
        w.put(0, o, *([pay] if i % 2 == 0 else []), wait=False)
        if i % 10000 == 0:
            w.producer.flush(60)
    assert w.producer.flush(120) == 0


def seconds_until(reached):
    start = time.monotonic()
    wait_until(reached, 1800, "the end", 0.01)
    return time.monotonic() - start


def measure(w, orders):
    w.migrate().genesis()
    w.matcher().ready()
    w.guardian(auto_rebuild="false").ready()
    fill(w, orders)
    end = w.log_end(0) - 1
    wait_until(lambda: w.position(0) >= end and w.recorded(0) >= end, 1800, "all is recorded", 0.2)
    w.redis.delete(*w.redis.scan_iter(f"{w.name}:{{0}}:*", 1000))
    replay = seconds_until(lambda: w.position(0) >= end)
    print(f"replay of the log: {end + 1} records, {orders} orders in {replay:.2f} s, {orders / replay:,.0f} orders/s")
    w.redis.delete(*w.redis.scan_iter(f"{w.name}:{{0}}:*", 1000))
    start = time.monotonic()
    done = w.command("rebuild", "--partition=0", timeout=1800)
    took = time.monotonic() - start
    assert done.returncode == 0, done.stdout
    selling = took + seconds_until(lambda: w.position(0) >= end)
    print(done.stdout.strip())
    print(f"rebuild from MySQL: {orders} orders in {took:.2f} s, {orders / took:,.0f} orders/s; "
          f"at the log's end after {selling:.2f} s")
    report = w.verify(timeout="300s")
    print(f"verify: ok, {report['compared']['redis']} keys of redis, in {report['seconds']:.1f} s")


def main():
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 200000
    with Stack(BUILD / "bench-stack") as stack, tempfile.TemporaryDirectory() as directory:
        w = Record(stack, directory, partitions=1)
        try:
            measure(w, orders)
        finally:
            w.close()


if __name__ == "__main__":
    main()
