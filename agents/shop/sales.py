"""Flash sales: when, where and of what."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from agents.shop.catalog import Shelf
from agents.shop.settings import FlashSaleSettings, ShopSettings
from schemas.ids import ItemId

_SALES_KEY = 2
_MAX_PLANNED = 16
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class FlashSale:
    """One sale, from `start_ms` up to and without `end_ms`.

    number: of its slot since 1970, so it names the sale. location: position in the settings' `locations`.
    prices: what each item on sale costs meanwhile, by the item's number on the shelf.
    pull: share of the views at the location that go to these items. back_ms: when they are there again after it,
    `end_ms` where they do not sell out.
    """

    number: int
    location: int
    start_ms: int
    end_ms: int
    prices: dict[int, float]
    items: tuple[int, ...]
    pull: float
    back_ms: int

    def item_ids(self, shelf: Shelf) -> list[ItemId]:
        """Return the items on sale."""
        return [shelf.records[item].item_id for item in self.items]


class SaleCalendar:
    """The sales of a shop: one in each slot, planned when first asked for, the same whoever asks."""

    def __init__(self, settings: ShopSettings, shelf: Shelf) -> None:
        self._settings = settings
        self._shelf = shelf
        self._rules = settings.flash_sales
        self._planned: dict[int, FlashSale] = {}

    def at(self, moment_ms: int) -> FlashSale | None:
        """Return the sale that runs at `moment_ms`."""
        if self._rules is None:
            return None
        sale = self._sale(moment_ms // (self._rules.every // _MILLISECOND), self._rules)
        return sale if sale.items and sale.start_ms <= moment_ms < sale.end_ms else None

    def sold_out_at(self, moment_ms: int) -> FlashSale | None:
        """Return the sale that is over at `moment_ms` and has left its items sold out."""
        if self._rules is None or not self._rules.sells_out:
            return None
        sale = self._sale(moment_ms // (self._rules.every // _MILLISECOND), self._rules)
        return sale if sale.items and sale.end_ms <= moment_ms < sale.back_ms else None

    def between(self, from_ms: int, until_ms: int) -> list[FlashSale]:
        """List the sales that touch [from_ms, until_ms), the earliest first."""
        return [sale for sale in self._slots(from_ms, until_ms) if sale.start_ms < until_ms and sale.end_ms > from_ms]

    def sold_out_between(self, from_ms: int, until_ms: int) -> list[FlashSale]:
        """List the sales that leave their items sold out at a moment of [from_ms, until_ms), the earliest first."""
        return [
            sale
            for sale in self._slots(from_ms, until_ms)
            if sale.end_ms < sale.back_ms and sale.end_ms < until_ms and sale.back_ms > from_ms
        ]

    def _slots(self, from_ms: int, until_ms: int) -> list[FlashSale]:
        if self._rules is None:
            return []
        every_ms = self._rules.every // _MILLISECOND
        numbers = range(from_ms // every_ms, -(-until_ms // every_ms))
        return [sale for number in numbers if (sale := self._sale(number, self._rules)).items]

    def _sale(self, number: int, rules: FlashSaleSettings) -> FlashSale:
        sale = self._planned.get(number)
        if sale is None:
            if len(self._planned) >= _MAX_PLANNED:
                self._planned.clear()
            sale = self._planned[number] = _plan(number, self._settings, self._shelf, rules)
        return sale


def _plan(number: int, settings: ShopSettings, shelf: Shelf, rules: FlashSaleSettings) -> FlashSale:
    rng = np.random.default_rng([settings.seed, _SALES_KEY, number])
    every_ms, duration_ms = rules.every // _MILLISECOND, rules.duration // _MILLISECOND
    start_ms = number * every_ms + int(rng.integers(every_ms - duration_ms))
    location = int(rng.integers(len(settings.locations)))
    candidates = [
        item
        for item, record in enumerate(shelf.records)
        if record.available and shelf.location_masks[item] >> location & 1 and shelf.released_ms[item] <= start_ms
    ]
    chosen = rng.permutation(len(candidates))[: rules.n_items].tolist()
    items = tuple(sorted(candidates[position] for position in chosen))
    return FlashSale(
        number=number,
        location=location,
        start_ms=start_ms,
        end_ms=start_ms + duration_ms,
        prices={item: round(shelf.prices[item] * (1 - rules.discount), 2) for item in items},
        items=items,
        pull=rules.pull,
        back_ms=(number + 1) * every_ms if rules.sells_out else start_ms + duration_ms,
    )
