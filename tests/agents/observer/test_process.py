import threading
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
import structlog
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry

from agents.observer.availability import AvailabilityWatch
from agents.observer.metrics import ObserverMetrics
from agents.observer.process import STUCK_AFTER_SECONDS, Beat, ObserverProcess, Turn, TurnOverError, is_refusal
from agents.settings import Settings
from schemas.catalog_mapping import OURS
from schemas.catalog_reader import CatalogReader
from schemas.places import LocationSettings


def test_an_observer_that_waits_its_turn_is_ready_and_one_that_waits_for_brokers_is_not() -> None:
    """Whoever probes is told what it does."""
    beat = Beat(lambda: 0.0)
    assert beat.ready() == (False, "starting")
    beat.note(is_ready=True, what="another observer counts")
    assert beat.ready() == (True, "another observer counts")
    beat.note(is_ready=False, what="waits")
    assert (beat.ready(), beat.alive()[0]) == ((False, "waits"), True)


def test_an_observer_that_does_not_move_is_not_alive() -> None:
    """Nor ready; a write that takes its time is allowed."""
    now = [0.0]
    beat = Beat(lambda: now[0])
    beat.note(is_ready=True, what="counts")
    now[0] = STUCK_AFTER_SECONDS
    assert (beat.ready()[0], beat.alive()[0]) == (True, True)
    now[0] += 1
    assert (beat.ready()[0], beat.alive()[0]) == (False, False)


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        (KafkaError.GROUP_AUTHORIZATION_FAILED, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, True),
        (KafkaError._AUTHENTICATION, True),
        (KafkaError._FATAL, True),
        (KafkaError._ALL_BROKERS_DOWN, False),
        (KafkaError.REBALANCE_IN_PROGRESS, False),
    ],
)
def test_an_observer_that_is_let_into_no_group_does_not_wait_for_another_one(code: int, *, is_one: bool) -> None:
    """Nobody may be counting; what passes by itself is waited for."""
    assert is_refusal(KafkaError(code, fatal=code == KafkaError._FATAL)) is is_one


class Turns:
    """A turn that is ours for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def poll(self, _seconds: float) -> bool:
        """Return whether it is still ours."""
        self.looks -= 1
        return self.looks >= 0


def awaiting(turns: Turns, *, complete_after: int, patience_seconds: float) -> Beat:
    """Let an observer wait for a catalog that is read after so many looks; gives what it says of itself."""
    settings, metrics, beat = Settings(), ObserverMetrics(CollectorRegistry()), Beat()
    settings = replace(settings, catalog=replace(settings.catalog, start_timeout=timedelta(seconds=patience_seconds)))
    looks = iter([False] * complete_after)
    watch = AvailabilityWatch(CatalogReader(OURS), LocationSettings(), metrics, lambda: next(looks, True))
    process = ObserverProcess(settings=settings, metrics=metrics, stopping=threading.Event(), beat=beat)
    process._await_catalog(watch, cast("Turn", turns))
    return beat


def test_an_observer_counts_once_it_has_read_the_catalog() -> None:
    """Meanwhile it takes part in the group and says what it does; one that is complete is not waited for."""
    turns = Turns(9)
    assert awaiting(turns, complete_after=3, patience_seconds=60).ready() == (False, "reads the catalog")
    assert turns.looks == 6
    awaiting(turns, complete_after=0, patience_seconds=60)
    assert turns.looks == 6


def test_an_observer_counts_without_the_catalog_after_a_while() -> None:
    """And says so: what is trending must not wait for ever."""
    with structlog.testing.capture_logs() as logged:
        awaiting(Turns(9), complete_after=9, patience_seconds=0)
    assert [entry["event"] for entry in logged] == ["catalog_incomplete"]


def test_an_observer_whose_turn_is_over_waits_for_no_catalog() -> None:
    """Another one counts by then."""
    with pytest.raises(TurnOverError):
        awaiting(Turns(2), complete_after=9, patience_seconds=60)
