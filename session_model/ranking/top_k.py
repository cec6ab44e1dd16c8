"""From scores to a ranking: the one place that decides ties."""

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates


def top_k(item_indices: NDArray[np.int32], scores: NDArray[np.floating], k: int) -> Candidates:
    """Take the `k` best, equal scores by ascending `ItemIndex`.

    item_indices: (n,) unique; scores: (n,).
    """
    scores = scores.astype(np.float32)
    if len(scores) > k:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= threshold)
        item_indices, scores = item_indices[kept], scores[kept]
    order = np.lexsort((item_indices, -scores))[:k]
    return Candidates(item_indices[order].astype(np.int32), scores[order])
