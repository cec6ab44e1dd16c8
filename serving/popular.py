"""What is popular in the stream, in lists that everybody may see: no stranger alone decides what is in them.

A visitor counts once an item and half-life, whatever the clicks. What nobody vouches for must be used by different
visitors over a time before it is counted, and never takes the place of what is.
"""

from collections.abc import Collection, Iterator
from itertools import islice

from msgspec import Struct

from schemas.ids import ItemId, VisitorId
from schemas.records import RecommendedItem
from serving.decayed_counts import DecayedCounts
from serving.support import Support, period_ms
from serving.visitor_once import VisitorOnce
from serving.vouchers import NobodyVouches, Vouchers


class Sighting(Struct, frozen=True, kw_only=True, gc=False):
    """An accepted event with an item; times are Unix milliseconds.

    arrived_ms: its record's timestamp, which no shopper chooses.
    """

    visitor_id: VisitorId
    item_id: ItemId
    location: str | None
    event_time_ms: int
    arrived_ms: int


class StreamPopularity:
    """Popular items over all and by location; bounded. Of too many locations the least visited has no list."""

    def __init__(
        self, *, half_life_seconds: float, max_items: int, max_locations: int, vouchers: Vouchers | None = None
    ) -> None:
        self._half_life_ms = half_life_seconds * 1000
        self._period_ms = period_ms(self._half_life_ms)
        self._max_items = max_items
        self._max_locations = max_locations
        self._vouchers = vouchers or NobodyVouches()
        self._once = VisitorOnce()
        self._items = Support(self._half_life_ms, max_items)
        self._locations = Support(self._half_life_ms, max_locations)
        self._overall = DecayedCounts(self._half_life_ms, max_items)
        self._by_location: dict[str, DecayedCounts] = {}
        self._latest_ms = 0

    @property
    def is_settled(self) -> bool:
        """Return whether enough visitors came since the start that a location without counts has none to come."""
        return not (self._max_items and self._max_locations) or self._items.is_settled

    def found(self, items: Collection[str], locations: Collection[str]) -> None:
        """Believe what was listed before, and from now on no visitor for being one of the first."""
        for item in self._items.found(items):
            for counts in (self._overall, *self._by_location.values()):
                counts.discard(item)
        for location in self._locations.found(locations):
            self._by_location.pop(location, None)

    def add(self, seen: Sighting) -> None:
        """Count one item event."""
        if not self._max_items:
            return
        self._latest_ms = max(self._latest_ms, seen.event_time_ms)
        period = str(int(seen.arrived_ms // self._period_ms))
        if self._once.is_first(period, "visitor", seen.visitor_id):
            self._items.visited(seen.arrived_ms)
            self._locations.visited(seen.arrived_ms)
        vouched = self._vouchers.item(seen.item_id)
        if vouched is not False and self._once.is_first(period, "item", seen.visitor_id, seen.item_id):
            visitors = self._items.add(seen.item_id, seen.arrived_ms, is_vouched=bool(vouched))
            if visitors:
                self._overall.add(seen.item_id, seen.event_time_ms, visitors)
        if vouched is not False and self._items.admits(seen.item_id) and seen.location and self._max_locations:
            self._add_at(seen.location, seen, period)

    def locations(self) -> tuple[str, ...]:
        """Return the locations that have counts of their own."""
        return tuple(self._by_location)

    def top(self, location: str | None, count: int) -> Iterator[RecommendedItem]:
        """Return the `count` most popular items at `location`, best first; None = over all. No more are looked at."""
        counts = self._overall if location is None else self._by_location.get(location)
        if counts is None:
            return iter(())
        # What was counted before there was a catalog or a release may be nothing that they know.
        ranked, vouched = counts.ranked(), self._vouchers.item
        if not self._vouchers.knows_items:
            return islice(ranked, count)
        return islice((item for item in ranked if vouched(item.item_id) is not False), count)

    def age_ms(self, event_time_ms: int) -> int:
        """Return how long before `event_time_ms` the latest counted event was."""
        return max(0, event_time_ms - self._latest_ms)

    def _add_at(self, location: str, seen: Sighting, period: str) -> None:
        vouched = self._vouchers.location(location)
        if vouched is False:
            return
        if self._once.is_first(period, "location", seen.visitor_id, location):
            self._locations.add(location, seen.arrived_ms, is_vouched=bool(vouched))
        if not self._locations.admits(location) or not self._has_place(location):
            return
        if self._once.is_first(period, "item at", seen.visitor_id, seen.item_id, location):
            self._by_location[location].add(seen.item_id, seen.event_time_ms)

    def _has_place(self, location: str) -> bool:
        """Make a place for a location, if need be by that of the least visited one."""
        if location in self._by_location:
            return True
        if len(self._by_location) >= self._max_locations:
            least = min(self._by_location, key=self._rank)
            if self._rank(least) >= self._rank(location):
                return False
            del self._by_location[least]
        self._by_location[location] = DecayedCounts(self._half_life_ms, self._max_items)
        return True

    def _rank(self, location: str) -> tuple[bool, float]:
        return self._vouchers.location(location) is True, self._locations.weight(location)
