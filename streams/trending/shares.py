"""From counts to shares: a Dirichlet chain from everywhere down to the place, and what rises beyond the usual.

`share = (n + k * parent) / (N + k)`: a place's own views n, of N in all, with the shares of the place around it as a
prior that is worth k views. Everywhere has as its prior its own shares at the longest half-life.

What rises is told by EB05, the 5 % quantile of a gamma posterior of the short count against what the usual share lets
expect (DuMouchel, The American Statistician 1999), by Wilson and Hilferty's approximation. Shares are compared, not
rates, so that the day's curve cancels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, islice
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId
from schemas.records import TrendingItem
from streams.trending.counts import HALF_LIVES_MS, Floats, PlaceCounts

PARENT_ONLY: Final = float("inf")
SHORT: Final = 0
"""Rung of the half-lives by which a rise is seen: 10 min."""
USUAL: Final = 3
"""Rung by which the usual is: 4.5 h."""
LONGEST: Final = len(HALF_LIVES_MS) - 1
RISING_LIFT: Final = 2.0
RISING_VIEWS: Final = 6.0
"""Views at the short half-life that an item needs to rise: of thousands of items at each place, some have a few more
than they usually have at any moment, by chance alone."""
_USUAL_STRENGTH: Final = 200.0
_PRIOR: Final = 0.5
_Z_95: Final = 1.6449
MAX_RISING: Final = 50
"""Rising items of a place that are told, those with the most views beyond the usual."""


class Setting(NamedTuple):
    """How a place's shares are made: rung of its half-life, and the prior's strength in views."""

    rung: int
    strength: float


@dataclass(frozen=True, slots=True)
class Shares:
    """A distribution over items: those of a place, for all others `scale` of the one around it.

    top: the items with the highest shares, best first.
    """

    own: Mapping[ItemId, float]
    scale: float = 0.0
    around: "Shares | None" = None
    top: Sequence[ItemId] = ()

    def __getitem__(self, item_id: ItemId) -> float:
        """Return the share of an item; 0 where nobody viewed it."""
        share = self.own.get(item_id)
        if share is None:
            share = 0.0 if self.around is None else self.scale * self.around[item_id]
        return share

    def of(self, items: Sequence[ItemId]) -> Floats:
        """Return the shares of items."""
        return np.array([self[item_id] for item_id in items])


@dataclass(frozen=True)
class PlaceShares:
    """What is known of a place: `shares` by the setting, `usual` by the long half-life, and its items with their facts.

    around: of the place that it lies in, None = it is everywhere. counts: at this moment, a row an item.
    lift, excess: a value an item; excess is 0 where it is not rising. most: items that are ranked.
    """

    around: "PlaceShares | None"
    setting: Setting
    shares: Shares
    usual: Shares
    items: Sequence[ItemId]
    counts: Floats
    is_public: NDArray[np.bool_]
    lift: Floats
    excess: Floats
    most: int

    @cached_property
    def rows(self) -> Mapping[ItemId, int]:
        """Return the rows by item."""
        return {item_id: row for row, item_id in enumerate(self.items)}

    @property
    def support_short(self) -> float:
        """Return the place's views at the short half-life."""
        return float(self.counts[:, SHORT].sum())

    @property
    def support_long(self) -> float:
        """Return the place's views at the long half-life."""
        return float(self.counts[:, USUAL].sum())

    def views(self, row: int | None = None) -> tuple[float, ...]:
        """Return the views at each half-life, those of an item by its row or of all together, as they are told."""
        counts = self.counts.sum(axis=0) if row is None else self.counts[row]
        return tuple(map(_short, counts.tolist()))

    @cached_property
    def told(self) -> Mapping[ItemId, float]:
        """Return the shares that may be told, the highest first: what too few visitors viewed here is told as around.

        An item of theirs has no other share, nor another rank, than if they had not viewed it.
        """
        around = {} if self.around is None else self.around.told
        told = {item_id: self.shares.scale * share for item_id, share in around.items()}
        told |= {item_id: self.shares[item_id] for item_id in compress(self.items, self.is_public.tolist())}
        return {item_id: told[item_id] for item_id in _best(told, self.most)}

    def listed(self) -> list[TrendingItem]:
        """Return the place's items as they are told, by share; the rising ones among them, whatever their share.

        Those of everywhere with how many views each has at every half-life.
        """
        rising = np.argsort(-self.excess, kind="stable")[: int((self.excess > 0).sum())]
        chosen = dict.fromkeys([self.items[row] for row in rising.tolist()][: min(MAX_RISING, self.most)])
        others = islice((item_id for item_id in self.told if item_id not in chosen), self.most - len(chosen))
        told = [self._told(item_id) for item_id in (*chosen, *others)]
        return sorted(told, key=lambda item: (-item.share, item.item_id))

    def _told(self, item_id: ItemId) -> TrendingItem:
        row = self.rows.get(item_id)
        if row is None or not self.is_public[row]:
            return TrendingItem(item_id, _short(self.told[item_id]), 0.0, 0)
        share, lift, rising = _short(self.shares[item_id]), _short(self.lift[row]), _short(self.excess[row])
        views = self.views(row) if self.around is None else ()
        return TrendingItem(item_id, share, lift, int(self.counts[row, USUAL]), rising, views)


