"""What goes with what: taste clusters and the successors of each item, from which shoppers draw."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from agents.shop.catalog import Shelf
from agents.shop.dice import Dice

_TASTES_KEY = 3
_N_SUCCESSORS = 6
_N_COMPLEMENTS = 2
_SUCCESSOR_WEIGHTS = tuple(accumulate(1.0 / rank for rank in range(1, _N_SUCCESSORS + _N_COMPLEMENTS + 1)))
_SUCCESSOR_POPULARITY_EXPONENT = 0.5


@dataclass(frozen=True, slots=True)
class Tastes:
    """Preferences that all shoppers share.

    successors: likely next items of each item, best first, the last from a cluster that complements its own.
    members: items of each cluster; member_weights: their cumulative popularity; weights: that of all items.
    """

    successors: list[list[int]]
    members: list[list[int]]
    member_weights: list[list[float]]
    weights: list[float]

    def successor(self, item: int, dice: Dice) -> int:
        """Draw what shoppers look at after `item`."""
        options = self.successors[item]
        return options[dice.weighted(_SUCCESSOR_WEIGHTS[: len(options)])]

    def of_cluster(self, cluster: int, dice: Dice) -> int:
        """Draw an item of `cluster` by popularity."""
        return self.members[cluster][dice.weighted(self.member_weights[cluster])]

    def popular(self, dice: Dice) -> int:
        """Draw any item by popularity."""
        return dice.weighted(self.weights)


def build_tastes(shelf: Shelf, seed: int) -> Tastes:
    """Derive the preferences of the shop of `seed`."""
    rng = np.random.default_rng([seed, _TASTES_KEY])
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
    return Tastes(
        successors=successors,
        members=members,
        member_weights=[list(accumulate(popularity[items].tolist())) for items in members],
        weights=list(accumulate(shelf.popularity)),
    )


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
