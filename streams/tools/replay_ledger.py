"""Which dead letters were replayed: kept as commit metadata of a consumer group that nobody joins.

A second replay of the same letters is then told apart on whatever machine it is run, without a topic of its own. The
brokers keep commits of an empty group for `offsets.retention.minutes` (a week by default).
"""

import zlib
from base64 import b85decode, b85encode
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.cluster.patience import asked_again
from streams.cluster.topics import TopicsError

MAX_METADATA_LENGTH: Final = 4000
"""Below the brokers' default of `offset.metadata.max.bytes`, 4096; the lowest offsets are forgotten first."""
_TIMEOUT_SECONDS: Final = 10.0


class ReplayLedger:
    """The replayed offsets of one dead-letter topic. Raises TopicsError where the brokers do not answer.

    A partition's offsets are kept compressed: ten thousand in a pattern, two thousand without any at least.
    """

    def __init__(self, client_config: Mapping[str, Any], *, group: str, topic: str) -> None:
        self._topic = topic
        self._group = f"{group}-dead-letter-replay"
        self._consumer = Consumer(
            {"log_level": 2, **client_config, "group.id": self._group, "enable.auto.commit": False}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def replayed(self, partitions: Iterable[int]) -> dict[int, set[int]]:
        """Return the offsets that were replayed, by partition."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            found = asked_again(lambda: self._consumer.committed(asked, timeout=_TIMEOUT_SECONDS), _TIMEOUT_SECONDS)
        except KafkaException as error:
            raise TopicsError(f"the brokers do not tell what was replayed: {error.args[0].str()}") from error
        try:
            return {part.partition: set(decode_offsets(part.metadata or "")) for part in found}
        except (ValueError, zlib.error) as error:
            raise TopicsError(
                f"group {self._group} holds notes on {self._topic} that are not insession's: delete the group with "
                "kafka-consumer-groups --delete; what was replayed is then not known any more"
            ) from error

    def note(self, replayed: Mapping[int, set[int]]) -> int:
        """Keep `replayed`, all offsets of each partition that were ever replayed; give how many did not fit."""
        texts = {partition: encode_offsets(sorted(offsets)) for partition, offsets in replayed.items() if offsets}
        commits = [
            TopicPartition(self._topic, partition, max(replayed[partition]) + 1, text)
            for partition, text in texts.items()
        ]
        try:
            if commits:
                self._consumer.commit(offsets=commits, asynchronous=False)
        except KafkaException as error:
            raise TopicsError(
                f"the letters were replayed, but the brokers did not take note of it: {error.args[0].str()}. Do not "
                "replay them again"
            ) from error
        return sum(len(replayed[partition]) - len(set(decode_offsets(text))) for partition, text in texts.items())


def encode_offsets(offsets: Sequence[int]) -> str:
    """Spell ascending offsets compactly; the highest that fit into the limit."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and runs[-1][1] == offset:
            runs[-1][1] = offset + 1
        else:
            runs.append([offset, offset + 1])
    while len(text := _packed(runs)) > MAX_METADATA_LENGTH:
        del runs[: max(1, len(runs) // 20)]
    return text


def decode_offsets(text: str) -> Iterable[int]:
    """Return the offsets that `encode_offsets` spelled; raises ValueError or zlib.error for any other text."""
    end = 0
    for part in filter(None, zlib.decompress(b85decode(text)).split(b",") if text else ()):
        gap, _, length = part.partition(b"+")
        start = end + int(gap)
        end = start + int(length or 1)
        yield from range(start, end)


def _packed(runs: Sequence[Sequence[int]]) -> str:
    """Write runs as the gap before each and its length: what comes again and again then takes little room."""
    parts: list[str] = []
    last_end = 0
    for start, end in runs:
        parts.append(f"{start - last_end}" if end - start == 1 else f"{start - last_end}+{end - start}")
        last_end = end
    return b85encode(zlib.compress(",".join(parts).encode(), 9)).decode() if parts else ""
