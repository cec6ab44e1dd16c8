"""Which items of a list were gone when it was made: lists held against what the catalog had said by then."""

from collections.abc import Collection
from typing import Final

from schemas.availability import is_at, moment_ms
from schemas.catalog_reader import CatalogRecord, DescribedItem
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem

ALLOWED_MS: Final = 1_000
"""How long after it has gone an item may still be in a list: what a record needs to reach every worker."""
MAX_KEPT: Final = 256
"""Records of one item, the latest. Of the time before them nobody is accused."""

_ALWAYS: Final = CatalogItem(item_id=ItemId(""))
"""Stands for every record that says no more than that its item is there."""
_Said = tuple[int, CatalogItem | None]


class AvailabilityHistory:
    """What was said of each item when; of an item without a record, and before its first, nothing bad is assumed.

    So nothing is kept of an item that has always been there. kept_ms: how far back from an item's latest record lists
    are looked at.
    """

    def __init__(self, places: LocationSettings | None = None, *, kept_ms: int = 600_000) -> None:
        self._places = places or LocationSettings()
        self._kept_ms = kept_ms
        self._said: dict[ItemId, list[_Said]] = {}

    def take(self, record: CatalogRecord, time_ms: int) -> None:
        """Take in a record, in the topic's order; time_ms: its timestamp, Unix. What cannot be read closes its item."""
        item_id = record.item.item_id if isinstance(record, DescribedItem) else record.item_id
        if item_id is None:
            return
        said = self._said.get(item_id, [])
        at_ms = max(time_ms, said[-1][0]) if said else time_ms  # a producer's clock may run back
        said.append((at_ms, _condensed(record.item, at_ms) if isinstance(record, DescribedItem) else None))
        first = max(0, len(said) - MAX_KEPT)
        while first + 1 < len(said) and said[first + 1][0] <= at_ms - self._kept_ms:
            first += 1
        while first < len(said) and said[first][1] is _ALWAYS:
            first += 1
        del said[:first]
        if said:
            self._said[item_id] = said
        else:
            self._said.pop(item_id, None)

    def forget(self, item_id: ItemId | None) -> None:
        """Assume nothing of an item until its next record."""
        if item_id is not None:
            self._said.pop(item_id, None)

    def gone(
        self, item_ids: Collection[ItemId], location: str | None, made_ms: int, allowed_ms: int = ALLOWED_MS
    ) -> list[ItemId]:
        """Return those items of a list that had been gone from `location` for more than `allowed_ms` when it was made.

        made_ms: Unix. An item that was there in between, if only for a millisecond, had not been gone for so long.
        """
        if self._said.keys().isdisjoint(item_ids):
            return []
        from_ms = made_ms - allowed_ms - 1
        known = (one for one in item_ids if one in self._said)
        return [one for one in known if not self._was_there(one, location, from_ms, made_ms)]

    def _was_there(self, item_id: ItemId, location: str | None, from_ms: int, to_ms: int) -> bool:
        said = self._said[item_id]
        if from_ms < said[0][0]:
            return True
        if said[-1][1] is _ALWAYS and said[-1][0] <= to_ms:
            return True
        end_ms = to_ms
        for since_ms, item in reversed(said):
            if since_ms > to_ms:
                continue
            last_ms = max(since_ms, end_ms)  # of two records in a millisecond each holds in it
            if last_ms < from_ms:
                break
            if item is not None and self._is_there(item, location, max(since_ms, from_ms), last_ms):
                return True
            end_ms = since_ms - 1
        return False

    def _is_there(self, item: CatalogItem, location: str | None, from_ms: int, to_ms: int) -> bool:
        """Return whether an item could be recommended at a moment of [from_ms, to_ms] under one record."""
        if not is_at(item.locations, location, self._places):
            return False
        first_ms = from_ms if item.available_from is None else max(from_ms, moment_ms(item.available_from))
        last_ms = to_ms if item.available_until is None else min(to_ms, moment_ms(item.available_until) - 1)
        return first_ms <= last_ms


def _condensed(item: CatalogItem, since_ms: int) -> CatalogItem | None:
    """Return what a record says that counts from `since_ms` on: `_ALWAYS`, None = never, or the item."""
    if not item.available:
        return None
    has_begun = item.available_from is None or moment_ms(item.available_from) <= since_ms
    return _ALWAYS if has_begun and item.available_until is None and item.locations is None else item
