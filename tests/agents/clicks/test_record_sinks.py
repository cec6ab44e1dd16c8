"""What every sink of records keeps to: Kafka's, a replay's files, the list of tests, the one that tells of traces."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from agents.clicks.tracing import TracedSink
from agents.replay import ReplayReport, ReplaySink
from streams.app import KafkaSink
from streams.cluster.topics import Topic, TopicSettings
from streams.fakes import ListSink
from streams.records import OutputRecord, RecordSink

TRACEPARENT = (("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),)
ENDS = TopicSettings().name(Topic.SESSION_ENDS)


@dataclass
class Made:
    """A sink; what it was given, value by value; and how the records on their way get through or fail.

    inner: the list that it hands them to, None where it keeps them itself.
    """

    sink: RecordSink
    values: Callable[[], list[bytes | None]]
    inner: ListSink | None = None

    def acknowledge(self) -> None:
        """Have them get through."""
        if self.inner is not None:
            self.inner.acknowledge_all()

    def fail(self) -> None:
        """Have them fail."""
        assert self.inner is not None
        for delivery in self.inner.deliveries:
            delivery.settle(OSError("away"))


def listed() -> Made:
    """Make the list."""
    sink = ListSink()
    return Made(sink, lambda: [record.value for record in sink.records], sink)


def traced() -> Made:
    """Make the one that tells of traces, over the list."""
    made = listed()
    made.sink = TracedSink(made.sink, SimpleNamespace(record=lambda _span: None))
    return made


def kafkas() -> Made:
    """Make the one over the app's producer, whose part is the list."""
    made = listed()
    app: Any = SimpleNamespace(producer=SimpleNamespace(deliver=made.sink.send))
    made.sink = KafkaSink(app)
    return made


def replays() -> Made:
    """Make the one that writes files, where nothing is on its way."""
    file = io.BytesIO()
    sink = ReplaySink({ENDS: file}, TopicSettings(), ReplayReport())
    return Made(sink, lambda: [*file.getvalue().splitlines()])


@pytest.fixture(params=[listed, traced, kafkas, replays], ids=lambda kind: kind.__name__)
async def made(request: pytest.FixtureRequest) -> Made:
    """Make one of each kind."""
    result: Made = request.param()
    return result


async def test_records_are_taken_in_order_before_the_first_is_safe(made: Made) -> None:
    """`send` hands over, and waits for no broker."""
    sent = [made.sink.send(OutputRecord(ENDS, b"k", b"%d" % n, TRACEPARENT)) for n in range(3)]
    assert made.values() == [b"0", b"1", b"2"]
    made.acknowledge()
    assert all(one.is_settled for one in sent)
    for one in sent:
        await one


@pytest.mark.parametrize("kind", [listed, traced, kafkas], ids=lambda kind: kind.__name__)
async def test_a_record_that_cannot_be_made_safe_fails_who_waits_for_it(kind: Callable[[], Made]) -> None:
    """So that nothing is acknowledged that is not there; a file has taken it, or raised."""
    made = kind()
    sent = made.sink.send(OutputRecord(ENDS, b"k", b"v", TRACEPARENT))
    assert not sent.is_settled
    made.fail()
    assert (sent.topic, sent.key) == (ENDS, b"k")
    with pytest.raises(OSError, match="away"):
        await asyncio.wait_for(sent, 5)


@pytest.mark.parametrize("kind", [listed, traced, kafkas], ids=lambda kind: kind.__name__)
async def test_a_record_that_is_not_taken_fails_who_hands_it_over(kind: Callable[[], Made]) -> None:
    """Nothing is on its way then."""
    made = kind()
    assert made.inner is not None
    made.inner.refusal = OSError("too large")
    with pytest.raises(OSError, match="too large"):
        made.sink.send(OutputRecord(ENDS, b"k", b"v", TRACEPARENT))
    assert made.values() == []
