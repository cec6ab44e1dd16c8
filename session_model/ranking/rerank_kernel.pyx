# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The inner loops of reranking, compiled; session_model.ranking.rerank_numpy does the same."""

from libc.math cimport INFINITY, exp, log, log1p
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free

from session_model.ranking.blend import REMINDER_DECAY

from session_model.ranking.kernels cimport Places, make, place_of

cdef enum:
    MODEL = 0
    NEIGHBOURS = 1
    CONTENT = 2
    TIMES = 3
    SINCE = 4
    BEFORE = 5


cdef double FLOOR = 1e-6
cdef double TINY = 1.1754943508222875e-38  # the least normal float
cdef double DECAY = REMINDER_DECAY


cdef struct Said:
    double total, log_total, log_least


cdef inline Said _said(const double[:, :] columns, int source, int64_t start, int64_t end) noexcept nogil:
    """Add up what a source says of the candidates of a row."""
    cdef Said said
    cdef double least = INFINITY
    cdef int64_t i
    said.total = 0.0
    for i in range(start, end):
        if columns[source, i] >= 0:
            said.total += columns[source, i]
            least = min(least, max(columns[source, i], TINY))
    said.log_least = log(least) if least < INFINITY else 0.0
    if said.total <= 0:
        said.total = 1.0
    said.log_total = log(said.total)
    return said


cdef inline double _log_score(double score, const Said *said) noexcept nogil:
    return log(max(score, TINY)) if score >= 0 else said.log_least


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


def describe(
    const double[:, :] columns, const int32_t[::1] items, const int64_t[::1] lengths,
    const int64_t[::1] prefix_lengths, const double[::1] log_counts, const double[:, :] trends,
    tuple shares, float[:, ::1] described,
):
    """See session_model.ranking.rerank_numpy.describe."""
    cdef double model_share = shares[0], neighbours_share = shares[1], content_share = shares[2]
    cdef double reminder_share = shares[3]
    cdef int64_t row, i, start = 0, end, n_seen
    cdef int place, trend, n_trends = trends.shape[0]
    cdef double clicks, log_length, repeats, lately_total, lately, blended, log_model, log_neighbours, seen, last
    cdef Said model, neighbours, content
    for i in range(items.shape[0]):  # a model server may answer what it likes
        if not 0 <= items[i] < log_counts.shape[0] or items[i] >= trends.shape[1]:
            raise IndexError(f"candidate {items[i]} is no item of {log_counts.shape[0] - 1}")
    with nogil:
        for row in range(lengths.shape[0]):
            end = start + lengths[row]
            model = _said(columns, MODEL, start, end)
            neighbours = _said(columns, NEIGHBOURS, start, end)
            content = _said(columns, CONTENT, start, end)
            lately_total, n_seen = 0.0, 0
            for i in range(start, end):
                if columns[TIMES, i] > 0:
                    lately_total += <float> exp(-columns[SINCE, i] / DECAY)
                    n_seen += 1
            if lately_total <= 0:
                lately_total = 1.0
            clicks = max(prefix_lengths[row], 1)
            log_length, repeats = log(clicks), 1.0 - n_seen / clicks
            for i in range(start, end):
                seen = 1.0 if columns[TIMES, i] > 0 else 0.0
                last = 1.0 if columns[SINCE, i] == 0 else 0.0
                lately = <float> exp(-columns[SINCE, i] / DECAY) if seen else 0.0
                blended = reminder_share * lately / lately_total
                blended += model_share * max(columns[MODEL, i], 0.0) / model.total
                blended += neighbours_share * max(columns[NEIGHBOURS, i], 0.0) / neighbours.total
                blended += content_share * max(columns[CONTENT, i], 0.0) / content.total
                log_model = _log_score(columns[MODEL, i], &model)
                log_neighbours = _log_score(columns[NEIGHBOURS, i], &neighbours) - neighbours.log_total
                described[0, i] = log(max(blended, FLOOR))
                described[1, i] = log_model
                described[2, i] = log_neighbours
                described[3, i] = columns[MODEL, i] >= 0
                described[4, i] = columns[NEIGHBOURS, i] >= 0
                described[5, i] = log_model * log_length
                described[6, i] = log_neighbours * log_length
                described[7, i] = seen
                described[8, i] = lately
                described[9, i] = log1p(columns[TIMES, i]) if seen else 0.0
                described[10, i] = last
                described[11, i] = columns[BEFORE, i]
                described[12, i] = seen * log_length
                described[13, i] = last * log_length
                described[14, i] = seen * repeats
                described[15, i] = last * repeats
                described[16, i] = log_counts[items[i]]
                for trend in range(n_trends):
                    described[17 + trend, i] = trends[trend, items[i]]
                if content_share > 0:
                    place = 17 + n_trends
                    described[place, i] = _log_score(columns[CONTENT, i], &content) - content.log_total
                    described[place + 1, i] = columns[CONTENT, i] >= 0
            start = end
