"""The example consumers, built as their readers would and asked over HTTP."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from schemas.child_process import ChildProcess

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 120.0
"""For what takes a second on an idle machine."""
_GREETING = "listening on http://127.0.0.1:"


def tool(name: str) -> str:
    """Find a build tool; skip without it, fail where tools are required, as in CI."""
    found = shutil.which(name)
    if found is not None:
        return found
    message = f"the example needs `{name}`, which is not on PATH"
    if os.environ.get("INSESSION_REQUIRE_TOOLS"):
        pytest.fail(f"INSESSION_REQUIRE_TOOLS is set: {message}")
    pytest.skip(message)


def build_python(folder: Path) -> list[str]:  # noqa: ARG001 - nothing to build
    """Return the command of the Python example."""
    return [sys.executable, str(EXAMPLES / "python" / "recommendation_cache.py")]


def build_java(folder: Path) -> list[str]:
    """Build the Java example in a copy, and give its command."""
    maven, java = tool("mvn"), tool("java")
    shutil.copytree(EXAMPLES / "java", folder, ignore=shutil.ignore_patterns("target"))
    _run([maven, "--quiet", "--batch-mode", "package"], folder)
    return [java, "-Xmx128m", "-jar", str(folder / "target" / "recommendation-cache.jar")]


def build_go(folder: Path) -> list[str]:
    """Build the Go example, and give its command."""
    program = folder / "recommendationcache"
    _run([tool("go"), "build", "-mod=readonly", "-o", str(program), "."], EXAMPLES / "go")
    return [str(program)]


BUILDERS: Mapping[str, Callable[[Path], list[str]]] = {"python": build_python, "java": build_java, "go": build_go}


def _run(command: Sequence[str], folder: Path) -> None:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr


class ExampleProgram:
    """A running example; it dies with the tests."""

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self._log_path = log_path
        self._child = ChildProcess("the example", command, log_path=log_path)
        self.wait_until(lambda: _GREETING in self.log_text(), "it listened")
        self._port = int(self.log_text().split(_GREETING, 1)[1].split()[0])

    def get(self, path: str, **query: str) -> Any:
        """Ask for a page and decode its JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}?{urlencode(query)}", timeout=10) as answer:
            return json.load(answer)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for `condition`; fails with the program's output where it ends before, or time runs out."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(POLL_SECONDS)
                raise AssertionError(f"the example ended with {code} before {what}: {self.log_text()}")
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}; {self.log_text()}"

    def end(self) -> int:
        """Ask it to end, and give the exit code."""
        self._child.send(signal.SIGTERM)
        try:
            return self._child.wait(PATIENCE_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Kill it if it still runs."""
        self._child.kill()

    def log_text(self) -> str:
        """Return all that it wrote."""
        return self._log_path.read_text(errors="replace")
