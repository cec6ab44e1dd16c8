"""How a shopper moves through one session: a hidden intent that drives what is done, to which item, and how soon."""

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from agents.shop.catalog import Shelf
from agents.shop.dice import Dice
from agents.shop.sales import FlashSale, SaleCalendar
from agents.shop.stock import Stock
from agents.shop.tastes import Tastes
from agents.shop.truth import Intent
from agents.shop.visitors import Visitor
from schemas.events import EventType

MAX_STEPS = 80

_INTENTS: tuple[Intent | None, ...] = ("bounce", "browse", "compare", "buy", None)
_ACTIONS: tuple[EventType, ...] = ("view", "search", "favorite", "cart", "remove", "purchase")
_MIN_DWELL_MS = 1_500
_MAX_DWELL_MS = 9 * 60_000
_CHECKOUT_STEP_MS = 400
_TRIES = 8
_CONTINUE_SHARE = 0.25
_OWN_TASTE_SHARE = 0.7
_SUCCESSOR_SHARE = 0.62
_CLUSTER_SHARE = 0.92
_SOLD_OUT_VIEW_SHARE = 0.25
_PRICE_AFFINITY = 0.25
_STAY_AFTER_PURCHASE = 0.25
_SESSION_END_SHARE = 0.1


def _cumulative(*weights: float) -> tuple[float, ...]:
    return tuple(accumulate(weights))


@dataclass(frozen=True, slots=True)
class _Habit:
    """What an intent makes of a shopper. Weights are cumulative.

    moves: to the next of `_INTENTS`, None = leave. actions: over `_ACTIONS`. again: share of views of something
    seen before. new_taste: share of views that begin another taste cluster.
    """

    moves: tuple[float, ...]
    actions: tuple[float, ...]
    dwell_ms: float
    again: float
    new_taste: float


_FIRST_INTENT = _cumulative(0.30, 0.48, 0.125, 0.095)
_HABITS: dict[Intent, _Habit] = {
    "bounce": _Habit(
        moves=_cumulative(0.25, 0, 0, 0, 0.75),
        actions=_cumulative(0.95, 0.05, 0, 0, 0, 0),
        dwell_ms=8_000,
        again=0.05,
        new_taste=0.0,
    ),
    "browse": _Habit(
        moves=_cumulative(0, 0.84, 0.055, 0.002, 0.10),
        actions=_cumulative(0.88, 0.08, 0.03, 0.008, 0.002, 0),
        dwell_ms=20_000,
        again=0.06,
        new_taste=0.12,
    ),
    "compare": _Habit(
        moves=_cumulative(0, 0.05, 0.83, 0.015, 0.105),
        actions=_cumulative(0.84, 0.07, 0.06, 0.022, 0.008, 0),
        dwell_ms=35_000,
        again=0.25,
        new_taste=0.02,
    ),
    "buy": _Habit(
        moves=_cumulative(0, 0.01, 0.03, 0.92, 0.04),
        actions=_cumulative(0.50, 0.03, 0.03, 0.27, 0.04, 0.13),
        dwell_ms=26_000,
        again=0.35,
        new_taste=0.01,
    ),
}
_DWELL_SIGMA = 0.8


class Step(NamedTuple):
    """One thing done; `item` is a number on the shelf, None for searches and the end; bots have no intent."""

    time_ms: int
    event_type: EventType
    item: int | None
    intent: Intent | None
    sale: FlashSale | None
    query: str | None


@dataclass(frozen=True, slots=True)
class Shop:
    """All that shoppers walk through."""

    shelf: Shelf
    tastes: Tastes
    sales: SaleCalendar
    stock: Stock


