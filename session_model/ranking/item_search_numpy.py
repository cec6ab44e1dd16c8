"""The scores of shortlists in NumPy: where `session_model.ranking.item_search_kernel` could not be compiled."""

import numpy as np
from numpy.typing import NDArray


def scored(
    vectors: NDArray[np.float32],
    sessions: NDArray[np.float32],
    found: NDArray[np.int64],
    own: NDArray[np.int32],
    returns: NDArray[np.float32],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the rows of `own` and, behind them, of `found`, and the logit of each; minus infinity where it is no item.

    vectors: (n_items, width). sessions: (n, width). found: (n, shortlist) rows of vectors. own: (n, longest) likewise.
    -1 in both is none; returns: (n, longest), added to the logits of own. An item that stands at several places has its
    logit at the first of them, with the sum of its returns; one of own has none in found.
    """
    rows = np.concatenate([own, found.astype(np.int32)], axis=1)
    logits = np.matmul(vectors[rows], sessions[:, :, np.newaxis])[:, :, 0]
    is_same = own[:, :, np.newaxis] == own[:, np.newaxis]
    logits[:, : own.shape[1]] += np.matmul(is_same, returns[:, :, np.newaxis])[:, :, 0]
    is_absent = rows < 0
    is_absent[:, : own.shape[1]] |= np.tril(is_same, -1).any(axis=2)
    is_absent[:, own.shape[1] :] |= (rows[:, own.shape[1] :, np.newaxis] == own[:, np.newaxis]).any(axis=2)
    logits[is_absent] = -np.inf
    return rows, logits
