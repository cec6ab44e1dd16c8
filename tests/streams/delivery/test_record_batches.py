from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.codecs import CODECS
from streams.delivery.record_batches import BatchReader, MarkedValue
from tests.streams.batches import HEADER_BYTES, ODD_NAME, TIME_MS, Headers, OddName, batch, sealed

Plain = tuple[bytes | None, bytes | None, Headers]

PARTITION = TopicPartition("clicks", 0)
LONG = bytes(500)


def plain(count: int) -> list[Plain]:
    """Make records that nothing is wrong with."""
    return [(b"k%d" % number, LONG + b"%d" % number, [("trace", b"1"), ("none", None)]) for number in range(count)]


def read(
    response: bytes, reader: Any = None, *, fetch_offset: int = 0, aborted: Sequence[tuple[int, int]] = ()
) -> list[Any]:
    """Read a response as aiokafka's fetcher does."""
    records = (BatchReader() if reader is None else reader)(response)
    return list(PartitionRecords(PARTITION, records, list(aborted), fetch_offset, None, None, True, READ_COMMITTED))


def marks(records: Sequence[Any]) -> dict[int, str]:
    """Return what is wrong, by offset."""
    return {record.offset: record.value.undecodable.detail for record in records if _is_marked(record)}


def _is_marked(record: Any) -> bool:
    return isinstance(record.value, MarkedValue)


@pytest.mark.parametrize("codec", ["none", *CODECS])
def test_what_aiokafka_can_decode_comes_as_it_gives_it(codec: str) -> None:
    """Batch behind batch, whatever the codec, from the offset that was asked for."""
    response = batch(*plain(3), first=4, codec=codec) + batch(*plain(2), first=9, codec=codec)
    found = read(response, fetch_offset=5)
    assert found == read(response, MemoryRecords, fetch_offset=5)
    assert [record.offset for record in found] == [5, 6, 9, 10]
    assert marks(found) == {}


@pytest.mark.parametrize("codec", ["none", *CODECS])
def test_a_header_name_that_is_no_utf8_marks_its_record_only(codec: str) -> None:
    """Key, value, time and the other headers are whole; the name is spelled with escapes, so that it can be written."""
    first, second, third = plain(3)
    odd: Plain = (second[0], second[1], [("trace", b"1"), (OddName("x"), b"2")])
    response = batch(first, odd, third, first=7, codec=codec) + batch(*plain(1), first=10)
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        read(response, MemoryRecords, fetch_offset=7)
    found = read(response, fetch_offset=7)
    assert [record.offset for record in found] == [7, 8, 9, 10]
    assert marks(found) == {8: r"the header name \xff\xfe-origin is no UTF-8"}
    record = found[1]
    assert (record.key, record.value.original, record.value.undecodable.kept) == (odd[0], odd[1], "all")
    assert record.headers == (("trace", b"1"), (r"\xff\xfe-origin", b"2"))
    assert record.timestamp == TIME_MS + 1
    assert (found[0].value, found[2].value, found[2].headers) == (first[1], third[1], tuple(third[2]))


def test_a_null_stays_a_null() -> None:
    """A tombstone with an odd header name is told from an empty value."""
    found = read(batch((b"k", None, [(OddName("x"), None)]), (b"k", b"", [(OddName("x"), None)])))
    assert [record.value.original for record in found] == [None, b""]


def unreadable() -> Iterator[tuple[str, bytes]]:
    """Yield batches of three records, from offset 5, of which no record can be decoded."""
    good = batch(*plain(3), first=5, codec="zstd")
    yield "cannot be decompressed", sealed(good[:HEADER_BYTES] + b"\0" + good[HEADER_BYTES + 1 :])
    yield "of a codec that Kafka does not have", sealed(good[:22] + b"\x07" + good[23:])
    yield "cut", sealed(good[:HEADER_BYTES])


