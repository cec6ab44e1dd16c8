"""Scored items on their way from a model to an answer."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """One row of a Predict response.

    purchase_probability is None where the release has no purchase labels.
    """

    candidates: Candidates
    purchase_probability: float | None
