"""Confidence intervals by the bootstrap over sessions: targets of one session are not independent.

Efron & Tibshirani 1993, chapter 13 (percentile interval); clusters are drawn whole (Field & Welsh, JRSS B 2007).
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

N_RESAMPLES: Final = 1_000
_CHUNK: Final = 50
_TAIL_PERCENT: Final = 2.5


class Interval(msgspec.Struct, frozen=True):
    """A mean over targets with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def session_intervals(sessions: NDArray[np.integer], values: NDArray[np.float64], *, seed: int = 0) -> list[Interval]:
    """Return the interval of the mean of each column, all from the same draws: so a column of differences is paired.

    sessions: (n_targets,) int, the session of each target; any numbers. values: (n_targets, n_columns).
    """
    _, session = np.unique(sessions, return_inverse=True)
    sizes = np.bincount(session).astype(np.float64)
    columns = [np.bincount(session, column, minlength=len(sizes)).astype(np.float64) for column in values.T]
    sums: NDArray[np.float64] = np.stack(columns, axis=1)
    rng = np.random.default_rng(seed)
    means = np.concatenate([_means(rng, sizes, sums) for _ in range(N_RESAMPLES // _CHUNK)])
    low, high = np.percentile(means, [_TAIL_PERCENT, 100 - _TAIL_PERCENT], axis=0)
    return [Interval(*map(float, row)) for row in zip(values.mean(axis=0), low, high, strict=True)]


def _means(rng: np.random.Generator, sizes: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw as many sessions as there are, `_CHUNK` times; returns (_CHUNK, n_columns)."""
    n_sessions = len(sizes)
    drawn = rng.integers(0, n_sessions, (_CHUNK, n_sessions))
    weights = np.stack([np.bincount(row, minlength=n_sessions) for row in drawn]).astype(np.float64)
    return np.asarray((weights @ sums) / (weights @ sizes)[:, np.newaxis])
