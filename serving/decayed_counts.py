"""Counts that decay with event time, bounded in size, deterministic.

Forward decay (Cormode et al., ICDE 2009): an event at time t weighs 2^((t - landmark) / half_life), so nothing needs to
be decayed as time goes on; only when the weights grow large they are all scaled down and the landmark moves.
"""

import heapq
import math

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
        self._weights: dict[str, float] = {}
        self._ranked: list[RecommendedItem] = []
        self._unranked_events = 0

    def __len__(self) -> int:
        """Count the items that are kept."""
        return len(self._weights)

    def add(self, item_id: str, event_time_ms: int, count: int = 1) -> None:
        """Count events; old ones weigh as little as their time says, in whatever order they come."""
        if not self._weights:
            self._landmark_ms = event_time_ms
        exponent = (event_time_ms - self._landmark_ms) / self._half_life_ms
        if exponent > _MAX_EXPONENT:
            self._move_landmark(event_time_ms, exponent)
            exponent = 0.0
        one = _power_of_two(exponent)
        if one == 0.0:  # alone it would be the heaviest, of no weight
            return
        self._weights[item_id] = self._weights.get(item_id, 0.0) + count * one
        self._unranked_events += count
        if len(self._weights) > 2 * self._max_items:
            self._weights = {kept: weight for weight, kept in self._best(self._max_items)}

    def discard(self, item_id: str) -> None:
        """Forget an item, if it is there."""
        if self._weights.pop(item_id, None) is not None:
            self._unranked_events = _STALE_AFTER_EVENTS

    def weight(self, item_id: str) -> float:
        """Return the decayed count of an item; only to be compared with others of the same moment."""
        return self._weights.get(item_id, 0.0)

    def ranked(self) -> list[RecommendedItem]:
        """Return the 1,000 heaviest items with their share of the heaviest one's weight, ties by item.

        The order is renewed every 100 events, so that it costs nothing a click.
        """
        if self._unranked_events >= min(_STALE_AFTER_EVENTS, len(self._weights)):
            best = self._best(min(_RANKED_ITEMS, self._max_items))
            self._ranked = [RecommendedItem(ItemId(item_id), weight / best[0][0]) for weight, item_id in best]
            self._unranked_events = 0
        return self._ranked

    def _best(self, count: int) -> list[tuple[float, str]]:
        smallest = heapq.nsmallest(count, ((-weight, item_id) for item_id, weight in self._weights.items()))
        return [(-negated, item_id) for negated, item_id in smallest]

    def _move_landmark(self, event_time_ms: int, exponent: float) -> None:
        factor = _power_of_two(-exponent)
        scaled = ((item_id, weight * factor) for item_id, weight in self._weights.items())
        self._weights = {item_id: weight for item_id, weight in scaled if weight > 0.0}
        self._landmark_ms = event_time_ms
        self._unranked_events = _STALE_AFTER_EVENTS


def _power_of_two(exponent: float) -> float:
    """2^exponent, with 0 where that is too small to be told from it."""
    return math.pow(2.0, exponent) if exponent > -1000 else 0.0
