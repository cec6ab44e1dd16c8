"""The search of a large catalogue: the items that score best with a session's vector, without scoring every item.

Product quantization (Jégou et al., TPAMI 2011) of 4 bits a code, scanned in registers (André et al., VLDB 2015) by
faiss, finds a shortlist; beyond `CELLED_ITEMS` items, in the likeliest cells of an inverted file only. What stands on
the shortlist is scored as the SavedModel would (docs/adr/0021).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates, SessionReading
from session_model.ranking.top_k import best_of_rows

try:
    from session_model.ranking.item_search_kernel import scored
except ImportError:
    from session_model.ranking.item_search_numpy import scored

SEARCHED_ITEMS: Final = 20_000
"""From so many on a catalogue is searched; the SavedModel scores a smaller one whole."""
CELLED_ITEMS: Final = 200_000
"""From so many on it lies in cells."""
CODES: Final = 16
"""A sub-quantizer has so many centroids: 4 bits."""
SUB_WIDTH: Final = 2
"""Columns that one sub-quantizer codes."""
MAX_SHORTLIST: Final = 10_000
"""Of a row; more is no shortlist, and much memory."""
TAIL_SAMPLE: Final = 512
"""Items by which all that are not listed are judged in the softmax."""
_ROUNDING: Final = 1e-4
"""Of a logit, by the order of its sums."""
_SETTINGS_FILE = "settings.json"
_ARRAYS = {
    "vectors": np.dtype(np.float32),
    "codes": np.dtype(np.uint8),
    "centroids": np.dtype(np.float32),
    "cells": np.dtype(np.float32),
    "cell_of": np.dtype(np.int32),
}


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How far is searched, and what that finds.

    probes: cells that are looked into. shortlist: items that are scored. recall: mean share of the exact 100 best that
    are found, measured on sessions of the training data at export.
    """

    probes: int
    shortlist: int
    recall: float = 0.0


