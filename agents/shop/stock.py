"""What is out of stock when: items that sell out and come back, after a sale too, and items given up for good."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from agents.shop.catalog import Shelf
from agents.shop.sales import SaleCalendar
from agents.shop.settings import ShopSettings, StockOutSettings

_STOCK_KEY = 9
_GIVEN_UP_KEY = 10
_MAX_PLANNED = 16
_LEAST_MS = 1_000
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class StockOut:
    """One item, by its number on the shelf, without stock from `start_ms` up to and without `end_ms`."""

    item: int
    start_ms: int
    end_ms: int


class Stock:
    """The stock of a shop, planned slot by slot when first asked for, the same whoever asks.

    Without stock-outs in the settings, and sales that sell out, an item has stock if its record on the shelf says so,
    for all time.
    """

    def __init__(self, settings: ShopSettings, shelf: Shelf) -> None:
        self._settings = settings
        self._shelf = shelf
        self._rules = settings.stock_outs
        self._sales = SaleCalendar(settings, shelf)
        self._planned: dict[int, dict[int, StockOut]] = {}
        self._given_up_ms = dict[int, int]() if self._rules is None else _given_up(settings, shelf, self._rules)

    def has(self, item: int, moment_ms: int) -> bool:
        """Return whether an item can be bought at a moment."""
        given_up_ms = self._given_up_ms.get(item)
        return not self.is_out(item, moment_ms) and (given_up_ms is None or moment_ms < given_up_ms)

    def is_out(self, item: int, moment_ms: int) -> bool:
        """Return whether an item is out of stock at a moment, given up or not."""
        if not self._shelf.records[item].available:
            return True
        sale = self._sales.sold_out_at(moment_ms)
        if sale is not None and item in sale.prices:
            return True
        if self._rules is None:
            return False
        out = self._slot(moment_ms // (self._rules.every // _MILLISECOND), self._rules).get(item)
        return out is not None and out.start_ms <= moment_ms < out.end_ms

    def end_ms(self, item: int, moment_ms: int) -> int | None:
        """Return when an item will be gone as the shop knows at a moment, Unix milliseconds; None = it knows of no end.

        That it is given up is known from the first day on, that it sells out in a sale from the sale's start on.
        """
        sale = self._sales.at(moment_ms)
        ends = [self._given_up_ms.get(item)]
        if sale is not None and item in sale.prices and sale.back_ms > sale.end_ms:
            ends.append(sale.end_ms)
        return min((end for end in ends if end is not None), default=None)

    def between(self, from_ms: int, until_ms: int) -> list[StockOut]:
        """List the stock-outs that touch [from_ms, until_ms), those after sales too, the earliest first."""
        outs = [
            StockOut(item, sale.end_ms, sale.back_ms)
            for sale in self._sales.sold_out_between(from_ms, until_ms)
            for item in sale.items
        ]
        if self._rules is not None:
            every_ms = self._rules.every // _MILLISECOND
            for number in range(from_ms // every_ms, -(-until_ms // every_ms)):
                slot = self._slot(number, self._rules).values()
                outs += [out for out in slot if out.start_ms < until_ms and out.end_ms > from_ms]
        return sorted(outs, key=lambda out: (out.start_ms, out.item))

    def _slot(self, number: int, rules: StockOutSettings) -> dict[int, StockOut]:
        slot = self._planned.get(number)
        if slot is None:
            if len(self._planned) >= _MAX_PLANNED:
                self._planned.clear()
            slot = self._planned[number] = _plan(number, self._settings, self._shelf, rules)
        return slot


def _plan(number: int, settings: ShopSettings, shelf: Shelf, rules: StockOutSettings) -> dict[int, StockOut]:
    """Plan one slot: who sells out, when, and for how long; all is over before the slot ends."""
    rng = np.random.default_rng([settings.seed, _STOCK_KEY, number])
    every_ms = rules.every // _MILLISECOND
    is_out = rng.random(len(shelf)) < rules.share
    starts = rng.integers(0, every_ms - _LEAST_MS, len(shelf))
    lengths = _LEAST_MS + rng.exponential(rules.mean / _MILLISECOND, len(shelf)).astype(np.int64)
    ends = np.minimum(starts + lengths, every_ms)
    return {
        item: StockOut(item, number * every_ms + int(starts[item]), number * every_ms + int(ends[item]))
        for item in np.flatnonzero(is_out).tolist()
    }


def _given_up(settings: ShopSettings, shelf: Shelf, rules: StockOutSettings) -> dict[int, int]:
    rng = np.random.default_rng([settings.seed, _GIVEN_UP_KEY])
    is_given_up = rng.random(len(shelf)) < rules.given_up_share
    delays = rng.integers(1, rules.given_up_within // _MILLISECOND + 1, len(shelf))
    return {
        item: max(settings.start_ms, shelf.released_ms[item]) + int(delays[item])
        for item in np.flatnonzero(is_given_up).tolist()
    }
