# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The best of rankings, compiled; session_model.ranking.top_k_numpy does the same in NumPy."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc, qsort

import numpy as np

from session_model.ranking.kernels cimport nth_largest


cdef struct Ranked:
    float score
    int32_t item


cdef inline float _comparable(float score) noexcept nogil:
    return score if score == score else -INFINITY


cdef int _order(const void *one, const void *other) noexcept nogil:
    cdef Ranked *a = <Ranked *> one
    cdef Ranked *b = <Ranked *> other
    cdef float one_score = _comparable(a.score), other_score = _comparable(b.score)
    if one_score != other_score:
        return -1 if one_score > other_score else 1
    return -1 if a.item < b.item else (1 if a.item > b.item else 0)


def best_of_rows(
    const int32_t[::1] items, const float[::1] scores, const int64_t[::1] starts, const int64_t[::1] ends, int64_t k
):
    """See session_model.ranking.top_k.best_of_rows."""
    cdef int64_t row, most = 0, n, i, kept
    cdef float least
    cdef int32_t[::1] best_items
    cdef float[::1] best_scores
    cdef Ranked *ranked
    cdef float *room
    for row in range(starts.shape[0]):
        most = max(most, ends[row] - starts[row])
    ranked = <Ranked *> malloc((most + 1) * sizeof(Ranked))
    room = <float *> malloc((most + 1) * sizeof(float))
    try:
        if ranked == NULL or room == NULL:
            raise MemoryError
        found = []
        for row in range(starts.shape[0]):
            n = ends[row] - starts[row]
            kept = 0
            if n > k > 0:
                for i in range(n):
                    room[i] = _comparable(scores[starts[row] + i])
                least = nth_largest(room, n, k)
            for i in range(starts[row], ends[row]):
                if n <= k or (k > 0 and _comparable(scores[i]) >= least):
                    ranked[kept].item = items[i]
                    ranked[kept].score = scores[i]
                    kept += 1
            qsort(ranked, kept, sizeof(Ranked), _order)
            kept = min(kept, k)
            of_items, of_scores = np.empty(kept, np.int32), np.empty(kept, np.float32)
            best_items, best_scores = of_items, of_scores
            for i in range(kept):
                best_items[i] = ranked[i].item
                best_scores[i] = ranked[i].score
            found.append((of_items, of_scores))
        return found
    finally:
        free(ranked)
        free(room)
