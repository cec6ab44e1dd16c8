"""What happened in a run, in order: kept only where somebody reads it, and always as a checksum."""

from binascii import crc32
from typing import Any

from tests.simulation.clock import CLOCK


class Trace:
    """Lines of what happened; is_kept = False only counts and sums them."""

    def __init__(self, *, is_kept: bool = False) -> None:
        self.lines: list[str] = []
        self.checksum = 0
        self._is_kept = is_kept

    def add(self, event: str, *what: Any) -> None:
        """Note an event with what belongs to it."""
        line = f"{CLOCK.now:10.4f} {event} {' '.join(map(_text, what))}"
        self.checksum = crc32(line.encode(), self.checksum)
        if self._is_kept:
            self.lines.append(line)


def _text(value: Any) -> str:
    if isinstance(value, tuple) and hasattr(value, "topic"):
        return f"{value.topic}-{value.partition}"
    if isinstance(value, bytes):
        return f"{crc32(value):08x}"
    return str(value)
