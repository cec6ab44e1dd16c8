"""The embedded model server as a child process, for whoever needs a model and has no TensorFlow Serving at hand."""

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import InsessionError
from serving.embedded.options import ServerOptions

READY_TIMEOUT = timedelta(seconds=120)
"""TensorFlow's import alone takes 5 to 15 s on a small machine."""
STOP_TIMEOUT_SECONDS = 5.0
LOG_TAIL_LINES = 5
MAX_READY_LINE_BYTES = 4096


class EmbeddedServer:
    """Start a model server, wait until it answers, and stop it at the end of the `with` block.

    The child dies with this process, however that ends: it watches a pipe that only this process holds open.
    log_path: gets what the child writes to standard error, appended.

    Raises InsessionError on entry when the server ends or stays silent for `ready_timeout`.
    """

    def __init__(self, options: ServerOptions, *, log_path: Path, ready_timeout: timedelta = READY_TIMEOUT) -> None:
        self._options = options
        self._log_path = log_path
        self._ready_timeout = ready_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        """Start the child and wait for its address."""
        command = [sys.executable, "-m", "serving.embedded", *self._options.arguments(), "--stop-with-stdin"]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module with our own options
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # a Ctrl-C is this process's to handle: it may still want answers while it drains
            )
        try:
            self.address = self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the child."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Let the child drain its calls and end; kill it when it does not."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End the child as a crash would."""
        self._end(subprocess.Popen.kill)

    def _end(self, end: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is None:
            return
        end(self._process)
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> str:
        line = _read_line(process, self._ready_timeout)
        if line is None:
            raise InsessionError(self._why_not_ready(process.poll()))
        return str(json.loads(line)["address"])

    def _why_not_ready(self, status: int | None) -> str:
        seconds = self._ready_timeout.total_seconds()
        what = f"is not ready after {seconds:.0f} s" if status is None else f"ended with exit code {status}"
        tail = self._log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return f"the model server of {self._options.base_path} {what}; its log {self._log_path} ends: " + " | ".join(
            tail
        )


def _read_line(process: subprocess.Popen[bytes], timeout: timedelta) -> bytes | None:
    """Read the child's first line; None when it ends, or the time does, before the line does."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout.total_seconds()
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            chunk = process.stdout.read1(MAX_READY_LINE_BYTES)  # type: ignore[attr-defined]  # a buffered reader
            if not chunk:
                process.wait()
                return None
            line += chunk
    return line
