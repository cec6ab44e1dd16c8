"""The commits of a group that has no members: what tools read and move while no worker runs."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.cluster.admin import explained
from streams.cluster.patience import asked_again
from streams.cluster.topics import TopicsError

_TIMEOUT_SECONDS: Final = 15.0


class GroupCommits:
    """Reads and writes them, within a `with` block. Raises TopicsError where the brokers do not tell or take them."""

    def __init__(self, client_config: Mapping[str, Any], group: str) -> None:
        self._group = group
        self._consumer = Consumer({**client_config, "group.id": group, "enable.auto.commit": False, "log_level": 2})

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._consumer.close()

    def of(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return them by partition; one without is not in it."""
        asked = [TopicPartition(topic, partition) for partition in partitions]
        try:
            found = asked_again(lambda: self._consumer.committed(asked, timeout=_TIMEOUT_SECONDS), _TIMEOUT_SECONDS)
        except KafkaException as error:
            raise TopicsError(f"the brokers do not tell the commits of {self._group}. {explained(error)}") from error
        return {part.partition: part.offset for part in found if part.offset >= 0}

    def write(self, topic: str, offsets: Mapping[int, int], note: str = "") -> None:
        """Commit offsets by partition, with a note as their metadata."""
        if not offsets:
            return
        commits = [TopicPartition(topic, partition, offset, note) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=commits, asynchronous=False)
        except KafkaException as error:
            raise TopicsError(
                f"the brokers take no commit of {self._group}: has a worker started? {explained(error)}"
            ) from error
