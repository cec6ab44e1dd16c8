"""Makes what a release keeps of a file of item vectors: fewer dimensions, and the items that can be recommended."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InsessionError
from schemas.ids import ItemId
from session_model.data.vector_files import VectorFile
from session_model.data.vocabulary import Vocabulary
from session_model.ranking.item_vectors import DIMENSIONS, ItemVectors
from session_model.runs.progress import TrainingProgress

MAX_UNCLICKED: Final = 200_000
"""Items that nobody clicked of which a vector is kept, those of the catalog first."""
DEFAULT_SHARE: Final = 0.5
"""Of a likeness, where nothing tells what foretells better; what the catalog does not describe vectors decide alone."""
_SAMPLE: Final = 20_000
"""Vectors from which the axes are learned."""
_CHUNK: Final = 16_384


def fit_item_vectors(
    file: VectorFile, vocabulary: Vocabulary, catalog: Iterable[ItemId], progress: TrainingProgress
) -> ItemVectors:
    """Centre the vectors, keep their `DIMENSIONS` main axes, and scale each to unit length.

    All that an encoder gives has much in common, and likeness is in what is left (Mu & Viswanath, ICLR 2018).
    catalog: items that the shop describes today. Raises InsessionError where no item that was clicked has a vector.
    """
    row_of = {item_id: row for row, item_id in enumerate(file.item_ids)}
    clicked = np.array([row_of.get(item_id, -1) for item_id in vocabulary.item_ids], np.int64)
    n_clicked = int((clicked >= 0).sum())
    if not n_clicked:
        raise InsessionError(
            f"none of the {len(file.item_ids):,} item vectors is of an item that was clicked: they name items like "
            f"{file.item_ids[0]!r}, the clicks {vocabulary.item_ids[0]!r}; give the vectors the ids of the clicks"
        )
    others = [item_id for item_id in dict.fromkeys((*catalog, *file.item_ids)) if item_id in row_of]
    unclicked = [item_id for item_id in others if vocabulary.index_of(item_id) is None]
    kept = unclicked[:MAX_UNCLICKED]
    progress.noted(
        f"item vectors: {n_clicked:,} of {len(vocabulary):,} clicked items have one, {len(kept):,} others are kept"
        + (f", {len(unclicked) - len(kept):,} more are not" if len(unclicked) > len(kept) else "")
    )
    rows = np.concatenate([clicked, np.array([row_of[item_id] for item_id in kept], np.int64)])
    return ItemVectors(_reduced(file.vectors, rows), kept, DEFAULT_SHARE)


def _reduced(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float16]:
    """Return the `rows` of `vectors` on their main axes (PCA), zeros for a row below 0."""
    sample = vectors[:: max(1, len(vectors) // _SAMPLE)].astype(np.float64)
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh((sample - mean).T @ (sample - mean))
    axes = axes[:, ::-1][:, :DIMENSIONS]
    reduced = np.zeros((len(rows), axes.shape[1]), np.float16)
    for begin in range(0, len(rows), _CHUNK):
        chunk = rows[begin : begin + _CHUNK]
        placed = (vectors[chunk] - mean) @ axes
        lengths = np.linalg.norm(placed, axis=1, keepdims=True)
        has_one = (chunk[:, np.newaxis] >= 0) & (lengths > 0)
        reduced[begin : begin + _CHUNK] = np.divide(placed, lengths, out=np.zeros_like(placed), where=has_one)
    return reduced
