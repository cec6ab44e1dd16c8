"""The best of rankings in NumPy: where `session_model.ranking.top_k_kernel` could not be compiled."""

import numpy as np
from numpy.typing import NDArray


def best_of_rows(
    items: NDArray[np.int32], scores: NDArray[np.float32], starts: NDArray[np.int64], ends: NDArray[np.int64], k: int
) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Take the `k` best of each row, which reaches from its start to its end; equal scores by ascending item.

    What is not a number is as good as minus infinity.
    """
    return [_best(items[start:end], scores[start:end], k) for start, end in zip(starts, ends, strict=True)]


def _best(
    items: NDArray[np.int32], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    comparable = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    if len(scores) > k > 0:
        threshold = np.partition(comparable, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(comparable >= threshold)
        items, scores, comparable = items[kept], scores[kept], comparable[kept]
    order = np.lexsort((items, -comparable))[:k]
    return items[order], scores[order]
