"""Topics read back as they lie in Kafka, and how far a group has committed."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from streams.cluster.patience import NOT_YET, asked_again

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """One record of a topic; time_ms is its timestamp, Unix milliseconds."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    time_ms: int
    headers: tuple[tuple[str, bytes], ...]


class TopicReader:
    """Reads topics without joining a group; `group` is only asked for its commits."""

    def __init__(self, brokers: str, group: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
                "log_level": 2,
            }
        )

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def read(self, topic: str) -> list[LoggedRecord]:
        """Read a whole topic up to its end, in offset order of each partition."""
        return sorted(self._read(topic), key=lambda record: (record.partition, record.offset))

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the end offset of each partition."""
        return {part.partition: self._end(part) for part in self._partitions(topic)}

    def committed(self, topic: str) -> dict[int, int]:
        """Return the group's committed offset of each partition; 0 where none is."""
        parts = self._partitions(topic)
        asked = asked_again(lambda: self._consumer.committed(parts, timeout=TIMEOUT_SECONDS), TIMEOUT_SECONDS)
        return {part.partition: max(0, part.offset) for part in asked}

    def _end(self, part: TopicPartition) -> int:
        def ask() -> tuple[int, int]:
            return self._consumer.get_watermark_offsets(part, timeout=TIMEOUT_SECONDS)  # type: ignore[no-any-return]

        return asked_again(ask, TIMEOUT_SECONDS)[1]

    def _read(self, topic: str) -> Iterator[LoggedRecord]:
        parts = [TopicPartition(topic, part.partition, OFFSET_BEGINNING) for part in self._partitions(topic)]
        self._consumer.assign(parts)
        unread = {part.partition for part in parts}
        while unread:
            messages = self._consumer.consume(1000, timeout=1.0)
            for message in messages:
                error = message.error()
                if error is None:
                    yield _logged(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
                elif error.code() not in NOT_YET:
                    raise AssertionError(f"{topic} could not be read: {error}")
        self._consumer.unassign()

    def _partitions(self, topic: str) -> list[TopicPartition]:
        ask = partial(self._consumer.list_topics, topic, timeout=TIMEOUT_SECONDS)
        listed = asked_again(ask, TIMEOUT_SECONDS).topics[topic]
        return [TopicPartition(topic, partition) for partition in sorted(listed.partitions)]


def _logged(message: Any) -> LoggedRecord:
    return LoggedRecord(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(message.headers() or ()),
    )
