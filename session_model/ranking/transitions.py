"""First-order successors: the SR baseline (Ludewig & Jannach, UMUAI 2018), an honest bar for every model."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.csr import flat_positions, starts_of, sums_by_group
from session_model.data.item_sequences import ItemSequences

MAX_STEPS = 10
SUCCESSORS_PER_ITEM = 100


class Transitions:
    """What followed each item, weight 1 / places between.

    starts: (n_items + 2,) int64; successors (n,) int32 `ItemIndex` and weights (n,) float32, best first in each row.
    """

    def __init__(self, starts: NDArray[np.int64], successors: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        self._starts = starts
        self._successors = successors
        self._weights = weights

    @classmethod
    def fit(cls, starts: NDArray[np.int64], items: NDArray[np.int32], n_items: int) -> "Transitions":
        """Count successors up to `MAX_STEPS` places away.

        starts: (n_sessions + 1,) int64. items: (n_events,) int32 `ItemIndex` up to `n_items`; 0 is left out.
        """
        known = ItemSequences(starts, items).known()
        pairs, weights = _pairs(known, n_items)
        followed, successors = pairs // (n_items + 1), (pairs % (n_items + 1)).astype(np.int32)
        order = np.lexsort((successors, -weights, followed))
        counts = np.bincount(followed, minlength=n_items + 1).astype(np.int64)
        kept_counts = np.minimum(counts, SUCCESSORS_PER_ITEM)
        best = order[flat_positions(starts_of(counts)[:-1], kept_counts)]
        return cls(starts_of(kept_counts), successors[best], weights[best].astype(np.float32))

    def query(self, items: NDArray[np.int32], k: int = SUCCESSORS_PER_ITEM) -> Candidates:
        """Rank the successors of the last item of the prefix `items` (length,) int32."""
        if not len(items):
            return Candidates.none()
        start, end = self._starts[items[-1]], self._starts[items[-1] + 1]
        row = slice(start, min(end, start + k))
        return Candidates(self._successors[row], self._weights[row])

    def save(self, path: Path) -> None:
        """Write the table as .npz."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, starts=self._starts, successors=self._successors, weights=self._weights)

    @classmethod
    def load(cls, path: Path) -> "Transitions":
        """Read what `save` wrote; raises ValueError or KeyError on another file."""
        with np.load(path, allow_pickle=False) as file:
            starts, successors, weights = file["starts"], file["successors"], file["weights"]
        is_sound = (
            starts.dtype == np.int64
            and successors.dtype == np.int32
            and weights.dtype == np.float32
            and starts.ndim == 1
            and len(starts) > 1
            and starts[0] == 0
            and starts[-1] == len(successors) == len(weights)
            and bool(np.all(np.diff(starts) >= 0))
            and bool(np.all((successors > 0) & (successors < len(starts) - 1)))
            and bool(np.isfinite(weights).all())
        )
        if not is_sound:
            raise ValueError("the table of successors does not fit together")
        return cls(starts, successors, weights)


def _pairs(sequences: ItemSequences, n_items: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sum the weights of each (item, successor), coded as item * (n_items + 1) + successor, ascending."""
    items, sessions = sequences.items.astype(np.int64), sequences.session_numbers()
    codes, weights = [], []
    for step in range(1, MAX_STEPS + 1):
        together = sessions[:-step] == sessions[step:]
        codes.append((items[:-step] * (n_items + 1) + items[step:])[together])
        weights.append(np.full(len(codes[-1]), 1 / step))
    pairs, which = np.unique(np.concatenate(codes), return_inverse=True)
    return pairs, sums_by_group(which, np.concatenate(weights), len(pairs))
