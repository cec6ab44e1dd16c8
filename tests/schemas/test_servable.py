from pathlib import Path

import pytest

from schemas.servable import version_directories


@pytest.mark.parametrize("name", [".tmp-6", "abc", "6x", "-6", "6.0", "٦", "9223372036854775808"])
def test_other_names_are_no_versions(tmp_path: Path, name: str) -> None:
    """A version's whole name is a whole number of at most 63 bits."""
    (tmp_path / name).mkdir()
    assert version_directories(tmp_path) == {}


@pytest.mark.parametrize(("name", "version"), [("007", 7), ("0", 0), ("9223372036854775807", 2**63 - 1)])
def test_whole_numbers_are_versions(tmp_path: Path, name: str, version: int) -> None:
    """Leading zeros do not matter."""
    (tmp_path / name).mkdir()
    assert version_directories(tmp_path) == {version: tmp_path / name}


def test_a_file_is_no_version(tmp_path: Path) -> None:
    """A version is a folder, and the lowest comes first."""
    for name in ("10", "9"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").touch()
    assert list(version_directories(tmp_path)) == [9, 10]
