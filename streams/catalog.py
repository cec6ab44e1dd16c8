"""What the shop last said of its items on the compacted catalog topic: availability, title, category, price, places."""

import math
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import structlog
from msgspec import structs

from schemas.availability import end_ms, is_at, is_available, moment_ms, sale_at
from schemas.catalog_mapping import OURS
from schemas.catalog_reader import CatalogReader, CatalogRecord, DescribedItem, RemovedItem, UnreadableItem
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem
from streams.compacted_view import CompactedView
from streams.metrics import CatalogMetrics
from streams.rare_log import RareLog
from streams.records import InputRecord

log = structlog.get_logger(__name__)

MAX_REMOVED = 100_000
"""Of the items that are known to be removed, the latest; some 15 MB. An older one is in an older release at most."""

_UNTIMED: Final = (None, -math.inf, math.inf)


class Catalog:
    """The items as the shop last described them; one thread may write while others read.

    It fails closed: an item whose last record cannot be read is not recommended until one comes that can.

    require_catalog: True = an item without a record is not recommended; False = it is allowed everywhere.
    reader: how records are read; without one, as records of ours.
    places: which lies in which; what is sold at a place is sold at those that lie in it.
    """

    def __init__(
        self,
        *,
        require_catalog: bool = False,
        reader: CatalogReader | None = None,
        places: LocationSettings | None = None,
    ) -> None:
        self._reader = reader or CatalogReader(OURS)
        self._log = RareLog(log)
        self._items: dict[ItemId, CatalogItem] = {}
        self.get: Callable[[ItemId], CatalogItem | None] = self._items.get
        """What the shop last said of an item that could be read: asked for every candidate, so without a call more."""
        self._closed = set[ItemId]()
        self._named_places = Counter[str]()
        self._places_around = Counter[str]()
        self._lock = threading.Lock()  # only whoever goes through all items must not see them change
        self._require_catalog = require_catalog
        self._places = places or LocationSettings()
        self._removed = OrderedDict[ItemId, None]()
        self._times_ms: dict[ItemId, tuple[CatalogItem, float, float]] = {}
        """From when until when a record says that its item is available, Unix milliseconds, of those that say it."""
        self._ending: dict[ItemId, CatalogItem] = {}
        """What may end, itself or its sale: of most shops' items few do."""
        self._revision = 0
        self._records_taken = 0

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    def allowed(self, item_id: ItemId, location: str | None, now_ms: int) -> bool:
        """Return whether the item may be recommended to someone at `location`; now_ms: of the moment, Unix."""
        return self.allowed_at(location, now_ms)(item_id)

    def allowed_at(self, location: str | None, now_ms: int) -> Callable[[ItemId], bool]:
        """Return what tells that of one item after the other: of every candidate of an answer."""
        get, closed, times_ms = self._items.get, self._closed, self._times_ms

        def allowed(item_id: ItemId) -> bool:
            if closed and item_id in closed:
                return False
            item = get(item_id)
            if item is None:
                return not self._require_catalog and item_id not in self._removed
            if item.available_from is not None or item.available_until is not None:
                timed, begin_ms, end_ms = times_ms.get(item_id, _UNTIMED)
                if timed is not item:  # the other of two records that come one after the other
                    return is_available(item, location, now_ms, self._places)
                if not begin_ms <= now_ms < end_ms:
                    return False
            places = item.locations
            return item.available and (location is None or places is None or is_at(places, location, self._places))

        return allowed

    def earliest_end_ms(self, item_ids: Iterable[ItemId], location: str | None, now_ms: int) -> int | None:
        """Return when the first of these items, or its sale at `location`, ends, Unix ms; None = none does."""
        ending, places = self._ending, self._places
        if not ending:
            return None
        items = (item for item_id in item_ids if (item := ending.get(item_id)) is not None)
        return min((end for item in items if (end := end_ms(item, location, now_ms, places)) is not None), default=None)

    def next_sale_ms(self, item_ids: Iterable[ItemId], now_ms: int) -> int | None:
        """Return when the first sale of these items begins that has not begun, Unix ms; None = none is to come."""
        ending = self._ending
        if not ending:
            return None
        sales = (item.sale for item_id in item_ids if (item := ending.get(item_id)) is not None)
        begins = (moment_ms(sale.starts_at) for sale in sales if sale is not None and sale.starts_at is not None)
        return min((begin for begin in begins if begin > now_ms), default=None)

    def variant_group(self, item_id: ItemId) -> str | None:
        """Return the group of which the item is a variant."""
        item = self._items.get(item_id)
        return None if item is None else item.variant_group

    def is_on_sale(self, item_id: ItemId, location: str | None, now_ms: int) -> bool:
        """Return whether the item is in a sale at `location`, None = somewhere; now_ms: of the moment, Unix."""
        item = self._items.get(item_id)
        return item is not None and sale_at(item, location, now_ms, self._places) is not None

    def available_from_ms(self, item_id: ItemId) -> int | None:
        """Return since when the item is available, Unix milliseconds; None where its record does not say."""
        item = self._items.get(item_id)
        return None if item is None or item.available_from is None else moment_ms(item.available_from)

    def category(self, item_id: ItemId) -> str | None:
        """Return the item's category."""
        item = self._items.get(item_id)
        return None if item is None else item.category

    def describes(self, item_id: ItemId) -> bool:
        """Return whether the shop has described the item and not removed it since."""
        return item_id in self._items

    @property
    def has_items(self) -> bool:
        """Return whether the shop describes any item."""
        return bool(self._items)

    def knows_place(self, location: str) -> bool | None:
        """Return whether the records name a location, or one that lies in it.

        None = nobody knows: it lies in one that they name, or they name none at all.
        """
        if not self._named_places:
            return None
        if location in self._named_places or location in self._places_around:
            return True
        return None if is_at(self._named_places, location, self._places) else False

    def available_items(self, at_most: int, now_ms: int) -> list[ItemId]:
        """Return the first available items in the order in which the shop described them; now_ms: Unix."""
        with self._lock:
            items = self._items.items()
            available = (item_id for item_id, item in items if is_available(item, None, now_ms, self._places))
            return list(islice((item_id for item_id in available if item_id not in self._closed), at_most))

    @property
    def closed_items(self) -> int:
        """Count the items that are not recommended because their last record cannot be read."""
        return len(self._closed)

    @property
    def revision(self) -> int:
        """Count the changes of what items are: of stock and places none, since they come by the second."""
        return self._revision

    @property
    def records_taken(self) -> int:
        """Count the records that were taken in; while it stays, only time takes an item away."""
        return self._records_taken

    def records(self) -> list[CatalogItem]:
        """Return the record of every item whose last one could be read."""
        with self._lock:
            return [item for item_id, item in self._items.items() if item_id not in self._closed]

    def apply(
        self, key: bytes | None, value: bytes | None, time_ms: int = 0, headers: Sequence[tuple[str, bytes]] = ()
    ) -> CatalogRecord:
        """Take in one catalog record, and give what it says.

        A null value removes the item; a record that cannot be read closes it, until one comes that can.

        time_ms: the record's timestamp, Unix milliseconds.
        """
        record = self._reader.read(key, value, time_ms, headers)
        match record:
            case DescribedItem():
                self._describe(record.item)
                for name, reason in record.repairs.items():
                    self._log.info("catalog_field_repaired", field=name, reason=reason, item_id=record.item.item_id)
            case RemovedItem():
                self._remove(record.item_id)
            case UnreadableItem():
                self._close(record.item_id)
                self._log.warning(
                    "catalog_record_unreadable", item_id=record.item_id, reason=record.reason, detail=record.detail
                )
        self._records_taken += 1
        return record

    def _describe(self, item: CatalogItem) -> None:
        item = _with_shared_texts(item)
        with self._lock:
            before = self._items.get(item.item_id)
            self._count_places(before, item)
            if item.available_until is None and item.sale is None:
                self._ending.pop(item.item_id, None)
            else:
                self._ending[item.item_id] = item
            if item.available_from is None and item.available_until is None:
                self._times_ms.pop(item.item_id, None)
            else:
                self._times_ms[item.item_id] = _timed(item)
            was_away = item.item_id in self._closed  # who read all records meanwhile did not see it
            self._items[item.item_id] = item
            self._removed.pop(item.item_id, None)
            self._closed.discard(item.item_id)
            self._revision += was_away or _content(before) != _content(item)

    def _count_places(self, before: CatalogItem | None, after: CatalogItem | None) -> None:
        """Keep count of the items that name a place, and of the places around those."""
        old = set() if before is None else set(before.locations or ())
        new = set() if after is None else set(after.locations or ())
        for places, change in ((new - old, 1), (old - new, -1)):
            for place in places:
                _count(self._named_places, place, change)
                for around in self._places.chain(place)[1:]:
                    _count(self._places_around, around, change)

    def _remove(self, item_id: ItemId) -> None:
        """Forget an item; who reads meanwhile must not take it for one that was never described."""
        with self._lock:
            self._removed[item_id] = None  # its record may be compacted away, and a release may know it all the same
            self._removed.move_to_end(item_id)
            before = self._items.pop(item_id, None)
            self._times_ms.pop(item_id, None)
            self._closed.discard(item_id)
            self._count_places(before, None)
            self._ending.pop(item_id, None)
            if len(self._removed) > MAX_REMOVED:
                del self._removed[next(iter(self._removed))]

    def _close(self, item_id: ItemId | None) -> None:
        """Keep what was said of the item before: variants of what was bought are known by it."""
        if item_id is not None:
            with self._lock:
                self._closed.add(item_id)


