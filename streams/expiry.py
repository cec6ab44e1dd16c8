"""When each visitor is due for a tick, in memory and a partition at a time; rebuilt from the state after recovery."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from schemas.state import NEVER_MS, StateHeader


@dataclass(slots=True)
class _Partition:
    due_ms: dict[bytes, int] = field(default_factory=dict)
    heap: list[tuple[int, bytes]] = field(default_factory=list)
    clock_lag_ms: int | None = None


class ExpiryIndex:
    """Visitors by the event time at which a tick has work for them, and how far event time lags in each partition.

    Stream time is the wall clock less the lag of the latest event behind its record's timestamp: about now in a live
    stream, ten years ago in a ten-year-old log, and it goes on when nobody clicks.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def load(self, partition: int, headers: Iterable[tuple[bytes, StateHeader]]) -> None:
        """Build a newly assigned partition from the headers of its recovered states."""
        loaded = self._partitions[partition] = _Partition()
        for key, header in headers:
            self.schedule(partition, key, header.due_ms)
            lag_ms = loaded.clock_lag_ms
            loaded.clock_lag_ms = header.clock_lag_ms if lag_ms is None else min(lag_ms, header.clock_lag_ms)

    def partitions(self) -> set[int]:
        """Name the partitions that are built."""
        return set(self._partitions)

    def drop(self, partition: int) -> None:
        """Forget a partition that was revoked."""
        self._partitions.pop(partition, None)

    def schedule(self, partition: int, key: bytes, due_ms: int) -> None:
        """Set when a visitor is due, instead of any earlier setting; `NEVER_MS` forgets the visitor.

        A partition that is not built is left alone: it is on its way out, and is built anew when it comes back.
        """
        index = self._partitions.get(partition)
        if index is None:
            return
        if due_ms >= NEVER_MS:
            index.due_ms.pop(key, None)
        elif index.due_ms.get(key) != due_ms:
            index.due_ms[key] = due_ms
            heapq.heappush(index.heap, (due_ms, key))
            if len(index.heap) > 2 * len(index.due_ms) + 1000:
                index.heap = [(due, key) for key, due in index.due_ms.items()]
                heapq.heapify(index.heap)

    def observe(self, partition: int, clock_lag_ms: int) -> None:
        """Note how far the latest event lay behind its record's timestamp."""
        if partition in self._partitions:
            self._partitions[partition].clock_lag_ms = clock_lag_ms

    def stream_time_ms(self, partition: int, now_ms: int) -> int | None:
        """Give the event time that the partition has reached; None before its first event."""
        index = self._partitions.get(partition)
        return None if index is None or index.clock_lag_ms is None else now_ms - index.clock_lag_ms

    def clock_lag_ms(self, partition: int) -> int:
        """Give how far event time lags behind the records' in the partition; 0 before its first event."""
        index = self._partitions.get(partition)
        return 0 if index is None else index.clock_lag_ms or 0

    def has_due(self, partition: int, until_ms: int) -> bool:
        """Tell whether a tick at `until_ms` has work."""
        index = self._partitions.get(partition)
        return index is not None and self._settle(index) and index.heap[0][0] <= until_ms

    def take_due(self, partition: int, until_ms: int) -> Iterator[bytes]:
        """Take the visitors that are due at `until_ms`, earliest first; the caller schedules each again, afterwards."""
        while self.has_due(partition, until_ms):
            index = self._partitions[partition]
            _, key = heapq.heappop(index.heap)
            del index.due_ms[key]
            yield key

    @staticmethod
    def _settle(index: _Partition) -> bool:
        """Drop outdated heads; True while anything is left."""
        while index.heap and index.due_ms.get(index.heap[0][1]) != index.heap[0][0]:
            heapq.heappop(index.heap)
        return bool(index.heap)