@pytest.mark.parametrize("encoded", [pytest.param(encoded, id=name) for name, encoded in unreadable()])
def test_a_batch_that_cannot_be_read_gives_a_record_an_offset(encoded: bytes) -> None:
    """The first holds the bytes, each names the range, and what is behind the batch goes on."""
    found = read(encoded + batch(*plain(1), first=8), fetch_offset=5)
    assert [record.offset for record in found] == [5, 6, 7, 8]
    assert [bytes(record.value) for record in found[:3]] == [encoded, b"", b""]
    assert {record.value.undecodable.kept for record in found[:3]} == {"encoded"}
    assert all(detail.startswith("offsets 5 to 7 cannot be decoded: ") for detail in marks(found).values())
    assert list(marks(found)) == [5, 6, 7]


def test_a_malformed_record_is_marked_alone() -> None:
    """Its length says where the next one begins."""
    encoded = bytearray(batch((b"a", b"1", []), (b"b", b"2", []), (b"c", b"3", [])))
    size = (len(encoded) - HEADER_BYTES) // 3
    second = HEADER_BYTES + size
    encoded[second + 4] = 0x7E  # a key of 63 bytes
    found = read(sealed(bytes(encoded)))
    assert marks(found) == {1: "the record is malformed: it ends early"}
    assert found[1].value == encoded[second + 1 : second + size]
    assert [(record.key, record.value) for record in (found[0], found[2])] == [(b"a", b"1"), (b"c", b"3")]


def test_records_behind_a_wrong_length_are_marked() -> None:
    """Nobody knows where the next one begins."""
    encoded = bytearray(batch((b"a", b"1", []), (b"b", b"2", []), (b"c", b"3", [])))
    second = HEADER_BYTES + (len(encoded) - HEADER_BYTES) // 3
    encoded[second] = 0x7E
    found = read(sealed(bytes(encoded)))
    assert list(marks(found)) == [1, 2]
    assert [bytes(record.value) for record in found] == [b"1", bytes(encoded[second:]), b""]


def test_a_wrong_checksum_is_fetched_again_once() -> None:
    """The response ends before the batch; where the same bytes come again they are marked, and it goes on."""
    reader = BatchReader()
    damaged = batch(*plain(2), first=3)[:-1] + b"x"
    response = batch(*plain(3)) + damaged + batch(*plain(1), first=5)
    assert [record.offset for record in read(response, reader)] == [0, 1, 2]
    again = read(damaged + batch(*plain(1), first=5), reader, fetch_offset=3)
    assert [record.offset for record in again] == [3, 4, 5]
    assert marks(again) == dict.fromkeys((3, 4), "offsets 3 to 4 cannot be decoded: the checksum of the batch is wrong")


def test_a_wrong_checksum_may_heal() -> None:
    """A batch that was damaged on its way comes whole the second time; the first response is no error to aiokafka."""
    reader = BatchReader()
    good = batch(*plain(2))
    first = reader(good[:-1] + b"x")
    assert (first.has_next(), first.size_in_bytes()) == (False, 0)
    assert marks(read(good, reader)) == {}


def test_an_aborted_batch_is_not_looked_into() -> None:
    """What was never committed is nobody's dead letter."""
    odd: Plain = (b"k", b"v", [(OddName("x"), b"1")])
    response = batch(odd, producer_id=7) + batch(*plain(1), first=1, producer_id=8)
    assert [record.offset for record in read(response, aborted=[(7, 0)])] == [1]


def test_a_response_that_is_cut_gives_its_whole_batches() -> None:
    """Brokers cut a response anywhere."""
    response = batch(*plain(1)) + batch(*plain(1), first=1)[:-1]
    assert [record.offset for record in read(response)] == [0]


@given(st.lists(st.tuples(st.integers(HEADER_BYTES, 200), st.integers(0, 255)), min_size=1, max_size=5))
def test_whatever_the_bytes_the_batch_behind_is_read(changes: list[tuple[int, int]]) -> None:
    """Nothing raises, and the offsets go on."""
    odd: Plain = (b"k", b"v" * 20, [(OddName("x"), b"1")])
    encoded = bytearray(batch(odd, odd, odd))
    for place, byte in changes:
        encoded[min(place, len(encoded) - 1)] = byte
    found = read(sealed(bytes(encoded)) + batch(*plain(1), first=3))
    offsets = [record.offset for record in found]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] == 3


def test_the_odd_name_is_one() -> None:
    """The producer in Python writes what the test says."""
    assert ODD_NAME in batch((b"k", b"v", [(OddName("x"), b"1")]))
