from collections import Counter
from collections.abc import Iterable

import numpy as np

from bench.training import padded_batches
from session_model.data.item_sequences import ItemSequences
from session_model.networks.batches import Batch, BatchPlan

SEQUENCES = ItemSequences(np.array([0, 3, 4, 9, 9, 11]), np.arange(1, 12, dtype=np.int32))


def _pairs(batches: Iterable[Batch]) -> Counter[tuple[tuple[int, ...], int]]:
    """Count each (prefix, target)."""
    found = Counter[tuple[tuple[int, ...], int]]()
    for batch in batches:
        for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
            row, place = divmod(position, batch.inputs.shape[1])
            found[tuple(batch.inputs[row, : place + 1].tolist()), target] += 1
    return found


def test_both_kinds_of_batches_teach_the_same() -> None:
    """The padded ones have every target behind the same prefix, in rows that are all as long as the longest may be."""
    padded = list(padded_batches(SEQUENCES, 3, 4, np.random.default_rng(0)))
    bucketed = BatchPlan(SEQUENCES, max_length=3, batch_targets=4).epoch(np.random.default_rng(0))
    assert _pairs(padded) == _pairs(bucketed)
    assert {batch.inputs.shape[1] for batch in padded} == {3}
    assert len(padded) > 1
