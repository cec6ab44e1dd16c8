"""The embedded model server as a child process, for whoever needs a model and has no TensorFlow Serving at hand."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.child_process import ChildProcess
from serving.embedded.options import ServerOptions

READY_TIMEOUT = timedelta(seconds=120)
"""TensorFlow's import alone takes 5 to 15 s on a small machine."""


class EmbeddedServer:
    """Start a model server, wait until it answers, and stop it at the end of the `with` block.

    log_path: gets what the child writes to standard error, appended.

    Raises ChildError on entry when the server ends or stays silent for `ready_timeout`.
    """

    def __init__(self, options: ServerOptions, *, log_path: Path, ready_timeout: timedelta = READY_TIMEOUT) -> None:
        self._options = options
        self._log_path = log_path
        self._ready_timeout = ready_timeout
        self._child: ChildProcess | None = None
        self.address = ""

    def __enter__(self) -> Self:
        """Start the child and wait for its address."""
        command = [sys.executable, "-m", "serving.embedded", *self._options.arguments(), "--stop-with-stdin"]
        name = f"the model server of {self._options.base_path}"
        self._child = ChildProcess(name, command, log_path=self._log_path, has_pipes=True)
        try:
            ready = json.loads(self._child.wait_for_line(self._ready_timeout.total_seconds()))
        except BaseException:
            self.stop()
            raise
        self.address = str(ready["address"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the child."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return None if self._child is None else self._child.pid

    def stop(self) -> None:
        """Let the child drain its calls and end; kill it when it does not."""
        self._end(ChildProcess.stop)

    def kill(self) -> None:
        """End the child as a crash would."""
        self._end(ChildProcess.kill)

    def _end(self, end: Callable[[ChildProcess], None]) -> None:
        child, self._child = self._child, None
        if child is not None:
            end(child)
