"""Index arithmetic on ragged arrays: rows of different length, one flat array."""

import numpy as np
from numpy.typing import NDArray


def flat_positions(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """List the flat positions of rows that start at `starts`, one row after the other; both (n_rows,)."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)


def row_numbers(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of each element; (n_rows,) to (sum of lengths,)."""
    return np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)


def starts_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row starts, with the end as the last one; (n_rows,) to (n_rows + 1,)."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def sums_by_group(groups: NDArray[np.integer], values: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    """Add up `values` by their group, 0 to `n_groups` - 1."""
    return np.bincount(groups, values, minlength=n_groups).astype(np.float64, copy=False)
