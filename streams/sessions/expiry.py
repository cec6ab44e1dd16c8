"""When visitors with an open session are due for a tick, in memory, a partition at a time; rebuilt after recovery.

Memory is for those whom a tick soon has work for, not for all visitors of `sessions.visitor_retention`: their number is
that of open sessions, and each costs its key and three bytes more. An entry says "look at this visitor from then on". A
click that puts the end of a session off leaves the entry where it is; whoever takes it reads in the state's header when
the visitor is really due, and puts it back. So an entry is never later than the visitor is due, and often earlier.

Visitors without an open session only wait to be forgotten. They have no entry: a *pass* over the partition's states,
some at a time, finds those whose time has come (agents/clicks/visitor_states.py).
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from schemas.state import NEVER_MS, StateHeader

BUCKET_MS: Final = 1000
_LENGTH_BYTES: Final = 3
STATES_A_TURN: Final = 2000
"""States that are read before others may go on: some 10 ms."""


@dataclass(slots=True)
class _Partition:
    """buckets: by due time, the keys of visitors, each followed by its length. order: the buckets' numbers, a heap.

    forget_ms: no visitor without a session is due before. later_ms: the same, of what the pass under way has seen.
    passed: the key that the pass has come to.
    """

    buckets: dict[int, bytearray] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    clock_lag_ms: int | None = None
    forget_ms: int = NEVER_MS
    later_ms: int = NEVER_MS
    passed: bytes | None = None

    def schedule(self, key: bytes, header: StateHeader, *, before: StateHeader | None) -> None:
        """Note when a visitor is due."""
        if header.is_quiet:
            self.forget_ms = min(self.forget_ms, header.due_ms)
            self.later_ms = min(self.later_ms, header.due_ms)
        elif before is None or before.is_quiet or header.due_ms < before.due_ms:
            self.put(key, header.due_ms)

    def put(self, key: bytes, due_ms: int) -> None:
        """Add an entry."""
        if due_ms >= NEVER_MS:
            return
        number = due_ms // BUCKET_MS
        bucket = self.buckets.get(number)
        if bucket is None:
            bucket = self.buckets[number] = bytearray()
            heapq.heappush(self.order, number)
        bucket += key + len(key).to_bytes(_LENGTH_BYTES)


class ExpiryIndex:
    """Visitors by the event time from which a tick may have work for them, and how far event time lags in a partition.

    Stream time is the wall clock less the lag of the latest event behind its record's timestamp: about now in a live
    stream, ten years ago in a ten-year-old log, and it goes on when nobody clicks.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}

    def loading(self, partition: int, headers: Iterable[tuple[bytes, StateHeader]]) -> Iterator[int]:
        """Build a newly assigned partition from the headers of its recovered states.

        Returns now and then how many are read, so that others may go on; the partition is there once all are.
        """
        loaded = _Partition()
        for number, (key, header) in enumerate(headers, 1):
            loaded.schedule(key, header, before=None)
            lag_ms = loaded.clock_lag_ms
            loaded.clock_lag_ms = header.clock_lag_ms if lag_ms is None else min(lag_ms, header.clock_lag_ms)
            if number % STATES_A_TURN == 0:
                yield number
        self._partitions[partition] = loaded

    def partitions(self) -> set[int]:
        """Return the partitions that are built."""
        return set(self._partitions)

    def drop(self, partition: int) -> None:
        """Forget a partition that was revoked."""
        self._partitions.pop(partition, None)

    def schedule(self, partition: int, key: bytes, header: StateHeader, *, before: StateHeader | None) -> None:
        """Note when a visitor is due whose state was written; `before`: the header of the one before, None = none.

        A partition that is not built is left alone: it is on its way out, and is built anew when it comes back.
        """
        index = self._partitions.get(partition)
        if index is not None:
            index.schedule(key, header, before=before)

    def put(self, partition: int, key: bytes, due_ms: int) -> None:
        """Add an entry, whether the visitor has one or not."""
        index = self._partitions.get(partition)
        if index is not None:
            index.put(key, due_ms)

    def take(self, partition: int, until_ms: int) -> bytes | None:
        """Take an entry of those that come first, to within BUCKET_MS; None where none may be due at `until_ms`.

        The visitor may be gone, or due later than that: whoever takes an entry reads the state and puts it back.
        """
        index = self._partitions.get(partition)
        if index is None or not index.order or index.order[0] * BUCKET_MS > until_ms:
            return None
        bucket = index.buckets[index.order[0]]
        length = int.from_bytes(bucket[-_LENGTH_BYTES:])
        key = bytes(bucket[-_LENGTH_BYTES - length : -_LENGTH_BYTES])
        del bucket[-_LENGTH_BYTES - length :]
        if not bucket:
            del index.buckets[heapq.heappop(index.order)]
        return key

    def next_to_pass(self, partition: int, until_ms: int) -> tuple[bool, bytes | None]:
        """Return whether the pass has to go on at `until_ms`, and behind which key; None = from the beginning."""
        index = self._partitions.get(partition)
        return (False, None) if index is None else (index.forget_ms <= until_ms, index.passed)

    def passed(
        self, partition: int, headers: Iterable[tuple[bytes, StateHeader]], until_ms: int, *, to: bytes | None
    ) -> None:
        """Take in the states that the pass has come by; `to`: the key that it has come to, None = the end."""
        index = self._partitions.get(partition)
        if index is None:
            return
        if index.passed is None:
            index.later_ms = NEVER_MS
        for key, header in headers:
            if not header.is_quiet:
                continue
            if header.due_ms <= until_ms:
                self.put(partition, key, header.due_ms)
            else:
                index.later_ms = min(index.later_ms, header.due_ms)
        index.passed = to
        if to is None:
            index.forget_ms = index.later_ms

    def observe(self, partition: int, clock_lag_ms: int) -> None:
        """Note how far the latest event lay behind its record's timestamp."""
        if partition in self._partitions:
            self._partitions[partition].clock_lag_ms = clock_lag_ms

    def stream_time_ms(self, partition: int, now_ms: int) -> int | None:
        """Return the event time that the partition has reached; None before its first event."""
        index = self._partitions.get(partition)
        return None if index is None or index.clock_lag_ms is None else now_ms - index.clock_lag_ms
