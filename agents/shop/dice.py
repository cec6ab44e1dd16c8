"""Randomness for the event loop: NumPy draws in blocks, since single draws would be most of the running time."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_096


class Dice:
    """Seeded draws; equal `key`s throw alike, and no Dice disturbs another."""

    def __init__(self, *key: int) -> None:
        generator = np.random.default_rng(key)
        self.uniform = _blocks(generator.random).__next__
        self._normal = _blocks(generator.standard_normal).__next__

    def chance(self, probability: float) -> bool:
        """Come true with `probability`."""
        return self.uniform() < probability

    def below(self, bound: int) -> int:
        """Draw an integer of [0, bound)."""
        return int(self.uniform() * bound)

    def between(self, low: float, high: float) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * self.uniform()

    def exponential(self, mean: float) -> float:
        """Draw a waiting time of `mean`."""
        return -mean * math.log1p(-self.uniform())

    def lognormal(self, median: float, sigma: float) -> float:
        """Draw a positive value with `median`."""
        return median * math.exp(sigma * self._normal())

    def normal(self) -> float:
        """Draw from the standard normal distribution."""
        return self._normal()

    def weighted(self, cumulative: Sequence[float]) -> int:
        """Draw a position by `cumulative` weights, ascending; the last is their sum."""
        return bisect_right(cumulative, self.uniform() * cumulative[-1], 0, len(cumulative) - 1)


def _blocks(draw: Callable[[int], NDArray[np.float64]]) -> Iterator[float]:
    while True:
        yield from draw(_BLOCK).tolist()
