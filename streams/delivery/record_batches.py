"""Record batches as the worker's client decodes them: what aiokafka cannot read comes as a marked record all the same.

aiokafka decodes while it hands records out, and what it cannot decode ends the consumer, at the same offset after every
start: a header name that is no UTF-8 (a producer in C may write one), a batch that is damaged. Here every offset of
such a batch gives a record. What is wrong is told by its value, so that it comes to the actor in its place and is
dead-lettered there like any other record that cannot be used.

Batches and records are as in KIP-98 and KIP-82; `org.apache.kafka.common.record.DefaultRecordBatch` has the layout.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import codec
from aiokafka.record.memory_records import MemoryRecords

from schemas.errors import without_input
from streams.delivery.codecs import CODECS
from streams.records import Undecodable

_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8
_LOG_OVERHEAD: Final = 12  # base offset and length, which the length does not count
_BATCH_HEADER_BYTES: Final = 61
_FIRST_WITH_HEADERS: Final = 2  # the format since Kafka 0.11
_DECOMPRESS: Final[Mapping[int, Callable[[bytes], bytes]]] = {
    0: bytes,
    CODECS["gzip"]: codec.gzip_decode,
    CODECS["snappy"]: codec.snappy_decode,
    CODECS["lz4"]: codec.lz4_decode,
    CODECS["zstd"]: codec.zstd_decode,
}


class MarkedValue(bytes):
    """The value of a record that could not be decoded as it is.

    undecodable: why, and what these bytes are. original: the value; None = a null.
    """

    undecodable: Undecodable
    original: bytes | None

    def __new__(cls, original: bytes | None, undecodable: Undecodable) -> Self:
        """Mark a value."""
        marked = super().__new__(cls, original or b"")
        marked.original, marked.undecodable = original, undecodable
        return marked


class BatchReader:
    """Takes the place of aiokafka's MemoryRecords: reads the batches of a partition in a fetch response.

    A checksum that is wrong may have become so on the way: such a batch ends the response and is thereby fetched again,
    once.
    """

    def __init__(self) -> None:
        self._damaged = set[int]()

    def __call__(self, response: bytes) -> "FetchedBatches":
        """Read the batches."""
        records, position = MemoryRecords(response), 0
        batches = deque[Any]()
        while records.has_next():
            batch = records.next_batch()
            (length,) = _LENGTH.unpack_from(response, position + _LENGTH_AT)
            encoded = memoryview(response)[position : position + _LOG_OVERHEAD + length]
            position += len(encoded)
            if batch.magic < _FIRST_WITH_HEADERS:
                batches.append(batch)
            elif batch.validate_crc():
                batches.append(batch if batch.is_control_batch else _Batch(batch, encoded))
            elif self._is_new(encoded):
                return FetchedBatches(batches, 0)
            else:
                batches.append(_Batch(batch, encoded, damage="the checksum of the batch is wrong"))
        return FetchedBatches(batches, len(response))

    def _is_new(self, encoded: memoryview) -> bool:
        """Remember a damaged batch until it comes again."""
        fingerprint = hash(bytes(encoded))
        is_new = fingerprint not in self._damaged
        self._damaged ^= {fingerprint}
        return is_new


class FetchedBatches:
    """What aiokafka's fetcher asks of a response; to it, one without a batch is an error where it has a size."""

    def __init__(self, batches: deque[Any], size_bytes: int) -> None:
        self._batches = batches
        self._size_bytes = size_bytes

    def size_in_bytes(self) -> int:
        """Return the size."""
        return self._size_bytes

    def has_next(self) -> bool:
        """Return whether there is another batch."""
        return bool(self._batches)

    def next_batch(self) -> Any:
        """Return the next batch."""
        return self._batches.popleft()