def place_shares(
    counts: PlaceCounts, now_ms: int, around: PlaceShares | None, setting: Setting, *, top: int
) -> PlaceShares:
    """Make the shares of a place; around: of the place that it lies in, None = it is everywhere.

    top: how many items are ranked.
    """
    items, at = counts.items, counts.at(now_ms)
    is_public = counts.is_public()
    longest = Shares(dict(zip(items, _normed(at[:, LONGEST]).tolist(), strict=True)))
    prior = longest if around is None else around.shares
    shares = _shrunk(items, at[:, setting.rung], prior, setting.strength, top)
    of_long = at[:, USUAL]
    if around is None:
        usual = Shares(dict(zip(items, _normed(of_long).tolist(), strict=True)))
    else:
        usual = _shrunk(items, of_long, around.usual, _USUAL_STRENGTH, 0)
    short = at[:, SHORT]
    total = short.sum()
    expected = usual.of(items) * total
    lift = gamma_q05(short + _PRIOR, expected + _PRIOR)
    is_rising = (lift > RISING_LIFT) & (short >= RISING_VIEWS) & is_public
    excess = np.where(is_rising, np.maximum(0.0, short - expected), 0.0) / max(1.0, float(total))
    return PlaceShares(around, setting, shares, usual, items, at, is_public, lift, excess, top)


def _shrunk(items: Sequence[ItemId], counts: Floats, prior: Shares, strength: float, top: int) -> Shares:
    total = float(counts.sum())
    if strength == PARENT_ONLY or total + strength == 0:
        return Shares({}, 1.0, prior, prior.top or _best(prior.own, top))
    own = (counts + strength * prior.of(items)) / (total + strength)
    values = dict(zip(items, own.tolist(), strict=True))
    scale = strength / (total + strength)
    if not top:
        return Shares(values, scale, prior)
    outside = [item_id for item_id in prior.top if item_id not in values]
    candidates = values | dict(zip(outside, (scale * prior.of(outside)).tolist(), strict=True))
    return Shares(values, scale, prior, _best(candidates, top))


def _best(values: Mapping[ItemId, float], count: int) -> list[ItemId]:
    order = np.argsort(-np.fromiter(values.values(), np.float64, len(values)), kind="stable")[:count].tolist()
    names = list(values)
    return [names[at] for at in order]


def gamma_q05(shape: Floats, rate: Floats) -> Floats:
    """Return the 5 % quantile of gamma distributions, by Wilson and Hilferty's approximation."""
    c = 1 / (9 * shape)
    quantile: Floats = np.maximum(0.0, shape / rate * (1 - c - _Z_95 * np.sqrt(c)) ** 3)
    return quantile


def _normed(counts: Floats) -> Floats:
    total = counts.sum()
    shares: Floats = counts / total if total > 0 else counts
    return shares


def _short(value: Any) -> float:
    """Return five significant digits: more of them nobody can use, and all are sent every few seconds."""
    return float(f"{value:.5g}")
