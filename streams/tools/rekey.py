"""Moves a stream that is keyed by something else to the clickstream, keyed by visitor: at least once, in order.

A record's offset is committed when the brokers have acknowledged its copy, so a crash moves records twice and never
loses one. Records of one source partition and visitor keep their order. Value, headers and timestamp stay. A member
merges the partitions that it holds by timestamp, so that a backlog of hours comes as it was written.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.click_reader import REKEYED_HEADER
from schemas.errors import InsessionError
from schemas.ids import VisitorId
from schemas.validation import Ignored, Rejection
from streams.cluster.topic_reader import input_record
from streams.delivery.dead_letters import MAX_HEADER_BYTES, dead_letter, header_bytes
from streams.records import InputRecord, OutputRecord
from streams.tools.sender import Sender
from streams.tools.time_merge import TimeMerge

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.2
_COMMIT_SECONDS: Final = 1.0
_READ_AHEAD: Final = {  # what a pause throws away is read again: little of a partition at a time
    "fetch.message.max.bytes": 256 << 10,
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 16 << 10,
    "fetch.queue.backoff.ms": 10,  # by default a partition of which enough is queued is not asked for more for a second
}
_SESSION_MS: Final = 10_000  # how long a member that was killed keeps its partitions from the others
_NOT_OURS_ANY_MORE: Final = frozenset(
    {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """From where to where, by full topic names; group: the consumer group that shares the source's partitions."""

    source: str
    target: str
    dead_letters: str
    group: str


@dataclass(slots=True)
class Moved:
    """What was done with the records whose turn came; a batch of several visitors has a copy for each in `moved`."""

    read: int = 0
    moved: int = 0
    ignored: int = 0
    dead_lettered: int = 0


class Rekey:
    """One member of the group that moves records; close it by leaving the `with` block.

    visitors_of: names the visitors of a record, by whom it is keyed; one without is passed over where it is not for us,
    else dead-lettered.
    merge: holds what was read until its turn comes.
    """

    def __init__(
        self,
        client_config: Mapping[str, Any],
        route: Route,
        visitors_of: Callable[[InputRecord], Sequence[VisitorId] | Ignored | Rejection],
        merge: TimeMerge | None = None,
    ) -> None:
        self._route = route
        self._visitors_of = visitors_of
        self._sender = Sender(client_config, client_id="insession-rekey")
        self._merge = merge or TimeMerge()
        self._paused: set[int] = set()
        self._committed: dict[int, int] = {}
        self._is_broken = False
        self.moved = Moved()
        self._consumer = Consumer(
            {
                "log_level": 2,
                **client_config,
                "group.id": route.group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": _SESSION_MS,
                **_READ_AHEAD,
            }
        )

    def __enter__(self) -> Self:
        self._consumer.subscribe(
            [self._route.source], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_broken = error is not None
        self._consumer.close()  # gives the partitions back, which commits what was acknowledged

    def run(self, until: Callable[[], bool], advance: Callable[[Moved], None]) -> Moved:
        """Move records until `until` says so; it is asked after every commit, about once a second."""
        due = time.monotonic() + _COMMIT_SECONDS
        while True:
            for message in self._consumer.consume(_BATCH, timeout=_POLL_SECONDS):
                self._queue(message)
            self._move_on()
            self._sender.poll(0)
            if time.monotonic() >= due:
                self._commit()
                advance(self.moved)
                if until():
                    return self.moved
                due = time.monotonic() + _COMMIT_SECONDS

    def _queue(self, message: Any) -> None:
        error = message.error()
        if error is None:
            self._merge.put(input_record(message))
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's public constant
            self._merge.reached_end(message.partition(), message.offset())  # behind a transaction's marker, too
        else:
            raise InsessionError(f"topic {self._route.source} cannot be read: {error.str()}")

    def _move_on(self) -> None:
        """Move what is due, and let those partitions wait of which enough is queued."""
        while True:
            for record in self._merge.take(time.monotonic()):
                self._move(record)
            ended = self._ended()
            for partition, offset in ended.items():
                self._merge.reached_end(partition, offset)
            if not ended:
                break
        full, hungry = self._merge.full() - self._paused, self._merge.hungry() & self._paused
        self._consumer.pause(self._of_source(full))
        self._consumer.resume(self._of_source(hungry))
        self._paused = (self._paused | full) - hungry

    def _ended(self) -> dict[int, int]:
        """Find partitions of which all is moved that their last fetch told of; the event of that comes later."""
        ended = {}
        for partition, offset in self._merge.waiting().items():
            where = TopicPartition(self._route.source, partition)
            _, end = self._consumer.get_watermark_offsets(where, cached=True)
            if 0 <= end <= offset:
                ended[partition] = offset
        return ended

    def _move(self, record: InputRecord) -> None:
        self.moved.read += 1
        visitors = record.rejection or _too_large(record) or self._visitors_of(record)
        if isinstance(visitors, Rejection):
            self._sender.send(dead_letter(record, visitors, self._route.dead_letters))
            self.moved.dead_lettered += 1
            return
        if isinstance(visitors, Ignored):
            self.moved.ignored += 1
            return
        headers = record.headers if len(visitors) == 1 else (*record.headers, (REKEYED_HEADER, b""))
        for visitor_id in visitors:
            copy = OutputRecord(self._route.target, visitor_id.encode(), record.value, headers)
            self._sender.send(copy, time_ms=record.time_ms if record.time_ms >= 0 else None)
            self.moved.moved += 1

    def _commit(self) -> None:
        """Wait until every copy is acknowledged, then commit; SendError comes before any commit."""
        self._sender.flush()
        taken = self._merge.taken_to()
        moved = {part: offset for part, offset in taken.items() if self._committed.get(part) != offset}
        if not moved:
            return
        offsets = [TopicPartition(self._route.source, part, offset) for part, offset in moved.items()]
        self._committed |= moved
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OURS_ANY_MORE:
                why = error.args[0].str()
                raise InsessionError(f"the brokers take no commit of group {self._route.group}: {why}") from error
            # Another member reads these records again: they are moved twice.

    def _assigned(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        for part in partitions:
            self._merge.open(part.partition, time.monotonic())

    def _revoked(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        if not self._is_broken:
            self._commit()
        self._lost(_consumer, partitions)

    def _lost(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions; a pause would outlive the assignment."""
        numbers = {part.partition for part in partitions}
        self._consumer.resume(self._of_source(numbers & self._paused))
        self._paused -= numbers
        for partition in numbers:
            self._merge.close(partition)
            self._committed.pop(partition, None)

    def _of_source(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._route.source, partition) for partition in partitions]


def _too_large(record: InputRecord) -> Rejection | None:
    """Find a record that the target may refuse for its headers: that would end every run at the same place."""
    size = header_bytes(record.headers)
    if size <= MAX_HEADER_BYTES:
        return None
    return Rejection("too_large", f"the headers have {size} bytes, at most {MAX_HEADER_BYTES} are moved")
