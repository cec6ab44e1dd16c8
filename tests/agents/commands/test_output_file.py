"""Files that commands write at their end."""

from os import access
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agents.commands.output_file import OutputFile, write_output


def said(path: str) -> tuple[int, str]:
    """Return a command the path; its exit code and what it said."""

    @click.command()
    @click.option("--html", "path", type=OutputFile())
    def command(path: Path) -> None:
        click.echo(repr(path))

    result = CliRunner().invoke(command, ["--html", path])
    return result.exit_code, result.output


@pytest.fixture
def shut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with one file that may not be written to; for root, who may be running this, all are open."""
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "old.json").touch()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "shut" and access(path, mode))
    return tmp_path / "shut"


def test_a_file_that_can_be_written_is_taken(tmp_path: Path, shut: Path) -> None:
    """One that exists, wherever it is; a new one, also in folders that are made when it is written, not before."""
    deep = tmp_path / "made" / "now" / "a.json"
    for path in (tmp_path / "new.json", shut / "old.json", deep, Path("/dev/null")):
        assert said(str(path)) == (0, f"{path!r}\n")
    assert not (tmp_path / "made").exists()
    write_output(deep, b"done")
    assert deep.read_bytes() == b"done"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("file/a.json", "is no folder that may be written to"),
        ("shut/new/a.json", "is no folder that may be written to"),
        (".", "is a directory"),
        ("a" * 300, "more than 255 bytes"),
    ],
)
def test_a_wrong_one_is_told_at_once(tmp_path: Path, shut: Path, name: str, complaint: str) -> None:
    """Before the work of hours whose result it was to hold."""
    (shut.parent / "file").touch()
    code, output = said(str(tmp_path / name))
    assert code == 2
    assert complaint in " ".join(output.split())
