"""The observer is killed, or stands still and wakes, as it writes: what is trending is as a batch counts it."""

import signal

import pytest

from tests.chaos.books import balance, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy
from tests.kafka.observer_process import ObserverProcess
from tests.kafka.shop import Shop
from tests.kafka.trending_books import OFTEN, PLACES, assert_counted_once

EVENTS_PER_SECOND = 200
EVENTS_BETWEEN = 200
WRITES = ("list", "place", "progress") * 2
"""Kinds of what it writes: lists, then a place's counts, then how far the whole is."""

TURN_OVER = "observer_turn_over"

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


def written(observer: ObserverProcess, kind: str) -> float:
    """Count what it has handed to its producer."""
    return observer.metric("insession_observer_written_records_total", f'kind="{kind}"')


def send_as_it_writes(what: signal.Signals, kind: str, *observers: ObserverProcess) -> ObserverProcess:
    """Send a signal to whichever writes, the moment that it does; the brokers may have the record by then, or not."""
    before = {observer: written(observer, kind) for observer in observers}
    writing: list[ObserverProcess] = []

    def is_writing() -> bool:
        writing[:] = [observer for observer in observers if written(observer, kind) > before[observer]]
        return bool(writing)

    observers[0].wait_until(is_writing, f"one writes a {kind}", poll_seconds=0.002)
    writing[0].send(what)
    return writing[0]


@pytest.mark.fault(
    "the observer killed (kill -9) at each kind of write, six times",
    "what is trending counts each input once: as a batch over the clickstream, to a billionth",
)
def test_an_observer_that_is_killed_at_each_write_counts_each_input_once(deploy: Deploy, row: ChaosRow) -> None:
    """Before, between and after lists, places and the progress; the next one goes on from what is there."""
    deployment = deploy(**NO_TICKS, **OFTEN)
    traffic = deployment.traffic(Shop(seed=21, places=PLACES).clicks())
    worker, observer = deployment.worker(), deployment.observer("observer-0")
    worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        for number, kind in enumerate(WRITES, 1):
            let_pass(traffic, worker, EVENTS_BETWEEN)
            observer.wait_until(lambda: observer.is_active, "it counts")  # noqa: B023 - called at once
            send_as_it_writes(signal.SIGKILL, kind, observer)
            assert observer.wait() == -signal.SIGKILL
            observer = deployment.observer(f"observer-{number}")
            with recovery(row):
                observer.wait_until(lambda: observer.is_done, "it has read all")  # noqa: B023
    deployment.wait_until_committed(worker)
    assert_counted_once(deployment, observer)
    balance(deployment, row, worker)


@pytest.mark.fault(
    "one of two observers paused (SIGSTOP) at each kind of write, six times, until the other counts, then woken",
    "what is trending counts each input once: as a batch over the clickstream, to a billionth",
)
def test_an_observer_that_wakes_after_its_turn_does_no_harm(deploy: Deploy, row: ChaosRow) -> None:
    """What it had under way is written late, among what the other one writes; the turn may come back to it then."""
    deployment = deploy(**NO_TICKS, **OFTEN)
    traffic = deployment.traffic(Shop(seed=22, places=PLACES).clicks())
    worker = deployment.worker()
    worker.wait_until_ready()
    first, second = observers = deployment.observer("first"), deployment.observer("second")
    for observer in observers:
        observer.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        for kind in WRITES:
            let_pass(traffic, worker, EVENTS_BETWEEN)
            paused = send_as_it_writes(signal.SIGSTOP, kind, *observers)
            other = second if paused is first else first
            with recovery(row):
                other.wait_until(lambda: other.is_done, "it took over and has read all")  # noqa: B023
            turns = paused.log_text().count(TURN_OVER)
            paused.send(signal.SIGCONT)
            paused.wait_until(lambda: paused.log_text().count(TURN_OVER) > turns, "it saw it")  # noqa: B023
    deployment.wait_until_committed(worker)
    assert first.end(signal.SIGTERM) == 0
    assert_counted_once(deployment, second)
    balance(deployment, row, worker)
