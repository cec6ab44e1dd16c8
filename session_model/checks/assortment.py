"""What may be recommended, and what a worker's filters leave of a list: the shop's word, apart from the model's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.availability import is_at, is_in_time
from schemas.ids import ItemId, ItemIndex
from schemas.places import LocationSettings
from schemas.records import CatalogItem, SessionEvent
from session_model.release.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Assortment:
    """What the catalog says, at the moment `now_ms` (Unix; None = items have neither beginning nor end).

    items: records by id; empty without a catalog. blocked, is_record_needed, places: as of `Evidence`.
    """

    items: Mapping[ItemId, CatalogItem] = field(default_factory=dict)
    blocked: frozenset[ItemId] = frozenset()
    is_record_needed: bool = False
    places: LocationSettings = field(default_factory=LocationSettings)
    now_ms: int | None = None

    def allows(self, item_id: ItemId, location: str | None = None, at_ms: int | None = None) -> bool:
        """Return whether an item may be recommended to someone at `location`; None = somewhere at least.

        at_ms: at another moment than `now_ms`, Unix.
        """
        if item_id in self.blocked:
            return False
        record = self.items.get(item_id)
        if record is None:
            return not self.is_record_needed
        moment_ms = self.now_ms if at_ms is None else at_ms
        if moment_ms is not None and not is_in_time(record.available_from, record.available_until, moment_ms):
            return False
        return record.available and is_at(record.locations, location, self.places)

    def group_of(self, item_id: ItemId) -> str | None:
        """Return the group of which the item is a variant."""
        record = self.items.get(item_id)
        return None if record is None else record.variant_group


class Shelf:
    """An assortment by the `ItemIndex` of a release.

    forbidden: (n_items + 1,) bool, what may not be recommended anywhere.
    """

    def __init__(self, release: Release, assortment: Assortment) -> None:
        self._release = release
        self._places = assortment.places
        numbers = dict[str, int]()
        names = [release.item_id(ItemIndex(index)) for index in range(1, len(release.popularity().counts))]
        groups = (assortment.group_of(name) for name in names)
        of_items = [0 if group is None else numbers.setdefault(group, len(numbers) + 1) for group in groups]
        self._groups = np.array([0, *of_items], np.int32)
        self.forbidden = np.array([False, *(not assortment.allows(name) for name in names)])
        records = (assortment.items.get(name) for name in names)
        self._sold_at = {
            index: frozenset(record.locations)
            for index, record in enumerate(records, 1)
            if record is not None and record.locations is not None
        }

    def left(
        self, ranking: NDArray[np.int32], events: Sequence[SessionEvent], location: str | None
    ) -> NDArray[np.int32]:
        """Return what a worker would send of a ranking, by the filters of its default settings.

        Left out is what may not be sold at `location`, what was bought in the session, and variants of that and of a
        better-ranked item.
        """
        items = ranking[~self.forbidden[ranking]]
        if location is not None and self._sold_at:
            items = items[[is_at(self._sold_at.get(index), location, self._places) for index in items.tolist()]]
        bought = [
            index
            for event in events
            if event.event_type == "purchase" and event.item_id is not None
            if (index := self._release.index_of(event.item_id)) is not None
        ]
        if bought:
            items = items[~np.isin(items, bought)]
        groups = self._groups[items]
        is_first = np.zeros(len(items), np.bool_)
        is_first[np.unique(groups, return_index=True)[1]] = True
        is_other: NDArray[np.bool_] = is_first & ~np.isin(groups, self._groups[bought])
        left: NDArray[np.int32] = items[(groups == 0) | is_other]
        return left
