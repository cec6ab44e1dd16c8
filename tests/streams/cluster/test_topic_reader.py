import sys
from collections.abc import Iterator

import pytest

from schemas.events import from_unix_ms
from streams.cluster.topic_reader import TopicReader, latest
from streams.cluster.topics import TopicsError
from streams.local.embedded_broker import PARTITIONS, EmbeddedBroker
from streams.records import InputRecord, OutputRecord
from streams.tools.sender import Sender
from tests.streams.batches import OddName, send

TIME_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """Share a broker with five records on partition 0 of `t` and two on partition 1, a second apart."""
    with EmbeddedBroker() as broker:
        sender = Sender({"bootstrap.servers": broker.address}, client_id="test")
        for partition, count in ((0, 5), (1, 2)):
            for number in range(count):
                record = OutputRecord("t", b"k%d" % number, None, (("h", b"1"),), partition)
                sender.send(record, time_ms=TIME_MS + number * 1000)
        sender.flush()
        assert sender.acknowledged == 7
        yield broker


@pytest.fixture
def reader(broker: EmbeddedBroker) -> Iterator[TopicReader]:
    """Open a reader."""
    with TopicReader({"bootstrap.servers": broker.address}) as reader:
        yield reader


def test_bounds_name_every_partition(reader: TopicReader) -> None:
    """Empty partitions have an empty range."""
    assert reader.bounds("t") == {0: range(5), 1: range(2)} | {number: range(0) for number in range(2, PARTITIONS)}


def test_a_read_gives_exactly_the_range(reader: TopicReader) -> None:
    """Records come in offset order of each partition, with key, headers and timestamp; a second read starts anew."""
    found = list(reader.read("t", {0: range(1, 3), 1: range(2)}))
    assert sorted((one.position.partition, one.position.offset, one.key) for one in found) == [
        (0, 1, b"k1"),
        (0, 2, b"k2"),
        (1, 0, b"k0"),
        (1, 1, b"k1"),
    ]
    assert found[0].headers == (("h", b"1"),)
    assert {one.time_ms for one in found} == {TIME_MS, TIME_MS + 1000, TIME_MS + 2000}
    assert [one.key for one in reader.read("t", {0: range(4, 5)})] == [b"k4"]


def test_nothing_asked_for_is_nothing_read(reader: TopicReader) -> None:
    """Empty ranges end at once."""
    assert list(reader.read("t", {0: range(3, 3)})) == []


def test_headers_that_cannot_be_read_are_told(reader: TopicReader, broker: EmbeddedBroker) -> None:
    """One name is no UTF-8: key and value are there, and the records behind it are whole."""
    send(broker.address, "odd", (b"k", b"1", [(OddName("x"), b"1")]), (b"k", b"2", [("h", b"1")]))
    odd, good = reader.read("odd", {0: range(2)})
    assert (odd.key, odd.value, odd.headers) == (b"k", b"1", ())
    assert odd.undecodable is not None
    assert odd.undecodable.kept == "no_headers"
    assert (good.headers, good.undecodable) == ((("h", b"1"),), None)


def test_brokers_that_are_away_are_named() -> None:
    """The error says which topic, and what to check."""
    with (
        TopicReader({"bootstrap.servers": "127.0.0.1:1"}, timeout_seconds=2) as reader,
        pytest.raises(TopicsError, match=r"topic t .*Connection refused.*Check the address"),
    ):
        reader.bounds("t")


@pytest.mark.parametrize(
    ("at_most", "expected"),
    [
        (100, {0: range(5), 1: range(10, 12), 2: range(0)}),
        (6, {0: range(1, 5), 1: range(10, 12), 2: range(0)}),
        (3, {0: range(3, 5), 1: range(11, 12), 2: range(0)}),
        (0, {0: range(5, 5), 1: range(12, 12), 2: range(0)}),
    ],
)
def test_the_newest_are_kept_evenly(at_most: int, expected: dict[int, range]) -> None:
    """What a short partition leaves goes to the longer ones."""
    kept = latest({0: range(5), 1: range(10, 12), 2: range(0)}, at_most)
    assert {number: (len(kept[number]), kept[number].stop) for number in kept} == {
        number: (len(offsets), offsets.stop) for number, offsets in expected.items()
    }


def test_a_timestamp_that_no_calendar_has_is_the_last_moment_of_all(
    broker: EmbeddedBroker, reader: TopicReader
) -> None:
    """Whoever may write chooses it; nothing that tells of the record fails."""
    sender = Sender({"bootstrap.servers": broker.address}, client_id="test")
    sender.send(OutputRecord("far", b"k", None, (), 0), time_ms=10**15)
    sender.flush()
    (record,) = reader.read("far", {0: range(1)})
    assert from_unix_ms(record.time_ms).year == 9999


def test_headers_that_cannot_be_read_end_no_process_that_has_read_many(
    broker: EmbeddedBroker, reader: TopicReader
) -> None:
    """CPython checks no call that it has specialized, and a cache of types decides what becomes of the error."""
    good = [(b"k", b"v", [("h", b"1")])] * 400
    send(broker.address, "odd-at-last", *good, (b"k", b"v", [(OddName("x"), b"1")]))
    found = list[InputRecord]()
    for record in reader.read("odd-at-last", {0: range(401)}):
        found.append(record)
        sys._clear_type_cache()
    assert [record.undecodable is not None for record in found] == [False] * 400 + [True]
