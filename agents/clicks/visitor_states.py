"""The visitors' states with the index of when each is due for a tick: over Faust's table, or over a dict in replay."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Protocol

from agents.clicks.pipeline import Pipeline
from agents.clicks.shown_answers import ShownAnswers
from agents.clicks.step import StateWrite, StoredValues, UnreadableVisitorError
from schemas.state import InputPosition, StateHeader, header_or_due, is_mark, mark_key, read_header
from streams.metrics import DeliveryMetrics
from streams.records import Delivery, OutputRecord, delivered
from streams.sessions.expiry import ExpiryIndex

MAX_WRITES_A_TICK = 100
MAX_READS_A_TICK = 1000
"""Clicks wait for a tick: it ends some sessions, and what is left over is due at the next one, which comes sooner.

A session takes two writes of ticks: its end, and some ticks later what is known of that end goes.

The visitors whose session one of the latest ticks has ended come first, so a repeated tick finds all of its own.
"""
PASSED_A_TICK: Final = 200
"""States looked at for visitors to forget, whenever a tick may be due in a partition: a million in 84 minutes."""
MAX_REPEATS: Final = 1000
"""Visitors of whom it is known that a redelivery has written the state again; of others, the next one does so again."""


class StateStore(Protocol):
    """Where states and marks lie, by partition; a write's delivery is settled when it is safe."""

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read a value."""

    def following(self, partition: int, key: bytes | None, count: int) -> list[tuple[bytes, bytes]]:
        """Read the next values behind `key`, in the order of the keys; None = from the first on."""

    def put(self, partition: int, key: bytes, value: bytes) -> Delivery:
        """Write a state."""

    def drop(self, partition: int, key: bytes) -> Delivery:
        """Remove a value."""


class MemoryStore:
    """States in a dict, for replay and tests: there is one partition, and every write is safe at once."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self._order: list[bytes] = []

    def get(self, _partition: int, key: bytes) -> bytes | None:
        """Read a state."""
        return self.states.get(key)

    def following(self, _partition: int, key: bytes | None, count: int) -> list[tuple[bytes, bytes]]:
        """Read the next states of those that were there when the first ones were asked for."""
        if key is None:
            self._order = sorted(self.states)
        first = 0 if key is None else bisect_right(self._order, key)
        return [(one, self.states.get(one, b"")) for one in self._order[first : first + count]]

    def put(self, _partition: int, key: bytes, value: bytes) -> Delivery:
        """Write a state."""
        self.states[key] = value
        return delivered()

    def drop(self, _partition: int, key: bytes) -> Delivery:
        """Remove a state."""
        self.states.pop(key, None)
        return delivered()


