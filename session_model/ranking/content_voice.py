"""What a session's latest items are like, as a source of the blend: items of one content are looked at together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.csr import sums_by_group
from session_model.ranking.likeness import Likeness, weights_of
from session_model.ranking.top_k import top_k

ALIKE: Final = 30
"""Well-known items that an item speaks for."""
LATEST: Final = 5
"""Items of a prefix that speak, each e times louder than the one before."""


class ContentVoice:
    """By item, the well-known items most like it. Immutable: safe to share between threads.

    alike: (n_rows, ALIKE) int32 `ItemIndex`, 0 where there are fewer; row 0 is padding. Items beyond
    the rows are silent.
    weights: (n_rows, ALIKE) float32, in each row they sum to 1, or to 0.
    """

    def __init__(self, alike: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        self._alike = alike
        self._weights = weights

    @classmethod
    def fit(cls, likeness: Likeness, records: Iterable[tuple[ItemIndex, CatalogItem]], n_items: int) -> "ContentVoice":
        """Let the items of `records` speak, each at its index, at most `n_items`."""
        alike, weights = np.zeros((n_items + 1, ALIKE), np.int32), np.zeros((n_items + 1, ALIKE), np.float32)
        for index, record in records:
            found = likeness.nearest(record, ALIKE + 1)
            others = np.flatnonzero(found.item_indices != index)[:ALIKE]
            if len(others):
                found = Candidates(found.item_indices[others], found.scores[others])
                alike[index, : len(found)] = found.item_indices
                weights[index, : len(found)] = weights_of(found)
        return cls(alike, weights)

    def query(self, items: NDArray[np.int32], k: int) -> Candidates:
        """Rank the `k` items most like the latest of the prefix `items` (length,) int32, oldest first; may be empty."""
        latest = items[-LATEST:][::-1]
        louder = np.exp(-np.arange(len(latest), dtype=np.float64))
        speak = latest < len(self._alike)
        alike = self._alike[latest[speak]]
        weights = self._weights[latest[speak]].astype(np.float64) * louder[speak, np.newaxis]
        found, which = np.unique(alike[weights > 0], return_inverse=True)
        return top_k(found, sums_by_group(which, weights[weights > 0], len(found)), k)

    def save(self, path: Path) -> None:
        """Write the table as .npz."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, alike=self._alike, weights=self._weights)

    @classmethod
    def load(cls, path: Path, n_known: int) -> "ContentVoice":
        """Read what `save` wrote for a vocabulary of `n_known` items; raises ValueError or KeyError on another file."""
        with np.load(path, allow_pickle=False) as file:
            alike, weights = file["alike"], file["weights"]
        is_sound = (
            alike.dtype == np.int32
            and weights.dtype == np.float32
            and alike.ndim == 2
            and alike.shape == weights.shape
            and 1 <= len(alike) <= n_known + 1
            and (not alike.size or (alike.min() >= 0 and alike.max() <= n_known))
            and bool(np.isfinite(weights).all())
            and not bool(np.any(weights[alike == 0]))
        )
        if not is_sound:
            raise ValueError("the lists of what is alike do not fit together, or belong to another vocabulary")
        return cls(alike, weights)
