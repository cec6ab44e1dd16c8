"""How often each item was clicked: the last resort of the fallback chain, and the yardstick of popularity bias."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.ranking import top_k


class Popularity:
    """Click counts of the training data. counts: (n_items + 1,) int64, row 0 is padding."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.counts = counts

    @classmethod
    def fit(cls, items: NDArray[np.int32], n_items: int) -> "Popularity":
        """Count `items`, (n_events,) int32 `ItemIndex`; 0 is left out."""
        counts = np.bincount(items, minlength=n_items + 1).astype(np.int64)
        counts[0] = 0
        return cls(counts)

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
        """Write the counts as .npy."""
        np.save(path, self.counts, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "Popularity":
        """Read what `save` wrote; raises ValueError on another file."""
        return cls(np.load(path, allow_pickle=False))
