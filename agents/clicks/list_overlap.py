"""How much of a list stays from one answer of a session to the next."""

from collections.abc import Sequence
from typing import Final

from schemas.ids import ItemId

KEPT_AT: Final = 10
"""Places of a list that are looked at for what is kept: what a shopper sees without a scroll."""
_PERSISTENCE: Final = 0.9
"""Of a reader from one place to the next: 86 % of what it looks at are then the first ten."""


def kept_share(before: Sequence[ItemId], now: Sequence[ItemId]) -> float:
    """Return the share of the first ten items of a list that are among the first ten of the list now; 1 = all."""
    seen = before[:KEPT_AT]
    return len(set(seen).intersection(now[:KEPT_AT])) / len(seen) if seen else 1.0


def rank_biased_overlap(one: Sequence[ItemId], other: Sequence[ItemId]) -> float:
    """Return how alike two rankings are, their first places above all: 0 = nothing in common, 1 = equal.

    Webber et al., TOIS 2010, to the depth of the shorter one, scaled so that equal lists give 1. No list has an item
    twice.
    """
    seen_once, shared, overlap, weight, whole = set[ItemId](), 0, 0.0, 1.0, 0.0
    for depth, pair in enumerate(zip(one, other, strict=False), 1):
        for item_id in pair:
            if item_id in seen_once:
                shared += 1
            seen_once.add(item_id)
        overlap += weight * shared / depth
        whole += weight
        weight *= _PERSISTENCE
    return overlap / whole if whole else 1.0
