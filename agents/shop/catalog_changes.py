"""How releases, sales and stock change the catalog while the shop runs: the records that it would publish."""

from collections.abc import Iterator
from datetime import timedelta

from msgspec.structs import replace

from agents.shop.catalog import build_shelf
from agents.shop.sales import SaleCalendar
from agents.shop.settings import ShopSettings
from agents.shop.stock import Stock
from schemas.records import CatalogItem, Sale

_MILLISECOND = timedelta(milliseconds=1)


class ShopCatalog:
    """The catalog of a generated shop at any moment, Unix milliseconds; `stock` is the truth about what is there."""

    def __init__(self, settings: ShopSettings) -> None:
        self._settings = settings
        self._shelf = build_shelf(settings)
        self._sales = SaleCalendar(settings, self._shelf)
        self.stock = Stock(settings, self._shelf)

    def record(self, item: int, moment_ms: int) -> CatalogItem:
        """Return what the shop says of an item, by its number on the shelf."""
        sale = self._sales.at(moment_ms)
        priced = None
        if sale is not None and item in sale.prices:
            priced = Sale(
                price=sale.prices[item],
                starts_at=sale.start_ms,
                ends_at=sale.end_ms,
                locations=[self._settings.locations[sale.location]],
            )
        return replace(
            self._shelf.records[item],
            available=not self.stock.is_out(item, moment_ms),
            available_until=self.stock.end_ms(item, moment_ms),
            sale=priced,
        )

    def at(self, moment_ms: int) -> list[CatalogItem]:
        """List all items that are released."""
        released = (item for item, released_ms in enumerate(self._shelf.released_ms) if released_ms <= moment_ms)
        return [self.record(item, moment_ms) for item in released]

    def changes(self, duration: timedelta, begin: timedelta = timedelta(0)) -> Iterator[tuple[int, CatalogItem]]:
        """Return the records to publish in [start + begin, start + begin + duration), each with its time, ascending.

        A release publishes a new item, with the moment at which it is given up if it is; a flash sale names its price,
        place and end as it begins, and is taken back when it is over; a stock-out and its end are a record each. At the
        moment at which an item is given up nothing is published. An item that a sale leaves sold out ends with it by
        the record of its start, too.
        """
        from_ms = self._settings.start_ms + begin // _MILLISECOND
        until_ms = from_ms + duration // _MILLISECOND
        changes = {(released_ms, item) for item, released_ms in enumerate(self._shelf.released_ms)}
        changes -= {(self._settings.start_ms, item) for item in range(len(self._shelf))}
        for sale in self._sales.between(from_ms, until_ms):
            changes |= {(moment_ms, item) for item in sale.items for moment_ms in (sale.start_ms, sale.end_ms)}
        for out in self.stock.between(from_ms, until_ms):
            changes |= {(out.start_ms, out.item), (out.end_ms, out.item)}
        for moment_ms, item in sorted(changes):
            if from_ms <= moment_ms < until_ms and self._shelf.released_ms[item] <= moment_ms:
                yield moment_ms, self.record(item, moment_ms)
