from pathlib import Path

from agents.upkeep.changelog_check import drop_copies_of_another


def copy_of(datadir: Path, partition: int) -> Path:
    """Make a local partition."""
    copy = datadir / "v1" / "tables" / f"visitors-{partition}.db"
    copy.mkdir(parents=True)
    (copy / "CURRENT").touch()
    return copy


def test_copies_of_the_same_changelog_stay(tmp_path: Path) -> None:
    """Also those of a folder that has no note yet, of an older version."""
    copy = copy_of(tmp_path, 0)
    for _ in range(2):
        drop_copies_of_another(tmp_path, "id")
        assert copy.exists()


def test_copies_of_another_changelog_are_dropped(tmp_path: Path) -> None:
    """They hold visitors whom the accepted one does not; nothing else in the folder is touched."""
    drop_copies_of_another(tmp_path, "old")
    copies = [copy_of(tmp_path, number) for number in range(2)]
    (tmp_path / "topic-ids.json").write_text("{}")
    drop_copies_of_another(tmp_path, "new")
    assert not any(copy.exists() for copy in copies)
    assert (tmp_path / "topic-ids.json").exists()
    later = copy_of(tmp_path, 0)
    drop_copies_of_another(tmp_path, "new")
    assert later.exists()


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    """The first start notes the id."""
    drop_copies_of_another(tmp_path / "data", "id")
    assert (tmp_path / "data" / "changelog-id").read_text() == "id"
