"""From scores to a ranking: the one place that decides ties. Compiled; without a compiler at install, by NumPy."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates

try:
    from session_model.ranking.top_k_kernel import best_of_rows
except ImportError:
    from session_model.ranking.top_k_numpy import best_of_rows

__all__ = ["best_of_rows", "top_k"]

_START: Final = np.zeros(1, np.int64)


def top_k(item_indices: NDArray[np.int32], scores: NDArray[np.floating], k: int) -> Candidates:
    """Take the `k` best, equal scores by ascending `ItemIndex`.

    item_indices: (n,) unique; scores: (n,), compared as float32.
    """
    items, ranked = np.ascontiguousarray(item_indices, np.int32), np.ascontiguousarray(scores, np.float32)
    (best,) = best_of_rows(items, ranked, _START, np.array([len(items)], np.int64), k)
    return Candidates(*best)
