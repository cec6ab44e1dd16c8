"""The search of a large catalogue: the items that score best with a session's vector, without scoring every item.

Product quantization (Jégou et al., TPAMI 2011) of 4 bits a code, scanned in registers (André et al., VLDB 2015) by
faiss, finds a shortlist; beyond `CELLED_ITEMS` items, in the likeliest cells of an inverted file only. What stands on
the shortlist is scored as the SavedModel would (docs/adr/0021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates, SessionReading
from session_model.ranking.top_k import best_of_rows

CODES: Final = 16
"""A sub-quantizer has so many centroids: 4 bits."""
SUB_WIDTH: Final = 2
"""Columns that one sub-quantizer codes."""
TAIL_SAMPLE: Final = 1_024
"""Items by which all that are not listed are judged in the softmax."""
_ABSENT: Final = -1
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
            and 0 < self.vectors.shape[1] == self.cells.shape[1] <= n_subs * SUB_WIDTH
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
        self._cells, self._index = _index(arrays, settings.probes)  # faiss points to the cells without owning them
        self._padding = ((0, 0), (0, len(arrays.centroids) * SUB_WIDTH - arrays.vectors.shape[1]))

    def rank(
        self, readings: Sequence[SessionReading], prefixes: Sequence[NDArray[np.int32]], k: int
    ) -> list[Candidates]:
        """Rank the catalogue for each of one or more rows, at most `k` items; the scores are softmax probabilities.

        The items of the prefix are always scored. What is not listed is in the softmax as a sample of it says: the
        standard deviation of the logarithm of its sum was .04 on Diginetica.
        """
        vectors = np.stack([reading.vector for reading in readings])
        own, returns, repeats = _returned(readings, prefixes)
        found = self.shortlist(vectors).astype(np.int32)
        rows = np.concatenate([own, found], axis=1)
        logits = np.matmul(self._vectors.take(rows, axis=0, mode="wrap"), vectors[:, :, np.newaxis])[:, :, 0]
        logits[:, : own.shape[1]] += returns
        is_absent = rows == _ABSENT
        is_absent[:, : own.shape[1]] |= repeats
        is_absent[:, own.shape[1] :] |= (found[:, :, np.newaxis] == own[:, np.newaxis]).any(axis=2)
        logits[is_absent] = -np.inf
        starts = np.arange(len(rows), dtype=np.int64) * rows.shape[1]
        items = (rows + 1).ravel()
        counts = np.minimum(rows.shape[1] - is_absent.sum(axis=1), k).tolist()
        best = best_of_rows(items, logits.astype(np.float32).ravel(), starts, starts + rows.shape[1], k)
        others = np.matmul(self._sample, vectors[:, :, np.newaxis])[:, :, 0]
        return [
            Candidates(listed[:count], self._probabilities(scores[:count], row_others))
            for (listed, scores), count, row_others in zip(best, counts, others, strict=True)
        ]

    def shortlist(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the rows of the items that may score best, (n, `settings.shortlist`); -1 where there are fewer."""
        rows: NDArray[np.int64] = self._index.search(np.pad(vectors, self._padding), self.settings.shortlist)[1]
        return rows

    def _probabilities(self, logits: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn the listed logits, highest first, into probabilities; others: those of the sample."""
        exponentials = np.exp(logits - logits[0])
        tail = np.exp(others[others < logits[-1]] - logits[0]).sum(dtype=np.float64)
        total = exponentials.sum(dtype=np.float64) + tail * (len(self.arrays.vectors) / len(others))
        return np.asarray(exponentials / total, np.float32)

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
            and 0 < settings.shortlist <= n_items
        )
        if not is_sound:
            raise ValueError("the item search does not fit together, or belongs to another vocabulary")
        return cls(arrays, settings)


def _returned(
    readings: Sequence[SessionReading], prefixes: Sequence[NDArray[np.int32]]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the rows of the prefixes' items, -1 behind, what is added to each one's logit, and which are repeats."""
    own = np.full((len(prefixes), max(map(len, prefixes))), _ABSENT, np.int32)
    returns = np.zeros(own.shape, np.float32)
    for row, (reading, items) in enumerate(zip(readings, prefixes, strict=True)):
        own[row, : len(items)] = items
        returns[row, : len(items)] = reading.returns[: len(items)]
    own[own > 0] -= 1
    is_same = own[:, :, np.newaxis] == own[:, np.newaxis]
    repeats = np.tril(is_same, -1).any(axis=2)
    return own, np.matmul(is_same, returns[:, :, np.newaxis])[:, :, 0], repeats


def _index(arrays: SearchArrays, probes: int) -> tuple[Any, Any]:
    """Build faiss's indices of the cells and of the codes in them.

    One thread searches, so that no core of the model server's is taken.
    """
    import faiss  # noqa: PLC0415 - 40 MB that a worker without a large catalogue need not have

    faiss.omp_set_num_threads(1)
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
    index.nprobe = probes
    return cells, index
