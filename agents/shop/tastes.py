"""What goes with what, and what is liked where: taste clusters, successors of each item, from which shoppers draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from agents.shop.catalog import Shelf
from agents.shop.dice import Dice
from agents.shop.settings import ShopSettings
from schemas.places import LocationSettings

_TASTES_KEY = 3
_PLACES_KEY = 11
_N_SUCCESSORS = 6
_N_COMPLEMENTS = 2
_SUCCESSOR_WEIGHTS = tuple(accumulate(1.0 / rank for rank in range(1, _N_SUCCESSORS + _N_COMPLEMENTS + 1)))
_SUCCESSOR_POPULARITY_EXPONENT = 0.5


@dataclass(frozen=True, slots=True)
class Appeal:
    """How much items are liked at a place.

    member_weights: the cumulative popularity of each cluster's items; weights: that of all items.
    """

    member_weights: list[list[float]]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Tastes:
    """Preferences: what goes with what is the same for all shoppers, what they like is so for those of a place.

    successors: likely next items of each item, best first, the last from a cluster that complements its own.
    members: items of each cluster. appeal: at each of the settings' `locations`.
    """

    successors: list[list[int]]
    members: list[list[int]]
    appeal: list[Appeal]

    def successor(self, item: int, dice: Dice) -> int:
        """Draw what shoppers look at after `item`."""
        options = self.successors[item]
        return options[dice.weighted(_SUCCESSOR_WEIGHTS[: len(options)])]

    def of_cluster(self, cluster: int, location: int, dice: Dice) -> int:
        """Draw an item of `cluster` by its popularity at a location."""
        return self.members[cluster][dice.weighted(self.appeal[location].member_weights[cluster])]

    def popular(self, location: int, dice: Dice) -> int:
        """Draw any item by its popularity at a location."""
        return dice.weighted(self.appeal[location].weights)


def build_tastes(shelf: Shelf, settings: ShopSettings) -> Tastes:
    """Derive the preferences of a shop."""
    rng = np.random.default_rng([settings.seed, _TASTES_KEY])
    members: list[list[int]] = [[] for _ in range(max(shelf.clusters) + 1)]
    for item, cluster in enumerate(shelf.clusters):
        members[cluster].append(item)
    popularity = np.asarray(shelf.popularity)
    complements = _derangement(len(members), rng)
    successors: list[list[int]] = []
    for cluster, own in enumerate(members):
        near = _preferred(own, own, popularity, rng)[:, :_N_SUCCESSORS]
        far = _preferred(own, members[complements[cluster]], popularity, rng)[:, :_N_COMPLEMENTS]
        successors += np.concatenate([near, far], axis=1).tolist()
    return Tastes(successors=successors, members=members, appeal=_appeal(shelf, settings, members))


def popularity_at(place: str, shelf: Shelf, settings: ShopSettings) -> NDArray[np.float64]:
    """Return how popular each item is at a place of any level, not normalised: what is true of its taste.

    From everywhere down to the place each level takes the share `place_taste` of what is popular around it away, and
    gives it to the same popularities in an order of its own.
    """
    popularity = everywhere = np.asarray(shelf.popularity)
    if settings.place_taste:
        for level in reversed(LocationSettings().chain(place)):
            rng = np.random.default_rng([settings.seed, _PLACES_KEY, crc32(level.encode())])
            own = rng.permutation(everywhere)
            popularity = (1 - settings.place_taste) * popularity + settings.place_taste * own
    return popularity


def _appeal(shelf: Shelf, settings: ShopSettings, members: Sequence[list[int]]) -> list[Appeal]:
    """Return how items are liked at each location; where tastes do not differ by place it is the same object."""
    places = settings.locations if settings.place_taste else settings.locations[:1]
    appeal = []
    for place in places:
        popularity = popularity_at(place, shelf, settings)
        member_weights = [list(accumulate(popularity[items].tolist())) for items in members]
        appeal.append(Appeal(member_weights, list(accumulate(popularity.tolist()))))
    return appeal if settings.place_taste else appeal * len(settings.locations)


def _preferred(
    items: list[int], options: list[int], popularity: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Order `options` for each of `items` by a weighted draw without replacement, itself never.

    Gumbel top-k: adding Gumbel noise to log weights and sorting is that draw (Kool et al., 2019, arXiv:1903.06059).
    """
    candidates = np.asarray(options)
    keys = _SUCCESSOR_POPULARITY_EXPONENT * np.log(popularity[candidates]) + rng.gumbel(size=(len(items), len(options)))
    is_itself = np.asarray(items)[:, None] == candidates[None, :]
    keys[is_itself] = -np.inf
    n_others = len(options) - int(is_itself.any())
    return candidates[np.argsort(-keys, axis=1)[:, :n_others]]


def _derangement(n: int, rng: np.random.Generator) -> list[int]:
    """Return each of `n` clusters another one, in one random ring; a lone cluster complements itself."""
    ring = rng.permutation(n)
    following = np.empty(n, np.int64)
    following[ring] = np.roll(ring, -1)
    return [int(other) for other in following]
