"""When and where an item may be recommended, and until when: what one record of the catalog says of a moment.

The record names the moments, so nothing needs to come when they are there. A sale is a price: its end hides no item,
but what named the item as on sale is over with it.
"""

from collections.abc import Collection
from datetime import datetime

from schemas.events import unix_ms
from schemas.places import LocationSettings
from schemas.records import CatalogItem, Sale


def moment_ms(moment: datetime | int) -> int:
    """Return Unix milliseconds."""
    return moment if isinstance(moment, int) else unix_ms(moment)


def is_in_time(begin: datetime | int | None, end: datetime | int | None, now_ms: int) -> bool:
    """Return whether a moment is not before `begin` and before `end`, of which each may be open."""
    return (begin is None or moment_ms(begin) <= now_ms) and (end is None or now_ms < moment_ms(end))


def is_never(begin: datetime | int | None, end: datetime | int | None) -> bool:
    """Return whether no moment is in a time, since it ends before it begins or as it does."""
    return begin is not None and end is not None and moment_ms(begin) >= moment_ms(end)


def is_at(places: Collection[str] | None, location: str | None, hierarchy: LocationSettings) -> bool:
    """Return whether a location is one of `places` or lies in one; None = everywhere, or nobody knows where."""
    if location is None or places is None or location in places:
        return True
    return any(map(places.__contains__, hierarchy.chain(location)))


def is_available(item: CatalogItem, location: str | None, now_ms: int, hierarchy: LocationSettings) -> bool:
    """Return whether an item may be recommended at a location, None = somewhere, at a moment in Unix milliseconds."""
    return (
        item.available
        and ((item.available_from is None and item.available_until is None) or _is_open(item, now_ms))
        and is_at(item.locations, location, hierarchy)
    )


def sale_at(item: CatalogItem, location: str | None, now_ms: int, hierarchy: LocationSettings) -> Sale | None:
    """Return the sale that the item is in at a location, None = somewhere, at a moment in Unix milliseconds."""
    sale = item.sale
    if sale is None or not is_in_time(sale.starts_at, sale.ends_at, now_ms):
        return None
    return sale if is_at(sale.locations, location, hierarchy) else None


def end_ms(item: CatalogItem, location: str | None, now_ms: int, hierarchy: LocationSettings) -> int | None:
    """Return when a list that holds the item is over, Unix milliseconds: with the item, or with its sale there.

    None = never, as far as the record says.
    """
    if item.available_until is None and item.sale is None:
        return None
    sale = sale_at(item, location, now_ms, hierarchy)
    ends = [item.available_until, None if sale is None else sale.ends_at]
    return min((moment_ms(end) for end in ends if end is not None), default=None)


def _is_open(item: CatalogItem, now_ms: int) -> bool:
    return is_in_time(item.available_from, item.available_until, now_ms)
