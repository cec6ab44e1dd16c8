"""What is trending at a place, as it is answered: the lists of the observer, the nearest place first.

Lists for everybody hold nothing that only a few strangers brought up: an item is one that the catalog or the release
knows; where there is neither, one of enough visitors.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from schemas.events import unix_ms
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import TRENDING_KEY, RecommendedItem, Trending, TrendingItem
from serving.support import MIN_SHARE, MIN_VISITORS
from serving.vouchers import NobodyVouches, Vouchers

MAX_RISING_SHARE: Final = 0.6
"""Of a ranking: whatever rises, the shopper's own session has the rest."""
MAX_KEPT_LISTS: Final = 1_000
"""Of places, of which what rises is at hand."""


class TrendingView(Protocol):
    """The observer's latest lists, as far as they are of now; see `TrendingBoard`, `RecordedTrending`, `NoTrending`."""

    def lists(self, location: str | None) -> Iterator[Trending]:
        """Return the list of a place, then those of the places that it lies in, then that of everywhere."""

    @property
    def is_stale(self) -> bool:
        """Return whether there are lists, and they are too old to be believed."""


class NoTrending:
    """Where no observer runs, and in a replay without its lists."""

    is_stale = False

    def lists(self, location: str | None) -> Iterator[Trending]:  # noqa: ARG002 - see `TrendingView`
        """See `TrendingView`."""
        return iter(())


