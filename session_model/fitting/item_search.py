"""Makes the search of a large catalogue, as wide as its measured recall asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.networks.next_item import NextItemNetwork
from session_model.ranking.item_search import (
    CELLED_ITEMS,
    CODES,
    SEARCHED_ITEMS,
    SUB_WIDTH,
    ItemSearch,
    SearchArrays,
    SearchSettings,
)
from session_model.runs.progress import TrainingProgress

LEAST_RECALL: Final = 0.99
LEAST_RECALL_IN_CELLS: Final = 0.97
"""Of the exact `RECALLED` best; a search that finds fewer is not used."""
RECALLED: Final = 100
RECALL_SESSIONS: Final = 512
"""On which recall is measured."""
SHORTLISTS: Final = (200, 250, 300, 400, 500, 800, 1_200)
PROBED_SHARES: Final = (1 / 64, 1 / 32, 1 / 16, 1 / 8)
"""Of the cells."""
_SCAN_COST: Final = 1 / 60
"""Of an item whose code is scanned, in items that are scored exactly, roughly."""
_BATCH: Final = 32
_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class _Question:
    """Session vectors, (n, width), and the rows of the items that score best with each, (n, `RECALLED`)."""

    vectors: NDArray[np.float32]
    best: NDArray[np.int64]


def fit_item_search(
    network: NextItemNetwork, prefixes: Sequence[NDArray[np.int32]], progress: TrainingProgress
) -> ItemSearch | None:
    """Return a search of the network's items that finds nearly all that scoring every item would list.

    prefixes: of sessions, each at most the network's `max_length`. None for a small catalogue, and where no search
    reaches the recall, which is said.
    """
    if network.n_items < SEARCHED_ITEMS or not prefixes:
        return None
    vectors = np.ascontiguousarray(network.item_matrix().T)
    question = _asked(vectors, np.concatenate(list(_session_vectors(network, prefixes[-RECALL_SESSIONS:]))))
    arrays = _quantized(vectors)
    n_cells = len(arrays.cells)
    trials = _trials(network.n_items, n_cells)
    progress.started("search of the catalogue", len(trials))
    least = LEAST_RECALL if n_cells == 1 else LEAST_RECALL_IN_CELLS
    best = 0.0
    search = ItemSearch(arrays, trials[0])
    for settings in trials:
        recall = _recall(search.with_settings(settings), question)
        if recall >= least:
            return search.with_settings(msgspec.structs.replace(settings, recall=round(recall, 4)))
        best = max(best, recall)
        progress.stepped()
    progress.noted(
        f"a search of the catalogue finds {best:.3f} of what scoring every item lists, below {least}: the model "
        "server scores every item"
    )
    return None


def _trials(n_items: int, n_cells: int) -> list[SearchSettings]:
    """List what is tried, the cheapest first."""
    probes = {max(1, round(n_cells * share)) for share in PROBED_SHARES}
    made = [SearchSettings(probes=one, shortlist=min(shortlist, n_items)) for one in probes for shortlist in SHORTLISTS]
    return sorted(made, key=lambda one: one.probes / n_cells * n_items * _SCAN_COST + one.shortlist)


def _session_vectors(network: NextItemNetwork, prefixes: Sequence[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
    item_vectors = tf.constant(network.item_vectors())
    for start in range(0, len(prefixes), _BATCH):
        some = prefixes[start : start + _BATCH]
        items = np.zeros((len(some), network.max_length), np.int32)
        for row, prefix in zip(items, some, strict=True):
            row[: len(prefix)] = prefix
        last = np.arange(len(some)) * network.max_length + [len(prefix) - 1 for prefix in some]
        yield network.read(tf.gather(item_vectors, items), tf.constant(last, tf.int32)).vectors.numpy()


def _asked(items: NDArray[np.float32], sessions: NDArray[np.float32]) -> _Question:
    best = [
        np.argpartition(some @ items.T, -RECALLED, axis=1)[:, -RECALLED:].copy()  # else all columns are kept
        for some in np.array_split(sessions, -(-len(sessions) // _BATCH))
    ]
    return _Question(sessions, np.concatenate(best))


def _recall(search: ItemSearch, question: _Question) -> float:
    """Return the mean share of the best items that are on the shortlist: what is on it is scored exactly."""
    found = search.shortlist(question.vectors)
    shares = [np.isin(best, rows).mean() for best, rows in zip(question.best, found, strict=True)]
    return float(np.mean(shares))


def _quantized(vectors: NDArray[np.float32]) -> SearchArrays:
    """Learn cells and codes of `vectors` (n_items, width); the same vectors give the same ones."""
    import faiss  # noqa: PLC0415 - only large catalogues need it

    n_items, width = vectors.shape
    n_subs = -(-width // SUB_WIDTH)
    n_cells = 1 if n_items < CELLED_ITEMS else 1 << round(np.log2(np.sqrt(n_items)))
    padded = np.pad(vectors, ((0, 0), (0, n_subs * SUB_WIDTH - width)))
    quantizer = faiss.ProductQuantizer(n_subs * SUB_WIDTH, n_subs, CODES.bit_length() - 1)
    quantizer.train(padded)
    centroids = faiss.vector_to_array(quantizer.centroids).reshape(n_subs, CODES, SUB_WIDTH)
    if n_cells == 1:
        cells, cell_of = vectors.mean(axis=0, keepdims=True), np.zeros(n_items, np.int32)
    else:
        means = faiss.Kmeans(width, n_cells, niter=10, seed=_SEED)
        means.train(vectors)
        cells, cell_of = means.centroids, means.index.search(vectors, 1)[1][:, 0].astype(np.int32)
    return SearchArrays(vectors, quantizer.compute_codes(padded), centroids, np.array(cells, np.float32), cell_of)
