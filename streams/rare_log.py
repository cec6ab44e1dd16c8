"""Log lines for what may happen with every record: the first of a kind, then at each power of ten, with the count."""

from collections import Counter
from collections.abc import Mapping
from typing import Any


class RareLog:
    """Counts what it is told by event name and `reason` and `field`, and passes on what is new or ten times as much.

    A shop whose every second record is a page view would fill its logs otherwise; the metrics count each one.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._counts = Counter[tuple[str, object, object]]()

    def info(self, event: str, **fields: object) -> None:
        """Log an event, perhaps."""
        if count := self._due(event, fields):
            self._log.info(event, count=count, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log an event that somebody should look at, perhaps."""
        if count := self._due(event, fields):
            self._log.warning(event, count=count, **fields)

    def _due(self, event: str, fields: Mapping[str, object]) -> int:
        """Count the event; give the count where it is logged, else 0."""
        kind = (event, fields.get("reason"), fields.get("field"))
        self._counts[kind] += 1
        count = self._counts[kind]
        return count if count == 10 ** (len(str(count)) - 1) else 0
