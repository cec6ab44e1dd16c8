"""The observer is killed, or stands still and wakes, as it writes: what is trending is as a batch counts it."""

import signal
from collections.abc import Callable, Sequence

import pytest

from schemas import wire
from schemas.ids import ItemId
from schemas.records import CatalogItem
from streams.cluster.topics import Topic
from tests.chaos.books import balance, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.observer_process import ObserverProcess
from tests.kafka.shop import ITEMS, Shop
from tests.kafka.trending_books import OFTEN, PLACES, assert_counted_once, lists

EVENTS_PER_SECOND = 200
EVENTS_BETWEEN = 200
WRITES = ("list", "place", "progress") * 2
"""Kinds of what it writes: lists, then a place's counts, then how far the whole is."""

TURN_OVER = "observer_turn_over"

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]


def written(observer: ObserverProcess, kind: str) -> float:
    """Count what it has handed to its producer."""
    return observer.metric("insession_observer_written_records_total", f'kind="{kind}"')


def nothing() -> None:
    """Leave it to the traffic."""


def send_as_it_writes(
    what: signal.Signals, kind: str, *observers: ObserverProcess, cause: Callable[[], None] = nothing
) -> ObserverProcess:
    """Send a signal to whichever writes, the moment that it does; the brokers may have the record by then, or not.

    cause: makes it write.
    """
    before = {observer: written(observer, kind) for observer in observers}
    cause()
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


def sell_at(deployment: Deployment, places: Sequence[str] | None) -> None:
    """Say of all items where they can be had; None = everywhere."""
    items = [CatalogItem(item_id=ItemId(item), locations=places and list(places)) for item in ITEMS]
    deployment.write(Topic.CATALOG, [NewRecord(item.item_id.encode(), wire.encode(item)) for item in items])


@pytest.mark.fault(
    "the observer killed (kill -9) as it removes the lists of places where nothing can be had any more, "
    "and before it does",
    "the next one removes what is left; they come back with the items, and each input counts once",
)
def test_an_observer_that_is_killed_as_it_removes_lists_leaves_none(deploy: Deploy, row: ChaosRow) -> None:
    """Where it ended before, none is removed, and the next one never wrote those lists."""
    deployment = deploy(**NO_TICKS, **OFTEN)
    traffic = deployment.traffic(Shop(seed=23, places=PLACES).clicks())
    worker, observer = deployment.worker(), deployment.observer("observer-0")
    worker.wait_until_ready()

    def listed() -> set[str]:
        return {place for place, record in lists(deployment).items() if record is not None and place.startswith("nl")}

    with traffic.at_rate(EVENTS_PER_SECOND):
        for number, is_removing in enumerate((True, False), 1):
            observer.wait_until(lambda: len(listed()) > 1, "it lists what is viewed there", poll_seconds=0.5)
            if is_removing:
                send_as_it_writes(signal.SIGKILL, "removed", observer, cause=lambda: sell_at(deployment, ["de"]))
            else:
                observer.send(signal.SIGKILL)
                sell_at(deployment, ["de"])
            assert observer.wait() == -signal.SIGKILL
            observer = deployment.observer(f"observer-{number}")
            with recovery(row):
                observer.wait_until(lambda: not listed(), "it removed them all", poll_seconds=0.5)
            sell_at(deployment, None)
        observer.wait_until(lambda: len(listed()) > 1, "they are back", poll_seconds=0.5)
        let_pass(traffic, worker, EVENTS_BETWEEN)
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
