# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The scores of shortlists, compiled. Most of it is waiting for memory, so the vectors of later items are fetched ahead.

session_model.ranking.item_search_numpy does the same in NumPy.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

import numpy as np


cdef extern from *:
    """
    #if defined(__GNUC__)
    #define FETCH(address) __builtin_prefetch(address)
    #else
    #define FETCH(address)
    #endif
    #define AHEAD 6
    """
    void FETCH(const void *address) noexcept nogil
    const int64_t AHEAD

cdef inline float _product(const float *one, const float *other, int64_t width) noexcept nogil:
    """Multiply in 16 lanes, which a compiler may do at once without another order of sums."""
    cdef float lanes[16]
    cdef float total = 0
    cdef int64_t i, lane
    for lane in range(16):
        lanes[lane] = 0
    for i in range(0, width - 15, 16):
        for lane in range(16):
            lanes[lane] += one[i + lane] * other[i + lane]
    for i in range(width - width % 16, width):
        total += one[i] * other[i]
    for lane in range(16):
        total += lanes[lane]
    return total


def scored(
    const float[:, ::1] vectors,
    const float[:, ::1] sessions,
    const int64_t[:, ::1] found,
    const int32_t[:, ::1] own,
    const float[:, ::1] returns,
):
    """See session_model.ranking.item_search_numpy.scored."""
    cdef int64_t row, place, other, n_own = own.shape[1], n_found = found.shape[1], width = vectors.shape[1]
    cdef int64_t item
    cdef float logit
    if sessions.shape[1] != width or not sessions.shape[0] == found.shape[0] == own.shape[0] == returns.shape[0]:
        raise ValueError("sessions and items are of different widths, or rows of different numbers")
    if returns.shape[1] != n_own:
        raise ValueError("there is not one return for each item of a prefix")
    rows_array = np.empty((sessions.shape[0], n_own + n_found), np.int32)
    logits_array = np.empty((sessions.shape[0], n_own + n_found), np.float32)
    cdef int32_t[:, ::1] rows = rows_array
    cdef float[:, ::1] logits = logits_array
    with nogil:
        for row in range(sessions.shape[0]):
            for place in range(n_own):
                item = own[row, place]
                rows[row, place] = <int32_t> item
                logits[row, place] = -INFINITY
                for other in range(place):
                    if own[row, other] == item:
                        item = -1
                        break
                if 0 <= item < vectors.shape[0]:
                    logit = _product(&vectors[item, 0], &sessions[row, 0], width)
                    for other in range(place, n_own):
                        if own[row, other] == item:
                            logit += returns[row, other]
                    logits[row, place] = logit
            for place in range(n_found):
                if place + AHEAD < n_found and 0 <= found[row, place + AHEAD] < vectors.shape[0]:
                    for other in range(0, width, 16):  # a line of the cache each
                        FETCH(&vectors[found[row, place + AHEAD], other])
                item = found[row, place]
                rows[row, n_own + place] = <int32_t> item
                logits[row, n_own + place] = -INFINITY
                for other in range(n_own):
                    if own[row, other] == item:
                        item = -1
                        break
                if 0 <= item < vectors.shape[0]:
                    logits[row, n_own + place] = _product(&vectors[item, 0], &sessions[row, 0], width)
    return rows_array, logits_array
