"""Which shares of the sources rank best, chosen on the validation slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.metrics.ranking import gain, target_rank
from session_model.ranking.blend import MODEL_ONLY, BlendWeights, blend

CUT_OFF = 20
WEIGHT_GRID = tuple(
    BlendWeights(neighbours, reminder)
    for neighbours, reminder in product((0.0, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8), (0.0, 0.05, 0.1))
)


@dataclass(frozen=True, slots=True)
class BlendExample:
    """One target of the validation slice with what each source says before it.

    items: (length,) int32, the prefix, oldest first.
    """

    model: Candidates
    neighbours: Candidates
    items: NDArray[np.int32]
    target: ItemIndex


def choose_weights(examples: Sequence[BlendExample], grid: Sequence[BlendWeights] = WEIGHT_GRID) -> BlendWeights:
    """Take the weights with the best Recall@20 + MRR@20, the first of equals; the model alone without examples."""
    if not examples:
        return MODEL_ONLY
    return max(grid, key=lambda weights: sum(_gain(example, weights) for example in examples))


def _gain(example: BlendExample, weights: BlendWeights) -> float:
    ranking = blend(example.model, example.neighbours, example.items, weights, CUT_OFF)
    return gain(target_rank(ranking, example.target), CUT_OFF)
