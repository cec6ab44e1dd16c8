"""What a training reads, and what it holds out."""

from pathlib import Path

import numpy as np

from session_model.datasets import read_sessions
from session_model.item_sequences import ItemSequences
from session_model.training_data import popular_first, split_later


def test_the_vocabulary_has_the_popular_first(tmp_path: Path) -> None:
    """Items are numbered by falling count, ties in order of appearance; other event types do not count."""
    (tmp_path / "a.txt").write_text("c b\na b\n")
    sessions = read_sessions(tmp_path / "a.txt", "sequences")
    assert popular_first(sessions, {"view"}).item_ids == ("b", "c", "a")
    assert len(popular_first(sessions, {"cart"})) == 0


def test_the_later_sessions_are_held_out() -> None:
    """The split is by time, loses nothing, and both parts start at 0."""
    sequences = ItemSequences(np.array([0, 2, 3, 6]), np.arange(1, 7, dtype=np.int32))
    earlier, later = split_later(sequences, 1)
    assert (earlier.starts.tolist(), earlier.items.tolist()) == ([0, 2, 3], [1, 2, 3])
    assert (later.starts.tolist(), later.items.tolist()) == ([0, 3], [4, 5, 6])
