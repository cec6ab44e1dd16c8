"""Files that commands write at their end."""

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


def test_a_file_in_a_folder_that_is_there_is_taken(tmp_path: Path) -> None:
    """Whether it exists or not; - is standard output where it may be."""
    for name in ("new.json", "old.json"):
        (tmp_path / "old.json").touch()
        assert said(str(tmp_path / name)) == (0, f"{tmp_path / name!r}\n")
    assert said("-", allow_dash=True) == (0, f"{Path('-')!r}\n")


@pytest.mark.parametrize(("name", "complaint"), [("none/a.json", "does not exist"), (".", "is a directory")])
def test_a_wrong_one_is_told_at_once(tmp_path: Path, name: str, complaint: str) -> None:
    """Before the work of hours whose result it was to hold."""
    code, output = said(str(tmp_path / name))
    assert code == 2
    assert complaint in output
