"""usearch and ScaNN over the vectors of a release: run by `bench.model_step` with a Python that has both.

Reads `vectors` (n_items, width) and `sessions` (n, width) from the NPZ file in argv; prints one JSON object.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray
from scann import scann_ops_pybind
from usearch.index import Index

Array = NDArray[Any]

BATCH, K = 32, 100
CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 16, 128, 200
"""Of the graph: Malkov & Yashunin, TPAMI 2020."""
REORDERED = 300
"""ScaNN scores so many exactly."""


def _measured(search: Callable[[Array], Array], sessions: Array, vectors: Array) -> dict[str, float]:
    """Return milliseconds a batch and recall@100 of `search`, (n, width) -> rows of the items found."""
    found, times = [], []
    for start in range(0, len(sessions), BATCH):
        began = time.perf_counter()
        found.append(search(sessions[start : start + BATCH]))
        times.append(time.perf_counter() - began)
    best = (np.argpartition(one @ vectors.T, -K)[-K:] for one in sessions)
    recall = np.mean([np.isin(one, rows).mean() for one, rows in zip(best, np.concatenate(found), strict=True)])
    return {"ms": round(1e3 * statistics.median(times), 2), "recall": round(float(recall), 4)}


def _usearch(vectors: Array) -> Callable[[Array], Array]:
    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="bf16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )
    index.add(np.arange(len(vectors)), vectors / np.abs(vectors).max())
    return lambda sessions: index.search(sessions, K, threads=1).keys


def _scann(vectors: Array) -> Callable[[Array], Array]:
    builder = scann_ops_pybind.builder(vectors, K, "dot_product")
    if len(vectors) >= 200_000:
        leaves = round(np.sqrt(len(vectors)))
        builder = builder.tree(leaves, leaves // 16, training_sample_size=250_000)
    searcher = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(REORDERED).build()
    return lambda sessions: searcher.search_batched(sessions)[0]


def main() -> None:
    """Measure both."""
    arrays = np.load(sys.argv[1])
    vectors, sessions = np.ascontiguousarray(arrays["vectors"]), arrays["sessions"]
    makers = {"usearch": _usearch, "scann": _scann}
    json.dump({name: _measured(make(vectors), sessions, vectors) for name, make in makers.items()}, sys.stdout)


if __name__ == "__main__":
    main()
