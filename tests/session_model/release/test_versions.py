import shutil
from pathlib import Path

import pytest

from schemas.errors import InsessionError
from session_model.release.versions import claim_above, draft_version


def publish(models_dir: Path) -> int:
    """Publish a version with one file."""
    with draft_version(models_dir) as draft:
        (draft.directory / "saved_model.pb").write_bytes(b"x")
    return draft.version


def test_versions_count_up_and_appear_whole(tmp_path: Path) -> None:
    """The first is 1; nothing but a dotted name is there before the end."""
    assert publish(tmp_path) == 1
    with draft_version(tmp_path) as draft:
        visible = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
        assert visible == ["1"]
        (draft.directory / "sub").mkdir()
        (draft.directory / "sub" / "file").write_text("y")
    assert draft.published == tmp_path / "2"
    assert (draft.published / "sub" / "file").read_text() == "y"
    assert not draft.directory.exists()


def test_a_number_is_never_used_again(tmp_path: Path) -> None:
    """Not even after the newest version was deleted: a server may still remember it."""
    publish(tmp_path)
    publish(tmp_path)
    shutil.rmtree(tmp_path / "2")
    assert publish(tmp_path) == 3


def test_a_version_that_somebody_put_there_is_counted(tmp_path: Path) -> None:
    """The next number is above every directory with a number as its name; other names do not count."""
    for name in ("7", "011", ".tmp-publish-12", "notes", "-9", ".tmp-fetch-40"):
        (tmp_path / name).mkdir(parents=True)
    assert publish(tmp_path) == 13


def test_a_failed_draft_vanishes_and_its_number_is_spent(tmp_path: Path) -> None:
    """Whatever goes wrong while filling it, no half version stays."""
    draft = draft_version(tmp_path)
    half = draft.__enter__()
    (half.directory / "half").write_text("x")
    error = KeyError()
    assert not draft.__exit__(KeyError, error, None)
    assert not half.directory.exists()
    assert not half.published.exists()
    assert publish(tmp_path) == 2


def test_two_at_once_get_two_numbers(tmp_path: Path) -> None:
    """A claim that is under way, or was left by a crash, is not taken a second time."""
    with draft_version(tmp_path) as first, draft_version(tmp_path) as second:
        assert (first.version, second.version) == (1, 2)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"1", "2"}


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """The error says where and what to check."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InsessionError, match="check space and rights"), draft_version(tmp_path / "file"):
        pass


def test_numbers_that_are_taken_elsewhere_are_passed_over(tmp_path: Path) -> None:
    """A lower one changes nothing."""
    claim_above(tmp_path / "new", 7)
    assert publish(tmp_path / "new") == 8
    claim_above(tmp_path / "new", 3)
    assert publish(tmp_path / "new") == 9
