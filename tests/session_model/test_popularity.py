"""Click counts."""

from pathlib import Path

import numpy as np
import pytest

from session_model.popularity import Popularity


def test_most_clicked_first_and_never_the_padding() -> None:
    """Counts rank the items, ties by index; an item without a click is not popular."""
    ranking = Popularity.fit(np.array([0, 0, 3, 2, 3, 1], np.int32), 4).candidates(10)
    assert ranking.item_indices.tolist() == [3, 1, 2]
    assert ranking.scores.tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_percentiles_place_equals_in_the_middle() -> None:
    """The least clicked of four is at 1/8, two equals share 1/2, the most clicked is at 7/8."""
    percentiles = Popularity(np.array([0, 5, 1, 2, 2])).percentiles()
    assert np.isnan(percentiles[0])
    assert percentiles[1:].tolist() == pytest.approx([7 / 8, 1 / 8, 1 / 2, 1 / 2])


def test_saved_counts_are_loaded(tmp_path: Path) -> None:
    """Loading gives the same counts."""
    Popularity(np.array([0, 5, 1])).save(tmp_path / "popularity.npy")
    assert Popularity.load(tmp_path / "popularity.npy").counts.tolist() == [0, 5, 1]
