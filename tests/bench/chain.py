"""The whole chain on this machine: stampede, door, Kafka, matcher, Redis, guardian and MySQL beside each other.

Each shopper presses once, with a key, and holds the line until the order is decided.  What is counted are
reservations that each shopper was told of and that log, Redis and MySQL then agree upon.
"""

import functools

from bench.marks import bench
from bench.system import Chain, fill

CROWD = 60000
CONNECTIONS = 1000  # as many requests are under way when more want to
SECONDS = 8
WARM_UP = 10000


def warm_chain(given, partitions=4):
    """Started, and no longer slow because nothing was compiled, cached or connected yet."""
    chain = Chain(given, partitions)
    try:
        saturate(chain.start(), given.many(WARM_UP), connections=200)
    except BaseException:
        chain.close()
        raise
    return chain


def rate_of(told):
    """Decisions per second while it is busy: from the first tenth of them to the last."""
    counts, step_s = told["series"]["decided"], told["series"]["step_s"]
    total, seen, times = sum(counts), 0, []
    for i, n in enumerate(counts):
        for share in (0.1, 0.9):
            if seen < share * total <= seen + n:
                times.append((i + (share * total - seen) / n) * step_s)
        seen += n
    return 0.8 * total / (times[1] - times[0])


def saturate(chain, orders, items=None, connections=CONNECTIONS):
    """All come within half a second, and wait in front of the door until a connection is free."""
    crowd = ["--arrivals=crowd", "--spread-ms=500", "--front=20", f"--shoppers={orders}", f"--connections={connections}"]
    return chain.storm(*crowd, items=items)


def shown(told):
    """What it took, and who had to come again."""
    parts = sorted(told["cpu_s"].items(), key=lambda part: -part[1])
    cpu = ", ".join(f"{name} {seconds * 1e6 / told['shoppers']:.1f}" for name, seconds in parts)
    again = sum(told["refused"].values())
    return f"us of CPU per order: {cpu}" + (f"; told to come again: {again}" if again else "")


def decide(given):
    """Orders per second, in a chain of its own."""
    with warm_chain(given) as chain:
        told = saturate(chain, given.many(CROWD))
        given.tell(f"{shown(told)}; the record was at most {told['behind']} orders behind")
        bare = fill(chain.brokers, chain.dead, chain.partitions, given.many(5 * CROWD))
        return rate_of(told), bare.records / bare.seconds


@bench("chain-decided", "orders/s", "the same orders appended to Kafka, and nothing else", runs=3)
def chain_decided(given):
    """A crowd comes all at once, each waits for the decision: the whole chain at its limit, load generator and all."""
    return decide(given)


@functools.cache
def capacity(given):
    """What chain-decided finds, once for those who need it."""
    return decide(given)[0]


def at(chain, given, rate):
    """A crowd that comes at random moments, independent of each other, so many a second."""
    seconds = given.many(SECONDS)
    return chain.storm("--arrivals=poisson", f"--rate={int(rate)}", f"--duration={seconds}s", "--connections=4000")


@bench("chain-p99", "ms", "p99 of Kafka's acknowledgement at the same rate, and nothing else", runs=3, is_cost=True)
def chain_p99(given):
    """From press to decision at 70 % of the chain's limit, 99 of 100 of them."""
    rate = capacity(given)
    with warm_chain(given) as chain:
        told = at(chain, given, 0.7 * rate)
        bare = fill(chain.brokers, chain.dead, chain.partitions, int(0.7 * rate * 2), rate=int(0.7 * rate))
    ms = told["latency_ms"]
    given.tell(f"at {0.7 * rate:,.0f} orders/s: p50 {ms['decided']['p50']:.1f} ms, p99.9 {ms['decided']['p99.9']:.1f} ms; "
               f"sent late by stampede itself: p99 {ms['late']['p99']:.1f} ms; {shown(told)}")
    return ms["decided"]["p99"], bare.p99_us / 1000


@bench("latency-load", "ms", "the same at 10 %", runs=2, is_cost=True)
def latency_load(given):
    """From press to decision at 10, 50 and 90 % of the chain's limit; p99 at 90 %."""
    rate = capacity(given)
    with warm_chain(given) as chain:
        told = {share: at(chain, given, share / 100 * rate) for share in (10, 50, 90)}
    decided = {share: t["latency_ms"]["decided"] for share, t in told.items()}
    rows = [f"{share} %: {ms['p50']:.1f}, {ms['p99']:.1f}, {ms['p99.9']:.1f}" for share, ms in decided.items()]
    given.tell(f"p50, p99, p99.9 in ms at {'; '.join(rows)}; at 90 %: {shown(told[90])}")
    return decided[90]["p99"], decided[10]["p99"]


@bench("hot-item", "orders/s", "the same crowd, 64 items over four partitions", runs=2)
def hot_item(given):
    """The same crowd as in chain-decided, all for one item, so in one partition."""
    with warm_chain(given) as chain:
        hot = saturate(chain, given.many(CROWD), items=1)
        many = saturate(chain, given.many(CROWD), items=64)
        given.tell(f"one item: {shown(hot)}; 64 items: {shown(many)}")
        return rate_of(hot), rate_of(many)


@bench("partitions", "orders/s", "one partition", runs=2)
def partitions(given):
    """The same crowd as in chain-decided, over 16 partitions; over one and four as well."""
    rates = {}
    for n in (1, 4, 16):
        with warm_chain(given, partitions=n) as chain:
            told = saturate(chain, given.many(CROWD))
            rates[n] = rate_of(told)
            given.tell(f"{n}: {rates[n]:,.0f} orders/s; {shown(told)}")
    return rates[16], rates[1]
