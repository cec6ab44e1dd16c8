"""What a training reads, and what it holds out."""

from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InsessionError
from session_model.data.formats import read_sessions
from session_model.data.item_sequences import ItemSequences
from session_model.data.training_data import popular_first, read_training_data, sha256_of, split_later


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


def test_a_log_without_views_names_what_to_learn_from(tmp_path: Path) -> None:
    """Purchases alone teach nothing by default; the message says how they do."""
    path = tmp_path / "transactions_train.csv"
    rows = "".join(f"2018-09-20,customer,{item},0.1,2\n" for item in range(3))
    path.write_text("t_dat,customer_id,article_id,price,sales_channel_id\n" + rows)
    with pytest.raises(InsessionError, match=r"\(found: purchase 3\); try --input-event purchase"):
        read_training_data(path, "hm", ("view",))
    assert len(read_training_data(path, "hm", ("purchase",)).sequences.items) == 3


def test_the_digest_is_of_all_files(tmp_path: Path) -> None:
    """A folder, a glob of the same files, and after a change of one."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("1 2\n")
    before = sha256_of(tmp_path)
    assert before == sha256_of(tmp_path / "*.txt")
    (tmp_path / "b.txt").write_text("1 3\n")
    assert sha256_of(tmp_path) != before
