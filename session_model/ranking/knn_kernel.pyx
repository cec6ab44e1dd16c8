# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The inner loops of a session-kNN query, compiled and without the GIL.

`session_model.ranking.knn` has the formulas, checks every bound before a call, and gives the same in NumPy where there is no
compiler; both add up in the same order, so their results are equal to the last bit.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from session_model.ranking.kernels cimport Places, make, nth_largest, place_of

import numpy as np


cdef struct Votes:
    # Of one item: all its votes, those of the sessions of the anchor that votes now, the most that one anchor's gave.
    double sum, of_anchor, most
    int32_t anchor, best


cdef class Kernel:
    """Holds the arrays of an index; see `session_model.ranking.knn.SessionKnn` for their shapes."""

    cdef const int64_t[::1] session_starts, posting_starts
    cdef const int32_t[::1] session_items, posting_sessions, posting_places
    cdef const double[::1] session_weights, candidate_weights, distance_weights
    cdef int64_t neighbours, max_distance

    def __init__(self, arrays, weights, int64_t neighbours):
        self.session_starts = arrays["session_starts"]
        self.session_items = arrays["session_items"]
        self.posting_starts = arrays["posting_starts"]
        self.posting_sessions = arrays["posting_sessions"]
        self.posting_places = arrays["posting_places"]
        self.session_weights, self.candidate_weights, self.distance_weights = weights
        self.neighbours = neighbours
        self.max_distance = self.distance_weights.shape[0] // 2

    def votes(self, const int64_t[::1] prefix, const double[::1] match_weights, const double[::1] anchor_weights):
        """Give items (n,) int32, scores (n,) float64 and anchors (n,) int32, in no order; see `knn_numpy`."""
        cdef int64_t most = 0, i
        for i in range(prefix.shape[0]):
            most += self.posting_starts[prefix[i] + 1] - self.posting_starts[prefix[i]]
        cdef Places sessions, items
        cdef double *similarity = <double *> malloc(3 * (most + 1) * sizeof(double))
        cdef int32_t *places = <int32_t *> malloc(3 * (most + 1) * sizeof(int32_t))
        cdef Votes *votes = NULL
        cdef int failed
        sessions.keys = sessions.places = items.keys = items.places = NULL
        try:
            with nogil:
                failed = similarity == NULL or places == NULL or make(&sessions, most) < 0
                if not failed:
                    self._match(prefix, match_weights, anchor_weights, &sessions, similarity, places, most + 1)
                    failed = self._count(&sessions, similarity, places, most + 1, &items, &votes) < 0
            if failed:
                raise MemoryError
            found = np.empty(items.count, np.int32)
            summed = np.empty(items.count, np.float64)
            anchors = np.empty(items.count, np.int32)
            self._copy(&items, votes, found, summed, anchors)
            return found, summed, anchors
        finally:
            free(similarity)
            free(places)
            free(votes)
            free(sessions.keys)
            free(sessions.places)
            free(items.keys)
            free(items.places)

    cdef void _match(
        self, const int64_t[::1] prefix, const double[::1] match_weights, const double[::1] anchor_weights,
        Places *sessions, double *similarity, int32_t *places, int64_t stride,
    ) noexcept nogil:
        """Sum up the similarity of each session that shares an item; its first match is its anchor.

        similarity: three rows of `stride`: the sums, the anchors' weights, room for the selection. places: three rows:
        the anchors' places, the sessions, which item of the prefix each anchor is.
        """
        cdef int64_t i, posting
        cdef int32_t place, known
        for i in range(prefix.shape[0]):
            for posting in range(self.posting_starts[prefix[i]], self.posting_starts[prefix[i] + 1]):
                known = sessions.count
                place = place_of(sessions, self.posting_sessions[posting])
                if place == known:
                    similarity[place] = match_weights[i]
                    similarity[stride + place] = anchor_weights[i]
                    places[place] = self.posting_places[posting]
                    places[stride + place] = self.posting_sessions[posting]
                    places[2 * stride + place] = <int32_t> i
                else:
                    similarity[place] += match_weights[i]
        for i in range(sessions.count):
            similarity[i] *= self.session_weights[places[stride + i]]

    cdef int _count(
        self, Places *sessions, double *similarity, int32_t *places, int64_t stride, Places *items, Votes **votes,
    ) noexcept nogil:
        """Let the nearest sessions vote for their items; -1 without memory.

        Sessions come in the order of their anchors, so of each item one running sum is enough.
        """
        cdef int64_t i, entry, first, entries = 0, distance
        cdef double threshold = 0.0, vote, weight
        cdef int32_t place, known, session, anchor
        cdef Votes *of_item
        if sessions.count > self.neighbours:
            memcpy(&similarity[2 * stride], similarity, sessions.count * sizeof(double))
            threshold = nth_largest(&similarity[2 * stride], sessions.count, self.neighbours)
        for i in range(sessions.count):
            session = places[stride + i]
            if similarity[i] >= threshold:
                entries += self.session_starts[session + 1] - self.session_starts[session]
        entries = min(entries, self.candidate_weights.shape[0])
        votes[0] = <Votes *> malloc((entries + 1) * sizeof(Votes))
        if votes[0] == NULL or make(items, entries) < 0:
            return -1
        for i in range(sessions.count):
            if similarity[i] < threshold:
                continue
            session, anchor = places[stride + i], places[2 * stride + i]
            vote = similarity[i] * similarity[stride + i]
            first = self.session_starts[session] + places[i]
            for entry in range(self.session_starts[session], self.session_starts[session + 1]):
                distance = max(-self.max_distance, min(self.max_distance, entry - first))
                known = items.count
                place = place_of(items, self.session_items[entry])
                of_item = &votes[0][place]
                if place == known:
                    of_item.sum = of_item.of_anchor = of_item.most = 0.0
                    of_item.anchor = of_item.best = anchor
                elif of_item.anchor != anchor:
                    _end_of_anchor(of_item)
                    of_item.of_anchor = 0.0
                    of_item.anchor = anchor
                weight = vote * self.distance_weights[distance + self.max_distance]
                of_item.sum += weight
                of_item.of_anchor += weight
        return 0

    cdef void _copy(
        self, Places *items, Votes *votes, int32_t[::1] found, double[::1] summed, int32_t[::1] anchors,
    ) noexcept:
        cdef uint32_t slot
        cdef int32_t place
        for slot in range(items.mask + 1):
            if items.keys[slot] != -1:
                place = items.places[slot]
                _end_of_anchor(&votes[place])
                found[place] = items.keys[slot]
                summed[place] = votes[place].sum * self.candidate_weights[items.keys[slot]]
                anchors[place] = votes[place].best if 3.0 * votes[place].most > 2.0 * votes[place].sum else -1


cdef inline void _end_of_anchor(Votes *votes) noexcept nogil:
    """Hold what one anchor's sessions gave an item against what the best one's gave before."""
    if votes.of_anchor > votes.most:
        votes.most = votes.of_anchor
        votes.best = votes.anchor
