"""Scored items on their way from a model to an answer."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items with scores, best first, ties by `ItemIndex`.

    item_indices: (n,) int32, unique, never 0.
    scores: (n,) float32, descending.
    """

    item_indices: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.item_indices)

    @classmethod
    def none(cls) -> "Candidates":
        """No candidate at all."""
        return cls(np.empty(0, np.int32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Neighbours(Candidates):
    """What past sessions like a session's prefix vote for, and for which item of it.

    voted, anchors: (n,) int32, in no order: items that got a vote, and for each the place in `prefix` of the item whose
    sessions gave over two thirds of its votes, so that it would fall the furthest without that one; -1 = none gave so
    many. (Nine in ten of those are the first cause, of all that gave over half eight: `bench.reasons`.)
    prefix: (length,) int64 `ItemIndex`, distinct.
    """

    voted: NDArray[np.int32]
    anchors: NDArray[np.int32]
    prefix: NDArray[np.int64]

    @classmethod
    def none(cls) -> "Neighbours":
        """Return what votes for nothing."""
        no_items = np.empty(0, np.int32)
        return cls(no_items, np.empty(0, np.float32), no_items, no_items, np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One row of a Predict request.

    items: (length,) int32 `ItemIndex`, oldest first, at most the release's `max_length` latest; an unseen item is read
    as the known one most like it, or left out where nothing is known of its content.
    features: (n_features,) float32, the prefix features in the release's order.
    is_by_content: True = not one item is read as itself.
    """

    items: NDArray[np.int32]
    features: NDArray[np.float32]
    is_by_content: bool = False


class IntentProbabilities(NamedTuple):
    """Calibrated probabilities of what a shopper is about to do; its order is that of a release's `intent` columns.

    purchase: of a purchase later in the session. leave: of no further event in it. cart_abandonment: that it ends with
    something in the cart, asked while something is. None: not asked, or not learned (NaN in a tensor).
    """

    purchase: float | None = None
    leave: float | None = None
    cart_abandonment: float | None = None

    @property
    def is_known(self) -> bool:
        """Return whether at least one is there."""
        return any(probability is not None for probability in self)


NO_INTENT = IntentProbabilities()


@dataclass(frozen=True, slots=True)
class SessionReading:
    """What a model whose catalogue is searched makes of one row.

    vector: (width,) float32, to be multiplied with an item's for its logit.
    returns: (at least length,) float32, to be added to the logit of the item at each place of the row.
    """

    vector: NDArray[np.float32]
    returns: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """One row of a Predict response.

    reading: instead of the candidates, which are none, where the release searches its catalogue by it.
    """

    candidates: Candidates
    intent: IntentProbabilities
    reading: SessionReading | None = None
