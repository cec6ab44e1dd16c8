from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streams.app import InsessionApp, create_app, raw_topic
from streams.cluster.topics import TopicSettings
from streams.delivery.runs import MAX_RECORDS, Run, runs_of
from streams.metrics import DeliveryMetrics
from streams.settings import StreamSettings

CLICKS = TP("clicks", 3)


def record(offset: int, value: bytes = b"{}") -> Any:
    """Make a record as aiokafka gives it."""
    return ConsumerRecord(*CLICKS, offset, 1000 * offset, 1, b"v", value, None, 1, len(value), [("origin", b"shop")])


def cut(*offsets: int) -> list[range]:
    """Cut a fetch of these offsets into runs, by their offsets."""
    return [run.offsets for run in runs_of([record(offset) for offset in offsets])]


@pytest.mark.parametrize(
    ("offsets", "runs"),
    [
        ([7], [range(7, 8)]),
        ([7, 8, 9], [range(7, 10)]),
        ([7, 8, 10], [range(7, 9), range(10, 11)]),
        ([7, 9, 10], [range(7, 8), range(9, 11)]),
        ([7, 9, 11], [range(7, 8), range(9, 10), range(11, 12)]),
        ([7, 8, 20, 21, 22, 30], [range(7, 9), range(20, 23), range(30, 31)]),
    ],
)
def test_a_hole_ends_a_run(offsets: list[int], runs: list[range]) -> None:
    """One offset wide or more, at either end or one after another."""
    assert cut(*offsets) == runs


@pytest.mark.parametrize(
    ("count", "lengths"),
    [
        (MAX_RECORDS - 1, [MAX_RECORDS - 1]),
        (MAX_RECORDS, [MAX_RECORDS]),
        (MAX_RECORDS + 1, [MAX_RECORDS, 1]),
        (2 * MAX_RECORDS + 5, [MAX_RECORDS, MAX_RECORDS, 5]),
    ],
)
def test_a_run_that_would_be_too_long_is_cut(count: int, lengths: list[int]) -> None:
    """The parts follow each other without a hole."""
    runs = cut(*range(7, 7 + count))
    assert [len(run) for run in runs] == lengths
    assert all(before.stop == after.start for before, after in pairwise(runs))


def test_the_length_counts_from_the_hole_on() -> None:
    """A hole begins another run, which may be as long as any."""
    first, second = range(7, 9), range(20, 20 + MAX_RECORDS)
    assert cut(*first, *second) == [first, second]


@given(st.sets(st.integers(0, 300), min_size=1))
def test_runs_hold_all_that_was_fetched_in_its_order(offsets: set[int]) -> None:
    """Nothing is lost or made up, no run has a hole or is too long, and none could be joined with the next."""
    fetched = [record(offset) for offset in sorted(offsets)]
    runs = runs_of(fetched)
    assert [one for run in runs for one in run.records] == fetched
    assert all([one.offset for one in run.records] == list(run.offsets) for run in runs)
    assert all(len(run.records) <= MAX_RECORDS for run in runs)
    assert all(
        before.offsets.stop < after.offset or len(before.records) == MAX_RECORDS for before, after in pairwise(runs)
    )


def test_a_run_has_the_place_and_the_time_of_its_first_record() -> None:
    """That is what Faust knows of it."""
    (run,) = runs_of([record(7), record(8)])
    assert (run.topic, run.partition, run.offset) == (*CLICKS, 7)
    assert (run.timestamp, run.timestamp_type) == (7000, 1)
    assert run.value is run


def test_the_rest_of_a_run_is_a_run() -> None:
    """It has the place and the time of the record that it begins with, and leaves the whole as it is."""
    fetched = [record(offset) for offset in range(7, 11)]
    whole = Run(fetched)
    rest = whole.since(9)
    assert (rest.offset, rest.timestamp, rest.offsets, rest.records) == (9, 9000, range(9, 11), fetched[2:])
    assert (rest.topic, rest.partition) == CLICKS
    assert whole.since(7).records == fetched
    assert whole.offsets == range(7, 11)


@pytest.fixture
def app(tmp_path: Path) -> InsessionApp:
    """Make an app that never connects."""
    settings = StreamSettings(brokers="127.0.0.1:1", datadir=tmp_path)
    app = create_app(settings, TopicSettings(), DeliveryMetrics(CollectorRegistry()))
    app.finalize()
    return app


def message_of(app: InsessionApp, found: Any) -> Any:
    """Make the message that Faust makes of what was fetched."""
    return driver.Consumer._to_message(SimpleNamespace(app=app), CLICKS, found)


async def test_a_run_comes_to_the_actor_as_it_is(app: InsessionApp) -> None:
    """The inputs are topics of runs, and nobody decodes one."""
    topic, (run,) = raw_topic(app, CLICKS.topic), runs_of([record(7), record(8)])
    message = message_of(app, run)
    event = await topic.decode(message, propagate=True)
    assert (event.key, event.value, event.message) == (None, run, message)
    assert (message.tp, message.offset, message.timestamp) == (CLICKS, 7, 7.0)
