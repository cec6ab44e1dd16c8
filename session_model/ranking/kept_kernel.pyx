# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A few items of a ranking, compiled; session_model.ranking.kept_numpy does the same in NumPy."""

from libc.stdint cimport int32_t, int64_t

import numpy as np


def places_of(const int32_t[:] items, list wanted):
    """See session_model.ranking.kept_numpy.places_of."""
    cdef int64_t place, n = items.shape[0]
    cdef int32_t item
    found = []
    for one in wanted:
        item = one
        place = 0
        while place < n and items[place] != item:
            place += 1
        found.append(place if place < n else -1)
    return found


def raised(const int32_t[:] items, const float[:] scores, list kept, float factor):
    """See session_model.ranking.kept_numpy.raised."""
    cdef int64_t n = items.shape[0], i, to
    cdef int32_t item
    cdef float score
    of_items, of_scores = np.empty(n, np.int32), np.empty(n, np.float32)
    cdef int32_t[::1] best_items = of_items
    cdef float[::1] best_scores = of_scores
    for i in range(n):
        best_items[i] = items[i]
        best_scores[i] = scores[i]
    for one in kept:
        item = one
        for i in range(n):
            if items[i] == item:
                best_scores[i] = scores[i] * factor
                break
    for i in range(1, n):  # few are out of their order, and those have not far to go
        score = best_scores[i]
        if best_scores[i - 1] >= score:
            continue
        item = best_items[i]
        to = i
        while to > 0 and best_scores[to - 1] < score:
            best_scores[to] = best_scores[to - 1]
            best_items[to] = best_items[to - 1]
            to -= 1
        best_scores[to] = score
        best_items[to] = item
    return of_items, of_scores
