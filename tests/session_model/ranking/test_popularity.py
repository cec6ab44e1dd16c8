"""Click counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from session_model.ranking.popularity import Popularity


def popularity(*counts: int) -> Popularity:
    """Return counts without a trend."""
    return Popularity(np.array(counts), np.zeros((2, len(counts)), np.int64), np.zeros(len(counts), np.int64))


def test_most_clicked_first_and_never_the_padding() -> None:
    """Counts rank the items, ties by index; an item without a click is not popular."""
    ranking = Popularity.fit(np.array([0, 0, 3, 2, 3, 1], np.int32), 4).candidates(10)
    assert ranking.item_indices.tolist() == [3, 1, 2]
    assert ranking.scores.tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_percentiles_place_equals_in_the_middle() -> None:
    """The least clicked of four is at 1/8, two equals share 1/2, the most clicked is at 7/8."""
    percentiles = popularity(0, 5, 1, 2, 2).percentiles()
    assert np.isnan(percentiles[0])
    assert percentiles[1:].tolist() == pytest.approx([7 / 8, 1 / 8, 1 / 2, 1 / 2])


def test_saved_counts_are_loaded(tmp_path: Path) -> None:
    """Loading gives the same counts, trends and ages."""
    saved = Popularity.fit(np.array([1] * 90 + [2] * 10, np.int32), 2)
    saved.save(tmp_path / "popularity.npy")
    loaded = Popularity.load(tmp_path / "popularity.npy")
    assert loaded.counts.tolist() == [0, 90, 10]
    assert np.array_equal(loaded.trends, saved.trends)
    assert loaded.ages.tolist() == saved.ages.tolist() == [0, 100, 10]


def test_counts_without_trends_are_refused(tmp_path: Path) -> None:
    """A file of another layout is told by its shape."""
    np.save(tmp_path / "popularity.npy", np.array([0, 5, 1]))
    with pytest.raises(ValueError, match="shape"):
        Popularity.load(tmp_path / "popularity.npy")


@pytest.mark.parametrize(
    "change", [lambda rows: rows - 1, lambda rows: rows.astype(float), lambda rows: rows.astype(str)]
)
def test_what_counts_no_clicks_is_refused(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    """Below nothing, in parts, or in words."""
    Popularity.fit(np.array([1, 2, 2], np.int32), 2).save(tmp_path / "popularity.npy")
    np.save(tmp_path / "popularity.npy", change(np.load(tmp_path / "popularity.npy")))
    with pytest.raises(ValueError, match="where clicks are counted"):
        Popularity.load(tmp_path / "popularity.npy")


def test_a_trend_is_what_the_latest_clicks_say_beyond_all_of_them() -> None:
    """Item 2 has all of the latest fifth and of the latest three hundredths; padding is no click."""
    fitted = Popularity.fit(np.array([1] * 80 + [0] * 50 + [2] * 20, np.int32), 2)
    assert fitted.log_counts.tolist() == pytest.approx([0, np.log(81), np.log(21)])
    assert fitted.trends[:, 1].tolist() == pytest.approx([-np.log(81)] * 2)
    assert fitted.trends[:, 2].tolist() == pytest.approx([np.log(101) - np.log(21)] * 2)


def test_an_age_is_in_clicks_since_the_first_one() -> None:
    """It counts from the item's own first click to the last of all; padding is no click; what comes later has none."""
    fitted = Popularity.fit(np.array([2, 0, 1, 2, 1], np.int32), 3)
    assert fitted.ages.tolist() == [0, 3, 4, 0]
    assert fitted.with_unclicked(2).ages.tolist() == [0, 3, 4, 0, 0, 0]
