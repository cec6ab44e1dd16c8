"""How often each item was clicked: the last resort of the fallback chain, and the yardstick of popularity bias."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.ranking import top_k

TREND_SHARES = (0.2, 0.03)
"""Of the clicks, the latest: what they say beyond all of them is a trend."""


class Popularity:
    """Click counts of the training data.

    counts: (n_items + 1,) int64, row 0 is padding. recent_counts: (len(TREND_SHARES), n_items + 1) int64, the same of
    the latest shares of the clicks.
    """

    def __init__(self, counts: NDArray[np.int64], recent_counts: NDArray[np.int64]) -> None:
        self.counts = counts
        self._recent_counts = recent_counts
        self.log_counts: NDArray[np.float64] = np.log1p(counts)
        shares = np.array(TREND_SHARES)[:, np.newaxis]
        self.trends: NDArray[np.float64] = np.log1p(recent_counts / shares) - self.log_counts

    @classmethod
    def fit(cls, items: NDArray[np.int32], n_items: int) -> "Popularity":
        """Count `items`, (n_events,) int32 `ItemIndex`, sessions in order of their end; 0 is left out."""
        known = items[items > 0]
        latest = [known[len(known) - int(share * len(known)) :] for share in TREND_SHARES]
        counts, *recent = (np.bincount(part, minlength=n_items + 1).astype(np.int64) for part in (known, *latest))
        return cls(counts, np.stack(recent))

    def with_unclicked(self, n_more: int) -> "Popularity":
        """Give the same with `n_more` further items that nobody clicked."""
        return Popularity(np.pad(self.counts, (0, n_more)), np.pad(self._recent_counts, ((0, 0), (0, n_more))))

    def candidates(self, k: int) -> Candidates:
        """Rank the `k` most clicked items; the scores are shares of all clicks."""
        clicked = np.flatnonzero(self.counts).astype(np.int32)
        return top_k(clicked, self.counts[clicked] / max(int(self.counts.sum()), 1), k)

    def percentiles(self) -> NDArray[np.float64]:
        """Give each item's share of the catalogue that is clicked less, equals counting half; row 0 is NaN."""
        ordered = np.sort(self.counts[1:])
        below = np.searchsorted(ordered, self.counts, side="left")
        not_above = np.searchsorted(ordered, self.counts, side="right")
        percentiles = (below + not_above) / (2 * max(len(ordered), 1))
        percentiles[0] = np.nan
        return percentiles

    def save(self, path: Path) -> None:
        """Write the counts as one .npy, all of them in the first row."""
        np.save(path, np.concatenate([self.counts[np.newaxis], self._recent_counts]), allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "Popularity":
        """Read what `save` wrote; raises ValueError on another file."""
        rows = np.load(path, allow_pickle=False)
        if rows.ndim != 2 or len(rows) != 1 + len(TREND_SHARES):
            raise ValueError(f"it holds an array of shape {rows.shape}, not {1 + len(TREND_SHARES)} rows of counts")
        return cls(rows[0], rows[1:])
