"""What every sink of records keeps to: Kafka's, a replay's files, the list of tests, the one that tells of traces."""

import asyncio
import io
from collections.abc import Awaitable, Callable
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
    """A sink; what it was given, value by value; and how the records on their way get through or fail."""

    sink: RecordSink
    values: Callable[[], list[bytes | None]]
    acknowledge: Callable[[], None] = lambda: None
    fail: Callable[[], None] = lambda: None


def listed() -> Made:
    """Make the list."""
    sink = ListSink()

    def fail() -> None:
        for acknowledgement in sink.acknowledgements:
            acknowledgement.set_exception(OSError("away"))

    return Made(sink, lambda: [record.value for record in sink.records], sink.acknowledge_all, fail)


def traced() -> Made:
    """Make the one that tells of traces, over the list."""
    made = listed()
    made.sink = TracedSink(made.sink, SimpleNamespace(record=lambda _span: None))
    return made


def kafkas() -> Made:
    """Make the one over Faust's producer, whose part is a list."""
    inner = ListSink()

    async def send(topic: str, key: bytes, value: bytes, partition: int | None, **rest: Any) -> Awaitable[Any]:
        return await inner.send(OutputRecord(topic, key, value, rest["headers"], partition))

    made = listed()
    app: Any = SimpleNamespace(producer=SimpleNamespace(send=send))

    def fail() -> None:
        for acknowledgement in inner.acknowledgements:
            acknowledgement.set_exception(OSError("away"))

    made.sink, made.acknowledge, made.fail = KafkaSink(app), inner.acknowledge_all, fail
    made.values = lambda: [record.value for record in inner.records]
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
    """`send` hands over; whoever awaits it waits for no broker."""
    sent = [await made.sink.send(OutputRecord(ENDS, b"k", b"%d" % n, TRACEPARENT)) for n in range(3)]
    assert made.values() == [b"0", b"1", b"2"]
    made.acknowledge()
    for one in sent:
        await one


@pytest.mark.parametrize("kind", [listed, traced, kafkas], ids=lambda kind: kind.__name__)
async def test_a_record_that_cannot_be_made_safe_fails_who_waits_for_it(kind: Callable[[], Made]) -> None:
    """So that nothing is acknowledged that is not there; a file has taken it, or raised."""
    made = kind()
    sent = await made.sink.send(OutputRecord(ENDS, b"k", b"v", TRACEPARENT))
    made.fail()
    with pytest.raises(OSError, match="away"):
        await asyncio.wait_for(sent, 5)
