"""The account of inputs and records, from the topics alone: nothing may be lost, nothing counted twice."""

from collections import defaultdict

_MAX_COUNT = 255


class Ledger:
    """Counts the records of every input offset; one byte an input.

    It holds for a clickstream that is read from offset 0 and has one producer: every offset is an input.
    """

    def __init__(self) -> None:
        self._counts: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._ignored: set[tuple[int, int]] = set()
        self.inputs = 0
        self.with_record = 0
        self.duplicate_ids = 0
        self.ignored_with_record = 0

    @property
    def without_record(self) -> int:
        """Count the inputs that no record has come for: in flight while events are fed, lost at the end."""
        return self.inputs - self.ignored - self.with_record

    @property
    def ignored(self) -> int:
        """Count the inputs that are to have no record."""
        return len(self._ignored)

    def sent(self, partition: int, offset: int, *, is_ignored: bool = False) -> None:
        """Book an input that the broker has acknowledged."""
        if is_ignored:
            self._ignored.add((partition, offset))
        counts = self._counts[partition]
        counts.extend(bytes(offset + 1 - len(counts)))
        self.inputs += 1

    def knows(self, partition: int, offset: int) -> bool:
        """Return whether the input was booked."""
        return offset < len(self._counts[partition])

    def recorded(self, partition: int, offset: int) -> bool:
        """Book a record of a known input; False where it is not the first one, or there should be none."""
        if (partition, offset) in self._ignored:
            self.ignored_with_record += 1
            return False
        counts = self._counts[partition]
        before = counts[offset]
        counts[offset] = min(before + 1, _MAX_COUNT)
        self.with_record += before == 0
        self.duplicate_ids += before == 1
        return before == 0
