"""The inner loop of reranking in NumPy: where `session_model.ranking.rerank_kernel` could not be compiled."""

import numpy as np
from numpy.typing import NDArray


def join(  # noqa: PLR0913, PLR0917 - the kernel's arguments, which are arrays
    model_items: NDArray[np.int32],
    model_scores: NDArray[np.float32],
    neighbour_items: NDArray[np.int32],
    neighbour_scores: NDArray[np.float32],
    content_items: NDArray[np.int32],
    content_scores: NDArray[np.float32],
    prefix: NDArray[np.int32],
    items: NDArray[np.int32],
    columns: NDArray[np.float64],
    start: int,
) -> int:
    """Put the candidates of one row into `items` and `columns` from `start` on; returns how many they are.

    columns: (6, any) float64: scores of the model, of the neighbours and of content, -1 = not listed; how often the
    item stands in the `prefix`; clicks since it last did, infinite = never; 1 where it stands there before the last.
    """
    sources = ((model_items, model_scores), (neighbour_items, neighbour_scores), (content_items, content_scores))
    found = np.unique(np.concatenate([*(one for one, _ in sources), prefix]))
    own = columns[:, start : start + len(found)]
    items[start : start + len(found)] = found
    own[:3], own[3:] = -1.0, 0.0
    for column, (source, scores) in zip(own, sources, strict=False):
        column[np.searchsorted(found, source)] = scores
    _, _, _, times, since, before = own
    places = np.searchsorted(found, prefix)
    np.add.at(times, places, 1.0)
    since[:] = np.inf
    since[places] = np.arange(len(prefix) - 1, -1, -1)  # of equal places the last one counts
    before[places[-2:-1]] = 1.0
    return len(found)
