from pathlib import Path

import msgspec
import pytest

from session_model.runs.journal import Journal


class Choice(msgspec.Struct):
    """Some result."""

    name: str
    gain: float


def never() -> Choice:
    """Fail where a result should have been noted."""
    raise AssertionError("it is made again")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Note two results."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.once("a", Choice, lambda: Choice("one", 0.1 + 0.2))
    journal.once("b", int, lambda: 7)
    return path


def test_a_result_is_made_once(path: Path) -> None:
    """The next process reads it back, to the last bit of a float."""
    journal = Journal(path)
    assert len(journal) == 2
    assert journal.once("a", Choice, never) == Choice("one", 0.1 + 0.2)
    assert journal.once("c", float, lambda: 0.5) == 0.5
    assert len(Journal(path)) == 3


def test_a_torn_line_is_dropped(path: Path) -> None:
    """What was noted before it stays, and what comes after it can be read."""
    path.write_bytes(path.read_bytes()[:-3])
    journal = Journal(path)
    assert len(journal) == 1
    assert journal.once("b", int, lambda: 8) == 8
    assert Journal(path).once("b", int, lambda: 9) == 8


def test_a_result_of_another_kind_is_made_again(path: Path) -> None:
    """So is one of a version that noted something else."""
    assert Journal(path).once("b", Choice, lambda: Choice("two", 1)) == Choice("two", 1)
    assert Journal(path).once("b", Choice, never) == Choice("two", 1)


def test_without_a_path_it_is_kept_in_memory() -> None:
    """A search that nobody goes on from needs no file."""
    journal = Journal()
    journal.once("a", int, lambda: 1)
    assert journal.once("a", int, lambda: 2) == 1
