"""Bounded reading of a topic without a consumer group: nothing is committed, nobody's partitions move."""

import time
from collections.abc import Container, Iterator, Mapping
from operator import methodcaller
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.state import InputPosition
from schemas.times import LATEST_TIME_MS
from streams.cluster.admin import Complaints, explained
from streams.cluster.patience import asked_again
from streams.cluster.topics import TopicsError
from streams.records import InputRecord, Undecodable

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.2
_LAST_OFFSETS: Final = 10
"""The very last ones may be a transaction's markers."""
_headers_of: Final = methodcaller("headers")


class TopicReader:
    """Reads ranges of offsets; one topic at a time, each read has its own end.

    timeout_seconds: for every answer of the brokers, and for records to come where the range says that there are some.
    Raises TopicsError that names the topic where they do not answer or refuse.
    """

    def __init__(self, client_config: Mapping[str, Any], *, timeout_seconds: float = 10.0) -> None:
        self._timeout_seconds = timeout_seconds
        self._complaints = Complaints()
        self._consumer = Consumer(
            {
                **self._complaints.config(),
                **client_config,
                "group.id": "insession-reader",  # librdkafka wants one; without subscribe and commit it is never used
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def bounds(self, topic: str) -> dict[int, range]:
        """Return the offsets that each partition holds now, the end exclusive."""
        try:
            listed = self._listed(topic)
            if listed.error is not None and listed.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise TopicsError(
                    f"the brokers hide topic {topic}: let the user describe and read it, or check the prefix"
                )
            if listed.error is not None or not listed.partitions:
                raise TopicsError(f"there is no topic {topic}: check its name and the prefix")
            return {number: range(*self._watermarks(topic, number)) for number in sorted(listed.partitions)}
        except KafkaException as error:
            raise TopicsError(f"topic {topic} cannot be looked at. {explained(error)}") from error

    def offsets_since(self, topic: str, since_ms: int) -> dict[int, range]:
        """Return the offsets whose records have a timestamp of `since_ms` or later, Unix milliseconds."""
        bounds = self.bounds(topic)
        asked = [TopicPartition(topic, partition, since_ms) for partition in bounds]
        try:
            found = asked_again(
                lambda: self._consumer.offsets_for_times(asked, timeout=self._timeout_seconds), self._timeout_seconds
            )
        except KafkaException as error:
            raise TopicsError(f"topic {topic} has no offsets by time: {error.args[0].str()}") from error
        firsts = {part.partition: part.offset for part in found}
        return {
            partition: range(firsts[partition] if firsts[partition] >= 0 else held.stop, held.stop)
            for partition, held in bounds.items()
        }

    def newest_ms(self, topic: str, partitions: Container[int]) -> int | None:
        """Return the newest timestamp among the last records of these partitions, Unix ms; None without any."""
        ends = {
            partition: range(max(held.start, held.stop - _LAST_OFFSETS), held.stop)
            for partition, held in self.bounds(topic).items()
            if partition in partitions
        }
        return max((record.time_ms for record in self.read(topic, ends)), default=None)

    def read(self, topic: str, offsets: Mapping[int, range]) -> Iterator[InputRecord]:
        """Return the records at `offsets`, in offset order of each partition; what is compacted away is passed over."""
        ends = {partition: wanted.stop for partition, wanted in offsets.items() if wanted}
        self._consumer.assign([TopicPartition(topic, part, offsets[part].start) for part in ends])
        deadline = time.monotonic() + self._timeout_seconds
        while ends:
            messages = self._consumer.consume(_BATCH, timeout=_POLL_SECONDS)
            if messages:
                deadline = time.monotonic() + self._timeout_seconds
            elif time.monotonic() > deadline:
                raise TopicsError(f"topic {topic} gave no record for {self._timeout_seconds:g} s: are its brokers up?")
            for message in messages:
                record = self._taken(message, ends)
                if record is not None:
                    yield record
        self._consumer.unassign()

    def _taken(self, message: Any, ends: dict[int, int]) -> InputRecord | None:
        partition, error = message.partition(), message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's public constant
                raise TopicsError(f"topic {message.topic()} cannot be read: {error.str()}")
            ends.pop(partition, None)
            return None
        end = ends.get(partition, 0)
        if message.offset() + 1 >= end:
            ends.pop(partition, None)
        return input_record(message) if message.offset() < end else None

    def _listed(self, topic: str) -> Any:
        metadata = self._complaints.metadata(
            self._consumer, lambda seconds: self._consumer.list_topics(topic, timeout=seconds), self._timeout_seconds
        )
        return metadata.topics[topic]

    def _watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        def ask() -> tuple[int, int]:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=self._timeout_seconds
            )
            return low, high

        return asked_again(ask, self._timeout_seconds)


def latest(offsets: Mapping[int, range], at_most: int) -> dict[int, range]:
    """Cut ranges to the newest `at_most` offsets in all, as evenly over the partitions as they allow."""
    left, kept = at_most, {}
    by_length = sorted(offsets.items(), key=lambda item: len(item[1]))
    for done, (partition, wanted) in enumerate(by_length):
        share = min(len(wanted), left // (len(by_length) - done))
        kept[partition] = range(wanted.stop - share, wanted.stop)
        left -= share
    return kept


def input_record(message: Any) -> InputRecord:
    """Take a librdkafka message apart; a null header counts as an empty one.

    Whoever may write a record gives it any timestamp: one that no calendar has counts as the last that there is.
    """
    headers, undecodable = _headers(message)
    return InputRecord(
        InputPosition(message.topic(), message.partition(), message.offset()),
        message.key(),
        message.value(),
        min(message.timestamp()[1], LATEST_TIME_MS),
        headers,
        undecodable=undecodable,
    )


def _headers(message: Any) -> tuple[tuple[tuple[str, bytes], ...], Undecodable | None]:
    """Return the headers.

    Where one name is no UTF-8, confluent-kafka sets an error and returns a list with a null pointer all the same. Only
    a call that CPython checks raises it; a method call that has run often enough is not checked (PEP 659), and whoever
    reads the list then may end the process by a segmentation fault.
    """
    try:
        return tuple((name, content or b"") for name, content in _headers_of(message) or ()), None
    except SystemError as error:  # raised once; asked again, it hands the pointer out
        return (), Undecodable(f"the headers cannot be decoded: {error.__cause__ or error}", kept="no_headers")
