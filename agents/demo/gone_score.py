"""Answers that held an item which had been gone for more than a second: there must be none."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.catalog_reader import CatalogRecord
from schemas.ids import ItemId
from streams.availability_history import AvailabilityHistory

CATALOG_WAIT_MS: Final = 2_000
"""How long an answer waits until it is looked at: by then the catalog's records from before it have been read."""


class _Answer(NamedTuple):
    made_ms: int
    location: str | None
    item_ids: Sequence[ItemId]


class GoneScore:
    """Holds answers against what the catalog had said by then; both are read back from their topics."""

    def __init__(self) -> None:
        self._history = AvailabilityHistory()
        self._waiting: deque[_Answer] = deque()
        self._is_described = False
        self.emitted = 0

    def described(self, record: CatalogRecord, time_ms: int) -> None:
        """Take in a record of the catalog; time_ms: its timestamp, Unix."""
        self._history.take(record, time_ms)
        self._is_described = True

    def answered(self, item_ids: Sequence[ItemId], location: str | None, made_ms: int) -> None:
        """Take in an answer to somebody at `location`; made_ms: its record's timestamp, Unix."""
        if self._is_described and item_ids:
            self._waiting.append(_Answer(made_ms, location, item_ids))

    def settle(self, now_ms: float) -> None:
        """Look at the answers that have waited; infinite = at all."""
        while self._waiting and self._waiting[0].made_ms + CATALOG_WAIT_MS <= now_ms:
            answer = self._waiting.popleft()
            self.emitted += bool(self._history.gone(answer.item_ids, answer.location, answer.made_ms))
