"""The visitors' states with the index of when each is due for a tick: over Faust's table, or over a dict in replay."""

from collections.abc import Awaitable, Collection, Iterable
from itertools import islice
from typing import Any, Protocol

from agents.pipeline import Pipeline, StateWrite, UnreadableVisitorError
from agents.shown_answers import ShownAnswers
from schemas.state import NEVER_MS, InputPosition, StateHeader, read_header
from streams.expiry import ExpiryIndex
from streams.window import OutputRecord

MAX_WRITES_A_TICK = 100
MAX_READS_A_TICK = 1000
"""Clicks wait for a tick: it ends some sessions, and what is left over is due at the next one.

The visitors whose session one of the latest ticks has ended come first, so a repeated tick finds all of its own.
"""


class StateStore(Protocol):
    """Where states lie; a write's awaitable is done when it is safe."""

    def get(self, key: bytes) -> bytes | None:
        """Read a state."""

    def put(self, key: bytes, value: bytes) -> Awaitable[Any]:
        """Write a state."""

    def drop(self, key: bytes) -> Awaitable[Any]:
        """Remove a state."""


class _Done:
    """An awaitable that is done already."""

    def __await__(self) -> Any:
        return iter(())


DONE = _Done()


class MemoryStore:
    """States in a dict, for replay and tests: every write is safe at once."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Read a state."""
        return self.states.get(key)

    def put(self, key: bytes, value: bytes) -> Awaitable[None]:
        """Write a state."""
        self.states[key] = value
        return DONE

    def drop(self, key: bytes) -> Awaitable[None]:
        """Remove a state."""
        self.states.pop(key, None)
        return DONE


class VisitorStates:
    """Reads and writes states and keeps in step what is in memory only: the expiry index and the latest answers."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.expiry = ExpiryIndex()
        self.shown = ShownAnswers()
        self.unreadable: list[UnreadableVisitorError] = []
        """What ticks came upon, for whoever puts it aside."""

    def open_partition(self, partition: int, headers: Iterable[tuple[bytes, StateHeader]]) -> None:
        """Begin with a newly assigned partition, from the headers of its recovered states."""
        self.shown.drop_partition(partition)  # of an earlier assignment; another worker has moved on since
        self.expiry.load(partition, headers)

    def close_partition(self, partition: int) -> None:
        """Forget a partition that was revoked."""
        self.shown.drop_partition(partition)
        self.expiry.drop(partition)

    def load(self, key: bytes) -> bytes | None:
        """Read a visitor's stored state."""
        return self._store.get(key)

    def write(self, partition: int, write: StateWrite) -> Awaitable[Any]:
        """Apply a write; the result is done when it is safe."""
        if write.value is None:
            return self.drop(partition, write.key)
        self.expiry.schedule(partition, write.key, write.due_ms)
        return self._store.put(write.key, write.value)

    def drop(self, partition: int, key: bytes) -> Awaitable[Any]:
        """Forget a visitor; the result is done when the tombstone is safe."""
        self.shown.take(partition, key)
        self.expiry.schedule(partition, key, NEVER_MS)
        return self._store.drop(key)

    def close_due(
        self,
        pipeline: Pipeline,
        position: InputPosition,
        stream_time_ms: int,
        committed: Collection[InputPosition] = (),
        *,
        only_repeat: bool = False,
    ) -> tuple[list[OutputRecord], list[Awaitable[Any]]]:
        """End the sessions that are due by a tick at `position`; gives the session ends and the writes.

        committed: see `Sessionizer.tick`. only_repeat: emit again what this very tick has ended once, and end nothing
        new.
        """
        partition, until_ms = position.partition, -1 if only_repeat else stream_time_ms
        writes: list[StateWrite] = []
        records: list[OutputRecord] = []
        waiting: list[tuple[bytes, int]] = []
        for key in islice(self.expiry.take_due(partition, stream_time_ms), MAX_READS_A_TICK):
            stored = self._store.get(key)
            if stored is None:
                continue
            try:
                result = pipeline.tick(key, stored, position, until_ms, committed)
            except UnreadableVisitorError as error:
                self.unreadable.append(error)
                continue
            if result is None:  # ended by an earlier tick that may yet be replayed; it must not keep others from ending
                waiting.append((key, read_header(stored).due_ms))
                continue
            writes.append(result[0])
            records += result[1]
            if len(writes) == MAX_WRITES_A_TICK:
                break
        for key, due_ms in waiting:
            self.expiry.schedule(partition, key, due_ms)
        return records, [self.write(partition, write) for write in writes]
