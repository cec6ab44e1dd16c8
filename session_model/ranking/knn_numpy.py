"""The inner loops of a session-kNN query in NumPy: where `session_model.ranking.knn_kernel` could not be compiled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from session_model.csr import flat_positions, row_numbers, sums_by_group

MAX_PREFIX = 20
"""Clicks of a session that a query reads, its latest."""


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
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
        """Return items (n,) int32, scores (n,) float64 above 0 and anchors (n,) int32, in no order.

        An item's anchor is the place in `prefix` of the one whose sessions gave it more than two thirds of its votes;
        -1 = there is none.

        prefix: the distinct items of a session, latest first. match_weights, anchor_weights: (length of prefix,): of a
        session that shares the item, and of it as an anchor.
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
        anchors = matched[first]
        votes = (similarity * anchor_weights[anchors])[nearest]
        return self._count(sessions[nearest], votes, anchors[nearest], self._posting_places[postings[first[nearest]]])

    def _count(
        self,
        sessions: NDArray[np.int32],
        votes: NDArray[np.float64],
        anchors: NDArray[np.int64],
        anchor_places: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
        starts = self._session_starts[sessions]
        lengths = self._session_starts[sessions + 1] - starts
        entries = flat_positions(starts, lengths)
        distances = entries - np.repeat(starts + anchor_places, lengths)
        furthest = len(self._distance_weights) // 2
        np.clip(distances, -furthest, furthest, out=distances)
        weights = np.repeat(votes, lengths) * self._distance_weights[distances + furthest]
        scores = sums_by_group(self._session_items[entries], weights, len(self._candidate_weights))
        items = np.flatnonzero(scores).astype(np.int32)
        # One number for an item and an anchor: of these there are as many as entries at most.
        pairs = self._session_items[entries] * np.int64(MAX_PREFIX) + np.repeat(anchors, lengths)
        distinct, which = np.unique(pairs, return_inverse=True)
        has_most = 3.0 * sums_by_group(which, weights, len(distinct)) > 2.0 * scores[distinct // MAX_PREFIX]
        anchor_of = np.full(len(items), -1, np.int32)
        anchor_of[np.searchsorted(items, distinct[has_most] // MAX_PREFIX)] = distinct[has_most] % MAX_PREFIX
        scores = scores[items] * self._candidate_weights[items]
        has_score = scores > 0
        return items[has_score], scores[has_score], anchor_of[has_score]


def _nearest(similarity: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Choose the `n` most similar and all that tie with the last of them, so that no order of storage decides."""
    if len(similarity) <= n:
        return np.arange(len(similarity))
    threshold = np.partition(similarity, len(similarity) - n)[len(similarity) - n]
    return np.flatnonzero(similarity >= threshold)
