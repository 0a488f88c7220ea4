"""A door with HTTP threads (option http-threads) does what one without them does.

Here a selection of the door's tests, asked at such a door; HTTP_THREADS=2 in the environment gives threads to
the shared door of all tests.
"""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from lib.door import door, problem
from lib.wait import wait_until
from test_http import (  # noqa: F401  collected here too, with the fixtures of this file
    test_a_decision_waited_for,
    test_a_key_in_flight_is_joined,
    test_an_accepted_order,
    test_an_item,
    test_bad_headers,
    test_bad_tokens,
    test_cancels,
    test_keep_alive_and_pipelining,
    test_paths_and_methods,
    test_payments,
    test_prefer_wait_is_a_bound,
    test_receipts_are_signed,
)
from test_http_faults import (  # noqa: F401
    test_a_client_that_leaves_at_once,
    test_a_client_that_leaves_while_waiting,
    test_a_second_signal_denies_nothing,
    test_a_trace_goes_along,
    test_numbers_add_up_under_load,
    test_sigterm_drains,
    test_who_leaves_before_the_order_is_placed_has_not_ordered,
)
from test_sale import (  # noqa: F401
    test_limit_per_user_under_concurrent_retries,
    test_no_oversell_under_50_concurrent_clients,
    test_pay_against_cancel_has_one_winner,
)

THREADS = {"SECKILL_HTTP_THREADS": 2}


@pytest.fixture(scope="module")
def threaded(daemons):
    with door(daemons, "producer-threads", **THREADS) as other:
        yield other


@pytest.fixture
def system(system, threaded):
    behind = system.at(threaded.url, **THREADS)
    behind.await_ready()
    return behind


def test_whatever_was_asked_was_answered(system):
    """At both ends of the rings; the question itself is the one that is still asked."""
    item = system.open(stock=10)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: system.shopper().order(item, wait=None), range(100)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    text = requests.get(system.url + "/metrics", timeout=60).text
    count = {
        name: system.metric(f"seckill_{name}", text)
        for name in (
            "http_requests_total",
            "http_answers_total",
            "http_pending_requests",
            "producer_relayed_total",
            "producer_relay_answers_total",
            "producer_relay_seconds_count",
            "producer_relay_refused_total",
        )
    }
    assert count["http_pending_requests"] == 1, count
    assert count["http_requests_total"] == count["http_answers_total"] + 1, count
    assert count["producer_relayed_total"] == count["producer_relay_answers_total"] + 1, count
    assert count["producer_relayed_total"] == count["producer_relay_seconds_count"] > 100, count
    assert count["producer_relay_refused_total"] == 0, count


def test_sigterm_under_load_loses_no_answer(system):
    """Who has an order in the log was told so, however full the rings were when the signal came."""
    item = system.open(stock=100000, limit=1)

    def order_until_the_end(leaving):
        count = 0
        try:
            while True:
                answer = leaving.shopper().order(item, wait=None, patient=False)
                if answer.status_code == 503:
                    problem(answer, 503, "draining")
                    return count
                assert answer.status_code == 202, answer.text
                count += 1
        except requests.ConnectionError:  # it listens no more
            return count

    with door(system, "producer-ends") as leaving, ThreadPoolExecutor(32) as pool:
        busy = [pool.submit(order_until_the_end, leaving) for _ in range(32)]
        wait_until(
            lambda: system.metric(
                "seckill_producer_delivered_total", requests.get(leaving.url + "/metrics", timeout=60).text
            )
            >= 200,
            60,
            "some orders",
        )
        system.stack.kill_daemon("producer-ends", signal.SIGTERM)
        accepted = sum(future.result() for future in busy)
    assert "program.leaving status=0" in system.stack.log("producer-ends")
    wait_until(lambda: system.counts(item)[2] == accepted, 60, f"{accepted} reservations")
