from pathlib import Path

import pytest

from schemas.errors import UsageError
from session_model.data.files import data_files


def touch(*paths: Path) -> None:
    """Make files and their folders."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_a_file_is_itself_even_if_it_is_called_like_a_glob(tmp_path: Path) -> None:
    """A name with brackets is a name where it is there."""
    touch(tmp_path / "a[1].csv", tmp_path / "a1.csv")
    assert data_files(tmp_path / "a[1].csv") == [tmp_path / "a[1].csv"]


def test_the_parts_of_a_folder_come_in_the_order_of_their_names_from_all_depths(tmp_path: Path) -> None:
    """Dated folders and Spark's marks: what is hidden is none of the data."""
    parts = [tmp_path / "date=2026-01-01" / "part-0", tmp_path / "date=2026-01-02" / "part-0", tmp_path / "z"]
    touch(*reversed(parts), tmp_path / "_SUCCESS", tmp_path / ".part-0.crc", tmp_path / "_tmp" / "part-1")
    assert data_files(tmp_path) == parts


def test_a_glob_gives_files_and_the_parts_of_folders_once(tmp_path: Path) -> None:
    """As the shell would give them, `**` included."""
    touch(tmp_path / "2026-01" / "a.csv", tmp_path / "2026-02" / "a.csv", tmp_path / "2026-02" / "b.txt")
    assert data_files(tmp_path / "2026-*" / "*.csv") == [tmp_path / "2026-01" / "a.csv", tmp_path / "2026-02" / "a.csv"]
    assert len(data_files(tmp_path / "**")) == 3


def test_where_nothing_is_the_message_says_so(tmp_path: Path) -> None:
    """An empty folder and a glob that matches nothing are wrong usage."""
    with pytest.raises(UsageError, match="directory without a file"):
        data_files(tmp_path)
    with pytest.raises(UsageError, match="no file is called like"):
        data_files(tmp_path / "*.csv")
