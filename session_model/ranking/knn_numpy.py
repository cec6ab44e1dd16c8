"""The inner loops of a session-kNN query in NumPy: where `session_model.ranking.knn_kernel` could not be compiled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from session_model.csr import flat_positions, row_numbers, sums_by_group


class Kernel:
    """Holds the arrays of an index; see `session_model.ranking.knn.SessionKnn` for their shapes.

    weights: by session (n_sessions,), by item as a candidate (n_items + 1,), by distance (2 * max_distance + 1,).
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        weights: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
        neighbours: int,
    ) -> None:
        self._session_starts = arrays["session_starts"]
        self._session_items = arrays["session_items"]
        self._posting_starts = arrays["posting_starts"]
        self._posting_sessions = arrays["posting_sessions"]
        self._posting_places = arrays["posting_places"]
        self._session_weights, self._candidate_weights, self._distance_weights = weights
        self._neighbours = neighbours

    def votes(
        self, prefix: NDArray[np.int64], match_weights: NDArray[np.float64], anchor_weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return items (n,) int32 and scores (n,) float64, in no order, for a prefix's distinct items, latest first.

        match_weights, anchor_weights: (length of prefix,): of a session that shares the item, and of it as an anchor.
        """
        lengths = self._posting_starts[prefix + 1] - self._posting_starts[prefix]
        postings = flat_positions(self._posting_starts[prefix], lengths)
        matched = row_numbers(lengths)
        # A session's first posting is its anchor: they come in the order of the prefix. Sums are made in the order of
        # first appearance, as the compiled kernel makes them.
        sessions, first, which = np.unique(self._posting_sessions[postings], return_index=True, return_inverse=True)
        appearance = np.argsort(first)
        sessions, first = sessions[appearance], first[appearance]
        similarity = sums_by_group(which, match_weights[matched], len(sessions))[appearance]
        similarity *= self._session_weights[sessions]
        nearest = _nearest(similarity, self._neighbours)
        votes = (similarity * anchor_weights[matched[first]])[nearest]
        return self._count(sessions[nearest], votes, self._posting_places[postings[first[nearest]]])

    def _count(
        self, sessions: NDArray[np.int32], votes: NDArray[np.float64], anchor_places: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        starts = self._session_starts[sessions]
        lengths = self._session_starts[sessions + 1] - starts
        entries = flat_positions(starts, lengths)
        distances = entries - np.repeat(starts + anchor_places, lengths)
        furthest = len(self._distance_weights) // 2
        np.clip(distances, -furthest, furthest, out=distances)
        weights = np.repeat(votes, lengths) * self._distance_weights[distances + furthest]
        scores = sums_by_group(self._session_items[entries], weights, len(self._candidate_weights))
        items = np.flatnonzero(scores).astype(np.int32)
        return items, scores[items] * self._candidate_weights[items]


def _nearest(similarity: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Choose the `n` most similar and all that tie with the last of them, so that no order of storage decides."""
    if len(similarity) <= n:
        return np.arange(len(similarity))
    threshold = np.partition(similarity, len(similarity) - n)[len(similarity) - n]
    return np.flatnonzero(similarity >= threshold)
