"""The demo's children: the project's own commands in processes of their own, which never outlive the demo."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from agents.configuration.keys import ENVIRONMENT_PREFIX
from agents.live.pages import PATH
from schemas.errors import InsessionError
from schemas.watchdog import dismiss, kill_with_parent
from streams.local.embedded_broker import PARTITIONS

LOOPBACK: Final = "127.0.0.1"
READY_TIMEOUT_SECONDS: Final = 120.0
STOP_TIMEOUT_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1
_MAX_REASON: Final = 500
_MOCK_BROKER_SETTINGS: Final = {
    "KAFKA__IS_MOCK_BROKER": "true",
    # A join waits one session timeout on the mock broker.
    "KAFKA__SESSION_TIMEOUT": "PT6S",
    "KAFKA__REBALANCE_TIMEOUT": "PT6S",
    "KAFKA__SEND_TIMEOUT": "PT5S",
}


class _LogLine(msgspec.Struct):
    event: str


class Child:
    """One `insession` command as a child; it dies with this process, however that ends.

    Its own process group keeps a Ctrl-C from it: the demo decides the order in which its parts end.
    """

    def __init__(
        self, arguments: Sequence[str], *, stderr: IO[bytes] | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module with our own options
            [sys.executable, "-m", "agents", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=_environment(settings or {}),
            process_group=0,
        )
        self._watchdog = kill_with_parent(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until it ends by itself."""
        return self._process.wait()

    def stop(self) -> None:
        """Ask it to end, kill it where that takes longer than `STOP_TIMEOUT_SECONDS`."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        dismiss(self._watchdog)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlace:
    """Where the worker finds the others and where it writes; settings_file: what it is told beside that."""

    brokers: str
    serving: str
    models: Path
    datadir: Path
    log_path: Path
    settings_file: Path | None = None


class DemoWorker:
    """`insession worker` on the embedded broker; entered, it answers clicks.

    Raises InsessionError when it ends, or is not ready within `READY_TIMEOUT_SECONDS`.
    """

    def __init__(self, place: WorkerPlace) -> None:
        self._place = place
        self._port = free_port()

    def __enter__(self) -> Self:
        place = self._place
        arguments = ["worker", "--brokers", place.brokers, "--serving", place.serving]
        arguments += ["--models", str(place.models), "--datadir", str(place.datadir)]
        arguments += ["--partitions", str(PARTITIONS), "--replication", "1", "--web-port", str(self._port)]
        if place.settings_file is not None:
            arguments += ["--config", str(place.settings_file)]
        with place.log_path.open("wb") as log:
            self._child = Child(arguments, stderr=log, settings=_MOCK_BROKER_SETTINGS)
        try:
            self._wait_until_ready()
        except BaseException:
            self._child.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()

    @property
    def live_page(self) -> str:
        """Where its sessions can be watched in a browser."""
        return f"http://{LOOPBACK}:{self._port}{PATH}"

    def check(self) -> None:
        """Raise InsessionError if the worker has ended."""
        if self._child.exit_code is not None:
            raise InsessionError(self._because(f"ended with exit code {self._child.exit_code}"))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not _answers(f"http://{LOOPBACK}:{self._port}/readyz"):
            self.check()
            if time.monotonic() > deadline:
                raise InsessionError(self._because(f"is not ready after {READY_TIMEOUT_SECONDS:.0f} s"))
            time.sleep(_POLL_SECONDS)

    def _because(self, what: str) -> str:
        return f"the worker {what}: {_first_error(self._place.log_path)}; more in its log {self._place.log_path}"


def free_port() -> int:
    """Find a free TCP port on the loopback interface; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _first_error(log_path: Path) -> str:
    """Find the event with which the trouble began; the last line where the log names none."""
    last = "its log is empty"
    for line in log_path.read_text(errors="replace").splitlines():
        last = line
        if '"level": "error"' in line or '"level": "critical"' in line:
            with contextlib.suppress(msgspec.DecodeError):
                last = msgspec.json.decode(line, type=_LogLine).event
                break
    return last[:_MAX_REASON]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own loopback address
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Give a child's environment: none of the caller's settings, which are for another deployment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    ours = {ENVIRONMENT_PREFIX + name: value for name, value in settings.items()}
    return inherited | ours | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # TensorFlow's banner would break the progress bars