class VisitorStates:
    """Reads and writes states and keeps in step what is in memory only: the expiry index and the latest answers.

    metrics: counts the bytes of what is written; None = nobody asks.
    """

    def __init__(self, store: StateStore, metrics: DeliveryMetrics | None = None) -> None:
        self._store = store
        self._metrics = metrics
        self._repeats: OrderedDict[tuple[int, bytes], Delivery] = OrderedDict()
        self.expiry = ExpiryIndex()
        self.shown = ShownAnswers()
        self.unreadable: list[UnreadableVisitorError] = []
        """What ticks came upon, for whoever puts it aside."""
        self.left_over: set[int] = set()
        """Partitions in which the latest tick had more to end than it may."""

    def opening(self, partition: int, headers: Iterable[tuple[bytes, StateHeader]]) -> Iterator[int]:
        """Begin with a newly assigned partition, from its recovered states; see `ExpiryIndex.loading`."""
        self._forget_repeats(partition)
        self.shown.drop_partition(partition)  # of an earlier assignment; another worker has moved on since
        return self.expiry.loading(partition, headers)

    def open_partition(self, partition: int, headers: Iterable[tuple[bytes, StateHeader]]) -> None:
        """Do that at one go."""
        for _ in self.opening(partition, headers):
            pass

    def close_partition(self, partition: int) -> None:
        """Forget a partition that was revoked."""
        self._forget_repeats(partition)
        self.shown.drop_partition(partition)
        self.expiry.drop(partition)
        self.left_over.discard(partition)

    def load(self, partition: int, key: bytes) -> StoredValues | None:
        """Read what is stored of a visitor."""
        value = self._store.get(partition, key)
        return None if value is None else StoredValues(value, self._store.get(partition, mark_key(key)))

    def write(self, partition: int, write: StateWrite) -> list[Delivery]:
        """Apply a write; returns what must be settled for it to be safe.

        What a redelivery writes again is written once: as long as nothing newer was, later ones wait for that write.
        """
        if write.value is None:
            return self.drop(partition, write.key)
        place = (partition, write.key)
        if write.is_repeat and (written := self._repeats.get(place)) is not None:
            return [written]
        self._repeats.pop(place, None)
        if self._metrics is not None:
            self._metrics.state_bytes.observe(len(write.value))
        if write.is_mark:
            return [self._store.put(partition, mark_key(write.key), write.value)]
        self.expiry.schedule(partition, write.key, read_header(write.value), before=write.before)
        written = self._store.put(partition, write.key, write.value)
        if write.is_repeat:
            self._repeats[place] = written
            if len(self._repeats) > MAX_REPEATS:
                self._repeats.popitem(last=False)
        return [written]

    def drop(self, partition: int, key: bytes) -> list[Delivery]:
        """Forget a visitor, mark and all; returns the tombstones."""
        self._repeats.pop((partition, key), None)
        self.shown.take(partition, key)
        return [self._store.drop(partition, mark_key(key)), self._store.drop(partition, key)]

    def has_due(self, partition: int, until_ms: int) -> bool:
        """Return whether a tick at `until_ms` has work, as far as a bounded look finds out; for between two inputs."""
        self._pass_on(partition, until_ms)
        looked_at: list[tuple[bytes, int]] = []
        for key in self._taken(partition, until_ms):
            value = self._store.get(partition, key)
            header = None if value is None else header_or_due(value)
            if header is not None and (not header.is_quiet or header.due_ms <= until_ms):
                looked_at.append((key, header.due_ms))
                if header.due_ms <= until_ms:
                    break
        for key, due_ms in looked_at:
            self.expiry.put(partition, key, due_ms)
        return any(due_ms <= until_ms for _, due_ms in looked_at)

    def close_due(
        self,
        pipeline: Pipeline,
        position: InputPosition,
        stream_time_ms: int,
        committed: Collection[InputPosition] = (),
        *,
        until_ms: int | None = None,
        moment: Collection[InputPosition] = (),
    ) -> tuple[list[OutputRecord], list[Delivery]]:
        """End the sessions that are due by a tick at `position`; returns the session ends and the writes.

        What this very tick has ended once is emitted again. until_ms: nothing new ends that is due later than this;
        None = than `stream_time_ms`. committed, moment: see `Sessionizer.tick`.
        """
        partition, until_ms = position.partition, stream_time_ms if until_ms is None else until_ms
        writes: list[StateWrite] = []
        records: list[OutputRecord] = []
        waiting: dict[bytes, int] = {}
        taken: set[bytes] = set()
        reads = 0
        for reads, key in enumerate(self._taken(partition, stream_time_ms), 1):  # noqa: B007 - how many there were
            if key in taken or (values := self.load(partition, key)) is None:  # a visitor may have several entries
                continue
            taken.add(key)
            header = header_or_due(values.state)
            if header.due_ms > stream_time_ms:
                if not header.is_quiet:
                    waiting[key] = header.due_ms
                continue
            try:
                result = pipeline.tick(key, values, position, until_ms, committed, moment)
            except UnreadableVisitorError as error:
                self.unreadable.append(error)
                continue
            if result is None:  # ended by an earlier tick that may yet come again; it must not keep others from ending
                waiting[key] = header.due_ms
                continue
            writes.append(result[0])
            records += result[1]
            if len(writes) == MAX_WRITES_A_TICK:
                break
        if len(writes) == MAX_WRITES_A_TICK or reads == MAX_READS_A_TICK:
            self.left_over.add(partition)
        for key, due_ms in waiting.items():
            self.expiry.put(partition, key, due_ms)
        return records, [delivery for write in writes for delivery in self.write(partition, write)]

    def _taken(self, partition: int, until_ms: int) -> Iterator[bytes]:
        """Take entries that may be due, a bounded number."""
        for _ in range(MAX_READS_A_TICK):
            key = self.expiry.take(partition, until_ms)
            if key is None:
                return
            yield key

    def _pass_on(self, partition: int, until_ms: int) -> None:
        """Look at some more states of the partition for visitors to forget, unless none can be there."""
        is_needed, key = self.expiry.next_to_pass(partition, until_ms)
        if is_needed:
            items = self._store.following(partition, key, PASSED_A_TICK)
            to = items[-1][0] if len(items) == PASSED_A_TICK else None
            self.expiry.passed(partition, _headers(items), until_ms, to=to)

    def _forget_repeats(self, partition: int) -> None:
        for place in [place for place in self._repeats if place[0] == partition]:
            del self._repeats[place]


def _headers(items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, StateHeader]]:
    """Read the headers of the states among the values; marks have none."""
    return ((key, header_or_due(value)) for key, value in items if value and not is_mark(key))
