"""How often each item was clicked and since when: the fallback chain's last resort, and the yardstick of popularity."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.ranking.top_k import top_k

TREND_SHARES = (0.2, 0.03)
"""Of the clicks, the latest: what they say beyond all of them is a trend."""


def trends_of(
    recent_counts: NDArray[np.int64] | NDArray[np.float64], log_counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what the latest clicks, (len(TREND_SHARES), n), say beyond all of them, (n,) log1p: the same shape."""
    trends: NDArray[np.float64] = np.log1p(recent_counts / np.array(TREND_SHARES)[:, np.newaxis]) - log_counts
    return trends


class Popularity:
    """Click counts of the training data.

    counts: (n_items + 1,) int64, row 0 is padding. recent_counts: (len(TREND_SHARES), n_items + 1) int64, the same of
    the latest shares of the clicks. ages: (n_items + 1,) int64, clicks since the item's first one, itself among them;
    0 = never clicked.
    """

    def __init__(self, counts: NDArray[np.int64], recent_counts: NDArray[np.int64], ages: NDArray[np.int64]) -> None:
        self.counts = counts
        self.ages = ages
        self.recent_counts = recent_counts
        self.log_counts: NDArray[np.float64] = np.log1p(counts)
        self.trends = trends_of(recent_counts, self.log_counts)

    @classmethod
    def fit(cls, items: NDArray[np.int32], n_items: int) -> "Popularity":
        """Count `items`, (n_events,) int32 `ItemIndex`, sessions in order of their end; 0 is left out."""
        known = items[items > 0]
        latest = [known[len(known) - int(share * len(known)) :] for share in TREND_SHARES]
        counts, *recent = (np.bincount(part, minlength=n_items + 1).astype(np.int64) for part in (known, *latest))
        ages = np.zeros(n_items + 1, np.int64)
        ages[known[::-1]] = np.arange(1, len(known) + 1)
        return cls(counts, np.stack(recent), ages)

    def with_unclicked(self, n_more: int) -> "Popularity":
        """Return the same with `n_more` further items that nobody clicked."""
        rows = ((0, 0), (0, n_more))
        return Popularity(*(np.pad(one, rows[-one.ndim :]) for one in (self.counts, self.recent_counts, self.ages)))

    @property
    def total(self) -> int:
        """Return how many clicks are counted."""
        return int(self.counts.sum())

    def candidates(self, k: int) -> Candidates:
        """Rank the `k` most clicked items; the scores are shares of all clicks."""
        clicked = np.flatnonzero(self.counts).astype(np.int32)
        return top_k(clicked, self.counts[clicked] / max(self.total, 1), k)

    def percentiles(self) -> NDArray[np.float64]:
        """Return each item's share of the catalogue that is clicked less, equals counting half; row 0 is NaN."""
        ordered = np.sort(self.counts[1:])
        below = np.searchsorted(ordered, self.counts, side="left")
        not_above = np.searchsorted(ordered, self.counts, side="right")
        percentiles = (below + not_above) / (2 * max(len(ordered), 1))
        percentiles[0] = np.nan
        return percentiles

    def save(self, path: Path) -> None:
        """Write one .npy: all counts in the first row, ages in the last."""
        rows = [self.counts[np.newaxis], self.recent_counts, self.ages[np.newaxis]]
        np.save(path, np.concatenate(rows), allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "Popularity":
        """Read what `save` wrote; raises ValueError on another file."""
        rows = np.load(path, allow_pickle=False)
        if rows.ndim != 2 or len(rows) != len(TREND_SHARES) + 2:
            raise ValueError(f"it holds an array of shape {rows.shape}, not {len(TREND_SHARES) + 2} rows")
        if rows.dtype != np.int64 or rows.min(initial=0) < 0:
            raise ValueError(f"it holds {rows.dtype}, or less than none, where clicks are counted")
        return cls(rows[0], rows[1:-1], rows[-1])
