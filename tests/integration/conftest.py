"""Fixtures of all integration tests."""

import os

import pytest

from chaos.network import Network
from lib.stack import BUILD, Stack
from lib.system import System


def given_mysql():
    """The addresses of a MySQL to test with in the place of ours; `make test-mysql` names it."""
    if os.environ.get("OWN_MYSQL") != "1":
        return None
    return {name: value for name, value in os.environ.items() if name.startswith("MYSQL_")}


@pytest.fixture(scope="session")
def network():
    """Proxies for those who want a bad line.  "kafka" leads to our Kafka, and what it tells of itself too."""
    proxies = Network()
    yield proxies
    proxies.close()


@pytest.fixture(scope="session")
def stack(network):
    """One running Kafka, Redis and MariaDB for the whole session; KEEP=1 leaves them afterwards.

    Tests share it: whoever breaks a server brings it back, and names its own topics and items.  Each
    lane of pytest-xdist has one: all tests of a file run in the same lane, one after the other.
    """
    lane = os.environ.get("PYTEST_XDIST_WORKER", "")
    kafka = network.link("kafka")
    servers = Stack(BUILD / f"test-stack{lane}", (given_mysql() or {}) | {"KAFKA_LINKS": f"LINE={kafka.port}"})
    servers.remove()
    servers.start()
    kafka.aim("127.0.0.1", servers.port("kafka_LINE"))
    yield servers
    if os.environ.get("KEEP") != "1":
        servers.remove()


@pytest.fixture(scope="session")
def daemons(stack):
    """One of each daemon for the whole session."""
    # The limits at the door have tests of their own; here all requests come from one address.
    running = System(
        stack,
        SECKILL_RATE_IP=0,
        SECKILL_RATE_USER=0,
        SECKILL_RATE_ITEM=0,
        SECKILL_HTTP_THREADS=os.environ.get("HTTP_THREADS", "0"),
    ).start()
    yield running
    if os.environ.get("KEEP") != "1":
        # What a program tells only when it ends, a leak for one, belongs to no test before.
        running.mark_logs()
        stack.stop_daemons()
        assert running.errors() == []


@pytest.fixture
def system(daemons):
    """The whole system, running.  After the test, log, Redis and MySQL agree and add up, and no
    daemon has logged an error that the test did not name in system.expected."""
    daemons.start()
    daemons.await_ready()
    daemons.mark_logs()
    yield daemons
    daemons.start()
    daemons.verify()
    assert daemons.errors() == []


# With CI=true a test that was not run is a failure: green means that all of it was tried.
NO_SKIPS = os.environ.get("CI") == "true"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        fail_the_skip(report, item.nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    report = (yield).get_result()
    if NO_SKIPS and report.skipped:
        fail_the_skip(report, collector.nodeid)


def fail_the_skip(report, nodeid):
    report.outcome = "failed"
    report.longrepr = f"{nodeid} was skipped, which CI=true forbids: {report.longrepr}"
