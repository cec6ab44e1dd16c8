"""Merges the partitions of a topic into one order by record timestamp, with a bounded queue for each.

A backlog that is read partition after partition brings the last one's records hours behind the first one's. Merged by
time they come about as they were written. Records of one partition keep their order whatever their timestamps say.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from streams.records import InputRecord

MAX_QUEUED_BYTES: Final = 64 << 20
"""Of all queues together; a partition's share of it may be exceeded by what comes in one batch."""
PATIENCE_SECONDS: Final = 10.0
"""How long a partition that gives nothing, and is not known to be at its end, holds up the others."""
_OVERHEAD_BYTES: Final = 512  # of a record's Python objects, about


@dataclass(slots=True)
class _Queue:
    """What was read of one partition and not taken yet.

    lows: the timestamps that no later record of the queue is below; the first is the least of all.
    read_to: behind the last record that was put. end: where the partition ended when all up to it was read.
    taken_to: behind the last record that was taken; None = not known before something comes.
    waiting_since_seconds: when the queue ran empty, unless the partition was at its end.
    """

    waiting_since_seconds: float
    records: deque[InputRecord] = field(default_factory=deque)
    lows: deque[int] = field(default_factory=deque)
    size_bytes: int = 0
    read_to: int = 0
    end: int | None = None
    taken_to: int | None = None

    def holds_up(self, now_seconds: float) -> bool:
        if self.records or self.end is not None:
            return False
        return now_seconds - self.waiting_since_seconds < PATIENCE_SECONDS

    def put(self, record: InputRecord) -> None:
        self.records.append(record)
        while self.lows and self.lows[-1] > record.time_ms:
            self.lows.pop()
        self.lows.append(record.time_ms)
        self.size_bytes += _size_bytes(record)
        self.read_to, self.end = record.position.offset + 1, None

    def take(self, now_seconds: float) -> InputRecord:
        record = self.records.popleft()
        if self.lows[0] == record.time_ms:
            self.lows.popleft()
        self.size_bytes -= _size_bytes(record)
        self.taken_to = record.position.offset + 1
        if not self.records:
            self.taken_to = max(self.taken_to, self.end or 0)
            self.waiting_since_seconds = now_seconds
        return record


class TimeMerge:
    """The queues of the partitions that are ours, by number.

    What is next is the partition with the least timestamp in its queue, not at its head: one record whose clock runs
    ahead would else hold its partition back until the others are at their ends.
    """

    def __init__(self, *, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._max_queued_bytes = max_queued_bytes
        self._queues: dict[int, _Queue] = {}

    def open(self, partition: int, now_seconds: float) -> None:
        """Begin with a partition, which holds up the others until it is known what it has."""
        self._queues[partition] = _Queue(now_seconds)

    def close(self, partition: int) -> None:
        """Forget a partition with all that was read of it and not taken."""
        self._queues.pop(partition, None)

    def put(self, record: InputRecord) -> None:
        """Queue a record; one of a partition that is not ours, or that was read before, is left out."""
        queue = self._queues.get(record.position.partition)
        if queue is not None and record.position.offset >= queue.read_to:
            queue.put(record)

    def reached_end(self, partition: int, offset: int) -> None:
        """Take note that a partition has nothing below `offset` that was not put, and nothing from there on now."""
        queue = self._queues.get(partition)
        if queue is None or offset < queue.read_to:
            return
        queue.read_to = queue.end = offset
        if not queue.records:
            queue.taken_to = offset

    def take(self, now_seconds: float) -> Iterator[InputRecord]:
        """Return records in order until a partition that may have earlier ones has none in its queue."""
        while not any(queue.holds_up(now_seconds) for queue in self._queues.values()):
            filled = [queue for queue in self._queues.values() if queue.records]
            if not filled:
                return
            yield min(filled, key=lambda queue: queue.lows[0]).take(now_seconds)

    def waiting(self) -> dict[int, int]:
        """Return the partitions of which all was taken and no end is known, with the offset that is read next."""
        return {
            partition: queue.read_to
            for partition, queue in self._queues.items()
            if not queue.records and queue.end is None and queue.taken_to is not None
        }

    def taken_to(self) -> dict[int, int]:
        """Return, of each partition of which anything is known, the offset up to which all was taken."""
        return {partition: queue.taken_to for partition, queue in self._queues.items() if queue.taken_to is not None}

    def full(self) -> set[int]:
        """Return the partitions that should not be read on before they are among the `hungry`."""
        return {partition for partition, queue in self._queues.items() if queue.size_bytes >= self._share_bytes}

    def hungry(self) -> set[int]:
        """Return the partitions whose queue is at most half full."""
        return {partition for partition, queue in self._queues.items() if 2 * queue.size_bytes <= self._share_bytes}

    @property
    def _share_bytes(self) -> int:
        return self._max_queued_bytes // max(1, len(self._queues))


def _size_bytes(record: InputRecord) -> int:
    headers = sum(len(name) + len(content) for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + _OVERHEAD_BYTES
