"""The one place that decides ties."""

import numpy as np

from session_model.ranking.top_k import top_k


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
