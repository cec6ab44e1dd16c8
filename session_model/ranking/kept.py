"""What the list before held, in a ranking, and where a few items are in it.

Compiled: with a hundred candidates NumPy takes longer to be called than to count. Without a compiler it does.
"""

import math

from schemas.ids import ItemIndex
from schemas.ranking import Candidates, Neighbours

try:
    from session_model.ranking.kept_kernel import places_of, raised
except ImportError:
    from session_model.ranking.kept_numpy import places_of, raised

__all__ = ["anchors_of", "places_of", "with_kept"]


def with_kept(candidates: Candidates, kept: list[ItemIndex], bonus: float) -> Candidates:
    """Add `bonus` to the log of the scores of what the list before held, and order anew."""
    return Candidates(*raised(candidates.item_indices, candidates.scores, kept, math.exp(bonus)))


def anchors_of(neighbours: Neighbours, items: list[ItemIndex]) -> list[ItemIndex | None]:
    """Return for each item the one of the prefix on which most of its votes rest; None where there is none."""
    places = places_of(neighbours.voted, items)
    anchors = [-1 if place < 0 else int(neighbours.anchors[place]) for place in places]
    return [None if at < 0 else ItemIndex(int(neighbours.prefix[at])) for at in anchors]
