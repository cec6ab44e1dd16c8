"""One ranking out of the candidate sources: the model, session-kNN, a reminder of what was already seen, content."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.csr import sums_by_group
from session_model.ranking.top_k import top_k

REMINDER_DECAY = 2.0
"""Clicks: the reminder's weight of an item is exp(-clicks since it was last seen / this)."""


class BlendWeights(msgspec.Struct, frozen=True):
    """Shares of the blend; what is left belongs to the model. content: of what is like the latest items."""

    neighbours: float
    reminder: float
    content: float = 0.0

    @property
    def model(self) -> float:
        """The model's share."""
        return 1.0 - self.neighbours - self.reminder - self.content


MODEL_ONLY = BlendWeights(0.0, 0.0)
SILENT: Final = Candidates.none()
"""What a source says that is not there."""


def reminder(items: NDArray[np.int32]) -> Candidates:
    """Rank the items of the prefix `items` (length,) int32 by how lately they were seen."""
    distinct, clicks_since = np.unique(items[::-1], return_index=True)
    return top_k(distinct, np.exp(-clicks_since / REMINDER_DECAY), len(distinct))


def blend_scores(
    sources: Sequence[Candidates], shares: Sequence[float]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Add up the sources, each scaled to sum to its share.

    Returns (n,) int32 `ItemIndex`, ascending, and (n,) float64: the items of every source with a share above 0.
    """
    used = [(source, share) for source, share in zip(sources, shares, strict=True) if share > 0 and len(source)]
    if not used:
        return np.empty(0, np.int32), np.empty(0, np.float64)
    items, which = np.unique(np.concatenate([source.item_indices for source, _ in used]), return_inverse=True)
    scores = np.concatenate([_scaled(source.scores, share) for source, share in used])
    return items, sums_by_group(which, scores, len(items))


def blend(
    model: Candidates,
    neighbours: Candidates,
    items: NDArray[np.int32],
    weights: BlendWeights,
    k: int,
    content: Candidates = SILENT,
) -> Candidates:
    """Rank by the weighted sum of the sources, one a reminder of the prefix `items` (length,) int32; the `k` best."""
    shares = (weights.model, weights.neighbours, weights.reminder, weights.content)
    candidates, scores = blend_scores((model, neighbours, reminder(items), content), shares)
    return top_k(candidates, scores, k)


def _scaled(scores: NDArray[np.float32], total: float) -> NDArray[np.float64]:
    present = float(scores.sum(dtype=np.float64))
    return scores.astype(np.float64) * (total / present if present > 0 else 0.0)
