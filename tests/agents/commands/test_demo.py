"""`insession demo` used wrongly: one line, and nothing is started."""

import fcntl
import importlib.util
import sys
from pathlib import Path

import pytest

from agents.cli import main


class Line:
    """Runs the command in this process and keeps its exit code and what it said on standard error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run_dir: Path) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.run_dir = run_dir

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run `insession demo` with `arguments`."""
        self._monkeypatch.setattr(sys, "argv", ["insession", "demo", "--run-dir", str(self.run_dir), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, self._capsys.readouterr().err


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Line:
    """Return the command with a run folder of its own."""
    return Line(monkeypatch, capsys, tmp_path / "run")


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "fast"])
def test_a_speed_that_is_none_is_wrong_usage(line: Line, speed: str) -> None:
    """Only what is above 0, or max, is a speed."""
    code, said = line.run("--speed", speed)
    assert code == 2
    assert "neither a factor above 0 nor max" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--events", "none.jsonl"], 2, "needs its --format"),
        (["--events", "none.jsonl", "--format", "jsonl"], 2, "none.jsonl cannot be read"),
        (["--format", "jsonl"], 2, "give --events"),
        (["--models", "none"], 1, "insession train"),
    ],
)
def test_a_wrong_file_or_option_is_one_line(line: Line, arguments: list[str], code: int, says: str) -> None:
    """The line names what is wrong, and the run folder holds nothing but the lock."""
    found, said = line.run(*arguments)
    assert found == code
    assert says in said
    assert said.count("\n") == 1
    assert {path.name for path in line.run_dir.glob("*")} <= {".lock"}


def test_a_damaged_log_fails_with_one_line(line: Line, tmp_path: Path) -> None:
    """The format fits the name, the content does not."""
    log = tmp_path / "log.jsonl"
    log.write_text("no json\n")
    code, said = line.run("--events", str(log), "--format", "jsonl")
    assert code == 1
    assert "no usable line" in said


def test_a_second_demo_in_the_same_folder_is_refused(line: Line) -> None:
    """They would overwrite each other's files; the message names the way out."""
    line.run_dir.mkdir()
    with (line.run_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = line.run()
    assert code == 1
    assert "choose another folder with --run-dir" in said


def test_without_the_model_extra_the_remedy_is_named(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's installation has no TensorFlow."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else find_spec(name, *rest)
    )
    code, said = line.run()
    assert code == 1
    assert "pip install 'insession[model]'" in said
    assert not line.run_dir.exists()