class Visit:
    """One session while it is being made."""

    def __init__(self, shop: Shop, visitor: Visitor, dice: Dice, start_ms: int) -> None:
        self._shop = shop
        self._visitor = visitor
        self._dice = dice
        self._now_ms = start_ms
        self._intent: Intent = "bounce"
        self._cluster = 0
        self._item = -1
        self._seen: list[int] = []
        self._cart: list[int] = []
        self._steps: list[Step] = []

    def steps(self) -> list[Step]:
        """Walk the session to its end, at most about `MAX_STEPS` steps, in event-time order."""
        intent = _INTENTS[self._dice.weighted(_FIRST_INTENT)]
        self._enter()
        while intent is not None and len(self._steps) < MAX_STEPS:
            self._intent = intent
            self._act()
            habit = _HABITS[intent]
            pause_ms = int(self._dice.lognormal(habit.dwell_ms, _DWELL_SIGMA))
            self._now_ms += min(max(pause_ms, _MIN_DWELL_MS), _MAX_DWELL_MS)
            intent = self._next_intent(habit)
        if self._dice.chance(_SESSION_END_SHARE):
            self._take("session_end", None)
        return self._steps

    def _next_intent(self, habit: _Habit) -> Intent | None:
        if self._steps[-1].event_type == "purchase":
            return "browse" if self._dice.chance(_STAY_AFTER_PURCHASE) else None
        return _INTENTS[self._dice.weighted(habit.moves)]

    def _enter(self) -> None:
        """Settle what the session begins with: where it was left, the visitor's tastes, or what all look at."""
        visitor, dice, tastes = self._visitor, self._dice, self._shop.tastes
        if visitor.last_item is not None and dice.chance(_CONTINUE_SHARE):
            self._item = visitor.last_item
            self._cluster = self._shop.shelf.clusters[self._item]
        elif dice.chance(_OWN_TASTE_SHARE):
            self._cluster = visitor.tastes[dice.below(2)]
        else:
            self._cluster = self._shop.shelf.clusters[tastes.popular(visitor.location, dice)]

    def _act(self) -> None:
        action = _ACTIONS[self._dice.weighted(_HABITS[self._intent].actions)] if self._seen else "view"
        if action == "view":
            self._view()
        elif action == "search":
            self._search()
        elif action == "purchase":
            self._check_out()
        elif action == "cart":
            self._put_into_cart()
        elif action == "remove" and self._cart:
            self._take("remove", self._cart.pop(self._dice.below(len(self._cart))))
        else:
            self._take("favorite", self._item)

    def _view(self) -> None:
        self._item = self._choose()
        self._seen.append(self._item)
        self._take("view", self._item)

    def _search(self) -> None:
        """Look for something of the session's taste; the next view goes on from it."""
        self._item = self._shop.tastes.of_cluster(self._cluster, self._visitor.location, self._dice)
        query = self._shop.shelf.queries[self._item]
        self._steps.append(Step(self._now_ms, "search", None, self._intent, None, query))

    def _put_into_cart(self) -> None:
        item = self._seen[-1]
        if item in self._cart or not self._shop.stock.has(item, self._now_ms):
            self._view()
        else:
            self._cart.append(item)
            self._take("cart", item)

    def _check_out(self) -> None:
        if not self._cart:
            self._put_into_cart()
            return
        for item in self._cart:
            self._take("purchase", item)
            self._now_ms += _CHECKOUT_STEP_MS
        self._cart.clear()

    def _take(self, event_type: EventType, item: int | None) -> None:
        sale = self._shop.sales.at(self._now_ms)
        if sale is not None and item not in sale.prices:
            sale = None
        self._steps.append(Step(self._now_ms, event_type, item, self._intent, sale, None))

    def _choose(self) -> int:
        """Draw the next item to view; something seen before if nothing drawn is on sale here and liked."""
        dice, habit = self._dice, _HABITS[self._intent]
        if self._seen and dice.chance(habit.again):
            return self._seen[dice.below(len(self._seen))]
        sale = self._shop.sales.at(self._now_ms)
        if sale is not None and sale.location == self._visitor.location and dice.chance(sale.pull):
            return sale.items[dice.below(len(sale.items))]
        if dice.chance(habit.new_taste):
            self._cluster = self._shop.shelf.clusters[self._shop.tastes.popular(self._visitor.location, dice)]
        for _ in range(_TRIES):
            item = self._candidate()
            if self._is_sold_here(item) and self._is_liked(item):
                return item
        return self._seen[-1] if self._seen else self._first_sold_here()

    def _candidate(self) -> int:
        draw = self._dice.uniform()
        if self._item >= 0 and draw < _SUCCESSOR_SHARE:
            return self._shop.tastes.successor(self._item, self._dice)
        if draw < _CLUSTER_SHARE:
            return self._shop.tastes.of_cluster(self._cluster, self._visitor.location, self._dice)
        return self._shop.tastes.popular(self._visitor.location, self._dice)

    def _first_sold_here(self) -> int:
        start = self._shop.tastes.popular(self._visitor.location, self._dice)
        around = (*range(start, len(self._shop.shelf)), *range(start))
        return next(filter(self._is_sold_here, around), start)

    def _is_sold_here(self, item: int) -> bool:
        shelf = self._shop.shelf
        return shelf.released_ms[item] <= self._now_ms and bool(
            shelf.location_masks[item] >> self._visitor.location & 1
        )

    def _is_liked(self, item: int) -> bool:
        """Accept by stock mostly, by price affinity more or less."""
        shelf, dice = self._shop.shelf, self._dice
        if not self._shop.stock.has(item, self._now_ms) and not dice.chance(_SOLD_OUT_VIEW_SHARE):
            return False
        distance = shelf.price_levels[item] - self._visitor.price_level
        return dice.chance(math.exp(-_PRICE_AFFINITY * distance * distance))
