"""Files that commands write at their end."""

from os import access
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agents.commands.output_file import OutputFile


def said(path: str, *, allow_dash: bool = False) -> tuple[int, str]:
    """Give a command the path; its exit code and what it said."""

    @click.command()
    @click.option("--json", "path", type=OutputFile(allow_dash=allow_dash))
    def command(path: Path) -> None:
        click.echo(repr(path))

    result = CliRunner().invoke(command, ["--json", path])
    return result.exit_code, result.output


def test_a_file_that_can_be_written_is_taken(tmp_path: Path) -> None:
    """Whether it exists or not, whose folder is not writable where it does; - is standard output where it may be."""
    (tmp_path / "old.json").touch()
    for path in (tmp_path / "new.json", tmp_path / "old.json", tmp_path / "made" / "now.json", Path("/dev/null")):
        assert said(str(path)) == (0, f"{path!r}\n")
    assert (tmp_path / "made").is_dir()
    assert said("-", allow_dash=True) == (0, f"{Path('-')!r}\n")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("file/a.json", "cannot be made: File exists"), (".", "is a directory"), ("shut/a.json", "may not be")],
)
def test_a_wrong_one_is_told_at_once(
    tmp_path: Path, name: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the work of hours whose result it was to hold."""
    (tmp_path / "file").touch()
    (tmp_path / "shut").mkdir()
    # For root, who may be running this, every folder is open.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "shut" and access(path, mode))
    code, output = said(str(tmp_path / name))
    assert code == 2
    assert complaint in " ".join(output.split())
