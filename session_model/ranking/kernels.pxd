# cython: language_level=3, cdivision=True
# What the compiled kernels share.

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport malloc
from libc.string cimport memset


cdef struct Places:
    # An open-addressing map from a number >= 0 to its place in order of first appearance.
    int32_t *keys
    int32_t *places
    uint32_t mask
    int32_t count


cdef inline int make(Places *table, int64_t most) noexcept nogil:
    """Make room for `most` numbers at half load; -1 without memory."""
    cdef int64_t size = 16
    while size < 2 * most:
        size *= 2
    table.keys = <int32_t *> malloc(size * sizeof(int32_t))
    table.places = <int32_t *> malloc(size * sizeof(int32_t))
    if table.keys == NULL or table.places == NULL:
        return -1
    memset(table.keys, 0xFF, size * sizeof(int32_t))
    table.mask = <uint32_t> (size - 1)
    table.count = 0
    return 0


cdef inline int32_t place_of(Places *table, int32_t key) noexcept nogil:
    """Find the place of `key`; a new key gets the next one."""
    cdef uint32_t slot = ((<uint32_t> key) * 2654435769u >> 7) & table.mask
    while table.keys[slot] != key:
        if table.keys[slot] == -1:
            table.keys[slot] = key
            table.places[slot] = table.count
            table.count += 1
            break
        slot = (slot + 1) & table.mask
    return table.places[slot]


cdef inline floating nth_largest(floating *values, int64_t n_values, int64_t n) noexcept nogil:
    """Select by Hoare's algorithm; reorders `values`."""
    cdef int64_t low = 0, high = n_values - 1, left, right
    cdef floating pivot, held
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                held = values[left]
                values[left] = values[right]
                values[right] = held
                left += 1
                right -= 1
        if n - 1 <= right:
            high = right
        elif n - 1 >= left:
            low = left
        else:
            break
    return values[n - 1]
