"""Two lists that take no network, which every release must beat: a linear one, and one without training."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates
from session_model.ranking.blend import REMINDER_DECAY, blend_scores
from session_model.ranking.top_k import top_k
from session_model.release.release import Release

LAST_CLICKS: Final = 2
"""Whose neighbours follow the session's own items."""
_READ: Final = 10
"""Clicks that the linear list reads; older ones weigh less than a hundredth."""


def linear_list(release: Release, items: NDArray[np.int32]) -> Candidates:
    """Add up the transitions of the prefix `items` (length,) int32, each click's less by how long ago it was.

    Linear in the vector of the session, with the counts of training as its matrix: what SLIST (Choi et al., WWW 2021)
    solves for, without the solving.
    """
    latest = items[-_READ:][::-1]
    rows = [release.parts.transitions.query(latest[place : place + 1]) for place in range(len(latest))]
    weights = np.exp(-np.arange(len(latest)) / REMINDER_DECAY)
    return top_k(*blend_scores(rows, weights.tolist()), release.manifest.candidate_count)


def untrained_list(release: Release, items: NDArray[np.int32]) -> Candidates:
    """List the items of the prefix `items` (length,) int32 by count, the latest first, then its neighbours' items.

    The neighbours are those of the last clicks.
    """
    if not len(items):
        return Candidates.none()
    own, since, counts = np.unique(items[::-1], return_index=True, return_counts=True)
    neighbours = release.neighbours(items[-LAST_CLICKS:])
    is_new = ~np.isin(neighbours.item_indices, own)
    highest = float(neighbours.scores.max(initial=0.0)) or 1.0
    scores = np.concatenate([counts + 1 - since / len(items), neighbours.scores[is_new] / highest])
    return top_k(np.concatenate([own, neighbours.item_indices[is_new]]), scores, release.manifest.candidate_count)
