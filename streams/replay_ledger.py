"""Which dead letters were replayed: kept as commit metadata of a consumer group that nobody joins.

A second replay of the same letters is then told apart on whatever machine it is run, without a topic of its own. The
brokers keep commits of an empty group for `offsets.retention.minutes` (a week by default).
"""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.topics import TopicsError

MAX_METADATA_LENGTH: Final = 4000
"""Below the brokers' default of `offset.metadata.max.bytes`, 4096; the lowest offsets are forgotten first."""
_TIMEOUT_SECONDS: Final = 10.0


class ReplayLedger:
    """The replayed offsets of one dead-letter topic. Raises TopicsError where the brokers do not answer."""

    def __init__(self, client_config: Mapping[str, Any], *, group: str, topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {"log_level": 2, **client_config, "group.id": f"{group}-dead-letter-replay", "enable.auto.commit": False}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def replayed(self, partitions: Iterable[int]) -> dict[int, set[int]]:
        """Give the offsets that were replayed, by partition."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            found = self._consumer.committed(asked, timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise TopicsError(f"the brokers do not tell what was replayed: {error.args[0].str()}") from error
        return {part.partition: set(decode_offsets(part.metadata or "")) for part in found}

    def note(self, replayed: Mapping[int, set[int]]) -> None:
        """Keep `replayed`, all offsets of each partition that were ever replayed."""
        commits = [
            TopicPartition(self._topic, partition, max(offsets) + 1, encode_offsets(sorted(offsets)))
            for partition, offsets in replayed.items()
            if offsets
        ]
        try:
            if commits:
                self._consumer.commit(offsets=commits, asynchronous=False)
        except KafkaException as error:
            raise TopicsError(
                f"the letters were replayed, but the brokers did not take note of it: {error.args[0].str()}. Do not "
                "replay them again"
            ) from error


def encode_offsets(offsets: Sequence[int]) -> str:
    """Spell ascending offsets as ranges, `12-40,44`; the highest that fit into the limit."""
    ranges: list[list[int]] = []
    for offset in offsets:
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1][1] = offset
        else:
            ranges.append([offset, offset])
    spelled = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges]
    while len(text := ",".join(spelled)) > MAX_METADATA_LENGTH:
        del spelled[: max(1, len(spelled) // 10)]
    return text


def decode_offsets(text: str) -> Iterable[int]:
    """Give the offsets that `encode_offsets` spelled."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
