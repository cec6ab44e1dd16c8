# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The inner loop of reranking, compiled; session_model.ranking.rerank_numpy does the same."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t
from libc.stdlib cimport free

from session_model.ranking.kernels cimport Places, make, place_of

cdef enum:
    MODEL = 0
    NEIGHBOURS = 1
    CONTENT = 2
    TIMES = 3
    SINCE = 4
    BEFORE = 5


cdef inline int32_t _place(Places *found, int32_t item, int32_t *items, double[:, ::1] columns, Py_ssize_t start) noexcept nogil:
    """Find the place of an item; a new one begins with nothing said of it."""
    cdef int32_t known = found.count, place = place_of(found, item)
    if place == known:
        items[place] = item
        columns[MODEL, start + place] = columns[NEIGHBOURS, start + place] = columns[CONTENT, start + place] = -1.0
        columns[TIMES, start + place] = columns[BEFORE, start + place] = 0.0
        columns[SINCE, start + place] = INFINITY
    return place


def join(
    const int32_t[::1] model_items, const float[::1] model_scores,
    const int32_t[::1] neighbour_items, const float[::1] neighbour_scores,
    const int32_t[::1] content_items, const float[::1] content_scores,
    const int32_t[::1] prefix, int32_t[::1] items, double[:, ::1] columns, Py_ssize_t start,
):
    """See session_model.ranking.rerank_numpy.join; here the candidates come in the order of the sources."""
    cdef int n_prefix = prefix.shape[0], i
    cdef int most = model_items.shape[0] + neighbour_items.shape[0] + content_items.shape[0] + n_prefix
    cdef Places found
    cdef int place
    cdef int32_t *own
    if most == 0:
        return 0
    found.keys = found.places = NULL
    try:
        if make(&found, most) < 0:
            raise MemoryError
        own = &items[start]
        for i in range(model_items.shape[0]):
            columns[MODEL, start + _place(&found, model_items[i], own, columns, start)] = model_scores[i]
        for i in range(neighbour_items.shape[0]):
            columns[NEIGHBOURS, start + _place(&found, neighbour_items[i], own, columns, start)] = neighbour_scores[i]
        for i in range(content_items.shape[0]):
            columns[CONTENT, start + _place(&found, content_items[i], own, columns, start)] = content_scores[i]
        for i in range(n_prefix):
            place = _place(&found, prefix[i], own, columns, start)
            columns[TIMES, start + place] += 1.0
            columns[SINCE, start + place] = n_prefix - 1 - i
            if i == n_prefix - 2:
                columns[BEFORE, start + place] = 1.0
        return found.count
    finally:
        free(found.keys)
        free(found.places)
