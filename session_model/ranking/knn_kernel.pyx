# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The inner loops of a session-kNN query, compiled and without the GIL.

`session_model.ranking.knn` has the formulas, checks every bound before a call, and gives the same in NumPy where there is no
compiler; both add up in the same order, so their results are equal to the last bit.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from session_model.ranking.kernels cimport Places, make, nth_largest, place_of

import numpy as np


cdef struct Votes:
    # Of one item: all its votes, those of the sessions of the anchor that votes now, the most that one anchor's gave.
    double sum, of_anchor, most
    int32_t anchor, best, item


cdef class Kernel:
    """Holds the arrays of an index; see `session_model.ranking.knn.SessionKnn` for their shapes."""

    cdef const int64_t[::1] session_starts, posting_starts
    cdef const int32_t[::1] session_items, posting_sessions, posting_places
    cdef const double[::1] session_weights, candidate_weights, distance_weights
    cdef int64_t neighbours, max_distance
    cdef list spare_places

    def __init__(self, arrays, weights, int64_t neighbours):
        self.session_starts = arrays["session_starts"]
        self.session_items = arrays["session_items"]
        self.posting_starts = arrays["posting_starts"]
        self.posting_sessions = arrays["posting_sessions"]
        self.posting_places = arrays["posting_places"]
        self.session_weights, self.candidate_weights, self.distance_weights = weights
        self.neighbours = neighbours
        self.max_distance = self.distance_weights.shape[0] // 2
        self.spare_places = []

    def votes(self, const int64_t[::1] prefix, const double[::1] match_weights, const double[::1] anchor_weights):
        """Give items (n,) int32, scores (n,) float64 and anchors (n,) int32, in no order; see `knn_numpy`."""
        # Of each item its place in `votes`, -1 = none; a query takes one that lies ready, and leaves it as it was.
        n_rows = self.candidate_weights.shape[0]
        place_of_item = self.spare_places.pop() if self.spare_places else np.full(n_rows, -1, np.int32)
        cdef int32_t[::1] item_places = place_of_item
        cdef int64_t most = 0, i
        for i in range(prefix.shape[0]):
            most += self.posting_starts[prefix[i] + 1] - self.posting_starts[prefix[i]]
        cdef Places sessions
        cdef double *similarity = <double *> malloc(3 * (most + 1) * sizeof(double))
        cdef int32_t *places = <int32_t *> malloc(3 * (most + 1) * sizeof(int32_t))
        cdef Votes *votes = NULL
        cdef int64_t count = -1
        sessions.keys = sessions.places = NULL
        try:
            with nogil:
                if similarity != NULL and places != NULL and make(&sessions, most) == 0:
                    self._match(prefix, match_weights, anchor_weights, &sessions, similarity, places, most + 1)
                    count = self._count(sessions.count, similarity, places, most + 1, item_places, &votes)
            if count < 0:
                raise MemoryError
            found = np.empty(count, np.int32)
            summed = np.empty(count, np.float64)
            anchors = np.empty(count, np.int32)
            count = self._copy(count, votes, found, summed, anchors, item_places)
            self.spare_places.append(place_of_item)
            return found[:count], summed[:count], anchors[:count]
        finally:
            free(similarity)
            free(places)
            free(votes)
            free(sessions.keys)
            free(sessions.places)

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

    cdef int64_t _count(
        self, int64_t n_sessions, double *similarity, int32_t *places, int64_t stride, int32_t[::1] item_places,
        Votes **votes,
    ) noexcept nogil:
        """Let the nearest sessions vote for their items, and count these; -1 without memory.

        Sessions come in the order of their anchors, so of each item one running sum is enough.
        """
        cdef int64_t i, entry, first, entries = 0, count = 0, distance
        cdef double threshold = 0.0, vote, weight
        cdef int32_t place, session, anchor
        cdef Votes *of_item
        if n_sessions > self.neighbours:
            memcpy(&similarity[2 * stride], similarity, n_sessions * sizeof(double))
            threshold = nth_largest(&similarity[2 * stride], n_sessions, self.neighbours)
        for i in range(n_sessions):
            session = places[stride + i]
            if similarity[i] >= threshold:
                entries += self.session_starts[session + 1] - self.session_starts[session]
        entries = min(entries, self.candidate_weights.shape[0])
        votes[0] = <Votes *> malloc((entries + 1) * sizeof(Votes))
        if votes[0] == NULL:
            return -1
        for i in range(n_sessions):
            if similarity[i] < threshold:
                continue
            session, anchor = places[stride + i], places[2 * stride + i]
            vote = similarity[i] * similarity[stride + i]
            first = self.session_starts[session] + places[i]
            for entry in range(self.session_starts[session], self.session_starts[session + 1]):
                distance = max(-self.max_distance, min(self.max_distance, entry - first))
                place = item_places[self.session_items[entry]]
                if place < 0:
                    place = item_places[self.session_items[entry]] = <int32_t> count
                    count += 1
                    of_item = &votes[0][place]
                    of_item.item = self.session_items[entry]
                    of_item.sum = of_item.of_anchor = of_item.most = 0.0
                    of_item.anchor = of_item.best = anchor
                else:
                    of_item = &votes[0][place]
                    if of_item.anchor != anchor:
                        _end_of_anchor(of_item)
                        of_item.of_anchor = 0.0
                        of_item.anchor = anchor
                weight = vote * self.distance_weights[distance + self.max_distance]
                of_item.sum += weight
                of_item.of_anchor += weight
        return count

    cdef int64_t _copy(
        self, int64_t count, Votes *votes, int32_t[::1] found, double[::1] summed, int32_t[::1] anchors,
        int32_t[::1] item_places,
    ) noexcept:
        """Copy the items with a score, and count them; leave `item_places` as it was."""
        cdef int64_t i, place = 0
        cdef double score
        cdef int32_t item
        for i in range(count):
            item = votes[i].item
            item_places[item] = -1
            score = votes[i].sum * self.candidate_weights[item]
            if score <= 0.0:
                continue
            _end_of_anchor(&votes[i])
            found[place] = item
            summed[place] = score
            anchors[place] = votes[i].best if 3.0 * votes[i].most > 2.0 * votes[i].sum else -1
            place += 1
        return place


cdef inline void _end_of_anchor(Votes *votes) noexcept nogil:
    """Hold what one anchor's sessions gave an item against what the best one's gave before."""
    if votes.of_anchor > votes.most:
        votes.most = votes.of_anchor
        votes.best = votes.anchor
