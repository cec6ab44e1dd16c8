"""One partition as a broker keeps it: records, transactions with their markers, holes, and a beginning that moves."""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

_OFFSET = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class Entry:
    """One offset that is in use. transaction: the number of the one it belongs to; is_marker: nobody reads it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    time_ms: int
    transaction: int | None = None
    is_marker: bool = False


@dataclass(slots=True)
class PartitionLog:
    """A log. start: the first offset that is kept. fetched_to: behind the last offset that anybody was given."""

    start: int = 0
    end: int = 0
    fetched_to: int = 0
    _entries: list[Entry] = field(default_factory=list)
    _open: dict[int, int] = field(default_factory=dict)
    _aborted: set[int] = field(default_factory=set)

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes]],
        time_ms: int,
        transaction: int | None = None,
    ) -> int:
        """Write a record; gives its offset."""
        if transaction is not None:
            self._open.setdefault(transaction, self.end)
        self._entries.append(Entry(self.end, key, value, tuple(headers), time_ms, transaction))
        self.end += 1
        return self.end - 1

    def end_transaction(self, transaction: int, *, is_commit: bool, time_ms: int) -> None:
        """Write the marker of a transaction."""
        self._open.pop(transaction, None)
        if not is_commit:
            self._aborted.add(transaction)
        self._entries.append(Entry(self.end, None, None, (), time_ms, transaction, is_marker=True))
        self.end += 1

    def leave_hole(self, width: int) -> None:
        """Use offsets up, as compaction leaves them."""
        self.end += width

    def delete_before(self, offset: int) -> None:
        """Let retention take what lies before an offset."""
        self.start = max(self.start, min(offset, self.stable_end))

    @property
    def stable_end(self) -> int:
        """Return the end of what is decided: an open transaction begins there."""
        return min(self._open.values(), default=self.end)

    def read(self, position: int, at_most: int, *, is_committed: bool) -> tuple[list[Entry], int]:
        """Return records from a position on, and the position behind what was looked at; is_committed: only such."""
        end = self.stable_end if is_committed else self.end
        entries = [entry for entry in self._from(position)[:at_most] if entry.offset < end]
        after = entries[-1].offset + 1 if entries else position
        self.fetched_to = max(self.fetched_to, after)
        if is_committed:
            return [entry for entry in entries if self._is_readable(entry)], after
        return [entry for entry in entries if not entry.is_marker], after

    def has_more(self, position: int, *, is_committed: bool) -> bool:
        """Return whether a fetch from there would get on."""
        end = self.stable_end if is_committed else self.end
        return any(entry.offset < end for entry in self._from(position)[:1])

    def records(self) -> list[Entry]:
        """Return everything that was ever committed, but what retention took before anybody was given it."""
        return [entry for entry in self._entries if self._is_readable(entry) and entry.offset < self.stable_end]

    def at(self, offset: int) -> Entry:
        """Return the entry of an offset."""
        return self._entries[bisect.bisect_left(self._entries, offset, key=_OFFSET)]

    def forget_unread(self) -> None:
        """Leave out of `records` what retention takes now and nobody was ever given."""
        self._entries = [one for one in self._entries if not self.fetched_to <= one.offset < self.start]

    def first_since(self, time_ms: int) -> Entry | None:
        """Return the first record that is not older."""
        return next(
            (entry for entry in self.records() if entry.offset >= self.start and entry.time_ms >= time_ms), None
        )

    def _from(self, position: int) -> Sequence[Entry]:
        return self._entries[bisect.bisect_left(self._entries, max(position, self.start), key=_OFFSET) :]

    def _is_readable(self, entry: Entry) -> bool:
        return not entry.is_marker and entry.transaction not in self._aborted
