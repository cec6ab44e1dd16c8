"""The demo's children: the project's own commands in processes of their own, which never outlive the demo."""

import contextlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from agents.configuration.keys import ENVIRONMENT_PREFIX
from agents.live.pages import PATH
from schemas.child_process import ChildError, ChildProcess
from schemas.errors import InsessionError
from schemas.free_ports import free_port
from streams.local.embedded_broker import PARTITIONS

LOOPBACK: Final = "127.0.0.1"
READY_TIMEOUT_SECONDS: Final = 120.0
STOP_TIMEOUT_SECONDS: Final = 2.0
_MAX_REASON: Final = 500
_MOCK_BROKER_SETTINGS: Final = {
    "KAFKA__IS_MOCK_BROKER": "true",
    # A join waits one session timeout on the mock broker.
    "KAFKA__SESSION_TIMEOUT": "PT6S",
    "KAFKA__REBALANCE_TIMEOUT": "PT6S",
    "KAFKA__SEND_TIMEOUT": "PT4S",
}


class _LogLine(msgspec.Struct):
    event: str


def started(
    arguments: Sequence[str], *, log_path: Path | None = None, settings: Mapping[str, str] | None = None
) -> ChildProcess:
    """Start one `insession` command as a child."""
    command = [sys.executable, "-m", "agents", *arguments]
    return ChildProcess(f"the {arguments[0]}", command, log_path=log_path, environment=_environment(settings or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlace:
    """Where the worker finds the others and where it writes; settings_file: what it is told beside that."""

    brokers: str
    serving: str
    models: Path
    datadir: Path
    log_path: Path
    settings_file: Path | None = None


class Service:
    """One `insession` command with a web port, on the embedded broker; entered, it is started.

    Raises InsessionError when it ends, or is not ready within `READY_TIMEOUT_SECONDS`.
    """

    def __init__(self, arguments: Sequence[str], log_path: Path, settings: Mapping[str, str] | None = None) -> None:
        self._port = free_port()
        self._arguments = [*arguments, "--web-port", str(self._port)]
        self._log_path = log_path
        self._settings = {**_MOCK_BROKER_SETTINGS, **(settings or {})}

    def __enter__(self) -> Self:
        self._log_path.unlink(missing_ok=True)
        self._child = started(self._arguments, log_path=self._log_path, settings=self._settings)
        return self

    def wait_until_ready(self) -> None:
        """Wait until it does its work."""
        ready = f"http://{LOOPBACK}:{self._port}/readyz"
        with self._explained():
            self._child.wait_until(lambda: _answers(ready), READY_TIMEOUT_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop(STOP_TIMEOUT_SECONDS)

    def check(self) -> None:
        """Raise InsessionError if it has ended."""
        with self._explained():
            self._child.check()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Report a failure by the first error in the log, which is where the trouble began, not by its last lines."""
        try:
            yield
        except ChildError as error:
            name, reason = self._arguments[0], _first_error(self._log_path)
            raise InsessionError(f"the {name} {error.what}: {reason}; more in its log {self._log_path}") from None


class DemoWorker(Service):
    """`insession worker`; entered, it answers clicks."""

    def __init__(self, place: WorkerPlace) -> None:
        arguments = ["worker", "--brokers", place.brokers, "--serving", place.serving]
        arguments += ["--models", str(place.models), "--datadir", str(place.datadir)]
        arguments += ["--partitions", str(PARTITIONS), "--replication", "1"]
        if place.settings_file is not None:
            arguments += ["--config", str(place.settings_file)]
        super().__init__(arguments, place.log_path)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.wait_until_ready()
        except BaseException:
            self._child.stop(STOP_TIMEOUT_SECONDS)
            raise
        return self

    @property
    def live_page(self) -> str:
        """Where its sessions can be watched in a browser."""
        return f"http://{LOOPBACK}:{self._port}{PATH}"


class DemoObserver(Service):
    """`insession observer`; entered, it is started: it needs some seconds until it counts.

    It publishes more often than it does by default, since the demo's shop goes faster than the wall's clock.
    """

    def __init__(self, brokers: str, log_path: Path) -> None:
        settings = {"TRENDING__PUBLISH_INTERVAL": "PT1S"}
        super().__init__(["observer", "--brokers", brokers], log_path, settings)


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
    """Return a child's environment: none of the caller's settings, which are for another deployment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    ours = {ENVIRONMENT_PREFIX + name: value for name, value in settings.items()}
    return inherited | ours | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # TensorFlow's banner would break the progress bars
