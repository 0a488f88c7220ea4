"""Fixtures of all integration tests."""

import os

import pytest

from lib.stack import BUILD, Stack


@pytest.fixture(scope="session")
def stack():
    """One running Kafka, Redis and MariaDB for the whole session; KEEP=1 leaves them afterwards.

    Tests share it: whoever breaks a server brings it back, and names its own topics and items.
    """
    servers = Stack(BUILD / "test-stack")
    servers.remove()
    servers.start()
    yield servers
    if os.environ.get("KEEP") != "1":
        servers.remove()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With CI=true a test that was not run is a failure: green means that all of it was tried."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI=true allows no skips: {call.excinfo}"
