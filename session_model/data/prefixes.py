"""Prefixes of sessions with what came next: what choices are made on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemIndex
from session_model.data.item_sequences import ItemSequences


@dataclass(frozen=True, slots=True)
class Prefix:
    """What was seen, (length,) int32 `ItemIndex`, and what came next."""

    items: NDArray[np.int32]
    target: ItemIndex


def draw_prefixes(sequences: ItemSequences, max_length: int, n_examples: int) -> list[Prefix]:
    """Draw targets evenly from all positions after the first."""
    first = np.repeat(sequences.starts[:-1], np.diff(sequences.starts))
    rows = np.arange(sequences.starts[0], sequences.starts[-1])
    asked = rows > first
    rows, first = rows[asked], first[asked]
    drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:n_examples])
    return [
        Prefix(sequences.items[max(start, row - max_length) : row], ItemIndex(int(sequences.items[row])))
        for row, start in zip(rows[drawn].tolist(), first[drawn].tolist(), strict=True)
    ]
