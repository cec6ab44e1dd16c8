"""The one place that decides ties."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from session_model.ranking import top_k_numpy
from session_model.ranking.top_k import top_k
from tests.builders.kernels import compiled


def test_best_first_and_no_more_than_asked() -> None:
    """The k best come, best first."""
    ranking = top_k(np.array([1, 2, 3, 4], np.int32), np.array([0.1, 0.4, 0.2, 0.3]), 2)
    assert ranking.item_indices.tolist() == [2, 4]
    assert ranking.scores.dtype == np.float32


def test_ties_go_by_item_index_even_at_the_cut() -> None:
    """Equal scores come by ascending index, also where only some of the equals fit."""
    ranking = top_k(np.array([2, 5, 7, 9], np.int32), np.array([0.5, 0.5, 0.9, 0.5]), 3)
    assert ranking.item_indices.tolist() == [7, 2, 5]


def test_fewer_items_than_asked_are_all_ranked() -> None:
    """A k beyond the list ranks the whole list."""
    assert top_k(np.array([4, 8], np.int32), np.array([0.1, 0.2]), 10).item_indices.tolist() == [8, 4]


@given(
    st.lists(
        st.lists(st.sampled_from([math.nan, -math.inf, -1.0, 0.0, 0.5, 1.0]), max_size=12), min_size=1, max_size=4
    ),
    st.integers(0, 13),
)
def test_both_kernels_take_the_same_of_each_row(rows: list[list[float]], k: int) -> None:
    """They are sorted by score and item, and cut; rows do not see each other, and NaN is minus infinity."""
    lengths = np.array([len(row) for row in rows], np.int64)
    ends, scores = np.cumsum(lengths), np.array([score for row in rows for score in row], np.float32)
    items = np.random.default_rng(1).permutation(np.arange(1, len(scores) + 1)).astype(np.int32)
    of_item = dict(zip(items.tolist(), scores.tolist(), strict=True))

    def worth(item: int) -> tuple[float, int]:
        return (math.inf if math.isnan(of_item[item]) else -of_item[item]), item

    listed = [items[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]
    expected = [sorted(row, key=worth)[:k] for row in listed]
    for kernel in (compiled("top_k_kernel"), top_k_numpy):
        found = kernel.best_of_rows(items, scores, ends - lengths, ends, k)
        assert [one.tolist() for one, _ in found] == expected
        for one, of in found:
            np.testing.assert_array_equal(of, [of_item[item] for item in one.tolist()])
