"""Commands of ours as child processes: what they say goes to a log, their last line to who watches."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from schemas.child_process import ChildProcess, last_words
from schemas.errors import InsessionError

Commands = Callable[[Sequence[str], Path], None]
"""Runs `insession` with these arguments, and appends what it says to a log; raises InsessionError where it fails."""
_LOOK_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 20.0
_TAIL_BYTES: Final = 4096
_OURS: Final = "insession: "
_REGISTRY: Final = "INSESSION_REGISTRY"
"""By it `train` would register what was not checked yet; `pipeline.registry` says it to those that are to know."""


class ChildCommands:
    """Runs them one after the other; `on_line` hears the last line of each, as it changes."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        """Run a command to its end; it ends with this process, however that ends."""
        begin = log.stat().st_size if log.exists() else 0
        environment = {name: value for name, value in os.environ.items() if name != _REGISTRY}
        command = [sys.executable, "-m", "agents", *arguments]
        child = ChildProcess(f"insession {arguments[0]}", command, log_path=log, environment=environment)
        try:
            code = self._wait(child, log)
        finally:
            child.stop(_STOP_SECONDS)
        if code:
            raise InsessionError(f"{_reason(log, begin, code)} (log: {log})")

    def _wait(self, child: ChildProcess, log: Path) -> int:
        said = ""
        while True:
            try:
                return child.wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                line = last_line(log)
                if line != said:
                    said = line
                    self._on_line(line)


def last_line(log: Path) -> str:
    """Return the last line that says something, as far as it is written."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _reason(log: Path, begin: int, code: int) -> str:
    """Return what a command of ours has said of its end, else its last words."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    said = next((line for line in reversed(lines) if line.startswith(_OURS)), None)
    if said is not None:
        return said.removeprefix(_OURS)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"it {how}; it said last: {last_words(log)}; run this again"