@dataclass(frozen=True, slots=True)
class SearchArrays:
    """What is searched; rows are items by `ItemIndex`, from 1.

    vectors: (n_items, width) float32, to be multiplied with a session's vector for the logit.
    codes: (n_items, code_size) uint8, two codes a byte. centroids: (n_subs, `CODES`, `SUB_WIDTH`) float32 of the
    columns, those beyond width zero. cells: (n_cells, width) float32. cell_of: (n_items,) int32.
    """

    vectors: NDArray[np.float32]
    codes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    cells: NDArray[np.float32]
    cell_of: NDArray[np.int32]

    @property
    def are_sound(self) -> bool:
        """Return whether they fit together, so that no index leads outside."""
        n_subs = len(self.centroids) if self.centroids.ndim == 3 else 0
        return (
            self.vectors.ndim == self.cells.ndim == 2
            and len(self.cells) > 0
            and 0 < self.vectors.shape[1] == self.cells.shape[1]
            and n_subs == -(-self.vectors.shape[1] // SUB_WIDTH)
            and len(self.cells) <= len(self.vectors)
            and self.vectors.flags.c_contiguous
            and self.centroids.shape == (n_subs, CODES, SUB_WIDTH)
            and self.codes.shape == (len(self.vectors), (n_subs + 1) // 2)
            and self.cell_of.shape == (len(self.vectors),)
            and self.cell_of.min(initial=0) >= 0
            and self.cell_of.max(initial=0) < len(self.cells)
            and all(bool(np.isfinite(array).all()) for array in (self.centroids, self.cells))
        )


class ItemSearch:
    """Finds candidates by a session's vector. Immutable: safe to share between threads.

    A row is ranked alike whatever else is asked with it. The vectors may be mapped: a query reads its shortlist's.
    """

    def __init__(self, arrays: SearchArrays, settings: SearchSettings) -> None:
        self.settings = settings
        self.arrays = arrays
        n_items = len(arrays.vectors)
        drawn = np.random.default_rng(0).permutation(n_items)[:TAIL_SAMPLE]
        self._vectors = np.asarray(arrays.vectors)
        self._sample = np.ascontiguousarray(arrays.vectors[np.sort(drawn)])
        import faiss  # noqa: PLC0415 - 40 MB that a worker without a large catalogue need not have

        self._faiss: Any = faiss
        self._cells, self._index = _index(faiss, arrays)
        self._width = len(arrays.centroids) * SUB_WIDTH

    def with_settings(self, settings: SearchSettings) -> "ItemSearch":
        """Return a search of the same arrays that goes as far as `settings` say."""
        other = copy(self)
        other.settings = settings
        return other

    def rank(
        self, readings: Sequence[SessionReading], prefixes: Sequence[NDArray[np.int32]], k: int
    ) -> list[Candidates]:
        """Rank the catalogue for each of one or more rows, at most `k` items; the scores are softmax probabilities.

        The items of the prefix are always scored. What is not listed is in the softmax as a sample of it says: the
        standard deviation of the logarithm of its sum was .04 on Diginetica.
        """
        vectors = np.stack([reading.vector for reading in readings])
        own, returns = _returned(readings, prefixes)
        rows, logits = scored(self._vectors, vectors, self.shortlist(vectors), own, returns)
        is_scored = np.isfinite(logits)
        logits[~is_scored] = -np.inf
        counts = np.minimum(np.count_nonzero(is_scored, axis=1), k)
        starts = np.arange(len(rows), dtype=np.int64) * rows.shape[1]
        best = best_of_rows((rows + 1).ravel(), logits.ravel(), starts, starts + rows.shape[1], k)
        scores = self._probabilities(np.stack([row_scores for _, row_scores in best]), counts, vectors)
        return [
            Candidates(row_items[:count], row_scores[:count])
            for (row_items, _), row_scores, count in zip(best, scores, counts.tolist(), strict=True)
        ]

    def shortlist(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the rows of the items that may score best, (n, `settings.shortlist`); -1 where there are fewer."""
        self._faiss.omp_set_num_threads(1)  # of the calling thread; two would spin on the model server's core
        how = self._faiss.SearchParametersIVF(nprobe=self.settings.probes)
        missing = self._width - vectors.shape[1]
        asked = np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors
        rows: NDArray[np.int64] = self._index.search(asked, self.settings.shortlist, params=how)[1]
        return rows

    def _probabilities(
        self, logits: NDArray[np.float32], counts: NDArray[np.intp], vectors: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Turn the listed logits of each row, highest first, `counts` of them, into probabilities.

        What is not listed scores below the last one that is: so does what counts of the sample, by more than rounding.
        """
        highest = np.where(counts[:, np.newaxis] > 0, logits[:, :1], 0.0)
        lowest = np.take_along_axis(logits, np.maximum(counts, 1)[:, np.newaxis] - 1, axis=1) - _ROUNDING
        others = np.matmul(self._sample, vectors[:, :, np.newaxis])[:, :, 0]
        tail = np.where(others < lowest, np.exp(np.minimum(others - highest, 0.0)), 0.0).sum(axis=1, keepdims=True)
        exponentials = np.exp(logits - highest)
        total = exponentials.sum(axis=1, keepdims=True) + tail * (len(self._vectors) / len(self._sample))
        return np.asarray(exponentials / np.maximum(total, np.finfo(np.float32).tiny), np.float32)

    def save(self, folder: Path) -> None:
        """Write the arrays and the settings into a new folder."""
        folder.mkdir()
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self.arrays, name), allow_pickle=False)
        (folder / _SETTINGS_FILE).write_bytes(msgspec.json.encode(self.settings))

    @classmethod
    def load(cls, folder: Path, n_items: int) -> "ItemSearch":
        """Map what `save` wrote for a vocabulary of `n_items`; raises ValueError on other files."""
        settings = msgspec.json.decode((folder / _SETTINGS_FILE).read_bytes(), type=SearchSettings)
        found = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
        arrays = SearchArrays(**found)
        is_sound = (
            all(found[name].dtype == dtype for name, dtype in _ARRAYS.items())
            and arrays.are_sound
            and len(arrays.vectors) == n_items
            and 0 < settings.probes <= len(arrays.cells)
            and 0 < settings.shortlist <= min(n_items, MAX_SHORTLIST)
        )
        if not is_sound:
            raise ValueError("the item search does not fit together, or belongs to another vocabulary")
        return cls(arrays, settings)


def _returned(
    readings: Sequence[SessionReading], prefixes: Sequence[NDArray[np.int32]]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the rows of the prefixes' items, -1 behind, and what is added to the logit of each."""
    own = np.full((len(prefixes), max(map(len, prefixes))), -1, np.int32)
    returns = np.zeros(own.shape, np.float32)
    for row, (reading, items) in enumerate(zip(readings, prefixes, strict=True)):
        own[row, : len(items)] = items - 1
        returns[row, : len(items)] = reading.returns[: len(items)]
    return own, returns


def _index(faiss: Any, arrays: SearchArrays) -> tuple[Any, Any]:
    """Build faiss's indices of the cells and of the codes in them; the second points to the first without owning it."""
    width = arrays.centroids.shape[0] * SUB_WIDTH
    cells = faiss.IndexFlatIP(width)
    cells.add(np.pad(arrays.cells, ((0, 0), (0, width - arrays.cells.shape[1]))))
    plain: Any = faiss.IndexIVFPQ(cells, width, cells.ntotal, len(arrays.centroids), 4, faiss.METRIC_INNER_PRODUCT)
    plain.by_residual = False
    faiss.copy_array_to_vector(np.array(arrays.centroids).ravel(), plain.pq.centroids)
    plain.is_trained = True
    order = np.argsort(arrays.cell_of, kind="stable")
    starts = np.searchsorted(arrays.cell_of[order], np.arange(cells.ntotal + 1))
    for cell, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        rows = order[start:end]
        codes = np.ascontiguousarray(arrays.codes[rows])
        plain.invlists.add_entries(cell, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    plain.ntotal = len(order)
    index = faiss.IndexIVFPQFastScan(plain)
    index.orig_invlists = None  # with what it was made of, which would keep all codes a second time
    index.referenced_objects.clear()
    return cells, index