class TrendingBoard:
    """Keeps the latest list of each place; one thread may write while others read. Bounded.

    It is stale as soon as the list of everywhere is older than `stale_after_seconds`: the observer writes that one once
    a minute at least, others when they have changed.
    """

    def __init__(
        self,
        places: LocationSettings,
        *,
        stale_after_seconds: float,
        max_places: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._places = places
        self._stale_after_seconds = stale_after_seconds
        self._max_places = max_places
        self._clock = clock
        self._lists: dict[str, Trending] = {}
        self._written_seconds = 0.0

    def __len__(self) -> int:
        """Count the lists."""
        return len(self._lists)

    def put(self, key: str, record: Trending | None, written_ms: int) -> None:
        """Take in the latest record of a key, None = a tombstone; written_ms: its timestamp, Unix milliseconds."""
        if record is None:
            self._lists.pop(key, None)
            return
        if key == TRENDING_KEY:
            self._written_seconds = written_ms / 1000
        elif key not in self._lists and len(self._lists) >= self._max_places:
            return
        self._lists[key] = record

    def lists(self, location: str | None) -> Iterator[Trending]:
        """See `TrendingView`."""
        if self.age_seconds > self._stale_after_seconds:
            return
        for key in (*(self._places.chain(location) if location else ()), TRENDING_KEY):
            found = self._lists.get(key)
            if found is not None:
                yield found

    @property
    def age_seconds(self) -> float:
        """Return how long ago the observer last wrote; infinite where it never did."""
        return self._clock() - self._written_seconds if self._written_seconds else float("inf")

    @property
    def is_stale(self) -> bool:
        """See `TrendingView`."""
        return bool(self._lists) and self.age_seconds > self._stale_after_seconds


class RecordedTrending:
    """Lists that were recorded, for a replay: at each event those that were there by then, by event time alone."""

    def __init__(self, records: Iterable[Trending], places: LocationSettings, *, stale_after_seconds: float) -> None:
        self._waiting = deque(sorted(records, key=lambda record: (record.event_time, record.location or "")))
        self._now_seconds = 0.0
        self._board = TrendingBoard(
            places,
            stale_after_seconds=stale_after_seconds,
            max_places=len(self._waiting) + 1,
            clock=lambda: self._now_seconds,
        )

    def advance(self, now_ms: int) -> None:
        """Go on to an event time, Unix milliseconds; a time that lies before the last one is passed over."""
        self._now_seconds = max(self._now_seconds, now_ms / 1000)
        while self._waiting and self._waiting[0].event_time.timestamp() <= self._now_seconds:
            record = self._waiting.popleft()
            self._board.put(record.location or TRENDING_KEY, record, unix_ms(record.event_time))

    def lists(self, location: str | None) -> Iterator[Trending]:
        """See `TrendingView`."""
        return self._board.lists(location)

    @property
    def is_stale(self) -> bool:
        """See `TrendingView`."""
        return self._board.is_stale


def with_rising(
    ranked: Iterable[RecommendedItem], total: float, rising: Mapping[ItemId, float], own: Mapping[ItemId, float]
) -> Iterator[RecommendedItem]:
    """Let what rises have its share of a ranking, in probability and in places.

    So many of the place's views are beyond the usual, and what is usual is what the ranking knows: the order is that of
    `(1 - q) p + r`, p of the ranking and r of the rise, q = sum of r. But of any number of first places what rises has
    no more than q, rounded (Sainte-Laguë; Dang and Croft, SIGIR 2012): a dozen items on sale, each likelier than what
    the session would have next, leave the others their part of the list.

    ranked: best first, read only as far as it is asked for. total: what the scores of its candidates add up to. own:
    the scores in it of what rises, as far as it has that. Scores never grow along the list.
    """
    risen = sum(rising.values())
    share = min(MAX_RISING_SHARE, risen)
    scale, others = share / risen, (1.0 - share) / (total or 1.0)
    mixed = ((others * own.get(item_id, 0.0), scale * more, item_id) for item_id, more in rising.items())
    scored = [(usual + more, item_id) for usual, more, item_id in mixed if more > usual]
    scored.sort(key=itemgetter(0), reverse=True)
    return _merged(ranked, others, deque(scored), share)


def _merged(
    ranked: Iterable[RecommendedItem], others: float, risers: deque[tuple[float, ItemId]], share: float
) -> Iterator[RecommendedItem]:
    """Return both, each item once; others: what a score of the ranking is multiplied by."""
    listed, n_risen, least = set[ItemId](), 0, float("inf")
    best = risers[0][0] if risers else -1.0
    for item in ranked:
        own = others * item.score
        while best > own and n_risen + 0.5 <= share * (len(listed) + 1):
            score, item_id = risers.popleft()
            best = risers[0][0] if risers else -1.0
            if item_id not in listed:
                listed.add(item_id)
                least, n_risen = min(least, score), n_risen + 1
                yield RecommendedItem(item_id, least, source="rising")
        item_id = item.item_id
        if item_id not in listed:
            listed.add(item_id)
            least = min(least, own)
            yield RecommendedItem(item_id, least, item.rule, item.source)
    for score, item_id in risers:
        if item_id not in listed:
            least = min(least, score)
            yield RecommendedItem(item_id, least, source="rising")


def everywhere(view: TrendingView) -> Trending | None:
    """Return what is viewed everywhere, as far as it is of now."""
    return next(view.lists(None), None)


class TrendingRanking(NamedTuple):
    """A place's items, best first, and the latest event time that they count."""

    items: Iterator[RecommendedItem]
    event_time_ms: int


class Trends:
    """What may be answered of the lists: items that the shop vouches for. Without a view nothing."""

    def __init__(self, view: TrendingView | None = None, vouchers: Vouchers | None = None) -> None:
        self._view = NoTrending() if view is None else view
        self._vouchers = NobodyVouches() if vouchers is None else vouchers
        self._risen: dict[str | None, tuple[Trending, Sequence[TrendingItem]]] = {}

    @property
    def is_stale(self) -> bool:
        """See `TrendingView`."""
        return self._view.is_stale

    def rankings(self, location: str | None) -> Iterator[TrendingRanking]:
        """Return the list of a place, then those of the places around it; none is looked at before it is asked for."""
        for found in self._view.lists(location):
            items = (
                RecommendedItem(item.item_id, item.share, source="rising" if item.rising else "trending")
                for item in found.items
                if self._is_listed(item)
            )
            yield TrendingRanking(items, unix_ms(found.event_time))

    def rising(self, location: str | None) -> dict[ItemId, float]:
        """Return what rises at a place: by item the share of the place's views that is beyond the usual; mostly {}.

        Of a place without a list, at the nearest one around it that has one.
        """
        found = next(self._view.lists(location), None)
        if found is None or not found.rising_share:
            return {}
        return {item.item_id: item.rising for item in self._risers(found) if self._is_listed(item)}

    def _risers(self, found: Trending) -> Sequence[TrendingItem]:
        """Return what rises of a list, which is looked through once."""
        known = self._risen.get(found.location)
        if known is None or known[0] is not found:
            if len(self._risen) >= MAX_KEPT_LISTS:
                self._risen.clear()
            known = self._risen[found.location] = found, [item for item in found.items if item.rising]
        return known[1]

    def _is_listed(self, item: TrendingItem) -> bool:
        vouched = self._vouchers.item(item.item_id)
        if vouched is None:
            return item.visitors >= MIN_VISITORS and item.share >= MIN_SHARE
        return vouched
