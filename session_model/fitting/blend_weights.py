"""Which shares of the sources rank best, chosen on the validation slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from schemas.ranking import Candidates
from session_model.metrics.ranking import gain, target_rank
from session_model.ranking.blend import MODEL_ONLY, SILENT, BlendWeights, blend

CUT_OFF = 20
WEIGHT_GRID = tuple(
    BlendWeights(neighbours, reminder)
    for neighbours, reminder in product((0.0, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8), (0.0, 0.05, 0.1))
)
CONTENT_SHARES = (0.05, 0.1, 0.2, 0.35)
"""Tried beside none; the other sources then share what is left."""
_STANDARD_ERRORS = 2.0
"""By which a share of content must be better than none, paired, to be taken: chance must not cost well-known items."""


@dataclass(frozen=True, slots=True)
class BlendExample:
    """One target of the validation slice with what each source says before it.

    items: (length,) int32, the prefix, oldest first.
    """

    model: Candidates
    neighbours: Candidates
    items: NDArray[np.int32]
    target: ItemIndex
    content: Candidates = SILENT


def choose_weights(examples: Sequence[BlendExample], grid: Sequence[BlendWeights] = WEIGHT_GRID) -> BlendWeights:
    """Take the weights with the best Recall@20 + MRR@20, the first of equals; the model alone without examples."""
    if not examples:
        return MODEL_ONLY
    without = max(grid, key=lambda weights: sum(_gain(example, weights) for example in examples))
    is_heard = any(len(example.content) for example in examples)
    return _with_content(without, examples) if is_heard else without


def _with_content(without: BlendWeights, examples: Sequence[BlendExample]) -> BlendWeights:
    """Give content the best share, if that is better than none by more than chance."""
    tried = [
        BlendWeights(without.neighbours * (1 - share), without.reminder * (1 - share), share)
        for share in CONTENT_SHARES
    ]
    gains = np.array([[_gain(example, weights) for example in examples] for weights in (without, *tried)])
    more = gains[1:] - gains[0]
    best = int(np.argmax(more.mean(axis=1)))
    error = more[best].std() / np.sqrt(len(examples))
    return tried[best] if more[best].mean() > _STANDARD_ERRORS * error else without


def _gain(example: BlendExample, weights: BlendWeights) -> float:
    ranking = blend(example.model, example.neighbours, example.items, weights, CUT_OFF, example.content)
    return gain(target_rank(ranking, example.target), CUT_OFF)