def _with_shared_texts(item: CatalogItem) -> CatalogItem:
    """Keep the names of categories and places once, however many items have them: of a record they are half.

    And who looks something up by one finds it without a look at its letters.
    """
    category, places = item.category, item.locations
    return structs.replace(
        item,
        category=None if category is None else sys.intern(category),
        locations=None if places is None else [sys.intern(place) for place in places],
    )


def _timed(item: CatalogItem) -> tuple[CatalogItem, float, float]:
    begin, end = item.available_from, item.available_until
    return item, -math.inf if begin is None else moment_ms(begin), math.inf if end is None else moment_ms(end)


def _count(counts: Counter[str], name: str, change: int) -> None:
    counts[name] += change
    if not counts[name]:
        del counts[name]


def _content(item: CatalogItem | None) -> tuple[object, ...] | None:
    return None if item is None else (item.title, item.category, item.price, item.variant_group)


def catalog_view(
    catalog: Catalog,
    topic: str,
    client_config: Mapping[str, Any],
    metrics: CatalogMetrics,
    *,
    let_go: Callable[[], None] | None = None,
) -> CompactedView:
    """Make the view that keeps a catalog up to date from its topic; let_go: see `CompactedView`."""

    def take(record: InputRecord) -> None:
        content = catalog.apply(record.key, record.value, record.time_ms, record.headers)
        metrics.observe(content, items=len(catalog), closed=catalog.closed_items)

    return CompactedView(topic, client_config, take, metrics.view, let_go=let_go)
