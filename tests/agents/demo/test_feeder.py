"""Putting events into the clickstream."""

import math
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from agents.demo.feeder import MAX_IN_FLIGHT, Backlog, Feeder
from agents.demo.shapes import FedRecord, as_records
from agents.demo.source import FedEvent
from streams.cluster.topics import Topic
from streams.local.embedded_broker import EmbeddedBroker
from tests.agents.demo.builders import click

PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """Share one embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker


def _feeder(broker: EmbeddedBroker, speed: float = math.inf) -> Feeder:
    return Feeder(broker.address, Topic.CLICKSTREAM, speed=speed, seconds=PATIENCE_SECONDS)


def _events(step_ms: int = 0) -> Iterator[FedRecord]:
    return as_records(FedEvent(click(visitor=f"v{number}"), number * step_ms, None) for number in count())


def test_no_more_is_fed_than_may_be_in_flight(broker: EmbeddedBroker) -> None:
    """While nothing is answered the feeder stops at its bound, and says how long it was held back."""
    feeder = _feeder(broker)
    feeder.start(_events(), lambda: Backlog(0, None))
    for _ in range(MAX_IN_FLIGHT):
        feeder.delivered.get(timeout=PATIENCE_SECONDS)
    feeder.stop()
    assert feeder.is_done
    assert feeder.n_sent == MAX_IN_FLIGHT


def test_nothing_is_fed_while_an_input_waits_for_long(broker: EmbeddedBroker) -> None:
    """A slow machine is not drowned."""
    asked = threading.Semaphore(0)

    def backlog() -> Backlog:
        asked.release()
        return Backlog(0, oldest_ms=1)

    feeder = _feeder(broker)
    feeder.start(_events(), backlog)
    for _ in range(3):
        assert asked.acquire(timeout=PATIENCE_SECONDS)
    feeder.stop()
    assert feeder.n_sent == 0


def test_events_that_are_due_after_the_time_is_over_are_not_waited_for(broker: EmbeddedBroker) -> None:
    """At half speed the second event, an hour later, would come in two."""
    feeder = _feeder(broker, speed=0.5)
    feeder.start(_events(step_ms=3_600_000), lambda: Backlog(0, None))
    sent = feeder.delivered.get(timeout=PATIENCE_SECONDS)
    feeder.stop()
    assert feeder.n_sent == 1
    assert sent.clicks[0].visitor_id == "v0"
    assert sent.place.offset >= 0


def test_the_clock_begins_with_the_first_event(broker: EmbeddedBroker) -> None:
    """From then on a moment of the source's clock has one of the wall's; before there is none."""
    feeder = _feeder(broker, speed=2.0)
    assert feeder.clock is None
    feeder.start(_events(step_ms=3_600_000), lambda: Backlog(0, None))
    sent = feeder.delivered.get(timeout=PATIENCE_SECONDS)
    feeder.stop()
    assert feeder.clock is not None
    assert feeder.clock.started_ms <= sent.time_ms
    assert feeder.clock.wall_ms(1_800_000) == feeder.clock.started_ms + 900_000
