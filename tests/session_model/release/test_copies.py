"""A worker's own copies: what happens to the models folder afterwards does not matter."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from schemas.release_folder import ReleaseError
from session_model.release import copies as release_copies
from session_model.release.copies import ReleaseCopies, load_release
from session_model.release.release import Release
from tests.builders.releases import seal, write_release

PREFIX = np.array([1, 2], np.int32)


def answers(release: Release) -> list[int]:
    """Ask the mapped index."""
    return release.neighbours(PREFIX).item_indices.tolist()


def copies_in(folder: Path) -> list[str]:
    """List the versions of which there are copies."""
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


@pytest.fixture
def copies(tmp_path: Path) -> ReleaseCopies:
    """Return a shelf of copies."""
    return ReleaseCopies(tmp_path / "data" / "releases")


@pytest.mark.parametrize("change", ["truncate", "overwrite", "delete"])
@pytest.mark.parametrize("job", [False, True], ids=["worker", "job"])
def test_files_changed_in_place_change_no_answer(
    tmp_path: Path, copies: ReleaseCopies, change: str, *, job: bool
) -> None:
    """Neither a SIGBUS nor other neighbours: nothing is mapped from the models folder."""
    directory = write_release(tmp_path)
    release = load_release(directory) if job else copies.load(directory)
    before = answers(release)
    for path in (directory / "assets.extra/knn").glob("*.npy"):
        if change == "truncate":
            os.truncate(path, 0)
        elif change == "overwrite":
            path.write_bytes(b"\xff" * path.stat().st_size)
        else:
            path.unlink()
    assert answers(release) == before
    assert before


def test_what_changes_between_look_and_copy_is_refused(
    tmp_path: Path, copies: ReleaseCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied is what is hashed; a half copy is left by nobody."""
    directory = write_release(tmp_path)
    checked = release_copies._check_space

    def change_meanwhile(*given: object) -> None:
        (directory / "assets.extra/blend.json").write_bytes(
            b"x" * (directory / "assets.extra/blend.json").stat().st_size
        )
        checked(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(release_copies, "_check_space", change_meanwhile)
    with pytest.raises(ReleaseError, match=r"blend\.json differs from the manifest"):
        copies.load(directory)
    assert not list((tmp_path / "data" / "releases").iterdir())


def test_a_restart_copies_nothing_that_is_whole(tmp_path: Path, copies: ReleaseCopies) -> None:
    """The copy is checked and used; a damaged one is made anew."""
    directory = write_release(tmp_path)
    with capture_logs() as logs:
        copies.load(directory)
        ReleaseCopies(tmp_path / "data" / "releases").load(directory)
    assert [line["event"] for line in logs] == ["release_copied"]
    (copy,) = (tmp_path / "data" / "releases").iterdir()
    (copy / "assets.extra/knn/idf.npy").write_bytes(b"")
    with capture_logs() as logs:
        assert answers(copies.load(directory))
    assert [line["event"] for line in logs] == ["release_copied"]


def test_a_copy_that_was_interrupted_is_cleared(tmp_path: Path, copies: ReleaseCopies) -> None:
    """What a killed worker left goes with the next copy."""
    (tmp_path / "data" / "releases" / ".tmp-2-abc").mkdir(parents=True)
    copies.load(write_release(tmp_path))
    assert copies_in(tmp_path / "data" / "releases") == ["3"]


def test_old_copies_go(tmp_path: Path, copies: ReleaseCopies) -> None:
    """The three latest used stay; one that is gone from disk still answers whoever holds it."""
    first = copies.load(write_release(tmp_path, 1))
    for version in (2, 3, 4, 5):
        copies.load(write_release(tmp_path, version))
    assert copies_in(tmp_path / "data" / "releases") == ["3", "4", "5"]
    assert answers(first)


def test_releases_that_cannot_be_read_push_no_copy_out(tmp_path: Path, copies: ReleaseCopies) -> None:
    """A copy of which the parts are no good is not kept."""
    copies.load(write_release(tmp_path, 1))
    for version in (2, 3, 4, 5):
        directory = write_release(tmp_path, version)
        (directory / "assets.extra/vocabulary.json").write_text('["a"]')
        seal(directory)
        with pytest.raises(ReleaseError, match="differ in size"):
            copies.load(directory)
    assert copies_in(tmp_path / "data" / "releases") == ["1"]


def test_a_full_disk_is_told_before_anything_is_copied(
    tmp_path: Path, copies: ReleaseCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release is no worse for it: an OSError, so that it is tried again."""
    monkeypatch.setattr(release_copies, "SPARE_BYTES", shutil.disk_usage(tmp_path).total)
    with pytest.raises(OSError, match=r"a copy of release .* takes \d+ bytes"):
        copies.load(write_release(tmp_path))
    assert not list((tmp_path / "data" / "releases").iterdir())