@dataclass(frozen=True, slots=True)
class _Record:
    """What aiokafka's fetcher asks of a record. timestamp: Unix milliseconds."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    checksum: None = None


class _Batch:
    """What aiokafka's fetcher asks of a batch of data, and its records, marked where they cannot be decoded.

    damage: None = only decoding will tell.
    """

    is_control_batch: Final = False

    def __init__(self, batch: Any, encoded: memoryview, *, damage: str | None = None) -> None:
        self._batch = batch
        self._encoded = encoded
        self._damage = damage
        self.base_offset: Final[int] = batch.base_offset
        self.next_offset: Final[int] = batch.next_offset
        self.producer_id: Final[int | None] = batch.producer_id
        self.is_transactional: Final[bool] = batch.is_transactional and damage is None

    def validate_crc(self) -> bool:
        """Return True: the reader has looked."""
        return True

    def __iter__(self) -> Iterator[Any]:
        if self._damage is not None:
            return self._marked_rest(self.base_offset, bytes(self._encoded), self._damage)
        try:
            return iter(list(self._batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, it would come again at every start
            return self._one_by_one(without_input(error))

    def _one_by_one(self, trouble: str) -> Iterator[_Record]:
        """Decode each record on its own, and where that goes no further, mark the rest."""
        try:
            body = _DECOMPRESS[self._batch.compression_type](bytes(self._encoded[_BATCH_HEADER_BYTES:]))
        except Exception:  # noqa: BLE001 - as above, and `trouble` tells of it
            yield from self._marked_rest(self.base_offset, bytes(self._encoded), trouble)
            return
        cursor, expected = _Cursor(body), self.base_offset
        while not cursor.is_at_end and expected < self.next_offset:
            rest = cursor.rest
            try:
                encoded = cursor.data()
            except ValueError:
                yield from self._marked_rest(expected, rest, trouble)
                return
            record = self._record(encoded or b"", expected)
            expected = record.offset + 1
            yield record

    def _record(self, encoded: bytes, expected: int) -> _Record:
        cursor = _Cursor(encoded)
        try:
            cursor.byte()  # attributes, of which there are none
            time_delta_ms, offset = cursor.varint(), self.base_offset + cursor.varint()
            key, value = cursor.data(), cursor.data()
            headers = [(cursor.data() or b"", cursor.data()) for _ in range(cursor.varint())]
        except ValueError as error:
            return self._marked(expected, encoded, f"the record is malformed: {error}")
        if not (cursor.is_at_end and expected <= offset < self.next_offset):
            return self._marked(expected, encoded, "the record is malformed: its length or its offset is wrong")
        names = [name.decode(errors="backslashreplace") for name, _ in headers]
        odd = [name for name, (original, _) in zip(names, headers, strict=True) if name.encode() != original]
        if odd:
            value = MarkedValue(value, Undecodable(f"the header name {odd[0]} is no UTF-8"))
        pairs = tuple((name, content) for name, (_, content) in zip(names, headers, strict=True))
        time_ms = self._batch.first_timestamp + time_delta_ms
        if self._batch.timestamp_type:
            time_ms = self._batch.max_timestamp  # the broker's clock, the same for all
        return _Record(offset, time_ms, self._batch.timestamp_type, key, value, pairs)

    def _marked_rest(self, first: int, encoded: bytes, trouble: str) -> Iterator[_Record]:
        """Return a record for each offset that is left, the bytes with the first of them."""
        detail = f"offsets {first} to {self.next_offset - 1} cannot be decoded: {trouble}"
        for offset in range(first, self.next_offset):
            yield self._marked(offset, encoded if offset == first else b"", detail)

    def _marked(self, offset: int, encoded: bytes, detail: str) -> _Record:
        value = MarkedValue(encoded, Undecodable(detail, kept="encoded"))
        return _Record(offset, self._batch.max_timestamp, self._batch.timestamp_type, None, value)


class _Cursor:
    """Reads what a record is made of; raises ValueError where the bytes end before it does."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._encoded)

    @property
    def rest(self) -> bytes:
        return self._encoded[self._at :]

    def byte(self) -> int:
        if self.is_at_end:
            raise ValueError("it ends early")
        self._at += 1
        return self._encoded[self._at - 1]

    def varint(self) -> int:
        """Read a zigzag number of base 128, as in Protocol Buffers."""
        number = 0
        for shift in range(0, 64, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # the last
                return (number >> 1) ^ -(number & 1)
        raise ValueError("a number has more than 64 bits")

    def data(self) -> bytes | None:
        """Read a length and as many bytes; None where the length is -1."""
        length = self.varint()
        end = self._at + max(0, length)
        if end > len(self._encoded):
            raise ValueError("it ends early")
        data, self._at = self._encoded[self._at : end], end
        return None if length < 0 else data
