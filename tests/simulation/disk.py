"""Stands in for RocksDB: local tables in memory that outlive the process which wrote them."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class WriteBatch:
    """Writes that are applied together."""

    def __init__(self, *, raw_mode: bool) -> None:
        assert raw_mode
        self.writes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Add a write."""
        self.writes.append((key, value))

    def delete(self, key: bytes) -> None:
        """Add a removal."""
        self.writes.append((key, None))


class Cursor:
    """Goes through the entries of a table as they are when it begins, in the order of the keys."""

    def __init__(self, entries: Mapping[bytes, bytes]) -> None:
        self._entries = sorted(entries.items())
        self._at = 0

    def seek(self, key: bytes) -> None:
        """Begin at a key, or behind where it would be."""
        self._at = bisect_left(self._entries, (key, b""))

    def valid(self) -> bool:
        """Return whether there is an entry here."""
        return self._at < len(self._entries)

    def key(self) -> bytes:
        """Return the key of this entry."""
        return self._entries[self._at][0]

    def value(self) -> bytes:
        """Return its value."""
        return self._entries[self._at][1]

    def next(self) -> None:
        """Go on."""
        self._at += 1

    def status(self) -> None:
        """Raise nothing: nothing is damaged."""


class Database:
    """One local table: its entries, and the log of writes that a crash of the machine may cut short."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._log: list[tuple[tuple[bytes, bytes | None], ...]] = []

    def get(self, key: bytes) -> bytes | None:
        """Read."""
        return self._entries.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write."""
        self._apply(((key, value),))

    def delete(self, key: bytes) -> None:
        """Remove."""
        self._apply(((key, None),))

    def write(self, batch: WriteBatch) -> None:
        """Write a batch."""
        self._apply(tuple(batch.writes))

    def key_may_exist(self, key: bytes) -> bool:
        """Return the answer, for sure even."""
        return key in self._entries

    def iter(self) -> "Cursor":
        """Read everything step by step."""
        return Cursor(self._entries)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Read everything, in the order of the keys."""
        return iter(sorted(self._entries.items()))

    def lose_latest(self, writes: int) -> None:
        """Go back to how it was before the latest writes, as when a machine loses power."""
        kept = self._log[: max(0, len(self._log) - writes)]
        self._entries, self._log = {}, []
        for changes in kept:
            self._apply(changes)

    def _apply(self, changes: tuple[tuple[bytes, bytes | None], ...]) -> None:
        self._log.append(changes)
        for key, value in changes:
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value


@dataclass(slots=True)
class Disk:
    """The data folder of a worker: databases by path."""

    databases: dict[str, Database] = field(default_factory=dict)

    def open(self, path: object) -> Database:
        """Open a database, or make it."""
        return self.databases.setdefault(str(path), Database())

    def wipe(self) -> None:
        """Lose everything."""
        self.databases.clear()

    def lose_latest(self, writes: int) -> None:
        """Lose the latest writes of each database."""
        for database in self.databases.values():
            database.lose_latest(writes)
