"""The successor rule against weights worked out by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from session_model.ranking.transitions import Transitions


def fitted() -> Transitions:
    """Fit on [1 2 3] and [1 3], an unseen item between."""
    return Transitions.fit(np.array([0, 3, 6]), np.array([1, 2, 3, 1, 0, 3], np.int32), 3)


def test_weights_are_one_over_the_distance_and_only_the_last_item_counts() -> None:
    """1 is followed by 3 at distances 2 and 1, by 2 at distance 1; the unseen item takes no place."""
    ranking = fitted().query(np.array([2, 1], np.int32))
    assert ranking.item_indices.tolist() == [3, 2]
    assert ranking.scores.tolist() == pytest.approx([1.5, 1.0])


def test_an_item_without_successor_has_no_candidate() -> None:
    """The last item of every session is followed by nothing, and so is an empty prefix."""
    assert not len(fitted().query(np.array([3], np.int32)))
    assert not len(fitted().query(np.array([], np.int32)))


def test_at_most_k_successors() -> None:
    """The list is cut at k."""
    assert fitted().query(np.array([1], np.int32), 1).item_indices.tolist() == [3]


def test_a_saved_table_answers_alike(tmp_path: Path) -> None:
    """Loading gives the same ranking."""
    fitted().save(tmp_path / "transitions.npz")
    loaded = Transitions.load(tmp_path / "transitions.npz")
    assert loaded.query(np.array([1], np.int32)).item_indices.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("starts", lambda array: array[:-1]),
        ("starts", lambda array: array.astype(np.int32)),
        ("successors", lambda array: array + 3),
        ("successors", lambda array: array - 3),
        ("weights", lambda array: array[:-1]),
        ("weights", lambda array: array * np.float32(np.nan)),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, name: str, change: Callable[[Any], Any]) -> None:
    """When it is loaded, not by a query."""
    fitted().save(tmp_path / "transitions.npz")
    with np.load(tmp_path / "transitions.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "transitions.npz", **arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match="does not fit together"):
        Transitions.load(tmp_path / "transitions.npz")
