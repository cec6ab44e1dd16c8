"""Commands of ours as children: what they say, and what is said of their end."""

import os
import signal
import sys
from pathlib import Path

import pytest

from agents.daily.children import ChildCommands, last_line
from schemas.errors import InsessionError


def test_a_command_that_fails_is_told_by_its_own_line(tmp_path: Path) -> None:
    """With the log for more; what was in the log before is not its own."""
    log = tmp_path / "log"
    log.write_text("insession: what an earlier one said\n")
    with pytest.raises(InsessionError) as failed:
        ChildCommands(lambda _: None)(["release", "publish", str(tmp_path), "--out", str(tmp_path / "models")], log)
    assert str(failed.value).startswith(f"release file {tmp_path}/assets.extra/manifest.json is missing")
    assert str(failed.value).endswith(f"(log: {log})")
    assert "earlier" not in str(failed.value)


def test_a_command_that_is_wrong_usage_is_told_by_its_last_words(tmp_path: Path) -> None:
    """And by its exit code."""
    with pytest.raises(InsessionError, match=r"it ended with exit code 2; it said last: .*No such option"):
        ChildCommands(lambda _: None)(["features", "--nothing"], tmp_path / "log")


def test_a_command_that_ends_well_says_nothing(tmp_path: Path) -> None:
    """What it printed is in the log."""
    ChildCommands(lambda _: None)(["features", "--write-sql", str(tmp_path / "sql")], tmp_path / "log")
    assert "daily.sql" in (tmp_path / "log").read_text()


def test_a_command_that_is_killed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the kernel when memory is short."""
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\nimport os\nprint('at work', flush=True)\nos.kill(os.getpid(), 9)\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(InsessionError, match=r"it was killed by signal 9; it said last: at work; run this again"):
        ChildCommands(lambda _: None)(["train"], tmp_path / "log")


def test_what_a_command_says_last_is_heard_and_an_interruption_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped as it would be by a person, and has ended when the interruption goes on."""
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport os, signal\nprint('process', os.getpid(), flush=True)\nsignal.pause()\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    heard: list[str] = []

    def interrupt(line: str) -> None:
        heard.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ChildCommands(interrupt)(["train"], tmp_path / "log")
    (line,) = heard
    with pytest.raises(ProcessLookupError):
        os.kill(int(line.removeprefix("process ")), signal.SIG_DFL)


def test_the_last_line_is_the_last_that_says_something(tmp_path: Path) -> None:
    """A bar that draws over itself says its latest."""
    log = tmp_path / "log"
    log.write_bytes(b"first\n10 %\r20 %\n\n  \n")
    assert last_line(log) == "20 %"
    log.write_text("")
    assert last_line(log) == ""
