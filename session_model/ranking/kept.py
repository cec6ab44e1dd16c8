"""What the list before held, in a ranking, and where a few items are in it.

Compiled: with a hundred candidates NumPy takes longer to be called than to count. Without a compiler it does.
"""

import math
from collections.abc import Sequence

from schemas.ids import ItemIndex
from schemas.ranking import Candidates

try:
    from session_model.ranking.kept_kernel import places_of, raised
except ImportError:
    from session_model.ranking.kept_numpy import places_of, raised

__all__ = ["places_of", "with_kept"]


def with_kept(candidates: Candidates, kept: Sequence[ItemIndex], bonus: float) -> Candidates:
    """Add `bonus` to the log of the scores of what the list before held, and order anew."""
    return Candidates(*raised(candidates.item_indices, candidates.scores, kept, math.exp(bonus)))
