"""What the observer says is trending, as it lies on its topic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.ids import ItemId
from schemas.records import TRENDING_KEY, Trending

SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class TrendingReport:
    """locations: places that have a list. items: in the list of everywhere.

    age_seconds: of that list, by the timestamps of the records; None = there is none.
    first: the first items everywhere (`__all__`) and at the place with the most views.
    """

    locations: int
    items: int
    age_seconds: float | None
    first: Mapping[str, tuple[ItemId, ...]]


class TrendingScore:
    """Keeps the latest list of each place."""

    def __init__(self) -> None:
        self._lists: dict[str, Trending] = {}
        self._everywhere_ms: int | None = None
        self._now_ms = 0

    def trended(self, key: str, record: Trending | None, time_ms: int) -> None:
        """Take in a record of `trending`, None = a tombstone; time_ms: its timestamp, Unix."""
        if record is None:
            self._lists.pop(key, None)
            return
        self._lists[key] = record
        if key == TRENDING_KEY:
            self._everywhere_ms = time_ms
        self.passed(time_ms)

    def passed(self, now_ms: int) -> None:
        """Take in that it is `now_ms`, Unix."""
        self._now_ms = max(self._now_ms, now_ms)

    def report(self) -> TrendingReport:
        """Sum up."""
        places = [key for key in self._lists if key != TRENDING_KEY]
        busiest = max(places, key=lambda key: (self._lists[key].support_short, len(key)), default=None)
        shown = [key for key in (TRENDING_KEY, busiest) if key in self._lists]
        everywhere = self._lists.get(TRENDING_KEY)
        since_ms = self._everywhere_ms
        return TrendingReport(
            locations=len(places),
            items=0 if everywhere is None else len(everywhere.items),
            age_seconds=None if since_ms is None else (self._now_ms - since_ms) / 1000,
            first={key: tuple(item.item_id for item in self._lists[key].items[:SHOWN]) for key in shown if key},
        )
