"""The real command `insession worker` as a process of its own, to be asked, stopped, interrupted and killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.child_process import ChildProcess
from schemas.free_ports import free_port

COMMAND = Path(sys.executable).with_name("insession")
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 240.0
"""For what takes seconds on an idle machine."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page of the worker said; status 0 where nothing listens yet."""

    status: int
    text: str


class WorkerEndedError(AssertionError):
    """A worker has ended while something was expected of it."""


class WorkerProcess:
    """One worker on `datadir`; it dies with the tests.

    options: of the command, without the leading dashes. environment: its INSESSION_ settings, the only ones it sees.
    """

    command_name = "worker"
    has_datadir = True

    def __init__(self, options: Mapping[str, str], environment: Mapping[str, str], datadir: Path) -> None:
        self.datadir = datadir
        self._port = free_port()
        self.log_path = datadir.with_suffix(f".{self._port}.log")
        folder = {"datadir": str(datadir)} if self.has_datadir else {}
        given = {**options, **folder, "web-port": str(self._port)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSESSION_")}
        command = [str(COMMAND), self.command_name, *(f"--{name}={value}" for name, value in given.items())]
        self._child = ChildProcess(
            f"the {self.command_name}",
            command,
            log_path=self.log_path,
            environment={**inherited, **environment},
            cwd=datadir.parent,
        )

    @property
    def address(self) -> str:
        """Where its pages are, as host:port."""
        return f"127.0.0.1:{self._port}"

    def page(self, path: str) -> Page:
        """Ask for a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
                return Page(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Page(error.code, error.read().decode())
        except OSError:
            return Page(0, "")

    def is_ready(self) -> bool:
        """Return whether /readyz says that clicks are answered."""
        return self.page("/readyz").status == 200

    def metric(self, name: str, label: str = "") -> float:
        """Sum the samples of a metric that have `label` (`name="value"`); 0 where the worker does not answer."""
        lines = self.page("/metrics").text.splitlines()
        samples = [line for line in lines if line.startswith((f"{name}{{", f"{name} ")) and label in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

    def wait_until(
        self,
        condition: Callable[[], bool],
        what: str,
        timeout_seconds: float = PATIENCE_SECONDS,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Wait for `condition`; fails with the worker's last words where it ends before, or time runs out."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(poll_seconds)
                raise WorkerEndedError(f"the worker ended with {code} before {what}: {self.tail()}")
            assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}; the worker: {self.tail()}"

    def wait_until_ready(self) -> None:
        """Wait until the worker answers clicks."""
        self.wait_until(self.is_ready, "it was ready")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal; whoever sends one that ends the worker then calls `wait`."""
        self._child.send(signal_number)

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the end and give the exit code; negative = the signal that killed it."""
        return self._child.wait(timeout_seconds)

    def end(self, signal_number: signal.Signals) -> int:
        """Send a signal, wait for the end and give the exit code."""
        self.send(signal_number)
        return self.wait()

    def close(self) -> None:
        """Kill the worker if it still runs; one that has ended by itself was watched until now."""
        self._child.kill()

    def log_text(self) -> str:
        """Return all that the worker wrote."""
        return self.log_path.read_text(errors="replace")

    def tail(self) -> str:
        """Return the worker's last lines."""
        return "\n".join(self.log_text().splitlines()[-15:])
