"""Rekeying on the embedded broker; with crashes and on real Kafka: tests/kafka/test_rekey.py."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, Producer, TopicPartition

from schemas.click_reader import ClickReader
from schemas.ids import VisitorId
from schemas.mapping import FieldMapping
from schemas.validation import Ignored, Rejection
from streams.cluster.partitioner import murmur2_partition
from streams.cluster.topic_reader import TopicReader
from streams.delivery.dead_letters import HEADER_PREFIX
from streams.local.embedded_broker import PARTITIONS, EmbeddedBroker
from streams.records import InputRecord, OutputRecord
from streams.tools.rekey import Moved, Rekey, Route
from streams.tools.sender import Sender, SendError
from tests.streams.batches import OddName, send

TIME_MS = 1_700_000_000_000
COUNT = 60
READER = ClickReader(FieldMapping())


def _visitors_of(record: InputRecord) -> Sequence[VisitorId] | Ignored | Rejection:
    return READER.visitor_ids(record.key, record.value, record.headers)


@pytest.fixture(scope="module")
def config() -> Iterator[dict[str, str]]:
    """Share a broker whose topic `events` is keyed by page, and holds one record without a visitor."""
    with EmbeddedBroker() as broker:
        config = {"bootstrap.servers": broker.address}
        for topic in ("clicks", "dlq"):
            Producer(config).list_topics(topic, timeout=10)
        sender = Sender(config, client_id="test")
        for number in range(COUNT):
            value = b'{"visitor_id": "v%d", "n": %d}' % (number % 7, number)
            record = OutputRecord("events", b"page%d" % (number % 3), value, (("trace", b"%d" % number),))
            sender.send(record, time_ms=TIME_MS + number)
        sender.send(OutputRecord("events", b"page", b"{}", (("trace", b"x"),)), time_ms=TIME_MS)
        sender.flush()
        yield config


def _route(group: str) -> Route:
    return Route(source="events", target="clicks", dead_letters="dlq", group=group)


def _read(config: dict[str, str], topic: str) -> list[InputRecord]:
    with TopicReader(config) as reader:
        return list(reader.read(topic, reader.bounds(topic)))


def _move_all(config: dict[str, str], route: Route) -> Moved:
    with Rekey(config, route, _visitors_of) as rekey:
        return rekey.run(lambda: rekey.moved.read > COUNT, lambda _: None)


def test_records_arrive_as_they_were_under_the_visitors_key(config: dict[str, str]) -> None:
    """Bytes, headers and timestamps stay, order of a visitor and source partition too."""
    assert _move_all(config, _route("g")) == Moved(read=COUNT + 1, moved=COUNT, dead_lettered=1)
    clicks, events = _read(config, "clicks"), _read(config, "events")
    assert {(one.value, one.headers, one.time_ms) for one in clicks} == {
        (one.value, one.headers, one.time_ms) for one in events if one.value != b"{}"
    }
    for click in clicks:
        assert click.key is not None
        assert click.position.partition == murmur2_partition(click.key, PARTITIONS)
        assert b'"%s"' % click.key in (click.value or b"")
    sources = {one.value: one.position for one in events}
    arrived: dict[tuple[bytes | None, int], list[int]] = {}
    for click in clicks:
        source = sources[click.value]
        arrived.setdefault((click.key, source.partition), []).append(source.offset)
    assert all(offsets == sorted(offsets) for offsets in arrived.values())
    (letter,) = _read(config, "dlq")
    assert (letter.key, letter.value, letter.headers[0]) == (b"page", b"{}", ("trace", b"x"))
    assert (HEADER_PREFIX + "topic", b"events") in letter.headers


def test_headers_that_cannot_be_read_are_a_dead_letter(config: dict[str, str]) -> None:
    """A copy would lack them; what is behind it is moved."""
    odd, good = ((b"p", b'{"visitor_id": "v"}', [(name, b"1")]) for name in (OddName("x"), "h"))
    send(config["bootstrap.servers"], "odd", odd, good)
    with Rekey(config, replace(_route("odd"), source="odd"), _visitors_of) as rekey:
        moved = rekey.run(lambda: rekey.moved.read > 1, lambda _: None)
    assert moved == Moved(read=2, moved=1, dead_lettered=1)
    letter = next(one for one in _read(config, "dlq") if one.value == odd[1])
    assert dict(letter.headers)[HEADER_PREFIX + "reason"] == b"undecodable"


def test_what_was_not_acknowledged_is_not_committed(config: dict[str, str]) -> None:
    """A record that the producer refuses ends the run before any commit, and closing does not commit either."""
    with (
        pytest.raises(SendError, match="clicks takes no record"),
        Rekey(config, _route("h"), lambda _: (VisitorId("x" * (2 << 20)),)) as rekey,
    ):
        rekey.run(lambda: False, lambda _: None)
    consumer = Consumer({**config, "group.id": "h"})
    try:
        committed = consumer.committed([TopicPartition("events", partition) for partition in range(PARTITIONS)], 10)
    finally:
        consumer.close()
    assert {part.offset for part in committed} == {OFFSET_INVALID}


def test_headers_that_are_too_large_are_a_dead_letter(config: dict[str, str]) -> None:
    """A topic that takes larger records than the clickstream cannot bring every run to an end at the same record."""
    sender = Sender(config, client_id="test")
    sender.send(OutputRecord("wide", b"page", b'{"visitor_id": "v"}', (("h", bytes(60_000)),)))
    sender.flush()
    route = Route(source="wide", target="clicks", dead_letters="dlq", group="w")
    with Rekey(config, route, _visitors_of) as rekey:
        moved = rekey.run(lambda: rekey.moved.read > 0, lambda _: None)
    assert moved == Moved(read=1, moved=0, dead_lettered=1)
    assert (HEADER_PREFIX + "reason", b"too_large") in _read(config, "dlq")[-1].headers
