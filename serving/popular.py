"""What is popular in the stream: counts that decay with event time, bounded in size, deterministic.

Forward decay (Cormode et al., ICDE 2009): an event at time t weighs 2^((t - landmark) / half_life), so nothing needs to
be decayed as time goes on; only when the weights grow large they are all scaled down and the landmark moves.
"""

import heapq
import math
from collections import OrderedDict

from schemas.ids import ItemId
from schemas.records import RecommendedItem

_MAX_EXPONENT = 500.0
_RANKED_ITEMS = 1000
_STALE_AFTER_EVENTS = 100


class DecayedCounts:
    """Decayed counts of at most `max_items` items; the least popular ones go when there are twice as many."""

    def __init__(self, half_life_ms: float, max_items: int) -> None:
        self._half_life_ms = half_life_ms
        self._max_items = max_items
        self._landmark_ms = 0
        self._weights: dict[ItemId, float] = {}
        self._ranked: list[RecommendedItem] = []
        self._unranked_events = 0

    def __len__(self) -> int:
        """Count the items that are kept."""
        return len(self._weights)

    def add(self, item_id: ItemId, event_time_ms: int) -> None:
        """Count one event; an old one weighs as little as its time says, in whatever order they come."""
        if not self._weights:
            self._landmark_ms = event_time_ms
        exponent = (event_time_ms - self._landmark_ms) / self._half_life_ms
        if exponent > _MAX_EXPONENT:
            self._move_landmark(event_time_ms, exponent)
            exponent = 0.0
        self._weights[item_id] = self._weights.get(item_id, 0.0) + _power_of_two(exponent)
        self._unranked_events += 1
        if len(self._weights) > 2 * self._max_items:
            self._weights = {kept: weight for weight, kept in self._best(self._max_items)}

    def top(self, count: int) -> list[RecommendedItem]:
        """Give the `count` (at most 1,000) heaviest items with their share of the heaviest one's weight, ties by item.

        The order is renewed every 100 events, so that it costs nothing a click.
        """
        if self._unranked_events >= min(_STALE_AFTER_EVENTS, len(self._weights)):
            best = self._best(min(_RANKED_ITEMS, self._max_items))
            self._ranked = [RecommendedItem(item_id, weight / best[0][0]) for weight, item_id in best]
            self._unranked_events = 0
        return self._ranked[:count]

    def _best(self, count: int) -> list[tuple[float, ItemId]]:
        smallest = heapq.nsmallest(count, ((-weight, item_id) for item_id, weight in self._weights.items()))
        return [(-negated, item_id) for negated, item_id in smallest]

    def _move_landmark(self, event_time_ms: int, exponent: float) -> None:
        factor = _power_of_two(-exponent)
        scaled = ((item_id, weight * factor) for item_id, weight in self._weights.items())
        self._weights = {item_id: weight for item_id, weight in scaled if weight > 0.0}
        self._landmark_ms = event_time_ms
        self._unranked_events = _STALE_AFTER_EVENTS


class StreamPopularity:
    """Popular items over all and by location; the location that was quiet longest goes when there are too many."""

    def __init__(self, *, half_life_seconds: float, max_items: int, max_locations: int) -> None:
        self._half_life_ms = half_life_seconds * 1000
        self._max_items = max_items
        self._max_locations = max_locations
        self._overall = DecayedCounts(self._half_life_ms, max_items)
        self._by_location: OrderedDict[str, DecayedCounts] = OrderedDict()
        self._latest_ms = 0

    def add(self, item_id: ItemId, location: str | None, event_time_ms: int) -> None:
        """Count one item event."""
        if not self._max_items:
            return
        self._latest_ms = max(self._latest_ms, event_time_ms)
        self._overall.add(item_id, event_time_ms)
        if location is None or not self._max_locations:
            return
        if location not in self._by_location:
            self._by_location[location] = DecayedCounts(self._half_life_ms, self._max_items)
        self._by_location[location].add(item_id, event_time_ms)
        self._by_location.move_to_end(location)
        if len(self._by_location) > self._max_locations:
            self._by_location.popitem(last=False)

    def locations(self) -> tuple[str, ...]:
        """Name the locations that are kept, the one that was quiet longest first."""
        return tuple(self._by_location)

    def top(self, location: str | None, count: int) -> list[RecommendedItem]:
        """Give the `count` most popular items at `location`, best first; None = over all."""
        counts = self._overall if location is None else self._by_location.get(location)
        return [] if counts is None else counts.top(count)

    def age_ms(self, event_time_ms: int) -> int:
        """Tell how long before `event_time_ms` the latest counted event was."""
        return max(0, event_time_ms - self._latest_ms)


def _power_of_two(exponent: float) -> float:
    """2^exponent, with 0 where that is too small to be told from it."""
    return math.pow(2.0, exponent) if exponent > -1000 else 0.0
